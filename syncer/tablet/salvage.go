package tablet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// foreignBatch is how many bytes of records go into one batch.
const foreignBatch = 1 << 20

// foreignLane is a lane that will be sent: its entries from 1 on.
type foreignLane struct {
	id      syncer.LaneID
	digests []syncer.Digest
}

// resolve decides what of everything that was found is believed, what is bad, and what is sent where. It may be called again when
// more was found.
func (f *Foreign) resolve() error {
	f.checked, f.problems, f.lanes, f.salvage, f.blobs, f.drafts = nil, nil, nil, foreignLane{}, nil, nil
	f.key, f.good, f.order, f.salvaged, f.gone, f.told = nil, map[syncer.Digest]span{}, nil, 0, 0, 0
	if len(f.found.metas) == 0 {
		return nil // nobody's: nothing can be signed
	}
	m := f.found.metas[0]
	f.key, f.name, f.enumerator, f.study = m.key, m.name, m.enumerator, m.study
	f.device = f.whose(syncer.ID(m.device))
	f.believe()
	f.checked = f.checkLanes()
	f.plan(f.checked)
	f.nameBad(f.checked)
	if err := f.resolveBlobs(); err != nil {
		return err
	}
	return f.readDrafts()
}

// whose returns the tablet's id: what most of its records say, for they have digests and meta has none.
func (f *Foreign) whose(said syncer.ID) syncer.ID {
	named := f.named()
	votes, best := map[syncer.ID]int{}, said
	for own, b := range f.found.bodies {
		if b.opened && named[own] {
			votes[b.device]++
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(votes), func(a, b syncer.ID) int { return bytes.Compare(a[:], b[:]) }) {
		if votes[id] > votes[best] {
			best = id
		}
	}
	if best != said {
		f.problem("table meta", fault.StoreDamaged, "the tablet's id is damaged there; it is taken from the records")
	}
	return best
}

// named are the digests that a row or a lane gives to a record.
func (f *Foreign) named() map[syncer.Digest]bool {
	named := map[syncer.Digest]bool{}
	for _, c := range f.found.claims {
		if c.named {
			named[c.digest] = true
		}
	}
	for e := range f.found.known {
		named[e.digest] = true
	}
	return named
}

// believe takes the bytes whose digest a row or a lane names: for those nobody has changed.
func (f *Foreign) believe() {
	numbers := map[syncer.Digest]int64{}
	for _, c := range f.found.claims {
		if !c.pruned && (numbers[c.own] == 0 || c.n > 0 && c.n < numbers[c.own]) {
			numbers[c.own] = cmp.Or(c.n, maxRowNumber)
		}
	}
	named := f.named()
	for own, b := range f.found.bodies {
		if named[own] {
			f.good[own] = b.span
			f.order = append(f.order, own)
			if b.carved {
				f.salvaged++
			}
		}
	}
	slices.SortFunc(f.order, func(a, b syncer.Digest) int {
		return cmp.Or(cmp.Compare(numbers[a], numbers[b]), bytes.Compare(a[:], b[:]))
	})
}

// checkedForeign is a lane of the file, as far as its chain verifies.
type checkedForeign struct {
	id      syncer.LaneID
	entries []foreignEntry // from 1 on
	// rest are the others, of them linked those that continue the entry before them.
	rest   []foreignEntry
	linked map[foreignEntry]bool
	// covered is how far a receipt of the tablet's server reaches.
	covered uint64
}

// checkLanes follows the chain of every lane. Where a place was found several times, that counts which continues the chain.
func (f *Foreign) checkLanes() []checkedForeign {
	var lanes []checkedForeign
	for _, epoch := range slices.SortedFunc(maps.Keys(f.found.entries), func(a, b syncer.ID) int { return bytes.Compare(a[:], b[:]) }) {
		l := checkedForeign{id: syncer.LaneID{Device: f.device, Epoch: epoch}}
		all := slices.Clone(f.found.entries[epoch])
		slices.SortFunc(all, func(a, b foreignEntry) int {
			return cmp.Or(cmp.Compare(a.seq, b.seq), bytes.Compare(a.digest[:], b.digest[:]), bytes.Compare(a.chain[:], b.chain[:]))
		})
		chain, next := syncer.Chain{}, uint64(1)
		for _, e := range all {
			fits := e.seq == next && syncer.NextChain(chain, l.id, next, e.digest) == e.chain
			switch {
			case fits:
				l.entries = append(l.entries, e)
				chain, next = e.chain, next+1
			default: // beyond a break, or another for a place that is found
				l.rest = append(l.rest, e)
			}
		}
		l.link()
		if len(l.rest) > 0 && l.rest[len(l.rest)-1].seq >= next {
			f.problem("lane "+l.id.String(), fault.BadChain, "its chain breaks behind entry %d; what is behind is sent by itself", next-1)
		}
		l.covered = f.covered(&l)
		lanes = append(lanes, l)
	}
	return lanes
}

// link finds the entries beyond a break that continue the one before them: their digests are what the tablet wrote.
func (l *checkedForeign) link() {
	l.linked = map[foreignEntry]bool{}
	before := map[uint64][]syncer.Chain{}
	for _, e := range l.rest {
		for _, chain := range before[e.seq-1] {
			if syncer.NextChain(chain, l.id, e.seq, e.digest) == e.chain {
				l.linked[e] = true
			}
		}
		if len(before[e.seq]) < 4 {
			before[e.seq] = append(before[e.seq], e.chain)
		}
	}
}

// covered is how far receipts of the tablet's server over the lane reach, that verify and are over this very chain.
func (f *Foreign) covered(l *checkedForeign) uint64 {
	most := uint64(0)
	for _, r := range f.found.receipts {
		seq := uint64(r.number(receiptSeq))
		if !bytes.Equal(r.bytes(receiptEpoch), l.id.Epoch[:]) || seq <= most || seq > uint64(len(l.entries)) {
			continue
		}
		m := &servicev1.Receipt{Lane: l.id.Proto(), Seq: proto.Uint64(seq), Chain: r.bytes(receiptChain), TimeMs: proto.Int64(r.number(receiptTime)),
			Keeper: r.bytes(receiptKeeper), Signature: r.bytes(receiptSignature)}
		if _, head, err := syncer.VerifyReceipt(m, f.found.metas[0].server); err == nil && head.Chain == l.entries[seq-1].chain {
			most = seq
		}
	}
	return most
}

// underReceipt are the records whose bytes headquarters has signed for, in whichever lane: a record may be listed again in a
// later one, over which there is no receipt yet.
func (f *Foreign) underReceipt(lanes []checkedForeign) map[syncer.Digest]bool {
	covered := map[syncer.Digest]bool{}
	for _, l := range lanes {
		for _, e := range l.entries {
			if e.seq <= l.covered && !f.found.refused[foreignPlace{e.epoch, e.seq}] {
				covered[e.digest] = true
			}
		}
	}
	return covered
}

// plan decides what is sent where. Each lane is sent as far as it is whole: its chain verifies and its records are good.
// A lane is never sent past a damaged record, for the tablet itself may have it whole, and a lane that headquarters
// holds to the end would tell it that there is nothing more to send. What stands behind goes, with the damaged ones
// declared, into a lane of its own whose epoch is derived from its content, so that the same file again is the same
// lane.
func (f *Foreign) plan(lanes []checkedForeign) {
	pruned := map[syncer.Digest]bool{}
	for _, c := range f.found.claims {
		pruned[c.digest] = pruned[c.digest] || c.pruned && c.named
	}
	covered := f.underReceipt(lanes)
	sent, known := map[syncer.Digest]bool{}, map[syncer.Digest]bool{}
	var declared []syncer.Digest
	for _, l := range lanes {
		lane, whole := foreignLane{id: l.id}, true
		for _, e := range l.entries {
			_, good := f.good[e.digest]
			// Bytes that are gone under a receipt headquarters has; gone without one they are a loss.
			whole = whole && (good || pruned[e.digest] && covered[e.digest])
			switch {
			case whole:
				lane.digests = append(lane.digests, e.digest)
				sent[e.digest] = true
			case !known[e.digest] && !good:
				known[e.digest] = true
				declared = append(declared, e.digest)
			}
		}
		for _, e := range l.rest {
			if _, good := f.good[e.digest]; l.linked[e] && !good && !pruned[e.digest] && !known[e.digest] {
				known[e.digest] = true
				declared = append(declared, e.digest)
			}
		}
		if len(lane.digests) > 0 {
			f.lanes = append(f.lanes, lane)
		}
	}
	f.planSalvage(sent, declared)
}

func (f *Foreign) planSalvage(sent map[syncer.Digest]bool, declared []syncer.Digest) {
	h := sha256.New()
	h.Write([]byte("hearth/salvage/v1\x00"))
	h.Write(f.device[:])
	for _, d := range f.order {
		if !sent[d] {
			f.salvage.digests = append(f.salvage.digests, d)
			h.Write(d[:])
			sent[d] = true
		}
	}
	h.Write([]byte{0})
	for _, d := range declared {
		if !sent[d] {
			f.salvage.digests = append(f.salvage.digests, d)
			h.Write(d[:])
			sent[d] = true
		}
	}
	f.salvage.id = syncer.LaneID{Device: f.device, Epoch: syncer.ID(h.Sum(nil)[:16])}
}

// nameBad reports every record that is known of and whose bytes are not to be had.
func (f *Foreign) nameBad(lanes []checkedForeign) {
	b := badRecords{f: f, rows: map[syncer.Digest]claim{}, told: map[syncer.Digest]bool{}, numbers: map[int64]bool{}}
	b.look()
	listed, covered := map[syncer.Digest]bool{}, f.underReceipt(lanes)
	for _, l := range lanes {
		for _, e := range l.entries {
			listed[e.digest] = true
			b.entry(l.id, e, covered[e.digest])
		}
		for _, e := range l.rest {
			_, row := b.rows[e.digest]
			if _, good := f.good[e.digest]; row || good || l.linked[e] {
				listed[e.digest] = true
				b.entry(l.id, e, false)
			}
		}
	}
	b.rest()
	if b.all == f.gone {
		f.told = b.all - b.more + min(b.more, 1)
	}
	lost := 0
	for _, d := range f.order {
		if !listed[d] {
			lost++
		}
	}
	if lost > 0 {
		f.problem("table lane_entry", fault.StoreDamaged, "the entries of %d records are gone; the records are sent by themselves", lost)
	}
}

// badRecords finds the records that are lost.
type badRecords struct {
	f       *Foreign
	rows    map[syncer.Digest]claim // by the digest that a row gives
	told    map[syncer.Digest]bool
	numbers map[int64]bool // of rows that are accounted for
	most    int64
	unknown int // records told of whose row is gone
	more    int
	all     int // records told of, or counted as more
}

func (b *badRecords) look() {
	for _, c := range b.f.found.claims {
		if _, good := b.f.good[c.own]; good || c.pruned {
			b.numbers[c.n] = true
		}
		if c.n < maxRowNumber {
			b.most = max(b.most, c.n)
		}
		if old, ok := b.rows[c.digest]; c.named && (!ok || old.n == 0) {
			b.rows[c.digest] = c
		}
	}
}

func (b *badRecords) tell(subject, format string, args ...any) {
	b.all++
	if len(b.f.problems) >= maxForeignProblems {
		b.more++
		return
	}
	b.f.problem(subject, fault.RecordDamaged, format, args...)
}

// entry reports the record of an entry, if it is lost.
func (b *badRecords) entry(lane syncer.LaneID, e foreignEntry, covered bool) {
	c, row := b.rows[e.digest]
	if _, good := b.f.good[e.digest]; good || b.told[e.digest] || row && c.pruned && covered {
		return
	}
	b.told[e.digest] = true
	where := ""
	if covered {
		where = "; headquarters has it, by its receipt"
	}
	switch {
	case !row:
		b.unknown++
		b.tell(fmt.Sprintf("lane %v entry %d", lane, e.seq), "its record is gone%s", where)
	case c.pruned:
		b.f.gone++
		b.tell(c.title(), "its bytes are gone, and no receipt says that headquarters has them")
	default:
		b.tell(c.title(), "its bytes do not have its digest%s", where)
	}
	b.numbers[c.n] = true
}

// title names the record of a row.
func (c claim) title() string {
	if c.n == 0 {
		return fmt.Sprintf("record %.16v (%.40q)", c.digest, c.subject)
	}
	return fmt.Sprintf("record %d (%.40q)", c.n, c.subject)
}

// rest reports the rows of which no entry tells, and those that are gone.
func (b *badRecords) rest() {
	for _, c := range b.f.found.claims {
		_, good := b.f.good[c.own]
		_, better := b.f.good[c.digest]
		if good || c.named && (better || b.told[c.digest]) || c.n > 0 && b.numbers[c.n] || c.n == 0 && c.pruned {
			continue
		}
		b.told[c.digest], b.numbers[c.n] = true, true
		b.tell(c.title(), "its bytes do not have its digest")
	}
	gone := 0
	for n := int64(1); n <= min(b.most, maxForeignRows); n++ {
		if !b.numbers[n] {
			gone++
		}
	}
	if gone > b.unknown {
		b.f.problem("table record", fault.StoreDamaged, "%d of its rows are gone", gone)
	}
	if b.more > 0 {
		b.f.problem("table record", fault.RecordDamaged, "%d more records are damaged or gone", b.more)
	}
}

// readDrafts opens the drafts. A draft that only lies about in free pages is of an interview that is done, if there is a record
// of it.
func (f *Foreign) readDrafts() error {
	done := map[string]bool{}
	for _, c := range f.found.claims {
		done[c.subject] = true
	}
	for _, id := range slices.Sorted(maps.Keys(f.found.badDrafts)) {
		if _, ok := f.found.drafts[id]; !ok {
			f.problem(fmt.Sprintf("the draft of interview %.40q", id), fault.StoreDamaged, "its bytes do not have its digest")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(f.found.drafts)) {
		d := f.found.drafts[id]
		if d.carved && done[id] {
			continue
		}
		body, err := f.read(d.span)
		if err != nil {
			return err
		}
		iv := &surveyv1.Interview{}
		if proto.Unmarshal(body, iv) == nil {
			f.drafts = append(f.drafts, iv)
		}
	}
	return nil
}

// Batches yields everything that is to be sent, lane by lane, signed with the tablet's own key, ready for PushBatch.
// Damaged records travel without bytes.
func (f *Foreign) Batches(ctx context.Context, lim syncer.Limits) iter.Seq2[*servicev1.Batch, error] {
	return func(yield func(*servicev1.Batch, error) bool) {
		for _, lane := range append(slices.Clone(f.lanes), f.salvage) {
			var prev syncer.Chain
			for at := 0; at < len(lane.digests); {
				batch, head, err := f.batch(lane, at, prev, lim)
				if err = cmp.Or(ctx.Err(), err); err != nil {
					yield(nil, err)
					return
				}
				if !yield(batch, nil) {
					return
				}
				at, prev = int(head.Seq), head.Chain
			}
		}
	}
}

func (f *Foreign) batch(lane foreignLane, at int, prev syncer.Chain, lim syncer.Limits) (*servicev1.Batch, syncer.Head, error) {
	run := syncer.Run{First: uint64(at) + 1, Prev: prev}
	var raws [][]byte
	size := 0
	for _, d := range lane.digests[at:min(len(lane.digests), at+lim.Records)] {
		var raw []byte
		if s, good := f.good[d]; good && s.size <= int64(lim.RecordBytes) { // the server would refuse it, and everything behind it with it
			if raw = make([]byte, s.size); s.size > 0 {
				var err error
				if raw, err = f.read(s); err != nil {
					return nil, syncer.Head{}, err
				}
			}
		}
		if size += len(raw); len(raws) > 0 && size > min(foreignBatch, lim.Bytes) {
			break
		}
		run.Digests, raws = append(run.Digests, d), append(raws, raw)
	}
	return syncer.NewBatch(f.key, lane.id, run.First, prev, run.Digests, raws, false), run.Head(lane.id), nil
}
