package questionnaire

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"
)

// The third version of the village: the note was renamed, income is in thousands since 2 and has another number since 3,
// schools were recoded in 2, and split from 3 on; all also within the roster.
var third = []string{
	"version: 1}", "version: 3}",
	`string note = 1 [(hearth.form.v1.question) = {`, `string remark = 1 [(hearth.form.v1.question) = {earlier: {until: 1 name: "note"} `,
	`double income = 3 [(hearth.form.v1.question) = {label: {en: "Income" zh: "收入"} unit: "yuan"}];`,
	`double old_income = 3 [(hearth.form.v1.question) = {label: {en: "Income"} until: 2 unit: "1000 yuan" earlier: {until: 1 name: "income" value: "this.old_income / 1000.0"}}];
	 double income = 8 [(hearth.form.v1.question) = {label: {en: "Income"} since: 3 unit: "1000 yuan" earlier: {until: 2 number: 3}}];
	 map<uint32, hearth.form.v1.Missing> missing = 100 [(hearth.form.v1.question) = {label: {en: "Why"} system: true}];`,
	`relevant: "this.age > 5"`, `earlier: {until: 1 codes: [{from: 1 to: 2}, {from: 2 to: 1}]} until: 2`,
	`message Village`, `message Village`,
	`  Education education = 14`, `  repeated Education schools = 15 [(hearth.form.v1.question) = {label: {en: "Schools"} since: 3 earlier: {until: 2 number: 14 codes: {from: 3 to: 0}}}];
  int64 weight = 17 [(hearth.form.v1.question) = {label: {en: "Weight"} since: 2 earlier: {until: 1 number: 16}}];
  Education education = 14`,
}

func villageAnswers(t testing.TB, q *Questionnaire, json string) proto.Message {
	t.Helper()
	m := q.New()
	if err := protojson.Unmarshal([]byte(json), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestUpgradeThroughThreeVersions(t *testing.T) {
	q := loadVillage(t, third...)
	// As version 1 wrote it: income in yuan, weight under a number that no schema has any more.
	m := villageAnswers(t, q, `{"remark": "x", "oldIncome": 2500, "members": [{"name": "a", "education": "PRIMARY"}, {"education": "UNIVERSITY"}, {}]}`)
	member := m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByName("members")).List().Get(0).Message()
	member.SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 16, protowire.VarintType), 70))
	before := proto.Clone(m)
	for version, want := range map[uint32]string{
		1: `{"remark":"x","oldIncome":2.5,"income":2.5,"members":[{"name":"a","weight":"70","schools":["SECONDARY"],"education":"SECONDARY"},{"education":"UNIVERSITY"},{}]}`,
		2: `{"remark":"x","oldIncome":2500,"income":2500,"members":[{"name":"a","schools":["PRIMARY"],"education":"PRIMARY"},{"education":"UNIVERSITY"},{}]}`,
		3: `{"remark":"x","oldIncome":2500,"members":[{"name":"a","education":"PRIMARY"},{"education":"UNIVERSITY"},{}]}`,
	} {
		got, err := q.Upgrade(m, version)
		if err != nil {
			t.Fatal(err)
		}
		if w := villageAnswers(t, q, want); !sameAnswers(got, w) {
			raw, _ := protojson.Marshal(got)
			t.Errorf("version %d reads as %s, want %s", version, raw, want)
		}
		if !proto.Equal(m, before) {
			t.Fatalf("version %d: the answers given were changed", version)
		}
	}
}

// sameAnswers compares without what nobody knows.
func sameAnswers(a, b proto.Message) bool {
	a, b = proto.Clone(a), proto.Clone(b)
	var strip func(m protoreflect.Message)
	strip = func(m protoreflect.Message) {
		m.SetUnknown(nil)
		m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			if f.Message() != nil && f.IsList() {
				for i := range v.List().Len() {
					strip(v.List().Get(i).Message())
				}
			} else if f.Message() != nil && !f.IsMap() {
				strip(v.Message())
			}
			return true
		})
	}
	strip(a.ProtoReflect())
	strip(b.ProtoReflect())
	return proto.Equal(a, b)
}

