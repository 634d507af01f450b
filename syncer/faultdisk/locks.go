package faultdisk

import (
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// locks are SQLite's locks on one database file.
type locks struct {
	shared                       int
	reserved, pending, exclusive *handle
}

// lock raises the lock of a handle to a level and says whether it could.
func (l *locks) lock(h *handle, level int32) bool {
	if level <= h.level {
		return true
	}
	if h.level == sqlite3.SQLITE_LOCK_NONE {
		if l.pending != nil || l.exclusive != nil {
			return false
		}
		l.shared++
		h.level = sqlite3.SQLITE_LOCK_SHARED
	}
	if level == sqlite3.SQLITE_LOCK_SHARED {
		return true
	}
	if l.reserved != nil && l.reserved != h || l.pending != nil && l.pending != h {
		return false
	}
	if level == sqlite3.SQLITE_LOCK_RESERVED {
		l.reserved, h.level = h, level
		return true
	}
	l.pending, h.level = h, sqlite3.SQLITE_LOCK_PENDING
	if level == sqlite3.SQLITE_LOCK_EXCLUSIVE {
		if l.shared > 1 {
			return false
		}
		l.exclusive, h.level = h, level
	}
	return true
}

// unlock lowers the lock of a handle.
func (l *locks) unlock(h *handle, level int32) {
	if h.level <= level {
		return
	}
	for _, p := range []**handle{&l.reserved, &l.pending, &l.exclusive} {
		if *p == h {
			*p = nil
		}
	}
	if level == sqlite3.SQLITE_LOCK_NONE {
		l.shared--
	}
	h.level = level
}

// shm is the memory that the connections to one database in WAL mode share, and its eight locks.
type shm struct {
	regions []uintptr
	users   int
	locks   [sqlite3.SQLITE_SHM_NLOCK]shmLock
}

type shmLock struct {
	shared    int
	exclusive *handle
}

// free gives the memory back when its last user has left.
func (s *shm) free(tls *libc.TLS) {
	for _, r := range s.regions {
		sqlite3.Xsqlite3_free(tls, r)
	}
	s.regions = nil
}

// lock takes or releases a range of locks and says whether it could.
func (s *shm) lock(h *handle, first, n int, flags int32) bool {
	take, exclusive := flags&sqlite3.SQLITE_SHM_LOCK != 0, flags&sqlite3.SQLITE_SHM_EXCLUSIVE != 0
	for i := first; take && i < first+n; i++ {
		others := s.locks[i].shared
		if h.shared[i] {
			others--
		}
		if s.locks[i].exclusive != nil && s.locks[i].exclusive != h || exclusive && others > 0 {
			return false
		}
	}
	for i := first; i < first+n; i++ {
		l := &s.locks[i]
		switch {
		case take && exclusive:
			l.exclusive = h
		case take && !h.shared[i]:
			l.shared++
			h.shared[i] = true
		case !take && exclusive && l.exclusive == h:
			l.exclusive = nil
		case !take && !exclusive && h.shared[i]:
			l.shared--
			h.shared[i] = false
		}
	}
	return true
}

// leave releases all that a handle holds.
func (s *shm) leave(h *handle) {
	for i := range s.locks {
		if s.locks[i].exclusive == h {
			s.locks[i].exclusive = nil
		}
		if h.shared[i] {
			s.locks[i].shared--
			h.shared[i] = false
		}
	}
	s.users--
}
