package study

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
)

// mostRepeats is how many more times than it must a part of a pattern is repeated.
const mostRepeats = 3

// matching is a text that matches a pattern, as far as that can be made piece by piece; "" where the pattern is none.
func matching(r *rand.Rand, pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	grow(r, re, &b)
	return b.String()
}

func grow(r *rand.Rand, re *syntax.Regexp, b *strings.Builder) {
	if b.Len() > 1000 {
		return
	}
	times := func(least, most int) {
		n := least
		if most > least {
			n += r.IntN(min(most-least, mostRepeats) + 1)
		}
		for range n {
			grow(r, re.Sub[0], b)
		}
	}
	switch re.Op {
	case syntax.OpLiteral:
		for _, c := range re.Rune {
			b.WriteRune(c)
		}
	case syntax.OpCharClass:
		b.WriteRune(oneOf(r, re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(byte('a' + r.IntN(26)))
	case syntax.OpStar:
		times(0, mostRepeats)
	case syntax.OpPlus:
		times(1, 1+mostRepeats)
	case syntax.OpQuest:
		times(0, 1)
	case syntax.OpRepeat:
		most := re.Max
		if most < 0 {
			most = re.Min + mostRepeats
		}
		times(re.Min, most)
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			grow(r, sub, b)
		}
	case syntax.OpAlternate:
		grow(r, re.Sub[r.IntN(len(re.Sub))], b)
	}
}

// oneOf is a character of a class, one that can be typed where there is one.
func oneOf(r *rand.Rand, ranges []rune) rune {
	var typed []rune
	for i := 0; i+1 < len(ranges); i += 2 {
		for c := max(ranges[i], ' '+1); c <= min(ranges[i+1], '~'); c++ {
			typed = append(typed, c)
		}
	}
	if len(typed) > 0 {
		return typed[r.IntN(len(typed))]
	}
	if len(ranges) == 0 {
		return 'x'
	}
	return ranges[0]
}
