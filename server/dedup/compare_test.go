package dedup

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// levelOf compares two values as one column of a kind would.
func levelOf(k kind, a, b []atom) string {
	c := newColumn("x", k, []source{a, b})
	l, _, _ := c.compare(0, 1)
	if l < 0 {
		return "missing"
	}
	return c.scale[l].name
}

// TestNames compares names of people.
func TestNames(t *testing.T) {
	s := newSpeller()
	tests := []struct{ a, b, want string }{
		{"张伟", "张伟", "same characters"},
		{"张伟", "張偉", "same characters"},
		{"张 伟", "张·伟", "same characters"},
		{"张伟", "章伟", "same pinyin"},
		{"张伟", "张炜", "same pinyin"},
		{"李秀英", "Li Xiuying", "same pinyin"},
		{"李秀英", "Lǐ Xiùyīng", "same pinyin"},
		{"李秀英", "LI XIU YING", "same pinyin"},
		{"李秀英", "Xiuying Li", "order swapped"},
		{"李秀英", "秀英李", "order swapped"},
		{"李秀英", "英秀李", "order swapped"},
		{"李秀英", "李英秀", "order swapped"},
		{"李秀秀", "李秀李", "similar sound"},
		{"吕芳", "Lü Fang", "same pinyin"},
		{"吕芳", "Lv Fang", "same pinyin"},
		{"曾小贤", "Zeng Xiaoxian", "same pinyin"},
		{"单雄信", "Shan Xiongxin", "same pinyin"},
		{"欧阳修", "Ouyang Xiu", "same pinyin"},
		{"陈静", "程静", "nearly the same sound"},
		{"刘兰", "牛兰", "nearly the same sound"},
		{"王建国", "王国", "part of the name"},
		{"王建国", "王卫国", "part of the name"},
		{"王芳", "王磊", "same family name"},
		{"王芳", "赵磊", "differs"},
		{"王芳", "Zhao Lei", "differs"},
		{"王芳", "", "missing"},
		{"John Smith", "Smith, John", "order swapped"},
		{"John Smith", "Jon Smith", "nearly the same sound"},
	}
	for _, test := range tests {
		for _, order := range [][2]string{{test.a, test.b}, {test.b, test.a}} {
			a, b := nameAtom(s, order[0], "", "", ""), nameAtom(s, order[1], "", "", "")
			if got := levelOf(kindPerson, a, b); got != test.want {
				t.Errorf("%q and %q: %s, want %s", order[0], order[1], got, test.want)
			}
		}
	}
}

// TestNameParts honours a family name that was told apart, and a pinyin that was.
func TestNameParts(t *testing.T) {
	s := newSpeller()
	a := nameAtom(s, "乐靖宜", "", "", "yue jing yi")
	b := nameAtom(s, "Yue Jingyi", "Yue", "Jingyi", "")
	if got := levelOf(kindPerson, a, b); got != "same pinyin" {
		t.Errorf("recorded pinyin: %s, want same pinyin", got)
	}
	if f := s.name("司马相如", "", "", ""); f.family != "司马" || f.given != "相如" {
		t.Errorf("family %q given %q, want 司马 相如", f.family, f.given)
	}
	if f := s.name("司马", "", "", ""); f.family != "司" {
		t.Errorf("two characters: family %q, want 司", f.family)
	}
}

