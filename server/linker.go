package server

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/linkage"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

const (
	// linkerPage is how many records of the log are read at a time.
	linkerPage = 1000
	// linkerPause is for how long there must be no new projections before the linkage begins, linkerPatience for how long it
	// waits at most. Who asks for pairs waits for neither.
	linkerPause    = 300 * time.Millisecond
	linkerPatience = 10 * time.Second
	// linkerRest is how much longer than a page took the linkage rests while there are new projections, linkerRestMost the most.
	linkerRest     = 2
	linkerRestMost = time.Second
	// alwaysLearn is up to how many people the weights are learnt anew whenever somebody comes: that takes no longer than a
	// moment, and of so few every one counts.
	alwaysLearn = 1000
	// linkerTries is how often the linkage begins anew where another server has been at work on the same store.
	linkerTries = 5
)

// linker follows the log and keeps the pairs of people who may be the same. One run at a time, whoever starts it.
type linker struct {
	*Server
	book    *linkage.Book
	running chan struct{} // holds one token while nobody runs
	woken   chan struct{}

	mu    sync.Mutex // held while what was found is put together
	found map[string]assembled
}

// assembled is what was found in a study, which stays right until the pairs or the log change.
type assembled struct {
	version int64
	cursor  syncer.Cursor
	result  *dedup.Result
	queue   *queue
}

func newLinker(s *Server) *linker {
	l := &linker{
		Server: s, book: linkage.Open(s.store, dedup.Options{}), running: make(chan struct{}, 1), woken: make(chan struct{}, 1),
		found: map[string]assembled{},
	}
	l.running <- struct{}{}
	return l
}

// wake says that there are new projections.
func (l *linker) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// run follows the projections until ctx ends. An error is logged and tried again with the next ones.
func (l *linker) run(ctx context.Context) {
	l.wake()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.woken:
		}
		awaitPause(ctx, l.woken, linkerPause, linkerPatience)
		if ctx.Err() != nil {
			return
		}
		if err := l.catchUp(ctx); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "the linkage is behind the log", "error", err)
		}
	}
}

// catchUp brings the pairs up to the end of the log, and rests between pages.
func (l *linker) catchUp(ctx context.Context) error {
	return l.alone(ctx, func(ctx context.Context, st *linkage.State, cursor syncer.Cursor) error {
		return l.follow(ctx, st, cursor, true)
	})
}

// alone does something with the index while nobody else of this server does. Where the index is new, or of another log, it is
// made first; where another server was at work it is done again.
func (l *linker) alone(ctx context.Context, do func(context.Context, *linkage.State, syncer.Cursor) error) error {
	select {
	case <-l.running:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.running <- struct{}{} }()
	for tries := 1; ; tries++ {
		st, cursor, err := l.begin(ctx)
		if err == nil {
			err = do(ctx, st, cursor)
		}
		if fault.KindOf(err) != fault.Conflict || tries == linkerTries {
			return err
		}
	}
}

// begin reads how far the index is, and makes one that is new or of another log.
func (l *linker) begin(ctx context.Context) (*linkage.State, syncer.Cursor, error) {
	st, err := l.book.State(ctx)
	if err != nil {
		return nil, syncer.Cursor{}, err
	}
	p := &servicev1.Cursor{}
	if proto.Unmarshal(st.Cursor, p) == nil && len(st.Cursor) > 0 {
		if c, err := syncer.ParseCursor(p, l.store.Epoch()); err == nil {
			return st, c, nil
		}
	}
	if err := l.book.Drop(ctx); err != nil {
		return nil, syncer.Cursor{}, err
	}
	if st, err = l.book.State(ctx); err != nil {
		return nil, syncer.Cursor{}, err
	}
	if err := l.Project(ctx); err != nil {
		return nil, syncer.Cursor{}, err
	}
	cursor, err := l.store.Projected(ctx)
	if err != nil {
		return nil, cursor, err
	}
	by, err := l.interviews(ctx, "")
	if err != nil {
		return nil, cursor, err
	}
	for _, code := range slices.Sorted(maps.Keys(by)) {
		if err := l.book.Learn(ctx, st, code, by[code]); err != nil {
			return nil, cursor, err
		}
	}
	at, err := cursorBytes(cursor)
	if err != nil {
		return nil, cursor, err
	}
	return st, cursor, l.book.Reached(ctx, st, at)
}

