package xlsx

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendColumn writes the letters of a column, from 0.
func appendColumn(b []byte, i int) []byte {
	if i >= 26 {
		b = appendColumn(b, i/26-1)
	}
	return append(b, byte('A'+i%26))
}

// spaced is whether a reader of XML might take spaces away.
func spaced(s string) bool {
	return s[0] <= ' ' || s[len(s)-1] <= ' ' || strings.ContainsAny(s, "\n\t") || strings.Contains(s, "  ")
}

// appendText writes a text for XML. Characters that XML cannot hold, and the carriage return, which it does not keep, are
// written as _x000D_; what looks so already gets its first _ written in that way.
func appendText(b []byte, s string) []byte {
	for i, r := range s {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '_' && escaped(s[i:]):
			b = append(b, "_x005F_"...)
		case r < ' ' && r != '\t' && r != '\n', r == 0xfffe, r == 0xffff:
			b = append(b, "_x"...)
			hex := strings.ToUpper(strconv.FormatInt(int64(r)+0x10000, 16))
			b = append(append(b, hex[1:]...), '_')
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// escaped is whether a text begins as such a character is written.
func escaped(s string) bool {
	if len(s) < 7 || s[1] != 'x' || s[6] != '_' {
		return false
	}
	_, err := strconv.ParseUint(s[2:6], 16, 16)
	return err == nil
}
