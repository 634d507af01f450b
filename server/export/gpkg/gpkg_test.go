package gpkg

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
	"pgregory.net/rapid"
)

// rapidly draws layers with features of every kind and size.
func drawLayers(t *rapid.T) ([]Layer, [][][]Position, [][][]any) {
	var layers []Layer
	var places [][][]Position
	var rows [][][]any
	for n := range rapid.IntRange(0, 4).Draw(t, "layers") {
		l := Layer{Name: fmt.Sprintf("layer_%d", n), Title: "家", Shape: rapid.SampledFrom([]Shape{Point, LineString, Polygon}).Draw(t, "shape")}
		for c := range rapid.SampledFrom([]int{0, 1, 2, 5, 9, 20, 40, 300}).Draw(t, "columns") {
			col := Column{Name: fmt.Sprintf("c%d", c), Kind: rapid.SampledFrom([]Kind{Integer, Real, Text, Date, Datetime}).Draw(t, "kind"), Title: "标签 " + strings.Repeat("长", c%90)}
			if col.Kind == Integer && c%2 == 0 {
				col.Set = fmt.Sprintf("set_%d_%d", n, c)
				for v := range c % 17 {
					col.Values = append(col.Values, ValueLabel{int64(v) - 3, "贵阳 'n' \"q\""})
				}
				if len(col.Values) == 0 {
					col.Set = ""
				}
			}
			l.Columns = append(l.Columns, col)
		}
		most := 200
		if len(l.Columns) >= 40 {
			most = 8
		}
		var p [][]Position
		var r [][]any
		for range rapid.IntRange(0, most).Draw(t, "features") {
			p = append(p, drawPositions(t, l.Shape))
			var values []any
			for _, c := range l.Columns {
				values = append(values, drawValue(t, c.Kind))
			}
			r = append(r, values)
		}
		layers, places, rows = append(layers, l), append(places, p), append(rows, r)
	}
	return layers, places, rows
}

func drawPositions(t *rapid.T, s Shape) []Position {
	n := map[Shape]int{Point: 1, LineString: 3, Polygon: 4}[s]
	if rapid.IntRange(0, 5).Draw(t, "no place") == 0 {
		return nil
	}
	var out []Position
	for range n {
		out = append(out, Position{rapid.Float64Range(-180, 180).Draw(t, "lon"), rapid.Float64Range(-90, 90).Draw(t, "lat")})
	}
	if s == Polygon {
		out[3] = out[0]
	}
	return out
}

func drawValue(t *rapid.T, k Kind) any {
	if rapid.IntRange(0, 3).Draw(t, "nothing") == 0 {
		return nil
	}
	switch k {
	case Integer:
		return rapid.SampledFrom([]int64{0, 1, -1, 127, 128, -129, 40_000, 1 << 40, math.MinInt64, math.MaxInt64}).Draw(t, "integer")
	case Real:
		return rapid.SampledFrom([]float64{0.5, -2.25, 1e300, 3}).Draw(t, "real")
	case Text:
		n := rapid.SampledFrom([]int{0, 1, 100, 489, 490, 4_050, 4_061, 4_062, 4_600, 9_000, 33_000}).Draw(t, "bytes")
		return strings.Repeat("x\n\"'", n/4+1)[:n] + "𠮷"
	case Date:
		return "2016-07-04"
	}
	return "2016-07-04T09:00:00.000Z"
}

