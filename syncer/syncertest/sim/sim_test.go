package sim_test

import (
	"context"
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/syncer/syncertest/sim"
)

var (
	seed  = flag.Uint64("seed", 0, "tell the story of this seed alone, with its trace")
	seeds = flag.Uint64("seeds", 0, "how many stories to tell")
	first = flag.Uint64("first", 1, "the first seed")
	told  = flag.String("story", "", "tell this story")
)

// Stories of a field team under faults: nothing is lost, nothing doubled, whatever happens. `make sim` tells thousands.
func TestSim(t *testing.T) {
	if *seed > 0 || *told != "" {
		story := sim.Tell(*seed)
		if *told != "" {
			var err error
			if story, err = sim.Parse(*told); err != nil {
				t.Fatal(err)
			}
			story.Seed = *seed
		}
		r := sim.Run(t.Context(), story, sim.Options{Rebuild: true})
		t.Log("\n" + r.Trace)
		if r.Failure != "" {
			t.Errorf("step %d: %s", r.Step, r.Failure)
		}
		return
	}
	if testing.Short() {
		t.Log("the scenarios are told in whole runs")
	} else if told, r, name := sim.TellAll(t.Context()); r != nil {
		t.Errorf("scenario %d, %s, step %d: %s\n%s", told, name, r.Step, r.Failure, r.Trace)
	}
	n := *seeds
	switch {
	case n > 0:
	case testing.Short():
		n = 5
	default:
		n = 60
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	sum := sim.Many(ctx, *first, n, runtime.GOMAXPROCS(0), 5, nil)
	t.Logf("%d stories, %d steps, %d calls, %d power cuts", sum.Stories, sum.Steps, sum.Calls, sum.Crashes)
	for _, f := range sum.Failed {
		shortest := sim.Shorten(ctx, f.Result)
		t.Errorf("seed %d, step %d: %s\nshortest: -seed %d -story '%s'\nwhich gives: %s\n%s", f.Seed, f.Result.Step, f.Result.Failure, f.Seed, shortest.Story, shortest.Failure, shortest.Trace)
	}
	if ctx.Err() != nil {
		t.Errorf("the time was up after %d of %d stories", sum.Stories, n)
	}
	if sum.Crashes == 0 {
		t.Error("no disk lost power")
	}
}

// The same seed tells the same story, byte for byte.
func TestSameSeedSameStory(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 7, 8} // the last two with hubs
	if testing.Short() {
		seeds = []uint64{1, 7}
	}
	for _, s := range seeds {
		a, b := sim.Seed(t.Context(), s), sim.Seed(t.Context(), s)
		if a.Trace != b.Trace {
			t.Errorf("seed %d tells two stories:\n%s\n%s", s, a.Trace, b.Trace)
		}
		parsed, err := sim.Parse(a.Story.String())
		if err != nil || parsed.String() != a.Story.String() {
			t.Errorf("seed %d: %v is read as %v, %v", s, a.Story, parsed, err)
		}
	}
}
