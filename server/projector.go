package server

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/projection"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/protobuf/proto"
)

const (
	// projectorPage is how many records are read at a time, and projectorBatch how many are applied at a time: the pages
	// of an index are written once for all of them.
	projectorPage  = 500
	projectorBatch = 1000
	// projectorPoll is how long the projector sleeps at most when nobody tells it of appends.
	projectorPoll = 2 * time.Second
	// projectorPause is how long there must be no appends before the projector begins, and projectorPatience for how long
	// it waits at most: tablets that sync should not share the processor with it. Who asks for projections waits for
	// neither.
	projectorPause    = 100 * time.Millisecond
	projectorPatience = 2 * time.Second
	// While there are appends, the projector rests after each batch for projectorRest times as long as that took, and for
	// projectorRestMost at most.
	projectorRest     = 2
	projectorRestMost = time.Second
	// maxKnown is how many interviews are remembered, so that the store need not be asked whether it knows them.
	maxKnown = 1 << 20
)

// projector follows the log and keeps the projections. One run at a time, whoever starts it.
type projector struct {
	store   store.Store
	builder projection.Builder
	hintKey func(study string) []byte
	metrics *metrics
	// studiesChanged is told that definitions of studies have changed.
	studiesChanged func()
	// published is told that there are records of publications.
	published func(context.Context)
	// moved is told that there are new projections.
	moved func()

	running chan struct{} // holds one token while nobody runs
	woken   chan struct{} // holds one where there is something to do that the log does not tell of
	cursor  syncer.Cursor // guarded by running
	begun   bool          // guarded by running
	// whole is true once the projections have been up to the log since the process began. Before, they may be half made
	// again, and say nothing of what there is.
	whole atomic.Bool
	// known holds hashes of all interviews that have a projection; nil where that is not certain. Two of the same hash
	// only cost a needless look into the log. Guarded by running.
	known map[uint64]struct{}
	seed  maphash.Seed
	// gone are the interviews that are withdrawn; settle merges what can be merged of the conflicts found, and says whether
	// it has written anything.
	gone      *withdrawals
	settle    func(context.Context, *conflicts) (bool, error)
	conflicts conflicts // guarded by running
}

func newProjector(st store.Store, b projection.Builder, m *metrics) *projector {
	p := &projector{store: st, builder: b, metrics: m, running: make(chan struct{}, 1), woken: make(chan struct{}, 1), seed: maphash.MakeSeed(), moved: func() {}}
	p.running <- struct{}{}
	return p
}

// run follows the log until ctx ends, and does what is to be done when there is nothing to follow. An error is logged and
// tried again; the log is never blocked by it.
func (p *projector) run(ctx context.Context, log *slog.Logger, idle func(context.Context)) error {
	poll := time.NewTicker(projectorPoll)
	defer poll.Stop()
	for {
		if err := p.stroll(ctx); err != nil && ctx.Err() == nil {
			log.ErrorContext(ctx, "the projections are behind the log", "error", err)
		}
		idle(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-p.store.Notify():
		case <-poll.C:
		case <-p.woken:
		}
		awaitPause(ctx, p.store.Notify(), projectorPause, projectorPatience)
	}
}

// awaitPause waits until nothing has been told for as long as the pause, but no longer than the patience.
func awaitPause(ctx context.Context, told <-chan struct{}, pause, patience time.Duration) {
	end, quiet := time.NewTimer(patience), time.NewTimer(pause)
	defer end.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-told:
			quiet.Reset(pause)
		case <-ctx.Done():
			return
		case <-quiet.C:
			return
		case <-end.C:
			return
		}
	}
}

// stroll brings the projections up to the end of the log, and rests between batches while there are appends. Who asks for
// projections meanwhile makes what is missing without resting.
func (p *projector) stroll(ctx context.Context) error {
	for more := true; more; {
		start := time.Now()
		var err error
		if more, err = p.advance(ctx, 1); err != nil || !more {
			return err
		}
		rest := min(projectorRest*time.Since(start), projectorRestMost)
		select {
		case <-p.store.Notify():
		default: // nobody appends
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rest):
		}
	}
	return nil
}

