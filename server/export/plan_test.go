package export

import (
	"regexp"
	"testing"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestNames checks every name of the export against what Stata, SPSS and R take.
func TestNames(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for _, profile := range []servicev1.PrivacyProfile{identified, research} {
		p, err := NewPlan(profile)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Tables) < 15 {
			t.Fatalf("%d tables, the questionnaires have more", len(p.Tables))
		}
		tables := map[string]bool{}
		for _, table := range p.Tables {
			if tables[table.Name] || !valid.MatchString(table.Name) || len(table.Name) > maxTable {
				t.Errorf("table name %q is taken, too long or not a name", table.Name)
			}
			tables[table.Name] = true
			if table.Title.GetEn() == "" || table.Title.GetZh() == "" {
				t.Errorf("table %s has no title in English or Chinese", table.Name)
			}
			names := map[string]bool{}
			check := func(name string, label *formv1.Text) {
				if names[name] || !valid.MatchString(name) || len(name) > maxName || reserved[name] {
					t.Errorf("%s.%s is taken, too long, reserved or not a name", table.Name, name)
				}
				names[name] = true
				if wording(label, "en") == "" || wording(label, "zh") == "" {
					t.Errorf("%s.%s has no label in English or Chinese", table.Name, name)
				}
			}
			for _, c := range table.Columns {
				check(c.Name, c.Label)
				for _, v := range c.Values {
					if v.Label.GetEn() == "" || v.Label.GetZh() == "" {
						t.Errorf("%s.%s: code %d has no label", table.Name, c.Name, v.Code)
					}
				}
			}
			for _, q := range table.Questions {
				check(q.Why, q.Label)
			}
		}
		for _, want := range []string{"interview", "household", "person", "school", "grade", "migration", "spell", "visit", "presence", "school_attempt", "referral", "flag", "link"} {
			if !tables[want] {
				t.Errorf("no table %s", want)
			}
		}
	}
}

// TestKeys checks that the levels can be merged.
func TestKeys(t *testing.T) {
	p, err := NewPlan(research)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"interview": "interview_id",
		"visit":     "interview_id position",
		"household": "interview_id household_id canonical_household_id",
		"person":    "interview_id household_id person_id canonical_person_id line_number position",
		"referral":  "interview_id referral_id position",
	}
	for _, table := range p.Tables {
		w, ok := want[table.Name]
		if !ok {
			continue
		}
		delete(want, table.Name)
		got := ""
		for _, c := range table.Columns[:table.Keys] {
			got += c.Name + " "
		}
		if got != w+" " {
			t.Errorf("%s: got keys %q, want %q", table.Name, got, w)
		}
	}
	if len(want) > 0 {
		t.Errorf("tables not found: %v", want)
	}
}

// TestResearchPlanHasNoDirectIdentifier reads the classes of the schema, not the data.
func TestResearchPlanHasNoDirectIdentifier(t *testing.T) {
	p, err := NewPlan(servicev1.PrivacyProfile_PRIVACY_PROFILE_UNSPECIFIED)
	if err != nil {
		t.Fatal(err)
	}
	if !p.research() {
		t.Error("an unset profile is not the research profile")
	}
	for _, table := range p.Tables {
		for _, c := range table.Columns {
			if c.Personal == formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER {
				t.Errorf("%s.%s is a direct identifier", table.Name, c.Name)
			}
		}
	}
}

func TestCombine(t *testing.T) {
	for _, tt := range []struct{ prefix, name, want string }{
		{"", "age", "age"}, {"work", "employer", "work_employer"}, {"work", "work_place", "work_place"},
		{"network_size", "size", "network_size"}, {"land", "land_place", "land_place"}, {"to", "person_id", "to_person_id"},
		{"principal_person", "person_id", "principal_person_id"}, {"", "Größe 1", "gre1"}, {"", "1st", "v1st"},
	} {
		if got := combine(tt.prefix, tt.name); got != tt.want {
			t.Errorf("combine(%q, %q): got %q, want %q", tt.prefix, tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct{ in, want string }{
		{"lives_in_survey_city_six_months", "live_in_surve_city_six_month"}, {"short", "short"},
	} {
		if got := cutWords(tt.in, 28); got != tt.want {
			t.Errorf("cutWords(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestNewQuestionsKeepTheNames adds a question at the end that would like a name another has.
func TestNewQuestionsKeepTheNames(t *testing.T) {
	names := func(candidates ...[]string) []string {
		var out []string
		var drafts []draft
		for _, c := range candidates {
			drafts = append(drafts, draft{candidates: c, suffixes: []string{""}, give: func(n string) { out = append(out, n) }})
		}
		assign(drafts, map[string]bool{"position": true})
		return out
	}
	long := []string{"a_very_long_module_name_with_question", "question"}
	before := names([]string{"age"}, long)
	got := names([]string{"age"}, long, []string{"another_very_long_module_with_question", "question"}, []string{"position"})
	want := []string{"age", "question", "ano_very_long_modu_with_ques", "position_2"}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("name %d: got %q, want %q", i, got[i], want[i])
		}
	}
	if before[1] != got[1] {
		t.Errorf("a new question renamed another: %q to %q", before[1], got[1])
	}
}

func TestMessageThatContainsItself(t *testing.T) {
	for _, label := range []descriptorpb.FieldDescriptorProto_Label{descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED} {
		file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: proto.String("loop.proto"), Package: proto.String("loop"), Syntax: proto.String("proto3"),
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Loop"), Field: []*descriptorpb.FieldDescriptorProto{{
				Name: proto.String("again"), Number: proto.Int32(1), Label: label.Enum(),
				Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), TypeName: proto.String(".loop.Loop"),
			}}}},
		}, protoregistry.GlobalFiles)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newPlan(file.Messages().Get(0), research); err == nil {
			t.Errorf("%v: a message that contains itself was laid out", label)
		}
	}
}
