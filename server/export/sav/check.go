package sav

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of the format, and of SPSS.
const (
	maxVariables      = 1_000_000
	maxNameBytes      = 64
	maxFileLabel      = 64
	maxVariableLabel  = 255
	maxValueLabel     = 120
	maxStringBytes    = 32_767
	maxSegment        = 255
	maxAttribute      = 32_767
	maxTextOfMissing  = 8
	maxMissing        = 3
	maxDocumentsBytes = 1 << 26
	documentLine      = 80
)

var (
	namePattern      = regexp.MustCompile(`^[\pL@][\pL\p{Mn}\p{Nd}._$#@]*$`)
	attributePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]*$`)
	languagePattern  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,23}$`)
)

// reserved are the keywords that cannot be names.
var reserved = []string{"ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"}

func checkName(name string) string {
	switch {
	case name == "":
		return "the name is empty: give it one"
	case !utf8.ValidString(name) || !namePattern.MatchString(name) || strings.HasSuffix(name, "."):
		return "the name must be a letter or @, then letters, digits and . _ $ # @, and not end with a dot: change it"
	case len(name) > maxNameBytes:
		return "the name has more than 64 bytes, SPSS's limit: shorten it"
	case slices.Contains(reserved, strings.ToUpper(name)):
		return "the name is a keyword of SPSS: change it"
	}
	return ""
}

func checkText(what, s string, limit int) string {
	switch {
	case !utf8.ValidString(s):
		return what + " is not UTF-8: convert it"
	case strings.IndexByte(s, 0) >= 0:
		return what + " has a zero byte: remove it"
	case limit > 0 && len(s) > limit:
		return what + " is longer than the format holds: shorten it"
	}
	return ""
}

// check finds what the format cannot hold.
func (s *Schema) check() *Error {
	switch n := len(s.Variables); {
	case n == 0:
		return problem("", "a file needs at least one variable: add one")
	case n > maxVariables:
		return problem("", "%d variables are more than one file can do with: split the table", n)
	}
	if y := s.Time.Year(); !s.Time.IsZero() && (y < 1 || y > 9999) {
		return problem("", "the time of the file is not in the years 1 to 9999: correct it or leave it out")
	}
	for i, l := range s.Languages {
		if !languagePattern.MatchString(l) || slices.Contains(s.Languages[:i], l) {
			return problem("", "label languages must differ and be up to 24 letters, digits and _, such as zh_Hant: change them")
		}
	}
	if p := s.wording("the label of the file", s.Label); p != "" {
		return problem("", "%s", p)
	}
	total := 0
	for _, d := range s.Documents {
		if p := checkText("a document", d, 0); p != "" {
			return problem("", "%s", p)
		}
		total += len(d)
	}
	if total > maxDocumentsBytes {
		return problem("", "the documents are over 64 MiB: shorten them")
	}
	if p := checkAttributes(s.Attributes); p != "" {
		return problem("", "the file: %s", p)
	}
	sets, err := s.checkSets()
	if err != nil {
		return err
	}
	at, err := s.checkVariables(sets)
	if err != nil {
		return err
	}
	return s.checkMultiple(at)
}

// wording checks the texts of all languages.
func (s *Schema) wording(what string, w Wording) string {
	for lang, text := range w {
		if len(s.Languages) == 0 && lang != "" || len(s.Languages) > 0 && !slices.Contains(s.Languages, lang) {
			return what + " is in a language that the schema does not list: add it to Languages"
		}
		if p := checkText(what, text, maxAttribute/2); p != "" {
			return p
		}
	}
	return ""
}

func checkAttributes(list []Attribute) string {
	seen := map[string]bool{}
	for _, a := range list {
		if !attributePattern.MatchString(a.Name) || len(a.Name) > maxNameBytes {
			return "the name of an attribute must be a letter, then letters, digits, dots and _, up to 64: change it"
		}
		name := strings.ToLower(a.Name)
		own := name == "languages" || name == "fulllabel" || name == "fullvaluelabels" || strings.HasPrefix(name, "label_") ||
			strings.HasPrefix(name, "valuelabels_")
		if seen[name] || own {
			return "attribute " + a.Name + " is there twice, or one that this package writes itself: rename it"
		}
		seen[name] = true
		if len(a.Values) == 0 {
			return "attribute " + a.Name + " has no value: give it one or leave it out"
		}
		for _, v := range a.Values {
			if p := checkText("attribute "+a.Name, v, maxAttribute); p != "" {
				return p
			}
		}
	}
	return ""
}

func (s *Schema) checkSets() (map[string]*LabelSet, *Error) {
	sets := map[string]*LabelSet{}
	for i := range s.LabelSets {
		set := &s.LabelSets[i]
		if set.Name == "" || sets[set.Name] != nil {
			return nil, problem("", "sets of value labels must have names that differ: rename %q", set.Name)
		}
		sets[set.Name] = set
		numbers, texts := map[float64]bool{}, map[string]bool{}
		for _, l := range set.Labels {
			code := strings.TrimRight(l.Code, " ")
			p := s.wording("a label", l.Text)
			switch {
			case p != "":
			case set.OfText && texts[code], !set.OfText && numbers[l.Number]:
				p = "a value has two labels: leave one out"
			case set.OfText:
				texts[code] = true
				p = checkText("a value", l.Code, maxAttribute/2-1)
			case math.IsNaN(l.Number) || math.IsInf(l.Number, 0) || l.Number == systemMissing:
				p = "a value is not a number that SPSS can label: leave it out"
			default:
				numbers[l.Number] = true
			}
			if p != "" {
				return nil, problem("", "value labels %s: %s", set.Name, p)
			}
		}
	}
	return sets, nil
}

