package dedup

import (
	"math/bits"
	"slices"
)

// quick is what most pairs of values can be compared by without looking at their texts: a few numbers per value, side by side
// in memory. Where they do not settle the level, the values themselves are compared. Either way the level is that of
// levelOfAtoms.
type quick struct {
	names   []quickName
	dates   []quickDate
	numbers []quickNumber
	texts   []quickText
	ids     []int32
}

// quickName numbers the readings of a name.
type quickName struct {
	canon, sound, near, family, soundFamily int32
	reversed, reversedSound                 int32 // the number that the turned name would have as canon or sound; -1 if none has it
	letters, soundLetters                   uint64
	last                                    rune  // character
	length                                  uint8 // of the characters
	spelled                                 uint8 // length of the sound
	han                                     bool
}

// quickDate is a full date; day 0 stands for others.
type quickDate struct {
	days   int32
	digits uint32 // eight decimal digits, four bits each
}

// quickNumber is up to fifteen digits, four bits each, the last lowest.
type quickNumber struct {
	digits uint64
	length uint8 // 0 if it is no such number
}

// quickText is which letters a text has.
type quickText struct {
	letters uint64
	canon   int32
	length  uint8 // of the part that is compared
}

// hurry prepares a column for quick comparison.
func (c *column) hurry() {
	q := &c.quick
	switch c.kind {
	case kindPerson:
		q.names = quickNames(c.atoms)
	case kindDate:
		q.dates = make([]quickDate, len(c.atoms))
		for i := range c.atoms {
			if d := c.atoms[i].date; d.day > 0 {
				n := quickNumberOf(d.digits)
				q.dates[i] = quickDate{d.days, uint32(n.digits)}
			}
		}
	case kindPhone, kindPlace:
		q.numbers = make([]quickNumber, len(c.atoms))
		for i := range c.atoms {
			q.numbers[i] = quickNumberOf(c.atoms[i].canon)
		}
	case kindCategory, kindOrdered:
		q.ids = make([]int32, len(c.atoms))
		for i := range c.atoms {
			q.ids[i] = c.atoms[i].canonID
		}
	case kindText, kindDigits:
		q.texts = make([]quickText, len(c.atoms))
		for i := range c.atoms {
			r := clip(c.atoms[i].text.runes)
			q.texts[i] = quickText{lettersOf(r), c.atoms[i].canonID, uint8(len(r))}
		}
	}
}

// quickNames numbers the readings of names.
func quickNames(atoms []atom) []quickName {
	near, family, soundFamily := newInterner(), newInterner(), newInterner()
	canons, sounds := make(map[string]int32, len(atoms)), make(map[string]int32, len(atoms))
	for i := range atoms {
		canons[atoms[i].canon], sounds[atoms[i].sound] = atoms[i].canonID, atoms[i].soundID
	}
	find := func(m map[string]int32, text string) int32 {
		if n, ok := m[text]; ok {
			return n
		}
		return -1
	}
	out := make([]quickName, len(atoms))
	for i := range atoms {
		a := &atoms[i]
		n := a.name
		out[i] = quickName{
			canon: a.canonID, sound: a.soundID, near: near.add(n.near), family: family.add(n.family), soundFamily: soundFamily.add(n.soundFamily),
			reversed: -1, reversedSound: -1, length: uint8(min(len(n.folded), 255)), spelled: uint8(min(len(n.sound), maxRunes)), han: n.han,
		}
		out[i].letters, out[i].soundLetters = lettersOf(n.folded), lettersOf(clip(n.sound))
		if len(n.folded) > 0 {
			out[i].last = n.folded[len(n.folded)-1]
		}
		if n.familyIsKnown {
			out[i].reversed, out[i].reversedSound = find(canons, n.reversed), find(sounds, n.reversedSound)
		} else {
			out[i].family, out[i].soundFamily = -1-int32(i), -1-int32(i)
		}
	}
	return out
}

