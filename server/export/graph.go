package export

import (
	"hash/maphash"
	"strconv"
	"unicode/utf8"
)

// graphWriter writes referrals and kin as graphs: GraphML, which igraph, Gephi, networkx and Cytoscape read, and a list of the
// edges as CSV; of referrals also the frame that packages for respondent-driven sampling want. Nodes are people after
// linkage, with what the tables of the export say of them and nothing else.
type graphWriter struct {
	job       *job
	referrals *graphFile
	kin       *graphFile
	rds       *rdsFrame
	household *kinHousehold
	known     map[uint64]bool // people that have a node, by the hash of their id, but those who stand in one roster only
	seed      maphash.Seed
	// appearances is the column of the number of rosters that a person stands in, or -1: it counts rows with a line number, and
	// where one has none nobody is known to stand in no other.
	appearances int
}

// graphFile is one graph: a GraphML file, and the list of its edges.
type graphFile struct {
	name        string
	nodes       *graphTable
	edges       *graphTable
	graph, list *hashedFile
	buf         []byte
}

// graphTable is the columns that become attributes of nodes or of edges.
type graphTable struct {
	layout     *layout
	attributes []graphAttribute
}

type graphAttribute struct {
	slot
	id, kind string // of the attribute in the file
	labels   bool   // the labels of codes, beside these
}

func newGraphWriter(j *job, layouts map[*Table]*layout) (formatWriter, error) {
	w := &graphWriter{job: j, known: map[uint64]bool{}, seed: maphash.MakeSeed(), appearances: -1}
	var files []*graphFile
	node, edge, person := layouts[j.plan.graphNode], layouts[j.plan.graphEdge], layouts[j.plan.table("person")]
	if node != nil && edge != nil {
		w.referrals = &graphFile{name: "referral", nodes: newGraphTable(node, nil), edges: newGraphTable(edge, nil)}
		w.rds = newRDSFrame(node, edge)
		files = append(files, w.referrals)
		if err := w.rds.begin(j.sink); err != nil {
			return w, err
		}
	}
	if person != nil {
		w.kin = &graphFile{name: "kin", nodes: newGraphTable(person, kinAttributes)}
		w.household = newKinHousehold(person)
		if st, line := j.stats[person.table], person.table.column("line_number"); line >= 0 && st.columns[line].n == st.rows {
			w.appearances = person.table.column("appearances")
		}
		files = append(files, w.kin)
	}
	if len(files) == 0 && j.asked {
		j.warnings = append(j.warnings, "graphml: neither the tables referral_node and referral_edge nor person were asked for, so there are no graphs")
	}
	for _, f := range files {
		if err := f.begin(j.sink); err != nil {
			return w, err
		}
	}
	return w, nil
}

// kinAttributes are what is said of a person in the graph of kin: a question less is a reason less to look up a neighbour.
var kinAttributes = []string{"household_id", "line_number", "sex", "age", "birth_date_year", "relation_to_head", "relation"}

func newGraphTable(l *layout, only []string) *graphTable {
	g := &graphTable{layout: l}
	for _, s := range l.slots {
		wanted := only == nil
		for _, name := range only {
			wanted = wanted || s.name == name
		}
		if s.column == nil || !wanted {
			continue
		}
		kind := "string"
		switch s.column.Kind {
		case KindInteger, KindCode, KindYesNo:
			kind = "long"
		case KindNumber:
			kind = "double"
		}
		g.attributes = append(g.attributes, graphAttribute{slot: s, id: s.name, kind: kind})
		if s.column.Kind == KindCode {
			g.attributes = append(g.attributes, graphAttribute{slot: s, id: s.name + "_label", kind: "string", labels: true})
		}
	}
	return g
}

func (f *graphFile) begin(sink *hashingSink) (err error) {
	if f.graph, err = sink.create("graph/" + f.name + ".graphml"); err != nil {
		return err
	}
	if f.list, err = sink.create("graph/" + f.name + "_edges.csv"); err != nil {
		return err
	}
	b := []byte(`<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">
`)
	key := func(b []byte, of, id, kind string) []byte {
		return append(b, `<key id="`+of[:1]+"_"+id+`" for="`+of+`" attr.name="`+id+`" attr.type="`+kind+`"/>`+"\n"...)
	}
	for _, a := range f.nodes.attributes {
		b = key(b, "node", a.id, a.kind)
	}
	line := []byte("\ufefffrom,to")
	if f.edges == nil {
		b, line = key(b, "edge", "kind", "string"), append(line, ",kind"...)
	} else {
		for _, a := range f.edges.attributes {
			b = key(b, "edge", a.id, a.kind)
			line = append(append(line, ','), a.id...)
		}
	}
	b = append(b, `<graph id="`+f.name+`" edgedefault="directed">`+"\n"...)
	if _, err := f.graph.Write(b); err != nil {
		return err
	}
	_, err = f.list.Write(append(line, "\r\n"...))
	return err
}

