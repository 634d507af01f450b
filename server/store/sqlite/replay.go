package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

const quarantineColumns = `quarantine_id, digest, reason, message, device, epoch, seq, received_ms`

func notInQuarantine(id int64) error {
	return fault.New(fault.NotFound, fault.NotInQuarantine, "there is no item %d in quarantine", id)
}

// QuarantineItem returns one item with its bytes.
func (s *Store) QuarantineItem(ctx context.Context, id int64) (*servicev1.QuarantineItem, []byte, error) {
	var q quarantineRow
	var raw []byte
	err := s.log.QueryRowContext(ctx, `SELECT `+quarantineColumns+`, raw FROM quarantine WHERE quarantine_id = ?`, id).
		Scan(&q.id, &q.digest, &q.reason, &q.message, &q.device, &q.epoch, &q.seq, &q.receivedMS, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, notInQuarantine(id)
	}
	if err != nil {
		return nil, nil, wrap(err, "read the quarantine")
	}
	return &servicev1.QuarantineItem{
		Id: proto.Int64(q.id), Reason: proto.String(q.reason), Message: proto.String(q.message),
		Lane: &servicev1.LaneId{Device: q.device, Epoch: q.epoch}, Seq: proto.Uint64(uint64(q.seq)), Digest: q.digest,
		Size: proto.Int64(int64(len(raw))), ReceivedMs: proto.Int64(q.receivedMS),
	}, raw, nil
}

// Replay decides anew about an item.
func (s *Store) Replay(ctx context.Context, id int64, e *syncer.Entry) (*servicev1.EntryResult, error) {
	if s.writer == nil {
		return nil, readOnly(s.dir)
	}
	var out *servicev1.EntryResult
	j := &job{records: 1, bytes: len(e.Raw)}
	j.apply = func(t *tx) (err error) {
		out, err = t.replay(id, e)
		return err
	}
	if err := s.writer.do(ctx, j); err != nil {
		return nil, err
	}
	return out, nil
}

func (t *tx) replay(id int64, e *syncer.Entry) (*servicev1.EntryResult, error) {
	read := t.prepare(`SELECT ` + quarantineColumns + ` FROM quarantine WHERE quarantine_id = ?`)
	row, err := read.row(id)
	if err := errors.Join(err, t.drop(read)); err != nil {
		return nil, err
	}
	if row == nil {
		return nil, notInQuarantine(id)
	}
	q := quarantineRow{id: id, digest: blob(row[1]), reason: text(row[2]), message: text(row[3]), device: blob(row[4]), epoch: blob(row[5]),
		seq: integer(row[6]), receivedMS: integer(row[7])}
	lane, err := laneOf(q.device, q.epoch)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(q.digest, e.Digest[:]) || e.Refused {
		return nil, fault.New(fault.Invalid, "", "item %d of the quarantine is not record %v", id, e.Digest)
	}
	outcome, reason, message := servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED, e.Reason, e.Message
	if e.Reason == "" && e.Record != nil {
		if outcome, _, _, err = t.record(lane, e); err != nil {
			return nil, err
		}
		reason, message = fault.IDReused, "the id of this record is held for another record"
	}
	out := &servicev1.EntryResult{Seq: proto.Uint64(uint64(q.seq)), Outcome: outcome.Enum()}
	if outcome != servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED {
		return out, nil
	}
	out.Reason, out.Message = proto.String(string(reason)), proto.String(message)
	if q.reason == string(reason) && q.message == message {
		return out, nil
	}
	q.reason, q.message = string(reason), message
	t.writes++
	_, err = t.once(`UPDATE quarantine SET reason = ?, message = ?, sum = ? WHERE quarantine_id = ?`, q.reason, q.message, q.sum(), id)
	return out, err
}
