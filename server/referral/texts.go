package referral

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"hash/maphash"
	"slices"
)

// slot is one text in 16 bytes: the bytes of a UUID, a text of up to 15 bytes, or where a longer one lies. The ninth byte
// tells which: in a UUID its first bits are 10; else it is the length, or longWord.
type slot [16]byte

const (
	kindByte   = 8
	shortLimit = 15
	longWord   = 0xff
	uuidLength = 36
)

// texts numbers texts, so that a million ids take some megabytes without a pointer in them. The same text has the same
// number, unless it was only appended.
type texts struct {
	words []slot
	long  []byte  // the longer texts, one after the other
	index []int32 // by hash: a number and one, 0 for none; the size is a power of two
	held  int     // how many are in the index
	last  int32   // the one asked for last: an interview names its respondent again and again
	seed  maphash.Seed
}

func newTexts(n int) *texts {
	t := &texts{words: make([]slot, 0, n), seed: maphash.MakeSeed()}
	if n > 0 {
		t.reindex(n)
	}
	return t
}

// reindex makes the index fit for so many.
func (t *texts) reindex(n int) {
	size := 64
	for 2*size < 3*n {
		size *= 2
	}
	old := t.index
	t.index = make([]int32, size)
	for _, x := range old {
		if x != 0 {
			t.index[t.free(&t.words[x-1])] = x
		}
	}
}

// free is where the index has room for a word that is not in it.
func (t *texts) free(w *slot) int {
	at := t.hash(w) & (len(t.index) - 1)
	for t.index[at] != 0 {
		at = (at + 1) & (len(t.index) - 1)
	}
	return at
}

func (t *texts) hash(w *slot) int {
	if w[kindByte] == longWord {
		return int(maphash.Bytes(t.seed, t.longText(w)))
	}
	return int(maphash.Bytes(t.seed, w[:]))
}

func (t *texts) longText(w *slot) []byte {
	at, n := binary.LittleEndian.Uint32(w[:]), binary.LittleEndian.Uint32(w[4:])
	return t.long[at : at+n]
}

// find looks a text up.
func (t *texts) find(s []byte) (int32, bool) {
	if len(t.index) == 0 {
		return none, false
	}
	w, long := pack(s)
	hashed := maphash.Bytes(t.seed, w[:])
	if long {
		hashed = maphash.Bytes(t.seed, s)
	}
	for at := int(hashed) & (len(t.index) - 1); t.index[at] != 0; at = (at + 1) & (len(t.index) - 1) {
		x := &t.words[t.index[at]-1]
		if *x == w || long && x[kindByte] == longWord && bytes.Equal(t.longText(x), s) {
			return t.index[at] - 1, true
		}
	}
	return none, false
}

// number is the number of a text, which is added if it is new.
func (t *texts) number(s []byte) int32 {
	if int(t.last) < len(t.words) {
		if w, long := pack(s); !long && w == t.words[t.last] && t.held > 0 {
			return t.last
		}
	}
	i, ok := t.find(s)
	if ok {
		t.last = i
		return i
	}
	if 3*(t.held+1) > 2*len(t.index) {
		t.reindex(2 * (t.held + 1))
	}
	i = t.append(s)
	t.index[t.free(&t.words[i])] = i + 1
	t.held++
	t.last = i
	return i
}

// append adds a text without looking whether it is there; it will not be found.
func (t *texts) append(s []byte) int32 {
	w, long := pack(s)
	if long {
		binary.LittleEndian.PutUint32(w[:], uint32(len(t.long)))
		binary.LittleEndian.PutUint32(w[4:], uint32(len(s)))
		t.long = append(t.long, s...)
	}
	t.words = append(t.words, w)
	return int32(len(t.words) - 1)
}

// pack puts a text into a word; of a long one only that it is long.
func pack(s []byte) (w slot, long bool) {
	if len(s) == uuidLength && parseUUID(&w, s) {
		return w, false
	}
	if len(s) > shortLimit {
		return slot{kindByte: longWord}, true
	}
	n := copy(w[:kindByte], s)
	copy(w[kindByte+1:], s[n:])
	w[kindByte] = byte(len(s))
	return w, false
}

