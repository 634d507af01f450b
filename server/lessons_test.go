package server

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// What field teams have complained about elsewhere, each with the tests that show that it does not happen here. A test is named
// by its folder and its function, a script by its file.
var lessons = map[string][]string{
	"the response is lost after the commit":                    {"server.TestLostAnswer", "syncer/syncertest.TestScenarios", "syncer/tablet.TestCutAtEveryCall"},
	"killed between the answers and the attachments":           {"syncer/tablet.TestConnectionLostAtEveryChunkBoundary", "server/store/blobs.TestKilledAtAnyPoint", "server/store/sqlite.TestKilled"},
	"the same batch five times in parallel":                    {"server.TestSameBatchAtOnce"},
	"the identical post twelve times at once":                  {"server.TestSameBatchAtOnce"},
	"an edit before its original":                              {"server.TestEditBeforeOriginal", "server.TestArrivalOrder"},
	"a stale edit":                                             {"server.TestStaleEdit"},
	"two devices edit one interview, different fields":         {"server.TestDisjointEditsMerge"},
	"two devices edit one interview, the same field":           {"server.TestConflictIsResolved", "cmd/hearth/conflicts.txtar"},
	"sent again after it was deleted":                          {"server.TestWithdrawAndErase", "server.TestErasedAttachments"},
	"sent again after the round was closed":                    {"server.TestClosedRounds", "cmd/hearth/closing.txtar"},
	"sent again after the device was revoked":                  {"server.TestRevokedTablet", "cmd/hearth/quarantine.txtar"},
	"an unknown version of a questionnaire":                    {"server.TestBadRecordBesideGoodOnes", "cmd/hearth/quarantine.txtar"},
	"no id of the interview":                                   {"server.TestNoInterviewID"},
	"an id of a device that is all digits":                     {"server.TestAllDigits"},
	"a clock in 1970":                                          {"server.TestClockIn1970"},
	"a tablet restored from a backup":                          {"server.TestFork", "syncer/syncertest.TestScenarios"},
	"a tablet that has lost what it knew of its syncs":         {"server.TestSyncStateLost"},
	"a server restored from a backup":                          {"syncer/tablet.TestServerRestoredFromABackup", "syncer/tablet.TestServerThatLostItsAttachmentsGetsThemAgain"},
	"NUL, quotes, newlines, emoji, rare characters":            {"server.TestTextsAreKept"},
	"two attachments with equal bytes":                         {"syncer/tablet.TestEqualBytesAreKeptAndSentOnce", "server.TestSameBlobFromTwoTabletsAtOnce"},
	"an attachment is replaced":                                {"syncer/tablet.TestAttachmentReplaced"},
	"an assignment is given to another while both are offline": {"server.TestHandOver", "server.TestHandOversInAnyOrder", "cmd/hearth/assignments.txtar"},
	"a message of 4 MiB and one byte":                          {"server.TestOneByteTooMany"},
	"bombs: gzip in gRPC and Connect, zstd in a batch":         {"server.TestBombs", "syncer.TestCheckRefusesBatches"},
	"10,000 idle connections":                                  {"cmd/hearth/crashtest.TestIdleConnections"},
	"a slow reader":                                            {"cmd/hearth/crashtest.TestSlowReaders"},
	"a damaged file is brought by hand":                        {"syncer/tablet.TestMutants", "syncer/tablet.TestTheReaderIsConfined", "syncer/tablet.TestReaderThatIsAnEnemy"},
	"what cannot be used is only in a log line":                {"server.TestQuarantineReplay", "cmd/hearth/quarantine.txtar"},
}

// Every lesson has tests, and those exist.
func TestLessonsAreCovered(t *testing.T) {
	for lesson, tests := range lessons {
		if len(tests) == 0 {
			t.Errorf("%q has no test", lesson)
		}
		for _, name := range tests {
			if strings.HasSuffix(name, ".txtar") {
				dir, file := filepath.Split(name)
				if _, err := os.Stat(filepath.Join("..", dir, "testdata", "script", file)); err != nil {
					t.Errorf("%q: %v", lesson, err)
				}
				continue
			}
			dir, function, _ := strings.Cut(name, ".")
			if !slices.Contains(testsIn(t, dir), function) {
				t.Errorf("%q: there is no test %s", lesson, name)
			}
		}
	}
	if len(lessons) < 28 {
		t.Errorf("there are %d lessons; none is ever taken away", len(lessons))
	}
}

