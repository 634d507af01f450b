package dta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// cell is a value as read: a number, a text, or a missing value as ".", ".a" ... ".z".
type cell struct {
	Number  float64
	Text    string
	Missing string
}

// parsed is a file as the reader of the tests, written from the published format apart from the writer, finds it.
type parsed struct {
	release, timestamp, label string
	types                     []int
	names, formats            []string
	setNames, labels          []string
	sorted                    []int
	chars                     map[string]map[string]string
	rows                      [][]cell
	sets                      map[string]map[int32]string
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

func (c *cursor) tag(s string) {
	if got := c.take(len(s)); c.err == nil && string(got) != s {
		c.at -= len(s)
		c.fail("got %q, want %q", got, s)
	}
}

func (c *cursor) sees(s string) bool { return c.err == nil && bytes.HasPrefix(c.b[c.at:], []byte(s)) }

func (c *cursor) uint(n int) uint64 {
	var b [8]byte
	copy(b[:], c.take(n))
	return binary.LittleEndian.Uint64(b[:])
}

func (c *cursor) fixed(n int) string {
	b := c.take(n)
	end := bytes.IndexByte(b, 0)
	if end < 0 {
		c.fail("text of %d bytes has no end", n)
		return ""
	}
	if len(bytes.Trim(b[end:], "\x00")) > 0 {
		c.fail("there is junk behind a text")
	}
	return string(b[:end])
}

func parse(b []byte) (*parsed, error) {
	c := &cursor{b: b}
	f := &parsed{chars: map[string]map[string]string{}, sets: map[string]map[int32]string{}}
	c.tag("<stata_dta><header><release>")
	f.release = string(c.take(3))
	wide := 2
	if f.release == "119" {
		wide = 4
	}
	c.tag("</release><byteorder>LSF</byteorder><K>")
	k := int(c.uint(wide))
	c.tag("</K><N>")
	n := int(c.uint(8))
	c.tag("</N><label>")
	f.label = string(c.take(int(c.uint(2))))
	c.tag("</label><timestamp>")
	f.timestamp = string(c.take(int(c.uint(1))))
	c.tag("</timestamp></header>")
	starts := []int{0, c.at}
	c.tag("<map>")
	var offsets []int
	for range 14 {
		offsets = append(offsets, int(c.uint(8)))
	}
	c.tag("</map>")
	section := func(name string, read func()) {
		starts = append(starts, c.at)
		c.tag("<" + name + ">")
		read()
		c.tag("</" + name + ">")
	}
	texts := func(size int, into *[]string) func() {
		return func() {
			for i := 0; i < k && c.err == nil; i++ {
				*into = append(*into, c.fixed(size))
			}
		}
	}
	section("variable_types", func() {
		for i := 0; i < k && c.err == nil; i++ {
			f.types = append(f.types, int(c.uint(2)))
		}
	})
	section("varnames", texts(129, &f.names))
	section("sortlist", func() { f.parseSort(c, k, wide) })
	section("formats", texts(57, &f.formats))
	section("value_label_names", texts(129, &f.setNames))
	section("variable_labels", texts(321, &f.labels))
	section("characteristics", func() { f.parseCharacteristics(c) })
	refs := [][2]int{}
	section("data", func() { refs = f.parseData(c, n, wide) })
	section("strls", func() { f.parseLong(c, wide, refs) })
	section("value_labels", func() { f.parseSets(c) })
	starts = append(starts, c.at)
	c.tag("</stata_dta>")
	starts = append(starts, c.at)
	if c.err == nil && c.at != len(b) {
		c.fail("%d bytes follow", len(b)-c.at)
	}
	if c.err == nil && fmt.Sprint(starts) != fmt.Sprint(offsets) {
		c.fail("map: got %v, want %v", offsets, starts)
	}
	return f, c.err
}

func (f *parsed) parseSort(c *cursor, k, wide int) {
	ended := false
	for i := 0; i <= k && c.err == nil; i++ {
		v := int(c.uint(wide))
		if v == 0 {
			ended = true
		} else if !ended {
			f.sorted = append(f.sorted, v)
		}
	}
	if !ended {
		c.fail("the sort list has no end")
	}
}

func (f *parsed) parseCharacteristics(c *cursor) {
	for c.sees("<ch>") {
		c.tag("<ch>")
		length := int(c.uint(4))
		from := c.at
		owner, name := c.fixed(129), c.fixed(129)
		text := c.fixed(length - 258)
		if c.at-from != length {
			c.fail("characteristic of the wrong length")
		}
		c.tag("</ch>")
		if f.chars[owner] == nil {
			f.chars[owner] = map[string]string{}
		}
		if _, twice := f.chars[owner][name]; twice {
			c.fail("characteristic %s[%s] is there twice", owner, name)
		}
		f.chars[owner][name] = text
	}
}

// parseData returns where each long string belongs, in the order of the data.
func (f *parsed) parseData(c *cursor, n, wide int) (refs [][2]int) {
	variable := 2
	if wide == 4 {
		variable = 3
	}
	for r := 0; r < n && c.err == nil; r++ {
		row := make([]cell, len(f.types))
		for i, t := range f.types {
			switch t {
			case 65530:
				row[i] = whole(int64(int8(c.uint(1))), 100)
			case 65529:
				row[i] = whole(int64(int16(c.uint(2))), 32740)
			case 65528:
				row[i] = whole(int64(int32(c.uint(4))), 2147483620)
			case 65526:
				row[i] = double(c.uint(8))
			case 32768:
				v, o := int(c.uint(variable)), int(c.uint(8-variable))
				if v == 0 && o == 0 {
					continue
				}
				if v != i+1 || o != r+1 {
					c.fail("long string of row %d variable %d refers to %d, %d", r+1, i+1, o, v)
				}
				refs = append(refs, [2]int{r, i})
			default:
				b := c.take(t)
				text, rest, _ := bytes.Cut(b, []byte{0})
				if len(bytes.Trim(rest, "\x00")) > 0 {
					c.fail("there is junk behind a str#")
				}
				row[i].Text = string(text)
			}
		}
		f.rows = append(f.rows, row)
	}
	return refs
}

func (f *parsed) parseLong(c *cursor, _ int, refs [][2]int) {
	for _, ref := range refs {
		c.tag("GSO")
		if v, o := int(c.uint(4)), int(c.uint(8)); v != ref[1]+1 || o != ref[0]+1 {
			c.fail("long string of row %d variable %d, want %d, %d", o, v, ref[0]+1, ref[1]+1)
		}
		if t := c.uint(1); t != 130 {
			c.fail("long string of type %d", t)
		}
		f.rows[ref[0]][ref[1]].Text = c.fixed(int(c.uint(4)))
		if c.err != nil {
			return
		}
	}
}

func (f *parsed) parseSets(c *cursor) {
	for c.sees("<lbl>") {
		c.tag("<lbl>")
		length := int(c.uint(4))
		name := c.fixed(129)
		c.take(3)
		from := c.at
		n, size := int(c.uint(4)), int(c.uint(4))
		var offsets []int
		var codes []int32
		for i := 0; i < n && c.err == nil; i++ {
			offsets = append(offsets, int(c.uint(4)))
		}
		for i := 0; i < n && c.err == nil; i++ {
			codes = append(codes, int32(c.uint(4)))
			if i > 0 && codes[i-1] >= codes[i] {
				c.fail("value labels %s are not in order", name)
			}
		}
		text := c.take(size)
		if c.at-from != length {
			c.fail("value labels of the wrong length")
		}
		c.tag("</lbl>")
		set := map[int32]string{}
		for i := 0; i < n && c.err == nil; i++ {
			end := bytes.IndexByte(text[offsets[i]:], 0)
			if end < 0 {
				c.fail("a value label has no end")
				break
			}
			set[codes[i]] = string(text[offsets[i]:][:end])
		}
		if _, twice := f.sets[name]; twice {
			c.fail("value labels %s are there twice", name)
		}
		f.sets[name] = set
	}
}

func whole(n, top int64) cell {
	if n > top {
		return cell{Missing: missingName(int(n - top - 1))}
	}
	return cell{Number: float64(n)}
}

func double(bits uint64) cell {
	if bits < 1<<63 && bits >= 0x7fe0000000000000 {
		m := (bits - 0x7fe0000000000000) >> 40
		if m > 26 || bits&(1<<40-1) != 0 {
			return cell{Missing: "?" + strconv.FormatUint(bits, 16)}
		}
		return cell{Missing: missingName(int(m))}
	}
	return cell{Number: math.Float64frombits(bits)}
}

func missingName(m int) string {
	if m == 0 {
		return "."
	}
	return "." + string(rune('a'+m-1))
}
