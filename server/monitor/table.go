package monitor

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"golang.org/x/text/width"
)

// WriteTable writes the table as aligned plain text for a terminal, in Chinese where lang starts with "zh" and in
// English otherwise. Chinese characters count for two columns, as terminals draw them.
func WriteTable(w io.Writer, resp *servicev1.CountInterviewsResponse, lang string) error {
	zh := strings.HasPrefix(lang, "zh")
	dims := len(resp.GetTotal().GetLabelsEn())
	targets := hasTargets(resp)
	header := append([]string{}, labels(resp.GetTotal(), zh)...)
	header = append(header, countTitles(zh)...)
	if targets {
		header = append(header, pick(zh, "Progress", "进度"))
	}
	lines := [][]string{header}
	for _, r := range resp.GetRows() {
		lines = append(lines, tableLine(r, labels(r, zh), targets))
	}
	first := make([]string, dims)
	if dims > 0 {
		first[0] = pick(zh, "Total", "合计")
	}
	lines = append(lines, tableLine(resp.GetTotal(), first, targets))
	widths := make([]int, len(header))
	for _, line := range lines {
		for i, text := range line {
			widths[i] = max(widths[i], TextWidth(text))
		}
	}
	var b strings.Builder
	for n, line := range lines {
		if n == len(lines)-1 && dims > 0 {
			writeRule(&b, widths)
		}
		writeLine(&b, line, widths, dims)
		if n == 0 {
			writeRule(&b, widths)
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the table of counts: %w", err)
	}
	return nil
}

// WriteCSV writes the table for a spreadsheet: UTF-8 with byte order mark, lines ended by CR LF, for each dimension the
// key and its label, then the counts. The total is left out, so that the columns can be summed.
func WriteCSV(w io.Writer, resp *servicev1.CountInterviewsResponse, lang string) error {
	zh := strings.HasPrefix(lang, "zh")
	if _, err := io.WriteString(w, "\ufeff"); err != nil {
		return fmt.Errorf("write the counts as csv: %w", err)
	}
	out := csv.NewWriter(w)
	out.UseCRLF = true
	var header []string
	for _, title := range resp.GetTotal().GetLabelsEn() {
		key := strings.ReplaceAll(strings.ToLower(title), " ", "_")
		header = append(header, key, key+"_label")
	}
	header = append(header, "interviews", "completed", "in_progress", "not_interviewed", "target")
	records := [][]string{header}
	for _, r := range resp.GetRows() {
		var rec []string
		for i, l := range labels(r, zh) {
			rec = append(rec, r.GetKeys()[i], l)
		}
		rec = append(rec, number(r.GetInterviews()), number(r.GetCompleted()), number(r.GetInProgress()), number(r.GetNotInterviewed()))
		if r.Target != nil {
			rec = append(rec, number(r.GetTarget()))
		} else {
			rec = append(rec, "")
		}
		records = append(records, rec)
	}
	if err := out.WriteAll(records); err != nil {
		return fmt.Errorf("write the counts as csv: %w", err)
	}
	return nil
}

func hasTargets(resp *servicev1.CountInterviewsResponse) bool {
	if resp.GetTotal() != nil && resp.GetTotal().Target != nil {
		return true
	}
	for _, r := range resp.GetRows() {
		if r.Target != nil {
			return true
		}
	}
	return false
}

func countTitles(zh bool) []string {
	if zh {
		return []string{"访问", "完成", "进行中", "未访问"}
	}
	return []string{"Interviews", "Completed", "In progress", "Not interviewed"}
}

func tableLine(r *servicev1.CountRow, keys []string, targets bool) []string {
	line := make([]string, 0, len(keys)+5)
	for _, k := range keys {
		line = append(line, Printable(k))
	}
	line = append(line, number(r.GetInterviews()), number(r.GetCompleted()), number(r.GetInProgress()), number(r.GetNotInterviewed()))
	if targets {
		line = append(line, progress(r))
	}
	return line
}

// progress is "12/20  60 %", or empty where no target is set.
func progress(r *servicev1.CountRow) string {
	if r.Target == nil {
		return ""
	}
	s := number(r.GetCompleted()) + "/" + number(r.GetTarget())
	if r.GetTarget() > 0 {
		s += fmt.Sprintf(" %3d %%", r.GetCompleted()*100/r.GetTarget())
	}
	return s
}

func labels(r *servicev1.CountRow, zh bool) []string {
	if zh {
		return r.GetLabelsZh()
	}
	return r.GetLabelsEn()
}

func pick(zh bool, en, chinese string) string {
	if zh {
		return chinese
	}
	return en
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func writeLine(out *strings.Builder, line []string, widths []int, dims int) {
	b := &strings.Builder{}
	for i, text := range line {
		pad := widths[i] - TextWidth(text)
		if i > 0 {
			b.WriteString("  ")
		}
		if i >= dims {
			writeSpaces(b, pad)
			b.WriteString(text)
			continue
		}
		b.WriteString(text)
		writeSpaces(b, pad)
	}
	out.WriteString(strings.TrimRight(b.String(), " "))
	out.WriteByte('\n')
}

func writeSpaces(b *strings.Builder, n int) {
	for range n {
		b.WriteByte(' ')
	}
}

func writeRule(b *strings.Builder, widths []int) {
	n := 2 * (len(widths) - 1)
	for _, w := range widths {
		n += w
	}
	for range n {
		b.WriteByte('-')
	}
	b.WriteByte('\n')
}

// Printable takes out what a terminal would obey: control characters and marks that turn the writing direction.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, s)
}

// TextWidth is the number of columns a terminal needs.
func TextWidth(s string) int {
	n := 0
	for _, r := range s {
		switch k := width.LookupRune(r).Kind(); {
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		case k == width.EastAsianWide || k == width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}
