package gpkg

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// What of SQLite's file format is needed to write tables and indexes from beginning to end.

const (
	pageSize  = 4096
	firstHead = 100 // bytes of page 1 before its own header

	leafTable  = 0x0d
	innerTable = 0x05
	leafIndex  = 0x0a
	innerIndex = 0x02

	// Of a longer record, this many bytes at least stand in the page itself.
	leastLocal = (pageSize-12)*32/255 - 23
	mostTable  = pageSize - 35
	mostIndex  = (pageSize-12)*64/255 - 23
)

// database appends pages to a file.
type database struct {
	w     io.Writer
	pages uint32 // written, with the first, which is written last
	err   error
}

func (d *database) add(page []byte) uint32 {
	d.pages++
	d.write(page)
	return d.pages
}

func (d *database) write(b []byte) {
	if d.err != nil {
		return
	}
	if _, err := d.w.Write(b); err != nil {
		d.err = fmt.Errorf("writing the GeoPackage: %w", err)
	}
}

// spill keeps what stands in the page of a record, writes the rest to pages of its own, and returns what stands in the page.
func (d *database) spill(record []byte, most int) []byte {
	if len(record) <= most {
		return record
	}
	local := leastLocal + (len(record)-leastLocal)%(pageSize-4)
	if local > most {
		local = leastLocal
	}
	rest := record[local:]
	cell := binary.BigEndian.AppendUint32(slices.Clone(record[:local]), d.pages+1)
	page := make([]byte, pageSize)
	for len(rest) > 0 {
		clear(page)
		n := copy(page[4:], rest)
		if rest = rest[n:]; len(rest) > 0 {
			binary.BigEndian.PutUint32(page, d.pages+2)
		}
		d.add(page)
	}
	return cell
}

// page is one that is being filled: cells from its end, and their places from its beginning.
type page struct {
	kind  byte
	first int // bytes before the header
	cells [][]byte
	used  int
}

func (p *page) head() int {
	if p.kind == innerTable || p.kind == innerIndex {
		return 12
	}
	return 8
}

func (p *page) fits(cell int) bool { return p.first+p.head()+p.used+2+cell <= pageSize }

func (p *page) push(cell []byte) {
	p.cells = append(p.cells, cell)
	p.used += 2 + len(cell)
}

// bytes lays the page out; right is the last child of an inner page.
func (p *page) bytes(right uint32) []byte {
	b := make([]byte, pageSize)
	h := b[p.first:]
	end := pageSize
	for i, c := range p.cells {
		end -= len(c)
		copy(b[end:], c)
		binary.BigEndian.PutUint16(h[p.head()+2*i:], uint16(end))
	}
	h[0] = p.kind
	binary.BigEndian.PutUint16(h[3:], uint16(len(p.cells)))
	binary.BigEndian.PutUint16(h[5:], uint16(end))
	if p.head() == 12 {
		binary.BigEndian.PutUint32(h[8:], right)
	}
	return b
}

// pop takes the last cell back.
func (p *page) pop() []byte {
	last := p.cells[len(p.cells)-1]
	p.cells = p.cells[:len(p.cells)-1]
	p.used -= 2 + len(last)
	return last
}

func (p *page) reset() { p.cells, p.used = p.cells[:0], 0 }

// table is the tree of a table whose rows come in the order of their ids.
type table struct {
	db    *database
	leaf  page
	last  int64
	rows  int64
	upper []*level
}

// level is the inner page of one height that is being filled.
type level struct {
	page  page
	right uint32 // the last child, not yet a cell
	key   int64  // the highest id below it
}

func newTable(db *database) *table { return &table{db: db, leaf: page{kind: leafTable}} }

// insert adds a row. Ids must rise.
func (t *table) insert(id int64, record []byte) {
	local := t.db.spill(record, mostTable)
	cell := appendVarint(appendVarint(nil, uint64(len(record))), uint64(id))
	cell = append(cell, local...)
	if !t.leaf.fits(len(cell)) {
		t.child(0, t.db.add(t.leaf.bytes(0)), t.last)
		t.leaf.reset()
	}
	t.leaf.push(cell)
	t.last = id
	t.rows++
}