// testsIn lists the test functions of a folder.
func testsIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has no tests: %v", dir, err)
	}
	for _, f := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				all = append(all, fn.Name.Name)
			}
		}
	}
	return all
}

// counted is how many interviews headquarters counts.
func counted(t *testing.T, d *desk) int64 {
	t.Helper()
	resp, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetTotal().GetInterviews()
}

// The batch is stored, its answer is lost, and the tablet sends it again: cut otherwise, as tablets do.
func TestLostAnswer(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("lost answer")
		tb.greet(t, d)
		var raws [][]byte
		for i := range 5 {
			raws = append(raws, tb.record(t, household(i), nil))
		}
		start := tb.head
		first := tb.push(t, d, raws...) // nobody has heard it
		tb.head = start
		tb.push(t, d, raws[:2]...)
		ack := tb.push(t, d, raws[2:]...)
		if diff := cmp.Diff([]string{"DUPLICATE ", "DUPLICATE ", "DUPLICATE "}, outcomes(ack)); diff != "" {
			t.Errorf("the second time (-want +got):\n%s", diff)
		}
		if !bytes.Equal(ack.GetReceipt().GetChain(), first.GetReceipt().GetChain()) || ack.GetReceipt().GetSeq() != 5 {
			t.Errorf("receipt %v, the first was %v", ack.GetReceipt(), first.GetReceipt())
		}
		if n := counted(t, d); n != 5 {
			t.Errorf("%d interviews are counted, want 5", n)
		}
	})
}

// One batch from many sides at the same moment, over gRPC and over Connect: stored once, and everybody gets the receipt.
func TestSameBatchAtOnce(t *testing.T) {
	for _, times := range []int{5, 12} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			eachStore(t, func(t *testing.T, d *desk) {
				tb := newTablet("at once")
				tb.greet(t, d)
				batch := tb.batch(tb.record(t, household(1), nil), tb.record(t, household(2), nil))
				body, err := protojson.Marshal(&servicev1.PushBatchRequest{Batch: batch})
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				acks := make([]*servicev1.BatchAck, times)
				for i := range times {
					all.Go(func() {
						if i%2 == 0 {
							resp, err := servicev1.NewSyncServiceClient(d.conn).PushBatch(with(t.Context()), &servicev1.PushBatchRequest{Batch: batch})
							if err != nil {
								t.Error(err)
							}
							acks[i] = resp.GetAck()
							return
						}
						resp := &servicev1.PushBatchResponse{}
						code, _, text := curl(t, d, "/hearth.service.v1.SyncService/PushBatch", "application/json", string(body), true)
						if err := protojson.Unmarshal([]byte(text), resp); code != http.StatusOK || err != nil {
							t.Errorf("post: %d %s, %v", code, text, err)
						}
						acks[i] = resp.GetAck()
					})
				}
				all.Wait()
				first := 0
				for i, ack := range acks {
					if ack.GetReceipt().GetSeq() != 2 {
						t.Errorf("answer %d: %v", i, ack)
					}
					if len(ack.GetResults()) == 0 {
						first++
					}
				}
				log, _, _, err := d.store.After(t.Context(), syncer.Cursor{}, 100)
				if first != 1 || len(log) != 2 || err != nil || counted(t, d) != 2 {
					t.Errorf("%d answers say that it is new, %d records are in the log, %v; want 1 and 2", first, len(log), err)
				}
			})
		})
	}
}

