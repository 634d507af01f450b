package xlsform

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// No expression, however it is written, stops the translator; what it makes of one, Hearth takes.
func FuzzExpression(f *testing.F) {
	for _, s := range []string{"", "(", "${", "${n", "'", "1 div 0", "-", "..", "/data/g/gn", "./n", "instance('fruit')/root/item[name = ${one}]/label", "${r}[1]/rname", "${r}[rage > 3]/rage", "count(${r}[./rage > 3])", "position(..)", "//n", "@a", "a::b", "..5", "1.5.5", "n-1", "((((((1))))))", "if(1,2)", "‘a’ = “a”"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if len(source) > 400 || strings.ContainsAny(source, "|\x00\n\r") {
			return
		}
		if _, err := parse(source); err != nil {
			return
		}
		cell := strings.TrimSpace(source)
		if cell == "" {
			return
		}
		form := strings.ReplaceAll(base, "| choice_filter |", "| choice_filter | constraint |")
		form = strings.ReplaceAll(form, "| |\n", "| | |\n") +
			"| | integer | x0 | X | " + cell + " | | | " + cell + " |\n| | calculate | x1 | | | " + cell + " | | |\n| | select_one fruit | x2 | X | | | " + cell + " | |\n"
		book, err := readWorkbook(workbookOf(t, form+baseChoices), "test.xlsx")
		if err != nil {
			return // a control character that a sheet cannot hold
		}
		r, _, err := importBook(book, Options{Name: "test.xlsx"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := questionnaire.Load(r.Files, r.Top); err != nil {
			t.Fatalf("%q: %v", source, err)
		}
	})
}

// No table of cells stops the reader, and what it makes of one compiles to itself.
func FuzzSheet(f *testing.F) {
	f.Add(base + baseChoices)
	f.Add("| survey |\n| | type | name | label::French (fr) | label |\n| | begin_repeat | a | A | B |\n| | end_group | | |\n| choices |\n| | list name | value |")
	f.Add("| survey |\n| | type | name | label::中文 |\n| | select_multiple l or_other | 1a-b | 甲 |\n| | rank l | class | x |\n| choices |\n| | list_name | name | label |\n| | l | -1 | |\n| | l | a b | x |")
	f.Add("| survey |\n| | TYPE | Name | Media::Image::en | hearth_was |\n| | start | _s | | |\n| | begin score | sc | | |\n| | score__row | a | | |\n| settings |\n| | form_id | version | default_language |\n| | 1 x | 2 | zz |")
	f.Fuzz(func(t *testing.T, tables string) {
		if len(tables) > 4000 || !strings.HasPrefix(tables, "| survey |") {
			return
		}
		for line := range strings.Lines(tables) { // names of sheets that excelize takes
			if c := strings.Split(line, "|"); len(c) > 1 && strings.TrimSpace(c[1]) != "" && sheetNames[strings.TrimSpace(c[1])] == "" {
				return
			}
		}
		book, err := readWorkbook(workbookOf(t, tables), "test.xlsx")
		if err != nil {
			return
		}
		r, _, err := importBook(book, Options{Name: "test.xlsx"})
		if err != nil {
			return
		}
		files, err := questionnaire.CompileProto(map[string]string{r.ProtoName: r.Proto}, r.ProtoName)
		if err != nil {
			t.Fatalf("%v\n%s", err, r.Proto)
		}
		own := files.File[len(files.File)-1]
		if own.SourceCodeInfo = nil; !proto.Equal(own, r.Files.File[len(r.Files.File)-1]) {
			t.Fatalf("the text compiles to other descriptors:\n%s", r.Proto)
		}
	})
}

// No bytes stop the reader of workbooks.
func FuzzWorkbook(f *testing.F) {
	f.Add(workbookOf(f, base+baseChoices))
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = Import(data, Options{Name: "fuzz.xlsx"})
	})
}
