package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
)

var indexTests = map[string]func(*testing.T, Factory){
	"entries in order":  testIndexOrder,
	"all or none":       testIndexGuard,
	"thrown away":       testIndexDrop,
	"pages of a prefix": testIndexPages,
}

func entry(key, value string) store.IndexEntry {
	return store.IndexEntry{Key: key, Value: []byte(value)}
}

// scanned lists the keys that begin with a prefix.
func scanned(t *testing.T, s store.Store, prefix, after string, limit int) string {
	t.Helper()
	entries, err := s.IndexScan(within(t), prefix, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range entries {
		keys = append(keys, fmt.Sprintf("%q=%s", e.Key, e.Value))
	}
	return strings.Join(keys, " ")
}

// testIndexOrder expects the order of bytes, also of those that are no text, and that an empty value is one.
func testIndexOrder(t *testing.T, f Factory) {
	s := f.Open(t)
	ctx := within(t)
	if got := scanned(t, s, "", "", 0); got != "" {
		t.Errorf("a new index holds %s", got)
	}
	if err := s.IndexApply(ctx, store.IndexEntry{Key: "at"}, []store.IndexEntry{
		entry("b\xff\xff", "1"), entry("b", ""), entry("b\x00c", "2"), entry("c", "3"), entry("\xff\xffx", "4"), entry("a", "old"), entry("a", "5"),
	}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ prefix, want string }{
		{"", `"a"=5 "b"= "b\x00c"=2 "b\xff\xff"=1 "c"=3 "\xff\xffx"=4`},
		{"b", `"b"= "b\x00c"=2 "b\xff\xff"=1`},
		{"b\xff", `"b\xff\xff"=1`},
		{"\xff", `"\xff\xffx"=4`},
		{"z", ""},
	} {
		if got := scanned(t, s, test.prefix, "", 0); got != test.want {
			t.Errorf("prefix %q: %s, want %s", test.prefix, got, test.want)
		}
	}
	got, err := s.IndexGet(ctx, "a", "none", "b")
	if err != nil {
		t.Fatal(err)
	}
	if want := [][]byte{[]byte("5"), nil, {}}; !cmp.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := s.IndexApply(ctx, store.IndexEntry{Key: "at"}, []store.IndexEntry{{Key: "b\x00c"}, {Key: "none"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := scanned(t, s, "b", "", 0), `"b"= "b\xff\xff"=1`; got != want {
		t.Errorf("after one is gone: %s, want %s", got, want)
	}
}

// testIndexGuard expects changes only where the guard holds.
func testIndexGuard(t *testing.T, f Factory) {
	s := f.Open(t)
	ctx := within(t)
	if err := s.IndexApply(ctx, store.IndexEntry{Key: "at"}, []store.IndexEntry{entry("at", "1"), entry("x", "first")}); err != nil {
		t.Fatal(err)
	}
	for _, guard := range []store.IndexEntry{{Key: "at"}, entry("at", "2"), entry("at", ""), entry("other", "1")} {
		err := s.IndexApply(ctx, guard, []store.IndexEntry{entry("x", "second"), {Key: "at"}})
		if fault.KindOf(err) != fault.Conflict {
			t.Errorf("guard %q=%q: %v, want a conflict", guard.Key, guard.Value, err)
		}
	}
	if got, want := scanned(t, s, "", "", 0), `"at"=1 "x"=first`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if err := s.IndexApply(ctx, entry("at", "1"), []store.IndexEntry{entry("at", "2"), entry("x", "second")}); err != nil {
		t.Error(err)
	}
}

// testIndexDrop expects nothing behind, and an index that can be used again.
func testIndexDrop(t *testing.T, f Factory) {
	s := f.Open(t)
	ctx := within(t)
	for range 2 {
		if err := s.IndexApply(ctx, store.IndexEntry{Key: "at"}, []store.IndexEntry{entry("at", "1")}); err != nil {
			t.Fatal(err)
		}
		if err := s.IndexDrop(ctx); err != nil {
			t.Fatal(err)
		}
		if got := scanned(t, s, "", "", 0); got != "" {
			t.Errorf("left: %s", got)
		}
	}
}

// testIndexPages pages through a prefix.
func testIndexPages(t *testing.T, f Factory) {
	s := f.Open(t)
	var changes []store.IndexEntry
	for i := range 25 {
		changes = append(changes, entry(fmt.Sprintf("p%03d", i), "x"), entry(fmt.Sprintf("q%03d", i), "x"))
	}
	if err := s.IndexApply(within(t), store.IndexEntry{Key: "at"}, changes); err != nil {
		t.Fatal(err)
	}
	after, n := "", 0
	for {
		page, err := s.IndexScan(within(t), "p", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		if page[0].Key <= after || len(page) > 10 {
			t.Fatalf("a page of %d behind %q begins with %q", len(page), after, page[0].Key)
		}
		n, after = n+len(page), page[len(page)-1].Key
	}
	if n != 25 {
		t.Errorf("%d entries in pages, want 25", n)
	}
}
