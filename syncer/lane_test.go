package syncer_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer"
	"pgregory.net/rapid"
)

var testLane = syncer.LaneID{Device: syncer.ID{1}, Epoch: syncer.ID{2}}

// history is one branch of a lane: digests from 1 on.
type history []syncer.Digest

func digestNamed(name string) syncer.Digest { return sha256.Sum256([]byte(name)) }

func (h history) chain(seq uint64) syncer.Chain {
	var c syncer.Chain
	for i := range seq {
		c = syncer.NextChain(c, testLane, i+1, h[i])
	}
	return c
}

func (h history) run(first, last uint64) syncer.Run {
	return syncer.Run{First: first, Prev: h.chain(first - 1), Digests: h[first-1 : last]}
}

// branches makes n histories of a length that share a beginning of their own with the first.
func branches(t *rapid.T, n, length int) []history {
	all := make([]history, n)
	for b := range all {
		common := 0
		if b > 0 {
			common = rapid.IntRange(0, length).Draw(t, "common")
		}
		for i := range length {
			if b > 0 && i < common {
				all[b] = append(all[b], all[0][i])
			} else {
				all[b] = append(all[b], digestNamed(fmt.Sprint(b, "/", i)))
			}
		}
	}
	return all
}

// model is a receiving store that remembers everything: which (seq, chain) pairs it can link to the beginning.
type model struct {
	lane syncer.Lane
	main []syncer.Chain // of the head's branch
	runs []syncer.Run   // all that ever came
}

func (m *model) chainAt(seq uint64) (syncer.Chain, error) {
	if seq == 0 {
		return syncer.Chain{}, nil
	}
	if seq > uint64(len(m.main)) {
		return syncer.Chain{}, fmt.Errorf("asked about %d of %d", seq, len(m.main))
	}
	return m.main[seq-1], nil
}

// follow moves the model's branch to the lane's head, over the runs that came.
func (m *model) follow(t *rapid.T) {
	for uint64(len(m.main)) < m.lane.Head.Seq {
		at := uint64(len(m.main))
		before, _ := m.chainAt(at)
		moved := false
		for _, r := range m.runs {
			if r.First <= at+1 && r.Last() > at && r.ChainAt(testLane, at) == before && onPath(m, r, at, t) {
				m.main = append(m.main, r.ChainAt(testLane, at+1))
				moved = true
				break
			}
		}
		if !moved {
			t.Fatalf("the head is at %d, but no run leads there from %d", m.lane.Head.Seq, at)
		}
	}
}

// onPath says whether a run's next entry can lead to the head: some sequence of runs goes on to it.
func onPath(m *model, r syncer.Run, at uint64, _ *rapid.T) bool {
	reach := map[syncer.Chain]bool{r.ChainAt(testLane, at+1): true}
	for seq := at + 1; seq < m.lane.Head.Seq; seq++ {
		next := map[syncer.Chain]bool{}
		for _, q := range m.runs {
			if q.First <= seq+1 && q.Last() > seq && reach[q.ChainAt(testLane, seq)] {
				next[q.ChainAt(testLane, seq+1)] = true
			}
		}
		reach = next
	}
	return reach[m.lane.Head.Chain]
}

func TestAdmitAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hs := branches(t, rapid.IntRange(1, 3).Draw(t, "branches"), 10)
		m := &model{lane: syncer.Lane{ID: testLane}}
		verdicts := map[syncer.Verdict]int{}
		for range rapid.IntRange(1, 25).Draw(t, "runs") {
			h := hs[rapid.IntRange(0, len(hs)-1).Draw(t, "branch")]
			first := uint64(rapid.IntRange(1, 10).Draw(t, "first"))
			last := uint64(rapid.IntRange(int(first), 10).Draw(t, "last"))
			r := h.run(first, last)
			before := m.lane.Head
			adm, err := m.lane.Admit(r, m.chainAt)
			if err != nil {
				t.Fatal(err)
			}
			verdicts[adm.Verdict]++
			m.runs = append(m.runs, r)
			switch adm.Verdict {
			case syncer.Extends:
				if m.lane.Head.Seq <= before.Seq {
					t.Fatalf("extends, but the head went from %d to %d", before.Seq, m.lane.Head.Seq)
				}
			default:
				if m.lane.Head != before {
					t.Fatalf("verdict %v moved the head", adm.Verdict)
				}
			}
			// Whatever was passed before stays on the branch.
			m.follow(t)
			if len(m.main) > 0 && m.main[len(m.main)-1] != m.lane.Head.Chain {
				t.Fatal("the head is not on the branch")
			}
			if adm.Verdict == syncer.Fork {
				if agree := onMain(m, r); agree && first <= before.Seq+1 {
					t.Fatal("fork, but the run agrees with the branch")
				}
			}
			if adm.Verdict == syncer.Held && last <= m.lane.Head.Seq && !onMain(m, r) {
				t.Fatal("held, but the run contradicts the branch")
			}
			for _, d := range m.lane.Detached {
				if d.First <= m.lane.Head.Seq+1 {
					t.Fatalf("run %d to %d is detached although the head is at %d", d.First, d.Last(), m.lane.Head.Seq)
				}
			}
			next := m.lane.Head.Seq + 1
			for _, g := range m.lane.Gaps() {
				if g.GetFirst() < next || g.GetLast() < g.GetFirst() {
					t.Fatalf("gap %v after %d", g, next)
				}
				next = g.GetLast() + 1
			}
		}
		if len(hs) == 1 && verdicts[syncer.Fork] > 0 {
			t.Fatal("a fork in a lane with one branch")
		}
	})
}

func onMain(m *model, r syncer.Run) bool {
	common := min(r.Last(), uint64(len(m.main)))
	held, err := m.chainAt(common)
	return err == nil && common >= r.First-1 && r.ChainAt(testLane, common) == held
}

// One branch in any pieces, in any order, with repetitions: in the end the head is at the end and nothing is left over.
func TestAdmitInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := branches(t, 1, 12)[0]
		var runs []syncer.Run
		for first := uint64(1); first <= 12; {
			last := uint64(rapid.IntRange(int(first), 12).Draw(t, "last"))
			runs = append(runs, h.run(first, last))
			for range rapid.IntRange(0, 2).Draw(t, "overlaps") {
				from := uint64(rapid.IntRange(1, int(last)).Draw(t, "from"))
				runs = append(runs, h.run(from, last))
			}
			first = last + 1
		}
		m := &model{lane: syncer.Lane{ID: testLane}}
		for _, r := range rapid.Permutation(runs).Draw(t, "order") {
			adm, err := m.lane.Admit(r, m.chainAt)
			if err != nil {
				t.Fatal(err)
			}
			if adm.Forked() {
				t.Fatal("a fork in a lane with one branch")
			}
			m.runs = append(m.runs, r)
			m.follow(t)
		}
		if m.lane.Head.Seq != 12 || m.lane.Head.Chain != h.chain(12) || len(m.lane.Detached) != 0 || len(m.lane.Gaps()) != 0 {
			t.Fatalf("head %d, %d detached, gaps %v", m.lane.Head.Seq, len(m.lane.Detached), m.lane.Gaps())
		}
	})
}

