package referral

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// projections puts facts into interviews as the store has them: each with a summary, and what else one interview tells.
func projections(f Facts) []*servicev1.InterviewProjection {
	var out []*servicev1.InterviewProjection
	for _, s := range f.Interviews {
		out = append(out, &servicev1.InterviewProjection{Summary: s})
	}
	of := func(interview string) *servicev1.InterviewProjection {
		for _, p := range out {
			if p.GetSummary().GetInterviewId() == interview {
				return p
			}
		}
		return nil
	}
	for _, p := range f.People {
		if at := of(p.GetInterviewId()); at != nil {
			at.People = append(at.People, p)
		}
	}
	for _, r := range f.Referrals {
		if at := of(r.GetInterviewId()); at != nil {
			at.Referrals = append(at.Referrals, r)
		}
	}
	for _, r := range f.Recruitments {
		if at := of(r.GetInterviewId()); at != nil && at.Recruitment == nil {
			at.Recruitment = r
		}
	}
	return out
}

// TestBytesAsMessages takes in the bytes of interviews, lean and not, and wants the graph that their messages make.
func TestBytesAsMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		all := projections(f)
		lean := rapid.Bool().Draw(t, "lean")
		want := Facts{Merged: f.Merged}
		in, err := NewIntake(0, "sex", "age_group", "site", "role")
		if err != nil {
			t.Fatal(err)
		}
		for _, iv := range all {
			s := iv.GetSummary()
			for _, p := range iv.GetPeople() {
				p.Sex = surveyv1.Sex(rapid.Int32Range(0, 2).Draw(t, "sex")).Enum()
				switch rapid.IntRange(0, 2).Draw(t, "told") {
				case 0:
					p.Age = proto.Int32(rapid.Int32Range(-1, 70).Draw(t, "age"))
				case 1:
					p.BirthDate = &surveyv1.PartialDate{Year: proto.Int32(rapid.Int32Range(1900, 1960).Draw(t, "year"))}
				}
				if lean {
					p.InterviewId, p.InterviewKey, p.SiteId, p.InterviewTimeMs = s.InterviewId, s.InterviewKey, s.SiteId, s.StartTimeMs
				}
			}
			want.Interviews = append(want.Interviews, s)
			want.People, want.Referrals = append(want.People, iv.GetPeople()...), append(want.Referrals, iv.GetReferrals()...)
			if iv.Recruitment != nil {
				want.Recruitments = append(want.Recruitments, iv.GetRecruitment())
			}
			sent := proto.CloneOf(iv)
			if lean {
				for _, p := range sent.GetPeople() {
					p.InterviewId, p.InterviewKey, p.SiteId, p.InterviewTimeMs = nil, nil, nil, nil
				}
				for _, r := range sent.GetReferrals() {
					r.InterviewId = nil
				}
				if sent.Recruitment != nil {
					sent.Recruitment.InterviewId = nil
				}
			}
			body, err := proto.Marshal(sent)
			if err != nil {
				t.Fatal(err)
			}
			if err := in.AddInterview(body, lean); err != nil {
				t.Fatal(err)
			}
			clear(body) // it must not be kept
		}
		p := in.Prepare()
		g := Build(want)
		if got := p.Build(f.Merged); !proto.Equal(g, got) {
			t.Fatalf("got another graph:\n%v\n%v", got, g)
		}
		if !proto.Equal(Stats(want, g), p.Stats(f.Merged)) {
			t.Fatal("got other counts")
		}
		values, err := Answers(want, []string{"sex", "age_group", "site", "role"})
		if err != nil {
			t.Fatal(err)
		}
		counts, got := p.Sample(f.Merged)
		if !proto.Equal(Stats(want, g), counts) {
			t.Fatal("got other counts with the sample")
		}
		checkSamples(t, SampleOf(want, g, values...), got)
	})
}

// checkSamples wants two samples to be the same but for names, and for ways and times told in records that contradict each
// other.
func checkSamples(t *rapid.T, want, got *Sample) {
	for name, same := range map[string]bool{
		"recruiters": slices.Equal(want.Recruiter, got.Recruiter), "roots": slices.Equal(want.Root, got.Root), "sizes": slices.Equal(want.Degree, got.Degree),
		"waves": slices.Equal(want.Wave, got.Wave), "seeds": slices.Equal(want.Seed, got.Seed), "recruits": slices.Equal(want.Recruits, got.Recruits),
	} {
		if !same {
			t.Fatalf("got other %s: %+v, want %+v", name, got, want)
		}
	}
	for k, o := range want.Outcomes {
		if !slices.Equal(o.Levels, got.Outcomes[k].Levels) {
			t.Fatalf("%s has levels %q, want %q", o.Name, got.Outcomes[k].Levels, o.Levels)
		}
		for i := range o.Level {
			x, y := "", ""
			if l := o.Level[i]; l != Unknown {
				x = o.Levels[l]
			}
			if l := got.Outcomes[k].Level[i]; l != Unknown {
				y = got.Outcomes[k].Levels[l]
			}
			if x != y {
				t.Fatalf("%s of row %d is %q, want %q", o.Name, i, y, x)
			}
		}
	}
}

// TestSampleOfPrepared wants of a study without contradictions the very sample that the graph gives.
func TestSampleOfPrepared(t *testing.T) {
	f := largeStudy(2_000)
	_, got := Prepare(f).Sample(nil)
	want := SampleOf(f, Build(f))
	want.IDs = got.IDs
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzAddInterview(f *testing.F) {
	for _, iv := range projections(largeStudy(3)) {
		b, _ := proto.Marshal(iv)
		f.Add(b, true)
		f.Add(b[:len(b)/2], false)
	}
	f.Fuzz(func(t *testing.T, body []byte, lean bool) {
		in, _ := NewIntake(0, "sex", "age_group", "site")
		if in.AddInterview(body, lean) == nil && proto.Unmarshal(body, &servicev1.InterviewProjection{}) == nil {
			in.Prepare().Stats(nil)
		}
	})
}