// interviews reads what the linkage needs of all interviews, by study; of one study only unless the code is empty.
func (l *linker) interviews(ctx context.Context, code string) (map[string][]linkage.Interview, error) {
	by := map[string][]linkage.Interview{}
	for iv, err := range l.store.Interviews(ctx, store.Filter{Study: code}) {
		if err != nil {
			return nil, fmt.Errorf("read the interviews: %w", err)
		}
		study := iv.GetSummary().GetStudy()
		by[study] = append(by[study], linkage.Interview{ID: iv.GetSummary().GetInterviewId(), Study: study, People: iv.GetPeople()})
	}
	return by, nil
}

func cursorBytes(c syncer.Cursor) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(c.Proto())
	if err != nil {
		return nil, fault.New(fault.Internal, "", "write a cursor: %w", err)
	}
	return b, nil
}

// follow takes in what the log holds behind a cursor.
func (l *linker) follow(ctx context.Context, st *linkage.State, cursor syncer.Cursor, gently bool) error {
	stale := map[string]bool{}
	for more := true; more; {
		start := time.Now()
		var page []store.Stored
		var err error
		if page, cursor, more, err = l.store.After(ctx, cursor, linkerPage); err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if len(page) == 0 {
			break
		}
		changed, err := l.changed(ctx, page)
		if err != nil {
			return err
		}
		at, err := cursorBytes(cursor)
		if err != nil {
			return err
		}
		if len(changed) == 0 && more {
			continue
		}
		old, err := l.book.Update(ctx, st, changed, at)
		if err != nil {
			return err
		}
		for _, code := range old {
			stale[code] = true
		}
		if gently && more {
			l.rest(ctx, time.Since(start))
		}
	}
	for code, study := range st.Studies {
		if _, err := l.book.Model(ctx, study); study.Changed > 0 && study.People <= alwaysLearn || fault.ReasonOf(err) == fault.ModelUnreadable {
			stale[code] = true // also where another version of the engine wrote the model
		}
	}
	for _, code := range slices.Sorted(maps.Keys(stale)) {
		if err := l.learn(ctx, st, code); err != nil {
			return err
		}
	}
	return nil
}

// rest waits where there are new projections, so that tablets which sync have the processor.
func (l *linker) rest(ctx context.Context, took time.Duration) {
	if len(l.woken) == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(min(linkerRest*took, linkerRestMost)):
	}
}

// changed reads the interviews that records of the log are about, as they are now.
func (l *linker) changed(ctx context.Context, page []store.Stored) ([]linkage.Interview, error) {
	if err := l.Project(ctx); err != nil {
		return nil, err
	}
	var out []linkage.Interview
	seen := map[string]bool{}
	for _, stored := range page {
		r, err := syncer.Open(stored.Raw)
		if err != nil {
			continue
		}
		switch r.GetKind() {
		case servicev1.RecordKind_RECORD_KIND_INTERVIEW, servicev1.RecordKind_RECORD_KIND_TOMBSTONE:
		default:
			continue
		}
		if seen[r.GetSubject()] {
			continue
		}
		seen[r.GetSubject()] = true
		iv, err := l.store.Interview(ctx, r.GetSubject())
		switch {
		case fault.KindOf(err) == fault.NotFound:
			out = append(out, linkage.Interview{ID: r.GetSubject()})
		case err != nil:
			return nil, err
		default:
			out = append(out, linkage.Interview{ID: r.GetSubject(), Study: iv.GetSummary().GetStudy(), People: iv.GetPeople()})
		}
	}
	return out, nil
}

// learn learns the model of a study anew.
func (l *linker) learn(ctx context.Context, st *linkage.State, code string) error {
	by, err := l.interviews(ctx, code)
	if err != nil {
		return err
	}
	return l.book.Learn(ctx, st, code, by[code])
}

// learnAnew learns the model of a study anew, of all studies if there is no code.
func (l *linker) learnAnew(ctx context.Context, code string) error {
	return l.alone(ctx, func(ctx context.Context, st *linkage.State, cursor syncer.Cursor) error {
		if err := l.follow(ctx, st, cursor, false); err != nil {
			return err
		}
		for _, known := range slices.Sorted(maps.Keys(st.Studies)) {
			if code != "" && known != code || st.Studies[known].Changed == 0 && st.Studies[known].Fitted == st.Studies[known].People {
				continue // nothing has come since
			}
			if err := l.learn(ctx, st, known); err != nil {
				return err
			}
		}
		return nil
	})
}

