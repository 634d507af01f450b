package main

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/syncer/syncertest/sim"
)

// faultsAnswer is what --faults --json prints.
type faultsAnswer struct {
	Stories   int             `json:"stories"`
	Steps     int             `json:"steps"`
	Calls     int             `json:"calls"`
	PowerCuts int             `json:"power_cuts"`
	Seconds   float64         `json:"seconds"`
	Failures  []faultsFailure `json:"failures"`
}

// faultsFailure is a story that failed.
type faultsFailure struct {
	Seed    uint64 `json:"seed"`
	Step    int    `json:"step"`
	Failure string `json:"failure"`
	// Shortest is the shortest story found in it that fails in the same way.
	Shortest string `json:"shortest"`
	Replay   string `json:"replay"`
}

// runFaults tells stories of a field team under faults.
func (c *simulateCmd) runFaults(e *env) error {
	if c.Story != "" || c.Verbose {
		return c.tellOne(e)
	}
	if c.Seeds < 1 {
		return fmt.Errorf("%w: --seeds must be at least 1", errUsage)
	}
	began := time.Now()
	answer := faultsAnswer{Failures: []faultsFailure{}}
	told, failed, name := sim.TellAll(e.ctx)
	if failed != nil && e.ctx.Err() == nil {
		return fmt.Errorf("the scenario %q fails at step %d: %s", name, failed.Step, failed.Failure)
	}
	bar := e.progress("stories")
	sum := sim.Many(e.ctx, c.Seed, uint64(c.Seeds), runtime.GOMAXPROCS(0), 3, func(done int) { bar(done, c.Seeds) })
	if err := e.ctx.Err(); err != nil {
		return err
	}
	answer.Stories, answer.Steps, answer.Calls, answer.PowerCuts = sum.Stories+told, sum.Steps, sum.Calls, sum.Crashes
	for _, f := range sum.Failed {
		answer.Failures = append(answer.Failures, faultsFailure{
			Seed: f.Seed, Step: f.Result.Step, Failure: f.Result.Failure, Shortest: sim.Shorten(e.ctx, f.Result).Story.String(),
			Replay: fmt.Sprintf("hearth simulate --faults --seed %d -v", f.Seed),
		})
	}
	answer.Seconds = time.Since(began).Seconds()
	if err := c.answerFaults(e, answer); err != nil {
		return err
	}
	if len(answer.Failures) > 0 {
		return errFound
	}
	return nil
}

func (c *simulateCmd) answerFaults(e *env, a faultsAnswer) error {
	if c.JSON {
		return anyJSONLine(e, a)
	}
	var b strings.Builder
	for _, f := range a.Failures {
		fmt.Fprintf(&b, "seed %d fails at step %d: %s\n  shortest: %s\n  replay:   %s\n", f.Seed, f.Step, f.Failure, f.Shortest, f.Replay)
	}
	fmt.Fprintf(&b, "%d stories, %d steps, %d calls, %d power cuts in %.1f s: %d failed\n", a.Stories, a.Steps, a.Calls, a.PowerCuts, a.Seconds, len(a.Failures))
	_, err := fmt.Fprint(e.stdout, b.String())
	return err
}

// tellOne tells one story and prints all of it.
func (c *simulateCmd) tellOne(e *env) error {
	story := sim.Tell(c.Seed)
	if c.Story != "" {
		var err error
		if story, err = sim.Parse(c.Story); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		story.Seed = c.Seed
	}
	r := sim.Run(e.ctx, story, sim.Options{Rebuild: true})
	if _, err := fmt.Fprint(e.stdout, r.Trace); err != nil {
		return err
	}
	if r.Failure != "" {
		return errFound
	}
	return say(e, fmt.Sprintf("seed %d: %d steps, all is well", c.Seed, len(story.Steps)))
}
