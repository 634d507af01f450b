package referral

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// WriteGEXF writes the whole graph as GEXF 1.2, for Gephi. Times are plain attributes. Names lead from person ids to
// names; without them nodes are labelled with interview keys. An end that is not known is a node of kind "unknown".
func WriteGEXF(w io.Writer, g *servicev1.ReferralGraph, names map[string]string) error {
	f := flatten(g, names)
	types := map[valueKind]string{kindText: "string", kindNumber: "integer", kindFlag: "boolean"}
	return file(w, "GEXF", func(m *markup) {
		declare := func(class string, as []attribute) {
			m.text(`<attributes class="`, class, `">`, "\n")
			for i, a := range as {
				m.text(`<attribute id="`, strconv.Itoa(i), `" title="`, a.name, `" type="`, types[a.kind], `"/>`, "\n")
			}
			m.text("</attributes>\n")
		}
		values := func(as []attribute) {
			m.text("<attvalues>")
			for i, a := range as {
				if a.text != "" {
					m.text(`<attvalue for="`, strconv.Itoa(i), `" value="`)
					m.escaped(a.text)
					m.text(`"/>`)
				}
			}
			m.text("</attvalues>")
		}
		m.text(xml.Header, `<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2">`, "\n", `<graph defaultedgetype="directed" mode="static">`, "\n")
		declare("node", nodeAttributes(nil))
		declare("edge", edgeAttributes(nil))
		m.text("<nodes>\n")
		for _, n := range f.nodes {
			m.text(`<node id="`)
			m.escaped(n.id)
			m.text(`" label="`)
			m.escaped(n.label)
			m.text(`">`)
			values(nodeAttributes(n.node))
			m.text("</node>\n")
		}
		m.text("</nodes>\n<edges>\n")
		for _, e := range f.edges {
			m.text(`<edge id="`, e.id, `" source="`)
			m.escaped(f.nodes[e.from].id)
			m.text(`" target="`)
			m.escaped(f.nodes[e.to].id)
			m.text(`">`)
			values(edgeAttributes(e.edge))
			m.text("</edge>\n")
		}
		m.text("</edges>\n</graph>\n</gexf>\n")
	})
}

// WriteDOT writes the whole graph for graphviz: seeds are boxes, who was never interviewed is dashed, an institution has
// a double outline, and referrals that are not primary are dashed and do not shape the drawing.
func WriteDOT(w io.Writer, g *servicev1.ReferralGraph, names map[string]string) error {
	f := flatten(g, names)
	return file(w, "DOT", func(m *markup) {
		attributes := func(as []attribute) {
			for _, a := range as {
				if a.text != "" {
					m.text(", ", a.name, "=", dotQuoted(a.text))
				}
			}
			m.text("];\n")
		}
		m.text("digraph referrals {\n", `graph [charset="UTF-8", rankdir=TB];`, "\n", `node [shape=ellipse, fontname="Noto Sans CJK SC"];`, "\n")
		for _, n := range f.nodes {
			m.text(dotQuoted(n.id), " [label=", dotQuoted(n.label))
			switch {
			case n.node.GetKind() == KindSite:
				m.text(", shape=box, peripheries=2")
			case n.node.GetSeed():
				m.text(`, shape=box, style="bold"`)
			case !n.node.GetInterviewed():
				m.text(`, style="dashed"`)
			}
			attributes(nodeAttributes(n.node))
		}
		for _, e := range f.edges {
			m.text(dotQuoted(f.nodes[e.from].id), " -> ", dotQuoted(f.nodes[e.to].id), ` [id="`, e.id, `"`)
			if !e.edge.GetPrimary() {
				m.text(`, style="dashed", constraint=false`)
			}
			attributes(edgeAttributes(e.edge))
		}
		m.text("}\n")
	})
}

// dotQuoted writes a text so that graphviz shows it as it is.
func dotQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(s)) + `"`
}

// WritePajek writes vertices and arcs for Pajek. Its vertices have one label each, so that equal labels are numbered; a
// quotation mark in a label becomes an apostrophe and a backslash a slash, which the format has no way to write. The
// weight of an arc is 1.
func WritePajek(w io.Writer, g *servicev1.ReferralGraph, names map[string]string) error {
	f := flatten(g, names)
	return file(w, "Pajek", func(m *markup) {
		taken := make(map[string]bool, len(f.nodes))
		m.text("*Vertices ", strconv.Itoa(len(f.nodes)), "\n")
		for i, n := range f.nodes {
			clean := strings.NewReplacer(`"`, "'", `\`, "/").Replace(n.label)
			label := clean
			for k := 2; taken[label]; k++ {
				label = fmt.Sprintf("%s (%d)", clean, k)
			}
			taken[label] = true
			m.text(strconv.Itoa(i+1), ` "`, label, "\"\n")
		}
		m.text("*Arcs\n")
		for _, e := range f.edges {
			m.text(strconv.Itoa(int(e.from)+1), " ", strconv.Itoa(int(e.to)+1), " 1\n")
		}
	})
}

