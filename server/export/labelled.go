package export

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// What the files for Stata and for SPSS have in common: both have the same variables, which differ from the columns of
// the other formats in two ways. A date is a date, as far as all of it is known, and is followed by a text of what was
// answered. Reasons for missing answers stand among the values of a number or code, in place of a column of their own.

// shape of a variable.
type shape uint8

const (
	asText shape = iota
	asWhole
	asNumber
	asDay
	asDayText // what was answered for the day before it
	asMoment
	asReason // why a question has no answer
)

// variable is one column of a Stata or SPSS file.
type variable struct {
	name     string
	shape    shape
	column   *Column // nil: reasons
	col      int
	calendar int   // column of the calendar of a day, or -1
	question int   // of a variable of reasons
	fold     int   // question whose reasons stand among the values, or -1
	missing  int64 // the first of their numbers in SPSS
	stats    *columnStats
	label    *formv1.Text
}

// exactInteger is beyond what a float holds exactly; both programs keep numbers as floats.
const exactInteger = 1 << 53

// reasonBlock is how many numbers in a row SPSS needs for the reasons.
const reasonBlock = 4

// variables lays out the files of a table, for Stata and SPSS, where reasons stand among the values.
func variables(l *layout, st *tableStats) []variable {
	folded, dropped := foldReasons(l.table, st)
	return layOut(l, st, folded, dropped)
}

// dated lays out the files of a table for formats that have dates, and reasons in columns of their own.
func dated(l *layout, st *tableStats) []variable { return layOut(l, st, nil, nil) }

func layOut(l *layout, st *tableStats, folded map[int]int, dropped map[int]bool) []variable {
	t := l.table
	taken := map[string]bool{}
	for _, s := range l.slots {
		taken[s.name] = true
	}
	for _, q := range t.Questions {
		taken[q.Why] = true
	}
	var out []variable
	for _, s := range l.slots {
		if s.column == nil {
			if !dropped[s.question] {
				out = append(out, variable{name: s.name, shape: asReason, question: s.question, calendar: -1, fold: -1, label: whyLabel(t.Questions[s.question])})
			}
			continue
		}
		v := variable{name: s.name, column: s.column, col: s.col, calendar: -1, fold: -1, stats: &st.columns[s.col], label: s.column.Label}
		v.shape = shapeOf(s.column, v.stats)
		if q, ok := folded[s.col]; ok {
			v.fold = q
			v.missing, _ = v.stats.reasonCodes(s.column)
		}
		if v.shape != asDay {
			out = append(out, v)
			continue
		}
		v.calendar = calendarOf(t, s.col)
		answered := v
		answered.name, answered.shape = companion(s.name, taken), asDayText
		answered.label = within(s.column.Label, text("as answered", "原始回答"))
		out = append(out, v, answered)
	}
	return out
}

// companion is the name of the text beside a date.
func companion(name string, taken map[string]bool) string {
	const end = "_text"
	for n := 1; ; n++ {
		tail := end
		if n > 1 {
			tail += "_" + strconv.Itoa(n)
		}
		if c := cutWords(name, maxName-len(tail)) + tail; !taken[c] {
			taken[c] = true
			return c
		}
	}
}

func shapeOf(c *Column, st *columnStats) shape {
	switch c.Kind {
	case KindInteger:
		if st.numbers > 0 && (st.min < -exactInteger || st.max > exactInteger) {
			return asText
		}
		return asWhole
	case KindCode, KindYesNo:
		return asWhole
	case KindNumber:
		return asNumber
	case KindDate:
		return asDay
	case KindTime:
		return asMoment
	default:
		return asText
	}
}

// calendarOf is the column that says in which calendar a date was told.
func calendarOf(t *Table, col int) int {
	for _, q := range t.Questions {
		if q.op == opDate && q.from == col {
			return col + 4
		}
	}
	return -1
}

