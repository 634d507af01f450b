package linkage

import (
	"cmp"
	"context"
	"maps"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
	"github.com/hearth-survey/hearth/server/store"
)

// touch finds who is to be compared anew: the affected with all whom they were linked to and all who share a key with them
// now, and the people of keys that too many have since, or not too many any more.
func (w *work) touch(ctx context.Context) error {
	if err := w.read(ctx); err != nil {
		return err
	}
	for _, id := range w.affected {
		k := w.people[id]
		rows, err := w.links(ctx, id)
		if err != nil {
			return err
		}
		for other := range rows {
			w.touched[pairOf(id, other)] = true
		}
		for _, key := range k.keys {
			m, err := w.posting(ctx, key)
			if err != nil {
				return err
			}
			if _, after := w.used(m); after {
				for _, other := range m.after() {
					if other != id {
						w.touched[pairOf(id, other)] = true
					}
				}
			}
		}
	}
	for _, m := range w.postings {
		if before, after := w.used(m); before != after {
			if err := w.touchAll(ctx, m, after); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads who has the keys of those who are affected, one key after the other as they stand in the index.
func (w *work) read(ctx context.Context) error {
	var keys []uint64
	for _, id := range w.affected {
		k := w.people[id]
		keys = append(append(keys, k.keys...), k.were...)
	}
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if _, err := w.posting(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// touchAll touches the people of a key that is used since, or is not any more: then those of them who are linked.
func (w *work) touchAll(ctx context.Context, m *members, used bool) error {
	ids := m.before
	if used {
		ids = m.after()
	}
	for i, a := range ids {
		rows, err := w.links(ctx, a)
		if err != nil {
			return err
		}
		for _, b := range ids[:i] {
			if _, linked := rows[b]; used || linked {
				w.touched[pairOf(a, b)] = true
			}
		}
	}
	return nil
}

// weigh compares those who were touched.
func (w *work) weigh(ctx context.Context) error {
	var ids []string
	touched := make([]pair, 0, len(w.touched))
	for p := range w.touched {
		ids, touched = append(ids, p[0], p[1]), append(touched, p)
	}
	slices.Sort(ids)
	if err := w.load(ctx, ids); err != nil {
		return err
	}
	compare := make([]bool, len(touched))
	for i, p := range touched {
		a, b := w.people[p[0]], w.people[p[1]]
		if a.person != nil && b.person != nil && !a.person.ListedWith(b.person) {
			var err error
			if compare[i], err = w.share(ctx, a, b); err != nil {
				return err
			}
		}
	}
	came := make([]outcome, len(touched))
	atOnce(len(touched), func(i int) {
		if compare[i] {
			came[i].bare = w.m.Weigh(w.people[touched[i][0]].person, w.people[touched[i][1]].person)
			came[i].there = came[i].bare >= w.m.LeastWeight()
		}
	})
	for i, p := range touched {
		w.note(p[0], p[1], came[i])
		w.note(p[1], p[0], came[i])
	}
	return nil
}

func (w *work) note(a, b string, o outcome) {
	if w.now[a] == nil {
		w.now[a] = map[string]outcome{}
	}
	w.now[a][b] = o
}

// share says whether two people have a key that is used.
func (w *work) share(ctx context.Context, a, b *known) (bool, error) {
	for i, j := 0, 0; i < len(a.keys) && j < len(b.keys); {
		switch c := cmp.Compare(a.keys[i], b.keys[j]); {
		case c < 0:
			i++
		case c > 0:
			j++
		default:
			m, err := w.posting(ctx, a.keys[i])
			if err != nil {
				return false, err
			}
			if _, after := w.used(m); after {
				return true, nil
			}
			i, j = i+1, j+1
		}
	}
	return false, nil
}

// before is the link that two people had.
func (w *work) before(ctx context.Context, p pair) (outcome, error) {
	for i := range p { // one of the two is affected, and has been asked about
		if rows := w.rows[p[i]]; rows != nil {
			bare, ok := rows[p[1-i]]
			return outcome{bare, ok}, nil
		}
	}
	rows, err := w.links(ctx, p[0])
	bare, ok := rows[p[1]]
	return outcome{bare, ok}, err
}

// strong says whether there is a link, and it is evidence for others.
func (o outcome) strong() bool { return o.there && o.bare >= dedup.StrongLink }

// linksAfter are the links that a person will have.
func (w *work) linksAfter(ctx context.Context, id string) (map[string]float64, error) {
	if rows := w.later[id]; rows != nil {
		return rows, nil
	}
	before, err := w.links(ctx, id)
	if err != nil {
		return nil, err
	}
	after := maps.Clone(before)
	for other, o := range w.now[id] {
		if o.there {
			after[other] = o.bare
		} else {
			delete(after, other)
		}
	}
	w.later[id] = after
	return after, nil
}

// disturb finds the pairs for which what their households say may have changed: all links between two households between
// which a strong one has come, changed or gone, and all of a household that is one person no longer, or one again.
func (w *work) disturb(ctx context.Context) error {
	between := map[pair]bool{}
	for p := range w.touched {
		if o := w.now[p[0]][p[1]]; o.there {
			w.again[p] = true
		}
		was, err := w.before(ctx, p)
		if err != nil {
			return err
		}
		if !was.strong() && !w.now[p[0]][p[1]].strong() {
			continue
		}
		a, b := w.people[p[0]], w.people[p[1]]
		for _, x := range append(slices.Clone(a.homes), a.left...) {
			for _, y := range append(slices.Clone(b.homes), b.left...) {
				if x != y {
					between[pairOf(x, y)] = true
				}
			}
		}
	}
	for p := range between {
		if err := w.disturbBetween(ctx, p[0], p[1]); err != nil {
			return err
		}
	}
	changed := map[string]bool{}
	for _, id := range w.affected {
		for _, home := range append(slices.Clone(w.people[id].homes), w.people[id].left...) {
			changed[home] = true
		}
	}
	for home := range changed {
		m, err := w.home(ctx, home)
		if err != nil {
			return err
		}
		if (len(m.before) < 2) == (m.size() < 2) {
			continue
		}
		for _, id := range m.after() {
			rows, err := w.linksAfter(ctx, id)
			if err != nil {
				return err
			}
			for other := range rows {
				w.again[pairOf(id, other)] = true
			}
		}
	}
	return nil
}

func (w *work) disturbBetween(ctx context.Context, x, y string) error {
	of, err := w.home(ctx, x)
	if err != nil {
		return err
	}
	to, err := w.home(ctx, y)
	if err != nil {
		return err
	}
	for _, id := range of.after() {
		rows, err := w.linksAfter(ctx, id)
		if err != nil {
			return err
		}
		for other := range rows {
			if to.has(other) {
				w.again[pairOf(id, other)] = true
			}
		}
	}
	return nil
}

// score explains the pairs anew, and writes what is kept of them.
func (w *work) score(ctx context.Context) error {
	for p := range w.touched {
		was, err := w.before(ctx, p)
		if err != nil {
			return err
		}
		if was.there && !w.now[p[0]][p[1]].there {
			w.out = append(w.out, store.IndexEntry{Key: linkKey(w.g, p[0], p[1])}, store.IndexEntry{Key: linkKey(w.g, p[1], p[0])})
		}
	}
	var ids []string
	for p := range w.again {
		ids = append(ids, p[0], p[1])
	}
	slices.Sort(ids)
	if err := w.load(ctx, ids); err != nil {
		return err
	}
	h := &homes{w: w, ctx: ctx, strong: map[pair][]dedup.Link{}}
	for p := range w.again {
		is, touched := w.now[p[0]][p[1]]
		if !touched {
			var err error
			if is, err = w.before(ctx, p); err != nil {
				return err
			}
		}
		entries, err := linkEntries(w.g, w.m, is.bare, w.people[p[0]].person, w.people[p[1]].person, h)
		if err != nil {
			return err
		}
		w.out = append(w.out, entries...)
	}
	return h.err
}

// linkEntries scores two people, and writes the link both ways.
func linkEntries(g int64, m *dedup.Model, bare float64, a, b *dedup.Person, h dedup.Homes) ([]store.IndexEntry, error) {
	there, err := writeLink(bare, shown(m, m.Score(a, b, h)))
	if err != nil {
		return nil, err
	}
	back, err := writeLink(bare, nil)
	if err != nil {
		return nil, err
	}
	p := pairOf(a.ID(), b.ID())
	return []store.IndexEntry{{Key: linkKey(g, p[0], p[1]), Value: there}, {Key: linkKey(g, p[1], p[0]), Value: back}}, nil
}

// shown is a pair that is likely enough to be shown, or nothing.
func shown(m *dedup.Model, p *servicev1.MatchPair) *servicev1.MatchPair {
	if p == nil || !m.Possible(p) {
		return nil
	}
	return p
}

// homes tells the engine what households have in common. The first error is kept: the engine cannot take one.
type homes struct {
	w      *work
	ctx    context.Context
	strong map[pair][]dedup.Link
	err    error
}

// Size is how many people were ever listed in a household.
func (h *homes) Size(home string) int {
	m, err := h.w.home(h.ctx, home)
	if err != nil {
		h.err = cmp.Or(h.err, err)
		return 0
	}
	return m.size()
}

// Strong lists the strong links between two households.
func (h *homes) Strong(x, y string) []dedup.Link {
	at := pairOf(x, y)
	if links, ok := h.strong[at]; ok {
		return links
	}
	links, err := h.w.strong(h.ctx, at[0], at[1])
	h.err = cmp.Or(h.err, err)
	if h.strong != nil {
		h.strong[at] = links
	}
	return links
}

func (w *work) strong(ctx context.Context, x, y string) ([]dedup.Link, error) {
	of, err := w.home(ctx, x)
	if err != nil {
		return nil, err
	}
	to, err := w.home(ctx, y)
	if err != nil {
		return nil, err
	}
	seen := map[pair]bool{}
	var out []dedup.Link
	for _, id := range of.after() {
		rows, err := w.linksAfter(ctx, id)
		if err != nil {
			return nil, err
		}
		for other, bare := range rows {
			if p := pairOf(id, other); bare >= dedup.StrongLink && to.has(other) && !seen[p] {
				seen[p] = true
				out = append(out, dedup.Link{A: p[0], B: p[1], Weight: bare})
			}
		}
	}
	return out, nil
}
