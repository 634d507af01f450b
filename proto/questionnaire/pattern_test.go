package questionnaire

import (
	"regexp"
	"regexp/syntax"
	"testing"

	"pgregory.net/rapid"
)

// A pattern that is taken apart matches what regexp matches.
func TestPatternsMatchAsRegexp(t *testing.T) {
	patterns := []string{
		"^([0-9]{17}[0-9Xx]|[0-9]{3}[0-9Xx])$", "^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$", "^([01][0-9]|2[0-3]):[0-5][0-9]$",
		"^a?b{1,3}(c|de)?$", "^$", "^(ab){2}$", "^x{0}$", // taken apart
		"^[a-z0-9][a-z0-9-]{0,62}$", "^村[0-9]$", "^a+$", "[0-9]{2}", "^(?i)ab$", "^.{2}$", "^[^0-9]$", `^\d{3}\n?$`, "(?m)^[0-9]{2}$", "^a|b$",
	}
	apart := 0
	for _, p := range patterns {
		re := regexp.MustCompile(p)
		parsed, err := syntax.Parse(p, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := anchored(parsed); ok {
			apart++
		}
		match, err := matcher(p)
		if err != nil {
			t.Fatal(err)
		}
		texts := rapid.OneOf(rapid.StringMatching(p), rapid.StringN(0, 14, -1), rapid.SampledFrom([]string{"", "1\n", "11\n", "\n", "\x80", "é", "村1", "12", "520102"}),
			rapid.StringMatching(`[0-9XxabcdeAB:-]{0,19}\n?`))
		rapid.Check(t, func(t *rapid.T) {
			s := texts.Draw(t, "text")
			if got, want := match(s), re.MatchString(s); got != want {
				t.Fatalf("%q matches %q: %v, regexp says %v", p, s, got, want)
			}
		})
	}
	if apart < 7 {
		t.Errorf("%d patterns were taken apart, want at least 7", apart)
	}
}
