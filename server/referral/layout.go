package referral

import (
	"cmp"
	"math"
	"slices"
)

// cousins is the distance of two neighbours who have different recruiters; that of siblings is 1.
const cousins = 1.3

// Gaps between trees, and between people who are a tree by themselves.
const (
	treeGap   = 0.9
	singleGap = 0.2
)

// tidy lays out one forest after Buchheim, Jünger and Leipert (2002), "Improving Walker's algorithm to run in linear
// time": parents above the middle of their children, the same subtree always drawn the same way. It walks without
// recursion, so that a chain may be as long as it likes.
type tidy struct {
	parent                     []int32
	child                      [][]int32
	number                     []int32 // place among the siblings
	depth                      []int32
	prelim, mod, shift, change []float64
	thread, ancestor           []int32
	defaultAncestor            []int32 // by parent
	x                          []float64
	order                      []int32 // parents before children
}

// layTidy computes the horizontal place of each node of a forest in units of one node's width, each tree beginning at 0,
// and the depth of each. Child lists must agree with parents.
func layTidy(parent []int32, child [][]int32) *tidy {
	n := len(parent)
	t := &tidy{
		parent: parent, child: child, number: make([]int32, n), depth: make([]int32, n),
		prelim: make([]float64, n), mod: make([]float64, n), shift: make([]float64, n), change: make([]float64, n),
		thread: make([]int32, n), ancestor: make([]int32, n), defaultAncestor: make([]int32, n), x: make([]float64, n),
	}
	order := topDown(parent)
	t.order = order
	for i := range n {
		t.thread[i], t.ancestor[i], t.defaultAncestor[i] = none, int32(i), none
		for k, c := range child[i] {
			t.number[c] = int32(k)
		}
		if len(child[i]) > 0 {
			t.defaultAncestor[i] = child[i][0]
		}
	}
	for _, v := range order {
		if parent[v] == none {
			t.firstWalk(v)
		}
	}
	for _, v := range order {
		p := parent[v]
		if p == none {
			t.shift[v], t.x[v] = 0, t.prelim[v]
			continue
		}
		t.depth[v] = t.depth[p] + 1
		t.shift[v] = t.shift[p] + t.mod[p]
		t.x[v] = t.prelim[v] + t.shift[v]
	}
	return t
}

// firstWalk visits a tree from below, each node after its children and its left siblings.
func (t *tidy) firstWalk(root int32) {
	type step struct {
		node int32
		next int
	}
	stack := []step{{root, 0}}
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next < len(t.child[top.node]) {
			top.next++
			stack = append(stack, step{t.child[top.node][top.next-1], 0})
			continue
		}
		v := top.node
		stack = stack[:len(stack)-1]
		t.place(v)
		if p := t.parent[v]; p != none {
			t.defaultAncestor[p] = t.apportion(v, t.defaultAncestor[p])
		}
	}
}

// place puts a node above its children and beside its left sibling.
func (t *tidy) place(v int32) {
	left := none
	if t.number[v] > 0 {
		left = t.child[t.parent[v]][t.number[v]-1]
	}
	c := t.child[v]
	if len(c) == 0 {
		if left != none {
			t.prelim[v] = t.prelim[left] + 1
		}
		return
	}
	var shift, change float64
	for i := len(c) - 1; i >= 0; i-- {
		w := c[i]
		t.prelim[w] += shift
		t.mod[w] += shift
		change += t.change[w]
		shift += t.shift[w] + change
	}
	middle := (t.prelim[c[0]] + t.prelim[c[len(c)-1]]) / 2
	if left == none {
		t.prelim[v] = middle
		return
	}
	t.prelim[v] = t.prelim[left] + 1
	t.mod[v] = t.prelim[v] - middle
}

func (t *tidy) nextLeft(v int32) int32 {
	if c := t.child[v]; len(c) > 0 {
		return c[0]
	}
	return t.thread[v]
}

func (t *tidy) nextRight(v int32) int32 {
	if c := t.child[v]; len(c) > 0 {
		return c[len(c)-1]
	}
	return t.thread[v]
}

