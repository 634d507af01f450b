package xlsform

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func itoa(n int) string { return strconv.Itoa(n) }

// identifier makes of a name one that protobuf takes: ASCII letters, digits and _, a letter first.
func identifier(name, prefix string) string {
	var b strings.Builder
	for _, r := range name {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_') {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
	s := strings.TrimLeft(b.String(), "_")
	if strings.Trim(s, "_") == "" {
		return prefix
	}
	if digit(rune(s[0])) {
		return prefix + s
	}
	return s
}

// packageName is a name for the last part of a package: small letters, digits and _.
func packageName(name string) string {
	s := strings.ToLower(identifier(strings.TrimSpace(name), "form_"))
	for strings.Contains(s, "__") {
		s = strings.ReplaceAll(s, "__", "_")
	}
	if s = strings.Trim(s, "_"); len(s) > 60 {
		s = strings.Trim(s[:60], "_")
	}
	if reserved[s] {
		s += "_form"
	}
	return s
}

// camel writes a name as the name of a message: HouseholdSurvey.
func camel(name string) string { return joinWords(name, true) }

// jsonName is the name that protobuf gives a field in JSON. Two fields of a message may not share one.
func jsonName(field string) string { return joinWords(field, false) }

// joinWords joins words that _ parts, each with a capital; first: the first one too.
func joinWords(name string, first bool) string {
	var b strings.Builder
	up := first
	for _, r := range name {
		switch {
		case r == '_':
			up = true
		case up:
			b.WriteRune(unicode.ToUpper(r))
			up = false
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// reserved are words that CEL, or the schema, has for something else.
var reserved = map[string]bool{
	"in": true, "true": true, "false": true, "null": true, "as": true, "break": true, "const": true, "continue": true, "else": true, "for": true,
	"function": true, "if": true, "import": true, "let": true, "loop": true, "package": true, "namespace": true, "return": true, "var": true, "void": true, "while": true,
	"missing": true,
}

// names gives out names, each once.
type names map[string]bool

// take is the name, with a number where it is taken already. key says what counts as the same.
func (n names) take(name string, key func(string) string) string {
	try := name
	for i := 2; n[key(try)]; i++ {
		try = name + "_" + strconv.Itoa(i)
	}
	n[key(try)] = true
	return try
}

func sameName(s string) string { return s }

// nameAll gives fields, messages and enums their names, and all of them their numbers.
func (f *form) nameAll(lock *Lock) {
	f.top = camel(f.id)
	if digit(rune(f.top[0])) {
		f.top = "Form" + f.top
	}
	f.nameFields(f.root)
	top := names{f.top: true}
	values := names{}
	for _, l := range f.order {
		if !l.used {
			continue
		}
		_, known := lock.Choices[l.name]
		switch {
		case slices.Contains(lock.Tables, l.name): // what it was it stays
			l.table = true
		case known:
			l.table = l.table || l.doubled
		default:
			l.table = l.table || l.filtered || l.doubled || len(l.choices) > 100
		}
		if l.table {
			l.enum = l.name
			if !slices.Contains(lock.Tables, l.name) {
				lock.Tables = append(lock.Tables, l.name)
			}
			continue
		}
		l.enum = top.take(camel(identifier(l.name, "list_")), sameName)
		f.nameValues(l, values)
	}
	lock.number(f)
}

// nameFields names the fields below a section, and their messages.
func (f *form) nameFields(section *node) {
	taken := names{"missing": true}
	for _, n := range section.children {
		base := identifier(n.name, "q_")
		if reserved[base] {
			base += "_q"
		}
		if len(base) > 200 {
			base = base[:200]
		}
		n.field = taken.take(base, jsonName)
	}
	scope := names{"MissingEntry": true}
	for _, n := range section.children {
		scope[n.field] = true
	}
	for _, n := range section.children {
		if n.section() {
			base := camel(identifier(n.field, "Group"))
			if scope[base] {
				base += map[kind]string{kindGroup: "Group", kindRepeat: "Row"}[n.kind()]
			}
			n.message = scope.take(base, sameName)
			f.nameFields(n)
		}
	}
}

// nameValues names the values of an enum. Their names share one scope with those of all other enums.
func (f *form) nameValues(l *list, taken names) {
	prefix := screaming(l.enum)
	taken[prefix+"_UNSPECIFIED"] = true
	for _, c := range l.choices {
		name := strings.ToUpper(strings.Trim(strings.ReplaceAll(identifierTail(c.name), "__", "_"), "_"))
		if strings.HasPrefix(c.name, "-") && name != "" {
			name = "MINUS_" + name
		}
		if name == "" {
			name = "CHOICE"
		}
		c.value = taken.take(prefix+"_"+name, sameName)
	}
}

// identifierTail is what may stand in an identifier after its first letter.
func identifierTail(name string) string {
	return strings.TrimPrefix(identifier("x"+name, ""), "x")
}

// screaming writes a name as enum values begin: YES_NO.
func screaming(name string) string {
	var b strings.Builder
	prev := rune(0)
	for _, r := range name {
		if unicode.IsUpper(r) && (unicode.IsLower(prev) || unicode.IsDigit(prev)) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
		prev = r
	}
	return b.String()
}
