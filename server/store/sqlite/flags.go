package sqlite

import (
	"context"
	"database/sql/driver"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
)

// flagStmts are the statements that write the numbers of flags.
type flagStmts struct {
	addToFlags, dropFlags *stmt
}

// flagCounts are how the numbers of flags change, by part.
type flagCounts map[int64]*store.FlagCounts

func (f flagCounts) add(iv *servicev1.InterviewProjection, times int64) {
	if len(iv.GetFlags()) == 0 {
		return
	}
	part := int64(iv.GetSummary().GetPart())
	if f[part] == nil {
		f[part] = &store.FlagCounts{}
	}
	f[part].Add(iv, times)
}

// takeAway takes away the flags of an interview that stands in a body.
func (f flagCounts) takeAway(body driver.Value) error {
	iv, err := readBody(blob(body))
	if err == nil {
		f.add(iv, -1)
	}
	return err
}

func (p *projection) prepareFlags() {
	p.addToFlags = p.w.prepare(`INSERT INTO flag_cell (part, shape, study, questionnaire, enumerator, site_id, question, rule, severity,
		flags, hard, interviews) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET flags = flags + excluded.flags,
		hard = hard + excluded.hard, interviews = interviews + excluded.interviews`)
	p.dropFlags = p.w.prepare(`DELETE FROM flag_cell WHERE part = ? AND shape = ? AND study = ? AND questionnaire = ? AND enumerator = ?
		AND site_id = ? AND question = ? AND rule = ? AND severity = ? AND interviews = 0`)
}

func (p *projection) putFlags(counts flagCounts) error {
	for part, cells := range counts {
		for c := range cells.Cells() {
			args := []any{part, int64(c.Shape), c.Study, c.Questionnaire, c.Enumerator, c.SiteID, c.Question, c.Rule, int64(c.Severity)}
			if _, err := p.addToFlags.exec(append(args, c.Flags, c.Hard, c.Interviews)...); err != nil {
				return err
			}
			if c.Interviews < 0 {
				if _, err := p.dropFlags.exec(args...); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// flagCells goes from part to part, and reads in each the rows of one shape only.
const flagCells = `WITH RECURSIVE p (part) AS (SELECT min(part) FROM flag_cell
	UNION ALL SELECT (SELECT min(c.part) FROM flag_cell AS c WHERE c.part > p.part) FROM p WHERE p.part IS NOT NULL)
	SELECT f.study, f.questionnaire, f.enumerator, f.site_id, f.question, f.rule, f.severity, f.flags, f.hard, f.interviews
	FROM p CROSS JOIN flag_cell AS f ON f.part = p.part AND f.shape = ?1 AND (?2 = '' OR f.study = ?2)`

// FlagCells returns the numbers of flags.
func (s *Store) FlagCells(ctx context.Context, study string, shape store.FlagShape) ([]store.FlagCell, error) {
	rows, err := s.projection.db.QueryContext(ctx, flagCells, int64(shape), study)
	if err != nil {
		return nil, wrap(err, "read the numbers of flags")
	}
	defer rows.Close()
	var out []store.FlagCell
	for rows.Next() {
		c := store.FlagCell{FlagKey: store.FlagKey{Shape: shape}}
		var severity int32
		if err := rows.Scan(&c.Study, &c.Questionnaire, &c.Enumerator, &c.SiteID, &c.Question, &c.Rule, &severity, &c.Flags, &c.Hard, &c.Interviews); err != nil {
			return nil, wrap(err, "read the numbers of flags")
		}
		c.Severity = formv1.Severity(severity)
		out = append(out, c)
	}
	return out, wrap(rows.Err(), "read the numbers of flags")
}
