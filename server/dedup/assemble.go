package dedup

import (
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// mostHouse is how many bits other members of two households say for two people at most.
const mostHouse = 6

// LeastWeight is the least that two people may Weigh so that, with what their households say, they are still possible.
func (m *Model) LeastWeight() float64 { return bitsOf(m.opts.PossibleProbability) - mostHouse }

// Possible says whether a pair is likely enough to be shown.
func (m *Model) Possible(p *servicev1.MatchPair) bool {
	return p.GetProbability() >= m.opts.PossibleProbability
}

// bitsOf is the weight of a probability; probability is its inverse.
func bitsOf(p float64) float64 { return log2(p / (1 - p)) }

// Assemble makes the result of a search out of pairs of people found before, by Score with this model: it adds the decisions,
// the pairs under decision that were not found, households, and what counts as one. score compares two people who were
// not found; nil where one is not known. The pairs are changed.
func (m *Model) Assemble(people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord, pairs []*servicev1.MatchPair,
	decisions []*servicev1.LinkDecision, score func(a, b string) *servicev1.MatchPair) *Result {
	v := decide(decisions)
	ids := map[string]bool{}
	for _, p := range people {
		if p.GetPersonId() != "" {
			ids[p.GetPersonId()] = true
		}
	}
	r := &Result{
		People: len(ids), Households: countHouseholds(people, households), Possible: possible(len(ids)), Model: m, Recall: m.recall,
	}
	written := map[[2]string]bool{}
	for _, p := range pairs {
		v.decided(p)
		written[ordered(p.GetAId(), p.GetBId())] = true
	}
	for _, pair := range v.missing(written) {
		if p := score(pair[0], pair[1]); p != nil {
			v.decided(p)
			pairs = append(pairs, p)
		}
	}
	r.Pairs = append(slices.Clone(pairs), householdPairs(people, households, pairs, v, m.opts)...)
	slices.SortFunc(r.Pairs, heavier)
	r.Clusters = append(personClusters(people, v), householdClusters(people, households, v)...)
	return r
}
