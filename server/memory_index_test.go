package server

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
)

// memoryIndex is the index of a memory store. The zero value is ready.
type memoryIndex struct {
	entries map[string][]byte
}

func (m *memory) IndexGet(_ context.Context, keys ...string) ([][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([][]byte, len(keys))
	for i, k := range keys {
		out[i] = m.entries[k]
	}
	return out, nil
}

func (m *memory) IndexScan(_ context.Context, prefix, after string, limit int) ([]store.IndexEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []store.IndexEntry
	for _, k := range slices.Sorted(maps.Keys(m.entries)) {
		if strings.HasPrefix(k, prefix) && k > after && (limit <= 0 || len(out) < limit) {
			out = append(out, store.IndexEntry{Key: k, Value: m.entries[k]})
		}
	}
	return out, nil
}

func (m *memory) IndexApply(_ context.Context, guard store.IndexEntry, changes []store.IndexEntry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	held, there := m.entries[guard.Key]
	if there != (guard.Value != nil) || string(held) != string(guard.Value) {
		return fault.New(fault.Conflict, "", "somebody else has changed what the linkage keeps")
	}
	if m.entries == nil {
		m.entries = map[string][]byte{}
	}
	for _, c := range changes {
		if c.Value == nil {
			delete(m.entries, c.Key)
		} else {
			m.entries[c.Key] = slices.Clone(c.Value)
		}
	}
	return nil
}

func (m *memory) IndexDrop(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries = nil
	return nil
}
