//go:build linux

package crashtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// loader is a tablet whose batches are made before the load begins: what is measured is the server.
type loader struct {
	key     ed25519.PrivateKey
	lane    syncer.LaneID
	hello   *servicev1.HelloRequest
	batches []*servicev1.Batch
	digests []syncer.Digest
}

const loadBatch = 24

// newLoaders makes tablets with batches of interviews.
func newLoaders(t testing.TB, tablets, batches int) []*loader {
	t.Helper()
	var all []*loader
	for n := range tablets {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		l := &loader{key: key, lane: syncer.LaneID{Device: syncer.ID(uuid.New()), Epoch: syncer.ID(uuid.New())}}
		l.hello = &servicev1.HelloRequest{
			Protocol: proto.Uint32(syncer.Protocol), Device: l.lane.Device[:], DeviceName: proto.String(fmt.Sprintf("load-%02d", n)),
			Enumerator: proto.String("E1"), PublicKey: key.Public().(ed25519.PublicKey), WallTimeMs: proto.Int64(time.Now().UnixMilli()),
		}
		var head syncer.Head
		for range batches {
			digests, raws := make([]syncer.Digest, loadBatch), make([][]byte, loadBatch)
			for i := range loadBatch {
				iv, payload := pooled(t, n*31+i)
				id, err := uuid.NewV7()
				if err != nil {
					t.Fatal(err)
				}
				raws[i], digests[i], err = syncer.Seal(&servicev1.Record{
					Id: id[:], Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: proto.String(string(payload.id)), Study: iv.Study, Round: iv.Round,
					Part: proto.Uint64(syncer.Part(iv.GetStudy(), iv.GetSiteId())), Author: iv.Enumerator, Device: l.lane.Device[:],
					Questionnaire: proto.String("hearth.survey.v1.Household"), QuestionnaireVersion: iv.QuestionnaireVersion,
					WallTimeMs: proto.Int64(time.Now().UnixMilli()), Payload: payload.raw,
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			l.batches = append(l.batches, syncer.NewBatch(l.key, l.lane, head.Seq+1, head.Chain, digests, raws, true))
			head = syncer.Run{First: head.Seq + 1, Prev: head.Chain, Digests: digests}.Head(l.lane)
			l.digests = append(l.digests, digests...)
		}
		all = append(all, l)
	}
	return all
}

// payload is an interview's bytes under an id of its own.
type payload struct{ id, raw []byte }

// pooled is an interview of the pool under a new id. Only the id is written anew into its bytes: there are many.
func pooled(t testing.TB, n int) (*surveyv1.Interview, payload) {
	t.Helper()
	all, err := pool()
	if err != nil {
		t.Fatal(err)
	}
	iv := all[n%len(all)]
	raw, err := marshalled(iv)
	if err != nil {
		t.Fatal(err)
	}
	p := payload{id: []byte(uuid.NewString())}
	p.raw = bytes.Replace(raw, []byte(iv.GetInterviewId()), p.id, 1)
	return iv, p
}

var marshalledPool sync.Map

func marshalled(iv *surveyv1.Interview) ([]byte, error) {
	if raw, ok := marshalledPool.Load(iv); ok {
		return raw.([]byte), nil
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	marshalledPool.Store(iv, raw)
	return raw, err
}

// tally is what a load did.
type tally struct {
	syncs, interviews, repeated, cut atomic.Int64
	mu                               sync.Mutex
	took                             []time.Duration
}

// sync says hello and sends the next batch until it is answered; some batches are sent again though they were answered.
func (l *loader) sync(ctx context.Context, client servicev1.SyncServiceClient, batch *servicev1.Batch, again bool, sum *tally) error {
	began := time.Now()
	for {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := client.Hello(call, l.hello)
		var resp *servicev1.PushBatchResponse
		if err == nil {
			resp, err = client.PushBatch(call, &servicev1.PushBatchRequest{Batch: batch})
		}
		if err == nil && again {
			sum.repeated.Add(1)
			again = false
			resp, err = client.PushBatch(call, &servicev1.PushBatchRequest{Batch: batch})
		}
		cancel()
		if err == nil && resp.GetAck().GetReceipt() == nil {
			return fmt.Errorf("the answer has no receipt: %v", resp)
		}
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sum.cut.Add(1)
		time.Sleep(10 * time.Millisecond)
	}
	sum.syncs.Add(1)
	sum.interviews.Add(loadBatch)
	sum.mu.Lock()
	sum.took = append(sum.took, time.Since(began))
	sum.mu.Unlock()
	return nil
}

// faultyLink passes bytes and cuts one of its connections at a time, one every so often.
type faultyLink struct {
	ln    net.Listener
	to    string
	mu    sync.Mutex
	conns []net.Conn
	done  sync.WaitGroup
}

func newFaultyLink(t testing.TB, to string, every time.Duration) *faultyLink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &faultyLink{ln: ln, to: to}
	ctx, stop := context.WithCancel(context.Background())
	l.done.Go(l.accept)
	l.done.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(every):
				l.cut(1)
			}
		}
	})
	t.Cleanup(func() {
		stop()
		_ = ln.Close()
		l.cut(1 << 20)
		l.done.Wait()
	})
	return l
}

