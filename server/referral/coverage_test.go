package referral

import (
	"math/rand/v2"
	"testing"
)

// knownNetwork is a population whose shares are known: people of two groups, of whom the first have more acquaintances,
// and who know each other more within their group.
type knownNetwork struct {
	ties  [][]int32
	group []int32
	truth float64
}

func newKnownNetwork(n int, random *rand.Rand) *knownNetwork {
	w := &knownNetwork{ties: make([][]int32, n), group: make([]int32, n)}
	for i := range n {
		if i < n/5 {
			w.group[i] = 1
			w.truth += 1 / float64(n)
		}
	}
	for i := range n {
		for j := range i {
			p := 8.0 / float64(n)
			if w.group[i] != w.group[j] {
				p *= 0.6
			}
			if w.group[i]+w.group[j] == 2 {
				p *= 4
			}
			if random.Float64() < p {
				w.ties[i], w.ties[j] = append(w.ties[i], int32(j)), append(w.ties[j], int32(i))
			}
		}
	}
	return w
}

// recruit draws seeds by the number of their acquaintances, and lets everybody recruit up to two at random among those not
// yet recruited, until enough were.
func (w *knownNetwork) recruit(size int, random *rand.Rand) *Sample {
	s := &Sample{Outcomes: []Outcome{{Name: "group", Levels: []string{"0", "1"}}}}
	taken := make([]bool, len(w.ties))
	var who []int32
	add := func(person, recruiter int32) {
		taken[person] = true
		who = append(who, person)
		s.IDs = append(s.IDs, "")
		s.Recruiter = append(s.Recruiter, recruiter)
		s.Seed = append(s.Seed, recruiter == Unknown)
		s.Degree = append(s.Degree, int32(len(w.ties[person])))
		s.Recruits = append(s.Recruits, 0)
		s.Way = append(s.Way, "coupon")
		s.Outcomes[0].Level = append(s.Outcomes[0].Level, w.group[person])
		if recruiter == Unknown {
			s.Wave = append(s.Wave, 0)
		} else {
			s.Wave = append(s.Wave, s.Wave[recruiter]+1)
			s.Recruits[recruiter]++
		}
	}
	seed := func() {
		for {
			if i := random.IntN(len(w.ties)); !taken[i] && random.IntN(40) < len(w.ties[i]) {
				add(int32(i), Unknown)
				return
			}
		}
	}
	for range 5 {
		seed()
	}
	for at := 0; len(who) < size; at++ {
		if at == len(who) {
			seed()
		}
		var free []int32
		for _, x := range w.ties[who[at]] {
			if !taken[x] {
				free = append(free, x)
			}
		}
		random.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		for _, x := range free[:min(len(free), random.IntN(3))] {
			if len(who) < size {
				add(x, int32(at))
			}
		}
	}
	s.findRoots()
	return s
}

// TestIntervalsCoverTheTruth recruits 1,000 times on a network whose shares are known, and counts how often the intervals
// of 95 in a hundred hold them.
func TestIntervalsCoverTheTruth(t *testing.T) {
	const people, respondents, times = 1000, 200, 1000
	random := rand.New(rand.NewPCG(3, 4))
	w := newKnownNetwork(people, random)
	held := map[Method]int{}
	off := map[Method]float64{}
	for k := range times {
		s := w.recruit(respondents, random)
		for _, m := range []Method{Naive, RDS2, Successive} {
			o := Options{Draws: 100, RandomSeed: uint64(k), Population: people}
			if m == Naive { // only how far it is off is asked of it
				o.Draws = 0
			}
			e, err := s.Estimate(0, m, o)
			if err != nil {
				t.Fatal(err)
			}
			l := e.Levels[1]
			off[m] += (l.Share - w.truth) / times
			if l.Low <= w.truth && w.truth <= l.High {
				held[m]++
			}
		}
	}
	for _, m := range []Method{RDS2, Successive} {
		t.Logf("%s: %d of %d intervals hold the truth, the estimates are off by %+.4f on average", m.Word(), held[m], times, off[m])
		if held[m] < 920 || held[m] > 980 {
			t.Errorf("%s: %d of %d intervals hold the truth, want 920 to 980", m.Word(), held[m], times)
		}
		if off[m] < -0.015 || off[m] > 0.015 {
			t.Errorf("%s: off by %+.4f on average", m.Word(), off[m])
		}
	}
	if off[Naive] < 0.03 {
		t.Errorf("the naive share is off by only %+.4f: the network is too even to prove anything", off[Naive])
	}
}
