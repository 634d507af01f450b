package faultdisk

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// vfsName is the one VFS of all disks; the first part of a path says which.
const vfsName = "hearth-faultdisk"

// handle is an open file.
type handle struct {
	disk   *Disk
	name   string
	file   *file
	power  int
	level  int32
	shm    *shm
	shared [sqlite3.SQLITE_SHM_NLOCK]bool
	erase  bool // a temporary file, removed when it is closed
}

// cFile is sqlite3_file as this VFS has it: SQLite allocates it, outside Go's memory.
type cFile struct {
	methods uintptr
	handle  uintptr
}

var registry struct {
	sync.Mutex
	once    sync.Once
	methods *sqlite3.Tsqlite3_io_methods
	disks   map[string]*Disk
	handles map[uintptr]*handle
	next    uintptr
}

// register gives a disk its name, and SQLite the VFS when there is the first.
func register(d *Disk) string {
	registry.once.Do(install)
	registry.Lock()
	defer registry.Unlock()
	registry.next++
	id := fmt.Sprintf("disk%d", registry.next)
	registry.disks[id] = d
	return id
}

func unregister(id string) {
	registry.Lock()
	defer registry.Unlock()
	delete(registry.disks, id)
}

// fp is the address of a function as transpiled C has it.
func fp[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// at reads an address in C's memory.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// memory is n bytes in C's memory. Inlined, it makes Go 1.26's compiler panic where a constant is copied there.
//
//go:noinline
func memory(p uintptr, n int) []byte { return unsafe.Slice(at[byte](p), n) }

// install registers the VFS for the life of the process. What SQLite is given lies in C's memory.
func install() {
	registry.disks, registry.handles = map[string]*Disk{}, map[uintptr]*handle{}
	tls := libc.NewTLS()
	defer tls.Close()
	size := int32(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{}) + unsafe.Sizeof(sqlite3.Tsqlite3_vfs{}) + 64)
	p := sqlite3.Xsqlite3_malloc(tls, size)
	if p == 0 {
		return // and opening says that there is no such VFS
	}
	clear(memory(p, int(size)))
	registry.methods = at[sqlite3.Tsqlite3_io_methods](p)
	*registry.methods = sqlite3.Tsqlite3_io_methods{
		FiVersion: 2, FxClose: fp(xClose), FxRead: fp(xRead), FxWrite: fp(xWrite), FxTruncate: fp(xTruncate), FxSync: fp(xSync),
		FxFileSize: fp(xFileSize), FxLock: fp(xLock), FxUnlock: fp(xUnlock), FxCheckReservedLock: fp(xCheckReservedLock),
		FxFileControl: fp(xFileControl), FxSectorSize: fp(xSectorSize), FxDeviceCharacteristics: fp(xDeviceCharacteristics),
		FxShmMap: fp(xShmMap), FxShmLock: fp(xShmLock), FxShmBarrier: fp(xShmBarrier), FxShmUnmap: fp(xShmUnmap),
	}
	v := p + unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})
	name := v + unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})
	copy(memory(name, 64), vfsName+"\x00")
	*at[sqlite3.Tsqlite3_vfs](v) = sqlite3.Tsqlite3_vfs{
		FiVersion: 1, FszOsFile: int32(unsafe.Sizeof(cFile{})), FmxPathname: 1024, FzName: name,
		FxOpen: fp(xOpen), FxDelete: fp(xDelete), FxAccess: fp(xAccess), FxFullPathname: fp(xFullPathname),
		FxDlOpen: fp(xDlOpen), FxDlError: fp(xDlError), FxDlSym: fp(xDlSym), FxDlClose: fp(xDlClose),
		FxRandomness: fp(xRandomness), FxSleep: fp(xSleep), FxCurrentTime: fp(xCurrentTime), FxGetLastError: fp(xGetLastError),
	}
	sqlite3.Xsqlite3_vfs_register(tls, v, 0)
}

// find returns the disk of a path and the name within it.
func find(path string) (*Disk, string) {
	id, name, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	registry.Lock()
	defer registry.Unlock()
	return registry.disks[id], name
}

func handleOf(p uintptr) *handle {
	registry.Lock()
	defer registry.Unlock()
	return registry.handles[at[cFile](p).handle]
}

// enter locks the disk of a handle and says whether it still has the power with which the handle was opened.
func (h *handle) enter() bool {
	h.disk.mu.Lock()
	return !h.disk.dead && h.power == h.disk.power
}

func (h *handle) leave() { h.disk.mu.Unlock() }

