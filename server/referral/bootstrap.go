package referral

import (
	"math"
	"math/rand/v2"
	"sort"
)

// stream is the second half of the state of every random generator here, so that one number makes all draws repeatable.
const stream = 0x9e3779b97f4a7c15

// intervals draws samples and adds standard errors and intervals: the normal interval around the estimate, cut at 0 and 1.
func (d *design) intervals(e *Estimate, o Options) {
	random := rand.New(rand.NewPCG(o.RandomSeed, stream))
	var draw func(*tally)
	if o.Resampling == ByTrees {
		draw = d.treeDrawer(random)
	} else {
		draw = d.chainDrawer(random)
	}
	if draw == nil {
		e.Notes = append(e.Notes, text("nothing to draw from: no intervals", "样本中没有可重抽的链，无法给出区间"))
		return
	}
	levels := len(d.outcome.Levels)
	total, squares := make([]float64, levels), make([]float64, levels)
	t := newTally(levels, d.sizes)
	for range o.Draws {
		t.clear()
		draw(t)
		share := d.apply(t, e.Method)
		if math.IsNaN(sum(share)) {
			continue
		}
		e.Draws++
		for k, v := range share {
			v -= e.Levels[k].Share
			total[k] += v
			squares[k] += v * v
		}
	}
	confidence := o.Confidence
	if confidence == 0 {
		confidence = 0.95
	}
	z := math.Sqrt2 * math.Erfinv(confidence)
	n := float64(e.Draws)
	for k := range e.Levels {
		l := &e.Levels[k]
		if n < 2 || math.IsNaN(l.Share) {
			continue
		}
		l.SE = math.Sqrt(max(0, squares[k]-total[k]*total[k]/n) / (n - 1))
		l.Low, l.High = max(0, l.Share-z*l.SE), min(1, l.Share+z*l.SE)
	}
}

// choice draws an index by weight.
type choice []float64 // running sums

func newChoice(weights []float64) choice {
	c := make(choice, len(weights))
	total := 0.0
	for i, w := range weights {
		total += w
		c[i] = total
	}
	return c
}

func (c choice) empty() bool { return len(c) == 0 || c[len(c)-1] == 0 }

func (c choice) draw(random *rand.Rand) int {
	x := random.Float64() * c[len(c)-1]
	if len(c) <= 8 {
		for i, v := range c {
			if x < v {
				return i
			}
		}
	}
	return min(sort.Search(len(c), func(i int) bool { return x < c[i] }), len(c)-1)
}

// chainDrawer draws one chain as long as there are recruits, and a seed: the next level follows the last as recruits
// follow recruiters, the network size is that of anybody of the level.
func (d *design) chainDrawer(random *rand.Rand) func(*tally) {
	t := d.tally()
	levels := t.levels()
	var pool []int32 // levels of all who answered
	sizes := make([][]int32, levels)
	recruits := 0
	for _, i := range d.rows {
		k := d.outcome.Level[i]
		if k == Unknown {
			continue
		}
		pool = append(pool, k)
		sizes[k] = append(sizes[k], d.sizeAt[i])
		if d.s.Wave[i] > 0 {
			recruits++
		}
	}
	if len(pool) == 0 || recruits == 0 {
		return nil
	}
	all := make([]float64, levels) // whom all recruited, for levels that recruited nobody
	for _, row := range t.moves {
		for k, v := range row {
			all[k] += v
		}
	}
	next := make([]choice, levels)
	for k, row := range t.moves {
		if next[k] = newChoice(row); next[k].empty() {
			next[k] = newChoice(all)
		}
	}
	if next[0].empty() { // nobody recruited anybody whose level is known
		return nil
	}
	return func(to *tally) {
		k := int(pool[random.IntN(len(pool))])
		for i := range recruits + 1 {
			if i > 0 {
				from := k
				k = next[from].draw(random)
				to.moves[from][k]++
			}
			if len(sizes[k]) > 0 {
				to.count[k][sizes[k][random.IntN(len(sizes[k]))]]++
			}
		}
	}
}

// treeDrawer draws as many roots as there are, then for each person drawn as many of his recruits as he has, all with
// replacement.
func (d *design) treeDrawer(random *rand.Rand) func(*tally) {
	child := make([][]int32, len(d.s.IDs))
	var roots []int32
	for _, i := range d.rows {
		if r := d.s.Recruiter[i]; r != Unknown && d.in[r] {
			child[r] = append(child[r], i)
		} else {
			roots = append(roots, i)
		}
	}
	if len(roots) == 0 {
		return nil
	}
	most := 50 * len(d.rows) // trees grow as they are, on average; this is for the odd draw that does not end
	type drawn struct{ row, level int32 }
	var stack []drawn
	return func(to *tally) {
		left := most
		for range roots {
			stack = append(stack[:0], drawn{roots[random.IntN(len(roots))], Unknown})
			for len(stack) > 0 && left > 0 {
				left--
				x := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				k := d.outcome.Level[x.row]
				if k == Unknown {
					to.count[to.levels()][d.sizeAt[x.row]]++
				} else {
					to.count[k][d.sizeAt[x.row]]++
					if x.level != Unknown {
						to.moves[x.level][k]++
					}
				}
				for range child[x.row] {
					stack = append(stack, drawn{child[x.row][random.IntN(len(child[x.row]))], k})
				}
			}
		}
	}
}
