package tablet

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
)

// Bounds of reading rows beyond damage.
const (
	maxProbes    = 5000
	foreignBatch = 1 << 20
)

// foreignRecord is what is known of a record in a foreign file.
type foreignRecord struct {
	n      int64
	good   bool // the bytes have the digest
	pruned bool // the bytes were dropped under a receipt: headquarters has them
}

// foreignLane is a lane that will be sent: its entries from 1 on.
type foreignLane struct {
	id      syncer.LaneID
	digests []syncer.Digest
}

// row is the values of one row, the first of them its number.
type row []any

func (r row) number(i int) int64 {
	n, _ := r[i].(int64)
	return n
}

func (r row) bytes(i int) []byte {
	b, _ := r[i].([]byte)
	return b
}

func (r row) text(i int) string {
	s, _ := r[i].(string)
	return s
}

// read takes in everything that can be read.
func (f *Foreign) read(ctx context.Context) error {
	var device, seed, public []byte
	err := f.conn.QueryRowContext(ctx, "SELECT device, seed, public_key, name, enumerator, study FROM meta NOT INDEXED").
		Scan(&device, &seed, &public, &f.name, &f.enumerator, &f.study)
	if err != nil {
		err = dbFault(err, "read whose tablet %s is", f.path)
		return fault.New(fault.Internal, fault.StoreDamaged, "%w", err)
	}
	if f.device, err = syncer.ParseID(device); err != nil {
		return fault.New(fault.Internal, fault.StoreDamaged, "read whose tablet %s is: %w", f.path, err)
	}
	if f.key, err = deviceKey(seed, public); err != nil {
		return fmt.Errorf("read whose tablet %s is: %w", f.path, err)
	}
	if err := f.readRecords(ctx); err != nil {
		return err
	}
	entries, err := f.readEntries(ctx)
	if err != nil {
		return err
	}
	f.clear(entries)
	f.plan(entries)
	if err := f.readBlobs(ctx); err != nil {
		return err
	}
	return f.readDrafts(ctx)
}

// rows calls take for every row of a table that can be read, in order. Where reading breaks off it goes on behind the
// damage, one row at a time, and reports the rows between.
func (f *Foreign) rows(ctx context.Context, table, columns string, take func(row)) error {
	t := &foreignTable{f: f, name: table, query: "SELECT n, " + columns + " FROM " + table + " NOT INDEXED WHERE n ", take: take, most: -1}
	var top sql.NullInt64
	if err := f.conn.QueryRowContext(ctx, "SELECT max(n) FROM "+table+" NOT INDEXED").Scan(&top); err == nil && top.Int64 < 1<<32 {
		t.most = top.Int64
	}
	for {
		broken := t.stream(ctx)
		if broken == nil {
			t.gone(t.last+1, t.most, "the rows are gone")
			return nil
		}
		next, err := t.probe(ctx)
		if err != nil {
			return err
		}
		if next == 0 {
			t.gone(t.last+1, max(t.most, t.last+1), "unreadable: "+broken.Error())
			return nil
		}
		t.gone(t.last+1, next-1, "unreadable: "+broken.Error())
		t.last = next
	}
}

// foreignTable is a table of a foreign file that is being read.
type foreignTable struct {
	f     *Foreign
	name  string
	query string
	take  func(row)
	last  int64 // the number of the last row taken
	most  int64 // of the last row there is; -1: not known
}

// gone reports rows that could not be taken.
func (t *foreignTable) gone(from, to int64, why string) {
	switch {
	case from > to:
	case from == to:
		t.f.problem(fmt.Sprintf("%s %d", t.name, from), fault.StoreDamaged, "%s", why)
	default:
		t.f.problem(fmt.Sprintf("%s %d to %d", t.name, from, to), fault.StoreDamaged, "%s", why)
	}
}

// stream takes the rows behind the last one until the end, or until one cannot be read.
func (t *foreignTable) stream(ctx context.Context) error {
	rows, err := t.f.conn.QueryContext(ctx, t.query+"> ? ORDER BY n", t.last)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return err
		}
		n := r.number(0)
		if n <= t.last || n > 1<<32 {
			return fmt.Errorf("row %d comes after row %d", n, t.last)
		}
		t.gone(t.last+1, n-1, "the rows are gone") // rows are numbered without gaps
		t.take(r)
		t.last = n
	}
	return rows.Err()
}

// probe looks for the next row that can be read, takes it and returns its number; 0 if there is none.
func (t *foreignTable) probe(ctx context.Context) (int64, error) {
	end := t.last + maxProbes
	if t.most >= 0 {
		end = min(t.most, end)
	}
	for n := t.last + 1; n <= end; n++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if r, err := t.one(ctx, n); err == nil && r != nil && r.number(0) == n {
			t.take(r)
			return n, nil
		}
	}
	return 0, nil
}

