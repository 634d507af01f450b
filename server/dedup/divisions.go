package dedup

import (
	_ "embed" // the table of codes
	"strings"
)

// replacedCodes are the codes of GB/T 2260 that were replaced, each with that of today: counties that became districts or cities,
// were renamed or taken in by another, or whose prefecture was made anew. testdata/divisions.py derives them.
//
//go:embed divisions.txt
var replacedCodes string

// recoded maps each replaced code of six digits to that of today.
var recoded = func() map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(replacedCodes) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		codes := strings.Fields(line)
		for i := 0; i+1 < len(codes); i += 2 {
			out[codes[i]] = codes[i+1]
		}
	}
	return out
}()

// today is a division code with its county, or its prefecture where it tells no more, as it is coded today. What stands behind the
// county stays: townships kept their numbers.
func today(code string) string {
	if len(code) == 4 {
		if now, ok := recoded[code+"00"]; ok {
			return now[:4]
		}
	}
	if len(code) >= 6 {
		if now, ok := recoded[code[:6]]; ok {
			return now + code[6:]
		}
	}
	return code
}
