package referral

import (
	"cmp"
	"slices"
	"strings"

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
	key, site, role string
	interviewed     bool
	held            int64 // the first interview, or never
	size            *int32
	entries         []entry // the earliest first
}

// nodeInfo is a node being made.
type nodeInfo struct {
	*described
	id             string
	isSite, isSeed bool
	merged         []string
}

// builder makes the graph from prepared facts. Nodes are in the order of kind and id before any choice is made.
type builder struct {
	*Prepared
	parents    []int32 // of the union of merged raw persons
	group      []int32 // the raw persons of the nodes, each node's together
	groupAt    []int32 // by node: where its raw persons begin
	nodes      []nodeInfo
	nodeOf     []int32 // by raw person; none if not in the graph
	siteNode   []int32 // by site
	known      []bool  // by node: some record describes it
	edges      []edge
	parent     []int32 // by node: primary recruiter
	parentEdge []int32 // by node: the primary edge
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

// merge joins the raw persons who are the same. An id that no fact names joins those merged with it.
func (b *builder) merge(merged map[string]string) {
	b.parents = make([]int32, len(b.raw), len(b.raw)+len(merged))
	for i := range b.parents {
		b.parents[i] = int32(i)
	}
	unnamed := map[string]int32{}
	number := func(id string) int32 {
		if i, ok := b.ids[id]; ok {
			return i
		}
		i, ok := unnamed[id]
		if !ok {
			i = int32(len(b.parents))
			unnamed[id] = i
			b.parents = append(b.parents, i)
		}
		return i
	}
	for x, y := range merged {
		if x != "" && y != "" {
			join(b.parents, number(x), number(y))
		}
	}
}

// node is the node of a raw person, or none.
func (b *builder) node(raw int32) int32 {
	if raw < 0 {
		return none
	}
	return b.nodeOf[raw]
}

// makeNodes numbers the nodes in the order of their ids, each of which is that of the earliest record.
func (b *builder) makeNodes() {
	n := len(b.raw)
	listed := make([]bool, len(b.parents))
	best := slices.Repeat([]int32{none}, len(b.parents)) // by root: its earliest record
	rootOf := make([]int32, n)
	for i := range b.raw {
		rootOf[i] = treeOf(b.parents, int32(i))
		if b.raw[i].listed {
			listed[rootOf[i]] = true
		}
	}
	for i := range b.raw {
		if r := rootOf[i]; listed[r] && b.isTold(int32(i)) && (best[r] == none || b.earlier(int32(i), best[r])) {
			best[r] = int32(i)
		}
	}
	b.nodes = make([]nodeInfo, 0, n+len(b.siteIDs))
	nodeOfRoot := slices.Repeat([]int32{none}, len(b.parents))
	for _, i := range b.byID {
		if r := rootOf[i]; best[r] == i {
			nodeOfRoot[r] = int32(len(b.nodes))
			b.nodes = append(b.nodes, nodeInfo{id: b.raw[i].id})
		}
	}
	b.known = make([]bool, len(b.nodes), len(b.nodes)+len(b.siteIDs))
	b.nodeOf = make([]int32, n)
	b.groupAt = make([]int32, len(b.nodes)+1)
	for i := range b.raw {
		b.nodeOf[i] = nodeOfRoot[rootOf[i]]
		if b.nodeOf[i] != none {
			b.groupAt[b.nodeOf[i]+1]++
		}
	}
	for i := range b.nodes {
		b.groupAt[i+1] += b.groupAt[i]
	}
	b.group = make([]int32, b.groupAt[len(b.nodes)])
	next := slices.Clone(b.groupAt)
	for _, i := range b.byID {
		x := b.nodeOf[i]
		if x == none {
			continue
		}
		b.group[next[x]] = i
		next[x]++
		if !b.isTold(i) {
			continue
		}
		b.known[x] = b.known[x] || b.raw[i].known
		if b.raw[i].id != b.nodes[x].id {
			b.nodes[x].merged = append(b.nodes[x].merged, b.raw[i].id)
		}
	}
	b.makeSiteNodes()
}

// isTold says that some record or referral names the raw person, and not only a decision about who is the same.
func (b *builder) isTold(raw int32) bool { return b.raw[raw].known || b.raw[raw].listed }

// earlier orders the records of one person: by time, then by id.
func (b *builder) earlier(x, y int32) bool {
	p, q := &b.raw[x], &b.raw[y]
	return cmp.Or(cmp.Compare(p.first, q.first), compareBool(!p.known, !q.known), strings.Compare(p.id, q.id)) < 0
}

func (b *builder) makeSiteNodes() {
	order := make([]int32, len(b.siteIDs))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(x, y int32) int { return strings.Compare(b.siteIDs[x], b.siteIDs[y]) })
	b.siteNode = make([]int32, len(b.siteIDs))
	for _, i := range order {
		site := b.siteIDs[i]
		id := SitePrefix + site
		for taken := true; taken; {
			if _, taken = b.ids[id]; taken {
				id = SitePrefix + id
			}
		}
		b.siteNode[i] = int32(len(b.nodes))
		kind, known := b.sites[site]
		b.nodes = append(b.nodes, nodeInfo{described: &described{site: site, role: kind, held: never}, id: id, isSite: true})
		b.known = append(b.known, known)
	}
}

