package referral

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// pngSide is the longer side of a PNG in pixels at most; a small graph is drawn smaller.
const pngSide = 4000

// pngScale is how many pixels a unit of the layout has at most.
const pngScale = 3

// palette of a PNG: white, lines, then the looks in the order of look.
var pngPalette = color.Palette{
	color.White, color.Gray{0xb0}, color.RGBA{0, 0, 0, 255}, color.RGBA{0x1d, 0x53, 0x8a, 255}, color.RGBA{0xbb, 0xbb, 0xbb, 255},
	color.RGBA{0xd9, 0x85, 0, 255}, color.RGBA{0x7a, 0x4f, 0xb5, 255}, color.RGBA{0x8e, 0xc8, 0xf2, 255},
}

// classOf is how a node looks: 0 a seed, 1 a recruit who was interviewed, 2 somebody who never was, 3 a root that nobody marked, 4 a
// site.
func classOf(n *servicev1.ReferralNode) uint8 {
	switch lookOf(n) {
	case lookSeed:
		return 0
	case lookNever:
		return 2
	case lookRoot:
		return 3
	case lookSite:
		return 4
	}
	return 1
}

// WritePNG draws the forest of primary referrals as points and lines, without words: a tree beside the other, a wave below the
// other. Seeds are black, recruits blue, people never interviewed grey, other roots orange, sites violet.
func WritePNG(w io.Writer, g *servicev1.ReferralGraph) error {
	c := newCrowd(g, SVGOptions{})
	w0, h0 := int32(1), int32(1)
	for v := range c.nodes {
		w0, h0 = max(w0, c.x[v]), max(h0, c.y[v])
	}
	scale := min(pngScale, float64(pngSide-20)/float64(max(w0, h0)))
	at := func(v int32) (int, int) { return 10 + int(float64(c.x[v])*scale), 10 + int(float64(c.y[v])*scale) }
	img := image.NewPaletted(image.Rect(0, 0, 20+int(float64(w0)*scale), 20+int(float64(h0)*scale)), pngPalette)
	for v, p := range c.parent {
		if p != none {
			x0, y0 := at(p)
			x1, y1 := at(int32(v))
			line(img, x0, y0, x1, y1)
		}
	}
	half := max(1, int(2*scale))
	for v, n := range c.nodes {
		x, y := at(int32(v))
		size, class := half, classOf(n)
		if class == 0 || class >= 3 {
			size++
		}
		for dx := -size; dx <= size; dx++ {
			for dy := -size; dy <= size; dy++ {
				img.SetColorIndex(max(x+dx, 0), max(y+dy, 0), 2+class)
			}
		}
	}
	if err := png.Encode(w, img); err != nil {
		return fmt.Errorf("write the picture of the graph: %w", err)
	}
	return nil
}

// line draws a line by Bresenham's steps.
func line(img *image.Paletted, x0, y0, x1, y1 int) {
	dx, dy, sx, sy := x1-x0, y1-y0, 1, 1
	if dx < 0 {
		dx, sx = -dx, -1
	}
	if dy < 0 {
		dy, sy = -dy, -1
	}
	for e := dx - dy; ; {
		img.SetColorIndex(x0, y0, 1)
		if x0 == x1 && y0 == y1 {
			return
		}
		e2 := 2 * e
		if e2 > -dy {
			e -= dy
			x0 += sx
		}
		if e2 < dx {
			e += dx
			y0 += sy
		}
	}
}

// binaryMagic begins what WriteBinary writes.
const binaryMagic = "HEARTHG1"

// WriteBinary writes what a viewer draws, little-endian: the bytes HEARTHG1, the number n of nodes and the number m of referrals that are
// not primary as uint32, then columns: n times x as float32, n times y as float32, n times the parent as int32 (-1: a root), n
// times the wave as uint16, n times the look as uint8 (see WritePNG), and m times from and to as uint32. Nodes are in the order of
// the graph; no id and no name is in it.
func WriteBinary(w io.Writer, g *servicev1.ReferralGraph) error {
	c := newCrowd(g, SVGOptions{})
	b := bufio.NewWriterSize(w, 1<<16)
	n := len(c.nodes)
	x, y, waves, looks := make([]float32, n), make([]float32, n), make([]uint16, n), make([]uint8, n)
	for i, node := range c.nodes {
		x[i], y[i] = float32(c.x[i]), float32(c.y[i])
		waves[i], looks[i] = uint16(min(max(node.GetWave(), 0), 0xffff)), classOf(node)
	}
	_, err := b.WriteString(binaryMagic)
	for _, column := range []any{uint32(n), uint32(len(c.other)), x, y, c.parent, waves, looks, c.other} {
		if err == nil {
			err = binary.Write(b, binary.LittleEndian, column)
		}
	}
	if err == nil {
		err = b.Flush()
	}
	if err != nil {
		return fmt.Errorf("write the places of the graph: %w", err)
	}
	return nil
}
