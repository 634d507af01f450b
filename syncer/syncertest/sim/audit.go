package sim

import (
	"bytes"
	"maps"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// audit is a reader of headquarters' log, with a cursor that it keeps whatever happens: it must be given every record
// once. It also remembers what it was given, for those who ask what must still be there.
type audit struct {
	cursor syncer.Cursor
	rows   map[place]syncer.Digest
	held   map[syncer.Digest]bool
	last   map[uint64]uint64 // counter by part
	// erased are the records whose payload was destroyed: never may it be there again.
	erased map[syncer.Digest]bool
	// restores counts how often headquarters was restored from a backup.
	restores int
}

// place is where a record stands in the log.
type place struct{ part, counter uint64 }

func (a *audit) reset() {
	*a = audit{rows: map[place]syncer.Digest{}, held: map[syncer.Digest]bool{}, last: map[uint64]uint64{}, erased: map[syncer.Digest]bool{}}
}

func (a *audit) clone() audit {
	return audit{cursor: a.cursor, rows: maps.Clone(a.rows), held: maps.Clone(a.held), last: maps.Clone(a.last), erased: maps.Clone(a.erased)}
}

// read takes what has come since.
func (a *audit) read(h *headquarters) {
	for more := true; more; {
		var page []store.Stored
		var err error
		page, a.cursor, more, err = h.store.After(h.w.ctx, a.cursor, 7)
		h.w.must(err, "read headquarters' log")
		for _, st := range page {
			a.take(h, st)
		}
	}
}

func (a *audit) take(h *headquarters, st store.Stored) {
	if a.held[st.Digest] {
		h.w.fail("DOUBLED: the log's reader was given record %s again, as %d of part %x", h.w.name(st.Digest), st.Counter, st.Part)
	}
	if want := a.last[st.Part] + 1; st.Counter != want {
		h.w.fail("LOST: the log's reader was given %d of part %x, want %d", st.Counter, st.Part, want)
	}
	a.last[st.Part] = st.Counter
	a.rows[place{st.Part, st.Counter}], a.held[st.Digest] = st.Digest, true
	a.content(h, st)
}

// content looks at a record's bytes: they have the digest, or were erased and stay so.
func (a *audit) content(h *headquarters, st store.Stored) {
	switch whole := syncer.DigestOf(st.Raw) == st.Digest; {
	case whole && a.erased[st.Digest]:
		h.w.fail("ERASED: the answers of record %s are back in the log", h.w.name(st.Digest))
	case !whole:
		r := &servicev1.Record{}
		if proto.Unmarshal(st.Raw, r) != nil || len(r.GetPayload()) > 0 || !h.w.withdrawn[r.GetSubject()] {
			h.w.fail("CHANGED: record %s does not have its digest, and was not erased", h.w.name(st.Digest))
		}
		a.erased[st.Digest] = true
	}
}

// again reads the whole log anew after a crash: what was given before must be there, at its place.
func (a *audit) again(h *headquarters) {
	cursor, n := syncer.Cursor{}, 0
	for more := true; more; {
		var page []store.Stored
		var err error
		page, cursor, more, err = h.store.After(h.w.ctx, cursor, 500)
		h.w.must(err, "read headquarters' log")
		for _, st := range page {
			if d, known := a.rows[place{st.Part, st.Counter}]; known {
				n++
				if d != st.Digest {
					h.w.fail("CHANGED: %d of part %x is record %s, it was %s", st.Counter, st.Part, h.w.name(st.Digest), h.w.name(d))
				}
			}
			a.content(h, st)
		}
	}
	if n != len(a.rows) {
		h.w.fail("LOST: %d of the %d records that the log's reader was given are gone after a power cut", len(a.rows)-n, len(a.rows))
	}
}

// restored is the reader when headquarters was restored from a backup: its cursor must not be believed any more.
func (a *audit) restored(h *headquarters, then audit) {
	_, _, _, err := h.store.After(h.w.ctx, a.cursor, 1)
	if len(a.cursor.Parts) > 0 && fault.ReasonOf(err) != fault.CursorStale {
		h.w.fail("CURSOR: headquarters was restored from a backup and takes a cursor of before: %v", err)
	}
	n := a.restores
	a.reset()
	a.erased, a.restores = maps.Clone(then.erased), n+1
	a.read(h)
}

// missing says which of some records headquarters wants.
func (h *headquarters) missing(refs []*servicev1.RecordRef) []uint32 {
	if len(refs) == 0 {
		return nil
	}
	wanted, _, err := h.store.Missing(h.w.ctx, refs)
	h.w.must(err, "ask what is missing")
	return wanted
}

// entry is one of a batch, whatever form it came in.
type entry struct {
	digest syncer.Digest
	raw    []byte
}

// entriesOf takes a batch apart; none if it cannot be, as one that nobody has signed.
func (w *world) entriesOf(b *servicev1.Batch) (all []entry) {
	if len(b.GetEntries()) > 0 {
		for _, e := range b.GetEntries() {
			all = append(all, entry{syncer.Digest(e.GetDigest()), e.GetRecord()})
		}
		return all
	}
	b = w.withPrev(b)
	checked, err := syncer.Check(b, w.keyOf(syncer.ID(b.GetLane().GetDevice())), syncer.DefaultLimits)
	if err != nil {
		return nil
	}
	for _, e := range checked.Entries {
		all = append(all, entry{e.Digest, e.Raw})
	}
	return all
}

// withPrev is a batch that says what stands before it: a packed one leaves that out where it follows on headquarters' head.
func (w *world) withPrev(b *servicev1.Batch) *servicev1.Batch {
	lane, err := syncer.ParseLane(b.GetLane())
	if err != nil || len(b.GetPrevChain()) > 0 || b.GetFirstSeq() <= 1 {
		return b
	}
	chain, ok, err := w.hq.store.ChainAt(w.ctx, lane, b.GetFirstSeq()-1)
	if err != nil || !ok {
		return b
	}
	b = proto.CloneOf(b)
	b.PrevChain = chain[:]
	return b
}

// branch is a batch of which headquarters said that it is of another branch of its lane.
type branch struct {
	lane    *servicev1.LaneId
	entries []entry
}

// refsOf names the records of a batch that come with their bytes.
func refsOf(entries []entry) []*servicev1.RecordRef {
	var refs []*servicev1.RecordRef
	for _, e := range entries {
		if r, err := syncer.Open(e.raw); err == nil && len(e.raw) > 0 {
			refs = append(refs, &servicev1.RecordRef{Part: proto.Uint64(r.GetPart()), Id: r.GetId(), Digest: bytes.Clone(e.digest[:])})
		}
	}
	return refs
}

// pushed sees that all of a batch is there or none of it, and what a revoked tablet has brought in quarantine alone.
func (h *headquarters) pushed(b *servicev1.Batch, entries []entry, refs []*servicev1.RecordRef, before []uint32, ack *servicev1.BatchAck, err error) {
	after := h.missing(refs)
	for _, r := range ack.GetResults() {
		if r.GetOutcome() == servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED {
			after = nil // it is said which are not kept
		}
	}
	if ack.GetFork() && err == nil && len(after) == 0 {
		h.w.forks = append(h.w.forks, branch{b.GetLane(), entries})
	}
	if h.w.revoked[syncer.ID(b.GetLane().GetDevice())] {
		h.audit.read(h)
		for _, i := range before {
			if h.audit.held[syncer.Digest(refs[i].GetDigest())] {
				h.w.fail("REVOKED: a revoked tablet has brought record %s into the log", h.w.name(syncer.Digest(refs[i].GetDigest())))
			}
		}
	}
	switch {
	case len(after) == 0 || err != nil && len(after) == len(before):
	case err == nil:
		h.w.fail("LOST: headquarters has answered a batch and lacks %d of its %d records", len(after), len(refs))
	default:
		h.w.fail("PARTIAL: of a batch that failed, with %d records that were not held, %d are still missing", len(before), len(after))
	}
}
