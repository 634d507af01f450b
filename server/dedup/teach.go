package dedup

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// What people decide about pairs is worth more than what the engine guesses, but it is little, and of pairs that were
// chosen because they are hard. So an answer counts by as much as it is a surprise: a link at even chances is half a match more than the model stands
// for, a refusal half a match less, against taughtAgainst matches; and all weights are shifted by as much as makes the
// answers likeliest, held back by a prior of taughtSpread bits around none. How often different people agree is known from so many
// pairs that answers would not be felt.
const (
	taughtAgainst = 150
	taughtSpread  = 1.5
	mostTaught    = 4
)

// Answer is what somebody decided about two people.
type Answer struct {
	A, B *Person
	Same bool
}

// Taught is the model with what people decided taken into account: how often records of one person agree, and from which
// weight on two are likely one. m stays as it is; without answers the outcome is m. The order of the answers makes no
// difference.
func (m *Model) Taught(answers []Answer) *Model {
	pairs := make([]taught, 0, len(answers))
	for _, a := range answers {
		pairs = append(pairs, taught{a.A.values, a.B.values, a.Same})
	}
	return m.taught(pairs)
}

// taught is one answer by values.
type taught struct {
	a, b values
	same bool
}

// taught is Taught for values.
func (m *Model) taught(answers []taught) *Model {
	if len(answers) == 0 {
		return m
	}
	out := *m
	out.m, out.qualities, out.fast = m.surprised(answers), nil, nil
	for _, q := range m.qualities { // the sorts of matches move as all of them do
		moved := clone(q.m)
		for k, c := range m.columns {
			for l := range moved[k] {
				moved[k][l] *= out.m[k][l] / max(m.m[k][l], 1e-12)
			}
			c.scale.normalise(moved[k])
		}
		out.qualities = append(out.qualities, quality{q.share, moved})
	}
	out.fast = newScorer(&out)
	weights := make([]float64, len(answers))
	for i, a := range answers {
		weights[i] = out.bare(a.a, a.b)
	}
	bits := mostLikelyShift(weights, answers)
	out.prior += bits
	out.shift += bits
	out.fast = newScorer(&out)
	return &out
}

// surprised is m with the answers counted by as much as they were not expected.
func (m *Model) surprised(answers []taught) [][]float64 {
	counts := clone(m.m)
	for k := range counts {
		for l := range counts[k] {
			counts[k][l] *= taughtAgainst
		}
	}
	for _, a := range answers {
		p := emptyPattern()
		for k, c := range m.columns {
			l, _, _ := c.best(a.a[k], a.b[k])
			p[k] = int8(l)
		}
		surprise := -probability(m.bare(a.a, a.b))
		if a.same {
			surprise++
		}
		for k := range m.columns {
			if p[k] >= 0 {
				counts[k][p[k]] += surprise
			}
		}
	}
	for k, c := range m.columns {
		for l := range counts[k] {
			counts[k][l] = max(counts[k][l], m.m[k][l]*taughtAgainst/4, 1e-9)
		}
		c.scale.normalise(counts[k])
	}
	return counts
}

