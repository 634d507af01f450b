package referral

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Method is a way of estimating the shares of a variable's levels in the population.
type Method int

// The methods, from the one that corrects nothing to the one that corrects most.
const (
	// Naive is the share among the respondents.
	Naive Method = iota
	// RDS1 is the estimator of Salganik and Heckathorn (2004), from who recruited whom and mean network sizes.
	RDS1
	// RDS2 is the estimator of Volz and Heckathorn (2008), which weighs by one over the network size.
	RDS2
	// Successive is Gile's (2011) estimator for sampling without replacement; it needs the size of the population.
	Successive
)

// Methods lists all of them, in order.
func Methods() []Method { return []Method{Naive, RDS1, RDS2, Successive} }

// Word is the method's short name in files: "naive", "rds_i", "rds_ii", "ss".
func (m Method) Word() string {
	return []string{"naive", "rds_i", "rds_ii", "ss"}[min(max(m, Naive), Successive)]
}

// SizeRule says what is done with respondents whose network size is missing or zero.
type SizeRule int

// The rules.
const (
	// AsLargest takes the largest size told, so that they weigh least; the R package RDS does so.
	AsLargest SizeRule = iota
	// LeaveOut leaves those respondents out.
	LeaveOut
)

// Resampling is a way of drawing samples like the one there is.
type Resampling int

// The ways of resampling.
const (
	// ByTransitions draws one long chain whose levels follow each other as recruiter and recruit did (Salganik 2006).
	ByTransitions Resampling = iota
	// ByTrees draws seeds, then the recruits of each drawn person, and so on (Baraff, McCormick and Raftery 2016). Its
	// intervals are wider, and hold where chains branch much.
	ByTrees
)

// Options say how to estimate.
type Options struct {
	// Population is the number of people in the population; 0 if not known.
	Population float64
	// WithoutSeeds leaves the seeds out, and what they recruited out of the transitions.
	WithoutSeeds bool
	// Sizes is the rule for missing network sizes.
	Sizes SizeRule
	// Draws is the number of bootstrap samples; 0 for no intervals.
	Draws int
	// Resampling is how they are drawn.
	Resampling Resampling
	// RandomSeed makes the draws repeatable: the same one gives the same intervals.
	RandomSeed uint64
	// Confidence of the intervals; 0 means 0.95.
	Confidence float64
}

// Estimate is one variable estimated by one method, with all that is needed to judge it.
type Estimate struct {
	Outcome      string
	Method       Method
	WithoutSeeds bool
	// Population is the size assumed, by Successive only.
	Population float64
	// Respondents counted, and those left out for want of an answer.
	Respondents, NoAnswer int
	// SizesReplaced counts the missing or zero network sizes that were replaced, or left out, by the rule.
	SizesReplaced int
	Levels        []LevelEstimate
	// Draws is how many bootstrap samples could be estimated.
	Draws       int
	Assumptions []Assumption
	// Notes say what is odd about this estimate.
	Notes []*formv1.Text
}

// LevelEstimate is the share of one level.
type LevelEstimate struct {
	Level string
	// Count among the respondents.
	Count int
	// Share in the population; NaN if it cannot be estimated.
	Share float64
	// SE is the standard error, Low and High the ends of the interval; NaN without bootstrap.
	SE, Low, High float64
}

// Estimate estimates a variable. The error says why that cannot be done at all; a share that is NaN, with a note, means that the
// method finds no answer in these data.
func (s *Sample) Estimate(outcome int, m Method, o Options) (*Estimate, error) {
	if outcome < 0 || outcome >= len(s.Outcomes) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "there is no outcome number %d: there are %d", outcome, len(s.Outcomes))
	}
	if o.Confidence < 0 || o.Confidence >= 1 || math.IsNaN(o.Confidence) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "a confidence of %v is none: give a number between 0 and 1, such as 0.95", o.Confidence)
	}
	if m < Naive || m > Successive {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "there is no method number %d", m)
	}
	d := s.design(outcome, o)
	e := &Estimate{
		Outcome: s.Outcomes[outcome].Name, Method: m, WithoutSeeds: o.WithoutSeeds, Respondents: len(d.rows) - d.noAnswer,
		NoAnswer: d.noAnswer, SizesReplaced: d.replaced, Assumptions: s.assumptions(m, o, d),
	}
	if m == Successive {
		if !(o.Population > 0) || math.IsInf(o.Population, 0) {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "Gile's estimator needs the size of the population: give it")
		}
		if o.Population < float64(d.sampled) {
			return nil, fault.New(fault.Invalid, fault.BadRequest,
				"a population of %.0f is less than the %d respondents: give its real size", o.Population, d.sampled)
		}
		e.Population = d.population
	}
	t := d.tally()
	share := d.apply(t, m)
	for k, level := range d.outcome.Levels {
		n := int(sum(t.count[k]))
		e.Levels = append(e.Levels, LevelEstimate{Level: level, Count: n, Share: share[k], SE: math.NaN(), Low: math.NaN(), High: math.NaN()})
	}
	d.note(e, t)
	if o.Draws > 0 {
		d.intervals(e, o)
	}
	return e, nil
}

