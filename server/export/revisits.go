package export

import "cmp"

// revisits are the interviews of households that were, or may have been, interviewed more than once with one questionnaire in one
// round: visited again, entered twice, or found by linkage to be the same.
type revisits struct {
	// again tells of a household's id whether it occurs more than once; nil: none does.
	again   func(household, questionnaire string, round uint32) bool
	by      map[string][]visit // by cleaning.key
	best    map[string]visit   // which of them counts
	settled bool
}

// visit is one of them.
type visit struct {
	interview, household string
	start                int64
	rank                 int  // by review state
	in                   bool // it belongs to the analysis set, the others aside
}

func visitOf(x *extractor, in bool) visit {
	return visit{
		interview: x.interview.GetInterviewId(), household: x.interview.GetHousehold().GetHouseholdId(),
		start: x.summary.GetStartTimeMs(), rank: int(x.summary.GetReviewState()), in: in,
	}
}

func (v visit) earlier(o visit) bool {
	return cmp.Or(cmp.Compare(v.start, o.start), cmp.Compare(v.interview, o.interview)) < 0
}

func (s *revisits) may(household, questionnaire string, round uint32) bool {
	return s.again != nil && s.again(household, questionnaire, round)
}

func (s *revisits) add(key string, v visit) {
	if s.by == nil {
		s.by = map[string][]visit{}
	}
	s.by[key] = append(s.by[key], v)
}

// settle decides which visits count, once all have been seen: of those under one id the highest in review, and of these the last;
// then of the ids the highest in review, and of these the first.
func (s *revisits) settle() {
	if s.settled {
		return
	}
	s.settled, s.best = true, map[string]visit{}
	for key, list := range s.by {
		best := map[string]visit{}
		for _, v := range list {
			if b, ok := best[v.household]; v.in && (!ok || v.rank > b.rank || v.rank == b.rank && b.earlier(v)) {
				best[v.household] = v
			}
		}
		for _, v := range best {
			if b, ok := s.best[key]; !ok || v.rank > b.rank || v.rank == b.rank && v.earlier(b) {
				s.best[key] = v
			}
		}
	}
}

// of says which visit of a household, from 1, an interview is, and which interview counts; its own where none does.
func (s *revisits) of(key, interview string) (number int64, counts string) {
	var mine visit
	for _, v := range s.by[key] {
		if v.interview == interview {
			mine = v
		}
	}
	number, counts = 1, interview
	for _, v := range s.by[key] {
		if v.earlier(mine) {
			number++
		}
	}
	if b, ok := s.best[key]; ok {
		counts = b.interview
	}
	return number, counts
}

// why is why a visit under a household's id does not count where another does.
func (s *revisits) why(key, household string) standing {
	if s.best[key].household == household {
		return visitedAgain
	}
	return duplicate
}

// result says whether the result of an interview is that of the household: where one counts it, and otherwise the last.
func (s *revisits) result(key, interview string) bool {
	if b, ok := s.best[key]; ok {
		return b.interview == interview
	}
	var last visit
	for i, v := range s.by[key] {
		if i == 0 || last.earlier(v) {
			last = v
		}
	}
	return last.interview == interview
}
