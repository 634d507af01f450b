package syncer

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// A payload is a message of protobuf that nobody here can read. It is taken apart without its schema: the structure is the
// tags of all fields in order, and the values go to columns, one for each path of tags, so that what answers the same
// question in many interviews stands together. Lengths of messages are not kept.

// The types of tokens of the structure: a tag, with a type of its own for a field that is taken apart further.
const (
	messageToken = uint64(protowire.StartGroupType)
	bigToken     = uint64(protowire.EndGroupType) // a large number, written as a difference
	endToken     = 0
)

// maxDepth bounds how deep messages are taken apart.
const maxDepth = 24

// bigNumber is where numbers begin that are written as differences: times, amounts.
const bigNumber = 1 << 21

// value is one value of a column.
type value struct {
	entry int
	num   uint64
	bytes []byte
}

// column is all values of one path.
type column struct {
	token  uint64
	values []value
	last   uint64 // big number
	// numbers are the chances of its numbers, begin, of a message, those of its first token, behind those of the token behind
	// this one in the message around it.
	numbers, begin, behind *numberModel
	// primer is the same column after the sample of a dictionary: chances begin where they ended there.
	primer *column
	// children are the columns of the fields within, by token; next is the field that stood behind this one the last time, and
	// head, of a message, the one that stood first: mostly they do so again.
	children   map[uint64]*column
	next, head *column
}

// model are the chances of the column's numbers.
func (c *column) model() *numberModel {
	if c.numbers == nil {
		var primer *numberModel
		if c.primer != nil {
			primer = c.primer.numbers
		}
		c.numbers = primed(primer)
	}
	return c.numbers
}

// following are the chances of the token behind another within this message; nil: of the first.
func (c *column) following(before *column) *numberModel {
	var primer *numberModel
	switch {
	case before == nil:
		if c.begin == nil {
			if c.primer != nil {
				primer = c.primer.begin
			}
			c.begin = primed(primer)
		}
		return c.begin
	case before.behind == nil:
		if before.primer != nil {
			primer = before.primer.behind
		}
		before.behind = primed(primer)
	}
	return before.behind
}

// child is the column of the field within that stands behind another one, nil: first; it is made at its first occurrence.
func (c *column) child(before *column, token uint64, made func(*column)) *column {
	likely := &c.head
	if before != nil {
		likely = &before.next
	}
	if *likely != nil && (*likely).token == token {
		return *likely
	}
	next, ok := c.children[token]
	if !ok {
		next = &column{token: token}
		if c.primer != nil {
			next.primer = c.primer.children[token]
		}
		if c.children == nil {
			c.children = map[uint64]*column{}
		}
		c.children[token] = next
		if token&7 != messageToken {
			made(next)
		}
	}
	*likely = next
	return next
}

// columns are those of all payloads of a batch, in the order of the first occurrence of their paths.
type columns struct {
	root *column
	all  []*column
	big  map[int]uint64 // the last big number of each entry
}

func newColumns(primer *column) columns {
	return columns{root: &column{primer: primer}, big: map[int]uint64{}}
}

func (c *columns) made(next *column) { c.all = append(c.all, next) }

// base is what a big number is written as the difference to: the last one of its entry, or else of its column.
func (c *columns) base(col *column, entry int) uint64 {
	if last, ok := c.big[entry]; ok {
		return last
	}
	return col.last
}

// keep remembers a big number.
func (c *columns) keep(col *column, entry int, n uint64) {
	c.big[entry], col.last = n, n
}

// walk takes a message apart into the columns, and writes its structure. It must be one that isMessage takes.
func (c *columns) walk(at *column, msg []byte, entry int, coder *rangeEncoder, depth int) {
	var before *column
	for len(msg) > 0 {
		num, typ, n := protowire.ConsumeTag(msg)
		msg = msg[n:]
		token, v := uint64(num)<<3|uint64(typ), value{entry: entry}
		switch typ {
		case protowire.VarintType:
			if v.num, n = protowire.ConsumeVarint(msg); v.num >= bigNumber {
				token = uint64(num)<<3 | bigToken
			}
		case protowire.BytesType:
			if v.bytes, n = protowire.ConsumeBytes(msg); isMessage(v.bytes, depth+1) {
				token = uint64(num)<<3 | messageToken
			}
		default:
			n = protowire.ConsumeFieldValue(num, typ, msg)
			v.bytes = msg[:n]
		}
		coder.number(at.following(before), token)
		next := at.child(before, token, c.made)
		before = next
		if token&7 == messageToken {
			c.walk(next, v.bytes, entry, coder, depth+1)
		} else {
			next.values = append(next.values, v)
		}
		msg = msg[n:]
	}
	coder.number(at.following(before), endToken)
}

// isMessage says whether bytes look like a message, and are written as every marshaller writes them: no byte more than
// a number needs. It may be wrong about what they are; they come out the same.
func isMessage(b []byte, depth int) bool {
	if len(b) == 0 || depth > maxDepth || isText(b) {
		return false
	}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || n != protowire.SizeTag(num) {
			return false
		}
		b = b[n:]
		switch typ {
		case protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n != protowire.SizeVarint(v) {
				return false
			}
		case protowire.Fixed32Type, protowire.Fixed64Type:
			n = protowire.ConsumeFieldValue(num, typ, b)
		case protowire.BytesType:
			var v []byte
			if v, n = protowire.ConsumeBytes(b); n != protowire.SizeBytes(len(v)) {
				return false
			}
		default:
			return false
		}
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return true
}

// isText says whether bytes could be what a person wrote.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' {
			return false
		}
	}
	return b[0] >= ' ' && utf8.Valid(b)
}

// step is one token of a payload's structure with the value that belongs to it.
type step struct {
	token uint64
	col   *column
	at    int // of the value in its column
}

// build puts a message together from its steps and returns the rest of them.
func build(out []byte, steps []step) ([]byte, []step) {
	for len(steps) > 0 {
		s := steps[0]
		steps = steps[1:]
		num := protowire.Number(s.token >> 3)
		switch s.token & 7 {
		case messageToken:
			out = protowire.AppendTag(out, num, protowire.BytesType)
			begin := len(out)
			out, steps = build(out, steps)
			out = insertLength(out, begin)
		case bigToken, uint64(protowire.VarintType):
			if s.token == endToken {
				return out, steps
			}
			out = protowire.AppendVarint(protowire.AppendTag(out, num, protowire.VarintType), s.col.values[s.at].num)
		case uint64(protowire.BytesType):
			out = protowire.AppendBytes(protowire.AppendTag(out, num, protowire.BytesType), s.col.values[s.at].bytes)
		default:
			out = append(protowire.AppendTag(out, num, protowire.Type(s.token&7)), s.col.values[s.at].bytes...)
		}
	}
	return out, steps
}

// insertLength puts before what stands from begin on how much it is.
func insertLength(out []byte, begin int) []byte {
	size := len(out) - begin
	n := protowire.SizeVarint(uint64(size))
	out = append(out, make([]byte, n)...)
	copy(out[begin+n:], out[begin:begin+size])
	protowire.AppendVarint(out[begin:begin], uint64(size))
	return out
}
