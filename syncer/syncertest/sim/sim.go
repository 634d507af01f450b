// Package sim tells stories of a whole field team in one process: tablets with their stores, headquarters with its server
// and store, disks that lose power, a network that loses, delays and doubles, clocks that are wrong. Everything is real
// but the disks, the network and the time, and one of the team is at work at any moment, so that a seed tells the same
// story again. After every step and at the end it is looked at what must be true.
//
// It is for `hearth simulate --faults` and for tests. It does not run processes, does not open ports, and proves
// nothing of what lies outside the process: cmd/hearth/crashtest does.
package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/syncertest"
)

// Options say how a story is run.
type Options struct {
	// Rebuild makes the projections anew at the end and compares them byte for byte. It costs as much as the story.
	Rebuild bool
}

// Result is how a story went.
type Result struct {
	Story Story
	// Trace is what happened, line by line.
	Trace string
	// Failure is the first thing that was not true; empty: all was well.
	Failure string
	// Step is the number of the step at which it failed, from 1; one more than there are: at the end.
	Step int
	// Calls and Crashes count the calls to headquarters and the power cuts of all disks.
	Calls, Crashes int
}

// world is a story while it is told.
type world struct {
	ctx     context.Context
	story   Story
	opts    Options
	rand    *rand.Rand // of the step
	now     time.Time  // at headquarters
	log     strings.Builder
	res     *Result
	opened  int
	records int

	hq      *headquarters
	tablets []*tab
	orders  []string          // assignments
	moved   map[string]bool   // those that were handed over or taken back
	forced  map[string]string // to whom some were given without waiting
	reviews int
	photos  map[syncer.BlobID]map[string]bool // attachments, and of which interviews
	temp    string                            // a folder for what lies in files; empty: none yet
	folders int                               // made in it
	// everWithdrawn are the interviews that were withdrawn at some time.
	everWithdrawn map[string]bool
	rulings       map[string][]ruled         // of interviews, at the end
	answers       map[string]bool            // interviews and the digests of rejections that their revisions answer
	done          map[string]map[string]bool // interviews of assignments in headquarters' log, at the end
	hubs          [places]*hub               // those that stand now, nil where none does
	burnt         int
	at            *hub // of the step
	visited       map[*hub]bool
	enrolled      map[syncer.ID]bool   // hubs, at headquarters
	joined        map[syncer.ID]bool   // tablets that headquarters has enrolled
	proofs        map[syncer.ID]uint64 // with which number each of them has opened a session last
	backups       []backup
	saved         []saved
	late          []lateCall
	sent          []lateCall // batches that have arrived once
	touched       map[*tab]bool
	proven        map[syncer.Digest]bool
	withdrawn     map[string]bool
	revoked       map[syncer.ID]bool
	forks         []branch        // of which headquarters said that they are of another branch
	studies       []syncer.Digest // definitions in headquarters' log, at the end
	names         map[syncer.Digest]string
}

// broken is how a story ends that has failed.
type broken string

// fail ends the story.
func (w *world) fail(format string, args ...any) {
	panic(broken(fmt.Sprintf(format, args...)))
}

// must ends the story on an error that no fault excuses.
func (w *world) must(err error, format string, args ...any) {
	if err != nil {
		w.fail("%s: %v", fmt.Sprintf(format, args...), err)
	}
}

func (w *world) trace(format string, args ...any) {
	fmt.Fprintf(&w.log, format+"\n", args...)
}

// Run tells a story and looks at it.
func Run(ctx context.Context, story Story, opts Options) (res *Result) {
	res = &Result{Story: story}
	w := &world{
		ctx: ctx, story: story, opts: opts, res: res, rand: newRand(story.Seed, 1),
		now: time.Date(2016, 7, 1, 8, 0, 0, 0, time.UTC), touched: map[*tab]bool{}, proven: map[syncer.Digest]bool{},
		withdrawn: map[string]bool{}, names: map[syncer.Digest]string{}, moved: map[string]bool{}, photos: map[syncer.BlobID]map[string]bool{}, everWithdrawn: map[string]bool{}, forced: map[string]string{}, rulings: map[string][]ruled{}, answers: map[string]bool{}, joined: map[syncer.ID]bool{}, proofs: map[syncer.ID]uint64{},
		done: map[string]map[string]bool{}, revoked: map[syncer.ID]bool{}, visited: map[*hub]bool{}, enrolled: map[syncer.ID]bool{},
	}
	defer func() {
		p := recover()
		if b, ok := p.(broken); ok {
			res.Failure, p = string(b), nil
		}
		err := w.close()
		if p != nil {
			panic(p)
		}
		if err != nil && res.Failure == "" {
			res.Failure = fmt.Sprintf("close: %v", err)
		}
		if res.Failure != "" {
			w.trace("BROKEN  %s", res.Failure)
		}
		res.Trace = w.log.String()
	}()
	w.begin()
	for i, s := range story.Steps {
		if ctx.Err() != nil {
			w.fail("%v", context.Cause(ctx))
		}
		res.Step = i + 1
		w.step(s)
		w.check()
	}
	res.Step = len(story.Steps) + 1
	w.heal()
	return res
}

// step lets one thing happen.
func (w *world) step(s Step) {
	w.trace("%d  %s", w.res.Step, s)
	w.rand = newRand(uint64(s.Seed), w.story.Seed)
	w.now = w.now.Add(time.Duration(1+w.rand.IntN(600)) * time.Second)
	do := verbs()[s.Verb]
	if do == nil {
		w.fail("there is no verb %q", s.Verb)
	}
	w.at = nil
	do(w, s)
}

// begin makes the team: headquarters and two tablets.
func (w *world) begin() {
	w.hq = &headquarters{w: w}
	w.hq.begin()
	for range 2 {
		w.newTablet(len(w.tablets))
	}
}

func (w *world) close() error {
	var errs []error
	if w.temp != "" {
		errs = append(errs, os.RemoveAll(w.temp))
	}
	for _, t := range w.tablets {
		errs = append(errs, t.end())
	}
	for _, h := range w.standing() {
		errs = append(errs, h.end())
	}
	return errors.Join(append(errs, w.hq.end())...)
}

// random is a source of ids of its own for whoever opens something.
func (w *world) random() *syncertest.Source {
	w.opened++
	return syncertest.Random(fmt.Sprintf("story %d, %d", w.story.Seed, w.opened))
}

func newRand(a, b uint64) *rand.Rand { return rand.New(rand.NewPCG(a, b)) }

// name is what the trace calls a record.
func (w *world) name(d syncer.Digest) string {
	if n, ok := w.names[d]; ok {
		return n
	}
	return fmt.Sprintf("%.4x", d[:])
}

// tablet is the tablet a step is about.
func (w *world) tablet(s Step) *tab { return w.tablets[(max(s.Who, 1)-1)%len(w.tablets)] }
