package dedup

import (
	"hash/maphash"
	"strings"
)

// texts is many texts, one behind the other in one piece of memory: a million of them are as little to look after as one.
type texts struct {
	all  string
	ends []uint32
}

// of is a text by its number.
func (t *texts) of(i int32) string {
	start := uint32(0)
	if i > 0 {
		start = t.ends[i-1]
	}
	return t.all[start:t.ends[i]]
}

func (t *texts) len() int { return len(t.ends) }

// length is how long a text is, in bytes.
func (t *texts) length(i int32) int { return len(t.of(i)) }

// interner numbers texts in the order in which they come.
type interner struct {
	slots  []int32 // number of a text plus one; 0 is free
	hashes []uint32
	all    strings.Builder
	ends   []uint32
}

// hashSeed makes the hashes of interners; numbers do not depend on it.
var hashSeed = maphash.MakeSeed()

// newInterner makes one; the empty text is number 0.
func newInterner() *interner {
	in := &interner{slots: make([]int32, 64)}
	in.add("")
	return in
}

// add gives the number of a text.
func (in *interner) add(text string) int32 {
	if text == "" && len(in.ends) > 0 {
		return 0
	}
	h := uint32(maphash.String(hashSeed, text))
	mask := uint32(len(in.slots) - 1)
	i := h & mask
	for in.slots[i] != 0 {
		n := in.slots[i] - 1
		if in.hashes[n] == h && in.of(n) == text {
			return n
		}
		i = (i + 1) & mask
	}
	n := in.push(text)
	in.hashes = append(in.hashes, h)
	in.slots[i] = n + 1
	if 2*len(in.ends) > len(in.slots) {
		in.grow()
	}
	return n
}

// push numbers a text that is known to be new. An interner that was pushed to must not be asked to add.
func (in *interner) push(text string) int32 {
	in.all.WriteString(text)
	in.ends = append(in.ends, uint32(in.all.Len()))
	return int32(len(in.ends) - 1)
}

func (in *interner) of(n int32) string {
	t := texts{in.all.String(), in.ends}
	return t.of(n)
}

// grow doubles the slots.
func (in *interner) grow() {
	in.slots = make([]int32, 2*len(in.slots))
	mask := uint32(len(in.slots) - 1)
	for n, h := range in.hashes {
		i := h & mask
		for in.slots[i] != 0 {
			i = (i + 1) & mask
		}
		in.slots[i] = int32(n) + 1
	}
}

// texts is what was numbered.
func (in *interner) texts() texts { return texts{in.all.String(), in.ends} }
