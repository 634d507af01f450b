package sqlite

import (
	"bytes"
	"context"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// kept is what the quarantine says of a digest.
type kept struct {
	reason  fault.Reason
	message string
	raw     bool
}

// inQuarantine looks a digest up.
func (t *tx) inQuarantine(d syncer.Digest) (kept, bool, error) {
	if empty, err := t.quarantineEmpty(); empty || err != nil {
		return kept{}, false, err
	}
	row, err := t.quarantined.row(d[:])
	if err != nil || row == nil {
		return kept{}, false, err
	}
	return kept{fault.Reason(text(row[0])), text(row[1]), integer(row[2]) == 1}, true, nil
}

// quarantineEmpty is asked for every record, and nearly always true.
func (t *tx) quarantineEmpty() (bool, error) {
	if !t.counted {
		row, err := t.quarantineSize.row()
		if err != nil {
			return false, err
		}
		t.quarantineRows, t.counted = integer(row[0]), true
	}
	return t.quarantineRows == 0, nil
}

func (t *tx) anyQuarantined(digests []syncer.Digest) (bool, error) {
	for _, d := range digests {
		if _, found, err := t.inQuarantine(d); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// release takes a record that is now held out of quarantine.
func (t *tx) release(d syncer.Digest) error {
	if empty, err := t.quarantineEmpty(); empty || err != nil {
		return err
	}
	n, err := t.exec(t.unharmed, d[:])
	t.quarantineRows -= n
	return err
}

// quarantine keeps an entry with its reason, once.
func (t *tx) quarantine(lane syncer.LaneID, e *syncer.Entry) (servicev1.EntryOutcome, fault.Reason, string, error) {
	const outcome = servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED
	if plant.In(plant.QuarantineDropped) {
		return outcome, e.Reason, e.Message, nil
	}
	k, found, err := t.inQuarantine(e.Digest)
	if err != nil {
		return 0, "", "", err
	}
	if found && (k.raw || e.Raw == nil) {
		return outcome, k.reason, k.message, nil
	}
	if found { // the bytes have arrived after all
		if err := t.release(e.Digest); err != nil {
			return 0, "", "", err
		}
	}
	var raw any
	if e.Raw != nil {
		raw = e.Raw
	}
	q := quarantineRow{e.Digest[:], string(e.Reason), e.Message, lane.Device[:], lane.Epoch[:], int64(e.Seq), t.nowMS, 1}
	last, err := t.lastQuarantine.row()
	if err != nil {
		return 0, "", "", err
	}
	if last != nil {
		q.id = integer(last[0]) + 1
	}
	_, err = t.exec(t.insertQuarantine, q.id, q.digest, q.reason, q.message, q.device, q.epoch, q.seq, q.receivedMS, q.sum(), raw)
	t.quarantineRows++
	return outcome, e.Reason, e.Message, err
}

// quarantineRow is a row of the table quarantine without the bytes.
type quarantineRow struct {
	digest          []byte
	reason, message string
	device, epoch   []byte
	seq, receivedMS int64
	id              int64
}

func (q quarantineRow) sum() int64 {
	return summer(nil).int(q.id).bytes(q.digest).text(q.reason).text(q.message).bytes(q.device).bytes(q.epoch).int(q.seq).
		int(q.receivedMS).sum()
}

// Quarantine lists what is kept but not used, oldest first.
func (s *Store) Quarantine(ctx context.Context, after int64, limit int) ([]*servicev1.QuarantineItem, error) {
	rows, err := s.queries.quarantine.QueryContext(ctx, after, atLeastOne(limit))
	if err != nil {
		return nil, wrap(err, "list the quarantine")
	}
	defer rows.Close()
	var items []*servicev1.QuarantineItem
	for rows.Next() {
		var id, seq, size, received int64
		var reason, message string
		var device, epoch, digest []byte
		if err := rows.Scan(&id, &reason, &message, &device, &epoch, &seq, &digest, &size, &received); err != nil {
			return nil, wrap(err, "list the quarantine")
		}
		items = append(items, &servicev1.QuarantineItem{
			Id: proto.Int64(id), Reason: proto.String(reason), Message: proto.String(message),
			Lane: &servicev1.LaneId{Device: bytes.Clone(device), Epoch: bytes.Clone(epoch)}, Seq: proto.Uint64(uint64(seq)),
			Digest: bytes.Clone(digest), Size: proto.Int64(size), ReceivedMs: proto.Int64(received),
		})
	}
	return items, wrap(rows.Err(), "list the quarantine")
}
