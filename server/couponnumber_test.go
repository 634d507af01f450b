package server

import (
	"path/filepath"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/referral"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
)

func couponNumberOf(t *testing.T, st *offline.Store) int {
	t.Helper()
	n, err := st.CouponNumber(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Every lane gets a number of its own: at its enrolment, also where the answer is lost, or at its first sync.
func TestCouponNumbers(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		patient(d)
		dir := t.TempDir()
		enrolled := func(name string, conn grpc.ClientConnInterface) *offline.Store {
			t.Helper()
			opts := offline.EnrolOptions{Code: d.code(t, name, "E-"+name)}
			st, err := offline.Enrol(t.Context(), filepath.Join(dir, name), conn, opts)
			if err != nil {
				st, err = offline.Enrol(t.Context(), filepath.Join(dir, name), conn, opts)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = st.Close() })
			return st
		}
		a := enrolled("a", &lossy{ClientConnInterface: d.conn, method: "Enrol", lose: 1})
		b := enrolled("b", d.conn)
		if x, y := couponNumberOf(t, a), couponNumberOf(t, b); x != 0 || y != 1 {
			t.Errorf("two tablets have the numbers %d and %d, want 0 and 1", x, y)
		}

		c, err := offline.Create(t.Context(), filepath.Join(dir, "c"), offline.CreateOptions{Name: "c", Enumerator: "E-c", Study: "guiyang"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if n := couponNumberOf(t, c); n != -1 {
			t.Errorf("a tablet that nobody knows has the number %d", n)
		}
		// Under a number that was typed by hand coupons are out; nobody is given it.
		code, err := referral.MakeCoupon(referral.CouponCode{Device: 40})
		if err != nil {
			t.Fatal(err)
		}
		err = c.ChangeCoupons(t.Context(), func(before []*servicev1.CouponEvent, number int) ([]*servicev1.CouponEvent, error) {
			if len(before) != 0 || number != -1 {
				t.Errorf("before anything happened there are %d events, and the number %d", len(before), number)
			}
			return []*servicev1.CouponEvent{{Code: &code, Kind: servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED.Enum()}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := c.Sync(t.Context(), tokenConn{d.conn}, offline.SyncOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := couponNumberOf(t, c); n != 2 {
			t.Errorf("a tablet that was not enrolled has the number %d after its sync, want 2", n)
		}
		if n := couponNumberOf(t, enrolled("d", d.conn)); n != 41 {
			t.Errorf("the next tablet has the number %d, want 41, behind those under which coupons are out", n)
		}
		if n := couponNumberOf(t, a); n != 0 {
			t.Errorf("the first tablet has the number %d now", n)
		}
	})
}

// When all numbers are given away tablets go on working, without coupons.
func TestCouponNumbersEnd(t *testing.T) {
	d := newDesk(t, newMemory())
	last := store.Item{Space: store.ShelfCoupons, Key: store.CouponKey("s", int64(referral.MaxCouponDevice)), Value: []byte("somebody")}
	if err := d.store.Put(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if n, err := d.couponNumber(t.Context(), "s", syncer.ID{}, make([]byte, 16), nil); err != nil || n != nil {
		t.Errorf("behind the last number = %v, %v; want none", n, err)
	}
	if n, err := d.couponNumber(t.Context(), "another", syncer.ID{}, make([]byte, 16), nil); err != nil || n == nil || *n != 0 {
		t.Errorf("of another study = %v, %v; want 0", n, err)
	}
}

// A tablet that enrols through a hub has its number from headquarters; a copy of a tablet gets another than its original.
func TestCouponNumbersInTheField(t *testing.T) {
	f, _ := teamOf(t, 1)
	a := f.tablet("a", f.hubs[0])
	defer a.Close()
	at := couponNumberOf(t, a.Store)
	if at < 0 {
		t.Fatal("the tablet that enrolled through a hub has no number")
	}
	b := a.copyOf(t, "b", 0)
	b.n = 100
	a.write(2)
	b.write(3)
	for range 2 {
		a.sync(f.hq)
		b.sync(f.hq)
	}
	x, y := couponNumberOf(t, a.Store), couponNumberOf(t, b.Store)
	if x != at || y < 0 || y == at {
		t.Errorf("a tablet of number %d has %d, its copy %d; want the copy to have another", at, x, y)
	}
}
