package xlsform

import (
	"regexp"
	"strings"
)

// dateCall translates functions on dates and times.
func (t *translator) dateCall(x *call, known []string) (value, bool, error) {
	var v value
	var err error
	switch x.name {
	case "today":
		v = value{cel: "today()", binds: bindsMember, kind: kindDate}
	case "now":
		v = value{cel: "now()", binds: bindsMember, kind: kindDateTime}
	case "date", "date-time":
		v, err = t.date(x, known)
	case "format-date", "format-date-time":
		v, err = t.formatDate(x, known)
	case "decimal-date-time", "decimal-date":
		if err = arguments(x, 1, 1); err == nil {
			if v, err = t.value(x.args[0], known); err == nil {
				v, err = t.moment(x, v)
			}
			if err == nil && v.kind != kindInt && v.kind != kindDouble {
				v, err = t.number(x, v)
			}
			v.node, v.day = false, ""
		}
	case "decimal-time":
		v, err = t.decimalTime(x, known)
	default:
		return v, false, nil
	}
	return v, true, err
}

var dateText = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`)

// moment is a value as a date or a date and time, where it is one.
func (t *translator) moment(e expr, v value) (value, error) {
	switch {
	case v.kind == kindDate || v.kind == kindDateTime:
	case v.text != nil && dateText.MatchString(strings.TrimSpace(*v.text)):
		v = value{cel: celString(strings.TrimSpace(*v.text)), binds: bindsMember, kind: kindDate}
	case v.text != nil && isoDate.MatchString(*v.text):
		v = value{cel: v.cel, binds: bindsMember, kind: kindDateTime}
	case v.text != nil:
		return v, cannot(e, "%q is no date", *v.text)
	case v.kind == kindText:
		v.guards = union(v.guards, []string{"is_date(" + v.cel + ")"})
		v.kind, v.blank, v.numeric = kindDateTime, false, false
	case v.day != "":
		v.cel, v.binds, v.kind, v.day = v.day, bindsMember, kindDate, ""
	case v.kind == kindInt || v.kind == kindDouble:
		v = v.total().asDouble()
		v.cel, v.binds, v.kind, v.num = "date_of_epoch("+v.cel+")", bindsMember, kindDate, nil
	default:
		return v, cannot(e, "%s is no date", describe(v))
	}
	return v, nil
}

// date is date() and date-time().
func (t *translator) date(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 1); err != nil {
		return value{}, err
	}
	v, err := t.value(x.args[0], known)
	if err != nil {
		return v, err
	}
	was := v.kind
	if v, err = t.moment(x, v); err != nil {
		return v, err
	}
	if x.name == "date" && v.kind == kindDateTime {
		if was == kindText { // a text that is a date, or a date and time
			v.cel = "substr(" + v.cel + ", 0, 10)"
		} else {
			v.cel = `format_date(` + v.cel + `, "%Y-%m-%d")`
		}
		v.binds, v.kind = bindsMember, kindDate
	}
	v.node, v.target, v.text, v.num = false, nil, nil, nil
	return v, nil
}

// formatDate is format-date and format-date-time.
func (t *translator) formatDate(x *call, known []string) (value, error) {
	if err := arguments(x, 2, 2); err != nil {
		return value{}, err
	}
	format, ok := x.args[1].(*literal)
	if !ok {
		return value{}, cannot(x, "%s() is translated only with a format that is written out", x.name)
	}
	v, err := t.value(x.args[0], known)
	if err != nil {
		return v, err
	}
	if v.kind == kindTime {
		v.kind = kindDateTime
		v.cel = `"1970-01-01T" + ` + v.in(bindsProduct)
	} else if v, err = t.moment(x, v); err != nil {
		return v, err
	}
	numeric := true
	for i, r := range format.text {
		directive := i > 0 && format.text[i-1] == '%'
		if directive && !strings.ContainsRune("YymndeHhMS3%ab", r) {
			return v, cannot(x, "the format %%%c is not translated", r)
		}
		numeric = numeric && (r == '%' || digit(r) || r == '.' && strings.Count(format.text, ".") == 1 || directive && strings.ContainsRune("YymndeHhMS3", r))
	}
	return value{cel: "format_date(" + v.cel + ", " + celString(format.text) + ")", binds: bindsMember, kind: kindText, guards: v.guards, loose: v.loose, numeric: numeric}, nil
}

// decimalTime is the part of the day that has gone.
func (t *translator) decimalTime(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 1); err != nil {
		return value{}, err
	}
	v, err := t.value(x.args[0], known)
	if err != nil {
		return v, err
	}
	if v.kind != kindTime {
		return v, cannot(x, "decimal-time() is translated only of a question of type time")
	}
	return value{cel: `epoch_days("1970-01-01T" + substr(` + v.cel + `, 0, 8))`, binds: bindsMember, kind: kindDouble, guards: v.guards}, nil
}
