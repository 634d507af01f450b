package server

import (
	"context"
	"fmt"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
)

// Flags of many interviews are made again some at a time, go on where a server was stopped, and what comes meanwhile waits for
// nothing. Nobody's flags are forgotten.
func TestReevaluationGoesOnAfterARestart(t *testing.T) {
	st := newMemory()
	d := newDesk(t, st)
	d.publish(t, wells())
	tb := newTablet("tablet-01")
	tb.greet(t, d)
	q := schemaOf(t, wells())
	var all []*surveyv1.Interview
	var raws [][]byte
	for range 2*reevaluateBatch + 50 {
		iv := wellInterview(t, q, 1, `{"source": "WELL", "depth": 150}`)
		all, raws = append(all, iv), append(raws, tb.record(t, iv, answering(iv)))
	}
	if ack := tb.push(t, d, raws...); len(ack.GetResults()) != 0 {
		t.Fatal(ack.GetResults())
	}
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.stop()
	<-d.ended
	d.ended <- nil
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	quiet := func() *Server { // one that makes nothing again by itself
		t.Helper()
		s, err := New(Config{Store: st, Key: d.key, Questionnaires: set})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := quiet()
	local := servicev1.NewStudyServiceClient(first.Local())
	form := wells("this.depth < 100", "this.depth < 200", "version: 1", "version: 2")
	resp, err := local.PublishQuestionnaire(with(t.Context()), &servicev1.PublishQuestionnaireRequest{Form: form})
	if err != nil || resp.GetToReevaluate() != int64(len(all)) {
		t.Fatalf("published: %v, %v", resp, err)
	}
	step := func(s *Server, want string) {
		t.Helper()
		if more, err := s.reevaluate(t.Context()); err != nil || !more {
			t.Fatalf("more %v, %v", more, err)
		}
		listed, err := servicev1.NewStudyServiceClient(s.Local()).ListQuestionnaires(with(t.Context()), &servicev1.ListQuestionnairesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, v := range listed.GetQuestionnaires() {
			if v.ToReevaluate != nil {
				got += fmt.Sprintf("%s/%d: %d of %d", v.GetQuestionnaire(), v.GetVersion(), v.GetReevaluated(), v.GetToReevaluate())
			}
		}
		if got != want {
			t.Errorf("re-evaluating %q, want %q", got, want)
		}
	}
	flagged := func() (n int) {
		for iv, err := range st.Interviews(t.Context(), store.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range iv.GetFlags() {
				if f.GetRule() == "form.wells.Wells.depth/possible" {
					n++
				}
			}
		}
		return n
	}
	for !first.rules.begun("form.wells.Wells", first.forms.state.Load().rules["form.wells.Wells"]) { // those built in come first
		if _, err := first.reevaluate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	step(first, "form.wells.Wells/2: 200 of 450")
	if n := flagged(); n != 250 {
		t.Errorf("after one batch %d are flagged, want 250", n)
	}
	// Another server over the same store goes on with the second batch.
	again := quiet()
	step(again, "form.wells.Wells/2: 400 of 450")
	late := wellInterview(t, q, 1, `{"source": "WELL", "depth": 250}`)
	raw := tb.record(t, late, answering(late))
	if _, err := again.take(t.Context(), tb.batch(raw)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := again.Reevaluate(ctx, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	if err := again.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := flagged(); n != 1 {
		t.Errorf("in the end %d are flagged, want the one that came late", n)
	}
	if more, err := again.reevaluate(t.Context()); more || err != nil {
		t.Errorf("there is more to do: %v, %v", more, err)
	}
}
