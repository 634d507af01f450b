package referral

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hearth-survey/hearth/proto/fault"
)

var plain = Columns{ID: "id", Recruiter: "by"}

// fullColumns are all that a table can have.
var fullColumns = Columns{ID: "id", Recruiter: "by", Degree: "degree", Seed: "seed", Time: "time"}

// tableCases are what tables do, and how each is understood.
var tableCases = []struct {
	name     string
	text     string
	cols     Columns
	nodes    []string
	edges    []string
	problems []string
}{
	{"empty recruiter is a seed", "id,by\na,\nb,a\n", plain,
		[]string{"a seed wave 0 root a", "b wave 1 root a"}, []string{"row:0000000003 a>b resolved primary"}, nil},
	{"rows in any order", "id,by\nc,b\nb,a\na,\n", plain,
		[]string{"a seed wave 0 root a", "b wave 1 root a", "c wave 2 root a"},
		[]string{"row:0000000002 b>c resolved primary", "row:0000000003 a>b resolved primary"}, nil},
	{"only a header", "id,by\n", plain, nil, nil, nil},
	{"byte order mark, CRLF, Chinese, quotes", "\ufeff编号,介绍人\r\n\"甲,1\",\r\n乙,\"甲,1\"\r\n", Columns{ID: "编号", Recruiter: "介绍人"},
		[]string{"乙 wave 1 root 甲,1", "甲,1 seed wave 0 root 甲,1"}, []string{"row:0000000003 甲,1>乙 resolved primary"}, nil},
	{"semicolons", "id;by\na;\nb;a\n", plain,
		[]string{"a seed wave 0 root a", "b wave 1 root a"}, []string{"row:0000000003 a>b resolved primary"}, nil},
	{"tabs", "id\tby\na\t\nb\ta\n", plain,
		[]string{"a seed wave 0 root a", "b wave 1 root a"}, []string{"row:0000000003 a>b resolved primary"}, nil},
	{"a recruiter without a row makes no seed", "id,by\na,x\nb,x\n", plain,
		[]string{"a wave 1 root x", "b wave 1 root x", "x not interviewed wave 0 root x"},
		[]string{"row:0000000002 x>a resolved primary", "row:0000000003 x>b resolved primary"},
		[]string{`row 2: column "by": recruiter "x" has no row: taken as a person who was never interviewed`}},
	{"an id twice", "id,by\na,\nb,a\nb,\nb,c\nc,a\n", plain,
		[]string{"a seed wave 0 root a", "b wave 1 root a", "c wave 1 root a"},
		[]string{"row:0000000003 a>b resolved primary", "row:0000000005 c>b resolved", "row:0000000006 a>c resolved primary"},
		[]string{
			`row 4: column "id": id "b" is already in row 3: read as a second interview of the same person`,
			`row 5: column "id": id "b" is already in row 3: read as a second interview of the same person`,
		}},
	{"himself", "id,by\na,a\n", plain, []string{"a wave 0 root a"}, []string{"row:0000000002 a>a self"},
		[]string{`row 2: column "by": "a" recruited himself: kept as a self-referral, the row is no seed`}},
	{"a two-cycle", "id,by\na,b\nb,a\n", plain, []string{"a wave 1 root b", "b wave 0 root b"},
		[]string{"row:0000000002 b>a resolved primary", "row:0000000003 a>b cycle_broken"}, nil},
	{"no id, short and long rows", "id,by\n,a\na\nb,a,z\n", plain,
		[]string{"a seed wave 0 root a", "b wave 1 root a"}, []string{"row:0000000004 a>b resolved primary"},
		[]string{`row 2: column "id": no id: the row was left out`, "row 3: it has 1 cells, the header has 2", "row 4: it has 3 cells, the header has 2"}},
	{"words for missing and for seed, unless they are ids", "id,by\na,NA\nb,Seed\nc,种子\nNULL,a\nd,NULL\n", plain,
		[]string{"NULL wave 1 root a", "a seed wave 0 root a", "b seed wave 0 root b", "c seed wave 0 root c", "d wave 2 root a"},
		[]string{"row:0000000005 a>NULL resolved primary", "row:0000000006 NULL>d resolved primary"},
		[]string{`column "by": 1 cells hold a word for a missing value, such as NA, and were read as empty`}},
	{"all columns", "id,by,degree,seed,time\na,,7,1,2016-07-21\nb,a,many,0,2016-07-22 10:00\nc,,-1,maybe,soon\nd,a,3.0,yes,\n", fullColumns,
		[]string{"a seed wave 0 root a", "b wave 1 root a", "c wave 0 root c", "d seed wave 0 root d"},
		[]string{"row:0000000003 a>b resolved primary", "row:0000000005 a>d resolved"},
		[]string{
			`row 3: column "degree": "many" is not a count of people: taken as not asked`,
			`row 4: column "time": "soon" is not a day or time such as 2016-07-21 or 2016-07-21 15:04: taken as not known`,
			`row 4: column "seed": "maybe" says neither yes nor no: taken as no`,
			`row 4: column "degree": "-1" is not a count of people: taken as not asked`,
			`row 5: column "seed": marked as a seed, but recruited by "a": taken as a seed`,
		}},
}

