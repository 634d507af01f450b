package referral

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Columns says which columns of a table to read. ID and Recruiter are needed, the others may be empty.
type Columns struct {
	// ID is the column with the id of the row's respondent.
	ID string
	// Recruiter is the column with the id of who recruited the respondent; empty cells are seeds, unless Seed is given.
	Recruiter string
	// Degree is the column with the network size.
	Degree string
	// Seed is the column that marks seeds: 1, yes, true, 是 or 0, no, false, 否.
	Seed string
	// Time is the column with the day or time of the interview: 2016-07-21, 2016-07-21 15:04 or RFC 3339.
	Time string
	// Round is the column with the number of the round in which the respondent was interviewed.
	Round string
}

// Table is a table of any origin: one row per respondent.
type Table struct {
	Header []string
	Rows   [][]string
}

// Problem is something in a table that had to be understood in one way or another. Nothing is put right silently.
type Problem struct {
	// Row counts as a spreadsheet does: the header is row 1. Zero if the problem is not of one row.
	Row int
	// Column is the name of the column; empty if it concerns the whole row.
	Column string
	// Message says what is there and how it was understood.
	Message string
}

// String is the problem as a line of text.
func (p Problem) String() string {
	var s string
	if p.Row > 0 {
		s = fmt.Sprintf("row %d: ", p.Row)
	}
	if p.Column != "" {
		s += fmt.Sprintf("column %q: ", p.Column)
	}
	return s + p.Message
}

// missingWords are cells that programs write where there is no answer. An id that is one of them stays an id.
var missingWords = []string{"NA", "N/A", "NULL", "NaN", "."}

// FromCSV reads a table from text separated by commas, semicolons or tabs, in UTF-8, with or without a byte order mark.
// The error says why nothing could be read; the problems are those of single rows.
func FromCSV(r io.Reader, cols Columns) (Facts, []Problem, error) {
	t, err := ReadTable(r)
	if err != nil {
		return Facts{}, nil, err
	}
	return FromTable(t, cols)
}

// ReadTable reads the cells that FromCSV makes facts of, for whoever needs other columns, too.
func ReadTable(r io.Reader) (Table, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return Table{}, fmt.Errorf("read the table: %w", err)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return Table{}, fault.New(fault.Invalid, fault.BadTable,
			"line %d of the table is not UTF-8: save it as \"CSV UTF-8\"", invalidLine(data))
	}
	cr := csv.NewReader(bytes.NewReader(data))
	cr.Comma = separator(data)
	cr.FieldsPerRecord = -1
	var t Table
	for {
		row, err := cr.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return Table{}, fault.New(fault.Invalid, fault.BadTable, "the table cannot be read, check its quotation marks: %w", err)
		}
		if t.Header == nil {
			t.Header = row
		} else {
			t.Rows = append(t.Rows, row)
		}
	}
}

func invalidLine(data []byte) int {
	line := 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		data = data[n:]
	}
	return line
}

// separator guesses what separates the cells from the first line.
func separator(data []byte) rune {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	best := ','
	for _, c := range []rune{';', '\t'} {
		if bytes.Count(line, []byte(string(c))) > bytes.Count(line, []byte(string(best))) {
			best = c
		}
	}
	return best
}

// FromTable turns a table into facts. A recruiter who has no row is a person who was never interviewed, and whoever he
// recruited is no seed. A second row of an id is a second interview of that person: what it tells is kept, and the first
// row decides the wave.
func FromTable(t Table, cols Columns) (Facts, []Problem, error) {
	if len(t.Header) == 0 {
		return Facts{}, nil, fault.New(fault.Invalid, fault.BadTable, "the table is empty: it needs a first row with the names of the columns")
	}
	rd := &tableReader{table: t, cols: cols, rowOf: make(map[string]int, len(t.Rows)), named: map[string]bool{}}
	for _, c := range []struct {
		name, option string
		at           *int
		needed       bool
	}{
		{cols.ID, "id", &rd.id, true}, {cols.Recruiter, "recruiter", &rd.recruiter, true}, {cols.Degree, "degree", &rd.degree, false},
		{cols.Seed, "seed", &rd.seed, false}, {cols.Time, "time", &rd.time, false}, {cols.Round, "round", &rd.round, false},
	} {
		at, err := column(t.Header, c.name, c.option, c.needed)
		if err != nil {
			return Facts{}, nil, err
		}
		*c.at = at
	}
	rd.findIDs()
	for i := range t.Rows {
		rd.readRow(i)
	}
	if rd.asMissing > 0 {
		rd.problem(0, cols.Recruiter, "%d cells hold a word for a missing value, such as NA, and were read as empty", rd.asMissing)
	}
	return rd.facts, rd.problems, nil
}