// foldReasons says which columns take the reasons for a missing answer among their values, by the question, and which
// questions need no column of reasons then: those of numbers and codes alone, where no row has both an answer and a
// reason, and no reason that has no place among the values.
func foldReasons(t *Table, st *tableStats) (folded map[int]int, dropped map[int]bool) {
	folded, dropped = map[int]int{}, map[int]bool{}
	for i, q := range t.Questions {
		if st.why[i] == nil || !q.single() {
			continue
		}
		whole := !st.answered[i]
		for w := range st.why[i] {
			whole = whole && reasonLetter(w) != 0
		}
		for col := q.from; col < q.at; col++ {
			c := t.Columns[col]
			if s := shapeOf(c, &st.columns[col]); s != asWhole && s != asNumber {
				whole = false
				continue
			}
			if _, ok := st.columns[col].reasonCodes(c); !ok {
				whole = false
				continue
			}
			folded[col] = i
		}
		dropped[i] = whole
	}
	return folded, dropped
}

// single is whether the columns of a question are one answer, and not a block of questions.
func (q *Question) single() bool {
	switch q.op {
	case opScalar, opEnum, opDuration, opMoney, opChoices, opRank:
		return q.at > q.from
	}
	return false
}

// reasonLetter is the reason in Stata's extended missing values, or 0.
func reasonLetter(stored int32) byte {
	switch formv1.Missing(stored - 1) {
	case formv1.Missing_MISSING_REFUSED:
		return 'r'
	case formv1.Missing_MISSING_DONT_KNOW:
		return 'd'
	case formv1.Missing_MISSING_NOT_APPLICABLE:
		return 'n'
	case formv1.Missing_MISSING_NOT_ASKED:
		return 's'
	}
	return 0
}

// reasons lists the reasons that stand among values, as they are stored; in SPSS the first has the lowest number.
func reasons() []int32 {
	return []int32{
		1 + int32(formv1.Missing_MISSING_REFUSED), 1 + int32(formv1.Missing_MISSING_DONT_KNOW),
		1 + int32(formv1.Missing_MISSING_NOT_APPLICABLE), 1 + int32(formv1.Missing_MISSING_NOT_ASKED),
	}
}

// reasonCodes is the first of four numbers, -99 to -96 where they are free, that no value of the column lies among.
func (st *columnStats) reasonCodes(c *Column) (int64, bool) {
	lo, hi, some := st.bounds(c)
	for first := int64(-99); first > -exactInteger/16; first = first*10 - 9 {
		if !some || hi < float64(first) || lo > float64(first+reasonBlock-1) {
			return first, true
		}
	}
	return 0, false
}

// bounds are the lowest and the highest value of a column, its labels included.
func (st *columnStats) bounds(c *Column) (lo, hi float64, some bool) {
	lo, hi, some = st.min, st.max, st.numbers > 0
	add := func(f float64) {
		if !some {
			lo, hi, some = f, f, true
		}
		lo, hi = min(lo, f), max(hi, f)
	}
	for code := range st.codes {
		add(float64(code))
	}
	for _, v := range c.Values {
		add(float64(v.Code))
	}
	return lo, hi, some
}

// plainText is a text that both programs can hold: UTF-8 without zero bytes. It says whether anything was replaced.
func plainText(s string) (string, bool) {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s, false
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD"), true
}

