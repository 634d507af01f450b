package xlsform

import (
	"regexp/syntax"
	"strconv"
	"strings"
)

// texts translates the arguments of a function as texts that are "" in place of no answer.
func (t *translator) texts(args []expr, known []string) ([]value, error) {
	var out []value
	for _, a := range args {
		v, err := t.value(a, known)
		if err == nil {
			v, err = t.spelled(a, v, known)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// textCall translates functions on texts.
func (t *translator) textCall(x *call, known []string) (value, bool, error) {
	var v value
	var err error
	switch x.name {
	case "concat":
		v, err = t.concat(x, known)
	case "substr":
		v, err = t.substr(x, known)
	case "substring":
		v, err = t.substring(x, known)
	case "substring-before", "substring-after":
		v, err = t.around(x, known)
	case "string-length":
		v, err = t.length(x, known)
	case "upper-case", "lower-case", "normalize-space":
		v, err = t.recased(x, known)
	case "translate", "replace":
		v, err = t.replaced(x, known)
	case "linebreak":
		v = textConstant("\n")
	default:
		return v, false, nil
	}
	return v, true, err
}

// concat joins texts.
func (t *translator) concat(x *call, known []string) (value, error) {
	var parts []string
	var guards []string
	blank := true
	for _, a := range x.args {
		r, err := t.nodeset(a)
		if err != nil {
			return value{}, err
		}
		var v value
		if r != nil {
			v, err = t.joined(a, r, `""`)
		} else {
			if v, err = t.value(a, known); err == nil {
				if len(x.args) == 1 {
					return t.string(a, v)
				}
				v, err = t.spelled(a, v, known)
			}
		}
		if err != nil {
			return v, err
		}
		blank = blank && (v.text == nil || *v.text == "") && (v.blank || v.text != nil)
		parts = append(parts, v.in(bindsSum+1))
	}
	if len(parts) == 0 {
		return textConstant(""), nil
	}
	return value{cel: strings.Join(parts, " + "), binds: bindsSum, kind: kindText, guards: guards, blank: blank}, nil
}

// subject is the first argument of a function on text. Without answer the function gives "".
func (t *translator) subject(x *call, known []string) (value, error) {
	v, err := t.value(x.args[0], known)
	if err != nil {
		return v, err
	}
	if v, err = t.string(x.args[0], v); err != nil {
		return v, err
	}
	v.numeric, v.node, v.target, v.list = false, false, nil, nil
	return v, nil
}

// position is a number of characters, as CEL counts them.
func (t *translator) count(e expr, known []string) (value, error) {
	v, err := t.value(e, known)
	if err == nil {
		v, err = t.number(e, v)
	}
	if err != nil {
		return v, err
	}
	v = v.total()
	if v.kind == kindDouble {
		v.cel, v.binds, v.kind = "int("+v.cel+")", bindsMember, kindInt
	}
	return v, nil
}

// substr(text, from, to) counts from 0; a number below 0 counts from the end.
func (t *translator) substr(x *call, known []string) (value, error) {
	if err := arguments(x, 2, 3); err != nil {
		return value{}, err
	}
	v, err := t.subject(x, known)
	if err != nil {
		return v, err
	}
	bounds := []string{"", "size(" + v.cel + ")"}
	for i, a := range x.args[1:] {
		n, err := t.count(a, known)
		if err != nil {
			return v, err
		}
		v.guards, v.loose = union(v.guards, n.guards), v.loose || n.loose
		bounds[i] = n.cel
		if n.num != nil && *n.num < 0 {
			bounds[i] = "max(0, size(" + v.cel + ") - " + strconv.Itoa(-int(*n.num)) + ")"
		}
	}
	v.cel, v.binds, v.blank = "substr("+v.cel+", "+bounds[0]+", "+bounds[1]+")", bindsMember, true
	return v, nil
}

// substring(text, from, length) counts from 1.
func (t *translator) substring(x *call, known []string) (value, error) {
	if err := arguments(x, 2, 3); err != nil {
		return value{}, err
	}
	v, err := t.subject(x, known)
	if err != nil {
		return v, err
	}
	from, err := t.count(x.args[1], known)
	if err != nil {
		return v, err
	}
	v.guards, v.loose = union(v.guards, from.guards), v.loose || from.loose
	first := from.in(bindsSum) + " - 1"
	if from.num != nil {
		first = strconv.Itoa(max(int(*from.num)-1, 0))
	}
	end := "size(" + v.cel + ")"
	if len(x.args) == 3 {
		n, err := t.count(x.args[2], known)
		if err != nil {
			return v, err
		}
		v.guards, v.loose = union(v.guards, n.guards), v.loose || n.loose
		end = first + " + " + n.in(bindsProduct)
		if from.num != nil && n.num != nil {
			end = strconv.Itoa(max(int(*from.num)-1+int(*n.num), 0))
		}
	}
	v.cel, v.binds, v.blank = "substr("+v.cel+", "+first+", "+end+")", bindsMember, true
	return v, nil
}

// around is substring-before and substring-after.
func (t *translator) around(x *call, known []string) (value, error) {
	if err := arguments(x, 2, 2); err != nil {
		return value{}, err
	}
	v, err := t.subject(x, known)
	if err != nil {
		return v, err
	}
	sep, err := t.texts(x.args[1:], known)
	if err != nil {
		return v, err
	}
	s := sep[0].cel
	first := "split(" + v.cel + ", " + s + ")[0]"
	there := v.in(bindsMember) + ".contains(" + s + ")"
	if x.name == "substring-before" {
		v.cel = there + " ? " + first + ` : ""`
	} else {
		v.cel = there + " ? substr(" + v.cel + ", size(" + first + ") + size(" + s + "), size(" + v.cel + `)) : ""`
	}
	v.binds, v.blank = bindsTernary, true
	return v, nil
}

// length is string-length, which is 0 of an empty node.
func (t *translator) length(x *call, known []string) (value, error) {
	var v value
	var err error
	switch {
	case len(x.args) == 0:
		v, err = t.of(x, t.scope.node)
		if err == nil {
			v, err = t.string(x, v)
		}
	case len(x.args) == 1:
		v, err = t.subject(x, known)
	default:
		err = arguments(x, 0, 1)
	}
	if err != nil {
		return v, err
	}
	zero := 0.0
	return value{cel: "size(" + v.cel + ")", binds: bindsMember, kind: kindInt, guards: v.guards, loose: v.loose, empty: &zero}, nil
}

// recased is upper-case, lower-case and normalize-space.
func (t *translator) recased(x *call, known []string) (value, error) {
	if err := arguments(x, 1, 1); err != nil {
		return value{}, err
	}
	v, err := t.subject(x, known)
	if err != nil {
		return v, err
	}
	switch x.name {
	case "upper-case":
		v.cel = "upper(" + v.cel + ")"
	case "lower-case":
		v.cel = "lower(" + v.cel + ")"
	default:
		v.cel, v.blank = "join("+t.words(v.cel)+`, " ")`, true
	}
	v.binds = bindsMember
	return v, nil
}

// words is the list of the words of a text.
func (t *translator) words(cel string) string {
	w := t.variable()
	defer t.release()
	return `split(` + cel + `, " ").filter(` + w + ", " + w + ` != "")`
}

// replaced is translate, letter by letter, and replace of a text that is no pattern.
func (t *translator) replaced(x *call, known []string) (value, error) {
	if err := arguments(x, 3, 3); err != nil {
		return value{}, err
	}
	v, err := t.subject(x, known)
	if err != nil {
		return v, err
	}
	from, okFrom := x.args[1].(*literal)
	to, okTo := x.args[2].(*literal)
	if !okFrom || !okTo {
		return v, cannot(x, "%s() is translated only where it is written out what is replaced", x.name)
	}
	if x.name == "replace" {
		if strings.ContainsAny(from.text, `\.+*?()|[]{}^$`) {
			return v, cannot(x, "replace() by a pattern is not translated")
		}
		v.cel = "replace(" + v.cel + ", " + celString(from.text) + ", " + celString(to.text) + ")"
	} else {
		out := []rune(to.text)
		seen := ""
		for i, r := range []rune(from.text) {
			with := ""
			if i < len(out) {
				with = string(out[i])
			}
			if strings.ContainsRune(seen, r) || with == string(r) {
				continue
			}
			if strings.Contains(seen, with) && with != "" || strings.ContainsRune(string(out[:min(i, len(out))]), r) {
				return v, cannot(x, "translate() that swaps letters is not translated")
			}
			seen += string(r)
			v.cel = "replace(" + v.cel + ", " + celString(string(r)) + ", " + celString(with) + ")"
		}
	}
	v.binds, v.blank = bindsMember, true
	return v, nil
}

// pattern is a regular expression that must fit the whole of a text, as RE2 has it.
func pattern(x *call, text string) (string, error) {
	if _, err := syntax.Parse(text, syntax.Perl); err != nil {
		return "", cannot(x, "the pattern %q cannot be used: %v", text, err)
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(text, "^"), "$")
	if strings.HasSuffix(text, `\$`) {
		bare = strings.TrimPrefix(text, "^")
	}
	parsed, err := syntax.Parse(bare, syntax.Perl)
	if err != nil {
		return "^(?:" + text + ")$", nil
	}
	if parsed.Op == syntax.OpAlternate || strings.Contains(bare, "|") && !strings.Contains(bare, "(") || strings.Contains(bare, "(?") {
		return "^(?:" + bare + ")$", nil
	}
	return "^" + bare + "$", nil
}
