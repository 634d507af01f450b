package server

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// copyOf is a copy of a tablet's store in another file, in which the nth record is damaged; 0: none.
func (d *walker) copyOf(t *testing.T, name string, n int) *walker {
	t.Helper()
	path := filepath.Join(d.f.dir, name+".sqlite")
	if err := d.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, q := range []string{"DROP TRIGGER record_fixed", "DROP TRIGGER record_pruned", "UPDATE record SET body = zeroblob(9) WHERE n = " + string(rune('0'+n))} {
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
	}
	st, err := offline.Open(t.Context(), path, offline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return &walker{Store: st, f: d.f, name: name}
}

func (f *field) revoke(id []byte, why string) {
	f.t.Helper()
	_, err := servicev1.NewDeviceServiceClient(f.hq.srv.Local()).RevokeDevice(with(context.Background()), &servicev1.RevokeDeviceRequest{Device: id, Reason: proto.String(why)})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (d *walker) pruned(t *testing.T) int {
	t.Helper()
	n, err := d.Prune(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// teamOf is a field with hubs that know their tablets.
func teamOf(t *testing.T, hubs int, names ...string) (*field, []*walker) {
	t.Helper()
	f := newField(t, t.TempDir(), hubs)
	t.Cleanup(f.close)
	var all []*walker
	for _, name := range names {
		d := f.tablet(name, f.hq)
		t.Cleanup(func() { _ = d.Close() })
		all = append(all, d)
	}
	for _, h := range f.hubs {
		f.once(h)
	}
	return f, all
}

// A copy of a tablet has said that a record is damaged. Headquarters' receipt over its place, handed down by the hub, does
// not cover the whole record of the other one.
func TestHubReceiptOverAPlaceWithoutBytes(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 1, "a")
	a, hub := ts[0], f.hubs[0]
	a.write(3)
	b := a.copyOf(t, "copy", 3)
	if r := b.sync(hub); len(r.Damaged) != 1 {
		t.Fatalf("the copy: %+v", r)
	}
	f.once(hub)
	if r := a.sync(hub); r.HandedDown != 1 || r.Sent != 1 {
		t.Errorf("a: %+v; want the receipt, and one record sent again", r)
	}
	if st, err := a.Status(t.Context()); err != nil || st.Undelivered != 1 {
		t.Errorf("status = %+v, %v; want one record whose place alone is receipted", st, err)
	}
	if n := a.pruned(t); n != 2 {
		t.Errorf("pruned %d under a receipt over 2 of 3 records", n)
	}
	f.once(hub)
	if r := a.sync(hub); r.Pending != 0 || a.pruned(t) != 1 {
		t.Errorf("a again: %+v", r)
	}
	if n := f.atHQ(a); n != 3 {
		t.Errorf("headquarters holds %d of 3", n)
	}
}

// Headquarters has a place from a copy that sent it without bytes; the hub has the bytes and was cut before it forwarded
// them. The receipt over that place is not handed down: the hub may burn.
func TestHubHandsDownOnlyWhatIsDelivered(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 1, "a")
	a, hub := ts[0], f.hubs[0]
	a.write(70)
	b := a.copyOf(t, "copy", 0)
	db, err := sql.Open("sqlite", b.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"DROP TRIGGER record_fixed", "DROP TRIGGER record_pruned", "UPDATE record SET body = zeroblob(9) WHERE n = 70"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b.sync(f.hq)
	opts := fastOptions()
	opts.MaxBatchBytes = 1 // each record a run of its own, which makes two pages of them
	if r, err := a.Sync(t.Context(), &radio{to: hub}, opts); err != nil || r.Batches != 70 {
		t.Fatalf("a with the hub: %+v, %v", r, err)
	}
	for last := 1; last < 12; last++ { // the connection dies ever later
		hub.up.dies = last
		hub.up.n.Store(0)
		_ = hub.relay.Once(t.Context())
		if r := a.sync(hub); f.atHQ(a) < 70-r.Pending {
			t.Fatalf("cut after %d calls: %d records are at headquarters, and a receipt over more was handed down: %+v", last, f.atHQ(a), r)
		}
	}
	hub.up.dies = 0
	f.once(hub)
	if r := a.sync(hub); r.Pending != 0 || f.atHQ(a) != 70 {
		t.Errorf("in the end: %+v, %d at headquarters", r, f.atHQ(a))
	}
}

// A tablet that came back from a backup meets a hub, and headquarters holds its lane further: it signs as far as the hub has it.
func TestHubOfATabletThatWasRestored(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 1, "a")
	a, hub := ts[0], f.hubs[0]
	a.write(4)
	old := a.copyOf(t, "backup", 0)
	a.write(3)
	a.sync(f.hq)
	old.sync(hub)
	f.once(hub)
	if r := old.sync(hub); r.HandedDown != 1 || r.Pending != 0 {
		t.Fatalf("what headquarters holds of the lane was not signed as far as the hub has it: %+v", r)
	}
	old.write(2) // in the place of what the lane holds at headquarters
	for range 3 {
		old.sync(hub)
		f.once(hub)
	}
	if r := old.sync(hub); r.Pending != 0 {
		t.Errorf("after it went on: %+v", r)
	}
}

// A tablet that has pruned goes to a hub that knows nothing of its lane: it need not send what headquarters has signed
// for, and the hub's part is forwarded and receipted all the same.
func TestHubTakesALaneFromWhereHeadquartersHasIt(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 2, "a")
	a := ts[0]
	a.write(4)
	a.sync(f.hq)
	if n := a.pruned(t); n != 4 {
		t.Fatalf("pruned %d", n)
	}
	for _, hub := range f.hubs {
		a.write(2)
		if r := a.sync(hub); r.Sent == 0 || len(r.Damaged)+len(r.Refused) > 0 || r.Pending != r.Sent {
			t.Errorf("with %s: %+v", hub.name, r)
		}
		if r := a.sync(hub); r.Sent+r.Duplicates != 0 {
			t.Errorf("with %s again: %+v", hub.name, r)
		}
	}
	for _, hub := range []*station{f.hubs[1], f.hubs[0]} { // the second has 5 to 8, the first 5 and 6
		f.once(hub)
	}
	if r := a.sync(f.hubs[1]); r.Pending != 0 || r.HandedDown != 1 {
		t.Errorf("in the end: %+v", r)
	}
	if n := f.atHQ(a); n != 8 {
		t.Errorf("headquarters holds %d of 8", n)
	}
	for _, hub := range f.hubs {
		if err := hub.srv.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		report, err := hub.store.Check(t.Context(), store.CheckOptions{})
		if err == nil {
			err = hub.srv.CheckHub(t.Context(), report)
		}
		if err != nil || len(report.Findings) > 0 {
			t.Errorf("check of %s: %+v, %v; want no gap where headquarters has the entries", hub.name, report.Findings, err)
		}
	}
}

// The states that a hub must survive, each with what a supervisor sees.
func TestHubStates(t *testing.T) {
	t.Run("lost before forwarding", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 1, "a")
		a := ts[0]
		a.write(3)
		a.sync(f.hubs[0])
		f.lose(0)
		f.once(f.hubs[0])
		if r := a.sync(f.hubs[0]); r.Sent != 3 || r.Pending != 3 {
			t.Errorf("with the new hub: %+v; want everything again", r)
		}
		f.once(f.hubs[0])
		if r := a.sync(f.hubs[0]); r.Pending != 0 || f.atHQ(a) != 3 {
			t.Errorf("after forwarding: %+v", r)
		}
	})
	t.Run("restored from a backup", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 1, "a")
		a, hub := ts[0], f.hubs[0]
		a.write(2)
		a.sync(hub)
		f.once(hub)
		f.backup(hub, "old")
		a.write(2)
		a.sync(hub)
		f.once(hub)
		f.restore(hub, "old")
		a.write(1)
		if r := a.sync(hub); r.Sent != 3 {
			t.Errorf("after the restore: %+v; want what the hub has forgotten again", r)
		}
		f.once(hub)
		if r := a.sync(hub); r.Pending != 0 || f.atHQ(a) != 5 {
			t.Errorf("in the end: %+v, %d at headquarters", r, f.atHQ(a))
		}
	})
	t.Run("weeks without headquarters", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 1, "a", "b")
		hub := f.hubs[0]
		hub.up.away = true
		weeks := 20
		if testing.Short() {
			weeks = 4
		}
		for range weeks {
			for _, d := range ts {
				d.write(8)
				d.sync(hub)
			}
			if err := hub.relay.Once(t.Context()); fault.ReasonOf(err) != fault.Unreachable {
				t.Fatalf("headquarters is away: %v", err)
			}
		}
		if st := f.status(hub); st.GetEntriesHere() != uint64(16*weeks) || fault.Reason(st.GetReason()) != fault.Unreachable || st.GetTriedMs() == 0 {
			t.Errorf("status = %v", st)
		}
		hub.up.away = false
		f.once(hub)
		for _, d := range ts {
			if r := d.sync(hub); r.Pending != 0 || f.atHQ(d) != 8*weeks {
				t.Errorf("%s: %+v", d.name, r)
			}
		}
	})
	t.Run("a tablet that headquarters revoked", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 1, "a")
		a, hub := ts[0], f.hubs[0]
		a.write(1)
		a.sync(hub)
		id := a.Device()
		f.revoke(id[:], "lost")
		f.once(hub)
		a.write(1)
		r := a.sync(hub)
		if r.Notice == nil || r.Notice.Reason != fault.DeviceRevoked {
			t.Errorf("at the hub: %+v; want the notice", r)
		}
		f.once(hub)
		r = a.sync(hub)
		if r.Pending != 0 || len(r.Quarantined) == 0 || r.Quarantined[0].Reason != fault.DeviceRevoked {
			t.Errorf("after forwarding: %+v; want headquarters' word about what is in quarantine", r)
		}
		items, err := f.hq.store.Quarantine(t.Context(), 0, 10)
		if err != nil || len(items) != 2 {
			t.Errorf("quarantine = %v, %v; want both", items, err)
		}
		if r := a.sync(hub); len(r.Quarantined) != 0 {
			t.Errorf("told again: %+v", r)
		}
	})
	t.Run("a hub that headquarters revoked", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 1, "a")
		a, hub := ts[0], f.hubs[0]
		a.write(2)
		a.sync(hub)
		id := hub.relay.State().GetDevice()
		f.revoke(id, "stolen")
		f.once(hub)
		if n := f.atHQ(a); n != 2 {
			t.Errorf("headquarters holds %d of 2: what a revoked hub forwards is signed by tablets", n)
		}
		if st := f.status(hub); fault.Reason(st.GetReason()) != fault.HubRevoked {
			t.Errorf("status = %v", st)
		}
		a.write(1)
		if _, err := a.Sync(t.Context(), &radio{to: hub}, fastOptions()); fault.ReasonOf(err) != fault.HubRevoked {
			t.Errorf("at the revoked hub: %v", err)
		}
		if r := a.sync(f.hq); r.Pending != 0 || r.Sent != 1 {
			t.Errorf("at headquarters: %+v", r)
		}
		if err := hub.relay.EnrolHub(t.Context(), f.code("hub-1", true)); err != nil {
			t.Fatal(err)
		}
		f.once(hub)
		a.write(1)
		if r := a.sync(hub); r.Sent != 1 {
			t.Errorf("at the hub that was enrolled again: %+v", r)
		}
	})
	t.Run("a hub of another headquarters", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 0, "a")
		g := newField(t, t.TempDir(), 0)
		t.Cleanup(g.close)
		g.hq.key = newTablet("another headquarters").key
		g.stop(g.hq)
		g.start(g.hq)
		hub := g.newHub("hub-x")
		g.hubs = append(g.hubs, hub)
		g.once(hub)
		ts[0].write(1)
		id := ts[0].Device()
		list := []*servicev1.EnrolledDevice{{Device: id[:], PublicKey: keyOf(t, f, id), Name: proto.String("a"), Enumerator: proto.String("E")}}
		if err := store.PutMessage(t.Context(), hub.store, store.ShelfHubDevice, id[:], list[0]); err != nil {
			t.Fatal(err)
		}
		if r, err := ts[0].Sync(t.Context(), &radio{to: hub}, fastOptions()); fault.ReasonOf(err) != fault.ServerChanged || r.Batches > 0 {
			t.Errorf("at a hub of another headquarters: %+v, %v; want nothing sent", r, err)
		}
	})
	t.Run("what headquarters cannot use", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 1, "a")
		a, hub := ts[0], f.hubs[0]
		a.write(1)
		iv := inStudy(household(7))
		iv.QuestionnaireVersion = proto.Uint32(99)
		if _, _, err := a.AddInterview(t.Context(), iv); err != nil {
			t.Fatal(err)
		}
		if r := a.sync(hub); len(r.Quarantined) != 0 || r.Sent != 2 {
			t.Errorf("at the hub: %+v; want both in custody: headquarters decides", r)
		}
		f.once(hub)
		r := a.sync(hub)
		if r.Pending != 0 || len(r.Quarantined) != 1 || r.Quarantined[0].Reason != fault.UnknownVersion || r.Quarantined[0].Subject != iv.GetInterviewId() {
			t.Errorf("after forwarding: %+v", r)
		}
	})
	t.Run("headquarters restored from a backup", func(t *testing.T) {
		t.Parallel()
		for _, knows := range []bool{false, true} {
			f, ts := teamOf(t, 1, "a")
			a, hub := ts[0], f.hubs[0]
			a.write(2)
			a.sync(hub)
			f.once(hub)
			f.backup(f.hq, "old")
			a.write(3)
			a.sync(hub)
			f.once(hub)
			if r := a.sync(hub); r.Pending != 0 {
				t.Fatalf("before: %+v", r)
			}
			if n := a.pruned(t); n != 5 {
				t.Fatalf("pruned %d", n)
			}
			f.hq.restored = knows
			f.restore(f.hq, "old")
			if n := f.atHQ(a); n != 2 {
				t.Fatalf("the backup holds %d", n)
			}
			f.once(hub)
			f.once(hub)
			if n := f.atHQ(a); n != 5 {
				t.Errorf("it knows that it was restored: %v; headquarters holds %d of 5 when the hub has offered everything again", knows, n)
			}
		}
	})
	t.Run("headquarters that has forgotten a tablet", func(t *testing.T) {
		t.Parallel()
		f, _ := teamOf(t, 1)
		hub := f.hubs[0]
		f.backup(f.hq, "old")
		a, b := f.tablet("a", f.hq), f.tablet("b", f.hq)
		defer a.Close()
		defer b.Close()
		f.once(hub)
		f.restore(f.hq, "old")
		a.write(1)
		a.sync(hub)
		f.once(hub)
		st := f.status(hub)
		if len(st.GetTroubles()) != 1 || fault.Reason(st.GetTroubles()[0].GetReason()) != fault.DeviceUnknown || st.GetEntriesHere() != 1 {
			t.Fatalf("status = %v; want the lane of a tablet that headquarters does not know", st)
		}
		report := &store.Report{}
		if err := hub.srv.CheckHub(t.Context(), report); err != nil || len(report.Findings) != 2 || !strings.Contains(report.Findings[1].Message, "entries 1 to 1") {
			t.Errorf("check = %+v, %v", report.Findings, err)
		}
		// It is enrolled again, and what waited goes on by itself.
		again, err := offline.Enrol(t.Context(), a.Path(), &radio{to: f.hq}, offline.EnrolOptions{Code: f.code("a", false)})
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		f.once(hub)
		if st := f.status(hub); len(st.GetTroubles()) != 0 || st.GetEntriesHere() != 0 {
			t.Errorf("status = %v", st)
		}
		if n := f.atHQ(a); n != 1 {
			t.Errorf("headquarters holds %d of 1", n)
		}
	})
	t.Run("two copies of a tablet", func(t *testing.T) {
		t.Parallel()
		f, ts := teamOf(t, 2, "a")
		a := ts[0]
		a.write(2)
		a.sync(f.hubs[0])
		b := a.copyOf(t, "b", 0)
		b.n = 100
		a.write(2)
		b.write(3)
		a.sync(f.hubs[0])
		b.sync(f.hubs[1])
		for _, h := range f.hubs {
			f.once(h)
		}
		for range 2 {
			for _, h := range f.hubs {
				a.sync(h)
				b.sync(h)
				f.once(h)
			}
		}
		for _, d := range []*walker{a, b} {
			if st, err := d.Status(t.Context()); err != nil || st.Pending != 0 {
				t.Errorf("%s: %+v, %v", d.name, st, err)
			}
		}
		if n, m := f.atHQ(a), f.atHQ(b); n != 4 || m != 5 {
			t.Errorf("headquarters holds %d of 4 and %d of 5", n, m)
		}
	})
}