// child adds a page to the inner page above it.
func (t *table) child(height int, number uint32, key int64) {
	if height == len(t.upper) {
		t.upper = append(t.upper, &level{page: page{kind: innerTable}})
	}
	l := t.upper[height]
	if l.right != 0 {
		cell := appendVarint(binary.BigEndian.AppendUint32(nil, l.right), uint64(l.key))
		if !l.page.fits(len(cell)) {
			// The last cell's child becomes the last of the full page, so that the next page has a cell.
			before := l.page.pop()
			key, _ := readVarint(before[4:])
			t.child(height+1, t.db.add(l.page.bytes(binary.BigEndian.Uint32(before))), int64(key))
			l.page.reset()
		}
		l.page.push(cell)
	}
	l.right, l.key = number, key
}

// end writes what is left and returns the root.
func (t *table) end() uint32 {
	if len(t.upper) == 0 {
		return t.db.add(t.leaf.bytes(0))
	}
	t.child(0, t.db.add(t.leaf.bytes(0)), t.last)
	for height := 0; ; height++ {
		l := t.upper[height]
		number := t.db.add(l.page.bytes(l.right))
		if height == len(t.upper)-1 {
			return number
		}
		t.child(height+1, number, l.key)
	}
}

// index writes the tree of an index over keys, each with the row's id behind it; they are held in memory.
func index(db *database, keys [][]any) uint32 {
	slices.SortFunc(keys, compareKeys)
	cells := make([][]byte, len(keys))
	for i, k := range keys {
		record := appendRecord(nil, k...)
		cells[i] = append(appendVarint(nil, uint64(len(record))), db.spill(record, mostIndex)...)
	}
	leaf := page{kind: leafIndex}
	var children []uint32
	var between [][]byte
	for i, c := range cells {
		if !leaf.fits(len(c)) {
			// This cell goes up, between this page and the next. If no cell were left for that, the one before it goes up.
			up := c
			if i == len(cells)-1 {
				up = leaf.pop()
			}
			children, between = append(children, db.add(leaf.bytes(0))), append(between, up)
			if leaf.reset(); i < len(cells)-1 {
				continue
			}
		}
		leaf.push(c)
	}
	children = append(children, db.add(leaf.bytes(0)))
	for len(children) > 1 {
		children, between = above(db, children, between)
	}
	return children[0]
}

// above writes the inner pages over children, with the cells between them, and returns those pages and what goes up.
func above(db *database, children []uint32, between [][]byte) (pages []uint32, up [][]byte) {
	p := page{kind: innerIndex}
	last := len(children) - 1
	for i, c := range between {
		cell := append(binary.BigEndian.AppendUint32(nil, children[i]), c...)
		if !p.fits(len(cell)) {
			right := children[i]
			if i == last-1 { // a page needs a cell: the one before goes up
				before := p.pop()
				right, c = binary.BigEndian.Uint32(before), before[4:]
			}
			pages, up = append(pages, db.add(p.bytes(right))), append(up, c)
			if p.reset(); i < last-1 {
				continue
			}
		}
		p.push(cell)
	}
	return append(pages, db.add(p.bytes(children[last]))), up
}

