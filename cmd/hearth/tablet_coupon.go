package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/referral"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// tabletCouponCmd works with coupons on a tablet; what is done goes to headquarters with the next sync.
type tabletCouponCmd struct {
	Issue  couponIssueCmd  `cmd:"" help:"Give new coupons to the respondent of an interview; prints their codes."`
	Check  couponCheckCmd  `cmd:"" help:"Say whether a coupon is good, before its holder is interviewed."`
	Redeem couponRedeemCmd `cmd:"" help:"A coupon was handed in by the respondent of an interview."`
	Void   couponVoidCmd   `cmd:"" help:"A coupon is lost, stolen or sold, and not to be taken any more."`
	Pay    couponPayCmd    `cmd:"" help:"What was promised for a coupon was paid to who had been given it."`
	List   couponListCmd   `cmd:"" help:"List this tablet's coupons."`
	Sheet  couponSheetCmd  `cmd:"" help:"Write this tablet's open coupons as a page to print and cut, with QR codes."`
}

// couponState is what a tablet knows of one coupon.
type couponState struct {
	code                           string
	issued, redeemed, voided, paid *servicev1.CouponEvent
}

// couponStates reads what happened, coupons in the order they were first met.
func couponStates(events []*servicev1.CouponEvent) ([]*couponState, map[string]*couponState) {
	var order []*couponState
	of := map[string]*couponState{}
	for _, ev := range events {
		c := of[ev.GetCode()]
		if c == nil {
			c = &couponState{code: ev.GetCode()}
			of[c.code] = c
			order = append(order, c)
		}
		switch ev.GetKind() {
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED:
			c.issued = cmp.Or(c.issued, ev)
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_REDEEMED:
			c.redeemed = cmp.Or(c.redeemed, ev)
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED:
			c.voided = cmp.Or(c.voided, ev)
		case servicev1.CouponEventKind_COUPON_EVENT_KIND_PAID:
			c.paid = cmp.Or(c.paid, ev)
		}
	}
	return order, of
}

// state is one word for what a coupon is.
func (c *couponState) state(now time.Time) string {
	switch {
	case c == nil:
		return "of another tablet"
	case c.voided != nil:
		return "void"
	case c.redeemed != nil && c.paid != nil:
		return "redeemed and paid"
	case c.redeemed != nil:
		return "redeemed"
	case c.issued == nil:
		return "of another tablet"
	case c.issued.ExpiresTimeMs != nil && now.UnixMilli() > c.issued.GetExpiresTimeMs():
		return "expired"
	}
	return "open"
}

// takes says why a coupon is not to be taken; nil where it is.
func (c *couponState) takes(code string, now time.Time) error {
	switch s := c.state(now); s {
	case "open", "of another tablet":
		return nil
	case "void":
		return fault.New(fault.Conflict, fault.BadRequest, "coupon %s is void (%s): do not take it; record the interview without it", code, cmp.Or(c.voided.GetNote(), "no reason was given"))
	case "expired":
		return fault.New(fault.Conflict, fault.BadRequest, "coupon %s expired on %s: ask the supervisor", code, time.UnixMilli(c.issued.GetExpiresTimeMs()).Format(time.DateOnly))
	default:
		return fault.New(fault.Conflict, fault.BadRequest, "coupon %s was handed in before, on %s: a coupon is taken once", code, time.UnixMilli(c.redeemed.GetTimeMs()).Format(time.DateOnly))
	}
}

// couponText is a code as it is written, or what is wrong with it.
func couponText(s string) (string, referral.CouponCode, error) {
	c, err := referral.ParseCoupon(s)
	if err != nil {
		return "", c, err
	}
	code, err := referral.MakeCoupon(c)
	return code, c, err
}

type couponIssueCmd struct {
	tabletFile
	Interview string `arg:"" help:"Id or key of the interview whose respondent is given them."`
	Count     int    `help:"How many." default:"3"`
	Expires   string `help:"Their last day, yyyy-mm-dd; empty: they do not expire."`
}

