package referral

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// drawnSample is a sample of n people in ten chains, with one variable of two levels.
func drawnSample(n int) *Sample {
	random := rand.New(rand.NewPCG(5, 6))
	s := &Sample{Outcomes: []Outcome{{Name: "v", Levels: []string{"no", "yes"}}}}
	for i := range n {
		recruiter, wave := Unknown, int32(0)
		if i >= 10 {
			recruiter = int32(max(0, i-1-random.IntN(20)))
			wave = s.Wave[recruiter] + 1
		}
		s.IDs = append(s.IDs, fmt.Sprint(i))
		s.Recruiter = append(s.Recruiter, recruiter)
		s.Wave = append(s.Wave, wave)
		s.Seed = append(s.Seed, recruiter == Unknown)
		s.Degree = append(s.Degree, int32(1+random.IntN(60)))
		s.Recruits = append(s.Recruits, 0)
		s.Way = append(s.Way, "coupon")
		s.Outcomes[0].Level = append(s.Outcomes[0].Level, int32(random.IntN(2)))
	}
	s.findRoots()
	return s
}

func benchmarkEstimate(b *testing.B, n int, m Method, o Options) {
	s := drawnSample(n)
	for b.Loop() {
		if _, err := s.Estimate(0, m, o); err != nil {
			b.Fatal(err)
		}
	}
}

// The R package RDS needs 10.6 s for the first of these.
func BenchmarkBootstrap500(b *testing.B) { benchmarkEstimate(b, 500, RDS2, Options{Draws: 500}) }
func BenchmarkSuccessive500(b *testing.B) {
	benchmarkEstimate(b, 500, Successive, Options{Population: 5000})
}
func BenchmarkBootstrapSuccessive500(b *testing.B) {
	benchmarkEstimate(b, 500, Successive, Options{Population: 5000, Draws: 500})
}
func BenchmarkEstimateMillion(b *testing.B) { benchmarkEstimate(b, 1_000_000, RDS2, Options{}) }

// reportCPU measures processor time, too, which a busy machine does not spoil.
func reportCPU(b *testing.B, f func()) {
	b.ReportAllocs()
	before := cpuTime()
	n := 0
	for b.Loop() {
		f()
		n++
	}
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/1000/float64(n), "cpu-ms/op")
}

func cpuTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
