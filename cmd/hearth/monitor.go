package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/monitor"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// countsCmd answers: are we on schedule?
type countsCmd struct {
	target
	By    []string `help:"Dimensions: questionnaire, enumerator, site, day, result, round, review_state." default:"questionnaire"`
	Study string   `help:"Only this study."`
	Lang  string   `help:"Language of labels: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON  bool     `help:"Print JSON." xor:"format"`
	CSV   bool     `help:"Print CSV." xor:"format"`
}

// Run prints the table.
func (c *countsCmd) Run(e *env) error {
	req := &servicev1.CountInterviewsRequest{Study: &c.Study}
	for _, name := range c.By {
		n, ok := servicev1.Dimension_value["DIMENSION_"+strings.ToUpper(name)]
		if !ok || n == 0 {
			return fmt.Errorf("%w: --by %s: the dimensions are questionnaire, enumerator, site, day, result, round, review_state", errUsage, name)
		}
		req.By = append(req.By, servicev1.Dimension(n))
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewMonitorServiceClient(cc).CountInterviews(e.ctx, req)
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printJSON(e.stdout, resp)
	case c.CSV:
		return monitor.WriteCSV(e.stdout, resp, c.Lang)
	}
	return monitor.WriteTable(e.stdout, resp, c.Lang)
}

// interviewsCmd lists interviews.
type interviewsCmd struct {
	target
	Enumerator    string `help:"Only of this enumerator."`
	Site          string `help:"Only at this site."`
	Questionnaire string `help:"Only in this questionnaire."`
	Conflicts     bool   `help:"Only interviews with two current revisions."`
	JSON          bool   `help:"Print JSON lines."`
}

// Run prints one line per interview, newest first.
func (c *interviewsCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	req := &servicev1.ListInterviewsRequest{
		Enumerator: &c.Enumerator, SiteId: &c.Site, ConflictsOnly: &c.Conflicts,
		Questionnaire: proto.String(fullName(c.Questionnaire)), PageSize: proto.Uint32(1000),
	}
	rows := [][]string{{"KEY", "QUESTIONNAIRE", "SITE", "ENUMERATOR", "DAY", "RESULT", "REVISIONS", "FLAGS", ""}}
	client := servicev1.NewMonitorServiceClient(cc)
	for {
		resp, err := client.ListInterviews(e.ctx, req)
		if err != nil {
			return err
		}
		for _, s := range resp.GetInterviews() {
			if c.JSON {
				if err := jsonLine(e, s); err != nil {
					return err
				}
				continue
			}
			note := ""
			if len(s.GetHeads()) > 1 {
				note = fmt.Sprintf("conflict: %d current revisions", len(s.GetHeads()))
			}
			note = withAttachments(note, s)
			rows = append(rows, []string{
				s.GetInterviewKey(), lastWord(s.GetQuestionnaire()), s.GetSiteId(), s.GetEnumerator(), s.GetDay(),
				enumWord(s.GetResult().String(), "RESULT_CODE_"), fmt.Sprint(s.GetRevisions()), fmt.Sprint(s.GetSoftFlags() + s.GetHardFlags()), note,
			})
		}
		if resp.GetNextPageToken() == "" {
			break
		}
		req.PageToken = resp.NextPageToken
	}
	if c.JSON {
		return nil
	}
	if len(rows) == 1 {
		return say(e, "no interviews yet: sync a tablet with hearth tablet sync")
	}
	return table(e.stdout, rows)
}

// devicesCmd lists tablets.
type devicesCmd struct {
	target
	JSON bool `help:"Print JSON."`
}

// Run prints one line per tablet.
func (c *devicesCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewMonitorServiceClient(cc).ListDevices(e.ctx, &servicev1.ListDevicesRequest{})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	rows := [][]string{{"TABLET", "ENUMERATOR", "LAST SYNC", "ENTRIES", "NOT SENT", "NOTE"}}
	for _, d := range resp.GetDevices() {
		rows = append(rows, []string{d.GetName(), d.GetEnumerator(), since(d.GetLastSeenMs()), fmt.Sprint(laneSum(d)), fmt.Sprint(d.GetPending()), deviceNote(d)})
	}
	if len(rows) == 1 {
		return say(e, "no tablet is known yet")
	}
	return table(e.stdout, rows)
}

func laneSum(d *servicev1.DeviceStatus) uint64 {
	var n uint64
	for _, l := range d.GetLanes() {
		n += l.GetSeq()
	}
	return n
}

func deviceNote(d *servicev1.DeviceStatus) string {
	var notes []string
	if d.GetHub() != nil {
		notes = append(notes, hubNote(d.GetHub()))
	}
	if hub := d.GetSeenAtHub(); hub != "" {
		notes = append(notes, "at hub "+hub)
	}
	if d.RevokedMs != nil {
		notes = append(notes, fmt.Sprintf("revoked on %s: %s", since(d.GetRevokedMs()), d.GetRevokedReason()))
	}
	if n := d.GetForks(); n > 0 {
		notes = append(notes, fmt.Sprintf("restored from a backup or copied, at least %d times; both branches are kept", n))
	}
	var missing uint64
	for _, g := range d.GetGaps() {
		missing += g.GetLast() - g.GetFirst() + 1
	}
	if missing > 0 {
		notes = append(notes, fmt.Sprintf("%d records never arrived", missing))
	}
	if s := d.GetClockSkewMs(); s > 300_000 || s < -300_000 {
		notes = append(notes, fmt.Sprintf("its clock is %d minutes off", s/60_000))
	}
	return strings.Join(notes, "; ")
}

// flagsCmd lists failed checks.
type flagsCmd struct {
	target
	Interview     string   `help:"Only of the interview with this id."`
	Enumerator    string   `help:"Only of this enumerator."`
	By            []string `help:"Count them by questionnaire, enumerator, site, question, rule, severity, instead of listing them." placeholder:"COLUMN"`
	Questionnaire string   `help:"With --by: only of this questionnaire."`
	Study         string   `help:"With --by: only of this study."`
	Lang          string   `help:"Language of messages: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON          bool     `help:"Print JSON lines; with --by, JSON."`
}

