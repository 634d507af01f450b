package syncer

// An adaptive binary range coder, as that of LZMA, for the structure and the numbers of payloads: answers with
// a few values each, which take less so than zstd's literals do. Every question has a tree of 255 chances for the bytes of
// its numbers; each chance moves quickly at first and slowly later.

const (
	chanceBits = 16
	topValue   = 1 << 24
	slowest    = 5
)

// chance is how likely a bit is 0, and how often it was seen.
type chance struct {
	zero uint16
	seen uint8
}

// byteModel is the tree of chances of a byte: node 1 is its highest bit.
type byteModel [256]chance

func (m *byteModel) at(node int) *chance {
	c := &m[node]
	if c.seen == 0 {
		c.zero, c.seen = 1<<(chanceBits-1), 1
	}
	return c
}

// bound is the part of a range that belongs to 0: never none, never all.
func (c *chance) bound(span uint32) uint32 { return (span >> chanceBits) * max(uint32(c.zero), 1) }

// learn moves the chance towards the bit.
func (c *chance) learn(bit int) {
	rate := min(c.seen, slowest)
	if bit == 0 {
		c.zero += (1<<chanceBits - 1 - c.zero) >> rate
	} else {
		c.zero -= c.zero >> rate
	}
	if c.seen < slowest {
		c.seen++
	}
}

// rangeEncoder writes bits.
type rangeEncoder struct {
	low   uint64
	span  uint32
	cache byte
	wait  int // bytes that a carry may still change, with cache
	out   []byte
}

func newRangeEncoder() *rangeEncoder { return &rangeEncoder{span: 0xffffffff, wait: 1} }

func (e *rangeEncoder) byte(m *byteModel, b byte) {
	node := 1
	for i := 7; i >= 0; i-- {
		bit := int(b>>i) & 1
		c := m.at(node)
		bound := c.bound(e.span)
		if bit == 0 {
			e.span = bound
		} else {
			e.low, e.span = e.low+uint64(bound), e.span-bound
		}
		c.learn(bit)
		for e.span < topValue {
			e.span <<= 8
			e.shift()
		}
		node = node<<1 | bit
	}
}

func (e *rangeEncoder) shift() {
	if e.low < 0xff000000 || e.low > 0xffffffff {
		carry := byte(e.low >> 32)
		for ; e.wait > 0; e.wait-- {
			e.out = append(e.out, e.cache+carry)
			e.cache = 0xff
		}
		e.cache = byte(e.low >> 24)
	}
	e.wait++
	e.low = e.low & 0x00ffffff << 8
}

// end returns what was written, without its first byte, which is always 0.
func (e *rangeEncoder) end() []byte {
	for range 5 {
		e.shift()
	}
	for n := len(e.out); len(e.out) > n-3 && e.out[len(e.out)-1] == 0; { // the decoder reads zeros where nothing is
		e.out = e.out[:len(e.out)-1]
	}
	return e.out[min(1, len(e.out)):]
}

// rangeDecoder reads them. Behind the end it reads zeros, of which a good encoder leaves out a few.
type rangeDecoder struct {
	code, span uint32
	in         []byte
	past       int // bytes read behind the end
}

func newRangeDecoder(in []byte) *rangeDecoder {
	d := &rangeDecoder{span: 0xffffffff, in: in}
	for range 4 {
		d.code = d.code<<8 | d.next()
	}
	return d
}

func (d *rangeDecoder) next() uint32 {
	if len(d.in) == 0 {
		d.past++
		return 0
	}
	b := d.in[0]
	d.in = d.in[1:]
	return uint32(b)
}

// ended says whether more was read than was written.
func (d *rangeDecoder) ended() bool { return d.past > 4 }

func (d *rangeDecoder) byte(m *byteModel) byte {
	node := 1
	for node < 256 {
		c := m.at(node)
		bound := c.bound(d.span)
		bit := 0
		if d.code < bound {
			d.span = bound
		} else {
			bit = 1
			d.code, d.span = d.code-bound, d.span-bound
		}
		c.learn(bit)
		for d.span < topValue {
			d.span <<= 8
			d.code = d.code<<8 | d.next()
		}
		node = node<<1 | bit
	}
	return byte(node)
}

// bytes reads some.
func (d *rangeDecoder) bytes(m *byteModel, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = d.byte(m)
	}
	return out
}

// number writes a number in groups of seven bits, as varints are, the first with chances of its own.
func (e *rangeEncoder) number(m *numberModel, n uint64) {
	at := &m.first
	for ; n >= 0x80; n >>= 7 {
		e.byte(at, byte(n)|0x80)
		at = &m.more
	}
	e.byte(at, byte(n))
}

// number reads one; false for one that has more than 64 bits.
func (d *rangeDecoder) number(m *numberModel) (n uint64, ok bool) {
	at := &m.first
	for shift := 0; shift < 70; shift += 7 {
		b := d.byte(at)
		if shift == 63 && b > 1 {
			return 0, false
		}
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n, true
		}
		at = &m.more
	}
	return 0, false
}

// numberModel are the chances of the first byte of a number and of those behind it.
type numberModel struct{ first, more byteModel }