func (w *graphWriter) write(l *layout, r *row) error {
	switch {
	case l.table == w.job.plan.graphNode && w.referrals != nil:
		w.rds.addNode(r)
		return w.referrals.node(textOf(l, r, "person_id"), r, w.job.opts.Language)
	case l.table == w.job.plan.graphEdge && w.referrals != nil:
		w.rds.addEdge(r)
		from, to := textOf(l, r, "from_id"), textOf(l, r, "to_id")
		if from == "" || to == "" {
			return nil // one end is not known
		}
		return w.referrals.edge(from, to, "", r, w.job.opts.Language)
	}
	if w.household == nil || l.table != w.household.layout.table {
		return nil
	}
	if err := w.kinUpTo(r); err != nil {
		return err
	}
	id := w.household.add(r)
	h := maphash.String(w.seed, id)
	if w.known[h] {
		return nil // the same person in another roster
	}
	if !w.once(r) {
		w.known[h] = true
	}
	return w.kin.node(id, r, w.job.opts.Language)
}

// once says whether a person is known to stand in no other roster: there is no need to remember those, who are nearly all.
func (w *graphWriter) once(r *row) bool {
	return w.appearances >= 0 && r.cells[w.appearances].set && r.cells[w.appearances].i == 1
}

// textOf is the text of a column that a row has by a name, or none.
func textOf(l *layout, r *row, name string) string {
	for _, s := range l.slots {
		if s.column != nil && s.name == name {
			return r.cells[s.col].s
		}
	}
	return ""
}

func (f *graphFile) node(id string, r *row, lang string) error {
	if id == "" {
		return nil
	}
	b := appendXML(append(f.buf[:0], `<node id="`...), id)
	b = append(b, '"', '>')
	for _, a := range f.nodes.attributes {
		b = a.data(b, "n", r, lang)
	}
	f.buf = append(b, "</node>\n"...)
	_, err := f.graph.Write(f.buf)
	return err
}

// edge writes one, with the columns of its row, or of what kind it is.
func (f *graphFile) edge(from, to, kind string, r *row, lang string) error {
	b := appendXML(append(f.buf[:0], `<edge source="`...), from)
	b = append(appendXML(append(b, `" target="`...), to), '"', '>')
	line := appendQuoted(append(appendQuoted(nil, from), ','), to)
	if f.edges == nil {
		b = append(b, `<data key="e_kind">`+kind+`</data>`...)
		line = append(append(line, ','), kind...)
	} else {
		for _, a := range f.edges.attributes {
			b = a.data(b, "e", r, lang)
			line = append(line, ',')
			if s, ok := a.text(r, lang); ok {
				line = appendQuoted(line, s)
			}
		}
	}
	f.buf = append(b, "</edge>\n"...)
	if _, err := f.graph.Write(f.buf); err != nil {
		return err
	}
	_, err := f.list.Write(append(line, "\r\n"...))
	return err
}

// text is the value of an attribute, and whether there is one.
func (a *graphAttribute) text(r *row, lang string) (string, bool) {
	c := &r.cells[a.col]
	if !c.set || a.column.Kind == KindNumber && !finite(c.f) {
		return "", false
	}
	if a.labels {
		l, ok := a.column.label[int32(c.i)]
		return wording(l, lang), ok
	}
	if a.column.Kind == KindText || a.column.Kind == KindDate {
		return c.s, true
	}
	return string(appendCell(nil, a.column.Kind, c)), true
}

func (a *graphAttribute) data(b []byte, of string, r *row, lang string) []byte {
	s, ok := a.text(r, lang)
	if !ok {
		return b
	}
	b = append(b, `<data key="`+of+"_"+a.id+`">`...)
	return append(appendXML(b, s), "</data>"...)
}

// appendXML writes a text, without the characters that XML cannot hold.
func appendXML(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '"':
			b = append(b, "&quot;"...)
		case r == '\r', r == '\n', r == '\t':
			b = append(append(append(b, "&#"...), strconv.Itoa(int(r))...), ';')
		case r < ' ', r == 0xfffe, r == 0xffff:
			b = append(b, "\uFFFD"...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

func (w *graphWriter) close() error {
	if w.household != nil {
		if err := w.kinUpTo(nil); err != nil {
			return err
		}
	}
	if w.rds != nil {
		if err := w.rds.close(); err != nil {
			return err
		}
	}
	for _, f := range []*graphFile{w.referrals, w.kin} {
		if f == nil {
			continue
		}
		if _, err := f.graph.Write([]byte("</graph>\n</graphml>\n")); err != nil {
			return err
		}
		if err := f.graph.close(); err != nil {
			return err
		}
		if err := f.list.close(); err != nil {
			return err
		}
	}
	return nil
}

func (w *graphWriter) abort() {}
