package xlsform

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/xform"
)

// What the schema alone would not say again word for word is kept, so that Write gives every cell back.

// Keys of form_columns that are no headers, beside those of the package xform.
const (
	// KeyEnd is the cells of the row that ends a group, as a JSON object.
	KeyEnd = "#end"
	// KeyLists is a JSON list of the names of the lists of choices in their order.
	KeyLists = "#lists"
	// KeyRow is the row of a choice, where the rows of lists do not stand together.
	KeyRow = "#row"
	// KeyChoiceRows is a JSON list of the rows of the choices that are no choices.
	KeyChoiceRows = "#choice_rows"
	// KeyGenerated marks what or_other adds.
	KeyGenerated = "#generated"
	// keyRequired is whether a question was required when the column of the name was kept.
	keyRequired = "#required"
)

// endOf is the path that a row stands after that follows the end of a section.
func endOf(path string) string { return path + "/#end" }

// keepExact keeps what stood in a row and is written otherwise in a schema: the spelling of its type, yes as TRUE, spaces.
func (s *schema) keepExact(n *node, q *formv1.Question, kept map[string]string) {
	if len(n.texts["label"]) == 0 {
		kept[xform.KeyNoLabel] = "yes"
	}
	if raw := n.cells["name"]; raw != n.name && raw != "" {
		kept["name"] = raw
	}
	if raw := n.cells["appearance"]; raw != n.get("appearance") {
		kept["appearance"] = raw
	}
	for _, name := range []string{"required", "read_only"} {
		if v := n.cells[name]; v != "" && (v != "yes" || name == "required" && !n.out.required) {
			kept[name] = v
		}
	}
	if kept["required"] != "" && n.out.requiredWhen == "" {
		kept[keyRequired] = strconv.FormatBool(n.out.required)
	}
	for _, name := range []string{"hearth_was", "list_name"} {
		if v := n.cells[name]; v != "" {
			kept[name] = v
		}
	}
	if raw := n.cells["type"]; raw != plainType(n) || q.GetCalculate() != "" && n.kind() != kindCalculate {
		kept["type"] = raw
	}
	if len(n.end) > 0 {
		kept[KeyEnd] = toJSON(n.end)
	}
	for header, cel := range sealed(q) {
		if kept[header] != "" && cel != "" {
			kept[xform.SealOf(header)] = xform.Seal(cel)
		}
	}
}

// sealed are the expressions that were made of those of an XLSForm, by the header of their column.
func sealed(q *formv1.Question) map[string]string {
	all := map[string]string{
		"relevant": q.GetRelevant(), "calculation": q.GetCalculate(), "choice_filter": q.GetFilter(), "repeat_count": q.GetCount(),
		"default": q.GetInitial(), "required": q.GetRequiredWhen(),
	}
	if len(q.GetChecks()) == 1 {
		all["constraint"] = q.GetChecks()[0].GetExpression()
	}
	return all
}

// plainType is how Write writes the type of a row.
func plainType(n *node) string {
	switch n.kind() {
	case kindGroup:
		return "begin_group"
	case kindRepeat:
		return "begin_repeat"
	case kindOne, kindMany:
		if n.list == nil || n.typ.orOther || n.typ.external || n.typ.file {
			return ""
		}
		word := "select_one"
		if n.typ.rank {
			word = "rank"
		} else if n.kind() == kindMany {
			word = "select_multiple"
		}
		return word + " " + n.list.name
	case kindCalculate:
		return "calculate"
	}
	if n.typ.typ.system {
		return ""
	}
	return map[kind]string{
		kindText: textType(n.typ.typ.format), kindInt: "integer", kindDouble: "decimal", kindDate: "date", kindTime: "time", kindDateTime: "dateTime",
		kindPoint: "geopoint", kindFile: fileType(n.typ.typ.format), kindAcknowledge: "acknowledge", kindNote: "note",
	}[n.kind()]
}

func textType(f formv1.Format) string {
	switch f {
	case formv1.Format_FORMAT_BARCODE:
		return "barcode"
	case formv1.Format_FORMAT_GEO_TRACE:
		return "geotrace"
	case formv1.Format_FORMAT_GEO_SHAPE:
		return "geoshape"
	}
	return "text"
}

func fileType(f formv1.Format) string {
	switch f {
	case formv1.Format_FORMAT_PHOTO:
		return "image"
	case formv1.Format_FORMAT_AUDIO:
		return "audio"
	case formv1.Format_FORMAT_VIDEO:
		return "video"
	}
	return "file"
}

// allCells are the cells of a row by the names of their columns, with the language for those that have one.
func (r *record) allCells() map[string]string {
	cells := map[string]string{}
	for name, text := range r.cells {
		cells[name] = text
	}
	for name, t := range r.texts {
		for lang, text := range t {
			cells[inLanguage(name, lang)] = text
		}
	}
	for h, text := range r.extra {
		cells[h] = text
	}
	return cells
}

func inLanguage(name, language string) string { return strings.TrimSuffix(name+"::"+language, "::") }

// exactColumns are the columns of a choice, with what Write needs to know of it.
func (f *form) exactColumns(c *choice) map[string]string {
	out := map[string]string{}
	for h, v := range c.columns {
		out[h] = v
	}
	if len(c.texts["label"]) == 0 {
		out[xform.KeyNoLabel] = "yes"
	}
	if c.row == 0 {
		out[KeyGenerated] = "or_other"
	} else if f.scattered {
		out[KeyRow] = itoa(c.row)
	}
	for h, v := range c.raw {
		out[h] = v
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// keepChoices keeps the order of the lists.
func (f *form) keepChoices(m *formv1.Module) {
	var names []string
	for _, l := range f.order {
		names = append(names, l.name)
	}
	if len(names) > 0 {
		m.FormColumns[KeyLists] = toJSON(names)
	}
	if len(f.keptChoices) > 0 {
		m.FormColumns[KeyChoiceRows] = toJSON(f.keptChoices)
	}
}

// findScattered finds whether the rows of lists stand together, one list after the other.
func (f *form) findScattered() {
	last := 0
	for _, l := range f.order {
		for _, c := range l.choices {
			f.scattered = f.scattered || c.row != 0 && c.row < last
			last = max(last, c.row)
		}
	}
	f.scattered = f.scattered || len(f.keptChoices) > 0
}

// unusedTables are the lists that no question chooses from.
func (s *schema) unusedTables() []*formv1.ChoiceTable {
	var all []*formv1.ChoiceTable
	for _, l := range s.form.order {
		if l.used || len(l.choices) == 0 {
			continue
		}
		t := &formv1.ChoiceTable{Name: proto.String(l.name), Title: s.plain(l.name)}
		for i, c := range l.choices {
			t.Rows = append(t.Rows, &formv1.ChoiceRow{Number: proto.Int32(int32(i + 1)), Choice: s.choice(c)})
		}
		all = append(all, t)
	}
	return slices.Clip(all)
}
