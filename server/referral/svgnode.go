package referral

import (
	"cmp"
	"fmt"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// look is how a node is drawn.
type look int

const (
	lookWave look = iota
	lookSeed
	lookRoot
	lookNever
	lookSite
)

func lookOf(n *servicev1.ReferralNode) look {
	switch {
	case n.GetKind() == KindSite:
		return lookSite
	case n.GetSeed():
		return lookSeed
	case !n.GetInterviewed():
		return lookNever
	case n.GetWave() == 0:
		return lookRoot
	}
	return lookWave
}

func (p *picture) drawNode(d *drawn) {
	p.text(`<g class="hr-n" data-id="`)
	p.escaped(d.node.GetPersonId())
	p.text(`"><title>`)
	p.escaped(p.words.tooltip(d.node, d.label))
	if value := p.colours.of(d.node); value != "" {
		p.escaped("\n" + p.colours.name + ": " + value)
	}
	p.text(`</title>`)
	if d.orphaned && p.aside {
		p.text(`<path class="hr-stub" d="M`, px(d.x-p.width/2), ` `, px(d.y), `h-9"/><text class="hr-q" x="`, px(d.x-p.width/2-14), `" y="`, px(d.y+4), `">?</text>`)
	} else if d.orphaned {
		top := d.y - nodeHeight/2
		p.text(`<path class="hr-stub" d="M`, px(d.x+p.width/4), ` `, px(top), `v-11"/><text class="hr-q" x="`, px(d.x+p.width/4+5), `" y="`, px(top-3), `">?</text>`)
	}
	p.shape(d.x, d.y, p.width, lookOf(d.node), int(d.node.GetWave()), p.colours.fill(d.node))
	p.text(`<text`)
	switch lookOf(d.node) {
	case lookSeed:
		if p.colours == nil {
			p.text(` class="hr-on"`)
		}
	case lookNever:
		p.text(` class="hr-off"`)
	}
	p.text(` x="`, px(d.x), `" y="`, px(d.y+4), `">`)
	p.escaped(fit(d.label, p.width-8))
	p.text("</text></g>\n")
}

// shape draws the outline of a node around its centre; fill is its colour where not its wave gives it.
func (p *picture) shape(x, y, width float64, l look, wave int, fill string) {
	rect := func(attributes string, inset, corner float64) {
		p.text(`<rect`, attributes, ` x="`, px(x-width/2+inset), `" y="`, px(y-nodeHeight/2+inset), `" width="`, px(width-2*inset),
			`" height="`, px(nodeHeight-2*inset), `" rx="`, px(corner), `"/>`)
	}
	styled := ""
	if fill != "" {
		styled = ` style="fill:` + fill + `"`
	}
	switch l {
	case lookSeed:
		rect(` class="hr-seed"`+styled, 0, 3)
		if fill != "" { // it is dark no more, and a root that nobody marked has the same outline
			rect(` class="hr-in"`, 3, 1)
		}
	case lookRoot:
		rect(` class="hr-root"`+styled, 0, 3)
	case lookNever:
		rect(` class="hr-never"`+styled, 0, 10)
	case lookSite:
		rect(` class="hr-site"`, 0, 0)
		rect(` class="hr-in"`, 2.5, 0)
	default:
		rect(` fill="`+cmp.Or(fill, tint(wave, p.maxWave))+`"`, 0, 10)
	}
}

// tints are the ends and middle of the scale of waves; all are light enough for black text, each darker than the last.
var tints = [][3]float64{{255, 246, 205}, {188, 228, 181}, {116, 176, 210}}

// tint is the colour of a wave, spread over all waves there are.
func tint(wave, maxWave int) string {
	f := 0.0
	if maxWave > 1 {
		f = float64(max(wave, 1)-1) / float64(maxWave-1) * float64(len(tints)-1)
	}
	i := min(int(f), len(tints)-2)
	f -= float64(i)
	var c [3]int
	for k := range c {
		c[k] = int(tints[i][k]*(1-f) + tints[i+1][k]*f + 0.5)
	}
	return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2])
}

// legendItem is one sign and what it means.
type legendItem struct {
	x, y float64
	text string
	draw func(x, y float64)
}

const signWidth = 30.0

