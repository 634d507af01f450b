package export

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Messages that are one answer, not a module.
const (
	dateName      protoreflect.FullName = "hearth.survey.v1.PartialDate"
	moneyName     protoreflect.FullName = "hearth.survey.v1.Money"
	timestampName protoreflect.FullName = "google.protobuf.Timestamp"
	durationName  protoreflect.FullName = "google.protobuf.Duration"
	identityName  protoreflect.FullName = "hearth.survey.v1.Identity"
	missingName   protoreflect.FullName = "hearth.form.v1.Missing"
)

// maxColumns keeps a schema gone wild from filling the memory.
const maxColumns = 60_000

// op is how a field becomes values.
type op uint8

const (
	opScalar   op = iota // one column
	opEnum               // one column
	opMilli              // milliseconds since 1970: one column of kind time
	opTime               // google.protobuf.Timestamp: one column
	opDuration           // google.protobuf.Duration: one column in seconds
	opDate               // ISO text, year, month, day, calendar, leap month
	opMoney              // yuan, estimated
	opList               // several scalars in one column
	opChoices            // several choices: one column with all, one 0/1 column per choice
	opRank               // choices in order: one column with all, one column with the rank per choice
	opDateTime           // text of a date and time: the instant, and the text
	opMap                // a map of scalars in one column
	opMessage            // the fields of a message
	opTable              // rows of a table of their own
	opSpecial            // the wording of a rule
)

// step is what is done with one field of a message.
type step struct {
	fd        protoreflect.FieldDescriptor
	op        op
	col       int // first column
	question  int
	canonical int // column for the canonical id, or -1
	float32   bool
	sub       *node
	table     *Table
	codes     map[protoreflect.EnumNumber]int // column of each choice
	parts     [5]protoreflect.FieldDescriptor // fields of a date or an amount
	list      *choiceList                     // the choices, in a published questionnaire
}

// node is a message as it stands in one place of a table.
type node struct {
	steps   []step
	missing protoreflect.FieldDescriptor
	byField map[int32]int // question by field number
}

type builder struct {
	plan       *Plan
	uses       map[protoreflect.FullName]int
	tableNames map[string]bool
	drafts     map[*Table][]draft
	fixed      map[*Table][]string
	prefixes   map[*Table]map[string]bool // of blocks
	onPath     []protoreflect.FullName
	columns    int
	publishing *publishing // nil for the questionnaires built in
}

// place is where in a table the builder stands.
type place struct {
	table     *Table
	prefix    string   // of the names
	droppable []string // the parts of the prefix, where a name that is too long may do without the first of them
	name      string   // of the field itself
	path      []string
	numbers   []string
	label     *formv1.Text // of the blocks above that occur in several places
	universe  *formv1.Text
	relevant  string
	personal  formv1.PersonalData
	plain     bool // a question's own name is its best
}

// countUses counts in how many places of the schema each message stands, to know which labels need their context.
func (b *builder) countUses(md protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) {
	if seen[md.FullName()] {
		return
	}
	seen[md.FullName()] = true
	for i := range md.Fields().Len() {
		if m := md.Fields().Get(i).Message(); m != nil {
			b.uses[m.FullName()]++
			b.countUses(m, seen)
		}
	}
}

func (b *builder) table(name string, md protoreflect.MessageDescriptor, parent *Table, repeats bool) (*Table, error) {
	if b.drafts == nil {
		b.drafts, b.fixed, b.prefixes = map[*Table][]draft{}, map[*Table][]string{}, map[*Table]map[string]bool{}
	}
	name = b.tableName(name, parent)
	title := b.worded(formv1.ModuleOf(md.Options()).GetTitle())
	if title == nil {
		title = serviceTitle(md.FullName())
	}
	t := &Table{Name: name, Title: title, Parent: parent, desc: md.FullName(), root: &node{}, position: -1, toldIn: -1, mapKey: -1}
	b.plan.Tables = append(b.plan.Tables, t)
	if parent != nil {
		b.inheritKeys(t, md)
	}
	at := place{table: t, plain: b.publishing != nil}
	own := ownKeys(md, levelOf(md))
	n := &node{byField: map[int32]int{}}
	t.root = n
	b.onPath = append(b.onPath, md.FullName())
	defer func() { b.onPath = b.onPath[:len(b.onPath)-1] }()
	for _, fd := range own {
		if err := b.field(n, fd, at); err != nil {
			return nil, err
		}
		t.own = append(t.own, n.steps[len(n.steps)-1].col)
	}
	if repeats {
		t.position = b.fix(t, &Column{Name: "position", Kind: KindInteger, Label: text("Position in the list", "在列表中的位置")})
	}
	t.Keys = len(t.Columns)
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if slices.Contains(own, fd) {
			continue
		}
		if err := b.field(n, fd, at); err != nil {
			return nil, err
		}
	}
	b.addExtras(t, md)
	return t, nil
}

