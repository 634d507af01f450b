package questionnaire

import "unsafe"

// Most questions of an interview have no answer, and of most answers nothing is to be said: they are in the range of their
// enum, or anything would do. Where only flags are wanted, a walk through a message of generated Go passes these over after
// one look at the field's place; a slot is filled only for what expressions read.

// glance is what is known beforehand of a question.
type glance struct {
	// place is that of the field in generated Go; 0: it has none, and the question is never passed over.
	place uintptr
	// known is the last of an enum's numbers from 1 that are answers of which nothing is to be said; 0: it is no such enum.
	known int32
	// unset and set say whether nothing is to be said without an answer and with one: of an interview that is not completed,
	// and of one that is.
	unset, set [2]bool
}

// glanceAt is what is known of a question when everything is compiled.
func glanceAt(q *Question) glance {
	if q.access.form == formNone {
		return glance{}
	}
	g := glance{place: q.access.place}
	for completed := range g.unset {
		e := &evaluation{completed: completed == 1}
		g.unset[completed] = e.nothingSaid(q)
	}
	if q.Module != nil || q.relevant != nil || q.calculate != nil || len(q.checks) > 0 || q.filter != nil || q.since > 1 || q.until > 0 ||
		len(q.limits) > 0 || len(q.itemRules) > 0 || q.format != nil || q.ranked {
		return g
	}
	switch {
	case q.enum != nil:
		if !q.List && q.access.form == formInt32 {
			g.known = max(q.enum.dense-1, 0)
		}
	case q.Choices != nil:
	case q.List || q.access.kind == kindText: // what is there may be empty, and then is no answer
		g.set = g.unset
	default:
		g.set = [2]bool{true, true}
	}
	return g
}

// passes tells whether nothing is to be said of the question in the message at p.
func (g *glance) passes(p unsafe.Pointer, completed int) bool {
	if g.place == 0 {
		return false
	}
	held := *(*unsafe.Pointer)(unsafe.Add(p, g.place)) // a pointer, or what a slice or a map begins with
	switch {
	case held == nil:
		return g.unset[completed]
	case g.known > 0:
		number := *(*int32)(held)
		return number > 0 && number <= g.known
	}
	return g.set[completed]
}
