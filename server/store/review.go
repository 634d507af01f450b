package store

import (
	"context"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
)

// Kept is what the log holds and does not use, and what it must forget.
type Kept interface {
	// Quarantine lists what is kept but not used, oldest first, from after the given id.
	Quarantine(ctx context.Context, after int64, limit int) ([]*servicev1.QuarantineItem, error)
	// QuarantineItem returns one item with the record's exact bytes, which are nil if they never arrived; fault.NotFound if
	// there is none with this id.
	QuarantineItem(ctx context.Context, id int64) (*servicev1.QuarantineItem, []byte, error)
	// Replay decides anew about an item of the quarantine, in one transaction. An entry without a Reason enters the log as
	// if it arrived now, and leaves quarantine; if its id is held for another record it stays as ID_REUSED. An entry with a
	// Reason stays with that one. The outcome is STORED, DUPLICATE if the record is held already, or QUARANTINED with the
	// reason. Its place in its lane stays as it was. fault.NotFound if the item is not there, fault.Invalid if the entry is
	// not of the item's digest.
	Replay(ctx context.Context, id int64, e *syncer.Entry) (*servicev1.EntryResult, error)
	// Erase destroys what all records of kind interview and review about a subject say, in the log and in quarantine, so that no file
	// of the store holds a byte of it when it returns. In the log an envelope without payload and attachments stays in
	// their place, under their id, digest and counter; what was in quarantine is gone. Erased records count as held for
	// ever: one that comes again is a DUPLICATE and stays erased. Erasing again changes nothing but finishes what was cut
	// short. It must be called only for what is withdrawn: projections made of it before are to be gone.
	Erase(ctx context.Context, part uint64, subject string) (Erased, error)
}

// Erased is what Erase has destroyed by now.
type Erased struct {
	// Digests are the records erased in the log, by digest, those of earlier calls among them.
	Digests []syncer.Digest
	// Quarantined is how many items of the quarantine this call destroyed.
	Quarantined int
}

// Withdrawal is an interview that is taken out of everything derived.
type Withdrawal struct {
	Part        uint64
	InterviewID string
	// Tombstone says who did it and why: the payload of the first record of its kind about the interview.
	Tombstone *servicev1.Tombstone
	// Records are the counters of all records of the interview, as in Changes.Records.
	Records []uint64
}