// score compares two people of a study; nil where one of them is not known there.
func (l *linker) score(ctx context.Context, code, a, b string) (p *servicev1.MatchPair, err error) {
	err = l.alone(ctx, func(ctx context.Context, st *linkage.State, _ syncer.Cursor) error {
		if st.Studies[code] == nil {
			return nil
		}
		p, err = l.book.Score(ctx, st.Studies[code], a, b)
		return err
	})
	return p, err
}

// search is what there is in a study, in all of them if there is no code, with everything that was acknowledged before.
func (s *Server) search(ctx context.Context, code string) (*dedup.Result, error) {
	found, err := s.searchQueue(ctx, code)
	return found.result, err
}

// searchQueue is search, with what is to be decided.
func (s *Server) searchQueue(ctx context.Context, code string) (found assembled, err error) {
	err = s.linker.alone(ctx, func(ctx context.Context, st *linkage.State, cursor syncer.Cursor) error {
		if err := s.linker.follow(ctx, st, cursor, false); err != nil {
			return err
		}
		if code != "" {
			found, err = s.linker.assemble(ctx, st, code)
		} else {
			found, err = s.linker.assembleAll(ctx, st)
		}
		if err != nil {
			return err
		}
		return s.linker.book.Unchanged(ctx, st)
	})
	return found, err
}

// assembleAll puts all studies together.
func (l *linker) assembleAll(ctx context.Context, st *linkage.State) (assembled, error) {
	all, queues := &dedup.Result{}, []*queue{}
	for _, code := range slices.Sorted(maps.Keys(st.Studies)) {
		found, err := l.assemble(ctx, st, code)
		if err != nil {
			return assembled{}, err
		}
		r := found.result
		all.People += r.People
		all.Households += r.Households
		all.Compared += r.Compared
		all.Possible += r.Possible
		all.Pairs = append(all.Pairs, r.Pairs...)
		all.Clusters = append(all.Clusters, r.Clusters...)
		all.Model = r.Model
		queues = append(queues, found.queue)
	}
	slices.SortStableFunc(all.Pairs, func(a, b *servicev1.MatchPair) int { return -cmp.Compare(a.GetWeight(), b.GetWeight()) })
	return assembled{result: all, queue: joinQueues(queues)}, nil
}

// assemble puts together the pairs of a study, its households and its decisions, or remembers what it put together.
func (l *linker) assemble(ctx context.Context, st *linkage.State, code string) (assembled, error) {
	study := st.Studies[code]
	if study == nil {
		return assembled{result: &dedup.Result{}, queue: &queue{}}, nil
	}
	cursor, err := l.store.Projected(ctx)
	if err != nil {
		return assembled{}, fmt.Errorf("find how far the projections are: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.found[code]; ok && old.version == st.Version && old.cursor.SameParts(cursor.Parts) {
		return old, nil
	}
	m, err := l.book.Model(ctx, study)
	if err != nil {
		return assembled{}, err
	}
	pairs, err := l.book.Pairs(ctx, study)
	if err != nil {
		return assembled{}, err
	}
	f, err := l.gather(ctx, code)
	if err != nil {
		return assembled{}, err
	}
	if code == "" { // which asks for all studies
		f.only(code)
	}
	var failed error
	r := m.Assemble(f.people, f.households, pairs, f.decisions, func(a, b string) *servicev1.MatchPair {
		p, err := l.book.Score(ctx, study, a, b)
		failed = cmp.Or(failed, err)
		return p
	})
	if failed != nil {
		return assembled{}, failed
	}
	r.Compared = study.Compared
	l.found[code] = assembled{st.Version, cursor, r, newQueue(r, f)}
	return l.found[code], nil
}

// only leaves of the people and households those of one study.
func (f *facts) only(code string) {
	f.people = slices.DeleteFunc(f.people, func(p *servicev1.PersonRecord) bool { return p.GetStudy() != code })
	f.households = slices.DeleteFunc(f.households, func(h *servicev1.HouseholdRecord) bool { return h.GetStudy() != code })
}
