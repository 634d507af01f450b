package linkage_test

import (
	"flag"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/linkage"
)

var benchPeople = flag.Int("bench.people", 9_000, "how many people the study of the benchmarks has; a million need 4 GB and several minutes to learn")

// town is the n-th household of three of a study in which people have names, sites and telephones enough to be told apart. again
// makes it another visit.
func town(n int, again bool) linkage.Interview {
	iv := household(n, 3, again)
	given := []rune("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉梅兰文辉建国红志云飞波鑫宇浩海燕春花小琴龙凤翔林森晨曦雪莲佳慧婷雅思雨欣怡涵梦瑶")
	for i, p := range iv.People {
		x := uint32(n*2654435761 + i*40503)
		x ^= x >> 15
		name := []rune(p.GetIdentity().GetFullName())
		name = append(name[:1], given[x%64], given[x/64%64])
		if again && i == 2 {
			name = name[:2]
		}
		p.Identity.FullName, p.SiteId = proto.String(string(name)), proto.String(fmt.Sprintf("site-%d", n/50))
	}
	return iv
}

// studied is a book that has learnt a study.
func studied(b *testing.B) (*linkage.Book, *linkage.State) {
	book := linkage.Open(open(b), dedup.Options{})
	st, err := book.State(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var all []linkage.Interview
	for i := range *benchPeople / 3 {
		if all = append(all, town(i, false)); i%10 == 0 {
			all = append(all, town(i, true))
		}
	}
	if err := book.Learn(b.Context(), st, "gz", all); err != nil {
		b.Fatal(err)
	}
	return book, st
}

// BenchmarkArrival has the people of interviews come one by one, every third of a household that was met before, and tells how long one
// of a hundred takes at most.
func BenchmarkArrival(b *testing.B) {
	book, st := studied(b)
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		iv := town(*benchPeople/3+i, false)
		if i%3 == 0 {
			iv = town(i*31+1, true)
		}
		iv.ID = fmt.Sprint("arrival-", i)
		iv.People = iv.People[i%3 : i%3+1]
		iv.People[0].InterviewId = &iv.ID
		start := time.Now()
		if _, err := book.Update(b.Context(), st, []linkage.Interview{iv}, nil); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkTablet has 5,000 people come at once.
func BenchmarkTablet(b *testing.B) {
	book, st := studied(b)
	for i := 0; b.Loop(); i++ {
		var all []linkage.Interview
		for n := range 1667 {
			if iv := town(*benchPeople/3+i*1667+n, false); n%3 == 0 {
				all = append(all, town(n*7+i, true))
			} else {
				all = append(all, iv)
			}
		}
		for page := range slices.Chunk(all, 1000) { // as they are read from the log
			if _, err := book.Update(b.Context(), st, page, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkLearn learns a study and writes all that is known of it.
func BenchmarkLearn(b *testing.B) {
	for b.Loop() {
		studied(b)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(*benchPeople), "us/person")
}
