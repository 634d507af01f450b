package gpkg

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
)

// geometry writes the binary of the format: a header, and well-known binary.
func geometry(s Shape, positions []Position) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte{'G', 'P', 0, 1}, wgs84)
	b = le.AppendUint32(append(b, 1), uint32(s))
	if s == Polygon {
		b = le.AppendUint32(b, 1)
	}
	if s != Point {
		b = le.AppendUint32(b, uint32(len(positions)))
	}
	for _, p := range positions {
		b = le.AppendUint64(le.AppendUint64(b, math.Float64bits(p.Lon)), math.Float64bits(p.Lat))
	}
	return b
}

const (
	wgs84      = 4326
	definition = `GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],AUTHORITY["EPSG","6326"]],` +
		`PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AXIS["Latitude",NORTH],AXIS["Longitude",EAST],AUTHORITY["EPSG","4326"]]`

	createSystems = `CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER NOT NULL PRIMARY KEY, organization TEXT NOT NULL, ` +
		`organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT)`
	createContents = `CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '', ` +
		`last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')), min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER, ` +
		`CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id))`
	createGeometries = `CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, ` +
		`z TINYINT NOT NULL, m TINYINT NOT NULL, CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name), ` +
		`CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name), CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id))`
	createExtensions = `CREATE TABLE gpkg_extensions (table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL, definition TEXT NOT NULL, scope TEXT NOT NULL, ` +
		`CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name))`
	createColumns = `CREATE TABLE gpkg_data_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL, name TEXT, title TEXT, description TEXT, mime_type TEXT, constraint_name TEXT, ` +
		`CONSTRAINT pk_gdc PRIMARY KEY (table_name, column_name), CONSTRAINT gdc_tn UNIQUE (table_name, name))`
	createConstraints = `CREATE TABLE gpkg_data_column_constraints (constraint_name TEXT NOT NULL, constraint_type TEXT NOT NULL, value TEXT, min NUMERIC, min_is_inclusive BOOLEAN, ` +
		`max NUMERIC, max_is_inclusive BOOLEAN, description TEXT, CONSTRAINT gdcc_ntv UNIQUE (constraint_name, constraint_type, value))`
	createSequence = `CREATE TABLE sqlite_sequence(name,seq)`

	// lastChange is the same in every file: the same features give the same bytes.
	lastChange = "2000-01-01T00:00:00.000Z"
)

// rows is a table of few rows with its unique indexes, each by the columns in it.
type rows struct {
	name, sql string
	ids       []int64
	rows      [][]any
	unique    [][]int
}

// metadata writes the tables of the format and returns them for the schema.
func (w *Writer) metadata() []entry {
	systems := rows{name: "gpkg_spatial_ref_sys", sql: createSystems, ids: []int64{-1, 0, wgs84}, rows: [][]any{
		{"Undefined cartesian SRS", nil, "NONE", int64(-1), "undefined", "undefined cartesian coordinate reference system"},
		{"Undefined geographic SRS", nil, "NONE", int64(0), "undefined", "undefined geographic coordinate reference system"},
		{"WGS 84 geodetic", nil, "EPSG", int64(wgs84), definition, "longitude/latitude coordinates in decimal degrees on the WGS 84 spheroid"},
	}}
	contents := rows{name: "gpkg_contents", sql: createContents, unique: [][]int{{0}, {2}}}
	geometries := rows{name: "gpkg_geometry_columns", sql: createGeometries, unique: [][]int{{0, 1}, {0}}}
	columns := rows{name: "gpkg_data_columns", sql: createColumns, unique: [][]int{{0, 1}, {0, 2}}}
	constraints := rows{name: "gpkg_data_column_constraints", sql: createConstraints, unique: [][]int{{0, 1, 2}}}
	const page = "http://www.geopackage.org/spec121/#extension_schema"
	extensions := rows{name: "gpkg_extensions", sql: createExtensions, unique: [][]int{{0, 1, 2}}, rows: [][]any{
		{"gpkg_data_columns", nil, "gpkg_schema", page, "read-write"}, {"gpkg_data_column_constraints", nil, "gpkg_schema", page, "read-write"},
	}}
	sequence := rows{name: "sqlite_sequence", sql: createSequence}
	for _, l := range w.layers {
		// Identifiers differ as names do; two layers may have one title.
		row := []any{l.Name, "features", l.Name, l.about(), lastChange}
		contents.rows = append(contents.rows, append(append(row, l.bounds()...), int64(wgs84)))
		geometries.rows = append(geometries.rows, []any{l.Name, "geom", shapeNames[l.Shape], int64(wgs84), int64(0), int64(0)})
		sequence.rows = append(sequence.rows, []any{l.Name, l.table.rows})
		// The name is what programs show: the title, with the column's own name where two have the same.
		known := map[string]bool{}
		for _, c := range l.Columns {
			shown := c.Title
			if shown == "" || known[shown] {
				shown = strings.TrimSpace(c.Title + " (" + c.Name + ")")
			}
			known[shown] = true
			var set any
			if len(c.Values) > 0 {
				set = c.Set
			}
			columns.rows = append(columns.rows, []any{l.Name, c.Name, shown, c.Title, c.Description, nil, set})
		}
	}
	for _, c := range w.sets() {
		for _, v := range c.Values {
			constraints.rows = append(constraints.rows, []any{c.Set, "enum", strconv.FormatInt(v.Code, 10), nil, nil, nil, nil, v.Label})
		}
	}
	var out []entry
	for _, r := range []rows{systems, contents, geometries, extensions, columns, constraints, sequence} {
		out = append(out, w.put(r)...)
	}
	return out
}

func (l *layer) about() string {
	if l.Title == "" || l.Description == "" {
		return l.Title + l.Description
	}
	return l.Title + ". " + l.Description
}

// put writes a table with its indexes.
func (w *Writer) put(r rows) []entry {
	t := newTable(w.db)
	keys := make([][][]any, len(r.unique))
	for i, row := range r.rows {
		id := int64(i + 1)
		if r.ids != nil {
			id = r.ids[i]
		}
		t.insert(id, appendRecord(nil, row...))
		for k, of := range r.unique {
			var key []any
			for _, at := range of {
				key = append(key, row[at])
			}
			keys[k] = append(keys[k], append(key, id))
		}
	}
	out := []entry{{"table", r.name, r.name, t.end(), r.sql}}
	for k := range r.unique {
		out = append(out, entry{"index", "sqlite_autoindex_" + r.name + "_" + strconv.Itoa(k+1), r.name, index(w.db, keys[k]), nil})
	}
	return out
}
