// Package server is headquarters: the services by which tablets sync and by which supervisors and analysts ask, one file
// each, over a store.Store. It is for cmd/hearth, which opens the store and the port.
//
// Every call passes one chain: policy, limits, recovery, and a log line that never holds a name or an answer. Errors
// become gRPC codes in one place. The package does not decide what a duplicate, a wave or a count is (its subpackages
// do), does not open files, and does not end the process.
package server

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/projection"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
)

// Config is what a server is made of. Store, Key and Questionnaires must be given.
type Config struct {
	Store store.Store
	// Blobs keeps attachments; nil: they are not kept, tablets hold on to them.
	Blobs Blobs
	// Key signs receipts and headquarters' own records.
	Key ed25519.PrivateKey
	// Token must come with every call but health checks; empty: no token is asked for, for use within one process.
	Token string
	// ExportToken is one that may be given to analysts and stand in their scripts: it opens exports without direct
	// identifiers and nothing else. Empty: there is none.
	ExportToken string
	// Questionnaires are those built in; others are used once they are published, and kept in quarantine until then.
	Questionnaires *questionnaire.Set
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Log gets a line per call; nil: none.
	Log *slog.Logger
	// Metrics is where measures are registered; nil: a registry of its own.
	Metrics *prometheus.Registry
	// Version is the program's, for the index page and the metrics.
	Version string
	// Reflection lets grpcurl ask what services there are.
	Reflection bool
	// Hub is set where the server is a hub: tablets that headquarters has enrolled hand over what headquarters is to get. The
	// key is then the hub's own.
	Hub Upstream
	// Alone is how long a hub takes tablets in without having heard of headquarters, which may have taken its rights away;
	// 0: for ever.
	Alone time.Duration
	// LinkWhenAsked leaves it to who asks for pairs to look for people surveyed twice; otherwise that is done as interviews come.
	LinkWhenAsked bool
	// Zone is where days begin and end; nil: projection.DefaultZone.
	Zone *time.Location
}

// Server answers for one store.
type Server struct {
	store store.Store
	key   ed25519.PrivateKey
	token []byte // hash of the token; nil: none
	// exportToken is the hash of the one for exports; nil: there is none.
	exportToken []byte
	now         func() time.Time
	log         *slog.Logger
	version     string

	grpc    *grpc.Server
	health  *health.Server
	handler http.Handler
	metrics *metrics

	blobs       Blobs // nil: attachments are not kept
	blobMetrics *blobMetrics

	hub   Upstream // nil: this is headquarters
	alone time.Duration

	author    *author
	projector *projector
	gone      withdrawals
	closed    closures
	defining  sync.Mutex // held while a definition of a study is read and written
	counting  sync.Mutex // held while the referrals of a study are counted from the bytes of the store
	keys      keyCache
	rights    rightsCache
	payloads  *payloadReader
	linker    *linker
	// linkWhenAsked is that of the Config.
	linkWhenAsked bool
	feeds         feeds
	forms         *publications
	rules         reevaluations
	down          downlink

	ticketsMu                sync.Mutex // held while the use of a ticket is looked up and noted
	challenges               *challenges
	enrolTries, sessionTries *tries

	stopping chan struct{}
	stopOnce sync.Once
}