// awaitWhole brings the projections up to the log if they have not been so since the process began, and says whether they
// have been then. It gives up after a moment: to make those of a large study again takes minutes.
func (p *projector) awaitWhole(ctx context.Context) bool {
	if p.whole.Load() {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, wholePatience)
	defer cancel()
	_ = p.catchUp(ctx) // what fails is said by run, which tries again
	return p.whole.Load()
}

// wholePatience is how long a Hello waits for projections that are made again.
const wholePatience = 5 * time.Second

// projectorTries is how often the projector begins anew where another one has been at work on the same store.
const projectorTries = 5

// catchUp brings the projections up to the end of the log.
func (p *projector) catchUp(ctx context.Context) error {
	_, err := p.advance(ctx, 0)
	return err
}

// still calls f while the projections are up to the log and stay where they are, and calls it again where another server
// over the same store has moved them meanwhile. Appends go on; only projections wait.
func (p *projector) still(ctx context.Context, f func(syncer.Cursor) error) error {
	hold := func() (same bool, err error) {
		select {
		case <-p.running:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		defer func() { p.running <- struct{}{} }()
		before, err := p.store.Projected(ctx)
		if err == nil {
			err = f(before)
		}
		if err != nil {
			return false, err
		}
		after, err := p.store.Projected(ctx)
		return err == nil && after.SameParts(before.Parts), err
	}
	for range projectorTries {
		if err := p.catchUp(ctx); err != nil {
			return err
		}
		if same, err := hold(); same || err != nil {
			return err
		}
	}
	return fault.New(fault.Conflict, fault.ExportChanged, "another server over this store moves the projections all the time: try again")
}

// advance makes projections of at most so many batches, 0: of all, and says whether there is more in the log.
func (p *projector) advance(ctx context.Context, batches int) (more bool, err error) {
	for tries := 1; ; tries++ {
		if more, err = p.follow(ctx, batches); fault.KindOf(err) != fault.Conflict || tries == projectorTries {
			return more, err
		}
	}
}

// follow is advance, and fails with fault.Conflict where another projector has moved the store's cursor. What it remembers
// is of no use then.
func (p *projector) follow(ctx context.Context, batches int) (more bool, err error) {
	done := false
	select {
	case <-p.running:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() {
		if !done {
			p.begun = false // ask the store again where it stands
		}
		p.running <- struct{}{}
	}()
	cursor, err := p.store.Projected(ctx)
	if err != nil {
		return false, fmt.Errorf("find how far the projections are: %w", err)
	}
	if !p.begun || !cursor.SameParts(p.cursor.Parts) {
		if cursor.Epoch != p.store.Epoch() {
			cursor = syncer.Cursor{}
		}
		p.cursor, p.begun, p.known = cursor, true, nil
		if len(cursor.Parts) == 0 {
			p.known = map[uint64]struct{}{}
		}
	}
	r := &reader{
		log: p.store, batches: batches, cursor: p.cursor, builder: p.builder, hintKey: p.hintKey, seen: p.stored, gone: p.gone, published: p.published,
		apply: func(c *store.Changes, records int, oldest int64) error {
			failpoint.Hit("projector.before-apply")
			if err := p.store.Apply(ctx, c); err != nil {
				return fmt.Errorf("store projections: %w", err)
			}
			failpoint.Hit("projector.after-apply")
			p.cursor = c.Cursor
			p.remember(c)
			if len(c.Studies) > 0 {
				p.studiesChanged()
			}
			p.conflicts.note(c)
			p.moved()
			p.metrics.projected.Add(float64(records))
			p.metrics.lag.Set(max(0, float64(time.Now().UnixMilli()-oldest)/1000))
			return nil
		},
	}
	for again := true; again; {
		err := p.gone.load(ctx, p.store)
		if err == nil {
			err = r.read(ctx)
		}
		if again = false; err == nil && p.settle != nil && !r.more {
			again, err = p.settle(ctx, &p.conflicts)
		}
		if err != nil {
			return false, err
		}
	}
	if done = true; r.more {
		return true, nil
	}
	p.metrics.lag.Set(0)
	p.whole.Store(true)
	return false, nil
}

// remember notes which interviews have a projection now, or were reviewed before they came.
func (p *projector) remember(c *store.Changes) {
	if p.known == nil {
		return
	}
	for _, iv := range c.Interviews {
		p.known[maphash.String(p.seed, iv.GetSummary().GetInterviewId())] = struct{}{}
	}
	for _, v := range c.Reviews {
		p.known[maphash.String(p.seed, v.Review.GetInterviewId())] = struct{}{}
	}
	if len(p.known) > maxKnown {
		p.known = nil
	}
}

// stored says whether an interview may have a projection already.
func (p *projector) stored(ctx context.Context, part uint64, id string) (bool, error) {
	if p.known != nil {
		_, ok := p.known[maphash.String(p.seed, id)]
		return ok, nil
	}
	return p.store.Met(ctx, part, id)
}

// rebuild makes all projections from a log and hands them to apply.
func (p *projector) rebuild(ctx context.Context, log store.Log, apply func(*store.Changes) error) error {
	type key struct {
		part uint64
		id   string
	}
	met := map[key]bool{}
	r := &reader{
		log: log, cursor: syncer.Cursor{Epoch: log.Epoch(), Parts: map[uint64]uint64{}}, builder: p.builder, hintKey: p.hintKey,
		gone: &withdrawals{},
		seen: func(_ context.Context, part uint64, id string) (bool, error) {
			known := met[key{part, id}]
			met[key{part, id}] = true
			return known, nil
		},
		apply: func(c *store.Changes, _ int, _ int64) error { return apply(c) },
	}
	return r.read(ctx)
}

// reader reads a log page by page and makes the projections of what is new in each.
type reader struct {
	log     store.Log
	cursor  syncer.Cursor
	builder projection.Builder
	hintKey func(study string) []byte // nil: no hints are made
	// seen says whether an interview may have revisions on earlier pages.
	seen  func(ctx context.Context, part uint64, id string) (bool, error)
	apply func(c *store.Changes, records int, oldest int64) error
	gone  *withdrawals
	// batches is how many are applied at a time, 0: all there are; more says that there were more.
	batches int
	more    bool
	hinters map[string]*syncer.Hinter // by study
	// published is told before the interviews of a page are evaluated that it has publications; nil: nobody is.
	published func(context.Context)
	// pending are the subjects that are not applied yet.
	pending map[subject]struct{}
}

func (r *reader) read(ctx context.Context) error {
	r.more = true
	for n := 0; r.more && (n < r.batches || r.batches == 0); n++ {
		from := r.cursor
		c := &store.Changes{From: &from, Records: [][]uint64{}}
		r.pending = map[subject]struct{}{}
		records, oldest := 0, int64(math.MaxInt64)
		for r.more && records < projectorBatch {
			var page []store.Stored
			var err error
			page, r.cursor, r.more, err = r.log.After(ctx, r.cursor, projectorPage)
			if err != nil {
				return fmt.Errorf("read the log: %w", err)
			}
			for _, st := range page {
				oldest = min(oldest, st.ReceivedMS)
			}
			records += len(page)
			if err := r.changes(ctx, page, c); err != nil {
				return err
			}
		}
		if records == 0 {
			return nil
		}
		c.Cursor = r.cursor
		settleCounters(c)
		if err := r.apply(c, records, oldest); err != nil {
			return err
		}
	}
	return nil
}

// subject is what a record is about, within its part.
type subject struct {
	part uint64
	kind servicev1.RecordKind
	id   string
}

// found is a revision and where it stands in the log.
type found struct {
	counter uint64
	projection.Revision
}

// changes makes the projections of all subjects of a page, in the order in which they were met. What comes again on a
// later page is made again.
func (r *reader) changes(ctx context.Context, page []store.Stored, c *store.Changes) error {
	order := make([]subject, 0, len(page))
	fresh := make(map[subject][]found, len(page))
	for _, st := range page {
		rec, err := syncer.Open(st.Raw)
		if err != nil {
			continue // the log holds only records that were read once; `hearth check` finds what has become of this one
		}
		r.gone.read(rec)
		if rec.GetKind() == servicev1.RecordKind_RECORD_KIND_QUESTIONNAIRE && r.published != nil {
			r.published(ctx)
		}
		s := subject{st.Part, rec.GetKind(), rec.GetSubject()}
		if _, ok := fresh[s]; !ok {
			order = append(order, s)
		}
		fresh[s] = append(fresh[s], found{st.Counter, projection.Revision{Digest: st.Digest, Record: rec}})
	}
	for _, s := range order {
		if err := r.project(ctx, c, s, fresh[s]); err != nil {
			return err
		}
		r.pending[s] = struct{}{}
	}
	return nil
}

func (r *reader) project(ctx context.Context, c *store.Changes, s subject, revs []found) error {
	switch stone := r.gone.of(place{s.part, s.id}); {
	case stone == nil:
	case s.kind == servicev1.RecordKind_RECORD_KIND_INTERVIEW, s.kind == servicev1.RecordKind_RECORD_KIND_TOMBSTONE,
		s.kind == servicev1.RecordKind_RECORD_KIND_REVIEW:
		return r.withdraw(ctx, c, place{s.part, s.id}, stone)
	}
	switch s.kind {
	case servicev1.RecordKind_RECORD_KIND_INTERVIEW:
		all, known, err := r.revisions(ctx, s, revs)
		if err != nil {
			return err
		}
		return r.interview(ctx, c, s.part, s.id, all, known)
	case servicev1.RecordKind_RECORD_KIND_ASSIGNMENT:
		return r.assignment(ctx, c, s)
	case servicev1.RecordKind_RECORD_KIND_REVIEW:
		return r.review(ctx, c, s, revs)
	case servicev1.RecordKind_RECORD_KIND_LINK_DECISION:
		for _, rev := range revs {
			d := &servicev1.LinkDecision{}
			if proto.Unmarshal(rev.Record.GetPayload(), d) == nil && d.GetDecisionId() == s.id {
				c.Decisions = append(c.Decisions, d)
			}
		}
	case servicev1.RecordKind_RECORD_KIND_STUDY:
		heads, err := currentHeads(ctx, r.log, s.part, s.kind, s.id)
		if err != nil {
			return err
		}
		st := &surveyv1.Study{}
		if len(heads) > 0 && proto.Unmarshal(heads[0].payload, st) == nil && st.GetStudy() == s.id {
			c.Studies = append(c.Studies, st)
		}
	}
	return nil
}

// revisions adds the revisions of earlier pages, which are looked up only where there may be any, and says whether the
// interview was met before: only then something may have been said of it.
func (r *reader) revisions(ctx context.Context, s subject, fresh []found) (_ []found, met bool, _ error) {
	earlier := false
	for _, f := range fresh {
		earlier = earlier || len(f.Record.GetParents()) > 0
	}
	known, err := r.seen(ctx, s.part, s.id)
	if err != nil {
		return nil, false, fmt.Errorf("look up interview %s: %w", s.id, err)
	}
	_, pending := r.pending[s]
	_, reviewed := r.pending[subject{s.part, servicev1.RecordKind_RECORD_KIND_REVIEW, s.id}]
	if !earlier && !known && !pending && !reviewed {
		return fresh, false, nil
	}
	all, err := r.log.Revisions(ctx, s.part, s.kind, s.id)
	if err != nil {
		return nil, false, fmt.Errorf("read the revisions of interview %s: %w", s.id, err)
	}
	held := make(map[syncer.Digest]bool, len(fresh))
	for _, f := range fresh {
		held[f.Digest] = true
	}
	out := fresh
	for _, st := range all {
		if held[st.Digest] {
			continue
		}
		rec, err := syncer.Open(st.Raw)
		if err != nil {
			continue
		}
		out = append(out, found{st.Counter, projection.Revision{Digest: st.Digest, Record: rec}})
	}
	return out, true, nil
}
