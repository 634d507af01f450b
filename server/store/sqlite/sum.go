package sqlite

import (
	"encoding/binary"
	"hash/crc32"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// summer collects the columns of a row for its sum.
type summer []byte

func (s summer) int(n int64) summer { return binary.BigEndian.AppendUint64(s, uint64(n)) }

func (s summer) bytes(b []byte) summer {
	return append(binary.BigEndian.AppendUint32(s, uint32(len(b))), b...)
}

func (s summer) text(t string) summer {
	return append(binary.BigEndian.AppendUint32(s, uint32(len(t))), t...)
}

func (s summer) sum() int64 { return int64(crc32.Checksum(s, castagnoli)) }
