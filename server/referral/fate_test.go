package referral

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// TestCouponFates names what tablets' words about coupons make of a referral. Seed a is interviewed at 1, and c, who hands in
// coupon 1 of tablet 7, at 5.
func TestCouponFates(t *testing.T) {
	code := func(counter int) string {
		s, err := MakeCoupon(CouponCode{Device: 7, Counter: counter})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	event := func(counter int, kind servicev1.CouponEventKind, at int64) *servicev1.CouponEvent {
		return &servicev1.CouponEvent{Code: proto.String(code(counter)), Kind: &kind, TimeMs: &at}
	}
	given := func(counter int, expires int64) *servicev1.CouponEvent {
		ev := event(counter, servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED, 1)
		ev.InterviewId = proto.String("interview-a-1")
		if expires > 0 {
			ev.ExpiresTimeMs = &expires
		}
		return ev
	}
	late := given(0, 0)
	late.TimeMs = proto.Int64(6)
	void := func(at int64) *servicev1.CouponEvent {
		return event(1, servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED, at)
	}
	for _, tc := range []struct {
		name   string
		events []*servicev1.CouponEvent
		want   string
	}{
		{"nothing known yet", nil, "r1 >c unresolved"},
		{"given out", []*servicev1.CouponEvent{given(1, 0)}, "r1 a>c resolved primary"},
		{"an earlier one was given out: this may still come", []*servicev1.CouponEvent{given(0, 0)}, "r1 >c unresolved"},
		{"a later one was given out: this never was", []*servicev1.CouponEvent{given(0, 0), given(2, 0)}, "r1 >c never_issued"},
		{"an earlier one was given out later than this was handed in: this never was", []*servicev1.CouponEvent{late}, "r1 >c never_issued"},
		{"on its last day", []*servicev1.CouponEvent{given(1, 5)}, "r1 a>c resolved primary"},
		{"after its last day", []*servicev1.CouponEvent{given(1, 4)}, "r1 a>c expired primary"},
		{"void before", []*servicev1.CouponEvent{given(1, 0), void(4)}, "r1 a>c voided"},
		{"void afterwards", []*servicev1.CouponEvent{given(1, 0), void(6)}, "r1 a>c resolved primary"},
		{"void, by whom is not known", []*servicev1.CouponEvent{void(4)}, "r1 >c voided"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s study
			s.seed("a", 1)
			s.interviewed("c", 5)
			coupon(s.told("r1", "", "c", 5), code(1))
			s.Coupons = tc.events
			if n := len(tc.events); n == 1 && tc.events[0].InterviewId != nil {
				if c := Measure(s.Facts, Build(s.Facts), MeasureOptions{}).Coupons; c.Issued != 1 || c.Holders != 1 {
					t.Errorf("%d issued to %d people", c.Issued, c.Holders)
				}
			}
			for range 2 {
				if diff := cmp.Diff([]string{tc.want}, edgeLines(Build(s.Facts))); diff != "" {
					t.Errorf("edges (-want +got):\n%s", diff)
				}
				slices.Reverse(s.Coupons)
			}
		})
	}
}
