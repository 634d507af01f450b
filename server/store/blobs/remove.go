package blobs

import (
	"os"
	"path/filepath"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
)

// Remove deletes an attachment and whatever has arrived of it, where consent was withdrawn. It reports false if nothing
// was here. One that is brought again is kept again.
func (s *Store) Remove(ref *servicev1.BlobRef) (bool, error) {
	id, _, err := syncer.ParseBlobRef(ref)
	if err != nil {
		return false, err
	}
	var begun []*partial
	s.mu.Lock()
	for k, p := range s.partials {
		if k.id == id {
			begun = append(begun, p)
		}
	}
	s.mu.Unlock()
	removed := false
	for _, p := range begun {
		was, err := s.removeBegun(p)
		if err != nil {
			return removed, err
		}
		removed = removed || was
	}
	size, here := s.stat(id)
	if !here {
		return removed, nil
	}
	if err := os.Remove(s.path(id)); err != nil {
		return removed, diskFault(ignoreMissing(err), "remove an attachment")
	}
	s.mu.Lock()
	if s.counted {
		s.totals.Blobs--
		s.totals.Bytes -= size
	}
	s.mu.Unlock()
	return true, diskFault(syncDir(filepath.Dir(s.path(id))), "remove an attachment")
}

// removeBegun throws away what has arrived of an attachment.
func (s *Store) removeBegun(p *partial) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return false, nil
	}
	if err := s.load(p); err != nil { // for its length, which the totals count
		return false, err
	}
	if err := ignoreMissing(os.Remove(p.path)); err != nil {
		return false, diskFault(err, "remove what has arrived of an attachment")
	}
	s.drop(p)
	return true, syncDir(filepath.Dir(p.path))
}
