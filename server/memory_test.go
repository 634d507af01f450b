package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/monitor"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// memory is a store.Store that keeps everything in maps, so that these tests see the server alone.
type memory struct {
	mu         sync.Mutex
	epoch      syncer.ID
	records    []store.Stored
	counters   map[uint64]uint64
	byID       map[syncer.ID]syncer.Digest
	held       map[syncer.Digest]bool
	lanes      map[syncer.LaneID]*memoryLane
	quarantine []*servicev1.QuarantineItem
	devices    map[syncer.ID]store.Greeting
	forks      map[syncer.ID]uint32
	notify     chan struct{}

	projected  syncer.Cursor
	interviews map[string]*servicev1.InterviewProjection
	decisions  []*servicev1.LinkDecision
	studies    map[string]*surveyv1.Study

	failAppend error
	memoryRights
	memoryReview
	memoryHubs
	memoryDown
	memoryIndex
}

type memoryLane struct {
	syncer.Lane
	chains map[uint64]syncer.Chain
}

func newMemory() *memory {
	return &memory{
		epoch: syncer.ID{7, 7}, counters: map[uint64]uint64{}, byID: map[syncer.ID]syncer.Digest{}, held: map[syncer.Digest]bool{},
		lanes: map[syncer.LaneID]*memoryLane{}, devices: map[syncer.ID]store.Greeting{}, forks: map[syncer.ID]uint32{},
		notify: make(chan struct{}, 1), interviews: map[string]*servicev1.InterviewProjection{}, studies: map[string]*surveyv1.Study{},
	}
}

func (m *memory) Epoch() syncer.ID { return m.epoch }

func (m *memory) Append(_ context.Context, b *syncer.Checked) (*store.Appended, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failAppend != nil {
		return nil, m.failAppend
	}
	out := &store.Appended{}
	result := func(e syncer.Entry, o servicev1.EntryOutcome) {
		out.Results = append(out.Results, &servicev1.EntryResult{
			Seq: proto.Uint64(e.Seq), Outcome: o.Enum(), Reason: proto.String(string(e.Reason)), Message: proto.String(e.Message),
		})
	}
	for _, e := range b.Entries {
		switch {
		case e.Refused:
			result(e, servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED)
			continue
		case m.held[e.Digest]:
			e.Reason, e.Message = "", "" // it was taken in before there was one
			result(e, servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE)
			continue
		}
		if e.Reason == "" {
			if d, ok := m.byID[syncer.ID(e.Record.GetId())]; ok && d != e.Digest {
				e.Reason, e.Message = fault.IDReused, "two records have this id"
			}
		}
		m.held[e.Digest] = true
		if e.Reason != "" {
			m.quarantine = append(m.quarantine, &servicev1.QuarantineItem{
				Id: proto.Int64(m.keep(e.Raw)), Reason: proto.String(string(e.Reason)), Message: proto.String(e.Message),
				Lane: b.Lane.Proto(), Seq: proto.Uint64(e.Seq), Digest: e.Digest[:],
			})
			result(e, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED)
			continue
		}
		m.byID[syncer.ID(e.Record.GetId())] = e.Digest
		part := e.Record.GetPart()
		m.counters[part]++
		m.records = append(m.records, store.Stored{Part: part, Counter: m.counters[part], Digest: e.Digest, Raw: bytes.Clone(e.Raw)})
		out.New++
	}
	l := m.lane(b.Lane)
	m.keepBytes(b)
	for _, r := range b.Runs {
		before := l.Head.Seq
		a, err := l.Admit(r, func(seq uint64) (syncer.Chain, error) { return l.chains[seq], nil })
		if err != nil {
			return nil, err
		}
		out.Fork = out.Fork || a.Verdict == syncer.Fork
		m.keepRun(b.Lane, r, a.Verdict, before)
		for seq := max(before+1, r.First); seq <= min(r.Last(), l.Head.Seq); seq++ {
			l.chains[seq] = r.ChainAt(b.Lane, seq)
		}
	}
	out.Head, out.Gaps = l.Head, l.Gaps()
	select {
	case m.notify <- struct{}{}:
	default:
	}
	return out, nil
}

func (m *memory) lane(id syncer.LaneID) *memoryLane {
	l, ok := m.lanes[id]
	if !ok {
		l = &memoryLane{Lane: syncer.Lane{ID: id}, chains: map[uint64]syncer.Chain{0: {}}}
		m.lanes[id] = l
	}
	return l
}

func (m *memory) Lane(_ context.Context, id syncer.LaneID) (syncer.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lane(id).Head, nil
}

func (m *memory) ChainAt(_ context.Context, id syncer.LaneID, seq uint64) (syncer.Chain, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.lane(id).chains[seq]
	return c, ok, nil
}

func (m *memory) Missing(_ context.Context, refs []*servicev1.RecordRef) (wanted, conflicting []uint32, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range refs {
		d, ok := m.byID[syncer.ID(r.GetId())]
		if !ok || d != syncer.Digest(r.GetDigest()) {
			wanted = append(wanted, uint32(i))
		}
		if ok && d != syncer.Digest(r.GetDigest()) {
			conflicting = append(conflicting, uint32(i))
		}
	}
	return wanted, conflicting, nil
}

