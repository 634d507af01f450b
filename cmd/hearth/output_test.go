package main

import (
	"strings"
	"testing"
)

// One long cell does not push the other columns out of sight, and Chinese is never cut through a character.
func TestTableClips(t *testing.T) {
	var out strings.Builder
	err := table(&out, [][]string{{"KEY", "SITE"}, {strings.Repeat("问", 400), "school-c"}, {"GY-1", strings.Repeat("x", 100)}})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := strings.Repeat("问", 29) + "…"
	if len(lines) != 3 || !strings.HasPrefix(lines[1], want+" ") || !strings.HasSuffix(lines[1], "  school-c") {
		t.Errorf("the table is\n%s\nwant the key cut to %q", out.String(), want)
	}
	if !strings.HasSuffix(lines[2], strings.Repeat("x", 100)) {
		t.Errorf("the last column is cut: %q", lines[2])
	}
}
