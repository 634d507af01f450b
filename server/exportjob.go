package server

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export"
	"github.com/hearth-survey/hearth/server/referral"
	"github.com/hearth-survey/hearth/syncer"
)

// exportJob is an export that is ready to be written.
type exportJob struct {
	source  *export.Source
	options export.Options
	state   *snapshot
}

func (j *exportJob) close() { j.state.close() }

// pseudonymKey is the key of a study's pseudonyms. It is made of the server's key, and so is the same for ever, also after a
// restore, and stands in no export.
func (s *Server) pseudonymKey(study string) []byte {
	mac := hmac.New(sha256.New, s.key.Seed())
	mac.Write([]byte("hearth/pseudonym-key/v1\x00" + study))
	return mac.Sum(nil)
}

// prepareExport checks a request and takes down the state that it asks for. Direct identifiers are not given out before it
// is kept who asked for them.
func (s *Server) prepareExport(ctx context.Context, req *servicev1.ExportRequest) (*exportJob, error) {
	profile := req.GetProfile()
	if profile == servicev1.PrivacyProfile_PRIVACY_PROFILE_UNSPECIFIED {
		profile = servicev1.PrivacyProfile_PRIVACY_PROFILE_RESEARCH
	}
	identified := profile == servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED
	if c, ok := ctx.Value(callKey{}).(*call); ok && c.exportsOnly && identified {
		return nil, fault.New(fault.Permission, fault.ExportsOnly, "this token is for exports without direct identifiers")
	}
	if identified && (strings.TrimSpace(req.GetReason()) == "" || strings.TrimSpace(req.GetRequestedBy()) == "") {
		return nil, fault.New(fault.Invalid, fault.ReasonMissing, "an export with direct identifiers needs a reason, and the name of who asks for it")
	}
	if identified && s.hub != nil { // who asked is kept in the log of headquarters
		return nil, fault.New(fault.Conflict, fault.AtHeadquarters, "this is a hub, and an export with direct identifiers is made at headquarters")
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	code, err := s.studyCode(ctx, req.GetStudy())
	if err != nil {
		return nil, err
	}
	order := heldOrder
	if !identified {
		key := s.pseudonymKey(code)
		order = func(sum *servicev1.InterviewSummary) [16]byte {
			id, _ := uuid.Parse(export.Pseudonym(key, export.ProfileName(profile), sum.GetInterviewId()))
			return id
		}
	}
	state, err := newSnapshot(keeps(req.GetFilter()), order)
	if err != nil {
		return nil, err
	}
	j := &exportJob{state: state, options: export.Options{
		Formats: req.GetFormats(), Profile: profile, Language: req.GetLanguage(), Program: s.version, Levels: req.GetFilter().GetLevels(),
		Clean: export.Clean{
			Include: req.GetInclude(), Duplicates: req.GetDuplicates(), Conflicts: req.GetConflicts(), LeftOut: req.GetLeftOut(), Weights: req.GetWeights(),
			Skipped: req.GetSkipped(),
		},
	}}
	if err := s.fillExport(ctx, req, code, j); err != nil {
		state.close()
		return nil, err
	}
	if identified {
		if err := s.auditExport(ctx, req, code, j.source.Cursor); err != nil {
			state.close()
			return nil, err
		}
	} else {
		j.options.Privacy = &export.Privacy{
			Key: s.pseudonymKey(code), FreeText: req.GetFreeText(), K: int(req.GetAnonymity().GetK()),
			Quasi: req.GetAnonymity().GetQuasiIdentifiers(), Suppress: req.GetAnonymity().GetSuppress(),
		}
	}
	return j, nil
}

// studyCode is the code of the study that is meant: that of a definition, or without one that of the interviews.
func (s *Server) studyCode(ctx context.Context, code string) (string, error) {
	st, err := s.perhapsStudy(ctx, code)
	if err == nil && st == nil {
		st, err = s.studyOfInterviews(ctx, code)
	}
	return st.GetStudy(), err
}

// heldOrder is the order in which interviews were held: by start, and then by id, of which the beginning is here.
func heldOrder(sum *servicev1.InterviewSummary) (out [16]byte) {
	binary.BigEndian.PutUint64(out[:], uint64(sum.GetStartTimeMs())^1<<63)
	copy(out[8:], sum.GetInterviewId())
	return out
}

// fillExport takes the state down and makes a source of it.
func (s *Server) fillExport(ctx context.Context, req *servicev1.ExportRequest, code string, j *exportJob) error {
	until, err := s.asOf(ctx, req)
	if err != nil {
		return err
	}
	projected, err := s.store.Projected(ctx)
	if err != nil {
		return fmt.Errorf("find how far the projections are: %w", err)
	}
	if until == nil || until.SameParts(projected.Parts) {
		err = s.snapshotNow(ctx, code, j.state)
	} else {
		err = s.snapshotAt(ctx, code, *until, j.state)
	}
	if err == nil {
		err = j.state.settle()
	}
	if err == nil {
		err = s.sourceOf(ctx, req, j)
	}
	return err
}

// asOf is the cursor that a request names; nil: now.
func (s *Server) asOf(ctx context.Context, req *servicev1.ExportRequest) (*syncer.Cursor, error) {
	if req.AsOfTimeMs != nil {
		c, err := s.cursorAt(ctx, req.GetAsOfTimeMs())
		return &c, err
	}
	if req.AsOf == nil {
		return nil, nil
	}
	c, err := syncer.ParseCursor(req.GetAsOf(), s.store.Epoch())
	if err != nil {
		return nil, err
	}
	head, err := s.store.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the end of the log: %w", err)
	}
	for part, n := range c.Parts {
		if n > head.Parts[part] {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "the cursor is ahead of this server's log: it names record %d of part %016x, which has %d", n, part, head.Parts[part])
		}
	}
	return &c, nil
}