func keyOf(t *testing.T, f *field, id syncer.ID) []byte {
	t.Helper()
	key, err := f.hq.store.Key(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Photos go through the hub: into its custody before headquarters has signed for the answers, forwarded piece by piece
// over a link that is cut, once for two tablets that have the same. The tablet drops its bytes only under headquarters'
// signature.
func TestHubForwardsAttachments(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 1, "a", "b")
	hub := f.hubs[0]
	photo := strings.Repeat("photo of a house ", 20_000)
	hub.up.away = true
	for _, d := range ts {
		at, err := d.AddBlob(t.Context(), strings.NewReader(photo))
		if err != nil {
			t.Fatal(err)
		}
		iv := inStudy(household(len(d.name)))
		iv.Attachments = []*surveyv1.Attachment{at}
		if _, _, err := d.AddInterview(t.Context(), iv); err != nil {
			t.Fatal(err)
		}
		r := d.sync(hub)
		if want := map[string]int{"a": 1, "b": 0}[d.name]; r.Blobs.Sent != want || r.Blobs.Pending != 1 {
			t.Errorf("%s with the hub: %+v; want %d sent, and the photo pending", d.name, r.Blobs, want)
		}
	}
	hub.up.away = false
	for last := 3; last < 200; last += 3 { // connections that die early
		hub.up.dies = last
		hub.up.n.Store(0)
		if hub.relay.Once(t.Context()) == nil {
			break
		}
	}
	hub.up.dies = 0
	f.once(hub)
	if st := f.status(hub); st.GetBlobsHere() != 0 || st.GetBlobsAwaited() != 0 || st.GetEntriesHere() != 0 {
		t.Fatalf("status = %v", st)
	}
	totals, err := f.hq.blobs.Totals()
	if err != nil || totals.Blobs != 1 || totals.Bytes != int64(len(photo)) || totals.Pending != 0 {
		t.Errorf("headquarters has %+v, %v; want the photo once", totals, err)
	}
	hub.up.away = true
	a := ts[0]
	if r := a.sync(hub); r.Pending != 0 || r.Blobs.Pending != 0 {
		t.Errorf("a: %+v %+v; want headquarters' signature over the photo handed down", r, r.Blobs)
	}
	before := size(t, a.Path())
	if n := a.pruned(t); n != 1 {
		t.Errorf("pruned %d", n)
	}
	if st, err := a.Status(t.Context()); err != nil || st.BlobsPruned != 1 {
		t.Errorf("status after pruning %d bytes: %+v, %v", before, st, err)
	}
	if st, err := ts[1].Status(t.Context()); err != nil || st.BlobsPending != 1 {
		t.Errorf("b has not been there: %+v, %v", st, err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// Studies come down through the hub under headquarters' own cursor: a tablet goes on at headquarters without getting
// anything twice. A hub that is behind the tablet says that there is nothing newer.
func TestHubMirrorsStudies(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 1, "a", "b")
	a, b, hub := ts[0], ts[1], f.hubs[0]
	put := func(title string) {
		t.Helper()
		_, err := servicev1.NewStudyServiceClient(f.hq.srv.Local()).PutStudy(with(t.Context()), &servicev1.PutStudyRequest{Study: &surveyv1.Study{Study: proto.String("guiyang"), TitleEn: proto.String(title)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("one")
	put("two")
	f.once(hub)
	hub.up.away = true
	if r := a.sync(hub); r.Pulled != 2 {
		t.Errorf("a through the hub: %+v; want both revisions", r)
	}
	if r := a.sync(f.hq); r.Pulled != 0 {
		t.Errorf("a at headquarters: %+v; want nothing twice", r)
	}
	st, err := servicev1.NewStudyServiceClient(hub.srv.Local()).GetStudy(with(t.Context()), &servicev1.GetStudyRequest{})
	if err != nil || st.GetStudy().GetTitleEn() != "two" {
		t.Errorf("the study on the hub = %v, %v", st, err)
	}
	put("three")
	if r := b.sync(f.hq); r.Pulled != 3 {
		t.Errorf("b at headquarters: %+v", r)
	}
	if r := b.sync(hub); r.Pulled != 0 {
		t.Errorf("b at a hub that is behind: %+v", r)
	}
	hub.up.away = false
	f.once(hub)
	if r := a.sync(hub); r.Pulled != 1 {
		t.Errorf("a through the hub: %+v; want the third", r)
	}
}