// TestDates compares dates as far as known.
func TestDates(t *testing.T) {
	tests := []struct{ a, b, want string }{
		{"1970-05-03", "1970-05-03", "exact"},
		{"1970-05-03", "19700503", "exact"},
		{"1970-05-03", "1970年5月3日", "exact"},
		{"1970-05-03", "1970-03-05", "one digit off or day and month swapped"},
		{"1970-05-03", "1970-05-13", "one digit off or day and month swapped"},
		{"1970-05-03", "1970-05-29", "two parts of three"},
		{"1970-05-03", "1970-06-12", "within two months"},
		{"1970-12-03", "1971-01-12", "within two months"},
		{"1970-05-03", "1970-10-29", "same year"},
		{"1970-05-03", "1971-04-20", "a year off"},
		{"1970-05-03", "1985-11-20", "differs"},
		{"1970-05-03", "1970-05", "same year and month"},
		{"1970-05-03", "1970-06", "the same month in the lunar calendar"},
		{"1970-05-03", "1970-07", "within two months"},
		{"1970-05-03", "1970-06-06", "the same in the lunar calendar"},
		{"1945-12-18", "1946-01-20", "the same in the lunar calendar"}, // across the year
		{"1979-06-15", "1979-07-08", "the same in the lunar calendar"}, // in the sixth month
		{"1979-06-15", "1979-08-07", "the same in the lunar calendar"}, // in its leap month
		{"1979-06-15", "1979-08-08", "within two months"},              // a day past
		{"1979-06", "1979-08-07", "the same month in the lunar calendar"},
		{"1971-02-30", "1971-03-26", "the same in the lunar calendar"}, // there is no such solar date
		{"1970", "1970-06-06", "same year"},
		{"lunar 1970-05-03", "1970-06-06", "exact"},
		{"lunar 1970-05-03", "lunar 1970-05-03", "exact"},
		{"lunar 1970-05-03", "1970-05-03", "the same in the lunar calendar"},
		{"lunar 1970-05-03", "1970-06", "same year and month"},
		{"lunar 1970-05", "1970-06-06", "same year and month"},
		{"lunar 1970-05", "1970-05", "within two months"},
		{"leap 1979-06-15", "1979-08-07", "exact"},
		{"leap 1979-06-15", "1979-07-08", "within two months"},
		{"leap 1979-06", "1979-08-07", "same year and month"},
		{"leap 1979-06", "1979-07-08", "within two months"},
		{"lunar 1890-05-03", "1890-06-19", "within two months"}, // before the table of months
		{"lunar 1970-05-30", "1970-05-30", "exact"},             // that month has 29 days: it cannot be lunar
		{"1970-05-03", "1970", "same year"},
		{"1970", "1971", "a year off"},
		{"1970", "1990", "differs"},
		{"1970", "not a date", "missing"},
	}
	for _, test := range tests {
		var sides [2][]atom
		for i, v := range []string{test.a, test.b} {
			text, lunar := strings.CutPrefix(v, "lunar ")
			text, leap := strings.CutPrefix(text, "leap ")
			if f, ok := parseDate(text, false); ok {
				if lunar || leap {
					f = f.inLunar(leap)
				}
				sides[i] = []atom{dateAtom(f, v)}
			}
		}
		if got := levelOf(kindDate, sides[0], sides[1]); got != test.want {
			t.Errorf("%s and %s: %s, want %s", test.a, test.b, got, test.want)
		}
		if got := levelOf(kindDate, sides[1], sides[0]); got != test.want {
			t.Errorf("%s and %s: %s, want %s", test.b, test.a, got, test.want)
		}
	}
	for _, text := range []string{"31/04/1970", "1970-02-31", "1970-13-01"} {
		if f, _ := parseDate(text, true); f.day != 0 {
			t.Errorf("parseDate(%s) keeps the day %d, which there is not", text, f.day)
		}
	}
}

