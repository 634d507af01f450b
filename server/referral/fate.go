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
	// gave is when its tablet last gave out any coupon: one that had been handed in by then, and is not among those given out,
	// never was. 0: not known.
	gave int64
}

// fatesOf reads the fates of the coupons that are known by number. Of several words about one coupon the first void and
// the last of the last days hold, whatever the order they came in.
func (p *Prepared) fatesOf(events []*servicev1.CouponEvent) []fate {
	if len(events) == 0 {
		return nil
	}
	out := make([]fate, len(p.codes.words))
	for i := range out {
		out[i] = fate{voided: never, expires: never}
	}
	last := map[int]int{} // the greatest counter by device
	gave := map[int]int64{}
	issued := make([]bool, len(out))
	days := map[int32]int64{}
	for _, ev := range events {
		at := p.code([]byte(ev.GetCode()))
		if at == none {
			continue
		}
		switch ev.GetKind() {
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED:
			issued[at] = true
			if c, err := ParseCoupon(p.codes.text(at)); err == nil {
				last[c.Device] = max(last[c.Device], c.Counter)
				gave[c.Device] = max(gave[c.Device], ev.GetTimeMs())
			}
			days[at] = max(days[at], instant(ev.ExpiresTimeMs))
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED:
			out[at].voided = min(out[at].voided, voidedAt(ev))
		}
	}
	for at, day := range days {
		out[at].expires = day
	}
	for at := range out {
		if issued[at] || len(last) == 0 {
			continue
		}
		if c, err := ParseCoupon(p.codes.text(int32(at))); err == nil {
			high, ok := last[c.Device]
			out[at].never, out[at].gave = ok && c.Counter < high, gave[c.Device]
		}
	}
	return out
}

// fate is what became of a coupon.
func (p *Prepared) fate(code int32) fate {
	if p.fates == nil {
		return fate{voided: never, expires: never}
	}
	return p.fates[code]
}

// voidedAt is when a coupon became void; one of which the time is not known always was.
func voidedAt(ev *servicev1.CouponEvent) int64 {
	if t := instant(ev.TimeMs); t != never {
		return t
	}
	return math.MinInt64
}