// lettersOf is which of 64 classes of letters occur.
func lettersOf(runes []rune) uint64 {
	set := uint64(0)
	for _, r := range runes {
		set |= 1 << (uint32(r) * 0x9E3779B1 >> 26)
	}
	return set
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
		if c.quick.ids[x] == c.quick.ids[y] {
			return 0
		}
		return 1
	case kindOrdered:
		if c.quick.ids[x] == c.quick.ids[y] {
			return 0
		}
	case kindPerson:
		return c.quick.names[x].level(&c.quick.names[y])
	case kindDate:
		if a, b := c.quick.dates[x], c.quick.dates[y]; a.digits != 0 && b.digits != 0 {
			return a.level(b)
		}
	case kindPhone:
		if a, b := c.quick.numbers[x], c.quick.numbers[y]; a.length >= 7 && a.length == b.length {
			return a.phoneLevel(b)
		}
	case kindPlace:
		if a, b := c.quick.numbers[x], c.quick.numbers[y]; a.length > 0 && b.length > 0 {
			return a.placeLevel(b)
		}
	case kindText:
		return c.quick.texts[x].textLevel(&c.quick.texts[y])
	case kindDigits:
		return c.quick.texts[x].digitsLevel(&c.quick.texts[y])
	}
	return -1
}

// level settles names that have nothing in common.
func (a *quickName) level(b *quickName) int {
	if !a.han || !b.han {
		return a.spelledLevel(b)
	}
	switch {
	case a.canon == b.canon:
		return nameExact
	case a.sound == b.sound:
		return nameSound
	case a.reversed == b.canon || b.reversed == a.canon:
		return -1
	case a.near == b.near:
		return nameNear
	case a.length > b.length && b.letters&^a.letters == 0, b.length > a.length && a.letters&^b.letters == 0:
		return -1
	case a.soundFamily != b.soundFamily && a.family != b.family:
		return nameDiffers
	case a.last == b.last, a.soundFamily != b.soundFamily, a.spelled == maxRunes || b.spelled == maxRunes:
		return -1
	case lettersApart(a.soundLetters, b.soundLetters) < 2:
		return -1
	case mostAlike(a.soundLetters, b.soundLetters, a.spelled, b.spelled) >= .87:
		return -1
	}
	return nameFamily
}

// lettersApart is how many letters at least one must put in or take out to come from one text to the other; a letter replaced is
// one.
func lettersApart(a, b uint64) int { return max(bits.OnesCount64(a&^b), bits.OnesCount64(b&^a)) }

// spelledLevel settles names of other letters that have too few in common to be alike.
func (a *quickName) spelledLevel(b *quickName) int {
	switch {
	case a.sound == b.sound:
		return spelledSame
	case a.han || b.han, a.reversedSound == b.sound, b.reversedSound == a.sound, a.near == b.near, a.soundFamily == b.soundFamily:
		return -1
	case a.spelled == maxRunes || b.spelled == maxRunes || mostAlike(a.soundLetters, b.soundLetters, a.spelled, b.spelled) >= .88:
		return -1
	}
	return spelledDiffers
}

// level compares two full dates.
func (a quickDate) level(b quickDate) int {
	x := a.digits ^ b.digits
	year, month, day := x>>16 == 0, x>>8&0xff == 0, x&0xff == 0
	days := apart(a.days, b.days)
	switch {
	case x == 0:
		return dateExact
	case year && a.digits>>8&0xff == b.digits&0xff && a.digits&0xff == b.digits>>8&0xff, oneDigit(uint64(a.digits), uint64(b.digits)):
		return dateTypo
	case year && (month || day) || month && day:
		return dateTwoParts
	case days <= 59:
		return dateLunar
	case year:
		return dateSameYear
	case days <= 400:
		return dateYearOff
	}
	return dateDiffers
}

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

// textLevel settles texts that have too few letters in common to be alike.
func (a *quickText) textLevel(b *quickText) int {
	if a.canon == b.canon {
		return 0
	}
	if mostAlike(a.letters, b.letters, a.length, b.length) < .7 {
		return 5
	}
	return -1
}

// digitsLevel settles numbers that are more than two errors apart.
func (a *quickText) digitsLevel(b *quickText) int {
	if a.canon == b.canon {
		return 0
	}
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
