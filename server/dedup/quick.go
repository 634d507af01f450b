package dedup

import (
	"math/bits"
	"slices"
)

// quick is what most pairs of values can be compared by without looking at their texts: a few numbers per value, side by side
// in memory. Where they do not settle the level, the values themselves are compared. Either way the level is that of
// levelOfAtoms. Those of names and dates are kept by the column.
type quick struct {
	numbers []quickNumber
	texts   []quickText
}

// quickNumber is up to fifteen digits, four bits each, the last lowest.
type quickNumber struct {
	digits uint64
	length uint8 // 0 if it is no such number
}

// quickText is which letters a text has.
type quickText struct {
	letters uint64
	length  uint8 // of the part that is compared
}

// hurry prepares a column for quick comparison.
func (c *column) hurry() {
	q := &c.quick
	switch c.kind {
	case kindPhone, kindPlace:
		q.numbers = make([]quickNumber, c.atoms)
		for x := range q.numbers {
			q.numbers[x] = quickNumberOf(c.canons.of(c.canonID[x]))
		}
	case kindText, kindDigits:
		q.texts = make([]quickText, c.atoms)
		for x := range q.texts {
			letters, length := lettersOf(c.canons.of(c.canonID[x]))
			q.texts[x] = quickText{letters, uint8(min(length, maxRunes))}
		}
	}
}

// lettersOf is which of 64 classes of letters occur in the part of a text that is compared, and how long the text is.
func lettersOf(text string) (set uint64, length int) {
	for _, r := range text {
		if length++; length <= maxRunes {
			set |= 1 << (uint32(r) * 0x9E3779B1 >> 26)
		}
	}
	return set, length
}

// quickNumberOf packs digits.
func quickNumberOf(digits string) quickNumber {
	if len(digits) == 0 || len(digits) > 15 {
		return quickNumber{}
	}
	n := quickNumber{length: uint8(len(digits))}
	for i := range len(digits) {
		d := digits[i] - '0'
		if d > 9 {
			return quickNumber{}
		}
		n.digits = n.digits<<4 | uint64(d)
	}
	return n
}

// quickLevel compares two values; -1 says that the texts must be looked at.
func (c *column) quickLevel(x, y int32) int {
	switch c.kind {
	case kindCategory:
		if c.canonID[x] == c.canonID[y] {
			return 0
		}
		return 1
	case kindOrdered:
		if c.canonID[x] == c.canonID[y] {
			return 0
		}
	case kindPerson:
		return c.names[x].level(&c.names[y])
	case kindDate:
		return dateLevel(c.dates[x], c.dates[y])
	case kindPhone:
		if a, b := c.quick.numbers[x], c.quick.numbers[y]; a.length >= 7 && a.length == b.length {
			return a.phoneLevel(b)
		}
	case kindPlace:
		if a, b := c.quick.numbers[x], c.quick.numbers[y]; a.length > 0 && b.length > 0 {
			return a.placeLevel(b)
		}
	case kindText:
		if c.canonID[x] == c.canonID[y] {
			return 0
		}
		return c.quick.texts[x].textLevel(&c.quick.texts[y])
	case kindDigits:
		if c.canonID[x] == c.canonID[y] {
			return 0
		}
		return c.quick.texts[x].digitsLevel(&c.quick.texts[y])
	}
	return -1
}

// level settles names that have nothing in common.
func (n *nameRow) level(o *nameRow) int {
	if !n.han || !o.han {
		return n.spelledLevel(o)
	}
	known := n.familyIsKnown && o.familyIsKnown
	soundFamily := known && n.soundFamily == o.soundFamily
	switch {
	case n.canon == o.canon:
		return nameExact
	case n.sound == o.sound:
		return nameSound
	case n.letters == o.letters && n.length == o.length: // perhaps turned
		return -1
	case n.near == o.near:
		return nameNear
	case n.length > o.length && o.letters&^n.letters == 0, o.length > n.length && n.letters&^o.letters == 0, n.length > maxRunes, o.length > maxRunes:
		return -1
	case !soundFamily && !(known && n.family == o.family):
		return nameDiffers
	case n.last == o.last, !soundFamily, n.spelled == maxRunes || o.spelled == maxRunes:
		return -1
	case lettersApart(n.soundLetters, o.soundLetters) < 2:
		return -1
	case mostAlike(n.soundLetters, o.soundLetters, n.spelled, o.spelled) >= .87:
		return -1
	}
	return nameFamily
}

