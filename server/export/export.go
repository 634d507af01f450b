// Package export writes what analysts read: one table per level (interview, household, person, school, spell, visit,
// referral ...), as CSV, JSON lines, Parquet, Excel, Stata and SPSS, places as GeoJSON and GeoPackage, referrals and kin as
// graphs, with codebooks, the questionnaires and a manifest. The tables are laid out from the schema of the questionnaires alone,
// so that the columns and their order do not change with the data; a column with the reason for missing answers follows a
// variable only where a reason occurs.
//
// The same input and options give the same bytes. The interviews are read once, a public export's twice, some ahead of what is made of
// them. What stages make of
// their rows, such as the privacy profile, is counted and kept in a temporary file; then one format after the other is written,
// after each has said what of the tables it cannot hold. Memory does not grow with the interviews but by eight bytes for each
// person of a roster, and with the tables and columns, and for the graphs with the people who were referred or stand in several
// rosters.
//
// The research profile, which is the default, leaves out every question marked as a direct identifier, and all bytes; with
// Options.Privacy it makes ids pseudonyms and places, dates and texts coarser, and a public export is held to k-anonymity
// (PRIVACY.md). The package reads no store, makes no referral graph (see package referral), and does not know what else is
// published, by which an answer that is harmless here may still find somebody. FORMATS.md says what the files hold.
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

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/export/xlsx"
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

// Source is what is exported. The order of Interviews is that of the rows; an error ends the export. They are read once, and
// once before where a stage needs to look at all of them first, in a goroutine of their own, some ahead of what is made of them:
// an interview must not be changed once it was yielded. Any of them may be nil.
type Source struct {
	Study *surveyv1.Study
	// Cursor is where in the log the data stand.
	Cursor     *servicev1.Cursor
	Interviews iter.Seq2[*Answered, error]
	People     []*servicev1.PersonRecord
	// EachPerson yields the people one by one, in place of People; it is read several times.
	EachPerson iter.Seq2[*servicev1.PersonRecord, error]
	// Canonical maps person ids, and household ids, to the one that stands for all that are the same; ids that are not
	// in it stand for themselves.
	Canonical map[string]string
	Referrals []*servicev1.ReferralRecord
	// Coupons are what happened to coupons on tablets.
	Coupons   []*servicev1.CouponEvent
	Graph     *servicev1.ReferralGraph
	Decisions []*servicev1.LinkDecision
	// Revisited tells of a household's id whether there are several interviews of it with a questionnaire in a round, or whether
	// there may be. Nil: of none.
	Revisited func(household, questionnaire string, round uint32) bool
	// Published are the questionnaires published at run time whose answers are exported.
	Published []Published
	// Questionnaires are those that were answered; their schemas go with the data.
	Questionnaires []*questionnaire.Questionnaire
	// Schemas are what the manifest says of the questionnaires, and Warnings of the data.
	Schemas  []ManifestQuestionnaire
	Warnings []string
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
	// Privacy is what else than leaving out direct identifiers is done; the public profile needs it. Nil: ids, dates and
	// places stay as they are, for a program that sees to them itself.
	Privacy *Privacy
	// Clean says which interviews belong to the analysis set.
	Clean Clean
	// Levels are the tables to write; empty means all.
	Levels []string
	// Request is what the manifest says of how the export was asked for.
	Request *ManifestRequest
	// Notice is told what whoever asked should know, and no reader of the files; nil: nobody is.
	Notice func(string)
}

func (o Options) notice(s string) {
	if o.Notice != nil {
		o.Notice(s)
	}
}

// Sink takes the files. Several are open at a time. A writer that also has Abort() error is told so, instead of Close,
// when the export cannot be finished.
type Sink interface {
	// Create opens a file by its path below the export folder, with forward slashes.
	Create(path string) (io.WriteCloser, error)
}

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
	roll     *roll
}

