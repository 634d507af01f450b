package dedup

import (
	"math/bits"
	"unicode/utf8"
)

// maxRunes bounds how much of a text is compared letter by letter.
const maxRunes = 64

// isLetters says whether a text has only 7-bit bytes, and no more than the comparators look at: most have.
func isLetters(text string) bool { return len(text) <= maxRunes && isASCII(text) }

// runesOf is the part of a text that the comparators look at.
func runesOf(text string, into *[maxRunes]rune) []rune {
	n := 0
	for _, r := range text {
		if n == maxRunes {
			break
		}
		into[n] = r
		n++
	}
	return into[:n]
}

// jaroWinkler is the similarity of two texts between 0 and 1, with a bonus for a common beginning. It is symmetric.
func jaroWinkler(a, b string) float64 {
	if isLetters(a) && isLetters(b) {
		if len(a) > len(b) {
			a, b = b, a
		}
		p := 0
		for p < 4 && p < len(a) && a[p] == b[p] {
			p++
		}
		return winkler(jaroLetters(a, b), p)
	}
	var ra, rb [maxRunes]rune
	x, y := runesOf(a, &ra), runesOf(b, &rb)
	if len(x) > len(y) {
		x, y = y, x
	}
	p := 0
	for p < 4 && p < len(x) && x[p] == y[p] {
		p++
	}
	return winkler(jaro(x, y), p)
}

// winkler adds the bonus for so many common letters at the beginning.
func winkler(s float64, common int) float64 {
	if s < 0.7 {
		return s
	}
	return s + float64(common)*0.1*(1-s)
}

// similarity is the measure of Jaro for two lengths, common letters, and those of them that moved.
func similarity(a, b, common, moved int) float64 {
	c := float64(common)
	return (c/float64(a) + c/float64(b) + (c-float64(moved)/2)/c) / 3
}

// jaro counts common letters that are near each other; a is the shorter text.
func jaro(a, b []rune) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	window := max(len(b)/2-1, 0)
	var inA, inB [maxRunes]bool
	common := 0
	for i, r := range a {
		for j := max(0, i-window); j <= min(len(b)-1, i+window); j++ {
			if !inB[j] && r == b[j] {
				inA[i], inB[j] = true, true
				common++
				break
			}
		}
	}
	if common == 0 {
		return 0
	}
	moved, j := 0, 0
	for i, r := range a {
		if !inA[i] {
			continue
		}
		for !inB[j] {
			j++
		}
		if r != b[j] {
			moved++
		}
		j++
	}
	return similarity(len(a), len(b), common, moved)
}

// jaroLetters is jaro for 7-bit texts of 64 letters at most: where each letter stands in b are the bits of a number.
func jaroLetters(a, b string) float64 {
	if len(a) == 0 || len(b) == 0 {
		return 0
	}
	var at [128]uint64
	for j := range len(b) {
		at[b[j]&127] |= 1 << j
	}
	window := max(len(b)/2-1, 0)
	var inA, inB uint64
	for i := range len(a) {
		near := ^uint64(0) << max(0, i-window)
		if last := i + window; last < 63 {
			near &= 1<<(last+1) - 1
		}
		if m := at[a[i]&127] & near &^ inB; m != 0 {
			inA |= 1 << i
			inB |= m & -m
		}
	}
	common, moved := bits.OnesCount64(inA), 0
	if common == 0 {
		return 0
	}
	for inA != 0 {
		if a[bits.TrailingZeros64(inA)] != b[bits.TrailingZeros64(inB)] {
			moved++
		}
		inA &= inA - 1
		inB &= inB - 1
	}
	return similarity(len(a), len(b), common, moved)
}

// osa is the optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
func osa(a, b string) int {
	if isLetters(a) && isLetters(b) {
		return osaLetters(a, b)
	}
	var ra, rb [maxRunes]rune
	return osaRunes(runesOf(a, &ra), runesOf(b, &rb))
}

func osaRunes(a, b []rune) int {
	var rows [3][maxRunes + 1]int
	before, prev, cur := 2, 0, 1
	for j := range len(b) + 1 {
		rows[prev][j] = j
	}
	for i := 1; i <= len(a); i++ {
		rows[cur][0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[prev][j]+1, rows[cur][j-1]+1, rows[prev][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[before][j-2]+1)
			}
			rows[cur][j] = d
		}
		before, prev, cur = prev, cur, before
	}
	return rows[prev][len(b)]
}

// osaLetters is osa for 7-bit texts of 64 letters at most, a column of the table at a time as bits of a number (Hyyrö 2003).
func osaLetters(a, b string) int {
	if len(a) == 0 {
		return len(b)
	}
	var at [128]uint64
	for i := range len(a) {
		at[a[i]&127] |= 1 << i
	}
	up, down, diagonal, before := ^uint64(0), uint64(0), uint64(0), uint64(0)
	last, d := uint64(1)<<(len(a)-1), len(a)
	for j := range len(b) {
		here := at[b[j]&127]
		swapped := ^diagonal & here << 1 & before
		diagonal = (here&up + up ^ up) | here | down | swapped
		right, left := down|^(diagonal|up), diagonal&up
		if right&last != 0 {
			d++
		}
		if left&last != 0 {
			d--
		}
		right, left = right<<1|1, left<<1
		up, down = left|^(diagonal|right), right&diagonal
		before = here
	}
	return d
}

// oneApart says whether two texts are at OSA distance 1 or less, without the table.
func oneApart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if i == len(a) || a[i+1:] == b[i+1:] {
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// suffix is the number of characters that two texts share at their ends.
func suffix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// prefix is the number of bytes that two texts share at their beginnings.
func prefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// contains says whether all of part stands in whole, in order, possibly with others between.
func contains(whole, part string) bool {
	for _, r := range whole {
		p, n := utf8.DecodeRuneInString(part)
		if n > 0 && p == r {
			part = part[n:]
		}
	}
	return part == ""
}
