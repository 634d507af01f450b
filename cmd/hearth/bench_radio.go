package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// The radio of the promise.
const (
	radioRate  = 40_000 / 8 // bytes a second
	radioRTT   = 600 * time.Millisecond
	radioPhoto = 300_000
)

// radioBench measures what a tablet takes over radio, in a time that runs scale times as fast.
type radioBench struct {
	scale      float64
	interviews int
	reps       int
	openRosa   bool
	photo      int
	dir        string

	node *node
	addr string
	code int
}

// radioRun is one way of sending over one kind of link.
type radioRun struct {
	Seconds float64 `json:"seconds"`
	Ideal   float64 `json:"ideal_seconds"`
	Bytes   int64   `json:"bytes_on_the_link"`
	Conns   int64   `json:"connections"`
}

// runRadio measures and prints.
func (c *benchCmd) runRadio(e *env, dir string) (err error) {
	b := &radioBench{scale: 10, interviews: 40, reps: 7, openRosa: true, photo: radioPhoto, dir: dir}
	all, err := b.measure(e.ctx, func(what string) { fmt.Fprintf(e.stderr, "%s ...\n", what) })
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, map[string]any{"machine": machine(), "radio": all})
	}
	done := fmt.Sprintf("%d household interviews over 40 kbit/s with 600 ms round trips, by a tablet that was here before; time runs %.0f times as fast, medians of %d;\n"+
		"ideal: the bytes of its messages over the bandwidth, and two round trips", b.interviews, b.scale, b.reps)
	return printVerdicts(e.stdout, machine(), done, all)
}

// serving starts a server, has do use it, and ends it.
func (b *radioBench) serving(ctx context.Context, do func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if b.node, err = openNode(ctx, filepath.Join(b.dir, "hq"), nodeOptions{serving: true}); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, b.node.close())
	}
	served := make(chan error, 1)
	go func() { served <- b.node.server.Serve(ctx, ln) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-served, b.node.close())
	}()
	b.addr = ln.Addr().String()
	return do(ctx)
}

// measure starts a server and syncs with it over links.
func (b *radioBench) measure(ctx context.Context, say func(string)) (all []verdict, err error) {
	err = b.serving(ctx, func(ctx context.Context) error {
		all, err = b.overLinks(ctx, say)
		return err
	})
	return all, err
}

func (b *radioBench) overLinks(ctx context.Context, say func(string)) (all []verdict, err error) {
	for _, life := range []time.Duration{0, 10 * time.Second} {
		what, target := "connections that last", 1.25
		if life > 0 {
			what, target = fmt.Sprintf("connections that live %v on average", life), 2
		}
		say(what)
		r, err := b.median(func(seed uint64) (radioRun, error) { return b.interviewsOver(ctx, life, seed) })
		if err != nil {
			return nil, err
		}
		ratio := r.Seconds / r.Ideal
		all = append(all, judged(what, fmt.Sprintf("%.2f s, %.2f of the ideal %.2f s, %d bytes up", r.Seconds, ratio, r.Ideal, r.Bytes), fmt.Sprintf("<= %.2f", target), ratio <= target))
		if b.openRosa {
			say("  an OpenRosa-like client")
			o, err := b.openRosaOver(ctx, life)
			if err != nil {
				return nil, err
			}
			all = append(all, told("  an OpenRosa-like client", fmt.Sprintf("%.2f s, %.1f times as long, %d bytes up", o.Seconds, o.Seconds/r.Seconds, o.Bytes)))
		}
	}
	say("a photo")
	p, err := b.median(func(seed uint64) (radioRun, error) { return b.photoOver(ctx, 30*time.Second, seed) })
	if err != nil {
		return nil, err
	}
	ratio := float64(p.Bytes) / float64(b.photo)
	return append(all, judged(fmt.Sprintf("a photo of %d KB, connections of 30 s", b.photo/1000), fmt.Sprintf("%.1f s, %.2f of its bytes sent", p.Seconds, ratio), "<= 1.30", ratio <= 1.3)), nil
}

