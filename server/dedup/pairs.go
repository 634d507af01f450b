package dedup

import (
	"runtime"
	"slices"
	"sync"
)

// pair is two records to be compared, a before b.
type pair struct {
	a, b    int32
	keys    uint64 // bit k: blocking key k brought them together
	pattern int32  // index of the levels found
}

// entry is one record in one block.
type entry struct {
	hash uint64
	row  int32
}

// entries appends what a record emits under a key: every combination of its values, up to a bound.
func (k *key) entries(out []entry, row int32) []entry {
	var single [3]uint64
	for i, p := range k.parts {
		atoms := p.rows.of(int(row))
		if len(atoms) == 0 {
			return out
		}
		if len(atoms) > 1 {
			return k.combinations(out, row)
		}
		if single[i] = p.byAtom[atoms[0]]; single[i] == 0 {
			return out
		}
	}
	h := single[0]
	for i := 1; i < len(k.parts); i++ {
		h = mix(h, single[i])
	}
	return append(out, entry{h, row})
}

// combinations is entries for a record with several values.
func (k *key) combinations(out []entry, row int32) []entry {
	lists := make([][]uint64, len(k.parts))
	for i, p := range k.parts {
		lists[i] = p.hashes(nil, row)
	}
	for _, h := range combine(nil, lists) {
		out = append(out, entry{h, row})
	}
	return out
}

// blocks is which records share the values of which keys: the members of all blocks of two and more that are small enough,
// key by key, block by block, in order of their rows.
type blocks struct {
	members []int32
	ends    []int32 // where the block of a member ends
	keys    []int32 // where the members of each key begin; one more than there are keys
	places  lists[int32]
	of      []*key // none where they are not those of keys
	rosters bool
}

// keyBlocks are the blocks of one key.
type keyBlocks struct{ members, ends []int32 }

// blocksOf makes the blocks of keys, several keys at once. Those of keys that others were made of before are taken from there.
func (f *frame) blocksOf(keys []*key, maxBlock int, before *blocks) *blocks {
	all := make([]keyBlocks, len(keys))
	eachWith(len(keys), func() *sorter { return &sorter{} }, func(s *sorter, i int) {
		if before != nil {
			if at := slices.Index(before.of, keys[i]); at >= 0 {
				all[i] = before.key(at)
				return
			}
		}
		s.entries = s.entries[:0]
		for row := range f.n {
			s.entries = keys[i].entries(s.entries, int32(row))
		}
		all[i] = s.cut(maxBlock)
	})
	b := f.newBlocks(all, false)
	b.of = keys
	return b
}

// key is the blocks of one key by themselves.
func (b *blocks) key(at int) keyBlocks {
	from, to := b.keys[at], b.keys[at+1]
	out := keyBlocks{b.members[from:to:to], slices.Clone(b.ends[from:to])}
	for i := range out.ends {
		out.ends[i] -= from
	}
	return out
}

// newBlocks puts the blocks of keys together. rosters says that they are those of rosters, whose records are apart otherwise.
func (f *frame) newBlocks(all []keyBlocks, rosters bool) *blocks {
	b := &blocks{rosters: rosters, keys: make([]int32, 1, len(all)+1)}
	total := 0
	for _, m := range all {
		total += len(m.members)
	}
	b.members, b.ends = make([]int32, 0, total), make([]int32, 0, total)
	for i, m := range all {
		start := int32(len(b.members))
		b.members = append(b.members, m.members...)
		for _, e := range m.ends {
			b.ends = append(b.ends, e+start)
		}
		b.keys = append(b.keys, int32(len(b.members)))
		all[i] = keyBlocks{}
	}
	b.places = lists[int32]{start: make([]int32, f.n+1), all: make([]int32, total)}
	for _, row := range b.members {
		b.places.start[row+1]++
	}
	for i := range f.n {
		b.places.start[i+1] += b.places.start[i]
	}
	at := slices.Clone(b.places.start)
	for p, row := range b.members {
		b.places.all[at[row]] = int32(p)
		at[row]++
	}
	return b
}

// sorter makes blocks of entries, with the same memory for one key after the other.
type sorter struct{ entries, spare []entry }

// cut sorts the entries and keeps the blocks of two to maxBlock records.
func (s *sorter) cut(maxBlock int) keyBlocks {
	s.sort()
	all := s.entries
	blocks := func(keep func(from, to, rows int)) {
		for from := 0; from < len(all); {
			to, rows := from+1, 1
			for ; to < len(all) && all[to].hash == all[from].hash; to++ {
				if all[to].row != all[to-1].row {
					rows++
				}
			}
			if rows > 1 && rows <= maxBlock {
				keep(from, to, rows)
			}
			from = to
		}
	}
	total := 0
	blocks(func(_, _, rows int) { total += rows })
	out := keyBlocks{make([]int32, 0, total), make([]int32, 0, total)}
	blocks(func(from, to, rows int) {
		end := int32(len(out.members) + rows)
		for i := from; i < to; i++ {
			if i == from || all[i].row != all[i-1].row {
				out.members, out.ends = append(out.members, all[i].row), append(out.ends, end)
			}
		}
	})
	return out
}

