package referral

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestDraw holds a draw to what it once drew, and every number and pair of numbers to the probability it must have.
func TestDraw(t *testing.T) {
	got, err := Draw(40, 5, "guiyang-7")
	if want := []int{1, 10, 19, 32, 40}; err != nil || !slices.Equal(got, want) {
		t.Errorf("Draw = %v, %v; want %v, as ever", got, err, want)
	}
	const frame, n, times = 7, 3, 20_000
	var single [frame + 1]int
	pairs := map[[2]int]int{}
	for i := range times {
		drawn, err := Draw(frame, n, fmt.Sprint(i))
		if err != nil || len(drawn) != n || !slices.IsSorted(drawn) || len(slices.Compact(slices.Clone(drawn))) != n {
			t.Fatalf("Draw = %v, %v", drawn, err)
		}
		for a, x := range drawn {
			single[x]++
			for _, y := range drawn[a+1:] {
				pairs[[2]int{x, y}]++
			}
		}
	}
	near := func(what any, count int, p float64) {
		if sd := math.Sqrt(times * p * (1 - p)); math.Abs(float64(count)-times*p) > 4.5*sd {
			t.Errorf("%v was drawn %d times of %d, want %.0f give or take %.0f", what, count, times, times*p, sd)
		}
	}
	for x := 1; x <= frame; x++ {
		near(x, single[x], float64(n)/frame)
	}
	if len(pairs) != frame*(frame-1)/2 {
		t.Errorf("%d pairs were drawn together", len(pairs))
	}
	for pair, count := range pairs {
		near(pair, count, float64(n*(n-1))/(frame*(frame-1)))
	}
	if all, err := Draw(3, 3, "s"); err != nil || !slices.Equal(all, []int{1, 2, 3}) {
		t.Errorf("all of them = %v, %v", all, err)
	}
	for _, bad := range []struct {
		frame, n int
		seed     string
	}{{0, 0, "s"}, {3, 4, "s"}, {3, 0, "s"}, {3, 1, ""}, {2_000_000, 1, "s"}} {
		if _, err := Draw(bad.frame, bad.n, bad.seed); err == nil {
			t.Errorf("Draw(%d, %d, %q) is not refused", bad.frame, bad.n, bad.seed)
		}
	}
}

// TestDrawsAreReported tells each draw once, with its probability.
func TestDrawsAreReported(t *testing.T) {
	var s study
	for i, seed := range []string{"7", "7", "8"} {
		r := s.seed(fmt.Sprint(i), int64(i+1))
		r.SiteId, r.DrawFrameSize, r.DrawDrawn, r.DrawSeed = proto.String("school"), proto.Int32(40), proto.Int32(5), &seed
	}
	g := Build(s.Facts)
	var told []string
	for _, r := range Report(s.Facts, g, SampleOf(s.Facts, g), nil) {
		if r.GetSection() == "draws" {
			told = append(told, r.GetName().GetEn()+": "+r.GetValue().GetEn())
		}
	}
	want := "school: 5 of 40 drawn, probability 0.1250, with seed 7; 2 interviewed\nschool: 5 of 40 drawn, probability 0.1250, with seed 8; 1 interviewed"
	if got := strings.Join(told, "\n"); got != want {
		t.Errorf("draws:\n%s\nwant\n%s", got, want)
	}
}
