package dedup

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// transform makes one blocking value of an atom; empty means none. agree is the assumed chance that two records of one
// person agree on it, given both are there.
type transform struct {
	name  string
	agree float64
	of    func(a *atom) string
}

// transformsOf lists the blocking values of a kind, narrowest first.
func transformsOf(k kind) []transform {
	canon := func(a *atom) string { return a.canon }
	cut := func(n int) func(a *atom) string {
		return func(a *atom) string {
			if len(a.canon) < n {
				return ""
			}
			return a.canon[:n]
		}
	}
	switch k {
	case kindPerson:
		return []transform{
			{"", .75, canon},
			{" pinyin", .85, func(a *atom) string { return a.sound }},
			{" dialect", .9, func(a *atom) string { return a.name.near }},
			{" family", .95, func(a *atom) string { return a.name.soundFamily }},
		}
	case kindDate:
		return []transform{
			{"", .65, func(a *atom) string {
				if a.date.day == 0 {
					return ""
				}
				return a.canon
			}},
			{" month", .75, func(a *atom) string {
				if a.date.month == 0 {
					return ""
				}
				return a.canon[:7]
			}},
			{" year", .88, func(a *atom) string {
				if a.date.reckoned {
					return ""
				}
				return a.canon[:4]
			}},
			{" day of the year", .75, func(a *atom) string { return strings.TrimPrefix(a.canon, strconv.Itoa(int(a.date.year))) }},
		}
	case kindPhone:
		return []transform{{"", .65, canon}, {" last four", .7, last(4)}}
	case kindResident:
		return []transform{{"", .8, func(a *atom) string {
			if len(a.canon) < 15 {
				return ""
			}
			return a.canon
		}}, {" last four", .9, func(a *atom) string {
			if len(a.canon) == 15 {
				return ""
			}
			return last(4)(a)
		}}}
	case kindPlace:
		return []transform{{"", .7, canon}, {" township", .75, cut(9)}, {" county", .85, cut(6)}}
	case kindCategory, kindOrdered:
		return []transform{{"", .8, canon}}
	case kindDigits:
		return []transform{{"", .75, canon}, {" last four", .78, last(4)}}
	}
	return []transform{{"", .72, canon}, {" first three", .82, func(a *atom) string {
		for i, n := 0, 0; i < len(a.canon); n++ {
			_, size := utf8.DecodeRuneInString(a.canon[i:])
			if i += size; n == 2 && i < len(a.canon) {
				return a.canon[:i]
			}
		}
		return ""
	}}, {" first word", .77, func(a *atom) string {
		w, _, more := strings.Cut(a.shown, " ")
		if !more {
			return ""
		}
		return strings.ToLower(w)
	}}}
}

// last keeps the last n characters of longer texts.
func last(n int) func(a *atom) string {
	return func(a *atom) string {
		if len(a.canon) < n {
			return ""
		}
		return a.canon[len(a.canon)-n:]
	}
}

// hash of a text (FNV-1a).
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h, 1)
}

// mix joins two hashes.
func mix(a, b uint64) uint64 {
	x := a*0x9E3779B97F4A7C15 ^ (b + 0x7F4A7C159E3779B9 + (a << 6) + (a >> 2))
	x ^= x >> 29
	x *= 0xBF58476D1CE4E5B9
	return x ^ x>>32
}

// mostCombinations bounds under how many values of a conjunction one record stands.
const mostCombinations = 64

// combine mixes every combination of one hash of each list, up to a bound; none if a list is empty.
func combine(out []uint64, lists [][]uint64) []uint64 {
	for i, list := range lists {
		if len(list) == 0 {
			return nil
		}
		if i == 0 {
			out = append(out, list[:min(len(list), mostCombinations)]...)
			continue
		}
		end := len(out)
		for _, h := range list[1:] {
			for x := 0; x < end && len(out) < mostCombinations; x++ {
				out = append(out, mix(out[x], h))
			}
		}
		for x := range end {
			out[x] = mix(out[x], list[0])
		}
	}
	return out
}
