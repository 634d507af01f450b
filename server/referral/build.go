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

// builder makes the graph from gathered facts. Nodes are sorted by kind and id before any choice is made.
type builder struct {
	*gathering
	nodes      []*servicev1.ReferralNode
	nodeOf     []int32 // by root of the union of raw persons; none if not in the graph
	siteNode   map[string]int32
	known      []bool  // by node: some record describes it
	firstHeld  []int64 // by node: its first interview, or never
	entries    []entry
	entryRange [][2]int32 // by node: its entries
	edges      []edge
	parent     []int32 // by node: primary recruiter
	parentEdge []int32 // by node: the primary edge
}

// Build makes the graph of who referred whom. It depends on nothing but the facts, and not on their order.
//
// Nodes are the people who were interviewed or are an end of a referral, after merging, and the sites that referred. A
// seed is only who was marked as one in the interview by which he came in. Of all referrals of a person one is primary at
// most: of the earliest interview in which he told how he came, the main one, else one with a coupon, else the one made
// first, else the one with the smallest id. None is primary where that interview marks a seed, says that he was drawn or
// met otherwise, or has him referred by himself. See ReferralEdge for what else keeps a referral out.
func Build(f Facts) *servicev1.ReferralGraph {
	b := &builder{gathering: gather(f)}
	for _, r := range f.Recruitments {
		if id := recruited(r, b.gathering); id != "" {
			b.raw[b.list(id)].known = true
		}
	}
	ends := b.ends(f.Referrals)
	b.makeNodes(ends)
	b.describe()
	b.entries = entries(f, b.gathering, b.node)
	b.readEntries()
	b.makeEdges(ends)
	issued := b.issuers(f)
	b.redeem(issued)
	b.judge()
	b.plant()
	b.measure()
	return b.graph()
}

// node is the node of a raw person, or none.
func (b *builder) node(raw int32) int32 {
	if raw < 0 {
		return none
	}
	return b.nodeOf[b.find(raw)]
}

// makeNodes merges raw persons and numbers the nodes in the order of their ids.
func (b *builder) makeNodes(ends []end) {
	b.nodeOf = make([]int32, len(b.raw))
	listed := make([]bool, len(b.raw))
	for i := range b.raw {
		b.nodeOf[i] = none
		if b.raw[i].listed {
			listed[b.find(int32(i))] = true
		}
	}
	best := make([]int32, len(b.raw)) // by root: its earliest record
	for i := range best {
		best[i] = none
	}
	var roots []int32
	for i := range b.raw {
		root := b.find(int32(i))
		if !listed[root] || !b.raw[i].known && !b.raw[i].listed {
			continue
		}
		if best[root] == none {
			roots = append(roots, root)
			best[root] = int32(i)
		} else if b.earlier(int32(i), best[root]) {
			best[root] = int32(i)
		}
	}
	slices.SortFunc(roots, func(x, y int32) int { return cmp.Compare(b.raw[best[x]].id, b.raw[best[y]].id) })
	b.nodes = make([]*servicev1.ReferralNode, len(roots), len(roots)+8)
	b.known = make([]bool, len(roots), len(roots)+8)
	for i, root := range roots {
		b.nodeOf[root] = int32(i)
		b.nodes[i] = &servicev1.ReferralNode{PersonId: &b.raw[best[root]].id, Kind: proto.String(KindPerson)}
	}
	for i := range b.raw {
		n := b.node(int32(i))
		if n == none || !b.raw[i].known && !b.raw[i].listed {
			continue
		}
		b.known[n] = b.known[n] || b.raw[i].known
		if b.raw[i].id != b.nodes[n].GetPersonId() {
			b.nodes[n].MergedIds = append(b.nodes[n].MergedIds, b.raw[i].id)
		}
	}
	for _, n := range b.nodes {
		slices.Sort(n.MergedIds)
	}
	b.makeSiteNodes(ends)
}

// earlier orders the records of one person: by time, then by id.
func (b *builder) earlier(x, y int32) bool {
	p, q := &b.raw[x], &b.raw[y]
	return cmp.Or(cmp.Compare(p.first, q.first), compareBool(!p.known, !q.known), cmp.Compare(p.id, q.id)) < 0
}

func (b *builder) makeSiteNodes(ends []end) {
	b.siteNode = map[string]int32{}
	var sites []string
	for _, e := range ends {
		if e.site != "" {
			sites = append(sites, e.site)
		}
	}
	slices.Sort(sites)
	for _, site := range slices.Compact(sites) {
		id := SitePrefix + site
		for taken := true; taken; {
			if _, taken = b.ids[id]; taken {
				id = SitePrefix + id
			}
		}
		b.siteNode[site] = int32(len(b.nodes))
		kind, known := b.sites[site]
		n := &servicev1.ReferralNode{PersonId: proto.String(id), Kind: proto.String(KindSite), SiteId: proto.String(site)}
		if kind != "" {
			n.Role = proto.String(kind)
		}
		b.nodes = append(b.nodes, n)
		b.known = append(b.known, known)
	}
}

