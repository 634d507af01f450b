package export

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// each emits a list of messages as rows.
func each[M interface{ ProtoReflect() protoreflect.Message }](ctx context.Context, x *extractor, t *Table, list []M) error {
	for _, m := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := x.message(t, m.ProtoReflect(), nil, 1, "", ""); err != nil {
			return err
		}
	}
	return nil
}

// cancelled words the end of a context; other errors pass.
func cancelled(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, fault.ShuttingDown, "export was stopped before its end, no manifest was written: %w", err)
	}
	return err
}

// formatWriter writes the rows of all tables in one format.
type formatWriter interface {
	write(l *layout, r *row) error
	close() error
	abort()
}

// slot is one column of a file: a variable, or the reasons of a question.
type slot struct {
	name     string
	column   *Column // nil: reasons
	col      int
	question int
}

// layout is the columns of a table's files: its variables, and after a question the reasons given for having no
// answer, where there are any.
type layout struct {
	table *Table
	slots []slot
	buf   []byte
}

func newLayout(t *Table, s *tableStats) *layout {
	l := &layout{table: t}
	after := map[int][]int{}
	for i, q := range t.Questions {
		if s.why[i] != nil && !t.hidden(q) {
			after[q.at] = append(after[q.at], i)
		}
	}
	for i := 0; i <= len(t.Columns); i++ {
		for _, q := range after[i] {
			l.slots = append(l.slots, slot{name: t.Questions[q].Why, question: q})
		}
		if i < len(t.Columns) && !t.Columns[i].hidden {
			l.slots = append(l.slots, slot{name: t.Columns[i].Name, column: t.Columns[i], col: i})
		}
	}
	return l
}

// reason is the text of a missing reason in the data.
func reason(stored int32) string {
	switch formv1.Missing(stored - 1) {
	case formv1.Missing_MISSING_REFUSED:
		return "refused"
	case formv1.Missing_MISSING_DONT_KNOW:
		return "dont_know"
	case formv1.Missing_MISSING_NOT_APPLICABLE:
		return "not_applicable"
	case formv1.Missing_MISSING_NOT_ASKED:
		return "not_asked"
	default:
		return "no_reason"
	}
}

// tableStats is what the first pass finds in a table.
type tableStats struct {
	rows    int64
	rounds  map[uint32]int64 // rows by the round of their interview
	columns []columnStats
	why     []map[int32]int64 // by question: how often each reason, nil where none
	// answered is by question whether a row has a reason for a missing answer, and an answer.
	answered []bool
	// sorted is by how many of the keys the rows are in order; last holds those of the row before.
	sorted int
	last   []cell
}

type columnStats struct {
	n        int64
	codes    map[int64]int64
	numbers  int64 // of those that are finite
	min, max float64
	sum      float64
	bytes    int64 // of texts
	longest  int
}

func newTableStats(t *Table) *tableStats {
	s := &tableStats{columns: make([]columnStats, len(t.Columns)), why: make([]map[int32]int64, len(t.Questions))}
	s.rounds = map[uint32]int64{}
	s.answered, s.sorted = make([]bool, len(t.Questions)), t.Keys
	for i, c := range t.Columns {
		if c.Kind == KindCode || c.Kind == KindYesNo {
			s.columns[i].codes = map[int64]int64{}
		}
	}
	return s
}

func (s *tableStats) add(r *row) {
	s.order(r)
	s.rows++
	for i := range r.cells {
		c := &r.cells[i]
		if !c.set {
			continue
		}
		st := &s.columns[i]
		st.n++
		switch r.table.Columns[i].Kind {
		case KindCode, KindYesNo:
			st.codes[c.i]++
		case KindInteger:
			st.number(float64(c.i))
		case KindNumber:
			if !math.IsNaN(c.f) && !math.IsInf(c.f, 0) {
				st.number(c.f)
			}
		case KindText, KindDate:
			t, _ := plainText(c.s)
			st.bytes += int64(len(t))
			st.longest = max(st.longest, len(t))
		}
	}
	for q, w := range r.why {
		if w == 0 {
			continue
		}
		if s.why[q] == nil {
			s.why[q] = map[int32]int64{}
		}
		s.why[q][w]++
		for i := r.table.Questions[q].from; i < r.table.Questions[q].at; i++ {
			s.answered[q] = s.answered[q] || r.cells[i].set
		}
	}
}

// order finds how many of the keys the rows are sorted by, as Stata sorts: texts by their bytes, and the empty one first.
func (s *tableStats) order(r *row) {
	for i := range s.sorted {
		c := &r.cells[i]
		if _, replaced := plainText(c.s); replaced || (!c.set && r.table.Columns[i].Kind != KindText) {
			s.sorted = i
			break
		}
	}
	if s.rows > 0 {
		for i := range s.sorted {
			order := cmp.Or(strings.Compare(s.last[i].s, r.cells[i].s), cmp.Compare(s.last[i].i, r.cells[i].i), cmp.Compare(s.last[i].f, r.cells[i].f))
			if order > 0 {
				s.sorted = i
			}
			if order != 0 {
				break
			}
		}
	}
	s.last = append(s.last[:0], r.cells[:s.sorted]...)
}

func (st *columnStats) number(f float64) {
	if st.numbers++; st.numbers == 1 {
		st.min, st.max = f, f
	}
	st.min, st.max = min(st.min, f), max(st.max, f)
	st.sum += f
}
