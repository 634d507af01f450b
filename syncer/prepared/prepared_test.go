package prepared_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/hearth-survey/hearth/syncer/prepared"
)

// Statements that are kept give what they would give anew: after a change of the schema, while another reads the same
// one, in transactions, and after an error.
func TestKeptStatements(t *testing.T) {
	db, err := prepared.Open("file:" + filepath.Join(t.TempDir(), "a.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	ctx := t.Context()
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(ctx, q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	count := func(q interface {
		QueryRow(string, ...any) *sql.Row
	}) (n int) {
		t.Helper()
		if err := q.QueryRow("SELECT count(*) FROM a WHERE n >= ?", 0).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	exec("CREATE TABLE a (n INTEGER UNIQUE); CREATE TABLE b (n INTEGER)")
	for i := range 5 {
		exec("INSERT INTO a VALUES (?)", i)
		if got := count(db); got != i+1 {
			t.Fatalf("%d rows are counted, %d were written", got, i+1)
		}
	}
	if _, err := db.ExecContext(ctx, "INSERT INTO a VALUES (?)", 3); err == nil {
		t.Error("a number is taken twice")
	}
	exec("INSERT INTO a VALUES (?)", 5)
	exec("ALTER TABLE a ADD COLUMN word TEXT")
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := tx.QueryContext(ctx, "SELECT n FROM a WHERE n >= ? ORDER BY n", 2)
	if err != nil {
		t.Fatal(err)
	}
	var seen []int
	for outer.Next() { // the same statement again within its own rows
		var n, inner int
		if err := outer.Scan(&n); err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRowContext(ctx, "SELECT n FROM a WHERE n >= ? ORDER BY n", 4).Scan(&inner); err != nil || inner != 4 {
			t.Fatalf("within the rows: %d, %v", inner, err)
		}
		seen = append(seen, n)
	}
	if err := outer.Err(); err != nil || len(seen) != 4 {
		t.Errorf("read %v, %v", seen, err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO b SELECT n FROM a"); err != nil {
		t.Fatal(err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	var rows int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM b").Scan(&rows); err != nil || rows != 0 || count(db) != 6 {
		t.Errorf("after what was rolled back there are %d rows, %v", rows, err)
	}
}
