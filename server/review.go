package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// maxChoices is how many fields one decision may name.
const maxChoices = 10_000

type reviewService struct {
	servicev1.UnimplementedReviewServiceServer
	*Server
}

// find returns the interview with this id, or this key if only one has it.
func (s *Server) find(ctx context.Context, named string) (*servicev1.InterviewSummary, error) {
	if named == "" {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "no interview is named")
	}
	iv, err := s.store.Interview(ctx, named)
	if err == nil {
		return iv.GetSummary(), nil
	}
	if fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	var found *servicev1.InterviewSummary
	if len(named) != 36 { // a UUID is nobody's key
		for iv, err := range s.store.Interviews(ctx, store.Filter{}) {
			if err != nil {
				return nil, fmt.Errorf("look for interview %.64q: %w", named, err)
			}
			if iv.GetSummary().GetInterviewKey() != named {
				continue
			}
			if found != nil {
				return nil, fault.New(fault.Invalid, fault.NoSuchInterview, "several interviews have the key %.64q: name one by its id", named)
			}
			found = iv.GetSummary()
		}
	}
	if found == nil {
		return nil, fault.New(fault.NotFound, fault.NoSuchInterview, "there is no interview %.64q", named)
	}
	return found, nil
}

// ListConflicts lists the interviews with several current revisions, newest first, each with the fields in which they
// differ. An interview whose revisions cannot all be read is listed without fields.
func (s *reviewService) ListConflicts(ctx context.Context, req *servicev1.ListConflictsRequest) (*servicev1.ListConflictsResponse, error) {
	const method = servicev1.ReviewService_ListConflicts_FullMethodName
	after, err := pagePlace(method, req, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	resp := &servicev1.ListConflictsResponse{}
	if req.GetInterviewId() != "" {
		sum, err := s.find(ctx, req.GetInterviewId())
		if err != nil {
			return nil, err
		}
		if len(sum.GetHeads()) > 1 {
			c, err := s.conflict(ctx, sum)
			if err != nil {
				return nil, err
			}
			resp.Conflicts = append(resp.Conflicts, c)
		}
		return resp, nil
	}
	size := pageSize(req.GetPageSize())
	var last *servicev1.InterviewSummary
	for iv, err := range s.store.Interviews(ctx, store.Filter{ConflictsOnly: true, Newest: true, After: after, Limit: size + 1}) {
		if err != nil {
			return nil, err
		}
		if len(resp.Conflicts) == size {
			resp.NextPageToken = placeToken(method, req, last)
			break
		}
		last = iv.GetSummary()
		c, err := s.conflict(ctx, last)
		if err != nil {
			return nil, err
		}
		resp.Conflicts = append(resp.Conflicts, c)
	}
	return resp, nil
}

// conflict tells in what the heads of an interview differ.
func (s *Server) conflict(ctx context.Context, sum *servicev1.InterviewSummary) (*servicev1.InterviewConflict, error) {
	c := &servicev1.InterviewConflict{InterviewId: sum.InterviewId, InterviewKey: sum.InterviewKey}
	versions, _, err := s.versions(ctx, place{sum.GetPart(), sum.GetInterviewId()})
	if err != nil {
		return nil, err
	}
	m, err := s.merger().Merge(versions, nil)
	if fault.ReasonOf(err) == fault.PayloadUnreadable {
		c.Heads = sum.GetHeads()
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	for _, h := range m.Heads {
		c.Heads = append(c.Heads, bytes.Clone(h[:]))
	}
	c.Fields = m.Conflicts
	return c, nil
}

// ResolveConflict records what a person decided, as a revision that replaces all current ones.
func (s *reviewService) ResolveConflict(ctx context.Context, req *servicev1.ResolveConflictRequest) (*servicev1.ResolveConflictResponse, error) {
	if err := checkDecision(req.GetDecidedBy(), req.GetReason()); err != nil {
		return nil, err
	}
	if len(req.GetChoices()) > maxChoices || len(req.GetTakeAll()) > 0 && len(req.GetChoices()) > 0 {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "a decision takes everything from one revision, or names at most %d fields", maxChoices)
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	sum, err := s.find(ctx, req.GetInterviewId())
	if err != nil {
		return nil, err
	}
	digest, err := s.author.resolve(ctx, place{sum.GetPart(), sum.GetInterviewId()}, req)
	if err != nil {
		return nil, err
	}
	return &servicev1.ResolveConflictResponse{Revision: digest[:]}, s.Project(ctx)
}

// checkDecision looks at who decides and why.
func checkDecision(by, reason string) error {
	if len(reason) > maxReason || !shortText(by) {
		return fault.New(fault.Invalid, fault.BadRequest, "the reason has more than %d bytes, or the name of who decided more than %d", maxReason, maxNameBytes)
	}
	return nil
}

// resolve writes a person's decision about the heads of an interview, if they are those that were looked at.
func (a *author) resolve(ctx context.Context, at place, req *servicev1.ResolveConflictRequest) (syncer.Digest, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var none syncer.Digest
	versions, records, err := a.server.versions(ctx, at)
	if err != nil {
		return none, err
	}
	graph := make([]syncer.Revision, len(versions))
	for i, v := range versions {
		graph[i] = v.Revision
	}
	heads := syncer.Heads(graph)
	slices.SortFunc(heads, func(a, b syncer.Digest) int { return bytes.Compare(a[:], b[:]) })
	if err := sameHeads(heads, req.GetHeads()); err != nil {
		return none, err
	}
	var msg proto.Message
	if len(req.GetTakeAll()) > 0 {
		i := slices.IndexFunc(versions, func(v syncer.Version) bool {
			return bytes.Equal(v.Digest[:], req.GetTakeAll()) && slices.Contains(heads, v.Digest)
		})
		if i < 0 || versions[i].Message == nil {
			return none, fault.New(fault.Invalid, fault.BadRequest, "revision %x is not one of the current ones, or cannot be read", req.GetTakeAll())
		}
		msg = versions[i].Message
	} else if msg, err = choose(a.server.merger(), versions, req.GetChoices()); err != nil {
		return none, err
	}
	r, err := a.revision(heads, records, msg)
	if err != nil {
		return none, err
	}
	r.Author, r.WallTimeMs = proto.String(cmp.Or(req.GetDecidedBy(), headquarters)), proto.Int64(a.server.nowMS())
	if req.GetReason() != "" {
		r.Reason = proto.String(req.GetReason())
	}
	return a.seal(ctx, r)
}

// sameHeads fails unless there is a conflict and its heads are those named.
func sameHeads(heads []syncer.Digest, named [][]byte) error {
	if len(heads) < 2 {
		return fault.New(fault.Conflict, fault.NoConflict, "the interview has one current revision; there is nothing to decide")
	}
	seen := map[string]bool{}
	for _, h := range named {
		seen[string(h)] = true
	}
	for _, h := range heads {
		if !seen[string(h[:])] {
			return fault.New(fault.Conflict, fault.ConflictChanged, "revision %v has arrived since the conflict was looked at", h)
		}
	}
	if len(seen) != len(heads) {
		return fault.New(fault.Conflict, fault.ConflictChanged, "%d revisions were looked at, %d are current", len(seen), len(heads))
	}
	return nil
}

// choose merges revisions with a choice for every conflict.
func choose(with syncer.Merger, versions []syncer.Version, choices []*servicev1.FieldChoice) (proto.Message, error) {
	chosen := make(map[string]syncer.Digest, len(choices))
	for _, c := range choices {
		d, err := syncer.ParseDigest(c.GetRevision())
		if _, twice := chosen[c.GetPath()]; err != nil || twice {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "the choice for %.200q names no revision, or stands twice", c.GetPath())
		}
		chosen[c.GetPath()] = d
	}
	m, err := with.Merge(versions, chosen)
	switch {
	case err != nil:
		return nil, err
	case len(m.Unused) > 0:
		return nil, fault.New(fault.Invalid, fault.NoConflict, "%.200q is not in conflict, or the revision chosen is not among those that differ there", m.Unused[0])
	case len(m.Conflicts) > 0:
		var paths []string
		for _, c := range m.Conflicts {
			paths = append(paths, c.GetPath())
		}
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%d fields are not decided: %.2000s", len(paths), strings.Join(paths, ", "))
	}
	return m.Message, nil
}

// WithdrawInterview takes an interview out of everything derived, for ever. Withdrawing it again changes nothing.
func (s *reviewService) WithdrawInterview(ctx context.Context, req *servicev1.WithdrawInterviewRequest) (*servicev1.WithdrawInterviewResponse, error) {
	if err := checkDecision(req.GetDecidedBy(), req.GetReason()); err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	id := req.GetInterviewId()
	var digest syncer.Digest
	for n := 0; ; n++ { // tablets that know different sites have put it into different parts
		sum, err := s.find(ctx, id)
		if err != nil && (fault.KindOf(err) != fault.NotFound || len(s.gone.in(id)) == 0) {
			return nil, err
		}
		if err != nil {
			break
		}
		id = sum.GetInterviewId()
		stone := &servicev1.Tombstone{
			InterviewId: sum.InterviewId, DecidedBy: proto.String(cmp.Or(req.GetDecidedBy(), headquarters)), Reason: proto.String(req.GetReason()), TimeMs: proto.Int64(s.nowMS()),
		}
		if digest, err = s.author.put(ctx, draft{
			kind: servicev1.RecordKind_RECORD_KIND_TOMBSTONE, subject: id, study: sum.GetStudy(), part: sum.GetPart(), author: stone.GetDecidedBy(), payload: stone,
		}); err != nil {
			return nil, err
		}
		if err := s.Project(ctx); err != nil {
			return nil, err
		}
	}
	if digest == (syncer.Digest{}) {
		var err error
		if digest, err = s.stone(ctx, place{s.gone.in(id)[0], id}); err != nil {
			return nil, err
		}
	}
	return &servicev1.WithdrawInterviewResponse{Revision: digest[:]}, nil
}

// EraseInterview destroys the answers of a withdrawn interview in all its revisions. What is to go is written down
// first, so that an erasure that was cut short is known and can be called again.
func (s *reviewService) EraseInterview(ctx context.Context, req *servicev1.EraseInterviewRequest) (*servicev1.EraseInterviewResponse, error) {
	if err := checkDecision(req.GetDecidedBy(), req.GetReason()); err != nil {
		return nil, err
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	id := req.GetInterviewId()
	parts := s.gone.in(id)
	if len(parts) == 0 {
		sum, err := s.find(ctx, id)
		if err != nil {
			return nil, err
		}
		return nil, fault.New(fault.Conflict, fault.NotWithdrawn, "interview %s is not withdrawn", sum.GetInterviewId())
	}
	var n uint32
	for _, part := range parts {
		refs, err := s.blobsOnlyOf(ctx, place{part, id})
		if err != nil {
			return nil, err
		}
		if err := s.writeErasure(ctx, place{part, id}, refs, req); err != nil {
			return nil, err
		}
		if err := s.removeBlobs(refs); err != nil {
			return nil, err
		}
		done, err := s.store.Erase(ctx, part, id)
		if err != nil {
			return nil, err
		}
		n += uint32(len(done.Digests) + done.Quarantined)
	}
	return &servicev1.EraseInterviewResponse{Revisions: proto.Uint32(n)}, s.Project(ctx)
}

// writeErasure records which revisions and attachments are to be destroyed, unless that is recorded already.
func (s *Server) writeErasure(ctx context.Context, at place, refs []*servicev1.BlobRef, req *servicev1.EraseInterviewRequest) error {
	revs, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_INTERVIEW, at.id)
	if err != nil {
		return fmt.Errorf("read the revisions of interview %s: %w", at.id, err)
	}
	said, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_REVIEW, at.id)
	if err != nil {
		return fmt.Errorf("read what was said of interview %s: %w", at.id, err)
	}
	trails, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_PARADATA, at.id)
	if err != nil {
		return fmt.Errorf("read the paradata of interview %s: %w", at.id, err)
	}
	revs = append(append(revs, said...), trails...)
	before, err := s.store.Revisions(ctx, at.part, servicev1.RecordKind_RECORD_KIND_ERASURE, at.id)
	if err != nil {
		return fmt.Errorf("read the erasures of interview %s: %w", at.id, err)
	}
	known := map[string]bool{}
	for _, st := range before {
		stone := &servicev1.Tombstone{}
		if r, err := syncer.Open(st.Raw); err == nil && proto.Unmarshal(r.GetPayload(), stone) == nil {
			for _, d := range stone.GetErased() {
				known[string(d)] = true
			}
			for _, ref := range r.GetBlobs() {
				known[string(ref.GetSha256())] = true
			}
		}
	}
	stone := &servicev1.Tombstone{
		InterviewId: proto.String(at.id), DecidedBy: proto.String(cmp.Or(req.GetDecidedBy(), headquarters)), Reason: proto.String(req.GetReason()), TimeMs: proto.Int64(s.nowMS()),
	}
	study := ""
	for _, st := range revs {
		if r, err := syncer.Open(st.Raw); err == nil {
			study = r.GetStudy()
		}
		if !known[string(st.Digest[:])] {
			stone.Erased = append(stone.Erased, bytes.Clone(st.Digest[:]))
		}
	}
	fresh := slices.ContainsFunc(refs, func(ref *servicev1.BlobRef) bool { return !known[string(ref.GetSha256())] })
	if len(stone.GetErased()) == 0 && !fresh || study == "" {
		return nil
	}
	return s.author.write(ctx, draft{
		kind: servicev1.RecordKind_RECORD_KIND_ERASURE, subject: at.id, study: study, part: at.part, author: stone.GetDecidedBy(), payload: stone, blobs: refs,
	})
}