// keeps says which interviews a filter keeps.
func keeps(f *servicev1.ExportFilter) func(*servicev1.InterviewSummary) bool {
	if f == nil {
		f = &servicev1.ExportFilter{}
	}
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return func(s *servicev1.InterviewSummary) bool {
		name := s.GetQuestionnaire()
		short := name[strings.LastIndexByte(name, '.')+1:]
		return in(f.GetSites(), s.GetSiteId()) && in(f.GetEnumerators(), s.GetEnumerator()) &&
			(in(f.GetQuestionnaires(), name) || slices.ContainsFunc(f.GetQuestionnaires(), func(q string) bool { return strings.EqualFold(q, short) })) &&
			(len(f.GetResults()) == 0 || slices.Contains(f.GetResults(), int32(s.GetResult()))) &&
			(len(f.GetRounds()) == 0 || slices.Contains(f.GetRounds(), s.GetRound())) &&
			(f.FromTimeMs == nil || s.GetStartTimeMs() >= f.GetFromTimeMs()) && (f.BeforeTimeMs == nil || s.GetStartTimeMs() < f.GetBeforeTimeMs())
	}
}

// narrows says whether a filter leaves interviews out.
func narrows(f *servicev1.ExportFilter) bool {
	return len(f.GetSites())+len(f.GetEnumerators())+len(f.GetQuestionnaires())+len(f.GetResults())+len(f.GetRounds()) > 0 || f.GetFromTimeMs()+f.GetBeforeTimeMs() != 0
}

// sourceOf is what an export reads of a state.
func (s *Server) sourceOf(ctx context.Context, req *servicev1.ExportRequest, j *exportJob) error {
	n := j.state
	coupons, err := s.couponsOf(ctx, n, j.options.Profile)
	if err != nil {
		return err
	}
	told, err := n.tell(ctx, coupons)
	if err != nil {
		return err
	}
	answered := n.answered(told.versions)
	published := publishedOf(answered)
	if err := checkLanguage(req.GetLanguage(), published); err != nil {
		return err
	}
	src := &export.Source{
		Study: n.study, Cursor: n.cursor.Proto(), Canonical: told.facts.canonical(), Referrals: told.kept, Coupons: coupons, Decisions: n.decisions,
		Graph: &servicev1.ReferralGraph{}, Published: published, Questionnaires: answered, Schemas: n.questionnairesOf(told.versions),
	}
	if len(told.again.more) > 0 {
		src.Revisited = told.again.may
	}
	if told.related() {
		f := told.facts.graph(n.study)
		src.Graph = referral.Build(f)
		referral.MarkStatuses(f, src.Graph)
	}
	if narrows(req.GetFilter()) {
		told.narrow(src)
	}
	src.EachPerson = func(yield func(*servicev1.PersonRecord, error) bool) {
		if err := n.each(false, func(p *servicev1.InterviewProjection) error {
			for _, r := range p.GetPeople() {
				if !yield(r, nil) {
					return errStop
				}
			}
			return nil
		}, fieldPeople); err != nil && err != errStop {
			yield(nil, err)
		}
	}
	log := &boundedLog{Log: s.store, until: n.cursor}
	src.Interviews = func(yield func(*export.Answered, error) bool) {
		err := n.each(false, func(p *servicev1.InterviewProjection) error {
			sum := p.GetSummary()
			a := &export.Answered{Summary: sum, Flags: p.GetFlags()}
			var err error
			if a.Interview, err = s.answers(ctx, sum); err == nil {
				a.Paradata, err = paradataOf(ctx, log, sum.GetPart(), sum.GetInterviewId())
			}
			if !yield(a, err) || err != nil {
				return errStop
			}
			return nil
		}, fieldSummary, fieldFlags)
		if err != nil && err != errStop {
			yield(nil, err)
		}
	}
	if n.since > 0 {
		src.Warnings = append(src.Warnings, fmt.Sprintf("%d interviews of this state were withdrawn since and are left out: an export made before had them", n.since))
	}
	j.source, j.options.Request = src, requestOf(req.GetFilter(), src.Cursor)
	return nil
}

