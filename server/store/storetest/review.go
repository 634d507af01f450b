package storetest

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

var reviewTests = map[string]func(*testing.T, Factory){
	"an item of the quarantine":   testQuarantineItem,
	"replay":                      testReplay,
	"withdrawn":                   testWithdrawn,
	"erase":                       testErase,
	"erase what is in quarantine": testEraseQuarantine,
}

// spoil is a push of one record that cannot be used for a reason.
func spoil(t *testing.T, s store.Store, b *Tablet, r Raw, reason fault.Reason) *store.Appended {
	t.Helper()
	c := b.Check(t, b.Batch(r))
	c.Entries[0].Reason, c.Entries[0].Message = reason, "因为 "+string(reason)
	return push(t, s, c)
}

// one returns the only item in quarantine.
func one(t *testing.T, s store.Store) *servicev1.QuarantineItem {
	t.Helper()
	items, err := s.Quarantine(context.Background(), 0, 10)
	if err != nil || len(items) != 1 {
		t.Fatalf("in quarantine: %v, %v; want one item", items, err)
	}
	return items[0]
}

func testQuarantineItem(t *testing.T, f Factory) {
	ctx, s, b := within(t), f.Open(t), NewTablet(1)
	defer s.Close()
	r := b.Record(t, 7, Subject(1), nil)
	spoil(t, s, b, r, fault.UnknownVersion)
	want := one(t, s)
	got, raw, err := s.QuarantineItem(ctx, want.GetId())
	if err != nil || !proto.Equal(got, want) || !bytes.Equal(raw, r.Bytes) {
		t.Errorf("item = %v, %d bytes, %v; want %v with %d bytes", got, len(raw), err, want, len(r.Bytes))
	}
	if _, _, err := s.QuarantineItem(ctx, want.GetId()+1); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an item that is not there: %v, want not found", err)
	}
	gone := b.Record(t, 7, Subject(2), nil)
	gone.Bytes = nil
	push(t, s, b.Check(t, b.Batch(gone)))
	items, err := s.Quarantine(ctx, want.GetId(), 10)
	if err != nil || len(items) != 1 {
		t.Fatalf("items = %v, %v", items, err)
	}
	if _, raw, err := s.QuarantineItem(ctx, items[0].GetId()); err != nil || raw != nil {
		t.Errorf("bytes of a record that was damaged on the tablet = %x, %v; want none", raw, err)
	}
}

func testReplay(t *testing.T, f Factory) {
	ctx, s, b := within(t), f.Open(t), NewTablet(1)
	defer s.Close()
	r := b.Record(t, 7, Subject(1), nil)
	spoil(t, s, b, r, fault.UnknownVersion)
	head, id := b.Head, one(t, s).GetId()
	e := &syncer.Entry{Seq: 1, Digest: r.Digest, Raw: r.Bytes, Record: r.Record}

	other := *e
	other.Digest[0] ^= 1
	if _, err := s.Replay(ctx, id, &other); fault.KindOf(err) != fault.Invalid {
		t.Errorf("replay as another record: %v, want invalid", err)
	}
	stays := *e
	stays.Reason, stays.Message = fault.UnknownQuestionnaire, "还是不认识"
	got, err := s.Replay(ctx, id, &stays)
	if err != nil || got.GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_QUARANTINED || got.GetReason() != string(fault.UnknownQuestionnaire) {
		t.Errorf("replay that changes the reason = %v, %v", got, err)
	}
	if item := one(t, s); item.GetReason() != string(fault.UnknownQuestionnaire) || item.GetMessage() != "还是不认识" || item.GetId() != id {
		t.Errorf("the item afterwards = %v", item)
	}
	if n := len(ReadAll(t, s, 10)); n != 0 {
		t.Errorf("%d records in the log, want none", n)
	}
	if got, err = s.Replay(ctx, id, e); err != nil || got.GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_STORED {
		t.Errorf("replay = %v, %v; want stored", got, err)
	}
	all := ReadAll(t, s, 10)
	if len(all) != 1 || !bytes.Equal(all[0].Raw, r.Bytes) {
		t.Errorf("the log holds %d records, want the one released", len(all))
	}
	if items, err := s.Quarantine(ctx, 0, 10); err != nil || len(items) > 0 {
		t.Errorf("in quarantine: %v, %v; want nothing", items, err)
	}
	if _, err := s.Replay(ctx, id, e); fault.KindOf(err) != fault.NotFound {
		t.Errorf("replay again: %v, want not found", err)
	}
	if got, err := s.Lane(ctx, b.Lane); err != nil || got != head {
		t.Errorf("head of the lane = %v, %v; want it as it was, %v", got, err, head)
	}
	// Another record under the same id stays, with the reason that holds now.
	twin := b.Record(t, 7, Subject(2), func(rec *servicev1.Record) { rec.Id = r.Record.GetId() })
	spoil(t, s, b, twin, fault.UnknownVersion)
	got, err = s.Replay(ctx, one(t, s).GetId(), &syncer.Entry{Seq: 2, Digest: twin.Digest, Raw: twin.Bytes, Record: twin.Record})
	if err != nil || got.GetReason() != string(fault.IDReused) || one(t, s).GetReason() != string(fault.IDReused) {
		t.Errorf("replay of a reused id = %v, %v", got, err)
	}
	check(t, s, 0)
}

