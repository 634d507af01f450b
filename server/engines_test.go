package server

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func guiyang() *surveyv1.Study {
	return &surveyv1.Study{
		Study: proto.String("guiyang"), TitleEn: proto.String("Guiyang"), TitleZh: proto.String("贵阳"),
		Sites:   []*surveyv1.Site{{SiteId: proto.String("school-c"), Name: proto.String("School C")}},
		Rounds:  []*surveyv1.Round{{Round: proto.Uint32(1)}},
		Targets: []*surveyv1.Target{{Interviews: proto.Int64(40)}},
	}
}

// A study goes in at headquarters, comes down to every tablet once, and its counts have targets.
func TestStudyTravelsDown(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, studies, sync := with(t.Context()), servicev1.NewStudyServiceClient(d.conn), servicev1.NewSyncServiceClient(d.conn)
		_, err := studies.GetStudy(ctx, &servicev1.GetStudyRequest{})
		wants(t, err, codes.NotFound, fault.UnknownStudy)
		for range 2 { // the same definition again writes nothing
			if _, err := studies.PutStudy(ctx, &servicev1.PutStudyRequest{Study: guiyang()}); err != nil {
				t.Fatal(err)
			}
		}
		pull := func(c *servicev1.Cursor) *servicev1.PullResponse {
			resp, err := sync.Pull(ctx, &servicev1.PullRequest{Device: newTablet("x").lane.Device[:], Cursor: c})
			if err != nil {
				t.Fatal(err)
			}
			return resp
		}
		first := pull(nil)
		if len(first.GetEntries()) != 1 {
			t.Fatalf("pulled %d records, want 1", len(first.GetEntries()))
		}
		rec, err := syncer.Open(first.GetEntries()[0].GetRecord())
		if err != nil || rec.GetKind() != servicev1.RecordKind_RECORD_KIND_STUDY || syncer.DigestOf(first.GetEntries()[0].GetRecord()) != syncer.Digest(first.GetEntries()[0].GetDigest()) {
			t.Errorf("pulled %v, %v", rec, err)
		}
		if again := pull(first.GetCursor()); len(again.GetEntries()) != 0 || again.GetMore() {
			t.Errorf("pulled again: %v", again)
		}
		changed := guiyang()
		changed.Note = proto.String("second revision")
		if _, err := studies.PutStudy(ctx, &servicev1.PutStudyRequest{Study: changed}); err != nil {
			t.Fatal(err)
		}
		if next := pull(first.GetCursor()); len(next.GetEntries()) != 1 {
			t.Errorf("pulled %d records after a revision, want 1", len(next.GetEntries()))
		}
		got, err := studies.GetStudy(ctx, &servicev1.GetStudyRequest{Study: proto.String("guiyang")})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(changed, got.GetStudy(), protocmp.Transform()); diff != "" {
			t.Errorf("study (-want +got):\n%s", diff)
		}
		_, err = sync.Pull(ctx, &servicev1.PullRequest{Device: make([]byte, 16), Cursor: &servicev1.Cursor{ServerEpoch: make([]byte, 16)}})
		wants(t, err, codes.OutOfRange, fault.CursorStale)
		counts, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(ctx, &servicev1.CountInterviewsRequest{})
		if err != nil || counts.GetTotal().GetTarget() != 40 {
			t.Errorf("counts = %v, %v; want a target of 40", counts, err)
		}
	})
}

// Several studies come down page by page, each record once.
func TestPullPages(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx := with(t.Context())
		const studies = 5
		for i := range studies {
			st := guiyang()
			st.Study = proto.String(fmt.Sprintf("study-%d", i))
			if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: st}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := servicev1.NewStudyServiceClient(d.conn).GetStudy(ctx, &servicev1.GetStudyRequest{})
		wants(t, err, codes.InvalidArgument, fault.BadRequest)
		seen := map[string]bool{}
		var cursor *servicev1.Cursor
		for pages := 1; ; pages++ {
			resp, err := servicev1.NewSyncServiceClient(d.conn).Pull(ctx, &servicev1.PullRequest{Device: make([]byte, 16), PageSize: proto.Uint32(2), Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range resp.GetEntries() {
				if digest := syncer.DigestOf(e.GetRecord()); !bytes.Equal(digest[:], e.GetDigest()) || seen[digest.String()] {
					t.Errorf("record %v came twice or has another digest", digest)
				} else {
					seen[digest.String()] = true
				}
			}
			cursor = resp.GetCursor()
			if !resp.GetMore() {
				if pages != 3 {
					t.Errorf("%d pages, want 3", pages)
				}
				break
			}
		}
		if len(seen) != studies {
			t.Errorf("pulled %d records, want %d", len(seen), studies)
		}
	})
}

