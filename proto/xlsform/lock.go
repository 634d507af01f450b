package xlsform

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Lock is the numbers of a form's questions and choices, kept beside the form as FORM.lock.json. A number that was given
// once is never given to anything else: what is removed from the form stays in the lock as retired.
type Lock struct {
	// Form is the questionnaire's full name.
	Form string `json:"form"`
	// Version of the questionnaire.
	Version uint32 `json:"version"`
	// Fields are the numbers of questions by path: "household/members/age".
	Fields map[string]int32 `json:"fields"`
	// Retired are those of questions that are no longer in the form.
	Retired map[string]int32 `json:"retired,omitempty"`
	// Types are what the answers are by path: "int64", "string", "choice", "choices". A question whose answers are something
	// else from now on is another question to protobuf, and gets another number.
	Types map[string]string `json:"types"`
	// Tables are the lists that are kept as tables.
	Tables []string `json:"tables,omitempty"`
	// Choices are the numbers of choices by list and name; "name#2" is the second choice of the name.
	Choices map[string]map[string]int32 `json:"choices"`
	// RetiredChoices are those of choices that are no longer in the form.
	RetiredChoices map[string]map[string]int32 `json:"retired_choices,omitempty"`
}

// ReadLock reads a lock file.
func ReadLock(data []byte) (*Lock, error) {
	l := &Lock{}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fault.New(fault.Invalid, fault.BadForm, "the lock file cannot be read: %w: take it from where it was kept, or number the questions anew without it", err)
	}
	for _, m := range append([]map[string]int32{l.Fields, l.Retired}, slices.Concat(slices.Collect(maps.Values(l.Choices)), slices.Collect(maps.Values(l.RetiredChoices)))...) {
		for name, n := range m {
			if n <= 0 {
				return nil, fault.New(fault.Invalid, fault.BadForm, "the lock file gives %q the number %d; numbers are above 0", name, n)
			}
		}
	}
	return l, nil
}

// Bytes is the lock file's contents, the same for the same lock.
func (l *Lock) Bytes() []byte {
	b, _ := json.MarshalIndent(l, "", "  ")
	return append(b, '\n')
}

// clone is a copy that may be changed.
func (l *Lock) clone() *Lock {
	c := &Lock{Version: 1, Fields: map[string]int32{}, Types: map[string]string{}, Retired: map[string]int32{}, Choices: map[string]map[string]int32{}, RetiredChoices: map[string]map[string]int32{}}
	if l == nil {
		return c
	}
	c.Form, c.Version = l.Form, max(l.Version, 1)
	c.Tables = slices.Clone(l.Tables)
	maps.Copy(c.Types, l.Types)
	maps.Copy(c.Fields, l.Fields)
	maps.Copy(c.Retired, l.Retired)
	for list, m := range l.Choices {
		c.Choices[list] = maps.Clone(m)
	}
	for list, m := range l.RetiredChoices {
		c.RetiredChoices[list] = maps.Clone(m)
	}
	return c
}

// first and last numbers that protobuf does not allow for fields, and the number of the map of missing reasons.
const (
	reservedFirst = 19000
	reservedLast  = 19999
	missingNumber = 1000
)

// number gives every question and choice its number: the one in the lock, or the next free one.
func (l *Lock) number(f *form) {
	l.Form = "form." + f.id + "." + f.top
	fields := map[string]int32{}
	l.numberFields(f.root, fields)
	for path, n := range l.Fields {
		if _, there := fields[path]; !there {
			l.Retired[path] = n
		}
	}
	for path := range fields {
		delete(l.Retired, path)
	}
	l.Fields = fields
	for _, list := range f.order {
		if list.used {
			l.numberChoices(list)
			list.codes()
		}
	}
}

// numberFields numbers the questions of a section and those below.
func (l *Lock) numberFields(section *node, fields map[string]int32) {
	taken := map[int32]bool{missingNumber: true}
	prefix := section.path()
	for _, m := range []map[string]int32{l.Fields, l.Retired} {
		for path, n := range m {
			if parentPath(path) == prefix {
				taken[n] = true
			}
		}
	}
	seen := map[string]int{}
	next := int32(1)
	for _, n := range section.children {
		key := n.path()
		if seen[key]++; seen[key] > 1 {
			key += "#" + strconv.Itoa(seen[key])
		}
		number := l.Fields[key]
		if number == 0 {
			number = l.Retired[key]
		}
		if was := n.get("hearth_was"); number == 0 && was != "" {
			number = l.renamed(n, was)
		}
		for number == 0 {
			if !taken[next] && (next < reservedFirst || next > reservedLast) {
				number = next
			}
			next++
		}
		taken[number] = true
		n.number, n.key = number, key
		fields[key] = number
		if n.section() {
			l.numberFields(n, fields)
		}
	}
}

