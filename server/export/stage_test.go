package export

import (
	"context"
	"fmt"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/paradata"
)

// trial is a stage that does each thing a stage can do.
type trial struct {
	women, added int
	seen         int64
}

func (s *trial) layOut(j *job) error {
	person := j.plan.table("person")
	s.added = person.addColumn(Column{Name: "sex", Kind: KindInteger, Label: text("Women in the study", "女性人数")})
	person.Columns[person.column("ethnic_group")].hidden = true
	return nil
}

func (s *trial) looks() bool { return true }

func (s *trial) look(_ *extractor, r *row) error {
	if t := r.table; t.Name == "person" && r.cells[t.column("sex")].i == 2 {
		s.women++
	}
	return nil
}

func (s *trial) row(x *extractor, r *row) (bool, error) {
	for i := range r.table.Keys {
		if r.cells[i].s != "" {
			r.cells[i].s = "x" + r.cells[i].s
		}
	}
	if r.table.Name == "person" {
		r.cells[s.added] = intCell(int64(s.women))
	}
	return !(r.table.Name == "interview" && x.summary.GetInterviewId() == "i-2"), nil
}

func (s *trial) finish(j *job, layouts map[*Table]*layout) error {
	s.seen = j.stats[layouts[j.plan.table("person")].table].rows
	j.warnings = append(j.warnings, "tried")
	return nil
}

func (s *trial) record(m *Manifest) { m.Note = fmt.Sprint(s.seen) }

// TestStage sees that a stage can add and hide columns, look first, change keys once at every level, and leave out an
// interview with all below it.
func TestStage(t *testing.T) {
	sink := &memory{}
	j, err := newJob(small(), Options{Formats: []servicev1.ExportFormat{asCSV, asStata, asSPSS}, Profile: identified}, sink, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.use([]stage{&trial{}}); err != nil {
		t.Fatal(err)
	}
	m, err := j.run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if m.Note != "2" || !strings.Contains(strings.Join(m.Warnings, " "), "tried") {
		t.Errorf("manifest: %q %q", m.Note, m.Warnings)
	}
	people := records(t, sink.files["csv/person.csv"])
	if len(people) != 2 {
		t.Fatalf("got %d people, want the two of the first interview", len(people))
	}
	for _, p := range people {
		if p["interview_id"] != "xi-1" || p["household_id"] != "xh-1" || p["sex_2"] != "1" {
			t.Errorf("got %s %s, %s women", p["interview_id"], p["household_id"], p["sex_2"])
		}
		for _, name := range []string{"ethnic_group", "ethnic_group_why"} {
			if _, there := p[name]; there {
				t.Errorf("%s is there", name)
			}
		}
	}
	for _, name := range readStata(t, sink.files["stata/person.dta"]).names {
		if strings.HasPrefix(name, "ethnic_group") {
			t.Errorf("%s is in the Stata file", name)
		}
	}
}

// TestParadata finds the visits to questions in a table of their own, with what they are about.
func TestParadata(t *testing.T) {
	p, err := paradata.Encode(paradata.Trail{InterviewID: "i-1", Visits: []paradata.Visit{
		{Question: "start_time", StartMS: 1467622800000, Duration: 500},
		{Question: "household.members[1].hukou_place.province", StartMS: 1467622801000, Duration: 2000, Changes: 3},
		{Question: "household.members[0].identity.full_name", StartMS: 1467622804000, Duration: 100},
		{Question: "household.members[9].age", StartMS: 1467622805000, Duration: 100},
		{Question: "what 王芳 said", StartMS: 1467622806000, Duration: 100},
	}})
	if err != nil {
		t.Fatal(err)
	}
	src := small()
	old := src.Interviews
	src.Interviews = func(yield func(*Answered, error) bool) {
		for a, err := range old {
			b := *a
			if b.Interview.GetInterviewId() == "i-1" {
				b.Paradata = []*servicev1.Paradata{p, {Durations: []uint32{1}}}
			}
			if !yield(&b, err) {
				return
			}
		}
	}
	for profile, want := range map[servicev1.PrivacyProfile][]string{
		identified: {
			"i-1 1 interview start_time     start_time 0.5 0", "i-1 2 person hukou_place_province h-? p-2 2 2 household.members[1].hukou_place.province 2 3",
			"i-1 3 person full_name h-? p-1 1 1 household.members[0].identity.full_name 0.1 0", "i-1 4 person  h-?   10 household.members[9].age 0.1 0",
			"i-1 5 interview      what 王芳 said 0.1 0",
		},
		research: {
			"i-1 1 interview start_time     start_time 0.5 0", "i-1 2 person hukou_place_province h-? p-2 2 2 household.members[1].hukou_place.province 2 3",
			"i-1 3 person  h-? p-1 1 1 household.members[0].identity.full_name 0.1 0", "i-1 4 person  h-?   10 household.members[9].age 0.1 0",
			"i-1 5 interview       0.1 0",
		},
	} {
		files, m := export(t, src, Options{Profile: profile, Formats: []servicev1.ExportFormat{asCSV}})
		for i, r := range records(t, files.files["csv/paradata.csv"]) {
			var got []string
			for _, c := range []string{"interview_id", "sequence", "table", "variable", "household_id", "person_id", "line_number", "position", "question", "duration_seconds", "changes"} {
				got = append(got, r[c])
			}
			if g := strings.Join(got, " "); i >= len(want) || g != strings.Replace(want[i], "h-?", "h-1", 1) {
				t.Errorf("visit %d: got %q", i, g)
			}
		}
		if w := strings.Join(m.Warnings, "\n"); !strings.Contains(w, "1 interviews have paradata that cannot be read") {
			t.Errorf("warnings: %s", w)
		}
	}
}
