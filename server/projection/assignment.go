package projection

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// AssignmentView is an assignment as everybody should see it.
type AssignmentView struct {
	Summary *servicev1.AssignmentSummary
	// Rows are what each enumerator's tablet holds of it; nil for those who had it once and shall hold nothing of it now.
	Rows map[string]*servicev1.AssignmentRow
}

// step is one revision of an assignment.
type step struct {
	digest  syncer.Digest
	parents []syncer.Digest
	what    *servicev1.Assignment
	depth   int
}

// Assignment makes the view of the revisions of one assignment; nil where none of them is an order of headquarters that
// can be read. It is a function of the set of revisions: their order plays no part.
//
// Headquarters' orders stand one behind the other, as each names everything it knew as parent. An order to another
// enumerator is a hand-over: the first still has it until a release of theirs names that order, or headquarters forces
// it. A release that a later order did not know counts for nothing: that order was given to somebody who still waited.
func Assignment(revs []Revision) *AssignmentView {
	a := newAssigning(revs)
	if len(a.orders) == 0 {
		return nil
	}
	for i := range a.orders {
		a.follow(i)
	}
	return a.view(len(a.steps))
}

// assigning follows the orders of an assignment.
type assigning struct {
	steps  map[syncer.Digest]*step
	orders []*step // headquarters', in order
	order  *servicev1.Assignment

	holder, next       string
	cancelled          bool
	had                map[string]bool // who ever had a row
	started, completed map[string]bool
	above              []map[syncer.Digest]bool // of each order everything it knew
}

func newAssigning(revs []Revision) *assigning {
	a := &assigning{steps: map[syncer.Digest]*step{}, had: map[string]bool{}, started: map[string]bool{}, completed: map[string]bool{}}
	for _, r := range revs {
		what := &servicev1.Assignment{}
		if r.Record == nil || len(r.Record.GetPayload()) == 0 || proto.Unmarshal(r.Record.GetPayload(), what) != nil || what.GetAssignmentId() != r.Record.GetSubject() {
			continue
		}
		s := &step{digest: r.Digest, what: what}
		for _, p := range r.Record.GetParents() {
			if d, err := syncer.ParseDigest(p); err == nil {
				s.parents = append(s.parents, d)
			}
		}
		a.steps[r.Digest] = s
	}
	for _, s := range a.steps {
		switch s.what.GetAction() {
		case servicev1.AssignmentAction_ASSIGNMENT_ACTION_ASSIGN, servicev1.AssignmentAction_ASSIGNMENT_ACTION_CANCEL,
			servicev1.AssignmentAction_ASSIGNMENT_ACTION_FORCE:
			known := a.known(s)
			s.depth = len(known) // whoever knew more came later
			a.orders = append(a.orders, s)
		case servicev1.AssignmentAction_ASSIGNMENT_ACTION_START:
			a.started[s.what.GetEnumerator()] = true
		case servicev1.AssignmentAction_ASSIGNMENT_ACTION_COMPLETE:
			a.started[s.what.GetEnumerator()] = true
			a.completed[s.what.GetEnumerator()] = true
		}
	}
	slices.SortFunc(a.orders, func(x, y *step) int {
		return cmp.Or(cmp.Compare(x.depth, y.depth), bytes.Compare(x.digest[:], y.digest[:]))
	})
	for _, s := range a.orders {
		a.above = append(a.above, a.known(s))
	}
	return a
}

// known is everything held that a revision descends from.
func (a *assigning) known(s *step) map[syncer.Digest]bool {
	out := map[syncer.Digest]bool{}
	for todo := slices.Clone(s.parents); len(todo) > 0; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if p, held := a.steps[d]; held && !out[d] {
			out[d] = true
			todo = append(todo, p.parents...)
		}
	}
	return out
}

