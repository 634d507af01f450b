package sav

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// variable is a variable as the reader of the tests, written from the published format apart from the writer, finds it.
type variable struct {
	name, short, label      string
	width                   int // 0 for a number
	print                   uint32
	missing                 []float64
	missingCode             int
	missingTexts            []string
	labels                  map[string]string // by the number or the text
	measure, columns, align int
	attributes              map[string][]string
	element, segments       int
}

// parsed is a file.
type parsed struct {
	magic, date, time, label string
	compression, weight      int
	rows32                   int32
	rows64                   int64
	elements                 int
	vars                     []*variable
	documents                []string
	attributes               map[string][]string
	mrsets                   string
	rows                     [][]any // float64, string, nil for system-missing
	blocks                   int
}

type cursor struct {
	b   []byte
	at  int
	err error
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("at byte %d: %s", c.at, fmt.Sprintf(format, args...))
	}
}

func (c *cursor) take(n int) []byte {
	if c.err != nil || n < 0 || c.at+n > len(c.b) {
		c.fail("the file ends early: %d bytes wanted", n)
		return make([]byte, max(0, min(n, 1<<20)))
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

func (c *cursor) int() int { return int(int32(binary.LittleEndian.Uint32(c.take(4)))) }
func (c *cursor) int64() int64 {
	return int64(binary.LittleEndian.Uint64(c.take(8)))
}
func (c *cursor) float() float64      { return math.Float64frombits(uint64(c.int64())) }
func (c *cursor) padded(n int) string { return strings.TrimRight(string(c.take(n)), " ") }
func (c *cursor) counted() string     { return string(c.take(c.int())) }
func (c *cursor) more() bool          { return c.err == nil && c.at < len(c.b) }
func (c *cursor) expect(what string, got, want any) {
	if got != want {
		c.fail("%s: got %v, want %v", what, got, want)
	}
}

func parse(b []byte) (*parsed, error) {
	c, f := &cursor{b: b}, &parsed{rows64: -2, attributes: map[string][]string{}}
	f.magic = string(c.take(4))
	c.expect("product", string(c.take(19)), "@(#) SPSS DATA FILE")
	c.take(41)
	c.expect("layout", c.int(), 2)
	f.elements, f.compression, f.weight = c.int(), c.int(), c.int()
	f.rows32 = int32(c.int())
	c.expect("bias", c.float(), 100.0)
	f.date, f.time, f.label = string(c.take(9)), string(c.take(8)), c.padded(64)
	c.expect("padding", string(c.take(3)), "\x00\x00\x00")
	byElement := map[int]*variable{}
	element, last := 1, 0
	for done := false; !done && c.err == nil; {
		kind := c.int()
		switch kind {
		case 2:
			element = f.parseVariable(c, element, byElement)
		case 3:
			f.parseLabels(c, byElement)
		case 6:
			for range c.int() {
				f.documents = append(f.documents, c.padded(80))
			}
		case 7:
			subtype := c.int()
			if subtype <= last {
				c.fail("extension %d after %d", subtype, last)
			}
			last = subtype
			f.parseExtension(c, subtype)
		case 999:
			c.expect("filler", c.int(), 0)
			done = true
		default:
			c.fail("record of type %d", kind)
		}
	}
	c.expect("elements", element-1, f.elements)
	f.parseData(c)
	return f, c.err
}

func (f *parsed) parseVariable(c *cursor, element int, byElement map[int]*variable) int {
	width, hasLabel, missing := c.int(), c.int(), c.int()
	v := &variable{width: width, missingCode: missing, element: element, segments: 1, labels: map[string]string{}, attributes: map[string][]string{}}
	v.print = uint32(c.int())
	c.expect("write format", uint32(c.int()), v.print)
	v.short = c.padded(8)
	v.name = v.short
	if hasLabel == 1 {
		n := c.int()
		v.label = string(c.take(n))
		c.take((4 - n%4) % 4)
	}
	for range max(missing, -missing) {
		if width > 0 {
			v.missingTexts = append(v.missingTexts, c.padded(8))
		} else {
			v.missing = append(v.missing, c.float())
		}
	}
	if width < 0 {
		c.fail("a continuation without a string")
	}
	f.vars = append(f.vars, v)
	byElement[element] = v
	for i := 8; i < width; i += 8 {
		c.expect("continuation", c.int(), 2)
		c.expect("continuation's width", c.int(), -1)
		c.take(24)
	}
	return element + max(1, (width+7)/8)
}

func (f *parsed) parseLabels(c *cursor, byElement map[int]*variable) {
	type pair struct{ value, label string }
	var labels []pair
	for range c.int() {
		value := string(c.take(8))
		n := int(c.take(1)[0])
		labels = append(labels, pair{value, string(c.take(n))})
		c.take((8 - (n+1)%8) % 8)
	}
	c.expect("record after value labels", c.int(), 4)
	for range c.int() {
		v := byElement[c.int()]
		if v == nil {
			c.fail("value labels of no variable")
			return
		}
		for _, l := range labels {
			key := strings.TrimRight(l.value, " ")
			if v.width == 0 {
				key = strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64([]byte(l.value))), 'g', -1, 64)
			} else if v.width > 8 {
				c.fail("value labels of a long string")
			}
			if _, twice := v.labels[key]; twice {
				c.fail("a value has two labels")
			}
			v.labels[key] = l.label
		}
	}
}

