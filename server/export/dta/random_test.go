package dta

import (
	"fmt"
	"math"
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
	rapid.SampledFrom([]rune{'"', '\'', '\t', '\n', ',', ';', '=', ' ', '`', '$', '\\', '<', '>', '%', '\u00a0', '\ufeff', '𠮷', '😀', 'é'}),
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

func randomWording(t *rapid.T, langs []string, text *rapid.Generator[string]) Wording {
	w := Wording{}
	for _, l := range langs {
		if rapid.IntRange(0, 3).Draw(t, "has") > 0 {
			w[l] = text.Draw(t, "wording")
		}
	}
	return w
}

var anyTable = rapid.Custom(func(t *rapid.T) table {
	s := &Schema{Languages: rapid.SampledFrom([][]string{nil, {"en"}, {"en", "zh"}, {"zh", "en", "fr_CA"}}).Draw(t, "languages")}
	langs := s.languages()
	s.Label = randomWording(t, langs, anyText)
	if rapid.Bool().Draw(t, "timed") {
		s.Time = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0).UTC()
	}
	s.Notes = rapid.SliceOfN(anyText, 0, 2).Draw(t, "notes")
	for i := range rapid.IntRange(0, 3).Draw(t, "sets") {
		set := LabelSet{Name: randomName(t, "set", i)}
		for _, code := range rapid.SliceOfNDistinct(rapid.Int32Range(minCode, maxCode), 0, 5, rapid.ID).Draw(t, "codes") {
			set.Labels = append(set.Labels, ValueLabel{Code: code, Text: randomWording(t, langs, anyText)})
		}
		for _, r := range rapid.SliceOfNDistinct(rapid.ByteRange('a', 'z'), 0, 5, rapid.ID).Draw(t, "reasons") {
			set.Labels = append(set.Labels, ValueLabel{Missing: Reason(r), Text: randomWording(t, langs, anyText)})
		}
		s.LabelSets = append(s.LabelSets, set)
	}
	for i := range rapid.IntRange(1, 9).Draw(t, "variables") {
		v := Variable{Name: randomName(t, "v", i), Kind: Kind(rapid.IntRange(1, 8).Draw(t, "kind")), Label: randomWording(t, langs, anyText)}
		if v.Kind == String {
			v.Width = rapid.OneOf(rapid.IntRange(1, 40), rapid.Just(2045)).Draw(t, "width")
		} else if v.Kind != LongString && len(s.LabelSets) > 0 && rapid.Bool().Draw(t, "labelled") {
			v.LabelSet = rapid.SampledFrom(s.LabelSets).Draw(t, "set").Name
		}
		v.Notes = rapid.SliceOfN(anyText, 0, 2).Draw(t, "notes")
		s.Variables = append(s.Variables, v)
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

func randomValue(t *rapid.T, v *Variable) Value {
	if v.Kind < String && rapid.IntRange(0, 3).Draw(t, "missing") == 0 {
		return Missing(Reason(rapid.SampledFrom([]byte("\x00\x00abdnrsxz")).Draw(t, "reason")))
	}
	switch v.Kind {
	case Byte:
		return Whole(rapid.Int64Range(-127, 100).Draw(t, "byte"))
	case Int:
		return Whole(rapid.Int64Range(-32_767, 32_740).Draw(t, "int"))
	case Long:
		return Real(float64(rapid.Int64Range(minCode, maxCode).Draw(t, "long")))
	case Double:
		return Real(rapid.Float64Range(-1e300, 1e300).Draw(t, "double"))
	case Date:
		return Day(time.Unix(rapid.Int64Range(-59_000_000_000, 253_402_300_799).Draw(t, "day"), 0).UTC())
	case Datetime:
		return Moment(time.UnixMilli(rapid.Int64Range(-59_000_000_000_000, 253_402_300_799_999).Draw(t, "moment")))
	case String:
		return Text(bounded(v.Width).Draw(t, "text"))
	}
	return Text(strings.Repeat(anyText.Draw(t, "long"), rapid.IntRange(0, 300).Draw(t, "times")))
}

// seen is a value as a reader has to find it.
func (v Value) seen() cell {
	switch v.kind {
	case isMissing:
		return cell{Missing: missingName(missingIndex(v.reason))}
	case isText:
		return cell{Text: v.text}
	case isReal:
		return cell{Number: math.Float64frombits(v.bits)}
	}
	return cell{Number: float64(int64(v.bits))}
}

// seenSets are the value labels as a reader has to find them.
func (s *Schema) seenSets() map[string]map[int32]string {
	out := map[string]map[int32]string{}
	for _, set := range s.LabelSets {
		for n, lang := range s.languages() {
			labels := map[int32]string{}
			for _, l := range set.Labels {
				if text := s.pick(l.Text, lang); text != "" {
					labels[l.code()] = text
				}
			}
			out[set.in(n, lang)] = labels
		}
	}
	return out
}

func (tab table) seenRows() [][]cell {
	var out [][]cell
	for _, r := range tab.rows {
		var row []cell
		for _, v := range r {
			row = append(row, v.seen())
		}
		out = append(out, row)
	}
	return out
}

// cutLabel is a label as it has to be in the file.
func cutLabel(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:79]) + "…"
	}
	return s
}

