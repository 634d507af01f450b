package sav

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// table is a schema and its rows.
type table struct {
	schema *Schema
	rows   [][]Value
}

var anyText = rapid.StringOf(rapid.OneOf(
	rapid.SampledFrom([]rune{'"', '\'', '\t', '\n', ',', ';', '=', ' ', '`', '$', '\\', '<', '(', ')', '/', ':', '\u00a0', '\ufeff', '𠮷', '😀', 'é'}),
	rapid.Rune(), rapid.RuneFrom([]rune("abcABC019_")), rapid.RuneFrom([]rune("贵州省住户调查一二三"))).
	Filter(func(r rune) bool { return r != 0 }))

func bounded(n int) *rapid.Generator[string] {
	return rapid.Map(anyText, func(s string) string {
		for len(s) > n {
			r := []rune(s)
			s = string(r[:len(r)-1])
		}
		return s
	})
}

func randomName(t *rapid.T, prefix string, i int) string {
	return fmt.Sprint(prefix, i, rapid.StringMatching(`(_[A-Za-z0-9一-龥]{0,12})?`).Draw(t, "name"))
}

func randomWording(t *rapid.T, langs []string) Wording {
	w := Wording{}
	for _, l := range langs {
		if rapid.IntRange(0, 3).Draw(t, "has") > 0 {
			w[l] = anyText.Draw(t, "wording")
		}
	}
	return w
}

var anyTable = rapid.Custom(func(t *rapid.T) table {
	s := &Schema{Languages: rapid.SampledFrom([][]string{nil, {"en"}, {"en", "zh"}, {"zh", "en", "fr_CA"}}).Draw(t, "languages")}
	langs := s.Languages
	if langs == nil {
		langs = []string{""}
	}
	s.Label = randomWording(t, langs)
	s.Documents = rapid.SliceOfN(anyText, 0, 2).Draw(t, "documents")
	for i := range rapid.IntRange(0, 3).Draw(t, "sets") {
		set := LabelSet{Name: fmt.Sprint(i), OfText: rapid.Bool().Draw(t, "text")}
		seen := map[string]bool{}
		for range rapid.IntRange(0, 5).Draw(t, "labels") {
			l := ValueLabel{Text: randomWording(t, langs)}
			if set.OfText {
				l.Code = strings.TrimRight(bounded(9).Draw(t, "code"), " ")
			} else {
				l.Number = rapid.OneOf(rapid.Map(rapid.IntRange(-99, 160), func(n int) float64 { return float64(n) }), rapid.Float64Range(-1e9, 1e9)).Draw(t, "number")
			}
			if key := fmt.Sprint(l.Code, l.Number+0); !seen[key] {
				seen[key] = true
				set.Labels = append(set.Labels, l)
			}
		}
		s.LabelSets = append(s.LabelSets, set)
	}
	for i := range rapid.IntRange(1, 9).Draw(t, "variables") {
		s.Variables = append(s.Variables, randomVariable(t, s, i, langs))
	}
	var rows [][]Value
	for range rapid.IntRange(0, 12).Draw(t, "rows") {
		var row []Value
		for i := range s.Variables {
			row = append(row, randomValue(t, &s.Variables[i]))
		}
		rows = append(rows, row)
	}
	return table{s, rows}
})

