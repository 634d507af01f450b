package referral

import "slices"

// DegreeChecks are the doubts about network sizes that the sample itself raises.
type DegreeChecks struct {
	// Respondents, and how many told no size or zero.
	Respondents, Missing, Zero int
	// BelowRecruits counts sizes smaller than the person's recruits and the recruiter; their ids are TooSmall.
	BelowRecruits int
	TooSmall      []string
	// OverFifteen counts sizes above 15, and RoundFive and RoundTen those of them that are multiples of 5 and of 10.
	// Where people count, about 20 and 10 in a hundred are; more is heaping.
	OverFifteen, RoundFive, RoundTen int
	// Sizes told: the smallest, the middle one, the mean, the 99th percentile and the largest.
	Least, Median, Mean, P99, Most float64
	// VeryLarge are the ids of those above the 99th percentile. Such sizes are often real.
	VeryLarge []string
	// MeanByWave is the mean size told in each wave, 0 where nobody told one; TellersByWave how many told one.
	MeanByWave    []float64
	TellersByWave []int
}

// CheckDegrees looks at the network sizes.
func (s *Sample) CheckDegrees() *DegreeChecks {
	c := &DegreeChecks{Respondents: len(s.IDs)}
	var told []float64
	for i, d := range s.Degree {
		if d < 0 {
			c.Missing++
			continue
		}
		if d == 0 {
			c.Zero++
		}
		if d < s.needs(int32(i)) {
			c.BelowRecruits++
			c.TooSmall = append(c.TooSmall, s.IDs[i])
		}
		if d > 15 {
			c.OverFifteen++
			if d%5 == 0 {
				c.RoundFive++
			}
			if d%10 == 0 {
				c.RoundTen++
			}
		}
		told = append(told, float64(d))
		w := max(int(s.Wave[i]), 0)
		for w >= len(c.MeanByWave) {
			c.MeanByWave, c.TellersByWave = append(c.MeanByWave, 0), append(c.TellersByWave, 0)
		}
		c.MeanByWave[w] += float64(d)
		c.TellersByWave[w]++
	}
	for w, n := range c.TellersByWave {
		if n > 0 {
			c.MeanByWave[w] /= float64(n)
		}
	}
	if len(told) == 0 {
		return c
	}
	slices.Sort(told)
	n := len(told)
	c.Least, c.Most, c.Mean = told[0], told[n-1], sum(told)/float64(n)
	c.Median = (told[(n-1)/2] + told[n/2]) / 2
	c.P99 = told[(n*99+99)/100-1]
	for i, d := range s.Degree {
		if float64(d) > c.P99 {
			c.VeryLarge = append(c.VeryLarge, s.IDs[i])
		}
	}
	return c
}
