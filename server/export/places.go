package export

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export/gpkg"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const geoPointName protoreflect.FullName = "hearth.survey.v1.GeoPoint"

// position is a question of a table that is answered with a place: a point, by the columns of its longitude and latitude, or
// a line or an area, by the column of its text.
type position struct {
	question int
	shape    gpkg.Shape
	lon, lat int
	text     int
}

// position notes that a block is a point, where the export has its coordinates.
func (b *builder) position(t *Table, s *step) {
	p := position{question: s.question, shape: gpkg.Point, lon: -1, lat: -1, text: -1}
	for _, sub := range s.sub.steps {
		switch sub.fd.Name() {
		case "longitude":
			p.lon = sub.col
		case "latitude":
			p.lat = sub.col
		}
	}
	if p.lon >= 0 && p.lat >= 0 {
		t.positions = append(t.positions, p)
	}
}

// drawn notes that a text is a line or an area.
func (b *builder) drawn(t *Table, s *step, q *formv1.Question) {
	shapes := map[formv1.Format]gpkg.Shape{formv1.Format_FORMAT_GEO_TRACE: gpkg.LineString, formv1.Format_FORMAT_GEO_SHAPE: gpkg.Polygon}
	if shape := shapes[q.GetFormat()]; shape != 0 && s.op == opScalar && t.Columns[s.col].Kind == KindText {
		t.positions = append(t.positions, position{question: s.question, shape: shape, lon: -1, lat: -1, text: s.col})
	}
}

// hidden is whether a stage has taken the place out.
func (p position) hidden(t *Table) bool {
	if p.text >= 0 {
		return t.Columns[p.text].hidden
	}
	return t.Columns[p.lon].hidden || t.Columns[p.lat].hidden
}

// of are the positions that a row has; none where it has none. What is not on the globe is no place.
func (p position) of(r *row) (out []gpkg.Position, told bool) {
	if p.text < 0 {
		lon, lat := &r.cells[p.lon], &r.cells[p.lat]
		if !lon.set && !lat.set {
			return nil, false
		}
		at := gpkg.Position{Lon: lon.f, Lat: lat.f}
		if !lon.set || !lat.set || !onGlobe(at) {
			return nil, true
		}
		return []gpkg.Position{at}, true
	}
	c := &r.cells[p.text]
	if !c.set {
		return nil, false
	}
	// As ODK writes it: latitude, longitude, altitude, accuracy; and so on.
	for part := range strings.SplitSeq(strings.TrimRight(c.s, "; "), ";") {
		n := strings.Fields(part)
		if len(n) < 2 {
			return nil, true
		}
		lat, err := strconv.ParseFloat(n[0], 64)
		lon, err2 := strconv.ParseFloat(n[1], 64)
		at := gpkg.Position{Lon: lon, Lat: lat}
		if errors.Join(err, err2) != nil || !onGlobe(at) {
			return nil, true
		}
		out = append(out, at)
	}
	if p.shape == gpkg.Polygon && out[0] != out[len(out)-1] {
		out = append(out, out[0])
	}
	if len(out) < 2 || p.shape == gpkg.Polygon && len(out) < 4 {
		return nil, true
	}
	return out, true
}

func onGlobe(p gpkg.Position) bool { return math.Abs(p.Lon) <= 180 && math.Abs(p.Lat) <= 90 }

// placed is a layer: the rows of a table that have a certain place.
type placed struct {
	position
	layout *layout
	name   string
}

// layers are those of an export, none where its profile has no coordinates.
func (j *job) layers(layouts map[*Table]*layout, format servicev1.ExportFormat) []placed {
	var out []placed
	taken := map[string]bool{}
	for _, t := range j.plan.Tables {
		for _, p := range t.positions {
			if p.hidden(t) {
				continue
			}
			name := cutWords(combine(t.Name, t.Questions[p.question].Name), 60)
			for n := 2; taken[name]; n++ {
				name = cutWords(combine(t.Name, t.Questions[p.question].Name), 56) + "_" + strconv.Itoa(n)
			}
			taken[name] = true
			out = append(out, placed{position: p, layout: layouts[t], name: name})
		}
	}
	if len(out) == 0 && j.asked {
		j.warnings = append(j.warnings, FormatName(format)+": this export has no coordinates, so there are no places to write; profile "+ProfileName(j.opts.Profile))
	}
	return out
}

// geoJSONWriter writes a file of each layer: the rows that have that place, with all their variables.
type geoJSONWriter struct {
	job    *job
	layers map[*Table][]*geoJSONLayer
	order  []*geoJSONLayer
	lost   losses
	buf    []byte
}

