package dta

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
	f, err := parse(write(t, s, rows))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"release", f.release, "118"},
		{"label", f.label, "Households of Guiyang"},
		{"time", f.timestamp, "04 Mar 2026 05:06"},
		{"types", f.types, []int{8, 65530, 65529, 65528, 65526, 65528, 65526, 32768}},
		{"names", f.names, []string{"key", "sex", "age", "income", "weight", "born", "started", "story"}},
		{"formats", f.formats, []string{"%9s", "%8.0g", "%8.0g", "%12.0g", "%9.4f", "%td", "%tc", "%9s"}},
		{"set names", f.setNames, []string{"", "sex", "why", "why", "why", "why", "", ""}},
		{"labels", f.labels, []string{"Interview key", "Sex", "Age", "", "", "Date of birth", "", "In their own words"}},
		{"sorted", f.sorted, []int{1}},
		{"characteristics", f.chars, map[string]map[string]string{
			"_dta":   {"_lang_c": "en", "_lang_list": "en zh", "_lang_v_zh": "贵阳住户", "note0": "1", "note1": "Simulated data."},
			"key":    {"_lang_v_zh": "访问编号"},
			"sex":    {"_lang_v_zh": "性别", "_lang_l_zh": "sex_zh", "note0": "2", "note1": "What is the person's sex?", "note2": "请问他（她）的性别？"},
			"age":    {"_lang_v_zh": "Age", "_lang_l_zh": "why_zh"},
			"income": {"_lang_l_zh": "why_zh", "unit": "yuan"},
			"weight": {"_lang_l_zh": "why_zh"},
			"born":   {"_lang_v_zh": "出生日期", "_lang_l_zh": "why_zh"},
			"story":  {"_lang_v_zh": "原话"},
		}},
		{"sets", f.sets, map[string]map[int32]string{
			"sex":    {1: "male", 2: "female", 2147483625: "don't know", 2147483639: "refused"},
			"sex_zh": {1: "男", 2: "女", 2147483625: "不知道", 2147483639: "拒绝回答"},
			"why":    {2147483625: "don't know", 2147483635: "not applicable", 2147483639: "refused", 2147483640: "not asked"},
			"why_zh": {2147483625: "不知道", 2147483635: "不适用", 2147483639: "拒绝回答", 2147483640: "not asked"},
		}},
		{"rows", f.rows, [][]cell{
			{{Text: "GY-1"}, {Number: 1}, {Number: 36}, {Number: 52_000}, {Number: 1.25}, {Number: 10_957}, {Number: 2_087_976_615_123}, {Text: "他说：“好”\t\"quoted\"\nsecond line"}},
			{{Text: "GY-2"}, {Number: 2}, {Missing: ".d"}, {Missing: ".r"}, {Number: -0.5}, {Missing: ".d"}, {Missing: "."}, {}},
			{{Text: "GY-3"}, {Missing: ".r"}, {Number: -3}, {Missing: ".s"}, {Missing: ".n"}, {Number: -17_473}, {Number: 194_520_615_123}, {Text: long(32_000)}},
			{{Text: "贵阳-4"}, {Missing: "."}, {Missing: ".a"}, {Missing: ".z"}, {Missing: "."}, {Missing: ".z"}, {Missing: ".b"}, {}},
		}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
	}
}

func TestSameBytes(t *testing.T) {
	s, rows := survey()
	first := write(t, s, rows)
	for range 20 {
		s, rows := survey()
		if !bytes.Equal(first, write(t, s, rows)) {
			t.Fatal("the same input gave other bytes")
		}
	}
}

// one is a schema of one variable.
func one(v Variable) *Schema { return &Schema{Variables: []Variable{v}} }

