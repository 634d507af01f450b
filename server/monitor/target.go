package monitor

import (
	"strconv"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// targetDims are the dimensions that a target may be set in.
var targetDims = [...]servicev1.Dimension{
	servicev1.Dimension_DIMENSION_QUESTIONNAIRE,
	servicev1.Dimension_DIMENSION_SITE,
	servicev1.Dimension_DIMENSION_ENUMERATOR,
	servicev1.Dimension_DIMENSION_ROUND,
}

// goal is a target by the key it names in each of targetDims; an empty key means all.
type goal struct {
	keys [len(targetDims)]string
	n    int64
}

// targets answers how many completed interviews are expected in a row of a table.
type targets struct {
	goals []goal
	sums  map[string]map[string][]goal // goals by the values they set in a list of dimensions, per list
}

func newTargets(study *surveyv1.Study) *targets {
	t := &targets{sums: map[string]map[string][]goal{}}
	for _, x := range study.GetTargets() {
		g := goal{n: x.GetInterviews(), keys: [len(targetDims)]string{x.GetQuestionnaire(), x.GetSiteId(), x.GetEnumerator()}}
		if x.GetRound() != 0 {
			g.keys[3] = strconv.FormatUint(uint64(x.GetRound()), 10)
		}
		t.goals = append(t.goals, g)
	}
	return t
}

// positions returns where in targetDims the dimensions of a table stand; ok is false where a target cannot be set in
// one of them (a day, a result), so that no row of the table has a target.
func positions(by []servicev1.Dimension) (at []int, ok bool) {
	for _, d := range by {
		found := -1
		for i, td := range targetDims {
			if td == d {
				found = i
			}
		}
		if found < 0 {
			return nil, false
		}
		at = append(at, found)
	}
	return at, true
}

// rows returns an empty cell for every row of the table that a target asks for.
func (t *targets) rows(by []servicev1.Dimension) []*servicev1.CountCell {
	at, ok := positions(by)
	if !ok || len(at) == 0 {
		return nil
	}
	var out []*servicev1.CountCell
	for _, g := range t.goals {
		if !g.sets(at) {
			continue
		}
		c := &servicev1.CountCell{
			Questionnaire: proto.String(g.keys[0]), SiteId: proto.String(g.keys[1]), Enumerator: proto.String(g.keys[2]),
		}
		if r, err := strconv.ParseUint(g.keys[3], 10, 32); err == nil {
			c.Round = proto.Uint32(uint32(r))
		}
		out = append(out, c)
	}
	return out
}

func (g goal) sets(at []int) bool {
	for _, i := range at {
		if g.keys[i] == "" {
			return false
		}
	}
	return true
}

// of returns the target of the row with these keys, nil where there is none. A target that leaves open one of the
// table's dimensions belongs to no single row and shows in coarser tables and in the total only.
func (t *targets) of(by []servicev1.Dimension, keys []string) *int64 {
	at, ok := positions(by)
	if !ok || len(t.goals) == 0 {
		return nil
	}
	n, ok := sum(t.index(at)[joinKeys(keys)], freeDims(at))
	if !ok {
		return nil
	}
	return &n
}

// index sorts the goals that set all dimensions at these positions by the keys they set there.
func (t *targets) index(at []int) map[string][]goal {
	name := ""
	for _, i := range at {
		name += strconv.Itoa(i) + ","
	}
	if m, ok := t.sums[name]; ok {
		return m
	}
	m := map[string][]goal{}
	for _, g := range t.goals {
		if !g.sets(at) {
			continue
		}
		keys := make([]string, len(at))
		for j, i := range at {
			keys[j] = g.keys[i]
		}
		k := joinKeys(keys)
		m[k] = append(m[k], g)
	}
	t.sums[name] = m
	return m
}

func joinKeys(keys []string) string {
	var b []byte
	for _, k := range keys {
		b = append(append(b, k...), 0)
	}
	return string(b)
}

func freeDims(at []int) []int {
	var free []int
	for i := range targetDims {
		used := false
		for _, j := range at {
			used = used || i == j
		}
		if !used {
			free = append(free, i)
		}
	}
	return free
}

// sum adds goals up over the dimensions that are left. A study may state the same interviews twice, by questionnaire
// and again by site: a target that leaves all of these dimensions open is believed; otherwise the goals are added up
// along each dimension that is left, and the largest sum is the target.
func sum(goals []goal, free []int) (n int64, ok bool) {
	for _, g := range goals {
		open := true
		for _, i := range free {
			open = open && g.keys[i] == ""
		}
		if open {
			n, ok = n+g.n, true
		}
	}
	if ok {
		return n, true
	}
	for j, i := range free {
		parts := map[string][]goal{}
		for _, g := range goals {
			if g.keys[i] != "" {
				parts[g.keys[i]] = append(parts[g.keys[i]], g)
			}
		}
		rest := append(append([]int{}, free[:j]...), free[j+1:]...)
		var along int64
		for _, part := range parts {
			if m, has := sum(part, rest); has {
				along, ok = along+m, true
			}
		}
		n = max(n, along)
	}
	return n, ok
}