func TestAdmitTable(t *testing.T) {
	var a, b history
	for i := range 10 {
		a = append(a, digestNamed(fmt.Sprint("a", i)))
		b = append(b, digestNamed(fmt.Sprint("b", i)))
	}
	copy(b, a[:4]) // the branches part after 4
	type step struct {
		run  syncer.Run
		want syncer.Admission
	}
	tests := []struct {
		name  string
		steps []step
		head  uint64
		gaps  string
	}{
		{"in order", []step{{a.run(1, 3), syncer.Admission{}}, {a.run(4, 5), syncer.Admission{}}}, 5, "[]"},
		{"again", []step{{a.run(1, 3), syncer.Admission{}}, {a.run(1, 3), syncer.Admission{Verdict: syncer.Held}}, {a.run(2, 2), syncer.Admission{Verdict: syncer.Held}}}, 3, "[]"},
		{"overlap", []step{{a.run(1, 3), syncer.Admission{}}, {a.run(2, 6), syncer.Admission{}}}, 6, "[]"},
		{"gap, then filled", []step{
			{a.run(1, 2), syncer.Admission{}}, {a.run(5, 6), syncer.Admission{Verdict: syncer.Beyond}},
			{a.run(3, 4), syncer.Admission{Absorbed: 1}}}, 6, "[]"},
		{"two gaps", []step{{a.run(3, 4), syncer.Admission{Verdict: syncer.Beyond}}, {a.run(7, 7), syncer.Admission{Verdict: syncer.Beyond}}}, 0, "[1-2 5-6]"},
		{"restored: shorter and different", []step{{a.run(1, 8), syncer.Admission{}}, {b.run(5, 6), syncer.Admission{Verdict: syncer.Fork}}}, 8, "[]"},
		{"restored: longer and different", []step{{a.run(1, 6), syncer.Admission{}}, {b.run(5, 9), syncer.Admission{Verdict: syncer.Fork}}}, 6, "[]"},
		{"other branch from the head on", []step{{a.run(1, 6), syncer.Admission{}}, {b.run(7, 9), syncer.Admission{Verdict: syncer.Fork}}}, 6, "[]"},
		{"detached runs of two branches", []step{{a.run(7, 9), syncer.Admission{Verdict: syncer.Beyond}}, {b.run(7, 9), syncer.Admission{Verdict: syncer.Fork}}}, 0, "[1-6]"},
		{"detached inside detached", []step{{a.run(5, 9), syncer.Admission{Verdict: syncer.Beyond}}, {a.run(6, 7), syncer.Admission{Verdict: syncer.Held}}}, 0, "[1-4]"},
		{"a detached run turns out to be of another branch", []step{
			{b.run(7, 9), syncer.Admission{Verdict: syncer.Beyond}}, {a.run(1, 8), syncer.Admission{Contradicted: 1}}}, 8, "[]"},
		{"the same when the head stops right before it", []step{
			{b.run(7, 9), syncer.Admission{Verdict: syncer.Beyond}}, {a.run(1, 6), syncer.Admission{Contradicted: 1}}}, 6, "[]"},
		{"the same behind an absorbed run", []step{
			{a.run(4, 8), syncer.Admission{Verdict: syncer.Beyond}}, {b.run(10, 10), syncer.Admission{Verdict: syncer.Beyond}},
			{a.run(1, 3), syncer.Admission{Absorbed: 1}}, {a.run(9, 9), syncer.Admission{Contradicted: 1}}}, 9, "[]"},
		{"detached runs that meet and contradict", []step{
			{b.run(10, 10), syncer.Admission{Verdict: syncer.Beyond}}, {a.run(9, 9), syncer.Admission{Verdict: syncer.Fork}}}, 0, "[1-9]"},
		{"nothing", []step{{syncer.Run{First: 4}, syncer.Admission{Verdict: syncer.Held}}}, 0, "[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := syncer.Lane{ID: testLane}
			var main history
			for i, s := range tt.steps {
				got, err := l.Admit(s.run, func(seq uint64) (syncer.Chain, error) { return main.chain(seq), nil })
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i+1, diff)
				}
				main = a[:l.Head.Seq] // branch a comes first in every row
			}
			gaps := "["
			for i, g := range l.Gaps() {
				if i > 0 {
					gaps += " "
				}
				gaps += fmt.Sprintf("%d-%d", g.GetFirst(), g.GetLast())
			}
			if gaps += "]"; l.Head.Seq != tt.head || gaps != tt.gaps {
				t.Errorf("head %d, gaps %s, want %d, %s", l.Head.Seq, gaps, tt.head, tt.gaps)
			}
		})
	}
}

func TestAdmitRefusesWhatStandsBeforeTheFirst(t *testing.T) {
	for _, r := range []syncer.Run{
		{First: 0, Digests: []syncer.Digest{{1}}},
		{First: 1, Prev: syncer.Chain{1}, Digests: []syncer.Digest{{1}}},
	} {
		l := syncer.Lane{ID: testLane}
		if _, err := l.Admit(r, nil); fault.ReasonOf(err) != fault.BadChain {
			t.Errorf("run from %d: %v, want %s", r.First, err, fault.BadChain)
		}
	}
}