// Run gives them out.
func (c *couponIssueCmd) Run(e *env) error {
	var expires *int64
	if c.Expires != "" {
		day, err := time.ParseInLocation(time.DateOnly, c.Expires, time.Local)
		if err != nil {
			return fmt.Errorf("%w: %q is no day: write 2026-07-31", errUsage, c.Expires)
		}
		expires = proto.Int64(day.AddDate(0, 0, 1).UnixMilli() - 1)
	}
	if c.Count < 1 || c.Count > 100 {
		return fmt.Errorf("%w: give out 1 to 100 coupons at a time, not %d", errUsage, c.Count)
	}
	return withTablet(e, c.tabletFile, func(st *tablet.Store) error {
		id, err := st.InterviewID(e.ctx, c.Interview)
		if err != nil {
			return err
		}
		var codes []string
		err = st.ChangeCoupons(e.ctx, func(before []*servicev1.CouponEvent, number int) ([]*servicev1.CouponEvent, error) {
			next, err := nextCoupon(before, number)
			if err != nil {
				return nil, err
			}
			var out []*servicev1.CouponEvent
			for range c.Count {
				code, err := referral.MakeCoupon(next)
				if err != nil {
					return nil, err
				}
				next.Counter++
				codes = append(codes, code)
				out = append(out, &servicev1.CouponEvent{
					Code: &code, Kind: servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED.Enum(), InterviewId: &id, ExpiresTimeMs: expires,
				})
			}
			return out, nil
		})
		if err != nil {
			return err
		}
		return say(e, strings.Join(codes, "\n"))
	})
}

// nextCoupon is the first coupon that was not given out under the tablet's number.
func nextCoupon(before []*servicev1.CouponEvent, number int) (referral.CouponCode, error) {
	if number < 0 {
		return referral.CouponCode{}, fault.New(fault.Invalid, fault.BadRequest,
			"headquarters has given this tablet no number for coupons yet: sync once with headquarters itself, not with a hub; without it two tablets could make the same code")
	}
	next := referral.CouponCode{Device: number}
	for _, ev := range before {
		if ev.GetKind() != servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED {
			continue
		}
		if c, err := referral.ParseCoupon(ev.GetCode()); err == nil && c.Device == number {
			next.Counter = max(next.Counter, c.Counter+1)
		}
	}
	return next, nil
}

type couponCheckCmd struct {
	tabletFile
	Code string `arg:"" help:"The code on the coupon, in any writing."`
}

// Run says what is known of a coupon; it fails for one that is not to be taken.
func (c *couponCheckCmd) Run(e *env) error {
	code, parts, err := couponText(c.Code)
	if err != nil {
		return err
	}
	return withTablet(e, c.tabletFile, func(st *tablet.Store) error {
		events, err := st.CouponEvents(e.ctx)
		if err != nil {
			return err
		}
		number, err := st.CouponNumber(e.ctx)
		if err != nil {
			return err
		}
		_, of := couponStates(events)
		if err := unmade(of[code], code, parts, number); err != nil {
			return err
		}
		if err := of[code].takes(code, time.Now()); err != nil {
			return err
		}
		return say(e, fmt.Sprintf("%s is good: %s (number %d of tablet %d)", code, of[code].state(time.Now()), parts.Counter, parts.Device))
	})
}

// unmade refuses a code of this tablet's own number that it never gave out.
func unmade(c *couponState, code string, parts referral.CouponCode, number int) error {
	if parts.Device == number && (c == nil || c.issued == nil) {
		return fault.New(fault.NotFound, fault.BadRequest, "coupon %s has this tablet's number, but this tablet never gave it out: do not take it", code)
	}
	return nil
}

type couponRedeemCmd struct {
	tabletFile
	Code      string `arg:"" help:"The code on the coupon."`
	Interview string `arg:"" help:"Id or key of the interview of who handed it in."`
}

// Run records that a coupon was handed in. One of another tablet is taken: headquarters finds out whose it is.
func (c *couponRedeemCmd) Run(e *env) error {
	return couponEvent(e, c.tabletFile, c.Code, c.Interview, "", servicev1.CouponEventKind_COUPON_EVENT_KIND_REDEEMED)
}

type couponVoidCmd struct {
	tabletFile
	Code   string `arg:"" help:"The code on the coupon."`
	Reason string `help:"Why." required:""`
}

// Run records that a coupon is void.
func (c *couponVoidCmd) Run(e *env) error {
	return couponEvent(e, c.tabletFile, c.Code, "", c.Reason, servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED)
}

type couponPayCmd struct {
	tabletFile
	Code string `arg:"" help:"The code on the coupon."`
	Note string `help:"What was paid: 20 yuan." required:""`
}

// Run records a payment.
func (c *couponPayCmd) Run(e *env) error {
	return couponEvent(e, c.tabletFile, c.Code, "", c.Note, servicev1.CouponEventKind_COUPON_EVENT_KIND_PAID)
}

