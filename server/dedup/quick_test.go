package dedup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawCell draws a value of a kind such that values are often near each other.
func drawCell(t *rapid.T, k kind) []atom {
	s := spelling()
	digits := func(n int) string {
		return rapid.StringMatching(fmt.Sprintf("[0-2]{%d}", n)).Draw(t, "digits")
	}
	switch k {
	case kindPerson:
		han := rapid.StringMatching("[王汪李张欧阳赵]{1,2}[伟威卫芳方芬]{0,3}").Draw(t, "name")
		latin := rapid.SampledFrom([]string{"wang wei", "Li Fang", "ouyang fen", "Smith, John", "Jon Smith", "Anna Maria Rossi", "Rossi Ana", "fang li", "", "X"}).Draw(t, "latin")
		return nameAtom(s, rapid.SampledFrom([]string{han, latin, latin + "a", han + "国"}).Draw(t, "which"), "", "", "")
	case kindDate:
		text := rapid.SampledFrom([]string{"1970-0%s-1%s", "1970-0%s", "197%s", "~", "19%s1-12-0%s"}).Draw(t, "form")
		text = strings.ReplaceAll(strings.Replace(text, "%s", rapid.StringMatching("[1-3]").Draw(t, "d"), 1), "%s", rapid.StringMatching("[1-3]").Draw(t, "d"))
		if text == "~" {
			f, _ := newDate(1970, 0, 0, true)
			return []atom{dateAtom(f, "")}
		}
		if f, ok := parseDate(text, false); ok {
			if rapid.Bool().Draw(t, "lunar") {
				f = f.inLunar(rapid.Bool().Draw(t, "leap"))
				return []atom{dateAtom(f, f.canon()+" lunar")}
			}
			return []atom{dateAtom(f, "")}
		}
		return nil
	case kindPhone:
		p := phoneOf(digits(rapid.SampledFrom([]int{4, 7, 8, 11, 16}).Draw(t, "length")))
		return one(p, p)
	case kindResident:
		p := residentOf(digits(rapid.SampledFrom([]int{4, 15, 18}).Draw(t, "length")))
		return one(p, p)
	case kindPlace:
		p := placeOf("52" + digits(rapid.SampledFrom([]int{0, 2, 4, 7, 10}).Draw(t, "length")))
		return one(p, p)
	case kindDigits:
		p := digits(rapid.IntRange(1, 8).Draw(t, "length"))
		return one(p, p)
	case kindCategory, kindOrdered:
		p := "0" + digits(1)
		return one(p, p)
	}
	p := rapid.StringMatching("[abc]{1,4}[xyz ]{0,4}[a-f]{0,3}").Draw(t, "text")
	return one(p, letters(p))
}

// TestQuick expects the quick comparison to say what the thorough one says, for all kinds, or nothing.
func TestQuick(t *testing.T) {
	settled, asked := map[kind]int{}, map[kind]int{}
	rapid.Check(t, func(t *rapid.T) {
		k := kind(rapid.IntRange(0, int(kindHouse)-1).Draw(t, "kind"))
		var said []source
		for range 12 {
			said = append(said, drawCell(t, k))
		}
		c := newColumn("x", k, said)
		for i := range int32(c.atoms) {
			for j := range int32(c.atoms) {
				asked[k]++
				got := c.quickLevel(i, j)
				if got < 0 {
					continue
				}
				settled[k]++
				if want := levelOfAtoms(k, c.atom(i), c.atom(j)); got != want {
					t.Fatalf("%s %q and %q: quickly %q, thoroughly %q", kindName(k), c.atom(i).shown, c.atom(j).shown, c.scale[got].name, c.scale[want].name)
				}
			}
		}
	})
	for k := range kindHouse {
		if k != kindResident && settled[k]*10 < asked[k] {
			t.Errorf("%s: only %d of %d were settled quickly", kindName(k), settled[k], asked[k])
		}
	}
}

// TestWeighAllIsExact expects the pairs that are kept where weighing stops early to be those that weighing in full keeps, with the
// same weights.
func TestWeighAllIsExact(t *testing.T) {
	table := sharedTable(t, "fake_1000.csv")
	skip := map[int]bool{0: true, len(table.Header) - 1: true}
	s, _, err := table.sorted(-1)
	if err != nil {
		t.Fatal(err)
	}
	f := s.frame(guessColumns(&s, skip))
	b := f.block(Options{}.withDefaults())
	m, found := f.learn(b, Options{}.withDefaults(), nil)
	pairs, all := f.pairs(b.blocks, 1)
	b.pairs = pairs
	weights := m.weights(b, f.tabulate(b))
	kept := map[[2]int32]float64{}
	for _, e := range found.edges {
		kept[[2]int32{e.a, e.b}] = e.weight
	}
	if all != found.compared || len(kept) == 0 || len(kept) == len(pairs) {
		t.Fatalf("%d pairs, %d compared, %d kept", all, found.compared, len(kept))
	}
	for x, p := range pairs {
		w, ok := kept[[2]int32{p.a, p.b}]
		if ok != (weights[x] >= worthTrack+m.shift) || ok && math.Abs(w-weights[x]) > 1e-9 {
			t.Fatalf("a pair of %v bits was kept: %v, with %v", weights[x], ok, w)
		}
	}
}

// BenchmarkCompare times one comparison of each kind of column, of values as they come.
func BenchmarkCompare(b *testing.B) {
	table := sharedTable(b, "cn10000.csv")
	table.ID, table.Truth = "rec_id", "ent_id"
	s, _, err := table.sorted(0)
	if err != nil {
		b.Fatal(err)
	}
	f := s.frame(guessColumns(&s, map[int]bool{0: true, 1: true}))
	for _, c := range f.columns {
		b.Run(c.field, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			i := 0
			for b.Loop() {
				i = (i + 1) % f.n
				c.compare(i, (i+int(rng.Uint32()&1023))%f.n)
			}
		})
	}
}
