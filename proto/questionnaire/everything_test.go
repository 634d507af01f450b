package questionnaire

import (
	"os"
	"testing"
)

// everything is the questionnaire of testdata/everything.proto.
func everything(tb testing.TB) *Questionnaire {
	tb.Helper()
	source, err := os.ReadFile("testdata/everything.proto")
	if err != nil {
		tb.Fatal(err)
	}
	return loaded(tb, string(source))
}

func TestEverythingLoads(t *testing.T) { everything(t) }
