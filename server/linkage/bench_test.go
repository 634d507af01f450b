package linkage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/linkage"
)

// BenchmarkArrival has interviews of three people come one by one into a study of n households, and tells how long one of a
// hundred takes at most, in microseconds a person.
func BenchmarkArrival(b *testing.B) {
	for _, n := range []int{300, 3_000, 30_000} {
		b.Run(fmt.Sprintf("%d people", 3*n), func(b *testing.B) {
			if n > 3_000 && b.N == 1 && testing.Short() {
				b.Skip("it takes a minute to learn")
			}
			s := open(b)
			book := linkage.Open(s, dedup.Options{})
			st, err := book.State(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			all := village(n)
			if err := book.Learn(b.Context(), st, "gz", all); err != nil {
				b.Fatal(err)
			}
			var took []time.Duration
			people := 0
			for i := 0; b.Loop(); i++ {
				iv := household(n+i, 3, i%3 == 0)
				start := time.Now()
				if _, err := book.Update(b.Context(), st, []linkage.Interview{iv}, nil); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
				people += len(iv.People)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/3, "p99-us/person")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(people), "us/person")
		})
	}
}
