package export

import (
	"context"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// format is how the files of a format are made.
type format struct {
	number servicev1.ExportFormat
	// check says what the format cannot hold; nil where it can hold everything.
	check func(*job, map[*Table]*layout) error
	open  func(*job, map[*Table]*layout) (formatWriter, error)
}

func formats() []format {
	return []format{
		{servicev1.ExportFormat_EXPORT_FORMAT_CSV, nil, newCSVWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_PARQUET, nil, newParquetWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_XLSX, checkExcel, newExcelWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_DTA, checkStata, newStataWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_SAV, checkSPSS, newSPSSWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_JSONL, nil, newJSONWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_GEOJSON, nil, newGeoJSONWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_GPKG, checkGeoPackage, newGeoPackageWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_GRAPHML, nil, newGraphWriter},
		{servicev1.ExportFormat_EXPORT_FORMAT_ZSAV, checkSPSS, newPackedSPSSWriter},
	}
}

// writeFormats writes all data files, format after format, so that no more than one of them takes up memory. What one of
// them cannot hold is said before the first file is begun.
func (j *job) writeFormats(ctx context.Context, rows *spool, layouts map[*Table]*layout) error {
	wanted := slices.DeleteFunc(formats(), func(f format) bool { return !slices.Contains(j.opts.Formats, f.number) })
	for _, f := range wanted {
		if f.check == nil {
			continue
		}
		if err := f.check(j, layouts); err != nil {
			return err
		}
	}
	for _, f := range wanted {
		if err := j.writeFormat(ctx, f, rows, layouts); err != nil {
			return cancelled(err)
		}
	}
	return nil
}

func (j *job) writeFormat(ctx context.Context, f format, rows *spool, layouts map[*Table]*layout) error {
	w, err := f.open(j, layouts)
	if err == nil {
		n := 0
		err = rows.each(func(r *row) error {
			if n++; n%256 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			return w.write(layouts[r.table], r)
		}, func() error {
			j.done++
			j.progress(j.done, j.total)
			return ctx.Err()
		})
	}
	if err == nil {
		err = w.close()
	}
	if err != nil && w != nil {
		w.abort()
	}
	return err
}

// checkFormats puts the formats in order, each once.
func checkFormats(formats []servicev1.ExportFormat) ([]servicev1.ExportFormat, error) {
	all := Formats()
	for _, f := range formats {
		if !slices.Contains(all, f) {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "export format %d is not known: choose %s", f, strings.Join(FormatNames(), ", "))
		}
	}
	if len(formats) == 0 {
		// A .zsav is a .sav packed: who wants it says so.
		return slices.DeleteFunc(all, func(f servicev1.ExportFormat) bool { return f == servicev1.ExportFormat_EXPORT_FORMAT_ZSAV }), nil
	}
	return slices.DeleteFunc(all, func(f servicev1.ExportFormat) bool { return !slices.Contains(formats, f) }), nil
}

// Formats are those that can be written, in the order of their numbers.
func Formats() []servicev1.ExportFormat {
	var out []servicev1.ExportFormat
	for n := range servicev1.ExportFormat_name {
		if n != 0 {
			out = append(out, servicev1.ExportFormat(n))
		}
	}
	slices.Sort(out)
	return out
}

// FormatNames are their names on the command line.
func FormatNames() []string {
	var out []string
	for _, f := range Formats() {
		out = append(out, FormatName(f))
	}
	return out
}
