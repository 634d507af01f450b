package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server"
	"github.com/hearth-survey/hearth/server/relay"
	"github.com/hearth-survey/hearth/server/store/blobs"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer/durable"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// target is the study a verb works on: a folder whose server is not running, or a running server.
type target struct {
	Data   string `help:"Folder of a server that is not running; wins over --server." type:"path"`
	Server string `help:"Address of a running server, host:port; https://host:port for TLS." env:"HEARTH_SERVER"`
	Token  string `help:"Token of the running server; it stands in the file token of its folder." env:"HEARTH_TOKEN"`
}

// conn is a connection to the services, whether across a network or within this process.
type conn struct {
	grpc.ClientConnInterface
	close func() error
}

// Close ends the connection, and within this process the store behind it.
func (c *conn) Close() error { return c.close() }

func (t target) dial(ctx context.Context) (*conn, error) {
	switch {
	case t.Data != "":
		return dialFolder(ctx, t.Data)
	case t.Server != "":
		return dialServer(t.Server, t.Token)
	}
	return nil, fmt.Errorf("%w: name the study with --data DIR (a folder whose server is not running) or --server ADDR", errUsage)
}

// keepaliveTime is after how long without a word a call under way asks whether the server is there, and how long it waits
// for an answer: a telephone that has changed its network would wait for minutes else.
const keepaliveTime = 20 * time.Second

// dialServer connects to a running server. The token travels with every call.
func dialServer(addr, token string) (*conn, error) {
	creds := insecure.NewCredentials()
	if rest, ok := strings.CutPrefix(addr, "https://"); ok {
		addr, creds = rest, credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS13})
	}
	addr = strings.TrimPrefix(addr, "http://")
	opts := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32 << 20)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTime}),
	}
	if token != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(token)))
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, opts...)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.Unreachable, "server address %q: %w", addr, err)
	}
	return &conn{cc, cc.Close}, nil
}

// bearer sends the token with every call. On a plain connection it can be read on the way; `hearth serve` warns of it.
type bearer string

// GetRequestMetadata returns the authorization header.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity is false: field hubs without certificates exist.
func (b bearer) RequireTransportSecurity() bool { return false }

// dialFolder opens a server's folder and serves it within this process.
func dialFolder(ctx context.Context, dir string) (*conn, error) {
	node, err := openNode(ctx, dir, nodeOptions{mustExist: true})
	if err != nil {
		return nil, err
	}
	err = node.server.Project(ctx)
	if err == nil { // where a questionnaire was published since, what is shown is by its rules
		err = node.server.Reevaluate(ctx, func(int, int) {})
	}
	if err != nil {
		return nil, errors.Join(err, node.close())
	}
	pipe := bufconn.Listen(1 << 20)
	srv := node.server.GRPC()
	go func() { _ = srv.Serve(pipe) }()
	cc, err := grpc.NewClient("passthrough:///folder",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return pipe.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, errors.Join(err, node.close())
	}
	return &conn{cc, func() error {
		err := cc.Close()
		srv.Stop()
		return errors.Join(err, node.close())
	}}, nil
}

// node is a server wired over its folder.
type node struct {
	dir    string
	store  *sqlite.Store
	server *server.Server
	relay  *relay.Relay // nil: a headquarters
	key    ed25519.PrivateKey
	token  string
}

type nodeOptions struct {
	mustExist bool
	// serving is true for `hearth serve`: calls need the token.
	serving    bool
	reflection bool
	// linkWhenAsked is that of server.Config.
	linkWhenAsked bool
	// restored is true where the folder was a backup until now.
	restored bool
	// upstream and code are for a hub: where headquarters is, and the code by which the hub becomes known there.
	upstream, code string
	every, alone   time.Duration
	log            *slog.Logger
	metrics        *prometheus.Registry
}

