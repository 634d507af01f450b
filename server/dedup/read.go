package dedup

import (
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/hearth-survey/hearth/proto/fault"
)

// mostTableBytes bounds a CSV file: beyond it the engine would not keep its promises about memory.
const mostTableBytes = 1 << 30

// ReadTable reads CSV with a header line: UTF-8, with or without a byte order mark, or UTF-16 with one, separated by commas,
// semicolons or tabs, quoted or not. Lines that are not UTF-8 are taken for GB 18030, as older spreadsheets write it; of
// lines that are neither, the letters that can be read are kept.
func ReadTable(r io.Reader) (Table, error) {
	var b strings.Builder
	if f, ok := r.(*os.File); ok {
		if s, err := f.Stat(); err == nil && s.Mode().IsRegular() && s.Size() <= mostTableBytes {
			b.Grow(int(s.Size()) + 1)
		}
	}
	if _, err := io.Copy(&b, io.LimitReader(r, mostTableBytes+1)); err != nil {
		return Table{}, fault.New(fault.Internal, fault.TableUnreadable, "the table could not be read: %w", err)
	}
	if b.Len() > mostTableBytes {
		return Table{}, fault.New(fault.TooLarge, fault.TableTooLarge, "the table is larger than 1 GiB; split it or leave out columns that do not name people")
	}
	text := decode(b.String())
	if strings.IndexByte(text, 0) >= 0 {
		return Table{}, fault.New(fault.Invalid, fault.TableNotCSV, "the file holds zero bytes: it is no CSV; save the table again as CSV in UTF-8")
	}
	line, _, _ := strings.Cut(text, "\n")
	c := cutter{text: text, sep: ','}
	for _, sep := range []byte{';', '\t'} {
		if strings.Count(line, string(rune(sep))) > strings.Count(line, string(rune(c.sep))) {
			c.sep = sep
		}
	}
	header := c.next(nil)
	if len(header) == 0 {
		return Table{}, fault.New(fault.Invalid, fault.TableEmpty, "the table is empty; its first line must name the columns")
	}
	t := Table{Header: make([]string, len(header))}
	for i, cell := range header {
		t.Header[i] = strings.Clone(strings.TrimSpace(cell.of(text))) // or all of the text would be kept
	}
	t.columns = c.rest(len(t.Header))
	return t, nil
}