// A revision arrives before the one that it replaces: it counts at once, and the original changes nothing.
func TestEditBeforeOriginal(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("edit first")
		tb.greet(t, d)
		iv := household(1)
		original := tb.record(t, iv, nil)
		first := syncer.DigestOf(original)
		edited := proto.CloneOf(iv)
		edited.GetHousehold().Members[1].Age = proto.Int32(9)
		edit := tb.record(t, edited, func(r *servicev1.Record) { r.Parents = [][]byte{first[:]} })
		want := syncer.DigestOf(edit)
		for i, raw := range [][]byte{edit, original} {
			tb.push(t, d, raw)
			if n := counted(t, d); n != 1 {
				t.Errorf("after %d records %d interviews are counted, want 1", i+1, n)
			}
			p, err := d.store.Interview(t.Context(), iv.GetInterviewId())
			if err != nil || !bytes.Equal(p.GetSummary().GetHead(), want[:]) || len(p.GetSummary().GetHeads()) > 1 {
				t.Errorf("after %d records: %v, %v; want the edit shown, and no conflict", i+1, p.GetSummary(), err)
			}
		}
	})
}

// Somebody edits what he loaded last week, though it was edited since: nothing is bounced, nothing is overwritten.
func TestStaleEdit(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("stale")
		tb.greet(t, d)
		iv := household(1)
		version := func(age int32, parent []byte) []byte {
			other := proto.CloneOf(iv)
			other.GetHousehold().Members[1].Age = proto.Int32(age)
			return tb.record(t, other, func(r *servicev1.Record) {
				if parent != nil {
					digest := syncer.DigestOf(parent)
					r.Parents = [][]byte{digest[:]}
				}
			})
		}
		first := version(8, nil)
		second := version(9, first)
		third := version(10, second)
		stale := version(11, first)
		ack := tb.push(t, d, first, second, third, stale)
		if len(ack.GetResults()) != 0 || ack.GetReceipt().GetSeq() != 4 {
			t.Errorf("ack = %v; want all four plainly stored", ack)
		}
		resp, err := servicev1.NewReviewServiceClient(d.conn).ListConflicts(with(t.Context()), &servicev1.ListConflictsRequest{})
		if err != nil || len(resp.GetConflicts()) != 1 || len(resp.GetConflicts()[0].GetHeads()) != 2 {
			t.Errorf("conflicts = %v, %v; want one between the third and the stale edit", resp, err)
		}
	})
}

// An interview without an id is no interview; sent twice, it is kept once, and the lane goes on.
func TestNoInterviewID(t *testing.T) {
	d := newDesk(t, openSQLite(t, t.TempDir()))
	tb := newTablet("no id")
	tb.greet(t, d)
	nameless := household(1)
	nameless.InterviewId = nil
	payload, err := proto.Marshal(nameless)
	if err != nil {
		t.Fatal(err)
	}
	id := uuid.Must(uuid.NewV7())
	bare, err := proto.Marshal(&servicev1.Record{Id: id[:], Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Study: proto.String("guiyang"), Device: tb.lane.Device[:], Payload: payload})
	if err != nil {
		t.Fatal(err)
	}
	invented := tb.record(t, nameless, func(r *servicev1.Record) { r.Subject = proto.String("x") })
	for range 2 {
		tb.head = syncer.Head{}
		ack := tb.push(t, d, bare, invented, tb.record(t, household(2), nil))
		if got := outcomes(ack); len(got) < 2 || got[0] != "QUARANTINED RECORD_UNREADABLE" || got[1] != "QUARANTINED PAYLOAD_UNREADABLE" {
			t.Errorf("outcomes = %v", got)
		}
		if ack.GetFork() {
			break // the third record is another each time
		}
	}
	items, err := servicev1.NewMonitorServiceClient(d.conn).ListQuarantine(with(t.Context()), &servicev1.ListQuarantineRequest{})
	if err != nil || len(items.GetItems()) != 2 {
		t.Errorf("quarantine = %v, %v; want each once", items, err)
	}
}