// Run prints one line per flag, or per combination of what they are counted by.
func (c *flagsCmd) Run(e *env) error {
	if len(c.By) > 0 {
		return c.count(e)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	req := &servicev1.ListFlagsRequest{InterviewId: &c.Interview, Enumerator: &c.Enumerator, PageSize: proto.Uint32(1000)}
	client := servicev1.NewMonitorServiceClient(cc)
	rows := [][]string{{"INTERVIEW", "SEVERITY", "WHERE", "WHAT"}}
	for {
		resp, err := client.ListFlags(e.ctx, req)
		if err != nil {
			return err
		}
		for _, f := range resp.GetFlags() {
			if c.JSON {
				if err := jsonLine(e, f); err != nil {
					return err
				}
				continue
			}
			text := f.GetMessage().GetEn()
			if c.Lang == "zh" {
				text = f.GetMessage().GetZh()
			}
			rows = append(rows, []string{f.GetInterviewId(), enumWord(f.GetSeverity().String(), "SEVERITY_"), f.GetPath(), text})
		}
		if resp.GetNextPageToken() == "" {
			break
		}
		req.PageToken = resp.NextPageToken
	}
	if c.JSON {
		return nil
	}
	if len(rows) == 1 {
		return say(e, "no answer fails a check")
	}
	return table(e.stdout, rows)
}

// studyCmd shows or sets the definition of the study.
type studyCmd struct {
	Show studyShowCmd `cmd:"" help:"Print the definition as JSON."`
	Put  studyPutCmd  `cmd:"" help:"Set the definition from a JSON file (hearth.survey.v1.Study). What is closed stays closed."`

	Close  studyCloseCmd  `cmd:"" help:"End data collection of the study or of a round: what comes later waits in quarantine."`
	Reopen studyReopenCmd `cmd:"" help:"Open the study with all its rounds, or one of its rounds, again."`
}

type studyShowCmd struct {
	target
	Study string `help:"Code of the study, where the server holds several."`
}

type studyPutCmd struct {
	target
	File string `arg:"" help:"JSON file." type:"existingfile"`
}

// Help shows what is asked for most.
func (studyPutCmd) Help() string {
	return `"survivors" says by field which value stands where one person told several; the first criterion that tells them apart decides:
  "survivors": [{"field": "phone", "criteria": ["SURVIVOR_CRITERION_OWN_TELLING", "SURVIVOR_CRITERION_TOLD_LAST"]}]
The criteria are MOST_COMPLETE, OWN_TELLING, TOLD_MOST_OFTEN, TOLD_LAST and TOLD_FIRST; fields without a rule keep to Hearth's own. hearth dedup
show names the fields, what stands and why; hearth dedup choose goes before any rule.`
}

// Run sets the definition.
func (c *studyPutCmd) Run(e *env) error {
	raw, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	study := &surveyv1.Study{}
	if err := protojson.Unmarshal(raw, study); err != nil {
		return fault.New(fault.Invalid, fault.BadStudy, "%s: %w", c.File, err)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	if _, err := servicev1.NewStudyServiceClient(cc).PutStudy(e.ctx, &servicev1.PutStudyRequest{Study: study}); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("study %s is set: %d sites, %d enumerators, %d targets", study.GetStudy(), len(study.GetSites()), len(study.GetEnumerators()), len(study.GetTargets())))
}

// Run prints the definition.
func (c *studyShowCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewStudyServiceClient(cc).GetStudy(e.ctx, &servicev1.GetStudyRequest{Study: &c.Study})
	if err != nil {
		return err
	}
	return printJSON(e.stdout, resp.GetStudy())
}

func say(e *env, text string) error {
	_, err := fmt.Fprintln(e.stdout, text)
	return err
}

func jsonLine(e *env, m proto.Message) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, string(compact(raw)))
	return err
}

// lastWord is the last word of a full name: "hearth.survey.v1.Household" is "household".
func lastWord(name string) string {
	return strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
}

// fullName is the inverse for the built-in questionnaires; a name with a dot stays as it is.
func fullName(name string) string {
	if name == "" || strings.Contains(name, ".") {
		return name
	}
	return "hearth.survey.v1." + strings.ToUpper(name[:1]) + name[1:]
}

func enumWord(s, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s, prefix)), "_", " ")
}
