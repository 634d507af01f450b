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
		p.mu.Lock()
		if !p.gone {
			if err = ignoreMissing(os.Remove(p.path)); err == nil {
				removed = true
				s.drop(p)
			}
		}
		p.mu.Unlock()
		if err != nil {
			return removed, diskFault(err, "remove what has arrived of an attachment")
		}
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
