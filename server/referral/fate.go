package referral

import (
	"math"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// fate is what tablets say became of a coupon, beside who was given it.
type fate struct {
	voided, expires int64 // or never
	// never says that it was not given out: its tablet numbers coupons one after the other and sends in order, and a later
	// one has come.
	never bool
}

// fatesOf reads the fates of the coupons that are known by number. Of several words about one coupon the first void and
// the last of the last days hold, whatever the order they came in.
func fatesOf(events []*servicev1.CouponEvent, codes map[string]int32) []fate {
	out := make([]fate, len(codes)) // one more than there are, for no code
	for i := range out {
		out[i] = fate{voided: never, expires: never}
	}
	last := map[int]int{} // the greatest counter by device
	issued := map[string]bool{}
	days := map[int32]int64{}
	for _, ev := range events {
		code := couponCode(ev.GetCode())
		at, named := codes[code]
		switch ev.GetKind() {
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED:
			issued[code] = true
			if c, err := ParseCoupon(code); err == nil {
				last[c.Device] = max(last[c.Device], c.Counter)
			}
			if named && at != none {
				days[at] = max(days[at], instant(ev.ExpiresTimeMs))
			}
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED:
			if named && at != none {
				out[at].voided = min(out[at].voided, voidedAt(ev))
			}
		}
	}
	for at, day := range days {
		out[at].expires = day
	}
	for code, at := range codes {
		if at == none || issued[code] || len(last) == 0 {
			continue
		}
		if c, err := ParseCoupon(code); err == nil {
			high, ok := last[c.Device]
			out[at].never = ok && c.Counter < high
		}
	}
	return out
}

// voidedAt is when a coupon became void; one of which the time is not known always was.
func voidedAt(ev *servicev1.CouponEvent) int64 {
	if t := instant(ev.TimeMs); t != never {
		return t
	}
	return math.MinInt64
}
