package sav

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSurvey(t *testing.T) {
	s, rows := survey()
	plain, packed := write(t, s, rows)
	for name, b := range map[string][]byte{"sav": plain, "zsav": packed} {
		t.Run(name, func(t *testing.T) {
			f, err := parse(b)
			if err != nil {
				t.Fatal(err)
			}
			checkSurvey(t, f)
		})
	}
}

func checkSurvey(t *testing.T, f *parsed) {
	var names, labels, missing, formats []string
	measures := []int{}
	for _, v := range f.vars {
		names = append(names, v.name)
		labels = append(labels, v.label)
		missing = append(missing, fmt.Sprint(v.missingCode, v.missing, v.missingTexts))
		formats = append(formats, fmt.Sprintf("%d:%d.%d", v.print>>16, v.print>>8&255, v.print&255))
		measures = append(measures, v.measure)
	}
	low := math.Float64frombits(lowestOfARange)
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"label", f.label, "Households of Guiyang"},
		{"time", f.date + " " + f.time, "04 Mar 26 05:06:07"},
		{"weight", f.weight, 5},
		{"names", names, []string{"interview_key", "interview_sex", "住户收入", "weight", "born", "started", "province", "occupation", "story",
			"talk_radio", "talk_tv", "talk_web", "answer", "score"}},
		{"labels", labels, []string{"Interview key", "Sex", "", "", "Date of birth", "", "", "", "In their own words", "Radio", "Television", "Internet", "", ""}},
		{"formats", formats, []string{"1:9.0", "5:8.0", "3:12.0", "5:8.2", "39:10.0", "22:20.0", "1:6.0", "1:255.0", "1:255.0", "5:8.2", "5:8.2", "5:8.0", "1:255.0", "5:8.0"}},
		{"missing", missing, []string{"0 [] []", "-2 [-99 -96] []", "-2 [-99 -96] []", "3 [-1 0.5 1e+09] []", "-2 [-99 -96] []", "0 [] []",
			"2 [] [?? -]", "0 [] [unknown]", "0 [] []", "0 [] []", "0 [] []", "0 [] []", "0 [] []", fmt.Sprintf("-3 [%v -1 99] []", low)}},
		{"measures", measures, []int{1, 1, 3, 3, 1, 3, 1, 1, 1, 3, 3, 1, 1, 1}},
		{"sex", f.vars[1].labels, map[string]string{"1": "male", "2": "female", "-99": "refused", "-98": "don't know", "-97": "not applicable", "-96": "not asked"}},
		{"province", f.vars[6].labels, map[string]string{"GZ": "Guizhou", "??": "not known"}},
		{"occupation", f.vars[7].labels, map[string]string{"construction worker": "Builds houses"}},
		{"sets", f.mrsets, "$talk=D1 1 20 Where news come from talk_rad talk_tv talk_web\n$pair=C 0  v1 score\n"},
		{"attributes of the file", f.attributes, map[string][]string{"Schema": {"sha256:abc"}, "Languages": {"en", "zh"}, "Label_zh": {"贵阳住户"}}},
		{"attributes of sex", f.vars[1].attributes, map[string][]string{"Label_zh": {"性别"}, "Question": {"What is the person's 'sex'?", "请问他（她）的性别？ 1/2 (one)"},
			"ValueLabels_zh": {"-99=拒绝回答", "-98=不知道", "-97=不适用", "1=男", "2=女"}}},
		{"role", f.vars[2].attributes["$@Role"], []string{"1"}},
		{"documents", f.documents, []string{"Simulated data.", "Second line 第二行", strings.Repeat("字", 26), strings.Repeat("字", 26), strings.Repeat("字", 8),
			strings.TrimSpace(strings.Repeat("word ", 16)), strings.TrimSpace(strings.Repeat("word ", 14))}},
		{"row 1", f.rows[0], []any{"GY-1", 1.0, 52_000.0, 1.25, 12_850_444_800.0, 13_991_736_615.123, "GZ", "construction worker",
			"他说：“好”\t\"quoted\"\nsecond line", 1.0, 0.0, 1.0, long(256), 5.0}},
		{"row 2", f.rows[1], []any{"GY-2", 2.0, -99.0, -1.0, -98.0, nil, "??", "unknown", "", 0.0, 0.0, 0.0, " leading", -98.0}},
		{"row 4", f.rows[3], []any{"贵阳-4", nil, nil, nil, nil, nil, "贵州", "", "        eight spaces first", 151.0, 152.0, -100.0, "", -99.0}},
		{"long text", f.rows[2][8], long(32_000)},
		{"rows", f.rows64, int64(4)},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

