package export

import (
	"math"
	"strings"
	"sync"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// derivation are the calculations of derived.proto.
var derivation = sync.OnceValues(func() (*questionnaire.Derivation, error) {
	return questionnaire.NewDerivation((&surveyv1.HouseholdDerived{}).ProtoReflect().Descriptor(), "people")
})

// derivedStage adds the variables that the study derives to the tables of households and of people, behind what was answered.
type derivedStage struct {
	plainStage
	of                *questionnaire.Derivation
	household, person *derivedTable

	interview *surveyv1.Interview // whose variables are at hand
	top       []questionnaire.Derived
	rows      [][]questionnaire.Derived
}

// derivedTable is where the variables stand in a table: the columns and the questions, by calculation.
type derivedTable struct {
	table              *Table
	columns, questions []int
}

func newDerived() (*derivedStage, error) {
	d, err := derivation()
	return &derivedStage{of: d}, err
}

// layOut adds the columns.
func (d *derivedStage) layOut(j *job) error {
	d.household = d.add(j.plan.table("household"), d.of.Top())
	d.person = d.add(j.plan.table("person"), d.of.Rows())
	return nil
}

func (d *derivedStage) add(t *Table, m *questionnaire.Module) *derivedTable {
	if t == nil {
		return nil
	}
	out := &derivedTable{table: t}
	for _, q := range m.Questions {
		if q.Options.GetCalculate() == "" {
			continue
		}
		if q.Options.GetSystem() { // a step on the way to others
			out.columns, out.questions = append(out.columns, -1), append(out.questions, -1)
			continue
		}
		i := t.addColumn(derivedColumn(q.Field, d.of.Top().Desc))
		name := t.Columns[i].Name
		out.columns, out.questions = append(out.columns, i), append(out.questions, len(t.Questions))
		t.Questions = append(t.Questions, &Question{Name: name, Why: suffixed(name, whyOf), Label: t.Columns[i].Label, from: i, at: i + 1})
	}
	return out
}

func derivedColumn(fd protoreflect.FieldDescriptor, root protoreflect.MessageDescriptor) Column {
	q := formv1.QuestionOf(fd.Options())
	c := Column{
		Name: string(fd.Name()), Kind: scalarKind(fd), Label: q.GetLabel(), Unit: q.GetUnit(), Measure: q.GetMeasure(), Personal: q.GetPersonalData(),
		Path: "derived." + string(fd.Name()), field: fd, op: opScalar, Formula: q.GetCalculate(), hint: q.GetHint(),
	}
	c.Derived = questionnaire.Words(derivedWords.Replace(c.Formula), fd.ContainingMessage(), root, nil)
	switch {
	case fd.Enum() != nil:
		c.Kind, c.op, c.enum, c.Values = KindCode, opEnum, string(fd.Enum().FullName()), choices(fd.Enum())
	case c.Kind == KindYesNo:
		c.Values = yesNoLabels()
	}
	return c
}

// derivedWords lets words speak of the one person of the row.
var derivedWords = strings.NewReplacer("root.members[position - 1]", "root.members[0]")

// row fills in what is derived.
func (d *derivedStage) row(x *extractor, r *row) (bool, error) {
	switch {
	case d.household != nil && r.table == d.household.table:
		d.carryOut(x.interview)
		d.household.fill(r, d.top)
	case d.person != nil && r.table == d.person.table:
		d.carryOut(x.interview)
		if i := int(r.cells[r.table.position].i) - 1; i >= 0 && i < len(d.rows) {
			d.person.fill(r, d.rows[i])
		}
	}
	return true, nil
}

// carryOut derives all of an interview once; the rows of one follow each other.
func (d *derivedStage) carryOut(iv *surveyv1.Interview) {
	if d.interview == iv {
		return
	}
	h := iv.GetHousehold()
	m := &surveyv1.HouseholdDerived{
		HouseholdId: h.HouseholdId, Cover: h.GetCover(), Members: h.GetMembers(), Housing: h.GetHousing(), Income: h.GetIncome(),
		Settlement: h.GetSettlement(), Land: h.GetLand(), Finances: h.GetFinances(), SafetyNet: h.GetSafetyNet(),
	}
	for range m.Members {
		m.People = append(m.People, &surveyv1.PersonDerived{})
	}
	d.interview = iv
	d.top, d.rows = d.of.Of(m)
}

func (t *derivedTable) fill(r *row, values []questionnaire.Derived) {
	for i, v := range values {
		col := t.columns[i]
		if col < 0 {
			continue
		}
		c := &r.cells[col]
		switch x := v.Value.(type) {
		case nil:
			if v.Reason != formv1.Missing_MISSING_UNSPECIFIED {
				r.why[t.questions[i]] = int32(v.Reason) + 1
			}
		case bool:
			*c = boolCell(x)
		case int64:
			*c = intCell(x)
		case float64:
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				*c = cell{set: true, f: x}
			}
		case string:
			*c = textCell(x)
		}
	}
}
