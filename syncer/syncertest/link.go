package syncertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

// wire gives an error the form in which the server program sends it.
func wire(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return status.Error(codes.Internal, err.Error())
	}
	code := map[fault.Kind]codes.Code{
		fault.Invalid: codes.InvalidArgument, fault.NotFound: codes.NotFound, fault.Exists: codes.AlreadyExists,
		fault.Conflict: codes.FailedPrecondition, fault.Permission: codes.PermissionDenied, fault.Unauthenticated: codes.Unauthenticated,
		fault.TooLarge: codes.ResourceExhausted, fault.Unavailable: codes.Unavailable, fault.Stale: codes.OutOfRange,
	}[f.Kind]
	if code == codes.OK {
		code = codes.Internal
	}
	st, derr := status.New(code, f.Message).WithDetails(&errdetails.ErrorInfo{Reason: string(f.Reason), Domain: "hearth"})
	if derr != nil {
		return status.Error(code, f.Message)
	}
	return st.Err()
}

// Link is a connection to a service over gRPC in memory, and the faults it is told to have. It is a
// grpc.ClientConnInterface.
type Link struct {
	conn   *grpc.ClientConn
	server *grpc.Server

	mu        sync.Mutex
	calls     int
	plan      func(call int, method string) Fault
	cutAfter  int64 // bytes of one connection, to and from the server; 0: never
	passed    int64 // bytes of all connections, both ways
	open      map[*cutConn]bool
	listening *bufconn.Listener
}

// Fault is what happens to one call.
type Fault int

// The faults of a link.
const (
	// None: the call goes through.
	None Fault = iota
	// RequestLost: the server never sees the call.
	RequestLost
	// AnswerLost: the server has done what it was asked, and the caller does not learn of it.
	AnswerLost
)

// Connect serves a SyncService in memory and returns a link to it without faults.
func Connect(srv servicev1.SyncServiceServer) (*Link, error) {
	l := &Link{server: grpc.NewServer(), listening: bufconn.Listen(1 << 20), open: map[*cutConn]bool{}}
	servicev1.RegisterSyncServiceServer(l.server, srv)
	go l.server.Serve(l.listening) // ends with Close
	var err error
	l.conn, err = grpc.NewClient("passthrough:///memory", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: time.Millisecond}, MinConnectTimeout: time.Second}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := l.listening.DialContext(ctx)
			if err != nil {
				return nil, err
			}
			return l.wrap(c), nil
		}))
	if err != nil {
		l.server.Stop()
		return nil, err
	}
	return l, nil
}

// Plan tells the link what is to happen to each call, counted from 1; nil: nothing. The plan may itself do something
// over another link before it answers, as when two tablets sync at the same moment.
func (l *Link) Plan(plan func(call int, method string) Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.plan, l.calls = plan, 0
}

// CutAfter makes every connection die when so many bytes have passed it in either direction; 0: never. Connections that
// are open die at once.
func (l *Link) CutAfter(bytes int64) {
	l.mu.Lock()
	l.cutAfter = bytes
	open := slices.Collect(maps.Keys(l.open))
	l.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}

// Invoke implements grpc.ClientConnInterface.
func (l *Link) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	l.mu.Lock()
	l.calls++
	call, plan := l.calls, l.plan
	l.mu.Unlock()
	f := None
	if plan != nil {
		f = plan(call, method)
	}
	switch f {
	case RequestLost:
		return status.Error(codes.Unavailable, "the link lost the request")
	case AnswerLost:
		answer := reply.(proto.Message)
		if err := l.conn.Invoke(ctx, method, args, answer, append(opts, grpc.WaitForReady(true))...); err != nil {
			return err
		}
		proto.Reset(answer)
		return status.Error(codes.Unavailable, "the link lost the answer")
	}
	return l.conn.Invoke(ctx, method, args, reply, append(opts, grpc.WaitForReady(true))...)
}

// Close ends the link and the service behind it.
func (l *Link) Close() error {
	err := l.conn.Close()
	l.server.Stop()
	return err
}

// cutConn dies when its bytes are used up.
type cutConn struct {
	net.Conn
	link *Link
	mu   sync.Mutex
	left int64 // -1: without end
}

func (l *Link) wrap(c net.Conn) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	cut := &cutConn{Conn: c, link: l, left: -1}
	if l.cutAfter > 0 {
		cut.left = l.cutAfter
	}
	l.open[cut] = true
	return cut
}

// Passed counts the bytes that have passed all connections, both ways, with everything the transport adds.
func (l *Link) Passed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.passed
}

// use takes n bytes and says how many of them still pass.
func (c *cutConn) use(n int) (passed int) {
	defer func() {
		c.link.mu.Lock()
		c.link.passed += int64(passed)
		c.link.mu.Unlock()
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left < 0 {
		return n
	}
	n = int(min(int64(n), c.left))
	c.left -= int64(n)
	return n
}

// Read implements net.Conn.
func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if passed := c.use(n); passed < n {
		c.Close()
		return passed, net.ErrClosed
	}
	return n, err
}

// Write implements net.Conn.
func (c *cutConn) Write(p []byte) (int, error) {
	passed := c.use(len(p))
	n, err := c.Conn.Write(p[:passed])
	if err == nil && passed < len(p) {
		c.Close()
		return n, net.ErrClosed
	}
	return n, err
}

// Close implements net.Conn.
func (c *cutConn) Close() error {
	c.link.mu.Lock()
	delete(c.link.open, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

// Interview makes the nth interview of a tablet: a UUIDv4 derived from both, a key, a site and remarks.
func Interview(tablet string, n int, remarks string) *surveyv1.Interview {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", tablet, n))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return &surveyv1.Interview{
		InterviewId: proto.String(id.String()), InterviewKey: proto.String("GY-" + tablet), SiteId: proto.String("school-a"),
		Round: proto.Uint32(1), QuestionnaireVersion: proto.Uint32(1), Remarks: proto.String(remarks),
		Status:  surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(),
		Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{}},
	}
}
