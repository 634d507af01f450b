package syncertest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/syncer/tablet"
)

// Scenarios runs stories of a tablet and its copies against servers from hq. Each is a line of arrows: "1:r3 -> 1:s -> 1:b -> 1:r2 -> 1:s -> 1:x0 -> 1:r1 -> 1:s" is tablet 1: record 3,
// sync, backup, record 2, sync, restore backup 0, record 1, sync. c: clone (the next number), p: prune, q/a: a sync whose
// requests/answers are lost from the given call on, u: import a backup, m: sync, and in the middle of it the tablet
// with the given number.
func Scenarios(t *testing.T, hq func(t *testing.T, dir string) Headquarters) {
	t.Helper()
	tests := []struct {
		name  string
		steps string
		want  int // records at headquarters in the end
		forks int // new lanes that the store in hand has opened, at most
	}{
		{"one tablet", "1:r3 -> 1:s -> 1:r2 -> 1:s", 5, 0},
		{"synced twice", "1:r3 -> 1:s -> 1:s -> 1:s", 3, 0},
		{"the answer to the last batch is lost", "1:r3 -> 1:a2 -> 1:p -> 1:s -> 1:p", 3, 0},
		{"every call lost in turn", "1:r9 -> 1:q1 -> 1:q2 -> 1:q3 -> 1:a1 -> 1:a2 -> 1:a3 -> 1:s", 9, 0},
		{"restored, shorter than headquarters", "1:r2 -> 1:b -> 1:r3 -> 1:s -> 1:x0 -> 1:s", 5, 1},
		{"restored, then as long as headquarters", "1:r2 -> 1:b -> 1:r3 -> 1:s -> 1:x0 -> 1:r3 -> 1:s -> 1:p", 8, 1},
		{"restored, then longer than headquarters", "1:r2 -> 1:b -> 1:r3 -> 1:s -> 1:x0 -> 1:r5 -> 1:s -> 1:p", 10, 1},
		{"restored before anything was synced", "1:r2 -> 1:b -> 1:r3 -> 1:x0 -> 1:r1 -> 1:s", 3, 0},
		{"restored twice", "1:r1 -> 1:b -> 1:r1 -> 1:s -> 1:x0 -> 1:r1 -> 1:s -> 1:x0 -> 1:r1 -> 1:s -> 1:p", 4, 1},
		{"restored while the answer was lost", "1:r2 -> 1:b -> 1:r2 -> 1:a3 -> 1:x0 -> 1:r2 -> 1:a2 -> 1:a3 -> 1:s -> 1:p", 6, 1},
		{"cloned, both go on", "1:r2 -> 1:c -> 1:r2 -> 2:r2 -> 1:s -> 2:s -> 1:r1 -> 2:r1 -> 2:s -> 1:s -> 1:p -> 2:p", 8, 1},
		{"cloned, pruned, the clone goes on", "1:r2 -> 1:s -> 1:c -> 1:p -> 2:p -> 1:r1 -> 2:r1 -> 2:s -> 1:s", 4, 1},
		{"two copies at the same moment", "1:r4 -> 1:c -> 1:r4 -> 2:r4 -> 1:m2 -> 1:p -> 2:p", 12, 1},
		{"a backup by hand, then the tablet", "1:r3 -> 1:b -> 1:r1 -> 1:u0 -> 1:s -> 1:p", 4, 0},
		{"an old backup by hand after the tablet", "1:r3 -> 1:b -> 1:r2 -> 1:s -> 1:u0 -> 1:u0 -> 1:s", 5, 0},
		{"a fork by hand", "1:r2 -> 1:b -> 1:r3 -> 1:s -> 1:x0 -> 1:r2 -> 1:b -> 1:u1 -> 1:s -> 1:p", 7, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			m := newTeam(t, dir, hq(t, dir), 1)
			defer m.close()
			for step := range strings.SplitSeq(tt.steps, " -> ") {
				m.step(step)
				m.check()
			}
			m.heal()
			if got := len(m.srv.Records()); got != tt.want {
				t.Errorf("headquarters holds %d records, want %d", got, tt.want)
			}
			forks := 0
			for _, s := range m.tablets {
				st, err := s.Status(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				forks = max(forks, st.Epochs-1)
			}
			if forks != tt.forks {
				t.Errorf("%d new lanes, want %d", forks, tt.forks)
			}
		})
	}
}

func (m *team) step(step string) {
	m.t.Helper()
	var who, n int
	var verb rune
	if k, err := fmt.Sscanf(step, "%d:%c%d", &who, &verb, &n); k < 2 {
		m.t.Fatalf("step %q: %v", step, err)
	}
	i := who - 1
	switch verb {
	case 'r':
		for k := range n {
			m.record(i, k)
		}
	case 's':
		m.sync(i, 0, None)
	case 'q':
		m.sync(i, n, RequestLost)
	case 'a':
		m.sync(i, n, AnswerLost)
	case 'm':
		m.race(i, n-1, 2)
	case 'b':
		m.backup(i)
	case 'x':
		m.restore(i, m.backups[n])
	case 'c':
		m.tablets = append(m.tablets, m.revive(m.backup(i)))
	case 'p':
		m.prune(i)
	case 'u':
		m.usb(m.backups[n])
	default:
		m.t.Fatalf("step %q: no such verb", step)
	}
}

// Cuts lets every connection die after so many bytes, for many numbers of bytes, and then heals.
func Cuts(t *testing.T, hq func(t *testing.T, dir string) Headquarters) {
	t.Helper()
	grow := int64(3)
	if testing.Short() {
		grow = 8
	}
	for bytes := int64(1); bytes < 60_000; bytes = bytes*grow/2 + 40 {
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			dir := t.TempDir()
			m := newTeam(t, dir, hq(t, dir), 1)
			defer m.close()
			for k := range 12 {
				m.record(0, k)
			}
			m.link.CutAfter(bytes)
			opts := tablet.SyncOptions{MinBackoff: 1, MaxBackoff: 1, Attempts: 3, CallTimeout: 1}
			if bytes > 3000 {
				opts.Attempts, opts.CallTimeout = 50, 0
			}
			_, err := m.tablets[0].Sync(context.Background(), m.link, opts)
			if bytes > 10_000 && err != nil {
				t.Errorf("connections of %d bytes are enough, but: %v", bytes, err)
			}
			m.check()
			m.link.CutAfter(0)
			m.heal()
		})
	}
}
