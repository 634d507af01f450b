package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/blobs"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// album is where headquarters or a hub keeps attachments: the real store in a real folder, which is made when there is the
// first. A power cut is a kill to it.
type album struct {
	w     *world
	dir   string
	store *blobs.Store // nil until it is asked
}

// folder makes an empty folder for the story.
func (w *world) folder() string {
	if w.temp == "" {
		dir, err := os.MkdirTemp("", "hearth-sim-")
		w.must(err, "make a folder")
		w.temp = dir
	}
	w.folders++
	return filepath.Join(w.temp, fmt.Sprint(w.folders))
}

func (a *album) open() (*blobs.Store, error) {
	if a.store != nil {
		return a.store, nil
	}
	if a.dir == "" {
		a.dir = a.w.folder()
	}
	var err error
	a.store, err = blobs.Open(a.dir, blobs.Options{})
	return a.store, err
}

// save is a copy of the folder, "" where there is none.
func (a *album) save() string {
	if a.dir == "" {
		return ""
	}
	to := a.w.folder()
	a.w.must(os.CopyFS(to, os.DirFS(a.dir)), "copy the attachments")
	return to
}

// load puts a copy in the place of the folder.
func (a *album) load(copied string) {
	a.store, a.dir = nil, ""
	if copied != "" {
		a.dir = a.w.folder()
		a.w.must(os.CopyFS(a.dir, os.DirFS(copied)), "copy the attachments")
	}
}

// Has implements server.Blobs, as do the others.
func (a *album) Has(ref *servicev1.BlobRef) bool {
	if a.dir == "" {
		return false
	}
	s, err := a.open()
	return err == nil && s.Has(ref)
}

// Stat implements server.Blobs.
func (a *album) Stat(ref *servicev1.BlobRef) (*servicev1.BlobState, error) {
	s, err := a.open()
	if err != nil {
		return nil, err
	}
	return s.Stat(ref)
}

// Put implements server.Blobs.
func (a *album) Put(ref *servicev1.BlobRef, offset int64, data []byte, crc32c uint32) (*servicev1.BlobState, error) {
	s, err := a.open()
	if err != nil {
		return nil, err
	}
	return s.Put(ref, offset, data, crc32c)
}

// Open implements server.Blobs.
func (a *album) Open(sum []byte) (io.ReadSeekCloser, int64, error) {
	s, err := a.open()
	if err != nil {
		return nil, 0, err
	}
	return s.Open(sum)
}

// Remove implements server.Blobs.
func (a *album) Remove(ref *servicev1.BlobRef) (bool, error) {
	if a.dir == "" {
		return false, nil
	}
	s, err := a.open()
	if err != nil {
		return false, err
	}
	return s.Remove(ref)
}

// Totals implements server.Blobs.
func (a *album) Totals() (blobs.Totals, error) {
	if a.dir == "" {
		return blobs.Totals{}, nil
	}
	s, err := a.open()
	if err != nil {
		return blobs.Totals{}, err
	}
	return s.Totals()
}

// Verify implements server.Blobs.
func (a *album) Verify(ctx context.Context, found func(blobs.Held), stray func(path string)) error {
	if a.dir == "" {
		return nil
	}
	s, err := a.open()
	if err != nil {
		return err
	}
	return s.Verify(ctx, found, stray)
}

// photo attaches a file to an interview that the tablet has: one of three that anybody may have taken, or one of its own.
func (w *world) photo(s Step) {
	t, k := w.tablet(s), w.rand.IntN(interviews)
	iv := t.now[k]
	if iv == nil || t.lied {
		return
	}
	w.touched[t] = true
	seed := uint64(s.N)
	if s.N > 3 {
		seed = uint64(s.Seed)
	}
	data := make([]byte, 1+int(seed*7919%(24<<10)))
	for r, i := rand.New(rand.NewPCG(seed, 6)), 0; i+8 <= len(data); i += 8 {
		binary.LittleEndian.PutUint64(data[i:], r.Uint64())
	}
	a, err := t.store.AddBlob(w.ctx, bytes.NewReader(data))
	w.must(err, "%s keeps a photo", t.name)
	_, err = t.store.Attach(w.ctx, iv.GetInterviewId(), tablet.AttachOptions{}, a)
	if r := fault.ReasonOf(err); r == fault.BadInterview {
		return // it was pruned, or there is a conflict
	}
	w.must(err, "%s attaches a photo", t.name)
	id := syncer.BlobID(sha256.Sum256(data))
	if w.photos[id] == nil {
		w.photos[id] = map[string]bool{}
	}
	w.photos[id][iv.GetInterviewId()] = true
	w.trace("       %s  has a photo of %d bytes for interview %d", t.name, len(data), k)
}