// Estimates estimates every variable by every method that the options allow: Gile's only where the population's size is
// given.
func (s *Sample) Estimates(o Options) ([]*Estimate, error) {
	var out []*Estimate
	for i := range s.Outcomes {
		for _, m := range Methods() {
			if m == Successive && o.Population == 0 {
				continue
			}
			e, err := s.Estimate(i, m, o)
			if err != nil {
				return nil, fmt.Errorf("estimate %s: %w", s.Outcomes[i].Name, err)
			}
			out = append(out, e)
		}
	}
	return out, nil
}

// design is a sample prepared for one variable.
type design struct {
	s          *Sample
	outcome    *Outcome
	rows       []int32   // who is counted
	in         []bool    // by row of the sample
	size       []float64 // by row of the sample: network size after the rule
	sizes      []float64 // distinct ones
	sizeAt     []int32   // by row: its place among them
	population float64   // of those counted
	sampled    int       // respondents of the whole sample
	noAnswer   int
	replaced   int
}

func (s *Sample) design(outcome int, o Options) *design {
	all := make([]int32, len(s.IDs))
	for i := range all {
		all[i] = int32(i)
	}
	return s.designOf(outcome, o, all)
}

// designOf prepares some rows of a sample.
func (s *Sample) designOf(outcome int, o Options, among []int32) *design {
	d := &design{
		s: s, outcome: &s.Outcomes[outcome], in: make([]bool, len(s.IDs)), size: make([]float64, len(s.IDs)),
		sizeAt: make([]int32, len(s.IDs)), population: o.Population, sampled: len(among),
	}
	var largest int32
	for _, i := range among {
		largest = max(largest, s.Degree[i])
	}
	var all, counted float64
	for _, i := range among {
		seed := o.WithoutSeeds && s.Seed[i]
		missing := s.Degree[i] <= 0
		d.size[i] = float64(max(s.Degree[i], 1))
		if missing {
			d.size[i] = float64(max(largest, 1))
		}
		all += 1 / d.size[i]
		if seed {
			continue
		}
		if missing {
			d.replaced++
			if o.Sizes == LeaveOut {
				continue
			}
		}
		counted += 1 / d.size[i]
		d.in[i] = true
		d.rows = append(d.rows, i)
		if d.outcome.Level[i] == Unknown {
			d.noAnswer++
		}
		d.sizes = append(d.sizes, d.size[i])
	}
	if all > 0 && len(d.rows) < len(among) { // as many of the population as the weights say belong to those left out
		d.population *= counted / all
	}
	slices.Sort(d.sizes)
	d.sizes = slices.Compact(d.sizes)
	for _, i := range d.rows {
		at, _ := slices.BinarySearch(d.sizes, d.size[i])
		d.sizeAt[i] = int32(at)
	}
	return d
}

// tally counts the sample itself.
func (d *design) tally() *tally {
	t := newTally(len(d.outcome.Levels), d.sizes)
	for _, i := range d.rows {
		k := d.outcome.Level[i]
		if k == Unknown {
			t.count[t.levels()][d.sizeAt[i]]++
			continue
		}
		t.count[k][d.sizeAt[i]]++
		if r := d.s.Recruiter[i]; r != Unknown && d.in[r] && d.outcome.Level[r] != Unknown {
			t.moves[d.outcome.Level[r]][k]++
		}
	}
	return t
}

func (d *design) apply(t *tally, m Method) []float64 {
	if t.levels() == 0 {
		return nil
	}
	switch m {
	case RDS1:
		return t.rds1()
	case RDS2:
		return t.rds2()
	case Successive:
		return t.successive(d.population)
	}
	return t.naive()
}

// note says what is odd about an estimate.
func (d *design) note(e *Estimate, t *tally) {
	add := func(en, zh string, args ...any) {
		e.Notes = append(e.Notes, text(fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...)))
	}
	if len(e.Levels) == 0 {
		add("nobody answered", "无人作答")
		return
	}
	if e.Method == RDS1 && math.IsNaN(e.Levels[0].Share) {
		add("recruitment never leads from some levels to others, so that their balance depends on the seeds: no estimate",
			"部分取值之间没有相互招募，均衡分布取决于种子，无法估计")
	}
	if e.Method == RDS1 {
		for k, level := range d.outcome.Levels {
			if sum(t.moves[k]) == 0 {
				add("those with %q recruited nobody whose answer is known; they are taken to recruit all alike", "取值为%q的受访者没有已知取值的招募对象，视为均等招募", level)
			}
		}
	}
	if d.replaced > 0 && e.Method != Naive {
		if len(d.rows)+d.replaced > d.sampled && !e.WithoutSeeds {
			add("%d network sizes are missing or zero and were taken to be the largest, %v", "%d人的社会网络规模缺失或为零，按最大值%v处理", d.replaced, d.sizes[len(d.sizes)-1])
		} else {
			add("%d respondents have no network size above zero", "%d人没有大于零的社会网络规模", d.replaced)
		}
	}
	slices.SortStableFunc(e.Notes, func(a, b *formv1.Text) int { return cmp.Compare(a.GetEn(), b.GetEn()) })
}
