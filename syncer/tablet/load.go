package tablet

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxLine bounds what Load keeps of one line. JSON takes up to ten times what the record takes.
const maxLine = 16 << 20

// loadGroup is how many lines share one commit, and so one wait for the disk.
const loadGroup = 200

// LineProblem is a line of a file that could not be loaded.
type LineProblem struct {
	// Line counts from 1.
	Line int
	// InterviewID is empty where the line does not say.
	InterviewID string
	Reason      fault.Reason
	Message     string
}

// String says the line, the reason and the message.
func (p LineProblem) String() string {
	return fmt.Sprintf("line %d: %s: %s", p.Line, p.Reason, p.Message)
}

// LoadReport is what Load did.
type LoadReport struct {
	// Lines counts the lines that were not blank.
	Lines int
	// Added counts the records written, Unchanged the lines whose answers are the interview's current ones.
	Added, Unchanged int
	// Problems are the lines that were not loaded; all others were.
	Problems []LineProblem
}

// Load writes every interview of a file as a record: one hearth.survey.v1.Interview in protobuf's JSON per line. A line
// that is cut, has an unknown field, has no proper interview_id or is too large is reported and loses nothing beside it.
// So is an interview of another study than the tablet's; one without a study gets the tablet's.
//
// The answers to a questionnaire published at run time may be base64, as protobuf's JSON has bytes, or an object of the
// questionnaire's own JSON, if the tablet knows it: {"other": {"questionnaire": "form.hh.Hh", "answers": {"size": 4}}}.
//
// Lines are taken in order. One whose answers are those of the interview's one current revision adds nothing; any other
// becomes a revision that replaces all current ones, also one that goes back to earlier answers. So loading a file again
// adds nothing where every interview stands in it once. Where an interview stands in it several times with different
// answers, the last line is current afterwards, and loading the file again writes the same steps again.
//
// Progress, if not nil, is told how many lines are durable. The error is of the reader or the store; what was told durable stays.
func (s *Store) Load(ctx context.Context, r io.Reader, progress func(lines int)) (LoadReport, error) {
	var report LoadReport
	lines := &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
	for {
		group, readErr := lines.group(loadGroup)
		part, err := s.loadLines(ctx, group)
		if err != nil {
			return report, dbFault(err, "load interviews into %s", s.path)
		}
		report.Lines += len(group)
		report.Added += part.Added
		report.Unchanged += part.Unchanged
		report.Problems = append(report.Problems, part.Problems...)
		if progress != nil && len(group) > 0 {
			progress(report.Lines)
		}
		if errors.Is(readErr, io.EOF) {
			return report, nil
		}
		if readErr != nil {
			return report, fault.New(fault.Invalid, fault.BadRequest, "the file cannot be read after line %d (%w); what was read before is loaded: name a file of JSON lines", report.Lines, readErr)
		}
	}
}

// loadLines writes a group of lines in one transaction.
func (s *Store) loadLines(ctx context.Context, group []line) (LoadReport, error) {
	var report LoadReport
	if len(group) == 0 {
		return report, nil
	}
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		for _, l := range group {
			iv, err := l.interview(s.answersTo)
			var added bool
			if err == nil {
				err = s.checkStudy(iv)
			}
			if err == nil {
				_, added, err = s.write(ctx, tx, iv)
			}
			switch kind := fault.KindOf(err); {
			case err == nil && added:
				report.Added++
			case err == nil:
				report.Unchanged++
			case kind == fault.Invalid || kind == fault.TooLarge:
				report.Problems = append(report.Problems, LineProblem{Line: l.n, InterviewID: iv.GetInterviewId(), Reason: fault.ReasonOf(err), Message: messageOf(err)})
			default:
				return err
			}
		}
		return nil
	})
	failpoint.Hit("tablet.after-load")
	return report, err
}

// checkStudy fails with fault.BadInterview for an interview of another study than the tablet's.
func (s *Store) checkStudy(iv *surveyv1.Interview) error {
	if study := iv.GetStudy(); study != "" && study != s.study {
		return fault.New(fault.Invalid, fault.BadInterview, "the interview is of study %.64q, this tablet is for study %q: load it into a tablet of its own study, or, if the file is wrong, correct or leave out its study", study, s.study)
	}
	return nil
}

