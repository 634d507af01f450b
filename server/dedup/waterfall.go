package dedup

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Sizes of the picture.
const (
	pictureWidth = 1080
	rowHeight    = 30
	headHeight   = 86
	footHeight   = 40
	fieldAt      = 16
	valueA       = 150
	valueB       = 330
	levelAt      = 510
	barsFrom     = 690
	barsTo       = 1000
)

// step is one row of the picture: from where to where the weight goes.
type step struct {
	field, a, b, level string
	from, to           float64
	total              bool
}

// Waterfall draws the explanation of a pair as an SVG picture: one row for the prior and for each field, each a bar that begins
// where the one before ended, so that the last ends at the weight of the pair. chinese chooses the language of the labels.
func Waterfall(p *servicev1.MatchPair, chinese bool) []byte {
	say := func(en, zh string) string {
		if chinese {
			return zh
		}
		return en
	}
	steps := []step{{field: say("prior", "先验"), level: say("any two records", "任意两条记录"), to: p.GetPriorWeight()}}
	at := p.GetPriorWeight()
	for _, e := range p.GetEvidence() {
		level := e.GetLevel()
		if chinese {
			level = LevelLabel(level)
		}
		steps = append(steps, step{field: say(FieldLabel(e.GetField())), a: e.GetValueA(), b: e.GetValueB(), level: level, from: at, to: at + e.GetWeight()})
		at += e.GetWeight()
	}
	steps = append(steps, step{field: say("weight", "总权重"), level: say("sum of all rows", "各行之和"), to: at, total: true})
	lo, hi := -4.0, 4.0
	for _, s := range steps {
		lo, hi = min(lo, s.from, s.to), max(hi, s.from, s.to)
	}
	lo, hi = math.Floor(lo/5)*5, math.Ceil(hi/5)*5
	d := drawing{lo: lo, hi: hi}
	height := headHeight + len(steps)*rowHeight + footHeight
	fmt.Fprintf(&d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="'Noto Sans CJK SC', 'Noto Sans SC', 'Microsoft YaHei', 'Helvetica', 'Arial', sans-serif" font-size="13">`+"\n", pictureWidth, height, pictureWidth, height)
	fmt.Fprintf(&d, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", pictureWidth, height)
	class := say(className(p.GetMatchClass()), map[servicev1.MatchClass]string{
		servicev1.MatchClass_MATCH_CLASS_EXACT: "完全相符", servicev1.MatchClass_MATCH_CLASS_LIKELY: "很可能", servicev1.MatchClass_MATCH_CLASS_POSSIBLE: "可能", servicev1.MatchClass_MATCH_CLASS_UNLIKELY: "不太可能",
	}[p.GetMatchClass()])
	d.text(fieldAt, 28, fmt.Sprintf("%s: %s %.4f", class, say("probability that the two are one person", "两者为同一人的概率"), p.GetProbability()), `font-size="17" font-weight="bold"`)
	d.text(fieldAt, 66, say("field", "项目"), `fill="#555"`)
	d.text(valueA, 66, fit(nameOf(p.GetAKey(), p.GetAId()), 24), `fill="#555" font-weight="bold"`)
	d.text(valueB, 66, fit(nameOf(p.GetBKey(), p.GetBId()), 24), `fill="#555" font-weight="bold"`)
	d.text(levelAt, 66, say("agreement", "一致程度"), `fill="#555"`)
	d.text(barsFrom, 46, say("bits of evidence: to the right for one person, to the left against", "证据（比特）：向右支持同一人，向左反对"), `fill="#555" font-size="11"`)
	d.axis(len(steps))
	for i, s := range steps {
		d.row(i, s)
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// nameOf is the first text that is not empty.
func nameOf(key, id string) string {
	if key != "" {
		return key
	}
	return id
}

// drawing is a picture in the making, with the scale of its bars.
type drawing struct {
	bytes.Buffer
	lo, hi float64
}

// x is where a weight stands.
func (d *drawing) x(bits float64) float64 {
	return barsFrom + (bits-d.lo)/(d.hi-d.lo)*(barsTo-barsFrom)
}

// text writes a text.
func (d *drawing) text(x, y float64, s, style string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" %s>`, x, y, style)
	_ = xml.EscapeText(d, []byte(s)) // a buffer takes everything
	d.WriteString("</text>\n")
}

// axis draws the scale.
func (d *drawing) axis(rows int) {
	bottom := float64(headHeight + rows*rowHeight)
	every := 5.0
	for (d.hi-d.lo)/every > 8 {
		every *= 2
	}
	for b := math.Ceil(d.lo/every) * every; b <= d.hi; b += every {
		colour := "#e4e4e4"
		if b == 0 {
			colour = "#888888"
		}
		fmt.Fprintf(d, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", d.x(b), headHeight-8, d.x(b), bottom, colour)
		d.text(d.x(b), headHeight-14, fmt.Sprintf("%g", b), `text-anchor="middle" fill="#777" font-size="11"`)
	}
	fmt.Fprintf(d, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#bbb"/>`+"\n", fieldAt, headHeight-4, pictureWidth-fieldAt, headHeight-4)
}

// row draws one row.
func (d *drawing) row(i int, s step) {
	y := float64(headHeight + i*rowHeight)
	if i%2 == 1 {
		fmt.Fprintf(d, `<rect x="8" y="%.1f" width="%d" height="%d" fill="#000000" fill-opacity="0.03"/>`+"\n", y, pictureWidth-16, rowHeight)
	}
	style, weight := "", s.to-s.from
	if s.total {
		style = `font-weight="bold"`
	}
	middle := y + rowHeight/2 + 4.5
	d.text(fieldAt, middle, fit(s.field, 18), style)
	d.text(valueA, middle, fit(s.a, 24), "")
	d.text(valueB, middle, fit(s.b, 24), "")
	d.text(levelAt, middle, fit(s.level, 25), `fill="#444"`)
	colour := "#2e7d4f"
	switch {
	case s.total:
		colour = "#33508a"
	case weight < 0:
		colour = "#b5452c"
	}
	left, right := d.x(min(s.from, s.to)), d.x(max(s.from, s.to))
	fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n", left, y+6, max(right-left, 1), rowHeight-12, colour)
	if !s.total {
		fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#999" stroke-dasharray="2 2"/>`+"\n", d.x(s.to), y+rowHeight-6, d.x(s.to), y+rowHeight+6)
	}
	d.text(pictureWidth-fieldAt, middle, fmt.Sprintf("%+.1f", weight), `text-anchor="end" `+style)
}

// fit cuts a text to so many cells, with a mark where something is left out.
func fit(s string, cells int) string {
	s = cell(s)
	if displayWidth(s) <= cells {
		return s
	}
	w := 0
	for i, r := range s {
		if w += runeWidth(r); w > cells-1 {
			return s[:i] + "…"
		}
	}
	return s
}