func (s *Schema) checkVariables(sets map[string]*LabelSet) (map[string]int, *Error) {
	at := make(map[string]int, len(s.Variables))
	for i := range s.Variables {
		v := &s.Variables[i]
		if p := checkName(v.Name); p != "" {
			return nil, problem(v.Name, "%s", p)
		}
		if _, ok := at[fold(v.Name)]; ok {
			return nil, problem(v.Name, "two variables have this name, in which SPSS does not tell capital letters: rename one")
		}
		at[fold(v.Name)] = i
		p := s.checkVariable(v)
		if p == "" {
			p = v.checkLabels(sets)
		}
		if p == "" {
			p = v.checkMissing()
		}
		if p == "" {
			p = checkAttributes(v.Attributes)
		}
		if p != "" {
			return nil, problem(v.Name, "%s", p)
		}
	}
	if s.Weight != "" {
		i, ok := at[fold(s.Weight)]
		if !ok || s.Variables[i].Kind != Number {
			return nil, problem(s.Weight, "the weight must be a Number of the schema: correct Weight")
		}
	}
	return at, nil
}

func fold(name string) string { return strings.ToLower(name) }

func (s *Schema) checkVariable(v *Variable) string {
	switch {
	case v.Kind < Number || v.Kind > String:
		return "it has no kind: say which"
	case v.Kind == String && (v.Width < 1 || v.Width > maxStringBytes):
		return "the width of a string must be 1 to 32,767 bytes: split the text"
	case v.Kind != String && v.Width != 0:
		return "only a String has a width: leave it 0"
	case v.Measure > Scale || v.Align > Center || v.Role > Split:
		return "its measure, alignment or role is not one there is: correct it"
	case v.Columns < 0 || v.Columns > 255:
		return "its columns must be up to 255: correct them"
	}
	if _, p := v.displayFormat(); p != "" {
		return p
	}
	return s.wording("the label", v.Label)
}

func (v *Variable) checkLabels(sets map[string]*LabelSet) string {
	if v.LabelSet == "" {
		return ""
	}
	set := sets[v.LabelSet]
	switch {
	case set == nil:
		return "its value labels " + v.LabelSet + " are not in the schema: add them"
	case set.OfText != (v.Kind == String):
		return "its value labels " + v.LabelSet + " are of the other kind: numbers for numbers, texts for texts"
	}
	for _, l := range set.Labels {
		if set.OfText && len(strings.TrimRight(l.Code, " ")) > v.Width {
			return "a value in its value labels " + v.LabelSet + " is longer than its width: widen the variable"
		}
	}
	return ""
}

func (v *Variable) checkMissing() string {
	m := &v.Missing
	switch {
	case v.Kind == String && (len(m.Numbers) > 0 || m.Range != nil), v.Kind != String && len(m.Texts) > 0:
		return "its missing values are of the other kind: Texts for strings, Numbers and Range for others"
	case len(m.Numbers) > maxMissing || len(m.Texts) > maxMissing || m.Range != nil && len(m.Numbers) > 1:
		return "SPSS holds three missing values, or a range and one more: use a range"
	}
	for _, f := range m.Numbers {
		if math.IsNaN(f) || math.IsInf(f, 0) || f == systemMissing {
			return "a missing value is not a number that SPSS can hold: change it"
		}
	}
	if r := m.Range; r != nil && (math.IsNaN(r[0]) || math.IsNaN(r[1]) || r[0] > r[1] || math.IsInf(r[0], 1) || math.IsInf(r[1], -1)) {
		return "the range of missing values must be from the lower to the higher: correct it"
	}
	for _, t := range m.Texts {
		if p := checkText("a missing value", t, min(maxTextOfMissing, v.Width)); p != "" {
			return p
		}
	}
	return ""
}

func (s *Schema) checkMultiple(at map[string]int) *Error {
	seen := map[string]bool{}
	for _, m := range s.Multiple {
		if checkName(m.Name) != "" || len(m.Name) > maxNameBytes-1 || seen[fold(m.Name)] {
			return problem("", "multiple-response sets must have names like variables, up to 63 bytes, that differ: rename %q", m.Name)
		}
		seen[fold(m.Name)] = true
		p := s.wording("the label", m.Label)
		if len(m.Variables) < 2 {
			p = "it needs two variables or more: leave the set out"
		}
		texts := 0
		for i, name := range m.Variables {
			k, ok := at[fold(name)]
			if !ok || slices.Contains(m.Variables[:i], name) {
				return problem(name, "it is in multiple-response set %s but not in the schema, or twice in the set: correct the set", m.Name)
			}
			if s.Variables[k].Kind == String {
				texts++
			}
		}
		switch {
		case p != "":
		case texts > 0 && texts < len(m.Variables):
			p = "it has strings and numbers: use one of them"
		case m.Categories:
		case texts > 0 && m.CountedText == "":
			p = "it has no text to count: set CountedText"
		default:
			p = checkText("the text to count", m.CountedText, maxSegment)
		}
		if p != "" {
			return problem("", "multiple-response set %s: %s", m.Name, p)
		}
	}
	return nil
}
