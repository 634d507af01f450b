package tablet

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Limits of what is taken in one row.
const (
	maxRowKey  = 256
	maxRowBody = 1 << 20
)

// bucketID names a bucket.
type bucketID struct {
	kind  servicev1.BucketKind
	scope string
}

func idOf(m interface {
	GetKind() servicev1.BucketKind
	GetScope() string
}) bucketID {
	return bucketID{m.GetKind(), m.GetScope()}
}

// down is what one Sync learns of the buckets.
type down struct {
	told     uint64 // the sum of what is held, as the Hello said it
	answer   *servicev1.HelloResponse
	released int // assignments given back in this Sync
}

// bucketStates lists what the store says it holds.
func bucketStates(ctx context.Context, q querier) (_ []*servicev1.BucketState, err error) {
	rows, err := q.QueryContext(ctx, "SELECT kind, scope, sum FROM down_bucket ORDER BY kind, scope")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []*servicev1.BucketState
	for rows.Next() {
		var kind, sum int64
		var scope string
		if err := rows.Scan(&kind, &scope, &sum); err != nil {
			return nil, err
		}
		out = append(out, &servicev1.BucketState{Kind: servicev1.BucketKind(kind).Enum(), Scope: proto.String(scope), Sum: proto.Uint64(uint64(sum))})
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	held, err := digests(ctx, q, "SELECT digest FROM pulled WHERE kind = ?", int64(servicev1.RecordKind_RECORD_KIND_STUDY))
	if err != nil {
		return nil, err
	}
	sum := syncer.RecordsSum(func(yield func(syncer.Digest) bool) {
		for _, d := range held {
			if !yield(d) {
				return
			}
		}
	})
	return append(out, &servicev1.BucketState{Kind: servicev1.BucketKind_BUCKET_KIND_RECORDS.Enum(), Scope: proto.String(""), Sum: proto.Uint64(sum)}), nil
}

// addDown tells in a Hello what the store holds of the buckets, having looked: a bucket with a row that changed on the disk
// comes anew.
func (s *Store) addDown(ctx context.Context, req *servicev1.HelloRequest) error {
	if err := s.verifyBuckets(ctx); err != nil {
		return err
	}
	states, err := bucketStates(ctx, s.db)
	if err != nil {
		return err
	}
	req.DownSum, req.Study = proto.Uint64(syncer.DownSum(states)), proto.String(s.study)
	return nil
}

// verifyBuckets adds up the rows that are there. Where they do not have the sum that is noted, that of the rows is noted, and
// the bucket is to be fetched from the beginning.
func (s *Store) verifyBuckets(ctx context.Context) error {
	return inTx(ctx, s.db, func(tx *sql.Tx) error {
		noted, err := bucketStates(ctx, tx)
		if err != nil {
			return err
		}
		held, err := rowSums(ctx, tx)
		if err != nil {
			return err
		}
		for _, m := range noted {
			id := idOf(m)
			if id.kind == servicev1.BucketKind_BUCKET_KIND_RECORDS || held[id] == m.GetSum() {
				continue
			}
			if _, err := tx.ExecContext(ctx, "UPDATE down_bucket SET sum = ?, cursor = x'', stage_cursor = NULL WHERE kind = ? AND scope = ?",
				int64(held[id]), int64(id.kind), id.scope); err != nil {
				return err
			}
		}
		return nil
	})
}

// rowSums adds up the rows of every bucket.
func rowSums(ctx context.Context, q querier) (_ map[bucketID]uint64, err error) {
	rows, err := q.QueryContext(ctx, "SELECT kind, scope, key, body FROM down_row")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	sums := map[bucketID]uint64{}
	for rows.Next() {
		var kind int64
		var scope, key string
		var body []byte
		if err := rows.Scan(&kind, &scope, &key, &body); err != nil {
			return nil, err
		}
		id := bucketID{servicev1.BucketKind(kind), scope}
		sums[id] += syncer.RowFingerprint(id.kind, key, body)
	}
	return sums, rows.Err()
}

// fetch brings what headquarters has for this tablet. Where the answer to the Hello says that there is nothing new, no
// call is made.
func (x *session) fetch(ctx context.Context) error {
	answer := x.down.answer
	switch {
	case answer.GetNotice() != nil:
		x.report.Notice = &EntryReport{Reason: fault.Reason(answer.GetNotice().GetReason()), Message: answer.GetNotice().GetMessage()}
		return nil
	case answer == nil || answer.DownSum == nil: // it does not know buckets
		return x.pull(ctx)
	case answer.GetDownSum() == x.down.told:
		return nil
	}
	held, err := bucketStates(ctx, x.s.db)
	if err != nil {
		return err
	}
	sums := make(map[bucketID]uint64, len(held))
	for _, m := range held {
		sums[idOf(m)] = m.GetSum()
	}
	var want []bucketID
	records := false
	listed := map[bucketID]bool{}
	for _, m := range answer.GetBuckets() {
		id := idOf(m)
		listed[id] = true
		sum, has := sums[id]
		switch {
		case has && sum == m.GetSum() || !has && m.GetSum() == 0:
		case id.kind == servicev1.BucketKind_BUCKET_KIND_RECORDS:
			records = true
		default:
			want = append(want, id)
		}
	}
	if x.hub == nil { // a hub may know less than this tablet has heard at headquarters
		if err := x.dropBuckets(ctx, held, listed); err != nil {
			return err
		}
	}
	if records {
		if err := x.pull(ctx); err != nil {
			return err
		}
	}
	return x.pullBuckets(ctx, want)
}

// dropBuckets removes what is not for this tablet any more.
func (x *session) dropBuckets(ctx context.Context, held []*servicev1.BucketState, listed map[bucketID]bool) error {
	return inTx(ctx, x.s.db, func(tx *sql.Tx) error {
		for _, m := range held {
			if id := idOf(m); !listed[id] && id.kind != servicev1.BucketKind_BUCKET_KIND_RECORDS {
				if err := dropBucket(ctx, tx, id); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func dropBucket(ctx context.Context, tx *sql.Tx, id bucketID) error {
	for _, table := range []string{"down_row", "down_stage", "down_bucket"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE kind = ? AND scope = ?", int64(id.kind), id.scope); err != nil {
			return err
		}
	}
	return nil
}

// pullBuckets fetches buckets, each from where it stands, and one whose sum is then another once more from the beginning.
func (x *session) pullBuckets(ctx context.Context, want []bucketID) error {
	var todo []*servicev1.BucketCursor
	for _, id := range want {
		cursor, err := x.s.bucketCursor(ctx, id)
		if err != nil {
			return err
		}
		todo = append(todo, &servicev1.BucketCursor{Kind: id.kind.Enum(), Scope: proto.String(id.scope), Cursor: cursor})
	}
	again := map[bucketID]bool{}
	for len(todo) > 0 {
		req := &servicev1.PullRequest{Device: bytes.Clone(x.s.device[:]), Study: proto.String(x.s.study), Buckets: todo}
		var resp *servicev1.PullResponse
		err := x.call(ctx, "fetch what is new", 256<<10, func(ctx context.Context) (err error) {
			x.report.BytesUp += int64(proto.Size(req))
			if resp, err = x.client.Pull(ctx, req); err == nil {
				x.report.BytesDown += int64(proto.Size(resp))
			}
			return err
		})
		if err != nil {
			return err
		}
		if n := resp.GetNotice(); n != nil {
			x.report.Notice = &EntryReport{Reason: fault.Reason(n.GetReason()), Message: n.GetMessage()}
			return nil
		}
		next, err := x.keepPages(ctx, todo, resp.GetPages(), again)
		if err != nil {
			return err
		}
		todo = next
	}
	return nil
}

// keepPages stores the pages of one answer and their cursors in one transaction, and returns what to ask for next.
func (x *session) keepPages(ctx context.Context, asked []*servicev1.BucketCursor, pages []*servicev1.BucketPage, again map[bucketID]bool) ([]*servicev1.BucketCursor, error) {
	if len(pages) != len(asked) {
		return nil, fault.New(fault.Invalid, fault.BucketDamaged, "%d buckets were asked for, %d came", len(asked), len(pages))
	}
	var next []*servicev1.BucketCursor
	var damaged []bucketID
	rows := map[servicev1.BucketKind]int{}
	released, moved := 0, false
	err := inTx(ctx, x.s.db, func(tx *sql.Tx) error {
		for i, p := range pages {
			id := idOf(p)
			if id != idOf(asked[i]) {
				return fault.New(fault.Invalid, fault.BucketDamaged, "bucket %v %q was asked for, %v %q came", asked[i].GetKind(), asked[i].GetScope(), id.kind, id.scope)
			}
			k := &keeper{s: x.s, tx: tx, id: id}
			right, err := k.keep(ctx, p)
			if err != nil {
				return fmt.Errorf("keep bucket %v: %w", id.kind, err)
			}
			rows[id.kind] += k.changed
			released += k.released
			moved = moved || len(p.GetRows()) > 0 || !p.GetMore()
			switch {
			case right && p.GetMore():
				next = append(next, &servicev1.BucketCursor{Kind: p.Kind, Scope: p.Scope, Cursor: p.GetCursor()})
			case right:
			case again[id]:
				damaged = append(damaged, id)
			default:
				again[id] = true
				next = append(next, &servicev1.BucketCursor{Kind: p.Kind, Scope: p.Scope})
			}
		}
		if !moved {
			return fault.New(fault.Invalid, fault.BucketDamaged, "the server has more, but nothing comes")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for kind, n := range rows {
		if x.report.Rows == nil {
			x.report.Rows = map[servicev1.BucketKind]int{}
		}
		x.report.Rows[kind] += n
	}
	for _, id := range damaged {
		x.report.Damaged = append(x.report.Damaged, EntryReport{Subject: id.kind.String(), Reason: fault.BucketDamaged, Message: "the rows that came do not have the sum that headquarters says; those held before stay"})
	}
	x.down.released += released
	return next, nil
}

// sendReleases tells headquarters of assignments that were given back in this Sync, so that nobody waits for the next.
func (x *session) sendReleases(ctx context.Context) error {
	if x.down.released == 0 {
		return nil
	}
	for {
		held, err := x.hello(ctx)
		if err != nil {
			return err
		}
		if err = x.push(ctx, held); !errors.Is(err, errFork) {
			return err
		}
		if err := x.leaveLane(ctx); err != nil { // a copy of this store has sent meanwhile
			return err
		}
	}
}

// bucketCursor is where to go on with a bucket: behind the pages that have come, or behind what is held.
func (s *Store) bucketCursor(ctx context.Context, id bucketID) (*servicev1.Cursor, error) {
	var raw []byte
	err := s.db.QueryRowContext(ctx, "SELECT coalesce(stage_cursor, cursor) FROM down_bucket WHERE kind = ? AND scope = ?", int64(id.kind), id.scope).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := &servicev1.Cursor{}
	if proto.Unmarshal(raw, c) != nil {
		return nil, nil // damaged: the bucket comes anew
	}
	return c, nil
}

// keeper stores pages of one bucket in a transaction.
type keeper struct {
	s                 *Store
	tx                *sql.Tx
	id                bucketID
	changed, released int
}

// keep stores a page; with the last one what has come becomes the bucket, if it then has the sum that the server says.
// If not, false: what is held stays as it was.
func (k *keeper) keep(ctx context.Context, p *servicev1.BucketPage) (bool, error) {
	switch {
	case p.GetGone():
		return true, dropBucket(ctx, k.tx, k.id)
	case p.GetBehind():
		return true, k.unstage(ctx)
	}
	if _, err := k.tx.ExecContext(ctx, "INSERT INTO down_bucket (kind, scope, sum, cursor, stage_whole) VALUES (?, ?, 0, x'', 0) ON CONFLICT DO NOTHING",
		int64(k.id.kind), k.id.scope); err != nil {
		return false, err
	}
	if p.GetWhole() {
		if err := k.unstage(ctx); err != nil {
			return false, err
		}
		if _, err := k.tx.ExecContext(ctx, "UPDATE down_bucket SET stage_whole = 1 WHERE kind = ? AND scope = ?", int64(k.id.kind), k.id.scope); err != nil {
			return false, err
		}
	}
	if err := k.stageAll(ctx, p.GetRows()); err != nil {
		return false, err
	}
	cursor, err := proto.MarshalOptions{Deterministic: true}.Marshal(p.GetCursor())
	if err != nil {
		return false, err
	}
	cursor = append([]byte{}, cursor...) // not nil, which the database takes for NULL
	if p.GetMore() {
		_, err = k.tx.ExecContext(ctx, "UPDATE down_bucket SET stage_cursor = ? WHERE kind = ? AND scope = ?", cursor, int64(k.id.kind), k.id.scope)
		return true, err
	}
	return k.finish(ctx, p.GetSum(), cursor)
}

// unstage throws away pages that have come.
func (k *keeper) unstage(ctx context.Context) error {
	if _, err := k.tx.ExecContext(ctx, "DELETE FROM down_stage WHERE kind = ? AND scope = ?", int64(k.id.kind), k.id.scope); err != nil {
		return err
	}
	_, err := k.tx.ExecContext(ctx, "UPDATE down_bucket SET stage_cursor = NULL, stage_whole = 0 WHERE kind = ? AND scope = ?", int64(k.id.kind), k.id.scope)
	return err
}

// stageAll keeps the rows of a page until the last page has come.
func (k *keeper) stageAll(ctx context.Context, rows []*servicev1.Row) (err error) {
	insert, err := k.tx.PrepareContext(ctx, `INSERT INTO down_stage (kind, scope, key, fingerprint, body) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (kind, scope, key) DO UPDATE SET fingerprint = excluded.fingerprint, body = excluded.body`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	for _, r := range rows {
		if err := k.stage(ctx, insert, r); err != nil {
			return err
		}
	}
	return nil
}

func (k *keeper) stage(ctx context.Context, insert *sql.Stmt, r *servicev1.Row) error {
	var body any
	fingerprint := uint64(0)
	switch op := r.GetOp(); {
	case r.GetKey() == "" || len(r.GetKey()) > maxRowKey || len(r.GetBody()) > maxRowBody:
		return fault.New(fault.Invalid, fault.BucketDamaged, "a row has a key of %d bytes and a body of %d", len(r.GetKey()), len(r.GetBody()))
	case op == servicev1.RowOp_ROW_OP_PUT:
		body = append([]byte{}, r.GetBody()...)
		fingerprint = syncer.RowFingerprint(k.id.kind, r.GetKey(), r.GetBody())
	case op != servicev1.RowOp_ROW_OP_REMOVE:
		return fault.New(fault.Invalid, fault.BucketDamaged, "a row is neither put nor removed: %d", op)
	}
	_, err := insert.ExecContext(ctx, int64(k.id.kind), k.id.scope, r.GetKey(), int64(fingerprint), body)
	return err
}

// finish makes what has come the bucket.
func (k *keeper) finish(ctx context.Context, want uint64, cursor []byte) (bool, error) {
	var held, whole int64
	err := k.tx.QueryRowContext(ctx, "SELECT sum, stage_whole FROM down_bucket WHERE kind = ? AND scope = ?", int64(k.id.kind), k.id.scope).Scan(&held, &whole)
	if err != nil {
		return false, err
	}
	sum, changed, err := k.staged(ctx, uint64(held), whole == 1)
	if err != nil {
		return false, err
	}
	if sum != want {
		return false, k.unstage(ctx)
	}
	const same = "WHERE kind = ?1 AND scope = ?2"
	for _, q := range []string{
		"DELETE FROM down_row " + same + " AND (?3 = 1 OR key IN (SELECT key FROM down_stage " + same + "))",
		"INSERT INTO down_row (kind, scope, key, fingerprint, body) SELECT kind, scope, key, fingerprint, body FROM down_stage " + same + " AND body IS NOT NULL AND ?3 >= 0",
		"DELETE FROM down_stage " + same + " AND ?3 >= 0",
	} {
		if _, err := k.tx.ExecContext(ctx, q, int64(k.id.kind), k.id.scope, whole); err != nil {
			return false, err
		}
	}
	k.changed = len(changed)
	if _, err := k.tx.ExecContext(ctx, "UPDATE down_bucket SET sum = ?, cursor = ?, stage_cursor = NULL, stage_whole = 0 WHERE kind = ? AND scope = ?",
		int64(sum), cursor, int64(k.id.kind), k.id.scope); err != nil {
		return false, err
	}
	if k.id.kind == servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS {
		k.released, err = k.s.giveBack(ctx, k.tx, changed)
	}
	return err == nil, err
}

// staged reckons the sum that the bucket will have, and lists the keys that change.
func (k *keeper) staged(ctx context.Context, held uint64, whole bool) (sum uint64, changed []string, err error) {
	if sum = held; whole {
		sum = 0
	}
	rows, err := k.tx.QueryContext(ctx, `SELECT s.key, s.fingerprint, coalesce(r.fingerprint, 0) FROM down_stage AS s
		LEFT JOIN down_row AS r ON r.kind = s.kind AND r.scope = s.scope AND r.key = s.key WHERE s.kind = ? AND s.scope = ?`, int64(k.id.kind), k.id.scope)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		var is, was int64
		if err := rows.Scan(&key, &is, &was); err != nil {
			return 0, nil, err
		}
		if sum += uint64(is); !whole {
			sum -= uint64(was)
		}
		if is != was {
			changed = append(changed, key)
		}
	}
	return sum, changed, rows.Err()
}
