package export

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const public = servicev1.PrivacyProfile_PRIVACY_PROFILE_PUBLIC

// harmless are the texts that may stand in an export that protects those who answered, as they were given: this list is the
// test's own, so that a new text of a questionnaire is looked for until somebody has thought of it here too.
var harmless = map[string]string{
	"Place.province": "贵州省", "Place.prefecture": "贵阳市", "Place.country": "缅甸", "Interview.study": "guiyang", "SampleOrigin.stratum": "城区",
	"SampleStage.unit": "PSU", "Consent.text_version": "v3", "OtherAnswers.questionnaire": "form.farm.Farm", "Attachment.media_type": "image/jpeg",
	"NetworkSize.wording": "How many?", "PersonRecord.study": "guiyang", "PersonRecord.questionnaire": "household", "ReferralRecord.study": "guiyang",
	"ReferralNode.role": "principal", "ReferralNode.kind": "person", "ReferralNode.status": "refused", "ReferralEdge.mode": "coupon", "ReferralEdge.relation": "friend",
	"Flag.path": "household.members[0].age", "Flag.rule": "a/b", "LinkDecision.study": "guiyang", "InterviewSummary.questionnaire": "household",
	"InterviewSummary.day": "2016-07-21",
}

// What is planted. A county may stand in a research export, and not in a public one.
const (
	bird     = "金丝雀BIRD7391金丝雀BIRD7391"
	division = "520103987654"
	county   = "云岩COUNTYBIRD"
)

// planted fills every text of a schema, whatever its question, so that a text that is added to it is covered.
func planted(placed *int) func(protoreflect.FieldDescriptor) protoreflect.Value {
	return func(fd protoreflect.FieldDescriptor) protoreflect.Value {
		name := string(fd.Parent().Name()) + "." + string(fd.Name())
		switch {
		case fd.Kind() == protoreflect.DoubleKind && fd.Parent().Name() == "GeoPoint":
			*placed++
			return protoreflect.ValueOfFloat64(77.7654321)
		case fd.Kind() == protoreflect.Int64Kind && strings.Contains(string(fd.Name()), "mobile"):
			*placed++
			return protoreflect.ValueOfInt64(13987654321)
		case fd.Kind() == protoreflect.BytesKind:
			*placed++
			return protoreflect.ValueOfBytes([]byte(bird))
		case fd.Kind() != protoreflect.StringKind:
			return protoreflect.Value{}
		case name == "Place.division_code":
			return protoreflect.ValueOfString(division)
		case name == "Place.county":
			return protoreflect.ValueOfString(county)
		case harmless[name] != "":
			return protoreflect.ValueOfString(harmless[name])
		}
		*placed++
		return protoreflect.ValueOfString(bird)
	}
}

// farmForm is a form as field teams write them: nobody has said which answers identify.
const farmForm = `edition = "2023";
package form.farm;
import "hearth/form/v1/options.proto";
enum Where { WHERE_UNSPECIFIED = 0; BIRDTON = 1 [(hearth.form.v1.choice) = {label: {en: "north"}}]; }
message Farm {
  option (hearth.form.v1.module) = {title: {en: "Farm"} version: 1 level: "farm"};
  string respondent_name = 1 [(hearth.form.v1.question) = {label: {en: "Name"}}];
  int64 mobile = 2 [(hearth.form.v1.question) = {label: {en: "Number"}}];
  int64 q7 = 3 [(hearth.form.v1.question) = {label: {en: "Best mobile number to reach you"}}];
  string comments = 4 [(hearth.form.v1.question) = {label: {en: "Comments"}}];
  string full = 5 [(hearth.form.v1.question) = {label: {en: "Both"} calculate: "this.respondent_name"}];
  string deviceid = 6 [(hearth.form.v1.question) = {system: true}];
  string line = 7 [(hearth.form.v1.question) = {label: {en: "Walk"} format: FORMAT_GEO_TRACE}];
  Where village = 8 [(hearth.form.v1.question) = {label: {en: "Village"}}];
  int32 hens = 9 [(hearth.form.v1.question) = {label: {en: "Hens"}}];
  string crop = 10 [(hearth.form.v1.question) = {label: {en: "Crop"} personal_data: PERSONAL_DATA_NONE}];
  string hh_id = 12 [(hearth.form.v1.question) = {label: {en: "Household"}}];
  repeated Member members = 11;
  message Member {
    option (hearth.form.v1.module) = {title: {en: "Member"}};
    string nickname = 1 [(hearth.form.v1.question) = {label: {en: "Who"}}];
    int64 mobile_2 = 2 [(hearth.form.v1.question) = {label: {en: "Number"}}];
  }
}`

