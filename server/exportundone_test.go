package server

import (
	"bytes"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
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
