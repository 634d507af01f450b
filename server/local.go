package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// local is a connection to a server in the same process, without a network between.
type local struct {
	server  *Server
	methods map[string]localMethod
}

type localMethod struct {
	impl    any
	handler func(srv any, ctx context.Context, dec func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error)
}

// Local returns a connection to this server that needs no network: each call is made when it is asked for, by the caller
// itself. Messages are serialised on their way and calls pass the same interceptors as from outside. There are no streams.
func (s *Server) Local() grpc.ClientConnInterface {
	l := &local{server: s, methods: map[string]localMethod{}}
	registerServices(s, l)
	return l
}

// RegisterService implements grpc.ServiceRegistrar.
func (l *local) RegisterService(desc *grpc.ServiceDesc, impl any) {
	for _, m := range desc.Methods {
		l.methods["/"+desc.ServiceName+"/"+m.MethodName] = localMethod{impl, m.Handler}
	}
}

// Invoke implements grpc.ClientConnInterface.
func (l *local) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	m, ok := l.methods[method]
	if !ok {
		return status.Errorf(codes.Unimplemented, "there is no call %s", method)
	}
	request, err := proto.Marshal(args.(proto.Message))
	if err != nil {
		return status.Errorf(codes.Internal, "serialise the request: %v", err)
	}
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		ctx = metadata.NewIncomingContext(ctx, md)
	}
	resp, err := m.handler(m.impl, ctx, func(into any) error {
		if err := proto.Unmarshal(request, into.(proto.Message)); err != nil {
			return status.Errorf(codes.Internal, "read the request: %v", err)
		}
		return nil
	}, l.server.unary)
	if err != nil {
		return err
	}
	answer, err := proto.Marshal(resp.(proto.Message))
	if err != nil {
		return status.Errorf(codes.Internal, "serialise the answer: %v", err)
	}
	return proto.Unmarshal(answer, reply.(proto.Message))
}

// NewStream implements grpc.ClientConnInterface.
func (l *local) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "there are no streams within one process")
}
