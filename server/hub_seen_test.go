package server

import (
	"context"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
	"path/filepath"
)

// listed is what headquarters says of a tablet.
func (f *field) listed(d *walker) *servicev1.DeviceStatus {
	f.t.Helper()
	resp, err := servicev1.NewMonitorServiceClient(f.hq.srv.Local()).ListDevices(with(context.Background()), &servicev1.ListDevicesRequest{})
	if err != nil {
		f.t.Fatal(err)
	}
	id := d.Device()
	for _, s := range resp.GetDevices() {
		if string(s.GetDevice()) == string(id[:]) {
			return s
		}
	}
	f.t.Fatalf("headquarters does not list %s", d.name)
	return nil
}

// Headquarters knows when a tablet was last at a hub, by its own clock whatever the hub's says; what it saw itself later
// counts more.
func TestHeadquartersHearsWhoWasAtAHub(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 1, "a", "b")
	a, b, hub := ts[0], ts[1], f.hubs[0]
	if s := f.listed(a); s.GetLastSeenMs() != 0 || s.GetSeenAtHub() != "" {
		t.Fatalf("before: %v", s)
	}
	a.write(1)
	a.sync(hub)
	f.once(hub)
	before := time.Now().Add(-time.Minute).UnixMilli()
	s := f.listed(a)
	if s.GetSeenAtHub() != "hub-1" || s.GetLastSeenMs() < before || s.GetLastSeenMs() > time.Now().UnixMilli() {
		t.Errorf("after it was at the hub: %v", s)
	}
	if s := f.listed(b); s.GetLastSeenMs() != 0 {
		t.Errorf("who was nowhere: %v", s)
	}
	b.sync(hub)
	f.once(hub)
	if s := f.listed(b); s.GetSeenAtHub() != "hub-1" {
		t.Errorf("the second report: %v", s)
	}
	time.Sleep(2 * time.Millisecond)
	a.sync(f.hq)
	f.once(hub)
	if s := f.listed(a); s.GetSeenAtHub() != "" || s.GetLastSeenMs() < before {
		t.Errorf("after it was at headquarters: %v", s)
	}
	ctx := context.WithValue(t.Context(), hubKey{}, hub.relay.State().GetDevice())
	service := &hubService{Server: f.hq.srv}
	for name, seen := range map[string][]*servicev1.SeenDevice{
		"an id of 3 bytes":     {{Device: []byte{1, 2, 3}}},
		"more than the limits": make([]*servicev1.SeenDevice, maxReportSeen+1),
	} {
		if err := service.report(ctx, seen); fault.ReasonOf(err) != fault.BadRequest {
			t.Errorf("%s: %v, want %s", name, err, fault.BadRequest)
		}
	}
	id := b.Device()
	if err := service.report(ctx, []*servicev1.SeenDevice{{Device: id[:], AgeMs: proto.Int64(-1 << 62)}}); err != nil {
		t.Fatal(err)
	}
	if s := f.listed(b); s.GetLastSeenMs() > time.Now().UnixMilli() {
		t.Errorf("a tablet that was at the hub in the future: %v", s)
	}
}

// report has a hub say which tablets were there.
func (s *hubService) report(ctx context.Context, seen []*servicev1.SeenDevice) error {
	id, err := deviceOf(ctx.Value(hubKey{}).([]byte))
	if err != nil {
		return err
	}
	_, err = s.Report(context.WithValue(ctx, hubKey{}, id), &servicev1.ReportRequest{Status: &servicev1.HubStatus{Name: proto.String("hub-1")}, Seen: seen})
	return err
}

// A hub that has not heard of headquarters for long says so, and takes nothing in after the time that it was given: its
// rights may have been taken away. When it has heard again it does.
func TestHubAlone(t *testing.T) {
	t.Parallel()
	f, ts := teamOf(t, 1, "a")
	a, hub := ts[0], f.hubs[0]
	hub.srv.alone = 30 * 24 * time.Hour
	later := func(by time.Duration) {
		hub.srv.now = func() time.Time { return time.Now().Add(by) }
	}
	hub.up.away = true
	later(10 * 24 * time.Hour)
	a.write(1)
	if r := a.sync(hub); r.Sent != 1 || r.HubAlone < 9*24*time.Hour {
		t.Errorf("after ten days: %+v", r)
	}
	later(31 * 24 * time.Hour)
	a.write(1)
	r, err := a.Sync(t.Context(), &radio{to: hub}, fastOptions())
	if fault.ReasonOf(err) != fault.HubOffline || r.Sent != 0 || r.Pending != 2 {
		t.Errorf("after a month: %+v, %v; want %s", r, err, fault.HubOffline)
	}
	later(-365 * 24 * time.Hour) // a clock that was set back says nothing
	if r := a.sync(hub); r.Sent != 1 || r.HubAlone != 0 {
		t.Errorf("with a clock of last year: %+v", r)
	}
	later(31 * 24 * time.Hour)
	hub.up.away = false
	f.once(hub)
	hub.srv.now = time.Now
	if r := a.sync(hub); r.HubAlone > time.Hour || r.Pending != 0 {
		t.Errorf("after headquarters was reached: %+v", r)
	}
}

// While a hub does not reach headquarters it enrols nobody and says so, and the code is not used up: the same code serves later. A
// tablet that was enrolled elsewhere meanwhile keeps what it has until the hub has heard of it.
func TestEnrolWhileTheHubIsAway(t *testing.T) {
	t.Parallel()
	f, _ := teamOf(t, 1, "a")
	hub := f.hubs[0]
	hub.up.away = true
	path := filepath.Join(f.dir, "late.sqlite")
	opts := offline.EnrolOptions{Code: f.code("late", false), ServerKey: f.hq.srv.Key()}
	if _, err := offline.Enrol(t.Context(), path, &radio{to: hub}, opts); fault.ReasonOf(err) != fault.HubOffline {
		t.Errorf("enrolled at a hub that is away: %v; want %s", err, fault.HubOffline)
	}
	b := f.tablet("b", f.hq)
	b.write(2)
	r, err := b.Sync(t.Context(), &radio{to: hub}, fastOptions())
	if fault.ReasonOf(err) != fault.DeviceNotEnrolled || r.Sent != 0 || r.Pending != 2 {
		t.Errorf("at a hub that has not heard of it: %+v, %v; want %s and two records kept", r, err, fault.DeviceNotEnrolled)
	}
	hub.up.away = false
	st, err := offline.Enrol(t.Context(), path, &radio{to: hub}, opts)
	if err != nil {
		t.Fatalf("with the same code where the hub reaches headquarters: %v", err)
	}
	late := &walker{Store: st, f: f, name: "late", written: map[syncer.Digest]bool{}}
	defer late.Close()
	late.write(1)
	if r := late.sync(hub); r.Sent != 1 {
		t.Errorf("the tablet that was enrolled: %+v", r)
	}
	f.once(hub)
	if r := b.sync(hub); r.Sent != 2 {
		t.Errorf("the other, when the hub has heard of it: %+v", r)
	}
	b.Close()
}
