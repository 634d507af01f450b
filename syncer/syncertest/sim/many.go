package sim

import (
	"context"
	"sync"
)

// rebuildEvery is how many stories there are to one at whose end the projections are made anew.
const rebuildEvery = 10

// Failed is a story that failed.
type Failed struct {
	Seed   uint64
	Result *Result
}

// Summary is what telling many stories has given.
type Summary struct {
	Stories, Steps, Calls, Crashes int
	Failed                         []Failed
}

// Seed tells the story of a seed, as Many does.
func Seed(ctx context.Context, seed uint64) *Result {
	return Run(ctx, Tell(seed), Options{Rebuild: seed%rebuildEvery == 0})
}

// Many tells the stories of n seeds from the first on, so many at a time, until so many have failed. Progress is told how
// many are done; it may be nil.
func Many(ctx context.Context, first, n uint64, workers, most int, progress func(done int)) Summary {
	var (
		mu   sync.Mutex
		sum  Summary
		next = first
		wait sync.WaitGroup
	)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil || next >= first+n || len(sum.Failed) >= most {
			return 0, false
		}
		next++
		return next - 1, true
	}
	done := func(seed uint64, r *Result) {
		mu.Lock()
		defer mu.Unlock()
		sum.Stories++
		sum.Steps += len(r.Story.Steps)
		sum.Calls += r.Calls
		sum.Crashes += r.Crashes
		if r.Failure != "" {
			sum.Failed = append(sum.Failed, Failed{Seed: seed, Result: r})
		}
		if progress != nil {
			progress(sum.Stories)
		}
	}
	for range max(workers, 1) {
		wait.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				r := Seed(ctx, seed)
				if ctx.Err() == nil {
					done(seed, r)
				}
			}
		})
	}
	wait.Wait()
	return sum
}

// Shorten takes steps away from a story for as long as it fails in the same way: in halves, then in smaller pieces.
func Shorten(ctx context.Context, r *Result) *Result {
	best := r
	if r.Step <= len(r.Story.Steps) {
		best = try(ctx, r, r.Story.Steps[:r.Step])
		if best == nil {
			best = r
		}
	}
	for size := (len(best.Story.Steps) + 1) / 2; size >= 1; size /= 2 {
		for at := 0; at < len(best.Story.Steps) && ctx.Err() == nil; {
			less := append([]Step{}, best.Story.Steps[:at]...)
			less = append(less, best.Story.Steps[min(at+size, len(best.Story.Steps)):]...)
			if shorter := try(ctx, best, less); shorter != nil {
				best = shorter
			} else {
				at += size
			}
		}
	}
	return best
}

// try runs the story with other steps and returns how it went if it failed in the same way.
func try(ctx context.Context, r *Result, steps []Step) *Result {
	got := Run(ctx, Story{Seed: r.Story.Seed, Steps: steps}, Options{Rebuild: kind(r.Failure) == "CHECK"})
	if got.Failure == "" || kind(got.Failure) != kind(r.Failure) {
		return nil
	}
	return got
}

// kind is the first word of a failure.
func kind(failure string) string {
	for i, c := range failure {
		if c == ':' || c == ' ' {
			return failure[:i]
		}
	}
	return failure
}
