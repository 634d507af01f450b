package dedup

import (
	"math"
	"slices"
	"sync"
	"unicode/utf8"
)

// atom is one value of a column, read once however many records carry it.
type atom struct {
	shown   string // as told
	canon   string // normalised; two atoms with one canon agree exactly
	sound   string // how a name sounds
	name    *nameForm
	date    *dateForm
	canonID int32 // set where the atom is of a column
	soundID int32
}

// terms is what a model keeps of a column: what it holds, and how common its values are.
type terms struct {
	field               string
	kind                kind
	scale               scale
	total               int     // records that carry any value
	values              int     // distinct canons
	chance, soundChance float64 // probability that two records agree on canon, on sound
	// held is how many records carry a canon or a sound, where two and more do; nil: none does.
	held func() (canons, sounds map[string]int32)
}

// column is one field of all records. A record may have several values: a person met twice, or with other names. What is
// known of a million values is kept in a few pieces of memory without pointers, an atom is made of it when it is asked for.
type column struct {
	terms
	atoms            int
	shown            texts   // as told
	canons, sounds   texts   // by canonID and soundID; kinds without a sound have one list for both
	shownID          []int32 // by atom; so are all that follow, up to the counts
	canonID, soundID []int32
	names            []nameRow
	parts            nameParts
	dates            []dateForm
	quick            quick
	same             []int8 // level of each atom with itself

	rows rows // atoms of each record, in the order of their texts
	// How many records carry each canon and each sound.
	canonCount, soundCount []int32
	// The bits that the rarity of each canon and of each sound adds, by a model.
	canonBits, soundBits []float64
}

// nameRow numbers the readings of a name among those of all names of a column, and says which letters they have.
type nameRow struct {
	canon, sound, near, family, given, soundFamily, soundGiven int32
	letters, soundLetters                                      uint64
	last                                                       rune   // character
	length                                                     uint16 // of the characters
	spelled                                                    uint8  // length of the sound, maxRunes at most
	han, familyIsKnown                                         bool
}

// nameParts are the texts of the readings but canon and sound.
type nameParts struct{ near, family, given, soundFamily, soundGiven texts }

// see reads an atom, and what its name and its date are to point to, into places that are there.
func (c *column) see(x int32, a *atom, name *nameForm, date *dateForm) {
	a.shown, a.canonID, a.soundID = c.shown.of(c.shownID[x]), c.canonID[x], c.soundID[x]
	canon, sound := c.canons.of(a.canonID), c.sounds.of(a.soundID)
	a.canon, a.sound = canon, sound
	switch c.kind {
	case kindPerson:
		n := &c.names[x]
		*name = nameForm{
			han: n.han, familyIsKnown: n.familyIsKnown, folded: canon, sound: sound, near: c.parts.near.of(n.near), family: c.parts.family.of(n.family),
			given: c.parts.given.of(n.given), soundFamily: c.parts.soundFamily.of(n.soundFamily), soundGiven: c.parts.soundGiven.of(n.soundGiven),
		}
	case kindDate:
		*date = c.dates[x]
	}
}

// atom is an atom by its number.
func (c *column) atom(x int32) *atom {
	a := &atom{name: &nameForm{}, date: &dateForm{}}
	c.see(x, a, a.name, a.date)
	return a
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
	return newColumnOf(field, k, len(said), func(i int) source { return said[i] }, nil, false)
}

// builder takes in what is said of a column.
type builder struct {
	*column
	distinct                                   bool
	canon, sound, shown                        *interner
	near, family, given, soundFamily, soundOwn *interner
	index                                      map[[3]int32]int32 // atoms by their texts
}