func TestBadStudies(t *testing.T) {
	d := newDesk(t, newMemory())
	tests := []struct {
		name  string
		spoil func(*surveyv1.Study)
	}{
		{"no code", func(s *surveyv1.Study) { s.Study = nil }},
		{"a code with capitals", func(s *surveyv1.Study) { s.Study = proto.String("Guiyang 2016") }},
		{"a site twice", func(s *surveyv1.Study) { s.Sites = append(s.Sites, s.Sites[0]) }},
		{"an enumerator without code", func(s *surveyv1.Study) { s.Enumerators = []*surveyv1.Enumerator{{}} }},
		{"a round twice", func(s *surveyv1.Study) { s.Rounds = append(s.Rounds, s.Rounds[0]) }},
		{"a target at no site", func(s *surveyv1.Study) { s.Targets[0].SiteId = proto.String("nowhere") }},
		{"a target without number", func(s *surveyv1.Study) { s.Targets[0].Interviews = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := guiyang()
			tt.spoil(st)
			_, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(with(t.Context()), &servicev1.PutStudyRequest{Study: st})
			wants(t, err, codes.InvalidArgument, fault.BadStudy)
		})
	}
	_, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(with(t.Context()), &servicev1.PutStudyRequest{})
	wants(t, err, codes.InvalidArgument, fault.BadStudy)
}

func TestCodebook(t *testing.T) {
	d := newDesk(t, newMemory())
	client := servicev1.NewStudyServiceClient(d.conn)
	list, err := client.ListQuestionnaires(with(t.Context()), &servicev1.ListQuestionnairesRequest{})
	if err != nil || len(list.GetQuestionnaires()) < 3 {
		t.Fatalf("questionnaires = %v, %v", list, err)
	}
	for _, q := range list.GetQuestionnaires() {
		if len(q.GetFingerprint()) != 8 || q.GetTitleEn() == "" || q.GetTitleZh() == "" || q.GetQuestions() == 0 {
			t.Errorf("questionnaire %v is not complete", q)
		}
		if _, err := client.GetCodebook(with(t.Context()), &servicev1.GetCodebookRequest{Questionnaire: q.Questionnaire}); err != nil {
			t.Errorf("codebook of %s: %v", q.GetQuestionnaire(), err)
		}
	}
	_, err = client.GetCodebook(with(t.Context()), &servicev1.GetCodebookRequest{Questionnaire: proto.String("livestock")})
	wants(t, err, codes.NotFound, fault.UnknownQuestionnaire)
}

// twice makes two interviews of one person by two enumerators under different ids.
func twice(n int) (a, b *surveyv1.Interview) {
	a, b = household(n), household(n)
	for _, iv := range []*surveyv1.Interview{a, b} {
		id := &surveyv1.Identity{FullName: proto.String("欧阳建国"), Phone: proto.String("13985012345")}
		iv.Respondent.Identity = id
		iv.GetHousehold().Members[0].Identity = id
	}
	b.InterviewKey, b.Enumerator = proto.String("GY-900"), proto.String("E2")
	return a, b
}

