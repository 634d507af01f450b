package sav

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// memory is a file in memory.
type memory struct {
	b     []byte
	at    int64
	limit int // bytes until the disk is full; 0: never
}

var errFull = errors.New("no space left on device")

func (m *memory) Write(p []byte) (int, error) {
	if m.limit > 0 && m.at+int64(len(p)) > int64(m.limit) {
		return 0, errFull
	}
	if end := m.at + int64(len(p)); end > int64(len(m.b)) {
		m.b = append(m.b, make([]byte, end-int64(len(m.b)))...)
	}
	copy(m.b[m.at:], p)
	m.at += int64(len(p))
	return len(p), nil
}

func (m *memory) Read(p []byte) (int, error) {
	if m.at >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[m.at:])
	m.at += int64(n)
	return n, nil
}

func (m *memory) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += m.at
	case io.SeekEnd:
		offset += int64(len(m.b))
	}
	m.at = offset
	return offset, nil
}

// write makes a .sav, by way of both writers, which must agree, and a .zsav.
func write(t testing.TB, s *Schema, rows [][]Value) (sav, zsav []byte) {
	t.Helper()
	sav, zsav, err := tryWrite(s, rows)
	if err != nil {
		t.Fatal(err)
	}
	return sav, zsav
}

func tryWrite(s *Schema, rows [][]Value) (sav, zsav []byte, err error) {
	c, err := NewCounter(s)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		if err := c.Row(r); err != nil {
			return nil, nil, err
		}
	}
	plain, packed, pipe := &memory{}, &memory{}, &memory{}
	w, err1 := NewWriter(plain, s, Options{})
	z, err2 := NewWriter(packed, s, Options{ZLIB: true})
	stream, err3 := NewStreamWriter(struct{ io.Writer }{pipe}, s, c.Rows(), Options{})
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		if err := errors.Join(w.Row(r), z.Row(r), stream.Row(r)); err != nil {
			return nil, nil, err
		}
	}
	if err := errors.Join(w.Close(), z.Close(), stream.Close()); err != nil {
		return nil, nil, err
	}
	if string(plain.b) != string(pipe.b) {
		return nil, nil, fmt.Errorf("the file and the stream differ")
	}
	return plain.b, packed.b, nil
}

func date(year, month, day int) Value {
	return Day(time.Date(year, time.Month(month), day, 23, 59, 0, 0, time.FixedZone("CST", 8*3600)))
}

var en = []string{"en", "zh"}

// reasons are the numbers of missing answers, and their labels.
var reasons = []ValueLabel{
	{Number: -99, Text: Wording{"en": "refused", "zh": "拒绝回答"}}, {Number: -98, Text: Wording{"en": "don't know", "zh": "不知道"}},
	{Number: -97, Text: Wording{"en": "not applicable", "zh": "不适用"}}, {Number: -96, Text: Wording{"en": "not asked"}},
}

func missing() MissingValues { return MissingValues{Range: &[2]float64{-99, -96}} }

