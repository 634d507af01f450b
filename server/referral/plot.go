package referral

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"time"
)

// plot is a chart with two axes, in SVG, that prints in black and white: lines differ in dashes and marks as well as colour.
type plot struct {
	markup
	title, xLabel, yLabel  string
	xMin, xMax, yMin, yMax float64
	left, top, w, h        float64
	rows                   float64 // of the legend
}

// lineStyles are told apart without colour.
var lineStyles = []struct{ colour, dash, mark string }{
	{"#0b3c6f", "", "circle"}, {"#c2410c", "7 3", "square"}, {"#3f7d20", "2 3", "diamond"}, {"#6b21a8", "10 3 2 3", "circle"},
	{"#111111", "1 2", "square"}, {"#0e7490", "14 4", "diamond"}, {"#9f1239", "4 4", "circle"}, {"#57534e", "8 2 2 2 2 2", "square"},
}

const (
	plotWidth  = 760
	plotHeight = 420
)

func newPlot(w io.Writer, title, x, y string, legend int) *plot {
	p := &plot{title: title, xLabel: x, yLabel: y, left: 64}
	p.w = plotWidth - p.left - 40
	p.rows = math.Ceil(float64(legend) / 3)
	p.top = 44 + 20*p.rows
	p.h = plotHeight - p.top - 56
	p.markup = markup{w: bufio.NewWriter(w)}
	return p
}

func (p *plot) x(v float64) float64 {
	if p.xMax == p.xMin {
		return p.left + p.w/2
	}
	return p.left + (v-p.xMin)/(p.xMax-p.xMin)*p.w
}

func (p *plot) y(v float64) float64 {
	if p.yMax == p.yMin {
		return p.top + p.h
	}
	return p.top + p.h - (v-p.yMin)/(p.yMax-p.yMin)*p.h
}

// words writes a text at a place.
func (p *plot) words(x, y float64, attributes, s string) {
	p.text(`<text x="`, px(x), `" y="`, px(y), `"`, attributes, `>`)
	p.escaped(s)
	p.text("</text>\n")
}

// begin draws the head and the axes. Ticks are made by the plot where none are given for x.
func (p *plot) begin(language string, ticks []tick) {
	lang := wordsIn(language).pick("en", "zh")
	p.text(`<svg xmlns="http://www.w3.org/2000/svg" width="`, strconv.Itoa(plotWidth), `" height="`, strconv.Itoa(plotHeight), `" viewBox="0 0 `,
		strconv.Itoa(plotWidth), ` `, strconv.Itoa(plotHeight), `" role="img" lang="`, lang, `" font-family="Noto Sans,Noto Sans CJK SC,Microsoft YaHei,PingFang SC,sans-serif" font-size="12" fill="#111">`, "\n<title>")
	p.escaped(p.title)
	p.text("</title>\n", `<rect width="100%" height="100%" fill="#fff"/>`, "\n")
	p.words(p.left, 24, ` font-size="16" font-weight="bold"`, p.title)
	for _, v := range niceTicks(p.yMin, p.yMax, 6) {
		p.text(`<path stroke="#ddd" d="M`, px(p.left), ` `, px(p.y(v)), `h`, px(p.w), `"/>`, "\n")
		p.words(p.left-8, p.y(v)+4, ` text-anchor="end"`, number(v))
	}
	if ticks == nil {
		for _, v := range niceTicks(p.xMin, p.xMax, 8) {
			ticks = append(ticks, tick{v, number(v)})
		}
	}
	for _, t := range ticks {
		p.text(`<path stroke="#333" d="M`, px(p.x(t.at)), ` `, px(p.top+p.h), `v5"/>`, "\n")
		p.words(p.x(t.at), p.top+p.h+19, ` text-anchor="middle"`, t.label)
	}
	p.text(`<path fill="none" stroke="#333" d="M`, px(p.left), ` `, px(p.top), `v`, px(p.h), `h`, px(p.w), `"/>`, "\n")
	p.words(p.left+p.w/2, plotHeight-14, ` text-anchor="middle"`, p.xLabel)
	p.text(`<text transform="translate(18 `, px(p.top+p.h/2), `) rotate(-90)" text-anchor="middle">`)
	p.escaped(p.yLabel)
	p.text("</text>\n")
}

func (p *plot) end(what string) error {
	p.text("</svg>\n")
	if err := p.finish(); err != nil {
		return fmt.Errorf("write the plot of %s: %w", what, err)
	}
	return nil
}

type tick struct {
	at    float64
	label string
}

