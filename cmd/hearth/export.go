package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export"
	"google.golang.org/protobuf/proto"
)

// exportCmd makes data files, and says who has had direct identifiers.
type exportCmd struct {
	Make    exportMakeCmd    `cmd:"" default:"withargs" help:"Make data files (the default): hearth export -o DIR."`
	History exportHistoryCmd `cmd:"" help:"Who asked for exports with direct identifiers, when and why."`
}

// exportMakeCmd makes data files.
type exportMakeCmd struct {
	target
	Study   string   `help:"Only this study."`
	Format  []string `help:"csv, parquet, xlsx, dta (Stata), sav (SPSS), zsav (SPSS, packed), jsonl (JSON lines), geojson and gpkg (places, where the profile has coordinates), graphml (referrals and kin)." default:"csv,parquet,xlsx,dta,sav"`
	Profile string   `help:"research: no names, ids are pseudonyms, places are counties, dates are months. public: places are prefectures, dates are years, no texts, and nobody stands alone. identified: everything, with --reason and --by." enum:"research,public,identified" default:"research"`
	Lang    string   `help:"Language of labels: en, zh, or another that questionnaires of the study have wordings in: fr, pt-BR." default:"en" env:"HEARTH_LANG"`
	Out     string   `short:"o" help:"Folder to write to. Nothing is in it under its name before all is there." required:"" type:"path"`
	AsOf    string   `help:"The state of then, byte for byte: manifest.json of an earlier export, its request.as_of, a day (its end), or a time as 2016-07-21T18:00:00+08:00."`

	Level         []string `help:"Only these tables: household, person."`
	Site          []string `help:"Only interviews at these sites."`
	Enumerator    []string `help:"Only interviews of these enumerators."`
	Result        []string `help:"Only interviews with these results: complete, partial, refusal, or AAPOR codes such as 1.1."`
	Round         []uint32 `help:"Only these rounds."`
	Questionnaire []string `help:"Only these questionnaires: household, school."`
	From          string   `help:"Only interviews that began on this day or later, or at a time such as 2016-07-21T18:00:00+08:00."`
	Before        string   `help:"Only interviews that began before this day or time."`

	Include    string `help:"What belongs to the analysis set (variable analysis_set): interviews that were held and completed and are not rejected, approved ones of these, or all." enum:"completed,approved,all" default:"completed"`
	Duplicates string `help:"Of several interviews of a household in one round, under one id or as linkage decided: merge (the best counts), mark (all count, marked), keep (do not look)." enum:"merge,mark,keep" default:"merge"`
	Conflicts  string `help:"Interviews of which revisions contradict each other count when that is resolved, or all." enum:"resolved,all" default:"resolved"`
	LeftOut    string `help:"Interviews outside of the analysis set: mark them, or drop them from the files." enum:"mark,drop" default:"mark"`
	Skipped    string `help:"Questions that were not asked, by skip logic or by the version of the questionnaire: mark them with the reason not_asked (.s in Stata, -96 in SPSS), or blank." enum:"mark,blank" default:"mark"`
	Weights    bool   `help:"Add design weights where the sample has probabilities, corrected for non-response." default:"true" negatable:""`

	Reason   string   `help:"With --profile identified: why direct identifiers are needed. It is kept."`
	By       string   `help:"With --profile identified: who asks. It is kept."`
	FreeText bool     `help:"With --profile research: keep texts of which nobody has said whether they identify anybody. Read them before you give them away."`
	Quasi    []string `help:"With --profile public: the variables that could identify and are kept, such as person.sex,person.age; others of that kind are left out. Default: all that the questionnaires mark."`
	K        uint32   `help:"With --profile public: how many must share each combination of these." default:"5"`
	Suppress bool     `help:"With --profile public: blank rare combinations and say which, instead of refusing."`
}

// Run writes the files below the folder.
func (c *exportMakeCmd) Run(e *env) error {
	req, err := c.request()
	if err != nil {
		return err
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	files, err := exportTo(e, cc, req, c.Out)
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintln(e.stdout, f)
	}
	return nil
}

// request is what the flags ask for.
func (c *exportMakeCmd) request() (*servicev1.ExportRequest, error) {
	req := &servicev1.ExportRequest{
		Study: &c.Study, Language: &c.Lang, Reason: &c.Reason, RequestedBy: &c.By, FreeText: &c.FreeText,
		Anonymity: &servicev1.Anonymity{K: &c.K, QuasiIdentifiers: c.Quasi, Suppress: &c.Suppress},
		Include:   &c.Include, Duplicates: &c.Duplicates, Conflicts: &c.Conflicts, LeftOut: &c.LeftOut, Skipped: &c.Skipped, Weights: &c.Weights,
		Filter: &servicev1.ExportFilter{Sites: c.Site, Enumerators: c.Enumerator, Rounds: c.Round, Questionnaires: c.Questionnaire, Levels: c.Level},
	}
	for _, f := range c.Format {
		n, ok := servicev1.ExportFormat_value["EXPORT_FORMAT_"+strings.ToUpper(f)]
		if !ok || n == 0 {
			return nil, fmt.Errorf("%w: --format %s: the formats are %s", errUsage, f, strings.Join(export.FormatNames(), ", "))
		}
		req.Formats = append(req.Formats, servicev1.ExportFormat(n))
	}
	profile := servicev1.PrivacyProfile(servicev1.PrivacyProfile_value["PRIVACY_PROFILE_"+strings.ToUpper(c.Profile)])
	req.Profile = &profile
	if c.Profile == "identified" && (c.Reason == "" || c.By == "") {
		return nil, fmt.Errorf("%w: an export with direct identifiers needs --reason and --by; both are kept, and hearth export history shows them", errUsage)
	}
	for _, name := range c.Result {
		code, known := export.ResultNamed(name)
		if code == 0 {
			return nil, fmt.Errorf("%w: --result %s: the results are %s", errUsage, name, strings.Join(known, ", "))
		}
		req.Filter.Results = append(req.Filter.Results, code)
	}
	for _, t := range []struct {
		flag, text string
		to         **int64
	}{{"--from", c.From, &req.Filter.FromTimeMs}, {"--before", c.Before, &req.Filter.BeforeTimeMs}} {
		if t.text == "" {
			continue
		}
		at, _, err := dayOrTime(t.text)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", errUsage, t.flag, err)
		}
		*t.to = proto.Int64(at.UnixMilli())
	}
	return req, c.asOf(req)
}