// survey is a small file with everything in it.
func survey() (*Schema, [][]Value) {
	s := &Schema{
		Label:     Wording{"en": "Households of Guiyang", "zh": "贵阳住户"},
		Time:      time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		Languages: en,
		Weight:    "weight",
		Variables: []Variable{
			{Name: "interview_key", Label: Wording{"en": "Interview key", "zh": "访问编号"}, Kind: String, Width: 9},
			{Name: "interview_sex", Label: Wording{"en": "Sex", "zh": "性别"}, Kind: Number, LabelSet: "sex", Missing: missing(),
				Attributes: []Attribute{{"Question", []string{"What is the person's 'sex'?", "请问他（她）的性别？\n1/2 (one)"}}}},
			{Name: "住户收入", Kind: Number, LabelSet: "why", Missing: missing(), Format: "COMMA12.0", Measure: Scale, Role: Target},
			{Name: "weight", Kind: Number, Missing: MissingValues{Numbers: []float64{-1, 0.5, 1e9}}, Columns: 12, Align: Center},
			{Name: "born", Label: Wording{"en": "Date of birth", "zh": "出生日期"}, Kind: Date, LabelSet: "why", Missing: missing()},
			{Name: "started", Kind: Datetime},
			{Name: "province", Kind: String, Width: 6, LabelSet: "province", Missing: MissingValues{Texts: []string{"??", "-"}}},
			{Name: "occupation", Kind: String, Width: 255, LabelSet: "occupation", Missing: MissingValues{Texts: []string{"unknown"}}},
			{Name: "story", Label: Wording{"en": "In their own words", "zh": "原话"}, Kind: String, Width: 32_000},
			{Name: "talk_radio", Kind: Number, Label: Wording{"en": "Radio"}},
			{Name: "talk_tv", Kind: Number, Label: Wording{"en": "Television"}},
			{Name: "talk_web", Kind: Number, Label: Wording{"en": "Internet"}, Measure: Nominal},
			{Name: "answer", Kind: String, Width: 256},
			{Name: "score", Kind: Number, Missing: MissingValues{Range: &[2]float64{math.Inf(-1), -1}, Numbers: []float64{99}}, LabelSet: "why"},
		},
		LabelSets: []LabelSet{
			{Name: "sex", Labels: append([]ValueLabel{{Number: 2, Text: Wording{"en": "female", "zh": "女"}}, {Number: 1, Text: Wording{"en": "male", "zh": "男"}}}, reasons...)},
			{Name: "why", Labels: reasons},
			{Name: "province", OfText: true, Labels: []ValueLabel{{Code: "GZ", Text: Wording{"en": "Guizhou", "zh": "贵州"}}, {Code: "??", Text: Wording{"en": "not known"}}}},
			{Name: "occupation", OfText: true, Labels: []ValueLabel{{Code: "construction worker", Text: Wording{"en": "Builds houses", "zh": "建筑工人"}}}},
		},
		Multiple: []MultipleResponse{
			{Name: "talk", Label: Wording{"en": "Where news come from", "zh": "消息来源"}, Variables: []string{"talk_radio", "talk_tv", "talk_web"}, Counted: 1},
			{Name: "pair", Variables: []string{"interview_sex", "score"}, Categories: true},
		},
		Documents:  []string{"Simulated data.\nSecond line 第二行 " + strings.Repeat("字", 60), strings.Repeat("word ", 30)},
		Attributes: []Attribute{{"Schema", []string{"sha256:abc"}}},
	}
	start := time.Date(2026, 3, 1, 9, 30, 15, 123_000_000, time.UTC)
	rows := [][]Value{
		{Text("GY-1"), Whole(1), Whole(52_000), Real(1.25), date(1989, 12, 31), Moment(start), Text("GZ"), Text("construction worker"), Text("他说：“好”\t\"quoted\"\nsecond line"), Whole(1), Whole(0), Whole(1), Text(long(256)), Whole(5)},
		{Text("GY-2"), Whole(2), Whole(-99), Real(-1), Whole(-98), {}, Text("??"), Text("unknown"), {}, Whole(0), Whole(0), Whole(0), Text(" leading"), Whole(-98)},
		{Text("GY-3"), Whole(-98), Whole(-96), Real(1e-300), date(1912, 2, 29), Moment(start.AddDate(-60, 0, 0)), {}, Text(long(255)), Text(long(32_000)), {}, {}, {}, Text("x"), Real(99)},
		{Text("贵阳-4"), {}, {}, {}, {}, {}, Text("贵州"), {}, Text("        eight spaces first"), Whole(151), Whole(152), Whole(-100), {}, Whole(-99)},
	}
	return s, rows
}

// long is a text of n bytes.
func long(n int) string {
	b := make([]byte, 0, n+8)
	for i := 0; len(b) < n-6; i++ {
		b = append(b, "长a\n"...)
	}
	for len(b) < n {
		b = append(b, 'x')
	}
	return string(b[:n])
}