// niceTicks are round numbers between two values, about as many as wanted.
func niceTicks(low, high float64, wanted int) []float64 {
	if !(high > low) {
		return []float64{low}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(wanted))))
	for _, k := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*k) <= float64(wanted) {
			step *= k
			break
		}
	}
	var out []float64
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		out = append(out, i*step)
	}
	return out
}

func number(v float64) string { return strconv.FormatFloat(math.Round(v*1e6)/1e6+0, 'f', -1, 64) } // +0: no -0

// line draws a series and its entry in the legend.
func (p *plot) line(k int, label string, xs, ys []float64, marks bool) {
	s := lineStyles[k%len(lineStyles)]
	pen := `fill="none" stroke="` + s.colour + `" stroke-width="2" stroke-dasharray="` + s.dash + `"`
	lx, ly := p.left+float64(k%3)*p.w/3, 44+20*float64(k/3)
	p.text(`<path `, pen, ` d="M`, px(lx), ` `, px(ly), `h30"/>`, "\n")
	p.mark(s.mark, s.colour, lx+15, ly)
	p.words(lx+38, ly+4, "", fit(label, p.w/3*0.85-40))
	p.text(`<path `, pen, ` d="`)
	pen = "M"
	for i := range xs {
		if math.IsNaN(ys[i]) {
			pen = "M"
			continue
		}
		p.text(pen, px(p.x(xs[i])), ` `, px(p.y(ys[i])))
		pen = "L"
	}
	p.text(`"/>`, "\n")
	for i := range xs {
		if marks && !math.IsNaN(ys[i]) {
			p.mark(s.mark, s.colour, p.x(xs[i]), p.y(ys[i]))
		}
	}
}

func (p *plot) mark(shape, colour string, x, y float64) {
	switch shape {
	case "square":
		p.text(`<path fill="`, colour, `" d="M`, px(x-3.5), ` `, px(y-3.5), `h7v7h-7z"/>`, "\n")
	case "diamond":
		p.text(`<path fill="`, colour, `" d="M`, px(x), ` `, px(y-5), `l5 5-5 5-5-5z"/>`, "\n")
	default:
		p.text(`<circle fill="`, colour, `" cx="`, px(x), `" cy="`, px(y), `" r="3.5"/>`, "\n")
	}
}

// WriteWavePlot draws how many people each wave has, as bars with their numbers.
func WriteWavePlot(w io.Writer, s *Sample, opts SVGOptions) error {
	words := wordsIn(opts.Language)
	var perWave []int64
	for _, wave := range s.Wave {
		perWave = increment(perWave, int(wave))
	}
	p := newPlot(w, firstText(opts.Title, words.pick("Respondents by wave", "各波受访人数")), words.pick("wave (0: seeds and other starts)", "波次（0为种子及其他起点）"), words.pick("respondents", "受访人数"), 0)
	most := int64(1)
	for _, n := range perWave {
		most = max(most, n)
	}
	waves := float64(max(len(perWave), 1))
	p.xMin, p.xMax, p.yMax = -0.5, waves-0.5, float64(most)*1.08
	var ticks []tick
	every := int(math.Ceil(waves / 24))
	for i := 0; i < len(perWave); i += every {
		ticks = append(ticks, tick{float64(i), strconv.Itoa(i)})
	}
	p.begin(opts.Language, ticks)
	width := p.w / waves * 0.8
	for i, n := range perWave {
		x, y := p.x(float64(i)), p.y(float64(n))
		p.text(`<path fill="#4a7fb5" stroke="#12324f" d="M`, px(x-width/2), ` `, px(p.top+p.h), `V`, px(y), `h`, px(width), `V`, px(p.top+p.h), `z"/>`, "\n")
		if width > 12 {
			p.words(x, y-4, ` text-anchor="middle" font-size="11"`, strconv.FormatInt(n, 10))
		}
	}
	return p.end("the waves")
}

// WriteConvergencePlot draws a growing estimate, a line for each level, and dashed lines at its last values: where the lines
// have come to lie level, the estimate has settled.
func WriteConvergencePlot(w io.Writer, series *Series, opts SVGOptions) error {
	words := wordsIn(opts.Language)
	title := fmt.Sprintf(words.pick("How the estimate of %s settles (%s)", "%s 估计值的收敛（%s）"), series.Outcome, series.Method.Word())
	p := newPlot(w, firstText(opts.Title, title), words.pick("respondents, wave by wave", "逐波累计受访人数"), words.pick("estimated share", "估计比例"), len(series.Levels))
	p.yMax = 1
	xs := make([]float64, len(series.Points))
	for i, point := range series.Points {
		xs[i] = float64(point.Respondents)
		p.xMax = max(p.xMax, xs[i])
	}
	p.begin(opts.Language, nil)
	for k, level := range series.Levels {
		ys := make([]float64, len(xs))
		for i, point := range series.Points {
			ys[i] = point.Shares[k]
		}
		if n := len(ys); n > 0 && !math.IsNaN(ys[n-1]) {
			p.text(`<path stroke="#888" stroke-dasharray="2 4" d="M`, px(p.left), ` `, px(p.y(ys[n-1])), `h`, px(p.w), `"/>`, "\n")
		}
		p.line(k, level, xs, ys, len(xs) <= 40)
	}
	return p.end("the convergence")
}

