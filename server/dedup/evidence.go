package dedup

import (
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// sameRoster is the weight of standing on one roster: the people of one list are different people.
const sameRoster = -30

// know notes which row each person id has.
func (m *Model) know(profiles []profile) {
	m.rows = make(map[string]int32, len(profiles))
	for i, p := range profiles {
		m.rows[p.id] = int32(i)
	}
}

// values lists what a record says in each column.
type values [][]*atom

// values of a row of a frame.
func (f *frame) values(i int32) values {
	out := make(values, len(f.columns))
	for k, c := range f.columns {
		out[k] = c.told(c.rows.of(int(i)))
	}
	return out
}

// shown lists all that is told in a column.
func shown(told []*atom) string {
	var out []string
	for _, a := range told {
		out = append(out, a.shown)
	}
	return strings.Join(out, ", ")
}

// bare is the weight of two records without the evidence of their households.
func (m *Model) bare(a, b values) float64 {
	p, rare := emptyPattern(), 0.0
	for k, c := range m.columns {
		l, x, _ := c.best(a[k], b[k])
		p[k] = int8(l)
		if l >= 0 {
			_, bits := c.rarityOf(l, x)
			rare += bits
		}
	}
	return m.scorer().weight(&p) + rare
}

// evidence compares two records field by field. same says that they stand on one roster of a table where double entries are
// looked for. house is the household level, -1 for none. clean says that nothing told disagrees.
func (m *Model) evidence(a, b values, same bool, house int) (rows []*servicev1.Evidence, clean bool) {
	p := emptyPattern()
	clean = true
	same = same && m.doubles.u != nil
	compared := 0
	for k, c := range m.columns {
		l, x, y := c.best(a[k], b[k])
		p[k] = int8(l)
		e := &servicev1.Evidence{Field: proto.String(c.field), Weight: proto.Float64(0)}
		if l < 0 {
			if len(a[k])+len(b[k]) == 0 {
				continue
			}
			e.ValueA, e.ValueB, e.Level = proto.String(shown(a[k])), proto.String(shown(b[k])), proto.String("missing")
			rows = append(rows, e)
			continue
		}
		compared++
		share, bits := c.rarityOf(l, x)
		e.ValueA, e.ValueB = proto.String(x.shown), proto.String(y.shown)
		weight := m.scorer().bit(k, l)
		if same {
			weight = m.doubleBits(k, l)
		}
		e.Level, e.Weight = proto.String(c.scale[l].name), proto.Float64(weight+bits)
		if share > 0 {
			e.TermFrequency = proto.Float64(share)
		}
		clean = clean && c.scale[l].agrees
		rows = append(rows, e)
	}
	if same {
		rows = append(rows, &servicev1.Evidence{
			Field: proto.String(fieldRoster), Level: proto.String("on one roster"), Weight: proto.Float64(m.doubles.prior - m.prior),
		})
	} else if w := m.scorer().correction(&p); w != 0 {
		rows = append(rows, &servicev1.Evidence{Field: proto.String(fieldTogether), Level: proto.String("correction"), Weight: proto.Float64(w)})
	}
	if house >= 0 {
		rows = append(rows, &servicev1.Evidence{
			Field: proto.String(fieldHousehold), Level: proto.String(scaleOf(kindHouse)[house].name), Weight: proto.Float64(m.house.bits[house]),
		})
	}
	return rows, clean && compared > 0
}

// newPair puts evidence together; weight is the prior and the evidence added up in order.
func newPair(subject servicev1.LinkSubject, a, b string, prior float64, rows []*servicev1.Evidence, clean bool, opts Options) *servicev1.MatchPair {
	w := prior
	for _, e := range rows {
		w += e.GetWeight()
	}
	p := probability(w)
	return &servicev1.MatchPair{
		PairId:      proto.String(pairID(subject, a, b)),
		Subject:     subject.Enum(),
		AId:         proto.String(a),
		BId:         proto.String(b),
		Weight:      proto.Float64(w),
		Probability: proto.Float64(p),
		MatchClass:  opts.class(p, clean).Enum(),
		Evidence:    rows,
		PriorWeight: proto.Float64(prior),
	}
}

// pairID is the same for the same two ids in every run: a UUID made of the names (version 5).
func pairID(subject servicev1.LinkSubject, a, b string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("hearth:pair:"+subject.String()+":"+a+":"+b)).String()
}

