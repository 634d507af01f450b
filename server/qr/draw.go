package qr

import (
	"fmt"
	"io"
	"strings"
)

// canvas is a code while it is drawn.
type canvas struct {
	*Code
	fixed []bool // modules that carry no data
}

func (c *canvas) set(x, y int, dark bool) {
	c.dark[y*c.Size+x] = dark
	c.fixed[y*c.Size+x] = true
}

// draw places the bytes and chooses the mask that is easiest to read.
func draw(version int, data []byte) *Code {
	size := 4*version + 17
	c := &canvas{&Code{Size: size, Version: version, dark: make([]bool, size*size)}, make([]bool, size*size)}
	c.patterns()
	c.place(data)
	best := -1
	for mask := range 8 {
		c.mask(mask)
		c.format(mask)
		if p := c.penalty(); best < 0 || p < best {
			best, c.Mask = p, mask
		}
		c.mask(mask) // twice is not at all
	}
	c.mask(c.Mask)
	c.format(c.Mask)
	return c.Code
}

// patterns draws what does not depend on the data.
func (c *canvas) patterns() {
	for i := range c.Size {
		c.set(6, i, i%2 == 0)
		c.set(i, 6, i%2 == 0)
	}
	for _, corner := range [][2]int{{3, 3}, {c.Size - 4, 3}, {3, c.Size - 4}} {
		c.square(corner[0], corner[1], 4)
	}
	at := c.alignment()
	for i, x := range at {
		for j, y := range at {
			last := len(at) - 1
			if i == 0 && j == 0 || i == 0 && j == last || i == last && j == 0 {
				continue // the corners are there
			}
			c.square(x, y, 2)
		}
	}
	c.format(0) // keeps its place
	if c.Version >= 7 {
		rem := c.Version
		for range 12 {
			rem = rem<<1 ^ rem>>11*0x1f25
		}
		word := c.Version<<12 | rem
		for i := range 18 {
			a, b := c.Size-11+i%3, i/3
			c.set(a, b, word>>i&1 == 1)
			c.set(b, a, word>>i&1 == 1)
		}
	}
}

// square draws rings around a place, as far as they lie within the code: radius 4 with a light border, or 2.
func (c *canvas) square(x, y, radius int) {
	for dy := -radius; dy <= radius; dy++ {
		for dx := -radius; dx <= radius; dx++ {
			ring := max(dx, -dx, dy, -dy)
			if px, py := x+dx, y+dy; px >= 0 && py >= 0 && px < c.Size && py < c.Size {
				if radius == 4 {
					c.set(px, py, ring != 2 && ring != 4)
				} else {
					c.set(px, py, ring != 1)
				}
			}
		}
	}
}

// alignment lists the columns, and rows, of the alignment patterns.
func (c *canvas) alignment() []int {
	if c.Version == 1 {
		return nil
	}
	n := c.Version/7 + 2
	step := (c.Version*8 + n*3 + 5) / (n*4 - 4) * 2
	at := make([]int, n)
	at[0] = 6
	for i := range n - 1 {
		at[n-1-i] = c.Size - 7 - i*step
	}
	return at
}

// format writes the mask and the level of error correction beside the corners.
func (c *canvas) format(mask int) {
	rem := mask // level M is 00
	for range 10 {
		rem = rem<<1 ^ rem>>9*0x537
	}
	word := (mask<<10 | rem) ^ 0x5412
	bit := func(i int) bool { return word>>i&1 == 1 }
	for i := range 6 {
		c.set(8, i, bit(i))
		c.set(5-i, 8, bit(9+i))
	}
	c.set(8, 7, bit(6))
	c.set(8, 8, bit(7))
	c.set(7, 8, bit(8))
	for i := range 8 {
		c.set(c.Size-1-i, 8, bit(i))
	}
	for i := 8; i < 15; i++ {
		c.set(8, c.Size-15+i, bit(i))
	}
	c.set(8, c.Size-8, true)
}

