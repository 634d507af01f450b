package dedup

import (
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/hearth-survey/hearth/proto/fault"
)

// TestAllRecordsEqual says that nothing tells the records apart, and does not link all with all.
func TestAllRecordsEqual(t *testing.T) {
	_, err := FindTable(numbered(3000, "id,name,phone", func(int) []string { return []string{"王伟", "13800000000"} }))
	if fault.ReasonOf(err) != fault.TableTellsNothing {
		t.Errorf("%v, want %s", err, fault.TableTellsNothing)
	}
}

// word is a name of eight letters that is unlike others.
func word(n int) string {
	var out []byte
	for h := mix(uint64(n), 5); len(out) < 8; h /= 26 {
		out = append(out, byte('a'+h%26))
	}
	return string(out)
}

// TestOnePhoneForAll keeps to the budget of pairs where a hundred thousand records share one telephone, and finds those who
// are met again nevertheless.
func TestOnePhoneForAll(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 8000
	}
	table := numbered(n, "id,phone,name,dob,who", func(i int) []string {
		person := i
		if i%50 == 1 {
			person = i - 1
		}
		return []string{"13800000000", word(person), fmt.Sprintf("%d-%02d-%02d", 1930+person%70, 1+person/70%12, 1+person/840%28), fmt.Sprint(person)}
	})
	table.Rows[7][1] = "13900000000" // so that the column is not constant
	table.Truth = "who"
	r, err := FindTable(table)
	if err != nil {
		t.Fatal(err)
	}
	if limit := budget(Options{}.withDefaults(), n); r.Compared > 2*limit {
		t.Errorf("%d pairs compared, the budget is %d", r.Compared, limit)
	}
	if r.Score.F1 < .99 {
		t.Errorf("F1 %.4f", r.Score.F1)
	}
	for _, c := range r.Clusters {
		if len(c) > 4 {
			t.Fatalf("%d records in one cluster", len(c))
		}
	}
}

// TestBlocksAreCapped expects no key to compare more than the largest block allows.
func TestBlocksAreCapped(t *testing.T) {
	all := make([]entry, 0, 5000)
	for i := range 5000 {
		all = append(all, entry{mix(uint64(min(i/10, 100)), 3), int32(i)})
	}
	b := (&sorter{entries: all}).cut(400)
	if len(b.members) != 1000 || len(b.ends) != 1000 {
		t.Errorf("%d records in blocks, want those of a hundred small blocks", len(b.members))
	}
}

// TestMixedEncodings reads a table of which some lines are GB 18030, and one in UTF-16.
func TestMixedEncodings(t *testing.T) {
	gb, err := simplifiedchinese.GB18030.NewEncoder().String("2,李秀英,贵阳\n")
	if err != nil {
		t.Fatal(err)
	}
	units := utf16.Encode([]rune("id,name,city\n1,王伟,贵阳\n2,李秀英,贵阳\n3,\ufffd,x\n"))
	wide := []byte{0xff, 0xfe}
	for _, u := range units {
		wide = append(wide, byte(u), byte(u>>8))
	}
	for name, text := range map[string]string{"lines": "id,name,city\n1,王伟,贵阳\n" + gb + "3,\xff\xff,x\n", "wide": string(wide)} {
		table, err := ReadTable(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := table.records()
		if len(got) != 3 || got[0][1] != "王伟" || got[1][1] != "李秀英" || !strings.ContainsRune(got[2][1], '\ufffd') {
			t.Errorf("%s: %q", name, got)
		}
	}
	if _, err := ReadTable(strings.NewReader("PK\x03\x04\x00\x00a,b\n")); fault.ReasonOf(err) != fault.TableNotCSV {
		t.Errorf("zero bytes: %v, want %s", err, fault.TableNotCSV)
	}
}

// TestQuotes reads cells with separators, line ends and quotes in them, and is not swallowed by a quote that nothing closes.
func TestQuotes(t *testing.T) {
	for text, want := range map[string][][]string{
		"a,b\n\"x,1\",\"y\"\"z\"\n":            {{"x,1", `y"z`}},
		"a,b\r\n\"two\nlines\", q \r\n\r\n3,4": {{"two\nlines", "q"}, {"3", "4"}},
		"a,b\n\"open,2\n3,4\n":                 {{`"open`, "2"}, {"3", "4"}},
		"a,b\n5\" pipe,2\n3\n":                 {{`5" pipe`, "2"}, {"3", ""}},
		"a,b\n\"in\"side,2\n1,2,3\n":           {{`"in"side`, "2"}, {"1", "2"}},
	} {
		table, err := ReadTable(strings.NewReader(text))
		if err != nil || !reflect.DeepEqual(table.records(), want) {
			t.Errorf("%q: %q, %v, want %q", text, table.records(), err, want)
		}
	}
}

// TestChineseInPinyin takes characters in a column of pinyin as what they are.
func TestChineseInPinyin(t *testing.T) {
	given, spelled := []rune("伟芳娜敏静丽强磊军洋勇艳杰娟涛"), strings.Fields("wei fang na min jing li qiang lei jun yang yong yan jie juan tao")
	table := numbered(600, "id,name,pinyin,dob", func(i int) []string {
		p := i / 2
		name, sound := "王"+string(given[p%15])+string(given[p/15%15]), "wang "+spelled[p%15]+" "+spelled[p/15%15]
		if i%2 == 1 {
			sound = name
		}
		return []string{name, sound, fmt.Sprintf("19%02d-%02d-%02d", 50+p%40, 1+p%12, 1+p%28)}
	})
	r, err := FindTable(table)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Clusters) < 280 {
		t.Errorf("%d of 300 people found again", len(r.Clusters))
	}
}