// aviary is a source in which everything that could identify is planted, in the questionnaires built in, in what the server
// makes of them, and in a published form.
func aviary(t *testing.T) (src Source, placed int) {
	f := &filler{all: true, canary: bird, said: planted(&placed)}
	src = random(11, 8, f)
	top := questionnaireOf(t, farmForm, "Farm")
	f.r = rand.New(rand.NewPCG(1, 1))
	m := dynamicpb.NewMessage(top)
	f.message(m, 0, false)
	m.Set(top.Fields().ByName("q7"), protoreflect.ValueOfInt64(13987654321))
	m.Set(top.Fields().ByName("crop"), protoreflect.ValueOfString("maize"))
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	old := src.Interviews
	src.Interviews = func(yield func(*Answered, error) bool) {
		for a, err := range old {
			if !yield(a, err) {
				return
			}
		}
		yield(&Answered{Interview: &surveyv1.Interview{InterviewId: proto.String(bird), Answers: &surveyv1.Interview_Other{
			Other: &surveyv1.OtherAnswers{Questionnaire: proto.String("form.farm.Farm"), Answers: raw}}}}, nil)
	}
	src.Published = []Published{{Top: top}}
	return src, placed
}

// traces are the bytes that a planted text, code or number leaves behind in any encoding that a file may have.
func traces(t *testing.T, profile servicev1.PrivacyProfile) map[string][]byte {
	out := map[string][]byte{
		"position": []byte("77.765"), "position as a float": binary.LittleEndian.AppendUint64(nil, math.Float64bits(77.7654321)),
		"position as a float, highest byte first": binary.BigEndian.AppendUint64(nil, math.Float64bits(77.7654321)),
		"telephone": []byte("13987654321"), "telephone as a float": binary.LittleEndian.AppendUint64(nil, math.Float64bits(13987654321)),
		"telephone as an integer": binary.LittleEndian.AppendUint64(nil, 13987654321), "bytes as text": []byte("QklSRD"), "bytes in hexadecimal": []byte("42495244"),
	}
	words := []string{"BIRD7391", "金丝雀", "03987654"}
	if profile == public {
		words = append(words, "COUNTYBIRD", "520103")
	}
	for _, w := range words {
		out[w] = []byte(w)
		for name, e := range map[string]interface{ Bytes([]byte) ([]byte, error) }{
			"GB 18030": simplifiedchinese.GB18030.NewEncoder(),
			"UTF-16LE": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM).NewEncoder(), "UTF-16BE": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM).NewEncoder(),
		} {
			b, err := e.Bytes([]byte(w))
			if err != nil {
				t.Fatal(err)
			}
			out[w+" in "+name] = b
		}
	}
	return out
}

// carve unpacks whatever in a file looks packed, by any of the methods in use, wherever it stands.
func carve(content []byte) (out [][]byte) {
	try := func(open func(io.Reader) (io.Reader, error), at int) {
		r, err := open(bytes.NewReader(content[at:]))
		if err != nil {
			return
		}
		if b, _ := io.ReadAll(io.LimitReader(r, 16<<20)); len(b) > 8 { // what was read before an error counts too
			out = append(out, b)
		}
	}
	for at := range len(content) - 4 {
		switch {
		case content[at] == 0x78 && (content[at+1] == 0x01 || content[at+1] == 0x9c || content[at+1] == 0x5e || content[at+1] == 0xda):
			try(func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }, at)
		case content[at] == 0x1f && content[at+1] == 0x8b:
			try(func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }, at)
		case binary.LittleEndian.Uint32(content[at:]) == 0xfd2fb528:
			try(func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }, at)
		case binary.LittleEndian.Uint32(content[at:]) == 0x04034b50 && at+30 < len(content):
			skip := 30 + int(binary.LittleEndian.Uint16(content[at+26:])) + int(binary.LittleEndian.Uint16(content[at+28:]))
			if at+skip < len(content) {
				try(func(r io.Reader) (io.Reader, error) { return flate.NewReader(r), nil }, at+skip)
			}
		}
	}
	return out
}

