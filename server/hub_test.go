package server

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/relay"
	"github.com/hearth-survey/hearth/server/store/blobs"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// fataler is what a helper needs of a test, rapid's too.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// station is a headquarters or a hub in a folder, which can be stopped and started again.
type station struct {
	name, dir string
	disk      *faultdisk.Disk // nil: dir is a folder
	key       ed25519.PrivateKey
	up        *radio // a hub's way to headquarters
	store     *sqlite.Store
	blobs     *blobs.Store
	srv       *Server
	relay     *relay.Relay // nil: headquarters
	restored  bool         // the next start is from a backup, and knows it
	most      int          // of a hub: bytes of a bucket; 0: as many as hubs keep
}

// radio is a connection to a station that may be away, or dies at a call: before it arrives, or before its answer does.
type radio struct {
	to    *station
	token string // "": the caller opens a session
	away  bool
	dies  int  // at which call; 0: at none
	late  bool // it is the answer of that call that is lost
	n     atomic.Int64
}

func (r *radio) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	n := int(r.n.Add(1))
	cut := status.Error(codes.Unavailable, "the connection was cut")
	if r.away || r.to.srv == nil || r.dies > 0 && (n > r.dies || n == r.dies && !r.late) {
		return cut
	}
	if r.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+r.token)
	}
	err := r.to.srv.Local().Invoke(ctx, method, args, reply, opts...)
	if err == nil && r.dies > 0 && n == r.dies {
		return cut
	}
	return err
}

func (r *radio) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "no streams")
}

// field is headquarters, hubs and tablets in one folder.
type field struct {
	t    fataler
	dir  string
	hq   *station
	hubs []*station
}

func newField(t fataler, dir string, hubs int) *field {
	t.Helper()
	f := &field{t: t, dir: dir, hq: &station{name: "hq", dir: filepath.Join(dir, "hq"), key: newTablet("headquarters").key}}
	f.start(f.hq)
	for i := range hubs {
		f.hubs = append(f.hubs, f.newHub(fmt.Sprintf("hub-%d", i+1)))
	}
	return f
}

func (f *field) newHub(name string) *station {
	f.t.Helper()
	seed := sha256.Sum256([]byte(f.dir + name))
	h := &station{name: name, dir: filepath.Join(f.dir, name), key: ed25519.NewKeyFromSeed(seed[:]), up: &radio{to: f.hq}}
	f.start(h)
	if err := h.relay.EnrolHub(context.Background(), f.code(name, true)); err != nil {
		f.t.Fatal(err)
	}
	return h
}

// code makes a one-time code at headquarters.
func (f *field) code(name string, hub bool) syncer.Code {
	f.t.Helper()
	req := &servicev1.CreateEnrolmentRequest{Study: proto.String("guiyang"), DeviceName: proto.String(name), Hub: proto.Bool(hub)}
	if !hub {
		req.Enumerator = proto.String("E-" + name)
	}
	resp, err := servicev1.NewDeviceServiceClient(f.hq.srv.Local()).CreateEnrolment(with(context.Background()), req)
	if err != nil {
		f.t.Fatal(err)
	}
	code, err := syncer.ParseCode(resp.GetCode())
	if err != nil {
		f.t.Fatal(err)
	}
	return code
}

func (f *field) start(s *station) {
	f.t.Helper()
	ctx := context.Background()
	set, err := builtin()
	if err != nil {
		f.t.Fatal(err)
	}
	opts := sqlite.Options{Restored: s.restored}
	s.restored = false
	if s.disk != nil {
		opts.Disk = s.disk
	} else if err := os.MkdirAll(s.dir, 0o700); err != nil {
		f.t.Fatal(err)
	}
	if s.store, err = sqlite.Open(ctx, s.dir, opts); err != nil {
		f.t.Fatal(err)
	}
	cfg := Config{Store: s.store, Key: s.key, Questionnaires: set, Token: testToken}
	if s.disk == nil {
		if s.blobs, err = blobs.Open(filepath.Join(s.dir, "blobs"), blobs.Options{Now: time.Now}); err != nil {
			f.t.Fatal(err)
		}
		cfg.Blobs = s.blobs
	}
	if s.up != nil {
		if err := s.store.IndexDigests(ctx); err != nil {
			f.t.Fatal(err)
		}
		o := relay.Options{Store: s.store, Conn: s.up, Key: s.key, Upstream: "hq:8686", MostBucket: s.most,
			Every: time.Nanosecond, Attempts: 1, MinBackoff: time.Microsecond, MaxBackoff: 2 * time.Microsecond}
		if s.blobs != nil {
			o.Blobs = s.blobs
		}
		s.relay, err = relay.Open(ctx, o)
		if err != nil {
			f.t.Fatal(err)
		}
		cfg.Hub = s.relay
	}
	if s.srv, err = New(cfg); err != nil {
		f.t.Fatal(err)
	}
	s.srv.enrolTries.burst, s.srv.sessionTries.burst = 1e9, 1e9
}

