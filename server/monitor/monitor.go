// Package monitor counts interviews for the supervisor who asks whether the fieldwork is on schedule: by questionnaire,
// enumerator, site, day, result, round or review state, beside the targets of the study. Counts are kept in cells, so a
// table is made from the cells and never from the interviews. The package reads no store and no clock, knows nothing
// of who may see a table, and does not judge the pace or the quality of the work.
package monitor

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// Cell returns the cell that an interview counts in, with a count of one. Add cells with the same CellKey together.
func Cell(s *servicev1.InterviewSummary) *servicev1.CountCell {
	return &servicev1.CountCell{
		Study:         proto.String(s.GetStudy()),
		Round:         proto.Uint32(s.GetRound()),
		Questionnaire: proto.String(s.GetQuestionnaire()),
		Enumerator:    proto.String(s.GetEnumerator()),
		SiteId:        proto.String(s.GetSiteId()),
		Day:           proto.String(s.GetDay()),
		Result:        proto.Int32(int32(s.GetResult())),
		ReviewState:   proto.Int32(int32(s.GetReviewState())),
		Interviews:    proto.Int64(1),
	}
}

// CellKey is a text that two cells share exactly when they agree in every dimension; the count is no part of it. It is
// stable, so a store may use it as a key.
func CellKey(c *servicev1.CountCell) string {
	b := make([]byte, 0, 128)
	for _, part := range []string{c.GetStudy(), c.GetQuestionnaire(), c.GetEnumerator(), c.GetSiteId(), c.GetDay()} {
		b = strconv.AppendInt(b, int64(len(part)), 10)
		b = append(b, ':')
		b = append(b, part...)
		b = append(b, '|')
	}
	b = strconv.AppendUint(b, uint64(c.GetRound()), 10)
	b = append(b, '|')
	b = strconv.AppendInt(b, int64(c.GetResult()), 10)
	b = append(b, '|')
	b = strconv.AppendInt(b, int64(c.GetReviewState()), 10)
	return string(b)
}

// outcome is which of the three counts of a row an interview falls in.
type outcome uint8

const (
	inProgress outcome = iota
	completed
	notInterviewed
)

// outcomeOf sorts results: complete and partial interviews are completed; no result yet and a visit put off are in
// progress; all others were visited without an interview.
func outcomeOf(result int32) outcome {
	switch surveyv1.ResultCode(result) {
	case surveyv1.ResultCode_RESULT_CODE_COMPLETE, surveyv1.ResultCode_RESULT_CODE_PARTIAL:
		return completed
	case surveyv1.ResultCode_RESULT_CODE_UNSPECIFIED, surveyv1.ResultCode_RESULT_CODE_POSTPONED:
		return inProgress
	default:
		return notInterviewed
	}
}

// group is a row while it is being counted.
type group struct {
	keys   []string
	order  []int64 // by number, where a dimension of the table goes by number
	counts [3]int64
	target *int64
}

func (g *group) add(result int32, n int64) { g.counts[outcomeOf(result)] += n }

// fill puts the counts into a row; numbers has room for four, so that a large table is not made of many small pieces.
func (g *group) fill(r *servicev1.CountRow, numbers []int64) {
	numbers[0] = g.counts[inProgress] + g.counts[completed] + g.counts[notInterviewed]
	numbers[1], numbers[2], numbers[3] = g.counts[completed], g.counts[inProgress], g.counts[notInterviewed]
	r.Keys = g.keys
	r.Interviews, r.Completed, r.InProgress, r.NotInterviewed = &numbers[0], &numbers[1], &numbers[2], &numbers[3]
	r.Target = g.target
}

// Tally makes the table of the cells by the dimensions asked for, one row per combination that occurs or has a target,
// sorted by key (days ascending, results and rounds by number, an empty key last). Cells of other studies are left out
// where study is given; study may be nil, then there are no targets and the keys are the labels.
//
// The total row has no keys; its labels are the titles of the dimensions, for a table's header.
func Tally(cells []*servicev1.CountCell, by []servicev1.Dimension, study *surveyv1.Study) *servicev1.CountInterviewsResponse {
	groups := map[string]*group{}
	total := &group{}
	var buf []byte
	for _, c := range cells {
		if study.GetStudy() != "" && c.GetStudy() != study.GetStudy() {
			continue
		}
		buf = buf[:0]
		for _, d := range by {
			buf = appendKey(buf, d, c)
		}
		g, ok := groups[string(buf)]
		if !ok {
			g = newGroup(by, c)
			groups[string(buf)] = g
		}
		g.add(c.GetResult(), c.GetInterviews())
		total.add(c.GetResult(), c.GetInterviews())
	}
	targets := newTargets(study)
	for _, c := range targets.rows(by) {
		buf = buf[:0]
		for _, d := range by {
			buf = appendKey(buf, d, c)
		}
		if _, ok := groups[string(buf)]; !ok {
			groups[string(buf)] = newGroup(by, c)
		}
	}
	rows := make([]*group, 0, len(groups))
	for _, g := range groups {
		g.target = targets.of(by, g.keys)
		rows = append(rows, g)
	}
	slices.SortFunc(rows, compareGroups)
	total.target = targets.of(nil, nil)
	return response(rows, total, by, study)
}

