// Package plant holds the names of bugs that are planted in the product to see that the stories of syncertest/sim find
// them. A program built without the tag `planted` has none of them: In is the constant false, and the compiler leaves out
// what stands behind it. `make planted` builds with the tag and lets each bug in, one after the other.
//
// It is not a way to switch features, and nothing but In may be asked by the product.
package plant

// Bug names a planted bug.
type Bug string

// The planted bugs, each where it is planted.
const (
	// SkipSync has headquarters' log written without waiting for the disk.
	SkipSync Bug = "skip-sync"
	// SkipSyncTablet does the same on tablets.
	SkipSyncTablet Bug = "skip-sync-tablet"
	// AckBeforeCommit answers a batch before it is committed.
	AckBeforeCommit Bug = "ack-before-commit"
	// SequenceCursor has readers of the log keep one number for all parts.
	SequenceCursor Bug = "sequence-cursor"
	// DropParents takes revisions for current that others have replaced.
	DropParents Bug = "drop-parents"
	// ReceiptByNumber believes a receipt by its lane and number, whatever chain it is over.
	ReceiptByNumber Bug = "receipt-by-number"
	// ReceiptUnverified believes a receipt whoever signed it.
	ReceiptUnverified Bug = "receipt-unverified"
	// SameEpoch goes on in the old lane though headquarters holds another branch of it.
	SameEpoch Bug = "same-epoch"
	// DedupeByID takes a record for held if its id is held.
	DedupeByID Bug = "dedupe-by-id"
	// PartialBatch commits a batch in two halves.
	PartialBatch Bug = "partial-batch"
	// GapIgnored moves a lane's head over a gap.
	GapIgnored Bug = "gap-ignored"
	// ForkDropped does not keep the run of a branch.
	ForkDropped Bug = "fork-dropped"
	// QuarantineDropped does not keep what cannot be used.
	QuarantineDropped Bug = "quarantine-dropped"
	// ErasedAccepted takes in again what was erased.
	ErasedAccepted Bug = "erased-accepted"
	// CursorApart stores the cursor of a pull before the records, in a transaction of its own.
	CursorApart Bug = "cursor-apart"
	// CursorKept believes a cursor that was given before headquarters was restored.
	CursorKept Bug = "cursor-kept"
	// WithheldCovered lets a receipt over an entry without bytes cover the record.
	WithheldCovered Bug = "withheld-covered"
	// OfferSkipped does not ask again for what is under receipts when headquarters was restored.
	OfferSkipped Bug = "offer-skipped"
	// HeldBelieved does not ask about places that headquarters holds without a receipt here.
	HeldBelieved Bug = "held-believed"
	// CountedTwice counts an interview again with each of its revisions.
	CountedTwice Bug = "counted-twice"
	// DigestUnchecked stores a record whose bytes do not have the digest.
	DigestUnchecked Bug = "digest-unchecked"
	// SignatureUnchecked takes a batch whoever signed it.
	SignatureUnchecked Bug = "signature-unchecked"
	// RevokedAccepted takes the records of a revoked tablet for good.
	RevokedAccepted Bug = "revoked-accepted"
	// HubReceiptPrunes has a tablet count a hub's promise as headquarters' receipt, and prune under it.
	HubReceiptPrunes Bug = "hub-receipt-prunes"
	// HalfProjected answers a Hello from projections that are being made again.
	HalfProjected Bug = "half-projected"
	// TicketTwice opens a session for a number with which one was opened before.
	TicketTwice Bug = "ticket-twice"
	// WordKept believes what a server said of attachments before it was restored.
	WordKept Bug = "word-kept"
	// PrunedAhead prunes a record while an attachment that it lists waits to be sent.
	PrunedAhead Bug = "pruned-ahead"
	// HalfAttachment takes an attachment for whole of which only a part is at headquarters.
	HalfAttachment Bug = "half-attachment"
	// ForceIgnored has who was given an assignment without waiting go on waiting.
	ForceIgnored Bug = "force-ignored"
	// RejectionEnds has any newer revision end a rejection, whether or not its author knew of it.
	RejectionEnds Bug = "rejection-ends"
	// RejectionUnanswered has tablets record a revision without saying which rejections it answers.
	RejectionUnanswered Bug = "rejection-unanswered"
	// WindowForgotten takes what was on its way within a window for sent when the stream is cut.
	WindowForgotten Bug = "window-forgotten"
	// EpochKept starts headquarters from what is left, or from a backup, under the epoch it had.
	EpochKept Bug = "epoch-kept"
	// HubWordBelieved has a tablet count an attachment that a hub has as one that headquarters has, and prune it.
	HubWordBelieved Bug = "hub-word-believed"
	// HubPlaceAhead has a hub write down a page of runs as delivered before headquarters has answered.
	HubPlaceAhead Bug = "hub-place-ahead"
	// HubPhotoAhead has a hub count an attachment as forwarded of which headquarters has a part.
	HubPhotoAhead Bug = "hub-photo-ahead"
)

// All lists the planted bugs.
func All() []Bug {
	return []Bug{
		SkipSync, SkipSyncTablet, AckBeforeCommit, SequenceCursor, DropParents, ReceiptByNumber, ReceiptUnverified,
		SameEpoch, DedupeByID, PartialBatch, GapIgnored, ForkDropped, QuarantineDropped, ErasedAccepted, CursorApart, CursorKept,
		WithheldCovered, OfferSkipped, HeldBelieved, CountedTwice, DigestUnchecked, SignatureUnchecked, RevokedAccepted,
		HubReceiptPrunes, HalfProjected, TicketTwice, ForceIgnored, RejectionEnds, RejectionUnanswered, WordKept,
		HalfAttachment, PrunedAhead, WindowForgotten, EpochKept, HubWordBelieved, HubPlaceAhead, HubPhotoAhead,
	}
}
