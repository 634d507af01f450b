package dedup

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// sharedFile reads a file of the public data, or skips the test.
func sharedFile(tb testing.TB, name string) []byte {
	tb.Helper()
	root := os.Getenv("HEARTH_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	data, err := os.ReadFile(filepath.Join(root, "data", "dedup", name))
	if err != nil {
		if os.Getenv("HEARTH_CI") != "" {
			tb.Fatal(err)
		}
		tb.Skip("skipped: ../shared/data is not here")
	}
	return data
}

// records is a table by rows.
func (t Table) records() [][]string {
	var out [][]string
	for i := range t.len() {
		var row []string
		for c := range t.Header {
			row = append(row, t.columns[c].of(i))
		}
		out = append(out, row)
	}
	return out
}

// sharedTable opens a file of known duplicates, or skips the test.
func sharedTable(tb testing.TB, name string) Table {
	tb.Helper()
	t, err := ReadTable(bytes.NewReader(sharedFile(tb, name)))
	if err != nil {
		tb.Fatalf("ReadTable(%s): %v", name, err)
	}
	t.Rows = t.records()
	return t
}

// withTruthFromID adds the middle part of ids like rec-12-dup-0 as a column.
func withTruthFromID(t Table) Table {
	t.Header = append(slices.Clone(t.Header), "entity")
	for i, r := range t.Rows {
		parts := strings.Split(r[0], "-")
		t.Rows[i] = append(slices.Clone(r), parts[1])
	}
	t.ID, t.Truth = "rec_id", "entity"
	return t
}

// withoutColumn takes a column out.
func withoutColumn(t Table, name string) Table {
	at := slices.Index(t.Header, name)
	t.Header = slices.Delete(slices.Clone(t.Header), at, at+1)
	for i, r := range t.Rows {
		t.Rows[i] = slices.Delete(slices.Clone(r), at, at+1)
	}
	return t
}

// TestScores measures linkage on public data with known duplicates. The floors are a little under what was measured, so
// that a change that loses accuracy is seen.
func TestScores(t *testing.T) {
	tests := []struct {
		file, id, truth string
		floor           float64
	}{
		{"RLdata500.csv", "rec_id", "ent_id", 0.985},
		{"febrl1.csv", "", "", 1.0},
		{"febrl2.csv", "", "", 0.999},
		{"fake_1000.csv", "unique_id", "cluster", 0.96},
		{"cn10000.csv", "rec_id", "ent_id", 0.985},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			table := sharedTable(t, test.file)
			table.ID, table.Truth = test.id, test.truth
			if test.file == "cn10000.csv" {
				table = withoutColumn(table, "kind") // says which records are double entries
			}
			if test.id == "" {
				table = withTruthFromID(table)
			}
			r, err := FindTable(table)
			if err != nil {
				t.Fatal(err)
			}
			s := r.Score
			t.Logf("F1 %.4f (precision %.4f, recall %.4f), best edge F1 %.4f, blocked %.4f of truth (expected %.3f), compared %d of %d",
				s.F1, s.Precision, s.Recall, s.BestF1, s.Blocked, r.Recall, r.Compared, r.Possible)
			for _, c := range r.Columns {
				t.Logf("  column %s: %s (%s)", c.Header, c.Kind, c.Why)
			}
			t.Logf("  keys: %s", strings.Join(r.Keys, "; "))
			checkConfidence(t, r)
			if s.F1 < test.floor {
				t.Errorf("F1 = %.4f, want at least %.3f", s.F1, test.floor)
			}
		})
	}
}

// checkConfidence expects one for each cluster, that of two records to be the probability of their pair.
func checkConfidence(t *testing.T, r *TableResult) {
	t.Helper()
	if len(r.Confidence) != len(r.Clusters) {
		t.Fatalf("%d confidences of %d clusters", len(r.Confidence), len(r.Clusters))
	}
	of := map[[2]string]float64{}
	for _, p := range r.Pairs {
		of[[2]string{p.A, p.B}], of[[2]string{p.B, p.A}] = p.Probability, p.Probability
	}
	for i, c := range r.Clusters {
		p := r.Confidence[i]
		if !(p > 0 && p <= 1) || len(c) == 2 && math.Abs(p-of[[2]string{c[0], c[1]}]) > 1e-9 {
			t.Errorf("cluster %v: confidence %v, the pair %v", c, p, of[[2]string{c[0], c[1]}])
		}
	}
}

