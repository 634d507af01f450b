package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// wellText is a questionnaire about wells; tests change it as whoever keeps it would.
const wellText = `edition = "2023";
package form.wells;
import "hearth/form/v1/options.proto";
enum Source {
  SOURCE_UNSPECIFIED = 0;
  WELL = 1 [(hearth.form.v1.choice) = {label: {en: "well" zh: "井"}}];
  RIVER = 2 [(hearth.form.v1.choice) = {label: {en: "river" zh: "河"}}];
}
message Wells {
  option (hearth.form.v1.module) = {title: {en: "Wells" zh: "水井"} version: 1};
  Source source = 1 [(hearth.form.v1.question) = {label: {en: "Where from?" zh: "水源"} required: true}];
  int32 depth = 2 [(hearth.form.v1.question) = {
    label: {en: "How deep?" zh: "深度"}
    checks: [{id: "possible" expression: "this.depth < 100" severity: SEVERITY_SOFT message: {en: "Very deep." zh: "太深。"}}]
  }];
}
`

func wells(edits ...string) *servicev1.QuestionnaireForm {
	return &servicev1.QuestionnaireForm{Name: proto.String("wells.proto"), Source: []byte(strings.NewReplacer(edits...).Replace(wellText))}
}

func (d *desk) publish(t *testing.T, f *servicev1.QuestionnaireForm) *servicev1.PublishQuestionnaireResponse {
	t.Helper()
	raw, err := proto.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = syncer.PackQuestionnaire(raw); err != nil {
		t.Fatal(err)
	}
	resp, err := servicev1.NewStudyServiceClient(d.conn).PublishQuestionnaire(with(t.Context()), &servicev1.PublishQuestionnaireRequest{FormZstd: raw, PublishedBy: proto.String("S01")})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// wellInterview is an interview of a version, answered in protobuf's JSON by a schema.
func wellInterview(t *testing.T, q *questionnaire.Questionnaire, version uint32, answers string) *surveyv1.Interview {
	t.Helper()
	m := q.New()
	if err := protojson.Unmarshal([]byte(answers), m); err != nil {
		t.Fatal(err)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return &surveyv1.Interview{
		InterviewId: proto.String(uuid.NewString()), Study: proto.String("guizhou"), Enumerator: proto.String("E01"), QuestionnaireVersion: proto.Uint32(version),
		Status:  surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(),
		Answers: &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String(q.Name()), Answers: raw}},
	}
}

// answering writes into an envelope of what questionnaire the interview is.
func answering(iv *surveyv1.Interview) func(*servicev1.Record) {
	return func(r *servicev1.Record) {
		r.Questionnaire, r.QuestionnaireVersion = proto.String(iv.GetOther().GetQuestionnaire()), iv.QuestionnaireVersion
	}
}