// couponEvent records one event, where it may follow those before.
func couponEvent(e *env, f tabletFile, text, interview, note string, kind servicev1.CouponEventKind) error {
	code, parts, err := couponText(text)
	if err != nil {
		return err
	}
	return withTablet(e, f, func(st *tablet.Store) error {
		ev := &servicev1.CouponEvent{Code: &code, Kind: &kind}
		if interview != "" {
			id, err := st.InterviewID(e.ctx, interview)
			if err != nil {
				return err
			}
			ev.InterviewId = &id
		}
		if note != "" {
			ev.Note = &note
		}
		err := st.ChangeCoupons(e.ctx, func(before []*servicev1.CouponEvent, number int) ([]*servicev1.CouponEvent, error) {
			_, of := couponStates(before)
			c := of[code]
			if err := unmade(c, code, parts, number); err != nil {
				return nil, err
			}
			switch {
			case kind == servicev1.CouponEventKind_COUPON_EVENT_KIND_REDEEMED:
				return []*servicev1.CouponEvent{ev}, c.takes(code, time.Now())
			case c != nil && kind == servicev1.CouponEventKind_COUPON_EVENT_KIND_PAID && c.paid != nil:
				return nil, fault.New(fault.Conflict, fault.BadRequest, "coupon %s was paid before, on %s (%s)", code, time.UnixMilli(c.paid.GetTimeMs()).Format(time.DateOnly), c.paid.GetNote())
			case c != nil && kind == servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED && c.voided != nil:
				return nil, fault.New(fault.Conflict, fault.BadRequest, "coupon %s is void already (%s)", code, c.voided.GetNote())
			}
			return []*servicev1.CouponEvent{ev}, nil
		})
		if err != nil {
			return err
		}
		return say(e, code+": "+strings.ToLower(strings.TrimPrefix(kind.String(), "COUPON_EVENT_KIND_")))
	})
}

type couponListCmd struct {
	tabletFile
}

// Run lists coupons.
func (c *couponListCmd) Run(e *env) error {
	return withTablet(e, c.tabletFile, func(st *tablet.Store) error {
		events, err := st.CouponEvents(e.ctx)
		if err != nil {
			return err
		}
		all, _ := couponStates(events)
		if len(all) == 0 {
			return say(e, "no coupon was given out or taken on this tablet")
		}
		rows := [][]string{{"code", "state", "given to", "handed in by", "note"}}
		for _, s := range all {
			rows = append(rows, []string{s.code, s.state(time.Now()), s.issued.GetInterviewId(), s.redeemed.GetInterviewId(), cmp.Or(s.voided.GetNote(), s.paid.GetNote())})
		}
		return table(e.stdout, rows)
	})
}

type couponSheetCmd struct {
	tabletFile
	Out   string `short:"o" help:"File to write (HTML)." required:"" type:"path"`
	Study string `help:"Heading of each coupon."`
	Text  string `help:"What the holder is to do, where and when."`
	Link  string `help:"Address that stands before the code in the QR code."`
	Lang  string `help:"Language of the fixed words: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
}

// Run writes the coupons that are open, each with its last day.
func (c *couponSheetCmd) Run(e *env) error {
	return withTablet(e, c.tabletFile, func(st *tablet.Store) error {
		events, err := st.CouponEvents(e.ctx)
		if err != nil {
			return err
		}
		sheet := referral.CouponSheet{Language: c.Lang, Study: c.Study, Text: c.Text, Link: c.Link}
		all, _ := couponStates(events)
		for _, s := range all {
			if s.state(time.Now()) != "open" {
				continue
			}
			coupon := referral.SheetCoupon{Code: s.code}
			if ms := s.issued.GetExpiresTimeMs(); ms != 0 {
				coupon.Expires = time.UnixMilli(ms).Format(time.DateOnly)
			}
			sheet.Coupons = append(sheet.Coupons, coupon)
		}
		if len(sheet.Coupons) == 0 {
			return fault.New(fault.NotFound, fault.BadRequest, "this tablet has no open coupon to print: give some out with hearth tablet coupon issue")
		}
		if err := writeFile(c.Out, func(w io.Writer) error { return referral.WriteCouponSheet(w, sheet) }); err != nil {
			return err
		}
		return say(e, fmt.Sprintf("wrote %s: %d coupons", c.Out, len(sheet.Coupons)))
	})
}

// withTablet works with a tablet's store and closes it.
func withTablet(e *env, f tabletFile, do func(*tablet.Store) error) (err error) {
	st, err := f.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return do(st)
}