// The same person under two ids is found, explained, merged and unmerged; counts of people follow, records stay.
func TestLinkage(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx, link := with(t.Context()), servicev1.NewLinkageServiceClient(d.conn)
		tb := newTablet("linkage")
		tb.greet(t, d)
		a, b := twice(7)
		raws := [][]byte{tb.record(t, a, nil), tb.record(t, b, nil)}
		for i := range 30 {
			raws = append(raws, tb.record(t, household(100+i), nil))
		}
		tb.push(t, d, raws...)
		run, err := link.RunLinkage(ctx, &servicev1.RunLinkageRequest{})
		if err != nil || run.GetPeople() != 64 || run.GetHouseholds() != 32 || len(run.GetPairs()) == 0 {
			t.Fatalf("run = %d people, %d households, %d pairs, %v", run.GetPeople(), run.GetHouseholds(), len(run.GetPairs()), err)
		}
		idA, idB := a.GetRespondent().GetPersonId(), b.GetRespondent().GetPersonId()
		byKey, err := link.ExplainPair(ctx, &servicev1.ExplainPairRequest{AId: a.InterviewKey, BId: b.InterviewKey})
		if err != nil || byKey.GetText() == "" || len(byKey.GetA()) != 1 || byKey.GetA()[0].GetPersonId() != byKey.GetPair().GetAId() {
			t.Fatalf("explained by key: %v, %v", byKey, err)
		}
		decide := func(dec *servicev1.LinkDecision) *servicev1.LinkDecision {
			t.Helper()
			resp, err := link.Decide(ctx, &servicev1.DecideRequest{Decision: dec})
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetDecision()
		}
		made := decide(&servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), AId: a.InterviewKey, BId: proto.String(idB), Reason: proto.String("same phone")})
		if made.GetAId() != idA || made.GetStudy() != "guiyang" || made.GetTimeMs() == 0 || made.GetDecisionId() == "" {
			t.Errorf("decision = %v", made)
		}
		if again := decide(made); !proto.Equal(again, made) {
			t.Errorf("the same decision again = %v, want %v", again, made)
		}
		pairs, err := link.ListPairs(ctx, &servicev1.ListPairsRequest{Subject: servicev1.LinkSubject_LINK_SUBJECT_PERSON.Enum()})
		if err != nil {
			t.Fatal(err)
		}
		decided := 0
		for _, p := range pairs.GetPairs() {
			if p.GetDecisionId() == made.GetDecisionId() {
				decided++
			}
		}
		if decided != 1 {
			t.Errorf("%d pairs show the decision, want 1", decided)
		}
		undone := decide(&servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_UNDO.Enum(), Undoes: made.DecisionId})
		if undone.GetAId() != idA || undone.GetTimeMs() <= made.GetTimeMs() {
			t.Errorf("undo = %v", undone)
		}
		list, err := link.ListDecisions(ctx, &servicev1.ListDecisionsRequest{})
		if err != nil || len(list.GetDecisions()) != 2 || list.GetDecisions()[0].GetDecisionId() != made.GetDecisionId() {
			t.Errorf("decisions = %v, %v", list, err)
		}
		tests := []struct {
			name   string
			dec    *servicev1.LinkDecision
			code   codes.Code
			reason fault.Reason
		}{
			{"nothing", nil, codes.InvalidArgument, fault.BadDecision},
			{"no kind", &servicev1.LinkDecision{AId: &idA, BId: &idB}, codes.InvalidArgument, fault.BadDecision},
			{"one person", &servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), AId: &idA, BId: &idA}, codes.InvalidArgument, fault.BadDecision},
			{"one person by id and key", &servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), AId: &idA, BId: a.InterviewKey}, codes.InvalidArgument, fault.BadDecision},
			{"nobody", &servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), AId: &idA, BId: proto.String(uuid.NewString())}, codes.NotFound, fault.NoSuchPerson},
			{"a person as household", &servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), Subject: servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD.Enum(), AId: &idA, BId: &idB}, codes.NotFound, fault.NoSuchPerson},
			{"undo of nothing", &servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_UNDO.Enum()}, codes.NotFound, fault.NoSuchDecision},
			{"id that is none", &servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), AId: &idA, BId: &idB, DecisionId: proto.String("7")}, codes.InvalidArgument, fault.BadDecision},
			{"id of another", &servicev1.LinkDecision{Kind: servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK.Enum(), AId: &idA, BId: &idB, DecisionId: made.DecisionId}, codes.AlreadyExists, fault.BadDecision},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, err := link.Decide(ctx, &servicev1.DecideRequest{Decision: tt.dec})
				wants(t, err, tt.code, tt.reason)
			})
		}
		h := decide(&servicev1.LinkDecision{
			Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), Subject: servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD.Enum(),
			AId: a.GetHousehold().HouseholdId, BId: b.GetHousehold().HouseholdId,
		})
		if h.GetStudy() != "guiyang" {
			t.Errorf("decision about households = %v", h)
		}
	})
}

