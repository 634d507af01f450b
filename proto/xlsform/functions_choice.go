package xlsform

import (
	"strconv"
	"strings"
)

// choiceCall translates functions on choices.
func (t *translator) choiceCall(x *call, known []string) (value, bool, error) {
	var v value
	var err error
	switch x.name {
	case "count-selected":
		v, err = t.countSelected(x, known)
	case "selected-at":
		v, err = t.selectedAt(x, known)
	case "jr:choice-name", "choice-name", "choice-label", "jr:choice-label":
		v, err = t.choiceLabel(x, known)
	case "item-at", "count-items":
		v, err = t.itemAt(x, known)
	case "pulldata":
		v, err = t.pulldata(x, known)
	default:
		return v, false, nil
	}
	return v, true, err
}

// countSelected is how many choices are selected, 0 of an empty node.
func (t *translator) countSelected(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 1); err != nil {
		return value{}, err
	}
	v, err := t.value(x.args[0], known)
	if err != nil {
		return v, err
	}
	zero := 0.0
	switch v.kind {
	case kindMany:
		return value{cel: "size(" + v.cel + ")", binds: bindsMember, kind: kindInt}, nil
	case kindOne:
		if len(without(v.guards, known)) == 0 {
			return numberConstant(1), nil
		}
		return value{cel: allIn(v.guards, bindsOr) + " ? 1 : 0", binds: bindsTernary, kind: kindInt}, nil
	}
	if v, err = t.string(x, v); err != nil {
		return v, err
	}
	return value{cel: "size(" + t.words(v.cel) + ")", binds: bindsMember, kind: kindInt, guards: v.guards, loose: v.loose, empty: &zero}, nil
}

// selectedAt is the choice at a place, counted from 0.
func (t *translator) selectedAt(x *call, known []string) (value, error) {
	if err := arguments(x, 2, 2); err != nil {
		return value{}, err
	}
	v, err := t.value(x.args[0], known)
	if err != nil {
		return v, err
	}
	n, err := t.count(x.args[1], known)
	if err != nil {
		return v, err
	}
	guards := union(v.guards, n.guards)
	switch v.kind {
	case kindPoint:
		part := map[string]string{"0": "latitude", "1": "longitude", "3": "accuracy_m"}[n.cel]
		if part == "" {
			return v, cannot(x, "this part of a position is not kept")
		}
		return value{cel: v.cel + "." + part, binds: bindsMember, kind: kindDouble, guards: []string{"has(" + v.cel + "." + part + ")"}}, nil
	case kindOne:
		if n.num != nil && *n.num == 0 {
			v.node = false
			return v, nil
		}
		return textConstant(""), nil
	case kindMany:
		v.cel += "[" + n.cel + "]"
		v.kind, v.node, v.loose = kindOne, false, v.loose || n.loose
		v.guards = union(n.guards, []string{"size(" + strings.TrimSuffix(v.cel, "["+n.cel+"]") + ") > " + n.in(bindsSum)})
		if n.num == nil && n.cel != "position - 1" {
			v.guards = union(v.guards, []string{n.in(bindsSum) + " >= 0"})
		}
		return v, nil
	}
	if v, err = t.string(x, v); err != nil {
		return v, err
	}
	words := t.words(v.cel)
	if n.num != nil && *n.num < 0 {
		return textConstant(""), nil
	}
	guards = union(guards, []string{"size(" + words + ") > " + n.in(bindsSum)})
	if n.num == nil && n.cel != "position - 1" {
		guards = union(guards, []string{n.in(bindsSum) + " >= 0"})
	}
	return value{cel: words + "[" + n.cel + "]", binds: bindsMember, kind: kindText, guards: guards, loose: v.loose || n.loose}, nil
}

