package dedup

import "math"

// counter counts hashes without sorting them; it is used again for every candidate key.
type counter struct {
	mask   uint64
	hashes []uint64
	counts []int32
	round  []int32 // a slot is taken if its round is the current one
	now    int32
	taken  []int32
}

// newCounter makes one for n entries and grows when there are more.
func newCounter(n int) *counter {
	c := &counter{}
	c.grow(n)
	return c
}

// grow makes room for n entries, half the slots free.
func (c *counter) grow(n int) {
	size := 64
	for size < 2*n {
		size *= 2
	}
	*c = counter{mask: uint64(size - 1), hashes: make([]uint64, size), counts: make([]int32, size), round: make([]int32, size)}
}

// cost counts the pairs in the blocks of entries that are small enough, and the share of entries in larger ones. Where the
// entries are a sample, one of scale, it says what is to be expected of all.
func (c *counter) cost(all []entry, maxBlock int, scale float64) (pairs int64, lost float64) {
	if len(all) == 0 {
		return 0, 1
	}
	if 2*len(all) > len(c.hashes) {
		c.grow(len(all))
	}
	c.now++
	c.taken = c.taken[:0]
	for _, e := range all {
		i := e.hash & c.mask
		for c.round[i] == c.now && c.hashes[i] != e.hash {
			i = (i + 1) & c.mask
		}
		if c.round[i] != c.now {
			c.round[i], c.hashes[i], c.counts[i] = c.now, e.hash, 0
			c.taken = append(c.taken, int32(i))
		}
		c.counts[i]++
	}
	large := 0
	for _, i := range c.taken {
		if n := int64(c.counts[i]); float64(n)*scale > float64(maxBlock)+math.Sqrt(scale-1)*2 {
			large += int(n)
		} else {
			pairs += n * (n - 1) / 2
		}
	}
	return int64(float64(pairs) * scale * scale), float64(large) / float64(len(all))
}