// decode makes UTF-8 of a text.
func decode(text string) string {
	text = strings.TrimPrefix(text, "\xef\xbb\xbf")
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		units := make([]uint16, 0, len(text)/2)
		for i := 2; i+1 < len(text); i += 2 {
			lo, hi := uint16(text[i]), uint16(text[i+1])
			if text[0] == 0xfe {
				lo, hi = hi, lo
			}
			units = append(units, lo|hi<<8)
		}
		return string(utf16.Decode(units))
	}
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	gb := simplifiedchinese.GB18030.NewDecoder()
	for line := range strings.Lines(text) {
		if !utf8.ValidString(line) {
			if s, err := gb.String(line); err == nil && !strings.ContainsRune(s, utf8.RuneError) {
				line = s
			} else {
				line = strings.ToValidUTF8(line, "\uFFFD")
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

// cutter cuts a text into rows and cells.
type cutter struct {
	text string
	sep  byte
	at   int
	open int // no quote that begins at or behind it is closed, if it is over 0
}

// span is one cell of a text; quoted, its double quotes stand for one.
type span struct {
	start, end int32
	quoted     bool
}

// of is the cell's value, not yet trimmed.
func (s span) of(text string) string {
	v := text[s.start:s.end]
	if s.quoted {
		v = strings.ReplaceAll(v, `""`, `"`)
	}
	return v
}

// next appends the cells of the next row; none at the end. Empty lines are left out.
func (c *cutter) next(row []span) []span {
	for c.at < len(c.text) && (c.text[c.at] == '\n' || c.text[c.at] == '\r') {
		c.at++
	}
	if c.at >= len(c.text) {
		return row
	}
	for {
		for c.at < len(c.text) && c.text[c.at] == ' ' {
			c.at++
		}
		if c.at < len(c.text) && c.text[c.at] == '"' && (c.open == 0 || c.at < c.open) {
			if s, ok := c.quoted(); ok {
				row = append(row, s)
				if c.end() {
					return row
				}
				continue
			}
		}
		start := c.at
		for c.at < len(c.text) && c.text[c.at] != c.sep && c.text[c.at] != '\n' {
			c.at++
		}
		row = append(row, span{int32(start), int32(c.at), false})
		if c.end() {
			return row
		}
	}
}

// end passes what ends a cell and says whether the row ended as well.
func (c *cutter) end() bool {
	if c.at >= len(c.text) {
		return true
	}
	c.at++
	return c.text[c.at-1] == '\n'
}

// quoted reads a cell in quotes. A quote is closed where a separator or the end of the line follows; a quote that nothing
// closes is a letter like others, so that it cannot swallow the rows behind it.
func (c *cutter) quoted() (span, bool) {
	start := c.at + 1
	for i := start; ; {
		q := strings.IndexByte(c.text[i:], '"')
		if q < 0 {
			c.open = c.at
			return span{}, false
		}
		i += q
		if i+1 < len(c.text) && c.text[i+1] == '"' {
			i += 2
			continue
		}
		after := i + 1
		for after < len(c.text) && (c.text[after] == ' ' || c.text[after] == '\r') {
			after++
		}
		if after >= len(c.text) || c.text[after] == c.sep || c.text[after] == '\n' {
			c.at = after
			return span{int32(start), int32(i), true}, true
		}
		i++
	}
}

// rest reads all rows that are left, column by column: as many at once as there are cores, and the next rows are cut meanwhile.
func (c *cutter) rest(width int) []cells {
	out := make([]*interner, width)
	columns := make([]cells, width)
	for i := range out {
		out[i] = newInterner()
	}
	now, next := newSheet(width), newSheet(width)
	for now.cut(c); now.rows() > 0; now, next = next, now {
		each(1+width, func(k int) {
			if k == 0 {
				next.cut(c)
				return
			}
			k--
			at := columns[k].at
			for r := range now.rows() {
				cell := ""
				if x := now.starts[r] + k; x < now.starts[r+1] {
					cell = trimCell(now.spans[x].of(c.text))
				}
				at = append(at, out[k].add(cell))
			}
			columns[k].at = at
		})
	}
	for k, in := range out {
		columns[k].values = in.texts()
	}
	return columns
}

// sheet is some rows that are cut.
type sheet struct {
	spans  []span
	starts []int // of each row, and where the last one ends
}

// A sheet ends when it has so many rows, or so many cells.
const sheetRows, sheetCells = 1 << 14, 1 << 19

func newSheet(width int) *sheet {
	return &sheet{spans: make([]span, 0, min(sheetRows*width, sheetCells)), starts: make([]int, 0, sheetRows+1)}
}

func (s *sheet) rows() int { return len(s.starts) - 1 }

// cut fills the sheet with the next rows.
func (s *sheet) cut(c *cutter) {
	s.spans, s.starts = s.spans[:0], append(s.starts[:0], 0)
	for s.rows() < sheetRows && len(s.spans) < sheetCells {
		before := len(s.spans)
		if s.spans = c.next(s.spans); len(s.spans) == before {
			return
		}
		s.starts = append(s.starts, len(s.spans))
	}
}

// each calls do with 0 to n-1, on as many cores as there are.
func each(n int, do func(i int)) {
	eachWith(n, func() struct{} { return struct{}{} }, func(_ struct{}, i int) { do(i) })
}

// eachWith is each where whoever does something needs something to do it with, which start makes.
func eachWith[T any](n int, start func() T, do func(with T, i int)) {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			with := start()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(with, i)
			}
		})
	}
	wg.Wait()
}

// trimCell trims a value.
func trimCell(v string) string {
	if v == "" || v[0] > ' ' && v[0] < 0x7f && v[len(v)-1] > ' ' && v[len(v)-1] < 0x7f {
		return v
	}
	return strings.TrimFunc(v, unicode.IsSpace)
}

// cells is one column of a table: its distinct values and which of them each row has.
type cells struct {
	values texts
	at     []int32
}

// of is the value of a row.
func (c *cells) of(row int) string { return c.values.of(c.at[row]) }