// median repeats a measurement and returns the one in the middle by time.
func (b *radioBench) median(run func(seed uint64) (radioRun, error)) (radioRun, error) {
	var all []radioRun
	for i := range b.reps {
		r, err := run(uint64(i))
		if err != nil {
			return r, err
		}
		at := len(all)
		for at > 0 && all[at-1].Seconds > r.Seconds {
			at--
		}
		all = append(all[:at], append([]radioRun{r}, all[at:]...)...)
	}
	return all[len(all)/2], nil
}

func (b *radioBench) link(life time.Duration, seed uint64) (*radioLink, error) {
	by := func(d time.Duration) time.Duration { return time.Duration(float64(d) / b.scale) }
	return newRadioLink(b.addr, radioRate*b.scale, by(radioRTT), by(life), seed)
}

// options are those of `hearth tablet sync`, in the bench's time.
func (b *radioBench) options(cc *tabletConn) tablet.SyncOptions {
	began := time.Now()
	by := func(d time.Duration) time.Duration { return time.Duration(float64(d) / b.scale) }
	return tablet.SyncOptions{
		Compress: true, Session: true, Window: 4, Address: "radio", Moved: cc.Moved, Attempts: 1000,
		MinBackoff: by(500 * time.Millisecond), MaxBackoff: by(15 * time.Second), CallTimeout: by(30 * time.Second),
		Now: func() time.Time { return began.Add(time.Duration(float64(time.Since(began)) * b.scale)) },
	}
}

