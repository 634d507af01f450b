package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// reportData is what the page of the demo shows.
type reportData struct {
	Study   *surveyv1.Study
	Tablets []reportTablet
	Counts  []reportCounts
	Pairs   []*servicev1.MatchPair
	Stats   *servicev1.ReferralStats
	SVG     []byte
	Files   []string
	Flags   []*servicev1.Flag
	Keys    map[string]string // interview keys by id
	Dir     string
}

type reportTablet struct {
	Name, Enumerator, Note string
}

type reportCounts struct {
	By    string
	Table *servicev1.CountInterviewsResponse
}

// Total is the number of current interviews.
func (r *reportData) Total() int64 {
	if len(r.Counts) == 0 {
		return 0
	}
	return r.Counts[0].Table.GetTotal().GetInterviews()
}

//go:embed report.html
var reportPage string

// writeReport writes the page: one file, no scripts, nothing fetched.
func (d *demo) writeReport() error {
	flags, err := servicev1.NewMonitorServiceClient(d.cc).ListFlags(d.ctx, &servicev1.ListFlagsRequest{PageSize: proto.Uint32(100)})
	if err != nil {
		return err
	}
	d.report.Flags, d.report.Dir, d.report.Keys = flags.GetFlags(), d.cmd.Dir, map[string]string{}
	list, err := servicev1.NewMonitorServiceClient(d.cc).ListInterviews(d.ctx, &servicev1.ListInterviewsRequest{PageSize: proto.Uint32(1000)})
	if err != nil {
		return err
	}
	for _, s := range list.GetInterviews() {
		d.report.Keys[s.GetInterviewId()] = s.GetInterviewKey()
	}
	page, err := template.New("report").Funcs(template.FuncMap{
		"svg":     func(raw []byte) template.HTML { return template.HTML(inlineSVG(raw)) }, // our own drawing, escaped where it was made
		"percent": percent,
		"word":    func(s fmt.Stringer, prefix string) string { return enumWord(s.String(), prefix) },
		"rel":     func(path string) string { return relativeTo(d.cmd.Dir, path) },
		"join":    joinCounts,
		"title":   dimensionTitle,
		"most":    mostInterviews,
		"share":   func(n, most int64) int64 { return n * 100 / max(most, 1) },
		"span":    daySpan,
		"strong":  func(p []*servicev1.MatchPair) []*servicev1.MatchPair { return pairsBetween(p, strongPair, 2) },
		"weak":    func(p []*servicev1.MatchPair) []*servicev1.MatchPair { return pairsBetween(p, 0, strongPair) },
	}).Parse(reportPage)
	if err != nil {
		return err
	}
	d.say("The report: %s", d.path("report.html"))
	return writeFile(d.path("report.html"), func(w io.Writer) error { return page.Execute(w, &d.report) })
}

// inlineSVG drops what stands before the svg element.
func inlineSVG(raw []byte) string {
	s := string(raw)
	if i := strings.Index(s, "<svg"); i > 0 {
		return s[i:]
	}
	return s
}

// percent is how much of the target is done, capped for the width of a bar.
func percent(r *servicev1.CountRow) int64 {
	if r.Target == nil || r.GetTarget() == 0 {
		return 0
	}
	return min(100, r.GetCompleted()*100/r.GetTarget())
}

func joinCounts(ns []int64) string {
	parts := make([]string, len(ns))
	for i, n := range ns {
		parts[i] = fmt.Sprint(n)
	}
	return strings.Join(parts, " · ")
}

func dimensionTitle(by string) string {
	titles := map[string]string{
		"questionnaire": "By questionnaire 按问卷", "enumerator": "By enumerator 按访问员", "site": "By site 按调查点",
		"result": "By result 按访问结果", "day": "By day 按日期",
	}
	return titles[by]
}

// strongPair is the probability from which the demo shows a pair at once; weaker ones are folded away.
const strongPair = 0.9

func pairsBetween(pairs []*servicev1.MatchPair, from, below float64) []*servicev1.MatchPair {
	var out []*servicev1.MatchPair
	for _, p := range pairs {
		if p.GetProbability() >= from && p.GetProbability() < below {
			out = append(out, p)
		}
	}
	return out
}

func mostInterviews(t *servicev1.CountInterviewsResponse) int64 {
	var most int64
	for _, r := range t.GetRows() {
		most = max(most, r.GetInterviews())
	}
	return most
}

func daySpan(t *servicev1.CountInterviewsResponse) string {
	rows := t.GetRows()
	if len(rows) == 0 {
		return ""
	}
	return fmt.Sprintf("%d days with interviews, from %s to %s", len(rows), rows[0].GetKeys()[0], rows[len(rows)-1].GetKeys()[0])
}

func relativeTo(dir, path string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}

func extension(path string) string { return strings.ToLower(filepath.Ext(path)) }

// quoted puts a path in quotes where a shell would split it.
func quoted(path string) string {
	if strings.ContainsAny(path, " '\"$&()") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}