// describe finds what the records of each person say; those of merged people are read together.
func (b *builder) describe() {
	for n := range len(b.groupAt) - 1 {
		raws := b.group[b.groupAt[n]:b.groupAt[n+1]]
		if len(raws) == 1 {
			b.nodes[n].described = &b.described[raws[0]]
			continue
		}
		var met []appearance
		var told []entry
		for _, r := range raws {
			met = append(met, b.appearances[b.appearAt[r]:b.appearAt[r+1]]...)
			told = append(told, b.entries[b.entryAt[r]:b.entryAt[r+1]]...)
		}
		slices.SortFunc(met, byTime)
		slices.SortFunc(told, byEntry)
		d := &described{}
		d.describe(met)
		d.read(told)
		b.nodes[n].described = d
	}
}

// describe reads one person's appearances, which come sorted by time and interview.
func (d *described) describe(met []appearance) {
	d.held = never
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
			if interviewed {
				d.role, d.site = cmp.Or(d.role, met[k].role), cmp.Or(d.site, met[k].site)
			}
			role, site = cmp.Or(role, met[k].role), cmp.Or(site, met[k].site)
		}
		if interviewed && !d.interviewed {
			d.interviewed, d.key, d.held = true, key, met[i].time
		}
		i = j
	}
	d.role, d.site = cmp.Or(d.role, role), cmp.Or(d.site, site)
}

// read notes entries, the first network size told among them, and a site where none is known yet.
func (d *described) read(told []entry) {
	d.entries = told
	for i := range told {
		if e := &told[i]; d.size == nil && e.size != nil {
			d.size = e.size
		}
		d.site = cmp.Or(d.site, told[i].site)
	}
}

// cameBy says how the person came in: whether marked as a seed, and whether only the referrals told in that very
// interview may explain it. Own is the person's first referral told by himself, or nil.
func (b *builder) cameBy(n int32, own *edge) (seed, closed bool, at entry) {
	es := b.nodes[n].entries
	first := -1
	for i := range es {
		if e := &es[i]; e.seed || e.mode != surveyv1.RecruitmentMode_RECRUITMENT_MODE_UNSPECIFIED {
			first = i
			break
		}
	}
	if own != nil && (first < 0 || cmp.Or(cmp.Compare(own.time, es[first].time), strings.Compare(own.interview, es[first].interview)) < 0) {
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
	g := &servicev1.ReferralGraph{Nodes: make([]*servicev1.ReferralNode, len(b.nodes)), Edges: make([]*servicev1.ReferralEdge, len(b.edges))}
	nodes := make([]servicev1.ReferralNode, len(b.nodes))
	for i := range b.nodes {
		n, out := &b.nodes[i], &nodes[i]
		g.Nodes[i] = out
		out.PersonId = &n.id
		out.Wave, out.Recruits, out.Descendants = &b.wave[i], &b.recruits[i], &b.below[i]
		out.RootId = &b.nodes[b.root[i]].id
		out.MergedIds = n.merged
		out.Kind = proto.String(KindSite)
		if n.role != "" {
			out.Role = &n.role
		}
		if n.site != "" || n.isSite {
			out.SiteId = &n.site
		}
		if n.isSite {
			continue
		}
		*out.Kind = KindPerson
		out.Seed, out.Interviewed = &n.isSeed, &n.interviewed
		if n.interviewed {
			out.InterviewKey = &n.key
		}
		if n.size != nil {
			out.NetworkSize = proto.Int32(*n.size)
		}
	}
	edges := make([]servicev1.ReferralEdge, len(b.edges))
	words := newEnumWords()
	for i := range b.edges {
		e, out := &b.edges[i], &edges[i]
		g.Edges[i] = out
		out.ReferralId = proto.String(e.rec.GetReferralId())
		out.State, out.Primary = &e.state, &e.primary
		if e.from != none {
			out.FromId = &b.nodes[e.from].id
		}
		if e.to != none {
			out.ToId = &b.nodes[e.to].id
		}
		if m := words.mode(e.rec.GetMode()); m != "" {
			out.Mode = proto.String(m)
		}
		if r := words.relation(e.rec.GetRelation()); r != "" {
			out.Relation = proto.String(r)
		}
		if e.made != never {
			out.MadeTimeMs = &e.made
		}
	}
	return g
}

// enumWords remembers the words of enum values.
type enumWords struct {
	modes     map[surveyv1.ReferralMode]string
	relations map[surveyv1.ReferralRelation]string
}

func newEnumWords() *enumWords {
	return &enumWords{map[surveyv1.ReferralMode]string{}, map[surveyv1.ReferralRelation]string{}}
}

func (w *enumWords) mode(m surveyv1.ReferralMode) string {
	s, ok := w.modes[m]
	if !ok {
		s = lowerName(m.String(), "REFERRAL_MODE_")
		w.modes[m] = s
	}
	return s
}

func (w *enumWords) relation(r surveyv1.ReferralRelation) string {
	s, ok := w.relations[r]
	if !ok {
		s = lowerName(r.String(), "REFERRAL_RELATION_")
		w.relations[r] = s
	}
	return s
}
