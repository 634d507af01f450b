package server

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export"
	"github.com/hearth-survey/hearth/server/projection"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// snapshot is the state of a study at a cursor, apart from all that is written later: the projections of its interviews in
// a temporary file, of which memory holds a few bytes each. Answers are read from the log when their turn comes, by their
// digest; no transaction is open meanwhile, so that a slow reader holds nobody up and the store's files do not grow.
type snapshot struct {
	study     *surveyv1.Study
	cursor    syncer.Cursor
	forms     *published // as they were known then
	decisions []*servicev1.LinkDecision
	// since counts the interviews of that state that were withdrawn later. They are left out.
	since int

	file  *os.File
	out   *bufio.Writer
	size  int64
	spots []spot
	at    map[[16]byte]int // place of an interview in spots, while the log is replayed
	keep  func(*servicev1.InterviewSummary) bool
	place func(*servicev1.InterviewSummary) [16]byte // in the order of the export
}

// spot is where an interview stands in the file, and in the order of the export.
type spot struct {
	order  [16]byte
	offset int64
	size   uint32
	kept   bool // by the filter
	gone   bool // withdrawn
}

// newSnapshot makes an empty one. The file has no name, so nothing of it stays behind.
func newSnapshot(keep func(*servicev1.InterviewSummary) bool, place func(*servicev1.InterviewSummary) [16]byte) (*snapshot, error) {
	f, err := temporary("hearth-export-*", "write down what is exported")
	if err != nil {
		return nil, err
	}
	return &snapshot{file: f, out: bufio.NewWriterSize(f, 256<<10), keep: keep, place: place}, nil
}

func (n *snapshot) close() { _ = n.file.Close() } // it has no name any more

// put adds an interview, or replaces it.
func (n *snapshot) put(p *servicev1.InterviewProjection) error {
	raw, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("write down interview %s: %w", p.GetSummary().GetInterviewId(), err)
	}
	if _, err := n.out.Write(raw); err != nil {
		return noRoom("write down what is exported", err)
	}
	s := p.GetSummary()
	sp := spot{order: n.place(s), offset: n.size, size: uint32(len(raw)), kept: n.keep(s)}
	n.size += int64(len(raw))
	if n.at != nil {
		key := spotKey(s.GetPart(), s.GetInterviewId())
		if i, ok := n.at[key]; ok {
			n.spots[i] = sp
			return nil
		}
		n.at[key] = len(n.spots)
	}
	n.spots = append(n.spots, sp)
	return nil
}

func spotKey(part uint64, id string) [16]byte {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, part), id...))
	return [16]byte(sum[:16])
}

// settle puts the interviews in order once all are there.
func (n *snapshot) settle() error {
	if err := n.out.Flush(); err != nil {
		return noRoom("write down what is exported", err)
	}
	n.at = nil
	n.spots = slices.DeleteFunc(n.spots, func(s spot) bool { return s.gone })
	var failed error
	slices.SortFunc(n.spots, func(a, b spot) int {
		if c := bytes.Compare(a.order[:], b.order[:]); c != 0 {
			return c
		}
		one, err := n.read(a, fieldSummary) // seldom: two that began in the same millisecond
		two, err2 := n.read(b, fieldSummary)
		if failed == nil {
			failed = cmp.Or(err, err2)
		}
		return cmp.Or(cmp.Compare(one.GetSummary().GetInterviewId(), two.GetSummary().GetInterviewId()), cmp.Compare(one.GetSummary().GetPart(), two.GetSummary().GetPart()))
	})
	return failed
}

// read reads an interview back, or of it the fields with these numbers: most of it are people and flags, of which nearly each
// reader wants one or neither.
func (n *snapshot) read(s spot, fields ...protowire.Number) (*servicev1.InterviewProjection, error) {
	raw := make([]byte, s.size)
	if _, err := n.file.ReadAt(raw, s.offset); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read back what is exported: %w", err)
	}
	if len(fields) > 0 {
		raw = only(raw, fields)
	}
	p := &servicev1.InterviewProjection{}
	if err := proto.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("read back what is exported: %w", err)
	}
	return p, nil
}

// only leaves the fields with these numbers in the bytes of a message. What cannot be read stays, for who reads it to say so.
func only(raw []byte, fields []protowire.Number) []byte {
	kept := raw[:0]
	for rest := raw; len(rest) > 0; {
		num, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return append(kept, rest...)
		}
		if slices.Contains(fields, num) {
			kept = append(kept, rest[:n]...)
		}
		rest = rest[n:]
	}
	return kept
}

