// Package blobs keeps attachments in plain files, each content once, named by its SHA-256. It is for a server's data
// folder.
//
// A whole attachment is DIR/ab/<sha256>, written aside, synced and renamed, so that a file of that name has those bytes.
// What has arrived of an unfinished one is a journal in DIR/partial: pieces in order of arrival, each with its place and
// checksums, synced before it is acknowledged. A process killed at any point leaves at most a torn last piece, which is
// cut off when the journal is read again.
//
// The package does not know interviews, who may read what, or a network, and nothing but Remove deletes a whole attachment.
package blobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// partialDir holds what is not whole.
const partialDir = "partial"

// abandoned is how long the journal of an unfinished attachment is kept untouched. Dropping it loses nothing: the
// tablet asks what is here before it goes on.
const abandoned = 60 * 24 * time.Hour

// Options bound what is kept. The zero value is for production.
type Options struct {
	// MaxPending is how many attachments may be unfinished; 0: 10,000.
	MaxPending int
	// MaxPendingBytes is how many bytes of unfinished ones are kept; 0: 16 GiB.
	MaxPendingBytes int64
	// Now is the clock by which journals are abandoned; nil: time.Now.
	Now func() time.Time
}

// Store is the attachments of one folder. It may be used from many goroutines, in one process.
type Store struct {
	dir  string
	opts Options

	mu       sync.Mutex
	partials map[key]*partial
	totals   Totals
	counted  bool
	// folders are those whose names are known to be on the disk.
	folders map[string]bool
}

// key names an unfinished attachment: a wrong size claimed by somebody does not get in the way of the right one.
type key struct {
	id   syncer.BlobID
	size int64
}

// Totals say how much is kept.
type Totals struct {
	// Blobs and Bytes count the whole attachments.
	Blobs, Bytes int64
	// Pending and PendingBytes count the unfinished ones, as far as they have arrived.
	Pending, PendingBytes int64
}