// explained is a pair of a result with its evidence.
func explained(t *testing.T, r *TableResult, i int) *servicev1.MatchPair {
	t.Helper()
	p, err := r.Explain(r.Pairs[i].A, r.Pairs[i].B)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(p.GetWeight()-r.Pairs[i].Weight) > 1e-6 || p.GetMatchClass() != r.Pairs[i].Class {
		t.Fatalf("listed with %v bits as %v, explained:\n%s", r.Pairs[i].Weight, r.Pairs[i].Class, Text(p))
	}
	return p
}

// numbered makes a table of n rows with the given cells.
func numbered(n int, header string, cells func(i int) []string) Table {
	t := Table{Header: strings.Split(header, ","), ID: "id"}
	for i := range n {
		t.Rows = append(t.Rows, append([]string{strconv.Itoa(i)}, cells(i)...))
	}
	return t
}

// TestBadTables bears tables that can not support linkage, with a clear word or an empty answer.
func TestBadTables(t *testing.T) {
	tests := []struct {
		name   string
		table  Table
		reason fault.Reason
		pairs  int // -1: any
	}{
		{"no rows", Table{Header: []string{"id", "name"}, ID: "id"}, "TABLE_TELLS_NOTHING", 0},
		{"no such id column", Table{Header: []string{"a"}, ID: "id"}, "COLUMN_UNKNOWN", 0},
		{"no such truth column", Table{Header: []string{"id", "a"}, ID: "id", Truth: "truth"}, "COLUMN_UNKNOWN", 0},
		{"ids clash", Table{Header: []string{"id", "a"}, Rows: [][]string{{"1", "x"}, {"1", "y"}}, ID: "id"}, "TABLE_ID_NOT_UNIQUE", 0},
		{"all null", numbered(50, "id,a,b", func(int) []string { return []string{"", "NA"} }), "TABLE_TELLS_NOTHING", 0},
		{"constant", numbered(50, "id,a", func(int) []string { return []string{"x"} }), "TABLE_TELLS_NOTHING", 0},
		{"one record", numbered(1, "id,name", func(int) []string { return []string{"王伟"} }), "TABLE_TELLS_NOTHING", 0},
		{"one column", numbered(300, "id,name", func(i int) []string { return []string{fmt.Sprintf("name%d", i/2)} }), "", -1},
		{"short rows", Table{Header: []string{"id", "name", "phone"}, Rows: [][]string{{"1"}, {"2", "王伟"}, {"3", "李娜", "13800000000", "more"}}, ID: "id"}, "", -1},
		{"30 February", numbered(99, "id,dob,name", func(i int) []string { return []string{"1970-02-30", fmt.Sprint("a", i)} }), "", 0},
		{"all equal but one", numbered(900, "id,name,city", func(i int) []string { return []string{[]string{"王伟", "李娜"}[min(i, 1)], "贵阳"} }), "", -1},
		{"2,000 columns", numbered(40, "id"+strings.Repeat(",c", 2000), func(i int) []string { return slices.Repeat([]string{fmt.Sprint("v", i/2)}, 2000) }), "", -1},
		{"one phone for all", numbered(5000, "id,phone,name", func(i int) []string {
			return []string{[]string{"13800000000", "13900000000"}[i%500/499], fmt.Sprint("n", i*7919)}
		}), "", -1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := FindTable(test.table)
			if got := fault.ReasonOf(err); got != test.reason {
				t.Fatalf("reason %q (%v), want %q", got, err, test.reason)
			}
			if err != nil {
				return
			}
			if test.pairs >= 0 && len(r.Pairs) != test.pairs {
				t.Errorf("%d pairs, want %d:\n%s", len(r.Pairs), test.pairs, Text(explained(t, r, 0)))
			}
		})
	}
}

