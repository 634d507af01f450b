package store

import (
	"context"

	"github.com/hearth-survey/hearth/syncer"
)

// Hubs is what a hub needs of its log to forward it, and a shelf for what hubs and their headquarters remember of each
// other.
type Hubs interface {
	Shelf
	// Runs returns at most limit runs of lanes in the order of arrival, after the run with that number; 0 is the beginning.
	// It may return fewer to stay within some megabytes of records, but at least one if there is one.
	Runs(ctx context.Context, after int64, limit int) ([]LaneRun, error)
	// RunsFrom returns at most limit runs of a branch of a lane that end at an entry or behind it, ordered by their first
	// entry. Branch 0 is the main branch and what is held beyond a gap.
	RunsFrom(ctx context.Context, lane syncer.LaneID, branch int64, seq uint64, limit int) ([]LaneRun, error)
	// Bytes returns the exact bytes of a record by its digest alone, from the log or from quarantine, and when they came;
	// nil if they are not here. It is for hubs, whose stores are opened so that it is quick.
	Bytes(ctx context.Context, digest syncer.Digest) ([]byte, int64, error)
	// RunTotals counts the runs after the one with that number.
	RunTotals(ctx context.Context, after int64) (RunTotals, error)
}

// LaneRun is a run of entries as it was signed and came.
type LaneRun struct {
	// Number counts in the order of arrival; it does not change.
	Number int64
	Lane   syncer.LaneID
	Branch int64
	syncer.Run
}

// RunTotals sums up runs.
type RunTotals struct {
	// Entries counts those of all runs.
	Entries uint64
	// Last is the number of the last run in the log, whether it is among them or not; 0: there is none.
	Last int64
}

// Shelf keeps small values beside the log under a space and a key. It is for what one server must remember that is not a
// record and that nothing is derived from.
type Shelf interface {
	// Put stores values, in one transaction that is durable when it returns. A nil value takes the key away.
	Put(ctx context.Context, items ...Item) error
	// Get returns a value, nil if there is none.
	Get(ctx context.Context, space string, key []byte) ([]byte, error)
	// List returns at most limit items of a space in order of their keys' bytes, from behind a key.
	List(ctx context.Context, space string, after []byte, limit int) ([]Item, error)
}

// Item is one value on the shelf.
type Item struct {
	Space string
	Key   []byte
	Value []byte
}
