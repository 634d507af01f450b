package server

import (
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/xuri/excelize/v2"
	"google.golang.org/protobuf/proto"
)

// sheet makes an XLSForm of rows "type|name|label".
func sheet(t *testing.T, survey, choices []string) *servicev1.QuestionnaireForm {
	t.Helper()
	x := excelize.NewFile()
	for name, rows := range map[string][]string{
		"survey": append([]string{"type|name|label|relevant|hearth_was"}, survey...), "choices": append([]string{"list_name|name|label"}, choices...),
		"settings": {"form_id|form_title", "springs|Springs"},
	} {
		if _, err := x.NewSheet(name); err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			for k, v := range strings.Split(row, "|") {
				cell, err := excelize.CoordinatesToCellName(k+1, i+1)
				if err != nil {
					t.Fatal(err)
				}
				if err := x.SetCellStr(name, cell, v); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := x.DeleteSheet("Sheet1"); err != nil {
		t.Fatal(err)
	}
	raw, err := x.WriteToBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return &servicev1.QuestionnaireForm{Name: proto.String("springs.xlsx"), Source: raw.Bytes()}
}

// A spreadsheet is published as it is edited: what it no longer has ends, its version rises by itself, and its numbers come
// from the lock file of the last publication where none is brought.
func TestPublishingSpreadsheets(t *testing.T) {
	d := newDesk(t, newMemory())
	choices := []string{"kind|cold|Cold", "kind|warm|Warm"}
	survey := []string{"select_one kind|kind|Which kind?", "integer|depth|How deep?", "text|owner|Whose?"}
	first := d.publish(t, sheet(t, survey, choices))
	if !first.GetPublished() || first.GetQuestionnaire().GetQuestionnaire() != "form.springs.Springs" || len(first.GetLock()) == 0 {
		t.Fatalf("published: %v", first)
	}
	if again := d.publish(t, sheet(t, survey, choices)); again.GetPublished() || len(again.GetChanges()) > 0 {
		t.Errorf("the same again: %v", again)
	}
	words := d.publish(t, sheet(t, []string{survey[0], "integer|depth|How deep is it?", survey[2]}, choices))
	if v := words.GetQuestionnaire(); v.GetVersion() != 1 || v.GetTextRevision() != 2 || !words.GetPublished() {
		t.Errorf("other words: %v", words)
	}
	// A question is gone, one is new, one has another name, a choice is gone and another is new.
	second := d.publish(t, sheet(t, []string{survey[0], "integer|fathoms|How deep is it?||depth", "text|village|Which village?"}, []string{"kind|warm|Warm", "kind|hot|Hot"}))
	if v := second.GetQuestionnaire(); v.GetVersion() != 2 || v.GetTextRevision() != 1 || !second.GetPublished() {
		t.Fatalf("version 2: %v", second)
	}
	kinds := map[string]int{}
	for _, c := range second.GetChanges() {
		kinds[c.GetKind()]++
	}
	for _, want := range []string{questionnaire.ChangeEnded, questionnaire.ChangeAdded, questionnaire.ChangeRenamed, questionnaire.ChangeChoiceEnded, questionnaire.ChangeChoiceAdded} {
		if kinds[want] != 1 {
			t.Errorf("%d changes of kind %s: %v", kinds[want], want, second.GetChanges())
		}
	}
	third := d.publish(t, sheet(t, []string{survey[0], "integer|fathoms|How deep is it?||depth", "text|village|Which village?", "note|bye|Goodbye"}, []string{"kind|warm|Warm", "kind|hot|Hot"}))
	if third.GetQuestionnaire().GetVersion() != 3 || len(third.GetChanges()) != 1 {
		t.Errorf("version 3: %v", third)
	}
	q, _ := d.known().Find("springs")
	old := wellInterview(t, q, 1, `{"kind": "KIND_COLD", "fathoms": "3", "owner": "x"}`)
	tb := newTablet("tablet-01")
	tb.greet(t, d)
	if ack := tb.push(t, d, tb.record(t, old, answering(old))); len(ack.GetResults()) != 0 {
		t.Fatalf("an old interview: %v", ack.GetResults())
	}
	if got := d.flagsOf(t, old); len(got) != 0 {
		t.Errorf("an interview of version 1 is flagged: %v", got)
	}
	bad := sheet(t, []string{"integer|depth|How deep?|${nobody} > 1"}, nil)
	if _, err := servicev1.NewStudyServiceClient(d.conn).PublishQuestionnaire(with(t.Context()), &servicev1.PublishQuestionnaireRequest{Form: bad}); reasonOf(err) != string(fault.BadForm) {
		t.Errorf("a relevance that names nobody: %v", err)
	}
}