// follow does what the order at i says.
func (a *assigning) follow(i int) {
	s := a.orders[i]
	to := s.what.GetEnumerator()
	switch s.what.GetAction() {
	case servicev1.AssignmentAction_ASSIGNMENT_ACTION_CANCEL:
		a.cancelled = true
	case servicev1.AssignmentAction_ASSIGNMENT_ACTION_FORCE:
		if a.next != "" && !plant.In(plant.ForceIgnored) {
			a.holder, a.next = a.next, ""
		}
	case servicev1.AssignmentAction_ASSIGNMENT_ACTION_ASSIGN:
		a.order, a.cancelled, a.had[to] = s.what, false, true
		if a.holder == "" || a.holder == to {
			a.holder, a.next = to, ""
			return
		}
		a.next = to
		if a.released(i) {
			a.holder, a.next = to, ""
		}
	}
}

// released says whether the holder gave the assignment back to the order at i, and the next order knew of it.
func (a *assigning) released(i int) bool {
	for d, s := range a.steps {
		if s.what.GetAction() == servicev1.AssignmentAction_ASSIGNMENT_ACTION_RELEASE && s.what.GetEnumerator() == a.holder &&
			slices.Contains(s.parents, a.orders[i].digest) && (i == len(a.orders)-1 || a.above[i+1][d]) {
			return true
		}
	}
	return false
}

// view tells where it stands after the last order.
func (a *assigning) view(revisions int) *AssignmentView {
	if a.order == nil {
		return nil
	}
	head := a.orders[len(a.orders)-1].digest
	v := &AssignmentView{Rows: map[string]*servicev1.AssignmentRow{}, Summary: &servicev1.AssignmentSummary{
		Assignment: a.order, Holder: proto.String(a.holder), State: a.state().Enum(), Problems: a.problems(),
		StartedBy: slices.Sorted(maps.Keys(a.started)), CompletedBy: slices.Sorted(maps.Keys(a.completed)),
		Head: bytes.Clone(head[:]), Revisions: proto.Uint32(uint32(revisions)),
	}}
	if a.next != "" {
		v.Summary.Next = proto.String(a.next)
	}
	for who := range a.had {
		v.Rows[who] = nil
	}
	if a.cancelled {
		return v
	}
	row := func(state servicev1.AssignmentState) *servicev1.AssignmentRow {
		return &servicev1.AssignmentRow{Assignment: a.order, State: state.Enum(), Head: bytes.Clone(head[:])}
	}
	v.Rows[a.holder] = row(a.state())
	if a.next != "" {
		v.Rows[a.next] = row(servicev1.AssignmentState_ASSIGNMENT_STATE_WAITING)
	}
	return v
}

// state is how the holder stands to it. Whoever has begun keeps it.
func (a *assigning) state() servicev1.AssignmentState {
	switch {
	case a.cancelled:
		return servicev1.AssignmentState_ASSIGNMENT_STATE_CANCELLED
	case a.completed[a.holder]:
		return servicev1.AssignmentState_ASSIGNMENT_STATE_COMPLETED
	case a.started[a.holder]:
		return servicev1.AssignmentState_ASSIGNMENT_STATE_STARTED
	case a.next != "":
		return servicev1.AssignmentState_ASSIGNMENT_STATE_RECALLED
	}
	return servicev1.AssignmentState_ASSIGNMENT_STATE_OPEN
}

// problems lists what a supervisor has to decide, as far as the revisions tell it.
func (a *assigning) problems() []servicev1.AssignmentProblem {
	var out []servicev1.AssignmentProblem
	if a.next != "" && a.started[a.holder] {
		out = append(out, servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_STARTED_BEFORE_HANDOVER)
	}
	for who := range a.started {
		if who != a.holder {
			out = append(out, servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_STARTED_BY_OTHER)
			break
		}
	}
	if len(a.completed) > 1 {
		out = append(out, servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_DONE_TWICE)
	}
	if a.cancelled && len(a.started) > 0 {
		out = append(out, servicev1.AssignmentProblem_ASSIGNMENT_PROBLEM_STARTED_THEN_CANCELLED)
	}
	return out
}