// TestReadTable reads the ways a table is saved.
func TestReadTable(t *testing.T) {
	for name, text := range map[string]string{
		"commas":     "id,name\n1,王伟\n",
		"semicolons": "id;name\n1;王伟\n",
		"tabs":       "id\tname\r\n1\t王伟\r\n",
		"mark":       "\xef\xbb\xbfid, name\n1, 王伟",
	} {
		got, err := ReadTable(strings.NewReader(text))
		want := Table{Header: []string{"id", "name"}, Rows: [][]string{{"1", "王伟"}}}
		if err != nil || fmt.Sprint(got.Header, got.records()) != fmt.Sprint(want.Header, want.Rows) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if _, err := ReadTable(strings.NewReader("")); fault.ReasonOf(err) != "TABLE_EMPTY" {
		t.Errorf("empty: %v, want TABLE_EMPTY", err)
	}
}

// TestTableOrder expects the same answer whatever the order of the rows, and the evidence of every pair to add up.
func TestTableOrder(t *testing.T) {
	table := sharedTable(t, "fake_1000.csv")
	table.ID, table.Truth = "unique_id", "cluster"
	a, err := FindTable(table)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(table.Rows)
	b, err := FindTable(table)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, b, cmpopts.IgnoreUnexported(TableResult{})); d != "" {
		t.Errorf("the order of the rows shows:\n%.2000s", d)
	}
	for i := range a.Pairs {
		p, q := explained(t, a, i), explained(t, b, i)
		if d := cmp.Diff(p, q, protocmp.Transform()); d != "" {
			t.Fatalf("the order of the rows shows in an explanation:\n%s", d)
		}
		sum := p.GetPriorWeight()
		for _, e := range p.GetEvidence() {
			sum += e.GetWeight()
		}
		if math.Abs(sum-p.GetWeight()) > 1e-9 {
			t.Fatalf("evidence adds up to %v, weight is %v", sum, p.GetWeight())
		}
	}
}

// FuzzTable reads and searches whatever is called a table.
func FuzzTable(f *testing.F) {
	f.Add([]byte("id,name,dob,phone\n1,王伟,1970-01-01,13800000000\n2,王偉,1970,13800000001\n"))
	f.Add([]byte("a;b;c\n1970;1;2\n1971;12;31\n1980;3;4\n"))
	f.Add([]byte("hh_id,name\n1,\xff\n1,x\n,,,,\n\""))
	f.Add([]byte("\xef\xbb\xbf姓名\t身份证\n张三\t11010519491231002X\n李四\t002X"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		table, err := ReadTable(bytes.NewReader(data))
		if err != nil {
			return
		}
		table.Truth = table.Header[len(table.Header)-1]
		r, err := FindTable(table)
		if err != nil {
			return
		}
		for i := range r.Pairs {
			p := explained(t, r, i)
			if !(p.GetProbability() >= 0 && p.GetProbability() <= 1) {
				t.Fatalf("probability %v", p.GetProbability())
			}
			if _, err := proto.Marshal(p); err != nil {
				t.Fatal(err)
			}
			Text(p)
		}
	})
}

// FuzzNormalise reads whatever is told as a name, a telephone, an identity number, a place, a date.
func FuzzNormalise(f *testing.F) {
	for _, s := range []string{"", "张偉", "Lǐ Xiùyīng", "+86 138-1234-5678", "11010519491231002X", "520521217204", "1970年5月", "\xff\xfe\x00", "٣", "Ａ１"} {
		f.Add(s, "wang wei")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		s := newSpeller()
		x, y := nameAtom(s, a, "", "", b), nameAtom(s, b, a, a, "")
		if l, r := levelOf(kindPerson, x, y), levelOf(kindPerson, y, x); l != r {
			t.Fatalf("%q, %q: %s one way, %s the other", a, b, l, r)
		}
		if again := s.plain(s.plain(a)); again != s.plain(again) {
			t.Fatalf("plain of %q does not settle", a)
		}
		if p := phoneOf(a); digitsOf(p) != p {
			t.Fatalf("phoneOf(%q) = %q", a, p)
		}
		if id := residentOf(a); id != "" && residentOf(id) != id {
			t.Fatalf("residentOf(%q) = %q", a, id)
		}
		if c := placeOf(a); c != "" && placeOf(c) != c {
			t.Fatalf("placeOf(%q) = %q", a, c)
		}
		if d, ok := parseDate(a, false); ok {
			if e, ok := parseDate(d.canon(), false); !ok || e != d {
				t.Fatalf("parseDate(%q) = %v, read again %v", a, d, e)
			}
		}
		if utf8.ValidString(a) && displayWidth(cell(a)) > 40 {
			t.Fatalf("cell(%q) is too wide", a)
		}
	})
}

// BenchmarkFindTable10000 searches a table of ten thousand rows.
func BenchmarkFindTable10000(b *testing.B) {
	table := sharedTable(b, "cn10000.csv")
	table.ID, table.Truth = "rec_id", "ent_id"
	for b.Loop() {
		if _, err := FindTable(table); err != nil {
			b.Fatal(err)
		}
	}
}