// describe fills in what the appearances of each person say.
func (b *builder) describe() {
	b.firstHeld = make([]int64, len(b.nodes))
	for i := range b.firstHeld {
		b.firstHeld[i] = never
	}
	for i := range b.appearances {
		b.appearances[i].node = b.node(b.appearances[i].raw)
	}
	slices.SortFunc(b.appearances, byPersonAndTime)
	for i := 0; i < len(b.appearances); {
		j := i + 1
		for j < len(b.appearances) && b.appearances[j].node == b.appearances[i].node {
			j++
		}
		if b.appearances[i].node != none {
			b.describeNode(b.appearances[i].node, b.appearances[i:j])
		}
		i = j
	}
}

// describeNode reads one person's appearances, which come sorted by time and interview.
func (b *builder) describeNode(n int32, met []appearance) {
	node := b.nodes[n]
	role, site := "", ""
	for i := 0; i < len(met); {
		told, seems, key := int8(0), false, ""
		j := i
		for ; j < len(met) && met[j].interview == met[i].interview && met[j].time == met[i].time; j++ {
			told = max(told, met[j].told)
			seems = seems || met[j].seems
			key = firstWord(key, met[j].key)
		}
		interviewed := told == 2 || told == 0 && seems
		for k := i; k < j; k++ {
			if interviewed && node.Role == nil && met[k].role != "" {
				node.Role = proto.String(met[k].role)
			}
			if interviewed && node.SiteId == nil && met[k].site != "" {
				node.SiteId = proto.String(met[k].site)
			}
			role, site = cmp.Or(role, met[k].role), cmp.Or(site, met[k].site)
		}
		if interviewed && !node.GetInterviewed() {
			node.Interviewed = proto.Bool(true)
			node.InterviewKey = proto.String(key)
			b.firstHeld[n] = met[i].time
		}
		i = j
	}
	if node.Role == nil && role != "" {
		node.Role = proto.String(role)
	}
	if node.SiteId == nil && site != "" {
		node.SiteId = proto.String(site)
	}
}

// readEntries notes where each person's entries are, the first network size told, and a site where none is known yet.
func (b *builder) readEntries() {
	b.entryRange = make([][2]int32, len(b.nodes))
	for i := 0; i < len(b.entries); {
		j := i
		n := b.entries[i].node
		for ; j < len(b.entries) && b.entries[j].node == n; j++ {
			e := &b.entries[j]
			if n == none {
				continue
			}
			if node := b.nodes[n]; node.NetworkSize == nil && e.size != nil {
				node.NetworkSize = proto.Int32(*e.size)
			}
			if node := b.nodes[n]; node.SiteId == nil && e.site != "" {
				node.SiteId = proto.String(e.site)
			}
		}
		if n != none {
			b.entryRange[n] = [2]int32{int32(i), int32(j)}
		}
		i = j
	}
}

// cameBy says how the person came in: whether marked as a seed, and whether only the referrals told in that very
// interview may explain it. Own is the person's first referral told by himself, or nil.
func (b *builder) cameBy(n int32, own *edge) (seed, closed bool, at entry) {
	span := b.entryRange[n]
	es := b.entries[span[0]:span[1]]
	first := -1
	for i, e := range es {
		if e.seed || e.mode != surveyv1.RecruitmentMode_RECRUITMENT_MODE_UNSPECIFIED {
			first = i
			break
		}
	}
	if own != nil && (first < 0 || cmp.Or(cmp.Compare(own.time, es[first].time), cmp.Compare(own.interview, es[first].interview)) < 0) {
		return false, false, entry{time: own.time, interview: own.interview}
	}
	if first < 0 {
		return false, false, entry{time: never}
	}
	at = es[first]
	switch at.mode {
	case surveyv1.RecruitmentMode_RECRUITMENT_MODE_UNSPECIFIED, surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED:
		return at.seed, false, at
	}
	return at.seed, true, at
}

// graph puts nodes and edges together.
func (b *builder) graph() *servicev1.ReferralGraph {
	g := &servicev1.ReferralGraph{Nodes: b.nodes, Edges: make([]*servicev1.ReferralEdge, len(b.edges))}
	for i := range b.edges {
		e := &b.edges[i]
		out := &servicev1.ReferralEdge{
			ReferralId: proto.String(e.rec.GetReferralId()), State: e.state.Enum(), Primary: proto.Bool(e.primary),
		}
		if e.from != none {
			out.FromId = b.nodes[e.from].PersonId
		}
		if e.to != none {
			out.ToId = b.nodes[e.to].PersonId
		}
		if m := lowerName(e.rec.GetMode().String(), "REFERRAL_MODE_"); m != "" {
			out.Mode = proto.String(m)
		}
		if r := lowerName(e.rec.GetRelation().String(), "REFERRAL_RELATION_"); r != "" {
			out.Relation = proto.String(r)
		}
		if e.made != never {
			out.MadeTimeMs = proto.Int64(e.made)
		}
		g.Edges[i] = out
	}
	return g
}
