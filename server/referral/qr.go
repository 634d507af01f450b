package referral

import (
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// qrVersion is how one size of QR code keeps its bytes at error correction level M (ISO/IEC 18004, table 9).
type qrVersion struct {
	check   int   // bytes of error correction in each block
	blocks  []int // data bytes of each block
	centres []int // of alignment patterns
}

// qrVersions are the sizes 1 to 10.
var qrVersions = []qrVersion{
	{10, []int{16}, nil},
	{16, []int{28}, []int{6, 18}},
	{26, []int{44}, []int{6, 22}},
	{18, []int{32, 32}, []int{6, 26}},
	{24, []int{43, 43}, []int{6, 30}},
	{16, []int{27, 27, 27, 27}, []int{6, 34}},
	{18, []int{31, 31, 31, 31}, []int{6, 22, 38}},
	{22, []int{38, 38, 39, 39}, []int{6, 24, 42}},
	{22, []int{36, 36, 36, 37, 37}, []int{6, 26, 46}},
	{26, []int{43, 43, 43, 43, 44}, []int{6, 28, 50}},
}

const qrAlphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"

// qrCode is a square of modules; true is dark.
type qrCode struct {
	size   int
	dark   []bool
	fixed  []bool // part of a pattern, not of the data
	number int    // 1 to 10
}

// encodeQR makes the smallest code, up to size 10, that holds a text, at error correction level M.
func encodeQR(text string) (*qrCode, error) {
	for i, v := range qrVersions {
		if data, ok := v.data(text, i+1); ok {
			q := &qrCode{size: 21 + 4*i, number: i + 1}
			q.dark, q.fixed = make([]bool, q.size*q.size), make([]bool, q.size*q.size)
			q.drawPatterns(v)
			q.drawData(v.interleave(data))
			q.chooseMask()
			return q, nil
		}
	}
	return nil, fault.New(fault.Invalid, fault.BadRequest, "a text of %d bytes is too long for a printed QR code: 213 bytes fit, 210 with characters beyond ASCII", len(text))
}

// qrBits is a row of bits being filled.
type qrBits struct {
	bytes []byte
	n     int
}

func (b *qrBits) add(value, bits int) {
	for i := bits - 1; i >= 0; i-- {
		if b.n%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		b.bytes[b.n/8] |= byte(value>>i&1) << (7 - b.n%8)
		b.n++
	}
}

// data is the text as data bytes of one size; false if it does not fit.
func (v qrVersion) data(text string, number int) ([]byte, bool) {
	room := 0
	for _, n := range v.blocks {
		room += n
	}
	var b qrBits
	lengthBits := 8
	if number > 9 {
		lengthBits = 16
	}
	if strings.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(qrAlphanumeric, r) }) < 0 {
		lengthBits = 9
		if number > 9 {
			lengthBits = 11
		}
		if len(text) >= 1<<lengthBits {
			return nil, false
		}
		b.add(2, 4)
		b.add(len(text), lengthBits)
		for i := 0; i < len(text); i += 2 {
			v := strings.IndexByte(qrAlphanumeric, text[i])
			if i+1 == len(text) {
				b.add(v, 6)
			} else {
				b.add(v*45+strings.IndexByte(qrAlphanumeric, text[i+1]), 11)
			}
		}
	} else {
		if len(text) >= 1<<lengthBits {
			return nil, false
		}
		if strings.IndexFunc(text, func(r rune) bool { return r > 0x7e }) >= 0 {
			b.add(7, 4) // what follows is UTF-8
			b.add(26, 8)
		}
		b.add(4, 4)
		b.add(len(text), lengthBits)
		for i := range len(text) {
			b.add(int(text[i]), 8)
		}
	}
	if b.n > 8*room {
		return nil, false
	}
	b.add(0, min(4, 8*room-b.n))
	for i := 0; len(b.bytes) < room; i++ {
		b.bytes = append(b.bytes, [2]byte{0xec, 0x11}[i%2])
	}
	return b.bytes, true
}

