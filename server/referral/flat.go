package referral

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// valueKind is the type of an attribute in a file.
type valueKind int

const (
	kindText valueKind = iota
	kindNumber
	kindFlag
)

// attribute is one named value; an empty text means that it is not set.
type attribute struct {
	name string
	kind valueKind
	text string
}

// flatNode and flatEdge are nodes and edges as files hold them: every end there, every id unique and printable.
type flatNode struct {
	id, label string
	node      *servicev1.ReferralNode // nil for an end that is not known
}

type flatEdge struct {
	id       string
	from, to int32
	edge     *servicev1.ReferralEdge
}

type flatGraph struct {
	nodes []flatNode
	edges []flatEdge
}

// flatten gives every end of every edge a node. Names lead from person ids to names; without them nodes are labelled with
// interview keys.
func flatten(g *servicev1.ReferralGraph, names map[string]string) *flatGraph {
	f := &flatGraph{nodes: make([]flatNode, 0, len(g.GetNodes())), edges: make([]flatEdge, 0, len(g.GetEdges()))}
	at := make(map[string]int32, len(g.GetNodes()))
	taken := make(map[string]bool, len(g.GetNodes()))
	add := func(person, label string, n *servicev1.ReferralNode) int32 {
		if i, ok := at[person]; ok {
			return i
		}
		clean := cmp.Or(printable(person), "_")
		id := clean
		for k := 2; taken[id]; k++ {
			id = clean + "_" + strconv.Itoa(k)
		}
		taken[id] = true
		at[person] = int32(len(f.nodes))
		f.nodes = append(f.nodes, flatNode{id: id, label: cmp.Or(strings.TrimSpace(printable(label)), id), node: n})
		return at[person]
	}
	for _, n := range g.GetNodes() {
		if n != nil {
			add(n.GetPersonId(), label(n, names), n)
		}
	}
	for i, e := range g.GetEdges() {
		if e == nil {
			continue
		}
		number := strconv.Itoa(i)
		from := add(cmp.Or(e.GetFromId(), "unknown-from-"+number), "?", nil)
		to := add(cmp.Or(e.GetToId(), "unknown-to-"+number), "?", nil)
		f.edges = append(f.edges, flatEdge{id: "e" + number, from: from, to: to, edge: e})
	}
	return f
}

// nodeAttributes are always the same ones in the same order.
func nodeAttributes(n *servicev1.ReferralNode) []attribute {
	kind := n.GetKind()
	if n == nil {
		kind, n = KindUnknown, &servicev1.ReferralNode{}
	}
	return []attribute{
		{"kind", kindText, kind}, {"interview_key", kindText, n.GetInterviewKey()},
		{"seed", kindFlag, optional(n.Seed)}, {"interviewed", kindFlag, optional(n.Interviewed)},
		{"wave", kindNumber, optional(n.Wave)}, {"root", kindText, n.GetRootId()},
		{"recruits", kindNumber, optional(n.Recruits)}, {"descendants", kindNumber, optional(n.Descendants)},
		{"network_size", kindNumber, optional(n.NetworkSize)}, {"site", kindText, n.GetSiteId()},
		{"role", kindText, n.GetRole()}, {"merged_ids", kindText, strings.Join(n.GetMergedIds(), " ")},
		{"status", kindText, n.GetStatus()},
	}
}

func edgeAttributes(e *servicev1.ReferralEdge) []attribute {
	kind := "other"
	if e == nil {
		e = &servicev1.ReferralEdge{}
	}
	if e.GetPrimary() {
		kind = "primary"
	}
	return []attribute{
		{"kind", kindText, kind}, {"referral_id", kindText, e.GetReferralId()}, {"state", kindText, StateName(e.GetState())},
		{"primary", kindFlag, strconv.FormatBool(e.GetPrimary())}, {"mode", kindText, e.GetMode()},
		{"relation", kindText, e.GetRelation()}, {"made_time", kindText, timeText(e.MadeTimeMs)},
	}
}

// file writes text until the first error.
func file(w io.Writer, what string, write func(m *markup)) error {
	m := &markup{w: bufio.NewWriterSize(w, 1<<16)}
	write(m)
	if err := m.finish(); err != nil {
		return fmt.Errorf("write the graph as %s: %w", what, err)
	}
	return nil
}