// layLegend lists the signs that occur in this picture, in lines no wider than it.
func (p *picture) layLegend() {
	has := map[look]bool{}
	primary, other, orphaned := false, false, false
	for i, d := range p.nodes {
		has[lookOf(d.node)] = true
		primary = primary || p.via[i] != nil
		orphaned = orphaned || d.orphaned
	}
	for _, e := range p.edges {
		from, okFrom := p.index[e.GetFromId()]
		to, okTo := p.index[e.GetToId()]
		other = other || okFrom && okTo && (p.via[to] != e || from == to)
	}
	sign := func(shown bool, text string, draw func(x, y float64)) {
		if shown {
			p.legend = append(p.legend, legendItem{text: text, draw: draw})
		}
	}
	node := func(l look, wave int) func(x, y float64) {
		return func(x, y float64) {
			p.text(`<g class="hr-n">`)
			fill := ""
			if p.colours != nil {
				fill = "#fff"
			}
			p.shape(x+signWidth/2, y, signWidth, l, wave, fill)
			p.text("</g>\n")
		}
	}
	sign(has[lookSeed], p.words.seed, node(lookSeed, 0))
	sign(has[lookRoot], p.words.otherRoot, node(lookRoot, 0))
	sign(has[lookWave] && p.colours == nil, p.words.wave, p.drawScale)
	for i, level := range p.colours.shown() {
		sign(true, p.colours.name+" "+level, func(x, y float64) {
			p.text(`<g class="hr-n">`)
			p.shape(x+signWidth/2, y, signWidth, lookWave, 0, lightened(i))
			p.text("</g>\n")
		})
	}
	sign(has[lookNever], p.words.notInterviewed, node(lookNever, 0))
	sign(has[lookSite], p.words.site, node(lookSite, 0))
	sign(primary, p.words.primary, func(x, y float64) {
		p.text(`<path class="hr-p" d="M`, px(x), ` `, px(y), `h30"/>`, "\n")
	})
	sign(other, p.words.other, func(x, y float64) {
		p.text(`<path class="hr-o" marker-end="url(#hr-arrow)" d="M`, px(x), ` `, px(y), `h30"/>`, "\n")
	})
	sign(orphaned, p.words.unresolved, func(x, y float64) {
		p.text(`<path class="hr-stub" d="M`, px(x+8), ` `, px(y+6), `v-12"/><text class="hr-q" x="`, px(x+16), `" y="`, px(y+4), `">?</text>`, "\n")
	})
	x, y := margin, margin+headHeight+legendLine/2
	for i := range p.legend {
		item := &p.legend[i]
		width := signWidth + 8 + textWidth(item.text) + 20
		if x > margin && x+width > p.w-margin {
			x, y = margin, y+legendLine
		}
		item.x, item.y = x, y
		x += width
	}
}

func (p *picture) drawLegend(item legendItem) {
	item.draw(item.x, item.y)
	p.label(item.x+signWidth+8, item.y+4, "", item.text)
}

// drawScale draws the tints of the waves side by side.
func (p *picture) drawScale(x, y float64) {
	const steps = 5
	for i := range steps {
		wave := 1 + i*max(p.maxWave-1, 0)/(steps-1)
		p.text(`<rect x="`, px(x+float64(i)*signWidth/steps), `" y="`, px(y-nodeHeight/2), `" width="`, px(signWidth/steps),
			`" height="`, px(nodeHeight), `" fill="`, tint(wave, p.maxWave), `"/>`)
	}
	p.text(`<rect x="`, px(x), `" y="`, px(y-nodeHeight/2), `" width="`, px(signWidth), `" height="`, px(nodeHeight), `" fill="none" stroke="#333"/>`, "\n")
}

// textWidth guesses how wide a text of 11 pixels is drawn.
func textWidth(s string) float64 {
	w := 0.0
	for _, r := range s {
		w += runeWidth(r)
	}
	return w
}

func runeWidth(r rune) float64 {
	switch {
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0xd7a3 || r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f ||
		r >= 0xff00 && r <= 0xff60 || r >= 0x20000):
		return 11.2
	case strings.ContainsRune("ijl.,:;|'!", r):
		return 3.4
	case r >= 'A' && r <= 'Z':
		return 7.8
	}
	return 6.4
}

// fit shortens a text to a width.
func fit(s string, width float64) string {
	if textWidth(s) <= width {
		return s
	}
	const dots = "…"
	w := textWidth(dots)
	for i, r := range s {
		if w += runeWidth(r); w > width {
			return s[:i] + dots
		}
	}
	return s
}
