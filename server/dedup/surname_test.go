package dedup

import (
	"testing"

	"pgregory.net/rapid"
)

// The short way to a surname gives what the long way gives.
func TestSurnameIsThatOfTheWholeName(t *testing.T) {
	words := []string{"", "杨", "欧阳", "杨大山", "欧阳娜娜", "吕", "吕布", "楊", "Yang", "Yang Dashan", "yang da-shan", "Lü Bu", "曾国藩", "单", "阿依古丽·买买提", " ", "山", "Zhang", "长孙无忌"}
	rapid.Check(t, func(t *rapid.T) {
		word := func(name string) string {
			if rapid.IntRange(0, 4).Draw(t, name+" any") == 0 {
				return rapid.String().Draw(t, name)
			}
			return rapid.SampledFrom(words).Draw(t, name)
		}
		full, family, given, pinyin := word("full"), word("family"), word("given"), word("pinyin")
		if full == "" && given == "" && family != "" {
			return // told alone, it is taken as it is
		}
		whole := full
		if whole == "" {
			whole = family + given
		}
		want := dialect(spelling().name(whole, family, given, pinyin).soundFamily)
		if got := Surname(full, family, given, pinyin); got != want {
			t.Fatalf("Surname(%q, %q, %q, %q) = %q, want %q", full, family, given, pinyin, got, want)
		}
	})
}
