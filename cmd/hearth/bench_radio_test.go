package main

import (
	"context"
	"testing"
	"time"
)

// The bench of radio runs, and everything arrives. How long it takes depends on who else uses the machine: no bound here.
func TestRadioBenchRuns(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b := &radioBench{scale: 40, interviews: 6, reps: 1, openRosa: true, photo: 20_000, dir: t.TempDir()}
	all, err := b.measure(ctx, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 5 {
		t.Errorf("%d rows, want 5: %v", len(all), all)
	}
	for _, v := range all {
		t.Log(v.What, v.Measured)
	}
}
