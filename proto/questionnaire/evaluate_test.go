package questionnaire

import (
	"os"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

func builtin(tb testing.TB) *Set {
	tb.Helper()
	s, err := Builtin()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// household is a completed interview with a household of four and nothing wrong with it.
func household(tb testing.TB) *surveyv1.Interview {
	tb.Helper()
	b, err := os.ReadFile("testdata/household.json")
	if err != nil {
		tb.Fatal(err)
	}
	iv := &surveyv1.Interview{}
	if err := protojson.Unmarshal(b, iv); err != nil {
		tb.Fatal(err)
	}
	return iv
}

func TestCleanHouseholdHasNoFlags(t *testing.T) {
	for _, f := range builtin(t).Evaluate(household(t)) {
		t.Errorf("%s %s: %s", f.GetPath(), f.GetRule(), f.GetMessage().GetEn())
	}
	if n := answers(household(t).ProtoReflect()); n < 150 {
		t.Errorf("the household has %d answers, want at least 150", n)
	}
}

// answers counts the scalar fields that are set.
func answers(m protoreflect.Message) int {
	n := 0
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.IsMap():
		case GroupOf(fd) == nil:
			n++
		case fd.IsList():
			for i := range v.List().Len() {
				n += answers(v.List().Get(i).Message())
			}
		default:
			n += answers(v.Message())
		}
		return true
	})
	return n
}
