package questionnaire

import (
	"bytes"
	"os"
	"testing"
)

func TestCodebookTmp(t *testing.T) {
	for _, q := range builtin(t).All() {
		var b bytes.Buffer
		if err := q.WriteCodebook(&b); err != nil {
			t.Fatal(err)
		}
		os.WriteFile("/tmp/cb_"+string(q.top.desc.Name())+".html", b.Bytes(), 0o644)
		t.Log(q.Name(), b.Len())
	}
}