// sort sorts by hash, entries of one hash as they stand: two passes over 12 bits each, and the few that are left by
// insertion.
func (s *sorter) sort() {
	const bits = 12
	if cap(s.spare) < len(s.entries) {
		s.spare = make([]entry, len(s.entries), cap(s.entries))
	}
	all, spare := s.entries, s.spare[:len(s.entries)]
	for _, shift := range [2]int{64 - 2*bits, 64 - bits} {
		var at [1<<bits + 1]int32
		for _, e := range all {
			at[e.hash>>shift&(1<<bits-1)+1]++
		}
		for i := range 1 << bits {
			at[i+1] += at[i]
		}
		for _, e := range all {
			d := e.hash >> shift & (1<<bits - 1)
			spare[at[d]] = e
			at[d]++
		}
		all, spare = spare, all
	}
	for i := 1; i < len(all); i++ {
		e := all[i]
		j := i
		for ; j > 0 && all[j-1].hash > e.hash; j-- {
			all[j] = all[j-1]
		}
		all[j] = e
	}
}

// walker goes through the pairs of one record with later ones.
type walker struct {
	f     *frame
	b     *blocks
	met   []meeting
	found []int32
}

// meeting is by whom a record was last met, plus one, and under which keys.
type meeting struct {
	by   int32
	keys uint32
}

// newWalker makes one for one goroutine.
func (f *frame) newWalker(b *blocks) *walker {
	return &walker{f: f, b: b, met: make([]meeting, f.n)}
}

// of lists the records behind a that share a block with it, with the keys they share in w.met. The list is good until the next
// call.
func (w *walker) of(a int32) []int32 {
	w.found = w.found[:0]
	k := 0
	for _, p := range w.b.places.of(int(a)) {
		for p >= w.b.keys[k+1] {
			k++
		}
		for _, b := range w.b.members[p+1 : w.b.ends[p]] {
			m := &w.met[b]
			if m.by == a+1 {
				m.keys |= 1 << k
				continue
			}
			*m = meeting{a + 1, 1 << k}
			if w.b.rosters || !w.f.apart(a, b) {
				w.found = append(w.found, b)
			}
		}
	}
	return w.found
}

// ranges cuts n records into ranges and has each done by one of as many goroutines as there are cores; start makes what one of
// them needs. The order of what is done is not settled, the ranges are.
func ranges[T any](n int, start func() T, do func(state T, part int, from, to int32)) (parts int) {
	const size = 2048
	parts = (n + size - 1) / size
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(parts, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			state := start()
			for p := range next {
				do(state, p, int32(p*size), int32(min(n, (p+1)*size)))
			}
		})
	}
	for p := range parts {
		next <- p
	}
	close(next)
	wg.Wait()
	return parts
}

// mostLearnt is about how many pairs at most a model is learnt from.
const mostLearnt = 400_000

// draw counts the pairs of a blocking and draws those to learn from: all, or each with the same chance, which depends on
// nothing but the two records.
func (f *frame) draw(b *blocking) {
	most := int64(0)
	for p, end := range b.blocks.ends {
		most += int64(end) - int64(p) - 1
	}
	if most > mostLearnt && most < 8*mostLearnt { // many keys bring the same pairs together
		_, most = f.pairs(b.blocks, 0)
	}
	b.share = min(1, mostLearnt/float64(max(most, 1)))
	b.pairs, b.compared = f.pairs(b.blocks, b.share)
}

// pairs draws a share of the pairs of blocks, and counts them all.
func (f *frame) pairs(b *blocks, share float64) (drawn []pair, all int64) {
	bar := uint64(share * (1 << 32))
	parts := make([][]pair, f.n/1024+1)
	counts := make([]int64, len(parts))
	n := ranges(f.n, func() *walker { return f.newWalker(b) }, func(w *walker, part int, from, to int32) {
		for a := from; a < to; a++ {
			for _, c := range w.of(a) {
				counts[part]++
				if share < 1 && mix(uint64(a), uint64(c))>>32 >= bar {
					continue
				}
				parts[part] = append(parts[part], pair{a: a, b: c, keys: uint64(w.met[c].keys)})
			}
		}
	})
	for i, p := range parts[:n] {
		drawn = append(drawn, p...)
		all += counts[i]
	}
	return drawn, all
}
