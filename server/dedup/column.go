package dedup

import (
	"slices"
	"strings"
)

// atom is one value of a column, read once however many records carry it.
type atom struct {
	shown   string // as told
	canon   string // normalised; two atoms with one canon agree exactly
	sound   string // how a name sounds
	name    *nameForm
	date    *dateForm
	text    *textForm
	canonID int32
	soundID int32
}

// textForm is a text as it is compared letter by letter.
type textForm struct{ runes []rune }

// terms is what a model keeps of a column: what it holds, and how common its values are.
type terms struct {
	field               string
	kind                kind
	scale               scale
	total               int     // records that carry any value
	values              int     // distinct canons
	chance, soundChance float64 // probability that two records agree on canon, on sound
	// How many records carry a canon or a sound, where two and more do.
	canons, sounds map[string]int32
}

// column is one field of all records. A record may have several values: a person met twice, or with other names.
type column struct {
	terms
	atoms []atom
	rows  rows   // atoms of each record, in the order of their texts
	same  []int8 // level of each atom with itself
	// How many records carry each canon and each sound.
	canonCount, soundCount []int32
	// The bits that the rarity of each canon and of each sound adds, by a model.
	canonBits, soundBits []float64
	quick                quick
}

// source is what one record says of one column: atoms not yet interned, possibly none.
type source []atom

// lists holds a short list for each record, one behind the other.
type lists[T any] struct {
	start []int32
	all   []T
}

func newLists[T any](n int) lists[T] {
	return lists[T]{start: append(make([]int32, 0, n+1), 0), all: make([]T, 0, n)}
}

// add is the next record's list.
func (l *lists[T]) add(list []T) {
	l.all = append(l.all, list...)
	l.start = append(l.start, int32(len(l.all)))
}

func (l *lists[T]) of(i int) []T { return l.all[l.start[i]:l.start[i+1]] }

// rows holds a short list for each record. Where no record has several, one number each is enough; the numbers of all columns of
// a record stand together, for they are looked at together.
type rows struct {
	one            []int32 // -1 for none
	stride, offset int
	many           lists[int32]
}

// newRows makes rows of lists.
func newRows(l lists[int32]) rows {
	one := make([]int32, len(l.start)-1)
	for i := range one {
		switch row := l.of(i); len(row) {
		case 0:
			one[i] = -1
		case 1:
			one[i] = row[0]
		default:
			return rows{many: l}
		}
	}
	return rows{one: one, stride: 1}
}

// none says whether there are no lists at all.
func (r *rows) none() bool { return r.one == nil && r.many.start == nil }

func (r *rows) of(i int) []int32 {
	if r.one == nil {
		return r.many.of(i)
	}
	at := i*r.stride + r.offset
	if r.one[at] < 0 {
		return nil
	}
	return r.one[at : at+1]
}

// align puts the numbers of all columns of a record side by side.
func (f *frame) align() {
	var single []*rows
	for _, c := range f.columns {
		if c.rows.one != nil {
			single = append(single, &c.rows)
		}
	}
	if !f.roster.none() && f.roster.one != nil {
		single = append(single, &f.roster)
	}
	if len(single) < 2 {
		return
	}
	all := make([]int32, len(single)*f.n)
	for k, r := range single {
		for i := range f.n {
			all[i*len(single)+k] = r.one[i*r.stride+r.offset]
		}
		*r = rows{one: all, stride: len(single), offset: k}
	}
}

// newColumn interns what the records say.
func newColumn(field string, k kind, said []source) *column {
	which := make([]int32, len(said))
	for i := range which {
		which[i] = int32(i)
	}
	return newColumnOf(field, k, len(said), func(i int) source { return said[i] }, which, false)
}

