package referral

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// The kinds of node.
const (
	KindPerson = "person"
	KindSite   = "site"
)

// SitePrefix begins the id of a node that is an institution, so that it is never taken for a person's.
const SitePrefix = "site:"

// none is the index of a node that is not known.
const none int32 = -1

// described is what the records say of a person, whatever the referrals.
type described struct {
	meeting     int32 // the first interview of which he was the respondent, or none
	site        int32
	size        int32
	role        int16
	interviewed bool
	sized       bool
}

// joined is a node of several raw persons.
type joined struct {
	raws    []int32 // in the order of their ids
	entries []entry // the earliest first
}

// What is known of a node.
const (
	nodeKnown  uint8 = 1 << iota // some record describes it
	nodeSeed                     // marked as a seed
	nodeJoined                   // of several raw persons
)

// builder makes the graph from prepared facts. Nodes are in the order of kind and id: the people, then the sites.
type builder struct {
	*Prepared
	rawOf      []int32 // by node that is a person: the raw person that gave it its id
	nodeOf     []int32 // by raw person; none if not in the graph
	siteNode   []int32 // by site that referred
	desc       []described
	held       []int64 // when first interviewed
	flags      []uint8
	joined     map[int32]*joined
	edges      []edge
	moved      map[int32]int32 // edges by telling, where that is not the same number
	parent     []int32         // by node: primary recruiter
	parentEdge []int32         // by node: the primary edge
	wave, root []int32
	recruits   []int32
	below      []int32
}

// Build makes the graph of who referred whom. It depends on nothing but the facts, and not on their order.
//
// Nodes are the people who were interviewed or are an end of a referral, after merging, and the sites that referred. A
// seed is only who was marked as one in the interview by which he came in. Of all referrals of a person one is primary at
// most: of the earliest interview in which he told how he came, the main one, else one with a coupon, else the one made
// first, else the one with the smallest id. None is primary where that interview marks a seed, says that he was drawn or
// met otherwise, or has him referred by himself. See ReferralEdge for what else keeps a referral out.
func Build(f Facts) *servicev1.ReferralGraph {
	return Prepare(f).Build(f.Merged)
}

// merge finds which raw persons are the same. An id that no fact names joins those merged with it.
func (b *builder) merge(merged map[string]string) [][]int32 {
	var parents, raws []int32
	at, unnamed := map[int32]int32{}, map[string]int32{}
	add := func(raw int32) int32 {
		parents, raws = append(parents, int32(len(parents))), append(raws, raw)
		return int32(len(parents) - 1)
	}
	number := func(id string) int32 {
		raw, ok := b.people.find([]byte(id))
		if !ok {
			if _, ok := unnamed[id]; !ok {
				unnamed[id] = add(none)
			}
			return unnamed[id]
		}
		if _, ok := at[raw]; !ok {
			at[raw] = add(raw)
		}
		return at[raw]
	}
	for x, y := range merged {
		if x != "" && y != "" && x != y {
			join(parents, number(x), number(y))
		}
	}
	groups := make([][]int32, len(parents))
	for i, raw := range raws {
		if raw != none {
			r := treeOf(parents, int32(i))
			groups[r] = append(groups[r], raw)
		}
	}
	groups = slices.DeleteFunc(groups, func(g []int32) bool { return len(g) < 2 })
	for _, g := range groups {
		slices.Sort(g)
	}
	return groups
}

// node is the node of a raw person, or none.
func (b *builder) node(raw int32) int32 {
	if raw < 0 {
		return none
	}
	return b.nodeOf[raw]
}

// isPerson says that a node is no site.
func (b *builder) isPerson(n int32) bool { return int(n) < len(b.rawOf) }

// makeNodes numbers the nodes in the order of their ids, each of which is that of the earliest record.
func (b *builder) makeNodes(groups [][]int32) {
	n := len(b.raw)
	const skip, lead = -2, -3 // who is in a group, and who gives it its id
	b.nodeOf = make([]int32, n)
	leads := map[int32]int{}
	for i, g := range groups {
		best, listed := none, false
		for _, r := range g {
			b.nodeOf[r] = skip
			listed = listed || b.raw[r]&isListed != 0
			if b.raw[r] != 0 && (best == none || b.earlier(r, best)) {
				best = r
			}
		}
		if listed {
			b.nodeOf[best], leads[best] = lead, i
		}
	}
	b.rawOf = make([]int32, 0, n)
	b.flags = make([]uint8, 0, n+len(b.siteOrder))
	b.desc = make([]described, 0, n+len(b.siteOrder))
	b.joined = make(map[int32]*joined, len(leads))
	for r := range int32(n) {
		switch b.nodeOf[r] {
		case skip:
			continue
		case lead:
			b.joinNode(int32(len(b.rawOf)), groups[leads[r]])
		default:
			if b.raw[r]&isListed == 0 {
				b.nodeOf[r] = none
				continue
			}
			b.flags = append(b.flags, b.raw[r]&isKnown)
			b.desc = append(b.desc, b.described[r])
		}
		b.nodeOf[r] = int32(len(b.rawOf))
		b.rawOf = append(b.rawOf, r)
	}
	for _, g := range groups {
		x := none
		for _, r := range g {
			x = max(x, b.nodeOf[r])
		}
		for _, r := range g {
			b.nodeOf[r] = x
		}
	}
	b.siteNode = make([]int32, len(b.siteKnown))
	for _, s := range b.siteOrder {
		b.siteNode[s] = int32(len(b.desc))
		b.desc = append(b.desc, described{meeting: none, site: s})
		var known uint8
		if b.siteKnown[s] {
			known = nodeKnown
		}
		b.flags = append(b.flags, known)
	}
	b.held = make([]int64, len(b.desc))
	for i := range b.desc {
		b.held[i] = never
		if m := b.desc[i].meeting; m != none {
			b.held[i] = b.interviews[m].start
		}
	}
}

