package xform

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
)

// An expression that came in by an XLSForm is kept as it stood there, in form_columns under the header of its column. It is
// written again only as long as the CEL made of it is as it was then: Seal of that CEL stands under SealOf the header.

// SealOf is the key under which the seal of a column's translation is kept.
func SealOf(header string) string { return header + "#" }

// Seal is what is kept of an expression of CEL to tell later whether it was edited.
func Seal(cel string) string {
	sum := sha256.Sum256([]byte(cel))
	return hex.EncodeToString(sum[:6])
}

// Kept is the expression of a column as it stood in the XLSForm, if cel is still what was made of it.
func Kept(columns map[string]string, header, cel string) (string, bool) {
	original, ok := columns[header]
	return original, ok && original != "" && columns[SealOf(header)] == Seal(cel)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