func write(t testing.TB, path string, layers []Layer, places [][][]Position, rows [][][]any) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := NewWriter(f, layers)
	if err != nil {
		t.Fatal(err)
	}
	// Features of all layers take turns.
	for i, more := 0, true; more; i++ {
		more = false
		for n := range layers {
			if i < len(rows[n]) {
				more = true
				if err := w.Feature(n, places[n][i], rows[n][i]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSQLiteReads draws files and lets SQLite check and read them.
func TestSQLiteReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.gpkg")
	rapid.Check(t, func(rt *rapid.T) {
		layers, places, rows := drawLayers(rt)
		write(t, path, layers, places, rows)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			rt.Fatal(err)
		}
		defer db.Close()
		var ok string
		if err := db.QueryRow("PRAGMA integrity_check").Scan(&ok); err != nil || ok != "ok" {
			rt.Fatalf("integrity: %s %v", ok, err)
		}
		for n, l := range layers {
			if err := same(db, l, places[n], rows[n]); err != nil {
				rt.Fatalf("%s: %v", l.Name, err)
			}
			// By way of the indexes.
			var labels int
			if err := db.QueryRow("SELECT count(*) FROM gpkg_data_columns INDEXED BY sqlite_autoindex_gpkg_data_columns_1 WHERE table_name = ? AND column_name > ''", l.Name).Scan(&labels); err != nil || labels != len(l.Columns) {
				rt.Fatalf("%s: %d labels of %d columns, %v", l.Name, labels, len(l.Columns), err)
			}
			for _, c := range l.Columns {
				for _, v := range c.Values {
					var label string
					if err := db.QueryRow("SELECT description FROM gpkg_data_column_constraints WHERE constraint_name = ? AND constraint_type = 'enum' AND value = ?", c.Set, fmt.Sprint(v.Code)).Scan(&label); err != nil || label != v.Label {
						rt.Fatalf("label of %s %d: %q %v", c.Set, v.Code, label, err)
					}
				}
			}
		}
	})
}

// same compares a layer with what SQLite reads of it.
func same(db *sql.DB, l Layer, places [][]Position, want [][]any) error {
	read, err := db.Query("SELECT * FROM " + l.Name + " ORDER BY fid")
	if err != nil {
		return err
	}
	defer read.Close()
	i := 0
	for ; read.Next(); i++ {
		got := make([]any, 2+len(l.Columns))
		into := make([]any, len(got))
		for k := range got {
			into[k] = &got[k]
		}
		if err := read.Scan(into...); err != nil {
			return err
		}
		if got[0] != int64(i+1) {
			return fmt.Errorf("row %d has id %v", i, got[0])
		}
		if len(places[i]) > 0 && !bytes.Equal(got[1].([]byte), geometry(l.Shape, places[i])) || len(places[i]) == 0 && got[1] != nil {
			return fmt.Errorf("row %d: another place", i)
		}
		for k, v := range got[2:] {
			if t, dated := v.(interface{ Format(string) string }); dated { // the driver makes times of them
				v = map[Kind]string{Date: t.Format("2006-01-02"), Datetime: t.Format("2006-01-02T15:04:05.000Z")}[l.Columns[k].Kind]
			}
			if v != want[i][k] {
				return fmt.Errorf("row %d column %d: another value", i, k)
			}
		}
	}
	if i != len(want) {
		return fmt.Errorf("%d rows, want %d", i, len(want))
	}
	return read.Err()
}

// TestManyRows makes trees of three levels.
func TestManyRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.gpkg")
	n := 150_000
	if testing.Short() {
		n = 40_000
	}
	l := Layer{Name: "a", Shape: Point, Columns: []Column{{Name: "t", Kind: Text}}}
	places, rows := make([][]Position, n), make([][]any, n)
	long := strings.Repeat("y", 1_300)
	for i := range rows {
		rows[i] = []any{long[:20+i%30*(i%31)]}
	}
	write(t, path, []Layer{l}, [][][]Position{places}, [][][]any{rows})
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var ok string
	if err := db.QueryRow("PRAGMA quick_check").Scan(&ok); err != nil || ok != "ok" {
		t.Fatalf("quick_check: %s %v", ok, err)
	}
	for _, id := range []int{1, 2, n / 3, n - 1, n} {
		var got string
		if err := db.QueryRow("SELECT t FROM a WHERE fid = ?", id).Scan(&got); err != nil || got != rows[id-1][0] {
			t.Errorf("row %d: %v", id, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, l := range map[string]Layer{
		"no name":       {Shape: Point},
		"reserved":      {Name: "gpkg_contents", Shape: Point},
		"no shape":      {Name: "a"},
		"column fid":    {Name: "a", Shape: Point, Columns: []Column{{Name: "FID", Kind: Text}}},
		"quoted":        {Name: "a", Shape: Point, Columns: []Column{{Name: `a"b`, Kind: Text}}},
		"twice":         {Name: "a", Shape: Point, Columns: []Column{{Name: "x", Kind: Text}, {Name: "X", Kind: Text}}},
		"2,000 columns": {Name: "a", Shape: Point, Columns: make([]Column, 1_999)},
		"label no text": {Name: "a", Shape: Point, Columns: []Column{{Name: "x", Kind: Text, Title: "a\x00"}}},
		"labelled text": {Name: "a", Shape: Point, Columns: []Column{{Name: "x", Kind: Text, Set: "s", Values: []ValueLabel{{1, "a"}}}}},
	} {
		var b seeker
		var e *Error
		if _, err := NewWriter(&b, []Layer{l}); !errors.As(err, &e) || len(b.b) > 0 {
			t.Errorf("%s: got %v after %d bytes", name, err, len(b.b))
		}
	}
	var b seeker
	w, err := NewWriter(&b, []Layer{{Name: "a", Shape: Polygon, Columns: []Column{{Name: "x", Kind: Real}}}})
	if err != nil {
		t.Fatal(err)
	}
	before := len(b.b)
	for name, f := range map[string]struct {
		p []Position
		v []any
	}{
		"NaN": {nil, []any{math.NaN()}}, "text": {nil, []any{"a"}}, "too many": {nil, []any{nil, nil}},
		"open ring": {[]Position{{1, 1}, {2, 2}, {3, 1}, {1, 2}}, []any{nil}}, "off the globe": {[]Position{{1, 91}, {2, 2}, {3, 1}, {1, 91}}, []any{nil}},
	} {
		var e *Error
		if err := w.Feature(0, f.p, f.v); !errors.As(err, &e) || len(b.b) != before || strings.Contains(err.Error(), "91") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := w.Feature(0, []Position{{1, 1}, {2, 2}, {3, 1}, {1, 1}}, []any{1.5}); err != nil {
		t.Error(err)
	}
	if bytes.HasPrefix(b.b, []byte("SQLite")) {
		t.Error("a file that is not closed is a database")
	}
	if err := w.Close(); err != nil || !bytes.HasPrefix(b.b, []byte("SQLite format 3\x00")) || len(b.b)%pageSize != 0 {
		t.Errorf("%v, %d bytes", err, len(b.b))
	}
	if pages := binary.BigEndian.Uint32(b.b[28:]); int(pages)*pageSize != len(b.b) {
		t.Errorf("%d pages in %d bytes", pages, len(b.b))
	}
	if err := w.Feature(0, nil, []any{nil}); err == nil {
		t.Error("a feature after the end")
	}
}

// TestFullDisk fails at every write.
func TestFullDisk(t *testing.T) {
	for limit := 0; ; limit += 5_000 {
		b := seeker{limit: limit + 1}
		w, err := NewWriter(&b, []Layer{{Name: "a", Shape: Point, Columns: []Column{{Name: "x", Kind: Text}}}})
		for i := 0; i < 30 && err == nil; i++ {
			err = w.Feature(0, nil, []any{strings.Repeat("z", 500*i)})
		}
		if err == nil {
			err = w.Close()
		}
		if err == nil {
			if limit < 100_000 {
				t.Errorf("no error after %d bytes", limit)
			}
			return
		}
		if bytes.HasPrefix(b.b, []byte("SQLite")) {
			t.Errorf("a broken file is a database")
		}
	}
}

// seeker is a file in memory.
type seeker struct {
	b         []byte
	at, limit int
}

func (s *seeker) Write(p []byte) (int, error) {
	if s.limit > 0 && s.at+len(p) > s.limit {
		return 0, errors.New("no space left on device")
	}
	if need := s.at + len(p) - len(s.b); need > 0 {
		s.b = append(s.b, make([]byte, need)...)
	}
	s.at += copy(s.b[s.at:], p)
	return len(p), nil
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	s.at = int(offset) + map[int]int{0: 0, 1: s.at}[whence]
	return int64(s.at), nil
}

// TestOGR lets GDAL read points, lines and areas, with the labels.
func TestOGR(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: other programs read the files in whole runs only")
	}
	if _, err := exec.LookPath("ogrinfo"); err != nil {
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatal("gdal-bin is not here, and HEARTH_READERS=all: apt-get install gdal-bin")
		}
		t.Skip("skipped: gdal-bin is not here: apt-get install gdal-bin")
	}
	path := filepath.Join(t.TempDir(), "a.gpkg")
	columns := []Column{
		{Name: "sex", Kind: Integer, Title: "性别", Set: "sex", Values: []ValueLabel{{1, "male"}, {2, "女"}}},
		{Name: "name", Kind: Text, Title: "Name"}, {Name: "born", Kind: Date}, {Name: "at", Kind: Datetime}, {Name: "share", Kind: Real},
	}
	values := []any{int64(2), "王芳 \"a\"", "1980-05-01", "2016-07-04T09:00:00.250Z", 0.25}
	square := []Position{{106, 26}, {107, 26}, {107, 27}, {106, 26}}
	write(t, path, []Layer{{Name: "homes", Title: "Homes", Shape: Point, Columns: columns}, {Name: "ways", Shape: LineString}, {Name: "fields", Shape: Polygon}, {Name: "none", Shape: Point}},
		[][][]Position{{{{106.7, 26.6}}, nil}, {{{106, 26}, {107, 27}}}, {square}, {}}, [][][]any{{values, make([]any, 5)}, {{}}, {{}}, {}})
	out, err := exec.Command("ogrinfo", "-al", "-ro", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"POINT (106.7 26.6)", "LINESTRING (106 26,107 27)", "POLYGON ((106 26,107 26,107 27,106 26))", "sex (Integer64) = 2", `name (String) = 王芳 "a"`,
		"born (Date) = 1980/05/01", "at (DateTime) = 2016/07/04 09:00:00.250+00", "share (Real) = 0.25", "Feature Count: 2", "Feature Count: 0", `ID["EPSG",4326]`, "domain name=sex",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("ogrinfo does not say %q", want)
		}
	}
	if strings.Contains(string(out), "Warning") || strings.Contains(string(out), "ERROR") || t.Failed() {
		t.Errorf("ogrinfo says\n%s", out)
	}
}
