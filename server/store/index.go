package store

import "context"

// IndexEntry is one entry of an Index.
type IndexEntry struct {
	Key string
	// Value is nil where there is no entry, or where there is to be none. An empty value is one.
	Value []byte
}

// Index is an ordered map of bytes in which the linkage keeps what it has worked out, so that a record that comes is compared
// with its few candidates and not with everybody. It is derived from the projections, may be lost, and is then made again. It
// holds what people told of themselves: what is erased from the log must be gone from it too.
type Index interface {
	// IndexGet returns the values of keys in their order; nil where there is no entry.
	IndexGet(ctx context.Context, keys ...string) ([][]byte, error)
	// IndexScan returns the entries whose keys begin with a prefix, in order of their bytes, at most limit (0: all) that come
	// behind the key after (empty: from the first).
	IndexScan(ctx context.Context, prefix, after string, limit int) ([]IndexEntry, error)
	// IndexApply makes changes, all or none of them, if the entry of guard is as it says; otherwise it fails with
	// fault.Conflict: somebody else has been at work. Later changes of a key stand.
	IndexApply(ctx context.Context, guard IndexEntry, changes []IndexEntry) error
	// IndexDrop throws all away, so that no byte of it is left in a file.
	IndexDrop(ctx context.Context) error
}

// Behind is the first key behind all that begin with a prefix; false where there is none.
func Behind(prefix string) (string, bool) {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1}), true
		}
	}
	return "", false
}
