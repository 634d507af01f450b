package dedup

import (
	"cmp"
	"slices"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Person is all that was told of one person, read once for comparison with many others. It does not change.
type Person struct {
	id, keys string
	rosters  []string // household and interview of every list that the person stands on
	values   values
}

// NewPerson reads the records of one person. If they carry several ids, which they should not, the smallest counts.
func NewPerson(records []*servicev1.PersonRecord) *Person {
	id := ""
	for _, r := range records {
		if id == "" || r.GetPersonId() < id {
			id = r.GetPersonId()
		}
	}
	p := newProfile(id, records)
	out := &Person{id: id, keys: p.keys(), rosters: p.rosters(), values: make(values, len(personFields))}
	for k := range personFields {
		said := p.told(k)
		slices.SortFunc(said, compareAtoms)
		said = slices.CompactFunc(said, func(a, b atom) bool { return compareAtoms(a, b) == 0 })
		for i := range said {
			out.values[k] = append(out.values[k], &said[i])
		}
	}
	return out
}

// compareAtoms orders the values of a column by their texts.
func compareAtoms(a, b atom) int {
	return cmp.Or(cmp.Compare(a.canon, b.canon), cmp.Compare(a.sound, b.sound), cmp.Compare(a.shown, b.shown))
}

// ID is the person id.
func (p *Person) ID() string { return p.id }

// Homes lists the households that the person was listed in, sorted.
func (p *Person) Homes() []string {
	var out []string
	for _, r := range p.rosters {
		home, _, _ := strings.Cut(r, "\x00")
		out = append(out, home)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ListedWith says whether two people stand on one list.
func (p *Person) ListedWith(other *Person) bool {
	return slices.ContainsFunc(p.rosters, func(r string) bool { return slices.Contains(other.rosters, r) })
}

// keySpec is a blocking key as a model keeps it: transforms of columns, all of which must agree.
type keySpec []keyPart

// keyPart is one transform of one column, by their places.
type keyPart struct {
	Column    int `json:"column"`
	Transform int `json:"transform"`
}

// spec is what a model keeps of a key.
func (k *key) spec() keySpec {
	var out keySpec
	for _, p := range k.parts {
		out = append(out, keyPart{p.col, p.at})
	}
	return out
}

// Keys lists the blocking keys of a person, sorted, none twice. Two people are compared if they share one, and not more
// than MaxBlock people have it: what so many share finds nobody. Keys of another model mean nothing.
func (m *Model) Keys(p *Person) []uint64 {
	var out []uint64
	for i, spec := range m.keys {
		lists := make([][]uint64, len(spec))
		for x, part := range spec {
			of := transformsOf(m.columns[part.Column].kind)[part.Transform].of
			for _, a := range p.values[part.Column] {
				if v := of(a); v != "" && !slices.Contains(lists[x], hash(v)) {
					lists[x] = append(lists[x], hash(v))
				}
			}
		}
		for _, h := range combine(nil, lists) {
			out = append(out, mix(h, uint64(i)))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// MaxBlock is how many people may share a blocking key that is used.
func (m *Model) MaxBlock() int { return m.opts.MaxBlock }

// StrongLink is the least weight of a pair, without the evidence of its households, that counts as evidence for the other
// members of those.
const StrongLink = strongLink

// Link is a pair of ids with its weight in bits.
type Link struct {
	A, B   string
	Weight float64
}

// Homes tells what households have in common.
type Homes interface {
	// Size is how many people were ever listed in a household.
	Size(home string) int
	// Strong lists the pairs of one member of each of two households that Weigh at StrongLink and more; which is A makes no
	// difference, nor does the order.
	Strong(home, other string) []Link
}

// Weigh is the weight in bits that two people have by what was told of themselves, without their households. It is what
// Strong goes by. Two people of one list weigh what they would otherwise: see Score.
func (m *Model) Weigh(a, b *Person) float64 {
	if b.id < a.id {
		a, b = b, a
	}
	return m.bare(a.values, b.values)
}

// Score compares two people and explains the outcome. With homes it counts what other members of their households say; nil
// leaves that out. The model stays as it is: the same two people with the same households give the same pair.
func (m *Model) Score(a, b *Person, homes Homes) *servicev1.MatchPair {
	if b.id < a.id {
		a, b = b, a
	}
	return m.personPair(a, b, m.homeLevel(a, b, homes))
}

// homeLevel is the household level of two people; -1 for none.
func (m *Model) homeLevel(a, b *Person, homes Homes) int {
	if homes == nil || !m.house.on || a.ListedWith(b) {
		return -1
	}
	weight := m.bare(a.values, b.values)
	best := -1
	for _, x := range a.Homes() {
		for _, y := range b.Homes() {
			if x == y || homes.Size(x) < 2 || homes.Size(y) < 2 {
				continue
			}
			if l := levelBetween(homes.Strong(x, y), a.id, b.id, weight); best < 0 || l < best {
				best = l
			}
		}
	}
	return best
}

// levelBetween is houseModel.between for ids. It does not matter which end of a link is called A: the two people settle
// which side is which, as far as they are in the links, and the others follow in order of their ids.
func levelBetween(strong []Link, a, b string, weight float64) int {
	links := slices.Clone(strong)
	for i, l := range links {
		if l.B < l.A {
			links[i].A, links[i].B = l.B, l.A
		}
	}
	slices.SortFunc(links, func(x, y Link) int {
		return cmp.Or(-cmp.Compare(x.Weight, y.Weight), cmp.Compare(x.A, y.A), cmp.Compare(x.B, y.B))
	})
	var took []string
	others := 0
	for _, l := range links {
		if l.A == a && l.B == b {
			continue
		}
		if l.A == a || l.B == b || l.A == b || l.B == a {
			if l.Weight > weight+betterBy {
				return houseBetter
			}
			continue
		}
		if slices.Contains(took, l.A) || slices.Contains(took, l.B) {
			continue
		}
		took = append(took, l.A, l.B)
		others++
	}
	return [3]int{houseNone, houseOne, houseTwo}[min(others, 2)]
}

// FindWith is Find with a model learnt before, which it leaves as it is: blocking keys, weights and rarities are those of the
// model. Records met one by one, compared by Keys and Score and put together by Groups, come to the same.
func FindWith(m *Model, people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord, decisions []*servicev1.LinkDecision) *Result {
	profiles := gather(people)
	f := peopleFrame(profiles)
	b := f.blockWith(m)
	for k, c := range f.columns {
		c.rarify(m.columns[k])
	}
	frozen := *m
	found := frozen.weighAll(f, b, nil)
	if frozen.house.on {
		frozen.house.collect(f, found.edges)
		frozen.houseWeights(found.edges)
	}
	frozen.know(profiles)
	return frozen.result(f, b, found, profiles, people, households, decisions)
}

// blockWith makes the blocks of the keys of a model.
func (f *frame) blockWith(m *Model) *blocking {
	b := &blocking{recall: m.recall, share: 1, keys: f.keysOf(m)}
	for _, k := range b.keys {
		b.names = append(b.names, k.name(f))
	}
	b.blocks = f.blocksOf(b.keys, m.opts.MaxBlock, nil)
	return b
}

// keysOf makes the keys of a model.
func (f *frame) keysOf(m *Model) []*key {
	made := map[keyPart]*single{}
	for _, s := range f.allSingles() {
		made[keyPart{s.col, s.at}] = s
	}
	var out []*key
	for _, spec := range m.keys {
		k := &key{}
		for _, part := range spec {
			k.parts = append(k.parts, made[part])
		}
		out = append(out, k)
	}
	return out
}
