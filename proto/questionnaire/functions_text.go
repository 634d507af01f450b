package questionnaire

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"cel.dev/cel-go/cel"
)

// textFunctions declares the functions of texts.
func textFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("text",
			fn1("text", func(x int64) (string, error) { return strconv.FormatInt(x, 10), nil }),
			fn1("text", func(x float64) (string, error) { return numberText(x), nil }),
			fn1("text", func(x bool) (string, error) { return strconv.FormatBool(x), nil }),
			fn1("text", func(x string) (string, error) { return x, nil })),
		cel.Function("lower", fn1("lower", func(s string) (string, error) { return lowered(s), nil })),
		cel.Function("upper", fn1("upper", func(s string) (string, error) { return uppered(s), nil })),
		cel.Function("trim", fn1("trim", func(s string) (string, error) { return trimmed(s), nil })),
		cel.Function("substr", fn3("substr", substr)),
		cel.Function("replace", fn3("replace", replaced)),
		cel.Function("split", fn2("split", splitText)),
		cel.Function("join", fn2("join", func(list []string, sep string) (string, error) { return strings.Join(list, sep), nil })),
	}
}

// lowered and uppered change the case of each character by itself, so that the number of characters stays.
func lowered(s string) string { return strings.Map(recased(unicode.ToLower), s) }
func uppered(s string) string { return strings.Map(recased(unicode.ToUpper), s) }

// recased keeps to the Latin, Greek and Cyrillic letters whose case all programs know alike.
func recased(change func(rune) rune) func(rune) rune {
	return func(r rune) rune {
		switch {
		case r == 0x130 || r == 0x19b:
		case r < 0x250, r >= 0x370 && r < 0x530, r >= 0x1e00 && r < 0x1f00, r >= 0xff21 && r <= 0xff5a:
			return change(r)
		}
		return r
	}
}

// trimmed is a text without the spaces around it: those of ASCII, the one that does not break, and the ideographic one.
func trimmed(s string) string { return strings.Trim(s, "\t\n\v\f\r \u00a0\u3000") }

// substr is the characters from one position up to, and without, another.
func substr(s string, from, to int64) (string, error) {
	chars := []rune(s)
	n := int64(len(chars))
	from, to = min(max(from, 0), n), min(max(to, 0), n)
	if from >= to {
		return "", nil
	}
	return string(chars[from:to]), nil
}

func replaced(s, old, with string) (string, error) {
	if old == "" {
		return s, nil
	}
	if n := strings.Count(s, old); len(with) > len(old) && n*(len(with)-len(old)) > maxTextBytes {
		return "", errTooLarge
	}
	return strings.ReplaceAll(s, old, with), nil
}

// maxTextBytes is how much a text may grow in one step.
const maxTextBytes = 1 << 20

// splitText gives no part for the empty text, and the characters where there is no separator.
func splitText(s, sep string) ([]string, error) {
	if s == "" {
		return []string{}, nil
	}
	return slices.Clip(strings.Split(s, sep)), nil
}
