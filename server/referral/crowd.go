package referral

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// MostDrawnNodes is the number of nodes up to which WriteSVG draws each with its label and what is known of it; beyond, it
// draws a crowd.
const MostDrawnNodes = 5_000

// Sizes of a crowd, in the units of its view box.
const (
	crowdUnit   = 5
	crowdLevel  = 26
	crowdMargin = 40
	crowdHead   = 90
)

// crowd is a picture of very many nodes: one path for each look, so that a browser has a dozen things to draw, not
// hundreds of thousands. Seeds are dark squares, others dots that darken wave by wave.
type crowd struct {
	words   words
	nodes   []*servicev1.ReferralNode
	parent  []int32
	x, y    []int32
	w, h    int
	maxWave int
	other   [][2]int32 // referrals that are not primary
	colours *colouring // nil: by wave
}

// childrenOf lists the children of each node of a forest, in the order of their numbers.
func childrenOf(parent []int32) [][]int32 {
	child := make([][]int32, len(parent))
	count := make([]int32, len(parent))
	total := 0
	for _, p := range parent {
		if p != none {
			count[p]++
			total++
		}
	}
	all := make([]int32, total)
	at := int32(0)
	for i, n := range count {
		child[i] = all[at : at : at+n]
		at += n
	}
	for i, p := range parent {
		if p != none {
			child[p] = append(child[p], int32(i))
		}
	}
	return child
}

// layForest gives the nodes of a forest their places: trees side by side on shelves, a level below the other.
func layForest(parent []int32, unit, level int) (x, y []int32, w, h int) {
	t := layTidy(parent, childrenOf(parent))
	shelves, boxes := t.pack(float64(level) / float64(unit))
	tops := make([]int, len(shelves))
	for i, s := range shelves {
		tops[i] = h
		h += (s.levels + 1) * level
		w = max(w, int(s.width*float64(unit))+unit)
	}
	box := make([]int32, len(parent))
	for i := range boxes {
		box[boxes[i].root] = int32(i)
	}
	x, y = make([]int32, len(parent)), make([]int32, len(parent))
	for _, v := range t.order {
		if p := parent[v]; p != none {
			box[v] = box[p]
		}
		b := &boxes[box[v]]
		x[v] = int32((b.at + t.x[v] - b.left + 0.5) * float64(unit))
		y[v] = int32(tops[b.shelf]) + t.depth[v]*int32(level)
	}
	return x, y, w, h
}

func newCrowd(g *servicev1.ReferralGraph, opts SVGOptions) *crowd {
	c := &crowd{words: wordsIn(opts.Language)}
	index := make(map[string]int32, len(g.GetNodes()))
	for _, n := range g.GetNodes() {
		if n != nil {
			index[n.GetPersonId()] = int32(len(c.nodes))
			c.nodes = append(c.nodes, n)
			c.maxWave = max(c.maxWave, int(n.GetWave()))
		}
	}
	c.parent = slices.Repeat([]int32{none}, len(c.nodes))
	for _, e := range g.GetEdges() {
		from, okFrom := index[e.GetFromId()]
		to, okTo := index[e.GetToId()]
		switch {
		case !okFrom || !okTo || from == to:
		case e.GetPrimary() && c.parent[to] == none:
			c.parent[to] = from
		default:
			c.other = append(c.other, [2]int32{from, to})
		}
	}
	if opts.Colour != nil {
		c.colours = newColouring(opts.Colour, c.nodes, c.words)
	}
	cutCircles(c.parent)
	c.x, c.y, c.w, c.h = layForest(c.parent, crowdUnit, crowdLevel)
	c.w = max(c.w, 900)
	return c
}

// cutCircles makes a forest of what need not be one.
func cutCircles(parent []int32) {
	seen := make([]int32, len(parent))
	for i := range parent {
		x, last := int32(i), none
		for x != none && seen[x] == 0 {
			seen[x] = int32(i) + 1
			x, last = parent[x], x
		}
		if x != none && seen[x] == int32(i)+1 {
			parent[last] = none
		}
	}
}

// crowdShades are how many shades the waves have.
const crowdShades = 6

// shadeOf is the shade of a wave.
func (c *crowd) shadeOf(wave int32) int {
	return max(int(wave)-1, 0) * crowdShades / max(c.maxWave, 1)
}

// shades darken from a light blue, which paper still shows, to a dark one.
var shades = [crowdShades]string{"#8ec8f2", "#62aee0", "#3f8fc9", "#2a70ac", "#1d538a", "#123866"}

// crowdLook is one path.
type crowdLook struct {
	style, en, zh string
	holds         func(n *servicev1.ReferralNode) bool
}

