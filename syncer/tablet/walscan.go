package tablet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// walFrame is one page in a write-ahead log.
type walFrame struct {
	// page is its number, from 1.
	page uint32
	// pages is how many the file has after it, where it ends a transaction; 0 elsewhere.
	pages uint32
	// at is where its bytes begin.
	at int64
}

// scanWAL reads a write-ahead log as SQLite does: it calls frame for each frame that belongs to it, and returns the size of
// its pages and the number of the first frame that should belong to it and does not have its checksum, 0 if there is none.
// SQLite passes over such a frame and all behind it without a word, and they may hold records. An empty log is whole.
func scanWAL(f io.Reader, frame func(walFrame)) (size, damaged int, err error) {
	r := bufio.NewReaderSize(f, 1<<16)
	head := make([]byte, 32)
	if n, err := io.ReadFull(r, head); err != nil {
		switch {
		case n == 0 && errors.Is(err, io.EOF):
			return 0, 0, nil
		case !errors.Is(err, io.ErrUnexpectedEOF):
			return 0, 1, err
		}
		return 0, 1, nil
	}
	magic, size := binary.BigEndian.Uint32(head), int(binary.BigEndian.Uint32(head[8:]))
	var order binary.ByteOrder = binary.LittleEndian
	if magic == 0x377f0683 {
		order = binary.BigEndian
	}
	var sum walSum
	sum.add(order, head[:24])
	if magic&^1 != 0x377f0682 || !pageSize(size) || !sum.is(head[24:]) {
		return 0, 1, nil
	}
	page := make([]byte, 24+size)
	for n := 1; ; n++ {
		got, err := io.ReadFull(r, page)
		switch {
		case got == 0 && errors.Is(err, io.EOF):
			return size, 0, nil
		case err != nil && got < 16:
			return size, n, nil
		}
		sum.add(order, page[:8])
		sum.add(order, page[24:])
		switch salt, own := page[8:16], head[16:24]; {
		case !bytes.Equal(salt, own):
			// Left over from before the log was begun again; or the salt was changed, which half of it, the checksum or a later
			// frame tells.
			if bytes.Equal(salt[:4], own[:4]) || bytes.Equal(salt[4:], own[4:]) || sum.is(page[16:24]) || laterFrame(r, page, own) {
				return size, n, nil
			}
			return size, 0, nil
		case err != nil || !sum.is(page[16:24]):
			return size, n, nil
		}
		frame(walFrame{binary.BigEndian.Uint32(page), binary.BigEndian.Uint32(page[4:]), 32 + int64(n-1)*int64(24+size) + 24})
	}
}

// laterFrame says whether any frame that is still to come belongs to the log.
func laterFrame(r io.Reader, page, salt []byte) bool {
	for {
		if _, err := io.ReadFull(r, page); err != nil {
			return false
		}
		if bytes.Equal(page[8:16], salt) {
			return true
		}
	}
}

// pageSize is true of what may be the size of a page.
func pageSize(n int) bool { return n >= 512 && n <= 65536 && n&(n-1) == 0 }

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
