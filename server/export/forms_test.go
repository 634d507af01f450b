package export

import (
	"bytes"
	"strings"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// TestForms finds the schemas and the XLSForms beside the data, twice the same, and reads them back.
func TestForms(t *testing.T) {
	set, err := questionnaire.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	q, ok := set.Find("migration")
	if !ok {
		t.Fatal("there is no migration questionnaire")
	}
	src := small()
	src.Questionnaires = []*questionnaire.Questionnaire{q}
	files, _ := export(t, src, Options{Formats: []servicev1.ExportFormat{asCSV}})
	again, _ := export(t, src, Options{Formats: []servicev1.ExportFormat{asCSV}})
	read := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(files.files["questionnaires/migration.binpb"], read); err != nil {
		t.Fatal(err)
	}
	if loaded, err := questionnaire.Load(read, q.Name()); err != nil || loaded.Questions() != q.Questions() {
		t.Errorf("descriptors: got %v", err)
	}
	text := string(files.files["questionnaires/proto/hearth/survey/v1/migration.proto"])
	if !strings.Contains(text, "message Migration {") || files.files["questionnaires/proto/hearth/form/v1/options.proto"] == nil {
		t.Errorf("text: got %.200s", text)
	}
	if page := string(files.files["questionnaires/migration.html"]); !strings.Contains(page, "迁移史问卷") || !strings.Contains(page, "<html") {
		t.Errorf("page: got %.200s", page)
	}
	form, err := xlsform.Import(files.files["questionnaires/migration.xlsx"], xlsform.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if loaded, err := questionnaire.Load(form.Files, form.Top); err != nil || loaded.Questions() < q.Questions()/2 {
		t.Errorf("XLSForm: got %v", err)
	}
	n := 0
	for path, content := range files.files {
		if strings.HasPrefix(path, "questionnaires/") {
			if n++; !bytes.Equal(content, again.files[path]) {
				t.Errorf("%s differs between two runs", path)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d files", n)
	}
}