// spelledLevel settles names of other letters that have too few in common to be alike.
func (n *nameRow) spelledLevel(o *nameRow) int {
	switch {
	case n.sound == o.sound:
		return spelledSame
	case n.han || o.han, n.soundLetters == o.soundLetters && n.spelled == o.spelled, n.near == o.near, n.familyIsKnown && o.familyIsKnown && n.soundFamily == o.soundFamily:
		return -1
	case n.spelled == maxRunes || o.spelled == maxRunes || mostAlike(n.soundLetters, o.soundLetters, n.spelled, o.spelled) >= .88:
		return -1
	}
	return spelledDiffers
}

// lettersApart is how many letters at least one must put in or take out to come from one text to the other; a letter replaced is
// one.
func lettersApart(a, b uint64) int { return max(bits.OnesCount64(a&^b), bits.OnesCount64(b&^a)) }

// oneDigit says whether two different numbers of the same length are one digit, or two neighbours swapped, apart.
func oneDigit(a, b uint64) bool {
	x := a ^ b
	low := bits.TrailingZeros64(x) &^ 3
	x >>= low
	switch {
	case x < 16:
		return true
	case x >= 256:
		return false
	}
	a, b = a>>low&0xff, b>>low&0xff
	return a>>4 == b&15 && b>>4 == a&15
}

// phoneLevel compares two telephone numbers of one length, seven digits and more.
func (a quickNumber) phoneLevel(b quickNumber) int {
	if a.digits == b.digits {
		return 0
	}
	if oneDigit(a.digits, b.digits) {
		return 1
	}
	switch n := bits.TrailingZeros64(a.digits^b.digits) / 4; {
	case n >= 8:
		return 2
	case n >= 4:
		return 3
	}
	return 4
}

// placeLevel is the function of that name for packed codes.
func (a quickNumber) placeLevel(b quickNumber) int {
	short := min(a.length, b.length)
	x := a.digits>>(4*(a.length-short)) ^ b.digits>>(4*(b.length-short))
	same := int(short) - (67-bits.LeadingZeros64(x))/4
	return placeLevelOf(int(short), same)
}

// mostAlike is the most that jaroWinkler can come to for texts with these letters.
func mostAlike(a, b uint64, lengthA, lengthB uint8) float64 {
	la, lb := float64(lengthA), float64(lengthB)
	if lengthA == 0 || lengthB == 0 {
		return 0
	}
	common := min(la-float64(bits.OnesCount64(a&^b)), lb-float64(bits.OnesCount64(b&^a)))
	if common <= 0 {
		return 0
	}
	s := (common/la + common/lb + 1) / 3
	if s < .7 {
		return s + 1e-9
	}
	return s + .4*(1-s) + 1e-9
}

// textLevel settles different texts that have too few letters in common to be alike.
func (a *quickText) textLevel(b *quickText) int {
	if mostAlike(a.letters, b.letters, a.length, b.length) < .7 {
		return 5
	}
	return -1
}

// digitsLevel settles different numbers that are more than two errors apart.
func (a *quickText) digitsLevel(b *quickText) int {
	apart := max(lettersApart(a.letters, b.letters), int(max(a.length, b.length)-min(a.length, b.length)))
	if apart > 2 || apart == 2 && max(a.length, b.length) <= 4 {
		return 3
	}
	return -1
}

// most is the greatest of some bits, and nothing where there are none.
func most(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	return max(0, slices.Max(all))
}
