package server

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// maxFlagRows is how many rows a table of flags has; those with the fewest flags are left out.
const maxFlagRows = 10_000

// CountFlags counts failed checks.
func (s *monitorService) CountFlags(ctx context.Context, req *servicev1.CountFlagsRequest) (*servicev1.CountFlagsResponse, error) {
	by := req.GetBy()
	for i, d := range by {
		if d <= servicev1.FlagDimension_FLAG_DIMENSION_UNSPECIFIED || d > servicev1.FlagDimension_FLAG_DIMENSION_SEVERITY || slices.Contains(by[:i], d) {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "column %d to count by is not known or stands twice: %v", i+1, d)
		}
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	t := &flagTally{by: by, rows: map[string]*flagRow{}, interviews: map[string]int64{}}
	f := store.Filter{Study: req.GetStudy(), Enumerator: req.GetEnumerator(), Questionnaire: s.fullName(req.GetQuestionnaire())}
	for iv, err := range s.store.Interviews(ctx, f) {
		if err != nil {
			return nil, err
		}
		t.add(iv)
	}
	return t.table(s.rules.left()), nil
}

// flagTally counts flags.
type flagTally struct {
	by   []servicev1.FlagDimension
	rows map[string]*flagRow
	// interviews are all, flagged or not, by the columns that are of the interview.
	interviews map[string]int64
	all, with  int64
}

// flagRow is a row while it is counted.
type flagRow struct {
	*servicev1.FlagCount
	of   string // its key in interviews
	last string // the interview counted last
}

// ofInterview says whether a column is of the interview as a whole.
func ofInterview(d servicev1.FlagDimension) bool {
	return d < servicev1.FlagDimension_FLAG_DIMENSION_QUESTION
}

func (t *flagTally) add(iv *servicev1.InterviewProjection) {
	sum := iv.GetSummary()
	keys := make([]string, len(t.by))
	var own []string
	for i, d := range t.by {
		switch d {
		case servicev1.FlagDimension_FLAG_DIMENSION_QUESTIONNAIRE:
			keys[i] = sum.GetQuestionnaire()
		case servicev1.FlagDimension_FLAG_DIMENSION_ENUMERATOR:
			keys[i] = sum.GetEnumerator()
		case servicev1.FlagDimension_FLAG_DIMENSION_SITE:
			keys[i] = sum.GetSiteId()
		}
		if ofInterview(d) {
			own = append(own, keys[i])
		}
	}
	of := strings.Join(own, "\x00")
	t.interviews[of]++
	if t.all++; len(iv.GetFlags()) > 0 {
		t.with++
	}
	for _, flag := range iv.GetFlags() {
		for i, d := range t.by {
			switch d {
			case servicev1.FlagDimension_FLAG_DIMENSION_QUESTION:
				keys[i] = questionnaire.WithoutRows(flag.GetPath())
			case servicev1.FlagDimension_FLAG_DIMENSION_RULE:
				keys[i] = flag.GetRule()
			case servicev1.FlagDimension_FLAG_DIMENSION_SEVERITY:
				keys[i] = strings.TrimPrefix(flag.GetSeverity().String(), "SEVERITY_")
			}
		}
		key := strings.Join(keys, "\x00")
		row := t.rows[key]
		if row == nil {
			row = &flagRow{FlagCount: &servicev1.FlagCount{Keys: slices.Clone(keys), Flags: proto.Int64(0), Hard: proto.Int64(0), Interviews: proto.Int64(0)}, of: of}
			t.rows[key] = row
		}
		*row.Flags++
		if flag.GetSeverity() == formv1.Severity_SEVERITY_HARD {
			*row.Hard++
		}
		if row.last != sum.GetInterviewId() {
			row.last = sum.GetInterviewId()
			*row.Interviews++
		}
	}
}

// table is what was counted, most flags first.
func (t *flagTally) table(left int64) *servicev1.CountFlagsResponse {
	resp := &servicev1.CountFlagsResponse{
		Total:        &servicev1.FlagCount{Flags: proto.Int64(0), Hard: proto.Int64(0), Interviews: proto.Int64(t.with), OfInterviews: proto.Int64(t.all)},
		ToReevaluate: proto.Int64(left),
	}
	for _, row := range t.rows {
		row.OfInterviews = proto.Int64(t.interviews[row.of])
		*resp.Total.Flags += row.GetFlags()
		*resp.Total.Hard += row.GetHard()
		resp.Rows = append(resp.Rows, row.FlagCount)
	}
	slices.SortFunc(resp.Rows, func(a, b *servicev1.FlagCount) int {
		return cmp.Or(cmp.Compare(b.GetFlags(), a.GetFlags()), slices.Compare(a.GetKeys(), b.GetKeys()))
	})
	resp.Rows = resp.Rows[:min(len(resp.Rows), maxFlagRows)]
	return resp
}
