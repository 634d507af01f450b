package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/vanguard"
	"connectrpc.com/vanguard/vanguardgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Limits of the port. What arrives is bounded before it is read.
const (
	maxMessage    = 4 << 20  // one message
	maxReceive    = 6 << 20  // what is read of one at all: one that is a little too large is told so with a reason
	maxSend       = 64 << 20 // one message: a drawing of 100 000 people
	maxBody       = 8 << 20  // a request of Connect or gRPC-Web: a message in JSON is larger
	maxHeader     = 16 << 10 // all headers of a request
	maxStreams    = 64       // calls at a time on one connection
	headerTimeout = 20 * time.Second
	bodyTimeout   = 2 * time.Minute
	idleTimeout   = 5 * time.Minute
	drainTimeout  = 15 * time.Second
)

// MaxConnections is how many connections the port takes at a time; those after them wait. Each needs an open file.
const MaxConnections = 16384

// newGRPC makes the gRPC server with every limit that its defaults leave open.
func (s *Server) newGRPC() *grpc.Server {
	return grpc.NewServer(
		grpc.MaxRecvMsgSize(maxReceive),
		grpc.MaxSendMsgSize(maxSend),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(headerTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: idleTimeout, MaxConnectionAge: 30 * time.Minute, MaxConnectionAgeGrace: 5 * time.Minute,
			Time: 2 * time.Minute, Timeout: headerTimeout,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 15 * time.Second}),
		grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
}

// register puts all services on the gRPC server.
func (s *Server) register(reflect bool) {
	registerServices(s, s.grpc)
	s.health = health.NewServer()
	healthv1.RegisterHealthServer(s.grpc, s.health)
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	for name := range s.grpc.GetServiceInfo() {
		s.health.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	if reflect {
		reflection.Register(s.grpc)
	}
}

// newHandler makes the handler of the one port: gRPC goes straight to the gRPC server, gRPC-Web and Connect are
// translated to it, so that every call passes the same interceptors.
func (s *Server) newHandler() (http.Handler, error) {
	// JSON with a field that is not known is a mistake of whoever wrote it by hand, and is said to be one.
	json := func(res vanguard.TypeResolver) vanguard.Codec {
		return strictJSON{&vanguard.JSONCodec{
			MarshalOptions:   protojson.MarshalOptions{Resolver: res},
			UnmarshalOptions: protojson.UnmarshalOptions{Resolver: res},
		}}
	}
	transcoder, err := vanguardgrpc.NewTranscoder(s.grpc,
		vanguard.WithDefaultServiceOptions(
			vanguard.WithTargetCodecs(vanguard.CodecProto),
			vanguard.WithTargetProtocols(vanguard.ProtocolGRPC),
			vanguard.WithMaxMessageBufferBytes(maxBody),
			vanguard.WithTypeResolver(protoregistry.GlobalTypes),
		),
		vanguard.WithCodec(json),
		vanguard.WithUnknownHandler(http.NotFoundHandler()),
	)
	if err != nil {
		return nil, fmt.Errorf("translate Connect to gRPC: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isGRPC(r):
			s.grpc.ServeHTTP(w, r)
		case r.URL.Path == "/":
			index(w, r)
		case route(r.URL.Path) != "":
			s.web(w, r, route(r.URL.Path))
		default:
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not every writer can
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if isPacked(r) {
				refusePacked(w, r)
				return
			}
			if isEmptyJSON(r) {
				refuseEmpty(w)
				return
			}
			transcoder.ServeHTTP(w, asConnect(r))
		}
	}), nil
}

// strictJSON says of JSON that cannot be read that it is the caller's to put right.
type strictJSON struct{ *vanguard.JSONCodec }

// Unmarshal reads a message.
func (c strictJSON) Unmarshal(raw []byte, m proto.Message) error {
	if err := c.JSONCodec.Unmarshal(raw, m); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("the JSON is not a %s: %w", m.ProtoReflect().Descriptor().Name(), err))
	}
	return nil
}

// isGRPC says whether a request speaks gRPC itself, not gRPC-Web.
func isGRPC(r *http.Request) bool {
	ct := r.Header.Get("Content-Type")
	return r.ProtoMajor == 2 && isGRPCType(ct)
}