// levelOf is the level a message declares; for the records of the services there is none.
func levelOf(md protoreflect.MessageDescriptor) string {
	return formv1.ModuleOf(md.Options()).GetLevel()
}

// tableName makes the name unique among the tables.
func (b *builder) tableName(name string, parent *Table) string {
	name = cutWords(clean(name), maxTable)
	if b.tableNames[name] && parent != nil {
		name = cutWords(combine(parent.Name, name), maxTable)
	}
	base := name
	for n := 2; b.tableNames[name]; n++ {
		end := "_" + strconv.Itoa(n)
		name = cutWords(base, maxTable-len(end)) + end
	}
	b.tableNames[name] = true
	return name
}

// ownKeys are the fields that identify a row of the level.
func ownKeys(md protoreflect.MessageDescriptor, level string) []protoreflect.FieldDescriptor {
	var out []protoreflect.FieldDescriptor
	if level == "" {
		return nil
	}
	// The first field of a level is its id, if it has one.
	if first := md.Fields().ByNumber(1); first != nil && strings.HasSuffix(string(first.Name()), "_id") && first.Kind() == protoreflect.StringKind && !first.IsList() {
		out = append(out, first)
	}
	for _, name := range []string{level + "_id", "person_id", level + "_number", "line_number"} {
		fd := md.Fields().ByName(protoreflect.Name(name))
		if fd != nil && !fd.IsList() && !fd.IsMap() && fd.Message() == nil && fd.Enum() == nil && !slices.Contains(out, fd) {
			out = append(out, fd)
		}
	}
	return out
}

// inheritKeys gives a table the keys of the levels above, or the parent's position where that has no key of its own.
func (b *builder) inheritKeys(t *Table, md protoreflect.MessageDescriptor) {
	p := t.Parent
	mine := map[string]bool{"position": true}
	for _, fd := range ownKeys(md, levelOf(md)) {
		mine[string(fd.Name())] = true
	}
	var from []int
	for _, k := range p.inherited {
		from = append(from, k.to)
	}
	from = append(from, p.own...)
	if len(p.own) == 0 && p.position >= 0 {
		from = append(from, p.position)
	}
	for _, i := range from {
		c := *p.Columns[i]
		if c.Name == "" {
			c.Name = c.Path
		}
		if mine[c.Name] {
			c.Name = cutWords(p.Name+"_"+c.Name, maxName)
		}
		mine[c.Name] = true
		t.inherited = append(t.inherited, inheritedKey{from: i, to: b.fix(t, &c)})
	}
}

// fix adds a column whose name is settled.
func (b *builder) fix(t *Table, c *Column) int {
	b.fixed[t] = append(b.fixed[t], c.Name)
	return b.add(t, c)
}

func (b *builder) add(t *Table, c *Column) int {
	b.columns++
	c.relabel()
	t.Columns = append(t.Columns, c)
	return len(t.Columns) - 1
}

// name settles the names of a table when all its columns are known.
func (b *builder) name(t *Table) {
	taken := map[string]bool{}
	for _, n := range b.fixed[t] {
		taken[n] = true
	}
	drafts := slices.Clone(b.drafts[t])
	slices.SortStableFunc(drafts, func(a, b draft) int { return cmp.Compare(a.since, b.since) })
	assign(drafts, taken)
}

