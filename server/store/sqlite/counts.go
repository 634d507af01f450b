package sqlite

import (
	"cmp"
	"context"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// cell is what interviews are counted by. As a key it has no number of interviews.
type cell struct {
	part                                          int64
	study, questionnaire, enumerator, siteID, day string
	round, result, reviewState                    int64
	interviews                                    int64
}

func (c cell) args() []any {
	return []any{c.part, c.study, c.round, c.questionnaire, c.enumerator, c.siteID, c.day, c.result, c.reviewState}
}

// cellOf is the cell of an interview: that of monitor.Cell.
func cellOf(s *servicev1.InterviewSummary) cell {
	return cell{
		part: int64(s.GetPart()), study: s.GetStudy(), round: int64(s.GetRound()), questionnaire: s.GetQuestionnaire(),
		enumerator: s.GetEnumerator(), siteID: s.GetSiteId(), day: s.GetDay(), result: int64(s.GetResult()),
		reviewState: int64(s.GetReviewState()),
	}
}

func (p *projection) putCells(cells map[cell]int64) error {
	for c, n := range cells {
		if n == 0 {
			continue
		}
		args := c.args()
		if _, err := p.addToCell.exec(append(args, n)...); err != nil {
			return err
		}
		if n < 0 {
			if _, err := p.dropCell.exec(args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// count adds to the counts in memory what was committed. The caller holds mu.
func (p *projection) count(cells map[cell]int64) {
	if p.counts == nil {
		return
	}
	for c, n := range cells {
		c.part = 0
		if p.counts[c] += n; p.counts[c] == 0 {
			delete(p.counts, c)
		}
	}
}

// loadCounts reads the table count_cell into memory, once.
func (p *projection) loadCounts(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts != nil {
		return nil
	}
	rows, err := p.db.QueryContext(ctx, `SELECT study, round, questionnaire, enumerator, site_id, day, result, review_state, interviews
		FROM count_cell`)
	if err != nil {
		return err
	}
	defer rows.Close()
	counts := map[cell]int64{}
	for rows.Next() {
		var c cell
		var n int64
		if err := rows.Scan(&c.study, &c.round, &c.questionnaire, &c.enumerator, &c.siteID, &c.day, &c.result, &c.reviewState, &n); err != nil {
			return err
		}
		counts[c] += n
	}
	if err := rows.Err(); err != nil {
		return err
	}
	p.counts = counts
	return nil
}

// CountCells returns the counts of current interviews, ordered by their dimensions.
func (s *Store) CountCells(ctx context.Context, study string) ([]*servicev1.CountCell, error) {
	p := s.projection
	if err := p.loadCounts(ctx); err != nil {
		return nil, wrap(err, "read the counts")
	}
	cells := p.cellsOf(study)
	slices.SortFunc(cells, compareCells)
	out := make([]*servicev1.CountCell, len(cells))
	for i, c := range cells {
		out[i] = &servicev1.CountCell{
			Study: proto.String(c.study), Round: proto.Uint32(uint32(c.round)), Questionnaire: proto.String(c.questionnaire),
			Enumerator: proto.String(c.enumerator), SiteId: proto.String(c.siteID), Day: proto.String(c.day),
			Result: proto.Int32(int32(c.result)), ReviewState: proto.Int32(int32(c.reviewState)), Interviews: proto.Int64(c.interviews),
		}
	}
	return out, nil
}

// cellsOf returns the counts of a study, of all where it is empty, in no order.
func (p *projection) cellsOf(study string) []cell {
	p.mu.RLock()
	defer p.mu.RUnlock()
	cells := make([]cell, 0, len(p.counts))
	for c, n := range p.counts {
		if study == "" || c.study == study {
			c.interviews = n
			cells = append(cells, c)
		}
	}
	return cells
}

func compareCells(a, b cell) int {
	for _, s := range [...][2]string{{a.study, b.study}, {a.questionnaire, b.questionnaire}, {a.enumerator, b.enumerator},
		{a.siteID, b.siteID}, {a.day, b.day}} {
		if r := strings.Compare(s[0], s[1]); r != 0 {
			return r
		}
	}
	return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.result, b.result), cmp.Compare(a.reviewState, b.reviewState))
}
