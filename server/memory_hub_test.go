package server

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// memoryHubs is what a memory store keeps for hubs. The zero value is ready.
type memoryHubs struct {
	runs  []store.LaneRun
	bytes map[syncer.Digest][]byte
	shelf map[string]store.Item
}

func (m *memory) keepBytes(b *syncer.Checked) {
	for _, e := range b.Entries {
		if e.Raw != nil && !e.Refused {
			if m.bytes == nil {
				m.bytes = map[syncer.Digest][]byte{}
			}
			m.bytes[e.Digest] = bytes.Clone(e.Raw)
		}
	}
}

func (m *memory) keepRun(lane syncer.LaneID, r syncer.Run, v syncer.Verdict, before uint64) {
	branch := int64(0)
	switch v {
	case syncer.Held:
		return
	case syncer.Fork:
		branch = 1
	case syncer.Extends:
		if cut := before + 1 - r.First; cut > 0 {
			r = syncer.Run{First: before + 1, Prev: r.ChainAt(lane, before), Digests: r.Digests[cut:], Signature: r.Signature}
		}
	}
	m.runs = append(m.runs, store.LaneRun{Number: int64(len(m.runs) + 1), Lane: lane, Branch: branch, Run: r})
}

func (m *memory) Runs(_ context.Context, after int64, limit int) ([]store.LaneRun, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := min(int(after), len(m.runs))
	return slices.Clone(m.runs[at:min(at+max(limit, 1), len(m.runs))]), nil
}

func (m *memory) RunsFrom(_ context.Context, lane syncer.LaneID, branch int64, seq uint64, limit int) ([]store.LaneRun, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []store.LaneRun
	for _, r := range m.runs {
		if r.Lane == lane && r.Branch == branch && r.Last() >= seq {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b store.LaneRun) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last(), b.Last()))
	})
	return out[:min(len(out), max(limit, 1))], nil
}

func (m *memory) RunTotals(_ context.Context, after int64) (store.RunTotals, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := store.RunTotals{Last: int64(len(m.runs))}
	for _, r := range m.runs[min(int(after), len(m.runs)):] {
		t.Entries += uint64(len(r.Digests))
	}
	return t, nil
}

func (m *memory) Bytes(_ context.Context, d syncer.Digest) ([]byte, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if raw, ok := m.bytes[d]; ok {
		return bytes.Clone(raw), 1, nil
	}
	return nil, 0, nil
}

func (m *memory) Put(_ context.Context, items ...store.Item) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, it := range items {
		key := it.Space + "\x00" + string(it.Key)
		if it.Value == nil {
			delete(m.shelf, key)
			continue
		}
		if m.shelf == nil {
			m.shelf = map[string]store.Item{}
		}
		m.shelf[key] = store.Item{Space: it.Space, Key: bytes.Clone(it.Key), Value: append([]byte{}, it.Value...)}
	}
	return nil
}

func (m *memory) Claim(_ context.Context, it store.Item) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := it.Space + "\x00" + string(it.Key)
	if held, ok := m.shelf[key]; ok {
		return held.Value, nil
	}
	if m.shelf == nil {
		m.shelf = map[string]store.Item{}
	}
	m.shelf[key] = store.Item{Space: it.Space, Key: bytes.Clone(it.Key), Value: append([]byte{}, it.Value...)}
	return m.shelf[key].Value, nil
}

func (m *memory) Get(_ context.Context, space string, key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shelf[space+"\x00"+string(key)].Value, nil
}

func (m *memory) List(_ context.Context, space string, after []byte, limit int) ([]store.Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []store.Item
	for _, it := range m.shelf {
		if it.Space == space && (after == nil || bytes.Compare(it.Key, after) > 0) {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b store.Item) int { return bytes.Compare(a.Key, b.Key) })
	return out[:min(len(out), max(limit, 1))], nil
}
