package referral

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// TestPreparedIsTheSame merges and takes back in any order, from facts prepared once, and wants the graph and the counts
// that are made afresh.
func TestPreparedIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := junk(t)
		p := Prepare(f)
		person := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "nobody", "none"})
		for range 4 {
			f.Merged = rapid.MapOfN(person, person, 0, 4).Draw(t, "merged")
			want := Build(f)
			if !proto.Equal(want, p.Build(f.Merged)) {
				t.Fatal("got another graph")
			}
			if got := p.Stats(f.Merged); !proto.Equal(Stats(f, want), got) {
				t.Fatalf("got other counts: %v, want %v", got, Stats(f, want))
			}
		}
	})
}

// TestPreparedServesSeveral is for the race detector.
func TestPreparedServesSeveral(t *testing.T) {
	p := Prepare(largeStudy(500))
	want := p.Stats(nil)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if !proto.Equal(want, p.Stats(nil)) || len(p.Build(nil).GetNodes()) != 500 {
				t.Error("got other counts")
			}
		})
	}
	wait.Wait()
}

// millionStudy is a study of n people with a tenth more referrals than people.
func millionStudy(n int) (Facts, map[string]string) {
	f := largeStudy(n)
	random := rand.New(rand.NewPCG(11, 12))
	for i := 0; i < n; i += 9 {
		to := f.People[i]
		f.Referrals = append(f.Referrals, &servicev1.ReferralRecord{
			ReferralId: proto.String(fmt.Sprintf("other-%d", i)), InterviewId: to.InterviewId, ToPersonId: to.PersonId, ToldByRecruit: proto.Bool(true),
			FromPersonId: f.People[random.IntN(n)].PersonId,
		})
	}
	merged := map[string]string{}
	for range n / 100 {
		merged[f.People[random.IntN(n)].GetPersonId()] = f.People[random.IntN(n)].GetPersonId()
	}
	return f, merged
}

func benchmarkPrepared(b *testing.B, n int) {
	f, merged := millionStudy(n)
	var p *Prepared
	b.Run("prepare", func(b *testing.B) { reportCPU(b, func() { p = Prepare(f) }) })
	if p == nil {
		p = Prepare(f)
	}
	f = Facts{} // the numbers stand by themselves
	runtime.GC()
	b.Run("stats after merges", func(b *testing.B) { reportCPU(b, func() { p.Stats(merged) }) })
	one := map[string]string{}
	for x, y := range merged {
		if x != y {
			one[x] = y
			break
		}
	}
	b.Run("stats after one merge", func(b *testing.B) { reportCPU(b, func() { p.Stats(one) }) })
	b.Run("graph after merges", func(b *testing.B) { reportCPU(b, func() { p.Build(merged) }) })
}

func BenchmarkPrepared100k(b *testing.B) { benchmarkPrepared(b, 100_000) }

// BenchmarkPreparedMillion takes some seconds and 2 GB, so that it must be asked for.
func BenchmarkPreparedMillion(b *testing.B) {
	if os.Getenv("HEARTH_LARGE") == "" {
		b.Skip("skipped: set HEARTH_LARGE to measure a million people")
	}
	benchmarkPrepared(b, 1_000_000)
}
