package server

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// memoryReview is what a memory store keeps of quarantine, withdrawals and erasures. The zero value is ready.
type memoryReview struct {
	last      int64 // id of the last item of the quarantine
	raws      map[int64][]byte
	withdrawn map[string]store.Withdrawal
}

// keep notes the bytes of a new item and returns its id.
func (m *memoryReview) keep(raw []byte) int64 {
	if m.raws == nil {
		m.raws = map[int64][]byte{}
	}
	m.last++
	m.raws[m.last] = raw
	return m.last
}

func (m *memory) item(id int64) (int, error) {
	i := slices.IndexFunc(m.quarantine, func(q *servicev1.QuarantineItem) bool { return q.GetId() == id })
	if i < 0 {
		return i, fault.New(fault.NotFound, fault.NotInQuarantine, "there is no item %d in quarantine", id)
	}
	return i, nil
}

func (m *memory) QuarantineItem(_ context.Context, id int64) (*servicev1.QuarantineItem, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.item(id)
	if err != nil {
		return nil, nil, err
	}
	return proto.CloneOf(m.quarantine[i]), m.raws[id], nil
}

func (m *memory) Replay(_ context.Context, id int64, e *syncer.Entry) (*servicev1.EntryResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, err := m.item(id)
	if err != nil {
		return nil, err
	}
	q := m.quarantine[i]
	if syncer.Digest(q.GetDigest()) != e.Digest {
		return nil, fault.New(fault.Invalid, "", "item %d is another record", id)
	}
	reason, message := e.Reason, e.Message
	if reason == "" && e.Record != nil {
		if d, ok := m.byID[syncer.ID(e.Record.GetId())]; ok && d != e.Digest {
			reason, message = fault.IDReused, "two records have this id"
		}
	}
	if reason != "" || e.Record == nil {
		q.Reason, q.Message = proto.String(string(reason)), proto.String(message)
		return &servicev1.EntryResult{Outcome: servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED.Enum(), Reason: q.Reason, Message: q.Message}, nil
	}
	m.quarantine = slices.Delete(m.quarantine, i, i+1)
	m.byID[syncer.ID(e.Record.GetId())] = e.Digest
	part := e.Record.GetPart()
	m.counters[part]++
	m.records = append(m.records, store.Stored{Part: part, Counter: m.counters[part], Digest: e.Digest, Raw: e.Raw})
	return &servicev1.EntryResult{Outcome: servicev1.EntryOutcome_ENTRY_OUTCOME_STORED.Enum()}, nil
}

func (m *memory) Erase(_ context.Context, part uint64, subject string) (store.Erased, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out store.Erased
	for i, st := range m.records {
		r, err := syncer.Open(st.Raw)
		said := r.GetKind() == servicev1.RecordKind_RECORD_KIND_INTERVIEW || r.GetKind() == servicev1.RecordKind_RECORD_KIND_REVIEW
		if err != nil || st.Part != part || r.GetSubject() != subject || !said {
			continue
		}
		r.Payload, r.Blobs = nil, nil
		if m.records[i].Raw, err = proto.Marshal(r); err != nil {
			return out, err
		}
		out.Digests = append(out.Digests, st.Digest)
	}
	slices.SortFunc(out.Digests, func(a, b syncer.Digest) int { return slices.Compare(a[:], b[:]) })
	m.quarantine = slices.DeleteFunc(m.quarantine, func(q *servicev1.QuarantineItem) bool {
		r, err := syncer.Open(m.raws[q.GetId()])
		if err != nil || r.GetSubject() != subject || r.GetPart() != part {
			return false
		}
		out.Quarantined++
		return true
	})
	return out, nil
}

func (m *memory) Withdrawn(context.Context) ([]store.Withdrawal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.withdrawn), func(a, b store.Withdrawal) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.InterviewID, b.InterviewID))
	}), nil
}

// withdraw is what Apply does with withdrawals.
func (m *memory) withdraw(all []store.Withdrawal) {
	for _, w := range all {
		if m.withdrawn == nil {
			m.withdrawn = map[string]store.Withdrawal{}
		}
		m.withdrawn[w.InterviewID] = w
		delete(m.interviews, w.InterviewID)
	}
}
