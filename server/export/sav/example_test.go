package sav_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/hearth-survey/hearth/server/export/sav"
)

// A file of two people, with a range of numbers that stand for reasons for missing answers, and a question with
// several answers.
func ExampleNewWriter() {
	dir, err := os.MkdirTemp("", "sav")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, err := os.Create(filepath.Join(dir, "people.zsav"))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	const refused, dontKnow = -99, -98
	w, err := sav.NewWriter(file, &sav.Schema{
		Label:     sav.Wording{"en": "People", "zh": "住户成员"},
		Languages: []string{"en", "zh"},
		Variables: []sav.Variable{
			{Name: "sex", Kind: sav.Number, Label: sav.Wording{"en": "Sex", "zh": "性别"}, LabelSet: "sex",
				Missing: sav.MissingValues{Range: &[2]float64{refused, dontKnow}}},
			{Name: "news_radio", Kind: sav.Number, Measure: sav.Nominal, Label: sav.Wording{"en": "Radio", "zh": "广播"}},
			{Name: "news_web", Kind: sav.Number, Measure: sav.Nominal, Label: sav.Wording{"en": "Internet", "zh": "互联网"}},
		},
		LabelSets: []sav.LabelSet{{Name: "sex", Labels: []sav.ValueLabel{
			{Number: 1, Text: sav.Wording{"en": "male", "zh": "男"}},
			{Number: 2, Text: sav.Wording{"en": "female", "zh": "女"}},
			{Number: refused, Text: sav.Wording{"en": "refused", "zh": "拒绝回答"}},
			{Number: dontKnow, Text: sav.Wording{"en": "don't know", "zh": "不知道"}},
		}}},
		Multiple: []sav.MultipleResponse{{Name: "news", Variables: []string{"news_radio", "news_web"}, Counted: 1}},
	}, sav.Options{ZLIB: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range [][]sav.Value{
		{sav.Whole(2), sav.Whole(1), sav.Whole(0)},
		{sav.Whole(refused), {}, {}},
	} {
		if err := w.Row(row); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(w.Row([]sav.Value{sav.Text("female"), {}, {}}))
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Rows(), "rows")
	// Output:
	// row 3, variable sex: the value does not fit the kind of the variable: give Whole or Real for a Number, Day for a Date, Moment for a Datetime
	// 2 rows
}