func openNode(ctx context.Context, dir string, o nodeOptions) (*node, error) {
	if o.mustExist {
		if _, err := os.Stat(filepath.Join(dir, "log.sqlite")); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return nil, fault.New(fault.NotFound, fault.StoreMissing, "%s holds no server's store", dir)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	key, err := serverKey(dir)
	if err != nil {
		return nil, err
	}
	token, err := serverToken(dir, "token")
	if err != nil {
		return nil, err
	}
	exports, err := serverToken(dir, "export-token")
	if err != nil {
		return nil, err
	}
	st, err := sqlite.Open(ctx, dir, sqlite.Options{MustExist: o.mustExist, Now: time.Now, Restored: o.restored})
	if err != nil {
		return nil, err
	}
	set, err := questionnaire.Builtin()
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	attachments, err := blobs.Open(filepath.Join(dir, "blobs"), blobs.Options{Now: time.Now})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	cfg := server.Config{
		Store: st, Blobs: attachments, Key: key, Questionnaires: set, Now: time.Now, Log: o.log, Metrics: o.metrics,
		Version: version(), Reflection: o.reflection, LinkWhenAsked: o.linkWhenAsked,
	}
	if o.serving {
		cfg.Token, cfg.ExportToken = token, exports
	}
	hub, err := openRelay(ctx, st, attachments, key, o)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if hub != nil {
		cfg.Hub, cfg.Alone = hub, o.alone
	}
	srv, err := server.New(cfg)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &node{dir: dir, store: st, server: srv, relay: hub, key: key, token: token}, nil
}

func (n *node) close() error { return n.store.Close() }

// serverKey reads the key that signs receipts, or makes it the first time.
func serverKey(dir string) (ed25519.PrivateKey, error) {
	seed, err := secret(filepath.Join(dir, "server.key"), ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// serverToken reads a token that calls must bring, or makes it the first time: "token" is for everything, "export-token" for
// exports without direct identifiers.
func serverToken(dir, name string) (string, error) {
	raw, err := secret(filepath.Join(dir, name), 16)
	return hex.EncodeToString(raw), err
}

// secret reads n bytes in hexadecimal from a file only its owner can read, or makes them.
func secret(path string, n int) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || len(raw) != n {
			return nil, fault.New(fault.Invalid, fault.StoreDamaged, "%s does not hold %d bytes in hexadecimal", path, n)
		}
		return raw, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	raw := make([]byte, n)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	return raw, writeSecret(path, []byte(hex.EncodeToString(raw)+"\n"))
}

// writeSecret makes a file that is whole and on the disk, or not there: what is signed with half a key is lost.
func writeSecret(path string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	failpoint.Hit("secret.before-rename")
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	failpoint.Hit("secret.after-rename")
	return durable.SyncFolder(filepath.Dir(path)) // with a lost key the trust of every tablet would be lost
}

// explain turns an error into what happened and what to do, also where it came over the wire or is joined to others.
func explain(err error) string {
	var remote interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &remote) || fault.ReasonOf(err) != "" {
		if reason := fault.ReasonOf(err); reason != "" {
			return fmt.Sprintf("%v (%s)", err, reason)
		}
		if errors.Is(err, syscall.ENOSPC) {
			return fmt.Sprintf("%v: %s (%s)", err, fault.DiskFull.Do(), fault.DiskFull)
		}
		return err.Error()
	}
	st := remote.GRPCStatus() // not status.FromError: of an error that wraps it makes "rpc error: code = ..." the message
	text := st.Message()
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			if do := fault.Reason(info.GetReason()).Do(); do != "" && !strings.Contains(text, do) {
				text += ": " + do
			}
			return text + " (" + info.GetReason() + ")"
		}
	}
	switch {
	case strings.Contains(text, "missing port in address"):
		return "the address of the server has no port: give it as host:port, such as 127.0.0.1:8686"
	case st.Code() == codes.Unavailable:
		return fmt.Sprintf("the server cannot be reached, or the connection broke: check its address and that it runs; nothing on the tablet is lost (%s: %s)", fault.Unreachable, text)
	case st.Code() == codes.Canceled:
		return "stopped before it was done; run it again"
	}
	return text
}
