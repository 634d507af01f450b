package sqlite

import (
	"database/sql/driver"

	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
)

// lane is a lane as it is loaded for one batch.
type lane struct {
	syncer.Lane
	branches int64
	known    bool // it has a row
	changed  bool
}

func (t *tx) loadLane(id syncer.LaneID) (*lane, error) {
	l := &lane{Lane: syncer.Lane{ID: id}}
	row, err := t.lane.row(id.Device[:], id.Epoch[:])
	if err != nil || row == nil {
		return l, err
	}
	l.known = true
	l.branches = integer(row[2])
	if l.Head, err = headOf(row[0], row[1]); err != nil {
		return nil, damaged("lane %v: %w", id, err)
	}
	// What begins right behind the head would have been absorbed: a run further back is beyond a gap.
	err = t.runs.each(func(row []driver.Value) error {
		r, err := runOf(row)
		if err != nil {
			return damaged("lane %v: %w", id, err)
		}
		l.Detached = append(l.Detached, r)
		return nil
	}, id.Device[:], id.Epoch[:], int64(l.Head.Seq)+1)
	return l, err
}

func headOf(seq, chain driver.Value) (syncer.Head, error) {
	c, err := syncer.ParseChain(blob(chain))
	return syncer.Head{Seq: uint64(integer(seq)), Chain: c}, err
}

// runOf reads first_seq, prev_chain, digests, signature.
func runOf(row []driver.Value) (syncer.Run, error) {
	return newRun(uint64(integer(row[0])), blob(row[1]), blob(row[2]), blob(row[3]))
}

func newRun(first uint64, prev, digests, signature []byte) (syncer.Run, error) {
	r := syncer.Run{First: first, Signature: signature}
	var err error
	if r.Prev, err = syncer.ParseChain(prev); err != nil {
		return r, damaged("run from %d: %w", r.First, err)
	}
	if len(digests) == 0 || len(digests)%len(syncer.Digest{}) != 0 {
		return r, damaged("run from %d: %d bytes of digests", r.First, len(digests))
	}
	r.Digests = make([]syncer.Digest, len(digests)/len(syncer.Digest{}))
	for i := range r.Digests {
		r.Digests[i] = syncer.Digest(digests[i*len(syncer.Digest{}):])
	}
	return r, nil
}

// admit takes a run into its lane and stores it. It says whether the run is a fork, and whether all of it was held.
func (t *tx) admit(l *lane, r syncer.Run) (fork, held bool, err error) {
	before, detached := l.Head, append([]syncer.Run(nil), l.Detached...)
	chainAt := func(seq uint64) (syncer.Chain, error) { return t.chainAt(l.ID, before, seq) }
	adm, err := l.Admit(r, chainAt)
	if err != nil {
		return false, false, err
	}
	switch adm.Verdict {
	case syncer.Held:
		return false, true, nil
	case syncer.Beyond:
		l.changed = l.changed || !l.known
		if plant.In(plant.GapIgnored) {
			l.Head, l.changed = r.Head(l.ID), true
		}
		return false, false, t.storeRun(l.ID, 0, r, r.Head(l.ID))
	case syncer.Fork:
		if plant.In(plant.ForkDropped) {
			return true, false, nil
		}
		held, err := t.fork(l, r)
		return true, held, err
	}
	l.changed = true
	if cut := before.Seq + 1 - r.First; cut > 0 {
		r = syncer.Run{First: before.Seq + 1, Prev: before.Chain, Digests: r.Digests[cut:], Signature: r.Signature}
	}
	head := l.Head
	if len(detached) > 0 { // the lane's head may have gone on over them
		head = r.Head(l.ID)
	}
	if err := t.storeRun(l.ID, 0, r, head); err != nil || len(detached) == 0 {
		return false, false, err
	}
	fork, err = t.settle(l, r, head, detached)
	return fork, false, err
}

// settle looks at the runs that were detached before the head moved over a run, which ends at `at`, and gives those that
// contradict the lane now a branch of their own.
func (t *tx) settle(l *lane, r syncer.Run, at syncer.Head, detached []syncer.Run) (fork bool, err error) {
	path := []syncer.Run{r}
	for _, d := range detached { // in order of First
		if d.First <= at.Seq+1 && d.Last() > at.Seq && d.ChainAt(l.ID, at.Seq) == at.Chain {
			path, at = append(path, d), d.Head(l.ID)
		}
	}
	for _, d := range detached {
		if d.First > at.Seq+1 || agrees(l.ID, path, d) {
			continue
		}
		fork = true
		if err := t.branchOff(l, d); err != nil {
			return fork, err
		}
	}
	keep := l.Detached[:0]
	for _, d := range l.Detached {
		if d.First > at.Seq+1 {
			keep = append(keep, d)
		}
	}
	l.Detached = keep
	return fork, nil
}