// cutBytes cuts a text between characters.
func cutBytes(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// day is the date of a cell, where all of it is known and it is one of the solar calendar.
func (v *variable) day(r *row) (time.Time, bool) {
	c := &r.cells[v.col]
	if !c.set || len(c.s) != len(time.DateOnly) {
		return time.Time{}, false
	}
	if v.calendar >= 0 && r.cells[v.calendar].set && r.cells[v.calendar].i > solar {
		return time.Time{}, false
	}
	d, err := time.Parse(time.DateOnly, c.s)
	return d, err == nil
}

// solar is the highest code of a calendar whose dates are those of the programs: not said, and solar.
const solar = 1

// reasonOf is the reason of a cell that is not set, as stored, or 0.
func (v *variable) reasonOf(r *row) int32 {
	if v.fold < 0 || reasonLetter(r.why[v.fold]) == 0 {
		return 0
	}
	return r.why[v.fold]
}

// textOf is the text of a cell, and whether characters had to be replaced.
func (v *variable) textOf(r *row) (string, bool) {
	if v.shape == asReason {
		if y := r.why[v.question]; y != 0 {
			return reason(y), false
		}
		return "", false
	}
	c := &r.cells[v.col]
	if !c.set {
		return "", false
	}
	if v.column.Kind == KindInteger {
		return strconv.FormatInt(c.i, 10), false
	}
	return plainText(c.s)
}

// longest is the bytes that the longest text takes, and all of them, and how many are not empty.
func (v *variable) longest() (longest int, all, n int64) {
	switch {
	case v.shape == asReason:
		return len("not_applicable"), 0, 0
	case v.column.Kind == KindInteger:
		return len("-9223372036854775808"), 0, 0
	}
	return v.stats.longest, v.stats.bytes, v.stats.n
}

// notes are what a program shows beside a variable, in English and Chinese.
func (v *variable) notes() []string {
	var out []string
	add := func(en, zh string, t *formv1.Text) {
		if t == nil {
			return
		}
		out = append(out, en+": "+wording(t, "en"))
		if s := wording(t, "zh"); s != wording(t, "en") {
			out = append(out, zh+"："+s)
		}
	}
	add("Question", "问题", v.label)
	c := v.column
	if c == nil {
		return out
	}
	add("Asked of", "适用", c.Universe)
	if c.Relevant != "" {
		out = append(out, "Asked where (CEL): "+c.Relevant)
	}
	if c.Unit != "" {
		out = append(out, "Unit: "+c.Unit)
	}
	if c.Formula != "" {
		add("Derived", "推导", c.Derived)
		add("To be known", "说明", c.hint)
		out = append(out, "Formula (CEL): "+c.Formula)
	}
	switch v.shape {
	case asDay:
		out = append(out, "Set where the whole date is known in the solar calendar. 仅在完整的公历日期已知时有值。")
	case asDayText:
		out = append(out, "What was answered: yyyy, yyyy-mm or yyyy-mm-dd. 原始回答。")
	case asMoment:
		out = append(out, "UTC.")
	}
	return out
}

// labelSet names the labels of the values of a variable: one name for the same labels in all tables, so that files can
// be merged. Empty: no labels.
func (v *variable) labelSet() string {
	switch {
	case v.shape != asWhole && v.shape != asNumber:
		return ""
	case v.column.Kind == KindYesNo:
		return "zero_one"
	case len(v.column.Values) > 0 && v.column.enum != "":
		return v.column.enum
	case len(v.column.Values) > 0:
		return v.name + "_values"
	case v.fold >= 0:
		return "missing_reason"
	}
	return ""
}

// labelSets are the sets of a file, by name. Two lists of one name, such as enums of the same name in two questionnaires, are two sets.
type labelSets map[string][]ValueLabel

// name is that of a variable's set, key where it is the first of the name or has the same labels as that.
func (s labelSets) name(key string, v *variable) string {
	for n, base := 2, key; ; n++ {
		known, taken := s[key]
		if !taken {
			s[key] = v.column.Values
			return key
		}
		if slices.EqualFunc(known, v.column.Values, func(a, b ValueLabel) bool { return a.Code == b.Code && proto.Equal(a.Label, b.Label) }) {
			return key
		}
		key = base + "_" + strconv.Itoa(n)
	}
}

// language is a language of labels: its tag, and its name in the files.
type language struct{ tag, name string }

// languages are those of the labels, the chosen one first.
func languages(chosen string) []language {
	out := []language{{"en", "en"}, {"zh", "zh"}}
	if i := slices.IndexFunc(out, func(l language) bool { return l.tag == chosen }); i >= 0 {
		out[0], out[i] = out[i], out[0]
		return out
	}
	name := strings.ReplaceAll(chosen, "-", "_")
	if name == "" || len(name) > 12 || clean(name) != strings.ToLower(name) || name == "en" || name == "zh" {
		return out
	}
	return append([]language{{chosen, name}}, out...)
}

// worded is a text in all languages of the labels.
func worded(t *formv1.Text, langs []language) map[string]string {
	out := map[string]string{}
	for _, l := range langs {
		if s, _ := plainText(wording(t, l.tag)); s != "" {
			out[l.name] = s
		}
	}
	return out
}

// setName makes a name of a label set fit: Stata adds _ and the language to it.
func setName(name string, langs []language, taken map[string]bool) string {
	room := maxName - 1
	for _, l := range langs {
		room = min(room, maxName-1-len(l.name))
	}
	base := unreserved(cutWords(clean(name), room-3))
	for n := 1; ; n++ {
		c := base
		if n > 1 {
			c += "_" + strconv.Itoa(n)
		}
		free := !taken[c]
		for _, l := range langs {
			free = free && !taken[c+"_"+l.name]
		}
		if free {
			taken[c] = true
			for _, l := range langs {
				taken[c+"_"+l.name] = true
			}
			return c
		}
	}
}

const maxNote = 15_000

// fileLabel is the title of a file: that of the table, and that of the study.
func (j *job) fileLabel(t *Table) *formv1.Text {
	s := j.src.Study
	title := text(cutBytes(s.GetTitleEn(), maxNote), cutBytes(s.GetTitleZh(), maxNote))
	if wording(title, "en") == "" {
		title = text(cutBytes(s.GetStudy(), maxNote), "")
	}
	if wording(title, "en") == "" {
		return t.Title
	}
	return within(t.Title, title)
}

// fileNotes say what a file is and how to read it.
func (j *job) fileNotes(t *Table, why string) []string {
	s := j.src.Study
	var out []string
	add := func(s string) {
		if s, _ := plainText(s); s != "" {
			out = append(out, cutBytes(s, maxNote))
		}
	}
	if s.GetStudy() != "" {
		add(fmt.Sprintf("Study 调查项目: %s %s %s", s.GetStudy(), s.GetTitleEn(), s.GetTitleZh()))
	}
	add(s.GetNote())
	var keys []string
	for _, c := range t.Columns[:t.Keys] {
		keys = append(keys, c.Name)
	}
	add(fmt.Sprintf("Table 数据表: %s. %s %s. Keys 键: %s.", t.Name, wording(t.Title, "en"), wording(t.Title, "zh"), strings.Join(keys, ", ")))
	if j.opts.Profile == servicev1.PrivacyProfile_PRIVACY_PROFILE_RESEARCH {
		add("Privacy profile: research. Direct identifiers are left out; dates, places and occupations together can still identify a person.")
		add("隐私级别：研究用。已去除直接身份标识；日期、地点与职业组合起来仍可能识别个人。")
	} else {
		add("Privacy profile: identified. For data managers only: the file holds names and other direct identifiers.")
		add("隐私级别：含身份标识。仅限数据管理员使用：文件含姓名等直接身份标识。")
	}
	add(why)
	add("A variable that ends in _why says why an answer is missing, and one that ends in _text holds a date as it was answered. 以 _why 结尾的变量为无回答原因，以 _text 结尾的变量为日期的原始回答。")
	return out
}

// losses counts the values that a format cannot hold, for the warnings of the manifest.
type losses map[loss]int64

type loss struct{ variable, what string }

func (l losses) add(t *Table, variable, what string) { l[loss{t.Name + "." + variable, what}]++ }

// warnings words them, for a format.
func (l losses) warnings(format string) []string {
	var out []string
	for k, n := range l {
		out = append(out, fmt.Sprintf("%s: %d values of %s %s; CSV and Parquet have them as they are", format, n, k.variable, k.what))
	}
	slices.Sort(out)
	return out
}

const (
	lostCharacters = "have characters that are no text, each replaced by U+FFFD"
	lostNumber     = "are infinite or no number and were left out"
	lostTime       = "are times before the first year of the format and were left out"
	lostPlace      = "are not on the globe, or only half a position, and were left out"
	lostText       = "are longer than the 32,766 bytes of a text and were cut"
)

// finite is whether both programs can hold a number: theirs end where their missing values begin.
func finite(f float64) bool { return !math.IsNaN(f) && math.Abs(f) <= math.MaxFloat64/4 }
