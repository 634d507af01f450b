package dedup

import (
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Everybody is all people of a study, read once: to learn a model of them, and to compare all of them with one. What it does is what
// Find and FindWith do, for callers who keep the outcome. It is for one goroutine.
type Everybody struct {
	profiles []profile
	f        *frame
}

// NewEverybody reads records. Those that carry one person_id are one person; people are numbered in order of their ids.
func NewEverybody(people []*servicev1.PersonRecord) *Everybody {
	profiles := gather(people)
	return &Everybody{profiles, peopleFrame(profiles)}
}

// Len is how many people there are.
func (e *Everybody) Len() int { return len(e.profiles) }

// Records are those of a person.
func (e *Everybody) Records(i int) []*servicev1.PersonRecord { return e.profiles[i].records }

// ID is that of a person.
func (e *Everybody) ID(i int) string { return e.profiles[i].id }

// Person is a person as NewPerson makes it.
func (e *Everybody) Person(i int) *Person { return e.f.person(int32(i), &e.profiles[i]) }

// Learn learns a model.
func (e *Everybody) Learn(opts Options) *Model {
	m, _, _ := e.learn(opts)
	return m
}

func (e *Everybody) learn(opts Options) (*Model, *blocking, *found) {
	opts = opts.withDefaults()
	b := e.f.block(opts)
	m, found := e.f.learn(b, opts, nil)
	m.know(e.profiles)
	return m, b, found
}

// Posting is that a person, by number, has a blocking key.
type Posting struct {
	Key    uint64
	Person int32
}

// Postings lists who has which key of a model, as Model.Keys says it, in order of the keys and of the people, none twice.
func (e *Everybody) Postings(m *Model) []Posting {
	s := &sorter{}
	for i, k := range e.f.keysOf(m) {
		from := len(s.entries)
		for row := range e.f.n {
			s.entries = k.entries(s.entries, int32(row))
		}
		for x := from; x < len(s.entries); x++ {
			s.entries[x].hash = mix(s.entries[x].hash, uint64(i))
		}
	}
	s.sort()
	out := make([]Posting, 0, len(s.entries))
	for from := 0; from < len(s.entries); {
		to := from + 1
		for to < len(s.entries) && s.entries[to].hash == s.entries[from].hash {
			to++
		}
		same := s.entries[from:to] // of one hash as they came: in order, unless two keys give one
		if !slices.IsSortedFunc(same, byRow) {
			slices.SortFunc(same, byRow)
		}
		for i, e := range same {
			if i == 0 || e.row != same[i-1].row {
				out = append(out, Posting{e.hash, e.row})
			}
		}
		from = to
	}
	return out
}

func byRow(a, b entry) int { return int(a.row) - int(b.row) }

// Near is two people, by number, and what they Weigh.
type Near struct {
	A, B   int32
	Weight float64
}

// Compare weighs all who share a key of a model that is used, and returns those who weigh LeastWeight and more, in order of the two;
// and how many were compared.
func (e *Everybody) Compare(m *Model) (near []Near, compared int64) {
	for k, c := range e.f.columns {
		c.rarify(m.columns[k])
	}
	b := e.f.blockWith(m)
	w := m.newWeigher(e.f, b)
	w.floor = m.LeastWeight()
	found := w.all(b, nil)
	slices.SortFunc(found.edges, compareEdges)
	near = make([]Near, len(found.edges))
	for i, e := range found.edges {
		near[i] = Near{e.a, e.b, e.weight}
	}
	return near, found.compared
}