// A recruiter and two recruits become a chain of three, in every format.
func TestReferralGraph(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("referral")
		tb.greet(t, d)
		seed, one, two := household(1), household(2), household(3)
		refer(one, seed.GetRespondent())
		refer(two, one.GetRespondent())
		tb.push(t, d, tb.record(t, two, nil), tb.record(t, one, nil), tb.record(t, seed, nil))
		client, ctx := servicev1.NewReferralServiceClient(d.conn), with(t.Context())
		stats, err := client.GetReferralStats(ctx, &servicev1.GetReferralStatsRequest{})
		if err != nil || stats.GetStats().GetMaxWave() != 2 || stats.GetStats().GetSeeds() != 1 {
			t.Errorf("stats = %v, %v; want one seed and two waves", stats, err)
		}
		for f, begin := range map[servicev1.GraphFormat]string{
			servicev1.GraphFormat_GRAPH_FORMAT_GRAPHML: "<?xml", servicev1.GraphFormat_GRAPH_FORMAT_SVG: "<", servicev1.GraphFormat_GRAPH_FORMAT_EDGE_CSV: "",
		} {
			got, err := client.GetReferralGraph(ctx, &servicev1.GetReferralGraphRequest{Format: f.Enum()})
			if err != nil || !strings.HasPrefix(string(got.GetContent()), begin) || got.GetMediaType() == "" || len(got.GetContent()) < 50 {
				t.Errorf("%v = %v, %v", f, got, err)
			}
			if strings.Contains(string(got.GetContent()), canary) {
				t.Errorf("%v holds a name that nobody asked for", f)
			}
		}
		named, err := client.GetReferralGraph(ctx, &servicev1.GetReferralGraphRequest{Format: servicev1.GraphFormat_GRAPH_FORMAT_GRAPHML.Enum(), WithNames: proto.Bool(true)})
		if err != nil || !strings.Contains(string(named.GetContent()), canary) {
			t.Errorf("the graph with names has none: %v", err)
		}
		_, err = client.GetReferralGraph(ctx, &servicev1.GetReferralGraphRequest{})
		wants(t, err, codes.InvalidArgument, fault.BadRequest)
	})
}

func refer(iv *surveyv1.Interview, by *surveyv1.Person) {
	iv.Recruitment = &surveyv1.Recruitment{
		Mode:      surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED.Enum(),
		Referrals: []*surveyv1.Referral{{ReferralId: proto.String(uuid.NewString()), FromPerson: by, Mode: surveyv1.ReferralMode_REFERRAL_MODE_NAMED.Enum()}},
	}
}

// exported takes an export and puts its files together; it fails if the pieces of a file do not follow each other.
func exported(t *testing.T, d *desk, req *servicev1.ExportRequest) (map[string][]byte, *servicev1.Cursor) {
	t.Helper()
	stream, err := servicev1.NewExportServiceClient(d.conn).Export(with(t.Context()), req)
	if err != nil {
		t.Fatal(err)
	}
	files, last := map[string][]byte{}, ""
	var cursor *servicev1.Cursor
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return files, cursor
		}
		if err != nil {
			t.Fatal(err)
		}
		if piece.GetCursor() != nil {
			cursor = piece.GetCursor()
			continue
		}
		if _, begun := files[piece.GetPath()]; begun && last != piece.GetPath() {
			t.Errorf("pieces of %s do not follow each other", piece.GetPath())
		}
		if len(piece.GetContent()) > exportPiece {
			t.Errorf("a piece of %s has %d bytes", piece.GetPath(), len(piece.GetContent()))
		}
		last = piece.GetPath()
		files[last] = append(files[last], piece.GetContent()...)
	}
}

