package blobs

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
)

// A journal is a run of frames: offset (8), length (4), CRC-32C of the bytes (4), CRC-32C of these 16 (4), all big
// endian, then the bytes. No byte of the attachment stands in it twice.
const frameHeader = 20

// maxPieces is how many frames a journal may have: pieces of a few bytes, out of order, would make it endless.
const maxPieces = 20_000

// maxGaps is how many ranges an unfinished attachment may be held in.
const maxGaps = 1000

// partial is an unfinished attachment.
type partial struct {
	path string
	key  key

	mu     sync.Mutex
	loaded bool
	gone   bool // whole, or thrown away
	have   syncer.Ranges
	frames []frame
	length int64 // of the journal, as far as it is whole
	torn   bool  // bytes may stand behind length
	named  bool  // the journal's name is on the disk
}

// frame is a piece and where its bytes stand in the journal.
type frame struct {
	offset, size, at int64
}

func (k key) String() string {
	return hex.EncodeToString(k.id[:]) + "-" + strconv.FormatInt(k.size, 10)
}

func parseKey(name string) (key, bool) {
	hash, size, ok := strings.Cut(name, "-")
	id, good := parseID(hash)
	n, err := strconv.ParseInt(size, 10, 64)
	k := key{id, n}
	return k, ok && good && err == nil && n >= 0 && n <= syncer.MaxBlobBytes && k.String() == name
}

// load reads the journal once. A piece that is torn or changed, and everything behind it, counts as not arrived.
func (s *Store) load(p *partial) error {
	if p.loaded {
		return nil
	}
	f, err := os.Open(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		p.loaded = true
		return nil
	}
	if err != nil {
		return diskFault(err, "open an unfinished attachment")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return diskFault(err, "open an unfinished attachment")
	}
	p.have, p.frames, p.length = readJournal(bufio.NewReaderSize(f, 256<<10), p.key.size)
	p.torn, p.loaded = info.Size() > p.length, true
	s.mu.Lock()
	s.totals.PendingBytes += p.length - info.Size()
	s.mu.Unlock()
	return nil
}

// readJournal reads frames as far as they are whole.
func readJournal(r io.Reader, size int64) (have syncer.Ranges, frames []frame, length int64) {
	var head [frameHeader]byte
	buf := make([]byte, 0, 64<<10)
	for len(frames) < maxPieces {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		offset, n := int64(binary.BigEndian.Uint64(head[:])), int64(binary.BigEndian.Uint32(head[8:]))
		if syncer.ChunkCRC(head[:16]) != binary.BigEndian.Uint32(head[16:]) || offset < 0 || n == 0 || n > syncer.MaxChunkBytes || offset > size-n {
			return
		}
		buf = slices.Grow(buf[:0], int(n))[:n]
		if _, err := io.ReadFull(r, buf); err != nil || syncer.ChunkCRC(buf) != binary.BigEndian.Uint32(head[12:]) {
			return
		}
		whole := syncer.Range{Start: offset, End: offset + n}
		if missing := have.Missing(whole); len(missing) != 1 || missing[0] != whole {
			return
		}
		have = have.Add(whole)
		frames = append(frames, frame{offset, n, length + frameHeader})
		length += frameHeader + n
	}
	return
}

// append writes what is new of a piece to the journal and syncs it. p.mu is held.
func (s *Store) append(p *partial, offset int64, data []byte) (err error) {
	missing := p.have.Missing(syncer.Range{Start: offset, End: offset + int64(len(data))})
	if len(missing) == 0 {
		return nil
	}
	after := slices.Clone(p.have)
	var buf []byte
	for _, r := range missing {
		piece := data[r.Start-offset : r.End-offset]
		var head [frameHeader]byte
		binary.BigEndian.PutUint64(head[:], uint64(r.Start))
		binary.BigEndian.PutUint32(head[8:], uint32(len(piece)))
		binary.BigEndian.PutUint32(head[12:], syncer.ChunkCRC(piece))
		binary.BigEndian.PutUint32(head[16:], syncer.ChunkCRC(head[:16]))
		buf = append(append(buf, head[:]...), piece...)
		after = after.Add(r)
	}
	if len(after) > maxGaps || len(p.frames)+len(missing) > maxPieces {
		return fault.New(fault.TooLarge, fault.BadChunk, "the attachment comes in more than %d pieces, or in more than %d places at once: send larger ones, in order", maxPieces, maxGaps)
	}
	if err := s.write(p, buf); err != nil {
		return err
	}
	at := p.length
	for _, r := range missing {
		p.frames = append(p.frames, frame{r.Start, r.End - r.Start, at + frameHeader})
		at += frameHeader + r.End - r.Start
	}
	p.have, p.length = after, at
	s.mu.Lock()
	s.totals.PendingBytes += int64(len(buf))
	s.mu.Unlock()
	return nil
}

