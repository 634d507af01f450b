package export

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const duckScript = `
const { DuckDBInstance } = require("@duckdb/node-api");
const fs = require("fs");
(async () => {
  const db = await (await DuckDBInstance.create(":memory:")).connect();
  const out = {};
  for (const f of fs.readdirSync(".").filter((f) => f.endsWith(".parquet")).sort()) {
    const r = await db.runAndReadAll("SELECT * FROM read_parquet('" + f + "')");
    const types = {};
    r.columnNames().forEach((n, i) => { types[n] = r.columnTypes()[i].toString(); });
    const labels = await db.runAndReadAll("SELECT decode(value) AS v FROM parquet_kv_metadata('" + f + "') WHERE decode(key) = 'hearth'");
    out[f] = { types, rows: r.getRowObjectsJson(), labels: JSON.parse(labels.getRowObjectsJson()[0].v).variables.length };
    const lines = f.replace(".parquet", ".jsonl");
    if (fs.statSync(lines).size > 0) {
      const n = await db.runAndReadAll("SELECT count(*)::INTEGER AS n FROM read_json('" + lines + "', format = 'newline_delimited', maximum_object_size = 100000000)");
      out[f].lines = n.getRowObjectsJson()[0].n;
    } else out[f].lines = 0;
  }
  fs.writeFileSync("out.json", JSON.stringify(out));
})();`

// TestDuckDBReads compares every value of the Parquet files as DuckDB reads them with the CSV files, and lets it read the JSON lines.
func TestDuckDBReads(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: other programs read the files in whole runs only")
	}
	modules, err := filepath.Abs("../../bin/duckdb/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@duckdb/node-api")); err != nil {
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatal("DuckDB is not here, and HEARTH_READERS=all: make duckdb")
		}
		t.Skip("skipped: DuckDB is not here: make duckdb")
	}
	dir, exports, manifest := readable(t, "parquet", "jsonl")
	t.Setenv("NODE_PATH", modules)
	outputOf(t, dir, "node", "-e", duckScript)
	raw, err := os.ReadFile(filepath.Join(dir, "out.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]struct {
		Types         map[string]string
		Rows          []map[string]any
		Lines, Labels int
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	compared := map[string]int{}
	for name, files := range exports {
		for _, l := range manifest.Levels {
			csv := files.files["csv/"+l.Name+".csv"]
			rows, header := records(t, csv), headerOf(csv)
			d := got[name+"-"+l.Name+".parquet"]
			if len(d.Rows) != len(rows) || d.Lines != len(rows) || d.Labels != len(d.Types) {
				t.Errorf("%s %s: %d rows, %d lines, want %d; %d labels of %d columns", name, l.Name, len(d.Rows), d.Lines, len(rows), d.Labels, len(d.Types))
				continue
			}
			for column, kind := range d.Types {
				if !slices.Contains(header, column) {
					continue // the text beside a date
				}
				for r := range rows {
					compared[kind]++
					if err := sameDuck(kind, d.Rows[r][column], rows[r][column]); err != nil {
						t.Errorf("%s %s row %d %s: %v", name, l.Name, r, column, err)
					}
				}
			}
		}
	}
	for _, kind := range []string{"VARCHAR", "BIGINT", "INTEGER", "DOUBLE", "DATE", "TIMESTAMP WITH TIME ZONE", "BIGINT[]", "VARCHAR[]"} {
		if compared[kind] < 20 {
			t.Errorf("only %d values of type %s compared: %v", compared[kind], kind, compared)
		}
	}
}

// sameDuck compares a value with the text of the CSV file.
func sameDuck(kind string, got any, want string) error {
	text := ""
	switch v := got.(type) {
	case nil:
		if _, err := time.Parse(time.DateOnly, want); kind == "DATE" && (err != nil || want != "") {
			return nil // not whole, or of another calendar: TestParquet knows
		}
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, escapeItem(fmt.Sprint(item)))
		}
		text = strings.Join(items, ";")
	case float64:
		text = string(appendNumber(nil, v))
	default:
		text = fmt.Sprint(v)
	}
	if strings.HasPrefix(kind, "TIMESTAMP") && text != "" {
		at, err := time.Parse("2006-01-02 15:04:05.999Z07", text)
		if err != nil {
			return err
		}
		text = string(appendTime(nil, at.UnixMilli()))
	}
	if kind == "DOUBLE" {
		a, err := strconv.ParseFloat(strings.Replace(text, "Infinity", "Inf", 1), 64)
		b, err2 := strconv.ParseFloat(want, 64)
		if (err == nil) == (err2 == nil) && (a == b || a != a && b != b) {
			return nil
		}
	}
	if strings.ReplaceAll(text, "\r\n", "\n") != want {
		return fmt.Errorf("got %q, want %q", text, want)
	}
	return nil
}