func TestExport(t *testing.T) {
	eachStoreOrOne(t, func(t *testing.T, d *desk) {
		tb := newTablet("export")
		tb.greet(t, d)
		var raws [][]byte
		for i := range 12 {
			raws = append(raws, tb.record(t, household(i), nil))
		}
		tb.push(t, d, raws...)
		req := &servicev1.ExportRequest{Study: proto.String("guiyang")}
		files, cursor := exported(t, d, req)
		if cursor == nil || len(files["manifest.json"]) == 0 {
			t.Fatalf("export has %d files, cursor %v", len(files), cursor)
		}
		rows := 0
		for path, content := range files {
			if path != "csv/household.csv" {
				continue
			}
			all, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			rows = len(all) - 1
		}
		if rows != 12 {
			t.Errorf("household.csv has %d rows, want 12", rows)
		}
		for path, content := range files {
			if bytes.Contains(content, []byte(canary)) {
				t.Errorf("%s of the research profile holds a name", path)
			}
		}
		again, _ := exported(t, d, req)
		for path, content := range files {
			if !bytes.Equal(content, again[path]) {
				t.Errorf("%s differs the second time", path)
			}
		}
	})
	d := newDesk(t, newMemory())
	stream, err := servicev1.NewExportServiceClient(d.conn).Export(with(t.Context()), &servicev1.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wants(t, err, codes.NotFound, fault.UnknownStudy)
}

// Revisions replace each other; two of one parent are a conflict that shows the same head whatever came first; and the
// projections made again from the log are the same.
func TestRevisionsAndRebuild(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx := with(t.Context())
		tb, other := newTablet("revisions"), newTablet("other")
		tb.greet(t, d)
		other.greet(t, d)
		iv := household(1)
		iv.Status, iv.Result = surveyv1.InterviewStatus_INTERVIEW_STATUS_IN_PROGRESS.Enum(), nil
		first := tb.record(t, iv, nil)
		parent := syncer.DigestOf(first)
		tb.push(t, d, first)
		list := func(conflicts bool) []*servicev1.InterviewSummary {
			t.Helper()
			resp, err := servicev1.NewMonitorServiceClient(d.conn).ListInterviews(ctx, &servicev1.ListInterviewsRequest{ConflictsOnly: proto.Bool(conflicts)})
			if err != nil {
				t.Fatal(err)
			}
			return resp.GetInterviews()
		}
		if got := list(false); len(got) != 1 || got[0].GetReviewState() != servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS {
			t.Fatalf("interviews = %v", got)
		}
		revise := func(r *servicev1.Record) { r.Parents = [][]byte{parent[:]} }
		done := proto.CloneOf(iv)
		done.Status, done.Result = surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(), surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum()
		tb.push(t, d, tb.record(t, done, revise))
		if got := list(false); len(got) != 1 || got[0].GetRevisions() != 2 || len(got[0].GetHeads()) != 1 || got[0].GetReviewState() != servicev1.ReviewState_REVIEW_STATE_COMPLETED {
			t.Errorf("after a revision: %v", got)
		}
		branch := proto.CloneOf(iv)
		branch.Remarks, branch.Result = proto.String("changed on another tablet"), surveyv1.ResultCode_RESULT_CODE_PARTIAL.Enum()
		other.push(t, d, other.record(t, branch, revise))
		got := list(true)
		if len(got) != 1 || got[0].GetRevisions() != 3 || len(got[0].GetHeads()) != 2 || got[0].GetReviewState() != servicev1.ReviewState_REVIEW_STATE_COMPLETED {
			t.Errorf("after a second branch: %v", got)
		}
		flags, err := servicev1.NewMonitorServiceClient(d.conn).ListFlags(ctx, &servicev1.ListFlagsRequest{InterviewId: iv.InterviewId})
		if err != nil || len(flags.GetFlags()) == 0 || flags.GetFlags()[0].GetRule() != "hearth/conflict" {
			t.Errorf("flags = %v, %v", flags, err)
		}
		if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: guiyang()}); err != nil {
			t.Fatal(err)
		}
		if err := d.Project(t.Context()); err != nil {
			t.Fatal(err)
		}
		rebuilt := newMemory()
		if err := d.Rebuild(t.Context(), d.store, func(c *store.Changes) error { return rebuilt.Apply(t.Context(), c) }); err != nil {
			t.Fatal(err)
		}
		for id, want := range rebuilt.interviews {
			stored, err := d.store.Interview(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, stored, protocmp.Transform()); diff != "" {
				t.Errorf("rebuilt interview (-rebuilt +stored):\n%s", diff)
			}
		}
		report, err := d.store.Check(t.Context(), store.CheckOptions{Rebuild: d.Rebuild})
		if err != nil || len(report.Findings) != 0 {
			t.Errorf("check = %+v, %v", report, err)
		}
	})
}

