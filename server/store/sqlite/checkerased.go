package sqlite

import (
	"bytes"
	"fmt"

	"github.com/hearth-survey/hearth/syncer"
)

// erasures reads which records were erased.
func (c *checker) erasures() error {
	c.erased = map[syncer.Digest]syncer.Digest{}
	return c.each(c.db, `SELECT digest, stub, erased_ms, sum FROM erased`, func(scan func(...any) error) error {
		var digest, stub []byte
		var ms, sum int64
		if err := scan(&digest, &stub, &ms, &sum); err != nil {
			return err
		}
		d, err := syncer.ParseDigest(digest)
		if err != nil || erasedSum(digest, stub, ms) != sum {
			c.damage(fmt.Sprintf("erased record %x", digest), "the note of its erasure was changed on the disk")
			return nil
		}
		if len(stub) == 0 {
			c.kept = append(c.kept, prefix(digest)) // nothing is left of it, and its lane still names it
			return nil
		}
		if c.erased[d], err = syncer.ParseDigest(stub); err != nil {
			c.damage(fmt.Sprintf("erased record %x", digest), "%v", err)
		}
		return nil
	})
}

// isStub says whether bytes with digest got are the envelope of the erased record with this digest.
func (c *checker) isStub(digest []byte, got syncer.Digest) bool {
	if bytes.Equal(digest, got[:]) || len(digest) != len(got) {
		return false
	}
	stub, ok := c.erased[syncer.Digest(digest)]
	return ok && stub == got
}
