// Package store says what the server needs kept, as narrow interfaces that ask the server's questions. Two stores
// implement it, server/store/sqlite and (later) server/store/postgres; storetest proves each of them.
//
// The log is the truth and is durable before Append returns. Projections are derived from it, live apart, and may be
// thrown away and built again. Nothing here knows gRPC, and no database error leaves an implementation: errors are of
// package proto/fault.
package store

import (
	"context"
	"crypto/ed25519"
	"iter"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
)

// Store is everything one server keeps.
type Store interface {
	Log
	Devices
	Enrolments
	Sessions
	Hubs
	Projections
	Downlink
	Index
	// Check reads the whole store and reports what is wrong: digests, chains, counters, gaps, and with rebuild the
	// projections made again from the log and compared byte for byte.
	Check(ctx context.Context, opts CheckOptions) (*Report, error)
	// Close waits for writes under way. What was acknowledged before is durable in any case.
	Close() error
}

// Stored is a record as the log holds it.
type Stored struct {
	Part    uint64
	Counter uint64
	Digest  syncer.Digest
	// Raw are the record's exact bytes; of an erased record its envelope alone, which does not have the digest.
	Raw []byte
	// ReceivedMS is when it was stored, milliseconds since 1970.
	ReceivedMS int64
}

// Appended is what became of a checked batch.
type Appended struct {
	// Results lists the entries that were not plainly stored.
	Results []*servicev1.EntryResult
	// Head is how far the lane is held without a gap after the batch.
	Head syncer.Head
	Gaps []*servicev1.SeqRange
	Fork bool
	// New counts the records that were not held before.
	New int
}

// Log is the append-only log of a server.
type Log interface {
	// Epoch identifies this log; a log restored from a backup has another.
	Epoch() syncer.ID
	// Append stores the entries of a batch and its place in its lane, in one transaction with the lane's head, and
	// returns when that is durable. Refused entries are left out, entries with a Reason go to quarantine, an id held
	// with another digest goes to quarantine as ID_REUSED. The same batch again changes nothing, except that records
	// which were in quarantine and come without a Reason now are taken out of it. It may be called from many goroutines;
	// commits are shared. If the context ends while it waits, the batch may be stored all the same. If the disk is full
	// or fails nothing of the batch is stored, the error is of kind fault.Unavailable, and the same call may succeed
	// later.
	Append(ctx context.Context, batch *syncer.Checked) (*Appended, error)
	// Lane returns how far a lane is held; the zero head if it is not known.
	Lane(ctx context.Context, lane syncer.LaneID) (syncer.Head, error)
	// ChainAt returns the chain hash held at seq on the lane's main branch; false beyond its head.
	ChainAt(ctx context.Context, lane syncer.LaneID, seq uint64) (syncer.Chain, bool, error)
	// Missing says which of the records named are not held (positions in refs), and of which the id is held with another
	// digest; those are wanted too, to be kept in quarantine. Records in quarantine count as held if their bytes are
	// there.
	Missing(ctx context.Context, refs []*servicev1.RecordRef) (wanted, conflicting []uint32, err error)
	// After returns at most limit records that came after the cursor, in order of part and counter, the cursor after
	// them, and whether there are more. It may return fewer to stay within some megabytes, but at least one if there is
	// one. Every record is returned to every reader exactly once, whatever is written meanwhile, by this server or by
	// another over the same store; all records of a batch become visible at once, and are when Append returns. It fails with
	// fault.CursorStale for a cursor of another epoch; the zero cursor is the beginning.
	After(ctx context.Context, cursor syncer.Cursor, limit int) ([]Stored, syncer.Cursor, bool, error)
	// Revisions returns all records about a subject within a part, ordered by digest.
	Revisions(ctx context.Context, part uint64, kind servicev1.RecordKind, subject string) ([]Stored, error)
	// Record returns the one record about a subject that has this digest; fault.NotFound if there is none. The subject
	// is asked for because a log keeps no index by digest: digests are random, and such an index would cost every append.
	Record(ctx context.Context, part uint64, subject string, digest syncer.Digest) (Stored, error)
	// Head returns the cursor after the last record.
	Head(ctx context.Context) (syncer.Cursor, error)
	Kept
	// Notify returns a channel that receives after appends; several appends may be told once. It is always the same
	// channel and has one reader, the projector.
	Notify() <-chan struct{}
}

// Devices is what the server knows of tablets.
type Devices interface {
	// Greet notes a Hello and enrols the device with its key at its first. A device that is known by another key fails
	// with fault.DeviceKeyChanged.
	Greet(ctx context.Context, d Greeting) error
	// Key returns the public key of a device, or fault.DeviceUnknown.
	Key(ctx context.Context, device syncer.ID) (ed25519.PublicKey, error)
	// Owner returns for whom a device is, or fault.DeviceUnknown.
	Owner(ctx context.Context, device syncer.ID) (Owner, error)
	// ListDevices returns all devices by name.
	ListDevices(ctx context.Context) ([]*servicev1.DeviceStatus, error)
}

// Owner is for whom a device is.
type Owner struct {
	Enumerator string
	// Study is that of its newest enrolment; empty for a device that became known without one.
	Study string
}