// TestNumbers compares telephones, identity numbers and places.
func TestNumbers(t *testing.T) {
	phone := func(s string) []atom { return one(s, phoneOf(s)) }
	resident := func(s string) []atom { return one(s, residentOf(s)) }
	place := func(s string) []atom { return one(s, placeOf(s)) }
	tests := []struct {
		kind       kind
		read       func(string) []atom
		a, b, want string
	}{
		{kindPhone, phone, "138 1234 5678", "+86 13812345678", "exact"},
		{kindPhone, phone, "13812345678", "１３８１２３４５６７８", "exact"},
		{kindPhone, phone, "13812345678", "13812345679", "one digit off"},
		{kindPhone, phone, "13812345678", "13812354678", "one digit off"},
		{kindPhone, phone, "0851-85812345", "85812345", "same last eight"},
		{kindPhone, phone, "13812345678", "15900005678", "same last four"},
		{kindPhone, phone, "13812345678", "15900001111", "differs"},
		{kindPhone, phone, "13812345678", "", "missing"},
		{kindResident, resident, "52052419710103187X", "52052419710103187x", "exact"},
		{kindResident, resident, "52052419710103187X", "520524197101031870", "one digit off"},
		{kindResident, resident, "52052419710103187X", "520524710103187", "exact"},
		{kindResident, resident, "52052419710103187X", "187X", "same last four"},
		{kindResident, resident, "187X", "187x", "same last four"},
		{kindResident, resident, "52052419710103187X", "1871", "last four differ"},
		{kindResident, resident, "52052419710103187X", "52052419710103001X", "same birth and place"},
		{kindResident, resident, "52052419710103187X", "110101198001011234", "differs"},
		{kindResident, resident, "52052419710103187X", "12345", "missing"},
		{kindPlace, place, "520521217204", "520521217204", "same village"},
		{kindPlace, place, "520521217204", "520521217205", "same township"},
		{kindPlace, place, "520521217204", "520521", "same county"},
		{kindPlace, place, "520521", "520500000000", "same prefecture"},
		{kindPlace, place, "520521", "440308", "differs"},
		{kindPlace, place, "52", "520521", "same province"},
		{kindPlace, place, "52", "44", "differs"},
		{kindPlace, place, "520521217204", "990000", "missing"},
	}
	for _, test := range tests {
		if got := levelOf(test.kind, test.read(test.a), test.read(test.b)); got != test.want {
			t.Errorf("%q and %q: %s, want %s", test.a, test.b, got, test.want)
		}
		if got := levelOf(test.kind, test.read(test.b), test.read(test.a)); got != test.want {
			t.Errorf("%q and %q: %s, want %s", test.b, test.a, got, test.want)
		}
	}
}

// TestResidentChecks knows the check character of GB 11643.
func TestResidentChecks(t *testing.T) {
	for id, want := range map[string]bool{
		"11010519491231002X": true, "440524188001010014": true, "52052419710103187X": true,
		"110105194912310021": false, "11010519491231002": false, "1101051949123100aX": false, "": false,
	} {
		if got := residentChecks(id); got != want {
			t.Errorf("residentChecks(%q) = %v, want %v", id, got, want)
		}
	}
}

// TestDistances checks the comparators against known values.
func TestDistances(t *testing.T) {
	for _, test := range []struct {
		a, b string
		jw   float64
		osa  int
	}{
		{"martha", "marhta", .9611, 1}, {"dixon", "dicksonx", .8133, 4}, {"dwayne", "duane", .84, 2},
		{"", "abc", 0, 3}, {"abc", "abc", 1, 0}, {"ca", "abc", 0, 3}, {"zhang", "zahng", .94, 1},
	} {
		if got := jaroWinkler(test.a, test.b); math.Abs(got-test.jw) > .001 {
			t.Errorf("jaroWinkler(%s, %s) = %.4f, want %.4f", test.a, test.b, got, test.jw)
		}
		if got := osa(test.a, test.b); got != test.osa {
			t.Errorf("osa(%s, %s) = %d, want %d", test.a, test.b, got, test.osa)
		}
	}
}

// TestDistanceLaws holds the comparators to their laws.
func TestDistanceLaws(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("abc张伟")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		x, y := []rune(a), []rune(b)
		if s, r := jaroWinkler(a, b), jaroWinkler(b, a); math.Abs(s-r) > 1e-12 || s < 0 || s > 1+1e-12 {
			t.Fatalf("jaroWinkler(%q, %q) = %v and %v", a, b, s, r)
		}
		d := osa(a, b)
		if d != osa(b, a) || (d == 0) != (a == b) || d > max(len(x), len(y)) {
			t.Fatalf("osa(%q, %q) = %d, other way %d", a, b, d, osa(b, a))
		}
		if isASCII(a) && isASCII(b) && oneApart(a, b) != (d <= 1) {
			t.Fatalf("oneApart(%q, %q) = %v at distance %d", a, b, oneApart(a, b), d)
		}
	})
}

