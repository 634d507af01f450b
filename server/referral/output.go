package referral

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Output is a graph with all that any of the formats needs.
type Output struct {
	Facts  Facts
	Graph  *servicev1.ReferralGraph
	Sample *Sample
	// Names lead from person ids to names; without them nodes show interview keys.
	Names      map[string]string
	Language   string
	Population float64
	// Colour gives the nodes of an SVG their colours; nil: waves do.
	Colour *Values
}

// format is one way to write a graph.
type format struct {
	name, media string
	write       func(w io.Writer, o *Output) error
}

func formats() []format {
	svg := func(o *Output) SVGOptions { return SVGOptions{Language: o.Language, Names: o.Names, Colour: o.Colour} }
	const picture, table, data = "image/svg+xml", "text/csv; charset=utf-8", "application/json"
	return []format{
		{"graphml", "application/graphml+xml", func(w io.Writer, o *Output) error { return WriteGraphML(w, o.Graph, o.Names) }},
		{"svg", picture, func(w io.Writer, o *Output) error { return WriteSVG(w, o.Graph, svg(o)) }},
		{"csv", table, func(w io.Writer, o *Output) error { return WriteEdgeCSV(w, o.Graph) }},
		{"gexf", "application/gexf+xml", func(w io.Writer, o *Output) error { return WriteGEXF(w, o.Graph, o.Names) }},
		{"dot", "text/vnd.graphviz", func(w io.Writer, o *Output) error { return WriteDOT(w, o.Graph, o.Names) }},
		{"pajek", "text/plain; charset=utf-8", func(w io.Writer, o *Output) error { return WritePajek(w, o.Graph, o.Names) }},
		{"nodelink", data, func(w io.Writer, o *Output) error { return WriteNodeLink(w, o.Graph, o.Names) }},
		{"cytoscape", data, func(w io.Writer, o *Output) error { return WriteCytoscape(w, o.Graph, o.Names) }},
		{"gephi-nodes", table, func(w io.Writer, o *Output) error { return WriteGephiNodes(w, o.Graph, o.Names) }},
		{"gephi-edges", table, func(w io.Writer, o *Output) error { return WriteGephiEdges(w, o.Graph) }},
		{"rdsat", "text/plain; charset=utf-8", func(w io.Writer, o *Output) error { return WriteRDSAT(w, o.Sample) }},
		{"r", "text/plain; charset=utf-8", func(w io.Writer, o *Output) error {
			return WriteRScript(w, o.Sample, RScriptOptions{Population: o.Population})
		}},
		{"png", "image/png", func(w io.Writer, o *Output) error { return WritePNG(w, o.Graph) }},
		{"binary", "application/octet-stream", func(w io.Writer, o *Output) error { return WriteBinary(w, o.Graph) }},
		{"waves", picture, func(w io.Writer, o *Output) error { return WriteWavePlot(w, o.Sample, svg(o)) }},
		{"time", picture, func(w io.Writer, o *Output) error { return WriteTimePlot(w, o.Sample, svg(o)) }},
		{"convergence", picture, func(w io.Writer, o *Output) error {
			method, opts, err := o.estimator()
			if err != nil {
				return err
			}
			series, err := o.Sample.Convergence(0, method, opts)
			if err != nil {
				return err
			}
			return WriteConvergencePlot(w, series, svg(o))
		}},
		{"bottleneck", picture, func(w io.Writer, o *Output) error {
			method, opts, err := o.estimator()
			if err != nil {
				return err
			}
			chains, err := o.Sample.Bottleneck(0, method, opts, 5)
			if err != nil {
				return err
			}
			return WriteBottleneckPlot(w, chains, max(0, len(o.Sample.Outcomes[0].Levels)-1), SVGOptions{Language: o.Language, Names: o.keys()})
		}},
		{"copresence", table, func(w io.Writer, o *Output) error { return WriteCopresence(w, o.Facts, o.Graph) }},
		{"sites", table, func(w io.Writer, o *Output) error { return WriteSiteGraph(w, o.Graph) }},
	}
}

// Formats names the formats that Write knows.
func Formats() []string {
	var out []string
	for _, f := range formats() {
		out = append(out, f.name)
	}
	return out
}

// Write writes in one of Formats, and says of what media type that is.
func (o *Output) Write(w io.Writer, name string) (media string, err error) {
	all := formats()
	i := slices.IndexFunc(all, func(f format) bool { return f.name == name })
	if i < 0 {
		return "", fault.New(fault.Invalid, fault.BadRequest, "a graph is written as one of %s, not as %.32q", strings.Join(Formats(), ", "), name)
	}
	return all[i].media, all[i].write(w, o)
}

// estimator is the method of the plots: Gile's where the population is known, else RDS-II.
func (o *Output) estimator() (Method, Options, error) {
	if len(o.Sample.Outcomes) == 0 {
		return 0, Options{}, fault.New(fault.Invalid, fault.BadRequest, "a plot of an estimate needs a variable: name an outcome")
	}
	if o.Population > 0 {
		return Successive, Options{Population: o.Population}, nil
	}
	return RDS2, Options{}, nil
}

// keys lead from person ids to names, or to interview keys.
func (o *Output) keys() map[string]string {
	out := map[string]string{}
	for _, n := range o.Graph.GetNodes() {
		out[n.GetPersonId()] = cmp.Or(o.Names[n.GetPersonId()], n.GetInterviewKey())
	}
	return out
}