// couponsOf are what happened to coupons by the state, coupon by coupon: in the order of the codes, which is that in which they
// were given out, or where nobody is to be known in that of pseudonyms.
func (s *Server) couponsOf(ctx context.Context, n *snapshot, profile servicev1.PrivacyProfile) ([]*servicev1.CouponEvent, error) {
	study := n.study.GetStudy()
	events, err := s.couponEvents(ctx, study, &n.cursor)
	if err != nil {
		return nil, err
	}
	key, places := s.pseudonymKey(study), map[string]string{}
	for _, ev := range events {
		place := ev.GetCode()
		if profile != servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED {
			place = export.Pseudonym(key, export.ProfileName(profile), place)
		}
		places[ev.GetCode()] = place
	}
	slices.SortStableFunc(events, func(a, b *servicev1.CouponEvent) int {
		return cmp.Or(strings.Compare(places[a.GetCode()], places[b.GetCode()]), cmp.Compare(a.GetTimeMs(), b.GetTimeMs()),
			cmp.Compare(a.GetKind(), b.GetKind()), strings.Compare(a.GetInterviewId(), b.GetInterviewId()))
	})
	return events, nil
}

// errStop ends a walk that nobody follows any more.
var errStop = fault.New(fault.Unavailable, "", "nobody reads on")

// requestOf is what the manifest says of a request.
func requestOf(f *servicev1.ExportFilter, c *servicev1.Cursor) *export.ManifestRequest {
	m := &export.ManifestRequest{
		AsOf: export.CursorText(c), Sites: f.GetSites(), Enumerators: f.GetEnumerators(), Rounds: f.GetRounds(), Questionnaires: f.GetQuestionnaires(), Levels: f.GetLevels(),
	}
	for _, r := range f.GetResults() {
		m.Results = append(m.Results, strings.ToLower(strings.TrimPrefix(surveyv1.ResultCode(r).String(), "RESULT_CODE_")))
	}
	at := func(ms *int64) string {
		if ms == nil {
			return ""
		}
		return time.UnixMilli(*ms).UTC().Format(time.RFC3339)
	}
	if f != nil {
		m.From, m.Before = at(f.FromTimeMs), at(f.BeforeTimeMs)
	}
	return m
}

// revisited knows by their hashes which households were interviewed more than once with a questionnaire in a round. While they
// are counted it takes eight bytes for each interview of a household.
type revisited struct {
	seed maphash.Seed
	all  []uint64
	more map[uint64]bool
}

func (v *revisited) hash(household, questionnaire string, round uint32) uint64 {
	return maphash.Comparable(v.seed, [3]string{household, questionnaire, strconv.FormatUint(uint64(round), 10)})
}

func (v *revisited) add(s *servicev1.InterviewSummary) {
	if id := s.GetHouseholdId(); id != "" {
		v.all = append(v.all, v.hash(id, s.GetQuestionnaire(), s.GetRound()))
	}
}

func (v *revisited) settle() {
	slices.Sort(v.all)
	v.more = map[uint64]bool{}
	for i := 1; i < len(v.all); i++ {
		if v.all[i] == v.all[i-1] {
			v.more[v.all[i]] = true
		}
	}
	v.all = nil
}

func (v *revisited) may(household, questionnaire string, round uint32) bool {
	return v.more[v.hash(household, questionnaire, round)]
}

// telling is what the interviews of a state say of one another.
type telling struct {
	facts      facts // of all interviews, as far as linkage and the referral graph need them
	kept       []*servicev1.ReferralRecord
	interviews map[string]bool // ids of the interviews that the filter keeps, where there are coupons
	people     map[string]bool // ids of people and households in the interviews that the filter keeps
	versions   map[string]map[uint32]int
	again      *revisited
}

// related says whether anybody was referred by anybody. A sample without referrals has no graph: its nodes would be all
// respondents, each alone.
func (t *telling) related() bool {
	return len(t.facts.referrals) > 0 || len(t.facts.coupons) > 0 || slices.ContainsFunc(t.facts.recruitments, func(r *servicev1.RecruitmentRecord) bool {
		return r.GetSeed() || len(r.GetCouponsGiven()) > 0
	})
}