// interleave splits data into blocks, adds error correction to each and mixes the blocks.
func (v qrVersion) interleave(data []byte) []byte {
	var blocks, checks [][]byte
	longest := 0
	for _, n := range v.blocks {
		blocks = append(blocks, data[:n])
		checks = append(checks, reedSolomon(data[:n], v.check))
		data = data[n:]
		longest = max(longest, n)
	}
	var out []byte
	for i := range longest {
		for _, b := range blocks {
			if i < len(b) {
				out = append(out, b[i])
			}
		}
	}
	for i := range v.check {
		for _, c := range checks {
			out = append(out, c[i])
		}
	}
	return out
}

// multiply in the field of 256 elements modulo x^8+x^4+x^3+x^2+1.
func multiply(a, b byte) byte {
	product := 0
	for i := 7; i >= 0; i-- {
		product <<= 1
		if product&0x100 != 0 {
			product ^= 0x11d
		}
		if b>>i&1 != 0 {
			product ^= int(a)
		}
	}
	return byte(product)
}

// reedSolomon is the remainder of data by the generator of n check bytes.
func reedSolomon(data []byte, n int) []byte {
	generator := make([]byte, n) // without the leading 1, highest power first
	generator[n-1] = 1
	root := byte(1)
	for range n {
		for j := range generator {
			generator[j] = multiply(generator[j], root)
			if j+1 < n {
				generator[j] ^= generator[j+1]
			}
		}
		root = multiply(root, 2)
	}
	rest := make([]byte, n)
	for _, d := range data {
		factor := d ^ rest[0]
		copy(rest, rest[1:])
		rest[n-1] = 0
		for j, g := range generator {
			rest[j] ^= multiply(g, factor)
		}
	}
	return rest
}

func (q *qrCode) at(x, y int) bool { return q.dark[y*q.size+x] }

// set draws a module of a pattern.
func (q *qrCode) set(x, y int, dark bool) {
	q.dark[y*q.size+x], q.fixed[y*q.size+x] = dark, true
}

// drawPatterns draws all that is not data, and keeps the place of the format.
func (q *qrCode) drawPatterns(v qrVersion) {
	for i := range q.size {
		q.set(6, i, i%2 == 0)
		q.set(i, 6, i%2 == 0)
	}
	for _, c := range [][2]int{{3, 3}, {q.size - 4, 3}, {3, q.size - 4}} {
		for dy := -4; dy <= 4; dy++ {
			for dx := -4; dx <= 4; dx++ {
				x, y := c[0]+dx, c[1]+dy
				if x >= 0 && y >= 0 && x < q.size && y < q.size {
					ring := max(dx, -dx, dy, -dy)
					q.set(x, y, ring != 2 && ring != 4)
				}
			}
		}
	}
	last := len(v.centres) - 1
	for i, cx := range v.centres {
		for j, cy := range v.centres {
			if i == 0 && (j == 0 || j == last) || i == last && j == 0 { // under the big squares
				continue
			}
			for dy := -2; dy <= 2; dy++ {
				for dx := -2; dx <= 2; dx++ {
					q.set(cx+dx, cy+dy, max(dx, -dx, dy, -dy) != 1)
				}
			}
		}
	}
	q.drawFormat(0)
	if q.number >= 7 {
		rest := q.number
		for range 12 {
			rest = rest<<1 ^ (rest>>11)*0x1f25
		}
		bits := q.number<<12 | rest
		for i := range 18 {
			a, b := q.size-11+i%3, i/3
			q.set(a, b, bits>>i&1 != 0)
			q.set(b, a, bits>>i&1 != 0)
		}
	}
}

