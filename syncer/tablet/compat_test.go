package tablet_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/hearth-survey/hearth/syncer/syncertest"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

var writeCompat = flag.Bool("write-compat", false, "write the store of this version to testdata/compat, once per version")

// TestWriteCompat makes the file that later versions must open. It never replaces one.
func TestWriteCompat(t *testing.T) {
	if !*writeCompat {
		t.Skip("skipped: only with -write-compat, when the schema has a new version")
	}
	ctx := context.Background()
	s, err := tablet.Create(ctx, t.TempDir()+"/s.sqlite", tablet.CreateOptions{
		Name: "tablet-compat", Enumerator: "E7", Study: "guiyang-2016", Now: clock(), Rand: syncertest.Random("compat"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add(t, s, syncertest.Interview("compat", 1, "贵阳"), syncertest.Interview("compat", 2, "b"), syncertest.Interview("compat", 1, "贵阳，改"))
	draft := syncertest.Interview("compat", 3, "draft")
	draft.Status, draft.Remarks = nil, proto.String("未完成")
	if err := s.SaveDraft(ctx, draft); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata/compat", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(ctx, fmt.Sprintf("testdata/compat/store-v%d.sqlite", tablet.Version)); err != nil {
		t.Fatal(err)
	}
}