// place lays the bits in columns of two, up and down by turns, from the right.
func (c *canvas) place(data []byte) {
	i := 0
	for right := c.Size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5 // the column of the timing pattern
		}
		for step := range c.Size {
			y := step
			if (right+1)&2 == 0 {
				y = c.Size - 1 - step
			}
			for x := right; x > right-2; x-- {
				if !c.fixed[y*c.Size+x] && i < 8*len(data) {
					c.dark[y*c.Size+x] = data[i/8]>>(7-i%8)&1 == 1
					i++
				}
			}
		}
	}
}

// mask turns the modules of a pattern round.
func (c *canvas) mask(mask int) {
	for y := range c.Size {
		for x := range c.Size {
			if c.fixed[y*c.Size+x] {
				continue
			}
			var turn bool
			switch mask {
			case 0:
				turn = (x+y)%2 == 0
			case 1:
				turn = y%2 == 0
			case 2:
				turn = x%3 == 0
			case 3:
				turn = (x+y)%3 == 0
			case 4:
				turn = (x/3+y/2)%2 == 0
			case 5:
				turn = x*y%2+x*y%3 == 0
			case 6:
				turn = (x*y%2+x*y%3)%2 == 0
			case 7:
				turn = ((x+y)%2+x*y%3)%2 == 0
			}
			if turn {
				c.dark[y*c.Size+x] = !c.dark[y*c.Size+x]
			}
		}
	}
}

// penalty is how hard the code is to read, by the four rules of the standard.
func (c *canvas) penalty() int {
	total, dark := 0, 0
	for a := range c.Size {
		total += line(c.Size, func(b int) bool { return c.Dark(b, a) })
		total += line(c.Size, func(b int) bool { return c.Dark(a, b) })
		for b := range c.Size {
			d := c.Dark(a, b)
			if d {
				dark++
			}
			if a > 0 && b > 0 && c.Dark(a-1, b) == d && c.Dark(a, b-1) == d && c.Dark(a-1, b-1) == d {
				total += 3
			}
		}
	}
	share := 20*dark - 10*c.Size*c.Size // how far from half, in twentieths
	return total + 10*(max(share, -share)/(c.Size*c.Size))
}

// line counts runs of one colour, and what looks like the middle of a corner beside four light modules.
func line(size int, dark func(int) bool) int {
	total, run := 0, 0
	for i := range size {
		if i > 0 && dark(i) == dark(i-1) {
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
	}
	const corner = 0b1011101
	word := 0
	for i := range size + 4 { // the quiet zone is light
		word = word << 1 & 0x7ff
		if i < size && dark(i) {
			word |= 1
		}
		if word == corner<<4 && i >= 10 || word == corner && i < size {
			total += 40
		}
	}
	return total
}

// quiet is the width of the light border that readers need.
const quiet = 4

// WriteText draws the code for a terminal in half blocks: two rows of modules in a line of text. It is light on dark
// ground as most terminals are, and readers take it either way; with invert it is for dark on light.
func (c *Code) WriteText(w io.Writer, invert bool) error {
	var out strings.Builder
	for y := -quiet; y < c.Size+quiet; y += 2 {
		for x := -quiet; x < c.Size+quiet; x++ {
			upper, lower := c.Dark(x, y) == invert, c.Dark(x, y+1) == invert
			switch {
			case upper && lower:
				out.WriteRune('█')
			case upper:
				out.WriteRune('▀')
			case lower:
				out.WriteRune('▄')
			default:
				out.WriteByte(' ')
			}
		}
		out.WriteByte('\n')
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// WriteSVG draws the code as a picture of its own. Title says what it is to those who cannot see it.
func (c *Code) WriteSVG(w io.Writer, title string) error {
	side := c.Size + 2*quiet
	var path strings.Builder
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			run := 0
			for c.Dark(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
				x += run
			}
		}
	}
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" shape-rendering="crispEdges" role="img">
<title>%s</title>
<rect width="100%%" height="100%%" fill="#fff"/>
<path d="%s" fill="#000"/>
</svg>
`, side, side, 8*side, 8*side, escape.Replace(title), path.String())
	return err
}
