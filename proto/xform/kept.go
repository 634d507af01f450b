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

// Kept is the expression of a column as it stood in the XLSForm, if cel is still what was made of it: nothing, where it
// could not be translated.
func Kept(columns map[string]string, header, cel string) (string, bool) {
	original, seal := columns[header], columns[SealOf(header)]
	return original, original != "" && (seal == "" && cel == "" || seal != "" && seal == Seal(cel))
}

// Keys of form_columns that are no headers.
const (
	// KeyHeaders, on the top message, is the headers of each sheet: the questionnaire came from an XLSForm.
	KeyHeaders = "#headers"
	// KeyLanguages, on the top message, is the names of the languages in headers with their tags.
	KeyLanguages = "#languages"
	// KeyRows, on the top message, is the rows of the survey that are no questions.
	KeyRows = "#rows"
	// KeyNoLabel marks a row that has no label; its question has its name for one.
	KeyNoLabel = "#no_label"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