// mostLikelyShift is the shift of all weights under which the answers are likeliest.
func mostLikelyShift(weights []float64, answers []taught) float64 {
	lo, hi := -float64(mostTaught), float64(mostTaught)
	for range 40 {
		mid := (lo + hi) / 2
		slope := -mid / (taughtSpread * taughtSpread) // of the logarithm of the likelihood, in bits
		for i, w := range weights {
			p := probability(w + mid)
			if answers[i].same {
				slope += (1 - p) * math.Ln2
			} else {
				slope -= p * math.Ln2
			}
		}
		if slope > 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	return (lo + hi) / 2
}

// TableAnswer is what somebody decided about two records of a table, or about one of each of two.
type TableAnswer struct {
	A, B string
	Same bool
}

// answered is answers by row.
type answered struct {
	apart    map[[2]int32]bool
	together [][2]int32
	pairs    [][2]int32
	same     []bool
}

// rowsOf finds the records that answers are about. Of several about one pair the last counts; where links in a row would join
// two that are not the same, the last link is left out.
func (r *TableResult) rowsOf(answers []TableAnswer) (*answered, error) {
	a := &answered{apart: map[[2]int32]bool{}}
	if len(answers) == 0 {
		return a, nil
	}
	v := verdicts{by: map[[2]string]verdict{}}
	at := map[[2]string][2]int32{}
	name := func(row int) string { return fmt.Sprintf("%010d", row) }
	var order [][2]string
	for n, answer := range answers {
		i, j := r.row(answer.A, 0), r.row(answer.B, int(r.frame.first))
		if i < 0 || j < 0 || i == j {
			return nil, fault.New(fault.Invalid, fault.BadAnswers, "answer %d names %.64q and %.64q, which are not two records of the table", n+1, answer.A, answer.B)
		}
		pair := ordered(name(i), name(j))
		if _, known := v.by[pair]; !known {
			order = append(order, pair)
		}
		at[pair] = [2]int32{int32(min(i, j)), int32(max(i, j))}
		kind := servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK
		if answer.Same {
			kind = servicev1.DecisionKind_DECISION_KIND_LINK
		}
		v.by[pair] = verdict{kind: kind}
	}
	for _, pair := range order {
		if v.by[pair].kind == servicev1.DecisionKind_DECISION_KIND_LINK {
			v.links = append(v.links, pair)
		}
	}
	forest := newForest(v)
	for _, pair := range order {
		same := v.by[pair].kind == servicev1.DecisionKind_DECISION_KIND_LINK
		a.pairs, a.same = append(a.pairs, at[pair]), append(a.same, same)
		switch {
		case !same:
			a.apart[at[pair]] = true
		case forest.root(pair[0]) == forest.root(pair[1]):
			a.together = append(a.together, at[pair])
		}
	}
	return a, nil
}

// teach tells a model what people decided, and weighs all pairs again.
func (f *frame) teach(m *Model, b *blocking, before *found, answers *answered, truth []int32) (*Model, *found) {
	if len(answers.pairs) == 0 {
		return m, before
	}
	var pairs []taught
	for x, p := range answers.pairs {
		pairs = append(pairs, taught{f.values(p[0]), f.values(p[1]), answers.same[x]})
	}
	m = m.taught(pairs)
	after := m.weighAll(f, b, truth)
	if m.house.on {
		m.house.collect(f, after.edges)
		m.houseWeights(after.edges)
	}
	return m, after
}

// ReadAnswers reads answers about pairs from CSV: two ids, and yes or no, 是 or 否, 1 or 0. A first line that answers nothing is taken
// for a header.
func ReadAnswers(r io.Reader) ([]TableAnswer, error) {
	t, err := ReadTable(r)
	if err != nil {
		return nil, err
	}
	if len(t.Header) < 3 {
		return nil, fault.New(fault.Invalid, fault.BadAnswers, "the file of answers has %d columns; write two ids and yes or no on every line", len(t.Header))
	}
	var out []TableAnswer
	add := func(a, b, word string) bool {
		same, ok := answerWords[strings.ToLower(word)]
		if ok {
			out = append(out, TableAnswer{a, b, same})
		}
		return ok
	}
	add(t.Header[0], t.Header[1], t.Header[2])
	for i := range t.len() {
		if word := t.value(i, 2); !add(t.value(i, 0), t.value(i, 1), word) {
			return nil, fault.New(fault.Invalid, fault.BadAnswers, "record %d of the file of answers says %.40q, which is neither yes nor no", i+1, word)
		}
	}
	return out, nil
}

// answerWords are the ways to answer.
var answerWords = map[string]bool{
	"yes": true, "y": true, "1": true, "true": true, "link": true, "same": true, "是": true,
	"no": false, "n": false, "0": false, "false": false, "not": false, "cannot link": false, "different": false, "否": false,
}
