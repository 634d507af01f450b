package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lossy is a connection that loses the answers of a method so many times.
type lossy struct {
	grpc.ClientConnInterface
	method string
	lose   int
	calls  map[string]int
}

func (l *lossy) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if l.calls == nil {
		l.calls = map[string]int{}
	}
	name := method[strings.LastIndexByte(method, '/')+1:]
	l.calls[name]++
	err := l.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if err == nil && name == l.method && l.lose > 0 {
		l.lose--
		return status.Error(codes.Unavailable, "the connection was cut")
	}
	return err
}

func fastSession() offline.SyncOptions {
	return offline.SyncOptions{Session: true, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, Attempts: 5}
}

// The tablet's own program against this server: the answer to Enrol is lost, so is one to OpenSession, the session ends
// in the middle, the server starts anew; nothing is lost and the tablet is enrolled once.
func TestEnrolledTabletSyncs(t *testing.T) {
	dir := t.TempDir()
	d := newDesk(t, openSQLite(t, filepath.Join(dir, "hq")))
	patient(d)
	c := timed(d)
	path := filepath.Join(dir, "t7.sqlite")
	opts := offline.EnrolOptions{Code: d.code(t, "0007", "E07"), ServerKey: d.Key()}
	conn := &lossy{ClientConnInterface: d.conn, method: "Enrol", lose: 1}
	if _, err := offline.Enrol(t.Context(), path, conn, opts); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("with its answer lost Enrol = %v", err)
	}
	st, err := offline.Enrol(t.Context(), path, conn, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if st.Name() != "0007" || st.Enumerator() != "E07" || st.Study() != "guiyang" || st.Path() != path {
		t.Errorf("the store is %s of %s, study %s, at %s", st.Name(), st.Enumerator(), st.Study(), st.Path())
	}
	if list, err := d.store.ListDevices(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("devices = %v, %v; want one", list, err)
	}
	sync := func(conn grpc.ClientConnInterface, sent int) {
		t.Helper()
		report, err := st.Sync(t.Context(), conn, fastSession())
		if err != nil || report.Sent+report.Duplicates != sent || report.Pending != 0 {
			t.Fatalf("Sync = %+v, %v; want %d sent", report, err, sent)
		}
	}
	add := func(n int) {
		t.Helper()
		if _, _, err := st.AddInterview(t.Context(), syncertest.Interview("0007", n, "a")); err != nil {
			t.Fatal(err)
		}
	}
	add(1)
	sync(&lossy{ClientConnInterface: d.conn, method: "OpenSession", lose: 1}, 1)
	add(2)
	ending := &ender{lossy: lossy{ClientConnInterface: d.conn}, before: "PushBatch", do: func() { c.ms.Add(sessionTime.Milliseconds()) }}
	sync(ending, 1)
	if n := ending.calls["OpenSession"]; n != 2 {
		t.Errorf("%d sessions were opened, want a second after the first ended", n)
	}
	add(3)
	restarting := &ender{lossy: lossy{ClientConnInterface: d.conn}, before: "OpenSession", do: func() { d.challenges, _ = newChallenges() }}
	sync(restarting, 1)
	add(4)
	known := newTablet("the same device")
	known.lane.Device = st.Device()
	d.revoke(t, known, "lost")
	report, err := st.Sync(t.Context(), d.conn, fastSession())
	if err != nil || report.Notice == nil || report.Notice.Reason != fault.DeviceRevoked || report.Pending != 0 || len(report.Quarantined) != 1 {
		t.Errorf("revoked: %+v, %v; want the notice, and all receipted", report, err)
	}
}

// ender does something once before a method is called.
type ender struct {
	lossy
	before string
	do     func()
}

func (e *ender) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	if strings.HasSuffix(method, "/"+e.before) && e.do != nil {
		e.do()
		e.do = nil
	}
	return e.lossy.Invoke(ctx, method, args, reply, opts...)
}

// What a tablet refuses at its enrolment.
func TestTabletEnrolRefuses(t *testing.T) {
	dir := t.TempDir()
	d := newDesk(t, newMemory())
	patient(d)
	enrol := func(name string, opts offline.EnrolOptions) error {
		st, err := offline.Enrol(t.Context(), filepath.Join(dir, name), d.conn, opts)
		if err != nil {
			return err
		}
		return st.Close()
	}
	create := func(name, study string) {
		t.Helper()
		st, err := offline.Create(t.Context(), filepath.Join(dir, name), offline.CreateOptions{Name: name, Enumerator: "E1", Study: study})
		if err = errors.Join(err, st.Close()); err != nil {
			t.Fatal(err)
		}
	}
	create("other study", "lhasa")
	create("same study", "guiyang")
	foreign := newTablet("another server").key.Public().(ed25519.PublicKey)
	for _, tt := range []struct {
		name   string
		file   string
		opts   offline.EnrolOptions
		reason fault.Reason
	}{
		{"wrong code", "a", offline.EnrolOptions{Code: "2222222222"}, fault.CodeWrong},
		{"the picture names another server", "b", offline.EnrolOptions{Code: d.code(t, "b", "E1"), ServerKey: foreign}, fault.ServerChanged},
		{"a store of another study", "other study", offline.EnrolOptions{Code: d.code(t, "c", "E1")}, fault.StoreExists},
		{"a store that is there", "same study", offline.EnrolOptions{Code: d.code(t, "0042", "E2"), ServerKey: d.Key()}, ""},
		{"and again", "same study", offline.EnrolOptions{Code: d.code(t, "0042", "E2")}, ""},
		{"not a store", ".", offline.EnrolOptions{Code: d.code(t, "d", "E1")}, fault.NotSQLite},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := enrol(tt.file, tt.opts); fault.ReasonOf(err) != tt.reason || (err == nil) != (tt.reason == "") {
				t.Errorf("Enrol = %v, want %q", err, tt.reason)
			}
		})
	}
	st, err := offline.Open(t.Context(), filepath.Join(dir, "same study"), offline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if st.Name() != "0042" || st.Enumerator() != "E2" {
		t.Errorf("the store that was there is %s of %s, want what headquarters said", st.Name(), st.Enumerator())
	}
	if _, err := offline.Open(t.Context(), filepath.Join(dir, "a"), offline.Options{}); fault.ReasonOf(err) != fault.StoreMissing {
		t.Errorf("a tablet that was refused has a store: %v", err)
	}
	stranger, err := offline.Create(t.Context(), filepath.Join(dir, "stranger"), offline.CreateOptions{Name: "s", Enumerator: "E1", Study: "guiyang"})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if _, err := stranger.Sync(t.Context(), d.conn, fastSession()); fault.ReasonOf(err) != fault.DeviceNotEnrolled {
		t.Errorf("a stranger's sync = %v, want %s", err, fault.DeviceNotEnrolled)
	}
	if _, err := stranger.Sync(t.Context(), d.conn, offline.SyncOptions{Attempts: 1}); fault.ReasonOf(err) != fault.TokenMissing {
		t.Errorf("without a session = %v, want %s", err, fault.TokenMissing)
	}
	_, err = servicev1.NewSyncServiceClient(d.conn).Hello(t.Context(), &servicev1.HelloRequest{})
	wants(t, err, codes.Unauthenticated, fault.TokenMissing)
}
