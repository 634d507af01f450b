package sqlite

import (
	"context"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// withdraw takes an interview out of everything, and notes how the counts change.
func (p *projection) withdraw(w store.Withdrawal, cells map[cell]int64, flags flagCounts) error {
	old, err := p.oldCell.row(int64(w.Part), w.InterviewID)
	if err != nil {
		return err
	}
	if old != nil {
		if err := flags.takeAway(old[8]); err != nil {
			return err
		}
		cells[cell{part: int64(w.Part), study: text(old[0]), round: integer(old[1]), questionnaire: text(old[2]), enumerator: text(old[3]),
			siteID: text(old[4]), day: text(old[5]), result: integer(old[6]), reviewState: integer(old[7])}]--
		if _, err := p.w.once(`DELETE FROM interview WHERE part = ? AND interview_id = ?`, int64(w.Part), w.InterviewID); err != nil {
			return err
		}
	}
	for _, drop := range []*stmt{p.dropBelongs, p.dropReviews} {
		if _, err := drop.exec(int64(w.Part), w.InterviewID); err != nil {
			return err
		}
	}
	body, err := deterministic(w.Tombstone)
	if err != nil {
		return err
	}
	_, err = p.w.once(`INSERT INTO withdrawn (part, interview_id, records, body) VALUES (?, ?, ?, ?)
		ON CONFLICT (part, interview_id) DO UPDATE SET records = excluded.records, body = excluded.body`,
		int64(w.Part), w.InterviewID, packCounters(w.Records), body)
	return err
}

// Withdrawn returns the interviews that are withdrawn.
func (s *Store) Withdrawn(ctx context.Context) ([]store.Withdrawal, error) {
	rows, err := s.projection.db.QueryContext(ctx, `SELECT part, interview_id, records, body FROM withdrawn ORDER BY part, interview_id`)
	if err != nil {
		return nil, wrap(err, "list what is withdrawn")
	}
	defer rows.Close()
	var out []store.Withdrawal
	for rows.Next() {
		var part int64
		var records, body []byte
		w := store.Withdrawal{Tombstone: &servicev1.Tombstone{}}
		if err := rows.Scan(&part, &w.InterviewID, &records, &body); err != nil {
			return nil, wrap(err, "list what is withdrawn")
		}
		w.Part = uint64(part)
		if err := proto.Unmarshal(body, w.Tombstone); err != nil {
			return nil, damagedProjection(err)
		}
		if w.Records, err = unpackCounters(records); err != nil {
			return nil, damagedProjection(err)
		}
		out = append(out, w)
	}
	return out, wrap(rows.Err(), "list what is withdrawn")
}