// Open opens the folder and makes it if there is none. What a process that was killed left half moved is finished or
// removed.
func Open(dir string, opts Options) (*Store, error) {
	if opts.MaxPending <= 0 {
		opts.MaxPending = 10_000
	}
	if opts.MaxPendingBytes <= 0 {
		opts.MaxPendingBytes = 16 << 30
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{dir: dir, opts: opts, partials: map[key]*partial{}, folders: map[string]bool{}}
	if err := os.MkdirAll(filepath.Join(dir, partialDir), 0o700); err != nil {
		return nil, diskFault(err, "make the folder of attachments")
	}
	// A process that was killed may have left names that are not on the disk.
	for _, folder := range []string{filepath.Dir(filepath.Clean(dir)), dir, filepath.Join(dir, partialDir)} {
		if err := syncDir(folder); err != nil {
			return nil, err
		}
	}
	entries, err := os.ReadDir(filepath.Join(dir, partialDir))
	if err != nil {
		return nil, diskFault(err, "list the unfinished attachments")
	}
	for _, e := range entries {
		if err := s.adopt(e); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// adopt takes over what stands in the folder of unfinished attachments.
func (s *Store) adopt(e fs.DirEntry) error {
	path := filepath.Join(s.dir, partialDir, e.Name())
	k, ok := parseKey(e.Name())
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return diskFault(err, "look at an unfinished attachment")
	}
	_, whole := s.stat(k.id)
	if ok && whole { // killed when it had its name, which may not be on the disk
		if err := syncDir(filepath.Dir(s.path(k.id))); err != nil {
			return err
		}
	}
	if strings.HasSuffix(e.Name(), ".tmp") || ok && (whole || s.opts.Now().Sub(info.ModTime()) > abandoned) {
		return diskFault(ignoreMissing(os.Remove(path)), "remove what is left of an attachment")
	}
	if !ok || !info.Mode().IsRegular() {
		return nil // not ours; Verify names it
	}
	s.partials[k] = &partial{path: path, key: k, named: true}
	s.totals.Pending++
	s.totals.PendingBytes += info.Size()
	return nil
}

// Has says whether an attachment is here whole. It looks at one name in a folder.
func (s *Store) Has(ref *servicev1.BlobRef) bool {
	id, size, err := syncer.ParseBlobRef(ref)
	if err != nil {
		return false
	}
	held, ok := s.stat(id)
	return ok && held == size
}

// Stat says what is here of an attachment. It fails with fault.BlobSizeMismatch where it is whole with another size.
func (s *Store) Stat(ref *servicev1.BlobRef) (*servicev1.BlobState, error) {
	id, size, err := syncer.ParseBlobRef(ref)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	p := s.partials[key{id, size}]
	s.mu.Unlock()
	if whole, err := s.whole(id, size); whole && p == nil || err != nil {
		return state(id, whole, nil), err
	}
	if p == nil {
		return state(id, false, nil), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		whole, err := s.whole(id, size)
		return state(id, whole, nil), err
	}
	if err := s.load(p); err != nil {
		return nil, err
	}
	if p.have.Bytes() == size && size > 0 { // killed between the last piece and the renaming
		if err := s.finish(p); err != nil {
			return nil, err
		}
		return state(id, true, nil), nil
	}
	return state(id, false, p.have), nil
}

// Put keeps a piece of an attachment and says what is here then; both are durable when it returns. Pieces may come in
// any order, twice, overlapping, and from several callers at once. With the last one the whole is hashed: if it is not
// what was announced, all pieces are thrown away and the error is fault.BlobHashMismatch. Other errors are
// fault.BadChunk, fault.BlobTooLarge, fault.BlobSizeMismatch, fault.BlobsFull, and fault.DiskFull where the disk is.
func (s *Store) Put(ref *servicev1.BlobRef, offset int64, data []byte, crc uint32) (*servicev1.BlobState, error) {
	id, size, err := syncer.ParseBlobRef(ref)
	if err != nil {
		return nil, err
	}
	if err := syncer.CheckChunk(size, offset, data, crc); err != nil {
		return nil, err
	}
	for {
		p, whole, err := s.partial(key{id, size})
		if whole || err != nil {
			return state(id, whole, nil), err
		}
		st, again, err := s.put(p, offset, data)
		if !again {
			return st, err
		}
	}
}

// put adds a piece to an unfinished attachment; again is true where somebody else has finished it meanwhile.
func (s *Store) put(p *partial, offset int64, data []byte) (_ *servicev1.BlobState, again bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil, true, nil
	}
	if err := s.load(p); err != nil {
		return nil, false, err
	}
	if err := s.append(p, offset, data); err != nil {
		if len(p.frames) == 0 {
			s.drop(p) // nothing of it is here; a torn file is taken up again by its name
		}
		return nil, false, err
	}
	if p.have.Bytes() < p.key.size {
		return state(p.key.id, false, p.have), false, nil
	}
	if err := s.finish(p); err != nil {
		return nil, false, err
	}
	return state(p.key.id, true, nil), false, nil
}

// partial returns an unfinished attachment, a new one if it is the first to be heard of it, or says that it is whole. One
// whose file has its name and that could not be brought to its end is unfinished: its name may not be on the disk.
func (s *Store) partial(k key) (p *partial, whole bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole, err = s.whole(k.id, k.size)
	if err != nil {
		return nil, whole, err
	}
	if p := s.partials[k]; p != nil || whole {
		return p, whole && p == nil, nil
	}
	if len(s.partials) >= s.opts.MaxPending || s.totals.PendingBytes+k.size > s.opts.MaxPendingBytes {
		return nil, false, fault.New(fault.Unavailable, fault.BlobsFull, "%d attachments have begun to arrive and were not finished", len(s.partials))
	}
	p = &partial{path: filepath.Join(s.dir, partialDir, k.String()), key: k}
	s.partials[k] = p
	s.totals.Pending++
	return p, false, nil
}

// drop forgets an unfinished attachment, whose journal had so many bytes. p.mu is held.
func (s *Store) drop(p *partial) {
	p.gone = true
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.partials, p.key)
	s.totals.Pending--
	s.totals.PendingBytes -= p.length
}

// Open returns the bytes of a whole attachment and how many there are; fault.NoSuchBlob if it is not here. They are not
// hashed again: whoever reads them to the end should.
func (s *Store) Open(sum []byte) (io.ReadSeekCloser, int64, error) {
	id, err := syncer.ParseBlobID(sum)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fault.New(fault.NotFound, fault.NoSuchBlob, "attachment %x is not here", id)
	}
	if err != nil {
		return nil, 0, diskFault(err, "open an attachment")
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(diskFault(err, "open an attachment"), f.Close())
	}
	return f, info.Size(), nil
}

