package syncertest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NewStream implements grpc.ClientConnInterface. Every message that is sent over the stream is a call of the plan; after
// a fault the stream is dead: the answers to what was sent before come, nothing else.
func (l *Link) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := l.conn.NewStream(ctx, desc, method, append(opts, grpc.WaitForReady(true))...)
	if err != nil {
		return nil, err
	}
	return &faultyStream{ClientStream: stream, link: l, method: method}, nil
}

// faultyStream is used by one goroutine at a time.
type faultyStream struct {
	grpc.ClientStream
	link   *Link
	method string
	sent   int // messages that the server has seen
	heard  int // answers that were passed on
	dead   bool
	lost   int // of the answers, the one that does not come; 0: none
}

// SendMsg sends a message, unless the link loses it.
func (s *faultyStream) SendMsg(m any) error {
	if s.dead {
		return nil // the sender learns of it when it waits for an answer
	}
	s.link.mu.Lock()
	s.link.calls++
	call, plan := s.link.calls, s.link.plan
	s.link.mu.Unlock()
	f := None
	if plan != nil {
		f = plan(call, s.method)
	}
	if s.dead = f != None; f == RequestLost {
		return nil
	}
	if err := s.ClientStream.SendMsg(m); err != nil {
		return err
	}
	if s.sent++; f == AnswerLost {
		s.lost = s.sent
	}
	return nil
}

// RecvMsg passes an answer on, unless the link loses it.
func (s *faultyStream) RecvMsg(m any) error {
	if s.dead && s.heard >= s.sent {
		return status.Error(codes.Unavailable, "the link lost the request")
	}
	if err := s.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	if s.heard++; s.heard == s.lost {
		return status.Error(codes.Unavailable, "the link lost the answer")
	}
	return nil
}
