// Package export writes what analysts read: one table per level (interview, household, person, school, spell, visit,
// referral ...), as CSV, JSON lines, Parquet, Excel, Stata and SPSS, places as GeoJSON and GeoPackage, referrals and kin as
// graphs, with a codebook and a manifest. The tables are laid out from the schema of
// the questionnaires alone, so that the columns and their order do not change with the data; a column with the reason
// for missing answers follows a variable only where a reason occurs.
//
// The same input and options give the same bytes. Rows are streamed: Parquet keeps one group of rows in memory, Excel
// the packed sheets, Stata the long texts. The research profile, which is the default, leaves out every question marked as a direct
// identifier, and all bytes.
//
// The package reads no store, draws no graph (see package referral), removes no duplicates (it marks them) and makes no
// judgement of what may be published: dates, places and occupations together can still identify a person.
//
// Stata and SPSS files have the reasons for missing answers among the values of numbers and codes (.r, .d, .n, .s; -99 to
// -96), dates beside the text answered, and labels in English and Chinese. What their formats cannot hold, such as an
// infinite number, is left out there and counted in the warnings of the manifest.
//
// CSV files hold the raw answers. A spreadsheet may take a text that starts with =, +, - or @ for a formula when it
// opens a CSV file; the Excel workbook stores such a text as text.
package export

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Answered is one interview with what is known of it.
type Answered struct {
	// Summary may be nil.
	Summary   *servicev1.InterviewSummary
	Interview *surveyv1.Interview
	// Flags are the checks that fail, and Paradata how the answers came about, as far as the tablet told.
	Flags    []*servicev1.Flag
	Paradata []*servicev1.Paradata
}

// Source is what is exported. Interviews is read at least twice and must yield the same each time, in the same order, which is
// that of the rows; an error ends the export. Any of them may be nil.
type Source struct {
	Study *surveyv1.Study
	// Cursor is where in the log the data stand.
	Cursor     *servicev1.Cursor
	Interviews iter.Seq2[*Answered, error]
	People     []*servicev1.PersonRecord
	// Canonical maps person ids, and household ids, to the one that stands for all that are the same; ids that are not
	// in it stand for themselves.
	Canonical map[string]string
	Referrals []*servicev1.ReferralRecord
	Graph     *servicev1.ReferralGraph
	Decisions []*servicev1.LinkDecision
	// Published are the questionnaires published at run time whose answers are exported.
	Published []Published
}

// Options say what to write.
type Options struct {
	// Formats; empty means all.
	Formats []servicev1.ExportFormat
	// Profile; unset means research.
	Profile servicev1.PrivacyProfile
	// Language of the labels in the labelled sheets of the workbook, and the first of those in Stata and SPSS: "en", "zh" or a tag the questionnaire has wordings
	// in. Empty means "en". The codebook has English and Chinese in any case.
	Language string
	// Program is the version of the program, for the manifest.
	Program string
}

// Sink takes the files. Several are open at a time. A writer that also has Abort() error is told so, instead of Close,
// when the export cannot be finished.
type Sink interface {
	// Create opens a file by its path below the export folder, with forward slashes.
	Create(path string) (io.WriteCloser, error)
}

// excelRows is how many rows a sheet of Excel holds, the header included.
const (
	excelRows    = 1_048_576
	excelColumns = 16_384
	excelText    = 32_767
)

// job is one run of Write.
type job struct {
	src      Source
	opts     Options
	plan     *Plan
	sink     *hashingSink
	stats    map[*Table]*tableStats
	progress func(done, total int)
	done     int
	total    int
	warnings []string
	rowLimit int // of an Excel sheet
	stages   []stage
	asked    bool // for formats by name, and not for all
}

// Write writes all files of an export and returns the manifest, which is also the last file, manifest.json: a folder
// without it is not a complete export. It goes over the interviews twice; progress, which may be nil, is told after
// each interview how many are done, of twice their number, and a total of 0 as long as that is not known.
func Write(ctx context.Context, src Source, opts Options, sink Sink, progress func(done, total int)) (*Manifest, error) {
	j, err := newJob(src, opts, sink, progress)
	if err != nil {
		return nil, err
	}
	m, err := j.run(ctx)
	if err != nil {
		j.sink.abort()
		return nil, err
	}
	return m, nil
}

