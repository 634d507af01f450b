package dedup

import (
	"slices"
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

// evidence compares rows i and j of a frame whose columns are those of the model, field by field. The frame need not be
// the one the model was learnt from. house is the household level, -1 for none. clean says that nothing told disagrees.
func (m *Model) evidence(f *frame, i, j int, house int) (rows []*servicev1.Evidence, clean bool) {
	p := emptyPattern()
	clean = true
	same := m.doubles.u != nil && f.apartByRoster(int32(i), int32(j))
	compared := 0
	for k, c := range f.columns {
		l, x, y := c.compare(i, j)
		p[k] = int8(l)
		e := &servicev1.Evidence{Field: proto.String(c.field), Weight: proto.Float64(0)}
		if l < 0 {
			if len(c.rows.of(i))+len(c.rows.of(j)) == 0 {
				continue
			}
			e.ValueA, e.ValueB, e.Level = proto.String(c.shown(i)), proto.String(c.shown(j)), proto.String("missing")
			rows = append(rows, e)
			continue
		}
		compared++
		share, bits := m.columns[k].rarityOf(l, &c.atoms[x])
		e.ValueA, e.ValueB = proto.String(c.atoms[x].shown), proto.String(c.atoms[y].shown)
		weight := m.bits(k, l)
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
	} else if w := m.together(&p); w != 0 {
		rows = append(rows, &servicev1.Evidence{Field: proto.String(fieldTogether), Level: proto.String("correction"), Weight: proto.Float64(w)})
	}
	if house >= 0 {
		rows = append(rows, &servicev1.Evidence{
			Field: proto.String(fieldHousehold), Level: proto.String(scaleOf(kindHouse)[house].name), Weight: proto.Float64(m.house.bits[house]),
		})
	}
	return rows, clean && compared > 0
}

// shown lists all values of a record.
func (c *column) shown(i int) string {
	var out []string
	for _, a := range c.rows.of(i) {
		out = append(out, c.atoms[a].shown)
	}
	return strings.Join(out, ", ")
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
func (m *Model) personPairs(f *frame, b *blocking, weights []float64, profiles []profile, v verdicts) []*servicev1.MatchPair {
	least := log2(m.opts.PossibleProbability/(1-m.opts.PossibleProbability)) - 1
	var out []*servicev1.MatchPair
	written := map[[2]string]bool{}
	write := func(i, j int32) {
		p := m.personPair(f, i, j, i, j, &profiles[i], &profiles[j])
		v.decided(p)
		written[[2]string{profiles[i].id, profiles[j].id}] = true
		out = append(out, p)
	}
	for x, p := range b.pairs {
		if weights[x] >= least {
			write(p.a, p.b)
		}
	}
	var forced [][2]string
	for pair := range v.by {
		if !written[pair] {
			forced = append(forced, pair)
		}
	}
	slices.SortFunc(forced, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	for _, pair := range forced {
		i, okA := m.rows[pair[0]]
		j, okB := m.rows[pair[1]]
		if okA && okB {
			write(i, j)
		}
	}
	return out
}

// personPair explains rows i and j of a frame; ri and rj are their rows in the frame the model was learnt from, -1 if they
// are not in it.
func (m *Model) personPair(f *frame, i, j, ri, rj int32, a, b *profile) *servicev1.MatchPair {
	house := m.houseLevel(f, i, j, ri, rj)
	rows, clean := m.evidence(f, int(i), int(j), house)
	if f.apartByRoster(i, j) {
		clean = false
		rows = append(rows, &servicev1.Evidence{
			Field: proto.String(fieldRoster), Level: proto.String("listed in the same interview"), Weight: proto.Float64(sameRoster),
		})
	}
	p := newPair(servicev1.LinkSubject_LINK_SUBJECT_PERSON, a.id, b.id, m.prior, rows, clean, m.opts)
	p.AKey, p.BKey = proto.String(a.keys()), proto.String(b.keys())
	return p
}

// houseLevel is the household evidence on rows i and j of a frame that are rows ri and rj where the model was learnt; -1 for
// none.
func (m *Model) houseLevel(f *frame, i, j, ri, rj int32) int {
	if !m.house.on || ri < 0 || rj < 0 || f.apartByRoster(i, j) {
		return -1
	}
	p := f.pattern(int(i), int(j))
	w := m.plain(&p) + m.together(&p)
	for k, c := range f.columns {
		if l, x, _ := c.compare(int(i), int(j)); l >= 0 {
			_, bits := m.columns[k].rarityOf(l, &c.atoms[x])
			w += bits
		}
	}
	return m.house.level(ri, rj, w)
}

// Explain compares two people field by field, whether a search proposed them or not. m is the model of the search; nil
// means the documented priors, for a study of unknown size. Each side holds all records of one person_id. The order of
// the sides makes no difference: the pair's first id is the smaller one.
func Explain(a, b []*servicev1.PersonRecord, m *Model) *servicev1.MatchPair {
	pa, pb := side(a), side(b)
	if pb.id < pa.id {
		pa, pb = pb, pa
	}
	f := peopleFrame([]profile{pa, pb})
	if m == nil || len(m.columns) != len(f.columns) {
		m = unlearnt(f)
	}
	row := func(id string) int32 {
		if i, ok := m.rows[id]; ok {
			return i
		}
		return -1
	}
	return m.personPair(f, 0, 1, row(pa.id), row(pb.id), &pa, &pb)
}

// side makes a profile of one side, whatever ids its records carry.
func side(records []*servicev1.PersonRecord) profile {
	id := ""
	for _, r := range records {
		if id == "" || r.GetPersonId() < id {
			id = r.GetPersonId()
		}
	}
	return newProfile(id, records)
}

// unlearnt is the model of priors alone. It takes a study of a thousand people of whom one in fifty was met twice.
func unlearnt(f *frame) *Model {
	m := &Model{opts: Options{}.withDefaults(), prior: log2(20 / float64(possible(1000)))}
	for _, c := range f.columns {
		pm, pu := c.scale.priors()
		m.m, m.u = append(m.m, pm), append(m.u, pu)
		m.columns = append(m.columns, &column{field: c.field, kind: c.kind, scale: c.scale})
	}
	return m
}