// sightings looks for what was planted in every byte of an export.
func sightings(t *testing.T, files map[string][]byte, profile servicev1.PrivacyProfile) map[string][]string {
	t.Helper()
	marks := traces(t, profile)
	out := map[string][]string{}
	for name, content := range unpack(t, files) {
		for _, b := range append(carve(content), content, []byte(name)) {
			for what, m := range marks {
				if bytes.Contains(b, m) {
					out[filepath.Ext(name)] = append(out[filepath.Ext(name)], name+": "+what)
				}
			}
		}
	}
	return out
}

// TestNobodyIsFound plants what identifies into every field there is and looks for it in every byte of research and public
// exports, in all formats, unpacked; then in an identified export, where it must be found in every kind of file.
func TestNobodyIsFound(t *testing.T) {
	src, placed := aviary(t)
	if placed < 1000 {
		t.Fatalf("only %d planted", placed)
	}
	for _, profile := range []servicev1.PrivacyProfile{research, public} {
		opts := Options{Profile: profile, Formats: Formats(), Privacy: &Privacy{Key: []byte("key"), K: 2, Suppress: true}}
		files, m := export(t, src, opts)
		for _, seen := range sightings(t, files.files, profile) {
			for i, s := range seen {
				if i > 5 {
					break
				}
				t.Errorf("%s: %s", ProfileName(profile), s)
			}
		}
		if m.Privacy == nil || m.Privacy.LeftOut["free text"] < 10 || m.Privacy.LeftOut["positions"] < 1 {
			t.Errorf("the manifest does not say what was left out: %+v", m.Privacy)
		}
		if n := len(records(t, files.files["csv/interview.csv"])); profile == research && n != 9 {
			t.Errorf("%d interviews, want 9: the test proves nothing", n)
		}
	}
	files, _ := export(t, src, Options{Profile: identified, Formats: Formats()})
	seen := sightings(t, files.files, public)
	for _, kind := range []string{".csv", ".dta", ".sav", ".zsav", ".parquet", ".xlsx", ".jsonl", ".gpkg", ".geojson", ".graphml"} {
		if len(seen[kind]) == 0 {
			t.Errorf("nothing is found in identified %s files: the test proves nothing of them", kind)
		}
	}
}

// TestFormsResearch keeps of a form what somebody has said is harmless, and numbers and choices that are not named like
// an identifier.
func TestFormsResearch(t *testing.T) {
	src, _ := aviary(t)
	row := func(free bool) map[string]string {
		files, _ := export(t, src, Options{Formats: []servicev1.ExportFormat{asCSV}, Privacy: &Privacy{Key: []byte("key"), FreeText: free}})
		return records(t, files.files["csv/farm.csv"])[0]
	}
	got := row(false)
	for name, there := range map[string]bool{"hens": true, "crop": true, "hh_id": true, "respondent_name": false, "mobile": false, "q7": false, "comments": false, "full": false, "deviceid": false, "line": false, "village": false} {
		if _, ok := got[name]; ok != there {
			t.Errorf("%s is there: %v, want %v", name, ok, there)
		}
	}
	if got["crop"] != "maize" {
		t.Errorf("crop %q", got["crop"])
	}
	got = row(true)
	if _, ok := got["respondent_name"]; ok || got["comments"] != bird {
		t.Errorf("with free text: comments %q, a name %v", got["comments"], ok)
	}
}

