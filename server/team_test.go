package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const testToken = "open-sesame-0123456789"

var builtin = sync.OnceValues(questionnaire.Builtin)

// desk is a server on a real port, and what a test needs to talk to it.
type desk struct {
	*Server
	store store.Store
	addr  string
	conn  *grpc.ClientConn
	log   *lines
	stop  context.CancelFunc
	ended chan error
}

// lines collects log output of several goroutines.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newDesk(t testing.TB, st store.Store) *desk {
	t.Helper()
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	seed := sha256.Sum256([]byte("headquarters"))
	d := &desk{store: st, log: &lines{}, ended: make(chan error, 2)}
	d.Server, err = New(Config{
		Store: st, Key: ed25519.NewKeyFromSeed(seed[:]), Token: testToken, Questionnaires: set, Version: "test", Reflection: true,
		Log: slog.New(slog.NewJSONHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	d.stop = cancel
	go func() { d.ended <- d.Serve(ctx, l) }()
	go func() { _ = d.Run(ctx) }()
	d.conn, err = grpc.NewClient(d.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.conn.Close()
		cancel()
		select {
		case <-d.ended:
		case <-time.After(20 * time.Second):
			t.Error("the server did not stop")
		}
	})
	return d
}

// with is a context that carries the token.
func with(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+testToken)
}

// tablet makes records of one lane.
type tablet struct {
	key  ed25519.PrivateKey
	lane syncer.LaneID
	head syncer.Head
	name string
}

func newTablet(name string) *tablet {
	seed := sha256.Sum256([]byte(name))
	t := &tablet{key: ed25519.NewKeyFromSeed(seed[:]), name: name}
	copy(t.lane.Device[:], seed[:16])
	copy(t.lane.Epoch[:], seed[16:])
	return t
}

func (tb *tablet) hello() *servicev1.HelloRequest {
	return &servicev1.HelloRequest{
		Protocol: proto.Uint32(syncer.Protocol), Device: tb.lane.Device[:], DeviceName: proto.String(tb.name), Enumerator: proto.String("E1"),
		PublicKey: tb.key.Public().(ed25519.PublicKey), Lanes: []*servicev1.LaneHead{tb.head.Proto(tb.lane)}, WallTimeMs: proto.Int64(time.Now().UnixMilli()),
	}
}

func (tb *tablet) greet(t testing.TB, d *desk) *servicev1.HelloResponse {
	t.Helper()
	resp, err := servicev1.NewSyncServiceClient(d.conn).Hello(with(t.Context()), tb.hello())
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// batch puts records behind the end of the lane.
func (tb *tablet) batch(raws ...[]byte) *servicev1.Batch {
	digests := make([]syncer.Digest, len(raws))
	for i, r := range raws {
		digests[i] = syncer.DigestOf(r)
	}
	b := syncer.NewBatch(tb.key, tb.lane, tb.head.Seq+1, tb.head.Chain, digests, raws, true)
	tb.head = syncer.Run{First: tb.head.Seq + 1, Prev: tb.head.Chain, Digests: digests}.Head(tb.lane)
	return b
}

func (tb *tablet) push(t testing.TB, d *desk, raws ...[]byte) *servicev1.BatchAck {
	t.Helper()
	resp, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: tb.batch(raws...)})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetAck()
}

// record wraps an interview as the tablet would; change may spoil it before it is sealed.
func (tb *tablet) record(t testing.TB, iv *surveyv1.Interview, change func(*servicev1.Record)) []byte {
	t.Helper()
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.Must(uuid.NewV7())
	r := &servicev1.Record{
		Id: id[:], Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: iv.InterviewId, Study: iv.Study,
		Part: proto.Uint64(syncer.Part(iv.GetStudy(), iv.GetSiteId())), Author: iv.Enumerator, Device: tb.lane.Device[:],
		Questionnaire: proto.String("hearth.survey.v1.Household"), QuestionnaireVersion: proto.Uint32(1), Payload: payload,
	}
	if change != nil {
		change(r)
	}
	raw, _, err := syncer.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// canary is a name that must never be in a log.
const canary = "罗金丝雀"

// household makes a small household interview. The same n makes the same one, but for its ids.
func household(n int) *surveyv1.Interview {
	start := time.Date(2016, 7, 3, 1, n%60, 0, 0, time.UTC)
	person, home := uuid.NewString(), uuid.NewString()
	name := &surveyv1.Identity{FullName: proto.String(fmt.Sprintf("%s%d", canary, n)), Phone: proto.String(fmt.Sprintf("1380000%04d", n))}
	return &surveyv1.Interview{
		InterviewId: proto.String(uuid.NewString()), InterviewKey: proto.String(fmt.Sprintf("GY-%d", n)), Study: proto.String("guiyang"), Round: proto.Uint32(1),
		Enumerator: proto.String("E1"), SiteId: proto.String("school-c"), Status: surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(),
		Respondent: &surveyv1.Person{PersonId: proto.String(person), Identity: name},
		StartTime:  timestamppb.New(start), EndTime: timestamppb.New(start.Add(40 * time.Minute)), Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
		Recruitment: &surveyv1.Recruitment{Mode: surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED.Enum(), Seed: proto.Bool(true)},
		Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{
			HouseholdId: proto.String(home),
			Members: []*surveyv1.HouseholdMember{
				{PersonId: proto.String(person), LineNumber: proto.Int32(1), Identity: name, Sex: surveyv1.Sex_SEX_FEMALE.Enum(), Age: proto.Int32(int32(20 + n%50)),
					BirthDate:      &surveyv1.PartialDate{Year: proto.Int32(int32(1996 - n%50)), Month: proto.Int32(int32(1 + n%12)), Day: proto.Int32(int32(1 + n%28))},
					RelationToHead: surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD.Enum()},
				{PersonId: proto.String(uuid.NewString()), LineNumber: proto.Int32(2), RelationToHead: surveyv1.RelationToHead_RELATION_TO_HEAD_CHILD.Enum(),
					Identity: &surveyv1.Identity{FullName: proto.String(fmt.Sprintf("%s小%d", canary, n))}, Age: proto.Int32(8)},
			},
		}},
	}
}

// eachStore runs a test against every store there is.
func eachStore(t *testing.T, run func(t *testing.T, d *desk)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { run(t, newDesk(t, newMemory())) })
	t.Run("sqlite", func(t *testing.T) { run(t, newDesk(t, openSQLite(t, t.TempDir()))) })
}

// eachStoreOrOne is eachStore for what costs much: short runs ask SQLite alone.
func eachStoreOrOne(t *testing.T, run func(t *testing.T, d *desk)) {
	t.Helper()
	if !testing.Short() {
		eachStore(t, run)
		return
	}
	t.Run("sqlite", func(t *testing.T) { run(t, newDesk(t, openSQLite(t, t.TempDir()))) })
}

// streamDesc lets a test call any method as a stream.
func streamDesc(m protoreflect.MethodDescriptor) *grpc.StreamDesc {
	return &grpc.StreamDesc{StreamName: string(m.Name()), ServerStreams: true, ClientStreams: true}
}

func openSQLite(t testing.TB, dir string) *sqlite.Store {
	t.Helper()
	st, err := sqlite.Open(t.Context(), dir, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return st
}