func xOpen(_ *libc.TLS, _, zName, pFile uintptr, flags int32, pOut uintptr) int32 {
	f := at[cFile](pFile)
	*f = cFile{}
	if zName == 0 {
		return sqlite3.SQLITE_CANTOPEN // stores keep temporary tables in memory
	}
	d, name := find(libc.GoString(zName))
	if d == nil {
		return sqlite3.SQLITE_CANTOPEN
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return sqlite3.SQLITE_CANTOPEN
	}
	if d.files[name] == nil {
		if flags&sqlite3.SQLITE_OPEN_CREATE == 0 {
			return sqlite3.SQLITE_CANTOPEN
		}
		d.files[name] = &file{}
	}
	h := &handle{disk: d, name: name, file: d.files[name], power: d.power, erase: flags&sqlite3.SQLITE_OPEN_DELETEONCLOSE != 0}
	registry.Lock()
	defer registry.Unlock()
	registry.next++
	registry.handles[registry.next] = h
	*f = cFile{methods: fp(registry.methods), handle: registry.next}
	if pOut != 0 {
		*at[int32](pOut) = flags
	}
	return sqlite3.SQLITE_OK
}

func xClose(_ *libc.TLS, pFile uintptr) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	if ok {
		h.file.locks.unlock(h, sqlite3.SQLITE_LOCK_NONE)
		if h.erase {
			h.disk.remove(h.name, true)
		}
	}
	registry.Lock()
	defer registry.Unlock()
	delete(registry.handles, at[cFile](pFile).handle)
	return sqlite3.SQLITE_OK
}

func xRead(_ *libc.TLS, pFile, zBuf uintptr, n int32, off int64) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	if !ok {
		return sqlite3.SQLITE_IOERR_READ
	}
	buf := memory(zBuf, int(n))
	if got := h.file.live.read(buf, off); got < len(buf) {
		clear(buf[got:])
		return sqlite3.SQLITE_IOERR_SHORT_READ
	}
	return sqlite3.SQLITE_OK
}

// code is SQLite's word for a fault; other is the one for what is not a full disk.
func code(f Fault, other int32) int32 {
	switch f {
	case None:
		return sqlite3.SQLITE_OK
	case Full:
		return sqlite3.SQLITE_FULL
	}
	return other
}

func xWrite(_ *libc.TLS, pFile, zBuf uintptr, n int32, off int64) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	if !ok {
		return sqlite3.SQLITE_IOERR_WRITE
	}
	return code(h.disk.write(h.file, off, slices.Clone(memory(zBuf, int(n)))), sqlite3.SQLITE_IOERR_WRITE)
}

func xTruncate(_ *libc.TLS, pFile uintptr, size int64) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	if !ok {
		return sqlite3.SQLITE_IOERR_TRUNCATE
	}
	return code(h.disk.write(h.file, size, nil), sqlite3.SQLITE_IOERR_TRUNCATE)
}

func xSync(_ *libc.TLS, pFile uintptr, _ int32) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	if !ok {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	return code(h.disk.sync(h.name, h.file), sqlite3.SQLITE_IOERR_FSYNC)
}

func xFileSize(_ *libc.TLS, pFile, pSize uintptr) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	if !ok {
		return sqlite3.SQLITE_IOERR_FSTAT
	}
	*at[int64](pSize) = h.file.live.size
	return sqlite3.SQLITE_OK
}

func xLock(_ *libc.TLS, pFile uintptr, level int32) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	switch {
	case !ok:
		return sqlite3.SQLITE_IOERR_LOCK
	case !h.file.locks.lock(h, level):
		return sqlite3.SQLITE_BUSY
	}
	return sqlite3.SQLITE_OK
}

func xUnlock(_ *libc.TLS, pFile uintptr, level int32) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	if ok {
		h.file.locks.unlock(h, level)
	}
	return sqlite3.SQLITE_OK
}

func xCheckReservedLock(_ *libc.TLS, pFile, pOut uintptr) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	*at[int32](pOut) = 0
	if l := h.file.locks; ok && (l.reserved != nil || l.pending != nil || l.exclusive != nil) {
		*at[int32](pOut) = 1
	}
	return sqlite3.SQLITE_OK
}

func xFileControl(*libc.TLS, uintptr, int32, uintptr) int32 { return sqlite3.SQLITE_NOTFOUND }

func xSectorSize(*libc.TLS, uintptr) int32 { return 4096 }

