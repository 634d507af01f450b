package referral

import (
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// RoundSample is the sample of one round of interviews.
type RoundSample struct {
	Round uint32
	*Sample
}

// ByRound divides a graph's sample by round: in each stand those interviewed in it, with what they answered then. Who is a
// seed, and in which wave, is of the whole graph; a recruiter counts in a round if interviewed in it too.
func ByRound(f Facts, g *servicev1.ReferralGraph, answers func(Facts) ([]Values, error)) ([]RoundSample, error) {
	of := map[uint32][]*servicev1.InterviewSummary{}
	for _, iv := range f.Interviews {
		if iv != nil && held(iv.GetResult()) {
			of[iv.GetRound()] = append(of[iv.GetRound()], iv)
		}
	}
	var out []RoundSample
	for _, round := range slices.Sorted(maps.Keys(of)) {
		then := f
		then.People = nil
		for _, p := range f.People {
			if p.GetRound() == round {
				then.People = append(then.People, p)
			}
		}
		values, err := answers(then)
		if err != nil {
			return nil, err
		}
		whole := SampleOf(f, g, values...)
		rows := recordRows(respondents(g))
		keep := make([]bool, len(whole.IDs))
		for _, iv := range of[round] {
			if at, ok := rows[iv.GetRespondentId()]; ok {
				keep[at] = true
			}
		}
		out = append(out, RoundSample{round, whole.only(keep)})
	}
	return out, nil
}

// only is the sample of some of its rows.
func (s *Sample) only(keep []bool) *Sample {
	out := &Sample{}
	row := make([]int32, len(keep))
	for i, k := range keep {
		row[i] = Unknown
		if !k {
			continue
		}
		row[i] = int32(len(out.IDs))
		out.IDs, out.Degree, out.Wave = append(out.IDs, s.IDs[i]), append(out.Degree, s.Degree[i]), append(out.Wave, s.Wave[i])
		out.Seed, out.Recruits = append(out.Seed, s.Seed[i]), append(out.Recruits, s.Recruits[i])
		out.Way, out.Time = append(out.Way, s.Way[i]), append(out.Time, s.Time[i])
	}
	for i, k := range keep {
		if !k {
			continue
		}
		recruiter := Unknown
		if r := s.Recruiter[i]; r != Unknown {
			recruiter = row[r]
		}
		out.Recruiter = append(out.Recruiter, recruiter)
	}
	for _, o := range s.Outcomes {
		kept := Outcome{Name: o.Name, Levels: o.Levels}
		for i, k := range keep {
			if k {
				kept.Level = append(kept.Level, o.Level[i])
			}
		}
		out.Outcomes = append(out.Outcomes, kept)
	}
	out.findRoots()
	return out
}