// messageOf is an error's text without what the catalogue adds.
func messageOf(err error) string {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Message
	}
	return err.Error()
}

// line is one line that is not blank.
type line struct {
	n    int
	text []byte
	long bool // over maxLine; text is not complete
}

func (l line) interview(schema schemas) (*surveyv1.Interview, error) {
	if l.long {
		return nil, fault.New(fault.TooLarge, fault.RecordTooLarge, "the line has more than %d bytes", maxLine)
	}
	text, err := packAnswers(l.text, schema)
	if err != nil {
		return nil, err
	}
	iv := &surveyv1.Interview{}
	if err := protojson.Unmarshal(text, iv); err != nil {
		return nil, badJSON(err, iv.ProtoReflect().Descriptor(), "")
	}
	return iv, nil
}

// badJSON words what the decoder says of a line, or of a piece of one.
func badJSON(err error, top protoreflect.MessageDescriptor, piece string) error {
	// The decoder varies its blanks on purpose; people compare reports.
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	return fault.New(fault.Invalid, fault.BadJSON, "%s%s%s", piece, inColumn.ReplaceAllString(text, "(column $1)"), wordsOf(top, text))
}

// inColumn finds the place in a line, which the decoder calls line 1 of its text whatever line of the file it is.
var inColumn = regexp.MustCompile(`\(line 1:(\d+)\)`)

// badWord finds the field whose value is none of its words.
var badWord = regexp.MustCompile(`invalid value for enum field (\w+): `)

// mostWords bounds how many words a message lists.
const mostWords = 30

// wordsOf names the words that a field takes, where the text says that it was given another; nothing where the same
// name stands for fields with different words.
func wordsOf(top protoreflect.MessageDescriptor, text string) string {
	found := badWord.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	enum := enumOf(top, protoreflect.Name(found[1]))
	if enum == nil || enum.Values().Len() > mostWords {
		return ""
	}
	var words []string
	for i := range enum.Values().Len() {
		if v := enum.Values().Get(i); v.Number() != 0 {
			words = append(words, string(v.Name()))
		}
	}
	return "; it takes " + strings.Join(words, ", ")
}

// enumOf finds the one enum that fields of a name have within a message, nil where there are several.
func enumOf(top protoreflect.MessageDescriptor, name protoreflect.Name) protoreflect.EnumDescriptor {
	var enum protoreflect.EnumDescriptor
	seen := map[protoreflect.FullName]bool{top.FullName(): true}
	for queue := []protoreflect.MessageDescriptor{top}; len(queue) > 0; queue = queue[1:] {
		fields := queue[0].Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			if m := fd.Message(); m != nil && !seen[m.FullName()] {
				seen[m.FullName()] = true
				queue = append(queue, m)
			}
			switch {
			case fd.Enum() == nil || fd.Name() != name && fd.JSONName() != string(name):
			case enum != nil && enum.FullName() != fd.Enum().FullName():
				return nil
			default:
				enum = fd.Enum()
			}
		}
	}
	return enum
}

// lineReader reads lines of any length. It takes a byte order mark at the beginning, \r\n, and a last line without \n.
type lineReader struct {
	r *bufio.Reader
	n int
}

// group returns up to most lines that are not blank, and io.EOF with the last of them.
func (l *lineReader) group(most int) ([]line, error) {
	var group []line
	size := 0
	for len(group) < most && size < maxLine {
		next, err := l.next()
		if len(next.text) > 0 || next.long {
			group = append(group, next)
			size += len(next.text)
		}
		if err != nil {
			return group, err
		}
	}
	return group, nil
}

func (l *lineReader) next() (line, error) {
	l.n++
	next := line{n: l.n}
	for {
		piece, err := l.r.ReadSlice('\n')
		if next.long || len(next.text)+len(piece) > maxLine {
			next.long, next.text = true, nil
		} else {
			next.text = append(next.text, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if l.n == 1 {
			next.text = bytes.TrimPrefix(next.text, []byte("\xef\xbb\xbf"))
		}
		next.text = bytes.TrimSpace(next.text)
		return next, err
	}
}