func TestSchemaLimits(t *testing.T) {
	w := func(s string) Wording { return Wording{"": s} }
	named := func(names ...string) *Schema {
		s := &Schema{}
		for _, n := range names {
			s.Variables = append(s.Variables, Variable{Name: n, Kind: Byte})
		}
		return s
	}
	many := func(n int) *Schema {
		s := &Schema{}
		for i := range n {
			s.Variables = append(s.Variables, Variable{Name: fmt.Sprint("v", i), Kind: Byte})
		}
		return s
	}
	set := func(labels ...ValueLabel) *Schema {
		s := one(Variable{Name: "a", Kind: Byte, LabelSet: "l"})
		s.LabelSets = []LabelSet{{Name: "l", Labels: labels}}
		return s
	}
	labels := make([]ValueLabel, 65_537)
	for i := range labels {
		labels[i] = ValueLabel{Code: int32(i), Text: w("x")}
	}
	for _, c := range []struct {
		name string
		s    *Schema
		want string // part of the error; empty: none
	}{
		{"no variable", &Schema{}, "at least one variable"},
		{"5,000 variables", many(5_000), ""},
		{"120,001 variables", many(120_001), "split the table"},
		{"32 characters", named(strings.Repeat("a", 32), strings.Repeat("字", 32)), ""},
		{"33 characters", named(strings.Repeat("a", 33)), "32 characters"},
		{"33 Chinese characters", named(strings.Repeat("字", 33)), "32 characters"},
		{"same name", named("a", "b", "a"), "two variables have this name"},
		{"case matters", named("a", "A"), ""},
		{"empty name", named(""), "is empty"},
		{"digit first", named("1a"), "start with a digit"},
		{"hyphen", named("a-b"), "letters, digits and _"},
		{"space", named("a b"), "letters, digits and _"},
		{"newline", named("a\n"), "letters, digits and _"},
		{"not UTF-8", named("a\xff"), "letters, digits and _"},
		{"word of Stata", named("in"), "word of Stata's language"},
		{"type of Stata", named("str12"), "word of Stata's language"},
		{"no kind", one(Variable{Name: "a"}), "no kind"},
		{"string without width", one(Variable{Name: "a", Kind: String}), "1 to 2,045"},
		{"string too wide", one(Variable{Name: "a", Kind: String, Width: 2_046}), "1 to 2,045"},
		{"widest string", one(Variable{Name: "a", Kind: String, Width: 2_045}), ""},
		{"number with width", one(Variable{Name: "a", Kind: Byte, Width: 1}), "only a String has a width"},
		{"label not UTF-8", one(Variable{Name: "a", Kind: Byte, Label: w("\xff")}), "not UTF-8"},
		{"label with zero byte", one(Variable{Name: "a", Kind: Byte, Label: w("a\x00b")}), "zero byte"},
		{"label in unlisted language", one(Variable{Name: "a", Kind: Byte, Label: Wording{"zh": "x"}}), "does not list"},
		{"long label", one(Variable{Name: "a", Kind: Byte, Label: w(strings.Repeat("字", 20_000))}), ""},
		{"label too long for a note", one(Variable{Name: "a", Kind: Byte, Label: w(strings.Repeat("字", 23_000))}), "longer than the format"},
		{"note", one(Variable{Name: "a", Kind: Byte, Notes: []string{strings.Repeat("x", 67_783)}}), ""},
		{"note too long", one(Variable{Name: "a", Kind: Byte, Notes: []string{strings.Repeat("x", 67_784)}}), "longer than the format"},
		{"too many notes", one(Variable{Name: "a", Kind: Byte, Notes: make([]string, 10_000)}), "more than Stata keeps"},
		{"own characteristic", one(Variable{Name: "a", Kind: Byte, Characteristics: []Characteristic{{"note1", "x"}}}), "Stata uses itself"},
		{"format", one(Variable{Name: "a", Kind: Double, Format: "%9.2f"}), ""},
		{"format without percent", one(Variable{Name: "a", Kind: Double, Format: "9.2f"}), "must start with %"},
		{"format of text on number", one(Variable{Name: "a", Kind: Double, Format: "%9s"}), "does not fit the kind"},
		{"format of date on number", one(Variable{Name: "a", Kind: Double, Format: "%td"}), "make it a Date"},
		{"format of number on date", one(Variable{Name: "a", Kind: Date, Format: "%9.0g"}), "%td"},
		{"date format", one(Variable{Name: "a", Kind: Date, Format: "%tdCCYY-NN-DD"}), ""},
		{"labels on a string", &Schema{Variables: []Variable{{Name: "a", Kind: LongString, LabelSet: "l"}}, LabelSets: []LabelSet{{Name: "l"}}}, "cannot have value labels"},
		{"labels not there", one(Variable{Name: "a", Kind: Byte, LabelSet: "l"}), "not in the schema"},
		{"value label", set(ValueLabel{Code: 1, Text: w(strings.Repeat("x", 32_000))}), ""},
		{"value label too long", set(ValueLabel{Code: 1, Text: w(strings.Repeat("x", 32_001))}), "longer than the format"},
		{"code too high", set(ValueLabel{Code: math.MaxInt32, Text: w("x")}), "range of a long"},
		{"code twice", set(ValueLabel{Code: 1, Text: w("x")}, ValueLabel{Code: 1, Text: w("y")}), "two labels"},
		{"reason not known", set(ValueLabel{Missing: 'R', Text: w("x")}), "a to z"},
		{"65,536 labels", set(labels[:65_536]...), ""},
		{"65,537 labels", set(labels...), "65,536"},
		{"set twice", &Schema{Variables: named("a").Variables, LabelSets: []LabelSet{{Name: "l"}, {Name: "l"}}}, "rename one"},
		{"set meets translation", &Schema{Languages: en, Variables: named("a").Variables, LabelSets: []LabelSet{{Name: "l"}, {Name: "l_zh"}}}, "rename one"},
		{"set's translation too long", &Schema{Languages: en, Variables: named("a").Variables, LabelSets: []LabelSet{{Name: strings.Repeat("l", 31)}}}, "32 characters"},
		{"language with hyphen", &Schema{Languages: []string{"zh-Hant"}, Variables: named("a").Variables}, "zh_Hant"},
		{"language twice", &Schema{Languages: []string{"zh", "zh"}, Variables: named("a").Variables}, "twice"},
		{"sorted by nothing", &Schema{SortedBy: []string{"b"}, Variables: named("a").Variables}, "not there"},
		{"sorted twice", &Schema{SortedBy: []string{"a", "a"}, Variables: named("a").Variables}, "twice"},
		{"year 0", &Schema{Time: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), Variables: named("a").Variables}, "years 1000 to 9999"},
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
	day := func(y int) Value { return date(y, 6, 1) }
	moment := func(y int) Value { return Moment(time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC)) }
	for _, c := range []struct {
		name   string
		kind   Kind
		holds  []Value
		refuse []Value
	}{
		{"byte", Byte, []Value{Whole(-127), Whole(100), Real(5), Missing('z'), {}}, []Value{Whole(-128), Whole(101), Real(1.5), Real(math.NaN()), Text("1"), day(2000), Missing('A'), Missing(1)}},
		{"int", Int, []Value{Whole(-32_767), Whole(32_740), Real(-7)}, []Value{Whole(-32_768), Whole(32_741), Real(math.Inf(1))}},
		{"long", Long, []Value{Whole(-math.MaxInt32), Whole(2_147_483_620)}, []Value{Whole(math.MinInt32), Whole(2_147_483_621), Whole(math.MaxInt64), Real(1e300)}},
		{"double", Double, []Value{Real(-math.MaxFloat64), Real(maxDouble), Whole(1 << 53), Real(math.SmallestNonzeroFloat64), Real(math.Copysign(0, -1))},
			[]Value{Real(math.NaN()), Real(math.Inf(1)), Real(math.Inf(-1)), Real(math.MaxFloat64), Whole(1<<53 + 1), Whole(math.MinInt64), Text(""), moment(2000)}},
		{"date", Date, []Value{day(100), day(9999), Missing('d'), date(100, 1, 1), date(9999, 12, 31)}, []Value{day(99), day(10_000), day(-5), day(300_000_000), Whole(1), moment(2000)}},
		{"datetime", Datetime, []Value{moment(100), moment(9999)}, []Value{moment(99), moment(10_000), moment(2_000_000_000), moment(-2_000_000_000), {kind: isMoment, bits: math.MaxInt64}, Real(1), day(2000)}},
		{"string", String, []Value{Text(""), Text("0123456789"), Text("一二三"), {}}, []Value{Text("0123456789a"), Text("\xff"), Text("a\x00"), Missing('r'), Whole(1)}},
		{"long string", LongString, []Value{Text(""), Text(long(32_000)), {}}, []Value{Text("\xff"), Text("a\x00"), Missing('r'), Real(1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Variable{Name: "answer", Kind: c.kind}
			if c.kind == String {
				v.Width = 10
			}
			file := &memory{}
			w, err := NewWriter(file, one(v), Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range c.holds {
				if err := w.Row([]Value{x}); err != nil {
					t.Errorf("value %d: %v", i, err)
				}
				for k, bad := range c.refuse {
					var e *Error
					if err := w.Row([]Value{bad}); !errors.As(err, &e) || e.Variable != "answer" || e.Row != uint64(i+2) {
						t.Errorf("refused value %d: got %v", k, err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			f, err := parse(file.b)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.rows) != len(c.holds) {
				t.Errorf("got %d rows, want %d: refused rows must leave nothing", len(f.rows), len(c.holds))
			}
		})
	}
}

func TestLongLabels(t *testing.T) {
	exact, over := strings.Repeat("字", 80), strings.Repeat("字", 81)
	s := &Schema{
		Label: Wording{"en": over}, Languages: en,
		Variables: []Variable{
			{Name: "a", Kind: Byte, Label: Wording{"en": exact, "zh": over}, Notes: []string{"given"}},
			{Name: "b", Kind: Byte, Label: Wording{"en": over + "?"}, Notes: []string{over + "?"}},
		},
	}
	file := &memory{}
	w, err := NewWriter(file, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []Cut{{"", "en", over}, {"b", "en", over + "?"}, {"", "zh", over}, {"a", "zh", over}, {"b", "zh", over + "?"}}
	if diff := cmp.Diff(want, w.Cuts()); diff != "" {
		t.Errorf("cuts (-want +got):\n%s", diff)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := parse(file.b)
	if err != nil {
		t.Fatal(err)
	}
	short := strings.Repeat("字", 79) + "…"
	if diff := cmp.Diff([]string{short, exact, short}, []string{f.label, f.labels[0], f.labels[1]}); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if a := f.chars["a"]; a["note0"] != "2" || a["note1"] != over || a["note2"] != "given" || a["_lang_v_zh"] != short {
		t.Errorf("characteristics of a: %v", a)
	}
	if b := f.chars["b"]; b["note0"] != "1" || b["note1"] != over+"?" {
		t.Errorf("characteristics of b: %v", b)
	}
}

func TestFormat119(t *testing.T) {
	s := &Schema{}
	row := []Value{}
	for i := range 33_000 {
		s.Variables = append(s.Variables, Variable{Name: fmt.Sprint("v", i), Kind: Byte})
		row = append(row, Whole(int64(i%100)))
	}
	s.Variables[32_999] = Variable{Name: "text", Kind: LongString}
	row[32_999] = Text("长")
	s.SortedBy = []string{"v32998"}
	f, err := parse(write(t, s, [][]Value{row, row}))
	if err != nil {
		t.Fatal(err)
	}
	if f.release != "119" || len(f.names) != 33_000 || f.sorted[0] != 32_999 {
		t.Errorf("got format %s, %d variables, sorted by %v", f.release, len(f.names), f.sorted)
	}
	if got := f.rows[1][32_999].Text; got != "长" {
		t.Errorf("got %q", got)
	}
}

func TestNoRows(t *testing.T) {
	s, _ := survey()
	f, err := parse(write(t, s, nil))
	if err != nil || len(f.rows) != 0 || len(f.names) != 8 {
		t.Errorf("got %d rows, %d variables, %v", len(f.rows), len(f.names), err)
	}
}

func TestSortedRows(t *testing.T) {
	s := &Schema{SortedBy: []string{"a", "b"}, Variables: []Variable{{Name: "a", Kind: Double}, {Name: "b", Kind: String, Width: 3}}}
	w, err := NewWriter(&memory{}, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		a    Value
		b    string
		want bool
	}{
		{Real(-1), "b", true}, {Real(-1), "a", false}, {Real(-1), "b", true}, {Whole(0), "a", true}, {Real(-0.5), "z", false},
		{Missing(0), "x", true}, {Real(1e300), "y", false}, {Missing('b'), "a", true}, {Missing('a'), "z", false}, {Missing('b'), "一", true}, {Missing('b'), "z", false},
	} {
		if err := w.Row([]Value{c.a, Text(c.b)}); (err == nil) != c.want {
			t.Errorf("row %d: got %v, want taken %v", i, err, c.want)
		}
	}
}

func TestUnfinishedFileIsNone(t *testing.T) {
	s, rows := survey()
	file := &memory{}
	w, err := NewWriter(file, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := w.Row(rows[3]); err != nil {
			t.Fatal(err)
		}
	}
	if len(file.b) == 0 || file.b[0] != 0 {
		t.Error("the file begins like a Stata file before it is one")
	}
}

// TestFullDisk lets the disk be full at every point: the error must come out, and again at Close.
func TestFullDisk(t *testing.T) {
	s, rows := survey()
	whole := write(t, s, rows)
	for limit := 1; limit < len(whole); limit += 199 {
		file := &memory{limit: limit}
		w, err := NewWriter(file, s, Options{})
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

func TestMisuse(t *testing.T) {
	s := one(Variable{Name: "a", Kind: LongString})
	var out bytes.Buffer
	w, err := NewStreamWriter(&out, s, Size{Rows: 1, LongText: 22}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := w.Row(nil); !errors.As(err, &e) {
		t.Errorf("no values: got %v", err)
	}
	if err := w.Row([]Value{Text("a")}); err != nil {
		t.Error(err)
	}
	if err := w.Row([]Value{Text("b")}); !errors.As(err, &e) {
		t.Errorf("more rows than said: got %v", err)
	}
	if err := w.Close(); err != nil || w.Rows() != 1 {
		t.Errorf("got %v, %d rows", err, w.Rows())
	}
	if _, err := parse(out.Bytes()); err != nil {
		t.Error(err)
	}
	if err := w.Row([]Value{Text("a")}); err == nil {
		t.Error("a row after Close was taken")
	}
	w, err = NewStreamWriter(io.Discard, s, Size{Rows: 2}, Options{})
	if err != nil {
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
	s.SortedBy = nil
	c, err := NewCounter(s)
	if err != nil {
		t.Fatal(err)
	}
	for range 1_200 {
		if err := c.Row(rows[0]); err != nil {
			t.Fatal(err)
		}
	}
	w, err := NewStreamWriter(io.Discard, s, c.Size(), Options{Spill: &ring{}})
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

// ring is a spill that forgets.
type ring struct{ memory }

func (*ring) Write(p []byte) (int, error) { return len(p), nil }

// TestOrigin begins a file where another ends, with a spill that has been used before.
func TestOrigin(t *testing.T) {
	s, rows := survey()
	alone := write(t, s, rows)
	file, spill := &memory{}, &memory{}
	for _, m := range []*memory{file, spill} {
		if _, err := m.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	w, err := NewWriter(file, s, Options{Spill: spill})
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
		t.Error("the bytes differ")
	}
}

func TestFullSpill(t *testing.T) {
	s, rows := survey()
	s.SortedBy = nil
	for _, limit := range []int{1, 1_000, 40_000, 100_000} {
		w, err := NewWriter(&memory{}, s, Options{Spill: &memory{limit: limit}})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			_ = w.Row(rows[2])
		}
		if err := w.Close(); !errors.Is(err, errFull) {
			t.Errorf("limit %d: got %v", limit, err)
		}
	}
}
