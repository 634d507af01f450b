package server

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/xuri/excelize/v2"
	"google.golang.org/protobuf/proto"
)

// book makes an XLSForm of rows of text.
func book(t *testing.T, name string, sheets map[string][][]string) *servicev1.QuestionnaireForm {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	for sheet, rows := range sheets {
		if _, err := f.NewSheet(sheet); err != nil {
			t.Fatal(err)
		}
		w, err := f.NewStreamWriter(sheet)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			cells := make([]any, len(row))
			for k, c := range row {
				cells[k] = c
			}
			if err := w.SetRow(fmt.Sprintf("A%d", i+1), cells); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.DeleteSheet("Sheet1"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return &servicev1.QuestionnaireForm{Name: proto.String(name + ".xlsx"), Source: b.Bytes()}
}

// nestedForm is a form of three repeats within each other, in Arabic and Chinese, with names that are longer than any program
// takes and all begin alike, and reasons among the choices.
func nestedForm(t *testing.T) *servicev1.QuestionnaireForm {
	long := "a_question_whose_name_is_far_longer_than_thirty_two_characters_"
	survey := [][]string{
		{"type", "name", "label::Arabic (ar)", "label::中文 (zh)", "relevant", "constraint", "calculation", "repeat_count", "required", "choice_filter"},
		{"start", "start", "", "", "", "", "", "", "", ""},
		{"select_one yn", "consent", "هل توافق؟", "同意吗？", "", "", "", "", "yes", ""},
		{"begin_group", "g", "مجموعة", "组", "${consent} = 'yes'", "", "", "", "", ""},
		{"integer", long + "1", "كم عدد الأسر؟", "几户？", "", ". >= 1 and . <= 3", "", "", "yes", ""},
		{"text", long + "2", "ملاحظة \"خاصة\", نعم", "备注\n第二行", "", "", "", "", "", ""},
		{"begin_repeat", "home", "أسرة", "住户", "", "", "", "${" + long + "1}", "", ""},
		{"integer", "size", "الحجم", "人数", "", ". >= 0 and . < 5", "", "", "yes", ""},
		{"begin_repeat", "member", "فرد", "成员", "", "", "", "${size}", "", ""},
		{"text", "name", "الاسم", "姓名", "", "", "", "", "yes", ""},
		{"integer", "age", "العمر", "年龄", "", ". >= 0 and . <= 110", "", "", "", ""},
		{"select_multiple ill", "ills", "أمراض", "疾病", "${age} > 3", "", "", "", "", ""},
		{"begin_repeat", "visit", "زيارة", "就诊", "selected(${ills}, 'flu') or selected(${ills}, 'other')", "", "", "", "", ""},
		{"date", "day", "اليوم", "日期", "", ". <= today()", "", "", "", ""},
		{"decimal", "cost", "التكلفة", "费用", "", ". >= 0", "", "", "", ""},
		{"end_repeat", "", "", "", "", "", "", "", "", ""},
		{"end_repeat", "", "", "", "", "", "", "", "", ""},
		{"end_repeat", "", "", "", "", "", "", "", "", ""},
		{"calculate", "people", "", "", "", "", "sum(${size})", "", "", ""},
		{"note", "thanks", "شكرا", "谢谢", "${people} > 2", "", "", "", "", ""},
		{"text", "why_many", "لماذا", "为什么", "${people} > 2", "", "", "", "", ""},
		{"end_group", "", "", "", "", "", "", "", "", ""},
	}
	choices := [][]string{
		{"list_name", "name", "label::Arabic (ar)", "label::中文 (zh)"},
		{"yn", "yes", "نعم", "是"}, {"yn", "no", "لا", "否"},
		{"ill", "flu", "إنفلونزا", "流感"}, {"ill", "cough", "سعال", "咳嗽"}, {"ill", "other", "أخرى", "其他"}, {"ill", "-99", "لا أعرف", "不知道"},
	}
	return book(t, "nested", map[string][][]string{
		"survey": survey, "choices": choices, "settings": {{"form_title", "form_id", "default_language"}, {"أسر", "nested_homes", "Arabic (ar)"}},
	})
}

// wideForm is a form of 700 rows, each asked by what the one before it says, and of 12,000 villages below 300 districts.
func wideForm(t *testing.T) *servicev1.QuestionnaireForm {
	survey := [][]string{{"type", "name", "label", "relevant", "constraint", "choice_filter", "required"},
		{"select_one district", "district", "District", "", "", "", "yes"}, {"select_one village", "village", "Village", "", "", "district=${district}", "yes"}}
	for i := range 700 {
		relevant := ""
		if i%10 > 0 {
			relevant = fmt.Sprintf("${q%d} > %d", i-1, i%7)
		}
		survey = append(survey, []string{"integer", fmt.Sprintf("q%d", i), fmt.Sprintf("Question %d", i), relevant, ". < 100", "", ""})
	}
	choices := [][]string{{"list_name", "name", "label", "district"}}
	for d := range 300 {
		choices = append(choices, []string{"district", fmt.Sprintf("d%d", d), fmt.Sprintf("District %d", d), ""})
	}
	for v := range 12_000 {
		choices = append(choices, []string{"village", fmt.Sprintf("v%05d", v), fmt.Sprintf("Village %d", v), fmt.Sprintf("d%d", v%300)})
	}
	return book(t, "wide", map[string][][]string{"survey": survey, "choices": choices, "settings": {{"form_title", "form_id"}, {"Wide", "wide"}}})
}

// TestWholeLoopNasty is TestWholeLoop for forms that were made to be hard.
func TestWholeLoopNasty(t *testing.T) {
	forms := []*servicev1.QuestionnaireForm{nestedForm(t)}
	if !testing.Short() {
		forms = append(forms, wideForm(t))
	}
	for _, f := range forms {
		t.Run(strings.TrimSuffix(f.GetName(), ".xlsx"), func(t *testing.T) { wholeLoop(t, []*servicev1.QuestionnaireForm{f}, 12, 0, 10) })
	}
}
