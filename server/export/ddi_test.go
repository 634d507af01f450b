package export

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"testing"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// ddiBook is what the tests read of a codebook.
type ddiBook struct {
	Files []struct {
		ID   string `xml:"ID,attr"`
		Name string `xml:"fileTxt>fileName"`
		Rows int    `xml:"fileTxt>dimensns>caseQnty"`
	} `xml:"fileDscr"`
	Variables []struct {
		Name   string `xml:"name,attr"`
		File   string `xml:"files,attr"`
		Labels []struct {
			Lang string `xml:"lang,attr"`
			Text string `xml:",chardata"`
		} `xml:"labl"`
		Categories []struct {
			Value string `xml:"catValu"`
			N     int    `xml:"catStat"`
		} `xml:"catgry"`
	} `xml:"dataDscr>var"`
}

// The codebook of an export says what its files hold.
func TestDDI(t *testing.T) {
	files, m := export(t, small(), Options{Formats: nil, Profile: research})
	var book ddiBook
	if err := xml.Unmarshal(files.files["codebook.xml"], &book); err != nil {
		t.Fatal(err)
	}
	rows, columns := map[string]int{}, map[string]int{}
	for _, f := range book.Files {
		rows[f.Name] = f.Rows
	}
	for _, v := range book.Variables {
		columns[v.File]++
	}
	for _, l := range m.Levels {
		if rows[l.Name] != int(l.Rows) || columns["F_"+l.Name] != l.Columns {
			t.Errorf("%s: %d rows and %d variables are described, want %d and %d", l.Name, rows[l.Name], columns["F_"+l.Name], l.Rows, l.Columns)
		}
	}
	for _, v := range book.Variables {
		if v.File == "F_person" && v.Name == "sex" {
			if len(v.Labels) != 2 || v.Labels[0].Lang != "en" || v.Labels[1].Lang != "zh" || len(v.Categories) < 2 || v.Categories[1].Value != "1" {
				t.Errorf("sex is described as %+v", v)
			}
			return
		}
	}
	t.Error("the sex of persons is not described")
}

// The codebook is valid by the schema that the DDI Alliance publishes.
func TestDDIIsValid(t *testing.T) {
	need(t, "libxml2-utils", "xmllint", "--version")
	shared := os.Getenv("HEARTH_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	shared = filepath.Join(shared, "data")
	schema, err := filepath.Abs(filepath.Join(shared, "ddi", "2.5", "codebook.xsd"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(schema); err != nil {
		if os.Getenv("HEARTH_CI") != "" {
			t.Fatal(err)
		}
		t.Skip("skipped: ../shared/data is not here")
	}
	dir := t.TempDir()
	hostile := random(22, 20, &filler{})
	hostile.Study = &surveyv1.Study{Study: proto.String("a&b"), TitleEn: proto.String(`<Study> "quoted" & more`), TitleZh: proto.String("贵州"), Note: proto.String("控制\x01字符")}
	for name, src := range map[string]Source{"empty": {}, "small": small(), "random": hostile, "drawn": readableSources(t)["mixed"]} {
		files, _ := export(t, src, Options{Profile: identified})
		path := filepath.Join(dir, name+".xml")
		if err := os.WriteFile(path, files.files["codebook.xml"], 0o600); err != nil {
			t.Fatal(err)
		}
		outputOf(t, dir, "xmllint", "--nonet", "--noout", "--schema", schema, path)
	}
	plan, err := NewPlan(identified)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	tables := plan.Of("hearth.survey.v1.Household")
	if len(tables) < 5 || tables[0].Name != "household" {
		t.Fatalf("the tables of the household questionnaire are %d", len(tables))
	}
	if err := WriteDDI(&b, tables, nil, "test"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "plan.xml")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	outputOf(t, dir, "xmllint", "--nonet", "--noout", "--schema", schema, path)
}
