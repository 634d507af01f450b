// Package dedup finds people and households that were surveyed twice, for the supervisor who decides about them and for
// the services that count people. It compares records field by field, weighs each agreement in bits by how much likelier
// it is for one person than for two (Fellegi and Sunter), estimates those weights from the data themselves without
// labels, and hands back pairs that explain themselves row by row: the evidence of a pair and its prior add up to its
// weight. People and any CSV table go through the same engine.
//
// It only proposes. It never merges, never overrides a decision that a person took, keeps nothing, and reads no clock:
// the same records in any order give the same bytes. It will not link two people of one household who were listed in
// the same interview, and it takes a missing answer as no evidence, neither for nor against.
package dedup

import (
	"cmp"
	"math"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Options steers a search. The zero value is what a study should use; the engine sets itself from the data.
type Options struct {
	// LikelyProbability is the least probability of class LIKELY; 0 means 0.9.
	LikelyProbability float64
	// ExactProbability is the least probability of class EXACT, for which also nothing that was told may disagree; 0
	// means 0.99.
	ExactProbability float64
	// PossibleProbability is the least probability of class POSSIBLE; pairs below it are not returned unless there is a
	// decision about them. 0 means 0.1.
	PossibleProbability float64
	// MaxBlock is the largest group of records that are all compared with each other because they share one blocking
	// key; larger groups are split by a second key. 0 means 400.
	MaxBlock int
	// PairsPerRecord bounds how many pairs are compared, per record, fewer where there are more than 20,000; 0 means 60.
	PairsPerRecord int
	// NoHousehold switches off the evidence from other members of the same household.
	NoHousehold bool
}

// withDefaults fills the fields left at zero and puts those that make no sense back to their defaults.
func (o Options) withDefaults() Options {
	probability := func(p *float64, d float64) {
		if !(*p > 0 && *p < 1) {
			*p = d
		}
	}
	probability(&o.LikelyProbability, 0.9)
	probability(&o.ExactProbability, 0.99)
	probability(&o.PossibleProbability, 0.1)
	if o.MaxBlock < 2 {
		o.MaxBlock = 400
	}
	if o.PairsPerRecord < 1 {
		o.PairsPerRecord = 60
	}
	return o
}

// class names how sure the engine is of a probability. clean says that nothing that was told disagrees.
func (o Options) class(p float64, clean bool) servicev1.MatchClass {
	switch {
	case p >= o.ExactProbability && clean:
		return servicev1.MatchClass_MATCH_CLASS_EXACT
	case p >= o.LikelyProbability:
		return servicev1.MatchClass_MATCH_CLASS_LIKELY
	case p >= o.PossibleProbability:
		return servicev1.MatchClass_MATCH_CLASS_POSSIBLE
	}
	return servicev1.MatchClass_MATCH_CLASS_UNLIKELY
}

// Result is what one search found.
type Result struct {
	// People and Households count the distinct ids met.
	People, Households int
	// Compared counts the pairs of people that were compared, of all Possible pairs.
	Compared, Possible int64
	// Pairs holds people and households that may be the same, heaviest first, and every pair under decision.
	Pairs []*servicev1.MatchPair
	// Clusters holds those that count as one already: by a decision, or because several interviews carry one id.
	Clusters []Cluster
	// Model is what the search learnt of the data; Explain takes it.
	Model *Model
	// Recall is the share of true pairs that the blocking keys are expected to bring together, from 0 to 1; it rests on
	// assumed error rates, not on labels.
	Recall float64
	// Keys names the blocking keys that were chosen, in order of choice.
	Keys []string
}

// Cluster is a group of appearances that count as one person or one household.
type Cluster struct {
	// IDs holds the person or household ids, sorted; a single one if several interviews carry the same id.
	IDs []string
	// Canonical is the id of the earliest record.
	Canonical string
	// Subject says what the ids are ids of.
	Subject servicev1.LinkSubject
}

// Find compares people and households and proposes pairs that may be the same. Records that carry one person_id are one
// person already and are put together first. Decisions are shown on their pairs and never overridden.
func Find(people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord, decisions []*servicev1.LinkDecision, opts Options) *Result {
	e := NewEverybody(people)
	m, b, found := e.learn(opts)
	return m.result(e.f, b, found, e.profiles, people, households, decisions)
}

// result puts together what a search found.
func (m *Model) result(f *frame, b *blocking, found *found, profiles []profile, people []*servicev1.PersonRecord, households []*servicev1.HouseholdRecord, decisions []*servicev1.LinkDecision) *Result {
	verdicts := decide(decisions)
	r := &Result{
		People:     len(profiles),
		Households: countHouseholds(people, households),
		Compared:   found.compared,
		Possible:   possible(len(profiles)),
		Model:      m,
		Recall:     b.recall,
		Keys:       b.names,
	}
	matches := m.personPairs(f, found.edges, profiles, verdicts)
	for _, p := range matches {
		if p.GetProbability() >= m.opts.PossibleProbability || p.GetDecision() != servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED {
			r.Pairs = append(r.Pairs, p)
		}
	}
	r.Pairs = append(r.Pairs, householdPairs(people, households, matches, verdicts, m.opts)...)
	slices.SortFunc(r.Pairs, heavier)
	r.Clusters = append(personClusters(people, verdicts), householdClusters(people, households, verdicts)...)
	return r
}

// heavier orders pairs by weight, then subject and ids, so that the order never depends on chance.
func heavier(a, b *servicev1.MatchPair) int {
	return cmp.Or(
		-cmp.Compare(a.GetWeight(), b.GetWeight()),
		cmp.Compare(a.GetSubject(), b.GetSubject()),
		cmp.Compare(a.GetAId(), b.GetAId()),
		cmp.Compare(a.GetBId(), b.GetBId()),
	)
}

// possible is the number of pairs among n.
func possible(n int) int64 { return int64(n) * int64(n-1) / 2 }

// probability turns a weight in bits into a probability.
func probability(weight float64) float64 { return 1 / (1 + math.Exp2(-weight)) }
