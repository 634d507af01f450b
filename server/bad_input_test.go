package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// wants fails unless err has that code and reason, and says what to do where there is a reason.
func wants(t *testing.T, err error, code codes.Code, reason fault.Reason) {
	t.Helper()
	if got := status.Code(err); got != code {
		t.Errorf("code = %v, want %v: %v", got, code, err)
	}
	if got := reasonOf(err); got != string(reason) {
		t.Errorf("reason = %q, want %q: %v", got, reason, err)
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && (info.GetDomain() != "hearth" || info.GetMetadata()["do"] == "") {
			t.Errorf("the error does not say what to do: %v", info)
		}
	}
}

// A record that cannot be used is kept with its reason, one that is not what its author wrote is refused, and the good
// ones on both sides of it are stored.
func TestBadRecordBesideGoodOnes(t *testing.T) {
	broken := []byte{0xff, 0xff, 0xff}
	tests := []struct {
		name    string
		spoil   func(*servicev1.Record)
		entry   func(*servicev1.Entry)
		reason  fault.Reason
		outcome servicev1.EntryOutcome
	}{
		{"unknown kind", func(r *servicev1.Record) { r.Kind = servicev1.RecordKind(99).Enum() }, nil,
			fault.UnknownKind, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"a study from a tablet", func(r *servicev1.Record) { r.Kind = servicev1.RecordKind_RECORD_KIND_STUDY.Enum() }, nil,
			fault.UnknownKind, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"a decision from a tablet", func(r *servicev1.Record) { r.Kind = servicev1.RecordKind_RECORD_KIND_LINK_DECISION.Enum() }, nil,
			fault.UnknownKind, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"unknown questionnaire", func(r *servicev1.Record) { r.Questionnaire = proto.String("hearth.survey.v1.Livestock") }, nil,
			fault.UnknownQuestionnaire, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"no questionnaire", func(r *servicev1.Record) { r.Questionnaire = nil }, nil,
			fault.UnknownQuestionnaire, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"unknown version", func(r *servicev1.Record) { r.QuestionnaireVersion = proto.Uint32(900) }, nil,
			fault.UnknownVersion, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"payload does not parse", func(r *servicev1.Record) { r.Payload = broken }, nil,
			fault.PayloadUnreadable, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"payload is another interview", func(r *servicev1.Record) { r.Subject = proto.String("another") }, nil,
			fault.PayloadUnreadable, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"payload of another study", func(r *servicev1.Record) { r.Study = proto.String("another") }, nil,
			fault.PayloadUnreadable, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"answers to another questionnaire", func(r *servicev1.Record) { r.Questionnaire = proto.String("hearth.survey.v1.School") }, nil,
			fault.PayloadUnreadable, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
		{"wrong hash", nil, func(e *servicev1.Entry) { e.Record[len(e.Record)/2] ^= 1 },
			fault.BadDigest, servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED},
		{"over the limit of a record", nil, func(e *servicev1.Entry) { e.Record = make([]byte, syncer.MaxRecordBytes+1) },
			fault.RecordTooLarge, servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED},
		{"damaged on the tablet", nil, func(e *servicev1.Entry) { e.Record = nil },
			fault.RecordDamaged, servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED},
	}
	eachStore(t, func(t *testing.T, d *desk) {
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				tb := newTablet("bad " + tt.name)
				tb.greet(t, d)
				before, bad, after := household(3*i), household(3*i+1), household(3*i+2)
				raws := [][]byte{tb.record(t, before, nil), tb.record(t, bad, tt.spoil), tb.record(t, after, nil)}
				var digests []syncer.Digest
				for _, r := range raws {
					digests = append(digests, syncer.DigestOf(r))
				}
				b := syncer.NewBatch(tb.key, tb.lane, 1, syncer.Chain{}, digests, raws, false)
				if tt.entry != nil {
					b.Entries[1].Record = bytes.Clone(b.Entries[1].Record)
					tt.entry(b.Entries[1])
				}
				resp, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: b})
				if err != nil {
					t.Fatal(err)
				}
				got := resp.GetAck().GetResults()
				if len(got) != 1 || got[0].GetSeq() != 2 || got[0].GetReason() != string(tt.reason) || got[0].GetOutcome() != tt.outcome || got[0].GetMessage() == "" {
					t.Errorf("results = %v, want entry 2 as %v with %v", got, tt.outcome, tt.reason)
				}
				wantSeq := uint64(3)
				if tt.outcome == servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED {
					wantSeq = 1
				}
				if seq := resp.GetAck().GetReceipt().GetSeq(); seq != wantSeq {
					t.Errorf("the receipt covers %d entries, want %d", seq, wantSeq)
				}
				if err := d.Project(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, iv := range []string{before.GetInterviewId(), after.GetInterviewId()} {
					if _, err := d.store.Interview(t.Context(), iv); err != nil {
						t.Errorf("a good interview is lost: %v", err)
					}
				}
				if _, err := d.store.Interview(t.Context(), bad.GetInterviewId()); fault.KindOf(err) != fault.NotFound {
					t.Errorf("the bad interview counts: %v", err)
				}
			})
		}
		items, err := servicev1.NewMonitorServiceClient(d.conn).ListQuarantine(with(t.Context()), &servicev1.ListQuarantineRequest{})
		if err != nil || len(items.GetItems()) < 10 {
			t.Errorf("quarantine = %v, %v", items, err)
		}
	})
}