// What SQLite assumes of disks on every system: a write harms none of the bytes beside it.
func xDeviceCharacteristics(*libc.TLS, uintptr) int32 {
	return sqlite3.SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

func xShmMap(tls *libc.TLS, pFile uintptr, region, size, extend int32, pp uintptr) int32 {
	h := handleOf(pFile)
	ok := h.enter()
	defer h.leave()
	*at[uintptr](pp) = 0
	if h.shm == nil {
		if !ok {
			return sqlite3.SQLITE_IOERR_SHMMAP
		}
		if h.file.shm == nil {
			h.file.shm = &shm{}
		}
		h.shm = h.file.shm
		h.shm.users++
	}
	for int(region) >= len(h.shm.regions) {
		if extend == 0 {
			return sqlite3.SQLITE_OK
		}
		r := sqlite3.Xsqlite3_malloc(tls, size)
		if r == 0 {
			return sqlite3.SQLITE_NOMEM
		}
		clear(memory(r, int(size)))
		h.shm.regions = append(h.shm.regions, r)
	}
	*at[uintptr](pp) = h.shm.regions[region]
	return sqlite3.SQLITE_OK
}

func xShmLock(_ *libc.TLS, pFile uintptr, first, n, flags int32) int32 {
	h := handleOf(pFile)
	h.enter()
	defer h.leave()
	if h.shm == nil || !h.shm.lock(h, int(first), int(n), flags) {
		return sqlite3.SQLITE_BUSY
	}
	return sqlite3.SQLITE_OK
}

// xShmBarrier needs a barrier of memory: taking a lock is one.
func xShmBarrier(_ *libc.TLS, pFile uintptr) {
	h := handleOf(pFile)
	h.enter()
	h.leave()
}

func xShmUnmap(tls *libc.TLS, pFile uintptr, _ int32) int32 {
	h := handleOf(pFile)
	h.enter()
	defer h.leave()
	if h.shm == nil {
		return sqlite3.SQLITE_OK
	}
	s := h.shm
	s.leave(h)
	h.shm = nil
	if s.users == 0 {
		s.free(tls)
		if h.file.shm == s {
			h.file.shm = nil
		}
	}
	return sqlite3.SQLITE_OK
}

func xDelete(_ *libc.TLS, _, zName uintptr, syncDir int32) int32 {
	d, name := find(libc.GoString(zName))
	if d == nil {
		return sqlite3.SQLITE_IOERR_DELETE
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.dead:
		return sqlite3.SQLITE_IOERR_DELETE
	case !d.remove(name, syncDir != 0):
		return sqlite3.SQLITE_IOERR_DELETE_NOENT
	}
	return sqlite3.SQLITE_OK
}

func xAccess(_ *libc.TLS, _, zName uintptr, flags int32, pOut uintptr) int32 {
	*at[int32](pOut) = 0
	d, name := find(libc.GoString(zName))
	if d == nil {
		return sqlite3.SQLITE_OK
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil && (flags != sqlite3.SQLITE_ACCESS_EXISTS || f.live.size > 0) {
		*at[int32](pOut) = 1
	}
	return sqlite3.SQLITE_OK
}

func xFullPathname(_ *libc.TLS, _, zName uintptr, n int32, zOut uintptr) int32 {
	name := libc.GoString(zName)
	if len(name) >= int(n) {
		return sqlite3.SQLITE_CANTOPEN
	}
	copy(memory(zOut, int(n)), name+"\x00")
	return sqlite3.SQLITE_OK
}

func xDlOpen(*libc.TLS, uintptr, uintptr) uintptr { return 0 }

func xDlError(_ *libc.TLS, _ uintptr, n int32, zOut uintptr) {
	if n > 0 {
		*at[byte](zOut) = 0
	}
}

func xDlSym(*libc.TLS, uintptr, uintptr, uintptr) uintptr { return 0 }

func xDlClose(*libc.TLS, uintptr, uintptr) {}

// xRandomness gives what is always the same: SQLite takes its salts from it.
func xRandomness(_ *libc.TLS, _ uintptr, n int32, zOut uintptr) int32 {
	for i, b := range memory(zOut, int(n)) {
		memory(zOut, int(n))[i] = b ^ byte(i*7+1)
	}
	return n
}

func xSleep(_ *libc.TLS, _ uintptr, micros int32) int32 {
	time.Sleep(time.Duration(micros) * time.Microsecond)
	return micros
}

// xCurrentTime is a day of 2016: no store asks SQLite for the time.
func xCurrentTime(_ *libc.TLS, _, pOut uintptr) int32 {
	*at[float64](pOut) = 2457570.5
	return sqlite3.SQLITE_OK
}

func xGetLastError(*libc.TLS, uintptr, int32, uintptr) int32 { return 0 }
