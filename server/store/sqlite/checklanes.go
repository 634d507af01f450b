package sqlite

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// checkedLane is a lane while its runs are read.
type checkedLane struct {
	id       syncer.LaneID
	head     syncer.Head // as the table lane says
	branches int64
	known    bool

	path   []syncer.Run // main branch, without gaps
	at     syncer.Head  // its end
	last   uint64       // last entry held beyond a gap
	gaps   []*servicev1.SeqRange
	forked int64
}

// lanes recomputes every chain and compares it with the head that was acknowledged.
func (c *checker) lanes() error {
	lanes := map[syncer.LaneID]*checkedLane{}
	err := c.each(c.db, `SELECT device, epoch, seq, chain, branches, sum FROM lane`, func(scan func(...any) error) error {
		var device, epoch, chain []byte
		var seq, branches, sum int64
		if err := scan(&device, &epoch, &seq, &chain, &branches, &sum); err != nil {
			return err
		}
		c.report.Lanes++
		id, err := laneOf(device, epoch)
		if err != nil {
			c.damage("table lane", "%v", err)
			return nil
		}
		head, err := headOf(seq, chain)
		if err != nil || laneSum(id, head, branches) != sum {
			c.damage(c.nameOf(id), "its head was changed on the disk")
		}
		lanes[id] = &checkedLane{id: id, head: head, branches: branches, known: true}
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.runs(lanes); err != nil {
		return err
	}
	for _, l := range lanes {
		c.finishLane(l)
	}
	if i := slices.Index(c.inLane, false); i >= 0 {
		n := 0
		for _, in := range c.inLane {
			if !in {
				n++
			}
		}
		c.damage("table lane_run", "%d records stand in no lane, the first with a digest from %016x", n, c.held[i])
	}
	return nil
}

// nameOf names a lane by its device.
func (c *checker) nameOf(id syncer.LaneID) string {
	if name := c.names[id.Device]; name != "" {
		return fmt.Sprintf("lane %v of %s", id, name)
	}
	return fmt.Sprintf("lane %v", id)
}

// runs reads the runs of all lanes, each lane's in order.
func (c *checker) runs(lanes map[syncer.LaneID]*checkedLane) error {
	return c.each(c.db, `SELECT device, epoch, branch, first_seq, last_seq, prev_chain, head_chain, digests, signature, sum
		FROM lane_run ORDER BY device, epoch, branch, first_seq, last_seq`, func(scan func(...any) error) error {
		var device, epoch, prev, head, digests, signature []byte
		var branch, first, last, sum int64
		if err := scan(&device, &epoch, &branch, &first, &last, &prev, &head, &digests, &signature, &sum); err != nil {
			return err
		}
		id, err := laneOf(device, epoch)
		if err != nil {
			c.damage("table lane_run", "%v", err)
			return nil
		}
		l := lanes[id]
		if l == nil {
			l = &checkedLane{id: id}
			lanes[id] = l
		}
		r, err := newRun(uint64(first), prev, digests, signature)
		where := fmt.Sprintf("entries %d to %d of %s", first, last, c.nameOf(id))
		if err != nil {
			c.damage(where, "%v", err)
			return nil
		}
		h := r.Head(id)
		if runSum(id, branch, r) != sum || h.Seq != uint64(last) || !bytes.Equal(h.Chain[:], head) {
			c.broken(fault.BadChain, where, "what the tablet sent was changed on the disk: the chain does not come out as it did")
		}
		c.signature(id, r, where)
		c.entries(r, where)
		c.place(l, branch, r, where)
		return nil
	})
}

// signature verifies what the device signed, where its key is known.
func (c *checker) signature(id syncer.LaneID, r syncer.Run, where string) {
	key := c.keys[id.Device]
	if len(r.Signature) == 0 || key == nil {
		return
	}
	b := &servicev1.Batch{Lane: id.Proto(), FirstSeq: proto.Uint64(r.First), PrevChain: r.Prev[:], Signature: r.Signature}
	for i := range r.Digests {
		b.Entries = append(b.Entries, &servicev1.Entry{Digest: r.Digests[i][:]})
	}
	if _, err := syncer.Check(b, key, syncer.Limits{Records: len(r.Digests), Bytes: 1, RecordBytes: 1}); err != nil {
		c.broken(fault.BadSignature, where, "%v", err)
	}
}

// entries looks every digest up in the log and the quarantine.
func (c *checker) entries(r syncer.Run, where string) {
	missing, first := 0, uint64(0)
	for i := range r.Digests {
		p := prefix(r.Digests[i][:])
		at, found := slices.BinarySearch(c.held, p)
		if found {
			c.inLane[at] = true
			continue
		}
		if _, found = slices.BinarySearch(c.kept, p); found {
			continue
		}
		if missing++; first == 0 {
			first = r.First + uint64(i)
		}
	}
	if missing > 0 {
		c.find(fault.NewFinding(fault.SeverityError, fault.RecordsMissing, where,
			fmt.Sprintf("%d records that were acknowledged are neither in the log nor in quarantine, the first is entry %d", missing, first)))
	}
}

// place puts a run where it belongs in its lane.
func (c *checker) place(l *checkedLane, branch int64, r syncer.Run, where string) {
	switch {
	case branch > 0:
		l.forked = max(l.forked, branch)
	case r.First > l.at.Seq+1:
		next := max(l.at.Seq, l.last) + 1
		if r.First > next {
			l.gaps = append(l.gaps, &servicev1.SeqRange{First: proto.Uint64(next), Last: proto.Uint64(r.First - 1)})
		}
		l.last = max(l.last, r.Last())
	case r.Last() <= l.at.Seq:
		if !agrees(l.id, l.path, r) {
			c.broken(fault.BadChain, where, "they contradict the entries around them")
		}
	default:
		if r.ChainAt(l.id, l.at.Seq) != l.at.Chain {
			c.broken(fault.BadChain, where, "they do not continue from the entry before")
		}
		l.path, l.at = append(l.path, r), r.Head(l.id)
	}
}

func (c *checker) finishLane(l *checkedLane) {
	name := c.nameOf(l.id)
	switch {
	case !l.known:
		c.damage(name, "it has entries but no head")
	case l.at != l.head:
		c.damage(name, "its head is entry %d, the entries that are there lead to %d", l.head.Seq, l.at.Seq)
	}
	if l.forked != l.branches {
		c.damage(name, "%d forks are counted, %d are there", l.branches, l.forked)
	}
	for _, g := range l.gaps {
		of := c.names[l.id.Device]
		if of == "" {
			of = "device " + l.id.Device.String()
		}
		c.find(store.Finding{Severity: fault.SeverityWarning, Reason: fault.LaneGap, Subject: name,
			Message: fmt.Sprintf("%d records of %s never arrived (entries %d to %d)", g.GetLast()-g.GetFirst()+1, of, g.GetFirst(), g.GetLast()),
			Do:      "sync the tablet again; if it is lost, look for a copy of its file and import it with import-tablet"})
	}
}
