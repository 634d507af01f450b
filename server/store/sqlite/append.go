package sqlite

import (
	"bytes"
	"context"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// Append stores a checked batch and returns when it is durable.
func (s *Store) Append(ctx context.Context, batch *syncer.Checked) (*store.Appended, error) {
	if s.writer == nil {
		return nil, readOnly(s.dir)
	}
	var out *store.Appended
	j := &job{records: len(batch.Entries), bytes: batch.Bytes}
	j.apply = func(t *tx) (err error) {
		t.forgotten = &s.queries.forgotten
		out, err = t.append(batch)
		return err
	}
	if plant.In(plant.PartialBatch) {
		if err := s.half(ctx, batch); err != nil {
			return nil, err
		}
	}
	if err := s.writer.do(ctx, j); err != nil {
		return nil, err
	}
	return out, nil
}

// half is a planted bug: the first entries of a batch are committed by themselves.
func (s *Store) half(ctx context.Context, batch *syncer.Checked) error {
	first := *batch
	first.Runs, first.Entries = nil, batch.Entries[:len(batch.Entries)/2]
	return s.writer.do(ctx, &job{apply: func(t *tx) error {
		t.forgotten = &s.queries.forgotten
		_, err := t.append(&first)
		return err
	}})
}

func readOnly(dir string) error {
	return fault.New(fault.Permission, "", "%s is open for reading only", dir)
}

// tx is the transaction of one group. It keeps the counters of the parts it has met, so that each is read and written
// once.
type tx struct {
	*logConn
	nowMS    int64
	counters map[uint64]uint64
	dirty    map[uint64]uint64
	writes   int // statements that wrote, to know whether a job that failed left something behind
	sums     summer
	// forgotten are the records that were erased.
	forgotten *forgotten
	// quarantineRows counts what is in quarantine, once counted is true.
	quarantineRows int64
	counted        bool
}

func (t *tx) exec(s *stmt, args ...any) (int64, error) {
	t.writes++
	return s.exec(args...)
}

// next returns the counter that the next record of a part gets.
func (t *tx) next(part uint64) (uint64, error) {
	c, ok := t.counters[part]
	if ok {
		return c + 1, nil
	}
	row, err := t.counter.row(int64(part))
	if err != nil {
		return 0, err
	}
	if row != nil {
		c = uint64(integer(row[0]))
	}
	t.counters[part] = c
	return c + 1, nil
}

func (t *tx) saveCounters() error {
	for part, c := range t.dirty {
		if _, err := t.exec(t.saveCounter, int64(part), int64(c), partSum(int64(part), int64(c))); err != nil {
			return err
		}
	}
	return nil
}

func partSum(part, counter int64) int64 { return summer(nil).int(part).int(counter).sum() }

// append stores a batch within the transaction.
func (t *tx) append(b *syncer.Checked) (*store.Appended, error) {
	out := &store.Appended{}
	l, err := t.loadLane(b.Lane)
	if err != nil {
		return nil, err
	}
	lost, err := t.lostBytes(b)
	if err != nil {
		return nil, err
	}
	var held map[uint64]bool // entries that need not be looked at again
	for _, r := range b.Runs {
		fork, all, err := t.admit(l, r)
		if err != nil {
			return nil, err
		}
		out.Fork = out.Fork || fork
		if all && len(r.Digests) > 0 {
			again, err := t.anyQuarantined(r.Digests)
			if err != nil {
				return nil, err
			}
			if held == nil {
				held = map[uint64]bool{}
			}
			for seq := r.First; !again && seq <= r.Last(); seq++ {
				held[seq] = true
			}
		}
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		if err := t.entry(b.Lane, e, held[e.Seq] || e.Raw == nil && lost[e.Digest], out); err != nil {
			return nil, err
		}
	}
	if err := t.storeLane(l); err != nil {
		return nil, err
	}
	out.Head, out.Gaps = l.Head, l.Gaps()
	return out, nil
}

// entry stores one entry and notes the result if it was not plainly stored.
func (t *tx) entry(lane syncer.LaneID, e *syncer.Entry, held bool, out *store.Appended) error {
	var outcome servicev1.EntryOutcome
	reason, message := e.Reason, e.Message
	var err error
	switch {
	case e.Refused:
		outcome = servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED
	case held || t.forgotten.has(e.Digest) && !plant.In(plant.ErasedAccepted):
		outcome, reason, message = servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE, "", ""
	case e.Reason != "" || e.Record == nil:
		outcome, reason, message, err = t.unusable(lane, e)
	default:
		outcome, reason, message, err = t.record(lane, e)
	}
	if err != nil {
		return err
	}
	if outcome == servicev1.EntryOutcome_ENTRY_OUTCOME_STORED {
		out.New++
		return nil
	}
	r := &servicev1.EntryResult{Seq: proto.Uint64(e.Seq), Outcome: outcome.Enum()}
	if reason != "" {
		r.Reason, r.Message = proto.String(string(reason)), proto.String(message)
	}
	out.Results = append(out.Results, r)
	return nil
}

// record stores a usable record.
func (t *tx) record(lane syncer.LaneID, e *syncer.Entry) (servicev1.EntryOutcome, fault.Reason, string, error) {
	const (
		stored    = servicev1.EntryOutcome_ENTRY_OUTCOME_STORED
		duplicate = servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE
	)
	part := e.Record.GetPart()
	counter, err := t.next(part)
	if err != nil {
		return 0, "", "", err
	}
	kind := int64(e.Record.GetKind())
	t.sums = recordSum(t.sums[:0], int64(part), int64(counter), e.Record.GetId(), e.Digest[:], kind, e.Record.GetSubject(), t.nowMS)
	n, err := t.exec(t.insertRecord, int64(part), int64(counter), e.Record.GetId(), e.Digest[:], kind,
		e.Record.GetSubject(), t.nowMS, t.sums.sum(), e.Raw)
	if err != nil {
		return 0, "", "", err
	}
	if n == 1 {
		t.counters[part] = counter
		if t.dirty == nil {
			t.dirty = map[uint64]uint64{}
		}
		t.dirty[part] = counter
		return stored, "", "", t.release(e.Digest)
	}
	row, err := t.digestOf.row(int64(part), e.Record.GetId())
	if err != nil {
		return 0, "", "", err
	}
	if row != nil && (bytes.Equal(blob(row[0]), e.Digest[:]) || plant.In(plant.DedupeByID)) {
		return duplicate, "", "", t.release(e.Digest)
	}
	again := *e
	again.Reason, again.Message = fault.IDReused, "the id of this record is held for another record"
	return t.quarantine(lane, &again)
}

func recordSum(s summer, part, counter int64, id, digest []byte, kind int64, subject string, receivedMS int64) summer {
	return s.int(part).int(counter).bytes(id).bytes(digest).int(kind).text(subject).int(receivedMS)
}

// unusable keeps an entry that cannot be used, unless its record is held already.
func (t *tx) unusable(lane syncer.LaneID, e *syncer.Entry) (servicev1.EntryOutcome, fault.Reason, string, error) {
	if e.Record != nil {
		row, err := t.digestOf.row(int64(e.Record.GetPart()), e.Record.GetId())
		if err != nil {
			return 0, "", "", err
		}
		if row != nil && bytes.Equal(blob(row[0]), e.Digest[:]) {
			return servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE, "", "", nil
		}
	}
	if e.Reason == "" {
		again := *e
		again.Reason, again.Message = fault.RecordUnreadable, "the record's envelope cannot be read"
		e = &again
	}
	return t.quarantine(lane, e)
}

// lostBytes returns those digests of entries without bytes whose records the device has brought before. It is asked
// before the batch's own runs are stored: what stands in a run is in the log or in quarantine.
func (t *tx) lostBytes(b *syncer.Checked) (map[syncer.Digest]bool, error) {
	var held map[syncer.Digest]bool
	for i := range b.Entries {
		e := &b.Entries[i]
		if e.Refused || e.Raw != nil {
			continue
		}
		if _, found, err := t.inQuarantine(e.Digest); err != nil || found {
			if err != nil {
				return nil, err
			}
			continue
		}
		row, err := t.runWith.row(b.Lane.Device[:], e.Digest[:])
		if err != nil {
			return nil, err
		}
		if row != nil {
			if held == nil {
				held = map[syncer.Digest]bool{}
			}
			held[e.Digest] = true
		}
	}
	return held, nil
}
