package gpkg

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Shape is what the features of a layer are.
type Shape uint8

// The shapes.
const (
	Point Shape = iota + 1
	LineString
	Polygon
)

var shapeNames = [...]string{Point: "POINT", LineString: "LINESTRING", Polygon: "POLYGON"}

// Kind is what the values of a column are.
type Kind uint8

// The kinds of columns.
const (
	// Integer holds int64.
	Integer Kind = iota + 1
	// Real holds float64.
	Real
	// Text holds string.
	Text
	// Date holds string: yyyy-mm-dd.
	Date
	// Datetime holds string: yyyy-mm-ddThh:mm:ss.sssZ.
	Datetime
)

var kindNames = [...]string{Integer: "INTEGER", Real: "DOUBLE", Text: "TEXT", Date: "DATE", Datetime: "DATETIME"}

// Layer is a table of features.
type Layer struct {
	Name        string
	Title       string
	Description string
	Shape       Shape
	Columns     []Column
}

// Column is what is known of each feature.
type Column struct {
	Name        string
	Kind        Kind
	Title       string
	Description string
	// Set names the codes of an Integer and Values words them; columns of the same set have the same values.
	Set    string
	Values []ValueLabel
}

// ValueLabel is a code and its label.
type ValueLabel struct {
	Code  int64
	Label string
}

// Position is a longitude and a latitude in degrees.
type Position struct{ Lon, Lat float64 }

// Error is something the format cannot hold.
type Error struct {
	// Layer and Column it is about; empty where it is about none.
	Layer, Column string
	// Problem says what is wrong. It holds no answer.
	Problem string
}

// Error says where, and what.
func (e *Error) Error() string {
	switch {
	case e.Column != "":
		return fmt.Sprintf("layer %s, column %s: %s", e.Layer, e.Column, e.Problem)
	case e.Layer != "":
		return fmt.Sprintf("layer %s: %s", e.Layer, e.Problem)
	}
	return e.Problem
}

// MostColumns is how many columns a layer has at most.
const MostColumns = 1_998

const (
	mostName = 63
	mostText = 1_000_000_000
)

// Writer writes one file. It is for one goroutine.
type Writer struct {
	db     *database
	seek   io.WriteSeeker
	origin int64
	layers []*layer
	closed bool
	record []any
}

type layer struct {
	Layer
	table    *table
	low, top Position
}

// NewWriter begins a file where ws stands. What the format cannot hold is said before the first byte.
func NewWriter(ws io.WriteSeeker, layers []Layer) (*Writer, error) {
	if err := Check(layers); err != nil {
		return nil, err
	}
	origin, err := ws.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, fmt.Errorf("the GeoPackage cannot be sought in: %w", err)
	}
	w := &Writer{db: &database{w: ws, pages: 1}, seek: ws, origin: origin}
	w.db.write(make([]byte, pageSize))
	for _, l := range layers {
		w.layers = append(w.layers, &layer{
			Layer: l, table: newTable(w.db), low: Position{math.Inf(1), math.Inf(1)}, top: Position{math.Inf(-1), math.Inf(-1)},
		})
	}
	return w, w.db.err
}

// Check says what of layers the format cannot hold.
func Check(layers []Layer) error {
	names, sets := map[string]bool{}, map[string]string{}
	for _, l := range layers {
		name := strings.ToLower(l.Name)
		switch {
		case !named(l.Name) || strings.HasPrefix(name, "gpkg_") || strings.HasPrefix(name, "sqlite_") || strings.HasPrefix(name, "rtree_"):
			return &Error{Layer: l.Name, Problem: "a layer is named with 1 to 63 letters, digits and _, and not as the tables of the format are"}
		case names[name]:
			return &Error{Layer: l.Name, Problem: "another layer is called so"}
		case l.Shape < Point || l.Shape > Polygon:
			return &Error{Layer: l.Name, Problem: "it is not said whether it holds points, lines or areas"}
		case len(l.Columns) > MostColumns:
			return &Error{Layer: l.Name, Problem: fmt.Sprintf("%d columns are more than the %d that SQLite opens beside the id and the geometry", len(l.Columns), MostColumns)}
		}
		names[name] = true
		if err := l.check(sets); err != nil {
			return err
		}
	}
	return nil
}

func (l *Layer) check(sets map[string]string) error {
	columns := map[string]bool{"fid": true, "geom": true}
	for _, t := range []string{l.Title, l.Description} {
		if !plain(t) {
			return &Error{Layer: l.Name, Problem: "its title or description is no UTF-8, or has zero bytes"}
		}
	}
	for _, c := range l.Columns {
		bad := func(problem string) error { return &Error{Layer: l.Name, Column: c.Name, Problem: problem} }
		switch {
		case !named(c.Name):
			return bad("a column is named with 1 to 63 letters, digits and _")
		case columns[strings.ToLower(c.Name)]:
			return bad("another column is called so")
		case c.Kind < Integer || c.Kind > Datetime:
			return bad("it has no kind")
		case len(c.Values) > 0 && (c.Kind != Integer || !named(c.Set)):
			return bad("only codes of a named set have labels")
		case !plain(c.Title) || !plain(c.Description):
			return bad("its title or description is no UTF-8, or has zero bytes")
		}
		columns[strings.ToLower(c.Name)] = true
		said := fmt.Sprint(c.Values)
		if before, known := sets[c.Set]; len(c.Values) > 0 && known && before != said {
			return bad("its set of labels has other labels elsewhere")
		}
		seen := map[int64]bool{}
		for _, v := range c.Values {
			if seen[v.Code] || !plain(v.Label) {
				return bad("a code has two labels, or one that is no UTF-8 or has zero bytes")
			}
			seen[v.Code] = true
		}
		if len(c.Values) > 0 {
			sets[c.Set] = said
		}
	}
	return nil
}