// tablet is an enrolled tablet that has synced before, over a good line.
func (b *radioBench) tablet(ctx context.Context) (st *tablet.Store, err error) {
	b.code++
	desk, err := dialServer(b.addr, b.node.token)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, desk.Close()) }()
	made, err := servicev1.NewDeviceServiceClient(desk).CreateEnrolment(ctx, &servicev1.CreateEnrolmentRequest{
		Study: proto.String("simulated"), DeviceName: proto.String(fmt.Sprintf("radio-%d", b.code)), Enumerator: proto.String("E001"),
	})
	if err != nil {
		return nil, err
	}
	code, err := syncer.ParseCode(made.GetCode())
	if err != nil {
		return nil, err
	}
	cc, err := dialTablet(b.addr, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	path := filepath.Join(b.dir, fmt.Sprintf("radio-%d.sqlite", b.code))
	if st, err = tablet.Enrol(ctx, path, cc, tablet.EnrolOptions{Code: code, ServerKey: b.node.server.Key()}); err != nil {
		return nil, err
	}
	if _, err = st.Sync(ctx, cc, b.options(cc)); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

// households are simulated interviews.
func (b *radioBench) households() ([]*surveyv1.Interview, error) {
	var all []*surveyv1.Interview
	_, err := study.Simulate(study.SimulateOptions{Households: b.interviews, Tablets: 1, Seed: 7, DuplicateRate: -1}, func(_ int, iv *surveyv1.Interview) error {
		all = append(all, iv)
		return nil
	})
	return all[:min(len(all), b.interviews)], err
}

// over syncs a tablet over a link and measures it.
func (b *radioBench) over(ctx context.Context, st *tablet.Store, life time.Duration, seed uint64) (r radioRun, report tablet.SyncReport, err error) {
	l, err := b.link(life, seed)
	if err != nil {
		return r, report, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	cc, err := dialTablet(l.addr(), "")
	if err != nil {
		return r, report, err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	start := time.Now()
	report, err = st.Sync(ctx, cc, b.options(cc))
	r.Seconds = time.Since(start).Seconds() * b.scale
	r.Bytes, r.Conns = l.up.Load(), l.conns.Load()
	return r, report, err
}

func (b *radioBench) interviewsOver(ctx context.Context, life time.Duration, seed uint64) (r radioRun, err error) {
	st, err := b.tablet(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ivs, err := b.households()
	if err != nil {
		return r, err
	}
	for _, iv := range ivs {
		if _, _, err := st.AddInterview(ctx, renamed(iv)); err != nil {
			return r, err
		}
	}
	r, report, err := b.over(ctx, st, life, seed)
	if err == nil && report.Sent+report.Duplicates < len(ivs) || report.Pending > 0 {
		err = fmt.Errorf("%d of %d interviews arrived", report.Sent+report.Duplicates, len(ivs))
	}
	// The ideal is that of the messages without a cut: what is sent again counts against the run.
	whole := report.BytesUp
	if report.Retries > 0 {
		if whole, err = b.messageBytes(ctx, ivs); err != nil {
			return r, err
		}
	}
	r.Ideal = float64(whole)/radioRate + 2*radioRTT.Seconds()
	return r, err
}

// messageBytes is how many bytes the same interviews take where nothing is cut.
func (b *radioBench) messageBytes(ctx context.Context, ivs []*surveyv1.Interview) (n int64, err error) {
	st, err := b.tablet(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	for _, iv := range ivs {
		if _, _, err := st.AddInterview(ctx, renamed(iv)); err != nil {
			return 0, err
		}
	}
	cc, err := dialTablet(b.addr, "")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, cc.Close()) }()
	report, err := st.Sync(ctx, cc, b.options(cc))
	return report.BytesUp, err
}

func (b *radioBench) photoOver(ctx context.Context, life time.Duration, seed uint64) (r radioRun, err error) {
	st, err := b.tablet(ctx)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ivs, err := b.households()
	if err != nil {
		return r, err
	}
	iv := renamed(ivs[0])
	if _, _, err := st.AddInterview(ctx, iv); err != nil {
		return r, err
	}
	photo := append([]byte("\xff\xd8\xff\xe0"), make([]byte, b.photo-4)...)
	if _, err := rand.Read(photo[4:]); err != nil {
		return r, err
	}
	a, err := st.AddBlob(ctx, bytes.NewReader(photo))
	if err != nil {
		return r, err
	}
	if _, err := st.Attach(ctx, iv.GetInterviewId(), tablet.AttachOptions{}, a); err != nil {
		return r, err
	}
	r, report, err := b.over(ctx, st, life, seed)
	if err == nil && report.Blobs.Sent != 1 {
		err = fmt.Errorf("the photo did not arrive: %+v", report.Blobs)
	}
	return r, err
}

// openRosaOver sends the same interviews as a client of OpenRosa does: one request that asks, then one for each interview
// with its XML as it is, each after the answer to the one before, all of it again where no answer came.
func (b *radioBench) openRosaOver(ctx context.Context, life time.Duration) (r radioRun, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return r, err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, err := io.Copy(io.Discard, req.Body); err == nil {
			w.WriteHeader(http.StatusCreated)
		}
	})}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	direct := b.addr
	b.addr = ln.Addr().String()
	l, err := b.link(life, 3)
	b.addr = direct
	defer func() {
		err = errors.Join(err, srv.Close())
		<-served
	}()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	ivs, err := b.households()
	if err != nil {
		return r, err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}, Timeout: time.Duration(float64(time.Minute) / b.scale)}
	defer client.CloseIdleConnections()
	start := time.Now()
	if err := b.request(ctx, client, http.MethodHead, l.addr(), nil); err != nil {
		return r, err
	}
	for _, iv := range ivs {
		var xml bytes.Buffer
		if err := xmlOf(&xml, iv); err != nil {
			return r, err
		}
		if err := b.request(ctx, client, http.MethodPost, l.addr(), xml.Bytes()); err != nil {
			return r, err
		}
	}
	return radioRun{Seconds: time.Since(start).Seconds() * b.scale, Bytes: l.up.Load(), Conns: l.conns.Load()}, nil
}

// request makes one request until it is answered.
func (b *radioBench) request(ctx context.Context, client *http.Client, method, addr string, body []byte) error {
	for range 1000 {
		req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+"/submission", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "text/xml")
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			if err = errors.Join(err, resp.Body.Close()); err == nil {
				return nil
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		time.Sleep(time.Duration(float64(500*time.Millisecond) / b.scale))
	}
	return errors.New("the OpenRosa-like client gave up after 1,000 attempts")
}
