package referral

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// KindUnknown is the kind of the stub that GraphML needs where one end of an edge has not arrived.
const KindUnknown = "unknown"

// graphMLKeys are the attributes of nodes and edges, in the order in which they are written.
var graphMLKeys = []struct{ id, domain, name, kind string }{
	{"label", "node", "label", "string"}, {"kind", "node", "kind", "string"}, {"key", "node", "interview_key", "string"},
	{"seed", "node", "seed", "boolean"}, {"interviewed", "node", "interviewed", "boolean"}, {"wave", "node", "wave", "int"},
	{"root", "node", "root", "string"}, {"recruits", "node", "recruits", "int"}, {"descendants", "node", "descendants", "int"},
	{"size", "node", "network_size", "int"}, {"site", "node", "site", "string"}, {"role", "node", "role", "string"},
	{"merged", "node", "merged_ids", "string"}, {"status", "node", "status", "string"},
	{"referral", "edge", "referral_id", "string"}, {"state", "edge", "state", "string"}, {"primary", "edge", "primary", "boolean"},
	{"mode", "edge", "mode", "string"}, {"relation", "edge", "relation", "string"}, {"made", "edge", "made_time", "string"},
}

// WriteGraphML writes the whole graph, all edges with their states, as GraphML for Gephi, networkx, igraph and others.
// Names lead from person ids to names; without them nodes are labelled with interview keys. An end that is not known is
// a stub of kind "unknown".
func WriteGraphML(w io.Writer, g *servicev1.ReferralGraph, names map[string]string) error {
	m := &graphML{markup: markup{w: bufio.NewWriter(w)}, ids: make(map[string]string, len(g.GetNodes())), taken: map[string]bool{}}
	m.text(xml.Header, `<graphml xmlns="http://graphml.graphdrawing.org/xmlns" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"`,
		` xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">`, "\n")
	for _, k := range graphMLKeys {
		m.text(`<key id="`, k.id, `" for="`, k.domain, `" attr.name="`, k.name, `" attr.type="`, k.kind, `"/>`, "\n")
	}
	m.text(`<graph id="referrals" edgedefault="directed">`, "\n")
	for _, n := range g.GetNodes() {
		if n != nil {
			m.node(n, label(n, names))
		}
	}
	for i, e := range g.GetEdges() {
		if e != nil {
			m.edge(i, e)
		}
	}
	m.text("</graph>\n</graphml>\n")
	if err := m.finish(); err != nil {
		return fmt.Errorf("write the graph as GraphML: %w", err)
	}
	return nil
}

// markup writes XML until the first error.
type markup struct {
	w   *bufio.Writer
	err error
}

// text writes markup as it is.
func (m *markup) text(parts ...string) {
	for _, s := range parts {
		if m.err == nil {
			_, m.err = m.w.WriteString(s)
		}
	}
}

// escaped writes text so that it cannot become markup; what XML cannot hold becomes U+FFFD.
func (m *markup) escaped(s string) {
	if m.err == nil {
		m.err = xml.EscapeText(m.w, []byte(s))
	}
}

// finish writes what is still held back.
func (m *markup) finish() error {
	if m.err == nil {
		m.err = m.w.Flush()
	}
	return m.err
}

type graphML struct {
	markup
	ids   map[string]string // person id to XML id
	taken map[string]bool
}

// id gives each person id an XML id, the same text where XML can hold it.
func (m *graphML) id(person string) string {
	if id, ok := m.ids[person]; ok {
		return id
	}
	id := cmp.Or(printable(person), "_")
	for n := 2; m.taken[id]; n++ {
		id = printable(person) + "_" + strconv.Itoa(n)
	}
	m.ids[person], m.taken[id] = id, true
	return id
}

func (m *graphML) data(key, value string) {
	if value == "" {
		return
	}
	m.text(`<data key="`, key, `">`)
	m.escaped(value)
	m.text(`</data>`)
}

func (m *graphML) node(n *servicev1.ReferralNode, label string) {
	m.text(`<node id="`)
	m.escaped(m.id(n.GetPersonId()))
	m.text(`">`)
	m.data("label", label)
	m.data("kind", n.GetKind())
	m.data("key", n.GetInterviewKey())
	m.data("seed", optional(n.Seed))
	m.data("interviewed", optional(n.Interviewed))
	m.data("wave", optional(n.Wave))
	m.data("root", n.GetRootId())
	m.data("recruits", optional(n.Recruits))
	m.data("descendants", optional(n.Descendants))
	m.data("size", optional(n.NetworkSize))
	m.data("site", n.GetSiteId())
	m.data("role", n.GetRole())
	m.data("merged", strings.Join(n.GetMergedIds(), " "))
	m.data("status", n.GetStatus())
	m.text("</node>\n")
}

func (m *graphML) edge(i int, e *servicev1.ReferralEdge) {
	number := strconv.Itoa(i)
	from, to := m.end(e.GetFromId(), "unknown-from-"+number), m.end(e.GetToId(), "unknown-to-"+number)
	m.text(`<edge id="e`, number, `" source="`)
	m.escaped(from)
	m.text(`" target="`)
	m.escaped(to)
	m.text(`">`)
	m.data("referral", e.GetReferralId())
	m.data("state", StateName(e.GetState()))
	m.data("primary", optional(e.Primary))
	m.data("mode", e.GetMode())
	m.data("relation", e.GetRelation())
	m.data("made", timeText(e.MadeTimeMs))
	m.text("</edge>\n")
}

// end is the XML id of one end of an edge; where it is not known, or not among the nodes, a stub is written.
func (m *graphML) end(person, stub string) string {
	if id, ok := m.ids[person]; ok && person != "" {
		return id
	}
	id := m.id(cmp.Or(person, stub))
	m.text(`<node id="`)
	m.escaped(id)
	m.text(`">`)
	m.data("label", "?")
	m.data("kind", KindUnknown)
	m.text("</node>\n")
	return id
}
