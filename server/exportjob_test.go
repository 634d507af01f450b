package server

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/export"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const (
	asIdentified = servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED
	asPublic     = servicev1.PrivacyProfile_PRIVACY_PROFILE_PUBLIC
	asCSV        = servicev1.ExportFormat_EXPORT_FORMAT_CSV
)

// rowsOf reads a CSV file of an export.
func rowsOf(t *testing.T, content []byte) (out []map[string]string) {
	t.Helper()
	all, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")))).ReadAll()
	if err != nil || len(all) == 0 {
		t.Fatalf("no CSV file: %v", err)
	}
	for _, line := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = line[i]
		}
		out = append(out, row)
	}
	return out
}

// sameFiles fails where two exports differ.
func sameFiles(t *testing.T, what string, got, want map[string][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d files, want %d", what, len(got), len(want))
	}
	for path, content := range want {
		if !bytes.Equal(got[path], content) {
			t.Errorf("%s: %s has %d bytes, other than the %d before", what, path, len(got[path]), len(content))
		}
	}
}

// An export can be made again byte for byte after the data have moved on: by its cursor, and by its time. Nobody is in it
// who has withdrawn since, and it says so.
func TestExportAsOf(t *testing.T) {
	eachStoreOrOne(t, func(t *testing.T, d *desk) {
		kinds := []servicev1.ExportFormat{asCSV}
		if _, slow := d.store.(*memory); !slow {
			kinds = append(kinds, servicev1.ExportFormat_EXPORT_FORMAT_XLSX, servicev1.ExportFormat_EXPORT_FORMAT_PARQUET, servicev1.ExportFormat_EXPORT_FORMAT_DTA, servicev1.ExportFormat_EXPORT_FORMAT_SAV)
		}
		if testing.Short() { // the others are written by the same goroutine from the same rows
			kinds = []servicev1.ExportFormat{asCSV, servicev1.ExportFormat_EXPORT_FORMAT_PARQUET}
		}
		ctx := with(t.Context())
		tb := newTablet("as of")
		tb.greet(t, d)
		if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: &surveyv1.Study{Study: proto.String("guiyang"), TitleEn: proto.String("Before")}}); err != nil {
			t.Fatal(err)
		}
		var held []*surveyv1.Interview
		var raws [][]byte
		for i := range 12 {
			held = append(held, household(i))
			raws = append(raws, tb.record(t, held[i], nil))
		}
		tb.push(t, d, raws...)
		reqs := map[string]*servicev1.ExportRequest{
			"research":   {Study: proto.String("guiyang"), Formats: kinds},
			"identified": {Study: proto.String("guiyang"), Formats: []servicev1.ExportFormat{asCSV}, Profile: asIdentified.Enum(), Reason: proto.String("test"), RequestedBy: proto.String("S01")},
		}
		before, cursors := map[string]map[string][]byte{}, map[string]*servicev1.Cursor{}
		for name, req := range reqs {
			before[name], cursors[name] = exported(t, d, req)
		}
		time.Sleep(3 * time.Millisecond)
		then := time.Now().UnixMilli()
		time.Sleep(3 * time.Millisecond)
		moveOn(t, d, tb, held, raws)
		for name, req := range reqs {
			now, _ := exported(t, d, req)
			if bytes.Equal(now["csv/interview.csv"], before[name]["csv/interview.csv"]) {
				t.Errorf("%s: nothing has changed: the test proves nothing", name)
			}
			again := proto.CloneOf(req)
			again.AsOf = cursors[name]
			files, _ := exported(t, d, again)
			sameFiles(t, name+" by cursor", files, before[name])
		}
		byTime := proto.CloneOf(reqs["research"])
		byTime.AsOfTimeMs = proto.Int64(then)
		files, cursor := exported(t, d, byTime)
		delete(files, "manifest.json") // the cursor is behind the audit of the identified export
		want := map[string][]byte{}
		for path, content := range before["research"] {
			if path != "manifest.json" {
				want[path] = content
			}
		}
		if _, kept := d.store.(*memory); !kept { // which does not note when a record came
			sameFiles(t, "by time", files, want)
		}
		if c, err := export.ParseCursorText(export.CursorText(cursor)); err != nil || !proto.Equal(c, cursor) {
			t.Errorf("cursor %v comes back as %v, %v", cursor, c, err)
		}

		if _, err := servicev1.NewReviewServiceClient(d.conn).WithdrawInterview(ctx, &servicev1.WithdrawInterviewRequest{
			InterviewId: held[3].InterviewId, Reason: proto.String("asked to"), DecidedBy: proto.String("S01")}); err != nil {
			t.Fatal(err)
		}
		again := proto.CloneOf(reqs["identified"])
		again.AsOf = cursors["identified"]
		files, _ = exported(t, d, again)
		if n := len(rowsOf(t, files["csv/interview.csv"])); n != 11 || bytes.Contains(files["csv/interview.csv"], []byte(held[3].GetInterviewId())) {
			t.Errorf("%d interviews after one was withdrawn, want the 11 others", n)
		}
		if !strings.Contains(string(files["manifest.json"]), "1 interviews of this state were withdrawn since") {
			t.Error("the manifest does not say that one was withdrawn since")
		}
	})
}