// The fields of a projection.
const (
	fieldSummary     protowire.Number = 1
	fieldPeople      protowire.Number = 2
	fieldHouseholds  protowire.Number = 3
	fieldReferrals   protowire.Number = 4
	fieldRecruitment protowire.Number = 5
	fieldFlags       protowire.Number = 6
)

// each goes over the interviews that the filter keeps, or over all, and reads the whole of them, or the fields that are named.
func (n *snapshot) each(all bool, f func(*servicev1.InterviewProjection) error, fields ...protowire.Number) error {
	for _, s := range n.spots {
		if !all && !s.kept {
			continue
		}
		p, err := n.read(s, fields...)
		if err == nil {
			err = f(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// snapshotNow is the state of now.
func (s *Server) snapshotNow(ctx context.Context, code string, n *snapshot) error {
	if s.hub == nil {
		if err := s.Reevaluate(ctx, func(int, int) {}); err != nil { // the flags are those of the rules of now
			return err
		}
	}
	return s.projector.still(ctx, func(cursor syncer.Cursor) error {
		n.cursor, n.forms = cursor, s.forms.state.Load()
		n.spots, n.size = nil, 0
		if _, err := n.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		n.out.Reset(n.file)
		var err error
		if n.study, err = s.perhapsStudy(ctx, code); err != nil {
			return err
		}
		if n.study == nil {
			n.study = &surveyv1.Study{Study: proto.String(code)}
		}
		if n.decisions, err = s.store.Decisions(ctx, code); err != nil {
			return fmt.Errorf("read the decisions: %w", err)
		}
		for p, err := range s.store.Interviews(ctx, store.Filter{Study: code}) {
			if err == nil {
				err = n.put(p)
			}
			if err != nil {
				return fmt.Errorf("read the interviews: %w", err)
			}
		}
		return nil
	})
}

// snapshotAt is the state at an earlier cursor, made again from the log. Of what came later it knows nothing but who has
// withdrawn: nobody is exported who has taken the consent back.
func (s *Server) snapshotAt(ctx context.Context, code string, until syncer.Cursor, n *snapshot) error {
	if err := s.gone.load(ctx, s.store); err != nil {
		return err
	}
	log := &boundedLog{Log: s.store, until: until}
	var err error
	if n.forms, err = s.formsIn(ctx, log); err != nil {
		return err
	}
	n.cursor, n.at = until, map[[16]byte]int{}
	seed, met := maphash.MakeSeed(), map[uint64]struct{}{}
	decisions := map[string]*servicev1.LinkDecision{}
	r := &reader{
		log: log, cursor: syncer.Cursor{Epoch: until.Epoch, Parts: map[uint64]uint64{}}, gone: &s.gone,
		builder: projection.Builder{Zone: s.projector.builder.Zone, Evaluate: s.evaluateBy(n.forms.set)},
		seen: func(_ context.Context, part uint64, id string) (bool, error) {
			h := maphash.Comparable(seed, place{part, id})
			_, known := met[h]
			met[h] = struct{}{}
			return known, nil
		},
		apply: func(c *store.Changes, _ int, _ int64) error {
			for _, p := range c.Interviews {
				if p.GetSummary().GetStudy() == code {
					if err := n.put(p); err != nil {
						return err
					}
				}
			}
			for _, d := range c.Decisions {
				if d.GetStudy() == code {
					decisions[d.GetDecisionId()] = d
				}
			}
			for _, st := range c.Studies {
				if st.GetStudy() == code {
					n.study = st
				}
			}
			return s.withdrawnSince(ctx, log, n, c.Withdrawn)
		},
	}
	if err := r.read(ctx); err != nil {
		return err
	}
	if n.study == nil {
		n.study = &surveyv1.Study{Study: proto.String(code)}
	}
	n.decisions = slices.SortedFunc(maps.Values(decisions), func(a, b *servicev1.LinkDecision) int {
		return cmp.Or(cmp.Compare(a.GetTimeMs(), b.GetTimeMs()), cmp.Compare(a.GetDecisionId(), b.GetDecisionId()))
	})
	return nil
}

// withdrawnSince takes withdrawn interviews out, and counts those that were withdrawn after the state at hand.
func (s *Server) withdrawnSince(ctx context.Context, log *boundedLog, n *snapshot, all []store.Withdrawal) error {
	for _, w := range all {
		key := spotKey(w.Part, w.InterviewID)
		if i, ok := n.at[key]; ok {
			if n.spots[i].gone {
				continue
			}
			n.spots[i].gone = true
		}
		n.at[key] = len(n.spots)
		n.spots = append(n.spots, spot{gone: true})
		stones, err := log.Revisions(ctx, w.Part, servicev1.RecordKind_RECORD_KIND_TOMBSTONE, w.InterviewID)
		if err != nil {
			return fmt.Errorf("find when interview %s was withdrawn: %w", w.InterviewID, err)
		}
		if len(stones) == 0 {
			n.since++
		}
	}
	return nil
}

// formsIn are the questionnaires that a log knows of.
func (s *Server) formsIn(ctx context.Context, log store.Log) (*published, error) {
	all, last, err := s.publicationsIn(ctx, log)
	if err != nil {
		return nil, err
	}
	s.forms.mu.Lock()
	defer s.forms.mu.Unlock()
	st, err := s.forms.build(all, last)
	if err != nil {
		s.log.ErrorContext(ctx, "a published questionnaire cannot be used by this program", "error", err)
	}
	return st, nil
}

// cursorAt is how far the log had got at a time: in each part up to the last record before the first that came later.
func (s *Server) cursorAt(ctx context.Context, ms int64) (syncer.Cursor, error) {
	out := syncer.Cursor{Epoch: s.store.Epoch(), Parts: map[uint64]uint64{}}
	passed := map[uint64]bool{}
	at, more := syncer.Cursor{Epoch: out.Epoch, Parts: map[uint64]uint64{}}, true
	for more {
		var page []store.Stored
		var err error
		if page, at, more, err = s.store.After(ctx, at, projectorPage); err != nil {
			return out, fmt.Errorf("read the log: %w", err)
		}
		for _, st := range page {
			if passed[st.Part] = passed[st.Part] || st.ReceivedMS > ms; !passed[st.Part] {
				out.Parts[st.Part] = st.Counter
			}
		}
	}
	return out, nil
}

// boundedLog is a log as it was at a cursor.
type boundedLog struct {
	store.Log
	until syncer.Cursor
}

// Head is the cursor.
func (l *boundedLog) Head(context.Context) (syncer.Cursor, error) { return l.until, nil }

// Revisions returns those that were there.
func (l *boundedLog) Revisions(ctx context.Context, part uint64, kind servicev1.RecordKind, subject string) ([]store.Stored, error) {
	all, err := l.Log.Revisions(ctx, part, kind, subject)
	return slices.DeleteFunc(all, func(st store.Stored) bool { return st.Counter > l.until.Parts[part] }), err
}

// After returns what came after a cursor and was there. Parts that are read to their end are passed over.
func (l *boundedLog) After(ctx context.Context, cursor syncer.Cursor, limit int) ([]store.Stored, syncer.Cursor, bool, error) {
	head, err := l.Log.Head(ctx)
	if err != nil {
		return nil, cursor, false, err
	}
	from := syncer.Cursor{Epoch: cursor.Epoch, Parts: maps.Clone(head.Parts)}
	for part := range l.until.Parts {
		if cursor.Parts[part] < l.until.Parts[part] {
			from.Parts[part] = cursor.Parts[part]
		}
	}
	page, next, more, err := l.Log.After(ctx, from, limit)
	if err != nil {
		return nil, cursor, false, err
	}
	to := syncer.Cursor{Epoch: cursor.Epoch, Parts: map[uint64]uint64{}}
	for part, last := range l.until.Parts {
		to.Parts[part] = min(next.Parts[part], last)
	}
	return slices.DeleteFunc(page, func(st store.Stored) bool { return st.Counter > l.until.Parts[st.Part] }), to, more, nil
}

// questionnairesOf says which questionnaires the interviews answer, by which schema they are read, and how many answered
// each version.
func (n *snapshot) questionnairesOf(versions map[string]map[uint32]int) []export.ManifestQuestionnaire {
	var out []export.ManifestQuestionnaire
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		m := export.ManifestQuestionnaire{Name: name, SHA256: hex.EncodeToString(n.forms.rules[name]), Interviews: map[string]int{}}
		if q, ok := n.forms.set.Find(name); ok {
			m.Version = q.Version()
		}
		for v, count := range versions[name] {
			m.Interviews[strconv.FormatUint(uint64(v), 10)] = count
		}
		out = append(out, m)
	}
	return out
}
