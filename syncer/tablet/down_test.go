package tablet

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// FuzzPages gives a store pages that anybody may have made. It must not fail in another way than by saying so, and what it
// holds afterwards must have the sum that it tells in its Hello.
func FuzzPages(f *testing.F) {
	page := func(change func(*servicev1.BucketPage)) []byte {
		row := &servicev1.AssignmentRow{Assignment: &servicev1.Assignment{AssignmentId: proto.String("a"), Part: proto.Uint64(7)},
			State: servicev1.AssignmentState_ASSIGNMENT_STATE_RECALLED.Enum(), Head: make([]byte, 32)}
		body, err := proto.Marshal(row)
		if err != nil {
			f.Fatal(err)
		}
		p := &servicev1.BucketPage{Kind: servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS.Enum(), Scope: proto.String("E1"),
			Rows: []*servicev1.Row{{Key: proto.String("a"), Op: servicev1.RowOp_ROW_OP_PUT.Enum(), Body: body}}, Whole: proto.Bool(true),
			Sum: proto.Uint64(syncer.RowFingerprint(servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, "a", body))}
		change(p)
		raw, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		return raw
	}
	f.Add(page(func(*servicev1.BucketPage) {}))
	f.Add(page(func(p *servicev1.BucketPage) { p.More = proto.Bool(true) }))
	f.Add(page(func(p *servicev1.BucketPage) { p.Gone = proto.Bool(true) }))
	f.Add(page(func(p *servicev1.BucketPage) { p.Behind = proto.Bool(true) }))
	f.Add(page(func(p *servicev1.BucketPage) { p.Rows[0].Body, p.Sum = []byte{0xff}, proto.Uint64(1) }))
	f.Add(page(func(p *servicev1.BucketPage) { p.Rows = append(p.Rows, p.Rows[0]) }))
	f.Add(page(func(p *servicev1.BucketPage) { p.Kind, p.Scope = servicev1.BucketKind(99).Enum(), nil }))
	f.Add([]byte{})
	s, err := Create(f.Context(), filepath.Join(f.TempDir(), "t.sqlite"), CreateOptions{Name: "t", Enumerator: "E1", Study: "s"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := &servicev1.BucketPage{}
		if proto.Unmarshal(raw, p) != nil {
			return
		}
		ctx := context.Background()
		err := inTx(ctx, s.db, func(tx *sql.Tx) error {
			k := &keeper{s: s, tx: tx, id: idOf(p)}
			_, err := k.keep(ctx, p)
			return err
		})
		if err != nil && fault.ReasonOf(err) == "" {
			t.Fatalf("keep: %v", err)
		}
		sums, err := rowSums(ctx, s.db)
		if err != nil {
			t.Fatal(err)
		}
		states, err := bucketStates(ctx, s.db)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range states {
			if sums[idOf(m)] != m.GetSum() {
				t.Fatalf("bucket %v %q has the sum %x, its rows %x", m.GetKind(), m.GetScope(), m.GetSum(), sums[idOf(m)])
			}
		}
	})
}