// parseUUID reads a UUID as it is written everywhere: in small letters, of the usual variant.
func parseUUID(w *slot, s []byte) bool {
	at := 0
	for i := 0; i < uuidLength; i += 2 {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
			i++
		}
		high, low := hexDigit[s[i]], hexDigit[s[i+1]]
		if high|low > 15 {
			return false
		}
		w[at] = high<<4 | low
		at++
	}
	return isUUID(w)
}

func isUUID(w *slot) bool { return w[kindByte]&0xc0 == 0x80 }

// hexDigit is the value of each hexadecimal digit in small letters, and more than 15 for all else.
var hexDigit = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()

// put appends a text to b.
func (t *texts) put(b []byte, i int32) []byte {
	if i < 0 {
		return b
	}
	w := &t.words[i]
	switch {
	case isUUID(w):
		for k, n := range [...]int{4, 6, 8, 10, 16} {
			if k > 0 {
				b = append(b, '-')
			}
			b = hex.AppendEncode(b, w[[...]int{0, 4, 6, 8, 10}[k]:n])
		}
		return b
	case w[kindByte] == longWord:
		return append(b, t.longText(w)...)
	}
	n := int(w[kindByte])
	return append(append(b, w[:min(n, kindByte)]...), w[kindByte+1:max(n, kindByte)+1]...)
}

// text is the text of a number, empty for none.
func (t *texts) text(i int32) string {
	var b [64]byte
	return string(t.put(b[:0], i))
}

// empty says that a number stands for no text.
func (t *texts) empty(i int32) bool { return i < 0 || t.words[i] == slot{} }

// compare orders two numbers as their texts; none is as the empty text.
func (t *texts) compare(x, y int32) int {
	if x == y {
		return 0
	}
	if x >= 0 && y >= 0 && isUUID(&t.words[x]) && isUUID(&t.words[y]) {
		return bytes.Compare(t.words[x][:], t.words[y][:])
	}
	var a, b [64]byte
	return bytes.Compare(t.put(a[:0], x), t.put(b[:0], y))
}

// order sorts all numbers by their texts.
func (t *texts) order() []int32 {
	uuids := true
	for i := range t.words {
		uuids = uuids && isUUID(&t.words[i])
	}
	type keyed struct {
		key uint64 // how the text begins
		at  int32
	}
	list := make([]keyed, len(t.words))
	for i := range list {
		list[i].at = int32(i)
		if uuids {
			list[i].key = binary.BigEndian.Uint64(t.words[i][:])
			continue
		}
		var b [64]byte
		s := append(t.put(b[:0], int32(i)), 0, 0, 0, 0, 0, 0, 0, 0)
		list[i].key = binary.BigEndian.Uint64(s)
	}
	slices.SortFunc(list, func(x, y keyed) int {
		if x.key != y.key {
			return cmp.Compare(x.key, y.key)
		}
		return t.compare(x.at, y.at)
	})
	out := make([]int32, len(list))
	for i := range list {
		out[i] = list[i].at
	}
	return out
}

// arrange puts the texts into the order of a list of their numbers: the one at list[i] becomes number i. It returns the
// new numbers by the old ones.
func (t *texts) arrange(list []int32) []int32 {
	words, fresh := make([]slot, len(list)), make([]int32, len(list))
	for i, x := range list {
		words[i], fresh[x] = t.words[x], int32(i)
	}
	t.words = words
	for at, x := range t.index {
		if x != 0 {
			t.index[at] = fresh[x-1] + 1
		}
	}
	return fresh
}

// all makes the texts of all numbers, which share their bytes.
func (t *texts) all() []string {
	var b []byte
	ends := make([]int, len(t.words))
	for i := range t.words {
		b = t.put(b, int32(i))
		ends[i] = len(b)
	}
	whole, out, from := string(b), make([]string, len(ends)), 0
	for i, to := range ends {
		out[i] = whole[from:to]
		from = to
	}
	return out
}