// jsonAttributes writes attributes that are set as members of a JSON object.
func (m *markup) jsonAttributes(as []attribute) {
	for _, a := range as {
		if a.text == "" {
			continue
		}
		m.text(`, "`, a.name, `": `)
		if a.kind == kindText {
			m.jsonText(a.text)
		} else {
			m.text(a.text)
		}
	}
}

func (m *markup) jsonText(s string) {
	b, err := json.Marshal(s)
	if m.err == nil {
		m.err = err
	}
	m.text(string(b))
}

// list writes what stands between the brackets of a JSON list, one item a line.
func (m *markup) list(n int, item func(i int)) {
	m.text("[")
	for i := range n {
		if i > 0 {
			m.text(",")
		}
		m.text("\n")
		item(i)
	}
	m.text("\n]")
}

// WriteNodeLink writes the whole graph as node-link JSON, for D3 and networkx. Its edges are in "links", as D3 has them;
// networkx since 3.6 wants to be told: node_link_graph(data, edges="links").
func WriteNodeLink(w io.Writer, g *servicev1.ReferralGraph, names map[string]string) error {
	f := flatten(g, names)
	return file(w, "node-link JSON", func(m *markup) {
		m.text(`{"directed": true, "multigraph": true, "graph": {"name": "referrals"}, "nodes": `)
		m.list(len(f.nodes), func(i int) {
			n := f.nodes[i]
			m.text(`{"id": `)
			m.jsonText(n.id)
			m.text(`, "label": `)
			m.jsonText(n.label)
			m.jsonAttributes(nodeAttributes(n.node))
			m.text("}")
		})
		m.text(`, "links": `)
		m.list(len(f.edges), func(i int) {
			e := f.edges[i]
			m.text(`{"source": `)
			m.jsonText(f.nodes[e.from].id)
			m.text(`, "target": `)
			m.jsonText(f.nodes[e.to].id)
			m.text(`, "key": "`, e.id, `"`)
			m.jsonAttributes(edgeAttributes(e.edge))
			m.text("}")
		})
		m.text("}\n")
	})
}

// WriteCytoscape writes the whole graph as Cytoscape.js JSON, which Cytoscape and networkx read, too.
func WriteCytoscape(w io.Writer, g *servicev1.ReferralGraph, names map[string]string) error {
	f := flatten(g, names)
	return file(w, "Cytoscape JSON", func(m *markup) {
		m.text(`{"data": {"name": "referrals"}, "directed": true, "multigraph": true, "elements": {"nodes": `)
		m.list(len(f.nodes), func(i int) {
			n := f.nodes[i]
			m.text(`{"data": {"id": `)
			m.jsonText(n.id)
			m.text(`, "value": `)
			m.jsonText(n.id)
			m.text(`, "name": `)
			m.jsonText(n.label)
			m.jsonAttributes(nodeAttributes(n.node))
			m.text("}}")
		})
		m.text(`, "edges": `)
		m.list(len(f.edges), func(i int) {
			e := f.edges[i]
			m.text(`{"data": {"id": "`, e.id, `", "key": "`, e.id, `", "source": `)
			m.jsonText(f.nodes[e.from].id)
			m.text(`, "target": `)
			m.jsonText(f.nodes[e.to].id)
			m.jsonAttributes(edgeAttributes(e.edge))
			m.text("}}")
		})
		m.text("}}\n")
	})
}

// WriteGephiNodes writes the table of nodes of the pair that Gephi imports.
func WriteGephiNodes(w io.Writer, g *servicev1.ReferralGraph, names map[string]string) error {
	f := flatten(g, names)
	rows := [][]string{attributeNames([]string{"Id", "Label"}, nodeAttributes(nil))}
	for _, n := range f.nodes {
		rows = append(rows, attributeTexts([]string{n.id, n.label}, nodeAttributes(n.node)))
	}
	return writeRows(w, "the nodes", rows)
}

// WriteGephiEdges writes the table of edges of the pair that Gephi imports, each with an id, so that parallel ones stay
// apart.
func WriteGephiEdges(w io.Writer, g *servicev1.ReferralGraph) error {
	f := flatten(g, nil)
	rows := [][]string{attributeNames([]string{"Source", "Target", "Type", "Id"}, edgeAttributes(nil))}
	for _, e := range f.edges {
		rows = append(rows, attributeTexts([]string{f.nodes[e.from].id, f.nodes[e.to].id, "Directed", e.id}, edgeAttributes(e.edge)))
	}
	return writeRows(w, "the edges", rows)
}

func attributeNames(row []string, as []attribute) []string {
	for _, a := range as {
		row = append(row, a.name)
	}
	return row
}

func attributeTexts(row []string, as []attribute) []string {
	row = slices.Grow(row, len(as))
	for _, a := range as {
		row = append(row, printable(a.text))
	}
	return row
}

// writeRows writes a table in UTF-8 by RFC 4180.
func writeRows(w io.Writer, what string, rows [][]string) error {
	c := csv.NewWriter(w)
	c.UseCRLF = true
	if err := c.WriteAll(rows); err != nil {
		return fmt.Errorf("write %s as a table: %w", what, err)
	}
	return nil
}
