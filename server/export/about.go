package export

import (
	"strconv"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/paradata"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Flags and paradata are about an answer, which they name by its path in the interview. In an export they have the
// table and the variable, and the keys of the row, so that they can be merged to it.

// located is where the answer of a path stands in the export.
type located struct {
	known           bool // the schema knows the path
	table, variable string
	household       string
	person          string
	line, position  cell
}

// locate follows a path such as household.members[0].age through the interview at hand. A question that the export
// leaves out has a table, and no variable.
func (x *extractor) locate(path string) located {
	if path == "" || x.interview == nil {
		return located{}
	}
	at := located{table: x.plan.interview.Name, known: true}
	t, n, m := x.plan.interview, x.plan.interview.root, x.interview.ProtoReflect()
	if p := "other.answers."; x.other != nil && strings.HasPrefix(path, p) {
		q := x.plan.published[x.other.Descriptor().FullName()]
		t, n, m, path = q.table, q.table.root, x.other, path[len(p):]
		at.table = t.Name
	}
	for part := range strings.SplitSeq(path, ".") {
		name, row, _ := strings.Cut(strings.TrimSuffix(part, "]"), "[")
		fd := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		s := n.step(fd)
		if s == nil {
			at.known = fd != nil
			return at
		}
		switch s.op {
		case opMessage:
			n, m = s.sub, m.Get(fd).Message()
		case opTable:
			t, n, m = s.table, s.table.root, rowOf(fd, m.Get(fd), row)
			at.table, at.position = t.Name, cell{}
			if i, err := strconv.Atoi(row); err == nil {
				at.position = intCell(int64(i) + 1)
			}
			if m == nil {
				return at
			}
			at.keys(m)
		default:
			at.variable = t.Questions[s.question].Name
			return at
		}
	}
	return at
}

// step is what is done with a field, nil where it is left out.
func (n *node) step(fd protoreflect.FieldDescriptor) *step {
	for i := range n.steps {
		if fd != nil && n.steps[i].fd.Number() == fd.Number() {
			return &n.steps[i]
		}
	}
	return nil
}

// rowOf is the message of a level; nil for a row that is not there, or is one of a map.
func rowOf(fd protoreflect.FieldDescriptor, v protoreflect.Value, row string) protoreflect.Message {
	switch i, err := strconv.Atoi(row); {
	case fd.IsMap():
		return nil
	case !fd.IsList():
		return v.Message()
	case err == nil && i >= 0 && i < v.List().Len():
		return v.List().Get(i).Message()
	}
	return nil
}

// keys takes the keys of a row that levels below have too.
func (at *located) keys(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	text := func(name protoreflect.Name, to *string) {
		if fd := fields.ByName(name); fd != nil && fd.Kind() == protoreflect.StringKind && !fd.IsList() && m.Has(fd) {
			*to = m.Get(fd).String()
		}
	}
	text("household_id", &at.household)
	text("person_id", &at.person)
	if fd := fields.ByName("line_number"); fd != nil && fd.Kind() == protoreflect.Int32Kind && m.Has(fd) {
		at.line = intCell(m.Get(fd).Int())
	}
}

// aboutColumn is one of the columns that say what a row is about.
type aboutColumn struct {
	name  string
	kind  Kind
	label *formv1.Text
	value func(located) cell
}

func aboutColumns() []aboutColumn {
	return []aboutColumn{
		{"table", KindText, text("Table of the answer", "答案所在数据表"), func(at located) cell { return textCell(at.table) }},
		{"variable", KindText, text("Variable of the answer", "答案的变量"), func(at located) cell { return textCell(at.variable) }},
		{"household_id", KindText, text("Household id (UUID)", "住户编号（UUID）"), func(at located) cell { return textCell(at.household) }},
		{"person_id", KindText, text("Person id (UUID)", "人员编号（UUID）"), func(at located) cell { return textCell(at.person) }},
		{"line_number", KindInteger, text("Line number", "序号"), func(at located) cell { return at.line }},
		{"position", KindInteger, text("Position in the list", "在列表中的位置"), func(at located) cell { return at.position }},
	}
}

// paradataTable lays out the table of visits to questions.
func (b *builder) paradataTable() *Table {
	t := &Table{
		Name: b.tableName("paradata", nil), Title: text("Visit to a question", "对问题的访问过程"), root: &node{}, position: -1, toldIn: -1, mapKey: -1,
	}
	b.plan.Tables = append(b.plan.Tables, t)
	b.fix(t, &Column{Name: "interview_id", Kind: KindText, Label: text("Interview id (UUID)", "访问编号（UUID）")})
	b.fix(t, &Column{Name: "sequence", Kind: KindInteger, Label: text("Number of the visit in the interview", "访问过程序号")})
	t.Keys = len(t.Columns)
	for _, c := range aboutColumns() {
		b.fix(t, &Column{Name: c.name, Kind: c.kind, Label: c.label})
	}
	b.fix(t, &Column{Name: "question", Kind: KindText, Label: text("Path of the question in the interview", "问题在访问中的路径")})
	b.fix(t, &Column{Name: "start_time", Kind: KindTime, Label: text("Start of the visit", "开始时间")})
	b.fix(t, &Column{Name: "duration_seconds", Kind: KindNumber, Unit: "second", Label: text("Duration", "时长"), Measure: formv1.Measure_MEASURE_SCALE})
	b.fix(t, &Column{Name: "changes", Kind: KindInteger, Label: text("How often the answer was changed", "答案修改次数"), Measure: formv1.Measure_MEASURE_SCALE})
	return t
}

// trail emits the visits to questions that one record of paradata tells of. What a question is called that the schema
// does not know is free text, and stands in exports that hold answers of every kind alone.
func (x *extractor) trail(p *servicev1.Paradata) error {
	trail, err := paradata.Decode(p)
	if err != nil {
		x.unread["have paradata that cannot be read"]++
		return nil
	}
	t := x.plan.paradata
	r := x.rows[t]
	for _, v := range trail.Visits {
		r.reset()
		x.visits++
		x.found = x.locate(v.Question)
		r.cells[0], r.cells[1] = textCell(x.interview.GetInterviewId()), intCell(x.visits)
		at := t.Keys
		for _, c := range aboutColumns() {
			r.cells[at] = c.value(x.found)
			at++
		}
		if x.found.known || !x.plan.research() {
			r.cells[at] = textCell(v.Question)
		}
		r.cells[at+1], r.cells[at+2], r.cells[at+3] = timeCell(v.StartMS), cell{set: true, f: float64(v.Duration) / 1000}, intCell(int64(v.Changes))
		if _, err := x.send(r); err != nil {
			return err
		}
	}
	return nil
}