func (l *faultyLink) accept() {
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.DialTimeout("tcp", l.to, 2*time.Second)
		if err != nil {
			_ = in.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, in, out)
		l.mu.Unlock()
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			l.done.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			})
		}
	}
}

// cut resets n connections, chosen by chance.
func (l *faultyLink) cut(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; n > 0 && len(l.conns) > 0; n-- {
		i := rand.IntN(len(l.conns)/2) * 2
		for _, c := range l.conns[i : i+2] {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
		l.conns = slices.Delete(l.conns, i, i+2)
	}
}

// The load that the design asks for, while connections are cut and batches come twice.
const (
	wantSyncs      = 100.0
	wantInterviews = 2000.0
)

// Tablets sync at full load while their connections are cut and batches are repeated; at the end every interview is at
// headquarters once. If the load was not carried, the run says nothing of a server under load: it is void.
func TestLoadWhileFaulting(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "hq")
	srv := mustServe(t, data, "")
	tablets, batches := 24, some(30, 4)
	if testing.Short() {
		batches = 2
	}
	loaders := newLoaders(t, tablets, batches)
	t.Logf("%d batches are made", tablets*batches)
	link := newFaultyLink(t, srv.addr, 50*time.Millisecond)
	sum := &tally{}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	began := time.Now()
	for n, l := range loaders {
		wg.Go(func() {
			cc := dial(t, link.ln.Addr().String(), srv.token)
			client := servicev1.NewSyncServiceClient(cc)
			for i, b := range l.batches {
				if err := l.sync(ctx, client, b, (i+n)%10 == 0, sum); err != nil {
					t.Errorf("tablet %d: batch %d: %v", n, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began).Seconds()
	report(t, sum, took)
	srv.stop(t)
	t.Log("the server has ended")
	records := readServer(t, data)
	for n, l := range loaders {
		for i, d := range l.digests {
			if records[d] != 1 {
				t.Fatalf("interview %d of tablet %d is %d times at headquarters", i, n, records[d])
			}
		}
	}
	if want := tablets * batches * loadBatch; len(records) != want {
		t.Errorf("%d records at headquarters, want %d", len(records), want)
	}
	findNothing(t, []string{"check", "--data", data}, "PROJECTION_BEHIND") // it was stopped at once
}

// report says what the load was. In a whole run it must have been what was asked for.
func report(t *testing.T, sum *tally, seconds float64) {
	t.Helper()
	slices.Sort(sum.took)
	at := func(q float64) time.Duration {
		return sum.took[int(q*float64(len(sum.took)-1))].Round(time.Millisecond)
	}
	syncs, interviews := float64(sum.syncs.Load())/seconds, float64(sum.interviews.Load())/seconds
	line := fmt.Sprintf("%.0f syncs/s and %.0f interviews/s for %.1f s, p50 %v, p99 %v; %d calls cut, %d batches repeated; load %s",
		syncs, interviews, seconds, at(0.5), at(0.99), sum.cut.Load(), sum.repeated.Load(), loadAverage())
	t.Log(line)
	if sum.cut.Load() == 0 && wholeRun() || sum.repeated.Load() == 0 {
		t.Errorf("nothing was cut, or nothing repeated: the run says nothing")
	}
	if wholeRun() && (syncs < wantSyncs || interviews < wantInterviews) {
		t.Errorf("THE RUN IS VOID: want at least %.0f syncs/s and %.0f interviews/s: %s", wantSyncs, wantInterviews, line)
	}
}

// A stopped server, as of a laptop that sleeps, and a stopped tablet go on where they were.
func TestStopped(t *testing.T) {
	t.Parallel()
	pause := time.Duration(some(30, 1)) * time.Second
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		data := filepath.Join(dir, "hq")
		srv := mustServe(t, data, "", "HEARTH_FAILPOINT=log.before-commit=sleep:300ms@8")
		stores, paths := team(t, dir, 3)
		cc := dial(t, srv.addr, srv.token)
		synced := make(chan bool, 1)
		go func() { synced <- syncTeam(context.Background(), t, cc, stores, pause+30*time.Second) }()
		time.Sleep(150 * time.Millisecond)
		stopFor(t, srv.process, pause)
		if !<-synced {
			t.Errorf("the tablets do not come through after the server goes on")
		}
		srv.stop(t)
		verify(t, data, paths, true)
		check(t, data)
	})
	t.Run("tablet", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		data := filepath.Join(dir, "hq")
		srv := mustServe(t, data, "")
		path := nth(dir, "tablet", 0)
		if err := newTablet(t, path, 40, 50_000).Close(); err != nil {
			t.Fatal(err)
		}
		p := start(t, []string{"HEARTH_FAILPOINT=tablet.after-send=sleep:600ms@1"}, nil, "tablet", "sync", "--store", path, "--server", srv.addr, "--token", srv.token)
		time.Sleep(300 * time.Millisecond)
		stopFor(t, p, pause)
		if err := p.wait(60 * time.Second); err != nil {
			t.Errorf("the tablet's sync after it goes on: %v\n%s", err, p.text())
		}
		srv.stop(t)
		verify(t, data, []string{path}, true)
		check(t, data)
	})
}

// stopFor stops a process for some time.
func stopFor(t testing.TB, p *process, pause time.Duration) {
	t.Helper()
	if !p.alive() {
		t.Errorf("the process has ended before it could be stopped: %s", p.text())
		return
	}
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause)
	if err := syscall.Kill(p.cmd.Process.Pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// The server is killed while the end of its log is being copied into the file.
func TestKilledWhileCopying(t *testing.T) {
	t.Parallel()
	if !wholeRun() {
		t.Skip("skipped: it writes 30 MB, and is run by make crash")
	}
	for _, name := range []string{"log.before-copy", "log.after-copy"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			data := filepath.Join(dir, "hq")
			srv := mustServe(t, data, freeAddr(t), "HEARTH_FAILPOINT="+name+"=kill")
			path := nth(dir, "tablet", 0)
			s := newTablet(t, path, 1, 0)
			for i := range 42 {
				iv := interview(t, i)
				iv.Remarks = proto.String(strings.Repeat(uuid.NewString(), 20_000))
				if _, _, err := s.AddInterview(t.Context(), iv); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan bool, 1)
			cc := dial(t, srv.addr, srv.token, grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(64<<20)))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() {
				opts := fast
				opts.Compress = false
				_, err := s.Sync(ctx, cc, opts)
				done <- err == nil
			}()
			select {
			case <-srv.ended:
			case <-done:
			case <-time.After(60 * time.Second):
			}
			if !srv.killed() {
				t.Errorf("nobody was killed: nothing was copied")
				srv.kill()
			}
			srv = mustServe(t, data, srv.addr)
			<-done
			syncAll(t, s, cc, 60*time.Second)
			_ = s.Close()
			srv.stop(t)
			verify(t, data, []string{path}, true)
			check(t, data)
		})
	}
}

// The server makes projections of what comes in by itself, whether anybody asks for them or not.
func TestServerFollowsItsLog(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "hq")
	srv := mustServe(t, data, "")
	l := newLoaders(t, 1, 2)[0]
	client := servicev1.NewSyncServiceClient(dial(t, srv.addr, srv.token))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, b := range l.batches {
		if err := l.sync(ctx, client, b, false, &tally{}); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); ; time.Sleep(500 * time.Millisecond) {
		copied := filepath.Join(t.TempDir(), "hq") // the server goes on
		copyTree(t, data, copied)
		out, err := run(t, nil, "check", "--data", copied)
		if err == nil && !strings.Contains(out, "PROJECTION_BEHIND") {
			break
		}
		if time.Since(began) > 15*time.Second {
			t.Fatalf("nobody has asked for projections, and there are none: %v\n%s", err, out)
		}
	}
}
