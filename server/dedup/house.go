package dedup

import (
	"cmp"
	"slices"
)

// Levels of household evidence.
const (
	houseTwo = iota
	houseOne
	houseNone
	houseBetter
)

// houseModel is what members of two households say about each other.
type houseModel struct {
	on    bool
	bits  [4]float64
	links map[[2]int32][]houseLink
	size  map[int32]int
	of    rows
}

// houseLink is one pair of members of two households that match well.
type houseLink struct {
	a, b   int32
	weight float64
}

// strongLink is the weight from which a match counts as evidence about other members: about one wrong in thirty.
const strongLink = 5

// betterBy is how many bits heavier the match of one of two with another member must be to speak against them.
const betterBy = 3

// learnHouses collects the strong matches between households and weighs how much another match says. It is switched off
// where too few households have several matches: there it would only echo the mistakes of the first pass.
// Links are all pairs; how much they say is learnt from those that the blocking drew.
func (m *Model) learnHouses(f *frame, b *blocking, weights []float64, edges []edge) {
	h := houseModel{}
	h.collect(f, edges)
	s := scaleOf(kindHouse)
	pm, pu := s.priors()
	seen := 0.0
	for l := range pm {
		pm[l], pu[l] = pm[l]*20, pu[l]*200
	}
	for x, p := range b.pairs {
		if l := h.level(p.a, p.b, weights[x]); l >= 0 {
			r := probability(weights[x])
			pm[l] += r
			pu[l] += 1 - r
			if l <= houseOne && r > .9 {
				seen++
			}
		}
	}
	s.normalise(pm)
	s.normalise(pu)
	most := [4]float64{6, 4, 0, 0}
	least := [4]float64{0, 0, -1, -6}
	for l := range h.bits {
		h.bits[l] = min(most[l], max(least[l], log2(pm[l]/pu[l])))
	}
	h.on = seen/b.share >= 4 && h.bits[houseTwo] > 1
	m.house = h
}

// collect notes the strong matches between households, and how many people each household has.
func (h *houseModel) collect(f *frame, edges []edge) {
	h.links, h.size, h.of = map[[2]int32][]houseLink{}, map[int32]int{}, f.house
	for i := range f.n {
		for _, x := range f.house.of(i) {
			h.size[x]++
		}
	}
	for _, e := range edges {
		if e.weight < strongLink {
			continue
		}
		for _, ha := range f.house.of(int(e.a)) {
			for _, hb := range f.house.of(int(e.b)) {
				if ha != hb {
					h.add(ha, hb, e.a, e.b, e.weight)
				}
			}
		}
	}
	for k := range h.links {
		slices.SortFunc(h.links[k], func(x, y houseLink) int {
			return cmp.Or(-cmp.Compare(x.weight, y.weight), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
		})
	}
}

// add notes a strong match, under the smaller household first.
func (h *houseModel) add(ha, hb, a, b int32, w float64) {
	if ha > hb {
		ha, hb = hb, ha
	}
	h.links[[2]int32{ha, hb}] = append(h.links[[2]int32{ha, hb}], houseLink{a, b, w})
}

// level says what other members of the two records' households tell about them; -1 is nothing: one of them has no
// household, or is alone in it.
func (h *houseModel) level(a, b int32, weight float64) int {
	best := -1
	for _, ha := range h.of.of(int(a)) {
		for _, hb := range h.of.of(int(b)) {
			if ha == hb || h.size[ha] < 2 || h.size[hb] < 2 {
				continue
			}
			if l := h.between(ha, hb, a, b, weight); best < 0 || l < best {
				best = l
			}
		}
	}
	return best
}

// between looks at one pair of households: how many other members match one to one, or does one of the two have a
// better match there.
func (h *houseModel) between(ha, hb, a, b int32, weight float64) int {
	if ha > hb {
		ha, hb = hb, ha
	}
	var took []int32
	others := 0
	for _, l := range h.links[[2]int32{ha, hb}] {
		if l.a == a && l.b == b {
			continue
		}
		if l.a == a || l.b == b || l.a == b || l.b == a {
			if l.weight > weight+betterBy {
				return houseBetter
			}
			continue
		}
		if slices.Contains(took, l.a) || slices.Contains(took, l.b) {
			continue
		}
		took = append(took, l.a, l.b)
		others++
	}
	return [3]int{houseNone, houseOne, houseTwo}[min(others, 2)]
}

// weights is everything but household evidence for each pair: the pattern and the rarity of the values.
func (m *Model) weights(b *blocking, t *table) []float64 {
	base := make([]float64, len(t.patterns))
	s := newScorer(m)
	parts(len(base), func() struct{} { return struct{}{} }, func(_ struct{}, from, to int) {
		for id := from; id < to; id++ {
			base[id] = s.weight(&t.patterns[id])
		}
	})
	out := make([]float64, len(b.pairs))
	for x, p := range b.pairs {
		out[x] = base[p.pattern] + t.rare[x]
	}
	return out
}

// houseWeights adds household evidence to weights.
func (m *Model) houseWeights(edges []edge) {
	if !m.house.on {
		return
	}
	for x, e := range edges {
		if l := m.house.level(e.a, e.b, e.weight); l >= 0 {
			edges[x].weight += m.house.bits[l]
		}
	}
}