// A batch that cannot be believed fails as a whole, and what was stored before it stays.
func TestBadBatch(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(*servicev1.Batch)
		code   codes.Code
		reason fault.Reason
	}{
		{"no lane", func(b *servicev1.Batch) { b.Lane = nil }, codes.InvalidArgument, fault.BadBatch},
		{"unknown device", func(b *servicev1.Batch) { b.Lane.Device[0] ^= 1 }, codes.NotFound, fault.DeviceUnknown},
		{"wrong signature", func(b *servicev1.Batch) { b.Signature[0] ^= 1 }, codes.InvalidArgument, fault.BadSignature},
		{"no signature", func(b *servicev1.Batch) { b.Signature = nil }, codes.InvalidArgument, fault.BadSignature},
		{"another place in the lane", func(b *servicev1.Batch) { b.FirstSeq = proto.Uint64(9) }, codes.InvalidArgument, fault.BadSignature},
		{"short chain hash", func(b *servicev1.Batch) { b.PrevChain = []byte{1} }, codes.InvalidArgument, fault.BadBatch},
		{"empty", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, nil }, codes.InvalidArgument, fault.BadBatch},
		{"short digest", func(b *servicev1.Batch) { b.Entries[0].Digest = []byte{1} }, codes.InvalidArgument, fault.BadBatch},
		{"zstd that is none", func(b *servicev1.Batch) { b.Entries, b.EntriesZstd = nil, []byte("no zstd") }, codes.InvalidArgument, fault.BadBatch},
		{"10,000 records", func(b *servicev1.Batch) {
			for len(b.Entries) < 10_000 {
				b.Entries = append(b.Entries, &servicev1.Entry{Digest: b.Entries[0].Digest})
			}
		}, codes.ResourceExhausted, fault.BatchTooLarge},
		{"over 3 MiB of records", func(b *servicev1.Batch) {
			big := make([]byte, 1<<20)
			for range 3 {
				b.Entries = append(b.Entries, &servicev1.Entry{Digest: b.Entries[0].Digest, Record: big})
			}
			b.Entries = append(b.Entries, &servicev1.Entry{Digest: b.Entries[0].Digest, Record: big[:1000]})
		}, codes.ResourceExhausted, fault.BatchTooLarge},
		{"5 MiB in one message", func(b *servicev1.Batch) { b.Entries[0].Record = make([]byte, 5<<20) }, codes.ResourceExhausted, fault.BatchTooLarge},
		{"20 MiB in one message", func(b *servicev1.Batch) { b.Entries[0].Record = make([]byte, 20<<20) }, codes.ResourceExhausted, ""},
	}
	eachStore(t, func(t *testing.T, d *desk) {
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				tb := newTablet("batch " + tt.name)
				tb.greet(t, d)
				good := household(100 + i)
				tb.push(t, d, tb.record(t, good, nil))
				raw := tb.record(t, household(200+i), nil)
				b := syncer.NewBatch(tb.key, tb.lane, 2, tb.head.Chain, []syncer.Digest{syncer.DigestOf(raw)}, [][]byte{raw}, false)
				tt.spoil(b)
				_, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: b})
				wants(t, err, tt.code, tt.reason)
				if err := d.Project(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := d.store.Interview(t.Context(), good.GetInterviewId()); err != nil {
					t.Errorf("what was stored before is lost: %v", err)
				}
				if head, err := d.store.Lane(t.Context(), tb.lane); err != nil || head != tb.head {
					t.Errorf("the lane stands at %v, want %v: %v", head, tb.head, err)
				}
			})
		}
	})
}

