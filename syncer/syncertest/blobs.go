package syncertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"maps"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// modelBlob is what has arrived of an attachment.
type modelBlob struct {
	data  []byte
	here  []bool
	whole bool
}

// Blobs returns the bytes of every attachment that is whole.
func (s *Server) Blobs() map[syncer.BlobID][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[syncer.BlobID][]byte{}
	for id, b := range s.blobs {
		if b.whole {
			all[id] = bytes.Clone(b.data)
		}
	}
	return all
}

// LoseBlobs makes the server forget its attachments and take a new epoch, as one restored from a backup without them.
func (s *Server) LoseBlobs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs = nil
	sum := sha256.Sum256(s.epoch[:])
	s.epoch = syncer.ID(sum[:16])
}

// RefuseBlobs makes the server answer every call about attachments with an error; nil: no more.
func (s *Server) RefuseBlobs(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuseBlobs = err
}

// ChunkOrder returns which attachments pieces came of, in order, each once for every run of its pieces.
func (s *Server) ChunkOrder() []syncer.BlobID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]syncer.BlobID(nil), s.chunkOrder...)
}

// Received returns how many bytes of pieces have come, also of those that were here.
func (s *Server) Received() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.received
}

func (s *Server) blobState(id syncer.BlobID) *servicev1.BlobState {
	st := &servicev1.BlobState{Sha256: id[:], Complete: proto.Bool(false)}
	b := s.blobs[id]
	if b == nil {
		return st
	}
	if b.whole {
		st.Complete = proto.Bool(true)
		return st
	}
	var have syncer.Ranges
	for i, here := range b.here {
		if here {
			have = have.Add(syncer.Range{Start: int64(i), End: int64(i) + 1})
		}
	}
	st.Have = have.Proto()
	return st
}

// BlobStat implements servicev1.SyncServiceServer.
func (s *Server) BlobStat(_ context.Context, req *servicev1.BlobStatRequest) (*servicev1.BlobStatResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["BlobStat"]++
	if s.refuseBlobs != nil {
		return nil, wire(s.refuseBlobs)
	}
	resp := &servicev1.BlobStatResponse{}
	for _, ref := range req.GetBlobs() {
		id, _, err := syncer.ParseBlobRef(ref)
		if err != nil {
			return nil, wire(err)
		}
		resp.Blobs = append(resp.Blobs, s.blobState(id))
	}
	return resp, nil
}

// PutChunk implements servicev1.SyncServiceServer.
func (s *Server) PutChunk(_ context.Context, req *servicev1.PutChunkRequest) (*servicev1.PutChunkResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["PutChunk"]++
	if s.refuseBlobs != nil {
		return nil, wire(s.refuseBlobs)
	}
	id, size, err := syncer.ParseBlobRef(req.GetBlob())
	if err == nil {
		err = syncer.CheckChunk(size, req.GetOffset(), req.GetData(), req.GetCrc32C())
	}
	if err != nil {
		return nil, wire(err)
	}
	s.received += int64(len(req.GetData()))
	if n := len(s.chunkOrder); n == 0 || s.chunkOrder[n-1] != id {
		s.chunkOrder = append(s.chunkOrder, id)
	}
	if s.blobs == nil {
		s.blobs = map[syncer.BlobID]*modelBlob{}
	}
	b := s.blobs[id]
	if b == nil {
		b = &modelBlob{data: make([]byte, size), here: make([]bool, size)}
		s.blobs[id] = b
	}
	for i, c := range req.GetData() {
		at := req.GetOffset() + int64(i)
		b.data[at], b.here[at] = c, true
	}
	if !b.whole && !bytes.Contains(boolBytes(b.here), []byte{0}) {
		if sha256.Sum256(b.data) != id {
			delete(s.blobs, id)
			return nil, wire(fault.New(fault.Invalid, fault.BlobHashMismatch, "the pieces do not make attachment %x", id[:4]))
		}
		b.whole = true
	}
	return &servicev1.PutChunkResponse{Blob: s.blobState(id)}, nil
}

func boolBytes(all []bool) []byte {
	out := make([]byte, len(all))
	for i, b := range all {
		if b {
			out[i] = 1
		}
	}
	return out
}

// copyBlobs is what Backup takes of the attachments.
func copyBlobs(all map[syncer.BlobID]*modelBlob) map[syncer.BlobID]*modelBlob {
	out := maps.Clone(all)
	for id, b := range out {
		out[id] = &modelBlob{data: bytes.Clone(b.data), here: append([]bool(nil), b.here...), whole: b.whole}
	}
	return out
}
