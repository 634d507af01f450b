package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// The sizes on the wire do not depend on how busy a machine is, so that their targets are tests.
func TestWireTargets(t *testing.T) {
	if testing.Short() {
		t.Skip("nothing of it happens at the same time: whole runs pack")
	}
	team, err := newBenchTeam(300, 1, 100)
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := wireSizes(team.sample)
	if err != nil {
		t.Fatal(err)
	}
	packed, xml := sizes[0], sizes[len(sizes)-1]
	t.Logf("bytes per household interview alone, by 20, by 100: %d %d %d packed, %d %d %d as gzip of XML",
		packed.Alone, packed.Batch20, packed.Batch100, xml.Alone, xml.Batch20, xml.Batch100)
	if ratio := float64(packed.Batch100) / float64(xml.Batch100); ratio > 0.5 {
		t.Errorf("a batch of 100 has %.3f of the bytes of gzip'd XML, want at most 0.5", ratio)
	}
	if ratio := float64(packed.Alone) / float64(xml.Alone); ratio > 0.25 {
		t.Errorf("an interview alone has %.3f of the bytes of its gzip'd XML, want at most 0.25", ratio)
	}
}

// What --all measures of one tablet runs, and finds that a sync with nothing new is one round trip.
func TestTabletBenchRuns(t *testing.T) {
	var out bytes.Buffer
	e := &env{ctx: t.Context(), stdout: &out, stderr: io.Discard}
	all, err := measureTablet(e, t.TempDir(), 30)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[1].Met == nil || !*all[1].Met {
		t.Errorf("measured %+v, want two rows and one round trip with nothing new", all)
	}
	no := false
	all = append(all, verdict{What: "what is not met", Target: "more", Met: &no})
	if err := (&benchCmd{}).printSections(e, []section{{"one tablet", all}}); !errors.Is(err, errFound) {
		t.Fatalf("what is not met ends with %v", err)
	}
	for _, want := range []string{"-- one tablet", "nothing new", "NOT met", "of 3 promises are met"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, out.String())
		}
	}
}