// write puts bytes at the end of the journal, durably. If it fails the end of the journal is not moved, and what was
// written of them is overwritten the next time.
func (s *Store) write(p *partial, buf []byte) (err error) {
	f, err := os.OpenFile(p.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return diskFault(err, "open an unfinished attachment")
	}
	defer func() { err = errors.Join(err, diskFault(f.Close(), "close an unfinished attachment")) }()
	if p.torn {
		// What stands behind the end would be read as frames if a shorter one were written over it.
		if err := f.Truncate(p.length); err != nil {
			return diskFault(err, "cut off a torn piece")
		}
	}
	p.torn = true
	failpoint.Hit("blob.before-write")
	if _, err := f.WriteAt(buf, p.length); err != nil {
		return diskFault(err, "write a piece of an attachment")
	}
	failpoint.Hit("blob.after-write")
	if err := f.Sync(); err != nil {
		return diskFault(err, "sync a piece of an attachment")
	}
	failpoint.Hit("blob.after-sync")
	if !p.named {
		if err := syncDir(filepath.Dir(p.path)); err != nil {
			return err
		}
		p.named = true
	}
	p.torn = false
	return nil
}

// finish makes the whole attachment of its pieces: written aside, hashed, synced, renamed. p.mu is held.
func (s *Store) finish(p *partial) error {
	tmp := p.path + ".tmp"
	sum, err := s.assemble(p, tmp)
	if err != nil {
		return errors.Join(diskFault(err, "put an attachment together"), ignoreMissing(os.Remove(tmp)))
	}
	if sum != p.key.id {
		err := errors.Join(ignoreMissing(os.Remove(tmp)), ignoreMissing(os.Remove(p.path)))
		s.drop(p)
		return errors.Join(fault.New(fault.Invalid, fault.BlobHashMismatch, "the pieces of attachment %x make a file with hash %x", p.key.id[:4], sum[:4]), err)
	}
	if err := s.place(tmp, s.path(p.key.id)); err != nil {
		return err
	}
	failpoint.Hit("blob.after-place")
	if err := ignoreMissing(os.Remove(p.path)); err != nil { // removed at the next opening else
		p.torn = true
	}
	failpoint.Hit("blob.after-finish")
	s.drop(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counted {
		s.totals.Blobs++
		s.totals.Bytes += p.key.size
	}
	return nil
}

// place moves a file that is synced to its name and makes the name durable.
func (s *Store) place(from, to string) error {
	folder := filepath.Dir(to)
	if err := s.makeFolder(folder); err != nil {
		return err
	}
	failpoint.Hit("blob.before-rename")
	if err := os.Rename(from, to); err != nil {
		return diskFault(err, "move an attachment to its place")
	}
	failpoint.Hit("blob.after-rename")
	if err := failpoint.Fail("blob.sync-folder"); err != nil {
		return diskFault(err, "sync a folder of attachments")
	}
	return syncDir(folder)
}

// makeFolder makes a folder of whole attachments and has its name on the disk. One that is there may have been made by a
// process that was killed before its name was.
func (s *Store) makeFolder(folder string) error {
	s.mu.Lock()
	known := s.folders[folder]
	s.mu.Unlock()
	if known {
		return nil
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return diskFault(err, "make a folder of attachments")
	}
	failpoint.Hit("blob.after-mkdir")
	if err := syncDir(s.dir); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.folders[folder] = true
	return nil
}

// assemble writes the pieces in order to a file, synced, and returns the hash of the whole.
func (s *Store) assemble(p *partial, to string) (sum syncer.BlobID, err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	hash := sha256.New()
	if len(p.frames) > 0 {
		if err := copyFrames(io.MultiWriter(out, hash), p); err != nil {
			return sum, err
		}
	}
	return syncer.BlobID(hash.Sum(nil)), out.Sync()
}

func copyFrames(w io.Writer, p *partial) error {
	in, err := os.Open(p.path)
	if err != nil {
		return err
	}
	defer in.Close()
	inOrder := slices.Clone(p.frames)
	slices.SortFunc(inOrder, func(a, b frame) int { return cmp.Compare(a.offset, b.offset) })
	for _, f := range inOrder {
		n, err := io.Copy(w, io.NewSectionReader(in, f.at, f.size))
		if err == nil && n != f.size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("read a piece of %d bytes back: %w", f.size, err)
		}
	}
	return nil
}

// syncDir makes names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return diskFault(err, "open a folder of attachments")
	}
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return errors.Join(diskFault(err, "sync a folder of attachments"), d.Close())
	}
	return diskFault(d.Close(), "close a folder of attachments")
}
