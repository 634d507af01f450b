package questionnaire

import (
	"reflect"
	"sync"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Module is a message of a questionnaire: its top, a group, or one row of a roster. It is not to be changed.
type Module struct {
	Desc    protoreflect.MessageDescriptor
	Options *formv1.Module
	// Questions are the message's fields in the order in which they are written, without the map of missing reasons.
	Questions []*Question

	byNumber map[protoreflect.FieldNumber]*Question
	// glances are what is known beforehand of each question.
	glances []glance
	// missing is the map of missing reasons by field number, nil where the message has none.
	missing *access
	// typ is the type of the generated Go, nil where there is none.
	typ reflect.Type
	id  int
	// conditions is how many different conditions the questions have for being asked, groups how many of them are messages.
	conditions, groups int
	// unfolded is how many questions there are in it, those of a group counted wherever the group stands.
	unfolded int
	// demanding: somewhere in the message or below there is a question that needs an answer, or a rule that may fail though
	// nothing is answered.
	demanding bool
	// top: the message is the root of a questionnaire's expressions.
	top bool
}

// Top tells whether the message is a questionnaire, or the interview around it, rather than a part of one.
func (m *Module) Top() bool { return m.top }

// Reasons tells whether the message has a map of reasons for missing answers. One that has none is a block: one answer in
// several parts, such as a place or a date, whose reason stands with the question that it answers.
func (m *Module) Reasons() bool { return m.missing != nil }

// Find returns the question with the name of a field.
func (m *Module) Find(name string) (*Question, bool) {
	if f := m.Desc.Fields().ByName(protoreflect.Name(name)); f != nil {
		q, ok := m.byNumber[f.Number()]
		return q, ok
	}
	return nil, false
}

// Question is a field of a questionnaire. It is not to be changed.
type Question struct {
	// What every evaluation looks at stands together.
	access *access
	// index and kid are the question's number among the questions and among the groups of its message, condition which of its
	// message's conditions relevant is.
	index, kid, condition int
	since, until          uint32
	number                uint32
	required              bool
	// silent: nothing is said of the question where it has no answer and needs none, whatever the other answers.
	silent bool
	// valued: something is said of the answer by itself; ranked: the choices stand in the order of preference.
	valued, ranked bool
	// List: there may be several values, or with Module several rows; then the question is a roster.
	List bool
	// Module is set where the answer is a message of its own: the question is a group, a block or a roster.
	Module    *Module
	relevant  *predicate
	calculate *calculation
	checks    []check
	limits    []limit
	format    func(string) bool
	itemRules []limit
	enum      *enumeration
	filter    *predicate
	count     *calculation
	needed    *predicate // required_when
	name      string
	// rule is what the names of the question's rules begin with: "hearth.survey.v1.HouseholdMember.age/".
	rule string
	// Choices are what is offered; nil where the answer is no choice.
	Choices *Choices

	Field    protoreflect.FieldDescriptor
	Options  *formv1.Question
	id       int     // number among all that were compiled together
	home     *Module // the message in which it stands
	accepted [5]bool // by number of the reason
	initial  *calculation
}

// Name is the name of the question's field.
func (q *Question) Name() string { return q.name }

// In tells whether a version has the question. Version 0 is not known, and taken for one that has everything current.
func (q *Question) In(version uint32) bool { return q.in(version) }

// Accepted are the reasons that the question accepts for having no answer.
func (q *Question) Accepted() []formv1.Missing { return acceptedReasons(q.Options) }

// check is a compiled check of an answer.
type check struct {
	Options *formv1.Check
	rule    string
	holds   *predicate
}

// Choices are the answers that a question offers: the values of an enum, or the rows of a table of the file.
type Choices struct {
	// Name is the enum's full name, or the table's name.
	Name  string
	Title *formv1.Text
	// List has the choices in the order in which they are written; the zero of an enum, which is no answer, is not there.
	List []Choice
	// Enum is nil for a table.
	Enum protoreflect.EnumDescriptor
	// Exclusive are the numbers of the choices that stand alone where several may be chosen.
	Exclusive []int32

	byNumber map[int32]int
	byName   map[string]int
	columns  sync.Map // of rowsBy
}

// Choice is one answer that is offered.
type Choice struct {
	Number int32
	// Name is the choice's name in the form that it came from; where it has none the enum value's, or the number.
	Name string
	// Label and Options are nil where the schema gives none.
	Label   *formv1.Text
	Columns map[string]string
	Options *formv1.Choice
}

// Find returns the choice with a number.
func (c *Choices) Find(number int32) (*Choice, bool) {
	i, ok := c.byNumber[number]
	if !ok {
		return nil, false
	}
	return &c.List[i], true
}

// Named returns the first choice with a name.
func (c *Choices) Named(name string) (*Choice, bool) {
	i, ok := c.byName[name]
	if !ok {
		return nil, false
	}
	return &c.List[i], true
}
