package questionnaire

import (
	"regexp"
	"regexp/syntax"
)

// Patterns of codes, as ^([0-9]{6}|[0-9]{12})$, come down to a few rows of characters of which each must be one of a class.
// They are checked for every place of every interview, and so are at a tenth of what regexp takes.

// classes are the ASCII characters that may stand at one place.
type classes [128]bool

// Bounds of what is taken apart; other patterns are left to regexp.
const (
	maxRows      = 16
	maxRowLength = 64
)

// matcher tells whether a text matches a pattern.
func matcher(pattern string) (func(string) bool, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	rows, ok := anchored(parsed)
	if !ok {
		return re.MatchString, nil
	}
	return func(s string) bool {
		for _, row := range rows {
			if len(row) == len(s) && fit(row, s) {
				return true
			}
		}
		return false
	}, nil
}

func fit(row []*classes, s string) bool {
	for i, c := range row {
		if s[i] >= 128 || !c[s[i]] {
			return false
		}
	}
	return true
}

// anchored takes a pattern of a whole text apart.
func anchored(re *syntax.Regexp) ([][]*classes, bool) {
	if re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText || re.Sub[len(re.Sub)-1].Op != syntax.OpEndText {
		return nil, false
	}
	return inRow(re.Sub[1 : len(re.Sub)-1])
}

// rowsOf are the rows that a part of a pattern comes down to; false where they are too many, or of another kind.
func rowsOf(re *syntax.Regexp) ([][]*classes, bool) {
	switch re.Op {
	case syntax.OpCapture:
		return rowsOf(re.Sub[0])
	case syntax.OpConcat:
		return inRow(re.Sub)
	case syntax.OpAlternate:
		var out [][]*classes
		for _, sub := range re.Sub {
			rows, ok := rowsOf(sub)
			if out = append(out, rows...); !ok || len(out) > maxRows {
				return nil, false
			}
		}
		return out, true
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return nil, false
		}
		row := make([]*classes, len(re.Rune))
		for i, r := range re.Rune {
			if r >= 128 {
				return nil, false
			}
			row[i] = &classes{}
			row[i][r] = true
		}
		return [][]*classes{row}, true
	case syntax.OpCharClass:
		c := &classes{}
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if r >= 128 {
					return nil, false
				}
				c[r] = true
			}
		}
		return [][]*classes{{c}}, true
	case syntax.OpQuest:
		rows, ok := rowsOf(re.Sub[0])
		return append(rows, nil), ok
	case syntax.OpRepeat:
		return repeated(re)
	}
	return nil, false
}

// repeated are the rows of a part that stands there a number of times.
func repeated(re *syntax.Regexp) ([][]*classes, bool) {
	if re.Max < 0 || re.Max > maxRowLength {
		return nil, false
	}
	var out [][]*classes
	parts := make([]*syntax.Regexp, 0, re.Max)
	for n := 0; n <= re.Max; n++ {
		if n > 0 {
			parts = append(parts, re.Sub[0])
		}
		if n < re.Min {
			continue
		}
		rows, ok := inRow(parts)
		if out = append(out, rows...); !ok || len(out) > maxRows {
			return nil, false
		}
	}
	return out, true
}

// inRow are the rows of parts that stand behind each other.
func inRow(parts []*syntax.Regexp) ([][]*classes, bool) {
	out := [][]*classes{nil}
	for _, part := range parts {
		rows, ok := rowsOf(part)
		if !ok || len(rows)*len(out) > maxRows {
			return nil, false
		}
		var more [][]*classes
		for _, before := range out {
			for _, row := range rows {
				if len(before)+len(row) > maxRowLength {
					return nil, false
				}
				more = append(more, append(append([]*classes(nil), before...), row...))
			}
		}
		out = more
	}
	return out, true
}
