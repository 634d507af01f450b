package sqlite

import (
	"context"
	"slices"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

const interviewKind = servicev1.RecordKind_RECORD_KIND_INTERVIEW

// listing is a projector that names the records of interviews, as the server's does.
func listing(ctx context.Context, log store.Log, apply func(*store.Changes) error) error {
	cursor := syncer.Cursor{}
	for {
		page, next, more, err := log.After(ctx, cursor, 3)
		if err != nil {
			return err
		}
		c := &store.Changes{Cursor: next, Records: [][]uint64{}}
		for _, r := range page {
			e, err := syncer.Open(r.Raw)
			if err != nil {
				return err
			}
			all, err := log.Revisions(ctx, r.Part, interviewKind, e.GetSubject())
			if err != nil {
				return err
			}
			var counters []uint64
			for _, st := range all {
				counters = append(counters, st.Counter)
			}
			c.Interviews = append(c.Interviews, &servicev1.InterviewProjection{Summary: &servicev1.InterviewSummary{
				InterviewId: e.Subject, Part: proto.Uint64(r.Part), Revisions: proto.Uint32(uint32(len(all)))}})
			c.Records = append(c.Records, counters)
		}
		if err := apply(c); err != nil || !more {
			return err
		}
		cursor = next
	}
}

// However far the projections are, and whether or not they name records, all revisions are found.
func TestRevisionsWhileProjecting(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := faultdisk.New(1)
		defer d.Close()
		s := open(t, d.Path("hq"), Options{Disk: d})
		defer s.Close()
		b := storetest.NewTablet(1)
		want := map[string]int{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			switch rapid.IntRange(0, 2).Draw(rt, "step") {
			case 0:
				err := listing(t.Context(), s, func(c *store.Changes) error {
					if rapid.IntRange(0, 9).Draw(rt, "unnamed") == 0 {
						c.Records = nil
					}
					return s.Apply(t.Context(), c)
				})
				if err != nil {
					rt.Fatal(err)
				}
			default:
				var records []storetest.Raw
				for _, n := range rapid.SliceOfN(rapid.Uint64Range(1, 5), 1, 6).Draw(rt, "subjects") {
					subject := storetest.Subject(n)
					records = append(records, b.Record(t, n%2, subject, nil))
					want[subject]++
				}
				b.Push(t, s, records...)
			}
			for n := uint64(1); n <= 5; n++ {
				subject := storetest.Subject(n)
				got, err := s.Revisions(t.Context(), n%2, interviewKind, subject)
				if err != nil || len(got) != want[subject] {
					rt.Fatalf("%d revisions of %s, %v; want %d", len(got), subject, err, want[subject])
				}
				for _, r := range got {
					if one, err := s.Record(t.Context(), n%2, subject, r.Digest); err != nil || one.Counter != r.Counter {
						rt.Fatalf("Record = %d, %v; want %d", one.Counter, err, r.Counter)
					}
				}
			}
		}
	})
}

// A list of records that is wrong is seen by a check, which does not rely upon it.
func TestCheckSeesWrongList(t *testing.T) {
	for name, script := range map[string]string{
		"too few":  `UPDATE interview SET records = x'01'`,
		"none":     `UPDATE interview SET records = NULL`,
		"cut off":  `UPDATE interview SET records = x'80'`,
		"too far":  `UPDATE cursor SET listed = listed - 1`,
		"as it is": `SELECT 1`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			b := storetest.NewTablet(1)
			b.Push(t, s, b.Record(t, 7, "x", nil), b.Record(t, 7, "x", nil), b.Record(t, 7, "x", nil))
			if err := listing(t.Context(), s, func(c *store.Changes) error { return s.Apply(t.Context(), c) }); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			tamper(t, dir+"/"+projectionFile, script)
			r, err := open(t, dir, Options{}).Check(t.Context(), store.CheckOptions{Rebuild: listing})
			if err != nil || !r.Rebuilt {
				t.Fatalf("Check = %+v, %v", r, err)
			}
			differs := slices.ContainsFunc(r.Findings, func(f store.Finding) bool { return strings.Contains(f.Message, "differs from what the log gives") })
			if differs != (name != "as it is") {
				t.Errorf("findings: %+v", r.Findings)
			}
		})
	}
}