// joinNode makes the next node of several raw persons, whose records are read together.
func (b *builder) joinNode(x int32, raws []int32) {
	j := &joined{raws: raws}
	var met []appearance
	flags := nodeJoined
	for _, r := range raws {
		met = append(met, b.appearances[b.appearAt[r]:b.appearAt[r+1]]...)
		j.entries = append(j.entries, b.entriesOf(r)...)
		flags |= b.raw[r] & isKnown
	}
	slices.SortFunc(met, b.byTime)
	slices.SortFunc(j.entries, b.byEntry)
	b.flags = append(b.flags, flags)
	b.desc = append(b.desc, b.describe(met, j.entries))
	b.joined[x] = j
}

// earlier orders the records of one person: by time, then by id.
func (b *builder) earlier(x, y int32) bool {
	return cmp.Or(cmp.Compare(b.first(x), b.first(y)), compareBool(b.raw[x]&isKnown == 0, b.raw[y]&isKnown == 0), cmp.Compare(x, y)) < 0
}

// first is the time of the earliest record of a raw person.
func (p *Prepared) first(raw int32) int64 {
	if p.appearAt[raw] == p.appearAt[raw+1] {
		return never
	}
	return p.interviews[p.appearances[p.appearAt[raw]].interview].start
}

// describe reads one person's appearances, which come sorted by time and interview, and entries: the first network size
// told counts, and their site where no other is known.
func (g *gathering) describe(met []appearance, told []entry) described {
	d := described{meeting: none, site: none}
	role, site := int16(0), none
	for i := 0; i < len(met); {
		told, seems, best := int8(0), false, i
		j := i
		for ; j < len(met) && g.sameMeeting(&met[j], &met[i]); j++ {
			told = max(told, met[j].told)
			m := g.interviews[met[j].interview].marks
			seems = seems || met[j].marks&isRespondent != 0 && (m&isHeld != 0 || m&isSummarised == 0)
			if x, y := g.interviews[met[j].interview].key, g.interviews[met[best].interview].key; x != none && (y == none || g.keys.compare(x, y) < 0) {
				best = j
			}
		}
		interviewed := told == 2 || told == 0 && seems
		for k := i; k < j; k++ {
			at := g.siteOf(&met[k])
			if interviewed {
				d.role, d.site = cmp.Or(d.role, met[k].role), orSite(d.site, at)
			}
			role, site = cmp.Or(role, met[k].role), orSite(site, at)
		}
		if interviewed && !d.interviewed {
			d.interviewed, d.meeting = true, met[best].interview
		}
		i = j
	}
	d.role, d.site = cmp.Or(d.role, role), orSite(d.site, site)
	for i := range told {
		if !d.sized && told[i].sized {
			d.size, d.sized = told[i].size, true
		}
		d.site = orSite(d.site, told[i].site)
	}
	return d
}

func orSite(x, y int32) int32 {
	if x == none {
		return y
	}
	return x
}

// entriesOfNode are how a person was reached, the earliest first.
func (b *builder) entriesOfNode(n int32) []entry {
	switch {
	case b.flags[n]&nodeJoined != 0:
		return b.joined[n].entries
	case b.isPerson(n):
		return b.entriesOf(b.rawOf[n])
	}
	return nil
}

// cameBy says how the person came in: whether marked as a seed, and whether only the referrals told in that very
// interview, at, may explain it. Own is the person's first referral told by himself, or nil.
func (b *builder) cameBy(n int32, own *telling) (seed, closed bool, at int32) {
	es := b.entriesOfNode(n)
	first := slices.IndexFunc(es, func(e entry) bool { return e.seed || e.mode != 0 })
	if own != nil {
		if first < 0 {
			return false, false, own.interview
		}
		if e := &es[first]; cmp.Or(cmp.Compare(b.toldAt(own), b.interviews[e.interview].start), b.meetings.compare(own.interview, e.interview)) < 0 {
			return false, false, own.interview
		}
	}
	if first < 0 {
		return false, false, none
	}
	e := &es[first]
	switch surveyv1.RecruitmentMode(e.mode) {
	case surveyv1.RecruitmentMode_RECRUITMENT_MODE_UNSPECIFIED, surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED:
		return e.seed, false, e.interview
	}
	return e.seed, true, e.interview
}