// field adds what one field of a message becomes.
func (b *builder) field(n *node, fd protoreflect.FieldDescriptor, at place) error {
	if b.columns > maxColumns {
		return fault.New(fault.TooLarge, fault.BadSchema, "the questionnaire has more than %d variables, too many to export", maxColumns)
	}
	if isMissing(fd) {
		n.missing = fd
		return nil
	}
	if skipped(fd.FullName()) {
		return nil
	}
	q := question(fd)
	if b.publishing != nil {
		if q = b.localised(q); q.GetNote() {
			return nil // read out: there is no answer
		}
	}
	if b.plan.research() && (direct(fd, q) || b.hides(fd, q)) {
		return nil
	}
	in := at.into(fd, q)
	s := step{fd: fd, canonical: -1, col: len(at.table.Columns)}
	s.question = len(at.table.Questions)
	qu := &Question{from: s.col, at: s.col, Label: in.labelOf(fd, q)}
	at.table.Questions = append(at.table.Questions, qu)
	n.byField[int32(fd.Number())] = s.question
	// The place in the list of names is kept before the names of what is inside.
	first := len(b.drafts[at.table])
	b.drafts[at.table] = append(b.drafts[at.table], draft{})
	suffixes, err := b.shape(&s, fd, q, in)
	if err != nil {
		return err
	}
	qu.at, qu.op = len(at.table.Columns), s.op
	b.drawn(at.table, &s, q)
	cols := at.table.Columns[s.col:]
	for _, c := range cols {
		if c.field == nil {
			c.field, c.op = fd, s.op
		}
	}
	b.drafts[at.table][first] = draft{candidates: in.candidates(), plain: in.plain, since: b.since(q), suffixes: suffixes, give: func(name string) {
		qu.Name, qu.Why = name, suffixed(name, whyOf)
		for i, suffix := range suffixes {
			cols[i].Name = suffixed(name, suffix)
		}
	}}
	if id := canonicalOf(fd); id != "" && s.op == opScalar {
		b.canonical(&s, id, in)
	}
	n.steps = append(n.steps, s)
	return nil
}

// canonical adds the column of the id that linkage decisions lead to.
func (b *builder) canonical(s *step, id string, in place) {
	c := b.column(KindText, in)
	c.field = s.fd
	c.Label = text("Same "+id+" after linkage decisions: canonical id", "关联判定后的统一编号")
	s.canonical = b.add(in.table, c)
	in.name = strings.TrimSuffix(in.name, id+"_id") + "canonical_id"
	if in.prefix == "" && in.name == "canonical_id" {
		in.name = "canonical_" + id + "_id"
	}
	b.drafts[in.table] = append(b.drafts[in.table], draft{
		candidates: in.candidates(), suffixes: []string{""}, give: func(name string) { c.Name = name },
	})
}

// canonicalOf says whose id a field holds: "person", "household" or nobody's.
func canonicalOf(fd protoreflect.FieldDescriptor) string {
	if fd.Kind() != protoreflect.StringKind || fd.IsList() || fd.IsMap() {
		return ""
	}
	switch name := string(fd.Name()); {
	case name == "person_id" || name == "from_person_id" || name == "to_person_id":
		if fd.Parent().FullName() == "hearth.service.v1.ReferralNode" {
			return ""
		}
		return "person"
	case name == "household_id":
		return "household"
	}
	return ""
}

func isMissing(fd protoreflect.FieldDescriptor) bool {
	return fd.IsMap() && fd.MapValue().Enum() != nil && fd.MapValue().Enum().FullName() == missingName
}

// direct says whether a field must not stand in a research export. Bytes are opaque: nobody can say what they hold, so
// they stay out unless the schema says that they are harmless.
func direct(fd protoreflect.FieldDescriptor, q *formv1.Question) bool {
	if q.GetPersonalData() == formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER {
		return true
	}
	holdsBytes := fd.Kind() == protoreflect.BytesKind || (fd.IsMap() && fd.MapValue().Kind() == protoreflect.BytesKind)
	return holdsBytes && q.GetPersonalData() != formv1.PersonalData_PERSONAL_DATA_NONE
}

// into is the place of a field's own columns.
func (at place) into(fd protoreflect.FieldDescriptor, q *formv1.Question) place {
	in := at
	in.name = exportName(fd, q)
	if milli(fd) {
		in.name = strings.TrimSuffix(in.name, "_ms")
	}
	in.path = append(slices.Clip(at.path), string(fd.Name()))
	in.numbers = append(slices.Clip(at.numbers), strconv.Itoa(int(fd.Number())))
	if q.GetUniverse() != nil {
		in.universe = q.GetUniverse()
	}
	if q.GetRelevant() != "" {
		in.relevant = q.GetRelevant()
	}
	in.personal = max(at.personal, q.GetPersonalData())
	return in
}