func newJob(src Source, opts Options, sink Sink, progress func(done, total int)) (*job, error) {
	if sink == nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "export has nowhere to write to: name a folder")
	}
	formats, err := checkFormats(opts.Formats)
	if err != nil {
		return nil, err
	}
	asked := len(opts.Formats) > 0
	opts.Formats = formats
	switch opts.Profile {
	case servicev1.PrivacyProfile_PRIVACY_PROFILE_UNSPECIFIED:
		opts.Profile = servicev1.PrivacyProfile_PRIVACY_PROFILE_RESEARCH
	case servicev1.PrivacyProfile_PRIVACY_PROFILE_RESEARCH, servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED:
	default:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "privacy profile %d is not known: choose identified or research", opts.Profile)
	}
	if opts.Language == "" {
		opts.Language = "en"
	}
	plan, err := NewPlan(opts.Profile, src.Published...)
	if err != nil {
		return nil, err
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	j := &job{
		src: src, opts: opts, plan: plan, sink: &hashingSink{sink: sink}, progress: progress, rowLimit: excelRows, asked: asked,
	}
	return j, j.use(stages(j))
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

func (j *job) wants(f servicev1.ExportFormat) bool { return slices.Contains(j.opts.Formats, f) }

func (j *job) run(ctx context.Context) (*Manifest, error) {
	passes := 2
	if slices.ContainsFunc(j.stages, stage.looks) {
		passes++
		x := j.extractor(func(*row) error { return nil })
		x.looking = true
		if err := j.pass(ctx, x); err != nil {
			return nil, err
		}
		j.total = passes * j.done
	}
	count := j.extractor(func(r *row) error {
		j.stats[r.table].add(r)
		return nil
	})
	if err := j.pass(ctx, count); err != nil {
		return nil, err
	}
	if passes == 2 {
		j.total = passes * j.done
	}
	j.labelLong()
	for _, why := range slices.Sorted(maps.Keys(count.unread)) {
		j.warnings = append(j.warnings, fmt.Sprintf("%d interviews %s", count.unread[why], why))
	}
	for _, u := range j.plan.unclassed {
		j.warnings = append(j.warnings, fmt.Sprintf("%s has %d texts of which its schema does not say whether they identify a person (personal_data): look at them before the files are given away", u.questionnaire, u.texts))
	}
	layouts := map[*Table]*layout{}
	for _, t := range j.plan.Tables {
		layouts[t] = newLayout(t, j.stats[t])
	}
	writers, err := j.open(layouts)
	if err != nil {
		for _, w := range writers {
			w.abort()
		}
		return nil, err
	}
	if err := j.writeRows(ctx, layouts, writers); err != nil {
		for _, w := range writers {
			w.abort()
		}
		return nil, err
	}
	if err := j.writeCodebook(layouts); err != nil {
		return nil, err
	}
	for _, st := range j.stages {
		if err := st.finish(j, layouts); err != nil {
			return nil, err
		}
	}
	return j.writeManifest(layouts)
}

// writeRows is the second pass, and the end of every data file.
func (j *job) writeRows(ctx context.Context, layouts map[*Table]*layout, writers []formatWriter) error {
	x := j.extractor(func(r *row) error {
		l := layouts[r.table]
		l.written++
		if !l.holds(r) || l.written > j.stats[r.table].rows {
			return changed(r.table)
		}
		for _, w := range writers {
			if err := w.write(l, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err := j.pass(ctx, x); err != nil {
		return err
	}
	for _, t := range j.plan.Tables {
		if layouts[t].written != j.stats[t].rows {
			return changed(t)
		}
	}
	for i, w := range writers {
		if err := w.close(); err != nil {
			for _, rest := range writers[i+1:] {
				rest.abort()
			}
			return err
		}
	}
	return nil
}

func changed(t *Table) error {
	return fault.New(fault.Conflict, fault.ExportChanged, "the data of table %s changed while they were exported: export again", t.Name)
}

// open makes the writers of all formats asked for. On an error it returns those that are open already.
func (j *job) open(layouts map[*Table]*layout) ([]formatWriter, error) {
	var writers []formatWriter
	for _, f := range []struct {
		format servicev1.ExportFormat
		writer func() (formatWriter, error)
	}{
		{servicev1.ExportFormat_EXPORT_FORMAT_CSV, func() (formatWriter, error) { return newCSVWriter(j.sink, j.plan, layouts) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_PARQUET, func() (formatWriter, error) {
			return newParquetWriter(j, layouts)
		}},
		{servicev1.ExportFormat_EXPORT_FORMAT_XLSX, func() (formatWriter, error) { return newExcelWriter(j, layouts) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_DTA, func() (formatWriter, error) { return newStataWriter(j, layouts) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_SAV, func() (formatWriter, error) { return newSPSSWriter(j, layouts, false) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_ZSAV, func() (formatWriter, error) { return newSPSSWriter(j, layouts, true) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_JSONL, func() (formatWriter, error) { return newJSONWriter(j, layouts) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_GEOJSON, func() (formatWriter, error) { return newGeoJSONWriter(j, layouts) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_GPKG, func() (formatWriter, error) { return newGeoPackageWriter(j, layouts) }},
		{servicev1.ExportFormat_EXPORT_FORMAT_GRAPHML, func() (formatWriter, error) { return newGraphWriter(j, layouts) }},
	} {
		if !j.wants(f.format) {
			continue
		}
		w, err := f.writer()
		writers = append(writers, w)
		if err != nil {
			return writers, err
		}
	}
	return writers, nil
}

// pass goes over all data once.
func (j *job) pass(ctx context.Context, x *extractor) error {
	if j.src.Interviews != nil {
		for a, err := range j.src.Interviews {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				err = x.answered(a)
			}
			if err != nil {
				return cancelled(err)
			}
			j.done++
			j.progress(j.done, j.total)
		}
	}
	x.forget()
	for _, list := range []func() error{
		func() error { return each(ctx, x, j.plan.appearance, j.src.People) },
		func() error { return each(ctx, x, j.plan.told, j.src.Referrals) },
		func() error { return each(ctx, x, j.plan.graphNode, j.src.Graph.GetNodes()) },
		func() error { return each(ctx, x, j.plan.graphEdge, j.src.Graph.GetEdges()) },
		func() error { return each(ctx, x, j.plan.link, j.src.Decisions) },
	} {
		if err := list(); err != nil {
			return cancelled(err)
		}
	}
	return nil
}
