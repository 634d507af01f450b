package referral

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// WriteRDSAT writes a sample in the text format of RDSAT, which holds one coupon for each recruit. A respondent whose
// recruiter was not interviewed has a coupon that nobody gave out: readers that make a seed of him do so on their own
// account. Missing values are -9, or more nines where -9 is a value. Ids that are numbers are given a "p" in front, for
// readers that take numbers for coupons.
func WriteRDSAT(w io.Writer, s *Sample) error {
	missing := missingSymbol(s)
	recruits := make([][]int32, len(s.IDs))
	most := 1
	for i, r := range s.Recruiter {
		if r != Unknown {
			recruits[r] = append(recruits[r], int32(i))
			most = max(most, len(recruits[r]))
		}
	}
	ids := wordIDs(s)
	return file(w, "RDSAT text", func(m *markup) {
		m.text("RDS\n", strconv.Itoa(len(s.IDs)), " ", strconv.Itoa(most), " ", missing)
		for _, o := range s.Outcomes {
			m.text(" ", word(o.Name))
		}
		m.text("\n")
		for i, id := range ids {
			degree, own := missing, missing
			if s.Degree[i] != Unknown {
				degree = strconv.Itoa(int(s.Degree[i]))
			}
			if !s.Seed[i] {
				own = "c" + strconv.Itoa(i+1)
			}
			m.text(id, " ", degree, " ", own)
			for k := range most {
				if k < len(recruits[i]) {
					m.text(" c", strconv.Itoa(int(recruits[i][k])+1))
				} else {
					m.text(" ", missing)
				}
			}
			for _, o := range s.Outcomes {
				if k := o.Level[i]; k == Unknown {
					m.text(" ", missing)
				} else {
					m.text(" ", word(o.Levels[k]))
				}
			}
			m.text("\n")
		}
	})
}

// missingSymbol is a number that is no value.
func missingSymbol(s *Sample) string {
	symbol := "-9"
	for taken := true; taken; {
		taken = false
		for _, o := range s.Outcomes {
			taken = taken || slices.ContainsFunc(o.Levels, func(l string) bool { return word(l) == symbol })
		}
		if taken {
			symbol += "9"
		}
	}
	return symbol
}

// word makes one word of a text, for formats that separate by spaces.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '"' || r == '\'' || r == ',' || r == '#' {
			return '_'
		}
		return r
	}, printable(s))
	if s == "" {
		return "_"
	}
	return s
}

// wordIDs are ids of one word, unique, and no numbers.
func wordIDs(s *Sample) []string {
	taken := make(map[string]bool, len(s.IDs))
	out := make([]string, len(s.IDs))
	for i, id := range s.IDs {
		clean := word(id)
		if _, err := strconv.ParseFloat(clean, 64); err == nil {
			clean = "p" + clean
		}
		id = clean
		for k := 2; taken[id]; k++ {
			id = clean + "_" + strconv.Itoa(k)
		}
		taken[id] = true
		out[i] = id
	}
	return out
}

// RScriptOptions say what an R script holds beside the sample.
type RScriptOptions struct {
	// Population is the size of the population; 0 if not known.
	Population float64
	// MaxCoupons is how many coupons a respondent was given at most; 0 if not known.
	MaxCoupons int
}

// WriteRScript writes a script for R that makes the sample a data frame z and, where the package RDS is installed, the
// rds.data.frame x. It is ASCII: other characters are escaped, so that no locale can spoil them. That package has no way to
// hold a respondent whose recruiter was not interviewed; the script makes it a seed there, says so as a warning, and keeps
// the truth in the column is.seed.
func WriteRScript(w io.Writer, s *Sample, o RScriptOptions) error {
	return file(w, "an R script", func(m *markup) {
		n, seed := len(s.IDs), rText(seedWord(s))
		orphans := 0
		for i, r := range s.Recruiter {
			if r == Unknown && !s.Seed[i] {
				orphans++
			}
		}
		m.text("# Respondents and who recruited them. Run with R 4 or later.\nz <- data.frame(\n  stringsAsFactors = FALSE, check.names = FALSE")
		m.rColumn("id", n, "character(0)", func(i int) string { return rText(s.IDs[i]) })
		m.rColumn("recruiter.id", n, "character(0)", func(i int) string {
			if r := s.Recruiter[i]; r != Unknown {
				return rText(s.IDs[r])
			}
			return seed
		})
		m.rColumn("is.seed", n, "logical(0)", func(i int) string { return strings.ToUpper(strconv.FormatBool(s.Seed[i])) })
		m.rColumn("network.size", n, "integer(0)", func(i int) string { return rNumber(s.Degree[i]) })
		m.rColumn("wave", n, "integer(0)", func(i int) string { return rNumber(s.Wave[i]) })
		m.rColumn("way", n, "character(0)", func(i int) string { return rText(s.Way[i]) })
		timed := slices.ContainsFunc(s.Time, func(ms int64) bool { return ms != 0 })
		if timed {
			m.rColumn("time", n, "character(0)", func(i int) string {
				if s.Time[i] == 0 {
					return "NA"
				}
				return rText(time.UnixMilli(s.Time[i]).UTC().Format("2006-01-02T15:04:05"))
			})
		}
		for _, out := range s.Outcomes {
			m.rColumn(out.Name, n, "character(0)", func(i int) string {
				if k := out.Level[i]; k != Unknown {
					return rText(out.Levels[k])
				}
				return "NA"
			})
		}
		m.text("\n)\n")
		if orphans > 0 {
			m.text(fmt.Sprintf("warning(\"%d respondents have a recruiter who was not interviewed; RDS counts them as seeds, see is.seed\")\n", orphans))
		}
		m.text("if (requireNamespace(\"RDS\", quietly = TRUE)) {\n  x <- RDS::as.rds.data.frame(z, id = \"id\", recruiter.id = \"recruiter.id\", network.size = \"network.size\"")
		if timed {
			m.text(`, time = "time"`)
		}
		if o.MaxCoupons > 0 {
			m.text(", max.coupons = ", strconv.Itoa(o.MaxCoupons))
		}
		if o.Population > 0 {
			m.text(", population.size = ", strconv.FormatFloat(o.Population, 'f', -1, 64))
		}
		m.text(")\n}\n")
	})
}

// seedWord is what stands for the recruiter of seeds; no id is the same.
func seedWord(s *Sample) string {
	seed := "seed"
	for slices.Contains(s.IDs, seed) {
		seed += "."
	}
	return seed
}

func (m *markup) rColumn(name string, n int, empty string, value func(i int) string) {
	m.text(",\n  ", rText(name), " = ")
	if n == 0 {
		m.text(empty)
		return
	}
	m.text("c(")
	for i := range n {
		if i > 0 {
			m.text(", ")
			if i%20 == 0 {
				m.text("\n    ")
			}
		}
		m.text(value(i))
	}
	m.text(")")
}

func rNumber(v int32) string {
	if v == Unknown {
		return "NA"
	}
	return strconv.Itoa(int(v)) + "L"
}

// rText is a string constant of R.
func rText(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range printable(s) {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x7f:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, "\\u{%04x}", r)
		default:
			fmt.Fprintf(&b, "\\U{%08x}", r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
