// Package questionnaire reads protobuf schemas as the questionnaires they are: questions, skip logic, checks, versions.
//
// It is for the server, which evaluates every interview that comes in, for exports, which need labels and versions, and
// for the people who read the codebook. The questionnaires built into the program are compiled once, from the
// descriptors of the generated Go; every expression is type-checked then, so that nothing is left to fail on a tablet's
// sync. Evaluate gives flags and never refuses an interview: an answer that fails a check stays as it was given.
//
// What an expression means is written down in LANGUAGE.md: above all that a question without an answer is not zero, that
// one which is not asked has none, and that calculated questions are read as what their rules yield. The package carries
// out calculations to compare them with what the tablet stored, and for the expressions that read them; it does not store
// anything, correct answers, or translate texts at run time.
package questionnaire

import (
	"bytes"
	"sort"
	"strings"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Set is the questionnaires a server knows. It is safe for concurrent use; nothing in it changes after it is made.
type Set struct {
	byName    []*Questionnaire
	interview *Module
}

// Questionnaire is one compiled questionnaire: the top message of the answers and all modules below it.
type Questionnaire struct {
	top     *Module
	version uint32
	asked   int
	// all and order are the questions by id, and the modules, of everything that was compiled together.
	all       []*Question
	order     []*Module
	interview *Module // nil for one that was loaded at run time
	files     *descriptorpb.FileDescriptorSet
	upgrade   *upgrade // nil where nothing was ever otherwise
	impacts   impacts
	lists     choiceLists
	// fingerprints are those that were asked for, by version: every interview that is written asks for one.
	fingerprints sync.Map
	hash         struct {
		once sync.Once
		sum  []byte
		err  error
	}
}

// Builtin compiles the questionnaires that ship with Hearth: household, school and migration history. The error names the
// message, the field and the column where an option is not right.
func Builtin() (*Set, error) {
	return compileSet((&surveyv1.Interview{}).ProtoReflect().Descriptor())
}

// All returns the questionnaires by name.
func (s *Set) All() []*Questionnaire { return append([]*Questionnaire(nil), s.byName...) }

// Find returns the questionnaire of a full name, "hearth.survey.v1.Household", or of its last word in any case,
// "household".
func (s *Set) Find(name string) (*Questionnaire, bool) {
	for _, q := range s.byName {
		if q.Name() == name {
			return q, true
		}
	}
	for _, q := range s.byName {
		if strings.EqualFold(string(q.top.Desc.Name()), name) {
			return q, true
		}
	}
	return nil, false
}

// With is the set and one more questionnaire, that was loaded at run time. It takes the place of one of the same name,
// unless that is newer or built in.
func (s *Set) With(q *Questionnaire) (*Set, error) {
	more := &Set{interview: s.interview}
	for _, old := range s.byName {
		switch {
		case old.Name() != q.Name():
			more.byName = append(more.byName, old)
		case old.interview != nil:
			return nil, fault.New(fault.Invalid, fault.BadSchema, "questionnaire %s is built into the program: give yours another name", q.Name())
		case old.version > q.version:
			return nil, fault.New(fault.Invalid, fault.BadSchema, "questionnaire %s has version %d already, which is newer than %d", q.Name(), old.version, q.version)
		}
	}
	more.byName = append(more.byName, q)
	sort.Slice(more.byName, func(i, j int) bool { return more.byName[i].Name() < more.byName[j].Name() })
	return more, nil
}

// Name is the full name of the questionnaire's top message.
func (q *Questionnaire) Name() string { return string(q.top.Desc.FullName()) }

// Version is the current version; versions count 1, 2, 3.
func (q *Questionnaire) Version() uint32 { return q.version }

// Title is the questionnaire's title. It is not to be changed.
func (q *Questionnaire) Title() *formv1.Text { return q.top.Options.GetTitle() }

// Questions is how many questions the current version asks: the leaves of its tree that are neither computed nor kept by
// the program, each counted once however many rows a roster has.
func (q *Questionnaire) Questions() int { return q.asked }

// Knows tells whether the questionnaire has, or once had, the version.
func (q *Questionnaire) Knows(version uint32) bool { return version >= 1 && version <= q.version }

// Fingerprint is the first 8 bytes of a SHA-256 over the structure of a version: names, numbers, types and answers of the
// questions it has, not their wording. It is nil for a version that is not known.
func (q *Questionnaire) Fingerprint(version uint32) []byte {
	if !q.Knows(version) {
		return nil
	}
	if known, ok := q.fingerprints.Load(version); ok {
		return bytes.Clone(known.([]byte))
	}
	sum := fingerprint(q.top.Desc, version)
	q.fingerprints.Store(version, sum)
	return bytes.Clone(sum)
}

// NameOf is the full name of the top message of an interview's answers, "" where there are none. Answers to a
// questionnaire published at run time carry the name themselves.
func NameOf(iv *surveyv1.Interview) string {
	switch a := iv.GetAnswers().(type) {
	case *surveyv1.Interview_Household:
		return string(a.Household.ProtoReflect().Descriptor().FullName())
	case *surveyv1.Interview_School:
		return string(a.School.ProtoReflect().Descriptor().FullName())
	case *surveyv1.Interview_Migration:
		return string(a.Migration.ProtoReflect().Descriptor().FullName())
	case *surveyv1.Interview_Other:
		return a.Other.GetQuestionnaire()
	}
	return ""
}

// compileSet compiles the interview and the questionnaires that its oneof of answers offers.
func compileSet(interview protoreflect.MessageDescriptor) (*Set, error) {
	c, err := compile(interviewTops(interview)...)
	if err != nil {
		return nil, err
	}
	s := &Set{interview: c.modules[interview.FullName()]}
	for _, top := range c.tops[1:] {
		q, err := c.questionnaire(top)
		if err != nil {
			return nil, err
		}
		q.interview = s.interview
		s.byName = append(s.byName, q)
	}
	if len(s.byName) == 0 {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "message %s has no questionnaire among its answers", interview.FullName())
	}
	sort.Slice(s.byName, func(i, j int) bool { return s.byName[i].Name() < s.byName[j].Name() })
	return s, nil
}

// countQuestions counts the leaves below a module that are asked in a version.
func countQuestions(m *Module, version uint32) int {
	n := 0
	for _, q := range m.Questions {
		switch {
		case !q.in(version) || q.Options.GetSystem() || q.Options.GetCalculate() != "":
		case q.Module != nil:
			n += countQuestions(q.Module, version)
		default:
			n++
		}
	}
	return n
}