// named finds a variable by its short or its long name.
func (f *parsed) named(c *cursor, name string) *variable {
	for _, v := range f.vars {
		if v.name == name {
			return v
		}
	}
	c.fail("no variable %q", name)
	return &variable{labels: map[string]string{}, attributes: map[string][]string{}}
}

func (f *parsed) parseExtension(c *cursor, subtype int) {
	size, count := c.int(), c.int()
	x := &cursor{b: c.take(size * count)}
	switch subtype {
	case 3:
		x.take(28)
		x.expect("encoding", x.int(), 65001)
	case 4:
		x.take(24)
	case 7:
		f.mrsets = string(x.take(count))
	case 11:
		for _, v := range f.vars {
			v.measure, v.columns, v.align = x.int(), x.int(), x.int()
		}
	case 13:
		for pair := range strings.SplitSeq(string(x.take(count)), "\t") {
			short, long, _ := strings.Cut(pair, "=")
			f.named(x, short).name = long
		}
	case 14:
		f.joinSegments(x, string(x.take(count)))
	case 16:
		x.expect("unknown", x.int64(), int64(1))
		f.rows64 = x.int64()
	case 17:
		f.attributes = parseAttributes(x, string(x.take(count)), nil)
	case 18:
		rest := string(x.take(count))
		for rest != "" && x.err == nil {
			name, set, _ := strings.Cut(rest, ":")
			f.named(x, name).attributes = parseAttributes(x, set, &rest)
		}
	case 20:
		x.expect("encoding", string(x.take(count)), "UTF-8")
	case 21:
		for x.more() {
			v := f.named(x, x.counted())
			x.expect("width", x.int(), v.width)
			for range x.int() {
				value := strings.TrimRight(x.counted(), " ")
				v.labels[value] = x.counted()
			}
		}
	case 22:
		for x.more() {
			v := f.named(x, x.counted())
			n := int(x.take(1)[0])
			x.expect("length", x.int(), 8)
			for range n {
				v.missingTexts = append(v.missingTexts, x.padded(8))
			}
		}
	default:
		x.fail("extension %d", subtype)
	}
	if x.more() {
		x.fail("extension %d has %d bytes more", subtype, len(x.b)-x.at)
	}
	if c.err == nil && x.err != nil {
		c.err = fmt.Errorf("extension %d %w", subtype, x.err)
	}
}

// joinSegments makes one variable of the segments of long strings.
func (f *parsed) joinSegments(c *cursor, s string) {
	for pair := range strings.SplitSeq(strings.TrimSuffix(s, "\x00\t"), "\x00\t") {
		short, width, _ := strings.Cut(pair, "=")
		for i, v := range f.vars {
			if v.short != short {
				continue
			}
			w, err := strconv.Atoi(width)
			n := (w + 251) / 252
			if err != nil || len(width) != 5 || i+n > len(f.vars) {
				c.fail("long string %q", pair)
				return
			}
			for k, seg := range f.vars[i : i+n] {
				want := 255
				if k == n-1 {
					want = w - 252*(n-1)
				}
				c.expect("segment", seg.width, want)
			}
			v.width, v.segments = w, n
			f.vars = append(f.vars[:i+1], f.vars[i+n:]...)
			break
		}
	}
}