func (c *crowd) looks() []crowdLook {
	const dot = `stroke-linecap="round" stroke-width="5" stroke=`
	is := func(l look) func(n *servicev1.ReferralNode) bool {
		return func(n *servicev1.ReferralNode) bool { return lookOf(n) == l }
	}
	if c.colours != nil {
		return c.colouredLooks(dot, is)
	}
	var out []crowdLook
	for i, colour := range shades {
		first, last := c.maxWave+1, 0
		for w := 1; w <= c.maxWave; w++ {
			if c.shadeOf(int32(w)) == i {
				first, last = min(first, w), max(last, w)
			}
		}
		if first > last {
			continue
		}
		en, zh := fmt.Sprintf("wave %d", first), fmt.Sprintf("第%d波", first)
		if last > first {
			en, zh = fmt.Sprintf("waves %d to %d", first, last), fmt.Sprintf("第%d至%d波", first, last)
		}
		out = append(out, crowdLook{dot + `"` + colour + `"`, en, zh, func(n *servicev1.ReferralNode) bool {
			return lookOf(n) == lookWave && c.shadeOf(n.GetWave()) == i
		}})
	}
	w := wordsIn("en")
	z := wordsIn(Chinese)
	return append(out,
		crowdLook{dot + `"#bbb"`, w.notInterviewed, z.notInterviewed, is(lookNever)},
		crowdLook{`stroke-linecap="square" stroke-width="8" stroke="#7a4fb5"`, w.site, z.site, is(lookSite)},
		crowdLook{`stroke-linecap="square" stroke-width="8" stroke="#d98500"`, w.otherRoot, z.otherRoot, is(lookRoot)},
		crowdLook{`stroke-linecap="square" stroke-width="9" stroke="#000"`, w.seed, z.seed, is(lookSeed)})
}

// write draws the crowd.
func (c *crowd) write(w io.Writer, title string) error {
	m := &markup{w: bufio.NewWriterSize(w, 1<<16)}
	looks := c.looks()
	scale := max(1, float64(c.w)/1500) // the head grows with the picture, which is shown as wide as a page whatever its size
	head := crowdHead * scale
	width, height := float64(c.w+2*crowdMargin), float64(c.h+2*crowdMargin)+head
	m.text(`<svg xmlns="http://www.w3.org/2000/svg" width="1600" height="`, px(1600*height/width), `" viewBox="0 0 `, px(width), ` `, px(height),
		`" role="img" lang="`, c.words.pick("en", "zh"), `">`, "\n<title>")
	m.escaped(title)
	m.text("</title>\n", `<rect width="100%" height="100%" fill="#fff"/>`, "\n")
	m.text(`<g transform="translate(`, strconv.Itoa(crowdMargin), ` `, px(crowdMargin+10*scale), `) scale(`, px(scale), `)" font-family="Noto Sans CJK SC,Microsoft YaHei,sans-serif" font-size="14">`, "\n")
	m.text(`<text y="12" font-size="20" font-weight="bold">`)
	m.escaped(title)
	people, seeds := 0, 0
	has := make([]bool, len(looks))
	look := make([]int, len(c.nodes))
	for i, n := range c.nodes {
		if n.GetKind() != KindSite {
			people++
		}
		if n.GetSeed() {
			seeds++
		}
		look[i] = slices.IndexFunc(looks, func(l crowdLook) bool { return l.holds(n) })
		if look[i] >= 0 {
			has[look[i]] = true
		}
	}
	m.text(`</text><text y="36">`)
	m.escaped(c.words.summary(people, seeds, c.maxWave))
	m.text("</text>\n")
	x := 0.0
	for i, l := range looks {
		if has[i] {
			label := c.words.pick(l.en, l.zh)
			m.text(`<path transform="translate(`, px(x+5), ` 58) scale(1.8)" `, l.style, ` d="M0 0h0"/><text x="`, px(x+14), `" y="63">`)
			m.escaped(label)
			m.text("</text>\n")
			x += textWidth(label)*14/11 + 36
		}
	}
	m.text("</g>\n", `<g transform="translate(`, strconv.Itoa(crowdMargin), ` `, px(crowdMargin+head), `)" fill="none">`, "\n")
	c.paths(m, looks, look)
	m.text("</g>\n</svg>\n")
	if err := m.finish(); err != nil {
		return fmt.Errorf("write the picture of the graph: %w", err)
	}
	return nil
}

// paths draws lines and dots, each from where the last one ended.
func (c *crowd) paths(m *markup, looks []crowdLook, look []int) {
	var buf []byte
	flush := func() {
		if m.err == nil {
			_, m.err = m.w.Write(buf)
		}
		buf = buf[:0]
	}
	move := func(letter byte, x, y int32) {
		buf = append(buf, letter)
		buf = strconv.AppendInt(buf, int64(x), 10)
		if y >= 0 {
			buf = append(buf, ' ')
		}
		buf = strconv.AppendInt(buf, int64(y), 10)
		if len(buf) > 1<<15 {
			flush()
		}
	}
	m.text(`<path stroke="#666" stroke-width="1.2" d="`)
	for i, p := range c.parent {
		if p != none {
			move('M', c.x[p], c.y[p])
			move('l', c.x[i]-c.x[p], c.y[i]-c.y[p])
		}
	}
	flush()
	m.text(`"/>`, "\n")
	if len(c.other) > 0 {
		m.text(`<path stroke="#b3261e" stroke-width=".5" opacity=".45" d="`)
		for _, e := range c.other {
			move('M', c.x[e[0]], c.y[e[0]])
			move('l', c.x[e[1]]-c.x[e[0]], c.y[e[1]]-c.y[e[0]])
		}
		flush()
		m.text(`"/>`, "\n")
	}
	for k, l := range looks {
		begun := false
		var atX, atY int32
		for i := range c.nodes {
			if look[i] != k {
				continue
			}
			if !begun {
				m.text(`<path `, l.style, ` d="`)
				begun = true
				move('M', c.x[i], c.y[i])
			} else {
				move('m', c.x[i]-atX, c.y[i]-atY)
			}
			buf = append(buf, "h0"...)
			atX, atY = c.x[i], c.y[i]
		}
		if begun {
			flush()
			m.text(`"/>`, "\n")
		}
	}
}
