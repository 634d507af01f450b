package tablet

import (
	"bytes"
	"context"
	"database/sql"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// pullPage is how many records of headquarters come in one answer.
const pullPage = 200

// pull brings what headquarters wrote since the cursor. Each page and the cursor after it are one transaction, so that
// the tablet always holds what headquarters held at some moment. A cursor of another server epoch starts again.
func (x *session) pull(ctx context.Context) error {
	cursor, err := x.s.cursor(ctx)
	if err != nil {
		return err
	}
	for restarted := false; ; {
		req := &servicev1.PullRequest{Device: bytes.Clone(x.s.device[:]), Cursor: cursor, PageSize: proto.Uint32(pullPage)}
		var resp *servicev1.PullResponse
		err := x.call(ctx, "pull records", 256<<10, func(ctx context.Context) (err error) {
			x.report.BytesUp += int64(proto.Size(req))
			if resp, err = x.client.Pull(ctx, req); err != nil {
				return err
			}
			x.report.BytesDown += int64(proto.Size(resp))
			return nil
		})
		if fault.ReasonOf(err) == fault.CursorStale && !restarted {
			restarted, cursor = true, &servicev1.Cursor{}
			continue
		}
		if err != nil {
			return err
		}
		if n := resp.GetNotice(); n != nil {
			x.report.Notice = &EntryReport{Reason: fault.Reason(n.GetReason()), Message: n.GetMessage()}
			return nil
		}
		if err := x.keepPage(ctx, resp); err != nil {
			return err
		}
		if !resp.GetMore() {
			return nil
		}
		if proto.Equal(cursor, resp.GetCursor()) || len(resp.GetEntries()) == 0 {
			return fault.New(fault.Invalid, fault.CursorStale, "the server has more records but its cursor does not move")
		}
		cursor = resp.GetCursor()
	}
}

func (s *Store) cursor(ctx context.Context) (*servicev1.Cursor, error) {
	var raw []byte
	if err := s.db.QueryRowContext(ctx, "SELECT cursor FROM meta").Scan(&raw); err != nil {
		return nil, err
	}
	c := &servicev1.Cursor{}
	if proto.Unmarshal(raw, c) != nil {
		return &servicev1.Cursor{}, nil // damaged: what was pulled comes again
	}
	return c, nil
}

func (x *session) keepPage(ctx context.Context, resp *servicev1.PullResponse) error {
	cursor, err := proto.MarshalOptions{Deterministic: true}.Marshal(resp.GetCursor())
	if err != nil {
		return fault.New(fault.Invalid, fault.CursorStale, "the server's cursor: %w", err)
	}
	failpoint.Hit("tablet.before-page")
	added := 0
	if plant.In(plant.CursorApart) {
		if _, err := x.s.db.ExecContext(ctx, "UPDATE meta SET cursor = ?", cursor); err != nil {
			return err
		}
	}
	err = inTx(ctx, x.s.db, func(tx *sql.Tx) error {
		for i, e := range resp.GetEntries() {
			d, err := syncer.ParseDigest(e.GetDigest())
			if err != nil || syncer.DigestOf(e.GetRecord()) != d {
				return fault.New(fault.Invalid, fault.BadDigest, "record %d of the page that headquarters sent is damaged", i+1)
			}
			n, err := keepPulled(ctx, tx, d, e.GetRecord())
			if err != nil {
				return err
			}
			added += n
		}
		_, err := tx.ExecContext(ctx, "UPDATE meta SET cursor = ?", cursor)
		return err
	})
	failpoint.Hit("tablet.after-page")
	if err == nil {
		x.report.Pulled += added
	}
	return err
}

// keepPulled stores one record of headquarters, unless it is held. One whose envelope this program cannot read is kept
// as it is, for the program that can.
func keepPulled(ctx context.Context, tx *sql.Tx, d syncer.Digest, raw []byte) (int, error) {
	r, err := syncer.Open(raw)
	if err != nil {
		r = &servicev1.Record{}
	}
	status := int64(0)
	if r.GetKind() == servicev1.RecordKind_RECORD_KIND_INTERVIEW {
		iv := &surveyv1.Interview{}
		if proto.Unmarshal(r.GetPayload(), iv) == nil {
			status = int64(iv.GetStatus())
		}
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO pulled (digest, kind, subject, parents, part, status, body)
		SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM record WHERE digest = ?1) ON CONFLICT DO NOTHING`,
		d[:], int64(r.GetKind()), r.GetSubject(), joined(r.GetParents()), int64(r.GetPart()), status, raw)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