func (t *foreignTable) one(ctx context.Context, n int64) (row, error) {
	rows, err := t.f.conn.QueryContext(ctx, t.query+"= ?", n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() {
		return nil, rows.Err()
	}
	return scanRow(rows)
}

func scanRow(rows *sql.Rows) (row, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	r, into := make(row, len(names)), make([]any, len(names))
	for i := range r {
		into[i] = &r[i]
	}
	return r, rows.Scan(into...)
}

// readRecords hashes every record and keeps which are good. The bytes stay in the file.
func (f *Foreign) readRecords(ctx context.Context) error {
	return f.rows(ctx, "record", "digest, subject, body", func(r row) {
		n, name := r.number(0), fmt.Sprintf("record %d (%.40q)", r.number(0), r.text(2))
		d, err := syncer.ParseDigest(r.bytes(1))
		body := r.bytes(3)
		own := syncer.DigestOf(body)
		if err != nil || body != nil && own != d {
			// One of the two is damaged; if the bytes stand in a lane under their own digest, it is not they.
			f.suspects[own] = suspect{n: n, name: name}
			if err != nil {
				return
			}
		}
		if f.records[d].good {
			return
		}
		f.records[d] = foreignRecord{n: n, pruned: r[3] == nil, good: body != nil && own == d}
		f.order = append(f.order, d)
	})
}

// clear takes in the records whose bytes turn out to be what a lane names, and reports the other suspects.
func (f *Foreign) clear(entries map[syncer.ID][]foreignEntry) {
	for _, lane := range entries {
		for _, e := range lane {
			if s, ok := f.suspects[e.digest]; ok && !f.records[e.digest].good {
				f.records[e.digest] = foreignRecord{n: s.n, good: true}
				f.order = append(f.order, e.digest)
				delete(f.suspects, e.digest)
			}
		}
	}
	left := slices.SortedFunc(maps.Values(f.suspects), func(a, b suspect) int { return cmp.Compare(a.n, b.n) })
	for _, s := range left {
		f.problem(s.name, fault.RecordDamaged, "its bytes do not have its digest")
	}
}

// suspect is a record whose bytes and digest contradict each other.
type suspect struct {
	n    int64
	name string
}

type foreignEntry struct {
	seq    uint64
	digest syncer.Digest
	chain  syncer.Chain
}

func (f *Foreign) readEntries(ctx context.Context) (map[syncer.ID][]foreignEntry, error) {
	lanes := map[syncer.ID][]foreignEntry{}
	err := f.rows(ctx, "lane_entry", "epoch, seq, digest, chain", func(r row) {
		epoch, err1 := syncer.ParseID(r.bytes(1))
		digest, err2 := syncer.ParseDigest(r.bytes(3))
		chain, err3 := syncer.ParseChain(r.bytes(4))
		if err := errors.Join(err1, err2, err3); err != nil || r.number(2) < 1 {
			f.problem(fmt.Sprintf("lane_entry %d", r.number(0)), fault.StoreDamaged, "the entry is damaged")
			return
		}
		lanes[epoch] = append(lanes[epoch], foreignEntry{uint64(r.number(2)), digest, chain})
	})
	return lanes, err
}

// plan decides what is sent where. Each lane is sent as far as it is whole: its chain verifies and its records are good.
// A lane is never sent past a damaged record, for the tablet itself may have it whole, and a lane that headquarters
// holds to the end would tell it that there is nothing more to send. What stands behind goes, with the damaged ones
// declared, into a lane of its own whose epoch is derived from its content, so that the same file again is the same
// lane.
func (f *Foreign) plan(entries map[syncer.ID][]foreignEntry) {
	sent, known := map[syncer.Digest]bool{}, map[syncer.Digest]bool{}
	epochs := make([]syncer.ID, 0, len(entries))
	for e := range entries {
		epochs = append(epochs, e)
	}
	slices.SortFunc(epochs, func(a, b syncer.ID) int { return slices.Compare(a[:], b[:]) })
	var declared []syncer.Digest
	for _, epoch := range epochs {
		lane := foreignLane{id: syncer.LaneID{Device: f.device, Epoch: epoch}}
		all := entries[epoch]
		slices.SortStableFunc(all, func(a, b foreignEntry) int { return cmp.Compare(a.seq, b.seq) })
		chain, whole := syncer.Chain{}, true
		for i, e := range all {
			next := syncer.NextChain(chain, lane.id, uint64(i)+1, e.digest)
			if e.seq != uint64(i)+1 || next != e.chain {
				f.problem("lane "+lane.id.String(), fault.BadChain, "its chain breaks at entry %d of %d; the records behind are sent by themselves", i+1, len(all))
				break
			}
			chain = next
			r, held := f.records[e.digest]
			whole = whole && held && (r.good || r.pruned)
			switch {
			case whole:
				lane.digests = append(lane.digests, e.digest)
				sent[e.digest] = true
			case !known[e.digest] && (!held || !r.good):
				known[e.digest] = true
				declared = append(declared, e.digest)
				if !held {
					f.problem(fmt.Sprintf("lane %v entry %d", lane.id, e.seq), fault.RecordDamaged, "its record is gone")
				}
			}
		}
		if len(lane.digests) > 0 {
			f.lanes = append(f.lanes, lane)
		}
	}
	f.planSalvage(sent, declared)
}

func (f *Foreign) planSalvage(sent map[syncer.Digest]bool, declared []syncer.Digest) {
	h := sha256.New()
	h.Write([]byte("hearth/salvage/v1\x00"))
	h.Write(f.device[:])
	for _, d := range f.order {
		if r := f.records[d]; r.good && !sent[d] {
			f.salvage.digests = append(f.salvage.digests, d)
			h.Write(d[:])
			sent[d] = true
		}
	}
	h.Write([]byte{0})
	for _, d := range declared {
		if !sent[d] {
			f.salvage.digests = append(f.salvage.digests, d)
			h.Write(d[:])
			sent[d] = true
		}
	}
	f.salvage.id = syncer.LaneID{Device: f.device, Epoch: syncer.ID(h.Sum(nil)[:16])}
}

func (f *Foreign) readDrafts(ctx context.Context) error {
	rows, err := f.conn.QueryContext(ctx, "SELECT interview_id, body, digest FROM draft NOT INDEXED")
	if err != nil {
		f.problem("the drafts", fault.StoreDamaged, "unreadable: %v", err)
		return ctx.Err()
	}
	defer rows.Close()
	for rows.Next() {
		r := make(row, 3)
		if err := rows.Scan(&r[0], &r[1], &r[2]); err != nil {
			f.problem("a draft", fault.StoreDamaged, "unreadable: %v", err)
			continue
		}
		iv, err := openDraft(r.text(0), r.bytes(1), r.bytes(2))
		if err != nil {
			f.problem(fmt.Sprintf("the draft of interview %.40q", r.text(0)), fault.StoreDamaged, "its bytes do not have its digest")
			continue
		}
		f.drafts = append(f.drafts, iv)
	}
	if err := rows.Err(); err != nil {
		f.problem("the drafts", fault.StoreDamaged, "unreadable: %v", err)
	}
	return ctx.Err()
}

// Batches yields everything that is to be sent, lane by lane, signed with the tablet's own key, ready for PushBatch.
// Damaged records travel without bytes.
func (f *Foreign) Batches(ctx context.Context, lim syncer.Limits) iter.Seq2[*servicev1.Batch, error] {
	return func(yield func(*servicev1.Batch, error) bool) {
		for _, lane := range append(slices.Clone(f.lanes), f.salvage) {
			var prev syncer.Chain
			for at := 0; at < len(lane.digests); {
				var batch *servicev1.Batch
				var head syncer.Head
				err := f.guard(func() (err error) {
					batch, head, err = f.batch(ctx, lane, at, prev, lim)
					return err
				})
				if err != nil {
					yield(nil, err)
					return
				}
				if !yield(batch, nil) {
					return
				}
				at, prev = int(head.Seq), head.Chain
			}
		}
	}
}

func (f *Foreign) batch(ctx context.Context, lane foreignLane, at int, prev syncer.Chain, lim syncer.Limits) (*servicev1.Batch, syncer.Head, error) {
	run := syncer.Run{First: uint64(at) + 1, Prev: prev}
	var raws [][]byte
	size := 0
	for _, d := range lane.digests[at:min(len(lane.digests), at+lim.Records)] {
		raw, err := f.body(ctx, d)
		if err != nil {
			return nil, syncer.Head{}, err
		}
		if len(raw) > lim.RecordBytes {
			raw = nil // the server would refuse it, and everything behind it with it
		}
		if size += len(raw); len(raws) > 0 && size > min(foreignBatch, lim.Bytes) {
			break
		}
		run.Digests, raws = append(run.Digests, d), append(raws, raw)
	}
	return syncer.NewBatch(f.key, lane.id, run.First, prev, run.Digests, raws, false), run.Head(lane.id), nil
}

// body reads a record's bytes again and believes them only if they have the digest.
func (f *Foreign) body(ctx context.Context, d syncer.Digest) ([]byte, error) {
	r := f.records[d]
	if !r.good {
		return nil, nil
	}
	var raw []byte
	err := f.conn.QueryRowContext(ctx, "SELECT body FROM record NOT INDEXED WHERE n = ?", r.n).Scan(&raw)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil || syncer.DigestOf(raw) != d {
		f.problem(fmt.Sprintf("record %d", r.n), fault.RecordDamaged, "it could be read once and no more")
		return nil, nil
	}
	return raw, nil
}
