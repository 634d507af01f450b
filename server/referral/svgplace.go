package referral

import (
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// arrange gives every node its place.
func (p *picture) arrange() {
	t := layTidy(p.parent, p.child)
	p.level = levelHeight
	shelves, boxes := t.pack(p.level / p.unit)
	if down := widest(shelves) * p.unit; down > widestTree {
		unit, level := nodeHeight+lineGap, p.width+forkWidth
		if s, b := t.pack(level / unit); length(s)*level < down { // else it is as deep as it is wide
			p.aside, p.unit, p.level = true, unit, level
			shelves, boxes = s, b
		}
	}
	p.shelves = shelves
	p.layShelves()
	box := make([]int32, len(p.nodes))
	for i := range boxes {
		box[boxes[i].root] = int32(i)
	}
	for _, v := range topDown(p.parent) {
		if q := p.parent[v]; q != none {
			box[v] = box[q]
		}
		b := boxes[box[v]]
		across := (b.at + t.x[v] - b.left + 0.5) * p.unit
		along := p.tops[b.shelf] + (float64(t.depth[v])+0.5)*p.level
		p.nodes[v].x, p.nodes[v].y = margin+gutter+across, along
		if p.aside {
			p.nodes[v].x, p.nodes[v].y = along, p.head+across
		}
	}
}

func widest(shelves []shelf) float64 {
	w := 0.0
	for _, s := range shelves {
		w = max(w, s.width)
	}
	return w
}

// length is how many waves shelves have one after the other.
func length(shelves []shelf) float64 {
	n := 0
	for _, s := range shelves {
		n += s.levels
	}
	return float64(n)
}

// layShelves finds where each shelf begins, and how large the picture is.
func (p *picture) layShelves() {
	across := widest(p.shelves) * p.unit
	if p.aside {
		x := margin
		for _, s := range p.shelves {
			p.tops = append(p.tops, x)
			x += float64(s.levels)*p.level + shelfGap
		}
		p.w = max(x-shelfGap+margin, minPicture)
		p.head = p.layHead() + waveLine
		p.h = p.head + across + margin
		return
	}
	p.w = max(2*margin+gutter+across, minPicture)
	y := p.layHead()
	for _, s := range p.shelves {
		p.tops = append(p.tops, y)
		y += float64(s.levels)*p.level + shelfGap
	}
	p.h = y + margin
	if len(p.shelves) == 0 {
		p.h = y + 2*legendLine
	}
}

// layHead places the legend, and returns where what is under it begins.
func (p *picture) layHead() float64 {
	p.layLegend()
	if n := len(p.legend); n > 0 {
		return p.legend[n-1].y + legendLine
	}
	return margin + headHeight
}

// along and across are the letters of path commands that go from wave to wave, and from sibling to sibling.
func (p *picture) along() string {
	if p.aside {
		return "H"
	}
	return "V"
}

func (p *picture) across() string {
	if p.aside {
		return "V"
	}
	return "H"
}

// place is where a node is, from wave to wave and from sibling to sibling.
func (p *picture) place(d *drawn) (along, across float64) {
	if p.aside {
		return d.x, d.y
	}
	return d.y, d.x
}

// point writes a place.
func (p *picture) point(along, across float64) string {
	if p.aside {
		return px(along) + " " + px(across)
	}
	return px(across) + " " + px(along)
}

// drawBands shades every second wave of a shelf, and numbers the waves.
func (p *picture) drawBands() {
	for i, s := range p.shelves {
		for wave := range s.levels {
			at := p.tops[i] + float64(wave)*p.level
			shaded := wave%2 == 0
			switch {
			case shaded && p.aside:
				p.text(`<rect class="hr-band" x="`, px(at), `" y="`, px(p.head-waveLine), `" width="`, px(p.level), `" height="`, px(s.width*p.unit+waveLine), `"/>`, "\n")
			case shaded:
				p.text(`<rect class="hr-band" x="`, px(margin), `" y="`, px(at), `" width="`, px(p.w-2*margin), `" height="`, px(p.level), `"/>`, "\n")
			}
			if p.aside {
				p.label(at+4, p.head-waveLine+11, "hr-wave", p.words.waveLabel(wave))
			} else {
				p.label(margin+4, at+p.level/2+3.5, "hr-wave", p.words.waveLabel(wave))
			}
		}
	}
}

// drawPrimary joins each recruiter and his recruits by a rake.
func (p *picture) drawPrimary() {
	half := nodeHeight / 2
	if p.aside {
		half = p.width / 2
	}
	for i := range p.nodes {
		if len(p.child[i]) == 0 {
			continue
		}
		from, at := p.place(&p.nodes[i])
		middle := from + p.level/2
		first, last := at, at
		for _, c := range p.child[i] {
			_, k := p.place(&p.nodes[c])
			first, last = min(first, k), max(last, k)
		}
		p.text(`<path class="hr-p" d="M`, p.point(from+half, at), p.along(), px(middle))
		if px(first) != px(last) {
			p.text(`M`, p.point(middle, first), p.across(), px(last))
		}
		p.text("\"/>\n")
		for _, c := range p.child[i] {
			to, k := p.place(&p.nodes[c])
			p.text(`<path class="hr-p" d="M`, p.point(middle, k), p.along(), px(to-half), `">`)
			p.edgeTitle(p.via[c])
			p.text("</path>\n")
		}
	}
}

// drawOther draws a referral that is not primary, dashed, from recruiter to recruit.
func (p *picture) drawOther(e *servicev1.ReferralEdge) {
	from, okFrom := p.index[e.GetFromId()]
	to, okTo := p.index[e.GetToId()]
	if !okFrom || !okTo || p.via[to] == e {
		return
	}
	p.text(`<path class="hr-o" marker-end="url(#hr-arrow)" d="M`)
	half, side := nodeHeight/2, p.width/4
	if p.aside {
		half, side = p.width/2, nodeHeight/4
	}
	x, at := p.place(&p.nodes[from])
	y, k := p.place(&p.nodes[to])
	curve := func(a, s float64, bend float64, b, t float64) {
		p.text(p.point(a, s), `C`, p.point(a+bend, s), ` `, p.point(b-bend, t), ` `, p.point(b, t))
	}
	switch {
	case from == to:
		p.text(px(p.nodes[from].x+p.width/2), ` `, px(p.nodes[from].y-4), `c24 -14 24 24 0 9`)
	case y > x:
		curve(x+half, at+side, min(40, (y-x)/2), y-half, k+side)
	case y < x:
		curve(x-half, at+side, -min(40, (x-y)/2), y+half, k+side)
	default: // the same wave: an arc below
		p.text(p.point(x+half, at), `C`, p.point(x+half+16, at), ` `, p.point(y+half+16, k), ` `, p.point(y+half, k))
	}
	p.text(`">`)
	p.edgeTitle(e)
	p.text("</path>\n")
}
