package server

import (
	"maps"
	"testing"

	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Two servers over one store project it in turns, and at the same time: neither is left behind, and what they make is what
// the log says.
func TestTwoProjectors(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		other := newDesk(t, d.store)
		tb := newTablet("two")
		tb.greet(t, d)
		var parent syncer.Digest
		iv := household(1)
		for n := range 12 {
			iv.Remarks = proto.String(string(rune('a' + n)))
			raw := tb.record(t, iv, func(r *servicev1.Record) {
				if n > 0 {
					r.Parents = [][]byte{parent[:]}
				}
			})
			parent = syncer.DigestOf(raw)
			tb.push(t, d, raw, tb.record(t, household(100+n), nil))
			switch n % 3 {
			case 0:
				project(t, d)
			case 1:
				project(t, other)
			case 2:
				done := make(chan error, 1)
				go func() { done <- other.Project(t.Context()) }()
				project(t, d)
				if err := <-done; err != nil {
					t.Errorf("the other at the same time: %v", err)
				}
			}
		}
		for _, one := range []*desk{d, other, d} {
			project(t, one)
		}
		head, err := d.store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		at, err := d.store.Projected(t.Context())
		if err != nil || !maps.Equal(at.Parts, head.Parts) {
			t.Errorf("projected up to %v, %v; the log ends at %v", at.Parts, err, head.Parts)
		}
		got, err := d.store.Interview(t.Context(), iv.GetInterviewId())
		if err != nil || got.GetSummary().GetRevisions() != 12 || len(got.GetSummary().GetHeads()) != 1 {
			t.Errorf("interview = %v, %v; want its 12 revisions", got.GetSummary(), err)
		}
		report, err := d.store.Check(t.Context(), store.CheckOptions{Rebuild: d.Rebuild})
		if err != nil || len(report.Findings) != 0 {
			t.Errorf("check = %+v, %v", report, err)
		}
	})
}

func project(t *testing.T, d *desk) {
	t.Helper()
	if err := d.Project(t.Context()); err != nil {
		t.Errorf("project: %v", err)
	}
}