// WriteBottleneckPlot draws one level's estimate in each chain: chains that settle at different values do not mix. Chains are
// named by their roots, or by the names given; the first eight are drawn.
func WriteBottleneckPlot(w io.Writer, chains []*Series, level int, opts SVGOptions) error {
	words := wordsIn(opts.Language)
	chains = chains[:min(len(chains), len(lineStyles))]
	title := words.pick("Each chain's estimate", "各推荐链的估计值")
	if len(chains) > 0 && level >= 0 && level < len(chains[0].Levels) {
		title = fmt.Sprintf(words.pick("Each chain's estimate of %s = %s", "各推荐链对 %s = %s 的估计值"), chains[0].Outcome, chains[0].Levels[level])
	} else {
		chains = nil
	}
	p := newPlot(w, firstText(opts.Title, title), words.pick("respondents of the chain, wave by wave", "该链逐波累计受访人数"), words.pick("estimated share", "估计比例"), len(chains))
	p.yMax = 1
	for _, c := range chains {
		for _, point := range c.Points {
			p.xMax = max(p.xMax, float64(point.Respondents))
		}
	}
	p.begin(opts.Language, nil)
	for k, c := range chains {
		var xs, ys []float64
		for _, point := range c.Points {
			xs, ys = append(xs, float64(point.Respondents)), append(ys, point.Shares[level])
		}
		p.line(k, firstText(opts.Names[c.Root], c.Root), xs, ys, len(xs) <= 40)
	}
	return p.end("the chains")
}

// WriteTimePlot draws how many people had been interviewed by each day, all, seeds and recruits. Who has no known day is
// left out, and the number of those is told.
func WriteTimePlot(w io.Writer, s *Sample, opts SVGOptions) error {
	words := wordsIn(opts.Language)
	var all, seeds, recruits []float64
	without := 0
	for i, ms := range s.Time {
		if ms == 0 {
			without++
			continue
		}
		all = append(all, float64(ms))
		if s.Wave[i] == 0 {
			seeds = append(seeds, float64(ms))
		} else {
			recruits = append(recruits, float64(ms))
		}
	}
	title := words.pick("Interviewed over time", "受访人数随时间的变化")
	x := words.pick("day", "日期")
	if without > 0 {
		x += fmt.Sprintf(words.pick(" (%d people without a known day left out)", "（%d人日期不明，未计入）"), without)
	}
	p := newPlot(w, firstText(opts.Title, title), x, words.pick("people, in all", "累计人数"), 3)
	p.yMax = max(1, float64(len(all)))
	var ticks []tick
	if len(all) > 0 {
		p.xMin, p.xMax = slices.Min(all), slices.Max(all)
		for i := range 6 {
			at := p.xMin + (p.xMax-p.xMin)*float64(i)/5
			ticks = append(ticks, tick{at, time.UnixMilli(int64(at)).UTC().Format("2006-01-02")})
			if p.xMax == p.xMin {
				break
			}
		}
	} else {
		ticks = []tick{}
	}
	p.begin(opts.Language, ticks)
	for k, line := range []struct {
		label string
		at    []float64
	}{{words.pick("all", "全部"), all}, {words.pick("recruits", "被介绍者"), recruits}, {words.pick("seeds and other starts", "种子及其他起点"), seeds}} {
		xs, ys := staircase(line.at, p.xMin, p.xMax)
		p.line(k, line.label, xs, ys, false)
	}
	return p.end("the interviews over time")
}

// staircase counts up, in at most some hundred steps.
func staircase(at []float64, low, high float64) (xs, ys []float64) {
	slices.Sort(at)
	const steps = 300
	n := 0
	for i := range steps + 1 {
		x := low + (high-low)*float64(i)/steps
		for n < len(at) && (at[n] <= x || i == steps) {
			n++
		}
		if i > 0 && float64(n) != ys[len(ys)-1] { // the step stands upright
			xs, ys = append(xs, x), append(ys, ys[len(ys)-1])
		}
		if i == 0 || i == steps || float64(n) != ys[len(ys)-1] {
			xs, ys = append(xs, x), append(ys, float64(n))
		}
	}
	return xs, ys
}
