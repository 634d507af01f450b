package server

import (
	"bytes"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// A household that is met again is one row of the analysis set, whether under its own id or by a decision of linkage. What is undone
// later (the decision, by its undoing; a questionnaire, by its next version) is as it was in an export of the earlier state, byte for byte. What
// was erased since is in no export any more, and the manifest says that it was there.
func TestExportOfWhatWasUndone(t *testing.T) {
	eachStoreOrOne(t, func(t *testing.T, d *desk) {
		ctx := with(t.Context())
		tb := newTablet("undone")
		tb.greet(t, d)
		q := schemaOf(t, wells())
		d.publish(t, wells())
		well := wellInterview(t, q, 1, `{"source": "WELL"}`)
		well.Study = proto.String("guiyang")
		held := []*surveyv1.Interview{household(0), household(1), household(2), household(3), household(4)}
		held[1].GetHousehold().HouseholdId = held[0].GetHousehold().HouseholdId // visited again
		raws := [][]byte{tb.record(t, well, answering(well))}
		for _, iv := range held {
			raws = append(raws, tb.record(t, iv, nil))
		}
		tb.push(t, d, raws...)
		linkage := servicev1.NewLinkageServiceClient(d.conn)
		decision := &servicev1.LinkDecision{
			Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum(), Subject: servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD.Enum(), Study: proto.String("guiyang"),
			AId: held[2].GetHousehold().HouseholdId, BId: held[3].GetHousehold().HouseholdId, DecidedBy: proto.String("S01"), Reason: proto.String("same"),
		}
		decided, err := linkage.Decide(ctx, &servicev1.DecideRequest{Decision: decision})
		if err != nil {
			t.Fatal(err)
		}
		req := &servicev1.ExportRequest{
			Study: proto.String("guiyang"), Profile: asIdentified.Enum(), Reason: proto.String("test"), RequestedBy: proto.String("S01"), Weights: proto.Bool(true),
			Formats: []servicev1.ExportFormat{asCSV, servicev1.ExportFormat_EXPORT_FORMAT_JSONL, servicev1.ExportFormat_EXPORT_FORMAT_GRAPHML},
		}
		before, cursor := exported(t, d, req)
		sets := func(files map[string][]byte) string {
			of := map[string]string{}
			for _, r := range rowsOf(t, files["csv/interview.csv"]) {
				of[r["interview_id"]] = r["analysis_set"] + "." + r["household_visit"]
			}
			var out []string
			for _, iv := range held {
				out = append(out, of[iv.GetInterviewId()])
			}
			return strings.Join(out, " ")
		}
		if !strings.Contains(string(before["manifest.json"]), "\"rows\": 10,\n      \"columns\": ") || !strings.Contains(string(before["manifest.json"]), "\"rows_by_round\": {\n        \"1\": 10\n") {
			t.Error("the manifest does not say how many people there are in round 1")
		}
		if got := sets(before); got != "7.1 1.2 1.1 6.2 1.1" {
			t.Errorf("analysis set and visits: %s", got)
		}

		if _, err := linkage.Decide(ctx, &servicev1.DecideRequest{Decision: &servicev1.LinkDecision{
			Kind: servicev1.DecisionKind_DECISION_KIND_UNDO.Enum(), Undoes: decided.GetDecision().DecisionId, DecidedBy: proto.String("S01"), Study: proto.String("guiyang")}}); err != nil {
			t.Fatal(err)
		}
		d.publish(t, wells("version: 1", "version: 2", "  int32 depth = 2", "  int32 width = 3 [(hearth.form.v1.question) = {label: {en: \"How wide?\"} relevant: \"this.source == 1\"}];\n  int32 depth = 2"))
		now, _ := exported(t, d, req)
		if got := sets(now); got != "7.1 1.2 1.1 1.1 1.1" {
			t.Errorf("analysis set and visits after the decision was undone: %s", got)
		}
		if w := rowsOf(t, now["csv/wells.csv"])[0]; w["width_why"] != "not_asked" {
			t.Errorf("what version 1 did not have is %q", w["width_why"])
		}
		again := proto.CloneOf(req)
		again.AsOf = cursor
		files, _ := exported(t, d, again)
		sameFiles(t, "before the undoing", files, before)

		review, gone := servicev1.NewReviewServiceClient(d.conn), held[4]
		if _, err := review.WithdrawInterview(ctx, &servicev1.WithdrawInterviewRequest{InterviewId: gone.InterviewId, DecidedBy: proto.String("S01"), Reason: proto.String("asked to")}); err != nil {
			t.Fatal(err)
		}
		if _, err := review.EraseInterview(ctx, &servicev1.EraseInterviewRequest{InterviewId: gone.InterviewId, DecidedBy: proto.String("S01")}); err != nil {
			t.Fatal(err)
		}
		files, _ = exported(t, d, again)
		if got := sets(files); got != "7.1 1.2 1.1 6.2 " {
			t.Errorf("analysis set and visits after the last was erased: %s", got)
		}
		for path, content := range files {
			for _, m := range gone.GetHousehold().GetMembers() {
				for _, trace := range []string{gone.GetInterviewId(), gone.GetHousehold().GetHouseholdId(), m.GetPersonId(), m.GetIdentity().GetFullName()} {
					if bytes.Contains(content, []byte(trace)) {
						t.Errorf("%s has %s of an interview that was erased", path, trace)
					}
				}
			}
		}
		if !strings.Contains(string(files["manifest.json"]), "1 interviews of this state were withdrawn since and are left out") {
			t.Error("the manifest does not say that one is missing")
		}
	})
}

// The query of a URL says what the flags of hearth export say: results by name or AAPOR code, days of the server's zone, a day for
// as_of up to its end, and each step of cleaning.
func TestQueryOfURL(t *testing.T) {
	ms := func(text string) int64 {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixMilli()
	}
	q, err := url.ParseQuery("result=1.1,refusal&result=partial&from=2016-07-21&before=2016-07-22T06:00:00Z&as_of=2016-08-01&include=approved&duplicates=mark&conflicts=all&left_out=drop&skipped=blank&weights=0&level=person,household&round=1,2")
	if err != nil {
		t.Fatal(err)
	}
	got, err := requestFrom(q, time.FixedZone("", 8*3600))
	if err != nil {
		t.Fatal(err)
	}
	want := &servicev1.ExportRequest{
		AsOfTimeMs: proto.Int64(ms("2016-08-01T15:59:59.999Z")), Anonymity: &servicev1.Anonymity{}, Weights: proto.Bool(false), Include: proto.String("approved"),
		Duplicates: proto.String("mark"), Conflicts: proto.String("all"), LeftOut: proto.String("drop"), Skipped: proto.String("blank"),
		Filter: &servicev1.ExportFilter{
			FromTimeMs: proto.Int64(ms("2016-07-20T16:00:00Z")), BeforeTimeMs: proto.Int64(ms("2016-07-22T06:00:00Z")), Levels: []string{"person", "household"}, Rounds: []uint32{1, 2},
			Results: []int32{int32(surveyv1.ResultCode_RESULT_CODE_COMPLETE), int32(surveyv1.ResultCode_RESULT_CODE_REFUSAL), int32(surveyv1.ResultCode_RESULT_CODE_PARTIAL)},
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for query, said := range map[string]string{
		"result=9.9": "complete, partial", "from=yesterday": "a day such as 2016-07-21", "skip=blank": "left_out, skipped", "as_of=!": "cursor", "round=x": "a number",
	} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := requestFrom(q, time.UTC); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%s: %v, want it to say %q", query, err, said)
		}
	}
}