// Entries beyond a gap are kept, the gap is named, and the receipt covers only what stands before it.
func TestGap(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("gap")
		tb.greet(t, d)
		one, two, three := tb.record(t, household(1), nil), tb.record(t, household(2), nil), tb.record(t, household(3), nil)
		tb.push(t, d, one)
		before := tb.head
		missed := tb.batch(two)
		ack := tb.push(t, d, three)
		if ack.GetReceipt().GetSeq() != 1 || len(ack.GetGaps()) != 1 || ack.GetGaps()[0].GetFirst() != 2 || ack.GetGaps()[0].GetLast() != 2 {
			t.Errorf("ack behind a gap = %v", ack)
		}
		resp, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: missed})
		if err != nil || resp.GetAck().GetReceipt().GetSeq() != 3 || len(resp.GetAck().GetGaps()) != 0 {
			t.Errorf("ack after the gap is closed = %v, %v; before it the lane stood at %d", resp, err, before.Seq)
		}
	})
}

// A tablet restored from a backup continues from an old entry: both branches are kept, and the Hello says it too.
func TestFork(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("fork")
		tb.greet(t, d)
		tb.push(t, d, tb.record(t, household(1), nil))
		backup := tb.head
		tb.push(t, d, tb.record(t, household(2), nil))
		tb.head = backup
		lost := household(3)
		ack := tb.push(t, d, tb.record(t, lost, nil))
		if !ack.GetFork() {
			t.Errorf("ack of a fork = %v", ack)
		}
		counts, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
		if err != nil || counts.GetTotal().GetInterviews() != 3 {
			t.Errorf("counts = %v, %v; want all 3 interviews", counts, err)
		}
		devices := func() uint32 {
			list, err := servicev1.NewMonitorServiceClient(d.conn).ListDevices(with(t.Context()), &servicev1.ListDevicesRequest{})
			if err != nil || len(list.GetDevices()) != 1 {
				t.Fatalf("devices = %v, %v", list, err)
			}
			return list.GetDevices()[0].GetForks()
		}
		before := devices()
		tb.head = backup
		tb.greet(t, d)
		if devices() <= before && before == 0 {
			t.Error("a Hello with an old head does not count as a fork")
		}
	})
}