// Write writes all files of an export and returns the manifest, which is also the last file, manifest.json: a folder
// without it is not a complete export. It reads the interviews once, keeps the rows, in a temporary file where they are many, and
// writes one format after the other; progress, which may be nil, is told after each interview how many are done, counted once
// more for each format, and a total of 0 as long as that is not known.
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
	case servicev1.PrivacyProfile_PRIVACY_PROFILE_PUBLIC:
		if opts.Privacy == nil {
			return nil, fault.New(fault.Internal, "", "a public export needs to know how those who answered are protected")
		}
	default:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "privacy profile %d is not known: choose identified, research or public", opts.Profile)
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
		src: src, opts: opts, plan: plan, sink: &hashingSink{sink: sink}, progress: progress, rowLimit: xlsx.MaxRows, asked: asked,
	}
	list, err := stages(j)
	if err != nil {
		return nil, err
	}
	return j, j.use(list)
}

func (j *job) run(ctx context.Context) (*Manifest, error) {
	rows := newSpool(j.plan)
	defer rows.close()
	layouts, err := j.lay(ctx, rows)
	if err != nil {
		return nil, err
	}
	if err := j.writeFormats(ctx, rows, layouts); err != nil {
		return nil, err
	}
	if err := j.writeCodebook(layouts); err != nil {
		return nil, err
	}
	if err := j.writeForms(); err != nil {
		return nil, err
	}
	if err := j.writeScripts(layouts); err != nil {
		return nil, err
	}
	for _, st := range j.stages {
		if err := st.finish(j, layouts); err != nil {
			return nil, err
		}
	}
	return j.writeManifest(layouts)
}

// lay makes the rows, which then stand in the spool, and the columns of the files.
func (j *job) lay(ctx context.Context, rows *spool) (map[*Table]*layout, error) {
	var err error
	if j.roll, err = newRoll(j.src); err != nil {
		return nil, err
	}
	j.warnings = append(j.warnings, j.src.Warnings...)
	rounds := 1 + len(j.opts.Formats)
	if slices.ContainsFunc(j.stages, stage.looks) {
		rounds++
		x := j.extractor(func(*row) error { return nil })
		x.looking = true
		if err := j.pass(ctx, x); err != nil {
			return nil, err
		}
		j.total = rounds * j.done
	}
	if err := j.collect(ctx, rows); err != nil {
		return nil, err
	}
	if j.total == 0 {
		j.total = rounds * j.done
	}
	layouts := map[*Table]*layout{}
	for _, t := range j.plan.Tables {
		layouts[t] = newLayout(t, j.stats[t])
	}
	return layouts, nil
}

// collect makes the rows, counts them, and keeps them for the formats.
func (j *job) collect(ctx context.Context, rows *spool) error {
	var x *extractor
	x = j.extractor(func(r *row) error {
		st := j.stats[r.table]
		if st.add(r); x.interview != nil {
			st.rounds[x.interview.GetRound()]++
		}
		return rows.add(r)
	})
	x.ended = rows.end
	if err := j.pass(ctx, x); err != nil {
		return err
	}
	j.labelLong()
	for _, why := range slices.Sorted(maps.Keys(x.unread)) {
		j.warnings = append(j.warnings, fmt.Sprintf("%d interviews %s", x.unread[why], why))
	}
	for _, u := range j.plan.unclassed {
		if p := j.opts.Privacy; p != nil && !p.FreeText {
			break // they are left out
		}
		j.warnings = append(j.warnings, fmt.Sprintf("%s has %d texts of which its schema does not say whether they identify a person (personal_data): look at them before the files are given away", u.questionnaire, u.texts))
	}
	return nil
}

// pass goes over all data once.
func (j *job) pass(ctx context.Context, x *extractor) error {
	if j.src.Interviews != nil {
		for a, err := range j.ahead(ctx) {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				err = x.answered(a.answered, a.other)
			}
			if err == nil && x.ended != nil {
				err = x.ended()
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
		func() error { return j.appearances(ctx, x) },
		func() error { return each(ctx, x, j.plan.told, j.src.Referrals) },
		func() error { return each(ctx, x, j.plan.graphNode, j.src.Graph.GetNodes()) },
		func() error { return each(ctx, x, j.plan.graphEdge, j.src.Graph.GetEdges()) },
		func() error { return each(ctx, x, j.plan.link, j.src.Decisions) },
		func() error { return each(ctx, x, j.plan.coupon, j.src.Coupons) },
	} {
		if err := list(); err != nil {
			return cancelled(err)
		}
	}
	return nil
}