// TestPseudonyms are the same in all tables and exports of a profile, other than in another, and none without the key.
func TestPseudonyms(t *testing.T) {
	src := small()
	read := func(profile servicev1.PrivacyProfile, key string, table string) map[string]string {
		t.Helper()
		files, _ := export(t, src, Options{Profile: profile, Formats: []servicev1.ExportFormat{asCSV}, Privacy: &Privacy{Key: []byte(key), K: 2, Quasi: []string{"interview.kind"}, Suppress: true}})
		return records(t, files.files["csv/"+table+".csv"])[0]
	}
	a, b := read(research, "key", "interview"), read(research, "key", "person")
	if a["interview_id"] == "i-1" || a["interview_id"] != b["interview_id"] || a["interview_id"] != Pseudonym([]byte("key"), "research", "i-1") {
		t.Errorf("interview %q, its person's %q", a["interview_id"], b["interview_id"])
	}
	if c := read(research, "other", "interview"); c["interview_id"] == a["interview_id"] {
		t.Error("another key gives the same pseudonyms")
	}
	if c := read(public, "key", "person"); c["interview_id"] == a["interview_id"] || c["interview_id"] == "" {
		t.Errorf("public %q, research %q: the two can be merged", c["interview_id"], a["interview_id"])
	}
	if k := a["interview_key"]; k != "" && (len(k) != 14 || strings.Contains(k, "GY")) {
		t.Errorf("key %q was not issued anew", k)
	}
	if _, err := Write(t.Context(), src, Options{Privacy: &Privacy{}}, &memory{}, nil); err == nil {
		t.Error("there are pseudonyms without a key")
	}
}

// crowd has people by sex and birth year, each in a household of their own.
func crowd(n int, of func(i int) (surveyv1.Sex, int32)) Source {
	var interviews []*surveyv1.Interview
	for i := range n {
		sex, age := of(i)
		interviews = append(interviews, &surveyv1.Interview{InterviewId: proto.String(fmt.Sprint("i-", i)), Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{
			HouseholdId: proto.String(fmt.Sprint("h-", i)), Members: []*surveyv1.HouseholdMember{{LineNumber: proto.Int32(1), Sex: sex.Enum(), Age: proto.Int32(age)}}}}})
	}
	return source(interviews, make([]*servicev1.InterviewSummary, n))
}

