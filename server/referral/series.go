package referral

import (
	"cmp"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
)

// SeriesPoint is an estimate from everybody up to a wave.
type SeriesPoint struct {
	Wave int32
	// Respondents who answered, up to that wave.
	Respondents int
	// Shares by level; NaN if there is no estimate yet.
	Shares []float64
}

// Series is an estimate that grows wave by wave: of the whole sample, where it shows whether the estimate has settled, or
// of one chain, where several chains that settle at different values show a bottleneck.
type Series struct {
	Outcome string
	Levels  []string
	// Root is the person id of the chain's root; empty for the whole sample.
	Root   string
	Method Method
	Points []SeriesPoint
}

// Convergence estimates a variable from everybody up to wave 0, 1, 2 and so on.
func (s *Sample) Convergence(outcome int, m Method, o Options) (*Series, error) {
	if err := s.checkSeries(outcome, m); err != nil {
		return nil, err
	}
	all := make([]int32, len(s.IDs))
	for i := range all {
		all[i] = int32(i)
	}
	return s.series(outcome, m, o, all, ""), nil
}

// Bottleneck estimates a variable wave by wave in each chain of at least so many respondents, the largest chain first.
func (s *Sample) Bottleneck(outcome int, m Method, o Options, atLeast int) ([]*Series, error) {
	if err := s.checkSeries(outcome, m); err != nil {
		return nil, err
	}
	rows := make([][]int32, len(s.IDs))
	for i, r := range s.Root {
		rows[r] = append(rows[r], int32(i))
	}
	slices.SortStableFunc(rows, func(a, b []int32) int { return cmp.Compare(len(b), len(a)) })
	var out []*Series
	for _, chain := range rows {
		if len(chain) > 0 && len(chain) >= atLeast {
			out = append(out, s.series(outcome, m, o, chain, s.IDs[s.Root[chain[0]]]))
		}
	}
	return out, nil
}

// mostPoints bounds a series; where there are more waves, only some of them are points.
const mostPoints = 250

func (s *Sample) checkSeries(outcome int, m Method) error {
	if outcome < 0 || outcome >= len(s.Outcomes) {
		return fault.New(fault.Invalid, fault.BadRequest, "there is no outcome number %d: there are %d", outcome, len(s.Outcomes))
	}
	if m != Naive && m != RDS1 && m != RDS2 {
		return fault.New(fault.Invalid, fault.BadRequest, "a series is estimated by the naive method, RDS-I or RDS-II")
	}
	return nil
}

func (s *Sample) series(outcome int, m Method, o Options, among []int32, root string) *Series {
	out := &Series{Outcome: s.Outcomes[outcome].Name, Levels: s.Outcomes[outcome].Levels, Root: root, Method: m}
	byWave := [][]int32{}
	for _, i := range among {
		w := max(int(s.Wave[i]), 0)
		for w >= len(byWave) {
			byWave = append(byWave, nil)
		}
		byWave[w] = append(byWave[w], i)
	}
	var upTo []int32
	every := (len(byWave) + mostPoints - 1) / mostPoints
	for w, rows := range byWave {
		upTo = append(upTo, rows...)
		if (w+1)%every != 0 && w != len(byWave)-1 {
			continue
		}
		d := s.designOf(outcome, o, upTo)
		out.Points = append(out.Points, SeriesPoint{
			Wave: int32(w), Respondents: len(d.rows) - d.noAnswer, Shares: d.apply(d.tally(), m),
		})
	}
	return out
}