// newColumnOf is newColumn where many records say the same of n things: which says of each record what it says, nil: there is one
// record for each thing. distinct says that no two things are the same value. What is said is asked for in any order, several
// things at once.
func newColumnOf(field string, k kind, n int, say func(i int) source, which []int32, distinct bool) *column {
	c := &column{terms: terms{field: field, kind: k, scale: scaleOf(k)}}
	b := &builder{column: c, distinct: distinct, canon: newInterner(), sound: newInterner(), shown: newInterner(), index: map[[3]int32]int32{}}
	b.near, b.family, b.given, b.soundFamily, b.soundOwn = newInterner(), newInterner(), newInterner(), newInterner(), newInterner()
	told := newLists[int32](n)
	several := false
	var row []int32
	const batch, piece = 1 << 15, 1 << 10
	said := make([]source, min(n, batch))
	for start := 0; start < n; start += batch {
		m := min(batch, n-start)
		each((m+piece-1)/piece, func(p int) {
			for i := p * piece; i < min(m, (p+1)*piece); i++ {
				said[i] = say(start + i)
			}
		})
		for _, s := range said[:m] {
			if row = row[:0]; len(s) > 1 {
				slices.SortFunc(s, compareAtoms)
				several = true
			}
			for i := range s {
				row = append(row, b.add(&s[i]))
			}
			told.add(slices.Compact(row))
		}
	}
	b.done()
	c.place(told, which, several)
	c.chance, c.values = chance(c.canonCount, c.total)
	c.soundChance, _ = chance(c.soundCount, c.total)
	c.hurry()
	c.same = make([]int8, c.atoms)
	for x := range int32(c.atoms) {
		c.same[x] = int8(c.thorough(x, x))
	}
	return c
}

// add numbers one value.
func (b *builder) add(a *atom) int32 {
	id := [3]int32{b.canon.add(a.canon)}
	id[1] = id[0]
	if b.kind == kindPerson {
		id[1] = b.sound.add(a.sound)
	}
	if b.distinct {
		id[2] = b.shown.push(a.shown)
	} else {
		id[2] = b.shown.add(a.shown)
		if at, ok := b.index[id]; ok {
			return at
		}
		b.index[id] = int32(b.atoms)
	}
	b.atoms++
	b.canonID, b.shownID = append(b.canonID, id[0]), append(b.shownID, id[2])
	switch b.kind {
	case kindPerson:
		b.soundID = append(b.soundID, id[1])
		b.names = append(b.names, b.row(a.name, id[0], id[1]))
	case kindDate:
		b.dates = append(b.dates, *a.date)
	}
	return int32(b.atoms - 1)
}

func (b *builder) row(f *nameForm, canon, sound int32) nameRow {
	n := nameRow{
		canon: canon, sound: sound, near: b.near.add(f.near), family: b.family.add(f.family), given: b.given.add(f.given),
		soundFamily: b.soundFamily.add(f.soundFamily), soundGiven: b.soundOwn.add(f.soundGiven), han: f.han, familyIsKnown: f.familyIsKnown,
	}
	length, spelled := 0, 0
	n.letters, length = lettersOf(f.folded)
	n.soundLetters, spelled = lettersOf(f.sound)
	n.length, n.spelled = uint16(min(length, math.MaxUint16)), uint8(min(spelled, maxRunes))
	n.last, _ = utf8.DecodeLastRuneInString(f.folded)
	return n
}

// done takes the texts over into the column.
func (b *builder) done() {
	b.column.shown, b.canons = b.shown.texts(), b.canon.texts()
	b.canonCount = make([]int32, b.canons.len())
	b.column.sounds, b.soundCount = b.canons, b.canonCount
	if b.kind != kindPerson {
		b.soundID = b.canonID
		return
	}
	b.column.sounds = b.sound.texts()
	b.soundCount = make([]int32, b.column.sounds.len())
	b.parts = nameParts{b.near.texts(), b.family.texts(), b.given.texts(), b.soundFamily.texts(), b.soundOwn.texts()}
}