func TestRandomTables(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := anyTable.Draw(t, "table")
		b, err := tryWrite(tab.schema, tab.rows)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tab.seenRows(), f.rows); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(tab.schema.seenSets(), f.sets); diff != "" {
			t.Errorf("value labels (-want +got):\n%s", diff)
		}
		s := tab.schema
		if got, want := f.label, cutLabel(s.Label[s.first()]); got != want {
			t.Errorf("label: got %q, want %q", got, want)
		}
		for i, v := range s.Variables {
			if f.names[i] != v.Name || f.labels[i] != cutLabel(v.Label[s.first()]) || f.setNames[i] != v.LabelSet {
				t.Errorf("variable %d: got %q, %q, %q, want %+v", i, f.names[i], f.labels[i], f.setNames[i], v)
			}
			for n, lang := range s.languages() {
				if got, want := f.chars[v.Name]["_lang_v_"+lang], cutLabel(s.pick(v.Label, lang)); n > 0 && got != want {
					t.Errorf("variable %d in %s: got %q, want %q", i, lang, got, want)
				}
			}
		}
	})
}

// FuzzWriter takes names, labels and values of any kind: there is an error before the first byte, or a file that is whole.
func FuzzWriter(f *testing.F) {
	f.Add("age", "Age", "%9.0g", "years", uint8(2), uint16(0), int64(36), 1.5, "text")
	f.Add("名字", strings.Repeat("字", 90), "", "", uint8(7), uint16(2045), int64(-1), math.NaN(), "a\x00b")
	f.Add("_n", "\xff", "%td", "a b", uint8(5), uint16(70), int64(math.MaxInt64), math.Inf(1), strings.Repeat("长", 800))
	f.Fuzz(func(t *testing.T, name, label, format, set string, kind uint8, width uint16, n int64, x float64, text string) {
		s := &Schema{
			Label:     Wording{"": label},
			Variables: []Variable{{Name: name, Label: Wording{"": label}, Kind: Kind(kind), Width: int(width), Format: format, LabelSet: set, Notes: []string{text}}},
			LabelSets: []LabelSet{{Name: set, Labels: []ValueLabel{{Code: int32(n), Text: Wording{"": text}}, {Missing: Reason(kind), Text: Wording{"": label}}}}},
		}
		if set == "" {
			s.LabelSets = nil
		}
		file := &memory{}
		w, err := NewWriter(file, s, Options{})
		if err != nil {
			if len(file.b) > 0 {
				t.Fatalf("%d bytes were written before %v", len(file.b), err)
			}
			return
		}
		rows := 0
		when := time.Unix(n, 0)
		for _, v := range []Value{Whole(n), Real(x), Text(text), Day(when), Moment(when), Missing(Reason(kind)), {}, Text(text + label)} {
			if w.Row([]Value{v}) == nil {
				rows++
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := parse(file.b)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.rows) != rows || got.names[0] != name {
			t.Errorf("got %d rows of %q, want %d of %q", len(got.rows), got.names[0], rows, name)
		}
	})
}