func named(s string) bool {
	return s != "" && len(s) <= mostName && s[0] != '_' && (s[0] < '0' || s[0] > '9') && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// Feature writes one feature of a layer: its positions, none for a place not known, and a value for each column: nil, or as
// its kind says. An [*Error] means that it cannot be held and was left out; any other error is of the file.
func (w *Writer) Feature(at int, positions []Position, values []any) error {
	switch {
	case w.db.err != nil:
		return w.db.err
	case w.closed:
		return &Error{Problem: "the GeoPackage is closed already: open another"}
	case at < 0 || at >= len(w.layers):
		return &Error{Problem: fmt.Sprintf("there is no layer %d", at)}
	}
	l := w.layers[at]
	if err := l.fits(positions, values); err != nil {
		return err
	}
	w.record = append(w.record[:0], nil, nil)
	if len(positions) > 0 {
		w.record[1] = geometry(l.Shape, positions)
	}
	for _, p := range positions {
		l.low = Position{min(l.low.Lon, p.Lon), min(l.low.Lat, p.Lat)}
		l.top = Position{max(l.top.Lon, p.Lon), max(l.top.Lat, p.Lat)}
	}
	w.record = append(w.record, values...)
	l.table.insert(l.table.rows+1, appendRecord(nil, w.record...))
	return w.db.err
}

func (l *layer) fits(positions []Position, values []any) error {
	if len(values) != len(l.Columns) {
		return &Error{Layer: l.Name, Problem: fmt.Sprintf("%d values for %d columns", len(values), len(l.Columns))}
	}
	n := len(positions)
	ok := n == 0 || l.Shape == Point && n == 1 || l.Shape == LineString && n > 1 || l.Shape == Polygon && n > 3 && positions[0] == positions[n-1]
	for _, p := range positions {
		ok = ok && math.Abs(p.Lon) <= 180 && math.Abs(p.Lat) <= 90
	}
	if !ok {
		return &Error{Layer: l.Name, Problem: "its positions are not on the globe, or make no " + strings.ToLower(shapeNames[l.Shape])}
	}
	for i, v := range values {
		good := v == nil
		switch v := v.(type) {
		case int64:
			good = l.Columns[i].Kind == Integer
		case float64:
			good = l.Columns[i].Kind == Real && !math.IsNaN(v) && !math.IsInf(v, 0)
		case string:
			good = l.Columns[i].Kind >= Text && plain(v) && len(v) <= mostText
		}
		if !good {
			return &Error{Layer: l.Name, Column: l.Columns[i].Name, Problem: "the value is of another kind, or cannot be held"}
		}
	}
	return nil
}

// Close ends the file. It does not close what it was written to. A file that was not closed, or whose Close returned an
// error, must be thrown away: no program takes it for a database.
func (w *Writer) Close() error {
	if w.closed || w.db.err != nil {
		return w.db.err
	}
	w.closed = true
	var entries []entry
	for _, l := range w.layers {
		entries = append(entries, entry{"table", l.Name, l.Name, l.table.end(), l.create()})
	}
	entries = append(w.metadata(), entries...)
	first := schema(w.db, entries, 0x47504b47, 10_300)
	end := w.origin + int64(w.db.pages)*pageSize
	for _, step := range []func() error{
		func() error { _, err := w.seek.Seek(w.origin, io.SeekStart); return err },
		func() error { w.db.write(first); return nil },
		func() error { _, err := w.seek.Seek(end, io.SeekStart); return err },
	} {
		if err := step(); err != nil && w.db.err == nil {
			w.db.err = fmt.Errorf("writing the GeoPackage: %w", err)
		}
	}
	return w.db.err
}

func (l *layer) create() string {
	var b strings.Builder
	fmt.Fprintf(&b, `CREATE TABLE "%s" ("fid" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, "geom" %s`, l.Name, shapeNames[l.Shape])
	for _, c := range l.Columns {
		fmt.Fprintf(&b, `, "%s" %s`, c.Name, kindNames[c.Kind])
	}
	return b.String() + ")"
}

// bounds are the corners of a layer, nil where it has no positions.
func (l *layer) bounds() []any {
	if l.low.Lon > l.top.Lon {
		return []any{nil, nil, nil, nil}
	}
	return []any{l.low.Lon, l.low.Lat, l.top.Lon, l.top.Lat}
}

// sets are the sets of codes of all layers, each once, by name.
func (w *Writer) sets() []Column {
	var out []Column
	for _, l := range w.layers {
		for _, c := range l.Columns {
			if len(c.Values) > 0 && !slices.ContainsFunc(out, func(o Column) bool { return o.Set == c.Set }) {
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b Column) int { return strings.Compare(a.Set, b.Set) })
	return out
}