// The reason for having no answer goes with the question.
func TestUpgradeTakesReasonsAlong(t *testing.T) {
	q := loadVillage(t, third...)
	got, err := q.Upgrade(villageAnswers(t, q, `{"missing": {"3": "MISSING_REFUSED"}}`), 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := villageAnswers(t, q, `{"missing": {"3": "MISSING_REFUSED", "8": "MISSING_REFUSED"}}`); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Answers read by the schema of their own version are read by the newest.
func TestUpgradeOfAnotherSchemasMessage(t *testing.T) {
	first, newest := loadVillage(t), loadVillage(t, third...)
	got, err := newest.Upgrade(villageAnswers(t, first, `{"note": "x", "income": 1000}`), 1)
	if err != nil {
		t.Fatal(err)
	}
	if want := villageAnswers(t, newest, `{"remark": "x", "oldIncome": 1, "income": 1}`); !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	set, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newest.Upgrade(set.All()[0].New(), 1); err == nil {
		t.Error("answers to another questionnaire were read")
	}
}

func TestUpgradeProperties(t *testing.T) {
	q := loadVillage(t, third...)
	rapid.Check(t, func(t *rapid.T) {
		m := q.New()
		raw := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "raw")
		if rapid.Bool().Draw(t, "whole") {
			var b []byte
			for range rapid.IntRange(0, 6).Draw(t, "fields") {
				n := protowire.Number(rapid.SampledFrom([]int32{1, 3, 8, 14, 15, 16, 17, 99}).Draw(t, "number"))
				b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), rapid.Uint64Range(0, 5).Draw(t, "value"))
			}
			raw = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), b)
		}
		if proto.Unmarshal(raw, m) != nil {
			return
		}
		version := rapid.Uint32Range(0, 5).Draw(t, "version")
		given := proto.Clone(m)
		got, err := q.Upgrade(m, version)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(m, given) {
			t.Fatal("the answers given were changed")
		}
		if (version == 0 || version >= 3) && got != m {
			t.Fatal("answers of the newest version were touched")
		}
		again, err := q.Upgrade(got, q.Version())
		if err != nil || !proto.Equal(again, got) {
			t.Fatalf("what is of the newest version is not left alone: %v", err)
		}
		if !keepsUnknown(given.ProtoReflect(), got.ProtoReflect()) {
			t.Fatal("a field that nobody knows was lost")
		}
		twice, err := q.Upgrade(m, version)
		if err != nil || !proto.Equal(twice, got) {
			t.Fatalf("the same answers read otherwise: %v", err)
		}
	})
}

func keepsUnknown(a, b protoreflect.Message) bool {
	ok := strings.Contains(string(b.GetUnknown()), string(a.GetUnknown()))
	a.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil && f.IsList() {
			for i := range v.List().Len() {
				ok = ok && keepsUnknown(v.List().Get(i).Message(), b.Get(f).List().Get(i).Message())
			}
		}
		return ok
	})
	return ok
}

func TestEarlierThatMeansNothing(t *testing.T) {
	for _, c := range []struct{ earlier, want string }{
		{`{number: 3}`, "without saying until which version"},
		{`{until: 2 number: 3}`, "until must be below it"},
		{`{until: 1 number: 1}`, "its own number 1"},
		{`{until: 1}`, "does not say what was different"},
		{`{until: 1 codes: {from: 1 to: 2}}`, "offers no choices"},
		{`{until: 1 number: 3}`, "number 3 held its answer, but that holds a decimal number and this a text"},
		{`{until: 1 value: "this.income"}`, "cannot hold"},
		{`{until: 1 value: "this.nobody"}`, "undefined field"},
	} {
		_, err := tryVillage(t, append([]string{`string note = 1 [(hearth.form.v1.question) = {`, fmt.Sprintf(`string note = 1 [(hearth.form.v1.question) = {earlier: %s `, c.earlier)}, v2...)...)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "note") {
			t.Errorf("earlier: %s: got %v, want one that says %q", c.earlier, err, c.want)
		}
	}
}

// Unset is not zero, and what an old version could not ask is no fault of its interviews.
func TestOldVersionsAreNotFlagged(t *testing.T) {
	q := loadVillage(t, third...)
	empty := q.New()
	if got, err := q.Upgrade(empty, 1); err != nil || !proto.Equal(got, empty) {
		t.Errorf("an interview without answers reads as %v, %v", got, err)
	}
	for version, json := range map[uint32]string{
		1: `{"remark": "x", "oldIncome": 2500, "members": [{"name": "a", "age": 20, "education": "PRIMARY"}]}`,
		2: `{"remark": "x", "oldIncome": 2.5, "members": [{"name": "a", "age": 20, "education": "PRIMARY", "weight": "70"}]}`,
		3: `{"remark": "x", "income": 2.5, "members": [{"name": "a", "age": 20, "schools": ["PRIMARY"], "weight": "70"}]}`,
	} {
		if got := q.Evaluate(villageAnswers(t, q, json), Options{Version: version, Completed: true}).Flags; len(got) > 0 {
			t.Errorf("version %d is flagged: %v", version, got)
		}
	}
}

// The same number means the same in every version of the built-in questionnaires: syncer merges answers to two versions of one
// field by field, as it does not with those published at run time. Where this is to change, that must.
func TestBuiltinNeverMeantOtherwise(t *testing.T) {
	for _, q := range builtin(t).All() {
		if q.upgrade != nil {
			t.Errorf("%s declares what was otherwise earlier", q.Name())
		}
	}
}
