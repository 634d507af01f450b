package tablet

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"io"

	"github.com/hearth-survey/hearth/syncer"
)

// The carver picks rows out of the pages of a file that SQLite cannot read, or must not: it looks at every page of the file
// and of its write-ahead log, in use or free, for bytes that can be the head of a row of a tablet's tables, and follows
// the pages on which a long row goes on. It believes nothing: what it finds counts only if its digest, chain or key
// says so.

const (
	// storePage is the size of pages of a tablet's store.
	storePage = 4096
	// maxRowBytes is the longest row that is followed.
	maxRowBytes = maxFrame - 1024
	// maxSeen bounds what is remembered so as not to give the same row twice.
	maxSeen = 4 << 20
)

// carver is one run over a file.
type carver struct {
	view   *foreignView
	out    *frameWriter
	tables []foreignTable
	seen   map[uint64]struct{}
	seed   maphash.Seed
	// work is how many bytes of overflow pages may still be read.
	work int64
	// late are the last copies of pages in the log, whether or not it is whole.
	late map[int64]int64

	page   int   // the size of pages tried now
	usable int64 // how much of each holds rows
	pages  int64 // the largest number that a page can have
}

// carve looks through the file with each size of page that it can have.
func carve(ctx context.Context, view *foreignView, out *frameWriter) error {
	c := &carver{view: view, out: out, tables: foreignTables(), seen: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
		work: 16*(view.mainSize+view.walSize) + 256<<20}
	for _, g := range view.geometries() {
		c.page, c.usable = g.page, int64(g.page-g.reserved)
		if err := c.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// geometry is a size of pages, and how much at the end of each is not used.
type geometry struct{ page, reserved int }

// geometries are that of a tablet's store, and those that the file and its log say they have, if they can be true.
func (v *foreignView) geometries() []geometry {
	all := []geometry{{storePage, 0}}
	add := func(page, reserved int) {
		g := geometry{page, reserved}
		if !pageSize(page) || page-reserved < 480 || len(all) == 3 {
			return
		}
		for _, have := range all {
			if have == g {
				return
			}
		}
		all = append(all, g)
	}
	head := make([]byte, 32)
	if n, _ := v.main.ReadAt(head, 0); n == len(head) {
		size := int(binary.BigEndian.Uint16(head[16:]))
		if size == 1 {
			size = 65536
		}
		add(size, int(head[20]))
	}
	if n, _ := v.wal.ReadAt(head, 0); n == len(head) {
		add(int(binary.BigEndian.Uint32(head[8:])), 0)
	}
	return all
}

// run looks at every page of the log, the last first, and of the file.
func (c *carver) run(ctx context.Context) error {
	frame := int64(24 + c.page)
	frames := (c.view.walSize - 32 + int64(c.page)/2) / frame // one that is cut short counts too
	c.late, c.pages = map[int64]int64{}, max(c.view.size, c.view.mainSize)/int64(c.page)+1
	head := make([]byte, 4)
	for i := range frames {
		if n, _ := c.view.wal.ReadAt(head, 32+i*frame); n == 4 {
			n := int64(binary.BigEndian.Uint32(head))
			c.late[n] = 32 + i*frame + 24
			c.pages = max(c.pages, n)
		}
	}
	buf := make([]byte, c.page)
	for i := frames - 1; i >= 0; i-- {
		if err := c.look(ctx, c.view.wal, 32+i*frame+24, buf); err != nil {
			return err
		}
	}
	for at := int64(0); at < c.view.mainSize; at += int64(c.page) {
		if err := c.look(ctx, c.view.main, at, buf); err != nil {
			return err
		}
	}
	return nil
}

// look finds the rows on one page.
func (c *carver) look(ctx context.Context, from io.ReaderAt, at int64, buf []byte) error {
	n, err := from.ReadAt(buf, at)
	if n == 0 && err != nil {
		return ctx.Err() // the end of a file that was cut
	}
	page := buf[:min(n, int(c.usable))]
	for pos := 1; pos < len(page)-4; pos++ {
		if !mayBegin(page[pos-1], page[pos], page[pos+1]) {
			continue
		}
		for i := range c.tables {
			if h, ok := c.tables[i].head(page[pos:]); ok {
				if err := c.row(&c.tables[i], page, pos, h); err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}

// mayBegin is false where no row's head can be: a fast look before the slow one. The head of a numbered row begins with NULL and
// a blob of 16 or 32 bytes, and that of a draft with its length and a text.
func mayBegin(length, first, second byte) bool {
	if first == 0 {
		return second == 2*16+12 || second == 2*32+12
	}
	return length >= 5 && length <= 12 && (first >= 13 && first&1 == 1 || first >= 0x80)
}

// rowHead is the head of a row: how long it is, and the type of each column.
type rowHead struct {
	size    int
	content int64
	types   [maxValues]uint64
}

// head reads the types of a row that may begin at b[0]; false if no row of the table has such.
func (t *foreignTable) head(b []byte) (h rowHead, ok bool) {
	if t.numbered {
		if b[0] != 0 { // the number stands before the row, and NULL in it
			return h, false
		}
		h.size = 1
	}
	for i := range t.columns {
		typ, n := sqliteVarint(b[h.size:])
		if n == 0 || !t.columns[i].takes(typ) {
			return h, false
		}
		h.types[i] = typ
		h.size += n
		h.content += typeSize(typ)
	}
	return h, h.content <= maxRowBytes
}

// takes says whether a column can have values of a type.
func (c *foreignColumn) takes(typ uint64) bool {
	switch {
	case typ == 0:
		return c.null
	case c.kind == intColumn:
		return typ <= 6 || typ == 8 || typ == 9
	case c.kind == textColumn:
		return typ >= 13 && typ&1 == 1 && typ < 2*maxRowBytes
	}
	return typ >= 12 && typ&1 == 0 && typ < 2*maxRowBytes && (c.size == 0 || typeSize(typ) == int64(c.size))
}

// typeSize is how many bytes a value of a type has.
func typeSize(typ uint64) int64 {
	switch {
	case typ >= 12:
		return int64(typ-12) / 2
	case typ <= 4:
		return int64(typ)
	case typ == 5:
		return 6
	case typ == 6:
		return 8
	}
	return 0
}

// sqliteVarint reads a number as SQLite writes it; n is 0 where it does not end within b.
func sqliteVarint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 8 {
		v = v<<7 | uint64(b[n]&0x7f)
		if n++; b[n-1] < 0x80 {
			return v, n
		}
	}
	if n < len(b) && n == 8 {
		return v<<8 | uint64(b[8]), 9
	}
	return 0, 0
}

// row gives the row whose head stands at pos, if its content can be had.
func (c *carver) row(t *foreignTable, page []byte, pos int, h rowHead) error {
	headLength := int64(h.size) + 1
	if headLength > 127 || t.weak && int64(page[pos-1]) != headLength {
		return nil
	}
	total := headLength + h.content
	local := total // of it, how much stands on this page
	if most := c.usable - 35; total > most {
		least := (c.usable-12)*32/255 - 23
		if local = least + (total-least)%(c.usable-4); local > most {
			local = least
		}
	}
	start := int64(pos) - 1
	if start+local > int64(len(page)) || local < headLength {
		return nil
	}
	number := rowNumber(page[:start], total)
	if total == local {
		return c.give(t, number, page[int64(pos)+int64(h.size):start+local], h)
	}
	if start+local+4 > int64(len(page)) {
		return nil
	}
	first := page[start+headLength : start+local]
	next := int64(binary.BigEndian.Uint32(page[start+local:]))
	for _, way := range []func(int64) (io.ReaderAt, int64){c.inView, c.inMain, c.inLog} {
		for _, follow := range []bool{true, false} {
			content, ok := c.follow(first, h.content, next, way, follow)
			if !ok {
				continue
			}
			if err := c.give(t, number, content, h); err != nil || t.id == recordTable && h.proves(content) {
				return err
			}
		}
	}
	return nil
}

// The copies of a page that there may be.
func (c *carver) inView(n int64) (io.ReaderAt, int64) { return c.view, (n - 1) * int64(c.page) }
func (c *carver) inMain(n int64) (io.ReaderAt, int64) { return c.view.main, (n - 1) * int64(c.page) }
func (c *carver) inLog(n int64) (io.ReaderAt, int64) {
	if at, ok := c.late[n]; ok {
		return c.view.wal, at
	}
	return c.inMain(n)
}

// follow collects the content of a row that goes on on other pages: from one to the one that it names, or, where that
// cannot be true or is not to be believed, to the one behind it, for that is how SQLite fills a new file.
func (c *carver) follow(first []byte, size, next int64, where func(int64) (io.ReaderAt, int64), believe bool) ([]byte, bool) {
	content := append(make([]byte, 0, size), first...)
	buf := make([]byte, c.usable)
	for int64(len(content)) < size {
		if next < 2 || next > c.pages || c.work < 0 {
			return nil, false
		}
		c.work -= c.usable
		from, at := where(next)
		if n, _ := from.ReadAt(buf, at); n < 4 || int64(n-4) < min(c.usable-4, size-int64(len(content))) {
			return nil, false
		}
		content = append(content, buf[4:4+min(c.usable-4, size-int64(len(content)))]...)
		named := int64(binary.BigEndian.Uint32(buf))
		if believe && named >= 2 && named <= c.pages {
			next = named
		} else {
			next++
		}
	}
	return content, true
}

// proves says whether the content of a row of the table record has the digest that stands in it.
func (h *rowHead) proves(content []byte) bool {
	r := h.values(nil, content, 12)
	d := syncer.DigestOf(r.bytes(recordBody))
	return string(d[:]) == string(r.bytes(recordDigest))
}

// give writes the row, once.
func (c *carver) give(t *foreignTable, number any, content []byte, h rowHead) error {
	var sum maphash.Hash
	sum.SetSeed(c.seed)
	_ = sum.WriteByte(t.id)
	_, _ = sum.Write(content)
	key := sum.Sum64()
	if _, ok := c.seen[key]; ok {
		return nil
	}
	if len(c.seen) < maxSeen {
		c.seen[key] = struct{}{}
	}
	return c.out.frame(t.id, h.values(number, content, len(t.columns))...)
}

// values takes the content of a row apart.
func (h *rowHead) values(number any, content []byte, columns int) row {
	r := row{number}
	for _, typ := range h.types[:columns] {
		n := typeSize(typ)
		v := content[:n]
		content = content[n:]
		switch {
		case typ == 0:
			r = append(r, nil)
		case typ >= 12 && typ&1 == 0:
			r = append(r, v)
		case typ >= 12:
			r = append(r, string(v))
		case typ == 8, typ == 9:
			r = append(r, int64(typ-8))
		default:
			n := int64(int8(v[0]))
			for _, b := range v[1:] {
				n = n<<8 | int64(b)
			}
			r = append(r, n)
		}
	}
	return r
}

// rowNumber reads the number of a row from what stands before it: the length of the row, and its number. It is nil
// where they do not stand there.
func rowNumber(before []byte, length int64) any {
	for n := 1; n <= 5 && n < len(before); n++ {
		number, used := sqliteVarint(before[len(before)-n:])
		if used != n || number == 0 || number > maxRowNumber {
			continue
		}
		for m := 1; m <= 4 && n+m <= len(before); m++ {
			if v, used := sqliteVarint(before[len(before)-n-m : len(before)-n]); used == m && v == uint64(length) {
				return int64(number)
			}
		}
	}
	return nil
}