// choiceLabel is the label of a choice: jr:choice-name(value, '${question}').
func (t *translator) choiceLabel(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 2); err != nil {
		return value{}, err
	}
	of, what := x.args[0], x.args[len(x.args)-1]
	if strings.HasSuffix(x.name, "choice-label") && len(x.args) == 2 {
		of, what = x.args[1], x.args[0] // SurveyCTO: choice-label(${question}, value)
	}
	if l, ok := what.(*literal); ok {
		e, err := parse(strings.TrimSpace(l.text))
		if err != nil {
			return value{}, cannot(x, "%q names no question", l.text)
		}
		what = e
	}
	n, err := t.nodeOf(what)
	if err != nil {
		return value{}, err
	}
	if n.list == nil {
		return value{}, external(x, "the choices of %s are not here", n.name)
	}
	v, err := t.value(of, known)
	if err != nil {
		return v, err
	}
	if v.kind != kindOne || v.list != n.list {
		s, err := t.string(x, v)
		if err != nil {
			return s, err
		}
		v = value{cel: "choice_number(" + t.listName(n.list) + ", " + s.cel + ")", guards: s.guards, loose: true}
	}
	return value{cel: "choice_label(" + t.listName(n.list) + ", " + v.cel + ")", binds: bindsMember, kind: kindText, guards: v.guards, loose: v.loose}, nil
}

// itemAt is SurveyCTO's item-at(separator, text, number) and count-items(separator, text).
func (t *translator) itemAt(x *call, known []string) (value, error) {
	if x.name == "count-items" {
		if err := arguments(x, 2, 2); err != nil {
			return value{}, err
		}
		v, err := t.texts(x.args, known)
		if err != nil {
			return value{}, err
		}
		return value{cel: "size(split(" + v[1].cel + ", " + v[0].cel + "))", binds: bindsMember, kind: kindInt}, nil
	}
	if err := arguments(x, 3, 3); err != nil {
		return value{}, err
	}
	v, err := t.texts(x.args[:2], known)
	if err != nil {
		return value{}, err
	}
	n, err := t.count(x.args[2], known)
	if err != nil {
		return n, err
	}
	list := "split(" + v[1].cel + ", " + v[0].cel + ")"
	guards := union(n.guards, []string{"size(" + list + ") > " + n.in(bindsSum)})
	if n.num == nil {
		guards = union(guards, []string{n.in(bindsSum) + " >= 0"})
	}
	return value{cel: list + "[" + n.cel + "]", binds: bindsMember, kind: kindText, guards: guards, loose: n.loose, blank: true}, nil
}

// pulldata is pulldata(file, column, key column, key), from a file that is here.
func (t *translator) pulldata(x *call, known []string) (value, error) {
	if len(x.args) != 4 {
		return value{}, external(x, "pulldata() asks the device")
	}
	var names [3]string
	for i := range names {
		l, ok := x.args[i].(*literal)
		if !ok {
			return value{}, external(x, "pulldata() is translated only where file and columns are written out")
		}
		names[i] = l.text
	}
	l, why := t.table(names[0])
	if l == nil {
		return value{}, external(x, "the data are in the file %s.csv: %s", strings.TrimSuffix(names[0], ".csv"), why)
	}
	key, err := t.value(x.args[3], known)
	if err == nil {
		key, err = t.string(x, key)
	}
	if err != nil {
		return key, err
	}
	return t.lookup(l, names[1], names[2], key), nil
}

func (t *translator) lookup(l *list, column, keyColumn string, key value) value {
	return value{
		cel:   "lookup(" + celString(l.enum) + ", " + celString(column) + ", " + celString(keyColumn) + ", " + key.cel + ")",
		binds: bindsMember, kind: kindText, guards: key.guards, loose: true,
	}
}

// table is the list of a file or of the choices, as a table.
func (t *translator) table(name string) (*list, string) {
	base := strings.TrimSuffix(name, ".csv")
	for _, l := range t.form.order {
		if l.file == base+".csv" || l.table && l.name == base {
			return l, ""
		}
	}
	return nil, t.form.missing[base]
}

