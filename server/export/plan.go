package export

import (
	"maps"
	"slices"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Kind is what the values of a variable are.
type Kind uint8

// The kinds of variable.
const (
	// KindText is text.
	KindText Kind = iota
	// KindInteger is a whole number.
	KindInteger
	// KindNumber is a number with a fraction.
	KindNumber
	// KindCode is the number of an answer with a label.
	KindCode
	// KindYesNo is 1 or 0.
	KindYesNo
	// KindTime is an instant in UTC, ISO 8601 with a Z.
	KindTime
	// KindDate is a date as far as it is known: yyyy, yyyy-mm or yyyy-mm-dd.
	KindDate
)

var kindNames = [...]string{"text", "integer", "number", "code", "0/1", "time", "date"}

// String names the kind as the codebook does.
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// ValueLabel is one code of a variable and its wording.
type ValueLabel struct {
	Code  int32
	Label *formv1.Text
	// Name is what the choice is called in the XLSForm it came from; empty where there is none.
	Name string
}

// Column is one variable of a table.
type Column struct {
	// Name is unique in the table, at most 32 characters of a-z, 0-9 and _, and starts with a letter.
	Name  string
	Kind  Kind
	Label *formv1.Text
	// Universe says who is asked, in words; Relevant says it in CEL.
	Universe *formv1.Text
	Relevant string
	Unit     string
	Measure  formv1.Measure
	Personal formv1.PersonalData
	// Path and Numbers are the fields from the table's message down to the variable, by name and by number. The numbers
	// identify the variable across rounds and renames.
	Path, Numbers string
	// Since and Until are the versions of the questionnaire that have the question; 0: no limit.
	Since, Until uint32
	Values       []ValueLabel
	// Formula is how a variable that nobody was asked is derived, in CEL, and Derived in words.
	Formula string
	Derived *formv1.Text

	hint     *formv1.Text // what is to be known of it
	label    map[int32]*formv1.Text
	enum     string      // name of the list that the values are of
	formName string      // what the question is called in the XLSForm it came from
	long     *choiceList // a list of which only the choices that occur are labelled
	list     listKind    // whether it holds several answers, with semicolons between
	hidden   bool        // by a stage: it stands in no file

	field protoreflect.FieldDescriptor // nil for what is no answer
	op    op
}

// Question is what a reason for a missing answer is given for: one column, several (a date, a list of choices) or a
// table of its own.
type Question struct {
	// Name of the variable or the block, and of the column that holds the reason.
	Name, Why string
	Label     *formv1.Text

	from, at int // the columns from the first on, and the one before which the reason's column stands
	op       op
}

// Table is one level: one file of each format, one row per message of that level.
type Table struct {
	Name   string
	Title  *formv1.Text
	Parent *Table
	// Keys are the first columns: those of the levels above, then the level's own.
	Keys      int
	Columns   []*Column
	Questions []*Question

	desc      protoreflect.FullName
	root      *node
	inherited []inheritedKey
	position  int // column of the position within the parent, or -1
	toldIn    int // column of the field a row was told in, or -1
	mapKey    int // column of the key, where the rows are the values of a map, or -1
	extras    []extra
	own       []int // own key columns
	left      bool  // the table stands in no file
	positions []position
}

// hidden is whether all columns of a question are hidden; a block or a table of its own has none to hide.
func (t *Table) hidden(q *Question) bool {
	for _, c := range t.Columns[q.from:q.at] {
		if !c.hidden {
			return false
		}
	}
	return q.at > q.from
}

// inheritedKey copies a key of the parent's row into a column.
type inheritedKey struct{ from, to int }

// Plan is the tables of an export in the order of the questionnaire, made from the schema alone.
type Plan struct {
	Tables  []*Table
	Profile servicev1.PrivacyProfile

	leftOut []*Table // tables that stand in no file, though those below them may

	interview, appearance, told, coupon, graphNode, graphEdge, flag, paradata, link *Table

	published map[protoreflect.FullName]*publishedTable
	fields    map[protoreflect.FullName]protoreflect.FieldDescriptor // of published questionnaires
	unclassed []unclassed
}

// NewPlan lays out the tables for a privacy profile; an unset profile is the research profile. Those of published
// questionnaires stand after all others. It returns an error only for a schema that cannot be laid out, such as a message
// that contains itself.
func NewPlan(profile servicev1.PrivacyProfile, published ...Published) (*Plan, error) {
	return newPlan((*surveyv1.Interview)(nil).ProtoReflect().Descriptor(), profile, published...)
}

func newPlan(interview protoreflect.MessageDescriptor, profile servicev1.PrivacyProfile, published ...Published) (*Plan, error) {
	if profile != servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED {
		profile = servicev1.PrivacyProfile_PRIVACY_PROFILE_RESEARCH
	}
	p := &Plan{
		Profile: profile, published: map[protoreflect.FullName]*publishedTable{}, fields: map[protoreflect.FullName]protoreflect.FieldDescriptor{},
	}
	b := &builder{plan: p, uses: map[protoreflect.FullName]int{}, tableNames: map[string]bool{}}
	b.countUses(interview, map[protoreflect.FullName]bool{})
	for _, top := range []struct {
		at   **Table
		name string
		desc protoreflect.MessageDescriptor
	}{
		{&p.interview, "interview", interview},
		{&p.appearance, "appearance", (*servicev1.PersonRecord)(nil).ProtoReflect().Descriptor()},
		{&p.told, "referral_told", (*servicev1.ReferralRecord)(nil).ProtoReflect().Descriptor()},
		{&p.graphNode, "referral_node", (*servicev1.ReferralNode)(nil).ProtoReflect().Descriptor()},
		{&p.graphEdge, "referral_edge", (*servicev1.ReferralEdge)(nil).ProtoReflect().Descriptor()},
		{&p.flag, "flag", (*servicev1.Flag)(nil).ProtoReflect().Descriptor()},
		{&p.link, "link", (*servicev1.LinkDecision)(nil).ProtoReflect().Descriptor()},
		{&p.coupon, "coupon_event", (*servicev1.CouponEvent)(nil).ProtoReflect().Descriptor()},
	} {
		t, err := b.table(top.name, top.desc, nil, false)
		if err != nil {
			return nil, err
		}
		*top.at = t
		if t == p.flag {
			p.paradata = b.paradataTable()
		}
	}
	for _, q := range published {
		if err := b.publish(q); err != nil {
			return nil, err
		}
	}
	for _, t := range p.Tables {
		b.name(t)
	}
	return p, nil
}

func (p *Plan) research() bool { return p.Profile == servicev1.PrivacyProfile_PRIVACY_PROFILE_RESEARCH }

// question returns the option of a field, for fields of the services the wording kept in this package.
func question(fd protoreflect.FieldDescriptor) *formv1.Question {
	if q := formv1.QuestionOf(fd.Options()); q != nil {
		return q
	}
	if q, ok := serviceQuestion(fd.FullName()); ok {
		return q
	}
	return nil
}

// choices lists the codes of an enum with their labels.
func choices(ed protoreflect.EnumDescriptor) []ValueLabel {
	var out []ValueLabel
	seen := map[protoreflect.EnumNumber]bool{}
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		if seen[v.Number()] {
			continue
		}
		seen[v.Number()] = true
		c := formv1.ChoiceOf(v.Options())
		l := c.GetLabel()
		if l == nil {
			l = serviceChoice(v)
		}
		out = append(out, ValueLabel{Code: int32(v.Number()), Label: l})
	}
	return out
}

// wording returns a text in a language, in English where the language has none.
func wording(t *formv1.Text, lang string) string {
	if lang == "zh" && t.GetZh() != "" {
		return t.GetZh()
	}
	if s := t.GetMore()[lang]; s != "" {
		return s
	}
	if t.GetEn() != "" {
		return t.GetEn()
	}
	if t.GetZh() != "" || len(t.GetMore()) == 0 {
		return t.GetZh()
	}
	return t.GetMore()[slices.Min(slices.Collect(maps.Keys(t.GetMore())))]
}

func text(en, zh string) *formv1.Text {
	return &formv1.Text{En: proto.String(en), Zh: proto.String(zh)}
}
