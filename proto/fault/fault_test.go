package fault

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"testing"
)

func TestErrorSaysWhatToDo(t *testing.T) {
	err := fmt.Errorf("sync tablet-03: %w", New(Invalid, BadDigest, "record 7: %w", io.ErrUnexpectedEOF))
	if got, want := KindOf(err), Invalid; got != want {
		t.Errorf("KindOf = %v, want %v", got, want)
	}
	if got, want := ReasonOf(err), BadDigest; got != want {
		t.Errorf("ReasonOf = %v, want %v", got, want)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	want := "sync tablet-03: record 7: unexpected EOF: " + BadDigest.Do()
	if got := err.Error(); got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
	if got := KindOf(io.EOF); got != Internal {
		t.Errorf("KindOf(io.EOF) = %v, want internal", got)
	}
}

// Every reason declared has an entry that says when and what to do, and none has two.
func TestCatalogueIsComplete(t *testing.T) {
	src, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`Reason = "([A-Z_]+)"`).FindAllSubmatch(src, -1)
	if len(declared) < 20 {
		t.Fatalf("found only %d declared reasons in reasons.go", len(declared))
	}
	seen := map[Reason]int{}
	for _, e := range Catalogue() {
		seen[e.Reason]++
		if e.When == "" || e.Do == "" {
			t.Errorf("%s does not say when it is given and what to do", e.Reason)
		}
	}
	for _, m := range declared {
		if n := seen[Reason(m[1])]; n != 1 {
			t.Errorf("reason %s has %d entries in the catalogue, want 1", m[1], n)
		}
	}
	if len(seen) != len(declared) {
		t.Errorf("%d reasons in the catalogue, %d declared", len(seen), len(declared))
	}
}
