package export

import (
	"slices"
	"strconv"
	"strings"
)

// Names of variables have to work in Stata, SPSS and R: at most 32 characters, and not a word of their languages.
const (
	maxName  = 32
	whyOf    = "_why"
	maxTable = 24
)

var reserved = map[string]bool{
	"all": true, "and": true, "by": true, "byte": true, "double": true, "else": true, "eq": true, "false": true, "float": true,
	"for": true, "function": true, "ge": true, "gt": true, "if": true, "in": true, "int": true, "le": true, "long": true,
	"lt": true, "ne": true, "next": true, "not": true, "null": true, "or": true, "repeat": true, "skip": true, "strl": true,
	"to": true, "true": true, "using": true, "while": true, "with": true,
}

// draft is a name to be given: to one column, or to the columns of one question that differ by a suffix.
type draft struct {
	candidates []string // best first
	suffixes   []string // of the columns, "" for the name itself
	plain      bool     // what is too long is cut in the same order
	since      uint32   // first version of a published questionnaire that has the question
	give       func(name string)
}

// assign gives each draft its best name where that is short enough and free, and after that the next best to those
// left; the last resort is the best name with its longest words cut. A name once given is not taken away by a later
// draft, so that new questions at the end leave the names before them alone.
func assign(drafts []draft, taken map[string]bool) {
	names := make([]string, len(drafts))
	next := map[string]int{} // number to try for a name that is taken
	for i, d := range drafts {
		if d.fits(d.candidates[0], taken) {
			names[i] = d.candidates[0]
			d.take(names[i], taken)
		}
	}
	for i, d := range drafts {
		if names[i] == "" {
			names[i] = d.nextBest(taken, next)
			d.take(names[i], taken)
		}
		d.give(names[i])
	}
}

// combine puts a name behind that of the block it stands in, without saying a word twice: work and work_place make
// work_place, network_size and size make network_size.
func combine(prefix, name string) string {
	prefix, name = clean(prefix), clean(name)
	switch {
	case prefix == "" || name == prefix || strings.HasPrefix(name, prefix+"_"):
		return name
	case strings.HasSuffix(prefix, "_"+name):
		return prefix
	}
	if i := strings.LastIndexByte(prefix, '_'); i > 0 && strings.HasPrefix(name, prefix[i+1:]+"_") {
		return prefix[:i+1] + name
	}
	return prefix + "_" + name
}

// suffixed is the name of one of the columns of a question: to_ has to_year.
func suffixed(name, suffix string) string {
	if suffix == "" {
		return name
	}
	return strings.TrimSuffix(name, "_") + suffix
}

func unreserved(name string) string {
	if reserved[name] {
		return name + "_"
	}
	return name
}

// clean leaves a-z, 0-9 and _, with a letter first.
func clean(s string) string {
	if s == "" {
		return ""
	}
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') || r == '_' {
			b.WriteRune(r)
		}
	}
	out := strings.TrimLeft(b.String(), "_")
	if out == "" || (out[0] >= '0' && out[0] <= '9') {
		out = "v" + out
	}
	return out
}

func (d draft) limit() int {
	n := len(whyOf)
	for _, s := range d.suffixes {
		n = max(n, len(s))
	}
	return maxName - n
}

func (d draft) free(name string, taken map[string]bool) bool {
	if taken[suffixed(name, whyOf)] {
		return false
	}
	for _, s := range d.suffixes {
		if taken[suffixed(name, s)] {
			return false
		}
	}
	return true
}

func (d draft) take(name string, taken map[string]bool) {
	taken[suffixed(name, whyOf)] = true
	for _, s := range d.suffixes {
		taken[suffixed(name, s)] = true
	}
}

func (d draft) fits(name string, taken map[string]bool) bool {
	return len(name) <= d.limit() && d.free(name, taken)
}

func (d draft) nextBest(taken map[string]bool, next map[string]int) string {
	for _, name := range d.candidates[1:] {
		if d.fits(name, taken) {
			return name
		}
	}
	cut := slices.Clone(d.candidates)
	if !d.plain {
		slices.Reverse(cut)
	}
	for _, c := range cut {
		if name := cutWords(c, d.limit()); d.fits(name, taken) {
			return name
		}
	}
	for from, to := 2, 9; ; from, to = to+1, 10*to+9 {
		base := cutWords(d.candidates[0], d.limit()-1-len(strconv.Itoa(to)))
		for n := max(from, next[base]); n <= to; n++ {
			next[base] = n + 1
			if name := base + "_" + strconv.Itoa(n); d.free(name, taken) {
				return name
			}
		}
	}
}

// cutWords shortens the longest words of a name, letter by letter, until it fits.
func cutWords(name string, limit int) string {
	words := strings.Split(name, "_")
	for len(strings.Join(words, "_")) > limit {
		longest := 0
		for i, w := range words {
			if len(w) > len(words[longest]) {
				longest = i
			}
		}
		if len(words[longest]) <= 3 {
			if len(words) == 1 {
				break
			}
			words = words[1:]
			continue
		}
		words[longest] = words[longest][:len(words[longest])-1]
	}
	return strings.Join(words, "_")
}
