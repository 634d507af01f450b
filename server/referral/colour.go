package referral

import (
	"fmt"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// hues are told apart by people who do not see all colours (Okabe and Ito 2008), and differ in grey.
var hues = [][3]int{{0, 114, 178}, {230, 159, 0}, {0, 158, 115}, {204, 121, 167}, {86, 180, 233}, {213, 94, 0}, {240, 228, 66}, {110, 110, 110}}

// hue is the colour of a level; those beyond the colours share the last.
func hue(i int) [3]int { return hues[min(i, len(hues)-1)] }

// strong is a colour for a dot.
func strong(i int) string {
	c := hue(i)
	return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2])
}

// lightened is a colour under black text.
func lightened(i int) string {
	c := hue(i)
	for k := range c {
		c[k] = (c[k]*9 + 255*11) / 20
	}
	return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2])
}

// colouring gives nodes the colours of a variable's levels. A nil one gives none.
type colouring struct {
	name   string
	levels []string // in natural order; of more than there are colours, the most frequent, and the last stands for the others
	at     map[string]int
	value  map[string]string // by person id
}

// newColouring colours nodes by what is known of the people whom they stand for.
func newColouring(v *Values, nodes []*servicev1.ReferralNode, w words) *colouring {
	c := &colouring{name: v.Name, at: map[string]int{}, value: map[string]string{}}
	count := map[string]int{}
	for _, n := range nodes {
		value := v.Of[n.GetPersonId()]
		for i := 0; value == "" && i < len(n.GetMergedIds()); i++ {
			value = v.Of[n.GetMergedIds()[i]]
		}
		if value != "" {
			c.value[n.GetPersonId()] = value
			count[value]++
		}
	}
	for level := range count {
		c.levels = append(c.levels, level)
	}
	slices.SortFunc(c.levels, compareNatural)
	if len(c.levels) > len(hues) {
		slices.SortStableFunc(c.levels, func(a, b string) int { return count[b] - count[a] })
		rest := slices.Clone(c.levels[len(hues)-1:])
		c.levels = c.levels[:len(hues)-1]
		slices.SortFunc(c.levels, compareNatural)
		for _, level := range rest {
			c.at[level] = len(c.levels)
		}
		c.levels = append(c.levels, fmt.Sprintf(w.pick("%d others", "其他%d类"), len(rest)))
	}
	for i, level := range c.levels {
		c.at[level] = i
	}
	return c
}

// of is the value of a node.
func (c *colouring) of(n *servicev1.ReferralNode) string {
	if c == nil {
		return ""
	}
	return c.value[n.GetPersonId()]
}

// fill is the colour of a node, white where nothing is known; empty where its wave colours it.
func (c *colouring) fill(n *servicev1.ReferralNode) string {
	if c == nil || n.GetKind() == KindSite {
		return ""
	}
	if value := c.of(n); value != "" {
		return lightened(c.at[value])
	}
	return "#fff"
}

// shown lists the levels for the legend.
func (c *colouring) shown() []string {
	if c == nil {
		return nil
	}
	return c.levels
}

// colouredLooks are the paths of a crowd whose dots are coloured by a variable: those of seeds and other roots are squares.
func (c *crowd) colouredLooks(dot string, is func(look) func(*servicev1.ReferralNode) bool) []crowdLook {
	level := func(i int) func(*servicev1.ReferralNode) bool {
		return func(n *servicev1.ReferralNode) bool {
			value := c.colours.of(n)
			return value != "" && n.GetKind() != KindSite && c.colours.at[value] == i
		}
	}
	var out []crowdLook
	for i, name := range c.colours.levels {
		square := func(n *servicev1.ReferralNode) bool { return lookOf(n) == lookSeed || lookOf(n) == lookRoot }
		out = append(out,
			crowdLook{dot + `"` + strong(i) + `"`, name, name, func(n *servicev1.ReferralNode) bool { return level(i)(n) && !square(n) }},
			crowdLook{`stroke-linecap="square" stroke-width="9" stroke="` + strong(i) + `"`, name + " (seed or start)", name + "（种子或起点）", func(n *servicev1.ReferralNode) bool { return level(i)(n) && square(n) }})
	}
	w, z := wordsIn("en"), wordsIn(Chinese)
	return append(out,
		crowdLook{dot + `"#ccc"`, "not known", "不详", func(n *servicev1.ReferralNode) bool { return c.colours.of(n) == "" && n.GetKind() != KindSite }},
		crowdLook{`stroke-linecap="square" stroke-width="8" stroke="#000"`, w.site, z.site, is(lookSite)})
}

// ColourBy are the values that colour a graph: "wave" (none: nil), "seed" (the chain), "mode" (of the primary referral), or one
// of the variables given.
func ColourBy(name string, g *servicev1.ReferralGraph, variables []Values) (*Values, bool) {
	v := &Values{Name: name, Of: map[string]string{}}
	switch name {
	case "", "wave":
		return nil, true
	case "seed":
		label := map[string]string{}
		for _, n := range g.GetNodes() {
			label[n.GetPersonId()] = firstText(n.GetInterviewKey(), n.GetPersonId())
		}
		for _, n := range g.GetNodes() {
			v.Of[n.GetPersonId()] = label[firstText(n.GetRootId(), n.GetPersonId())]
		}
		return v, true
	case "mode":
		for _, e := range g.GetEdges() {
			if e.GetPrimary() {
				v.Of[e.GetToId()] = firstText(e.GetMode(), Unspecified)
			}
		}
		return v, true
	}
	for i := range variables {
		if variables[i].Name == name {
			return &variables[i], true
		}
	}
	return nil, false
}
