package sim

import (
	"database/sql"
	"fmt"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// check is what must be true after every step: headquarters' log has given its reader each record once; every record that
// a tablet has a receipt for, or has pruned, is there; every tablet has what it acknowledged.
func (w *world) check() {
	w.hq.audit.read(w.hq)
	for _, t := range w.tablets {
		if w.touched[t] {
			w.checkTablet(t)
		}
	}
	clear(w.touched)
	w.checkHubs()
}

func (w *world) checkTablet(t *tab) {
	records, err := t.records()
	if err != nil && t.lied {
		t.replace()
		return
	}
	w.must(err, "list the records of %s", t.name)
	t.keeps(records)
	t.givenTo()
	for _, r := range records {
		if !r.Receipted && !r.Pruned {
			continue
		}
		if !w.holds(r) {
			if w.proven[r.Digest] || !w.hq.audit.lost() {
				w.fail("LOST: %s has a receipt for record %s (pruned: %v), and headquarters does not hold it", t.name, w.name(r.Digest), r.Pruned)
			}
			continue
		}
		w.proven[r.Digest] = true
	}
}

// lost says whether headquarters has forgotten something by being restored from a backup.
func (a *audit) lost() bool { return a.restores > 0 }

// holds says whether headquarters holds a record, in its log or in quarantine.
func (w *world) holds(r tablet.Record) bool {
	if w.hq.audit.held[r.Digest] {
		return true
	}
	ref := &servicev1.RecordRef{Part: proto.Uint64(r.Part), Id: r.ID[:], Digest: r.Digest[:]}
	return len(w.hq.missing([]*servicev1.RecordRef{ref})) == 0
}

// heal ends all faults: then everything must arrive, in two syncs of each, and nothing be left to say.
func (w *world) heal() {
	w.trace("the faults end")
	w.rand = newRand(w.story.Seed, 9)
	w.hq.disk.Set(faultdisk.Plan{})
	w.healHubs()
	for round := range 3 {
		sent := 0
		for _, t := range w.tablets {
			t.disk.Set(faultdisk.Plan{})
			l := w.home(t)
			if err := t.sync(l); err != nil && !t.lied {
				w.fail("STUCK: the faults have ended, and a sync of %s fails: %v", t.name, err)
			}
			if round == 2 && l.batch > 0 {
				w.fail("STUCK: when all was told, %s sends %d more batches", t.name, l.batch)
			}
			sent += l.batch
		}
		w.check()
		if sent == 0 {
			break
		}
	}
	w.settle()
	w.endHubs()
	for _, t := range w.tablets {
		w.healed(t)
	}
	w.must(w.hq.server.Project(w.ctx), "make the projections")
	w.hq.audit.read(w.hq)
	w.checkAll()
	w.checkForks()
	w.checkPhotos()
	w.checkProjections()
	for _, t := range w.tablets {
		w.checkPulled(t)
		w.checkRows(t)
	}
	w.checkOrders()
	w.checkStore()
}

// healed sees that a tablet has nothing left that headquarters lacks.
func (w *world) healed(t *tab) {
	st, err := t.store.Status(w.ctx)
	w.must(err, "ask for the status of %s", t.name)
	records, err := t.records()
	w.must(err, "list the records of %s", t.name)
	gone := 0 // pruned here, and lost by a headquarters that was restored from a backup: it may have them from elsewhere
	for _, r := range records {
		if r.Pruned && !r.Receipted {
			gone++
		}
	}
	if st.Pending != 0 || st.Undelivered > gone {
		w.fail("STUCK: the faults have ended, and %s has %d records pending, %d undelivered", t.name, st.Pending, st.Undelivered)
	}
	if st.BlobsPending > 0 {
		w.fail("STUCK: the faults have ended, and %s has %d attachments to send", t.name, st.BlobsPending)
	}
	for _, r := range records {
		if !r.Pruned && !w.holds(r) {
			w.fail("LOST: the faults have ended, and record %s of %s is not at headquarters", w.name(r.Digest), t.name)
		}
	}
}

// checkAll looks at the log and the quarantine as a whole.
func (w *world) checkAll() {
	for d := range w.proven {
		if w.hq.audit.held[d] || w.hq.audit.erased[d] {
			continue
		}
		found := false
		w.hq.eachQuarantined(func(q syncer.Digest, raw []byte) { found = found || q == d && raw != nil })
		if !found {
			w.fail("LOST: a receipt was given for record %s, and headquarters does not hold it", w.name(d))
		}
	}
	w.hq.eachQuarantined(func(d syncer.Digest, raw []byte) {
		switch {
		case w.hq.audit.held[d]:
			w.fail("DOUBLED: record %s is in the log and in quarantine", w.name(d))
		case raw != nil && w.hq.audit.erased[d]:
			w.fail("ERASED: the answers of record %s are back in quarantine", w.name(d))
		case raw != nil && syncer.DigestOf(raw) != d:
			w.fail("CHANGED: record %s in quarantine does not have its digest", w.name(d))
		}
	})
}

// shown is what the projections must say of one interview.
type shown struct {
	heads     []syncer.Digest
	completed bool // the first of them
}

// checkProjections compares what is derived with what the log says, in whatever order it came.
func (w *world) checkProjections() {
	revisions := map[string][]syncer.Revision{}
	gone := map[string]bool{}
	cursor, rows := syncer.Cursor{}, 0
	for more := true; more; {
		var page []store.Stored
		var err error
		page, cursor, more, err = w.hq.store.After(w.ctx, cursor, 500)
		w.must(err, "read headquarters' log")
		for _, st := range page {
			w.revision(st, revisions, gone)
			rows++
		}
	}
	want := map[string]shown{}
	for at, revs := range revisions {
		if !gone[at] {
			slices.Reverse(revs)
			heads := syncer.Heads(revs)
			first := slices.IndexFunc(revs, func(r syncer.Revision) bool { return r.Digest == heads[0] })
			want[at] = shown{heads, revs[first].Rank == 1}
			w.current(at, revs, want[at].heads)
		}
	}
	if n := len(w.hq.audit.rows); n != rows {
		w.fail("LOST: the log's reader was given %d records, the log has %d", n, rows)
	}
	seen := 0
	for iv, err := range w.hq.store.Interviews(w.ctx, store.Filter{}) {
		w.must(err, "list the interviews")
		at := fmt.Sprintf("%x/%s", iv.GetSummary().GetPart(), iv.GetSummary().GetInterviewId())
		heads := make([]syncer.Digest, 0, 2)
		for _, h := range iv.GetSummary().GetHeads() {
			heads = append(heads, syncer.Digest(h))
		}
		if !slices.Equal(heads, want[at].heads) {
			w.fail("DIVERGED: interview %s is shown with the revisions %s, the log says %s", at, w.all(heads), w.all(want[at].heads))
		}
		w.checkReviewed(at, iv.GetSummary(), want[at])
		seen++
	}
	cells, err := w.hq.store.CountCells(w.ctx, "")
	w.must(err, "count the interviews")
	counted := int64(0)
	for _, c := range cells {
		counted += c.GetInterviews()
	}
	if seen != len(want) || counted != int64(len(want)) {
		w.fail("DIVERGED: %d interviews are shown and %d counted, the log has %d", seen, counted, len(want))
	}
}

// current counts by itself which revisions no other replaces.
func (w *world) current(at string, revs []syncer.Revision, heads []syncer.Digest) {
	replaced := map[syncer.Digest]bool{}
	for _, r := range revs {
		for _, p := range r.Parents {
			replaced[p] = true
		}
	}
	n := 0
	for _, r := range revs {
		if !replaced[r.Digest] {
			n++
		}
	}
	for _, h := range heads {
		if replaced[h] {
			w.fail("DIVERGED: interview %s is shown with revision %s, which another replaces", at, w.name(h))
		}
	}
	if n != len(heads) {
		w.fail("DIVERGED: interview %s has %d revisions that no other replaces, %d are shown", at, n, len(heads))
	}
}

// checkForks sees that headquarters has kept, as part of a lane, every run of which it said that it is of another branch.
func (w *world) checkForks() {
	if len(w.forks) == 0 {
		return
	}
	listed := map[string]bool{}
	for after, more := int64(0), true; more; {
		runs, err := w.hq.store.Runs(w.ctx, after, 1000)
		w.must(err, "list the runs of lanes")
		for _, r := range runs {
			after = r.Number
			for _, d := range r.Digests {
				listed[fmt.Sprint(r.Lane, d)] = true
			}
		}
		more = len(runs) > 0
	}
	for _, b := range w.forks {
		lane, err := syncer.ParseLane(b.lane)
		w.must(err, "read a lane")
		for _, e := range b.entries {
			if !listed[fmt.Sprint(lane, e.digest)] {
				w.fail("FORK: headquarters has not kept the branch of lane %v in which record %s stands", lane, w.name(e.digest))
			}
		}
	}
}

func (w *world) all(digests []syncer.Digest) (out []string) {
	for _, d := range digests {
		out = append(out, w.name(d))
	}
	return out
}

// revision notes one record of the log.
func (w *world) revision(st store.Stored, revisions map[string][]syncer.Revision, gone map[string]bool) {
	r, err := syncer.Open(st.Raw)
	w.must(err, "read record %s", w.name(st.Digest))
	at := fmt.Sprintf("%x/%s", st.Part, r.GetSubject())
	switch r.GetKind() {
	case servicev1.RecordKind_RECORD_KIND_TOMBSTONE:
		gone[at] = true
	case servicev1.RecordKind_RECORD_KIND_REVIEW:
		w.said(at, st.Digest, r)
	case servicev1.RecordKind_RECORD_KIND_STUDY:
		w.studies = append(w.studies, st.Digest)
	case servicev1.RecordKind_RECORD_KIND_INTERVIEW:
		rev := syncer.Revision{Digest: st.Digest}
		for _, p := range r.GetParents() {
			rev.Parents = append(rev.Parents, syncer.Digest(p))
		}
		for _, d := range r.GetReviews() {
			w.answers[fmt.Sprint(at, syncer.Digest(d))] = true
		}
		iv := &surveyv1.Interview{}
		w.must(proto.Unmarshal(r.GetPayload(), iv), "read record %s", w.name(st.Digest))
		if id := iv.GetAssignmentId(); id != "" {
			if w.done[id] == nil {
				w.done[id] = map[string]bool{}
			}
			w.done[id][r.GetSubject()] = true
		}
		if iv.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED {
			rev.Rank = 1
		}
		revisions[at] = append(revisions[at], rev)
	}
}

// checkPulled sees that a tablet has every definition that headquarters has written, once.
func (w *world) checkPulled(t *tab) {
	id, _ := identity(t.dev)
	if w.revoked[id] || t.lied {
		return
	}
	db, err := sql.Open("sqlite", "file:"+t.disk.Path(storeFile)+"?mode=ro&vfs="+t.disk.VFS())
	w.must(err, "look into %s", t.name)
	defer db.Close()
	rows, err := db.QueryContext(w.ctx, "SELECT digest FROM pulled WHERE kind = ?", int64(servicev1.RecordKind_RECORD_KIND_STUDY))
	w.must(err, "look into %s", t.name)
	defer rows.Close()
	has := map[syncer.Digest]bool{}
	for rows.Next() {
		var raw []byte
		w.must(rows.Scan(&raw), "look into %s", t.name)
		if has[syncer.Digest(raw)] {
			w.fail("DOUBLED: %s has definition %.4x twice", t.name, raw)
		}
		has[syncer.Digest(raw)] = true
	}
	w.must(rows.Err(), "look into %s", t.name)
	for _, d := range w.studies {
		if !has[d] {
			w.fail("LOST: headquarters' definition %s never came to %s", w.name(d), t.name)
		}
	}
}

// checkStore is `hearth check` at headquarters.
func (w *world) checkStore() {
	opts := store.CheckOptions{}
	if w.opts.Rebuild {
		opts.Rebuild = w.hq.server.Rebuild
	}
	report, err := w.hq.store.Check(w.ctx, opts)
	w.must(err, "check headquarters")
	for _, f := range report.Findings {
		if f.Severity == "error" {
			w.fail("CHECK: %s: %s", f.Subject, f.Message)
		}
	}
}
