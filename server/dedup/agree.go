package dedup

import (
	"strings"
	"unicode/utf8"
)

// levelOfAtoms compares two values of a kind.
func levelOfAtoms(k kind, x, y *atom) int {
	switch k {
	case kindPerson:
		return nameLevel(x, y)
	case kindDate:
		return dateLevel(*x.date, *y.date)
	case kindPhone:
		return phoneLevel(x, y)
	case kindResident:
		return residentLevel(x.canon, y.canon)
	case kindDigits:
		return digitsLevel(x, y)
	case kindPlace:
		return placeLevel(x.canon, y.canon)
	case kindCategory:
		if x.canon == y.canon {
			return 0
		}
		return 1
	case kindOrdered:
		return orderedLevel(x.canon, y.canon)
	}
	return textLevel(x, y)
}

// textLevel compares by Jaro-Winkler.
func textLevel(x, y *atom) int {
	if x.canon == y.canon {
		return 0
	}
	switch s := jaroWinkler(x.canon, y.canon); {
	case s >= .94:
		return 1
	case s >= .88:
		return 2
	case s >= .8:
		return 3
	case s >= .7:
		return 4
	}
	return 5
}

// nameLevel compares two names of people.
func nameLevel(x, y *atom) int {
	a, b := x.name, y.name
	family := a.familyIsKnown && b.familyIsKnown && a.soundFamily == b.soundFamily
	if !a.han || !b.han {
		return spelledLevel(x, y, family)
	}
	sameFamily := a.familyIsKnown && a.family == b.family
	switch {
	case x.canon == y.canon:
		return nameExact
	case x.sound == y.sound:
		return nameSound
	case a.familyIsKnown && b.familyIsKnown && (a.turned(y.canon) || b.turned(x.canon)), sameCharacters(a.folded, b.folded):
		return nameReversed
	case a.near == b.near || family && longer(a.sound, 5) && oneApart(a.sound, b.sound):
		return nameNear
	case partOf(a.folded, b.folded, sameFamily):
		return namePart
	case family && jaroWinkler(a.sound, b.sound) >= .87:
		return nameSimilar
	case family:
		return nameFamily
	}
	return nameDiffers
}

// sameCharacters says whether two short texts have the same characters in another order, as of names that were written from right
// to left or typed too fast.
func sameCharacters(a, b string) bool {
	if len(a) != len(b) || len(a) > 24 {
		return false
	}
	for _, r := range a {
		if strings.Count(a, string(r)) != strings.Count(b, string(r)) {
			return false
		}
	}
	return true
}

// longer says whether a text has more than n characters.
func longer(text string, n int) bool { return utf8.RuneCountInString(text) > n }

// partOf says whether two names in characters have a part in common: the last of both where the family is the same, or all of the
// shorter one.
func partOf(a, b string, sameFamily bool) bool {
	la, lb := utf8.RuneCountInString(a), utf8.RuneCountInString(b)
	if la < 2 || lb < 2 {
		return false
	}
	lastA, _ := utf8.DecodeLastRuneInString(a)
	lastB, _ := utf8.DecodeLastRuneInString(b)
	return sameFamily && lastA == lastB || la > lb && contains(a, b) || lb > la && contains(b, a)
}

// spelledLevel compares two names of which at least one is not in characters.
func spelledLevel(x, y *atom, family bool) int {
	a, b := x.name, y.name
	switch {
	case x.sound == y.sound:
		return spelledSame
	case a.familyIsKnown && b.familyIsKnown && (a.turnedSound(y.sound) || b.turnedSound(x.sound)):
		return spelledReversed
	case a.near == b.near || longer(a.sound, 5) && oneApart(x.sound, y.sound):
		return spelledNear
	case jaroWinkler(a.sound, b.sound) >= .88:
		return spelledSimilar
	case family:
		return spelledFamily
	}
	return spelledDiffers
}

// phoneLevel compares two telephone numbers.
func phoneLevel(x, y *atom) int {
	if x.canon == y.canon {
		return 0
	}
	if len(x.canon) >= 7 && oneApart(x.canon, y.canon) {
		return 1
	}
	switch n := suffix(x.canon, y.canon); {
	case n >= 8 || n >= 7 && n == min(len(x.canon), len(y.canon)):
		return 2
	case n >= 4:
		return 3
	}
	return 4
}

// residentLevel compares two resident identity numbers. The old form of 15 digits lacks the century and the check.
func residentLevel(a, b string) int {
	if len(a) == 4 || len(b) == 4 {
		if len(a) != 15 && len(b) != 15 && suffix(a, b) >= 4 {
			return 4
		}
		return 5
	}
	if len(a) == 18 && len(b) == 15 {
		a = a[:6] + a[8:17]
	}
	if len(b) == 18 && len(a) == 15 {
		b = b[:6] + b[8:17]
	}
	switch n := prefix(a, b); {
	case a == b:
		return 0
	case oneApart(a, b) && !(residentChecks(a) && residentChecks(b)):
		return 1
	case n >= 14 || len(a) == 15 && n >= 12:
		return 2
	}
	return 3
}

// digitsLevel compares two numbers that are names, by typing errors.
func digitsLevel(x, y *atom) int {
	if x.canon == y.canon {
		return 0
	}
	if len(x.canon) < 3 && len(y.canon) < 3 {
		return 3
	}
	switch d := osa(x.canon, y.canon); {
	case d <= 1:
		return 1
	case d == 2 && max(len(x.canon), len(y.canon)) > 4:
		return 2
	}
	return 3
}

// placeLevel compares two division codes as far as the shorter one goes.
func placeLevel(a, b string) int {
	return placeLevelOf(min(len(a), len(b)), prefix(a, b))
}

// placeLevelOf is the level of two codes that agree in their first digits, of so many that the shorter one has.
func placeLevelOf(short, same int) int {
	lengths := [5]int{12, 9, 6, 4, 2}
	starts := [5]int{0, 6, 11, 15, 18}
	for g, n := range lengths {
		if short < n {
			continue
		}
		for i := g; i < len(lengths); i++ {
			if same >= lengths[i] {
				return starts[g] + i - g
			}
		}
		return starts[g] + len(lengths) - g
	}
	return starts[4] + 1
}

// orderedLevel compares two numbers of an ordered list, written with two digits.
func orderedLevel(a, b string) int {
	switch {
	case a == b:
		return 0
	case len(a) == 2 && len(b) == 2:
		x, y := int(a[0])*10+int(a[1]), int(b[0])*10+int(b[1])
		if x-y == 1 || y-x == 1 {
			return 1
		}
	}
	return 2
}
