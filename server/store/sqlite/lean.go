package sqlite

import (
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// What a projection lists says of which interview it is, each time: half of its bytes. In the table that stands in the
// summary alone, where it is the same everywhere, as the projector makes it. The body then begins with a byte with which no
// message begins.
const leanMark = 0

// leanSQL is the step from which on bodies are lean: files of before are made again, as those of any other version.
const leanSQL step = "UPDATE meta SET one = 1"

// writeBody is the body of an interview's row.
func writeBody(iv *servicev1.InterviewProjection) ([]byte, error) {
	if !repeats(iv) {
		return deterministic(iv)
	}
	strip(iv)
	defer fill(iv)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{leanMark}, iv)
	if err != nil {
		return nil, fault.New(fault.Invalid, "", "write a projection: %w", err)
	}
	return b, nil
}

// readBody reads it.
func readBody(b []byte) (*servicev1.InterviewProjection, error) {
	iv := &servicev1.InterviewProjection{}
	lean := len(b) > 0 && b[0] == leanMark
	if lean {
		b = b[1:]
	}
	if err := proto.Unmarshal(b, iv); err != nil {
		return nil, damagedProjection(err)
	}
	if lean {
		fill(iv)
	}
	return iv, nil
}

// like says whether two fields are the same, also in being there.
func like[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// repeats says whether everything listed says of the interview what the summary says.
func repeats(iv *servicev1.InterviewProjection) bool {
	s := iv.GetSummary()
	if s == nil {
		return false
	}
	for _, p := range iv.GetPeople() {
		if !like(p.InterviewId, s.InterviewId) || !like(p.InterviewKey, s.InterviewKey) || !like(p.Study, s.Study) || !like(p.Round, s.Round) ||
			!like(p.Part, s.Part) || !like(p.SiteId, s.SiteId) || !like(p.Enumerator, s.Enumerator) ||
			!like(p.InterviewTimeMs, s.StartTimeMs) || !like(p.Questionnaire, s.Questionnaire) {
			return false
		}
	}
	for _, h := range iv.GetHouseholds() {
		if !like(h.InterviewId, s.InterviewId) || !like(h.InterviewKey, s.InterviewKey) || !like(h.Study, s.Study) || !like(h.Part, s.Part) ||
			!like(h.SiteId, s.SiteId) || !like(h.Enumerator, s.Enumerator) || !like(h.InterviewTimeMs, s.StartTimeMs) {
			return false
		}
	}
	for _, r := range iv.GetReferrals() {
		if !like(r.InterviewId, s.InterviewId) || !like(r.Study, s.Study) || !like(r.Part, s.Part) {
			return false
		}
	}
	if r := iv.GetRecruitment(); r != nil && (!like(r.InterviewId, s.InterviewId) || !like(r.Study, s.Study) || !like(r.Part, s.Part)) {
		return false
	}
	for _, f := range iv.GetFlags() {
		if !like(f.InterviewId, s.InterviewId) || !like(f.Part, s.Part) {
			return false
		}
	}
	return true
}

// strip takes away what repeats the summary.
func strip(iv *servicev1.InterviewProjection) { share(iv, &servicev1.InterviewSummary{}) }

// fill puts it back.
func fill(iv *servicev1.InterviewProjection) { share(iv, iv.GetSummary()) }

// share has everything listed say of the interview what a summary says.
func share(iv *servicev1.InterviewProjection, s *servicev1.InterviewSummary) {
	if s == nil {
		return
	}
	for _, p := range iv.GetPeople() {
		p.InterviewId, p.InterviewKey, p.Study, p.Round, p.Part = s.InterviewId, s.InterviewKey, s.Study, s.Round, s.Part
		p.SiteId, p.Enumerator, p.InterviewTimeMs, p.Questionnaire = s.SiteId, s.Enumerator, s.StartTimeMs, s.Questionnaire
	}
	for _, h := range iv.GetHouseholds() {
		h.InterviewId, h.InterviewKey, h.Study, h.Part = s.InterviewId, s.InterviewKey, s.Study, s.Part
		h.SiteId, h.Enumerator, h.InterviewTimeMs = s.SiteId, s.Enumerator, s.StartTimeMs
	}
	for _, r := range iv.GetReferrals() {
		r.InterviewId, r.Study, r.Part = s.InterviewId, s.Study, s.Part
	}
	if r := iv.GetRecruitment(); r != nil {
		r.InterviewId, r.Study, r.Part = s.InterviewId, s.Study, s.Part
	}
	for _, f := range iv.GetFlags() {
		f.InterviewId, f.Part = s.InterviewId, s.Part
	}
}