// newColumnOf is newColumn where many records say the same of n things: which says of each record what it says. distinct says
// that no two of them hold the same value.
func newColumnOf(field string, k kind, n int, say func(i int) source, which []int32, distinct bool) *column {
	c := &column{terms: terms{field: field, kind: k, scale: scaleOf(k)}}
	canons, sounds := newInterner(), newInterner()
	type key struct {
		canon, sound int32
		shown        string
	}
	index := map[key]int32{}
	if distinct {
		c.atoms = make([]atom, 0, n)
	}
	told := newLists[int32](n)
	several := false
	var row []int32
	for i := range n {
		row = row[:0]
		s := say(i)
		for i := range s {
			a := &s[i]
			a.canonID = canons.add(a.canon)
			a.soundID = a.canonID
			if k == kindPerson {
				a.soundID = sounds.add(a.sound)
			}
			id, at, ok := key{a.canonID, a.soundID, a.shown}, int32(0), false
			if !distinct {
				at, ok = index[id]
			}
			if !ok {
				if at = int32(len(c.atoms)); !distinct {
					index[id] = at
				}
				a.spell(k)
				c.atoms = append(c.atoms, *a)
			}
			row = append(row, at)
		}
		if len(row) > 1 {
			slices.SortFunc(row, func(x, y int32) int { return compareAtoms(c.atoms[x], c.atoms[y]) })
		}
		told.add(slices.Compact(row))
		several = several || len(row) > 1
	}
	for i := range c.atoms {
		c.same = append(c.same, int8(levelOfAtoms(k, &c.atoms[i], &c.atoms[i])))
	}
	c.canonCount = make([]int32, len(canons.values))
	c.soundCount = c.canonCount
	if k == kindPerson {
		c.soundCount = make([]int32, len(sounds.values))
	}
	if several {
		c.rows.many = newLists[int32](len(which))
	} else {
		c.rows = rows{one: make([]int32, len(which)), stride: 1}
	}
	for i, w := range which {
		row := told.of(int(w))
		switch {
		case several:
			c.rows.many.add(row)
		case len(row) == 0:
			c.rows.one[i] = -1
		default:
			c.rows.one[i] = row[0]
		}
		if len(row) > 0 {
			c.total++
		}
		c.count(row)
	}
	c.chance, c.values = chance(c.canonCount, c.total)
	c.soundChance, _ = chance(c.soundCount, c.total)
	c.hurry()
	return c
}

// intern numbers a text.
func intern(ids map[string]int32, text string) int32 {
	id, ok := ids[text]
	if !ok {
		id = int32(len(ids))
		ids[text] = id
	}
	return id
}

// count adds one record's distinct canons and sounds.
func (c *column) count(row []int32) {
	for i, x := range row {
		a := &c.atoms[x]
		newCanon, newSound := true, true
		for _, y := range row[:i] {
			newCanon = newCanon && c.atoms[y].canonID != a.canonID
			newSound = newSound && c.atoms[y].soundID != a.soundID
		}
		if newCanon {
			c.canonCount[a.canonID]++
		}
		if newSound && c.kind == kindPerson {
			c.soundCount[a.soundID]++
		}
	}
}

// chance is the probability that two records drawn at random carry the same value, and how many values there are.
func chance(counts []int32, total int) (float64, int) {
	sum, values := int64(0), 0
	for _, n := range counts {
		sum += int64(n) * int64(n)
		if n > 0 {
			values++
		}
	}
	if total == 0 {
		return 1, 0
	}
	return float64(sum) / float64(total) / float64(total), values
}

// spell fills in what comparison letter by letter needs.
func (a *atom) spell(k kind) {
	if a.text == nil && (k == kindText || k == kindDigits) {
		a.text = &textForm{runes: []rune(a.canon)}
	}
}

// compare finds the best level that any two values of two records reach, and the values; -1 where one says nothing.
func (c *column) compare(i, j int) (lvl int, a, b *atom) {
	return c.compareRows(c.rows.of(i), c.rows.of(j))
}

// compareRows is compare for any two lists of atoms.
func (c *column) compareRows(ra, rb []int32) (lvl int, a, b *atom) {
	if len(ra) == 0 || len(rb) == 0 {
		return -1, nil, nil
	}
	if len(ra) == 1 && len(rb) == 1 {
		x, y := &c.atoms[ra[0]], &c.atoms[rb[0]]
		if ra[0] == rb[0] {
			return int(c.same[ra[0]]), x, x
		}
		if l := c.quickLevel(ra[0], rb[0]); l >= 0 {
			return l, x, y
		}
		return levelOfAtoms(c.kind, x, y), x, y
	}
	return c.best(c.told(ra), c.told(rb))
}

// told is the atoms of a list.
func (c *column) told(row []int32) []*atom {
	out := make([]*atom, len(row))
	for i, x := range row {
		out[i] = &c.atoms[x]
	}
	return out
}

// best finds the best level that any two of two lists of values reach, and the values. Of values that agree equally well
// the longer ones are taken, then those first in order of their texts.
func (c *terms) best(ra, rb []*atom) (lvl int, a, b *atom) {
	lvl = -1
	best, length := 0.0, 0
	for _, x := range ra {
		for _, y := range rb {
			l := levelOfAtoms(c.kind, x, y)
			w, n := c.scale[l].m/c.scale[l].u, len(x.canon)+len(y.canon)
			if lvl < 0 || w > best || w == best && n > length {
				lvl, a, b, best, length = l, x, y, w, n
			}
		}
	}
	return lvl, a, b
}