// exportName is what a field is called in the data. Blocks that stand in many places have short names, so that theirs
// and the place's fit together.
func exportName(fd protoreflect.FieldDescriptor, q *formv1.Question) string {
	if q.GetExportName() != "" {
		return q.GetExportName()
	}
	switch fd.FullName() {
	case "hearth.survey.v1.Place.division_code":
		return "code"
	case "hearth.survey.v1.Referral.from_person":
		return "from"
	case "hearth.survey.v1.Referral.to_person":
		return "to"
	}
	return string(fd.Name())
}

// candidates are the names a field could have, best first.
func (in place) candidates() []string {
	out := []string{unreserved(combine(in.prefix, in.name))}
	for i := 1; i <= len(in.droppable); i++ {
		out = append(out, unreserved(combine(strings.Join(in.droppable[i:], "_"), in.name)))
	}
	if in.plain {
		slices.Reverse(out)
	}
	return out
}

// block is the place of the fields of a message. A module that stands in one place only lends its name to its
// questions, where they have room for it. All fields of a block that stands in several places share one prefix. The
// identity of a person adds nothing to the person's name.
func (b *builder) block(md protoreflect.MessageDescriptor, in place) place {
	name := in.name
	in.name = ""
	if md.FullName() == identityName {
		return in
	}
	if b.uses[md.FullName()] <= 1 && (in.droppable != nil || in.prefix == "") {
		in.prefix = combine(in.prefix, name)
		in.droppable = append(slices.Clip(in.droppable), name)
		return in
	}
	if b.prefixes[in.table] == nil {
		b.prefixes[in.table] = map[string]bool{}
	}
	limit := maxName - len(whyOf) - 1 - longestField(md)
	best := combine(in.prefix, name)
	in.droppable = nil
	short := clean(name)
	if name == strings.ToLower(string(md.Name())) && in.prefix != "" {
		short = in.prefix
	}
	prefixes := []string{best, short, cutWords(short, limit), cutWords(best, limit)}
	if in.plain {
		prefixes[0], prefixes[1] = short, best
	}
	for _, p := range prefixes {
		if len(p) <= limit && !b.prefixes[in.table][p] {
			b.prefixes[in.table][p] = true
			in.prefix = p
			return in
		}
	}
	in.prefix = cutWords(best, limit)
	return in
}

// longestField is the room that the names of a block's own fields need.
func longestField(md protoreflect.MessageDescriptor) int {
	n := 0
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		m := fd.Message()
		switch {
		case isMissing(fd), fd.IsList() && m != nil:
		case m == nil, m.FullName() == timestampName:
			n = max(n, len(exportName(fd, question(fd))))
		case m.FullName() == dateName:
			n = max(n, len(exportName(fd, question(fd)))+len("_month")-len(whyOf))
		case m.FullName() == moneyName:
			n = max(n, len(exportName(fd, question(fd)))+len("_estimated")-len(whyOf))
		case m.FullName() == identityName:
			n = max(n, longestField(m))
		}
	}
	return n
}

// labelOf is a question's label, after that of the block it stands in where the block occurs in several places.
func (in place) labelOf(fd protoreflect.FieldDescriptor, q *formv1.Question) *formv1.Text {
	l := q.GetLabel()
	if l == nil {
		words := strings.ReplaceAll(string(fd.Name()), "_", " ")
		l = text(strings.ToUpper(words[:1])+words[1:], words)
	}
	return within(in.label, l)
}

func within(outer, inner *formv1.Text) *formv1.Text {
	if outer == nil {
		return inner
	}
	t := text(after(wording(outer, "en"), ": ", " ")+wording(inner, "en"), after(wording(outer, "zh"), "：", "")+wording(inner, "zh"))
	for lang := range inner.GetMore() {
		if t.More == nil {
			t.More = map[string]string{}
		}
		t.More[lang] = after(wording(outer, lang), ": ", " ") + wording(inner, lang)
	}
	return t
}

// after ends the outer label, which may be a question.
func after(outer, colon, space string) string {
	if strings.HasSuffix(outer, "?") || strings.HasSuffix(outer, "？") {
		return outer + space
	}
	return outer + colon
}

// column starts a column at a place.
func (b *builder) column(kind Kind, in place) *Column {
	return &Column{
		Kind: kind, Universe: in.universe, Relevant: in.relevant, Personal: in.personal,
		Path: strings.Join(in.path, "."), Numbers: strings.Join(in.numbers, "."),
	}
}