// siteID is the id of a site's node: marked as a site, and taken by no person.
func (p *Prepared) siteID(site int32) string {
	id := SitePrefix + p.sites.text(site)
	for {
		if _, taken := p.people.find([]byte(id)); !taken {
			return id
		}
		id = SitePrefix + id
	}
}

// graph puts nodes and edges together.
func (b *builder) graph() *servicev1.ReferralGraph {
	g := &servicev1.ReferralGraph{Nodes: make([]*servicev1.ReferralNode, len(b.desc)), Edges: make([]*servicev1.ReferralEdge, 0, len(b.edges))}
	nodes := make([]servicev1.ReferralNode, len(b.desc))
	people, sites := b.people.all(), b.sites.all()
	ids := make([]string, 0, len(b.desc))
	for _, r := range b.rawOf {
		ids = append(ids, people[r])
	}
	for _, s := range b.siteOrder {
		ids = append(ids, b.siteID(s))
	}
	kinds := [2]string{KindPerson, KindSite}
	words := newEnumWords()
	for i := range nodes {
		d, out := &b.desc[i], &nodes[i]
		g.Nodes[i] = out
		out.PersonId, out.RootId = &ids[i], &ids[b.root[i]]
		out.Wave, out.Recruits, out.Descendants = &b.wave[i], &b.recruits[i], &b.below[i]
		if !b.isPerson(int32(i)) {
			out.Kind, out.SiteId = &kinds[1], &sites[d.site]
			if kind := b.siteKind[d.site]; kind != "" {
				out.Role = &kind
			}
			continue
		}
		out.Kind = &kinds[0]
		if r := words.role(d.role); r != "" {
			out.Role = &r
		}
		if d.site != none {
			out.SiteId = &sites[d.site]
		}
		out.Seed, out.Interviewed = proto.Bool(b.flags[i]&nodeSeed != 0), proto.Bool(d.interviewed)
		if d.interviewed {
			out.InterviewKey = proto.String(b.keys.text(b.interviews[d.meeting].key))
		}
		if d.sized {
			out.NetworkSize = proto.Int32(d.size)
		}
		if b.flags[i]&nodeJoined != 0 {
			for _, r := range b.joined[int32(i)].raws {
				if r != b.rawOf[i] && b.raw[r] != 0 {
					out.MergedIds = append(out.MergedIds, people[r])
				}
			}
		}
	}
	b.addEdges(g, ids, words)
	return g
}

func (b *builder) addEdges(g *servicev1.ReferralGraph, ids []string, words *enumWords) {
	edges := make([]servicev1.ReferralEdge, len(b.edges))
	referrals := b.referrals.all()
	for i := range b.edges {
		e, out := &b.edges[i], &edges[i]
		if e.again {
			continue
		}
		t := &b.tellings[e.told]
		g.Edges = append(g.Edges, out)
		out.ReferralId = &referrals[e.told]
		out.State, out.Primary = servicev1.EdgeState(e.state).Enum(), proto.Bool(e.primary)
		if e.from != none {
			out.FromId = &ids[e.from]
		}
		if e.to != none {
			out.ToId = &ids[e.to]
		}
		if m := words.mode(t.mode); m != "" {
			out.Mode = &m
		}
		if r := words.relation(int16(t.relation)); r != "" {
			out.Relation = &r
		}
		if t.made != never {
			out.MadeTimeMs = proto.Int64(t.made)
		}
	}
}

// enumWords remembers the words of enum values.
type enumWords struct {
	modes     map[surveyv1.ReferralMode]string
	relations map[surveyv1.ReferralRelation]string
	roles     map[surveyv1.PersonRole]string
	ways      map[surveyv1.RecruitmentMode]string
}

func newEnumWords() *enumWords {
	return &enumWords{map[surveyv1.ReferralMode]string{}, map[surveyv1.ReferralRelation]string{}, map[surveyv1.PersonRole]string{},
		map[surveyv1.RecruitmentMode]string{}}
}

func (w *enumWords) mode(m int16) string {
	return wordOf(w.modes, surveyv1.ReferralMode(m), "REFERRAL_MODE_")
}

func (w *enumWords) relation(r int16) string {
	return wordOf(w.relations, surveyv1.ReferralRelation(r), "REFERRAL_RELATION_")
}

func (w *enumWords) role(r int16) string {
	return wordOf(w.roles, surveyv1.PersonRole(r), "PERSON_ROLE_")
}

func (w *enumWords) way(m int16) string {
	return wordOf(w.ways, surveyv1.RecruitmentMode(m), "RECRUITMENT_MODE_")
}

func wordOf[E interface {
	comparable
	String() string
}](words map[E]string, e E, prefix string) string {
	s, ok := words[e]
	if !ok {
		s = lowerName(e.String(), prefix)
		words[e] = s
	}
	return s
}
