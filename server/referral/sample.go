package referral

import (
	"cmp"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Unknown stands in the columns of a sample for what is not known: a row, a network size, a level.
const Unknown int32 = -1

// Sample is the interviewed people of a graph in columns, one row each, as the estimators need them.
type Sample struct {
	// IDs are person ids, in ascending order where SampleOf made them.
	IDs []string
	// Recruiter is the row of the primary recruiter; Unknown for a seed, and where the recruiter was never interviewed.
	Recruiter []int32
	// Root is the row of the uppermost interviewed person of the chain above, the row itself for a root.
	Root []int32
	// Degree is the network size told; Unknown if not asked or not answered, 0 if that was told.
	Degree []int32
	// Wave is the depth in the referral forest.
	Wave []int32
	// Seed is true for whom an enumerator marked as a seed.
	Seed []bool
	// Recruits counts the direct recruits, interviewed or not.
	Recruits []int32
	// Way is how the person came in: "seed", a mode of referral ("coupon", "named", "institution"), another way of being
	// reached ("convenience", "random_at_site"), or Unspecified.
	Way []string
	// Time is when the person was first interviewed, in milliseconds since 1970; 0 if not known.
	Time []int64
	// Outcomes are the variables to be estimated.
	Outcomes []Outcome
}

// Outcome is a variable of a sample that has few levels.
type Outcome struct {
	// Name is the variable's name.
	Name string
	// Levels are its values in natural order, 2 before 10.
	Levels []string
	// Level is the index of each row's value among the levels; Unknown if there is none.
	Level []int32
}

// Values are the answers to one variable by person id. A person who is not in it, or whose text is empty, has no answer.
type Values struct {
	Name string
	Of   map[string]string
}

// SampleOf lays the interviewed people of a graph out in columns. Of a person made of several records the value of the
// record that gave the node its id counts, else that of the first of the others that has one.
func SampleOf(f Facts, g *servicev1.ReferralGraph, outcomes ...Values) *Sample {
	s := &Sample{}
	nodes := respondents(g)
	row := make(map[string]int32, len(nodes))
	for i, n := range nodes {
		row[n.GetPersonId()] = int32(i)
		s.IDs = append(s.IDs, n.GetPersonId())
		s.Wave = append(s.Wave, n.GetWave())
		s.Seed = append(s.Seed, n.GetSeed())
		s.Recruits = append(s.Recruits, n.GetRecruits())
		size := Unknown
		if n.NetworkSize != nil && n.GetNetworkSize() >= 0 {
			size = n.GetNetworkSize()
		}
		s.Degree = append(s.Degree, size)
	}
	s.Recruiter = slices.Repeat([]int32{Unknown}, len(nodes))
	s.Way = make([]string, len(nodes))
	s.reachedBy(g, row)
	s.waysTold(f, nodes)
	s.times(f, nodes)
	s.findRoots()
	for _, v := range outcomes {
		s.Outcomes = append(s.Outcomes, outcomeOf(v, nodes))
	}
	return s
}

// respondents are the interviewed people of a graph in ascending order of their ids: the rows of its sample.
func respondents(g *servicev1.ReferralGraph) []*servicev1.ReferralNode {
	var nodes []*servicev1.ReferralNode
	for _, n := range g.GetNodes() {
		if n.GetInterviewed() && n.GetKind() != KindSite {
			nodes = append(nodes, n)
		}
	}
	slices.SortStableFunc(nodes, func(a, b *servicev1.ReferralNode) int { return cmp.Compare(a.GetPersonId(), b.GetPersonId()) })
	return nodes
}

// reachedBy reads recruiters and ways from the primary edges.
func (s *Sample) reachedBy(g *servicev1.ReferralGraph, row map[string]int32) {
	sites := map[string]bool{}
	for _, n := range g.GetNodes() {
		if n.GetKind() == KindSite {
			sites[n.GetPersonId()] = true
		}
	}
	for _, e := range g.GetEdges() {
		to, ok := row[e.GetToId()]
		if !ok || !e.GetPrimary() {
			continue
		}
		if from, ok := row[e.GetFromId()]; ok && from != to {
			s.Recruiter[to] = from
		}
		s.Way[to] = e.GetMode()
		if sites[e.GetFromId()] {
			s.Way[to] = lowerName(surveyv1.ReferralMode_REFERRAL_MODE_INSTITUTION.String(), "REFERRAL_MODE_")
		}
	}
}

// waysTold fills in the ways of those who were not referred, from the recruitment told first.
func (s *Sample) waysTold(f Facts, nodes []*servicev1.ReferralNode) {
	of := recordRows(nodes)
	start := map[string]int64{}
	respondent := map[string]string{}
	for _, iv := range f.Interviews {
		id := iv.GetInterviewId()
		if at, ok := start[id]; !ok || startOf(iv) < at {
			start[id] = startOf(iv)
		}
		respondent[id] = firstWord(respondent[id], iv.GetRespondentId())
	}
	type told struct {
		time      int64
		interview string
		way       string
	}
	first := make([]told, len(nodes))
	for _, r := range f.Recruitments {
		at, ok := of[cmp.Or(r.GetPersonId(), respondent[r.GetInterviewId()])]
		way := lowerName(r.GetMode().String(), "RECRUITMENT_MODE_")
		if !ok || way == "" || way == "referred" {
			continue
		}
		t := told{never, r.GetInterviewId(), way}
		if ms, ok := start[t.interview]; ok {
			t.time = ms
		}
		if b := first[at]; b.way == "" || cmp.Or(cmp.Compare(t.time, b.time), cmp.Compare(t.interview, b.interview), cmp.Compare(t.way, b.way)) < 0 {
			first[at] = t
		}
	}
	for i := range s.Way {
		if s.Seed[i] {
			s.Way[i] = "seed"
		} else {
			s.Way[i] = cmp.Or(s.Way[i], first[i].way, Unspecified)
		}
	}
}

// times finds when each was first interviewed.
func (s *Sample) times(f Facts, nodes []*servicev1.ReferralNode) {
	s.Time = make([]int64, len(nodes))
	of := recordRows(nodes)
	met := func(person string, ms int64) {
		if at, ok := of[person]; ok && ms != never && (s.Time[at] == 0 || ms < s.Time[at]) {
			s.Time[at] = ms
		}
	}
	for _, p := range f.People {
		if p.GetInterviewed() {
			met(p.GetPersonId(), instant(p.InterviewTimeMs))
		}
	}
	for _, iv := range f.Interviews {
		if iv != nil && held(iv.GetResult()) {
			met(iv.GetRespondentId(), instant(iv.StartTimeMs))
		}
	}
}

// recordRows leads from all person ids, merged ones too, to the places of their nodes.
func recordRows(nodes []*servicev1.ReferralNode) map[string]int32 {
	of := make(map[string]int32, len(nodes))
	for i, n := range nodes {
		of[n.GetPersonId()] = int32(i)
		for _, id := range n.GetMergedIds() {
			of[id] = int32(i)
		}
	}
	return of
}

// findRoots follows recruiters upwards.
func (s *Sample) findRoots() {
	s.Root = make([]int32, len(s.Recruiter))
	for _, i := range topDown(s.Recruiter) {
		s.Root[i] = i
		if r := s.Recruiter[i]; r != Unknown {
			s.Root[i] = s.Root[r]
		}
	}
}

func outcomeOf(v Values, nodes []*servicev1.ReferralNode) Outcome {
	o := Outcome{Name: v.Name, Level: make([]int32, len(nodes))}
	texts := make([]string, len(nodes))
	at := map[string]int32{}
	for i, n := range nodes {
		texts[i] = v.Of[n.GetPersonId()]
		for _, id := range n.GetMergedIds() {
			texts[i] = cmp.Or(texts[i], v.Of[id])
		}
		if _, ok := at[texts[i]]; !ok && texts[i] != "" {
			at[texts[i]] = 0
			o.Levels = append(o.Levels, texts[i])
		}
	}
	slices.SortFunc(o.Levels, compareNatural)
	for i, l := range o.Levels {
		at[l] = int32(i)
	}
	for i, text := range texts {
		o.Level[i] = Unknown
		if text != "" {
			o.Level[i] = at[text]
		}
	}
	return o
}

// ReadOutcomes reads the variables named from a table whose column id holds the person ids. Words for missing values,
// such as NA, are no answers; of several rows of one id the first that has an answer counts.
func ReadOutcomes(t Table, id string, names ...string) ([]Values, error) {
	at, err := column(t.Header, id, "id", true)
	if err != nil {
		return nil, err
	}
	out := make([]Values, 0, len(names))
	for _, name := range names {
		c, err := column(t.Header, name, "outcome", true)
		if err != nil {
			return nil, err
		}
		v := Values{Name: name, Of: make(map[string]string, len(t.Rows))}
		rd := tableReader{table: t}
		for i := range t.Rows {
			person, text := rd.cell(i, at), rd.cell(i, c)
			if person != "" && text != "" && !slices.Contains(missingWords, text) && v.Of[person] == "" {
				v.Of[person] = text
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// startOf is when an interview started, never if that is not known.
func startOf(iv *servicev1.InterviewSummary) int64 {
	if iv == nil {
		return never
	}
	return instant(iv.StartTimeMs)
}
