package questionnaire

import (
	"slices"
	"strings"

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
