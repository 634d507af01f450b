package syncer

// An adaptive binary range coder, as that of LZMA, for the structure and the numbers of payloads: answers with
// a few values each, which take less so than zstd's literals do. Every question has a tree of 255 chances for the bytes of
// its numbers; each chance moves quickly at first and slowly later.

const (
	chanceBits = 16
	topValue   = 1 << 24
	slowest    = 5
)

// chance is how likely a bit is 0, less even, and how often it was seen. The zero value is a bit of which nothing is known.
type chance struct {
	bias uint16
	seen uint8
}

// even is a chance of one half.
const even = 1 << (chanceBits - 1)

// byteModel is the tree of chances of a byte: node 1 is its highest bit.
type byteModel [256]chance

// zero is how likely 0 is.
func (c *chance) zero() uint32 { return uint32(c.bias ^ even) }

// bound is the part of a range that belongs to 0 where it is that likely: never none, never all.
func bound(span, zero uint32) uint32 { return (span >> chanceBits) * max(zero, 1) }

// learn moves the chance towards the bit.
func (c *chance) learn(zero uint32, bit uint) {
	rate := c.seen + 1
	if rate < slowest {
		c.seen = rate
	}
	if bit == 0 {
		zero += (1<<chanceBits - 1 - zero) >> rate
	} else {
		zero -= zero >> rate
	}
	c.bias = uint16(zero) ^ even
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
	node := uint(1)
	for i := 7; i >= 0; i-- {
		bit := uint(b>>i) & 1
		c := &m[node]
		zero := c.zero()
		part := bound(e.span, zero)
		if bit == 0 {
			e.span = part
		} else {
			e.low, e.span = e.low+uint64(part), e.span-part
		}
		c.learn(zero, bit)
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
	code, span := d.code, d.span
	node := uint(1)
	for node < 256 {
		c := &m[node]
		zero := c.zero()
		part := bound(span, zero)
		bit := uint(0)
		if code < part {
			span = part
		} else {
			bit = 1
			code, span = code-part, span-part
		}
		c.learn(zero, bit)
		for span < topValue {
			span <<= 8
			code = code<<8 | d.next()
		}
		node = node<<1 | bit
	}
	d.code, d.span = code, span
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
		at = m.rest()
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
		at = m.rest()
	}
	return 0, false
}

// numberModel are the chances of the first byte of a number and of those behind it, which few numbers have.
type numberModel struct {
	first byteModel
	more  *byteModel
	// primer is the same after the sample of a dictionary, and is only read.
	primer *numberModel
}

// primed makes a model whose chances begin where those of another have ended; nil: where nothing is known.
func primed(primer *numberModel) *numberModel {
	m := &numberModel{primer: primer}
	if primer != nil {
		m.first = primer.first
	}
	return m
}

// rest are the chances of the bytes behind the first.
func (m *numberModel) rest() *byteModel {
	if m.more == nil {
		m.more = &byteModel{}
		if m.primer != nil && m.primer.more != nil {
			*m.more = *m.primer.more
		}
	}
	return m.more
}
