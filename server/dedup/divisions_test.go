package dedup

import (
	"regexp"
	"testing"
)

// TestRecodedIsATable holds the table of codes to what it must be: each code once, none replaced by one that was replaced itself, and
// counties by counties.
func TestRecodedIsATable(t *testing.T) {
	sixDigits := regexp.MustCompile(`^[1-6][0-9]{5}$`)
	n := 0
	for old, now := range recoded {
		n++
		if !sixDigits.MatchString(old) || !sixDigits.MatchString(now) {
			t.Errorf("%s is replaced by %s: no code", old, now)
		}
		if next, ok := recoded[now]; ok {
			t.Errorf("%s is replaced by %s, which is replaced by %s", old, now, next)
		}
		if (old[4:] == "00") != (now[4:] == "00") {
			t.Errorf("%s is replaced by %s: a prefecture and a county", old, now)
		}
		if old[:2] != now[:2] {
			t.Errorf("%s is replaced by %s of another province", old, now)
		}
	}
	if n < 500 {
		t.Errorf("only %d codes are known to be replaced", n)
	}
}

// TestSameCountyUnderTwoRevisions compares places that were told under different revisions of GB/T 2260.
func TestSameCountyUnderTwoRevisions(t *testing.T) {
	for _, c := range []struct{ what, a, b, level string }{
		{"Miyun county, Beijing, a district since 2015", "110228", "110118", "same county"},
		{"Chongwen, taken in by Dongcheng in 2010", "110103", "110101", "same county"},
		{"Nanhui, Shanghai, taken in by Pudong in 2009", "310119", "310115", "same county"},
		{"Chongming county, a district since 2016", "310230", "310151", "same county"},
		{"Tonglu's neighbour Lin'an, a city and a district since 2017", "330185", "330112", "same county"},
		{"Shaoxing county, Keqiao district since 2013", "330621", "330603", "same county"},
		{"Pi county, Chengdu, Pidu district since 2016", "510124", "510117", "same county"},
		{"Jianyang, handed from Ziyang to Chengdu in 2016", "512081", "510185", "same county"},
		{"Jiangjin, Chongqing, a district since 2006", "500381", "500116", "same county"},
		{"Laiwu, a prefecture until 2019, in Jinan now", "371202", "370116", "same county"},
		{"Simao, whose prefecture is Pu'er now", "532723", "530822", "same county"},
		{"Bijie's Dafang, whose prefecture was made anew in 2011", "522422", "520521", "same county"},
		{"Shigatse, a city of its prefecture, a district since 2014", "542301", "540202", "same county"},
		{"Xiangshui's neighbours: two that are two", "320921", "320922", "same prefecture"},
		{"a village of Pingba, county and district", "520421100201", "520403100201", "same village"},
		{"a township of Zunyi county, twice renamed", "522121103", "520304103", "same township"},
		{"Tongren prefecture of 2010 and of today", "522200", "520600", "same prefecture"},
		{"Tongren prefecture and a county of it", "5222", "520621", "same prefecture"},
		{"Luolong's code of 2000 is Yanshi's of 2021: as it is told", "410307", "410311", "same prefecture"},
	} {
		a, b := placeOf(c.a), placeOf(c.b)
		if got := placeWords(t, a, b); got != c.level {
			t.Errorf("%s: %s and %s (%s, %s): %s, not %s", c.what, c.a, c.b, a, b, got, c.level)
		}
	}
}

// placeWords is the level at which two codes agree.
func placeWords(t *testing.T, a, b string) string {
	t.Helper()
	level := levelOfAtoms(kindPlace, &atom{canon: a}, &atom{canon: b})
	if level < 0 {
		return "missing"
	}
	return scaleOf(kindPlace)[level].name
}