// Totals counts what is kept. The first call lists the folder.
func (s *Store) Totals() (Totals, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.counted {
		var blobs, bytes int64
		err := s.each(func(_ string, _ syncer.BlobID, size int64) error {
			blobs++
			bytes += size
			return nil
		}, func(string) {})
		if err != nil {
			return Totals{}, err
		}
		s.totals.Blobs, s.totals.Bytes, s.counted = blobs, bytes, true
	}
	return s.totals, nil
}

// Held is a whole attachment as Verify finds it.
type Held struct {
	ID   syncer.BlobID
	Size int64
	// Problem says what is wrong with it; nil: its bytes have its hash.
	Problem error
}

// Verify reads every attachment and hashes it. It calls found for each, and stray for every file in the folder that is
// none.
func (s *Store) Verify(ctx context.Context, found func(Held), stray func(path string)) error {
	buf := make([]byte, 256<<10)
	return s.each(func(path string, id syncer.BlobID, size int64) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		h := Held{ID: id, Size: size}
		sum, err := hashFile(path, buf)
		switch {
		case err != nil:
			h.Problem = fault.New(fault.Internal, fault.BlobDamaged, "it cannot be read: %w", err)
		case sum != id:
			h.Problem = fault.New(fault.Internal, fault.BlobDamaged, "its bytes have hash %x", sum)
		}
		found(h)
		return nil
	}, stray)
}

func hashFile(path string, buf []byte) (syncer.BlobID, error) {
	f, err := os.Open(path)
	if err != nil {
		return syncer.BlobID{}, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.CopyBuffer(struct{ io.Writer }{h}, f, buf)
	return syncer.BlobID(h.Sum(nil)), err
}

// each calls f for every whole attachment, in order of hash, and stray for other files.
func (s *Store) each(f func(path string, id syncer.BlobID, size int64) error, stray func(path string)) error {
	folders, err := os.ReadDir(s.dir)
	if err != nil {
		return diskFault(err, "list the attachments")
	}
	for _, d := range folders {
		if d.Name() == partialDir && d.IsDir() {
			continue
		}
		folder := filepath.Join(s.dir, d.Name())
		if !d.IsDir() || len(d.Name()) != 2 {
			stray(folder)
			continue
		}
		files, err := os.ReadDir(folder)
		if err != nil {
			return diskFault(err, "list the attachments")
		}
		for _, e := range files {
			path := filepath.Join(folder, e.Name())
			id, ok := parseID(e.Name())
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil || !ok || !info.Mode().IsRegular() || e.Name()[:2] != d.Name() {
				stray(path)
				continue
			}
			if err := f(path, id, info.Size()); err != nil {
				return err
			}
		}
	}
	return nil
}

func state(id syncer.BlobID, whole bool, have syncer.Ranges) *servicev1.BlobState {
	return &servicev1.BlobState{Sha256: id[:], Complete: proto.Bool(whole), Have: have.Proto()}
}

func (s *Store) path(id syncer.BlobID) string {
	name := hex.EncodeToString(id[:])
	return filepath.Join(s.dir, name[:2], name)
}

// stat returns the size of a whole attachment.
func (s *Store) stat(id syncer.BlobID) (int64, bool) {
	info, err := os.Lstat(s.path(id))
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// whole says whether an attachment is here, and fails if it is with another size.
func (s *Store) whole(id syncer.BlobID, size int64) (bool, error) {
	held, ok := s.stat(id)
	if ok && held != size {
		return false, fault.New(fault.Invalid, fault.BlobSizeMismatch, "attachment %x has %d bytes here, it is said to have %d", id[:4], held, size)
	}
	return ok, nil
}

func parseID(name string) (syncer.BlobID, bool) {
	raw, err := hex.DecodeString(name)
	if err != nil || len(raw) != len(syncer.BlobID{}) || strings.ToLower(name) != name {
		return syncer.BlobID{}, false
	}
	return syncer.BlobID(raw), true
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// diskFault says of an error of the disk whether it may pass.
func diskFault(err error, what string) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Unavailable, fault.DiskFull, "%s: the server's disk is full: %w", what, err)
	}
	return fault.New(fault.Internal, "", "%s: %w", what, err)
}