// column finds a column by name; -1 if it is not asked for.
func column(header []string, name, option string, needed bool) (int, error) {
	if name == "" {
		if needed {
			return -1, fault.New(fault.Invalid, fault.BadTable, "no column is named for the %s", option)
		}
		return -1, nil
	}
	found := -1
	for i, h := range header {
		if strings.TrimSpace(h) != strings.TrimSpace(name) {
			continue
		}
		if found >= 0 {
			return -1, fault.New(fault.Invalid, fault.BadTable, "the table has two columns %q: rename one", name)
		}
		found = i
	}
	if found < 0 {
		return -1, fault.New(fault.Invalid, fault.BadTable, "the table has no column %q for the %s: it has %s", name, option, quoted(header))
	}
	return found, nil
}

// quoted lists names for an error, not endlessly.
func quoted(names []string) string {
	const most = 30
	var s []string
	for i, n := range names {
		if i == most {
			s = append(s, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		s = append(s, strconv.Quote(n))
	}
	return strings.Join(s, ", ")
}

// tableReader turns rows into facts.
type tableReader struct {
	table                             Table
	cols                              Columns
	id, recruiter, degree, seed, time int
	round                             int
	rowOf                             map[string]int
	named                             map[string]bool // recruiters without a row, by id
	asMissing                         int
	facts                             Facts
	problems                          []Problem
}

func (r *tableReader) problem(row int, column, format string, args ...any) {
	r.problems = append(r.problems, Problem{Row: row, Column: column, Message: fmt.Sprintf(format, args...)})
}

func (r *tableReader) cell(i, column int) string {
	if column < 0 || column >= len(r.table.Rows[i]) {
		return ""
	}
	return strings.TrimSpace(r.table.Rows[i][column])
}

func (r *tableReader) findIDs() {
	for i := range r.table.Rows {
		id := r.cell(i, r.id)
		if id == "" {
			continue
		}
		if _, ok := r.rowOf[id]; !ok {
			r.rowOf[id] = i
		}
	}
}

func (r *tableReader) readRow(i int) {
	row := i + 2
	if n, want := len(r.table.Rows[i]), len(r.table.Header); n != want {
		r.problem(row, "", "it has %d cells, the header has %d", n, want)
	}
	id := r.cell(i, r.id)
	if id == "" {
		r.problem(row, r.cols.ID, "no id: the row was left out")
		return
	}
	if first := r.rowOf[id]; first != i {
		r.problem(row, r.cols.ID, "id %q is already in row %d: read as a second interview of the same person", id, first+2)
	}
	interview := fmt.Sprintf("row:%010d", row)
	person := &servicev1.PersonRecord{
		PersonId: proto.String(id), InterviewId: proto.String(interview), InterviewKey: proto.String(id), Interviewed: proto.Bool(true),
		Presence: surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT.Enum(),
	}
	if ms, ok := r.readTime(i, row); ok {
		person.InterviewTimeMs = proto.Int64(ms)
	}
	r.readRound(i, row, person)
	recruiter, mark := r.readRecruiter(i, row, id)
	seed := r.readSeed(i, row, recruiter, mark)
	r.facts.People = append(r.facts.People, person)
	r.facts.Recruitments = append(r.facts.Recruitments, &servicev1.RecruitmentRecord{
		InterviewId: proto.String(interview), PersonId: proto.String(id), Seed: proto.Bool(seed), NetworkSize: r.readDegree(i, row),
	})
	if recruiter == "" {
		return
	}
	r.facts.Referrals = append(r.facts.Referrals, &servicev1.ReferralRecord{
		ReferralId: proto.String(interview), InterviewId: proto.String(interview), FromPersonId: proto.String(recruiter),
		ToPersonId: proto.String(id), Main: proto.Bool(true), ToldByRecruit: proto.Bool(true),
	})
	if _, ok := r.rowOf[recruiter]; !ok && !r.named[recruiter] {
		r.named[recruiter] = true
		r.problem(row, r.cols.Recruiter, "recruiter %q has no row: taken as a person who was never interviewed", recruiter)
		r.facts.People = append(r.facts.People, &servicev1.PersonRecord{PersonId: proto.String(recruiter), Interviewed: proto.Bool(false)})
	}
}

// readRound reads the round of a row, and makes an interview of it.
func (r *tableReader) readRound(i, row int, person *servicev1.PersonRecord) {
	s := r.cell(i, r.round)
	if r.round < 0 || s == "" || slices.Contains(missingWords, s) {
		return
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		r.problem(row, r.cols.Round, "round %q is no whole number: the row counts in no round", s)
		return
	}
	person.Round = proto.Uint32(uint32(n))
	r.facts.Interviews = append(r.facts.Interviews, &servicev1.InterviewSummary{
		InterviewId: person.InterviewId, InterviewKey: person.InterviewKey, RespondentId: person.PersonId, Round: person.Round,
		Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(), StartTimeMs: person.InterviewTimeMs,
	})
}

// readRecruiter returns the recruiter's id, or whether the cell itself says that this is a seed.
func (r *tableReader) readRecruiter(i, row int, id string) (recruiter string, seed bool) {
	s := r.cell(i, r.recruiter)
	if _, isID := r.rowOf[s]; !isID {
		if slices.Contains(missingWords, s) {
			r.asMissing++
			return "", false
		}
		if strings.EqualFold(s, "seed") || s == "种子" {
			return "", true
		}
	}
	if s == id {
		r.problem(row, r.cols.Recruiter, "%q recruited himself: kept as a self-referral, the row is no seed", id)
	}
	return s, false
}

func (r *tableReader) readSeed(i, row int, recruiter string, mark bool) bool {
	if r.seed < 0 {
		return mark || recruiter == ""
	}
	s := r.cell(i, r.seed)
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "seed", "是", "种子", "1.0":
		if recruiter != "" {
			r.problem(row, r.cols.Seed, "marked as a seed, but recruited by %q: taken as a seed", recruiter)
		}
		return true
	case "0", "no", "n", "false", "f", "", "否", "不是", "0.0":
	default:
		if !slices.Contains(missingWords, s) {
			r.problem(row, r.cols.Seed, "%q says neither yes nor no: taken as no", s)
		}
	}
	if mark {
		r.problem(row, r.cols.Seed, "not marked as a seed, but the recruiter is said to be %q: taken as no seed", r.cell(i, r.recruiter))
	}
	return false
}

func (r *tableReader) readDegree(i, row int) *int32 {
	s := r.cell(i, r.degree)
	if s == "" || slices.Contains(missingWords, s) {
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v != float64(int32(v)) || v < 0 {
		r.problem(row, r.cols.Degree, "%q is not a count of people: taken as not asked", s)
		return nil
	}
	return proto.Int32(int32(v))
}

func (r *tableReader) readTime(i, row int) (int64, bool) {
	s := r.cell(i, r.time)
	if s == "" || slices.Contains(missingWords, s) {
		return 0, false
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05", "2006/1/2",
	} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UnixMilli(), true
		}
	}
	r.problem(row, r.cols.Time, "%q is not a day or time such as 2016-07-21 or 2016-07-21 15:04: taken as not known", s)
	return 0, false
}