func response(rows []*group, total *group, by []servicev1.Dimension, study *surveyv1.Study) *servicev1.CountInterviewsResponse {
	names := newNames(study)
	out := &servicev1.CountInterviewsResponse{Rows: make([]*servicev1.CountRow, len(rows)), Total: &servicev1.CountRow{}}
	total.fill(out.Total, make([]int64, 4))
	made := make([]servicev1.CountRow, len(rows))
	numbers := make([]int64, 4*len(rows))
	words := make([]string, 2*len(by)*len(rows))
	for n, g := range rows {
		r := &made[n]
		g.fill(r, numbers[4*n:4*n+4])
		w := words[2*len(by)*n:]
		r.LabelsEn, r.LabelsZh = w[:len(by):len(by)], w[len(by):2*len(by):2*len(by)]
		for i, d := range by {
			l := names.label(d, g.keys[i])
			r.LabelsEn[i], r.LabelsZh[i] = l.en, l.zh
		}
		out.Rows[n] = r
	}
	for _, d := range by {
		t := dimensionTitle(d)
		out.Total.LabelsEn = append(out.Total.LabelsEn, t.en)
		out.Total.LabelsZh = append(out.Total.LabelsZh, t.zh)
	}
	return out
}

func newGroup(by []servicev1.Dimension, c *servicev1.CountCell) *group {
	g := &group{keys: make([]string, len(by))}
	for i, d := range by {
		var n int64
		if g.keys[i], n = key(d, c); n != 0 && g.order == nil {
			g.order = make([]int64, len(by))
		}
		if n != 0 {
			g.order[i] = n
		}
	}
	return g
}

func (g *group) number(i int) int64 {
	if g.order == nil {
		return 0
	}
	return g.order[i]
}

// key returns a cell's key in a dimension and, where the dimension is numbered, the number to sort by.
func key(d servicev1.Dimension, c *servicev1.CountCell) (string, int64) {
	switch d {
	case servicev1.Dimension_DIMENSION_QUESTIONNAIRE:
		return c.GetQuestionnaire(), 0
	case servicev1.Dimension_DIMENSION_ENUMERATOR:
		return c.GetEnumerator(), 0
	case servicev1.Dimension_DIMENSION_SITE:
		return c.GetSiteId(), 0
	case servicev1.Dimension_DIMENSION_DAY:
		return c.GetDay(), 0
	case servicev1.Dimension_DIMENSION_RESULT:
		return surveyv1.ResultCode(c.GetResult()).String(), int64(c.GetResult())
	case servicev1.Dimension_DIMENSION_ROUND:
		if c.GetRound() == 0 {
			return "", 0
		}
		return strconv.FormatUint(uint64(c.GetRound()), 10), int64(c.GetRound())
	case servicev1.Dimension_DIMENSION_REVIEW_STATE:
		return servicev1.ReviewState(c.GetReviewState()).String(), int64(c.GetReviewState())
	default:
		return "", 0
	}
}

// appendKey writes what tells cells apart in one dimension; cheaper than key, for the loop over all cells.
func appendKey(b []byte, d servicev1.Dimension, c *servicev1.CountCell) []byte {
	switch d {
	case servicev1.Dimension_DIMENSION_QUESTIONNAIRE:
		b = append(b, c.GetQuestionnaire()...)
	case servicev1.Dimension_DIMENSION_ENUMERATOR:
		b = append(b, c.GetEnumerator()...)
	case servicev1.Dimension_DIMENSION_SITE:
		b = append(b, c.GetSiteId()...)
	case servicev1.Dimension_DIMENSION_DAY:
		b = append(b, c.GetDay()...)
	case servicev1.Dimension_DIMENSION_RESULT:
		b = strconv.AppendInt(b, int64(c.GetResult()), 10)
	case servicev1.Dimension_DIMENSION_ROUND:
		b = strconv.AppendUint(b, uint64(c.GetRound()), 10)
	case servicev1.Dimension_DIMENSION_REVIEW_STATE:
		b = strconv.AppendInt(b, int64(c.GetReviewState()), 10)
	}
	return append(b, 0)
}

func compareGroups(a, b *group) int {
	for i := range a.keys {
		x, y := a.keys[i], b.keys[i]
		if x == y {
			continue
		}
		switch {
		case x == "":
			return 1
		case y == "":
			return -1
		}
		if m, n := a.number(i), b.number(i); m != n {
			return cmp.Compare(m, n)
		}
		return strings.Compare(x, y)
	}
	return 0
}
