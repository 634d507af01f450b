package server

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// requestHeader names a request in headers, both ways.
const requestHeader = "x-request-id"

// healthPrefix begins the names of the calls by which health is asked, to the last moment.
const healthPrefix = "/grpc.health."

// proofTime is how long a stream without a token may take to prove whose it is.
const proofTime = 30 * time.Second

// watchGrace is how long a stream that watches the server's health stays open when the server stops.
const watchGrace = 200 * time.Millisecond

// call is one call on its way: what the log may say about it, and nothing of what it carries.
type call struct {
	request string
	method  string
	start   time.Time
	device  string
	// tablet is set where the call comes with a tablet's session.
	tablet *syncer.ID
	// hub is true where that is a hub's.
	hub bool
	// exportsOnly is true where it comes with the token that is for exports without direct identifiers.
	exportsOnly bool
	// mu guards what a stream's receiving goroutine writes while the call may end: in, device, tablet.
	mu      sync.Mutex
	in, out int
	// unproven is set while a call without a token is yet to prove in its first message whose it is.
	unproven bool
	// grant is the session that it has opened so; granted is set once it was told of.
	grant   *grant
	granted bool
}

func (s *Server) begin(ctx context.Context, method string) *call {
	return &call{request: requestID(ctx), method: method, start: time.Now()}
}

// requestID takes the caller's id of the request if it is harmless, or makes one.
func requestID(ctx context.Context) string {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		if v := md.Get(requestHeader); len(v) == 1 && harmless(v[0]) {
			return v[0]
		}
	}
	return uuid.NewString()
}

func harmless(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	return strings.IndexFunc(id, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-'
	}) < 0
}

// end writes the line of the call. It names the device and never what was said.
func (s *Server) end(ctx context.Context, c *call, err error) {
	level := c.level(err)
	if !s.log.Enabled(ctx, level) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	attrs := []slog.Attr{
		slog.String("request", c.request), slog.String("method", c.method), slog.String("code", status.Code(err).String()),
		slog.String("reason", reasonOf(err)), slog.Duration("took", time.Since(c.start)),
		slog.Int("bytes_in", c.in), slog.Int("bytes_out", c.out), slog.String("device", c.device)}
	if level >= slog.LevelWarn {
		attrs = append(attrs, slog.String("error", status.Convert(err).Message()))
	}
	s.log.LogAttrs(ctx, level, "call", attrs...)
}

// level is how much a call's line matters: what the server or its disk is to blame for is seen also where only warnings
// are. That it refuses calls while it stops is no fault.
func (c *call) level(err error) slog.Level {
	switch code := status.Code(err); {
	case code == codes.Internal || code == codes.DataLoss || code == codes.Unknown:
		return slog.LevelError
	case code == codes.Unavailable && reasonOf(err) != string(fault.ShuttingDown):
		return slog.LevelWarn
	case strings.HasPrefix(c.method, healthPrefix):
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// admit applies the policy: the server is not stopping, the method is listed, the token is right.
func (s *Server) admit(ctx context.Context, c *call) (rule, error) {
	method := c.method
	r, ok := policy(method)
	if !ok {
		return r, fault.New(fault.Permission, fault.BadRequest, "nobody may call %s", method)
	}
	if r.access == proving && s.token != nil && !hasToken(ctx) {
		c.unproven = true
	} else if r.access != anyone && s.token != nil && s.forExports(ctx) {
		if c.exportsOnly = true; r.access != analysts {
			return r, fault.New(fault.Permission, fault.ExportsOnly, "this token is for exports alone, and may not call %s", method)
		}
	} else if r.access != anyone && s.token != nil {
		var err error
		if c.tablet, err = s.identify(ctx); err != nil {
			return r, err
		}
	}
	if c.tablet != nil {
		c.device = c.tablet.String()
		if err := s.admitHub(ctx, c); err != nil {
			return r, err
		}
		if r.access != enrolled && r.access != proving && (r.access != hubs || !c.hub) {
			return r, fault.New(fault.Permission, fault.NotForDevices, "tablets may not call %s", method)
		}
	}
	if s.hub != nil && decidedAtHeadquarters(method) {
		return r, fault.New(fault.Conflict, fault.AtHeadquarters, "this is a hub: %s is for headquarters", method)
	}
	if s.isStopping() && !strings.HasPrefix(method, healthPrefix) {
		return r, fault.New(fault.Unavailable, fault.ShuttingDown, "the server is stopping")
	}
	return r, nil
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	c := s.begin(ctx, info.FullMethod)
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, panicked(p)
		}
		if m, ok := resp.(proto.Message); ok && err == nil {
			c.out = proto.Size(m)
			err = sendable(c.out)
		}
		err = answer(ctx, s.log, c, err)
		s.end(ctx, c, err)
	}()
	_ = grpc.SetHeader(ctx, metadata.Pairs(requestHeader, c.request)) // fails only where no answer can be sent
	r, err := s.admit(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.unproven {
		if err := s.prove(ctx, c, req); err != nil {
			return nil, err
		}
	}
	if err := c.note(req); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, callKey{}, c), r.longest)
	defer cancel()
	if c.hub {
		ctx = context.WithValue(ctx, hubKey{}, *c.tablet)
	}
	return handler(ctx, req)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	ctx := ss.Context()
	c := s.begin(ctx, info.FullMethod)
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		err = answer(ctx, s.log, c, err)
		s.end(ctx, c, err)
	}()
	_ = ss.SetHeader(metadata.Pairs(requestHeader, c.request))
	r, err := s.admit(ctx, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, callKey{}, c), r.longest)
	defer cancel()
	w := &watched{ServerStream: ss, ctx: ctx, call: c, server: s}
	if c.unproven { // whoever is nobody may not keep a stream open
		w.proved = time.AfterFunc(proofTime, cancel).Stop
	}
	if info.FullMethod == healthv1.Health_Watch_FullMethodName {
		go s.endWatch(ctx, cancel)
	}
	return handler(srv, w)
}

