package referral

import (
	"cmp"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// The statuses of people: what is known of somebody who was or was not interviewed.
const (
	StatusInterviewed = "interviewed"
	// StatusRefused and the next were met, and not interviewed, or the recruiter's interview says so.
	StatusRefused    = "refused"
	StatusIneligible = "not_eligible"
	StatusUnable     = "unable"
	StatusNotReached = "not_reached"
	// StatusPending is to be contacted.
	StatusPending = "pending"
	// StatusAwaited is said to have been interviewed, and the interview has not arrived.
	StatusAwaited = "awaited"
	// StatusNamed was named by others, and nothing else is known.
	StatusNamed = "named"
)

// Statuses are all of them in the order in which they are told.
func Statuses() []string {
	return []string{StatusInterviewed, StatusRefused, StatusIneligible, StatusUnable, StatusNotReached, StatusPending, StatusAwaited, StatusNamed}
}

// statusWords are the statuses in English and Chinese.
func statusWords(status string) (en, zh string) {
	switch status {
	case StatusInterviewed:
		return "interviewed", "已访问"
	case StatusRefused:
		return "refused", "拒访"
	case StatusIneligible:
		return "not eligible", "不符合条件"
	case StatusUnable:
		return "unable to take part", "无法接受访问"
	case StatusNotReached:
		return "not reached", "未联系上"
	case StatusPending:
		return "pending", "待联系"
	case StatusAwaited:
		return "said to be interviewed, not arrived yet", "据称已访问，尚未收到"
	}
	return "named by others only", "仅由他人提及"
}

// StatusesOf are the statuses of the nodes of a graph, in their order; that of a site is empty. Of an interview that was not
// held the last result counts, and before what recruiters say; of what they say the first in the order of Statuses.
func StatusesOf(f Facts, g *servicev1.ReferralGraph) []string {
	at, out := recordRows(g.GetNodes()), make([]string, len(g.GetNodes()))
	for i, n := range g.GetNodes() {
		switch {
		case n.GetKind() == KindSite:
		case n.GetInterviewed():
			out[i] = StatusInterviewed
		default:
			out[i] = StatusNamed
		}
	}
	type visit struct {
		time      int64
		interview string
		status    string
	}
	visited := map[int32]visit{}
	for _, iv := range f.Interviews {
		n, ok := at[iv.GetRespondentId()]
		status := statusOfResult(iv.GetResult())
		if !ok || status == "" || out[n] != StatusNamed {
			continue
		}
		v, met := visited[n]
		t := startOf(iv)
		if !met || cmp.Or(cmp.Compare(t, v.time), cmp.Compare(iv.GetInterviewId(), v.interview)) > 0 {
			visited[n] = visit{t, iv.GetInterviewId(), status}
		}
	}
	rank := map[string]int{}
	for i, s := range Statuses() {
		rank[s] = i
	}
	for _, r := range f.Referrals {
		n, ok := at[r.GetToPersonId()]
		if !ok || out[n] == "" || out[n] == StatusInterviewed {
			continue
		}
		if s := statusOfOutcome(r.GetOutcome()); rank[s] < rank[out[n]] {
			out[n] = s
		}
	}
	for n, v := range visited {
		out[n] = v.status
	}
	return out
}

// statusOfResult is the status that the result of a visit without an interview gives; empty where it gives none.
func statusOfResult(r surveyv1.ResultCode) string {
	switch r {
	case surveyv1.ResultCode_RESULT_CODE_REFUSAL, surveyv1.ResultCode_RESULT_CODE_BREAK_OFF:
		return StatusRefused
	case surveyv1.ResultCode_RESULT_CODE_NOT_ELIGIBLE, surveyv1.ResultCode_RESULT_CODE_VACANT:
		return StatusIneligible
	case surveyv1.ResultCode_RESULT_CODE_UNABLE, surveyv1.ResultCode_RESULT_CODE_LANGUAGE, surveyv1.ResultCode_RESULT_CODE_DECEASED:
		return StatusUnable
	case surveyv1.ResultCode_RESULT_CODE_NO_ONE_HOME, surveyv1.ResultCode_RESULT_CODE_RESPONDENT_AWAY,
		surveyv1.ResultCode_RESULT_CODE_UNKNOWN_ELIGIBILITY, surveyv1.ResultCode_RESULT_CODE_POSTPONED:
		return StatusNotReached
	}
	return ""
}

// statusOfOutcome is the status that a recruiter's or an enumerator's word about a referral gives.
func statusOfOutcome(o surveyv1.ReferralOutcome) string {
	switch o {
	case surveyv1.ReferralOutcome_REFERRAL_OUTCOME_REFUSED:
		return StatusRefused
	case surveyv1.ReferralOutcome_REFERRAL_OUTCOME_INELIGIBLE:
		return StatusIneligible
	case surveyv1.ReferralOutcome_REFERRAL_OUTCOME_NOT_REACHED:
		return StatusNotReached
	case surveyv1.ReferralOutcome_REFERRAL_OUTCOME_PENDING:
		return StatusPending
	case surveyv1.ReferralOutcome_REFERRAL_OUTCOME_INTERVIEWED:
		return StatusAwaited
	}
	return StatusNamed
}

// MarkStatuses writes the statuses into the nodes of a graph.
func MarkStatuses(f Facts, g *servicev1.ReferralGraph) {
	for i, s := range StatusesOf(f, g) {
		if s != "" {
			g.Nodes[i].Status = &s
		}
	}
}