// decided notes the decision in force on a pair.
func (v verdicts) decided(p *servicev1.MatchPair) {
	if d, ok := v.by[ordered(p.GetAId(), p.GetBId())]; ok {
		p.Decision, p.DecisionId = d.kind.Enum(), proto.String(d.id)
	}
}

// personPairs writes out the pairs of people with any weight to speak of, and those under decision.
func (m *Model) personPairs(f *frame, edges []edge, profiles []profile, v verdicts) []*servicev1.MatchPair {
	least := log2(m.opts.PossibleProbability/(1-m.opts.PossibleProbability)) - 1
	var out []*servicev1.MatchPair
	written := map[[2]string]bool{}
	write := func(i, j int32) {
		x, y := f.person(i, &profiles[i]), f.person(j, &profiles[j])
		p := m.personPair(x, y, m.houseLevel(f, i, j))
		v.decided(p)
		written[[2]string{x.id, y.id}] = true
		out = append(out, p)
	}
	for _, e := range edges {
		if e.weight >= least {
			write(e.a, e.b)
		}
	}
	for _, pair := range v.missing(written) {
		i, okA := m.rows[pair[0]]
		j, okB := m.rows[pair[1]]
		if okA && okB {
			write(i, j)
		}
	}
	return out
}

// person is a row of a frame as a person.
func (f *frame) person(i int32, p *profile) *Person {
	return &Person{id: p.id, keys: p.keys(), rosters: p.rosters(), values: f.values(i)}
}

// personPair explains two people. house is the household level, -1 for none.
func (m *Model) personPair(a, b *Person, house int) *servicev1.MatchPair {
	together := a.ListedWith(b)
	rows, clean := m.evidence(a.values, b.values, false, house)
	if together {
		clean = false
		rows = append(rows, &servicev1.Evidence{
			Field: proto.String(fieldRoster), Level: proto.String("listed in the same interview"), Weight: proto.Float64(sameRoster),
		})
	}
	p := newPair(servicev1.LinkSubject_LINK_SUBJECT_PERSON, a.id, b.id, m.prior, rows, clean, m.opts)
	p.AKey, p.BKey = proto.String(a.keys), proto.String(b.keys)
	return p
}

// houseLevel is the household evidence on two rows of the frame that the model was learnt on; -1 for none.
func (m *Model) houseLevel(f *frame, i, j int32) int {
	if !m.house.on || m.house.links == nil || f.apartByRoster(i, j) {
		return -1
	}
	return m.house.level(i, j, m.bare(f.values(i), f.values(j)))
}

// Explain compares two people field by field, whether a search proposed them or not. m is the model of the search; nil
// means the documented priors, for a study of unknown size. Each side holds all records of one person_id. The order of
// the sides makes no difference: the pair's first id is the smaller one.
func Explain(a, b []*servicev1.PersonRecord, m *Model) *servicev1.MatchPair {
	pa, pb := NewPerson(a), NewPerson(b)
	if pb.id < pa.id {
		pa, pb = pb, pa
	}
	if m == nil || len(m.columns) != len(pa.values) {
		m = unlearnt()
	}
	house := -1
	if i, ok := m.rows[pa.id]; ok && m.house.on && m.house.links != nil && !pa.ListedWith(pb) {
		if j, ok := m.rows[pb.id]; ok {
			house = m.house.level(i, j, m.bare(pa.values, pb.values))
		}
	}
	return m.personPair(pa, pb, house)
}

// unlearnt is the model of priors alone. It takes a study of a thousand people of whom one in fifty was met twice.
func unlearnt() *Model {
	m := &Model{opts: Options{}.withDefaults(), prior: log2(20 / float64(possible(1000)))}
	for _, field := range personFields {
		t := &terms{field: field.name, kind: field.kind, scale: scaleOf(field.kind)}
		pm, pu := t.scale.priors()
		m.m, m.u = append(m.m, pm), append(m.u, pu)
		m.columns = append(m.columns, t)
	}
	m.fast = newScorer(m)
	return m
}
