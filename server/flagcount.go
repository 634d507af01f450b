package server

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// maxFlagRows is how many rows a table of flags has; those with the fewest flags are left out.
const maxFlagRows = 10_000

// flagShapeOf are the columns of a flag among those to count by.
var flagShapeOf = map[servicev1.FlagDimension]store.FlagShape{
	servicev1.FlagDimension_FLAG_DIMENSION_QUESTION: store.FlagsByQuestion, servicev1.FlagDimension_FLAG_DIMENSION_RULE: store.FlagsByRule,
	servicev1.FlagDimension_FLAG_DIMENSION_SEVERITY: store.FlagsBySeverity,
}

// CountFlags counts failed checks. The store keeps their numbers as interviews come, so that none is read here.
func (s *monitorService) CountFlags(ctx context.Context, req *servicev1.CountFlagsRequest) (*servicev1.CountFlagsResponse, error) {
	by, shape := req.GetBy(), store.FlagShape(0)
	for i, d := range by {
		if d <= servicev1.FlagDimension_FLAG_DIMENSION_UNSPECIFIED || d > servicev1.FlagDimension_FLAG_DIMENSION_SEVERITY || slices.Contains(by[:i], d) {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "column %d to count by is not known or stands twice: %v", i+1, d)
		}
		shape |= flagShapeOf[d]
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	t := &flagTally{by: by, enumerator: req.GetEnumerator(), questionnaire: s.fullName(req.GetQuestionnaire()), rows: map[string]*flagRow{}, interviews: map[string]int64{}}
	counts, err := s.store.CountCells(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	for _, c := range counts {
		k := store.FlagKey{Questionnaire: c.GetQuestionnaire(), Enumerator: c.GetEnumerator(), SiteID: c.GetSiteId()}
		if t.wants(k) {
			t.all += c.GetInterviews()
			_, of := t.keys(k)
			t.interviews[of] += c.GetInterviews()
		}
	}
	cells, err := s.store.FlagCells(ctx, req.GetStudy(), shape)
	if err != nil {
		return nil, err
	}
	for _, c := range cells {
		t.add(c)
	}
	if shape != 0 {
		if cells, err = s.store.FlagCells(ctx, req.GetStudy(), 0); err != nil {
			return nil, err
		}
	}
	for _, c := range cells {
		if t.wants(c.FlagKey) {
			t.with += c.Interviews
		}
	}
	return t.table(s.rules.left()), nil
}

// flagTally adds cells of flags together.
type flagTally struct {
	by                        []servicev1.FlagDimension
	enumerator, questionnaire string // empty: all
	rows                      map[string]*flagRow
	// interviews are all, flagged or not, by the columns that are of the interview.
	interviews map[string]int64
	all, with  int64
}

// flagRow is a row while it is counted.
type flagRow struct {
	keys []string
	of   string // its key in interviews
	store.FlagNumbers
}

func (t *flagTally) wants(k store.FlagKey) bool {
	return (t.enumerator == "" || k.Enumerator == t.enumerator) && (t.questionnaire == "" || k.Questionnaire == t.questionnaire)
}

// keys are the columns, and those of them that are of the interview as a whole.
func (t *flagTally) keys(k store.FlagKey) (keys []string, of string) {
	var own []string
	for _, d := range t.by {
		switch d {
		case servicev1.FlagDimension_FLAG_DIMENSION_QUESTIONNAIRE:
			own = append(own, k.Questionnaire)
			keys = append(keys, k.Questionnaire)
		case servicev1.FlagDimension_FLAG_DIMENSION_ENUMERATOR:
			own = append(own, k.Enumerator)
			keys = append(keys, k.Enumerator)
		case servicev1.FlagDimension_FLAG_DIMENSION_SITE:
			own = append(own, k.SiteID)
			keys = append(keys, k.SiteID)
		case servicev1.FlagDimension_FLAG_DIMENSION_QUESTION:
			keys = append(keys, k.Question)
		case servicev1.FlagDimension_FLAG_DIMENSION_RULE:
			keys = append(keys, k.Rule)
		case servicev1.FlagDimension_FLAG_DIMENSION_SEVERITY:
			keys = append(keys, strings.TrimPrefix(k.Severity.String(), "SEVERITY_"))
		}
	}
	return keys, strings.Join(own, "\x00")
}

func (t *flagTally) add(c store.FlagCell) {
	if !t.wants(c.FlagKey) {
		return
	}
	keys, of := t.keys(c.FlagKey)
	key := strings.Join(keys, "\x00")
	row := t.rows[key]
	if row == nil {
		row = &flagRow{keys: keys, of: of}
		t.rows[key] = row
	}
	row.Add(c.FlagNumbers)
}

// table is what was counted, most flags first.
func (t *flagTally) table(left int64) *servicev1.CountFlagsResponse {
	total := store.FlagNumbers{Interviews: t.with}
	resp := &servicev1.CountFlagsResponse{ToReevaluate: proto.Int64(left)}
	for _, row := range t.rows {
		total.Flags, total.Hard = total.Flags+row.Flags, total.Hard+row.Hard
		resp.Rows = append(resp.Rows, flagCount(row.keys, row.FlagNumbers, t.interviews[row.of]))
	}
	resp.Total = flagCount(nil, total, t.all)
	slices.SortFunc(resp.Rows, func(a, b *servicev1.FlagCount) int {
		return cmp.Or(cmp.Compare(b.GetFlags(), a.GetFlags()), slices.Compare(a.GetKeys(), b.GetKeys()))
	})
	resp.Rows = resp.Rows[:min(len(resp.Rows), maxFlagRows)]
	return resp
}

func flagCount(keys []string, n store.FlagNumbers, of int64) *servicev1.FlagCount {
	return &servicev1.FlagCount{
		Keys: keys, Flags: proto.Int64(n.Flags), Hard: proto.Int64(n.Hard), Interviews: proto.Int64(n.Interviews), OfInterviews: proto.Int64(of),
	}
}
