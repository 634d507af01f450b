package tablet

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
)

// What runs at every sync over all that a tablet holds must not look through all of it for each record: with 5,000
// records that took 12 seconds.
func TestQueriesOfASyncAreNotQuadratic(t *testing.T) {
	ctx := context.Background()
	s, err := Create(ctx, filepath.Join(t.TempDir(), "t.sqlite"), CreateOptions{Name: "t", Enumerator: "E", Study: "s"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, query := range map[string]string{
		"relist":  relistSQL,
		"pending": "SELECT count(*) FROM record AS rec WHERE NOT " + listedSQL,
	} {
		rows, err := s.db.QueryContext(ctx, "EXPLAIN QUERY PLAN "+query, sql.Named("a", 1), sql.Named("b", []byte{}))
		if err != nil {
			t.Fatal(err)
		}
		steps := 0
		for rows.Next() {
			var id, parent, unused int
			var step string
			if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
				t.Fatal(err)
			}
			steps++
			bySeq := strings.Contains(step, "epoch=? AND seq=?") || strings.HasPrefix(step, "SEARCH r ")
			if strings.Contains(step, "SCAN e") || strings.HasPrefix(step, "SEARCH e ") && !strings.Contains(step, "digest=?") ||
				strings.HasPrefix(step, "SEARCH w ") && !bySeq || name == "relist" && strings.HasPrefix(step, "SCAN rec") {
				t.Errorf("%s: the plan has %q", name, step)
			}
		}
		if err := rows.Err(); err != nil || steps < 4 {
			t.Errorf("%s: a plan of %d steps, %v", name, steps, err)
		}
	}
}