// settleTypes gives another number to questions whose answers are something else than they were.
func (l *Lock) settleTypes(f *form, report *Report) {
	types := map[string]string{}
	var walk func(section *node)
	walk = func(section *node) {
		for _, n := range section.children {
			key := n.key
			types[key] = n.answers()
			if was := l.Types[key]; was != "" && was != types[key] {
				report.warn("survey", n.record.number, "", "the answers of %s are %s now and were %s: it has another number, and the answers of before stay by themselves", n.name, types[key], was)
				old := n.number
				retired := key + "@" + types[key]
				if n.number = l.Retired[retired]; n.number == 0 {
					n.number = l.free(section)
				}
				delete(l.Retired, retired)
				l.Retired[key+"@"+was], l.Fields[key] = old, n.number
			}
			walk(n)
		}
	}
	walk(f.root)
	l.Types = types
}

// free is a number that no question of a section has or had.
func (l *Lock) free(section *node) int32 {
	taken := map[int32]bool{missingNumber: true}
	for _, m := range []map[string]int32{l.Fields, l.Retired} {
		for path, n := range m {
			if parentPath(path) == section.path() {
				taken[n] = true
			}
		}
	}
	for n := int32(1); ; n++ {
		if !taken[n] && (n < reservedFirst || n > reservedLast) {
			return n
		}
	}
}

// answers says in a word what the answers of a question are, as far as protobuf cares.
func (n *node) answers() string {
	k := n.kind()
	if k == kindCalculate {
		k = n.out.calcKind
	}
	switch k {
	case kindInt:
		return "int64"
	case kindDouble:
		return "double"
	case kindBool, kindAcknowledge:
		return "bool"
	case kindOne:
		return "choice"
	case kindMany:
		return "choices"
	case kindPoint:
		return "position"
	case kindFile:
		return "file"
	case kindGroup:
		return "group"
	case kindRepeat:
		return "repeat"
	}
	return "string"
}

// renamed is the number that a question had under the name it had before; it leaves that name.
func (l *Lock) renamed(n *node, was string) int32 {
	old := was
	if p := n.parent.path(); p != "" {
		old = p + "/" + was
	}
	for _, m := range []map[string]int32{l.Fields, l.Retired} {
		number, ok := m[old]
		if !ok {
			continue
		}
		delete(m, old)
		if was, ok := l.Types[old]; ok {
			delete(l.Types, old)
			l.Types[n.path()] = was
		}
		if n.section() { // what stands below moves with it
			for path, v := range maps.Clone(m) {
				if rest, ok := strings.CutPrefix(path, old+"/"); ok {
					delete(m, path)
					m[n.path()+"/"+rest] = v
					l.Types[n.path()+"/"+rest] = l.Types[path]
				}
			}
		}
		return number
	}
	return 0
}

func parentPath(path string) string {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)]
}

// numberChoices numbers the choices of a list. A choice whose name is a number above 0 has that number where it is free.
func (l *Lock) numberChoices(list *list) {
	old, retired := l.Choices[list.name], l.RetiredChoices[list.name]
	taken := map[int32]bool{}
	for _, m := range []map[string]int32{old, retired} {
		for _, n := range m {
			taken[n] = true
		}
	}
	numbers := map[string]int32{}
	keys := make([]string, len(list.choices))
	seen := map[string]int{}
	for i, c := range list.choices {
		keys[i] = c.name
		if seen[c.name]++; seen[c.name] > 1 {
			keys[i] += "#" + strconv.Itoa(seen[c.name])
		}
		c.number = firstNumber(old[keys[i]], retired[keys[i]])
		if c.number == 0 && c.was != "" {
			c.number = firstNumber(old[c.was], retired[c.was])
			delete(old, c.was)
		}
		if c.number != 0 {
			numbers[keys[i]] = c.number
			taken[c.number] = true
		}
	}
	for i, c := range list.choices { // numbers that are names come before numbers that are free
		if n, err := strconv.ParseInt(c.name, 10, 32); c.number == 0 && err == nil && n > 0 && strconv.FormatInt(n, 10) == c.name && !taken[int32(n)] {
			c.number, numbers[keys[i]], taken[int32(n)] = int32(n), int32(n), true
		}
	}
	next := int32(1)
	for i, c := range list.choices {
		for c.number == 0 {
			if !taken[next] {
				c.number, numbers[keys[i]], taken[next] = next, next, true
			}
			next++
		}
	}
	for name, n := range old {
		if _, there := numbers[name]; !there {
			if l.RetiredChoices[list.name] == nil {
				l.RetiredChoices[list.name] = map[string]int32{}
			}
			l.RetiredChoices[list.name][name] = n
		}
	}
	for name := range numbers {
		delete(l.RetiredChoices[list.name], name)
	}
	l.Choices[list.name] = numbers
}

func firstNumber(all ...int32) int32 {
	for _, n := range all {
		if n != 0 {
			return n
		}
	}
	return 0
}