// tell collects what concerns several interviews. Of people it keeps those whom linkage decided on and those who belong to
// the referral graph: in a large sample nearly all are neither.
func (n *snapshot) tell(ctx context.Context, coupons []*servicev1.CouponEvent) (*telling, error) {
	t := &telling{facts: facts{coupons: coupons, decisions: n.decisions}, interviews: map[string]bool{}, versions: map[string]map[uint32]int{}, again: &revisited{seed: maphash.MakeSeed()}}
	defer t.again.settle()
	wanted := map[string]bool{}
	for _, d := range n.decisions {
		wanted[d.GetAId()], wanted[d.GetBId()] = true, true
	}
	for _, s := range n.spots {
		p, err := n.read(s, fieldSummary, fieldReferrals, fieldRecruitment)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		sum := p.GetSummary()
		if s.kept {
			v := t.versions[sum.GetQuestionnaire()]
			if v == nil {
				v = map[uint32]int{}
				t.versions[sum.GetQuestionnaire()] = v
			}
			v[sum.GetQuestionnaireVersion()]++
			if len(coupons) > 0 {
				t.interviews[sum.GetInterviewId()] = true
			}
			t.again.add(sum)
			t.kept = append(t.kept, p.GetReferrals()...)
		}
		for _, r := range p.GetReferrals() {
			t.facts.referrals = append(t.facts.referrals, r)
			wanted[r.GetFromPersonId()], wanted[r.GetToPersonId()] = true, true
		}
		if r := p.GetRecruitment(); r != nil && (r.GetSeed() || len(r.GetCouponsGiven()) > 0) {
			t.facts.recruitments = append(t.facts.recruitments, r)
		}
	}
	if len(wanted) == 0 && !t.related() {
		return t, nil
	}
	return t, n.tellMore(t, wanted)
}

// tellMore collects the people, and all interviews where there is a graph.
func (n *snapshot) tellMore(t *telling, wanted map[string]bool) error {
	related := t.related()
	t.facts.recruitments, t.people = nil, map[string]bool{}
	for _, s := range n.spots {
		p, err := n.read(s, fieldSummary, fieldPeople, fieldHouseholds, fieldRecruitment)
		if err != nil {
			return err
		}
		for _, h := range p.GetHouseholds() {
			if wanted[h.GetHouseholdId()] {
				t.facts.households = append(t.facts.households, h)
			}
			if s.kept {
				t.people[h.GetHouseholdId()] = true
			}
		}
		for _, r := range p.GetPeople() {
			if wanted[r.GetPersonId()] || related && (r.LineNumber == nil || r.GetInterviewed()) {
				t.facts.people = append(t.facts.people, r)
			}
			if s.kept {
				t.people[r.GetPersonId()] = true
			}
		}
		if related {
			t.facts.interviews = append(t.facts.interviews, p.GetSummary())
			if r := p.GetRecruitment(); r != nil {
				t.facts.recruitments = append(t.facts.recruitments, r)
			}
		}
	}
	return nil
}

// narrow leaves in the graph what the interviews that are kept speak of.
func (t *telling) narrow(src *export.Source) {
	referrals, ends := map[string]bool{}, map[string]bool{}
	for _, r := range t.kept {
		referrals[r.GetReferralId()] = true
	}
	g := &servicev1.ReferralGraph{}
	for _, e := range src.Graph.GetEdges() {
		if referrals[e.GetReferralId()] {
			g.Edges = append(g.Edges, e)
			ends[e.GetFromId()], ends[e.GetToId()] = true, true
		}
	}
	for _, node := range src.Graph.GetNodes() {
		if ends[node.GetPersonId()] || t.people[node.GetPersonId()] || slices.ContainsFunc(node.GetMergedIds(), func(id string) bool { return t.people[id] }) {
			g.Nodes = append(g.Nodes, node)
		}
	}
	src.Graph = g
	codes := map[string]bool{}
	for _, ev := range src.Coupons {
		codes[ev.GetCode()] = codes[ev.GetCode()] || t.interviews[ev.GetInterviewId()]
	}
	src.Coupons = slices.DeleteFunc(slices.Clone(src.Coupons), func(ev *servicev1.CouponEvent) bool { return !codes[ev.GetCode()] })
	src.Decisions = slices.DeleteFunc(slices.Clone(src.Decisions), func(d *servicev1.LinkDecision) bool { return !t.people[d.GetAId()] && !t.people[d.GetBId()] })
}