// learnTerms notes how common each value is, for a model to keep, and what its rarity adds.
func (c *column) learnTerms() *terms {
	t := c.terms
	c.canonBits = t.rarities(c.canonCount, t.chance)
	if c.soundBits = c.canonBits; c.kind == kindPerson {
		c.soundBits = t.rarities(c.soundCount, t.soundChance)
	}
	t.canons, t.sounds = map[string]int32{}, map[string]int32{}
	canons, sounds := false, false
	for l := range c.scale {
		canons, sounds = canons || c.counts(l) == 1, sounds || c.counts(l) == 2
	}
	for i := range c.atoms {
		a := &c.atoms[i]
		if n := c.canonCount[a.canonID]; canons && n > 1 {
			t.canons[a.canon] = n
		}
		if n := c.soundCount[a.soundID]; sounds && n > 1 {
			t.sounds[a.sound] = n
		}
	}
	return &t
}

// rarities works out the bits of all counts.
func (c *terms) rarities(counts []int32, usual float64) []float64 {
	out := make([]float64, len(counts))
	for i, n := range counts {
		_, out[i] = c.term(max(n, 1), usual)
	}
	return out
}

// rarify works out what the rarity of each value adds, by the counts that a model keeps.
func (c *column) rarify(t *terms) {
	c.values = t.values // for whether rarity counts at all
	c.canonBits, c.soundBits = make([]float64, len(c.canonCount)), make([]float64, len(c.soundCount))
	for i := range c.atoms {
		a := &c.atoms[i]
		_, c.canonBits[a.canonID] = t.term(max(t.canons[a.canon], 1), t.chance)
		_, c.soundBits[a.soundID] = t.term(max(t.sounds[a.sound], 1), t.soundChance)
	}
}

// rarity is how many bits rarer than usual the value is on which two atoms agree at this level.
func (c *column) rarity(l int, a *atom) float64 {
	switch c.counts(l) {
	case 1:
		return c.canonBits[a.canonID]
	case 2:
		return c.soundBits[a.soundID]
	}
	return 0
}

// counts says what counts at a level: 1 how rare the value is, 2 how rare its sound is, 0 neither.
func (c *terms) counts(l int) uint8 {
	if c.kind == kindDate && l != dateExact || c.kind == kindCategory && c.values < 4 {
		return 0
	}
	return c.scale[l].term
}

// rarityOf is rarity by the counts that a model keeps: the share of records with the value, and the bits. A value that
// was never seen counts as seen once.
func (c *terms) rarityOf(l int, a *atom) (share, bits float64) {
	switch c.counts(l) {
	case 1:
		return c.term(max(c.canons[a.canon], 1), c.chance)
	case 2:
		return c.term(max(c.sounds[a.sound], 1), c.soundChance)
	}
	return 0, 0
}

// term returns the share of records with a value that n have, and the bits that its rarity adds.
func (c *terms) term(n int32, usual float64) (share, bits float64) {
	if c.total < 2 {
		return 0, 0
	}
	share = float64(n) / float64(c.total)
	return share, log2(usual / share)
}

// levelOfAtoms compares two values of a kind.
func levelOfAtoms(k kind, x, y *atom) int {
	switch k {
	case kindPerson:
		return nameLevel(x, y)
	case kindDate:
		return dateLevel(x, y)
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
	switch s := jaroWinkler(x.text.runes, y.text.runes); {
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
	case a.familyIsKnown && b.familyIsKnown && (a.reversed == y.canon || b.reversed == x.canon):
		return nameReversed
	case a.near == b.near || family && len(a.sound) > 5 && oneApart(string(a.sound), string(b.sound)):
		return nameNear
	case sameFamily && len(a.folded) > 1 && len(b.folded) > 1 && a.folded[len(a.folded)-1] == b.folded[len(b.folded)-1],
		len(a.folded) > len(b.folded) && len(b.folded) > 1 && contains(a.folded, b.folded),
		len(b.folded) > len(a.folded) && len(a.folded) > 1 && contains(b.folded, a.folded):
		return namePart
	case family && jaroWinkler(a.sound, b.sound) >= .87:
		return nameSimilar
	case family:
		return nameFamily
	}
	return nameDiffers
}

// spelledLevel compares two names of which at least one is not in characters.
func spelledLevel(x, y *atom, family bool) int {
	a, b := x.name, y.name
	switch {
	case x.sound == y.sound:
		return spelledSame
	case a.familyIsKnown && b.familyIsKnown && (a.reversedSound == y.sound || b.reversedSound == x.sound):
		return spelledReversed
	case a.near == b.near || len(a.sound) > 5 && oneApart(x.sound, y.sound):
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
	switch d := osa(x.text.runes, y.text.runes); {
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
	switch d := strings.Compare(a, b); {
	case d == 0:
		return 0
	case len(a) == 2 && len(b) == 2:
		x, y := int(a[0])*10+int(a[1]), int(b[0])*10+int(b[1])
		if x-y == 1 || y-x == 1 {
			return 1
		}
	}
	return 2
}