func randomVariable(t *rapid.T, s *Schema, i int, langs []string) Variable {
	v := Variable{Name: randomName(t, "household_", i), Kind: Kind(rapid.IntRange(1, 4).Draw(t, "kind")), Label: randomWording(t, langs),
		Measure: Measure(rapid.IntRange(0, 3).Draw(t, "measure"))}
	if v.Kind == String {
		v.Width = rapid.OneOf(rapid.IntRange(9, 40), rapid.SampledFrom([]int{9, 16, 252, 253, 255, 256, 504, 505, 510, 511, 2_000})).Draw(t, "width")
		if rapid.Bool().Draw(t, "short") {
			v.Width = rapid.IntRange(1, 8).Draw(t, "width")
		}
		v.Missing.Texts = rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z?]{1,8}`).Filter(func(s string) bool { return len(s) <= v.Width }), 0, min(3, v.Width), rapid.ID).Draw(t, "missing")
	}
	if v.Kind == Number {
		switch rapid.IntRange(0, 3).Draw(t, "missing") {
		case 0:
			v.Missing.Numbers = rapid.SliceOfNDistinct(rapid.Float64Range(-1e6, 1e6), 1, 3, rapid.ID).Draw(t, "numbers")
		case 1:
			v.Missing = MissingValues{Range: &[2]float64{-99, -96}, Numbers: []float64{999}}
		case 2:
			v.Missing = MissingValues{Range: &[2]float64{math.Inf(-1), -0.5}}
		}
	}
	for _, set := range s.LabelSets {
		fits := set.OfText == (v.Kind == String) && (v.Kind == String || v.Kind == Number)
		for _, l := range set.Labels {
			fits = fits && (v.Kind != String || len(l.Code) <= v.Width)
		}
		if fits {
			v.LabelSet = set.Name
		}
	}
	return v
}

func randomValue(t *rapid.T, v *Variable) Value {
	if rapid.IntRange(0, 4).Draw(t, "missing") == 0 {
		return Value{}
	}
	switch v.Kind {
	case Number:
		return rapid.OneOf(rapid.Map(rapid.Int64Range(-105, 160), Whole), rapid.Map(rapid.Int64Range(-1<<53, 1<<53), Whole),
			rapid.Map(rapid.Float64Range(-1e300, 1e300), Real)).Draw(t, "number")
	case Date:
		return Day(time.Unix(rapid.Int64Range(-12_200_000_000, 253_402_300_799).Draw(t, "day"), 0).UTC())
	case Datetime:
		return Moment(time.UnixMilli(rapid.Int64Range(-12_200_000_000_000, 253_402_300_799_999).Draw(t, "moment")))
	}
	s := anyText.Draw(t, "text")
	if n := v.Width / max(1, len(s)); n > 1 {
		s = strings.Repeat(s, rapid.IntRange(1, n).Draw(t, "times"))
	}
	for len(s) > v.Width {
		r := []rune(s)
		s = string(r[:len(r)-1])
	}
	return Text(s)
}

// seen is a value as a reader has to find it.
func (v Value) seen(kind Kind) any {
	switch {
	case kind == String:
		return strings.TrimRight(v.text, " ")
	case v.kind == isMissing:
		return nil
	case v.kind == isWhole:
		return float64(int64(v.bits))
	}
	return math.Float64frombits(v.bits)
}

func (tab table) seenRows() [][]any {
	var out [][]any
	for _, r := range tab.rows {
		var row []any
		for i, v := range r {
			row = append(row, v.seen(tab.schema.Variables[i].Kind))
		}
		out = append(out, row)
	}
	return out
}

// seenLabels are the value labels of a variable as a reader has to find them.
func (s *Schema) seenLabels(v *Variable) map[string]string {
	out := map[string]string{}
	for _, set := range s.LabelSets {
		if set.Name != v.LabelSet {
			continue
		}
		for _, l := range set.Labels {
			key := l.Code
			if !set.OfText {
				key = strconv.FormatFloat(l.Number, 'g', -1, 64)
			}
			if text := l.Text[s.first()]; text != "" {
				out[key] = seenCut(text, 120)
			}
		}
	}
	return out
}

// seenCut is a label as it has to be in the file.
func seenCut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	r := []rune(s)
	for len(string(r)) > limit-3 {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}

func TestRandomTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := anyTable.Draw(t, "table")
		plain, packed, err := tryWrite(tab.schema, tab.rows)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{plain, packed} {
			f, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			checkTable(t, tab, f)
		}
	})
}

func checkTable(t *rapid.T, tab table, f *parsed) {
	s := tab.schema
	if diff := cmp.Diff(tab.seenRows(), f.rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got, want := f.label, strings.TrimRight(seenCut(s.Label[s.first()], 64), " "); got != want {
		t.Errorf("label: got %q, want %q", got, want)
	}
	for i := range s.Variables {
		v, got := &s.Variables[i], f.vars[i]
		if got.name != v.Name || got.label != seenCut(v.Label[s.first()], 255) || got.width != v.Width {
			t.Errorf("variable %d: got %q, %q, %d, want %+v", i, got.name, got.label, got.width, v)
		}
		if diff := cmp.Diff(s.seenLabels(v), got.labels); diff != "" {
			t.Errorf("variable %d: value labels (-want +got):\n%s", i, diff)
		}
		if v.Measure != Unset && got.measure != int(v.Measure) || len(got.missingTexts) != len(v.Missing.Texts) {
			t.Errorf("variable %d: got measure %d, missing %q, want %+v", i, got.measure, got.missingTexts, v)
		}
		for n, lang := range s.Languages {
			if text := v.Label[lang]; n > 0 && text != "" && got.attributes["Label_"+lang][0] != oneLine(text) {
				t.Errorf("variable %d in %s: got %q, want %q", i, lang, got.attributes["Label_"+lang], text)
			}
		}
	}
}

// FuzzWriter takes names, labels and values of any kind: there is an error before the first byte, or a file that is whole.
func FuzzWriter(f *testing.F) {
	f.Add("age", "Age", "F9.0", "years", uint8(1), uint16(0), int64(36), 1.5, "text")
	f.Add("名字", strings.Repeat("字", 90), "", "", uint8(4), uint16(2045), int64(-1), math.NaN(), "a\x00b")
	f.Add("with", "\xff", "DATE11", "a b", uint8(2), uint16(70), int64(math.MaxInt64), math.Inf(1), strings.Repeat("长", 800))
	f.Fuzz(func(t *testing.T, name, label, format, set string, kind uint8, width uint16, n int64, x float64, text string) {
		w := Wording{"": label}
		v := Variable{Name: name, Label: w, Kind: Kind(kind), Width: int(width), Format: format, LabelSet: set, Attributes: []Attribute{{"Q", []string{text, label}}}}
		if v.Kind == String {
			v.Missing.Texts = []string{set}
		} else {
			v.Missing.Numbers = []float64{x, float64(n)}
		}
		other := Variable{Name: "other", Kind: Number}
		s := &Schema{Label: w, Variables: []Variable{v, other}, Documents: []string{text},
			LabelSets: []LabelSet{{Name: set, OfText: v.Kind == String, Labels: []ValueLabel{{Number: x, Code: text, Text: Wording{"": text}}, {Number: 1e7, Code: set, Text: w}}}},
			Multiple:  []MultipleResponse{{Name: name, Label: w, Variables: []string{name, "other"}, Categories: v.Kind != String, CountedText: text}}}
		if set == "" {
			s.LabelSets = nil
		}
		if v.Kind == String {
			s.Multiple = nil
		}
		file := &memory{}
		wr, err := NewWriter(file, s, Options{ZLIB: n%2 == 0})
		if err != nil {
			if len(file.b) > 0 {
				t.Fatalf("%d bytes were written before %v", len(file.b), err)
			}
			return
		}
		rows := 0
		when := time.Unix(n, 0)
		for _, v := range []Value{Whole(n), Real(x), Text(text), Day(when), Moment(when), {}, Text(text + label)} {
			if wr.Row([]Value{v, Real(0.5)}) == nil {
				rows++
			}
		}
		if err := wr.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := parse(file.b)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.rows) != rows || got.vars[0].name != name {
			t.Errorf("got %d rows of %q, want %d of %q", len(got.rows), got.vars[0].name, rows, name)
		}
	})
}
