package dta

import (
	"errors"
	"fmt"
	"io"
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

// write makes a file, by way of both writers, which must agree.
func write(t testing.TB, s *Schema, rows [][]Value) []byte {
	t.Helper()
	b, err := tryWrite(s, rows)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tryWrite(s *Schema, rows [][]Value) ([]byte, error) {
	c, err := NewCounter(s)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := c.Row(r); err != nil {
			return nil, err
		}
	}
	file, pipe := &memory{}, &memory{}
	w, err := NewWriter(file, s, Options{Spill: &memory{}})
	if err != nil {
		return nil, err
	}
	stream, err := NewStreamWriter(struct{ io.Writer }{pipe}, s, c.Size(), Options{})
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := errors.Join(w.Row(r), stream.Row(r)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), stream.Close()); err != nil {
		return nil, err
	}
	if string(file.b) != string(pipe.b) {
		return nil, fmt.Errorf("the file and the stream differ")
	}
	return file.b, nil
}

func date(year, month, day int) Value {
	return Day(time.Date(year, time.Month(month), day, 23, 59, 0, 0, time.FixedZone("CST", 8*3600)))
}

var en = []string{"en", "zh"}

// survey is a small file with everything in it.
func survey() (*Schema, [][]Value) {
	s := &Schema{
		Label:     Wording{"en": "Households of Guiyang", "zh": "贵阳住户"},
		Time:      time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC),
		Languages: en,
		Variables: []Variable{
			{Name: "key", Label: Wording{"en": "Interview key", "zh": "访问编号"}, Kind: String, Width: 8},
			{Name: "sex", Label: Wording{"en": "Sex", "zh": "性别"}, Kind: Byte, LabelSet: "sex", Notes: []string{"What is the person's sex?", "请问他（她）的性别？"}},
			{Name: "age", Label: Wording{"en": "Age"}, Kind: Int, LabelSet: "why"},
			{Name: "income", Kind: Long, LabelSet: "why", Characteristics: []Characteristic{{"unit", "yuan"}}},
			{Name: "weight", Kind: Double, LabelSet: "why", Format: "%9.4f"},
			{Name: "born", Label: Wording{"en": "Date of birth", "zh": "出生日期"}, Kind: Date, LabelSet: "why"},
			{Name: "started", Kind: Datetime},
			{Name: "story", Label: Wording{"en": "In their own words", "zh": "原话"}, Kind: LongString},
		},
		LabelSets: []LabelSet{
			{Name: "sex", Labels: []ValueLabel{
				{Code: 2, Text: Wording{"en": "female", "zh": "女"}}, {Code: 1, Text: Wording{"en": "male", "zh": "男"}},
				{Missing: Refused, Text: Wording{"en": "refused", "zh": "拒绝回答"}}, {Missing: DontKnow, Text: Wording{"en": "don't know", "zh": "不知道"}},
			}},
			{Name: "why", Labels: []ValueLabel{
				{Missing: Refused, Text: Wording{"en": "refused", "zh": "拒绝回答"}}, {Missing: DontKnow, Text: Wording{"en": "don't know", "zh": "不知道"}},
				{Missing: NotApplicable, Text: Wording{"en": "not applicable", "zh": "不适用"}}, {Missing: NotAsked, Text: Wording{"en": "not asked"}},
			}},
		},
		SortedBy: []string{"key"},
		Notes:    []string{"Simulated data."},
	}
	start := time.Date(2026, 3, 1, 9, 30, 15, 123_000_000, time.UTC)
	rows := [][]Value{
		{Text("GY-1"), Whole(1), Whole(36), Whole(52_000), Real(1.25), date(1989, 12, 31), Moment(start), Text("他说：“好”\t\"quoted\"\nsecond line")},
		{Text("GY-2"), Whole(2), Missing(DontKnow), Missing(Refused), Real(-0.5), Missing(DontKnow), Value{}, Value{}},
		{Text("GY-3"), Missing(Refused), Whole(-3), Missing(NotAsked), Missing(NotApplicable), date(1912, 2, 29), Moment(start.AddDate(-60, 0, 0)), Text(long(32_000))},
		{Text("贵阳-4"), Missing(0), Missing('a'), Missing('z'), Missing(0), Missing('z'), Missing('b'), Text("")},
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
