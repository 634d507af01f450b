package dedup

import (
	"cmp"
	"math"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// TablePair is two records of a table that may be one person's; Explain says why.
type TablePair struct {
	A, B        string
	Weight      float64 // bits; what is said of households and rivals is in it
	Probability float64
	Class       servicev1.MatchClass
}

// named lists the clusters of two and more by id, and how sure each is.
func named(roots []int32, ids []string, sure map[int32]float64) (out [][]string, confidence []float64) {
	size := make([]int32, len(roots))
	for _, r := range roots {
		size[r]++
	}
	at := map[int32]int{}
	for i, r := range roots {
		if size[r] < 2 {
			continue
		}
		n, ok := at[r]
		if !ok {
			n = len(out)
			at[r] = n
			out = append(out, make([]string, 0, size[r]))
			p, ok := sure[r]
			if !ok {
				p = 1
			}
			confidence = append(confidence, p)
		}
		out[n] = append(out[n], ids[i])
	}
	return out, confidence
}

// keep notes what is needed to explain pairs, and lists those that are possible or stand in one cluster.
func (r *TableResult) keep(m *Model, edges []edge, roots []int32, answers *answered) {
	slices.SortFunc(edges, compareEdges)
	r.model, r.edges, r.answers = m, edges, answers
	f, ids := r.frame, r.ids
	least := log2(m.opts.PossibleProbability / (1 - m.opts.PossibleProbability))
	var kept []edge
	for _, e := range edges {
		if e.weight >= least || roots[e.a] == roots[e.b] {
			kept = append(kept, e)
		}
	}
	slices.SortFunc(kept, func(x, y edge) int { return cmp.Or(-cmp.Compare(x.weight, y.weight), compareEdges(x, y)) })
	r.Pairs = make([]TablePair, len(kept))
	ranges(len(kept), func() struct{} { return struct{}{} }, func(_ struct{}, _ int, from, to int32) {
		for i := from; i < to; i++ {
			e := kept[i]
			p := probability(e.weight)
			clean := p >= m.opts.ExactProbability && f.clean(int(e.a), int(e.b))
			r.Pairs[i] = TablePair{ids[e.a], ids[e.b], e.weight, p, m.opts.class(p, clean)}
		}
	})
}

// compareEdges orders by the records.
func compareEdges(x, y edge) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) }

// clean says whether something was told on both sides, and nothing of it disagrees.
func (f *frame) clean(i, j int) bool {
	compared := false
	for _, c := range f.columns {
		if l, _, _ := c.compare(i, j); l >= 0 {
			if compared = true; !c.scale[l].agrees {
				return false
			}
		}
	}
	return compared
}

// Explain compares two records field by field, whether they were found or not. Of two tables the first id is of the first.
func (r *TableResult) Explain(a, b string) (*servicev1.MatchPair, error) {
	i, j := r.row(a, 0), r.row(b, int(r.frame.first))
	if i < 0 || j < 0 {
		missing := a
		if i >= 0 {
			missing = b
		}
		return nil, fault.New(fault.NotFound, fault.NoSuchPerson, "no record has the id %.64q", missing)
	}
	if i == j {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%.64q is one record: name two", a)
	}
	if i > j {
		i, j = j, i
	}
	return r.explain(int32(i), int32(j)), nil
}

// row finds an id, in the first table or from a row on; -1 if there is none.
func (r *TableResult) row(id string, from int) int {
	to := len(r.ids)
	if r.frame.two && from == 0 {
		to = int(r.frame.first)
	}
	if at := slices.Index(r.ids[from:to], id); at >= 0 {
		return from + at
	}
	return -1
}

// explain explains two rows. Where the weight that decided is another than the sum of what the fields say, whole households
// were compared, or rivals weighed against each other, and the difference has a row of its own.
func (r *TableResult) explain(i, j int32) *servicev1.MatchPair {
	m, f := r.model, r.frame
	rows, clean := m.evidence(f.values(i), f.values(j), f.apartByRoster(i, j), m.houseLevel(f, i, j))
	if f.apartByRoster(i, j) && m.doubles.u == nil {
		clean = false
		rows = append(rows, &servicev1.Evidence{
			Field: proto.String(fieldRoster), Level: proto.String("listed in the same interview"), Weight: proto.Float64(sameRoster),
		})
	}
	if at, ok := slices.BinarySearchFunc(r.edges, edge{a: i, b: j}, compareEdges); ok {
		sum := m.prior
		for _, e := range rows {
			sum += e.GetWeight()
		}
		if more := r.edges[at].weight - sum; math.Abs(more) > 1e-6 {
			field, level := fieldRivals, "shared out among all partners"
			if r.decided {
				field, level = fieldHousehold, "households compared whole"
			}
			rows = append(rows, &servicev1.Evidence{Field: proto.String(field), Level: proto.String(level), Weight: proto.Float64(more)})
		}
	}
	p := newPair(servicev1.LinkSubject_LINK_SUBJECT_PERSON, r.ids[i], r.ids[j], m.prior, rows, clean, m.opts)
	if at := slices.Index(r.answers.pairs, [2]int32{i, j}); at >= 0 {
		p.Decision = servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK.Enum()
		if r.answers.same[at] {
			p.Decision = servicev1.DecisionKind_DECISION_KIND_LINK.Enum()
		}
	}
	return p
}
