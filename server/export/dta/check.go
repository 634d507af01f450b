package dta

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The limits of the format, and of Stata.
const (
	maxVariables      = 120_000
	maxVariables118   = 32_767
	maxNameChars      = 32
	maxLabelChars     = 80
	maxStringBytes    = 2_045
	maxLongBytes      = 2_000_000_000 - 1
	maxValueLabel     = 32_000
	maxValueLabels    = 65_536
	maxCharacteristic = 67_783
	maxNotes          = 9_999
	maxLanguages      = 100
	maxFormatBytes    = 56
	maxRowBytes       = 1 << 31
	maxRows118        = 1<<48 - 1
	maxRows119        = 1<<40 - 1
	minCode           = -math.MaxInt32
	maxCode           = math.MaxInt32 - 27
)

var (
	namePattern     = regexp.MustCompile(`^[\pL_][\pL\p{Nd}_]*$`)
	languagePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,23}$`)
	stringType      = regexp.MustCompile(`^str[0-9]+$`)
)

// reserved are the words that cannot be names.
var reserved = []string{
	"_all", "_b", "_coef", "_cons", "_dta", "_n", "_N", "_pi", "_pred", "_rc", "_skip", "byte", "double", "float", "if", "in",
	"int", "long", "strL", "using", "with",
}

func checkName(what, name string) string {
	switch {
	case name == "":
		return what + " is empty: give it a name"
	case !utf8.ValidString(name) || !namePattern.MatchString(name):
		return what + " must have letters, digits and _ only and not start with a digit: change it"
	case utf8.RuneCountInString(name) > maxNameChars || len(name) > 4*maxNameChars:
		return what + " has more than 32 characters, Stata's limit: shorten it"
	case slices.Contains(reserved, name) || stringType.MatchString(name):
		return what + " is a word of Stata's language: change it"
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
		return problem("", "a Stata file needs at least one variable: add one")
	case n > maxVariables:
		return problem("", "%d variables are more than the 120,000 of a Stata file: split the table", n)
	}
	if !s.Time.IsZero() && (s.Time.Year() < 1000 || s.Time.Year() > 9999) {
		return problem("", "the time of the dataset is not in the years 1000 to 9999: correct it or leave it out")
	}
	if p := s.checkLanguages(); p != "" {
		return problem("", "%s", p)
	}
	if p := s.wording("the label of the dataset", s.Label, maxCharacteristic); p != "" {
		return problem("", "%s", p)
	}
	if p := checkNotes(s.Notes, s.Characteristics); p != "" {
		return problem("", "the dataset's %s", p)
	}
	sets, err := s.checkSets()
	if err != nil {
		return err
	}
	return s.checkVariables(sets)
}

func (s *Schema) checkLanguages() string {
	if len(s.Languages) > maxLanguages {
		return "there are more than 100 label languages: leave some out"
	}
	for i, l := range s.Languages {
		if !languagePattern.MatchString(l) {
			return "a label language must be up to 24 letters, digits and _, such as zh_Hant: change it"
		}
		if slices.Contains(s.Languages[:i], l) {
			return "label language " + l + " is listed twice: leave one out"
		}
	}
	return ""
}

// wording checks the texts of all languages.
func (s *Schema) wording(what string, w Wording, limit int) string {
	for lang, text := range w {
		if len(s.Languages) == 0 && lang != "" || len(s.Languages) > 0 && !slices.Contains(s.Languages, lang) {
			return what + " is in a language that the schema does not list: add it to Languages"
		}
		if p := checkText(what, text, limit); p != "" {
			return p
		}
	}
	return ""
}

func checkNotes(notes []string, chars []Characteristic) string {
	if len(notes) > maxNotes-maxLanguages-1 {
		return "notes are more than Stata keeps: join some"
	}
	for _, n := range notes {
		if p := checkText("note", n, maxCharacteristic); p != "" {
			return p
		}
	}
	seen := map[string]bool{}
	for _, c := range chars {
		if p := checkName("characteristic's name", c.Name); p != "" {
			return p
		}
		if strings.HasPrefix(c.Name, "_lang_") || noteName.MatchString(c.Name) {
			return "characteristic " + c.Name + " is one that Stata uses itself: rename it"
		}
		if seen[c.Name] {
			return "characteristic " + c.Name + " is there twice: leave one out"
		}
		seen[c.Name] = true
		if p := checkText("characteristic "+c.Name, c.Text, maxCharacteristic); p != "" {
			return p
		}
	}
	return ""
}

var noteName = regexp.MustCompile(`^note[0-9]+$`)

// checkSets returns the names of the sets, and of their translations.
func (s *Schema) checkSets() (map[string]bool, *Error) {
	sets, files := map[string]bool{}, map[string]bool{}
	for i := range s.LabelSets {
		set := &s.LabelSets[i]
		for n, lang := range s.languages() {
			name := set.in(n, lang)
			if p := checkName("the name of value labels "+name, name); p != "" {
				return nil, problem("", "%s", p)
			}
			if files[name] {
				return nil, problem("", "two sets of value labels would have the name %s: rename one", name)
			}
			files[name] = true
		}
		sets[set.Name] = true
		if p := s.checkSet(set); p != "" {
			return nil, problem("", "value labels %s: %s", set.Name, p)
		}
	}
	return sets, nil
}

func (s *Schema) checkSet(set *LabelSet) string {
	if len(set.Labels) > maxValueLabels {
		return "there are more than 65,536 labels: split the set"
	}
	seen := map[int32]bool{}
	for _, l := range set.Labels {
		if missingIndex(l.Missing) < 0 {
			return "a reason for missing answers is not one of a to z: change it"
		}
		if l.Missing == 0 && (l.Code < minCode || l.Code > maxCode) {
			return "a code is not in the range of a long, -2,147,483,647 to 2,147,483,620: change it"
		}
		if seen[l.code()] {
			return "a value has two labels: leave one out"
		}
		seen[l.code()] = true
		if p := s.wording("a label", l.Text, maxValueLabel); p != "" {
			return p
		}
	}
	return ""
}

func (s *Schema) checkVariables(sets map[string]bool) *Error {
	at, width := map[string]int{}, 0
	for i := range s.Variables {
		v := &s.Variables[i]
		if p := checkName("the name", v.Name); p != "" {
			return problem(v.Name, "%s", p)
		}
		if _, ok := at[v.Name]; ok {
			return problem(v.Name, "two variables have this name: rename one")
		}
		at[v.Name] = i
		if p := s.checkVariable(v, sets); p != "" {
			return problem(v.Name, "%s", p)
		}
		width += v.width()
	}
	if width > maxRowBytes {
		return problem("", "a row has more than 2^31 bytes: make long texts LongString")
	}
	for i, name := range s.SortedBy {
		k, ok := at[name]
		switch {
		case !ok:
			return problem(name, "the rows are sorted by a variable that is not there: add it or correct SortedBy")
		case slices.Contains(s.SortedBy[:i], name):
			return problem(name, "the rows are sorted by it twice: leave one out")
		case s.Variables[k].Kind == LongString:
			return problem(name, "rows cannot be marked as sorted by a long string: leave it out of SortedBy")
		}
	}
	return nil
}

func (s *Schema) checkVariable(v *Variable, sets map[string]bool) string {
	isString := v.Kind == String || v.Kind == LongString
	switch {
	case v.Kind < Byte || v.Kind > LongString:
		return "it has no kind: say which"
	case v.Kind == String && (v.Width < 1 || v.Width > maxStringBytes):
		return "the width of a string must be 1 to 2,045 bytes: make it a LongString"
	case v.Kind != String && v.Width != 0:
		return "only a String has a width: leave it 0"
	case v.LabelSet != "" && isString:
		return "a string cannot have value labels in Stata: use numbers for its values"
	case v.LabelSet != "" && !sets[v.LabelSet]:
		return "its value labels " + v.LabelSet + " are not in the schema: add them"
	}
	if p := checkFormat(v, isString); p != "" {
		return p
	}
	if p := s.wording("the label", v.Label, maxCharacteristic); p != "" {
		return p
	}
	return checkNotes(v.Notes, v.Characteristics)
}

func checkFormat(v *Variable, isString bool) string {
	f := v.Format
	if f == "" {
		return ""
	}
	if f[0] != '%' || len(f) < 3 || len(f) > maxFormatBytes {
		return "the display format must start with % and have up to 56 bytes: correct it"
	}
	for i := range len(f) {
		if f[i] < ' ' || f[i] > '~' {
			return "the display format must be ASCII: correct it"
		}
	}
	plain := strings.Replace(f, "%-", "%", 1)
	switch {
	case v.Kind == Date && !strings.HasPrefix(plain, "%td"):
		return "the display format of a date must start with %td: correct it"
	case v.Kind == Datetime && !strings.HasPrefix(plain, "%tc"):
		return "the display format of a datetime must start with %tc: correct it"
	case v.Kind < Date && strings.HasPrefix(plain, "%t"):
		return "a display format for dates is on a number: make it a Date or Datetime"
	case v.Kind != Date && v.Kind != Datetime && strings.HasSuffix(f, "s") != isString:
		return "the display format does not fit the kind: text ends with s, numbers with g, f or e"
	}
	return ""
}
