package dedup

import (
	"cmp"
	"math/bits"
	"slices"
)

// found is what came of comparing all pairs of a blocking.
type found struct {
	edges    []edge // those that weigh worthTrack and more, in order of their records
	compared int64
	truth    int64 // true pairs among those compared, where the truth is known
}

// weigher weighs pairs column by column, the telling and cheap ones first, and stops where nothing that is still to come can
// lift a pair to the floor; so what it keeps is what weighing all pairs in full would keep.
type weigher struct {
	f      *frame
	m      *Model
	floor  float64
	order  []int // columns as they are compared
	chains []chain
	byKey  []int // chain for pairs of each key
	base   func(p *pattern) float64
	known  map[pattern]float64
}

// chain is an upper bound of a weight that grows tighter column by column: the weight there would be if one kind of non-match were
// the only one.
type chain struct {
	start float64
	bits  [][]float64
	rest  []float64 // the most that the columns from each place in the order on can add
}

// newWeigher makes a weigher for pairs of a blocking.
func (m *Model) newWeigher(f *frame, b *blocking) *weigher {
	w := &weigher{f: f, m: m, floor: worthTrack, base: newScorer(m).weight}
	w.arrange()
	if len(m.others) == 0 {
		w.chains = []chain{w.chain(m.prior, m.u, 1e-9)}
		w.byKey = make([]int, len(b.keys))
		return w
	}
	for _, c := range m.others {
		w.chains = append(w.chains, w.chain(log2(m.share)-log2(c.share)+m.shift, c.p, 1e-12))
	}
	for _, k := range b.keys {
		at := slices.IndexFunc(m.others, func(c component) bool { return slices.Equal(c.blocked, k.columnsOf()) })
		if at < 0 {
			at = len(m.others) - 1
		}
		w.byKey = append(w.byKey, at)
	}
	return w
}

// chain makes the bound against one kind of non-match.
func (w *weigher) chain(start float64, p [][]float64, least float64) chain {
	c := chain{start: start, bits: make([][]float64, len(w.order)), rest: make([]float64, len(w.order)+1)}
	for i := len(w.order) - 1; i >= 0; i-- {
		k := w.order[i]
		column := w.f.columns[k]
		canon, sound := most(column.canonBits), most(column.soundBits)
		most := 0.0
		for l := range column.scale {
			bits := log2(max(w.m.mostSame(k, l), least)) - log2(max(p[k][l], least))
			c.bits[i] = append(c.bits[i], bits)
			switch column.counts(l) {
			case 1:
				bits += canon
			case 2:
				bits += sound
			}
			most = max(most, bits)
		}
		c.rest[i] = c.rest[i+1] + most
	}
	return c
}

// arrange puts the columns in order: how far they may move the weight of two different people, which is what the bound
// waits for, for what it takes to compare them.
func (w *weigher) arrange() {
	effort := [kinds]float64{kindText: 4, kindPerson: 2, kindDate: 1, kindPhone: 1, kindResident: 1.5, kindDigits: 2, kindPlace: 1, kindCategory: 1, kindOrdered: 1}
	worth := make([]float64, len(w.f.columns))
	for k, c := range w.f.columns {
		w.order = append(w.order, k)
		up, down := 0.0, 0.0
		for l, u := range w.m.u[k] {
			bits := w.m.bits(k, l)
			down += u * max(0, -bits)
			switch c.counts(l) {
			case 1:
				bits += most(c.canonBits)
			case 2:
				bits += most(c.soundBits)
			}
			up = max(up, bits)
		}
		filled := float64(c.total) / float64(max(w.f.n, 1))
		worth[k] = (up + down*filled*filled) / effort[c.kind]
	}
	slices.SortStableFunc(w.order, func(a, b int) int { return -cmp.Compare(worth[a], worth[b]) })
}

// weigh is the weight of a pair that a key brought together, and whether it reaches the floor.
func (w *weigher) weigh(a, b int32, key int) (float64, bool) {
	p := emptyPattern()
	c := &w.chains[w.byKey[key]]
	bound := c.start
	var rare [maxColumns]float64
	for i, k := range w.order {
		if bound+c.rest[i] < w.floor {
			return 0, false
		}
		column := w.f.columns[k]
		l, x, _ := column.compare(int(a), int(b))
		if l < 0 {
			continue
		}
		p[k] = int8(l)
		rare[k] = column.rarity(l, x)
		bound += c.bits[i][l] + rare[k]
	}
	base, ok := w.known[p]
	if !ok {
		base = w.base(&p)
		w.known[p] = base
	}
	extra := 0.0
	for _, r := range rare[:len(w.order)] { // in order of the columns, as everywhere: sums are the same to the last bit
		extra += r
	}
	return base + extra, base+extra >= w.floor
}

// weighAll weighs all pairs of a blocking. truth, if it is not nil, says of each record whose it is, -1 for unknown.
func (m *Model) weighAll(f *frame, b *blocking, truth []int32) *found {
	return m.newWeigher(f, b).all(b, truth)
}

// all weighs all pairs of a blocking.
func (made *weigher) all(b *blocking, truth []int32) *found {
	f := made.f
	type part struct {
		edges           []edge
		compared, truth int64
	}
	all := make([]part, f.n/1024+1)
	type state struct {
		*weigher
		*walker
	}
	start := func() state {
		mine := *made
		mine.known = map[pattern]float64{}
		return state{&mine, f.newWalker(b.blocks)}
	}
	n := ranges(f.n, start, func(s state, at int, from, to int32) {
		out := &all[at]
		for a := from; a < to; a++ {
			partners := s.of(a)
			out.compared += int64(len(partners))
			for _, c := range partners {
				if truth != nil && truth[a] >= 0 && truth[a] == truth[c] {
					out.truth++
				}
				if w, ok := s.weigh(a, c, bits.TrailingZeros32(s.met[c].keys)); ok {
					out.edges = append(out.edges, edge{a, c, w})
				}
			}
		}
	})
	r := &found{}
	for _, p := range all[:n] {
		r.edges = append(r.edges, p.edges...)
		r.compared += p.compared
		r.truth += p.truth
	}
	return r
}
