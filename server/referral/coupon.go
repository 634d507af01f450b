package referral

import (
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
)

// CouponAlphabet are the characters of coupon codes. None looks like another: 0, O, 1, I, L, 2, Z, 5, S, 8 and B are not
// among them, nor G, which looks like 6, nor U, which looks like V. They are 23, a prime, which is what lets one check
// character catch every exchange of two others.
const CouponAlphabet = "34679ACDEFHJKMNPQRTVWXY"

// The parts of a coupon code: a device's prefix, its counter, the check character.
const (
	couponDevice  = 3
	couponCounter = 4
	couponLength  = couponDevice + couponCounter + 1
	couponBase    = len(CouponAlphabet)
	// couponRadix is a generator of the numbers below 23, so that its powers differ at all places of a code.
	couponRadix = 5
)

// MaxCouponDevice and MaxCoupon are the greatest number of a device and the greatest counter a code can hold.
const (
	MaxCouponDevice = couponBase*couponBase*couponBase - 1
	MaxCoupon       = couponBase*couponBase*couponBase*couponBase - 1
)

// CouponCode is what a code says. A device that counts its own coupons up under its own number never makes a code that
// another makes, so that none has to ask for one.
type CouponCode struct {
	// Device is the number that headquarters gave the tablet when it was enrolled, from 0.
	Device int
	// Counter numbers the coupons of the device, from 0.
	Counter int
}

// MakeCoupon makes a code: "34T3-6DPD". Its last character is a check character, by the pure system of ISO 7064 with
// modulus 23 and radix 5.
func MakeCoupon(c CouponCode) (string, error) {
	if c.Device < 0 || c.Device > MaxCouponDevice {
		return "", fault.New(fault.Invalid, fault.BadRequest, "device number %d cannot be in a coupon code: it must be from 0 to %d", c.Device, MaxCouponDevice)
	}
	if c.Counter < 0 || c.Counter > MaxCoupon {
		return "", fault.New(fault.Invalid, fault.BadRequest,
			"coupon number %d is past the last code of this device, %d: give the device a new number", c.Counter, MaxCoupon)
	}
	var code [couponLength]byte
	n := c.Device
	for i := couponDevice - 1; i >= 0; i-- {
		code[i], n = CouponAlphabet[n%couponBase], n/couponBase
	}
	n = c.Counter
	for i := couponDevice + couponCounter - 1; i >= couponDevice; i-- {
		code[i], n = CouponAlphabet[n%couponBase], n/couponBase
	}
	rest := 0
	for _, ch := range code[:couponLength-1] {
		rest = (rest + strings.IndexByte(CouponAlphabet, ch)) * couponRadix % couponBase
	}
	code[couponLength-1] = CouponAlphabet[(couponBase+1-rest)%couponBase]
	return string(code[:4]) + "-" + string(code[4:]), nil
}

// ParseCoupon reads a code as people write it: in either case, with or without the hyphen or blanks, in the wide letters of
// a Chinese keyboard. The error says what is wrong with it.
func ParseCoupon(s string) (CouponCode, error) {
	var b [couponLength]byte
	code := b[:0]
	for _, r := range s {
		switch {
		case r >= 0xff01 && r <= 0xff5e: // wide
			r -= 0xfee0
		case r == 0x3000:
			r = ' '
		}
		if strings.ContainsRune(" \t\r\n-_.‐‑‒–—−－", r) {
			continue
		}
		if r >= 'a' && r <= 'z' {
			r += 'A' - 'a'
		}
		if r > 0x7e || strings.IndexByte(CouponAlphabet, byte(r)) < 0 {
			return CouponCode{}, fault.New(fault.Invalid, fault.BadRequest, "coupon code %q: no code holds %q: look again, these are used: %s", s, r, CouponAlphabet)
		}
		code = append(code, byte(r))
	}
	if len(code) != couponLength {
		return CouponCode{}, fault.New(fault.Invalid, fault.BadRequest, "coupon code %q has %d characters, it must have %d: look again", s, len(code), couponLength)
	}
	sum := 0
	var c CouponCode
	for i, ch := range code {
		v := strings.IndexByte(CouponAlphabet, ch)
		sum = (sum*couponRadix + v) % couponBase
		switch {
		case i < couponDevice:
			c.Device = c.Device*couponBase + v
		case i < couponDevice+couponCounter:
			c.Counter = c.Counter*couponBase + v
		}
	}
	if sum != 1 {
		return CouponCode{}, fault.New(fault.Invalid, fault.BadRequest, "coupon code %q is mistyped: its check character does not fit: look again", s)
	}
	return c, nil
}

// CheckCoupon says whether a code is one that a device can have made.
func CheckCoupon(s string) bool {
	_, err := ParseCoupon(s)
	return err == nil
}

// couponCode makes all writings of one code the same; codes of another scheme stay as they are but for blanks and case.
func couponCode(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if len(s) < couponLength || len(s) > 4*couponLength {
		return s
	}
	if c, err := ParseCoupon(s); err == nil {
		if code, err := MakeCoupon(c); err == nil {
			return code
		}
	}
	return s
}