// apportion moves a subtree away from its left siblings' subtrees, along the contour between them.
func (t *tidy) apportion(v, standard int32) int32 {
	if t.number[v] == 0 {
		return standard
	}
	siblings := t.child[t.parent[v]]
	insideRight, outsideRight := v, v
	insideLeft, outsideLeft := siblings[t.number[v]-1], siblings[0]
	sumIR, sumOR := t.mod[insideRight], t.mod[outsideRight]
	sumIL, sumOL := t.mod[insideLeft], t.mod[outsideLeft]
	for {
		a, b := t.nextRight(insideLeft), t.nextLeft(insideRight)
		if a == none || b == none {
			break
		}
		insideLeft, insideRight = a, b
		outsideLeft, outsideRight = t.nextLeft(outsideLeft), t.nextRight(outsideRight)
		t.ancestor[outsideRight] = v
		if move := t.prelim[insideLeft] + sumIL - t.prelim[insideRight] - sumIR + cousins; move > 0 {
			from := standard
			if t.parent[t.ancestor[insideLeft]] == t.parent[v] {
				from = t.ancestor[insideLeft]
			}
			t.moveSubtree(from, v, move)
			sumIR += move
			sumOR += move
		}
		sumIL += t.mod[insideLeft]
		sumIR += t.mod[insideRight]
		sumOL += t.mod[outsideLeft]
		sumOR += t.mod[outsideRight]
	}
	if r := t.nextRight(insideLeft); r != none && t.nextRight(outsideRight) == none {
		t.thread[outsideRight] = r
		t.mod[outsideRight] += sumIL - sumOR
	}
	if l := t.nextLeft(insideRight); l != none && t.nextLeft(outsideLeft) == none {
		t.thread[outsideLeft] = l
		t.mod[outsideLeft] += sumIR - sumOL
		standard = v
	}
	return standard
}

func (t *tidy) moveSubtree(left, right int32, by float64) {
	between := float64(t.number[right] - t.number[left])
	t.change[right] -= by / between
	t.shift[right] += by
	t.change[left] += by / between
	t.prelim[right] += by
	t.mod[right] += by
}

// treeBox is one tree to be packed: its extent in node widths and levels, and where it came to lie.
type treeBox struct {
	root        int32
	left, width float64
	levels      int
	nodes       int
	shelf       int
	at          float64 // left edge on the shelf, in node widths
}

// shelf is a row of trees whose roots are on one line.
type shelf struct {
	levels int
	width  float64
	boxes  []*treeBox
}

// pack measures each tree and puts the trees on shelves, the tallest first and those of
// one node on shelves of their own, so that the whole is about as wide as a
// landscape page. Ratio is the height of a level in node widths.
func (t *tidy) pack(ratio float64) ([]shelf, []treeBox) {
	box := make([]int32, len(t.parent))
	var boxes []treeBox
	for _, v := range t.order {
		if t.parent[v] == none {
			box[v] = int32(len(boxes))
			boxes = append(boxes, treeBox{root: v, left: t.x[v], width: t.x[v]})
		} else {
			box[v] = box[t.parent[v]]
		}
		b := &boxes[box[v]]
		b.left, b.width = min(b.left, t.x[v]), max(b.width, t.x[v])
		b.levels = max(b.levels, int(t.depth[v])+1)
		b.nodes++
	}
	var area, widest float64
	order := make([]*treeBox, len(boxes))
	for i := range boxes {
		b := &boxes[i]
		b.width += 1 - b.left
		area += (b.width + treeGap) * (float64(b.levels) + 1) * ratio
		widest = max(widest, b.width)
		order[i] = b
	}
	slices.SortStableFunc(order, func(a, b *treeBox) int {
		return cmp.Or(cmp.Compare(b.levels, a.levels), cmp.Compare(b.nodes, a.nodes))
	})
	const page = 1.5 // width to height, with some of it lost between trees
	room := max(widest, math.Sqrt(area*page))
	var shelves []shelf
	for _, b := range order {
		gap := treeGap
		if b.nodes == 1 {
			gap = singleGap
		}
		n := len(shelves)
		if n == 0 || shelves[n-1].width+gap+b.width > room+1e-9 || b.nodes == 1 && shelves[n-1].levels > 1 {
			shelves = append(shelves, shelf{levels: b.levels})
		}
		s := &shelves[len(shelves)-1]
		if len(s.boxes) > 0 {
			s.width += gap
		}
		b.at = s.width
		b.shelf = len(shelves) - 1
		s.width += b.width
		s.boxes = append(s.boxes, b)
	}
	return shelves, boxes
}
