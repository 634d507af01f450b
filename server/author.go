package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// author writes headquarters' own records: into a lane like any tablet's, signed, one at a time.
type author struct {
	server *Server
	lane   syncer.LaneID

	mu       sync.Mutex
	enrolled bool
}

func newAuthor(s *Server) *author {
	sum := sha256.Sum256(append([]byte("hearth/headquarters/v1\x00"), s.Key()...))
	return &author{server: s, lane: syncer.LaneID{Device: syncer.ID(sum[:16]), Epoch: s.store.Epoch()}}
}

// draft is what a record of headquarters says.
type draft struct {
	kind    servicev1.RecordKind
	subject string
	study   string
	author  string
	payload proto.Message
	// blobs are attachments that the record names.
	blobs []*servicev1.BlobRef
	// part is that of the subject; 0: of the study as a whole.
	part uint64
	// revises is true where earlier records about the subject are replaced.
	revises bool
}

// write seals and appends a record and returns when it is durable. A revision whose payload equals that of the only
// current one is not written again.
func (a *author) write(ctx context.Context, d draft) error {
	_, err := a.put(ctx, d)
	return err
}

// put is write, and returns the digest of the record; the zero one where nothing was written.
func (a *author) put(ctx context.Context, d draft) (syncer.Digest, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.server
	var none syncer.Digest
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(d.payload)
	if err != nil {
		return none, fault.New(fault.Invalid, fault.BadRequest, "write %s: %w", d.subject, err)
	}
	part := d.part
	if part == 0 {
		part = syncer.Part(d.study, "")
	}
	var parents [][]byte
	if d.revises {
		heads, err := currentHeads(ctx, s.store, part, d.kind, d.subject)
		if err != nil {
			return none, err
		}
		if len(heads) == 1 && bytes.Equal(heads[0].payload, payload) {
			return none, nil
		}
		for _, h := range heads {
			parents = append(parents, bytes.Clone(h.digest[:]))
		}
	}
	return a.seal(ctx, &servicev1.Record{
		Kind: d.kind.Enum(), Subject: proto.String(d.subject), Parents: parents, Study: proto.String(d.study),
		Part: proto.Uint64(part), Author: proto.String(d.author), WallTimeMs: proto.Int64(s.nowMS()), Payload: payload,
		Blobs: d.blobs,
	})
}

// seal completes a record, with a new id unless it has one, and appends it. The caller holds the lock.
func (a *author) seal(ctx context.Context, r *servicev1.Record) (syncer.Digest, error) {
	if err := a.enrol(ctx); err != nil {
		return syncer.Digest{}, err
	}
	if r.Id == nil {
		id, err := uuid.NewV7()
		if err != nil {
			return syncer.Digest{}, fmt.Errorf("make an id: %w", err)
		}
		r.Id = id[:]
	}
	r.Device = bytes.Clone(a.lane.Device[:])
	raw, digest, err := syncer.Seal(r)
	if err != nil {
		return digest, err
	}
	return digest, a.append(ctx, digest, raw)
}

// append puts one record behind the end of headquarters' lane.
func (a *author) append(ctx context.Context, digest syncer.Digest, raw []byte) error {
	s := a.server
	head, err := s.store.Lane(ctx, a.lane)
	if err != nil {
		return fmt.Errorf("find the end of headquarters' lane: %w", err)
	}
	batch := syncer.NewBatch(s.key, a.lane, head.Seq+1, head.Chain, []syncer.Digest{digest}, [][]byte{raw}, false)
	checked, err := syncer.Check(batch, s.Key(), syncer.DefaultLimits)
	if err != nil {
		return fmt.Errorf("check headquarters' own record: %w", err)
	}
	done, err := s.store.Append(ctx, checked)
	if err != nil {
		return fmt.Errorf("store headquarters' own record: %w", err)
	}
	if done.Fork || len(done.Results) > 0 {
		return fmt.Errorf("store headquarters' own record: it was not plainly stored: fork %v, %v", done.Fork, done.Results)
	}
	return nil
}

// enrol makes headquarters known as a device, once.
func (a *author) enrol(ctx context.Context) error {
	if a.enrolled {
		return nil
	}
	g := store.Greeting{Device: a.lane.Device, Name: "headquarters", Key: a.server.Key(), NowMS: a.server.nowMS()}
	if err := a.server.store.Greet(ctx, g); err != nil {
		return fmt.Errorf("enrol headquarters: %w", err)
	}
	a.enrolled = true
	return nil
}

// revision is one revision of a subject.
type revision struct {
	digest  syncer.Digest
	payload []byte
}

// currentHeads returns the revisions of a subject that no other replaces, the one to show first.
func currentHeads(ctx context.Context, log store.Log, part uint64, kind servicev1.RecordKind, subject string) ([]revision, error) {
	all, err := log.Revisions(ctx, part, kind, subject)
	if err != nil {
		return nil, fmt.Errorf("read the revisions of %s: %w", subject, err)
	}
	return headsOf(all), nil
}

// headsOf orders what is current among records; records that cannot be read are left out.
func headsOf(all []store.Stored) []revision {
	payloads := make(map[syncer.Digest][]byte, len(all))
	revs := make([]syncer.Revision, 0, len(all))
	for _, st := range all {
		r, err := syncer.Open(st.Raw)
		if err != nil {
			continue
		}
		rev := syncer.Revision{Digest: st.Digest}
		for _, p := range r.GetParents() {
			rev.Parents = append(rev.Parents, syncer.Digest(p))
		}
		revs = append(revs, rev)
		payloads[st.Digest] = r.GetPayload()
	}
	var heads []revision
	for _, d := range syncer.Heads(revs) {
		heads = append(heads, revision{d, payloads[d]})
	}
	return heads
}
