package referral

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
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
		in := NewIntake(0)
		for _, iv := range all {
			s := iv.GetSummary()
			for _, p := range iv.GetPeople() {
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
	})
}

func FuzzAddInterview(f *testing.F) {
	for _, iv := range projections(largeStudy(3)) {
		b, _ := proto.Marshal(iv)
		f.Add(b, true)
		f.Add(b[:len(b)/2], false)
	}
	f.Fuzz(func(t *testing.T, body []byte, lean bool) {
		in := NewIntake(0)
		if in.AddInterview(body, lean) == nil && proto.Unmarshal(body, &servicev1.InterviewProjection{}) == nil {
			in.Prepare().Stats(nil)
		}
	})
}
