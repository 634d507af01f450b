package questionnaire

import (
	"slices"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
)

// The rules of a questionnaire depend on each other: whether a question is asked, and what is calculated for it, is read by
// the rules of others. What a rule reads is noted while it is translated, by question, not by row: that of one member may
// read that of another.

// decides are the questions on which it depends whether a question is asked and what its answer is.
func (q *Question) decides() []*Question {
	var all []*Question
	if q.relevant != nil {
		all = append(all, q.relevant.reads...)
	}
	if q.calculate != nil && !q.calculate.volatile {
		all = append(all, q.calculate.reads...)
	}
	return all
}

// acyclic fails where a question depends on itself, and names the whole circle.
func (c *compiler) acyclic() error {
	const open, done = 1, 2
	state := make([]byte, len(c.all))
	var path []*Question
	var visit func(q *Question) []*Question
	visit = func(q *Question) []*Question {
		switch state[q.id] {
		case done:
			return nil
		case open:
			return append(slices.Clone(path[slices.Index(path, q):]), q)
		}
		state[q.id] = open
		path = append(path, q)
		for _, on := range q.decides() {
			if circle := visit(on); circle != nil {
				return circle
			}
		}
		path = path[:len(path)-1]
		state[q.id] = done
		return nil
	}
	for _, q := range c.all {
		if circle := visit(q); circle != nil {
			names := make([]string, len(circle))
			for i, x := range circle {
				names[i] = string(x.Field.FullName())
			}
			return fault.New(fault.Invalid, fault.BadSchema, "%sfield %s depends on itself: %s",
				placeIn(circle[0].Field), names[0], strings.Join(names, " reads "))
		}
	}
	return nil
}

// judges are the questions that others rules of a question read: what is said of its answer depends on them.
func (q *Question) judges() []*Question {
	var all []*Question
	for i := range q.checks {
		all = append(all, q.checks[i].holds.reads...)
	}
	for _, p := range []*predicate{q.needed, q.filter} {
		if p != nil {
			all = append(all, p.reads...)
		}
	}
	if q.count != nil {
		all = append(all, q.count.reads...)
	}
	return all
}

// impact is what follows from another answer to a question, in whatever row it stands: which questions must be decided
// anew, whether they are asked and what is calculated for them, and of which only what is said of them may be another.
type impact struct {
	decide, judge []*Question
}

// impacts are found out when they are first asked for.
type impacts struct {
	mu      sync.Mutex
	readers map[*Question][]reader
	known   map[*Question]*impact
}

// reader is a question that reads another, and whether it depends on that what it is itself.
type reader struct {
	question *Question
	decides  bool
}

// impactOf is what follows from another answer to a question.
func (q *Questionnaire) impactOf(changed *Question) *impact {
	x := &q.impacts
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.known == nil {
		x.known, x.readers = map[*Question]*impact{}, map[*Question][]reader{}
		for _, y := range q.all {
			for _, read := range y.decides() {
				x.readers[read] = append(x.readers[read], reader{y, true})
			}
			for _, read := range y.judges() {
				x.readers[read] = append(x.readers[read], reader{y, false})
			}
		}
	}
	if known := x.known[changed]; known != nil {
		return known
	}
	out, decided, judged := &impact{}, map[*Question]bool{changed: true}, map[*Question]bool{}
	for queue := []*Question{changed}; len(queue) > 0; queue = queue[1:] {
		for _, r := range x.readers[queue[0]] {
			switch {
			case r.decides && !decided[r.question]:
				decided[r.question] = true
				out.decide, queue = append(out.decide, r.question), append(queue, r.question)
			case !r.decides && !judged[r.question]:
				judged[r.question] = true
				out.judge = append(out.judge, r.question)
			}
		}
	}
	out.judge = slices.DeleteFunc(out.judge, func(y *Question) bool { return decided[y] && y != changed })
	x.known[changed] = out
	return out
}
