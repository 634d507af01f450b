package export

import "strconv"

// kinUpTo writes the edges of the household before, where a row begins another.
func (w *graphWriter) kinUpTo(r *row) error {
	h := w.household
	if r != nil && h.same(r) {
		return nil
	}
	for _, m := range h.members {
		for _, tie := range []struct {
			kind string
			line int64
		}{{"mother", m.mother}, {"father", m.father}, {"spouse", m.spouse}} {
			other := h.at(tie.line)
			if other == nil || other.id == m.id || tie.kind == "spouse" && other.spouse == m.line && other.line < m.line {
				continue // not in the roster, or told already by the other
			}
			from, to := other.id, m.id
			if tie.kind == "spouse" {
				from, to = m.id, other.id
			}
			if err := w.kin.edge(from, to, tie.kind, nil, ""); err != nil {
				return err
			}
		}
	}
	h.members = h.members[:0]
	if r != nil {
		h.begin(r)
	}
	return nil
}

// kinHousehold is the members of the roster at hand.
type kinHousehold struct {
	layout  *layout
	columns map[string]int
	key     string
	members []kinMember
}

type kinMember struct {
	id                           string
	line, mother, father, spouse int64
}

func newKinHousehold(l *layout) *kinHousehold {
	h := &kinHousehold{layout: l, columns: map[string]int{}}
	for _, s := range l.slots {
		if s.column != nil {
			h.columns[s.name] = s.col
		}
	}
	return h
}

func (h *kinHousehold) text(r *row, name string) string {
	if i, ok := h.columns[name]; ok {
		return r.cells[i].s
	}
	return ""
}

func (h *kinHousehold) number(r *row, name string) int64 {
	if i, ok := h.columns[name]; ok {
		return r.cells[i].i
	}
	return 0
}

func (h *kinHousehold) keyOf(r *row) string {
	return h.text(r, "interview_id") + "\x00" + h.text(r, "household_id")
}
func (h *kinHousehold) same(r *row) bool { return len(h.members) > 0 && h.key == h.keyOf(r) }
func (h *kinHousehold) begin(r *row)     { h.key = h.keyOf(r) }

// add takes in a member and says by which id.
func (h *kinHousehold) add(r *row) string {
	m := kinMember{id: h.text(r, "canonical_person_id"), line: h.number(r, "line_number")}
	if m.id == "" {
		m.id = h.text(r, "person_id")
	}
	if m.id == "" {
		m.id = h.text(r, "interview_id") + "/" + strconv.Itoa(len(h.members)+1)
	}
	m.mother, m.father, m.spouse = h.number(r, "mother_line"), h.number(r, "father_line"), h.number(r, "spouse_line")
	h.members = append(h.members, m)
	return m.id
}

func (h *kinHousehold) at(line int64) *kinMember {
	for i := range h.members {
		if line > 0 && h.members[i].line == line {
			return &h.members[i]
		}
	}
	return nil
}
