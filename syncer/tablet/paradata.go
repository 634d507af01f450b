package tablet

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"io"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/paradata"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// AddParadata records how the answers of an interview of this tablet came about, once for each content: a record of its
// own, which goes after what was recorded before it. It fails with fault.BadInterview for an interview that is not here.
func (s *Store) AddParadata(ctx context.Context, t paradata.Trail) (added bool, err error) {
	p, err := paradata.Encode(t)
	if err != nil {
		return false, err
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return false, fault.New(fault.Invalid, fault.BadRequest, "write the paradata of interview %.60q: %w", t.InterviewID, err)
	}
	err = inTx(ctx, s.db, func(tx *sql.Tx) (err error) {
		added, err = s.writeParadata(ctx, tx, t.InterviewID, payload)
		return err
	})
	return added, dbFault(err, "add paradata to %s", s.path)
}

func (s *Store) writeParadata(ctx context.Context, tx *sql.Tx, id string, payload []byte) (bool, error) {
	const kind = servicev1.RecordKind_RECORD_KIND_PARADATA
	of, err := knownRevisions(ctx, tx, servicev1.RecordKind_RECORD_KIND_INTERVIEW, id)
	if err != nil {
		return false, err
	}
	if len(of) == 0 {
		return false, fault.New(fault.Invalid, fault.BadInterview, "interview %.60q is not on this tablet, so its paradata cannot be", id)
	}
	before, err := knownRevisions(ctx, tx, kind, id)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256(payload)
	for _, r := range before {
		if bytes.Equal(r.payload, sum[:]) {
			return false, nil
		}
	}
	now := s.now()
	recordID, err := s.newID(now.UnixMilli())
	if err != nil {
		return false, err
	}
	r := &servicev1.Record{
		Id: recordID[:], Kind: kind.Enum(), Subject: &id, Study: &s.study, Part: proto.Uint64(of[0].part), Author: &s.enumerator,
		Device: bytes.Clone(s.device[:]), WallTimeMs: proto.Int64(now.UnixMilli()), BootId: bytes.Clone(s.boot[:]),
		MonotonicMs: proto.Int64(now.Sub(s.opened).Milliseconds()), Payload: payload,
	}
	raw, digest, err := syncer.Seal(r)
	if err != nil {
		return false, err
	}
	if err := insertRecord(ctx, tx, r, raw, digest, 0, sum[:]); err != nil {
		return false, err
	}
	return true, s.list(ctx, tx, digest)
}

// LoadParadata adds the paradata of a file, one interview per line, as AddParadata does: {"interview_id": "...", "visits":
// [{"question": "household.members[0].age", "start_ms": 1467334800000, "duration_ms": 4000, "changes": 1}]}. A line that
// cannot be taken is reported and loses nothing beside it.
func (s *Store) LoadParadata(ctx context.Context, r io.Reader) (LoadReport, error) {
	var report LoadReport
	lines := &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
	for {
		group, readErr := lines.group(loadGroup)
		for _, l := range group {
			report.Lines++
			added, id, err := s.loadTrail(ctx, l)
			switch kind := fault.KindOf(err); {
			case err == nil && added:
				report.Added++
			case err == nil:
				report.Unchanged++
			case kind == fault.Invalid || kind == fault.TooLarge:
				report.Problems = append(report.Problems, LineProblem{Line: l.n, InterviewID: id, Reason: fault.ReasonOf(err), Message: messageOf(err)})
			default:
				return report, err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return report, nil
		}
		if readErr != nil {
			return report, fault.New(fault.Invalid, fault.BadRequest, "the file cannot be read after line %d (%w); what was read before is loaded: name a file of JSON lines", report.Lines, readErr)
		}
	}
}

func (s *Store) loadTrail(ctx context.Context, l line) (added bool, id string, err error) {
	var t paradata.Trail
	dec := json.NewDecoder(bytes.NewReader(l.text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return false, "", fault.New(fault.Invalid, fault.BadRequest, "the line is no JSON of paradata: %w", err)
	}
	added, err = s.AddParadata(ctx, t)
	return added, t.InterviewID, err
}
