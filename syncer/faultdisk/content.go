package faultdisk

// pageSize is how much of a file is copied at its first change where somebody else holds it too.
const pageSize = 4096

type page [pageSize]byte

// content is what a file holds. Its pages may be shared with other contents, and are then copied before they are changed.
type content struct {
	size  int64
	pages []*page // nil: zeros
	own   []bool  // which of them nobody else holds
}

// share returns the same content, to be held beside this one.
func (c *content) share() content {
	clear(c.own)
	return content{c.size, append([]*page(nil), c.pages...), make([]bool, len(c.pages))}
}

// bytes are all of it.
func (c *content) bytes() []byte {
	all := make([]byte, c.size)
	c.read(all, 0)
	return all
}

// read copies from an offset and returns how many bytes there were.
func (c *content) read(to []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	to = to[:min(int64(len(to)), c.size-off)]
	for n := 0; n < len(to); {
		at := int(off) + n
		piece := to[n:min(len(to), n+pageSize-at%pageSize)]
		if p := c.pages[at/pageSize]; p != nil {
			copy(piece, p[at%pageSize:])
		} else {
			clear(piece)
		}
		n += len(piece)
	}
	return len(to)
}

// apply writes, or truncates where there are no data.
func (c *content) apply(o op) {
	if o.data == nil {
		c.resize(o.off)
		return
	}
	if end := o.off + int64(len(o.data)); end > c.size {
		c.resize(end)
	}
	for n := 0; n < len(o.data); {
		at := int(o.off) + n
		n += copy(c.mine(at / pageSize)[at%pageSize:], o.data[n:])
	}
}

// resize cuts, or adds zeros.
func (c *content) resize(size int64) {
	if rest := int(size % pageSize); size < c.size && rest > 0 {
		clear(c.mine(int(size / pageSize))[rest:]) // what is added later is zeros
	}
	n := int((size + pageSize - 1) / pageSize)
	for len(c.pages) < n {
		c.pages, c.own = append(c.pages, nil), append(c.own, false)
	}
	c.pages, c.own, c.size = c.pages[:n], c.own[:n], size
}

// mine is a page that may be changed.
func (c *content) mine(i int) *page {
	if !c.own[i] {
		fresh := &page{}
		if p := c.pages[i]; p != nil {
			*fresh = *p
		}
		c.pages[i], c.own[i] = fresh, true
	}
	return c.pages[i]
}