func TestHelloRefuses(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(*servicev1.HelloRequest)
		code   codes.Code
		reason fault.Reason
	}{
		{"another protocol", func(r *servicev1.HelloRequest) { r.Protocol = proto.Uint32(9) }, codes.InvalidArgument, fault.ProtocolTooOld},
		{"no device", func(r *servicev1.HelloRequest) { r.Device = nil }, codes.InvalidArgument, fault.BadRequest},
		{"no key", func(r *servicev1.HelloRequest) { r.PublicKey = nil }, codes.InvalidArgument, fault.BadRequest},
		{"another key", func(r *servicev1.HelloRequest) { r.PublicKey[0] ^= 1 }, codes.FailedPrecondition, fault.DeviceKeyChanged},
		{"long name", func(r *servicev1.HelloRequest) { r.DeviceName = proto.String(strings.Repeat("x", 4000)) }, codes.InvalidArgument, fault.BadRequest},
		{"lane of another device", func(r *servicev1.HelloRequest) { r.Lanes[0].Lane.Device[0] ^= 1 }, codes.InvalidArgument, fault.BadRequest},
		{"too many lanes", func(r *servicev1.HelloRequest) {
			for len(r.Lanes) < 1000 {
				r.Lanes = append(r.Lanes, r.Lanes[0])
			}
		}, codes.ResourceExhausted, fault.BadRequest},
	}
	d := newDesk(t, newMemory())
	tb := newTablet("hello")
	tb.greet(t, d)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := proto.CloneOf(tb.hello())
			tt.spoil(req)
			_, err := servicev1.NewSyncServiceClient(d.conn).Hello(with(t.Context()), req)
			wants(t, err, tt.code, tt.reason)
		})
	}
}

// Push answers every batch of a stream in order, the bad entries with the good.
func TestPushStream(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("stream")
	tb.greet(t, d)
	stream, err := servicev1.NewSyncServiceClient(d.conn).Push(with(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := stream.Send(&servicev1.PushRequest{Batch: tb.batch(tb.record(t, household(i), nil))}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.GetAck().GetReceipt().GetSeq(); got != uint64(i+1) {
			t.Errorf("answer %d covers %d", i, got)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of the stream = %v", err)
	}
	stream, err = servicev1.NewSyncServiceClient(d.conn).Push(with(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	bad := tb.batch(tb.record(t, household(11), nil))
	bad.Signature[3] ^= 1
	if err := stream.Send(&servicev1.PushRequest{Batch: bad}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wants(t, err, codes.InvalidArgument, fault.BadSignature)
}

// Causes of internal errors stay in the log.
func TestInternalErrorsAreHidden(t *testing.T) {
	m := newMemory()
	d := newDesk(t, m)
	tb := newTablet("internal")
	tb.greet(t, d)
	m.failAppend = fmt.Errorf("secret path /var/lib/hearth/log.sqlite")
	batch := tb.batch(tb.record(t, household(1), nil))
	_, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: batch})
	wants(t, err, codes.Internal, "")
	if strings.Contains(err.Error(), "secret") || !strings.Contains(d.log.String(), "secret path") {
		t.Errorf("the caller sees %q; the log is %s", err, d.log)
	}
	m.failAppend = fault.New(fault.Unavailable, fault.DiskFull, "append to the log: the disk is full")
	_, err = servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: batch})
	wants(t, err, codes.Unavailable, fault.DiskFull)
}

// A server that stops finishes the calls it has, ends idle streams, and takes no new ones.
func TestGracefulStop(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("stop")
	tb.greet(t, d)
	stream, err := servicev1.NewSyncServiceClient(d.conn).Push(with(t.Context()), grpc.WaitForReady(false))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&servicev1.PushRequest{Batch: tb.batch(tb.record(t, household(1), nil))}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	watch, err := healthv1.NewHealthClient(d.conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := watch.Recv(); err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("health = %v, %v", resp, err)
	}
	d.stop()
	if resp, err := watch.Recv(); err != nil || resp.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health while stopping = %v, %v", resp, err)
	}
	_, err = stream.Recv()
	wants(t, err, codes.Unavailable, fault.ShuttingDown)
	select {
	case err := <-d.ended:
		if err != nil {
			t.Errorf("Serve ended with %v", err)
		}
		d.ended <- nil
	case <-time.After(drainTimeout + 5*time.Second):
		t.Fatal("Serve did not end")
	}
	if _, err := servicev1.NewSyncServiceClient(d.conn).Hello(with(t.Context()), tb.hello()); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the end = %v", err)
	}
}
