package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// headquarters is the author of what nobody in particular has decided.
const headquarters = "headquarters"

// place is an interview within its part.
type place struct {
	part uint64
	id   string
}

// conflicts are the interviews with several current revisions that nobody has tried to merge yet. The projector finds
// them; what it found before it was stopped, the projections say.
type conflicts struct {
	open   map[place]struct{}
	looked bool // the projections were asked
}

// note takes in what the projector has just applied.
func (c *conflicts) note(changes *store.Changes) {
	for _, iv := range changes.Interviews {
		at := place{iv.GetSummary().GetPart(), iv.GetSummary().GetInterviewId()}
		delete(c.open, at)
		if len(iv.GetSummary().GetHeads()) > 1 {
			if c.open == nil {
				c.open = map[place]struct{}{}
			}
			c.open[at] = struct{}{}
		}
	}
	for _, w := range changes.Withdrawn {
		delete(c.open, place{w.Part, w.InterviewID})
	}
}

// settle merges what can be merged and says whether it has written anything. The decision is made again from the log
// each time and its record depends on the heads alone, so that it is written once, whenever the server is stopped.
func (s *Server) settle(ctx context.Context, c *conflicts) (bool, error) {
	if !c.looked {
		for iv, err := range s.store.Interviews(ctx, store.Filter{ConflictsOnly: true}) {
			if err != nil {
				return false, fmt.Errorf("look for conflicts: %w", err)
			}
			c.note(&store.Changes{Interviews: []*servicev1.InterviewProjection{iv}})
		}
		c.looked = true
	}
	order := slices.SortedFunc(maps.Keys(c.open), func(a, b place) int { return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.id, b.id)) })
	wrote := false
	for _, at := range order {
		merged, err := s.author.merge(ctx, at)
		if err != nil {
			if ctx.Err() != nil {
				return wrote, ctx.Err()
			}
			if fault.KindOf(err) != fault.Permission { // a folder opened for reading shows the conflict and leaves it
				s.log.ErrorContext(ctx, "revisions could not be merged", "interview", at.id, "error", err)
			}
			if fault.KindOf(err) == fault.Unavailable {
				continue // tried again with the next records, or when the server starts again
			}
		}
		delete(c.open, at)
		wrote = wrote || merged
	}
	return wrote, nil
}

// versions are all revisions of an interview. Those that cannot be read have no message.
func (s *Server) versions(ctx context.Context, at place) ([]syncer.Version, map[syncer.Digest]*servicev1.Record, error) {
	all, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_INTERVIEW, at.id)
	if err != nil {
		return nil, nil, fmt.Errorf("read the revisions of interview %s: %w", at.id, err)
	}
	var out []syncer.Version
	records := map[syncer.Digest]*servicev1.Record{}
	for _, st := range all {
		r, err := syncer.Open(st.Raw)
		if err != nil {
			continue
		}
		v := syncer.Version{Author: r.GetAuthor(), WallTimeMS: r.GetWallTimeMs(), Payload: r.GetPayload()}
		v.Digest = st.Digest
		for _, p := range r.GetParents() {
			v.Parents = append(v.Parents, syncer.Digest(p))
		}
		iv := &surveyv1.Interview{}
		if len(r.GetPayload()) > 0 && proto.Unmarshal(r.GetPayload(), iv) == nil && iv.GetInterviewId() == at.id {
			v.Message = iv
		}
		out = append(out, v)
		records[st.Digest] = r
	}
	return out, records, nil
}

// merger knows the schemas of the questionnaires that are published here.
func (s *Server) merger() syncer.Merger { return syncer.Merger{Answers: s.answersTo} }

// answersTo is the top message of a questionnaire by its full name, nil where it is not known.
func (s *Server) answersTo(name string) protoreflect.MessageDescriptor {
	if q, ok := s.known().Find(name); ok && q.Name() == name {
		return q.Descriptor()
	}
	return nil
}

// merge writes the merge of an interview's heads if nothing conflicts, and says whether it has.
func (a *author) merge(ctx context.Context, at place) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	versions, records, err := a.server.versions(ctx, at)
	if err != nil {
		return false, err
	}
	m, err := a.server.merger().Merge(versions, nil)
	if err != nil {
		if fault.ReasonOf(err) == fault.PayloadUnreadable {
			return false, nil // a person decides
		}
		return false, err
	}
	if len(m.Heads) < 2 || len(m.Conflicts) > 0 {
		return false, nil
	}
	r, err := a.revision(m.Heads, records, m.Message)
	if err != nil {
		return false, err
	}
	r.Author = proto.String(headquarters)
	// The same heads make the same bytes, whoever merges them with this key, and whenever.
	for _, h := range m.Heads {
		r.WallTimeMs = proto.Int64(max(r.GetWallTimeMs(), records[h].GetWallTimeMs()))
	}
	r.Id = mergeID(m.Heads, r.GetWallTimeMs())
	if _, err := a.seal(ctx, r); err != nil {
		return false, fmt.Errorf("write the merge of interview %s: %w", at.id, err)
	}
	return true, nil
}

// mergeID is a UUIDv7 made from the heads.
func mergeID(heads []syncer.Digest, ms int64) []byte {
	h := sha256.New()
	h.Write([]byte("hearth/merge/v1\x00"))
	for _, d := range heads {
		h.Write(d[:])
	}
	id := h.Sum(nil)[:16]
	copy(id, binary.BigEndian.AppendUint64(nil, uint64(ms)<<16)[:6])
	id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80
	return id
}

// revision is the envelope of a revision that replaces heads, which must be given by digest.
func (a *author) revision(heads []syncer.Digest, records map[syncer.Digest]*servicev1.Record, msg proto.Message) (*servicev1.Record, error) {
	iv, ok := msg.(*surveyv1.Interview)
	if !ok {
		return nil, errors.New("a merge of interviews is none")
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.PayloadUnreadable, "write the merge of interview %s: %w", iv.GetInterviewId(), err)
	}
	first := records[heads[0]]
	r := &servicev1.Record{
		Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: iv.InterviewId, Study: first.Study, Part: first.Part, Round: iv.Round, Payload: payload,
	}
	for _, h := range heads {
		r.Parents = append(r.Parents, bytes.Clone(h[:]))
	}
	if name := questionnaire.NameOf(iv); name != "" {
		r.Questionnaire, r.QuestionnaireVersion = proto.String(name), iv.QuestionnaireVersion
	}
	for _, h := range heads {
		if from := records[h]; from.GetQuestionnaire() == r.GetQuestionnaire() && from.GetQuestionnaireVersion() == r.GetQuestionnaireVersion() {
			r.SchemaFingerprint = from.SchemaFingerprint
			break
		}
	}
	for _, at := range iv.GetAttachments() {
		r.Blobs = append(r.Blobs, &servicev1.BlobRef{Sha256: at.GetSha256(), Size: proto.Int64(at.GetSize()), MediaType: proto.String(at.GetMediaType())})
	}
	return r, nil
}