// Pages together are the whole list, and a token that is not of this list is refused.
func TestPages(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		ctx := with(t.Context())
		tb := newTablet("pages")
		tb.greet(t, d)
		var raws [][]byte
		for i := range 23 {
			raws = append(raws, tb.record(t, household(i), nil), tb.record(t, household(i), func(r *servicev1.Record) { r.QuestionnaireVersion = proto.Uint32(900) }))
		}
		tb.push(t, d, raws...)
		monitor := servicev1.NewMonitorServiceClient(d.conn)
		lists := map[string]func(token string) (n int, next string, err error){
			"interviews": func(token string) (int, string, error) {
				r, err := monitor.ListInterviews(ctx, &servicev1.ListInterviewsRequest{PageSize: proto.Uint32(5), PageToken: &token, Questionnaire: proto.String("household")})
				return len(r.GetInterviews()), r.GetNextPageToken(), err
			},
			"quarantine": func(token string) (int, string, error) {
				r, err := monitor.ListQuarantine(ctx, &servicev1.ListQuarantineRequest{PageSize: proto.Uint32(5), PageToken: &token})
				return len(r.GetItems()), r.GetNextPageToken(), err
			},
		}
		tokens := map[string]string{}
		for name, list := range lists {
			total, pages, token := 0, 0, ""
			for {
				n, next, err := list(token)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				total, pages = total+n, pages+1
				if next == "" {
					break
				}
				token = next
			}
			if total != 23 || pages != 5 {
				t.Errorf("%s: %d in %d pages, want 23 in 5", name, total, pages)
			}
			tokens[name] = token
		}
		for name, list := range lists {
			for _, bad := range []string{"x", "!!", strings.Repeat("A", 2000), tokens["interviews"] + "AA", tokens[map[string]string{"interviews": "quarantine", "quarantine": "interviews"}[name]]} {
				_, _, err := list(bad)
				if name == "interviews" && bad == tokens["interviews"]+"AA" && err == nil {
					continue
				}
				wants(t, err, codes.InvalidArgument, fault.BadPageToken)
			}
		}
		for _, call := range []func(string) error{
			func(tok string) error {
				_, err := monitor.ListFlags(ctx, &servicev1.ListFlagsRequest{PageToken: &tok})
				return err
			},
			func(tok string) error {
				_, err := servicev1.NewLinkageServiceClient(d.conn).ListPairs(ctx, &servicev1.ListPairsRequest{PageToken: &tok})
				return err
			},
		} {
			wants(t, call(tokens["quarantine"]), codes.InvalidArgument, fault.BadPageToken)
		}
	})
}

func TestOffer(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("offer")
		tb.greet(t, d)
		held, missing := tb.record(t, household(1), nil), tb.record(t, household(2), nil)
		tb.push(t, d, held)
		ref := func(raw []byte) *servicev1.RecordRef {
			rec, err := syncer.Open(raw)
			if err != nil {
				t.Fatal(err)
			}
			digest := syncer.DigestOf(raw)
			return &servicev1.RecordRef{Part: rec.Part, Id: rec.GetId(), Digest: digest[:]}
		}
		other := ref(held)
		other.Digest = bytes.Repeat([]byte{9}, 32)
		client := servicev1.NewSyncServiceClient(d.conn)
		got, err := client.Offer(with(t.Context()), &servicev1.OfferRequest{Records: []*servicev1.RecordRef{ref(held), ref(missing), other}})
		if err != nil || fmt.Sprint(got.GetWanted()) != "[1 2]" || fmt.Sprint(got.GetConflicting()) != "[2]" {
			t.Errorf("offer = %v, %v", got, err)
		}
		_, err = client.Offer(with(t.Context()), &servicev1.OfferRequest{Records: []*servicev1.RecordRef{{Id: []byte{1}}}})
		wants(t, err, codes.InvalidArgument, fault.BadRequest)
		_, err = client.Offer(with(t.Context()), &servicev1.OfferRequest{Records: make([]*servicev1.RecordRef, maxOffer+1)})
		wants(t, err, codes.ResourceExhausted, fault.BatchTooLarge)
	})
}

func TestCountsRefuse(t *testing.T) {
	d := newDesk(t, newMemory())
	client := servicev1.NewMonitorServiceClient(d.conn)
	day := servicev1.Dimension_DIMENSION_DAY
	for _, by := range [][]servicev1.Dimension{{0}, {99}, {day, day}, {1, 2, 3, 4}} {
		_, err := client.CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{By: by})
		wants(t, err, codes.InvalidArgument, fault.BadRequest)
	}
	_, err := client.CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{Study: proto.String("lhasa")})
	wants(t, err, codes.NotFound, fault.UnknownStudy)
}

func FuzzPageToken(f *testing.F) {
	req := &servicev1.ListInterviewsRequest{Study: proto.String("guiyang")}
	f.Add("")
	f.Add("x")
	f.Add(*pageToken("m", req, "position"))
	f.Fuzz(func(t *testing.T, token string) {
		position, err := pagePosition("m", req, token)
		if err != nil {
			if fault.ReasonOf(err) != fault.BadPageToken {
				t.Errorf("reason = %v", err)
			}
			return
		}
		if token != "" && *pageToken("m", req, position) != token {
			t.Errorf("token %q reads as %q, which writes as %q", token, position, *pageToken("m", req, position))
		}
	})
}
