package tablet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
)

// damagedFrame reads a write-ahead log as SQLite does and returns the number of the first frame that belongs to it and
// does not have its checksum, 0 if there is none. SQLite passes over such a frame and all behind it without a word,
// and they may hold records. A file that is absent or empty is whole.
func damagedFrame(path string) (frame int, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	head := make([]byte, 32)
	if n, err := io.ReadFull(r, head); err != nil {
		if n == 0 {
			return 0, nil
		}
		return 1, nil
	}
	magic, size := binary.BigEndian.Uint32(head), int(binary.BigEndian.Uint32(head[8:]))
	var order binary.ByteOrder = binary.LittleEndian
	if magic == 0x377f0683 {
		order = binary.BigEndian
	}
	var sum walSum
	sum.add(order, head[:24])
	if magic&^1 != 0x377f0682 || size < 512 || size > 65536 || !sum.is(head[24:]) {
		return 1, nil
	}
	page := make([]byte, 24+size)
	for frame = 1; ; frame++ {
		n, err := io.ReadFull(r, page)
		switch {
		case n == 0 && errors.Is(err, io.EOF):
			return 0, nil
		case err != nil && n < 16:
			return frame, nil
		case string(page[8:16]) != string(head[16:24]):
			return 0, nil // left over from before the log was begun again
		}
		sum.add(order, page[:8])
		sum.add(order, page[24:])
		if err != nil || !sum.is(page[16:24]) {
			return frame, nil
		}
	}
}

// walSum is the running checksum of a write-ahead log.
type walSum [2]uint32

func (s *walSum) add(order binary.ByteOrder, b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
}

func (s *walSum) is(b []byte) bool {
	return binary.BigEndian.Uint32(b) == s[0] && binary.BigEndian.Uint32(b[4:]) == s[1]
}