// Greeting is what a tablet says of itself.
type Greeting struct {
	Device      syncer.ID
	Name        string
	Enumerator  string
	Key         ed25519.PublicKey
	Pending     uint64
	ClockSkewMS int64
	NowMS       int64
	// Fork is true where the lanes named contradict what the log holds.
	Fork bool
	// KeepNames is true where it comes from the device itself: a name and an enumerator that are known stay.
	KeepNames bool
}

// Projections are what is derived from the log.
type Projections interface {
	// Projected is the cursor up to which the projections are made.
	Projected(ctx context.Context) (syncer.Cursor, error)
	// Apply replaces the projections of the subjects named and moves the cursor, in one transaction. The cursor must not
	// be beyond the log's head.
	Apply(ctx context.Context, changes *Changes) error
	// CountCells returns the counts of current interviews, one cell per combination of values; all studies if empty.
	CountCells(ctx context.Context, study string) ([]*servicev1.CountCell, error)
	// FlagCells returns the numbers of flags of current interviews, told apart by a shape; all studies if empty. There may be
	// several cells of one key.
	FlagCells(ctx context.Context, study string, shape FlagShape) ([]FlagCell, error)
	// Interviews yields the projections that match, in order of start time and interview id.
	Interviews(ctx context.Context, f Filter) iter.Seq2[*servicev1.InterviewProjection, error]
	// Bodies yields the projections of a study, all studies if empty, in no order and in the bytes in which they are kept, for
	// who reads a million of them. The bytes are good until the next.
	Bodies(ctx context.Context, study string) iter.Seq2[Body, error]
	// Interview returns one; fault.NotFound if there is none.
	Interview(ctx context.Context, interviewID string) (*servicev1.InterviewProjection, error)
	// Met says whether an interview of a part has a projection, or has reviews. It is asked of every interview that comes,
	// and must cost as little in a store of millions as in a small one.
	Met(ctx context.Context, part uint64, interviewID string) (bool, error)
	// Decisions returns the linkage decisions in order of time and id.
	Decisions(ctx context.Context, study string) ([]*servicev1.LinkDecision, error)
	// Withdrawn returns the interviews that are withdrawn, by part and id. Interviews, Interview, CountCells and FlagCells leave them
	// out.
	Withdrawn(ctx context.Context) ([]Withdrawal, error)
	// Studies returns the current definitions by code.
	Studies(ctx context.Context) ([]*surveyv1.Study, error)
}

// Body is the bytes of a hearth.service.v1.InterviewProjection.
type Body struct {
	Bytes []byte
	// Lean is true where what is listed leaves out of which interview it is, by whom, where and when: that is as in the summary.
	Lean bool
}

// Changes are new projections of some subjects.
type Changes struct {
	// From is how far the projections must be for the changes to be applied; nil: wherever they are. Somebody else may have
	// made projections meanwhile, of more of the log.
	From *syncer.Cursor
	// Cursor is how far the log has been read.
	Cursor     syncer.Cursor
	Interviews []*servicev1.InterviewProjection
	// Records are the counters of all records from which each of Interviews was made, in the order of Interviews. If it is
	// not nil, every interview record from the cursor before to this one is named. By it a store may find revisions
	// without an index over its log.
	Records   [][]uint64
	Decisions []*servicev1.LinkDecision
	Studies   []*surveyv1.Study
	// Assignments replace those with the same id; what belongs to them is counted when asked.
	Assignments []*servicev1.AssignmentSummary
	// Reviews are added; those of withdrawn interviews go.
	Reviews []Reviewed
	// Rows replace those with the same bucket, part and key. A later one for the same row stands.
	Rows []Row
	// Withdrawn are interviews whose projections go, for ever: they are not among Interviews again. They are applied after
	// Interviews.
	Withdrawn []Withdrawal
}

// Filter narrows Interviews; empty fields mean all.
type Filter struct {
	Study         string
	Enumerator    string
	SiteID        string
	Questionnaire string
	ConflictsOnly bool
	// Newest first instead of oldest first.
	Newest bool
	// After continues behind this place, whether an interview stands there or not; nil: from the beginning. An interview
	// that was withdrawn or changed while somebody pages leads to no other being left out or coming twice.
	After *Position
	// Limit is the most to yield; 0: no limit.
	Limit int
}

// Position is a place in the order of Interviews.
type Position struct {
	StartMS     int64
	InterviewID string
	Part        uint64
}

// PositionOf is the place of an interview.
func PositionOf(s *servicev1.InterviewSummary) *Position {
	return &Position{s.GetStartTimeMs(), s.GetInterviewId(), s.GetPart()}
}

// CheckOptions say how deep to look.
type CheckOptions struct {
	// Rebuild makes the projections again with this function and compares; nil: do not.
	Rebuild func(ctx context.Context, log Log, apply func(*Changes) error) error
	// Progress is told how many records were read, of how many; may be nil.
	Progress func(done, total int)
}

// Report is the result of a check.
type Report struct {
	Records     int
	Lanes       int
	Quarantined int
	// Erased counts the records of which only the envelope is left; they are among Records.
	Erased int
	// Blobs counts the attachments whose bytes have their hash, where they were looked at too.
	Blobs int
	// Findings are what is wrong; empty: the store is sound.
	Findings []Finding
	// Rebuilt is true where projections were made again and compared.
	Rebuilt bool
}

// Finding is one thing that is wrong, and what to do about it.
type Finding = fault.Finding
