package referral

import (
	"math"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Mixing is who recruited whom by the levels of one variable.
type Mixing struct {
	Outcome string
	Levels  []string
	// Counts of recruits, by level of the recruiter and level of the recruit.
	Counts [][]int
	// Transitions are the counts as shares of the recruiter's level. A level that recruited nobody is taken to recruit
	// all alike.
	Transitions [][]float64
	// Equilibrium is the mix of levels that recruitment tends to; NaN if it depends on the seeds.
	Equilibrium []float64
	// HarmonicDegree is the harmonic mean network size of each level, without missing sizes.
	HarmonicDegree []float64
	// RecruitmentHomophily is the number of recruits like their recruiter over the number to be expected by chance.
	RecruitmentHomophily float64
	// PopulationHomophily estimates, for each level against all others, how many ties between the two there would be by
	// chance over how many there are. NaN where nothing is known of it.
	PopulationHomophily []float64
	// DifferentialActivity is the mean network size of each level over that of all others, in the population.
	DifferentialActivity []float64
}

// Mixing measures how one variable goes with recruitment. Weights are those of RDS-II.
func (s *Sample) Mixing(outcome int, o Options) (*Mixing, error) {
	if outcome < 0 || outcome >= len(s.Outcomes) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "there is no outcome number %d: there are %d", outcome, len(s.Outcomes))
	}
	d := s.design(outcome, o)
	t := d.tally()
	m := &Mixing{
		Outcome: d.outcome.Name, Levels: d.outcome.Levels, Transitions: transitions(t.moves), RecruitmentHomophily: recruitmentHomophily(t.moves),
	}
	if t.levels() == 0 {
		return m, nil
	}
	m.Equilibrium = stationary(m.Transitions)
	for _, row := range t.moves {
		counts := make([]int, len(row))
		for k, v := range row {
			counts[k] = int(v)
		}
		m.Counts = append(m.Counts, counts)
	}
	told := o
	told.Sizes = LeaveOut
	m.HarmonicDegree = s.design(outcome, told).tally().harmonicMeans()
	m.PopulationHomophily = d.populationHomophily()
	for k := range d.outcome.Levels {
		m.DifferentialActivity = append(m.DifferentialActivity, t.activity(k))
	}
	return m, nil
}

func recruitmentHomophily(moves [][]float64) float64 {
	total, same, expected := 0.0, 0.0, 0.0
	column := make([]float64, len(moves))
	for i, row := range moves {
		same += row[i]
		total += sum(row)
		for k, v := range row {
			column[k] += v
		}
	}
	for i, row := range moves {
		expected += sum(row) * column[i] / total
	}
	return same / expected
}

// activity is the mean network size of one level over that of all others.
func (t *tally) activity(level int) float64 {
	var people, weight [2]float64 // others, level
	for k := range t.levels() {
		side := 0
		if k == level {
			side = 1
		}
		for i, c := range t.count[k] {
			people[side] += c // a weight of 1/size times the size
			weight[side] += c / t.sizes[i]
		}
	}
	return people[1] / weight[1] / (people[0] / weight[0])
}

// populationHomophily estimates ties across each level's border from the recruits of those who recruited: their network
// is taken to be made up as their recruits are. Who has a recruit whose level is not known says nothing.
func (d *design) populationHomophily() []float64 {
	levels := len(d.outcome.Levels)
	recruits := matrix(len(d.s.IDs), levels+1)
	for _, i := range d.rows {
		if r := d.s.Recruiter[i]; r != Unknown && d.in[r] {
			k := int(d.outcome.Level[i])
			if k < 0 {
				k = levels
			}
			recruits[r][k]++
		}
	}
	out := make([]float64, levels)
	for g := range out {
		var weight, inside, degreeIn, degreeOut, across, everybody, degrees float64
		for _, i := range d.rows {
			n := sum(recruits[i])
			own := d.outcome.Level[i]
			if n == 0 || recruits[i][levels] > 0 {
				continue
			}
			w, size := 1/d.size[i], d.size[i]
			everybody, degrees = everybody+w, degrees+w*size
			if own == Unknown {
				continue
			}
			like := recruits[i][g] / n * size
			weight += w
			if int(own) == g {
				inside += w
				degreeIn += w * size
				across += w * (size - like)
			} else {
				degreeOut += w * size
				across += w * like
			}
		}
		p := inside / weight
		mean0, mean1 := degreeOut/weight/(1-p), degreeIn/weight/p
		out[g] = 2 * p * mean0 * (1 - p) * mean1 / (across / weight * (degrees / everybody))
		if math.IsInf(out[g], 0) {
			out[g] = math.NaN()
		}
	}
	return out
}