// isItems tells whether a path begins with instance('list').
func (t *translator) isItems(p *path) bool {
	c, ok := p.from.(*call)
	return ok && c.name == "instance"
}

// items translates instance('list')/root/item[name = x]/column.
func (t *translator) items(p *path, known []string) (value, error) {
	c := p.from.(*call)
	if len(c.args) != 1 {
		return value{}, arguments(c, 1, 1)
	}
	l, ok := c.args[0].(*literal)
	if !ok || len(p.steps) != 3 || p.steps[0].name != "root" || len(p.steps[1].predicates) != 1 || len(p.steps[2].predicates) > 0 {
		return value{}, cannot(p, "of instance() only instance('list')/root/item[column = value]/column is translated")
	}
	b, ok := p.steps[1].predicates[0].(*binary)
	if !ok || b.op != "=" {
		return value{}, cannot(p, "of instance() only one column = value in brackets is translated")
	}
	left, right := b.left, b.right
	column, ok := keyColumn(left)
	if !ok {
		left, right = right, left
		if column, ok = keyColumn(left); !ok {
			return value{}, cannot(p, "of instance() only one column = value in brackets is translated")
		}
	}
	key, err := t.value(right, known)
	if err == nil {
		key, err = t.string(p, key)
	}
	if err != nil {
		return key, err
	}
	if table, why := t.table(l.text); table != nil {
		return t.lookup(table, p.steps[2].name, column, key), nil
	} else if list := t.form.listOf(l.text); list == nil || !list.used {
		return value{}, external(p, "the list %s is not here: %s", l.text, why)
	} else if column == "name" {
		of := "choice_column(" + t.listName(list) + ", choice_number(" + t.listName(list) + ", " + key.cel + "), " + strconv.Quote(p.steps[2].name) + ")"
		if p.steps[2].name == "label" {
			of = "choice_label(" + t.listName(list) + ", choice_number(" + t.listName(list) + ", " + key.cel + "))"
		}
		return value{cel: of, binds: bindsMember, kind: kindText, guards: key.guards, loose: true}, nil
	}
	return value{}, cannot(p, "the list %s is looked up by another column than name", l.text)
}

func keyColumn(e expr) (string, bool) {
	p, ok := e.(*path)
	if !ok || p.from != nil || p.absolute {
		return "", false
	}
	return columnName(p)
}

// deviceCall refuses functions that ask the device or a server.
func (t *translator) deviceCall(x *call, known []string) (value, bool, error) {
	switch x.name {
	case "uuid":
		t.volatile = x.name
		return value{cel: "uuid()", binds: bindsMember, kind: kindText}, true, nil
	case "version":
		return textConstant(t.form.settings.cells["version"]), true, nil
	case "distance":
		if len(x.args) != 2 {
			return value{}, true, cannot(x, "the length of a line is not translated")
		}
		a, err := t.value(x.args[0], known)
		if err != nil {
			return a, true, err
		}
		b, err := t.value(x.args[1], known)
		if err != nil || a.kind != kindPoint || b.kind != kindPoint {
			return b, true, cannot(x, "distance() is translated only between two questions of type geopoint")
		}
		return value{cel: "distance(" + a.cel + ", " + b.cel + ")", binds: bindsMember, kind: kindDouble, guards: union(a.guards, b.guards), loose: true}, true, nil
	case "duration", "device-info", "username", "property", "collect-is-phone-app", "phone-call-duration", "phone-call-log", "plug-in-metadata", "deviceid", "short-geopoint", "geo-scatter",
		"area", "enclosed-area", "geofence", "digest", "hash", "base64-decode", "base64-encode", "extract-signed", "pulldata", "last-saved", "instance", "randomize", "de-duplicate",
		"rank-value", "rank-index", "rank-index-if", "distance-between", "item-index", "calculate-seconds-since", "subscriberid", "simserial", "phonenumber", "comments", "relevant":
		return value{}, true, external(x, "%s() asks the device, or is not known to Hearth", x.name)
	}
	return value{}, false, nil
}
