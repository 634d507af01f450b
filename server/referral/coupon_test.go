package referral

import (
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hearth-survey/hearth/proto/fault"
)

func drawCoupon(t *rapid.T) CouponCode {
	return CouponCode{Device: rapid.IntRange(0, MaxCouponDevice).Draw(t, "device"), Counter: rapid.IntRange(0, MaxCoupon).Draw(t, "counter")}
}

func mustMake(t interface{ Fatal(...any) }, c CouponCode) string {
	code, err := MakeCoupon(c)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestCouponRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCoupon(t)
		code := mustMake(t, c)
		for _, written := range []string{code, strings.ToLower(code), strings.ReplaceAll(code, "-", ""), " " + strings.ReplaceAll(code, "-", " "), wide(code)} {
			got, err := ParseCoupon(written)
			if err != nil || got != c {
				t.Fatalf("%q reads as %v, %v; want %v", written, got, err, c)
			}
			if couponCode(written) != code {
				t.Fatalf("%q becomes %q, want %q", written, couponCode(written), code)
			}
		}
	})
}

// wide writes a code as a Chinese keyboard does.
func wide(s string) string {
	return strings.Map(func(r rune) rune { return r + 0xfee0 }, s)
}

// TestCouponErrorsAreCaught changes each single character to each other one, and exchanges each two different ones.
func TestCouponErrorsAreCaught(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		code := strings.ReplaceAll(mustMake(t, drawCoupon(t)), "-", "")
		for i := range code {
			for _, ch := range []byte(CouponAlphabet) {
				if ch != code[i] && CheckCoupon(code[:i]+string(ch)+code[i+1:]) {
					t.Fatalf("%s: character %d as %c is not caught", code, i, ch)
				}
			}
			if CheckCoupon(code[:i] + code[i+1:]) {
				t.Fatalf("%s: leaving out character %d is not caught", code, i)
			}
			for j := range i {
				b := []byte(code)
				b[i], b[j] = b[j], b[i]
				if code[i] != code[j] && CheckCoupon(string(b)) {
					t.Fatalf("%s: exchanging characters %d and %d is not caught", code, j, i)
				}
			}
		}
	})
}

// TestCouponsNeverCollide checks that the code tells device and counter, so that two devices never make the same one; every
// code of a device is another.
func TestCouponsNeverCollide(t *testing.T) {
	seen := map[string]bool{}
	for _, device := range []int{0, 1, 22, 23, 528, 529, MaxCouponDevice} {
		for counter := 0; counter < 3000; counter++ {
			code := mustMake(t, CouponCode{device, counter})
			if seen[code] {
				t.Fatalf("%s was made twice", code)
			}
			seen[code] = true
		}
	}
}

func TestCouponRefuses(t *testing.T) {
	good := mustMake(t, CouponCode{7, 11})
	for _, tc := range []struct{ code, want string }{
		{"", "0 characters"}, {good[:5], "4 characters"}, {good + "3", "9 characters"}, {"O" + good[1:], "no code holds 'O'"},
		{"券" + good[1:], "no code holds '券'"}, {good[:8] + string(CouponAlphabet[(strings.IndexByte(CouponAlphabet, good[8])+1)%23]), "check character"},
	} {
		if _, err := ParseCoupon(tc.code); err == nil || !strings.Contains(err.Error(), tc.want) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q: got %v, want %q in it", tc.code, err, tc.want)
		}
	}
	for _, c := range []CouponCode{{-1, 0}, {0, -1}, {MaxCouponDevice + 1, 0}, {0, MaxCoupon + 1}} {
		if _, err := MakeCoupon(c); err == nil {
			t.Errorf("%v makes a code", c)
		}
	}
	if err := WriteCouponSheet(io.Discard, CouponSheet{Coupons: []SheetCoupon{{Code: "34T3-6DPE"}}}); err == nil {
		t.Error("a sheet with a wrong code is written")
	}
}

func FuzzParseCoupon(f *testing.F) {
	for _, s := range []string{"", "34T3-6DPD", "34t36dpd", "ＡＡＡＡ－ＡＡＡＡ", "\xff", "3333-3334"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCoupon(s)
		if err != nil {
			return
		}
		again, err := ParseCoupon(mustMake(t, c))
		if err != nil || again != c {
			t.Fatalf("%q reads as %v, its code as %v, %v", s, c, again, err)
		}
	})
}

// TestCodeInTwoWritings joins a coupon that was given out and handed in in different writings.
func TestCodeInTwoWritings(t *testing.T) {
	code := mustMake(t, CouponCode{3, 4})
	var s study
	s.seed("a", 1).CouponsGiven = []string{code}
	s.interviewed("b", 2)
	coupon(s.told("r1", "", "b", 2), strings.ToLower(strings.ReplaceAll(code, "-", " ")))
	if got := edgeLines(Build(s.Facts)); got[0] != "r1 a>b resolved primary" {
		t.Errorf("got %q", got)
	}
}

// TestCouponSheet checks that what is printed is escaped and that every code is there.
func TestCouponSheet(t *testing.T) {
	var codes []string
	for i := range 12 {
		codes = append(codes, mustMake(t, CouponCode{41, i}))
	}
	sheet := CouponSheet{Language: "zh", Study: "农民工家庭<研究>", Text: "请在周末带上本券 & 身份证明"}
	for i, code := range codes {
		sheet.Coupons = append(sheet.Coupons, SheetCoupon{Code: code, Expires: []string{"2026-12-31", "2027-01-31", ""}[i%3]})
	}
	html := string(written(t, func(w io.Writer) error { return WriteCouponSheet(w, sheet) }))
	for _, want := range append(codes, "有效期至 2026-12-31", "农民工家庭&lt;研究&gt;", "&amp; 身份证明", `lang="zh"`) {
		if !strings.Contains(html, want) {
			t.Errorf("the sheet lacks %q", want)
		}
	}
	if strings.Count(html, "<svg") != len(codes) {
		t.Error("not every coupon has a QR code")
	}
}