// compareKeys puts keys in SQLite's order: nothing, numbers, texts by their bytes.
func compareKeys(a, b []any) int {
	rank := func(v any) int {
		switch v.(type) {
		case int64:
			return 1
		case string:
			return 2
		}
		return 0
	}
	for i := range a {
		order := cmp.Compare(rank(a[i]), rank(b[i]))
		switch x := a[i].(type) {
		case int64:
			if y, ok := b[i].(int64); ok {
				order = cmp.Compare(x, y)
			}
		case string:
			if y, ok := b[i].(string); ok {
				order = strings.Compare(x, y)
			}
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// entry is a row of sqlite_schema.
type entry struct {
	kind, name, table string
	root              uint32
	sql               any
}

// schema writes the pages of sqlite_schema and returns the first page of the file.
func schema(db *database, entries []entry, application, version uint32) []byte {
	t := newTable(db)
	root := page{kind: leafTable, first: firstHead}
	for i, e := range entries {
		record := appendRecord(nil, e.kind, e.name, e.table, int64(e.root), e.sql)
		cell := append(appendVarint(appendVarint(nil, uint64(len(record))), uint64(i+1)), db.spill(record, mostTable)...)
		if !t.leaf.fits(len(cell)) {
			t.child(0, db.add(t.leaf.bytes(0)), int64(i))
			t.leaf.reset()
		}
		t.leaf.push(cell)
	}
	right := uint32(0)
	if size := firstHead + 8 + t.leaf.used; len(t.upper) == 0 && size <= pageSize {
		root.cells = t.leaf.cells
	} else {
		t.child(0, db.add(t.leaf.bytes(0)), int64(len(entries)))
		for height := range len(t.upper) - 1 {
			l := t.upper[height]
			t.child(height+1, db.add(l.page.bytes(l.right)), l.key)
		}
		top := t.upper[len(t.upper)-1]
		root.kind, root.cells, right = innerTable, top.page.cells, top.right
		if firstHead+12+top.page.used > pageSize {
			number := db.add(top.page.bytes(top.right))
			root.cells, right = nil, number
		}
	}
	b := root.bytes(right)
	copy(b, "SQLite format 3\x00")
	binary.BigEndian.PutUint16(b[16:], pageSize)
	b[18], b[19], b[21], b[22], b[23] = 1, 1, 64, 32, 32
	for at, v := range map[int]uint32{24: 1, 28: db.pages, 40: 1, 44: 4, 56: 1, 60: version, 68: application, 92: 1, 96: 3_040_001} {
		binary.BigEndian.PutUint32(b[at:], v)
	}
	return b
}

// appendRecord writes a row: its types, and its values, which are nil, int64, float64, string or []byte.
func appendRecord(b []byte, values ...any) []byte {
	var types, body []byte
	for _, v := range values {
		switch v := v.(type) {
		case nil:
			types = append(types, 0)
		case int64:
			types, body = appendWhole(types, body, v)
		case float64:
			types = append(types, 7)
			body = binary.BigEndian.AppendUint64(body, math.Float64bits(v))
		case string:
			types = appendVarint(types, uint64(len(v))*2+13)
			body = append(body, v...)
		case []byte:
			types = appendVarint(types, uint64(len(v))*2+12)
			body = append(body, v...)
		}
	}
	// The length of the types counts itself.
	n := len(types) + 1
	if n > 127 {
		n++
	}
	if n > 16_383 {
		n++
	}
	b = appendVarint(b, uint64(n))
	return append(append(b, types...), body...)
}

func appendWhole(types, body []byte, v int64) ([]byte, []byte) {
	switch {
	case v == 0:
		return append(types, 8), body
	case v == 1:
		return append(types, 9), body
	case v == int64(int8(v)):
		return append(types, 1), append(body, byte(v))
	case v == int64(int16(v)):
		return append(types, 2), binary.BigEndian.AppendUint16(body, uint16(v))
	case v == int64(int32(v)):
		return append(types, 4), binary.BigEndian.AppendUint32(body, uint32(v))
	}
	return append(types, 6), binary.BigEndian.AppendUint64(body, uint64(v))
}

// appendVarint writes SQLite's numbers of 1 to 9 bytes, the high bits first.
func appendVarint(b []byte, v uint64) []byte {
	if v > 1<<56-1 {
		for shift := 57; shift >= 8; shift -= 7 {
			b = append(b, byte(v>>shift)|0x80)
		}
		return append(b, byte(v))
	}
	n := 1
	for rest := v >> 7; rest > 0; rest >>= 7 {
		n++
	}
	for i := n - 1; i >= 0; i-- {
		c := byte(v>>(7*i)) & 0x7f
		if i > 0 {
			c |= 0x80
		}
		b = append(b, c)
	}
	return b
}

// readVarint reads one back, and how many bytes it has.
func readVarint(b []byte) (v uint64, n int) {
	for n < 8 {
		v = v<<7 | uint64(b[n]&0x7f)
		if n++; b[n-1] < 0x80 {
			return v, n
		}
	}
	return v<<8 | uint64(b[8]), 9
}
