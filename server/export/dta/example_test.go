package dta_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/hearth-survey/hearth/server/export/dta"
)

// A file of two people, with labels in two languages and a reason for a missing answer.
func ExampleNewWriter() {
	dir, err := os.MkdirTemp("", "dta")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, err := os.Create(filepath.Join(dir, "people.dta"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	w, err := dta.NewWriter(file, &dta.Schema{
		Label:     dta.Wording{"en": "People", "zh": "住户成员"},
		Languages: []string{"en", "zh"},
		Variables: []dta.Variable{
			{Name: "sex", Kind: dta.Byte, Label: dta.Wording{"en": "Sex", "zh": "性别"}, LabelSet: "sex", Notes: []string{"What is the person's sex?"}},
			{Name: "born", Kind: dta.Date, Label: dta.Wording{"en": "Date of birth", "zh": "出生日期"}},
		},
		LabelSets: []dta.LabelSet{{Name: "sex", Labels: []dta.ValueLabel{
			{Code: 1, Text: dta.Wording{"en": "male", "zh": "男"}},
			{Code: 2, Text: dta.Wording{"en": "female", "zh": "女"}},
			{Missing: dta.Refused, Text: dta.Wording{"en": "refused", "zh": "拒绝回答"}},
		}}},
	}, dta.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range [][]dta.Value{
		{dta.Whole(2), dta.Day(time.Date(1989, 12, 31, 0, 0, 0, 0, time.UTC))},
		{dta.Missing(dta.Refused), dta.Missing(dta.DontKnow)},
	} {
		if err := w.Row(row); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(w.Row([]dta.Value{dta.Whole(200), {}}))
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Rows(), "rows")
	// Output:
	// row 3, variable sex: the value is not in the range of a byte, -127 to 100: make the variable an Int
	// 2 rows
}
