// Package projection derives from the revisions of one interview everything that the server counts, compares and draws:
// its summary, the people and the household it tells of, the referrals, and what is doubtful about it. It is for the
// server's projector and for whoever checks that stored projections are right.
//
// It is a pure function of the set of revisions: any order gives the same bytes. It never fails on what an interview
// says; what cannot be read is flagged. It does not compare interviews with each other, judge duplicates, or read a
// clock.
package projection

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// DefaultZone is the time of China, by which days are told where no other zone is given.
var DefaultZone = time.FixedZone("Asia/Shanghai", 8*60*60)

// Revision is one revision of an interview.
type Revision struct {
	Digest syncer.Digest
	Record *servicev1.Record
	// Interview is the record's payload; if nil it is parsed from the record.
	Interview *surveyv1.Interview
}

// Builder makes projections. The zero value uses DefaultZone and evaluates no checks.
type Builder struct {
	// Zone is where days begin and end.
	Zone *time.Location
	// Evaluate returns the failed checks of an interview, in the same order for the same interview; the builder fills in
	// of which interview they are.
	Evaluate func(*surveyv1.Interview) []*servicev1.Flag
}

// Interview makes the projection of the revisions of one interview in China's time. It fails only if there are none.
func Interview(revs []Revision, eval func(*surveyv1.Interview) []*servicev1.Flag) (*servicev1.InterviewProjection, error) {
	return Builder{Evaluate: eval}.Interview(revs)
}

// Interview makes the projection of the revisions of one interview. It fails only if there are none.
func (b Builder) Interview(revs []Revision) (*servicev1.InterviewProjection, error) {
	return b.Reviewed(revs, nil)
}

// Reviewed is Interview for one of which something was said: reviews are the records about it of that kind.
func (b Builder) Reviewed(revs, reviews []Revision) (*servicev1.InterviewProjection, error) {
	revs = readable(revs)
	if len(revs) == 0 {
		return nil, errors.New("an interview without revisions has no projection")
	}
	heads := rank(revs)
	shown := revs[slices.IndexFunc(revs, func(r Revision) bool { return r.Digest == heads[0] })]
	p := b.project(shown, heads, len(revs))
	if p == nil {
		shown.Interview = nil
		p = b.project(shown, heads, len(revs))
	}
	if p == nil {
		return nil, fmt.Errorf("the projection of interview %s cannot be made", shown.Record.GetSubject())
	}
	p.Summary.ReviewState = reviewState(revs, shown, len(heads), reviews).Enum()
	return p, nil
}

// project makes the projection of the revision shown; nil where that runs into a defect of this program. One interview
// must not stand in the way of all others: it is then made again as one that cannot be read, and flagged.
func (b Builder) project(shown Revision, heads []syncer.Digest, revisions int) (p *servicev1.InterviewProjection) {
	defer func() {
		if recover() != nil {
			p = nil
		}
	}()
	zone := b.Zone
	if zone == nil {
		zone = DefaultZone
	}
	w := &writer{rec: shown.Record, iv: shown.Interview, id: shown.Record.GetSubject(), zone: zone}
	if w.iv == nil {
		w.iv, w.unreadable = &surveyv1.Interview{}, true
	}
	w.summarise(heads, revisions)
	w.listPeople()
	w.listReferrals()
	w.doubt(len(heads))
	if b.Evaluate != nil && !w.unreadable {
		w.flags = append(w.flags, b.Evaluate(w.iv)...)
	}
	return w.finish()
}

// readable orders revisions by digest, drops those that come twice, and parses payloads that nobody has parsed.
func readable(revs []Revision) []Revision {
	out := make([]Revision, 0, len(revs))
	for _, r := range revs {
		if r.Record == nil {
			continue
		}
		if r.Interview == nil {
			iv := &surveyv1.Interview{}
			if proto.Unmarshal(r.Record.GetPayload(), iv) == nil && len(r.Record.GetPayload()) > 0 {
				r.Interview = iv
			}
		}
		out = append(out, r)
	}
	if len(out) < 2 {
		return out
	}
	slices.SortFunc(out, func(a, b Revision) int { return bytes.Compare(a.Digest[:], b.Digest[:]) })
	return slices.CompactFunc(out, func(a, b Revision) bool { return a.Digest == b.Digest })
}

// rank orders the heads: completed before in progress before unreadable, then as syncer.Heads says.
func rank(revs []Revision) []syncer.Digest {
	if len(revs) == 1 {
		return []syncer.Digest{revs[0].Digest}
	}
	graph := make([]syncer.Revision, len(revs))
	for i, r := range revs {
		graph[i].Digest = r.Digest
		switch {
		case r.Interview == nil:
			graph[i].Rank = -1
		case r.Interview.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED:
			graph[i].Rank = 1
		}
		for _, p := range r.Record.GetParents() {
			if d, err := syncer.ParseDigest(p); err == nil {
				graph[i].Parents = append(graph[i].Parents, d)
			}
		}
	}
	heads := syncer.Heads(graph)
	if len(heads) == 0 { // a ring of parents, which honest hashes cannot make
		return []syncer.Digest{revs[0].Digest}
	}
	return heads
}

// writer holds the projection while it is made.
type writer struct {
	rec        *servicev1.Record
	iv         *surveyv1.Interview
	id         string
	zone       *time.Location
	unreadable bool

	sum          *servicev1.InterviewSummary
	people       []*servicev1.PersonRecord
	byID         map[string]int
	respondentID string
	households   []*servicev1.HouseholdRecord
	referrals    []*servicev1.ReferralRecord
	recruitment  *servicev1.RecruitmentRecord
	flags        []*servicev1.Flag
}

func (w *writer) finish() *servicev1.InterviewProjection {
	var soft, hard uint32
	for _, f := range w.flags {
		f.InterviewId, f.Part = w.sum.InterviewId, w.sum.Part
		if f.GetSeverity() == formv1.Severity_SEVERITY_HARD {
			hard++
		} else {
			soft++
		}
	}
	w.sum.SoftFlags, w.sum.HardFlags = proto.Uint32(soft), proto.Uint32(hard)
	if w.respondentID != "" {
		w.sum.RespondentId = proto.String(w.respondentID)
	}
	if len(w.households) > 0 {
		w.sum.HouseholdId = w.households[0].HouseholdId
	}
	return &servicev1.InterviewProjection{
		Summary: w.sum, People: w.people, Households: w.households, Referrals: w.referrals, Recruitment: w.recruitment, Flags: w.flags,
	}
}

// doubt adds what is doubtful about the interview as a whole.
func (w *writer) doubt(heads int) {
	if heads > 1 {
		w.flag("", "hearth/conflict", formv1.Severity_SEVERITY_HARD,
			"This interview has several current revisions that contradict each other.", "该访问存在多个互相冲突的最新版本。")
	}
	if w.unreadable {
		w.flag("", "hearth/unreadable", formv1.Severity_SEVERITY_HARD,
			"The answers of this interview cannot be read.", "无法读取该访问的答案。")
	}
}

func (w *writer) flag(path, rule string, severity formv1.Severity, en, zh string) {
	f := &servicev1.Flag{Rule: proto.String(rule), Severity: severity.Enum(), Message: &formv1.Text{En: proto.String(en), Zh: proto.String(zh)}}
	if path != "" {
		f.Path = proto.String(path)
	}
	w.flags = append(w.flags, f)
}