// asOf reads the flag: a file, a time or a cursor.
func (c *exportMakeCmd) asOf(req *servicev1.ExportRequest) error {
	text := c.AsOf
	if text == "" {
		return nil
	}
	if raw, err := os.ReadFile(text); err == nil {
		m := &export.Manifest{}
		if err := json.Unmarshal(raw, m); err != nil || m.Request == nil || m.Request.AsOf == "" {
			return fault.New(fault.Invalid, fault.BadRequest, "--as-of %s: the file is no manifest.json of an export that says where in the log it stands", text)
		}
		text = m.Request.AsOf
	} else if at, day, err := dayOrTime(text); err == nil {
		if day {
			at = at.AddDate(0, 0, 1).Add(-time.Millisecond)
		}
		req.AsOfTimeMs = proto.Int64(at.UnixMilli())
		return nil
	}
	cursor, err := export.ParseCursorText(text)
	if err != nil {
		return fmt.Errorf("%w: --as-of: it is no file, no day, no time, and no cursor: %w", errUsage, err)
	}
	req.AsOf = cursor
	return nil
}

// dayOrTime reads 2016-07-21, which begins at midnight of this machine's time zone, or a time with its zone.
func dayOrTime(text string) (at time.Time, day bool, err error) {
	if at, err = time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return at, true, nil
	}
	if at, err = time.Parse(time.RFC3339, text); err == nil {
		return at, false, nil
	}
	return at, false, fmt.Errorf("%q is neither a day such as 2016-07-21 nor a time such as 2016-07-21T18:00:00+08:00", text)
}

// exportTo receives the files and returns their paths. They get their names when all are there.
func exportTo(e *env, cc *conn, req *servicev1.ExportRequest, dir string) (_ []string, err error) {
	rx := &receiver{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, rx.abandon())
		}
	}()
	req.Progress = proto.Bool(e.terminal)
	stream, err := servicev1.NewExportServiceClient(cc).Export(e.ctx, req)
	if err != nil {
		return nil, err
	}
	say := e.progress("exporting")
	for {
		piece, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return rx.finish()
		case err != nil:
			return nil, err
		case piece.GetProgress() != nil:
			say(int(piece.GetProgress().GetDone()), cmp.Or(int(piece.GetProgress().GetTotal()), -1))
		case piece.GetPath() != "":
			err = rx.take(piece)
		case piece.GetCursor() != nil:
			err = rx.flush()
			sayExported(e, piece)
		}
		if err != nil {
			return nil, err
		}
	}
}

// sayExported tells on a terminal how many rows the tables have, and in any case what is for whoever asked alone.
func sayExported(e *env, last *servicev1.ExportResponse) {
	for _, n := range last.GetNotices() {
		fmt.Fprintln(e.stderr, n)
	}
	if !e.terminal {
		return
	}
	var rows [][]string
	for _, l := range last.GetLevels() {
		if l.GetRows() > 0 {
			rows = append(rows, []string{l.GetName(), strconv.FormatInt(l.GetRows(), 10)})
		}
	}
	_ = table(e.stderr, append([][]string{{"table", "rows"}}, rows...))
}

// exportHistoryCmd shows the exports with direct identifiers.
type exportHistoryCmd struct {
	target
	Study string `help:"Only this study."`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run lists them.
func (c *exportHistoryCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewExportServiceClient(cc).ListExports(e.ctx, &servicev1.ListExportsRequest{Study: &c.Study})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	if len(resp.GetExports()) == 0 {
		fmt.Fprintln(e.stdout, "nobody has asked for direct identifiers")
		return nil
	}
	rows := [][]string{{"time", "by", "reason", "formats"}}
	for _, a := range resp.GetExports() {
		var formats []string
		for _, f := range a.GetFormats() {
			formats = append(formats, export.FormatName(f))
		}
		slices.Sort(formats)
		rows = append(rows, []string{time.UnixMilli(a.GetTimeMs()).Format("2006-01-02 15:04"), a.GetRequestedBy(), a.GetReason(), strings.Join(formats, " ")})
	}
	return table(e.stdout, rows)
}
