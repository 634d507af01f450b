package referral

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// SVGOptions say how the picture is labelled.
type SVGOptions struct {
	// Language of legend and tooltips: "en", which is the default, or "zh".
	Language string
	// Names lead from person ids to names; without them nodes show interview keys.
	Names map[string]string
	// Title stands above the picture; empty means a general one.
	Title string
	// Colour are values by person id that colour the nodes in place of their waves; nil: waves do.
	Colour *Values
}

// Sizes of the picture in pixels.
const (
	nodeHeight  = 20.0
	levelHeight = 46.0
	nodeGap     = 8.0
	shelfGap    = 26.0
	margin      = 16.0
	gutter      = 52.0 // for the wave numbers
	headHeight  = 50.0
	legendLine  = 28.0
	minNode     = 26.0
	maxNode     = 116.0
	minPicture  = 640.0
	widestTree  = 1500.0 // about what a screen shows, or a page in print that can be read
	lineGap     = 3.0
	waveLine    = 16.0 // for the wave numbers above
	forkWidth   = 26.0 // between two waves that go from left to right
)

// WriteSVG draws the forest of primary referrals as tidy trees, one level per wave, the trees side by side on shelves; all
// other referrals are dashed. Where a tree would be wider than a page is, the waves go from left to right, everybody has a
// line, and the picture is read downwards. Shape and outline carry the meaning as well as colour does, so that it prints in black and
// white. Of more than MostDrawnNodes nodes it draws a crowd: dots without labels.
func WriteSVG(w io.Writer, g *servicev1.ReferralGraph, opts SVGOptions) error {
	if len(g.GetNodes()) > MostDrawnNodes {
		return newCrowd(g, opts).write(w, cmp.Or(opts.Title, wordsIn(opts.Language).title))
	}
	p := newPicture(g, opts)
	p.markup = markup{w: bufio.NewWriterSize(w, 1<<16)}
	p.draw()
	if err := p.finish(); err != nil {
		return fmt.Errorf("write the picture of the graph: %w", err)
	}
	return nil
}

// drawn is one node of the picture.
type drawn struct {
	node     *servicev1.ReferralNode
	label    string
	x, y     float64 // centre
	orphaned bool    // an edge leads here from nobody known
}

// picture holds what is drawn and where.
type picture struct {
	markup
	words   words
	opts    SVGOptions
	edges   []*servicev1.ReferralEdge
	nodes   []drawn
	index   map[string]int32
	parent  []int32
	via     []*servicev1.ReferralEdge // by node: the primary edge
	child   [][]int32
	shelves []shelf
	tops    []float64 // of shelves
	unit    float64   // from node to node
	level   float64   // from wave to wave
	aside   bool      // the waves go from left to right, not down
	width   float64   // of a node
	maxWave int
	w, h    float64
	head    float64 // where trees begin whose waves go from left to right
	legend  []legendItem
	colours *colouring // nil: by wave
}

func newPicture(g *servicev1.ReferralGraph, opts SVGOptions) *picture {
	p := &picture{words: wordsIn(opts.Language), opts: opts, index: make(map[string]int32, len(g.GetNodes()))}
	p.edges = slices.DeleteFunc(slices.Clone(g.GetEdges()), func(e *servicev1.ReferralEdge) bool { return e == nil })
	for _, n := range g.GetNodes() {
		if n == nil {
			continue
		}
		p.nodes = append(p.nodes, drawn{node: n, label: label(n, opts.Names)})
	}
	slices.SortStableFunc(p.nodes, func(a, b drawn) int {
		return cmp.Or(compareNatural(a.node.GetInterviewKey(), b.node.GetInterviewKey()),
			compareNatural(a.node.GetPersonId(), b.node.GetPersonId()))
	})
	if opts.Colour != nil {
		p.colours = newColouring(opts.Colour, g.GetNodes(), p.words)
	}
	p.width = minNode
	for i, d := range p.nodes {
		p.index[d.node.GetPersonId()] = int32(i)
		p.maxWave = max(p.maxWave, int(d.node.GetWave()))
		p.width = max(p.width, min(maxNode, textWidth(d.label)+10))
	}
	p.unit = p.width + nodeGap
	p.link()
	p.arrange()
	return p
}

// link reads the forest from the primary edges; a graph that is no forest is cut into one.
func (p *picture) link() {
	p.parent = make([]int32, len(p.nodes))
	p.via = make([]*servicev1.ReferralEdge, len(p.nodes))
	for i := range p.parent {
		p.parent[i] = none
	}
	for _, e := range p.edges {
		from, okFrom := p.index[e.GetFromId()]
		to, okTo := p.index[e.GetToId()]
		if okTo && !okFrom {
			p.nodes[to].orphaned = true
		}
		if okFrom && okTo && e.GetPrimary() && p.parent[to] == none {
			p.parent[to], p.via[to] = from, e
		}
	}
	seen := make([]int, len(p.nodes))
	for i := range p.nodes {
		x, last := int32(i), none
		for x != none && seen[x] == 0 {
			seen[x] = i + 1
			x, last = p.parent[x], x
		}
		if x != none && seen[x] == i+1 {
			p.parent[last], p.via[last] = none, nil
		}
	}
	p.child = make([][]int32, len(p.nodes))
	for i, q := range p.parent {
		if q != none {
			p.child[q] = append(p.child[q], int32(i))
		}
	}
	for _, c := range p.child {
		slices.SortStableFunc(c, func(a, b int32) int {
			return cmp.Compare(instant(p.via[a].MadeTimeMs), instant(p.via[b].MadeTimeMs))
		})
	}
}

