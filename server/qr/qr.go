// Package qr draws texts as QR codes (ISO/IEC 18004), for `hearth device enrol` and for coupons: in bytes, with error
// correction level M, in the smallest size that holds them. It does not read codes, and knows no Kanji or numeric mode.
package qr

import (
	"fmt"
	"unicode/utf8"
)

// Code is a QR code: a square of dark and light modules, without its quiet zone.
type Code struct {
	// Size is the number of modules on a side.
	Size int
	// Version is 1 to 40 and decides Size.
	Version int
	// Mask is the pattern, 0 to 7, by which the code was made easy to read.
	Mask int
	dark []bool
}

// Dark says whether the module in a column and a row is dark. Outside of the code all is light.
func (c *Code) Dark(x, y int) bool {
	return x >= 0 && y >= 0 && x < c.Size && y < c.Size && c.dark[y*c.Size+x]
}

// The tables of the standard for level M, by version.
var (
	eccPerBlock = [41]int{0, 10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26, 26, 28, 28, 28, 28, 28, 28, 28,
		28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28}
	blocks = [41]int{0, 1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35,
		37, 38, 40, 43, 45, 47, 49}
)

// rawModules is how many modules of a version carry data and error correction.
func rawModules(version int) int {
	n := (16*version+128)*version + 64
	if version >= 2 {
		align := version/7 + 2
		n -= (25*align-10)*align - 55
		if version >= 7 {
			n -= 36
		}
	}
	return n
}

// dataBytes is how many bytes of data a version holds.
func dataBytes(version int) int { return rawModules(version)/8 - eccPerBlock[version]*blocks[version] }

// lengthBits is the size of the field that says how long the text is.
func lengthBits(version int) int {
	if version < 10 {
		return 8
	}
	return 16
}

// Encode makes the code of a text, which is UTF-8 and has at most 2331 bytes.
func Encode(text string) (*Code, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("draw a QR code: the text is not UTF-8")
	}
	for version := 1; version <= 40; version++ {
		if 4+lengthBits(version)+8*len(text) <= 8*dataBytes(version) {
			return draw(version, spread(version, pack(version, text))), nil
		}
	}
	return nil, fmt.Errorf("draw a QR code: a text of %d bytes, the most is 2331", len(text))
}

// bits collects bits, the highest first.
type bits struct {
	bytes []byte
	n     int
}

func (b *bits) add(value, count int) {
	for i := count - 1; i >= 0; i-- {
		if b.n%8 == 0 {
			b.bytes = append(b.bytes, 0)
		}
		if value>>i&1 == 1 {
			b.bytes[b.n/8] |= 0x80 >> (b.n % 8)
		}
		b.n++
	}
}

// pack makes the data bytes: mode, length, text, and padding.
func pack(version int, text string) []byte {
	capacity := dataBytes(version)
	b := &bits{}
	b.add(0b0100, 4) // bytes
	b.add(len(text), lengthBits(version))
	for i := range len(text) {
		b.add(int(text[i]), 8)
	}
	b.add(0, min(4, 8*capacity-b.n))
	for pad := byte(0xec); len(b.bytes) < capacity; pad ^= 0xec ^ 0x11 {
		b.bytes = append(b.bytes, pad)
	}
	return b.bytes
}

// spread cuts the data into blocks, adds the error correction of each, and takes from the blocks in turn.
func spread(version int, data []byte) []byte {
	n, ecc := blocks[version], eccPerBlock[version]
	short := len(data) / n
	longer := len(data) % n // so many blocks at the end have one byte more
	generator := generatorOf(ecc)
	var parts, checks [][]byte
	for i := range n {
		size := short
		if i >= n-longer {
			size++
		}
		parts, data = append(parts, data[:size]), data[size:]
		checks = append(checks, remainder(parts[i], generator))
	}
	var out []byte
	for _, set := range [][][]byte{parts, checks} {
		for i := range short + 1 + ecc {
			for _, block := range set {
				if i < len(block) {
					out = append(out, block[i])
				}
			}
		}
	}
	return out
}

// times multiplies in the field of 256 elements of the standard.
func times(a, b byte) byte {
	p := 0
	for i := 7; i >= 0; i-- {
		p = p<<1 ^ p>>7*0x11d
		p ^= int(b>>i&1) * int(a)
	}
	return byte(p)
}

// generatorOf is the polynomial whose roots are the first powers of 2, without its leading 1.
func generatorOf(degree int) []byte {
	g := make([]byte, degree)
	g[degree-1] = 1
	root := byte(1)
	for range degree {
		for j := range g {
			g[j] = times(g[j], root)
			if j+1 < degree {
				g[j] ^= g[j+1]
			}
		}
		root = times(root, 2)
	}
	return g
}

// remainder is the error correction of a block.
func remainder(data, generator []byte) []byte {
	r := make([]byte, len(generator))
	for _, b := range data {
		factor := b ^ r[0]
		copy(r, r[1:])
		r[len(r)-1] = 0
		for i, g := range generator {
			r[i] ^= times(g, factor)
		}
	}
	return r
}