func isGRPCType(contentType string) bool {
	return strings.HasPrefix(contentType, "application/grpc") && !strings.HasPrefix(contentType, "application/grpc-web")
}

// isPacked says whether what a request of Connect or gRPC-Web carries is to be unpacked first.
func isPacked(r *http.Request) bool {
	for _, h := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		if v := r.Header.Get(h); v != "" && !strings.EqualFold(v, "identity") {
			return true
		}
	}
	return r.Method == http.MethodGet && r.URL.Query().Get("compression") != ""
}

// refusePacked says that nothing is unpacked: the translator would unpack all of it, however large, before it asks who
// calls. The body is read first, since an answer to one who still sends may be lost with the connection.
func refusePacked(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // over the limit or cut off: the answer is the same
	const why = "requests are not unpacked here: send them as they are; batches have their own zstd inside"
	if ct := r.Header.Get("Content-Type"); strings.HasPrefix(ct, "application/grpc") {
		w.Header().Set("Content-Type", ct)
		w.Header().Set("Grpc-Status", strconv.Itoa(int(codes.Unimplemented)))
		w.Header().Set("Grpc-Message", why)
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotImplemented)
	_, _ = io.WriteString(w, `{"code":"unimplemented","message":"`+why+`"}`) // the caller has gone if this fails
}

// isEmptyJSON says whether a request of JSON holds nothing but blanks. What it reads of the body is put back.
func isEmptyJSON(r *http.Request) bool {
	ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method != http.MethodPost || strings.TrimSpace(ct) != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return false
	}
	var head [64]byte
	n, err := io.ReadFull(r.Body, head[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
		if len(bytes.TrimSpace(head[:n])) == 0 {
			return true
		}
	}
	rest := io.Reader(r.Body)
	if err != nil {
		rest = failing{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head[:n]), rest), r.Body}
	return false
}

// failing is a body that could not be read.
type failing struct{ err error }

// Read fails.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// refuseEmpty answers as Connect does.
func refuseEmpty(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = io.WriteString(w, `{"code":"invalid_argument","message":"the body of the request is empty: send a JSON object, {} if nothing is to be said"}`) // the caller has gone if this fails
}

// asConnect lets curl leave out the header by which Connect is told from other JSON: nothing else is spoken here.
func asConnect(r *http.Request) *http.Request {
	const version = "Connect-Protocol-Version"
	ct, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Method != http.MethodPost || r.Header.Get(version) != "" || ct != "application/json" && ct != "application/proto" {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set(version, "1")
	return r
}

const indexPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Hearth</title>
<h1>Hearth</h1>
<p>The headquarters of a household survey. Tablets sync here by gRPC; programs may use gRPC, gRPC-Web or Connect with JSON.</p>
<p lang="zh">住户调查总部服务。平板电脑通过 gRPC 在此同步；程序可使用 gRPC、gRPC-Web 或 Connect（JSON）。</p>
</html>
`

func index(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(indexPage)) // the browser has gone if this fails
}

// Serve answers on the listener until ctx ends, then stops gracefully: health says not serving, calls under way have
// 15 seconds to finish, and what is left is cut. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	web := &http.Server{
		Handler:           s.handler,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: 2 * time.Minute, PingTimeout: headerTimeout, WriteByteTimeout: bodyTimeout},
		MaxHeaderBytes:    maxHeader,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	l = newLimited(l, MaxConnections)
	p := newPort(l.Addr())
	failed := make(chan error, 3)
	go func() { failed <- p.serve(l) }()
	go func() { failed <- web.Serve(p.web) }()
	go func() { failed <- s.grpc.Serve(p.native) }()
	var err error
	select {
	case err = <-failed:
		err = fmt.Errorf("listen on %v: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.stop()
	_ = l.Close() // the next connection finds nobody
	p.close()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	ended := web.Shutdown(drain) == nil
	if !ended {
		err = errors.Join(err, web.Close())
	}
	if s.stopGRPC(drain, ended) {
		s.log.Warn("calls were cut at the end", "after", drainTimeout)
	}
	return err
}

// stop tells everybody that the server ends: health checks, streams, new calls.
func (s *Server) stop() {
	s.stopOnce.Do(func() {
		s.health.Shutdown()
		close(s.stopping)
	})
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}