// TestGate refuses to single anybody out, and says whom; or blanks as much as is needed and no more.
func TestGate(t *testing.T) {
	const male, female = surveyv1.Sex_SEX_MALE, surveyv1.Sex_SEX_FEMALE
	// 6 men of 30, 6 women of 30, 1 woman of 97, 2 men of 61, 3 men of 47.
	src := crowd(18, func(i int) (surveyv1.Sex, int32) {
		switch {
		case i < 6:
			return male, 30
		case i < 12:
			return female, 31
		case i < 13:
			return female, 97
		case i < 15:
			return male, 61
		}
		return male, 47
	})
	opts := Options{Profile: public, Formats: []servicev1.ExportFormat{asCSV}, Privacy: &Privacy{Key: []byte("key"), Quasi: []string{"person.sex", "person.age"}}}
	sink := &memory{}
	_, err := Write(t.Context(), src, opts, sink, nil)
	if fault.ReasonOf(err) != fault.NotAnonymous || len(sink.files) > 0 {
		t.Fatalf("got %v and %d files", err, len(sink.files))
	}
	for _, want := range []string{"3 combinations of sex, age belong to fewer than 5, 6 rows", "sex=female, age=85 (1); sex=male, age=60 (2); sex=male, age=45 (3)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
	var notices []string
	opts.Notice = func(s string) { notices = append(notices, s) }
	opts.Privacy.Suppress = true
	files, m := export(t, src, opts)
	count := map[string]int{}
	for _, p := range records(t, files.files["csv/person.csv"]) {
		count[p["sex"]+" "+p["age"]]++
		if _, there := p["relation_to_head"]; there {
			t.Fatal("a quasi-identifier stands there that nobody looked at")
		}
	}
	// Five men lose their age; the woman of 97 would be alone among those without an age, and goes.
	if fmt.Sprint(count) != "map[1 :5 1 30:6 2 30:6]" {
		t.Errorf("got %v", count)
	}
	if m.Privacy.Suppressed["person.age"] != 5 || m.Privacy.RowsLeftOut["person"] != 1 || m.Privacy.K != 5 {
		t.Errorf("the manifest says %+v", m.Privacy)
	}
	if !strings.Contains(strings.Join(notices, "\n"), "sex=female, age=85 (1)") || strings.Contains(string(files.files["manifest.json"]), "age=85") {
		t.Errorf("whoever asked is told %q; readers of the files must not be", notices)
	}
	opts.Privacy.Quasi = []string{"person.full_name"}
	if _, err := Write(t.Context(), src, opts, &memory{}, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a name as quasi-identifier: %v", err)
	}
}

// TestGateCountsHouseholds: five children of one household are one household.
func TestGateCountsHouseholds(t *testing.T) {
	src := crowd(6, func(int) (surveyv1.Sex, int32) { return surveyv1.Sex_SEX_MALE, 30 })
	src.Interviews(func(a *Answered, _ error) bool {
		r := a.Interview.GetHousehold()
		for i := range 5 {
			r.Members = append(r.Members, &surveyv1.HouseholdMember{LineNumber: proto.Int32(int32(i + 2)), Sex: surveyv1.Sex_SEX_FEMALE.Enum(), Age: proto.Int32(3)})
		}
		return false
	})
	opts := Options{Profile: public, Formats: []servicev1.ExportFormat{asCSV}, Privacy: &Privacy{Key: []byte("key"), Quasi: []string{"person.sex", "person.age"}}}
	_, err := Write(t.Context(), src, opts, &memory{}, nil)
	if err == nil || !strings.Contains(err.Error(), "sex=female, age=0 (1)") {
		t.Errorf("got %v", err)
	}
}

// TestGateAgainstSDCMicro counts as R's sdcMicro does, whose figures for its own data set are published with it.
func TestGateAgainstSDCMicro(t *testing.T) {
	root := os.Getenv("HEARTH_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	raw, err := os.ReadFile(filepath.Join(root, "data", "micro", "sdc_testdata.csv"))
	if err != nil {
		if os.Getenv("HEARTH_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("skipped: ../shared/data is not here")
	}
	all, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		names string
		below map[int]int64
	}{
		{"urbrur roof walls water electcon relat sex", map[int]int64{2: 157, 3: 281, 5: 458}},
		{"urbrur water sex age", map[int]int64{2: 330, 3: 674, 5: 1288}},
	} {
		for k, want := range tt.below {
			table := &Table{Name: "testdata"}
			var at []int
			g := &gate{table: table, k: k, texts: map[string]uint64{}, classes: map[string]*class{}, labels: map[string]string{}}
			for i, name := range all[0] {
				for n := range strings.SplitSeq(tt.names, " ") {
					if n == name {
						g.cols, g.asked = append(g.cols, len(table.Columns)), append(g.asked, nil)
						table.Columns = append(table.Columns, &Column{Name: n, Kind: KindInteger})
						at = append(at, i)
					}
				}
			}
			r := &row{table: table, cells: make([]cell, len(at))}
			for who, rec := range all[1:] {
				for i, col := range at {
					if r.cells[i] = (cell{}); rec[col] != "NA" {
						n, err := strconv.ParseInt(rec[col], 10, 64)
						if err != nil {
							t.Fatal(err)
						}
						r.cells[i] = intCell(n)
					}
				}
				g.meet(r, uint32(who))
			}
			got := int64(0)
			for _, c := range g.classes {
				if c.n < k {
					got += c.rows
				}
			}
			if got != want {
				t.Errorf("%s: %d records below k = %d, want %d", tt.names, got, k, want)
			}
		}
	}
}

// TestTopCodes lowers the highest values until k share them.
func TestTopCodes(t *testing.T) {
	top := &topValues{k: 3}
	values := []float64{5, 900, 7, 8, 10000, 6, 901}
	for i, v := range values {
		top.add(v, uint32(i))
	}
	for range 5 { // one who says it five times is one
		top.add(20000, 4)
	}
	values[4] = 20000
	shared := 0
	col := &Column{Kind: KindInteger}
	for _, v := range values {
		c := intCell(int64(v))
		if top.cut(col, &c); c.i == 900 {
			shared++
		}
		if c.i > 900 {
			t.Errorf("%v became %d", v, c.i)
		}
	}
	if shared != 3 || top.lowered != 2 {
		t.Errorf("%d share the highest value, %d were lowered", shared, top.lowered)
	}
}
