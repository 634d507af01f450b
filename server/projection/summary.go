package projection

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// summarise writes the summary from the revision shown and its envelope.
func (w *writer) summarise(heads []syncer.Digest, revisions int) {
	iv, rec := w.iv, w.rec
	s := &servicev1.InterviewSummary{
		InterviewId: proto.String(w.id), InterviewKey: iv.InterviewKey, Study: rec.Study, Round: iv.Round,
		Part: proto.Uint64(rec.GetPart()), Questionnaire: rec.Questionnaire, QuestionnaireVersion: rec.QuestionnaireVersion,
		Enumerator: iv.Enumerator, SiteId: iv.SiteId, Kind: iv.Kind, Mode: iv.Mode, Device: rec.Device,
		Head: bytes.Clone(heads[0][:]), Revisions: proto.Uint32(uint32(revisions)),
		IntroducerPresent: iv.IntroducerPresent, Illustrative: iv.Illustrative, Attachments: attachments(iv), AssignmentId: iv.AssignmentId,
	}
	for _, h := range heads {
		s.Heads = append(s.Heads, bytes.Clone(h[:]))
	}
	if s.Round == nil {
		s.Round = rec.Round
	}
	if s.GetEnumerator() == "" {
		s.Enumerator = rec.Author
	}
	s.ReviewState = told(iv).Enum()
	s.Result = result(iv)
	if t, ok := moment(iv.GetStartTime()); ok {
		s.StartTimeMs = proto.Int64(t.UnixMilli())
	}
	if d := day(iv, w.zone); d != "" {
		s.Day = proto.String(d)
	}
	s.DurationSeconds = duration(iv)
	w.sum = s
}

// told is how far the enumerator says an interview is.
func told(iv *surveyv1.Interview) servicev1.ReviewState {
	if iv.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED {
		return servicev1.ReviewState_REVIEW_STATE_COMPLETED
	}
	return servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS
}

// result is the outcome told, else that of the last visit.
func result(iv *surveyv1.Interview) *surveyv1.ResultCode {
	if iv.GetResult() != surveyv1.ResultCode_RESULT_CODE_UNSPECIFIED {
		return iv.Result
	}
	visits := iv.GetVisits()
	if n := len(visits); n > 0 && visits[n-1].GetResult() != surveyv1.ResultCode_RESULT_CODE_UNSPECIFIED {
		return visits[n-1].Result
	}
	return iv.Result
}

// moment is a time that is set and possible.
func moment(t *timestamppb.Timestamp) (time.Time, bool) {
	if t == nil || !t.IsValid() {
		return time.Time{}, false
	}
	return t.AsTime(), true
}

// day is the day of the interview: of its start, else of its last visit, else as written on the cover.
func day(iv *surveyv1.Interview, zone *time.Location) string {
	if t, ok := moment(iv.GetStartTime()); ok {
		return t.In(zone).Format(time.DateOnly)
	}
	for _, v := range slices.Backward(iv.GetVisits()) {
		if t, ok := moment(v.GetVisitTime()); ok {
			return t.In(zone).Format(time.DateOnly)
		}
	}
	d := iv.GetHousehold().GetCover().GetInterviewDate()
	if d.GetYear() >= 1000 && d.GetYear() <= 9999 && d.GetMonth() >= 1 && d.GetMonth() <= 12 && d.GetDay() >= 1 && d.GetDay() <= 31 &&
		d.GetCalendar() != surveyv1.Calendar_CALENDAR_LUNAR {
		return fmt.Sprintf("%04d-%02d-%02d", d.GetYear(), d.GetMonth(), d.GetDay())
	}
	return ""
}

// duration is the time between start and end without the pauses, in seconds; nil if it is not known.
func duration(iv *surveyv1.Interview) *int64 {
	start, ok := moment(iv.GetStartTime())
	if !ok {
		return nil
	}
	end, ok := moment(iv.GetEndTime())
	if !ok || end.Before(start) {
		return nil
	}
	type span struct{ from, to time.Time }
	var pauses []span
	for _, p := range iv.GetPauses() {
		from, ok1 := moment(p.GetStartTime())
		to, ok2 := moment(p.GetEndTime())
		if ok1 && ok2 && to.After(from) {
			pauses = append(pauses, span{from, to})
		}
	}
	slices.SortFunc(pauses, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	worked, at := time.Duration(0), start
	for _, p := range pauses {
		if p.from.After(end) {
			break
		}
		if p.from.After(at) {
			worked += p.from.Sub(at)
		}
		if p.to.After(at) {
			at = p.to
		}
	}
	if end.After(at) {
		worked += end.Sub(at)
	}
	return proto.Int64(int64(worked / time.Second))
}
