package xlsform

import (
	"regexp"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// languages are the languages of a form.
type languages struct {
	// tags are BCP 47 tags by the name of the language in the headers; "" is the name of headers that name none.
	tags map[string]string
	// order is the tags as they are first met, the form's default first.
	order []string
}

var inParentheses = regexp.MustCompile(`\(\s*([A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*)\s*\)\s*$`)

// moreNames are names that the tables of languages do not have.
var moreNames = map[string]string{
	"chinese": "zh", "mandarin": "zh", "simplified chinese": "zh", "中文": "zh", "简体中文": "zh", "汉语": "zh", "普通话": "zh",
	"traditional chinese": "zh-Hant", "繁體中文": "zh-Hant", "dari": "prs", "farsi": "fa", "kiswahili": "sw", "bahasa": "id", "bahasa indonesia": "id",
	"kurdish": "ku", "kurmanji": "kmr", "sorani": "ckb", "castellano": "es", "bangla": "bn", "khmer": "km", "burmese": "my", "myanmar": "my", "tagalog": "tl",
	"rohingya": "rhg", "twi": "tw", "creole": "ht", "kirundi": "rn", "chichewa": "ny", "lao": "lo", "tetum": "tet", "oromo": "om", "afaan oromo": "om", "pashtu": "ps",
	"portugese": "pt", "francais": "fr", "espanol": "es",
}

// namesOfLanguages finds tags by the names of languages, in English and in themselves.
var namesOfLanguages = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	english := display.English.Tags()
	for _, t := range display.Supported.Tags() {
		base, confidence := t.Base()
		if confidence == language.No {
			continue
		}
		tag := language.Make(base.String())
		for _, name := range []string{english.Name(tag), display.Self.Name(tag)} {
			if name = strings.ToLower(name); name != "" && names[name] == "" {
				names[name] = base.String()
			}
		}
	}
	for name, tag := range moreNames {
		names[name] = tag
	}
	return names
})

// tagOf is the BCP 47 tag of a language's name: "French (fr)", "fr", "French", "Français". A language nobody knows
// gets a private tag of its own.
func tagOf(name string) string {
	name = strings.TrimSpace(name)
	if m := inParentheses.FindStringSubmatch(name); m != nil {
		if t, err := language.Parse(m[1]); err == nil {
			return shortTag(t)
		}
	}
	if tag := namesOfLanguages()[strings.ToLower(name)]; tag != "" {
		return tag
	}
	if len(name) <= 11 {
		if t, err := language.Parse(name); err == nil {
			return shortTag(t)
		}
	}
	if i := strings.IndexByte(name, '('); i > 0 {
		if tag := namesOfLanguages()[strings.ToLower(strings.TrimSpace(name[:i]))]; tag != "" {
			return tag
		}
	}
	return "x-" + subtag(name)
}

// shortTag writes every kind of simplified Chinese as zh, for which texts have a field.
func shortTag(t language.Tag) string {
	base, _ := t.Base()
	script, _ := t.Script()
	if base.String() == "zh" && script.String() != "Hant" {
		return "zh"
	}
	return t.String()
}

// subtag makes of a name what may stand in a private tag.
func subtag(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) && b.Len() < 8 {
			b.WriteRune(r)
		}
	}
	if b.Len() == 0 {
		return "other"
	}
	return b.String()
}

// newLanguages gives tags to the languages of the headers, in their order. apart tells whether wording without a language
// stands beside wording in a language, so that it must be one of its own.
func newLanguages(names []string, standard, sample string, apart func(name string) bool) *languages {
	l := &languages{tags: map[string]string{}}
	taken := map[string]bool{}
	give := func(name, tag string) {
		for base, n := tag, 1; taken[tag]; n++ {
			tag = base + "-x-" + subtag(name)
			if name == "" {
				tag = base + "-x-default"
			}
			if n > 1 {
				tag += string(rune('0' + n%10))
			}
		}
		taken[tag] = true
		l.tags[name] = tag
		l.order = append(l.order, tag)
	}
	for _, name := range names {
		if name != "" {
			give(name, tagOf(name))
		}
	}
	for _, name := range names {
		if name == "" {
			tag := guess(sample)
			if standard != "" && !strings.EqualFold(standard, "default") {
				tag = tagOf(standard)
			} else if sample == "" && len(l.order) > 0 {
				tag = l.order[0]
			}
			if other, ok := l.named(tag); ok && !apart(other) {
				l.tags[name] = tag
				continue
			}
			give(name, tag)
		}
	}
	l.lead(standard)
	return l
}

// named is the name in headers of the language of a tag.
func (l *languages) named(tag string) (string, bool) {
	for name, t := range l.tags {
		if t == tag {
			return name, true
		}
	}
	return "", false
}

// lead puts the form's default language first.
func (l *languages) lead(standard string) {
	first := ""
	for name, tag := range l.tags {
		if strings.EqualFold(strings.TrimSpace(name), strings.TrimSpace(standard)) {
			first = tag
		}
	}
	if first == "" && standard != "" {
		first = tagOf(standard)
	}
	for i, tag := range l.order {
		if tag == first {
			l.order = append(append([]string{tag}, l.order[:i]...), l.order[i+1:]...)
			return
		}
	}
}

// guess is the language of wording that names none: Chinese where it is written in characters, English in Latin letters.
func guess(sample string) string {
	han, latin, other := 0, 0, 0
	for _, r := range sample {
		switch {
		case unicode.Is(unicode.Han, r):
			han++
		case unicode.Is(unicode.Latin, r):
			latin++
		case unicode.IsLetter(r):
			other++
		}
	}
	switch {
	case han > 0 && han*3 > latin && han > other:
		return "zh"
	case other > latin:
		return "und"
	}
	return "en"
}

// text is a wording in the languages it has; nil if it has none.
func (l *languages) text(t texts) *formv1.Text {
	if len(t) == 0 {
		return nil
	}
	out := &formv1.Text{}
	for name, wording := range t {
		switch tag := l.tags[name]; tag {
		case "en":
			out.En = &wording
		case "zh":
			out.Zh = &wording
		default:
			if out.More == nil {
				out.More = map[string]string{}
			}
			out.More[tag] = wording
		}
	}
	return out
}