// agrees says whether a run has the same chain at its end as one of the runs of a path that covers it.
func agrees(id syncer.LaneID, path []syncer.Run, d syncer.Run) bool {
	for _, p := range path {
		if p.First <= d.Last() && d.Last() <= p.Last() {
			return p.ChainAt(id, d.Last()) == d.Head(id).Chain
		}
	}
	return false
}

// branchOff moves a run that was held beyond a gap, and turned out to contradict the lane, to a branch.
func (t *tx) branchOff(l *lane, d syncer.Run) error {
	branch, _, err := t.branchOf(l, d)
	if err != nil {
		return err
	}
	_, err = t.exec(t.rebranch, branch, runSum(l.ID, branch, d), l.ID.Device[:], l.ID.Epoch[:], int64(d.First), int64(d.Last()))
	return err
}

// fork stores a run that contradicts the main branch, unless it is held.
func (t *tx) fork(l *lane, r syncer.Run) (held bool, err error) {
	branch, held, err := t.branchOf(l, r)
	if err != nil || held {
		return held, err
	}
	l.changed = true
	return false, t.storeRun(l.ID, branch, r, r.Head(l.ID))
}

// branchOf finds the fork to which a run belongs, or counts a new one. It says whether the run is held there whole.
func (t *tx) branchOf(l *lane, r syncer.Run) (branch int64, held bool, err error) {
	joined, contradicted := map[int64]bool{}, map[int64]bool{}
	err = t.forks.each(func(row []driver.Value) error {
		q, err := runOf(row)
		if err != nil {
			return damaged("lane %v: %w", l.ID, err)
		}
		b := integer(row[4])
		// The two meet where one of them has already left the main branch.
		from := max(q.First-1, r.First-1, min(q.First, r.First))
		to := min(q.Last(), r.Last())
		switch {
		case from > to:
		case q.ChainAt(l.ID, to) != r.ChainAt(l.ID, to):
			contradicted[b] = true
		default:
			joined[b] = true
			if q.First <= r.First && r.Last() <= q.Last() {
				branch, held = b, true
			}
		}
		return nil
	}, l.ID.Device[:], l.ID.Epoch[:])
	if err != nil || held {
		return branch, held, err
	}
	for b := int64(1); b <= l.branches; b++ {
		if joined[b] && !contradicted[b] {
			return b, false, nil
		}
	}
	l.branches++
	l.changed = true
	return l.branches, false, nil
}

func (t *tx) storeRun(id syncer.LaneID, branch int64, r syncer.Run, head syncer.Head) error {
	_, err := t.exec(t.insertRun, id.Device[:], id.Epoch[:], branch, int64(r.First), int64(r.Last()), r.Prev[:],
		head.Chain[:], flat(r.Digests), append([]byte{}, r.Signature...), runSum(id, branch, r))
	return err
}

func flat(digests []syncer.Digest) []byte {
	out := make([]byte, 0, len(digests)*len(syncer.Digest{}))
	for i := range digests {
		out = append(out, digests[i][:]...)
	}
	return out
}

func runSum(id syncer.LaneID, branch int64, r syncer.Run) int64 {
	return summer(nil).bytes(id.Device[:]).bytes(id.Epoch[:]).int(branch).int(int64(r.First)).bytes(r.Prev[:]).
		bytes(flat(r.Digests)).bytes(r.Signature).sum()
}

func (t *tx) storeLane(l *lane) error {
	if !l.changed {
		return nil
	}
	_, err := t.exec(t.saveLane, l.ID.Device[:], l.ID.Epoch[:], int64(l.Head.Seq), l.Head.Chain[:], l.branches,
		laneSum(l.ID, l.Head, l.branches))
	return err
}

func laneSum(id syncer.LaneID, h syncer.Head, branches int64) int64 {
	return summer(nil).bytes(id.Device[:]).bytes(id.Epoch[:]).int(int64(h.Seq)).bytes(h.Chain[:]).int(branches).sum()
}

// chainAt returns the chain hash of the main branch at seq, which is at most the head's.
func (t *tx) chainAt(id syncer.LaneID, head syncer.Head, seq uint64) (syncer.Chain, error) {
	switch seq {
	case 0:
		return syncer.Chain{}, nil
	case head.Seq:
		return head.Chain, nil
	}
	row, err := t.runAt.row(id.Device[:], id.Epoch[:], int64(seq))
	if err != nil {
		return syncer.Chain{}, err
	}
	if row == nil {
		return syncer.Chain{}, damaged("lane %v: entry %d is not held though the head is %d", id, seq, head.Seq)
	}
	r, err := runOf(row)
	if err != nil {
		return syncer.Chain{}, damaged("lane %v: %w", id, err)
	}
	return r.ChainAt(id, seq), nil
}
