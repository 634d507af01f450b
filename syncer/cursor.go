package syncer

import (
	"bytes"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Cursor is a position in a server's log: for every part the counter of the last record seen. Counters are taken in
// the transaction that writes, per part; one global sequence would skip rows that commit late on PostgreSQL.
type Cursor struct {
	Epoch ID
	Parts map[uint64]uint64
}

// Proto returns the cursor as a message, parts in order, so that equal cursors have equal bytes.
func (c Cursor) Proto() *servicev1.Cursor {
	m := &servicev1.Cursor{ServerEpoch: bytes.Clone(c.Epoch[:])}
	for _, p := range slices.Sorted(maps.Keys(c.Parts)) {
		m.Parts = append(m.Parts, &servicev1.PartCounter{Part: ptr(p), Counter: ptr(c.Parts[p])})
	}
	return m
}

// ParseCursor reads a cursor that must be of the given epoch. An empty cursor is the beginning. It fails with
// fault.CursorStale for one of another epoch.
func ParseCursor(m *servicev1.Cursor, epoch ID) (Cursor, error) {
	c := Cursor{Epoch: epoch, Parts: map[uint64]uint64{}}
	if len(m.GetServerEpoch()) == 0 && len(m.GetParts()) == 0 {
		return c, nil
	}
	if !bytes.Equal(m.GetServerEpoch(), epoch[:]) {
		return c, fault.New(fault.Stale, fault.CursorStale, "the cursor is of another epoch of the server than %v", epoch)
	}
	for _, p := range m.GetParts() {
		counter := p.GetCounter()
		if other, twice := c.Parts[p.GetPart()]; twice {
			counter = min(counter, other) // rather a record twice than one never
		}
		c.Parts[p.GetPart()] = counter
	}
	return c, nil
}

// SameParts says whether the cursor stands at these counters. A part that is not named stands at 0.
func (c Cursor) SameParts(parts map[uint64]uint64) bool {
	for part, n := range c.Parts {
		if parts[part] != n {
			return false
		}
	}
	for part, n := range parts {
		if c.Parts[part] != n {
			return false
		}
	}
	return true
}