// stop ends a station; what was not acknowledged may be lost.
func (f *field) stop(s *station) {
	f.t.Helper()
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			f.t.Fatal(err)
		}
	}
	s.store, s.srv, s.relay, s.blobs = nil, nil, nil, nil
}

func (f *field) close() {
	for _, s := range append([]*station{f.hq}, f.hubs...) {
		f.stop(s)
	}
}

// backup copies a station's folder; restore puts the copy in its place.
func (f *field) backup(s *station, to string) {
	f.t.Helper()
	f.stop(s)
	if err := os.CopyFS(filepath.Join(f.dir, to), os.DirFS(s.dir)); err != nil {
		f.t.Fatal(err)
	}
	f.start(s)
}

func (f *field) restore(s *station, from string) {
	f.t.Helper()
	f.stop(s)
	if err := os.RemoveAll(s.dir); err != nil {
		f.t.Fatal(err)
	}
	if err := os.CopyFS(s.dir, os.DirFS(filepath.Join(f.dir, from))); err != nil {
		f.t.Fatal(err)
	}
	f.start(s)
}

// lose destroys a hub and all that it holds. One with the same name and another key takes its place.
func (f *field) lose(i int) {
	f.t.Helper()
	h := f.hubs[i]
	f.stop(h)
	if err := os.RemoveAll(h.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.t.Fatal(err)
	}
	f.hubs[i] = f.newHub(h.name + "'")
}

// walker is a tablet and what it has written.
type walker struct {
	*offline.Store
	f       *field
	name    string
	n       int
	written map[syncer.Digest]bool
}

func (f *field) tablet(name string, through *station) *walker {
	f.t.Helper()
	st, err := offline.Enrol(context.Background(), filepath.Join(f.dir, name+".sqlite"), &radio{to: through}, offline.EnrolOptions{Code: f.code(name, false), ServerKey: f.hq.srv.Key()})
	if err != nil {
		f.t.Fatal(err)
	}
	return &walker{Store: st, f: f, name: name, written: map[syncer.Digest]bool{}}
}

func (d *walker) write(n int) {
	d.f.t.Helper()
	for range n {
		d.n++
		if _, _, err := d.AddInterview(context.Background(), inStudy(syncertest.Interview(d.name, d.n, "a"))); err != nil {
			d.f.t.Fatal(err)
		}
	}
}

func inStudy(iv *surveyv1.Interview) *surveyv1.Interview {
	iv.Study = proto.String("guiyang")
	return iv
}

func fastOptions() offline.SyncOptions {
	return offline.SyncOptions{Session: true, MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond, Attempts: 4}
}

func (d *walker) sync(s *station) offline.SyncReport {
	d.f.t.Helper()
	link, opts := &radio{to: s}, fastOptions()
	if s.disk != nil {
		link.token, opts.Session = testToken, false
	}
	r, err := d.Sync(context.Background(), link, opts)
	if err != nil {
		d.f.t.Fatalf("%s with %s: %v (%+v)", d.name, s.name, err, r)
	}
	return r
}

func (f *field) once(h *station) {
	f.t.Helper()
	if err := h.relay.Once(context.Background()); err != nil {
		f.t.Fatalf("%s: %v", h.name, err)
	}
}

