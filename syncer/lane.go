package syncer

import (
	"cmp"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// Run is a stretch of consecutive entries of a lane whose records a store holds.
type Run struct {
	First uint64
	// Prev is the chain hash before First.
	Prev    Chain
	Digests []Digest
	// Signature is the device's over the head of the run; empty where the batch was split around a refused entry.
	Signature []byte
}

// Last is the sequence number of the last entry.
func (r Run) Last() uint64 { return r.First + uint64(len(r.Digests)) - 1 }

// Head computes the head of the run.
func (r Run) Head(lane LaneID) Head {
	c := r.Prev
	for i, d := range r.Digests {
		c = NextChain(c, lane, r.First+uint64(i), d)
	}
	return Head{Seq: r.Last(), Chain: c}
}

// ChainAt computes the chain hash at seq, which lies between First-1 and Last.
func (r Run) ChainAt(lane LaneID, seq uint64) Chain {
	c := r.Prev
	for i := range r.Digests {
		s := r.First + uint64(i)
		if s > seq {
			break
		}
		c = NextChain(c, lane, s, r.Digests[i])
	}
	return c
}

// Lane is what a store that receives knows of a lane.
type Lane struct {
	ID LaneID
	// Head is the end of the entries held without a gap from the first.
	Head Head
	// Detached are runs held beyond a gap, ordered by First.
	Detached []Run
}

// Verdict is how a run relates to what is held of its lane.
type Verdict int

// The verdicts of Admit.
const (
	// Extends: the run continues the lane; the head has moved.
	Extends Verdict = iota
	// Held: every entry of the run is held already, with the same digests.
	Held
	// Beyond: the run lies behind a gap and is kept detached.
	Beyond
	// Fork: the run contradicts what is held: the device's store was restored or cloned. Both are to be kept.
	Fork
)

// Admission is the result of Admit.
type Admission struct {
	Verdict Verdict
	// Absorbed counts detached runs that the lane's head has now passed.
	Absorbed int
	// Contradicted counts detached runs that the lane's head has now passed on another branch: they fork the lane,
	// although the run that came now extends it.
	Contradicted int
}

// Forked reports whether the run has shown that the lane has two branches.
func (a Admission) Forked() bool { return a.Verdict == Fork || a.Contradicted > 0 }

// Admit takes a run into the lane and says how the two relate. chainAt gives the chain hash held at a sequence number
// between 0 and the head's (0 has the zero chain); it is asked only for runs that begin before the head's end. The
// records of the run are to be stored whatever the verdict. It fails only with chainAt's error, or for a run that
// begins with 0.
func (l *Lane) Admit(r Run, chainAt func(seq uint64) (Chain, error)) (Admission, error) {
	if len(r.Digests) == 0 {
		return Admission{Verdict: Held}, nil
	}
	if r.First == 0 || r.First == 1 && r.Prev != (Chain{}) {
		return Admission{}, fault.New(fault.Invalid, fault.BadChain, "lane %v: nothing stands before entry 1", l.ID)
	}
	if r.First > l.Head.Seq+1 {
		return l.detach(r), nil
	}
	// The chain hash at the last entry that both have covers everything before it.
	common := min(r.Last(), l.Head.Seq)
	held := l.Head.Chain
	if common < l.Head.Seq {
		var err error
		if held, err = chainAt(common); err != nil {
			return Admission{}, err
		}
	}
	if r.ChainAt(l.ID, common) != held {
		return Admission{Verdict: Fork}, nil
	}
	if r.Last() <= l.Head.Seq {
		return Admission{Verdict: Held}, nil
	}
	l.Head = r.Head(l.ID)
	absorbed, contradicted := l.absorb(r)
	return Admission{Verdict: Extends, Absorbed: absorbed, Contradicted: contradicted}, nil
}

// detach keeps a run beyond a gap, unless what is kept there already holds or contradicts it.
func (l *Lane) detach(r Run) Admission {
	for _, d := range l.Detached {
		common := min(d.Last(), r.Last())
		if common+1 < max(d.First, r.First) {
			continue // they do not touch
		}
		if d.ChainAt(l.ID, common) != r.ChainAt(l.ID, common) {
			return Admission{Verdict: Fork}
		}
		if d.First <= r.First && r.Last() <= d.Last() {
			return Admission{Verdict: Held}
		}
	}
	l.Detached = append(l.Detached, r)
	slices.SortFunc(l.Detached, func(a, b Run) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last(), b.Last()))
	})
	return Admission{Verdict: Beyond}
}

// absorb moves the head, which has just come to the end of r, over detached runs that now follow it, and drops those it
// has passed. Runs of another branch are dropped too, and counted apart.
func (l *Lane) absorb(r Run) (absorbed, contradicted int) {
	joined := []Run{r} // without a gap from r.First to the head
	chainAt := func(seq uint64) Chain {
		for _, j := range joined {
			if seq <= j.Last() {
				return j.ChainAt(l.ID, seq)
			}
		}
		return l.Head.Chain
	}
	for moved := true; moved; {
		moved = false
		l.Detached = slices.DeleteFunc(l.Detached, func(d Run) bool {
			if d.First > l.Head.Seq+1 {
				return false
			}
			common := min(d.Last(), l.Head.Seq)
			if d.ChainAt(l.ID, common) != chainAt(common) {
				contradicted++
				return true
			}
			absorbed++
			if d.Last() > l.Head.Seq {
				joined = append(joined, d)
				l.Head, moved = d.Head(l.ID), true
			}
			return true
		})
	}
	return absorbed, contradicted
}

// Gaps lists the entries that have not arrived although later ones have.
func (l *Lane) Gaps() []*servicev1.SeqRange {
	var gaps []*servicev1.SeqRange
	next := l.Head.Seq + 1
	for _, r := range l.Detached {
		if r.First > next {
			gaps = append(gaps, &servicev1.SeqRange{First: ptr(next), Last: ptr(r.First - 1)})
		}
		next = max(next, r.Last()+1)
	}
	return gaps
}

func ptr[T any](v T) *T { return &v }