// drawFormat draws error correction level M and the mask, twice.
func (q *qrCode) drawFormat(mask int) {
	rest := mask
	for range 10 {
		rest = rest<<1 ^ (rest>>9)*0x537
	}
	bits := (mask<<10 | rest) ^ 0x5412
	bit := func(i int) bool { return bits>>i&1 != 0 }
	for i := range 6 {
		q.set(8, i, bit(i))
	}
	q.set(8, 7, bit(6))
	q.set(8, 8, bit(7))
	q.set(7, 8, bit(8))
	for i := 9; i < 15; i++ {
		q.set(14-i, 8, bit(i))
	}
	for i := range 8 {
		q.set(q.size-1-i, 8, bit(i))
	}
	for i := 8; i < 15; i++ {
		q.set(8, q.size-15+i, bit(i))
	}
	q.set(8, q.size-8, true)
}

// drawData fills the rest, in columns of two, up and down, from the right.
func (q *qrCode) drawData(data []byte) {
	i := 0
	for right := q.size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5
		}
		for step := range q.size {
			y := step
			if (right+1)&2 == 0 {
				y = q.size - 1 - step
			}
			for x := right; x > right-2; x-- {
				if !q.fixed[y*q.size+x] && i < 8*len(data) {
					q.dark[y*q.size+x] = data[i/8]>>(7-i%8)&1 != 0
					i++
				}
			}
		}
	}
}

// masked says whether a mask turns a module.
func masked(mask, x, y int) bool {
	switch mask {
	case 0:
		return (x+y)%2 == 0
	case 1:
		return y%2 == 0
	case 2:
		return x%3 == 0
	case 3:
		return (x+y)%3 == 0
	case 4:
		return (x/3+y/2)%2 == 0
	case 5:
		return x*y%2+x*y%3 == 0
	case 6:
		return (x*y%2+x*y%3)%2 == 0
	}
	return ((x+y)%2+x*y%3)%2 == 0
}

func (q *qrCode) turn(mask int) {
	for y := range q.size {
		for x := range q.size {
			if !q.fixed[y*q.size+x] && masked(mask, x, y) {
				q.dark[y*q.size+x] = !q.dark[y*q.size+x]
			}
		}
	}
}

// chooseMask takes the mask whose picture is easiest to read.
func (q *qrCode) chooseMask() {
	best, least := 0, -1
	for mask := range 8 {
		q.turn(mask)
		q.drawFormat(mask)
		if p := q.penalty(); least < 0 || p < least {
			best, least = mask, p
		}
		q.turn(mask)
	}
	q.turn(best)
	q.drawFormat(best)
}

// penalty counts what makes a code hard to read: long runs, blocks, what looks like a big square, too much of a colour.
func (q *qrCode) penalty() int {
	total, dark := 0, 0
	for _, flip := range []bool{false, true} {
		for a := range q.size {
			run, history := 0, 0
			for b := range q.size {
				x, y := b, a
				if flip {
					x, y = a, b
				}
				now := q.at(x, y)
				if b > 0 && now == (history&1 != 0) {
					run++
				} else {
					run = 1
				}
				switch {
				case run == 5:
					total += 3
				case run > 5:
					total++
				}
				history = history << 1 & 0x7ff
				if now {
					history |= 1
				}
				if b >= 10 && (history == 0x05d || history == 0x5d0) {
					total += 40
				}
				if !flip && now {
					dark++
				}
				if !flip && a > 0 && b > 0 && now == q.at(x-1, y) && now == q.at(x, y-1) && now == q.at(x-1, y-1) {
					total += 3
				}
			}
		}
	}
	percent := dark * 100 / (q.size * q.size)
	return total + 10*(max(percent-50, 50-percent)/5)
}

// path is the dark modules as the d of an SVG path, a row's run as one stroke of width 1.
func (q *qrCode) path() string {
	var b strings.Builder
	for y := range q.size {
		for x := 0; x < q.size; x++ {
			n := 0
			for x+n < q.size && q.at(x+n, y) {
				n++
			}
			if n > 0 {
				b.WriteString("M" + px(float64(x)) + " " + px(float64(y)+0.5) + "h" + px(float64(n)))
				x += n
			}
		}
	}
	return b.String()
}