func schemaOf(t *testing.T, f *servicev1.QuestionnaireForm) *questionnaire.Questionnaire {
	t.Helper()
	files, err := questionnaire.CompileProto(map[string]string{f.GetName(): string(f.GetSource())}, f.GetName())
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (d *desk) flagsOf(t *testing.T, iv *surveyv1.Interview) []string {
	t.Helper()
	if err := d.Reevaluate(t.Context(), func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	resp, err := servicev1.NewMonitorServiceClient(d.conn).ListFlags(with(t.Context()), &servicev1.ListFlagsRequest{InterviewId: iv.InterviewId})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range resp.GetFlags() {
		if strings.HasPrefix(f.GetRule(), "form.") { // what is flagged of the interview itself is not looked at here
			out = append(out, f.GetRule())
		}
	}
	return out
}

// What is published, replayed, flagged, published again under other rules, and read again after a restart.
func TestPublishing(t *testing.T) {
	dir := t.TempDir()
	st := openSQLite(t, dir)
	d := newDesk(t, st)
	tb := newTablet("tablet-01")
	tb.greet(t, d)
	q := schemaOf(t, wells())
	deep := wellInterview(t, q, 1, `{"source": "WELL", "depth": 150}`)
	if ack := tb.push(t, d, tb.record(t, deep, answering(deep))); len(ack.GetResults()) != 1 || ack.GetResults()[0].GetReason() != string(fault.UnknownQuestionnaire) {
		t.Fatalf("an interview of a questionnaire nobody knows: %v", ack.GetResults())
	}
	resp := d.publish(t, wells())
	if !resp.GetPublished() || resp.GetWaiting() != 1 || len(resp.GetChanges()) != 0 || resp.GetQuestionnaire().GetTextRevision() != 1 {
		t.Fatalf("published: %v", resp)
	}
	if again := d.publish(t, wells()); again.GetPublished() || again.GetQuestionnaire().GetPublishedBy() != "S01" {
		t.Errorf("the same again: %v", again)
	}
	replayed, err := servicev1.NewMonitorServiceClient(d.conn).ReplayQuarantine(with(t.Context()), &servicev1.ReplayQuarantineRequest{Reason: proto.String(string(fault.UnknownQuestionnaire))})
	if err != nil || replayed.GetReleased() != 1 {
		t.Fatalf("replayed: %v, %v", replayed, err)
	}
	if got := d.flagsOf(t, deep); len(got) != 1 || got[0] != "form.wells.Wells.depth/possible" {
		t.Errorf("flags = %v", got)
	}

	// A version that old interviews cannot be read under.
	_, err = servicev1.NewStudyServiceClient(d.conn).PublishQuestionnaire(with(t.Context()), &servicev1.PublishQuestionnaireRequest{Form: wells("int32 depth", "string depth", "version: 1", "version: 2", "this.depth < 100", "this.depth != '100'")})
	if reasonOf(err) != string(fault.QuestionnaireBreaking) || !strings.Contains(err.Error(), "holds a text, and held a whole number") {
		t.Errorf("a type change: %v", err)
	}
	// Other words, same version; then other rules, next version: the flags are made again.
	if resp = d.publish(t, wells("How deep?", "How deep is it?")); resp.GetQuestionnaire().GetTextRevision() != 2 || resp.GetQuestionnaire().GetVersion() != 1 {
		t.Errorf("other words: %v", resp)
	}
	second := wells("How deep?", "How deep is it?", "this.depth < 100", "this.depth < 200", "version: 1", "version: 2", "RIVER = 2", "RAIN = 3 [(hearth.form.v1.choice) = {label: {en: \"rain\"}}]; RIVER = 2")
	resp = d.publish(t, second)
	if resp.GetToReevaluate() != 1 || len(resp.GetChanges()) != 2 {
		t.Errorf("version 2: %v", resp)
	}
	if got := d.flagsOf(t, deep); len(got) != 0 {
		t.Errorf("flags after the rule changed = %v", got)
	}
	rain := wellInterview(t, schemaOf(t, second), 2, `{"source": "RAIN", "depth": 250}`)
	old := wellInterview(t, q, 1, `{"depth": 1}`)
	if ack := tb.push(t, d, tb.record(t, rain, answering(rain)), tb.record(t, old, answering(old))); len(ack.GetResults()) != 0 {
		t.Errorf("version 2, and an old tablet with version 1: %v", ack.GetResults())
	}
	if got := d.flagsOf(t, rain); len(got) != 1 {
		t.Errorf("flags of version 2 = %v", got)
	}
	if got := d.flagsOf(t, old); len(got) != 1 || got[0] != "form.wells.Wells.source/required" {
		t.Errorf("flags of version 1 from an old tablet = %v", got)
	}
	counted, err := servicev1.NewMonitorServiceClient(d.conn).CountFlags(with(t.Context()), &servicev1.CountFlagsRequest{
		By: []servicev1.FlagDimension{servicev1.FlagDimension_FLAG_DIMENSION_ENUMERATOR, servicev1.FlagDimension_FLAG_DIMENSION_QUESTION, servicev1.FlagDimension_FLAG_DIMENSION_RULE}})
	n := 0
	for _, row := range counted.GetRows() {
		if strings.HasPrefix(row.GetKeys()[1], "other.answers.") {
			if n++; row.GetFlags() != 1 || row.GetInterviews() != 1 || row.GetOfInterviews() != 3 || row.GetKeys()[0] != "E01" {
				t.Errorf("a row of the table of flags: %v", row)
			}
		}
	}
	if err != nil || n != 2 {
		t.Errorf("counted: %v, %v", counted, err)
	}

	// Another server over the same folder knows all of it, and the projections are what the log gives.
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.stop()
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	st = openSQLite(t, dir)
	d = newDesk(t, st)
	if q, ok := d.known().Find("wells"); !ok || q.Version() != 2 {
		t.Fatalf("after a restart: %v", q)
	}
	first, err := servicev1.NewStudyServiceClient(d.conn).GetQuestionnaire(with(t.Context()), &servicev1.GetQuestionnaireRequest{Questionnaire: proto.String("wells"), Version: proto.Uint32(1)})
	if err != nil || !strings.Contains(string(first.GetSource()), "How deep is it?") || first.GetQuestionnaire().GetTextRevision() != 2 {
		t.Errorf("version 1: %v, %v", first, err)
	}
	compared, err := servicev1.NewStudyServiceClient(d.conn).CompareQuestionnaires(with(t.Context()), &servicev1.CompareQuestionnairesRequest{
		Old: &servicev1.GetQuestionnaireRequest{Questionnaire: proto.String("wells"), Version: proto.Uint32(1)}, New: &servicev1.GetQuestionnaireRequest{Questionnaire: proto.String("wells")}})
	if err != nil || len(compared.GetChanges()) != 2 {
		t.Errorf("compared: %v, %v", compared, err)
	}
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := d.Reevaluate(t.Context(), func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	report, err := st.Check(t.Context(), store.CheckOptions{Rebuild: d.Rebuild})
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("check: %v, %v", report.Findings, err)
	}
}

func TestPublishingWhatCannotBe(t *testing.T) {
	d := newDesk(t, newMemory())
	d.publish(t, wells())
	for _, c := range []struct {
		about  string
		req    *servicev1.PublishQuestionnaireRequest
		reason fault.Reason
		want   string
	}{
		{"nothing", &servicev1.PublishQuestionnaireRequest{}, fault.BadRequest, "its file is empty"},
		{"a picture", &servicev1.PublishQuestionnaireRequest{Form: &servicev1.QuestionnaireForm{Name: proto.String("x.png"), Source: []byte("x")}}, fault.BadRequest, "neither a .proto nor an .xlsx"},
		{"a mistake", &servicev1.PublishQuestionnaireRequest{Form: wells("this.depth < 100", "this.dept < 100")}, fault.BadSchema, "wells.proto"},
		{"no zstd", &servicev1.PublishQuestionnaireRequest{FormZstd: []byte("x")}, fault.QuestionnaireDamaged, "none"},
		{"Hearth's own package", &servicev1.PublishQuestionnaireRequest{Form: wells("package form.wells", "package hearth.wells.v1")}, fault.QuestionnaireNameTaken, "package of Hearth itself"},
		{"a name that is taken", &servicev1.PublishQuestionnaireRequest{Form: wells("package form.wells", "package form.other")}, fault.QuestionnaireNameTaken, "there is a questionnaire form.wells.Wells already"},
		{"a built-in's last word", &servicev1.PublishQuestionnaireRequest{Form: wells("message Wells", "message School")}, fault.QuestionnaireNameTaken, "hearth.survey.v1.School"},
		{"descriptors that are none", &servicev1.PublishQuestionnaireRequest{Form: &servicev1.QuestionnaireForm{Files: []byte{0xff}}}, fault.BadSchema, "the descriptors"},
	} {
		if _, err := servicev1.NewStudyServiceClient(d.conn).PublishQuestionnaire(with(t.Context()), c.req); reasonOf(err) != string(c.reason) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s and %q", c.about, err, c.reason, c.want)
		}
	}
	// A dry run says the same and writes nothing.
	dry := &servicev1.PublishQuestionnaireRequest{DryRun: proto.Bool(true), Form: wells("int32 depth", "int64 depth", "version: 1", "version: 2")}
	resp, err := servicev1.NewStudyServiceClient(d.conn).PublishQuestionnaire(with(t.Context()), dry)
	if err != nil || resp.GetPublished() || resp.GetRefused() || len(resp.GetChanges()) != 1 || resp.GetQuestionnaire().GetVersion() != 2 {
		t.Errorf("a dry run: %v, %v", resp, err)
	}
	if q, _ := d.known().Find("wells"); q.Version() != 1 {
		t.Error("a dry run has published")
	}
	dry.Form = wells("int32 depth", "bool depth", "this.depth < 100", "this.depth", "version: 1", "version: 2")
	if resp, err = servicev1.NewStudyServiceClient(d.conn).PublishQuestionnaire(with(t.Context()), dry); err != nil || !resp.GetRefused() {
		t.Errorf("a dry run of what is refused: %v, %v", resp, err)
	}
	// A tablet may not bring a publication.
	tb := newTablet("tablet-01")
	tb.greet(t, d)
	raw := tb.record(t, household(1), func(r *servicev1.Record) { r.Kind = servicev1.RecordKind_RECORD_KIND_QUESTIONNAIRE.Enum() })
	if ack := tb.push(t, d, raw); len(ack.GetResults()) != 1 || ack.GetResults()[0].GetReason() != string(fault.UnknownKind) {
		t.Errorf("a tablet that publishes: %v", ack.GetResults())
	}
}

// What is larger than a record is cut, and comes together again.
func TestPublishingInPieces(t *testing.T) {
	st := newMemory()
	d := newDesk(t, st)
	f := placeList(t, 3000)
	f.Lock = make([]byte, 5<<18) // a lock that cannot be packed
	rand.NewChaCha8([32]byte{1}).Read(f.Lock)
	resp := d.publish(t, f)
	if !resp.GetPublished() {
		t.Fatalf("published: %v", resp)
	}
	records, err := st.Revisions(t.Context(), questionnairesPart(), servicev1.RecordKind_RECORD_KIND_QUESTIONNAIRE, questionnairesSubject)
	if err != nil || len(records) < 2 {
		t.Fatalf("%d records: want several, or the list is too short to test anything (%v)", len(records), err)
	}
	if _, err := d.pullForm(t.Context(), "form.places.Places", func(*servicev1.PullResponse) {}); err != nil {
		t.Error(err)
	}
	// The last record missing, as after a crash: what was cut short is as if it had never been begun.
	st.mu.Lock()
	st.records = st.records[:len(st.records)-1]
	st.mu.Unlock()
	d.forms.state.Store(&published{last: 1, set: d.forms.builtin})
	if _, err := d.refreshQuestionnaires(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.known().Find("places"); ok {
		t.Error("a questionnaire is known that was cut short")
	}
	if resp = d.publish(t, f); !resp.GetPublished() {
		t.Errorf("published again: %v", resp)
	}
	if _, ok := d.known().Find("places"); !ok {
		t.Error("it is not known when it is published again")
	}
}

// placeList is a questionnaire with a table of choices.
func placeList(t testing.TB, rows int) *servicev1.QuestionnaireForm {
	t.Helper()
	var b strings.Builder
	b.WriteString(`edition = "2023"; package form.places; import "hearth/form/v1/options.proto"; option (hearth.form.v1.table) = {name: "village" rows: [`)
	x := uint64(1)
	for i := range rows {
		if i > 0 {
			b.WriteString(",\n")
		}
		x = x*6364136223846793005 + 1442695040888963407
		fmt.Fprintf(&b, `{number: %d choice: {name: "%012d" label: {en: "Village %x" zh: "%c%c%c村"}}}`, i+1, x>>25, x>>40, rune(0x4e00+x>>50), rune(0x4e00+x>>20&0xfff), rune(0x4e00+x>>33&0xfff))
	}
	b.WriteString(`]};
message Places {
  option (hearth.form.v1.module) = {title: {en: "Places"} version: 1};
  int32 village = 1 [(hearth.form.v1.question) = {label: {en: "Village"} choices: "village"}];
}`)
	return &servicev1.QuestionnaireForm{Name: proto.String("places.proto"), Source: []byte(b.String())}
}

// pullForm fetches the bucket of questionnaires as a tablet does, page by page, and reads one of them.
func (d *desk) pullForm(ctx context.Context, name string, page func(*servicev1.PullResponse)) (*questionnaire.Questionnaire, error) {
	rows := map[string][]byte{}
	kind := servicev1.BucketKind_BUCKET_KIND_QUESTIONNAIRES
	cursor := &servicev1.Cursor{}
	sum := uint64(0)
	for more := true; more; {
		req := &servicev1.PullRequest{Device: make([]byte, 16), Study: proto.String("guizhou"), Buckets: []*servicev1.BucketCursor{{Kind: kind.Enum(), Scope: proto.String(""), Cursor: cursor}}}
		resp, err := servicev1.NewSyncServiceClient(d.conn).Pull(with(ctx), req)
		if err != nil {
			return nil, err
		}
		page(resp)
		p := resp.GetPages()[0]
		for _, r := range p.GetRows() {
			if rows[r.GetKey()] = r.GetBody(); r.GetOp() == servicev1.RowOp_ROW_OP_REMOVE {
				delete(rows, r.GetKey())
			}
		}
		cursor, more, sum = p.GetCursor(), p.GetMore(), p.GetSum()
	}
	for key, body := range rows {
		sum -= syncer.RowFingerprint(kind, key, body)
	}
	if sum != 0 {
		return nil, fmt.Errorf("the rows do not have the sum")
	}
	for v := uint32(9); v > 0; v-- {
		head := &servicev1.QuestionnaireVersion{}
		raw, ok := rows[fmt.Sprintf("%s/%d", name, v)]
		if !ok || proto.Unmarshal(raw, head) != nil {
			continue
		}
		var pieces [][]byte
		for i := range head.GetPieces() {
			pieces = append(pieces, rows[fmt.Sprintf("%s/%d/%d", name, v, i)])
		}
		files, err := syncer.JoinQuestionnaire(pieces, head.GetFilesSha256())
		if err != nil {
			return nil, err
		}
		set := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(files, set); err != nil {
			return nil, err
		}
		if set, err = questionnaire.Closed(set); err != nil {
			return nil, err
		}
		return questionnaire.Load(set, name)
	}
	return nil, fmt.Errorf("there is no row of %s", name)
}

// Pages stay small, and a tablet that goes on from its cursor is given what is new and told what is gone.
func TestQuestionnairesInPages(t *testing.T) {
	d := newDesk(t, newMemory())
	d.publish(t, placeList(t, 8000))
	pages, largest := 0, 0
	q, err := d.pullForm(t.Context(), "form.places.Places", func(r *servicev1.PullResponse) {
		pages++
		largest = max(largest, proto.Size(r))
	})
	if err != nil || q.Version() != 1 || pages < 3 || largest > maxDownPage+syncer.QuestionnairePiece {
		t.Fatalf("%d pages, the largest of %d bytes: %v", pages, largest, err)
	}
	kind := servicev1.BucketKind_BUCKET_KIND_QUESTIONNAIRES
	req := &servicev1.PullRequest{Device: make([]byte, 16), Study: proto.String("guizhou"), Buckets: []*servicev1.BucketCursor{{Kind: kind.Enum(), Scope: proto.String(""), Cursor: &servicev1.Cursor{}}}}
	var p *servicev1.BucketPage
	pull := func() {
		t.Helper()
		for more := true; more; {
			resp, err := servicev1.NewSyncServiceClient(d.conn).Pull(with(t.Context()), req)
			if err != nil {
				t.Fatal(err)
			}
			p = resp.GetPages()[0]
			req.Buckets[0].Cursor, more = p.GetCursor(), p.GetMore()
		}
	}
	pull()
	d.publish(t, wells())
	if pull(); p.GetWhole() || len(p.GetRows()) != 2 {
		t.Errorf("after another was published %d rows come, whole %v; want its version and its only piece", len(p.GetRows()), p.GetWhole())
	}
	d.publish(t, wells("version: 1", "version: 2", "depth < 100", "depth < 99"))
	pull()
	removed := 0
	for _, r := range p.GetRows() {
		if r.GetOp() == servicev1.RowOp_ROW_OP_REMOVE && r.GetKey() == "form.wells.Wells/1/0" {
			removed++
		}
	}
	if len(p.GetRows()) != 4 || removed != 1 {
		t.Errorf("version 2 brings %d rows and takes %d away: want two versions, a piece, and the old piece gone", len(p.GetRows()), removed)
	}
	if q, err := d.pullForm(t.Context(), "form.wells.Wells", func(*servicev1.PullResponse) {}); err != nil || q.Version() != 2 {
		t.Errorf("whole again: %v", err)
	}
	// Other words of version 2, which replace its piece, and then a version 3: the piece is gone for who had those words.
	d.publish(t, wells("version: 1", "version: 2", "depth < 100", "depth < 99", "How deep?", "How deep is it?"))
	pull()
	d.publish(t, wells("version: 1", "version: 3", "depth < 100", "depth < 98"))
	pull()
	if !slices.ContainsFunc(p.GetRows(), func(r *servicev1.Row) bool {
		return r.GetOp() == servicev1.RowOp_ROW_OP_REMOVE && r.GetKey() == "form.wells.Wells/2/0"
	}) {
		t.Errorf("after other words and another version the old piece is not taken away: %v", p.GetRows())
	}
}

// Tablets send and fetch, people look, and the questionnaire changes under them.
func TestPublishingWhileTabletsSync(t *testing.T) {
	d := newDesk(t, newMemory())
	d.publish(t, wells())
	q := schemaOf(t, wells())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	group, sync := errgroup.WithContext(ctx)
	const each = 20
	for i := range 3 {
		tb := newTablet(fmt.Sprint("tablet-", i))
		tb.greet(t, d)
		var batches []*servicev1.Batch
		for range each {
			iv := wellInterview(t, q, 1, `{"source": "WELL", "depth": 150}`)
			batches = append(batches, tb.batch(tb.record(t, iv, answering(iv))))
		}
		group.Go(func() error {
			for _, b := range batches {
				resp, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(sync), &servicev1.PushBatchRequest{Batch: b})
				if err != nil {
					return err
				}
				if len(resp.GetAck().GetResults()) > 0 {
					return fmt.Errorf("not plainly stored: %v", resp.GetAck().GetResults())
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for v := 2; v <= 4; v++ {
			f := wells("version: 1", fmt.Sprint("version: ", v), "depth < 100", fmt.Sprint("depth < ", 100+v*20))
			if _, err := servicev1.NewStudyServiceClient(d.conn).PublishQuestionnaire(with(sync), &servicev1.PublishQuestionnaireRequest{Form: f}); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error {
		for range 10 {
			if _, err := servicev1.NewStudyServiceClient(d.conn).ListQuestionnaires(with(sync), &servicev1.ListQuestionnairesRequest{}); err != nil {
				return err
			}
			if _, err := d.pullForm(sync, "form.wells.Wells", func(*servicev1.PullResponse) {}); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := d.Project(ctx); err != nil {
		t.Fatal(err)
	}
	if err := d.Reevaluate(ctx, func(int, int) {}); err != nil {
		t.Fatal(err)
	}
	resp, err := servicev1.NewMonitorServiceClient(d.conn).CountFlags(with(t.Context()), &servicev1.CountFlagsRequest{By: []servicev1.FlagDimension{servicev1.FlagDimension_FLAG_DIMENSION_RULE}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.GetRows() {
		if r.GetKeys()[0] == "form.wells.Wells.depth/possible" {
			t.Errorf("%d interviews have a flag of an old rule", r.GetFlags())
		}
	}
	if resp.GetTotal().GetOfInterviews() != 3*each {
		t.Errorf("%d interviews, want %d", resp.GetTotal().GetOfInterviews(), 3*each)
	}
}