// endWatch lets those who watch the server's health hear that it stops, and then ends their stream, which would hold the
// stop up otherwise.
func (s *Server) endWatch(ctx context.Context, end context.CancelFunc) {
	select {
	case <-ctx.Done():
	case <-s.stopping:
		time.AfterFunc(watchGrace, end)
	}
}

// panicked makes a defect an error. The value of a panic may hold an answer, so only its type and where it happened go
// to the log.
func panicked(p any) error {
	return fmt.Errorf("panic of type %T at %s", p, debug.Stack())
}

// watched is a stream whose messages are counted.
type watched struct {
	grpc.ServerStream
	ctx    context.Context
	call   *call
	server *Server
	// proved stops the clock that ends a stream whose caller does not prove who it is.
	proved func() bool
}

// Context is the stream's, with the longest time the call may take.
func (w *watched) Context() context.Context { return w.ctx }

// RecvMsg counts what comes in. The first message of a stream without a token must prove whose it is.
func (w *watched) RecvMsg(m any) error {
	if err := w.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if w.call.unproven {
		if err := w.server.prove(w.ctx, w.call, m); err != nil {
			return err
		}
		w.proved()
	}
	return w.call.note(m)
}

// SendMsg counts what goes out.
func (w *watched) SendMsg(m any) error {
	if p, ok := m.(proto.Message); ok {
		size := proto.Size(p)
		if err := sendable(size); err != nil {
			return err
		}
		w.call.out += size
	}
	return w.ServerStream.SendMsg(m)
}

// sendable refuses an answer that is over the limit of one message.
func sendable(size int) error {
	if size > maxSend {
		return fault.New(fault.TooLarge, fault.BadRequest, "the answer has %d bytes, and an answer of this server at most %d: ask for less of it, as of one study, or make an export", size, maxSend)
	}
	return nil
}

// forItself refuses what a tablet with a session says in the name of another device, or of its lanes.
func (c *call) forItself(m any, device []byte) error {
	if c.tablet == nil || c.hub && forwards(c.method) {
		return nil
	}
	named := [][]byte{device}
	hello, _ := m.(*servicev1.HelloRequest)
	if push, ok := m.(*servicev1.PushRequest); ok {
		hello = push.GetHello()
		named = append(named, hello.GetDevice())
	}
	if hello != nil {
		for _, l := range hello.GetLanes() {
			named = append(named, l.GetLane().GetDevice())
		}
	}
	for _, d := range named {
		if len(d) > 0 && !bytes.Equal(d, c.tablet[:]) {
			return fault.New(fault.Permission, fault.OtherDevice, "device %v calls for device %x", c.tablet, d[:min(len(d), 16)])
		}
	}
	return nil
}

// note counts a message, remembers the device that it names, and refuses one over the limit.
func (c *call) note(m any) error {
	p, ok := m.(proto.Message)
	if !ok {
		return nil
	}
	size := proto.Size(p)
	c.mu.Lock()
	c.in += size
	c.mu.Unlock()
	var device []byte
	switch r := m.(type) {
	case *servicev1.PushBatchRequest:
		device = r.GetBatch().GetLane().GetDevice()
	case *servicev1.PushRequest:
		device = r.GetBatch().GetLane().GetDevice()
	case interface{ GetDevice() []byte }: // whatever names a device
		device = r.GetDevice()
	}
	if err := c.forItself(m, device); err != nil {
		return err
	}
	if len(device) == 16 {
		c.mu.Lock()
		c.device = hex.EncodeToString(device)
		c.mu.Unlock()
	}
	if size > maxMessage {
		return fault.New(fault.TooLarge, fault.BatchTooLarge, "a message of %d bytes, the limit is %d", size, maxMessage)
	}
	return nil
}