// Ids and codes that are all digits stay texts wherever they are shown: with their zeros in front.
func TestAllDigits(t *testing.T) {
	d := newDesk(t, openSQLite(t, t.TempDir()))
	tb := newTablet("0042")
	copy(tb.lane.Device[:], "0123456789012345")
	tb.greet(t, d)
	iv := household(1)
	iv.Enumerator, iv.SiteId, iv.InterviewKey = proto.String("007"), proto.String("0520"), proto.String("000123")
	tb.push(t, d, tb.record(t, iv, nil))
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, _, body := curl(t, d, "/hearth.service.v1.MonitorService/ListInterviews", "application/json", "{}", true)
	for _, want := range []string{`"007"`, `"0520"`, `"000123"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the list of interviews has no %s: %s", want, body)
		}
	}
	_, _, body = curl(t, d, "/hearth.service.v1.MonitorService/ListDevices", "application/json", "{}", true)
	if !strings.Contains(body, `"0042"`) {
		t.Errorf("the list of devices: %s", body)
	}
	key, err := d.store.Key(t.Context(), tb.lane.Device)
	if err != nil || len(key) != 32 {
		t.Errorf("the device %s: %v", hex.EncodeToString(tb.lane.Device[:]), err)
	}
	rows := exportedRows(t, d)
	for column, want := range map[string]string{"enumerator": "007", "site_id": "0520", "interview_key": "000123"} {
		if got := rows[0][column]; got != want {
			t.Errorf("exported %s = %q, want %q", column, got, want)
		}
	}
}

// exportedRows are the rows of the interviews' CSV by the names of their columns.
func exportedRows(t *testing.T, d *desk) (rows []map[string]string) {
	t.Helper()
	files, _ := exported(t, d, &servicev1.ExportRequest{
		Study: proto.String("guiyang"), Formats: []servicev1.ExportFormat{servicev1.ExportFormat_EXPORT_FORMAT_CSV},
		Profile: servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED.Enum(), Reason: proto.String("to see what was kept"), RequestedBy: proto.String("a test"),
	})
	all, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(files["csv/interview.csv"], []byte("\xef\xbb\xbf")))).ReadAll()
	if err != nil || len(all) < 2 {
		t.Fatalf("interview.csv: %d rows, %v", len(all), err)
	}
	for _, line := range all[1:] {
		row := map[string]string{}
		for i, name := range all[0] {
			row[name] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// A tablet whose clock stands in 1970, and one in 2100: taken in, counted, the clock is told.
func TestClockIn1970(t *testing.T) {
	d := newDesk(t, openSQLite(t, t.TempDir()))
	for i, at := range []time.Time{time.Unix(0, 0), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)} {
		tb := newTablet(fmt.Sprint("clock ", i))
		req := tb.hello()
		req.WallTimeMs = proto.Int64(at.UnixMilli())
		if _, err := servicev1.NewSyncServiceClient(d.conn).Hello(with(t.Context()), req); err != nil {
			t.Fatal(err)
		}
		iv := household(i)
		iv.StartTime, iv.EndTime = timestamppb.New(at), timestamppb.New(at.Add(time.Hour))
		ack := tb.push(t, d, tb.record(t, iv, func(r *servicev1.Record) { r.WallTimeMs = proto.Int64(at.UnixMilli()) }))
		if len(ack.GetResults()) != 0 || ack.GetReceipt().GetSeq() != 1 {
			t.Errorf("at %v: %v", at, ack)
		}
	}
	if n := counted(t, d); n != 2 {
		t.Errorf("%d interviews are counted, want 2", n)
	}
	list, err := servicev1.NewMonitorServiceClient(d.conn).ListDevices(with(t.Context()), &servicev1.ListDevicesRequest{})
	if err != nil || len(list.GetDevices()) != 2 {
		t.Fatal(list, err)
	}
	year := int64(365 * 24 * time.Hour / time.Millisecond)
	if a, b := list.GetDevices()[0].GetClockSkewMs(), list.GetDevices()[1].GetClockSkewMs(); a > -40*year || b < 40*year {
		t.Errorf("skews %d and %d ms, want decades", a, b)
	}
	if got := len(exportedRows(t, d)); got != 2 {
		t.Errorf("%d rows are exported, want 2", got)
	}
}

// A tablet that knows nothing of what it has sent sends everything again in a new epoch: nothing is new, all is receipted.
func TestSyncStateLost(t *testing.T) {
	eachStore(t, func(t *testing.T, d *desk) {
		tb := newTablet("forgetful")
		tb.greet(t, d)
		var raws [][]byte
		for i := range 4 {
			raws = append(raws, tb.record(t, household(i), nil))
		}
		tb.push(t, d, raws...)
		tb.lane.Epoch[0] ^= 1
		tb.head = syncer.Head{}
		if resp := tb.greet(t, d); resp.GetLanes()[0].GetSeq() != 0 {
			t.Errorf("the server knows the new lane: %v", resp.GetLanes())
		}
		ack := tb.push(t, d, raws...)
		if got := outcomes(ack); len(got) != 4 || slices.ContainsFunc(got, func(s string) bool { return s != "DUPLICATE " }) || ack.GetReceipt().GetSeq() != 4 {
			t.Errorf("sent again: %v, %v", got, ack.GetReceipt())
		}
		if n := counted(t, d); n != 4 {
			t.Errorf("%d interviews are counted, want 4", n)
		}
	})
}

// Texts that break programs come up, into projections, into lists and into exports as they were written.
func TestTextsAreKept(t *testing.T) {
	texts := []string{"a\x00b", `he said "no", then 'yes'`, "two\nlines\r\nand\ta tab", "👩🏽‍🌾 emoji", "𠀀𠮷𪚥 rare Han", "=HYPERLINK(\"x\")", "\u202eright to left", "back\\slash,;|", strings.Repeat("长", 200)}
	d := newDesk(t, openSQLite(t, t.TempDir()))
	tb := newTablet("texts")
	tb.greet(t, d)
	want := map[string]string{}
	var raws [][]byte
	for i, text := range texts {
		iv := household(i)
		iv.InterviewKey, iv.SiteId = proto.String(fmt.Sprint("GY-", i)), proto.String(text)
		iv.Respondent.Identity.FullName, iv.GetHousehold().Members[0].Identity.FullName = proto.String(text), proto.String(text)
		want[iv.GetInterviewId()] = text
		raws = append(raws, tb.record(t, iv, nil))
	}
	if ack := tb.push(t, d, raws...); len(ack.GetResults()) != 0 {
		t.Fatalf("ack = %v", ack)
	}
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, text := range want {
		p, err := d.store.Interview(t.Context(), id)
		if err != nil || p.GetSummary().GetSiteId() != text {
			t.Errorf("projected site %q, %v; want %q", p.GetSummary().GetSiteId(), err, text)
		}
		if !slices.ContainsFunc(p.GetPeople(), func(r *servicev1.PersonRecord) bool { return r.GetIdentity().GetFullName() == text }) {
			t.Errorf("nobody is called %q in the projection", text)
		}
	}
	resp := &servicev1.ListInterviewsResponse{}
	_, _, body := curl(t, d, "/hearth.service.v1.MonitorService/ListInterviews", "application/json", "{}", true)
	if err := protojson.Unmarshal([]byte(body), resp); err != nil || len(resp.GetInterviews()) != len(texts) {
		t.Fatalf("%d interviews in JSON, %v", len(resp.GetInterviews()), err)
	}
	for _, sum := range resp.GetInterviews() {
		if sum.GetSiteId() != want[sum.GetInterviewId()] {
			t.Errorf("JSON has site %q, want %q", sum.GetSiteId(), want[sum.GetInterviewId()])
		}
	}
	var got, all []string
	for _, row := range exportedRows(t, d) {
		got = append(got, row["site_id"])
	}
	for _, text := range texts { // a reader of CSV makes one end of a line of both
		all = append(all, strings.ReplaceAll(text, "\r\n", "\n"))
	}
	slices.Sort(got)
	slices.Sort(all)
	if diff := cmp.Diff(all, got); diff != "" {
		t.Errorf("exported sites (-want +got):\n%s", diff)
	}
}
