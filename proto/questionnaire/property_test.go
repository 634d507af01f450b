package questionnaire

import (
	"strings"
	"testing"

	"buf.build/go/protovalidate"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Any interview gives flags with all that a flag has, in an order that depends on nothing but the interview.
func TestEvaluateAnyInterview(t *testing.T) {
	s := builtin(t)
	rapid.Check(t, func(t *rapid.T) {
		iv := interviews(t)
		flags := s.Evaluate(iv)
		raw, err := proto.Marshal(iv)
		if err != nil {
			t.Fatal(err)
		}
		again := &surveyv1.Interview{}
		if err := proto.Unmarshal(raw, again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(flags, s.Evaluate(again), protocmp.Transform()); diff != "" {
			t.Fatalf("a copy of the interview has other flags (-first +copy):\n%s", diff)
		}
		type key struct{ path, rule string }
		seen := map[key]bool{}
		for _, f := range flags {
			k := key{f.GetPath(), f.GetRule()}
			if seen[k] {
				t.Fatalf("%v is flagged twice", k)
			}
			seen[k] = true
			if !strings.HasPrefix(k.rule, "hearth.survey.v1.") || f.GetMessage().GetEn() == "" || f.GetMessage().GetZh() == "" ||
				f.GetSeverity() == formv1.Severity_SEVERITY_UNSPECIFIED || f.InterviewId != nil || f.Part != nil {
				t.Fatalf("a flag is not complete: %v", f)
			}
		}
	})
}

// Our limits are those of protovalidate: the same rules are broken at the same paths.
func TestLimitsAgreeWithProtovalidate(t *testing.T) {
	s := builtin(t)
	judge, err := protovalidate.New(protovalidate.WithMessages(&surveyv1.Interview{}))
	if err != nil {
		t.Fatal(err)
	}
	type key struct{ path, rule string }
	total := 0
	rapid.Check(t, func(t *rapid.T) {
		iv := interviews(t)
		got, want := map[key]bool{}, map[key]bool{}
		flags := s.Evaluate(iv)
		if len(flags) == maxFlags {
			t.Skip("too many flags")
		}
		for _, f := range flags {
			if _, id, _ := strings.Cut(f.GetRule(), "/"); strings.Contains(id, ".") {
				got[key{f.GetPath(), f.GetRule()}] = true
			}
		}
		if err := judge.Validate(iv); err != nil {
			violations := err.(*protovalidate.ValidationError).Violations
			for _, v := range violations {
				field := string(v.FieldDescriptor.FullName())
				if v.FieldDescriptor.Kind() == protoreflect.StringKind && v.FieldValue.String() == "" {
					continue // an empty text is no answer
				}
				want[key{protovalidate.FieldPathString(v.Proto.GetField()), field + "/" + v.Proto.GetRuleId()}] = true
			}
		}
		total += len(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("limits differ (-protovalidate +ours):\n%s", diff)
		}
	})
	if total < 100 {
		t.Errorf("only %d broken limits were seen: the random interviews are too tame", total)
	}
}

// However large an interview is, its evaluation gives up after a bounded amount of work and has a bounded number of flags.
func TestEvaluateIsBounded(t *testing.T) {
	s := builtin(t)
	h := &surveyv1.Household{}
	for i := range 20_000 {
		h.Members = append(h.Members, &surveyv1.HouseholdMember{LineNumber: proto.Int32(int32(i)), MotherLine: proto.Int32(int32(i)), Age: proto.Int32(3)})
	}
	iv := &surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: h}}
	flags := s.Evaluate(iv)
	if len(flags) != maxFlags {
		t.Errorf("20,000 members have %d flags, want %d", len(flags), maxFlags)
	}
	if got, want := flags[len(flags)-1].GetRule(), "hearth.survey.v1.Interview/too_many_flags"; got != want {
		t.Errorf("the last flag is %s, want %s", got, want)
	}
	failed := false
	for _, f := range flags {
		failed = failed || strings.HasSuffix(f.GetRule(), "Household.members/expression_failed")
	}
	if !failed {
		t.Error("the check of unique line numbers was carried out on 20,000 rows, want it given up")
	}
}

func FuzzEvaluate(f *testing.F) {
	s := builtin(f)
	raw, err := proto.Marshal(household(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{})
	f.Add(raw[:len(raw)/2])
	f.Fuzz(func(t *testing.T, raw []byte) {
		iv := &surveyv1.Interview{}
		if err := proto.Unmarshal(raw, iv); err != nil {
			return
		}
		if n := len(s.Evaluate(iv)); n > maxFlags {
			t.Errorf("%d flags, want at most %d", n, maxFlags)
		}
	})
}
