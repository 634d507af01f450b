package tablet

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// coveredSQL is true of a record (alias rec) that headquarters has signed for, bytes and all.
const coveredSQL = `EXISTS (SELECT 1 FROM lane_entry AS e
	WHERE e.digest = rec.digest AND e.seq <= (SELECT max(r.seq) FROM receipt AS r WHERE r.epoch = e.epoch)
	AND NOT EXISTS (SELECT 1 FROM answer AS a WHERE a.epoch = e.epoch AND a.seq = e.seq AND a.outcome = 4))`

// listedSQL is true of a record that stands under a receipt, with its bytes or as one whose bytes were not taken.
const listedSQL = `EXISTS (SELECT 1 FROM lane_entry AS e
	WHERE e.digest = rec.digest AND e.seq <= (SELECT max(r.seq) FROM receipt AS r WHERE r.epoch = e.epoch))`

// Status is what a store holds.
type Status struct {
	Device     syncer.ID
	Name       string
	Enumerator string
	Study      string
	Epoch      syncer.ID
	// Epochs counts the lanes the store has had; more than one: it was restored or cloned.
	Epochs int
	// Records counts the revisions written here, Interviews the interviews they are of, Drafts those still being
	// filled in.
	Records, Interviews, Drafts int
	// ByStatus counts the interviews by the status of the revision that is shown.
	ByStatus map[surveyv1.InterviewStatus]int
	// Conflicts counts the interviews with several current revisions.
	Conflicts int
	// Pending counts the records headquarters has not signed for.
	Pending int
	// Undelivered counts the records whose place headquarters has signed for, but whose bytes it could not take.
	Undelivered int
	// Quarantined counts the answers of headquarters that a person must decide on.
	Quarantined int
	// Pruned counts the records whose bytes headquarters keeps and this store no longer does.
	Pruned int
	// Pulled counts the records of headquarters held here.
	Pulled int
	// Blobs counts the attachments kept here, once for each content; BlobsPending those of them that headquarters has not
	// said it has, and BlobBytesPending their bytes; BlobsPruned those whose bytes headquarters keeps; BlobsAbsent those
	// that records list and whose bytes were never here.
	Blobs, BlobsPending, BlobsPruned, BlobsAbsent int
	BlobBytesPending                              int64
	// LastReceipt and LastSync are zero where there was none.
	LastReceipt, LastSync time.Time
}

// Status counts what the store holds.
func (s *Store) Status(ctx context.Context) (Status, error) {
	st := Status{Device: s.device, Name: s.name, Enumerator: s.enumerator, Study: s.study, ByStatus: map[surveyv1.InterviewStatus]int{}}
	err := inTx(ctx, s.db, func(tx *sql.Tx) error {
		var receipt, sync sql.NullInt64
		var epoch []byte
		err := tx.QueryRowContext(ctx, `SELECT
			(SELECT count(*) FROM record), (SELECT count(*) FROM draft),
			(SELECT count(DISTINCT epoch) FROM (SELECT epoch FROM lane_entry UNION SELECT epoch FROM meta)),
			(SELECT count(*) FROM record AS rec WHERE NOT `+listedSQL+`),
			(SELECT count(*) FROM record AS rec WHERE `+listedSQL+` AND NOT `+coveredSQL+`),
			(SELECT count(*) FROM answer WHERE outcome = 3),
			(SELECT count(*) FROM record WHERE body IS NULL), (SELECT count(*) FROM pulled),
			(SELECT max(time_ms) FROM receipt), last_sync_ms, epoch FROM meta`).
			Scan(&st.Records, &st.Drafts, &st.Epochs, &st.Pending, &st.Undelivered, &st.Quarantined, &st.Pruned, &st.Pulled, &receipt, &sync, &epoch)
		if err != nil {
			return err
		}
		st.LastReceipt, st.LastSync = timeOf(receipt), timeOf(sync)
		if st.Epoch, err = syncer.ParseID(epoch); err != nil {
			return err
		}
		if err := countBlobs(ctx, tx, &st); err != nil {
			return err
		}
		return s.countInterviews(ctx, tx, &st)
	})
	return st, dbFault(err, "read the status of %s", s.path)
}

func timeOf(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64)
}

func (s *Store) countInterviews(ctx context.Context, q querier, st *Status) error {
	subjects, err := interviewIDs(ctx, q)
	if err != nil {
		return err
	}
	for _, id := range subjects {
		revs, err := knownRevisions(ctx, q, servicev1.RecordKind_RECORD_KIND_INTERVIEW, id)
		if err != nil {
			return err
		}
		heads := headsOf(revs)
		if len(heads) > 1 {
			st.Conflicts++
		}
		st.Interviews++
		if len(heads) > 0 {
			st.ByStatus[surveyv1.InterviewStatus(find(revs, heads[0]).status)]++
		}
	}
	return nil
}

func find(revs []known, d syncer.Digest) known {
	for _, r := range revs {
		if r.Digest == d {
			return r
		}
	}
	return known{}
}