// place notes which atoms each record has, and how many records have each.
func (c *column) place(told lists[int32], which []int32, several bool) {
	n := len(which)
	if which == nil {
		n = len(told.start) - 1
	}
	if several {
		c.rows.many = newLists[int32](n)
	} else {
		c.rows = rows{one: make([]int32, n), stride: 1}
	}
	for i := range n {
		at := i
		if which != nil {
			at = int(which[i])
		}
		row := told.of(at)
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
		newCanon, newSound := true, true
		for _, y := range row[:i] {
			newCanon = newCanon && c.canonID[y] != c.canonID[x]
			newSound = newSound && c.soundID[y] != c.soundID[x]
		}
		if newCanon {
			c.canonCount[c.canonID[x]]++
		}
		if newSound && c.kind == kindPerson {
			c.soundCount[c.soundID[x]]++
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

// compare finds the best level that any two values of two records reach, and the values; -1 where one says nothing.
func (c *column) compare(i, j int) (lvl int, a, b int32) {
	ra, rb := c.rows.of(i), c.rows.of(j)
	switch {
	case len(ra) == 0 || len(rb) == 0:
		return -1, -1, -1
	case len(ra) == 1 && len(rb) == 1:
		return c.level(ra[0], rb[0]), ra[0], rb[0]
	}
	lvl = -1
	best, length := 0.0, 0
	for _, x := range ra {
		for _, y := range rb {
			l := c.level(x, y)
			w, n := c.scale[l].m/c.scale[l].u, c.canons.length(c.canonID[x])+c.canons.length(c.canonID[y])
			if lvl < 0 || w > best || w == best && n > length {
				lvl, a, b, best, length = l, x, y, w, n
			}
		}
	}
	return lvl, a, b
}

// level compares two atoms.
func (c *column) level(x, y int32) int {
	if x == y {
		return int(c.same[x])
	}
	if l := c.quickLevel(x, y); l >= 0 {
		return l
	}
	return c.thorough(x, y)
}

// thorough compares two atoms by their texts.
func (c *column) thorough(x, y int32) int {
	var a, b atom
	var nameA, nameB nameForm
	var dateA, dateB dateForm
	c.see(x, &a, &nameA, &dateA)
	c.see(y, &b, &nameB, &dateB)
	a.name, a.date, b.name, b.date = &nameA, &dateA, &nameB, &dateB
	return levelOfAtoms(c.kind, &a, &b)
}

// told is the atoms of a list.
func (c *column) told(row []int32) []*atom {
	out := make([]*atom, len(row))
	for i, x := range row {
		out[i] = c.atom(x)
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
	t.held = sync.OnceValues(c.several)
	return &t
}

// several counts the records of the values that two and more have, where their rarity matters.
func (c *column) several() (canons, sounds map[string]int32) {
	canons, sounds = map[string]int32{}, map[string]int32{}
	ofCanons, ofSounds := false, false
	for l := range c.scale {
		ofCanons, ofSounds = ofCanons || c.counts(l) == 1, ofSounds || c.counts(l) == 2
	}
	for id, n := range c.canonCount {
		if ofCanons && n > 1 {
			canons[c.canons.of(int32(id))] = n
		}
	}
	for id, n := range c.soundCount {
		if ofSounds && n > 1 {
			sounds[c.sounds.of(int32(id))] = n
		}
	}
	return canons, sounds
}

// counted is what held says.
func (c *terms) counted() (canons, sounds map[string]int32) {
	if c.held == nil {
		return nil, nil
	}
	return c.held()
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
	canons, sounds := t.counted()
	for id := range c.canonBits {
		_, c.canonBits[id] = t.term(max(canons[c.canons.of(int32(id))], 1), t.chance)
	}
	for id := range c.soundBits {
		_, c.soundBits[id] = t.term(max(sounds[c.sounds.of(int32(id))], 1), t.soundChance)
	}
}

// rarity is how many bits rarer than usual the value is on which two atoms agree at this level.
func (c *column) rarity(l int, x int32) float64 {
	switch c.counts(l) {
	case 1:
		return c.canonBits[c.canonID[x]]
	case 2:
		return c.soundBits[c.soundID[x]]
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
		canons, _ := c.counted()
		return c.term(max(canons[a.canon], 1), c.chance)
	case 2:
		_, sounds := c.counted()
		return c.term(max(sounds[a.sound], 1), c.soundChance)
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
