package export

import (
	"strconv"
	"time"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// choiceList is the choices of a published questionnaire, of an enum or of a table, as they are exported.
type choiceList struct {
	name    string       // of the set of labels
	values  []ValueLabel // in order, without those that are reasons
	code    map[int32]int32
	missing map[int32]formv1.Missing
	names   map[int32]string
	// named is whether a column with the names stands beside the codes: of a table, unless they are the codes.
	named bool
}

// codeOf is the code of a choice in the data; of one that the list has not, its number.
func (l *choiceList) codeOf(number int32) int32 {
	if c, ok := l.code[number]; ok {
		return c
	}
	return number
}

// choiceRow is one choice as the schema has it.
type choiceRow struct {
	number int32
	choice *formv1.Choice
	word   string // where it has no label
}

// listOf is the list of a field, nil where it has none.
func (b *builder) listOf(fd protoreflect.FieldDescriptor, q *formv1.Question) *choiceList {
	switch {
	case fd.IsMap():
		return nil
	case fd.Enum() != nil:
		return b.list(string(fd.Enum().FullName()), string(fd.Enum().Name()), false, func() []choiceRow { return rowsOfEnum(fd.Enum()) })
	case q.GetChoices() != "" && (fd.Kind() == protoreflect.Int32Kind || fd.Kind() == protoreflect.Int64Kind):
		return b.list("table "+q.GetChoices(), q.GetChoices(), true, func() []choiceRow { return rowsOfTable(fd.ParentFile(), q.GetChoices()) })
	}
	return nil
}

func rowsOfEnum(ed protoreflect.EnumDescriptor) []choiceRow {
	var out []choiceRow
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		if v.Number() == 0 {
			continue // no answer
		}
		c := formv1.ChoiceOf(v.Options())
		out = append(out, choiceRow{int32(v.Number()), c, string(v.Name())})
	}
	return out
}

// rowsOfTable finds a table of choices in the file of the question.
func rowsOfTable(file protoreflect.FileDescriptor, name string) []choiceRow {
	tables := formv1.TablesOf(file.Options())
	var out []choiceRow
	for _, t := range tables {
		if t.GetName() != name {
			continue
		}
		for _, r := range t.GetRows() {
			out = append(out, choiceRow{r.GetNumber(), r.GetChoice(), strconv.Itoa(int(r.GetNumber()))})
		}
	}
	return out
}

// list makes a list once. Where two choices would have the same code, all keep their numbers.
func (b *builder) list(key, name string, table bool, rows func() []choiceRow) *choiceList {
	if l := b.publishing.lists[key]; l != nil {
		return l
	}
	l := &choiceList{code: map[int32]int32{}, missing: map[int32]formv1.Missing{}, names: map[int32]string{}, name: b.setName(snake(name))}
	b.publishing.lists[key] = l
	all := rows()
	codes := map[int32]bool{}
	unique := true
	seen := map[int32]bool{}
	for _, r := range all {
		code := r.number
		if r.choice != nil && r.choice.Code != nil {
			code = r.choice.GetCode()
		}
		unique = unique && (!codes[code] || seen[r.number])
		codes[code], seen[r.number] = true, true
	}
	for _, r := range all {
		if _, twice := l.code[r.number]; twice {
			continue
		}
		code := r.number
		if unique && r.choice != nil && r.choice.Code != nil {
			code = r.choice.GetCode()
		}
		l.code[r.number], l.names[r.number] = code, r.choice.GetName()
		l.named = l.named || table && r.choice.GetName() != "" && r.choice.GetName() != strconv.Itoa(int(code))
		if why := r.choice.GetMissing(); why != formv1.Missing_MISSING_UNSPECIFIED {
			l.missing[r.number] = why
			continue
		}
		label := b.worded(r.choice.GetLabel())
		if label == nil {
			word := r.word
			if r.choice.GetName() != "" {
				word = r.choice.GetName()
			}
			label = text(word, word)
		}
		l.values = append(l.values, ValueLabel{Code: code, Label: label, Name: r.choice.GetName()})
	}
	return l
}

// setName makes the name of a set of labels unique in the questionnaire: enums of several messages may be called alike.
func (b *builder) setName(name string) string {
	base := name
	for n := 2; b.publishing.setNames[name]; n++ {
		name = base + "_" + strconv.Itoa(n)
	}
	b.publishing.setNames[name] = true
	return name
}

// numberOf is the number of a choice, held as an enum or as the number of a table's row.
func numberOf(fd protoreflect.FieldDescriptor, v protoreflect.Value) int32 {
	if fd.Enum() != nil {
		return int32(v.Enum())
	}
	return int32(v.Int())
}

// chosen puts one choice into a row. One that is a reason for having no answer is exported as that.
func chosen(s *step, v protoreflect.Value, r *row) {
	n := numberOf(s.fd, v)
	if n == 0 {
		return
	}
	if why := s.list.missing[n]; why != formv1.Missing_MISSING_UNSPECIFIED {
		r.why[s.question] = int32(why) + 1
		return
	}
	r.cells[s.col] = intCell(int64(s.list.codeOf(n)))
	if s.list.named {
		r.cells[s.col+1] = textCell(s.list.names[n])
	}
}

// selected puts several choices into a row.
func selected(s *step, list protoreflect.List, r *row) {
	var all []byte
	n := int64(0)
	for i := range list.Len() {
		number := numberOf(s.fd, list.Get(i))
		if why := s.list.missing[number]; why != formv1.Missing_MISSING_UNSPECIFIED {
			r.why[s.question] = int32(why) + 1
			continue
		}
		if n++; n > 1 {
			all = append(all, ';')
		}
		all = strconv.AppendInt(all, int64(s.list.codeOf(number)), 10)
	}
	if n == 0 {
		return
	}
	r.cells[s.col] = textCell(string(all))
	if s.op == opChoices {
		for _, col := range s.codes {
			r.cells[col] = intCell(0)
		}
	}
	rank := int64(0)
	for i := range list.Len() {
		number := numberOf(s.fd, list.Get(i))
		if s.list.missing[number] != formv1.Missing_MISSING_UNSPECIFIED {
			continue
		}
		rank++
		col, ok := s.codes[protoreflect.EnumNumber(s.list.codeOf(number))]
		switch {
		case !ok:
		case s.op == opChoices:
			r.cells[col] = intCell(1)
		case !r.cells[col].set:
			r.cells[col] = intCell(rank)
		}
	}
}

// momentOf is the instant of a date and time with an offset; what is written otherwise stands in the text beside it.
func momentOf(s string) cell {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return cell{}
	}
	return timeCell(t.UnixMilli())
}