// interviewIDs lists the interviews with a record here, in the order of their first.
func interviewIDs(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT subject FROM record WHERE kind = ? GROUP BY subject ORDER BY min(n)", int64(servicev1.RecordKind_RECORD_KIND_INTERVIEW))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Export writes the current interviews as JSON lines, as Load reads them, in the order in which they were first
// recorded; of an interview in conflict the revision that is shown. Answers to a questionnaire published at run time are
// written as its own JSON where the tablet knows it and that holds all of them, else as base64. Equal stores give equal bytes. Interviews whose
// bytes were pruned or are damaged are named in the error; all others are written.
func (s *Store) Export(ctx context.Context, w io.Writer) error {
	ids, err := interviewIDs(ctx, s.db)
	if err != nil {
		return dbFault(err, "export %s", s.path)
	}
	var missing []error
	for _, id := range ids {
		revs, err := knownRevisions(ctx, s.db, servicev1.RecordKind_RECORD_KIND_INTERVIEW, id)
		if err != nil {
			return dbFault(err, "export interview %s", id)
		}
		heads := headsOf(revs)
		if len(heads) == 0 {
			continue
		}
		text, err := s.jsonLine(ctx, heads[0])
		if err != nil {
			missing = append(missing, fmt.Errorf("export interview %s: %w", id, err))
			continue
		}
		if _, err := w.Write(text); err != nil {
			return fault.New(fault.Unavailable, "", "export interview %s: %w", id, err)
		}
	}
	return errors.Join(missing...)
}

func (s *Store) jsonLine(ctx context.Context, d syncer.Digest) ([]byte, error) {
	iv, err := s.interview(ctx, d)
	if err != nil {
		return nil, err
	}
	loose, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(iv)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.PayloadUnreadable, "write it as JSON: %w", err)
	}
	var line bytes.Buffer // compact: the encoder varies its blanks on purpose
	if err := json.Compact(&line, loose); err != nil {
		return nil, fault.New(fault.Internal, "", "write it as JSON: %w", err)
	}
	text := append(unpackAnswers(line.Bytes(), s.answersTo), '\n')
	return text, nil
}

// interview reads a revision, of this tablet or of headquarters.
func (s *Store) interview(ctx context.Context, d syncer.Digest) (*surveyv1.Interview, error) {
	var body []byte
	err := s.db.QueryRowContext(ctx, "SELECT body FROM record WHERE digest = ?1 UNION ALL SELECT body FROM pulled WHERE digest = ?1", d[:]).Scan(&body)
	if err != nil {
		return nil, dbFault(err, "read record %v", d)
	}
	if body == nil {
		return nil, fault.New(fault.NotFound, "", "its answers are at headquarters, and were pruned here")
	}
	if syncer.DigestOf(body) != d {
		return nil, fault.New(fault.Internal, fault.RecordDamaged, "record %v is damaged", d)
	}
	record, err := syncer.Open(body)
	if err != nil {
		return nil, err
	}
	iv := &surveyv1.Interview{}
	if err := proto.Unmarshal(record.GetPayload(), iv); err != nil {
		return nil, fault.New(fault.Internal, fault.PayloadUnreadable, "record %v: %w", d, err)
	}
	return iv, nil
}

// Record is a row of the store, for reports.
type Record struct {
	ID            syncer.ID
	Digest        syncer.Digest
	Kind          servicev1.RecordKind
	Subject       string
	Questionnaire string
	Status        surveyv1.InterviewStatus
	Part          uint64
	Size          int
	Written       time.Time
	// Receipted is true where headquarters has signed for the record's bytes.
	Receipted bool
	// Pruned is true where the bytes are no longer here.
	Pruned bool
}

// Records yields what the tablet has written, in the order of writing. The store can be used meanwhile.
func (s *Store) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		after := int64(0)
		for {
			page, last, err := s.recordPage(ctx, after)
			if err != nil {
				yield(Record{}, dbFault(err, "list the records of %s", s.path))
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			after = last
		}
	}
}

func (s *Store) recordPage(ctx context.Context, after int64) ([]Record, int64, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT n, id, digest, kind, subject, questionnaire, status, part, size, written_ms, body IS NULL, `+coveredSQL+`
		FROM record AS rec WHERE n > ? ORDER BY n LIMIT 500`, after)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var page []Record
	for rows.Next() {
		var r Record
		var id, digest []byte
		var kind, status, part, written int64
		if err := rows.Scan(&after, &id, &digest, &kind, &r.Subject, &r.Questionnaire, &status, &part, &r.Size, &written, &r.Pruned, &r.Receipted); err != nil {
			return nil, 0, err
		}
		copy(r.ID[:], id)
		copy(r.Digest[:], digest)
		r.Kind, r.Status = servicev1.RecordKind(kind), surveyv1.InterviewStatus(status)
		r.Part, r.Written = uint64(part), time.UnixMilli(written)
		page = append(page, r)
	}
	return page, after, rows.Err()
}

// Backup writes a copy of the store as of now to a file that must not exist (fault.StoreExists). A tablet that goes on
// from a backup opens a new epoch at its next sync; nothing is lost by that.
func (s *Store) Backup(ctx context.Context, path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Exists, fault.StoreExists, "back up %s to %s: there is a file of that name", s.path, path)
	}
	if _, err := s.db.ExecContext(ctx, "VACUUM INTO ?", fileURI(path)); err != nil {
		return dbFault(err, "back up %s to %s", s.path, path)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fault.New(fault.Internal, "", "back up %s to %s: %w", s.path, path, err)
	}
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return fault.New(fault.Internal, "", "back up %s to %s: %w", s.path, path, err)
	}
	return syncFolder(filepath.Dir(path))
}