// TestFromCSV names what tables do.
func TestFromCSV(t *testing.T) {
	for _, tc := range tableCases {
		t.Run(tc.name, func(t *testing.T) {
			f, problems, err := FromCSV(strings.NewReader(tc.text), tc.cols)
			if err != nil {
				t.Fatal(err)
			}
			g := Build(f)
			if diff := cmp.Diff(tc.nodes, nodeLines(g)); diff != "" {
				t.Errorf("nodes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.edges, edgeLines(g)); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if diff := cmp.Diff(tc.problems, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFromCSVRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		cols       Columns
		want       string
	}{
		{"nothing", "", plain, "the table is empty: it needs a first row with the names of the columns"},
		{"no such column", "ID,by\n", plain, `the table has no column "id" for the id: it has "ID", "by"`},
		{"no such optional column", "id,by\n", Columns{ID: "id", Recruiter: "by", Degree: "d"}, `the table has no column "d" for the degree: it has "id", "by"`},
		{"no column named", "id,by\n", Columns{ID: "id"}, "no column is named for the recruiter"},
		{"two columns of a name", "id,by,id\n", plain, `the table has two columns "id": rename one`},
		{"another encoding", "id,by\n\xbc\xd7,\n", plain, `line 2 of the table is not UTF-8: save it as "CSV UTF-8"`},
		{"an open quotation mark", "id,by\n\"a,\n", plain, "the table cannot be read, check its quotation marks: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := FromCSV(strings.NewReader(tc.text), tc.cols)
			if err == nil {
				t.Fatal("got no error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %q, want %q in it", err, tc.want)
			}
			if fault.ReasonOf(err) != fault.BadTable || fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v %q", fault.KindOf(err), fault.ReasonOf(err))
			}
		})
	}
}

// FuzzFromCSV reads anything, and draws what was read.
func FuzzFromCSV(f *testing.F) {
	for _, s := range []string{"", "id,by\n", "id,by\na,\nb,a\nb,b\n", "\ufeffid;by;degree\r\n1;;3\r\n2;1;x\r\n", "id,by\n\"a\nb\",\x00\n", "id,by\n\xff,"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, problems, err := FromCSV(bytes.NewReader(data), plain)
		if err != nil {
			if fault.ReasonOf(err) != fault.BadTable {
				t.Fatalf("an error without a reason: %v", err)
			}
			return
		}
		for _, p := range problems {
			if p.Message == "" {
				t.Fatalf("a problem without a message: %+v", p)
			}
		}
		g := Build(facts)
		s := Stats(facts, g)
		if s.GetPersons() != int64(len(g.GetNodes())) {
			t.Fatalf("%d persons of %d nodes", s.GetPersons(), len(g.GetNodes()))
		}
		checkXML(t, graphMLOf(t, g, nil))
		checkXML(t, svgOf(t, g, SVGOptions{}))
	})
}
