//go:build planted

package sim_test

import (
	"context"
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/syncer/plant"
	"github.com/hearth-survey/hearth/syncer/syncertest/sim"
)

var bug = flag.String("bug", "", "let in this bug alone")

// Every planted bug is found by the stories that anybody runs, and without a bug the same stories are well.
func TestPlanted(t *testing.T) {
	defer plant.Let("")
	if len(plant.All()) < 15 {
		t.Fatalf("only %d bugs are planted", len(plant.All()))
	}
	const most = 250
	last := uint64(40)
	for _, b := range plant.All() {
		if *bug != "" && *bug != string(b) {
			continue
		}
		began := time.Now()
		plant.Let(b)
		if told, r, name := sim.TellAll(t.Context()); r != nil {
			t.Logf("%-20s scenario %d, %s, %v: %s", b, told, name, time.Since(began).Round(time.Millisecond), r.Failure)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		sum := sim.Many(ctx, 1, most, runtime.GOMAXPROCS(0), 1, nil)
		cancel()
		if len(sum.Failed) == 0 {
			t.Errorf("%s is not found by %d stories", b, sum.Stories)
			continue
		}
		f := sum.Failed[0]
		last = max(last, f.Seed)
		t.Logf("%-20s seed %4d, %v: %s", b, f.Seed, time.Since(began).Round(time.Millisecond), f.Result.Failure)
	}
	plant.Let("")
	sum := sim.Many(t.Context(), 1, min(last, 150), runtime.GOMAXPROCS(0), 1, nil)
	for _, f := range sum.Failed {
		t.Errorf("no bug is let in, and seed %d fails: %s", f.Seed, f.Result.Failure)
	}
}
