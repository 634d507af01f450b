package dedup

import (
	"cmp"
	"math"
	"slices"
)

// Two people who are alike in birth year, sex and schooling are seldom the same. Two households in which three such pairs
// live in the same place are. So where people by themselves tell little, whole households are compared: the members are
// assigned to each other as well as can be, what the household as a whole says counts once, and each household of
// one table is shared out among its candidates in the other, or none. What is assumed of agreement, of moving out and of
// how many households were met again is estimated anew from the households found (Fu, Christen and Boot 2011; the
// estimation is ours).

const (
	mostMembers   = 10 // of a household that is compared whole; larger ones are institutions
	mostRivals    = 8  // candidates kept for a household
	houseRounds   = 8
	leastChance   = .2  // of a link to be thought of at all
	wideAgreement = .93 // share of members who agree with the first, from which a column is the household's own
)

// homes are the households of both tables and what is assumed of them.
type homes struct {
	f       *frame
	members [][]int32
	inA     []bool
	wide    []bool // by column: the household's own
	m, u    [][]float64
	stay    float64 // chance that a member is met again in the same household
	met     float64 // share of the first table's households that were met again
	cands   []homePair
}

// homePair is two households that may be one.
type homePair struct {
	a, b  int32
	bits  float64 // evidence
	pairs [][2]int32
	p     float64
}

// linkHouseholds finds the members of the same households in both tables. The weight of a link is the logarithm of its odds.
func (f *frame) linkHouseholds(m *Model, pairs []pair) []edge {
	h := &homes{f: f, m: clone(m.m), u: m.u, stay: .75, met: .4}
	h.gather()
	h.widen()
	h.candidates(pairs)
	for range houseRounds {
		h.weigh()
		h.share()
		h.fit()
	}
	h.weigh()
	h.share()
	return h.settle()
}

func (h *homes) gather() {
	n := int32(0)
	for i := range h.f.n {
		for _, x := range h.f.house.of(i) {
			n = max(n, x+1)
		}
	}
	h.members, h.inA = make([][]int32, n), make([]bool, n)
	for i := range h.f.n {
		for _, x := range h.f.house.of(i) {
			h.members[x] = append(h.members[x], int32(i))
			h.inA[x] = int32(i) < h.f.first
		}
	}
}

// widen finds the columns that all members of a household share, such as its place.
func (h *homes) widen() {
	h.wide = make([]bool, len(h.f.columns))
	for k, c := range h.f.columns {
		same, all := 0, 0
		for _, m := range h.members {
			if len(m) < 2 || len(m) > mostMembers {
				continue
			}
			for _, i := range m[1:] {
				if l, _, _ := c.compare(int(m[0]), int(i)); l >= 0 {
					all++
					if c.scale[l].agrees {
						same++
					}
				}
			}
		}
		h.wide[k] = all > 0 && float64(same) >= wideAgreement*float64(all)
	}
}