func TestSameBytes(t *testing.T) {
	s, rows := survey()
	sav, zsav := write(t, s, rows)
	for range 20 {
		s, rows := survey()
		again, zagain := write(t, s, rows)
		if !bytes.Equal(sav, again) || !bytes.Equal(zsav, zagain) {
			t.Fatal("the same input gave other bytes")
		}
	}
}

// one is a schema of one variable.
func one(v Variable) *Schema { return &Schema{Variables: []Variable{v}} }

func w(s string) Wording { return Wording{"": s} }

func TestSchemaLimits(t *testing.T) {
	named := func(names ...string) *Schema {
		s := &Schema{}
		for _, n := range names {
			s.Variables = append(s.Variables, Variable{Name: n, Kind: Number})
		}
		return s
	}
	number := func(change func(*Variable)) *Schema {
		v := Variable{Name: "a", Kind: Number}
		change(&v)
		return one(v)
	}
	set := func(kind Kind, ofText bool, labels ...ValueLabel) *Schema {
		v := Variable{Name: "a", Kind: kind, LabelSet: "l"}
		if kind == String {
			v.Width = 4
		}
		return &Schema{Variables: []Variable{v}, LabelSets: []LabelSet{{Name: "l", OfText: ofText, Labels: labels}}}
	}
	multiple := func(m ...MultipleResponse) *Schema {
		s := named("a", "b")
		s.Variables = append(s.Variables, Variable{Name: "t", Kind: String, Width: 3})
		s.Multiple = m
		return s
	}
	many := named()
	for i := range 5_000 {
		many.Variables = append(many.Variables, Variable{Name: fmt.Sprint("household_member_", i), Kind: Number})
	}
	for _, c := range []struct {
		name string
		s    *Schema
		want string // part of the error; empty: none
	}{
		{"no variable", &Schema{}, "at least one variable"},
		{"5,000 variables", many, ""},
		{"64 bytes", named(strings.Repeat("a", 64), strings.Repeat("字", 21)+"b"), ""},
		{"names alike in 32 characters", named(strings.Repeat("a", 32)+"1", strings.Repeat("a", 32)+"2"), ""},
		{"65 bytes", named(strings.Repeat("a", 65)), "64 bytes"},
		{"66 bytes of Chinese", named(strings.Repeat("字", 22)), "64 bytes"},
		{"same name", named("a", "b", "A"), "two variables have this name"},
		{"empty name", named(""), "is empty"},
		{"digit first", named("1a"), "must be a letter"},
		{"system variable", named("$a"), "must be a letter"},
		{"dot last", named("a."), "must be a letter"},
		{"space", named("a b"), "must be a letter"},
		{"tab", named("a\tb"), "must be a letter"},
		{"equals", named("a=b"), "must be a letter"},
		{"not UTF-8", named("a\xff"), "must be a letter"},
		{"keyword", named("With"), "keyword"},
		{"no kind", one(Variable{Name: "a"}), "no kind"},
		{"string without width", one(Variable{Name: "a", Kind: String}), "1 to 32,767"},
		{"widest string", one(Variable{Name: "a", Kind: String, Width: 32_767}), ""},
		{"string too wide", one(Variable{Name: "a", Kind: String, Width: 32_768}), "1 to 32,767"},
		{"number with width", one(Variable{Name: "a", Kind: Number, Width: 8}), "only a String"},
		{"label not UTF-8", number(func(v *Variable) { v.Label = w("\xff") }), "not UTF-8"},
		{"label with zero byte", number(func(v *Variable) { v.Label = w("a\x00") }), "zero byte"},
		{"label in unlisted language", number(func(v *Variable) { v.Label = Wording{"zh": "x"} }), "does not list"},
		{"long label", number(func(v *Variable) { v.Label = w(strings.Repeat("字", 5_000)) }), ""},
		{"label longer than an attribute", number(func(v *Variable) { v.Label = w(strings.Repeat("字", 6_000)) }), "longer than"},
		{"format", number(func(v *Variable) { v.Format = "F40.16" }), ""},
		{"format of nothing", number(func(v *Variable) { v.Format = "8.2" }), "such as F8.2"},
		{"format of a date on a number", number(func(v *Variable) { v.Format = "DATE11" }), "not one for this kind"},
		{"format too wide", number(func(v *Variable) { v.Format = "F41" }), "out of range"},
		{"format of decimals only", number(func(v *Variable) { v.Format = "F2.2" }), "out of range"},
		{"date format", one(Variable{Name: "a", Kind: Date, Format: "DATE11"}), ""},
		{"string format", one(Variable{Name: "a", Kind: String, Width: 300, Format: "A300"}), ""},
		{"string format of another width", one(Variable{Name: "a", Kind: String, Width: 300, Format: "A30"}), "must have its width"},
		{"three missing", number(func(v *Variable) { v.Missing.Numbers = []float64{1, 2, 3} }), ""},
		{"four missing", number(func(v *Variable) { v.Missing.Numbers = []float64{1, 2, 3, 4} }), "three missing values"},
		{"range and two", number(func(v *Variable) { v.Missing = MissingValues{Numbers: []float64{1, 2}, Range: &[2]float64{3, 4}} }), "three missing values"},
		{"range backwards", number(func(v *Variable) { v.Missing.Range = &[2]float64{4, 3} }), "from the lower"},
		{"missing NaN", number(func(v *Variable) { v.Missing.Numbers = []float64{math.NaN()} }), "not a number"},
		{"missing text of a number", number(func(v *Variable) { v.Missing.Texts = []string{"a"} }), "other kind"},
		{"missing text over 8 bytes", one(Variable{Name: "a", Kind: String, Width: 20, Missing: MissingValues{Texts: []string{"123456789"}}}), "longer than"},
		{"missing text over the width", one(Variable{Name: "a", Kind: String, Width: 2, Missing: MissingValues{Texts: []string{"123"}}}), "longer than"},
		{"labels not there", number(func(v *Variable) { v.LabelSet = "l" }), "not in the schema"},
		{"labels of numbers on a string", set(String, false), "other kind"},
		{"labels of texts on a number", set(Number, true), "other kind"},
		{"labelled text too long", set(String, true, ValueLabel{Code: "12345", Text: w("x")}), "longer than its width"},
		{"labelled text with spaces", set(String, true, ValueLabel{Code: "1234   ", Text: w("x")}), ""},
		{"two labels", set(Number, false, ValueLabel{Number: 1, Text: w("x")}, ValueLabel{Number: 1, Text: w("y")}), "two labels"},
		{"two labels but for spaces", set(String, true, ValueLabel{Code: "a", Text: w("x")}, ValueLabel{Code: "a ", Text: w("y")}), "two labels"},
		{"label of NaN", set(Number, false, ValueLabel{Number: math.NaN(), Text: w("x")}), "not a number"},
		{"long value label", set(Number, false, ValueLabel{Number: 1, Text: w(strings.Repeat("字", 5_000))}), ""},
		{"set twice", &Schema{Variables: named("a").Variables, LabelSets: []LabelSet{{Name: "l"}, {Name: "l"}}}, "rename"},
		{"attribute", number(func(v *Variable) { v.Attributes = []Attribute{{"Q", []string{strings.Repeat("x", 32_767)}}} }), ""},
		{"attribute too long", number(func(v *Variable) { v.Attributes = []Attribute{{"Q", []string{strings.Repeat("x", 32_768)}}} }), "longer than"},
		{"attribute's name", number(func(v *Variable) { v.Attributes = []Attribute{{"Q(", []string{"x"}}} }), "name of an attribute"},
		{"attribute twice", number(func(v *Variable) { v.Attributes = []Attribute{{"Q", []string{"x"}}, {"q", []string{"x"}}} }), "twice"},
		{"own attribute", number(func(v *Variable) { v.Attributes = []Attribute{{"Label_zh", []string{"x"}}} }), "writes itself"},
		{"attribute without value", number(func(v *Variable) { v.Attributes = []Attribute{{Name: "Q"}} }), "no value"},
		{"weight not there", &Schema{Variables: named("a").Variables, Weight: "b"}, "correct Weight"},
		{"weight of text", &Schema{Variables: []Variable{{Name: "a", Kind: String, Width: 1}}, Weight: "a"}, "correct Weight"},
		{"language", &Schema{Variables: named("a").Variables, Languages: []string{"zh-Hant"}}, "zh_Hant"},
		{"set of one", multiple(MultipleResponse{Name: "m", Variables: []string{"a"}}), "two variables or more"},
		{"set of others", multiple(MultipleResponse{Name: "m", Variables: []string{"a", "c"}}), "not in the schema"},
		{"set of one twice", multiple(MultipleResponse{Name: "m", Variables: []string{"a", "a"}}), "twice"},
		{"set of both kinds", multiple(MultipleResponse{Name: "m", Variables: []string{"a", "t"}}), "strings and numbers"},
		{"set without a name", multiple(MultipleResponse{Variables: []string{"a", "b"}}), "must have names"},
		{"set twice", multiple(MultipleResponse{Name: "m", Variables: []string{"a", "b"}}, MultipleResponse{Name: "M", Variables: []string{"a", "b"}}), "that differ"},
		{"document", &Schema{Variables: named("a").Variables, Documents: []string{"a\x00"}}, "zero byte"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := &memory{}
			w, err := NewWriter(file, c.s, Options{})
			if c.want == "" {
				if err != nil {
					t.Fatalf("got %v, want no error", err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				if _, err := parse(file.b); err != nil {
					t.Error(err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an Error with %q", err, c.want)
			}
			if len(file.b) > 0 {
				t.Errorf("%d bytes were written before the error", len(file.b))
			}
		})
	}
}

func TestValueLimits(t *testing.T) {
	moment := func(y int) Value { return Moment(time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC)) }
	for _, c := range []struct {
		name   string
		v      Variable
		holds  []Value
		refuse []Value
	}{
		{"number", Variable{Kind: Number}, []Value{Real(math.MaxFloat64), Real(-1e308), Whole(-99), Whole(151), Whole(-100), Whole(152), Whole(1 << 53), Real(0.5), Real(-99.5), {}, Real(math.SmallestNonzeroFloat64)},
			[]Value{Real(math.NaN()), Real(math.Inf(1)), Real(math.Inf(-1)), Real(-math.MaxFloat64), Whole(1<<53 + 1), Whole(math.MinInt64), Text("1"), date(2000, 1, 1), moment(2000)}},
		{"date", Variable{Kind: Date, Missing: MissingValues{Numbers: []float64{-9}}}, []Value{date(1582, 10, 15), date(9999, 12, 31), date(2026, 3, 4), Whole(-9), {}},
			[]Value{date(1582, 10, 14), date(10_000, 1, 1), date(-5, 1, 1), date(300_000_000, 1, 1), Whole(-8), Whole(1), moment(2000), Text("")}},
		{"datetime", Variable{Kind: Datetime}, []Value{moment(1583), moment(9999), {}},
			[]Value{moment(1582), moment(10_000), moment(2_000_000_000), moment(-2_000_000_000), date(2000, 1, 1), Whole(0)}},
		{"string", Variable{Kind: String, Width: 10}, []Value{Text(""), Text("0123456789"), Text("一二三"), {}}, []Value{Text("0123456789a"), Text("\xff"), Text("a\x00"), Whole(1)}},
		{"long string", Variable{Kind: String, Width: 32_000}, []Value{Text(""), Text(long(32_000)), Text(long(255)), Text(long(256)), {}}, []Value{Text(long(32_001)), Text("a\x00")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.v.Name = "answer"
			file, packed := &memory{}, &memory{}
			w, err := NewWriter(file, one(c.v), Options{})
			z, zerr := NewWriter(packed, one(c.v), Options{ZLIB: true})
			if err != nil || zerr != nil {
				t.Fatal(err, zerr)
			}
			for i, x := range c.holds {
				if err := errors.Join(w.Row([]Value{x}), z.Row([]Value{x})); err != nil {
					t.Errorf("value %d: %v", i, err)
				}
				for k, bad := range c.refuse {
					var e *Error
					if err := w.Row([]Value{bad}); !errors.As(err, &e) || e.Variable != "answer" || e.Row != int64(i+2) {
						t.Errorf("refused value %d: got %v", k, err)
					}
				}
			}
			if err := errors.Join(w.Close(), z.Close()); err != nil {
				t.Fatal(err)
			}
			f, err := parse(file.b)
			g, zerr := parse(packed.b)
			if err != nil || zerr != nil {
				t.Fatal(err, zerr)
			}
			if len(f.rows) != len(c.holds) || !cmp.Equal(f.rows, g.rows) {
				t.Errorf("got %d rows, want %d: refused rows must leave nothing", len(f.rows), len(c.holds))
			}
		})
	}
}

// TestRefusedRowLeavesNothing refuses rows at every place of a group of codes.
func TestRefusedRowLeavesNothing(t *testing.T) {
	s := &Schema{Variables: []Variable{{Name: "a", Kind: Number}, {Name: "b", Kind: String, Width: 11}, {Name: "c", Kind: Number}}}
	file := &memory{}
	w, err := NewWriter(file, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if err := w.Row([]Value{Real(float64(i) + 0.5), Text("refused one"), Text("")}); err == nil {
			t.Fatal("not refused")
		}
		if err := w.Row([]Value{Real(float64(i) + 0.25), Text(fmt.Sprint("text ", i)), Whole(int64(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := parse(file.b)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range f.rows {
		if want := []any{float64(i) + 0.25, fmt.Sprint("text ", i), float64(i)}; !cmp.Equal(r, want) {
			t.Fatalf("row %d: got %v, want %v", i, r, want)
		}
	}
}

func TestLongLabels(t *testing.T) {
	long := strings.Repeat("字", 86) // 258 bytes
	s := &Schema{
		Label: Wording{"en": long}, Languages: en,
		Variables: []Variable{
			{Name: "a", Kind: Number, Label: Wording{"en": strings.Repeat("字", 85), "zh": long}, LabelSet: "l"},
			{Name: "b", Kind: Number, Label: Wording{"en": long}},
			{Name: "t", Kind: String, Width: 20, LabelSet: "t"},
		},
		LabelSets: []LabelSet{
			{Name: "l", Labels: []ValueLabel{{Number: 1.5, Text: Wording{"en": long}}, {Number: 2, Text: Wording{"en": strings.Repeat("字", 40)}}}},
			{Name: "t", OfText: true, Labels: []ValueLabel{{Code: "x=y", Text: Wording{"en": long}}}},
		},
	}
	file := &memory{}
	w, err := NewWriter(file, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Cut{{"", long}, {"b", long}, {"l", long}, {"t", long}}, w.Cuts()); diff != "" {
		t.Errorf("cuts (-want +got):\n%s", diff)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := parse(file.b)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want any }{
		{f.label, strings.Repeat("字", 20) + "…"},
		{f.vars[0].label, strings.Repeat("字", 85)},
		{f.vars[1].label, strings.Repeat("字", 84) + "…"},
		{f.vars[0].labels, map[string]string{"1.5": strings.Repeat("字", 39) + "…", "2": strings.Repeat("字", 40)}},
		{f.vars[0].attributes, map[string][]string{"Label_zh": {long}, "FullValueLabels": {"1.5=" + long}}},
		{f.vars[1].attributes, map[string][]string{"FullLabel": {long}}},
		{f.vars[2].labels, map[string]string{"x=y": strings.Repeat("字", 39) + "…"}},
		{f.vars[2].attributes, map[string][]string{"FullValueLabels": {"x=y=" + long}}},
		{f.attributes, map[string][]string{"Languages": en, "FullLabel": {long}}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestNoRows(t *testing.T) {
	s, _ := survey()
	plain, packed := write(t, s, nil)
	for _, b := range [][]byte{plain, packed} {
		if f, err := parse(b); err != nil || len(f.rows) != 0 || len(f.vars) != 14 {
			t.Errorf("got %d rows, %d variables, %v", len(f.rows), len(f.vars), err)
		}
	}
}

// TestManyBlocks writes a .zsav of several blocks.
func TestManyBlocks(t *testing.T) {
	s := &Schema{Variables: []Variable{{Name: "a", Kind: Number}, {Name: "b", Kind: String, Width: 2_000}}}
	var rows [][]Value
	for i := range 4_300 {
		rows = append(rows, []Value{Real(float64(i) + 0.5), Text(fmt.Sprint(long(1_990), i))})
	}
	plain, packed := write(t, s, rows)
	f, err := parse(packed)
	if err != nil {
		t.Fatal(err)
	}
	g, err := parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	if f.blocks < 3 || !cmp.Equal(f.rows, g.rows) || g.rows[4_299][0] != 4_299.5 {
		t.Errorf("%d blocks", f.blocks)
	}
}

func TestUnfinishedFileIsNone(t *testing.T) {
	s, rows := survey()
	for _, o := range []Options{{}, {ZLIB: true}} {
		file := &memory{}
		w, err := NewWriter(file, s, o)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := w.Row(rows[2]); err != nil {
				t.Fatal(err)
			}
		}
		if len(file.b) == 0 || file.b[0] != 0 {
			t.Error("the file begins like one of SPSS before it is one")
		}
	}
}

// TestFullDisk lets the disk be full at every point: the error must come out, and again at Close.
func TestFullDisk(t *testing.T) {
	s, rows := survey()
	plain, packed := write(t, s, rows)
	for i, size := range []int{len(plain), len(packed)} {
		for limit := 1; limit < size; limit += 97 {
			file := &memory{limit: limit}
			w, err := NewWriter(file, s, Options{ZLIB: i == 1})
			if err == nil {
				for _, r := range rows {
					_ = w.Row(r)
				}
				err = w.Close()
				if again := w.Close(); !errors.Is(again, errFull) {
					t.Errorf("limit %d: Close again: got %v", limit, again)
				}
			}
			if !errors.Is(err, errFull) {
				t.Errorf("limit %d: got %v", limit, err)
			}
		}
	}
}

func TestMisuse(t *testing.T) {
	s := one(Variable{Name: "a", Kind: Number})
	var e *Error
	if _, err := NewStreamWriter(io.Discard, s, 1, Options{ZLIB: true}); !errors.As(err, &e) {
		t.Errorf("a streamed .zsav: got %v", err)
	}
	if _, err := NewStreamWriter(io.Discard, s, -1, Options{}); !errors.As(err, &e) {
		t.Errorf("less than no rows: got %v", err)
	}
	var out bytes.Buffer
	w, err := NewStreamWriter(&out, s, 1, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Row(nil); !errors.As(err, &e) {
		t.Errorf("no values: got %v", err)
	}
	if err := w.Row([]Value{Whole(1)}); err != nil {
		t.Error(err)
	}
	if err := w.Row([]Value{Whole(1)}); !errors.As(err, &e) {
		t.Errorf("more rows than said: got %v", err)
	}
	if err := w.Close(); err != nil || w.Rows() != 1 {
		t.Errorf("got %v, %d rows", err, w.Rows())
	}
	if err := w.Row([]Value{Whole(1)}); err == nil {
		t.Error("a row after Close was taken")
	}
	if w, err = NewStreamWriter(io.Discard, s, 2, Options{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.As(err, &e) {
		t.Errorf("fewer rows than said: got %v", err)
	}
	if _, err := NewWriter(noSeeker{}, s, Options{}); err == nil || !strings.Contains(err.Error(), "NewStreamWriter") {
		t.Errorf("a pipe: got %v", err)
	}
}

type noSeeker struct{ io.Writer }

func (noSeeker) Seek(int64, int) (int64, error) { return 0, errors.New("illegal seek") }

// TestErrorsHoldNoAnswers looks for the answers in the errors.
func TestErrorsHoldNoAnswers(t *testing.T) {
	w, err := NewWriter(&memory{}, one(Variable{Name: "name", Kind: String, Width: 3}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Row([]Value{Text("欧阳翠花")}); err == nil || strings.Contains(err.Error(), "欧") {
		t.Errorf("got %v", err)
	}
}

// TestRowsTakeNoMemory writes to nowhere, so that only the rows could take memory.
func TestRowsTakeNoMemory(t *testing.T) {
	s, rows := survey()
	w, err := NewStreamWriter(io.Discard, s, 2_000, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 1_000 { // to let the buffers grow
		if err := w.Row(rows[0]); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := w.Row(rows[0]); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("a row takes %v allocations, want none", n)
	}
}

// TestOrigin begins a file where another ends.
func TestOrigin(t *testing.T) {
	s, rows := survey()
	plain, packed := write(t, s, rows)
	for i, alone := range [][]byte{plain, packed} {
		file := &memory{}
		if _, err := file.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
		w, err := NewWriter(file, s, Options{ZLIB: i == 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if err := w.Row(r); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write([]byte("after")); err != nil {
			t.Fatal(err)
		}
		if want := "before" + string(alone) + "after"; string(file.b) != want {
			t.Errorf("file %d: the bytes differ", i)
		}
	}
}