// moveOn changes whatever an export shows: a new interview, a revision, a decision, a review, the definition, a withdrawal
// of one that came later.
func moveOn(t *testing.T, d *desk, tb *tablet, held []*surveyv1.Interview, raws [][]byte) {
	t.Helper()
	ctx := with(t.Context())
	parent := syncer.DigestOf(raws[1])
	revised := proto.CloneOf(held[1])
	revised.Result = surveyv1.ResultCode_RESULT_CODE_PARTIAL.Enum()
	tb.push(t, d, tb.record(t, household(20), nil), tb.record(t, revised, func(r *servicev1.Record) { r.Parents = [][]byte{parent[:]} }))
	_, err := servicev1.NewLinkageServiceClient(d.conn).Decide(ctx, &servicev1.DecideRequest{Decision: &servicev1.LinkDecision{
		Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), Subject: servicev1.LinkSubject_LINK_SUBJECT_PERSON.Enum(),
		AId: held[4].GetRespondent().PersonId, BId: held[5].GetRespondent().PersonId, DecidedBy: proto.String("S01"), Reason: proto.String("same"), Study: proto.String("guiyang")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := servicev1.NewReviewServiceClient(d.conn).CreateReview(ctx, &servicev1.CreateReviewRequest{
		InterviewId: held[6].InterviewId, Decision: servicev1.ReviewDecision_REVIEW_DECISION_APPROVE.Enum(), DecidedBy: proto.String("S01")}); err != nil {
		t.Fatal(err)
	}
	if _, err := servicev1.NewStudyServiceClient(d.conn).PutStudy(ctx, &servicev1.PutStudyRequest{Study: &surveyv1.Study{Study: proto.String("guiyang"), TitleEn: proto.String("After")}}); err != nil {
		t.Fatal(err)
	}
}

// Filters leave interviews and tables out, stand in the manifest, and may leave nothing.
func TestExportFilter(t *testing.T) {
	d := newDesk(t, openSQLite(t, t.TempDir()))
	tb := newTablet("filter")
	tb.greet(t, d)
	var raws [][]byte
	for i := range 12 {
		iv := household(i)
		iv.SiteId, iv.Enumerator = proto.String(fmt.Sprint("site-", i%3)), proto.String(fmt.Sprint("E", i%2))
		if i >= 9 {
			iv.Result = surveyv1.ResultCode_RESULT_CODE_PARTIAL.Enum()
		}
		raws = append(raws, tb.record(t, iv, nil))
	}
	tb.push(t, d, raws...)
	at := household(4).GetStartTime().AsTime().UnixMilli()
	for name, tt := range map[string]struct {
		filter *servicev1.ExportFilter
		want   int
	}{
		"site":            {&servicev1.ExportFilter{Sites: []string{"site-0", "site-2"}}, 8},
		"enumerator":      {&servicev1.ExportFilter{Enumerators: []string{"E1"}}, 6},
		"result":          {&servicev1.ExportFilter{Results: []int32{1}}, 9},
		"round":           {&servicev1.ExportFilter{Rounds: []uint32{2}}, 0},
		"questionnaire":   {&servicev1.ExportFilter{Questionnaires: []string{"household"}}, 12},
		"other":           {&servicev1.ExportFilter{Questionnaires: []string{"school"}}, 0},
		"from":            {&servicev1.ExportFilter{FromTimeMs: proto.Int64(at)}, 8},
		"before":          {&servicev1.ExportFilter{BeforeTimeMs: proto.Int64(at)}, 4},
		"site and result": {&servicev1.ExportFilter{Sites: []string{"site-0"}, Results: []int32{2}}, 1},
		"levels":          {&servicev1.ExportFilter{Levels: []string{"interview", "person"}}, 12},
	} {
		if testing.Short() && name != "site and result" && name != "levels" && name != "from" && name != "other" {
			continue // what is asked of one column is asked like what is asked of another
		}
		files, _ := exported(t, d, &servicev1.ExportRequest{Filter: tt.filter, Formats: []servicev1.ExportFormat{asCSV}})
		if n := len(rowsOf(t, files["csv/interview.csv"])); n != tt.want {
			t.Errorf("%s: %d interviews, want %d", name, n, tt.want)
		}
		if n := len(rowsOf(t, files["csv/person.csv"])); n != 2*tt.want {
			t.Errorf("%s: %d people, want %d", name, n, 2*tt.want)
		}
		m := &export.Manifest{}
		if err := json.Unmarshal(files["manifest.json"], m); err != nil || m.Request == nil || m.Request.AsOf == "" {
			t.Errorf("%s: the manifest says %+v, %v", name, m.Request, err)
		}
		if _, there := files["csv/household.csv"]; there != (name != "levels") {
			t.Errorf("%s: household.csv is there: %v", name, there)
		}
		if name == "site and result" && (!slices.Equal(m.Request.Sites, []string{"site-0"}) || !slices.Equal(m.Request.Results, []string{"partial"})) {
			t.Errorf("the manifest says %+v", m.Request)
		}
		if q := m.Questionnaires; tt.want == 12 && (len(q) != 1 || q[0].Interviews["1"] != 12 || len(q[0].SHA256) != 64) {
			t.Errorf("%s: questionnaires %+v", name, q)
		}
	}
}

// Direct identifiers are given out with a reason alone, and who asked is kept before the first byte.
func TestExportAudit(t *testing.T) {
	eachStoreOrOne(t, func(t *testing.T, d *desk) {
		ctx := with(t.Context())
		tb := newTablet("audit")
		tb.greet(t, d)
		tb.push(t, d, tb.record(t, household(1), nil))
		client := servicev1.NewExportServiceClient(d.conn)
		for _, req := range []*servicev1.ExportRequest{{}, {Reason: proto.String("linkage")}, {RequestedBy: proto.String("S01"), Reason: proto.String(" ")}} {
			req.Profile = asIdentified.Enum()
			stream, err := client.Export(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			wants(t, err, codes.InvalidArgument, fault.ReasonMissing)
		}
		for _, reason := range []string{"linkage with the registry", "back-checks"} {
			files, _ := exported(t, d, &servicev1.ExportRequest{Profile: asIdentified.Enum(), Reason: proto.String(reason), RequestedBy: proto.String("S01"), Formats: []servicev1.ExportFormat{asCSV}})
			if !bytes.Contains(files["csv/person.csv"], []byte(canary)) {
				t.Error("an identified export has no names")
			}
		}
		exported(t, d, &servicev1.ExportRequest{Formats: []servicev1.ExportFormat{asCSV}})
		resp, err := client.ListExports(ctx, &servicev1.ListExportsRequest{})
		if err != nil || len(resp.GetExports()) != 2 {
			t.Fatalf("history %v, %v", resp, err)
		}
		e := resp.GetExports()[0]
		if e.GetReason() != "back-checks" || e.GetRequestedBy() != "S01" || e.GetTimeMs() == 0 || uuid.Validate(e.GetExportId()) != nil || e.GetCursor() == nil {
			t.Errorf("the newest is %v", e)
		}
		if strings.Contains(d.log.String(), "back-checks") {
			t.Error("the reason is in the log")
		}
	})
}

// A research export of the running server has no key, id or site as they were, and no order that tells when.
func TestExportReissues(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("reissue")
	tb.greet(t, d)
	var raws [][]byte
	var held []*surveyv1.Interview
	for i := range 30 {
		held = append(held, household(i))
		raws = append(raws, tb.record(t, held[i], nil))
	}
	tb.push(t, d, raws...)
	for _, req := range []*servicev1.ExportRequest{{}, {Profile: asPublic.Enum(), Anonymity: &servicev1.Anonymity{QuasiIdentifiers: []string{"person.sex"}, Suppress: proto.Bool(true)}}} {
		req.Formats = []servicev1.ExportFormat{asCSV}
		files, _ := exported(t, d, req)
		for path, content := range files {
			for _, iv := range held {
				for _, secret := range []string{iv.GetInterviewKey() + ",", iv.GetInterviewId(), iv.GetHousehold().GetHouseholdId(), iv.GetRespondent().GetPersonId(), iv.GetRespondent().GetIdentity().GetPhone(), "school-c", canary} {
					if bytes.Contains(content, []byte(secret)) {
						t.Fatalf("%s of %v holds %s", path, req.GetProfile(), secret)
					}
				}
			}
		}
		people := rowsOf(t, files["csv/person.csv"])
		if len(people) < 30 || files["csv/interview.csv"] == nil {
			t.Errorf("%d people", len(people))
		}
		// Whoever was interviewed first does not stand first: ages went up with the time.
		if req.Profile == nil && slices.IsSortedFunc(people, func(a, b map[string]string) int { return strings.Compare(a["age"], b["age"]) }) {
			t.Error("the rows stand in the order of the interviews")
		}
	}
}
