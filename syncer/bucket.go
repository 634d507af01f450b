package syncer

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

const (
	rowTag    = "hearth/row/v1\x00"
	bucketTag = "hearth/bucket/v1\x00"
)

// RowFingerprint is what one row adds to the sum of its bucket: the first 8 bytes of a hash of the bucket's kind, the
// row's key and its body. Where and when it changed plays no part, so that the same rows have the same sum however they
// came to be.
func RowFingerprint(kind servicev1.BucketKind, key string, body []byte) uint64 {
	b := make([]byte, 0, len(rowTag)+8+len(key)+len(body))
	b = append(b, rowTag...)
	b = binary.BigEndian.AppendUint32(b, uint32(kind))
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	b = append(b, key...)
	sum := sha256.Sum256(append(b, body...))
	return binary.BigEndian.Uint64(sum[:8])
}

// DownSum is the sum of buckets, as a Hello tells it: that of a hash of each bucket that holds something, modulo 2^64.
func DownSum(buckets []*servicev1.BucketState) uint64 {
	total := uint64(0)
	for _, m := range buckets {
		if m.GetSum() == 0 {
			continue // empty, or as good as
		}
		b := append([]byte{}, bucketTag...)
		b = binary.BigEndian.AppendUint32(b, uint32(m.GetKind()))
		b = binary.BigEndian.AppendUint64(b, m.GetSum())
		sum := sha256.Sum256(append(b, m.GetScope()...))
		total += binary.BigEndian.Uint64(sum[:8])
	}
	return total
}

// RecordsSum is the sum of records that a tablet holds of headquarters: that of the first 8 bytes of their digests.
func RecordsSum(all iter.Seq[Digest]) uint64 {
	total := uint64(0)
	for d := range all {
		total += binary.BigEndian.Uint64(d[:8])
	}
	return total
}
