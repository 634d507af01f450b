package server

import (
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// A questionnaire comes down through a hub while headquarters is away, in all its pieces, and interviews of it go up through
// the hub, which knows nothing of it.
func TestQuestionnairesThroughAHub(t *testing.T) {
	f, ts := teamOf(t, 1, "a")
	a, hub := ts[0], f.hubs[0]
	publish := func(form *servicev1.QuestionnaireForm) {
		t.Helper()
		raw, err := proto.Marshal(form)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = syncer.PackQuestionnaire(raw); err != nil {
			t.Fatal(err)
		}
		if _, err := servicev1.NewStudyServiceClient(f.hq.srv.Local()).PublishQuestionnaire(with(t.Context()), &servicev1.PublishQuestionnaireRequest{FormZstd: raw}); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(version, pieces uint32, name string) {
		t.Helper()
		all, err := a.Questionnaires(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range all {
			if v := q.Version; v.GetQuestionnaire() == name && v.GetVersion() == version {
				if _, err := q.Files(); err != nil || v.GetPieces() < pieces {
					t.Errorf("version %d of %s has %d pieces: %v", version, name, v.GetPieces(), err)
				}
				return
			}
		}
		t.Errorf("the tablet does not hold version %d of %s", version, name)
	}
	publish(wells())
	publish(placeList(t, 5000))
	a.sync(hub)
	f.once(hub)
	hub.up.away = true
	a.sync(hub)
	holds(1, 1, "form.wells.Wells")
	holds(1, 2, "form.places.Places")
	iv := wellInterview(t, schemaOf(t, wells()), 1, `{"source": "WELL", "depth": 150}`)
	iv.Study, iv.Enumerator = nil, nil
	if _, _, err := a.AddInterview(t.Context(), iv); err != nil {
		t.Fatal(err)
	}
	a.sync(hub)
	hub.up.away = false
	publish(wells("version: 1", "version: 2", "depth < 100", "depth < 99"))
	f.once(hub)
	if err := f.hq.srv.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := f.hq.store.Interview(t.Context(), iv.GetInterviewId())
	if err != nil || got.GetSummary().GetQuestionnaire() != "form.wells.Wells" || got.GetSummary().GetSoftFlags() == 0 {
		t.Errorf("at headquarters: %v, %v", got.GetSummary(), err)
	}
	f.once(hub)
	a.sync(hub)
	holds(2, 1, "form.wells.Wells")
	holds(1, 2, "form.places.Places")
	if r := a.sync(f.hq); r.Rows != nil {
		t.Errorf("at headquarters the same came again: %v", r.Rows)
	}
}