// style is the look of the picture. Class names begin with hr- because pictures are put into pages.
const style = `<style>
.hr{font-family:"Noto Sans","Noto Sans CJK SC","Source Han Sans SC","Microsoft YaHei","PingFang SC","WenQuanYi Zen Hei",sans-serif;font-size:11px;fill:#111}
.hr-band{fill:#f3f4f6}
.hr-wave{font-size:10px;fill:#666}
.hr-title{font-size:17px;font-weight:bold}
.hr-p{fill:none;stroke:#444;stroke-width:1.3;stroke-linecap:square}
.hr-o{fill:none;stroke:#b3261e;stroke-width:1.2;stroke-dasharray:5 3}
.hr-n text{text-anchor:middle}
.hr-n rect{stroke:#333;stroke-width:1}
.hr-n .hr-seed{fill:#17305e;stroke:#17305e;stroke-width:2.5}
.hr-n .hr-on{fill:#fff;font-weight:bold}
.hr-n .hr-root{fill:#fff;stroke:#17305e;stroke-width:2.5}
.hr-n .hr-never{fill:#fff;stroke:#777;stroke-dasharray:3 2}
.hr-n .hr-off{fill:#555;font-style:italic}
.hr-n .hr-site{fill:#e4dcf1;stroke:#333;stroke-width:1.2}
.hr-n .hr-in{fill:none;stroke:#333;stroke-width:.8}
.hr-stub{fill:none;stroke:#b3261e;stroke-width:1.4}
.hr-q{font-weight:bold;fill:#b3261e;text-anchor:middle}
</style>
<defs><marker id="hr-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#b3261e"/></marker></defs>
`

func (p *picture) draw() {
	p.text(`<svg xmlns="http://www.w3.org/2000/svg" class="hr" width="`, px(p.w), `" height="`, px(p.h), `" viewBox="0 0 `, px(p.w), ` `, px(p.h), `"`)
	p.text(` role="img" lang="`, p.words.pick("en", "zh"), `">`, "\n<title>")
	title := cmp.Or(p.opts.Title, p.words.title)
	p.escaped(title)
	p.text("</title>\n", style, `<rect width="100%" height="100%" fill="#fff"/>`, "\n")
	p.label(margin, margin+16, "hr-title", title)
	p.drawHead()
	p.drawBands()
	p.text("<g>\n")
	p.drawPrimary()
	p.text("</g>\n<g>\n")
	for _, e := range p.edges { // under the nodes, whose labels must stay readable
		p.drawOther(e)
	}
	p.text("</g>\n<g>\n")
	for i := range p.nodes {
		p.drawNode(&p.nodes[i])
	}
	p.text("</g>\n</svg>\n")
}

func (p *picture) drawHead() {
	people, seeds := 0, 0
	for _, d := range p.nodes {
		if d.node.GetKind() != KindSite {
			people++
		}
		if d.node.GetSeed() {
			seeds++
		}
	}
	p.label(margin, margin+35, "", p.words.summary(people, seeds, p.maxWave))
	if len(p.nodes) == 0 {
		p.label(margin, margin+headHeight+legendLine, "", p.words.empty)
	}
	for _, item := range p.legend {
		p.drawLegend(item)
	}
}

func (p *picture) edgeTitle(e *servicev1.ReferralEdge) {
	p.text("<title>")
	from, to := "?", "?"
	if i, ok := p.index[e.GetFromId()]; ok {
		from = p.nodes[i].label
	}
	if i, ok := p.index[e.GetToId()]; ok {
		to = p.nodes[i].label
	}
	p.escaped(from + " → " + to)
	if m := e.GetMode(); m != "" {
		p.escaped("\n" + p.words.choice(surveyv1.ReferralMode(0).Descriptor(), "REFERRAL_MODE_", m))
	}
	if r := e.GetRelation(); r != "" {
		p.escaped("\n" + p.words.choice(surveyv1.ReferralRelation(0).Descriptor(), "REFERRAL_RELATION_", r))
	}
	if !e.GetPrimary() || e.GetState() != servicev1.EdgeState_EDGE_STATE_RESOLVED {
		p.escaped("\n" + p.words.state(e.GetState()))
	}
	p.text("</title>")
}

func (p *picture) label(x, y float64, class, s string) {
	p.text(`<text x="`, px(x), `" y="`, px(y), `"`)
	if class != "" {
		p.text(` class="`, class, `"`)
	}
	p.text(">")
	p.escaped(s)
	p.text("</text>\n")
}

// px writes a length with one decimal place at most.
func px(v float64) string {
	s := strconv.FormatFloat(v, 'f', 1, 64)
	if n := len(s); s[n-2:] == ".0" {
		return s[:n-2]
	}
	return s
}