func (m *memory) After(_ context.Context, c syncer.Cursor, limit int) ([]store.Stored, syncer.Cursor, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := syncer.Cursor{Epoch: m.epoch, Parts: map[uint64]uint64{}}
	maps.Copy(next.Parts, c.Parts)
	var fresh []store.Stored
	for _, r := range m.records {
		if r.Counter > c.Parts[r.Part] {
			fresh = append(fresh, r)
		}
	}
	slices.SortFunc(fresh, func(a, b store.Stored) int {
		return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Counter, b.Counter))
	})
	more := len(fresh) > limit
	fresh = fresh[:min(limit, len(fresh))]
	for _, r := range fresh {
		next.Parts[r.Part] = r.Counter
	}
	return fresh, next, more, nil
}

func (m *memory) Revisions(_ context.Context, part uint64, kind servicev1.RecordKind, subject string) ([]store.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []store.Stored
	for _, r := range m.records {
		rec, err := syncer.Open(r.Raw)
		if err != nil {
			return nil, err
		}
		if r.Part == part && rec.GetKind() == kind && rec.GetSubject() == subject {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b store.Stored) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	return out, nil
}

func (m *memory) Record(_ context.Context, part uint64, _ string, digest syncer.Digest) (store.Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.records {
		if r.Part == part && r.Digest == digest {
			return r, nil
		}
	}
	return store.Stored{}, fault.New(fault.NotFound, "", "no record")
}

func (m *memory) Head(context.Context) (syncer.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return syncer.Cursor{Epoch: m.epoch, Parts: maps.Clone(m.counters)}, nil
}

func (m *memory) Quarantine(_ context.Context, after int64, limit int) ([]*servicev1.QuarantineItem, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*servicev1.QuarantineItem
	for _, q := range m.quarantine {
		if q.GetId() > after && len(out) < limit {
			out = append(out, q)
		}
	}
	return out, nil
}

func (m *memory) Notify() <-chan struct{} { return m.notify }

func (m *memory) Greet(_ context.Context, g store.Greeting) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.devices[g.Device]; ok && !old.Key.Equal(g.Key) {
		return fault.New(fault.Conflict, fault.DeviceKeyChanged, "device %v has another key", g.Device)
	}
	if old, ok := m.devices[g.Device]; ok && g.KeepNames {
		g.Name, g.Enumerator = old.Name, old.Enumerator
	}
	m.devices[g.Device] = g
	if g.Fork {
		m.forks[g.Device]++
	}
	return nil
}

func (m *memory) Key(_ context.Context, id syncer.ID) (ed25519.PublicKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g, ok := m.devices[id]; ok {
		return g.Key, nil
	}
	return nil, fault.New(fault.NotFound, fault.DeviceUnknown, "device %v has not said Hello", id)
}

func (m *memory) Owner(_ context.Context, id syncer.ID) (store.Owner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, ok := m.devices[id]
	if !ok {
		return store.Owner{}, fault.New(fault.NotFound, fault.DeviceUnknown, "device %v has not said Hello", id)
	}
	return store.Owner{Enumerator: g.Enumerator, Study: m.studyOf(id)}, nil
}