// TestNothingTellsApart says so where a table has only what many share.
func TestNothingTellsApart(t *testing.T) {
	r, err := FindTable(numbered(2000, "id,sex,district,school", func(i int) []string {
		return []string{[]string{"M", "F"}[i*7%2], fmt.Sprint("d", i*31%9), fmt.Sprint("s", i*17%5)}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if linked := slices.MaxFunc(append(r.Clusters, nil), func(a, b []string) int { return len(a) - len(b) }); len(linked) > 2 || r.Doubt == "" && len(r.Clusters) > 0 {
		t.Errorf("%d clusters, the largest of %d; it says %q", len(r.Clusters), len(linked), r.Doubt)
	}
	if doubt(.3, 100) == "" || doubt(.9, 100) != "" || doubt(.1, 2) != "" {
		t.Error("the word of warning comes at the wrong time")
	}
}

// TestManyColumns compares a bounded number of two thousand columns, those that tell most.
func TestManyColumns(t *testing.T) {
	table := numbered(400, "id,surname"+strings.Repeat(",c", 2000), func(i int) []string {
		row := slices.Repeat([]string{fmt.Sprint("v", i%3)}, 2001)
		row[0] = fmt.Sprint("person", i/2*7919)
		return row
	})
	r, err := FindTable(table)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.frame.columns) != 2 || len(r.Columns) != 2001 {
		t.Errorf("%d of %d columns compared, want the surname and one of those that are all the same", len(r.frame.columns), len(r.Columns))
	}
	table = numbered(400, "id"+strings.Repeat(",c", 2000), func(i int) []string {
		row := make([]string, 2000)
		for c := range row {
			row[c] = fmt.Sprint("v", i/2*(c+1)%31)
		}
		return row
	})
	if r, err = FindTable(table); err != nil {
		t.Fatal(err)
	}
	if len(r.frame.columns) > maxColumns {
		t.Errorf("%d columns compared", len(r.frame.columns))
	}
}

// TestCores expects the same to the last bit on one core and on several.
func TestCores(t *testing.T) {
	table := historical(800, 3)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var first *TableResult
	for _, cores := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(cores)
		slices.Reverse(table.Rows)
		r, err := FindTable(table)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = r
			continue
		}
		if !reflect.DeepEqual(first.Pairs, r.Pairs) || !reflect.DeepEqual(first.Clusters, r.Clusters) || !reflect.DeepEqual(first.model.m, r.model.m) || *first.Score != *r.Score {
			t.Fatalf("%d cores find something else", cores)
		}
	}
}