// attached are the attachments that records of the tablet list: those whose bytes it has, and those whose it has not any more.
func (t *tab) attached() (here, gone []*servicev1.BlobRef) {
	w := t.w
	db, err := sql.Open("sqlite", "file:"+t.disk.Path(storeFile)+"?mode=ro&vfs="+t.disk.VFS())
	w.must(err, "look into %s", t.name)
	defer db.Close()
	rows, err := db.QueryContext(w.ctx, `SELECT b.sha256, b.size, b.media_type, EXISTS (SELECT 1 FROM blob_piece AS p WHERE p.sha256 = b.sha256 AND p.bytes IS NULL)
		FROM blob AS b WHERE EXISTS (SELECT 1 FROM blob_use AS u WHERE u.sha256 = b.sha256)`)
	w.must(err, "look into %s", t.name)
	defer rows.Close()
	for rows.Next() {
		var pruned bool
		var sum []byte
		var size int64
		var kind string
		w.must(rows.Scan(&sum, &size, &kind, &pruned), "look into %s", t.name)
		ref := &servicev1.BlobRef{Sha256: sum, Size: proto.Int64(size), MediaType: proto.String(kind)}
		if pruned {
			gone = append(gone, ref)
		} else {
			here = append(here, ref)
		}
	}
	w.must(rows.Err(), "look into %s", t.name)
	return here, gone
}

// erasable says whether an attachment belongs to an interview that was ever withdrawn: it may have been destroyed.
func (w *world) erasable(ref *servicev1.BlobRef) bool {
	for iv := range w.photos[syncer.BlobID(ref.GetSha256())] {
		if w.everWithdrawn[iv] {
			return true
		}
	}
	return false
}

// pruned sees that a tablet that knows of headquarters' last restoration has thrown no attachment away that is not there.
func (t *tab) pruned(before []*servicev1.BlobRef) {
	if len(t.w.photos) == 0 || t.epoch != t.w.hq.store.Epoch() {
		return
	}
	had := map[string]bool{}
	for _, ref := range before {
		had[string(ref.GetSha256())] = true
	}
	_, gone := t.attached()
	for _, ref := range gone {
		if had[string(ref.GetSha256())] && !t.w.hq.album.Has(ref) && !t.w.erasable(ref) {
			t.w.fail("LOST: %s has pruned attachment %.4x, and headquarters does not have it", t.name, ref.GetSha256())
		}
	}
}

// checkPhotos sees, at the end, that what a tablet still has of attachments is at headquarters, and that headquarters' are whole.
func (w *world) checkPhotos() {
	if len(w.photos) == 0 {
		return
	}
	for _, t := range w.tablets {
		if t.lied {
			continue
		}
		here, _ := t.attached()
		for _, ref := range here {
			if !w.hq.album.Has(ref) && !w.erasable(ref) {
				w.fail("LOST: the faults have ended, and attachment %.4x of %s is not at headquarters", ref.GetSha256(), t.name)
			}
		}
	}
	w.hq.album.check("headquarters")
	for _, h := range w.standing() {
		h.album.check(h.name)
	}
}

// check sees that every attachment has its digest.
func (a *album) check(where string) {
	err := a.Verify(a.w.ctx, func(h blobs.Held) {
		if h.Problem != nil {
			a.w.fail("CHANGED: attachment %.4x at %s: %v", h.ID, where, h.Problem)
		}
	}, func(path string) { a.w.fail("CHECK: %s is no attachment", path) })
	a.w.must(err, "verify the attachments of %s", where)
}

// checkPhotos sees that headquarters has whole what the hub counts as forwarded; left: that the hub has nothing else. A hub that
// has not heard yet that headquarters was restored goes by what was said before.
func (h *hub) checkPhotos(left bool) {
	w := h.w
	if len(w.photos) == 0 {
		return
	}
	epoch := w.hq.store.Epoch()
	err := store.Walk(w.ctx, h.store, store.ShelfHubBlob, nil, func(it store.Item) (bool, error) {
		b := &servicev1.HubBlob{}
		if err := proto.Unmarshal(it.Value, b); err != nil {
			return false, err
		}
		switch ref := b.GetBlob(); {
		case w.erasable(ref):
		case b.GetForwarded() && string(b.GetServerEpoch()) == string(epoch[:]) && !w.hq.album.Has(ref):
			w.fail("LOST: %s counts attachment %.4x as forwarded, and headquarters does not have it", h.name, ref.GetSha256())
		case left && h.album.Has(ref) && !w.hq.album.Has(ref):
			w.fail("STUCK: the faults have ended, and attachment %.4x is at %s and not at headquarters", ref.GetSha256(), h.name)
		}
		return true, nil
	})
	w.must(err, "list the attachments of %s", h.name)
}
