package questionnaire

import (
	"time"

	"google.golang.org/protobuf/proto"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Options say how answers are to be evaluated.
type Options struct {
	// Version is that of the questionnaire under which the answers were given. 0: the current one.
	Version uint32
	// Completed: the interview is said to be complete, so that answers that are required are asked for.
	Completed bool
	// Now is what now() and today() read. Zero: rules that use them are not carried out.
	Now time.Time
}

// Evaluation is what the rules of a questionnaire say of one set of answers. Everything in it stands in the order of the
// questionnaire; paths count rows from 0, "members[2].age".
type Evaluation struct {
	Flags []*servicev1.Flag
	// NotAsked are the questions and groups that are not asked; what is below one is not named.
	NotAsked []string
	// Missing are the questions that are asked and have no answer.
	Missing []Absence
	// Calculated are the calculated questions that have an answer.
	Calculated []Calculation
}

// Absence is a question without an answer, and the reason given for it, if one was.
type Absence struct {
	Path     string
	Question *Question
	Reason   formv1.Missing
}

// Calculation is what a calculated question comes to: an int64, float64, string or bool.
type Calculation struct {
	Path     string
	Question *Question
	Value    any
}

// Evaluate evaluates answers, a message of the questionnaire's top type. Those of an earlier version are read as they would
// stand now, see Upgrade, and are not changed.
func (q *Questionnaire) Evaluate(m proto.Message, o Options) *Evaluation {
	if up, err := q.Upgrade(m, o.Version); err == nil {
		m = up
	}
	e := newEvaluation(o)
	defer e.release()
	e.report = &Evaluation{}
	e.walk(e.top(q.top, viewOf(m.ProtoReflect(), q.top.typ), o.Version), true)
	e.report.Flags = e.flags
	return e.report
}
