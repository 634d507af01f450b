package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
)

// A form that no server would take is refused with its size, not as a batch of interviews.
func TestPublishingWhatIsTooLarge(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pictures.xlsx")
	raw := make([]byte, 5<<20)
	if _, err := rand.Read(raw); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &formPublishCmd{File: file}
	c.Server = "127.0.0.1:1" // nobody is there: it is not asked
	err := c.Run(&env{ctx: t.Context()})
	if fault.ReasonOf(err) != fault.QuestionnaireTooLarge || !strings.Contains(err.Error(), "pictures.xlsx has 5120 KB packed") {
		t.Errorf("a form of 5 MB: %v", err)
	}
	if err := sendable("small.xlsx", mostSent); err != nil {
		t.Error(err)
	}
}
