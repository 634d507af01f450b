package dedup

import (
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
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
	if header == nil {
		return Table{}, fault.New(fault.Invalid, fault.TableEmpty, "the table is empty; its first line must name the columns")
	}
	t := Table{Header: make([]string, len(header))}
	for i, cell := range header {
		t.Header[i] = strings.TrimSpace(cell.of(text))
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

// next appends the cells of the next row; nil at the end. Empty lines are left out.
func (c *cutter) next(row []span) []span {
	for c.at < len(c.text) && (c.text[c.at] == '\n' || c.text[c.at] == '\r') {
		c.at++
	}
	if c.at >= len(c.text) {
		return nil
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

// rest reads all rows that are left, column by column: as many as there are cores at once.
func (c *cutter) rest(width int) []cells {
	out := make([]*interner, width)
	for i := range out {
		out[i] = newInterner()
	}
	const rows = 1 << 15
	chunk := make([]span, 0, min(rows*width, 1<<20))
	starts := make([]int, 0, rows+1)
	var row []span
	for more := true; more; {
		chunk, starts = chunk[:0], append(starts[:0], 0)
		for len(starts) <= rows && len(chunk) < 1<<20 {
			if row = c.next(row[:0]); row == nil {
				more = false
				break
			}
			chunk = append(chunk, row...)
			starts = append(starts, len(chunk))
		}
		each(width, func(k int) {
			for r := range len(starts) - 1 {
				cell := ""
				if at := starts[r] + k; at < starts[r+1] {
					cell = trimCell(chunk[at].of(c.text))
				}
				out[k].at = append(out[k].at, out[k].add(cell))
			}
		})
	}
	columns := make([]cells, width)
	for k, in := range out {
		columns[k] = cells{in.values, in.at}
	}
	return columns
}

// each calls do with 0 to n-1, on as many cores as there are.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
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
	values []string
	at     []int32
}

// of is the value of a row.
func (c *cells) of(row int) string { return c.values[c.at[row]] }

// interner numbers texts in the order in which they come.
type interner struct {
	slots  []int32 // number of a text plus one; 0 is free
	hashes []uint32
	values []string
	at     []int32
}

// newInterner makes one; the empty text is number 0.
func newInterner() *interner {
	in := &interner{slots: make([]int32, 64)}
	in.add("")
	return in
}

// add gives the number of a text.
func (in *interner) add(text string) int32 {
	h := uint32(hash(text))
	mask := uint32(len(in.slots) - 1)
	i := h & mask
	for in.slots[i] != 0 {
		n := in.slots[i] - 1
		if in.hashes[n] == h && in.values[n] == text {
			return n
		}
		i = (i + 1) & mask
	}
	n := int32(len(in.values))
	in.slots[i] = n + 1
	in.values, in.hashes = append(in.values, text), append(in.hashes, h)
	if 2*len(in.values) > len(in.slots) {
		in.slots = make([]int32, 2*len(in.slots))
		mask = uint32(len(in.slots) - 1)
		for n, h := range in.hashes {
			i := h & mask
			for in.slots[i] != 0 {
				i = (i + 1) & mask
			}
			in.slots[i] = int32(n) + 1
		}
	}
	return n
}