func (f *field) status(h *station) *servicev1.HubStatus {
	f.t.Helper()
	resp, err := servicev1.NewHubServiceClient(h.srv.Local()).GetHubStatus(with(context.Background()), &servicev1.GetHubStatusRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.GetStatus()
}

// atHQ counts what headquarters holds of a tablet's records, and fails if any stands there twice.
func (f *field) atHQ(d *walker) int {
	f.t.Helper()
	ctx := context.Background()
	seen := map[syncer.Digest]bool{}
	cursor := syncer.Cursor{}
	for {
		page, next, more, err := f.hq.store.After(ctx, cursor, 500)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, r := range page {
			if syncer.DigestOf(r.Raw) != r.Digest || seen[r.Digest] {
				f.t.Fatalf("record %v is damaged or there twice", r.Digest)
			}
			seen[r.Digest] = true
		}
		if cursor = next; !more {
			break
		}
	}
	n := 0
	for r, err := range d.Records(ctx) {
		if err != nil {
			f.t.Fatal(err)
		}
		if seen[r.Digest] {
			n++
		}
	}
	return n
}

// A team works through a hub while headquarters is away: everything is in custody, nothing may be pruned. When
// headquarters comes back the hub forwards, and its receipts reach the tablets through the hub.
func TestHubForwards(t *testing.T) {
	f := newField(t, t.TempDir(), 1)
	defer f.close()
	hub := f.hubs[0]
	f.once(hub)
	a, b := f.tablet("a", f.hq), f.tablet("b", hub) // one enrols through the hub
	defer a.Close()
	defer b.Close()
	hub.up.away = true
	a.write(5)
	b.write(3)
	if _, err := a.Sync(t.Context(), &radio{to: hub}, fastOptions()); fault.ReasonOf(err) != fault.DeviceNotEnrolled {
		t.Fatalf("the hub has not heard of this tablet: %v", err)
	}
	if r := b.sync(hub); r.Hub != "hub-1" || r.Sent != 3 || r.Pending != 3 {
		t.Errorf("b with the hub: %+v; want 3 in custody and pending", r)
	}
	hub.up.away = false
	f.once(hub)
	hub.up.away = true
	if r := a.sync(hub); r.Sent != 5 || r.Pending != 5 || r.HandedDown != 0 {
		t.Errorf("a with the hub: %+v; want 5 in custody and pending", r)
	}
	if r := a.sync(hub); r.Sent != 0 || r.Batches != 0 || r.Pending != 5 {
		t.Errorf("a again: %+v; want nothing sent twice", r)
	}
	for _, d := range []*walker{a, b} {
		if n, err := d.Prune(t.Context(), 0); err != nil || n != 0 {
			t.Errorf("%s pruned %d, %v under a hub's custody", d.name, n, err)
		}
	}
	if st := f.status(hub); st.GetEntriesHere() != 5 || st.GetOldestHereMs() == 0 || st.GetEntriesForwarded() != 3 {
		t.Errorf("status = %v", st)
	}
	hub.up.away = false
	f.once(hub)
	if st := f.status(hub); st.GetEntriesHere() != 0 || st.GetOldestHereMs() != 0 || st.GetEntriesForwarded() != 8 || st.GetReason() != "" || len(st.GetTroubles()) != 0 {
		t.Errorf("status after forwarding = %v", st)
	}
	hub.up.away = true
	if r := a.sync(hub); r.HandedDown != 1 || r.Pending != 0 || r.Sent != 0 {
		t.Errorf("a after forwarding: %+v; want headquarters' receipt handed down", r)
	}
	if n, err := a.Prune(t.Context(), 0); err != nil || n != 5 {
		t.Errorf("a pruned %d, %v; want 5", n, err)
	}
	if n := f.atHQ(a) + f.atHQ(b); n != 8 {
		t.Errorf("headquarters holds %d of 8", n)
	}
	// b goes to headquarters itself: it is told that all is there.
	if r := b.sync(f.hq); r.Sent != 0 || r.Pending != 0 || r.Hub != "" {
		t.Errorf("b with headquarters: %+v", r)
	}
}

// What a hub does not take because it is decided at headquarters: every call that people may make, one by one.
func TestHubDecidesNothing(t *testing.T) {
	f := newField(t, t.TempDir(), 1)
	defer f.close()
	hub := f.hubs[0]
	local := map[string]bool{ // these only read, or compute what can be computed again
		"GetBlob": true, "GetStudy": true, "ListQuestionnaires": true, "GetCodebook": true, "CountInterviews": true, "ListInterviews": true,
		"ListDevices": true, "ListQuarantine": true, "ShowQuarantine": true, "ListFlags": true, "RunLinkage": true, "ListPairs": true, "ListQueue": true, "ListGroups": true, "GetPerson": true, "ExplainPair": true,
		"ListDecisions": true, "GetReferralStats": true, "GetReferralGraph": true, "ListConflicts": true, "Export": true, "ListExports": true, "GetHubStatus": true,
		"ListReviews": true, "GetParadata": true, "GetQuestionnaire": true, "CompareQuestionnaires": true, "CountFlags": true, "GetAssignment": true, "ListAssignments": true,
	}
	n := 0
	for service, info := range hub.srv.GRPC().GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			if r, ok := policy(method); !ok || r.access != holder || !strings.HasPrefix(service, "hearth.") {
				continue
			}
			n++
			if decidedAtHeadquarters(method) == local[m.Name] {
				t.Errorf("%s: decide whether a hub takes it", method)
			}
			if local[m.Name] {
				continue
			}
			typ, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("hearth.service.v1." + m.Name + "Request"))
			if err != nil {
				t.Fatal(err)
			}
			err = hub.srv.Local().Invoke(with(t.Context()), method, typ.New().Interface(), typ.New().Interface())
			if reasonOf(err) != string(fault.AtHeadquarters) {
				t.Errorf("%s at a hub: %v, want %s", method, err, fault.AtHeadquarters)
			}
		}
	}
	if n < 30 {
		t.Fatalf("looked at %d calls only", n)
	}
	if err := hub.relay.EnrolHub(t.Context(), "2345678923"); fault.ReasonOf(err) != fault.CodeWrong {
		t.Errorf("a hub with a code that nobody made: %v", err)
	}
	// A hub of a hub, a tablet's code given to a hub, a hub's code given to a tablet.
	seed := sha256.Sum256([]byte("second"))
	key := ed25519.NewKeyFromSeed(seed[:])
	second, err := relay.Open(t.Context(), relay.Options{Store: openSQLite(t, t.TempDir()), Conn: &radio{to: hub}, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.EnrolHub(t.Context(), f.code("hub of hub", true)); fault.ReasonOf(err) != fault.HubOfHub {
		t.Errorf("a hub of a hub: %v", err)
	}
	if second, err = relay.Open(t.Context(), relay.Options{Store: openSQLite(t, t.TempDir()), Conn: &radio{to: f.hq}, Key: key}); err != nil {
		t.Fatal(err)
	}
	if err := second.EnrolHub(t.Context(), f.code("t9", false)); fault.ReasonOf(err) != fault.CodeWrong {
		t.Errorf("a tablet's code given to a hub: %v", err)
	}
	_, err = offline.Enrol(t.Context(), filepath.Join(f.dir, "x.sqlite"), &radio{to: f.hq}, offline.EnrolOptions{Code: f.code("hub-9", true)})
	if fault.ReasonOf(err) != fault.CodeWrong {
		t.Errorf("a hub's code given to a tablet: %v", err)
	}
	if err := second.Once(t.Context()); fault.ReasonOf(err) != fault.NotAHub {
		t.Errorf("a hub that is not enrolled forwards: %v", err)
	}
	_, err = servicev1.NewHubServiceClient(f.hq.srv.Local()).GetHubStatus(with(t.Context()), &servicev1.GetHubStatusRequest{})
	if reasonOf(err) != string(fault.NotAHub) {
		t.Errorf("a hub's status asked of headquarters: %v", err)
	}
	_, err = servicev1.NewHubServiceClient(hub.srv.Local()).Report(with(t.Context()), &servicev1.ReportRequest{})
	if reasonOf(err) != string(fault.HubOfHub) {
		t.Errorf("a report to a hub: %v", err)
	}
}
