package sim

import (
	"context"
	"io"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// stream is a stream of batches over a link. What is sent waits until an answer is waited for; then the messages arrive in
// order, each as a call of its own, which is what the server makes of them. A message that is lost ends the stream; of those
// behind it some have arrived all the same.
type stream struct {
	grpc.ClientStream
	ctx     context.Context
	l       *link
	waiting []*servicev1.PushRequest
	ended   error
	token   string // of the session that its Hello has opened
}

// NewStream implements grpc.ClientConnInterface.
func (l *link) NewStream(ctx context.Context, _ *grpc.StreamDesc, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	l.forsake()
	if method != servicev1.SyncService_Push_FullMethodName {
		return nil, status.Error(codes.Unimplemented, "there are no such streams on this link")
	}
	l.stream = &stream{ctx: ctx, l: l}
	return l.stream, nil
}

// forsake lets arrive, of what was sent over a stream that nobody listens to any more, as much as may be.
func (l *link) forsake() {
	if s := l.stream; s != nil {
		l.stream = nil
		s.rest()
	}
}

// Context implements grpc.ClientStream.
func (s *stream) Context() context.Context { return s.ctx }

// CloseSend implements grpc.ClientStream.
func (s *stream) CloseSend() error { return nil }

// SendMsg implements grpc.ClientStream.
func (s *stream) SendMsg(m any) error {
	if s.ended != nil {
		return io.EOF
	}
	s.waiting = append(s.waiting, proto.Clone(m.(proto.Message)).(*servicev1.PushRequest))
	return nil
}

// RecvMsg implements grpc.ClientStream.
func (s *stream) RecvMsg(m any) error {
	switch {
	case s.ended != nil:
		return s.ended
	case len(s.waiting) == 0:
		s.ended = status.Error(codes.Unavailable, "nothing is asked, so nothing is answered")
		return s.ended
	}
	req := s.waiting[0]
	s.waiting = s.waiting[1:]
	method, request, answer := asCall(req)
	s.l.stream = nil // it is at work
	if s.ended = s.l.Invoke(s.context(), method, request, answer); s.ended != nil {
		if s.l.lost { // on the way; where the server has ended the stream it reads no further
			s.rest()
		}
		s.waiting = nil
		return s.ended
	}
	s.l.stream = s
	resp := m.(*servicev1.PushResponse)
	switch a := answer.(type) {
	case *servicev1.HelloResponse:
		resp.Hello = a
		if t := a.GetSession().GetToken(); t != "" {
			s.token = t
		}
	case *servicev1.PushBatchResponse:
		resp.Ack = a.GetAck()
	}
	return nil
}

// context is that of the next message: a stream that has proved whose it is needs no token.
func (s *stream) context() context.Context {
	if s.token == "" {
		return s.ctx
	}
	return metadata.AppendToOutgoingContext(s.ctx, "authorization", "Bearer "+s.token)
}

// rest lets some of the messages arrive that were sent and will not be answered. The server ends the stream at an error.
func (s *stream) rest() {
	for _, req := range s.waiting {
		if s.l.rand.IntN(2) == 0 {
			break
		}
		method, request, answer := asCall(req)
		s.l.w.trace("    %s -> %s  on a stream that was cut%s", s.l.name, s.l.to.called(), told(request))
		if s.l.to.call(context.WithoutCancel(s.context()), s.l.name, method, request, answer) != nil {
			break
		}
		if h, ok := answer.(*servicev1.HelloResponse); ok && h.GetSession().GetToken() != "" {
			s.token = h.GetSession().GetToken()
		}
	}
	s.waiting = nil
}

// asCall is a message of a stream as the call that it stands for.
func asCall(req *servicev1.PushRequest) (method string, request, answer proto.Message) {
	if h := req.GetHello(); h != nil {
		return servicev1.SyncService_Hello_FullMethodName, h, &servicev1.HelloResponse{}
	}
	return servicev1.SyncService_PushBatch_FullMethodName, &servicev1.PushBatchRequest{Batch: req.GetBatch()}, &servicev1.PushBatchResponse{}
}
