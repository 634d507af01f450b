package dedup

// maxRunes bounds how much of a text is compared letter by letter.
const maxRunes = 64

// clip cuts a text to what the comparators look at.
func clip(a []rune) []rune {
	if len(a) > maxRunes {
		return a[:maxRunes]
	}
	return a
}

// jaroWinkler is the similarity of two texts between 0 and 1, with a bonus for a common beginning. It is symmetric.
func jaroWinkler(a, b []rune) float64 {
	a, b = clip(a), clip(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	s := jaro(a, b)
	if s < 0.7 {
		return s
	}
	p := 0
	for p < 4 && p < len(a) && a[p] == b[p] {
		p++
	}
	return s + float64(p)*0.1*(1-s)
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
	c := float64(common)
	return (c/float64(len(a)) + c/float64(len(b)) + (c-float64(moved)/2)/c) / 3
}

// osa is the optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
func osa(a, b []rune) int {
	a, b = clip(a), clip(b)
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
func contains(whole, part []rune) bool {
	i := 0
	for _, r := range whole {
		if i < len(part) && part[i] == r {
			i++
		}
	}
	return i == len(part)
}