type geoJSONLayer struct {
	placed
	out  *hashedFile
	rows int64
}

func newGeoJSONWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &geoJSONWriter{job: j, layers: map[*Table][]*geoJSONLayer{}, lost: losses{}}
	for _, p := range j.layers(layouts, servicev1.ExportFormat_EXPORT_FORMAT_GEOJSON) {
		out, err := j.sink.create("geojson/" + p.name + ".geojson")
		if err != nil {
			return w, err
		}
		l := &geoJSONLayer{placed: p, out: out}
		w.layers[p.layout.table], w.order = append(w.layers[p.layout.table], l), append(w.order, l)
		if _, err := out.Write([]byte(`{"type":"FeatureCollection","name":"` + p.name + `","features":[`)); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (w *geoJSONWriter) write(l *layout, r *row) error {
	for _, g := range w.layers[l.table] {
		at, told := g.of(r)
		if at == nil {
			if told {
				w.lost.add(l.table, l.table.Questions[g.question].Name, lostPlace)
			}
			continue
		}
		b := w.buf[:0]
		if g.rows++; g.rows > 1 {
			b = append(b, ',')
		}
		b = append(b, "\n{\"type\":\"Feature\",\"geometry\":"...)
		b = appendGeometry(b, g.shape, at)
		b = append(b, `,"properties":`...)
		b = append(appendObject(b, l, r, w.lost), '}')
		w.buf = b
		if _, err := g.out.Write(b); err != nil {
			return err
		}
	}
	return nil
}

func appendGeometry(b []byte, shape gpkg.Shape, at []gpkg.Position) []byte {
	open, end := map[gpkg.Shape]string{gpkg.Point: "Point", gpkg.LineString: "LineString", gpkg.Polygon: "Polygon"}[shape], ""
	b = append(append(append(b, `{"type":"`...), open...), `","coordinates":`...)
	switch shape {
	case gpkg.LineString:
		b, end = append(b, '['), "]"
	case gpkg.Polygon:
		b, end = append(b, "[["...), "]]"
		at = counterclockwise(at)
	}
	for i, p := range at {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendNumber(append(appendNumber(append(b, '['), p.Lon), ','), p.Lat), ']')
	}
	return append(append(b, end...), '}')
}

// counterclockwise turns a ring the way RFC 7946 wants it.
func counterclockwise(at []gpkg.Position) []gpkg.Position {
	area := 0.0
	for i := range len(at) - 1 {
		area += at[i].Lon*at[i+1].Lat - at[i+1].Lon*at[i].Lat
	}
	if area >= 0 {
		return at
	}
	out := make([]gpkg.Position, len(at))
	for i, p := range at {
		out[len(at)-1-i] = p
	}
	return out
}

func (w *geoJSONWriter) close() error {
	for _, g := range w.order {
		if _, err := g.out.Write([]byte("\n]}\n")); err != nil {
			return err
		}
		if err := g.out.close(); err != nil {
			return err
		}
	}
	w.job.warnings = append(w.job.warnings, w.lost.warnings(FormatName(servicev1.ExportFormat_EXPORT_FORMAT_GEOJSON))...)
	return nil
}

func (w *geoJSONWriter) abort() {}

const geoPackagePath = "gpkg/places.gpkg"

// geoPackageWriter writes one GeoPackage with all layers, by way of a temporary file.
type geoPackageWriter struct {
	job    *job
	layers []placed
	vars   [][]variable
	file   *scratchFile
	w      *gpkg.Writer
	lost   losses
	values []any
}

func checkGeoPackage(j *job, layouts map[*Table]*layout) error {
	// Its warnings are said again by the writer.
	said := len(j.warnings)
	defer func() { j.warnings = j.warnings[:said] }()
	_, layers := (&geoPackageWriter{job: j}).plan(layouts)
	if err := gpkg.Check(layers); err != nil {
		return fault.New(fault.TooLarge, fault.BadRequest, "the GeoPackage cannot be written, leave the gpkg format out: %w", err)
	}
	return nil
}

// plan finds the layers and lays them out.
func (w *geoPackageWriter) plan(layouts map[*Table]*layout) (vars [][]variable, layers []gpkg.Layer) {
	w.layers = w.job.layers(layouts, servicev1.ExportFormat_EXPORT_FORMAT_GPKG)
	for _, p := range w.layers {
		columns := w.columns(p)
		vars, layers = append(vars, columns), append(layers, w.layer(p, columns))
	}
	return vars, layers
}

func newGeoPackageWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &geoPackageWriter{job: j, lost: losses{}}
	var layers []gpkg.Layer
	w.vars, layers = w.plan(layouts)
	if len(layers) == 0 {
		return w, nil
	}
	var err error
	if w.file, err = scratch(geoPackagePath); err != nil {
		return w, err
	}
	if w.w, err = gpkg.NewWriter(w.file, layers); err != nil {
		return w, writeFault(geoPackagePath, err)
	}
	return w, nil
}

// columns are the variables of a layer; of a table that is too wide, its keys.
func (w *geoPackageWriter) columns(p placed) []variable {
	all := dated(p.layout, w.job.stats[p.layout.table])
	if len(all) <= gpkg.MostColumns {
		return all
	}
	w.job.warnings = append(w.job.warnings, "gpkg: layer "+p.name+" has the keys of table "+p.layout.table.Name+" alone: its "+
		strconv.Itoa(len(all))+" columns are more than a GeoPackage holds; merge them from another format")
	return slices.DeleteFunc(all, func(v variable) bool { return v.column == nil || v.col >= p.layout.table.Keys })
}

func (w *geoPackageWriter) layer(p placed, vars []variable) gpkg.Layer {
	lang := w.job.opts.Language
	say := func(t *formv1.Text) string {
		s, _ := plainText(wording(t, lang))
		return s
	}
	t := p.layout.table
	l := gpkg.Layer{Name: p.name, Title: say(within(t.Title, t.Questions[p.question].Label)), Shape: p.shape}
	kinds := map[shape]gpkg.Kind{asWhole: gpkg.Integer, asNumber: gpkg.Real, asDay: gpkg.Date, asMoment: gpkg.Datetime}
	for i := range vars {
		v := &vars[i]
		c := gpkg.Column{Name: v.name, Kind: kinds[v.shape], Title: say(v.label)}
		if c.Kind == 0 {
			c.Kind = gpkg.Text
		}
		if v.column != nil {
			c.Description = say(v.column.Universe)
			if v.column.Kind == KindInteger {
				c.Kind = gpkg.Integer // of any size
			}
		}
		if v.shape == asWhole && len(v.column.Values) > 0 {
			c.Set = t.Name + "_" + v.name
			for _, value := range v.column.Values {
				c.Values = append(c.Values, gpkg.ValueLabel{Code: int64(value.Code), Label: say(value.Label)})
			}
		}
		l.Columns = append(l.Columns, c)
	}
	return l
}

func (w *geoPackageWriter) write(l *layout, r *row) error {
	for n, p := range w.layers {
		if p.layout != l {
			continue
		}
		at, told := p.of(r)
		if at == nil {
			if told {
				w.lost.add(l.table, l.table.Questions[p.question].Name, lostPlace)
			}
			continue
		}
		w.values = w.values[:0]
		for i := range w.vars[n] {
			w.values = append(w.values, w.value(l.table, &w.vars[n][i], r))
		}
		if err := w.w.Feature(n, at, w.values); err != nil {
			return writeFault(geoPackagePath, err)
		}
	}
	return nil
}

// value is that of a column, nil where there is none.
func (w *geoPackageWriter) value(t *Table, v *variable, r *row) any {
	switch v.shape {
	case asText, asDayText, asReason:
		if v.column != nil && v.column.Kind == KindInteger {
			if c := &r.cells[v.col]; c.set {
				return c.i
			}
			return nil
		}
		s, replaced := v.textOf(r)
		if replaced {
			w.lost.add(t, v.name, lostCharacters)
		}
		if s == "" {
			return nil
		}
		return s
	case asDay:
		if d, ok := v.day(r); ok {
			return d.Format(time.DateOnly)
		}
		return nil
	}
	c := &r.cells[v.col]
	switch {
	case !c.set:
		return nil
	case v.shape == asMoment:
		return time.UnixMilli(c.i).UTC().Format("2006-01-02T15:04:05.000Z")
	case v.shape == asWhole:
		return c.i
	case finite(c.f):
		return c.f
	}
	w.lost.add(t, v.name, lostNumber)
	return nil
}

func (w *geoPackageWriter) close() error {
	if w.w == nil {
		return nil
	}
	if err := w.w.Close(); err != nil {
		return writeFault(geoPackagePath, err)
	}
	if err := w.job.sink.copy(geoPackagePath, w.file); err != nil {
		return err
	}
	w.job.warnings = append(w.job.warnings, w.lost.warnings(FormatName(servicev1.ExportFormat_EXPORT_FORMAT_GPKG))...)
	w.abort()
	return nil
}

func (w *geoPackageWriter) abort() {
	if w.file != nil {
		_ = w.file.Close() // it has no name: nothing stays
		w.file = nil
	}
}
