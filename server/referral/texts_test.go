package referral

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestTexts numbers texts of all kinds, and wants them back, in order, under the same numbers.
func TestTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hex := rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
		uuid := rapid.StringMatching(`[0-9a-f]{8}-0000-4000-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
		all := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "GY-1", "张伟", "\x00", "\x00\x00", strings.Repeat("长", 40)}), uuid, hex,
			rapid.Custom(func(t *rapid.T) string { return strings.ToUpper(uuid.Draw(t, "upper")) }), rapid.StringN(7, 17, 40))).Draw(t, "texts")
		texts := newTexts(0)
		number := map[string]int32{}
		for _, s := range all {
			i := texts.number([]byte(s))
			if old, ok := number[s]; ok && old != i {
				t.Fatalf("%q is %d and %d", s, old, i)
			}
			number[s] = i
			if got := texts.text(i); got != s {
				t.Fatalf("%q became %q", s, got)
			}
		}
		if len(texts.words) != len(number) {
			t.Fatalf("%d numbers for %d texts", len(texts.words), len(number))
		}
		texts.arrange(texts.order())
		got := texts.all()
		if !slices.IsSorted(got) {
			t.Fatalf("not in order: %q", got)
		}
		for i, s := range got {
			if _, known := number[s]; !known {
				t.Fatalf("nobody said %q", s)
			}
			if at, ok := texts.find([]byte(s)); !ok || int(at) != i {
				t.Fatalf("%q is found at %d, not at %d", s, at, i)
			}
		}
	})
}