// check fails on errors that Check finds, and unless so many records are erased.
func check(t *testing.T, s store.Store, erased int) {
	t.Helper()
	report, err := s.Check(context.Background(), store.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Severity == "error" {
			t.Errorf("Check: %s: %s", f.Subject, f.Message)
		}
	}
	if report.Erased != erased {
		t.Errorf("Check counts %d erased records, want %d", report.Erased, erased)
	}
}

func testWithdrawn(t *testing.T, f Factory) {
	ctx, s, b := within(t), f.Open(t), NewTablet(1)
	defer s.Close()
	records := b.Records(t, 7, 3)
	b.Push(t, s, records...)
	c := &store.Changes{Cursor: head(t, s), Records: [][]uint64{}}
	for i, r := range records {
		c.Interviews = append(c.Interviews, &servicev1.InterviewProjection{Summary: &servicev1.InterviewSummary{
			InterviewId: r.Record.Subject, Part: r.Record.Part, Study: r.Record.Study, Heads: [][]byte{r.Digest[:]},
		}})
		c.Records = append(c.Records, []uint64{uint64(i + 1)})
	}
	if err := s.Apply(ctx, c); err != nil {
		t.Fatal(err)
	}
	later := b.Record(t, 7, records[1].Record.GetSubject(), nil)
	b.Push(t, s, later)
	stone := &servicev1.Tombstone{InterviewId: records[1].Record.Subject, DecidedBy: proto.String("督导"), Reason: proto.String("撤回同意"), TimeMs: proto.Int64(5)}
	w := store.Withdrawal{Part: 7, InterviewID: records[1].Record.GetSubject(), Tombstone: stone, Records: []uint64{2, 4}}
	for range 2 { // again changes nothing
		if err := s.Apply(ctx, &store.Changes{Cursor: head(t, s), Records: [][]uint64{}, Withdrawn: []store.Withdrawal{w}}); err != nil {
			t.Fatal(err)
		}
		got, err := s.Withdrawn(ctx)
		if err != nil || len(got) != 1 || got[0].InterviewID != w.InterviewID || got[0].Part != 7 || !proto.Equal(got[0].Tombstone, stone) || !slices.Equal(got[0].Records, w.Records) {
			t.Errorf("withdrawn = %v, %v", got, err)
		}
		cells, err := s.CountCells(ctx, "")
		if err != nil || len(cells) != 1 || cells[0].GetInterviews() != 2 {
			t.Errorf("counts = %v, %v; want 2 interviews", cells, err)
		}
		if _, err := s.Interview(ctx, w.InterviewID); fault.KindOf(err) != fault.NotFound {
			t.Errorf("the withdrawn interview: %v, want not found", err)
		}
		n := 0
		for iv, err := range s.Interviews(ctx, store.Filter{}) {
			if err != nil || iv.GetSummary().GetInterviewId() == w.InterviewID {
				t.Errorf("listed: %v, %v", iv, err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%d interviews, want 2", n)
		}
		if revs, err := s.Revisions(ctx, 7, servicev1.RecordKind_RECORD_KIND_INTERVIEW, w.InterviewID); err != nil || len(revs) != 2 {
			t.Errorf("%d revisions of the withdrawn interview, %v; want 2", len(revs), err)
		}
	}
}

func head(t *testing.T, s store.Store) syncer.Cursor {
	t.Helper()
	c, err := s.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testErase(t *testing.T, f Factory) {
	ctx, s, b := within(t), f.Open(t), NewTablet(1)
	defer func() { s.Close() }()
	subject := Subject(99)
	first := b.Record(t, 7, subject, func(r *servicev1.Record) { r.Payload = bytes.Repeat([]byte("canary "), 4000) })
	second := b.Record(t, 7, subject, func(r *servicev1.Record) { r.Parents = [][]byte{first.Digest[:]} })
	other, elsewhere := b.Record(t, 7, Subject(98), nil), b.Record(t, 8, subject, nil)
	b.Push(t, s, first, other, second, elsewhere)
	want := []syncer.Digest{first.Digest, second.Digest}
	slices.SortFunc(want, func(a, b syncer.Digest) int { return bytes.Compare(a[:], b[:]) })
	before := head(t, s)
	for range 2 {
		got, err := s.Erase(ctx, 7, subject)
		if err != nil || !slices.Equal(got.Digests, want) || got.Quarantined != 0 {
			t.Fatalf("Erase = %v, %v; want %v", got, err, want)
		}
		check(t, s, 2)
	}
	if f.Reopen != nil {
		s = f.Reopen(t, s)
		check(t, s, 2)
	}
	revs, err := s.Revisions(ctx, 7, servicev1.RecordKind_RECORD_KIND_INTERVIEW, subject)
	if err != nil || len(revs) != 2 {
		t.Fatalf("revisions = %v, %v", revs, err)
	}
	for _, r := range revs {
		rec, err := syncer.Open(r.Raw)
		if err != nil || rec.GetSubject() != subject || rec.GetPayload() != nil || syncer.DigestOf(r.Raw) == r.Digest {
			t.Errorf("what is left of record %v = %v, %v", r.Digest, rec, err)
		}
		if r.Digest == second.Digest && !bytes.Equal(rec.GetParents()[0], first.Digest[:]) {
			t.Error("the parents are not kept")
		}
	}
	if r, err := s.Record(ctx, 8, subject, elsewhere.Digest); err != nil || !bytes.Equal(r.Raw, elsewhere.Bytes) {
		t.Errorf("a record of another part: %v", err)
	}
	if r, err := s.Record(ctx, 7, other.Record.GetSubject(), other.Digest); err != nil || !bytes.Equal(r.Raw, other.Bytes) {
		t.Errorf("a record of another subject: %v", err)
	}
	wanted, _, err := s.Missing(ctx, []*servicev1.RecordRef{{Part: proto.Uint64(7), Id: first.Record.Id, Digest: first.Digest[:]}})
	if err != nil || len(wanted) > 0 {
		t.Errorf("an erased record is wanted: %v, %v", wanted, err)
	}
	if got := b.Push(t, s, first, second); got.New != 0 || len(got.Results) != 2 || got.Results[0].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
		t.Errorf("erased records again = %v, want duplicates", got)
	}
	if got := spoil(t, s, b, first, fault.InterviewWithdrawn); len(got.Results) != 1 || got.Results[0].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
		t.Errorf("an erased record again, with a reason = %v, want a duplicate", got)
	}
	if after := head(t, s); after.Parts[7] != before.Parts[7] {
		t.Errorf("counter %d, want %d", after.Parts[7], before.Parts[7])
	}
	check(t, s, 2)
}

func testEraseQuarantine(t *testing.T, f Factory) {
	ctx, s, b := within(t), f.Open(t), NewTablet(1)
	defer func() { s.Close() }()
	late, other := b.Record(t, 7, Subject(1), nil), b.Record(t, 7, Subject(2), nil)
	spoil(t, s, b, late, fault.InterviewWithdrawn)
	spoil(t, s, b, other, fault.UnknownVersion)
	got, err := s.Erase(ctx, 7, Subject(1))
	if err != nil || got.Quarantined != 1 || len(got.Digests) != 0 {
		t.Fatalf("Erase = %v, %v; want one item", got, err)
	}
	if f.Reopen != nil {
		s = f.Reopen(t, s)
	}
	if item := one(t, s); !bytes.Equal(item.GetDigest(), other.Digest[:]) {
		t.Errorf("left in quarantine: %v", item)
	}
	if got := spoil(t, s, b, late, fault.InterviewWithdrawn); got.Results[0].GetOutcome() != servicev1.EntryOutcome_ENTRY_OUTCOME_DUPLICATE {
		t.Errorf("the erased record again = %v, want a duplicate", got)
	}
	one(t, s)
	wanted, _, err := s.Missing(ctx, []*servicev1.RecordRef{{Part: proto.Uint64(7), Id: late.Record.Id, Digest: late.Digest[:]}})
	if err != nil || len(wanted) > 0 {
		t.Errorf("an erased record is wanted: %v, %v", wanted, err)
	}
	check(t, s, 0)
}
