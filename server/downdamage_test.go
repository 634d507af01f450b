package server

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// liar is a connection that changes what Pull brings, so many times.
type liar struct {
	grpc.ClientConnInterface
	times, pulls int
	change       func(*servicev1.PullResponse)
}

func (l *liar) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := l.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	if resp, ok := reply.(*servicev1.PullResponse); ok && err == nil && strings.HasSuffix(method, "/Pull") {
		if l.pulls++; l.pulls <= l.times {
			l.change(resp)
		}
	}
	return err
}

// What comes down is believed only if it has the sum that the server says: once wrong it is fetched anew, twice wrong the
// tablet keeps what it had, says so, and goes on with everything else.
func TestPagesThatAreNotWhatTheySay(t *testing.T) {
	pages := func(f func(*servicev1.BucketPage)) func(*servicev1.PullResponse) {
		return func(r *servicev1.PullResponse) {
			for _, p := range r.GetPages() {
				if p.GetKind() == servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS {
					f(p)
				}
			}
		}
	}
	changed := pages(func(p *servicev1.BucketPage) { p.Rows[len(p.Rows)-1].Body = []byte("forged") })
	for _, tc := range []struct {
		name   string
		times  int
		change func(*servicev1.PullResponse)
		pulls  int
		state  string // of the second assignment afterwards
		reason fault.Reason
		fails  bool
	}{
		{"a changed row, once", 1, changed, 2, "OPEN", "", false},
		{"a changed row, always", 100, changed, 2, "", fault.BucketDamaged, false},
		{"a row left out", 1, pages(func(p *servicev1.BucketPage) { p.Rows = p.Rows[1:] }), 2, "OPEN", "", false},
		{"another sum", 100, pages(func(p *servicev1.BucketPage) { p.Sum = proto.Uint64(1) }), 2, "", fault.BucketDamaged, false},
		{"another bucket", 1, pages(func(p *servicev1.BucketPage) { p.Scope = proto.String("B") }), 1, "", fault.BucketDamaged, true},
		{"a page too few", 1, func(r *servicev1.PullResponse) { r.Pages = nil }, 1, "", fault.BucketDamaged, true},
		{"a row that is neither put nor removed", 1, pages(func(p *servicev1.BucketPage) { p.Rows[0].Op = nil }), 1, "", fault.BucketDamaged, true},
		{"more, and nothing comes", 100, pages(func(p *servicev1.BucketPage) { p.Rows, p.More = nil, proto.Bool(true) }), 1, "", fault.BucketDamaged, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tm := newTeam(t, newMemory(), "A")
			first := tm.assign(t, "A", "school-c")
			tm.sync(t, "A")
			second := tm.assign(t, "A", "school-c")
			if _, _, err := tm.tablets["A"].AddInterview(t.Context(), interviewFor("", "school-c")); err != nil {
				t.Fatal(err)
			}
			l := &liar{ClientConnInterface: tm.conn, times: tc.times, change: tc.change}
			report, err := tm.tablets["A"].Sync(t.Context(), l, onlyOnce())
			if (err != nil) != tc.fails || tc.fails && fault.ReasonOf(err) != tc.reason {
				t.Fatalf("Sync = %v, want %q", err, tc.reason)
			}
			if report.Sent != 1 || l.pulls != tc.pulls {
				t.Errorf("%d records sent, %d pulls; want 1 and %d", report.Sent, l.pulls, tc.pulls)
			}
			if told := len(report.Damaged) > 0; told != (tc.reason != "" && !tc.fails) {
				t.Errorf("the report says of damage: %v", report.Damaged)
			}
			if got := tm.holds(t, "A", first); got != "OPEN" {
				t.Errorf("what was held before is %q", got)
			}
			if got := tm.holds(t, "A", second); got != tc.state {
				t.Errorf("the second assignment is %q, want %q", got, tc.state)
			}
			tm.sync(t, "A")
			if got := tm.holds(t, "A", second); got != "OPEN" {
				t.Errorf("after an honest sync the second assignment is %q", got)
			}
		})
	}
}

// A row that changed on the tablet's disk is noticed at the next sync, and its bucket comes anew.
func TestRowDamagedOnTheTablet(t *testing.T) {
	for _, damage := range []string{
		"UPDATE down_row SET body = x'ff' WHERE kind = 1", "DELETE FROM down_row WHERE kind = 1", "UPDATE down_row SET key = 'x' WHERE kind = 1",
		"UPDATE down_bucket SET sum = 7 WHERE kind = 1", "UPDATE down_bucket SET cursor = x'ff', sum = 7 WHERE kind = 1", "DELETE FROM down_bucket",
	} {
		tm := newTeam(t, newMemory(), "A")
		id := tm.assign(t, "A", "school-c")
		tm.sync(t, "A")
		db, err := sql.Open("sqlite", tm.tablets["A"].Path())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), damage); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		tm.sync(t, "A")
		if got := tm.holds(t, "A", id); got != "OPEN" {
			t.Errorf("after %q and a sync the assignment is %q", damage, got)
		}
		counted := &lossy{ClientConnInterface: tm.conn}
		if _, err := tm.tablets["A"].Sync(t.Context(), counted, onlyOnce()); err != nil || counted.calls["Pull"] > 0 {
			t.Errorf("after %q it is fetched again and again: %v, %v", damage, counted.calls, err)
		}
	}
}