// parseAttributes reads a set of attributes. Where rest is given, what follows a slash goes there.
func parseAttributes(c *cursor, s string, rest *string) map[string][]string {
	out := map[string][]string{}
	for s != "" {
		if rest != nil && s[0] == '/' {
			*rest = s[1:]
			return out
		}
		name, after, ok := strings.Cut(s, "(")
		if !ok {
			c.fail("attribute without values")
			return out
		}
		for s = after; strings.HasPrefix(s, "'"); {
			value, after, ok := strings.Cut(s[1:], "'\n")
			if !ok {
				c.fail("attribute without end")
				return out
			}
			out[name] = append(out[name], value)
			s = after
		}
		if !strings.HasPrefix(s, ")") {
			c.fail("attribute %s is not closed", name)
			return out
		}
		s = s[1:]
	}
	if rest != nil {
		*rest = ""
	}
	return out
}

func (f *parsed) parseData(c *cursor) {
	data := c
	if f.compression == 2 {
		data = &cursor{b: f.unpack(c)}
	}
	var codes []byte
	next := func() (byte, []byte) {
		for {
			if len(codes) == 0 {
				codes = append(codes, data.take(8)...)
			}
			k := codes[0]
			codes = codes[1:]
			if k == codeElement {
				return k, data.take(8)
			}
			if k != 0 || data.err != nil {
				return k, nil
			}
		}
	}
	for data.err == nil {
		var row []any
		for i, v := range f.vars {
			k, element := next()
			if i == 0 && k == codeEnd {
				f.endData(c, data, codes)
				return
			}
			row = append(row, f.value(data, v, k, element, next))
			if data.err != nil {
				break
			}
		}
		f.rows = append(f.rows, row)
	}
	c.err = data.err
}

func (f *parsed) value(c *cursor, v *variable, k byte, element []byte, next func() (byte, []byte)) any {
	if v.width == 0 {
		switch {
		case k == codeMissing:
			return nil
		case k == codeElement:
			return math.Float64frombits(binary.LittleEndian.Uint64(element))
		case k < codeEnd:
			return float64(k) - 100
		}
		c.fail("code %d in a number", k)
		return nil
	}
	var text []byte
	left := v.width
	for s := range v.segments {
		width := min(left, 255)
		if s == v.segments-1 {
			width = max(0, v.width-252*s)
		}
		var part []byte
		for e := range max(1, (width+7)/8) {
			if s+e > 0 {
				k, element = next()
			}
			switch k {
			case codeSpaces:
				element = []byte(spaces)
			case codeElement:
			default:
				c.fail("code %d in a string", k)
			}
			part = append(part, element...)
		}
		text = append(text, part[:min(width, len(part))]...)
	}
	return strings.TrimRight(string(text), " ")
}

func (f *parsed) endData(c, data *cursor, codes []byte) {
	if len(bytes.Trim(codes, "\x00")) > 0 || data.at != len(data.b) {
		c.fail("data follow the end")
	}
	c.expect("rows", int64(len(f.rows)), f.rows64)
	c.expect("rows", int64(len(f.rows)), int64(f.rows32))
}

// unpack joins the blocks of a .zsav.
func (f *parsed) unpack(c *cursor) []byte {
	start := c.at
	c.expect("offset of the data", int(c.int64()), start)
	trailer, length := int(c.int64()), int(c.int64())
	c.expect("length", trailer+length, len(c.b))
	if c.err != nil || trailer < 0 || trailer > len(c.b) {
		return nil
	}
	t := &cursor{b: c.b[trailer:]}
	t.expect("bias", t.int64(), int64(-100))
	t.expect("zero", t.int64(), int64(0))
	t.expect("block size", t.int(), blockSize)
	f.blocks = t.int()
	plain, packed := start, start+24
	var out []byte
	for i := range f.blocks {
		t.expect("offset", int(t.int64()), plain)
		t.expect("packed offset", int(t.int64()), packed)
		size, packedSize := t.int(), t.int()
		if i < f.blocks-1 {
			t.expect("size", size, blockSize)
		}
		if t.err != nil {
			break
		}
		z, err := zlib.NewReader(bytes.NewReader(c.b[packed : packed+packedSize]))
		if err != nil {
			t.fail("%v", err)
			break
		}
		b, err := io.ReadAll(z)
		if err != nil || len(b) != size {
			t.fail("block of %d bytes, %v", len(b), err)
		}
		out = append(out, b...)
		plain, packed = plain+size, packed+packedSize
	}
	t.expect("end of the blocks", packed, trailer)
	if t.more() {
		t.fail("the trailer is too long")
	}
	if c.err == nil {
		c.err = t.err
	}
	return out
}