// TestLetters holds the comparators of 7-bit texts, which work on bits, to those that compare letter by letter.
func TestLetters(t *testing.T) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("abcde019 '")), 0, 70, -1)
	short := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.OneOf(text, short).Draw(t, "a"), rapid.OneOf(text, short).Draw(t, "b")
		if rapid.Bool().Draw(t, "near") { // one is the other with something in it
			at := rapid.IntRange(0, len(a)).Draw(t, "at")
			b = a[:at] + short.Draw(t, "more") + a[at:]
		}
		x, y := []rune(a)[:min(len(a), maxRunes)], []rune(b)[:min(len(b), maxRunes)]
		if len(x) > len(y) {
			x, y = y, x
		}
		common := 0
		for common < min(4, len(x)) && x[common] == y[common] {
			common++
		}
		if got, want := jaroWinkler(a, b), winkler(jaro(x, y), common); got != want {
			t.Fatalf("jaroWinkler(%q, %q) = %v, letter by letter %v", a, b, got, want)
		}
		if got, want := osa(a, b), osaRunes(x, y); got != want {
			t.Fatalf("osa(%q, %q) = %d, letter by letter %d", a, b, got, want)
		}
	})
}

// TestScales holds every kind to what the model needs: groups that add up, and agreement that weighs more than none.
func TestScales(t *testing.T) {
	for k := range kinds {
		s := scaleOf(k)
		sums := map[uint8]float64{}
		for _, l := range s {
			sums[l.group] += l.m
			if l.name == "" || l.zh == "" || l.m <= 0 || l.u <= 0 {
				t.Errorf("%s: level %+v is not complete", kindName(k), l)
			}
			if _, zh := l.name, LevelLabel(l.name); zh == l.name {
				t.Errorf("%s: level %q has no Chinese label", kindName(k), l.name)
			}
		}
		for g, sum := range sums {
			if math.Abs(sum-1) > .02 {
				t.Errorf("%s: m of group %d adds up to %v", kindName(k), g, sum)
			}
		}
	}
}

// TestFolding checks the table of characters: pairwise, and against OpenCC's where that is here.
func TestFolding(t *testing.T) {
	s := newSpeller()
	if got := s.plain("ＡＢ　張偉 É"); got != "ab 张伟 e" {
		t.Errorf("plain = %q, want %q", got, "ab 张伟 e")
	}
	data := sharedFile(t, "TSCharacters.txt")
	known := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			known[k] = strings.Fields(v)
		}
	}
	if len(known) < 1000 {
		t.Fatalf("only %d characters in the table of OpenCC", len(known))
	}
	for k, want := range known {
		r := []rune(k)
		if len(r) != 1 || slices.Contains(want, k) || k == "苧" { // 苧 is the simplified shape of 薴 as well
			continue
		}
		if got := s.plain(k); !slices.Contains(want, got) {
			t.Errorf("%s folds to %s, want %v", k, got, want)
		}
	}
	for r, simple := range s.fold {
		if again, ok := s.fold[simple]; ok {
			t.Errorf("%c folds to %c, and that to %c", r, simple, again)
		}
	}
}

// BenchmarkComparators measures the comparators, each also letter by letter, which is what it is to be held against.
func BenchmarkComparators(b *testing.B) {
	x, y := "zhangxiuying", "zhangxiaoying"
	m, n := "13812345678", "13812354679"
	p, q := strings.Clone("欧阳秀英"), strings.Clone("欧阳秀莹")
	slowOSA := func() float64 { return float64(osaRunes([]rune(m), []rune(n))) }
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	sum := 0.0
	for _, bench := range []struct {
		name       string
		fast, slow func() float64
	}{
		{"jaroWinkler", func() float64 { return jaroWinkler(x, y) }, func() float64 { return winkler(jaro([]rune(x), []rune(y)), 4) }},
		{"osa", func() float64 { return float64(osa(m, n)) }, slowOSA},
		{"oneApart", func() float64 { return yes(oneApart(m, n)) }, slowOSA},
		{"jaroWinkler of characters", func() float64 { return jaroWinkler(p, q) }, func() float64 { return winkler(jaro([]rune(p), []rune(q)), 3) }},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				sum += bench.fast()
			}
			fast := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			start := time.Now()
			const rounds = 20_000
			for range rounds {
				sum += bench.slow()
			}
			b.ReportMetric(float64(time.Since(start).Nanoseconds())/rounds/fast, "x-letter-by-letter")
		})
	}
	if sum == 0 {
		b.Error("nothing was like anything")
	}
}
