package paradata

import (
	"fmt"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func near(got, want, exact int64) bool {
	return max(got-want, want-got) <= max(exact, max(want, -want)/20)
}

// What comes back are the same questions in the same order, with times to a twentieth, however long the interview is.
func TestTrailComesBack(t *testing.T) {
	questions := []string{"site_id", "household.members[0].age", "household.members[0].sex", "household.members[11].age", "household.housing.rooms", "a question of another schema"}
	rapid.Check(t, func(t *rapid.T) {
		in := Trail{InterviewID: "i"}
		at := rapid.Int64Range(0, 2e12).Draw(t, "start")
		for range rapid.IntRange(1, 60).Draw(t, "visits") {
			v := Visit{rapid.SampledFrom(questions).Draw(t, "question"), at, rapid.Int64Range(0, 600_000).Draw(t, "took"), uint32(rapid.IntRange(0, 3).Draw(t, "changes"))}
			in.Visits = append(in.Visits, v)
			at += rapid.Int64Range(0, 900_000).Draw(t, "gap")
		}
		p, err := Encode(in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Decode(p)
		if err != nil || len(out.Visits) != len(in.Visits) {
			t.Fatalf("%v, %v", out, err)
		}
		slack := int64(0)
		for i, got := range out.Visits {
			want := in.Visits[i]
			if i > 0 { // a start is as near as the gap before it was short, and makes up for what was wrong before
				slack = 51 + slack/10 + (want.StartMS-in.Visits[i-1].StartMS+in.Visits[i-1].Duration)/10
			}
			if got.Question != want.Question || got.Changes != want.Changes || !near(got.Duration, want.Duration, 50) || max(got.StartMS-want.StartMS, want.StartMS-got.StartMS) > slack {
				t.Fatalf("visit %d is %+v, want %+v", i, got, want)
			}
		}
	})
}

func TestEncodeRefuses(t *testing.T) {
	for _, visits := range [][]Visit{nil, make([]Visit, MaxVisits+1), {{"", 1, 1, 0}}, {{"a", 1, -1, 0}}, {{"a", 2, 1, 0}, {"a", 1, 1, 0}}} {
		if _, err := Encode(Trail{"i", visits}); err == nil {
			t.Errorf("%d visits were taken", len(visits))
		}
	}
}

// A visit takes four bytes, before anything is compressed.
func TestVisitsAreSmall(t *testing.T) {
	in := Trail{InterviewID: "8f14e45f-ceea-467f-a8f5-2d1f2a1f0001"}
	for i := range 220 {
		in.Visits = append(in.Visits, Visit{fmt.Sprintf("household.members[%d].age", i/5), 1467334800000 + int64(i)*7000, 4000, 1})
	}
	p, err := Encode(in)
	if n := proto.Size(p); err != nil || n > 5*220 {
		t.Errorf("220 visits take %d bytes, %v", n, err)
	}
}

// FuzzDecode feeds the reader.
func FuzzDecode(f *testing.F) {
	p, err := Encode(Trail{"i", []Visit{{"site_id", 5, 4, 3}, {"x", 9, 4000, 0}}})
	if err != nil {
		f.Fatal(err)
	}
	raw, err := proto.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := &servicev1.Paradata{}
		if proto.Unmarshal(raw, p) != nil {
			return
		}
		if out, err := Decode(p); err == nil && len(out.Visits) != len(p.GetDurations()) {
			t.Fatal("visits were lost")
		}
	})
}