func (m *memory) ListDevices(context.Context) ([]*servicev1.DeviceStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*servicev1.DeviceStatus
	for id, g := range m.devices {
		d := &servicev1.DeviceStatus{Device: id[:], Name: proto.String(g.Name), Forks: proto.Uint32(m.forks[id]), LastSeenMs: proto.Int64(g.NowMS)}
		if r, ok := m.revoked[id]; ok {
			d.RevokedMs, d.RevokedReason = proto.Int64(r.RevokedMS), proto.String(r.Reason)
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *servicev1.DeviceStatus) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out, nil
}

func (m *memory) Projected(context.Context) (syncer.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.projected, nil
}

func (m *memory) Apply(_ context.Context, c *store.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.From != nil && !c.From.SameParts(m.projected.Parts) {
		return fault.New(fault.Conflict, "", "somebody else has made projections meanwhile")
	}
	for _, iv := range c.Interviews {
		m.interviews[iv.GetSummary().GetInterviewId()] = iv
	}
	m.down(c)
	m.withdraw(c.Withdrawn)
	m.decisions = append(m.decisions, c.Decisions...)
	slices.SortFunc(m.decisions, func(a, b *servicev1.LinkDecision) int { return cmp.Compare(a.GetTimeMs(), b.GetTimeMs()) })
	for _, s := range c.Studies {
		m.studies[s.GetStudy()] = s
	}
	m.projected = c.Cursor
	return nil
}

func (m *memory) CountCells(_ context.Context, study string) ([]*servicev1.CountCell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	cells := map[string]*servicev1.CountCell{}
	for _, iv := range m.interviews {
		c := monitor.Cell(iv.GetSummary())
		if study != "" && c.GetStudy() != study {
			continue
		}
		if old, ok := cells[monitor.CellKey(c)]; ok {
			old.Interviews = proto.Int64(old.GetInterviews() + 1)
		} else {
			cells[monitor.CellKey(c)] = c
		}
	}
	return slices.Collect(maps.Values(cells)), nil
}

func (m *memory) FlagCells(_ context.Context, study string, shape store.FlagShape) ([]store.FlagCell, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := map[store.FlagKey]store.FlagNumbers{}
	for _, iv := range m.interviews {
		if study == "" || iv.GetSummary().GetStudy() == study {
			countFlags(counts, iv, shape)
		}
	}
	var out []store.FlagCell
	for k, n := range counts {
		out = append(out, store.FlagCell{FlagKey: k, FlagNumbers: n})
	}
	return out, nil
}

// countFlags counts plainly what store.FlagCounts counts fast.
func countFlags(counts map[store.FlagKey]store.FlagNumbers, iv *servicev1.InterviewProjection, shape store.FlagShape) {
	s, met := iv.GetSummary(), map[store.FlagKey]bool{}
	for _, f := range iv.GetFlags() {
		k := store.FlagKey{Study: s.GetStudy(), Questionnaire: s.GetQuestionnaire(), Enumerator: s.GetEnumerator(), SiteID: s.GetSiteId(), Shape: shape}
		if shape&store.FlagsByQuestion != 0 {
			k.Question = questionnaire.WithoutRows(f.GetPath())
		}
		if shape&store.FlagsByRule != 0 {
			k.Rule = f.GetRule()
		}
		if shape&store.FlagsBySeverity != 0 {
			k.Severity = f.GetSeverity()
		}
		more := store.FlagNumbers{Flags: 1}
		if f.GetSeverity() == formv1.Severity_SEVERITY_HARD {
			more.Hard = 1
		}
		if !met[k] {
			met[k], more.Interviews = true, 1
		}
		n := counts[k]
		n.Add(more)
		counts[k] = n
	}
}

func (m *memory) Bodies(_ context.Context, study string) iter.Seq2[store.Body, error] {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.interviews))
	m.mu.Unlock()
	return func(yield func(store.Body, error) bool) {
		for _, iv := range all {
			if study != "" && iv.GetSummary().GetStudy() != study {
				continue
			}
			b, err := proto.Marshal(iv)
			if !yield(store.Body{Bytes: b}, err) || err != nil {
				return
			}
		}
	}
}

func (m *memory) Interviews(_ context.Context, f store.Filter) iter.Seq2[*servicev1.InterviewProjection, error] {
	m.mu.Lock()
	all := slices.Collect(maps.Values(m.interviews))
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b *servicev1.InterviewProjection) int {
		c := cmp.Or(cmp.Compare(a.GetSummary().GetStartTimeMs(), b.GetSummary().GetStartTimeMs()),
			cmp.Compare(a.GetSummary().GetInterviewId(), b.GetSummary().GetInterviewId()))
		if f.Newest {
			return -c
		}
		return c
	})
	return func(yield func(*servicev1.InterviewProjection, error) bool) {
		n := 0
		for _, iv := range all {
			s := iv.GetSummary()
			if f.After != nil {
				c := cmp.Or(cmp.Compare(s.GetStartTimeMs(), f.After.StartMS), cmp.Compare(s.GetInterviewId(), f.After.InterviewID))
				if c == 0 || c > 0 == f.Newest {
					continue
				}
			}
			if f.Study != "" && s.GetStudy() != f.Study || f.Enumerator != "" && s.GetEnumerator() != f.Enumerator ||
				f.ConflictsOnly && len(s.GetHeads()) < 2 || f.Questionnaire != "" && s.GetQuestionnaire() != f.Questionnaire {
				continue
			}
			if !yield(iv, nil) {
				return
			}
			if n++; f.Limit > 0 && n == f.Limit {
				return
			}
		}
	}
}

func (m *memory) Met(_ context.Context, part uint64, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	iv, ok := m.interviews[id]
	met := ok && iv.GetSummary().GetPart() == part
	for _, r := range m.reviews {
		met = met || r.Part == part && r.Review.GetInterviewId() == id
	}
	return met, nil
}

func (m *memory) Interview(_ context.Context, id string) (*servicev1.InterviewProjection, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if iv, ok := m.interviews[id]; ok {
		return iv, nil
	}
	return nil, fault.New(fault.NotFound, "", "there is no interview %.64q", id)
}

func (m *memory) Decisions(_ context.Context, study string) ([]*servicev1.LinkDecision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*servicev1.LinkDecision
	for _, d := range m.decisions {
		if study == "" || d.GetStudy() == study {
			out = append(out, d)
		}
	}
	return out, nil
}

func (m *memory) Studies(context.Context) ([]*surveyv1.Study, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.studies), func(a, b *surveyv1.Study) int { return cmp.Compare(a.GetStudy(), b.GetStudy()) }), nil
}

func (m *memory) Check(context.Context, store.CheckOptions) (*store.Report, error) {
	return &store.Report{}, nil
}

func (m *memory) Close() error { return nil }