// candidates are the pairs of households that some compared pair of people brings together, the best of each.
func (h *homes) candidates(pairs []pair) {
	seen := map[uint64]bool{}
	for _, p := range pairs {
		for _, x := range h.f.house.of(int(p.a)) {
			for _, y := range h.f.house.of(int(p.b)) {
				if len(h.members[x]) <= mostMembers && len(h.members[y]) <= mostMembers && h.inA[x] && !h.inA[y] {
					seen[uint64(x)<<32|uint64(y)] = true
				}
			}
		}
	}
	all := make([]uint64, 0, len(seen))
	for k := range seen {
		all = append(all, k)
	}
	slices.Sort(all)
	cands := make([]homePair, len(all))
	for i, k := range all {
		cands[i] = homePair{a: int32(k >> 32), b: int32(uint32(k))}
		h.assess(&cands[i])
	}
	slices.SortFunc(cands, func(x, y homePair) int {
		return cmp.Or(-cmp.Compare(x.bits, y.bits), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	kept := make([]int, len(h.members))
	for _, c := range cands {
		if kept[c.a] < mostRivals || kept[c.b] < mostRivals {
			kept[c.a]++
			kept[c.b]++
			h.cands = append(h.cands, c)
		}
	}
}

// person is the evidence that two members are one, from what is not their household's.
func (h *homes) person(i, j int32) float64 {
	w := 0.0
	for k, c := range h.f.columns {
		if h.wide[k] {
			continue
		}
		if l, x, _ := c.compare(int(i), int(j)); l >= 0 {
			w += log2(max(h.m[k][l], 1e-6)/max(h.u[k][l], 1e-6)) + c.rarity(l, x)
		}
	}
	return w
}

// place is the evidence of what is the household's own, counted once.
func (h *homes) place(a, b int32) float64 {
	w := 0.0
	for k, c := range h.f.columns {
		if !h.wide[k] {
			continue
		}
		if l, x, _ := c.compare(int(h.members[a][0]), int(h.members[b][0])); l >= 0 {
			w += log2(max(h.m[k][l], 1e-6)/max(h.u[k][l], 1e-6)) + c.rarity(l, x)
		}
	}
	return w
}

// assess assigns the members of two households to each other as well as can be. A member without partner costs what it
// costs to have left, or to have come.
func (h *homes) assess(c *homePair) {
	a, b := h.members[c.a], h.members[c.b]
	gone := log2(1 - h.stay)
	weights := make([][]float64, len(a))
	for x, i := range a {
		weights[x] = make([]float64, len(b))
		for y, j := range b {
			weights[x][y] = log2(h.stay) + h.person(i, j) - 2*gone
		}
	}
	gain, partner := matchUp(weights, len(b))
	c.bits = h.place(c.a, c.b) + float64(len(a)+len(b))*gone + gain
	c.pairs = c.pairs[:0]
	for x, y := range partner {
		if y >= 0 {
			c.pairs = append(c.pairs, [2]int32{a[x], b[y]})
		}
	}
}

// matchUp finds the partners with the greatest sum of weights, leaving out those that would lower it.
func matchUp(weights [][]float64, n int) (gain float64, partner []int) {
	states := 1 << n
	best := make([][]float64, len(weights)+1)
	took := make([][]int8, len(weights)+1)
	for x := range best {
		best[x], took[x] = make([]float64, states), make([]int8, states)
		for s := range best[x] {
			best[x][s] = math.Inf(-1)
		}
	}
	best[0][0] = 0
	for x, row := range weights {
		for s, v := range best[x] {
			if math.IsInf(v, -1) {
				continue
			}
			if v > best[x+1][s] {
				best[x+1][s], took[x+1][s] = v, -1
			}
			for y, w := range row {
				if t := s | 1<<y; s&(1<<y) == 0 && w > 0 && v+w > best[x+1][t] {
					best[x+1][t], took[x+1][t] = v+w, int8(y)
				}
			}
		}
	}
	last := best[len(weights)]
	at := 0
	for s, v := range last {
		if v > last[at] {
			at = s
		}
	}
	gain, partner = last[at], make([]int, len(weights))
	for x := len(weights) - 1; x >= 0; x-- {
		y := took[x+1][at]
		partner[x] = int(y)
		if y >= 0 {
			at &^= 1 << y
		}
	}
	return gain, partner
}

func (h *homes) weigh() {
	for i := range h.cands {
		h.assess(&h.cands[i])
	}
}

// share shares each household out among its candidates on the other side, or none.
func (h *homes) share() {
	sides := [2]int{}
	for x := range h.members {
		if len(h.members[x]) > 0 {
			if h.inA[x] {
				sides[0]++
			} else {
				sides[1]++
			}
		}
	}
	metB := min(h.met*float64(sides[0])/float64(max(sides[1], 1)), .98)
	rowSum, colSum := make([]float64, len(h.members)), make([]float64, len(h.members))
	priorA, priorB := h.met/float64(max(sides[1], 1)), metB/float64(max(sides[0], 1))
	for _, c := range h.cands {
		w := math.Exp2(min(c.bits, 60))
		rowSum[c.a] += w * priorA
		colSum[c.b] += w * priorB
	}
	for i := range h.cands {
		c := &h.cands[i]
		w := math.Exp2(min(c.bits, 60))
		c.p = min(w*priorA/(1-h.met+rowSum[c.a]), w*priorB/(1-metB+colSum[c.b]))
	}
}

// fit estimates anew how often members of one household agree, stay, and were met again.
func (h *homes) fit() {
	const strength = 20
	acc := make([][]float64, len(h.m))
	for k, c := range h.f.columns {
		pm, _ := c.scale.priors()
		acc[k] = make([]float64, len(pm))
		for l := range pm {
			acc[k][l] = .05 + strength*pm[l]
		}
	}
	stayed, there, met, all := 30.0, 40.0, 0.0, 0
	for x := range h.members {
		if h.inA[x] && len(h.members[x]) > 0 {
			all++
		}
	}
	for _, c := range h.cands {
		if c.p < .01 {
			continue
		}
		met += c.p
		stayed += 2 * c.p * float64(len(c.pairs))
		there += c.p * float64(len(h.members[c.a])+len(h.members[c.b]))
		for k, col := range h.f.columns {
			if h.wide[k] {
				if l, _, _ := col.compare(int(h.members[c.a][0]), int(h.members[c.b][0])); l >= 0 {
					acc[k][l] += c.p
				}
				continue
			}
			for _, p := range c.pairs {
				if l, _, _ := col.compare(int(p[0]), int(p[1])); l >= 0 {
					acc[k][l] += c.p
				}
			}
		}
	}
	for k, c := range h.f.columns {
		c.scale.normalise(acc[k])
	}
	h.m = acc
	h.stay = min(max(stayed/there, .3), .97)
	h.met = min(max(met/float64(max(all, 1)), .005), .95)
}

// settle takes the likeliest pairs of households, each household once, and links their members, down to the chance at
// which the expected F1 of all links is best.
func (h *homes) settle() []edge {
	order := slices.Clone(h.cands)
	slices.SortFunc(order, func(x, y homePair) int {
		return cmp.Or(-cmp.Compare(x.p, y.p), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	took := make([]bool, len(h.members))
	total := 0.0
	var out []edge
	for _, c := range order {
		free := !took[c.a] && !took[c.b]
		took[c.a], took[c.b] = true, true
		for _, p := range c.pairs {
			q := c.p * probability(log2(h.stay/(1-h.stay))+h.person(p[0], p[1]))
			total += q
			if free && q > leastChance {
				out = append(out, edge{p[0], p[1], q})
			}
		}
	}
	slices.SortFunc(out, func(x, y edge) int {
		return cmp.Or(-cmp.Compare(x.weight, y.weight), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
	})
	right, best, cut := 0.0, 0.0, 0
	for i, e := range out {
		right += e.weight
		if f1 := 2 * right / (float64(i+1) + total); f1 > best {
			best, cut = f1, i+1
		}
	}
	out = out[:cut]
	for i, e := range out {
		out[i].weight = log2(e.weight / (1 - min(e.weight, 1-1e-9)))
	}
	return out
}