// New makes a server. It listens nowhere: see Serve, Handler and GRPC.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("make a server: no store is given")
	case len(cfg.Key) != ed25519.PrivateKeySize:
		return nil, fmt.Errorf("make a server: the key has %d bytes, want %d", len(cfg.Key), ed25519.PrivateKeySize)
	case cfg.Questionnaires == nil:
		return nil, errors.New("make a server: no questionnaires are given")
	}
	s := &Server{
		store: cfg.Store, key: cfg.Key, now: cfg.Now, log: cfg.Log, version: cfg.Version,
		payloads: payloads(), stopping: make(chan struct{}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Token != "" {
		sum := sha256.Sum256([]byte(cfg.Token))
		s.token = sum[:]
	}
	if cfg.ExportToken != "" {
		sum := sha256.Sum256([]byte(cfg.ExportToken))
		s.exportToken = sum[:]
	}
	registry := cfg.Metrics
	if registry == nil {
		registry = prometheus.NewRegistry()
	}
	zone := cfg.Zone
	if zone == nil {
		zone = projection.DefaultZone
	}
	var err error
	if s.metrics, err = newMetrics(registry, s.store, s.now); err != nil {
		return nil, err
	}
	if err = s.beginDevices(); err != nil {
		return nil, err
	}
	if cfg.Hub != nil {
		s.beginHub(cfg.Hub)
		s.alone = cfg.Alone
	}
	if s.forms, err = newPublications(cfg.Questionnaires); err != nil {
		return nil, err
	}
	s.author = newAuthor(s)
	s.projector = newProjector(s.store, projection.Builder{Zone: zone, Evaluate: s.evaluate}, s.metrics)
	s.projector.hintKey, s.projector.studiesChanged = s.hintKey, func() {
		s.down.changedStudies()
		s.closed.changed()
	}
	s.linker, s.linkWhenAsked = newLinker(s), cfg.LinkWhenAsked
	s.projector.moved = s.linker.wake
	s.projector.gone, s.projector.published = &s.gone, s.followQuestionnaires
	if s.hub == nil { // merging is headquarters'
		s.projector.settle = s.settle
	}
	s.grpc = s.newGRPC()
	s.register(cfg.Reflection)
	if s.handler, err = s.newHandler(); err != nil {
		return nil, err
	}
	if s.hub == nil { // a hub knows them as its tablets do, and headquarters decides what can be used
		if _, err = s.refreshQuestionnaires(context.Background()); err != nil {
			return nil, err
		}
	}
	s.blobs = cfg.Blobs
	if s.blobMetrics, err = newBlobMetrics(registry, s.blobs); err != nil {
		return nil, err
	}
	return s, nil
}

func registerServices(s *Server, on grpc.ServiceRegistrar) {
	servicev1.RegisterSyncServiceServer(on, &syncService{Server: s})
	servicev1.RegisterDeviceServiceServer(on, &deviceService{Server: s})
	servicev1.RegisterStudyServiceServer(on, &studyService{Server: s})
	servicev1.RegisterMonitorServiceServer(on, &monitorService{Server: s})
	servicev1.RegisterLinkageServiceServer(on, &linkageService{Server: s})
	servicev1.RegisterReferralServiceServer(on, &referralService{Server: s})
	servicev1.RegisterReviewServiceServer(on, &reviewService{Server: s})
	servicev1.RegisterAssignmentServiceServer(on, &assignmentService{Server: s})
	servicev1.RegisterExportServiceServer(on, &exportService{Server: s})
	servicev1.RegisterHubServiceServer(on, &hubService{Server: s})
}

// GRPC is the gRPC server with all services, for use without HTTP, as over a pipe within one process.
func (s *Server) GRPC() *grpc.Server { return s.grpc }

// Handler answers gRPC, gRPC-Web and Connect on one port. It needs HTTP/2 for gRPC.
func (s *Server) Handler() http.Handler { return s.handler }

// Run keeps the projections up with the log, and the linkage up with these, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	var linking sync.WaitGroup
	defer linking.Wait()
	if s.hub == nil && !s.linkWhenAsked { // at a hub nobody decides who is the same; who asks is answered all the same
		linking.Go(func() { s.linker.run(ctx) })
	}
	return s.projector.run(ctx, s.log, func(ctx context.Context) { s.reevaluateInTurn(ctx) })
}

// Project brings the projections up to everything that was acknowledged before the call.
func (s *Server) Project(ctx context.Context) error { return s.projector.catchUp(ctx) }

// Rebuild makes all projections again from a log; it is what store.CheckOptions.Rebuild asks for.
func (s *Server) Rebuild(ctx context.Context, log store.Log, apply func(*store.Changes) error) error {
	return s.projector.rebuild(ctx, log, apply)
}

// Key is the public key by which receipts of this server are verified.
func (s *Server) Key() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// nowMS is the server's clock in milliseconds since 1970.
func (s *Server) nowMS() int64 { return s.now().UnixMilli() }

// keyCache remembers the public keys of devices. A device's key never changes.
type keyCache struct {
	mu   sync.RWMutex
	keys map[syncer.ID]ed25519.PublicKey
}

// maxKeys bounds the cache; a full one is emptied.
const maxKeys = 50_000

func (k *keyCache) cached(id syncer.ID) (ed25519.PublicKey, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key, ok := k.keys[id]
	return key, ok
}

// of returns the key of a device from the cache or the store.
func (k *keyCache) of(ctx context.Context, devices store.Devices, id syncer.ID) (ed25519.PublicKey, error) {
	if key, ok := k.cached(id); ok {
		return key, nil
	}
	key, err := devices.Key(ctx, id)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil || len(k.keys) >= maxKeys {
		k.keys = map[syncer.ID]ed25519.PublicKey{}
	}
	k.keys[id] = key
	return key, nil
}
