//go:build linux

package crashtest

import (
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// page is what is written to the plates whole or not at all.
const page = 4096

// breakage is how a disk fails.
type breakage int

const (
	sound      breakage = iota
	full                // a write or a new file: no space
	badWrite            // a write fails
	badSync             // a sync fails, and what it was for is never written, though it can still be read
	badFolders          // a sync of a folder fails, and its names are not durable
)

func (b breakage) String() string {
	return [...]string{"sound", "full", "failing writes", "failing syncs", "failing syncs of folders"}[b]
}

// plan is what happens to a disk, by operations that change something, counted from when it was made.
type plan struct {
	cutAt           int // the power fails; 0: never
	breaks          breakage
	failAt, failFor int
}

// disk is a file system in memory, mounted, on which nothing is durable that was not synced: neither bytes nor names.
type disk struct {
	fuse.RawFileSystem
	mnt    string
	server *fuse.Server

	mu     sync.Mutex
	rand   *rand.Rand
	nodes  map[uint64]*node
	next   uint64
	names  []nameOp // not durable yet, in order
	plan   plan
	ops    int
	failed int
	dead   bool
	onCut  chan struct{} // closed when the power fails
}

// node is a file or a folder.
type node struct {
	id     uint64
	folder bool
	// of a folder
	live, durable map[string]*node
	// of a file: what is read, what is on the plates, and the pages in which they differ
	data, plates []byte
	dirty        map[int64]bool
}

// nameOp is a change of names: in one folder, or in two at once.
type nameOp struct {
	in, from  *node
	name, was string
	node      *node // nil: the name goes
}

func (o nameOp) touches(n *node) bool { return o.in == n || o.from == n }

func (o nameOp) apply() {
	if o.from != nil {
		delete(o.from.durable, o.was)
	}
	if o.node == nil {
		delete(o.in.durable, o.name)
	} else {
		o.in.durable[o.name] = o.node
	}
}

// newDisk mounts a disk that holds a copy of a folder, all of it durable. Whatever happens it is unmounted at the end; a
// process that still has files open there must be killed before.
func newDisk(t testing.TB, from string, seed uint64) *disk {
	t.Helper()
	needFUSE(t)
	d := &disk{RawFileSystem: fuse.NewDefaultRawFileSystem(), rand: rand.New(rand.NewPCG(seed, 1)), nodes: map[uint64]*node{}, next: 1,
		onCut: make(chan struct{})}
	root := d.node(true)
	if from != "" {
		d.load(t, root, from)
	}
	base := t.TempDir()
	d.mnt = filepath.Join(base, "mnt")
	if err := os.Mkdir(d.mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	d.server, err = fuse.NewServer(d, d.mnt, &fuse.MountOptions{DirectMountStrict: true, FsName: "forgetful", Name: "forgetful", MaxBackground: 64, DisableReadDirPlus: true})
	if err != nil {
		t.Fatalf("mount: %v", err)
	}
	mounted.Store(d.mnt, d)
	served := make(chan struct{})
	go func() {
		d.server.Serve()
		close(served)
	}()
	t.Cleanup(func() {
		d.cut()
		mounted.Delete(d.mnt)
		// Detached it is gone from the tree of files at once, whoever has something open there.
		_ = syscall.Unmount(d.mnt, syscall.MNT_DETACH)
		select {
		case <-served:
		case <-time.After(10 * time.Second):
			t.Errorf("%s is unmounted and somebody holds on to it", d.mnt)
		}
	})
	if err := d.server.WaitMount(); err != nil {
		t.Fatalf("mount: %v", err)
	}
	return d
}

// needFUSE skips a test that needs root and FUSE. Where both are there the test is run.
func needFUSE(t testing.TB) {
	t.Helper()
	_, err := os.Stat("/dev/fuse")
	if err == nil && os.Geteuid() == 0 {
		return
	}
	t.Skipf("SKIPPED, SO NOTHING IS KNOWN OF POWER CUTS HERE: a file system that forgets needs root (uid is %d) and /dev/fuse (%v)", os.Geteuid(), err)
}

// node makes a node. The caller holds the lock, or has the disk alone.
func (d *disk) node(folder bool) *node {
	n := &node{id: d.next, folder: folder, dirty: map[int64]bool{}}
	if folder {
		n.live, n.durable = map[string]*node{}, map[string]*node{}
	}
	d.nodes[n.id] = n
	d.next++
	return n
}

func (d *disk) load(t testing.TB, into *node, from string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n := d.node(e.IsDir())
		into.live[e.Name()], into.durable[e.Name()] = n, n
		if e.IsDir() {
			d.load(t, n, filepath.Join(from, e.Name()))
			continue
		}
		raw, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		n.data, n.plates = raw, slices.Clone(raw)
	}
}

// file is what can be read of a file.
func (d *disk) file(path string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[1]
	for name := range strings.SplitSeq(path, "/") {
		if n = n.live[name]; n == nil {
			return nil
		}
	}
	return slices.Clone(n.data)
}

// set replaces the plan and counts anew.
func (d *disk) set(p plan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan, d.ops, d.failed = p, 0, 0
}

// counts is how many operations there were since the plan was made, and how many failed.
func (d *disk) counts() (ops, failed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops, d.failed
}

// cut takes the power away: nothing works any more.
func (d *disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.die()
}

func (d *disk) die() {
	if !d.dead {
		d.dead = true
		close(d.onCut)
	}
}

// step counts an operation that changes something and says how it fails. The caller holds the lock.
func (d *disk) step(kinds ...breakage) syscall.Errno {
	if d.dead {
		return syscall.EIO
	}
	d.ops++
	if d.plan.cutAt > 0 && d.ops >= d.plan.cutAt {
		d.die()
		return syscall.EIO
	}
	if d.plan.breaks == sound || d.ops < d.plan.failAt || d.failed >= d.plan.failFor || !slices.Contains(kinds, d.plan.breaks) {
		return 0
	}
	d.failed++
	if d.plan.breaks == full {
		return syscall.ENOSPC
	}
	return syscall.EIO
}

// remains writes what is on the plates after a power cut into a folder: of what was not synced nothing if forget is true,
// else some of it, by chance.
func (d *disk) remains(t testing.TB, to string, forget bool) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.die()
	if !forget {
		for _, o := range d.names {
			if d.rand.IntN(2) == 0 {
				o.apply()
			}
		}
		for _, id := range slices.Sorted(maps.Keys(d.nodes)) {
			n := d.nodes[id]
			for _, p := range slices.Sorted(maps.Keys(n.dirty)) {
				if d.rand.IntN(2) == 0 {
					n.write(p)
				}
			}
		}
	}
	write(t, d.nodes[1], to)
}

func write(t testing.TB, n *node, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, child := range n.durable {
		path := filepath.Join(to, name)
		if child.folder {
			write(t, child, path)
		} else if err := os.WriteFile(path, child.plates, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// write brings one page to the plates.
func (n *node) write(p int64) {
	from := p * page
	end := min(from+page, int64(len(n.data)))
	if from >= end {
		return
	}
	if grow := end - int64(len(n.plates)); grow > 0 {
		n.plates = append(n.plates, make([]byte, grow)...)
	}
	copy(n.plates[from:end], n.data[from:end])
}

// sync brings a file to the plates.
func (n *node) sync() {
	if len(n.plates) > len(n.data) {
		n.plates = n.plates[:len(n.data)]
	}
	for p := range n.dirty {
		n.write(p)
	}
	if grow := len(n.data) - len(n.plates); grow > 0 {
		n.plates = append(n.plates, make([]byte, grow)...)
	}
	clear(n.dirty)
}

// resize changes the length of a file.
func (n *node) resize(size int64) {
	if size <= int64(len(n.data)) {
		n.data = n.data[:size:size]
		return
	}
	for p := int64(len(n.data)) / page; p <= (size-1)/page; p++ {
		n.dirty[p] = true
	}
	n.data = append(n.data, make([]byte, size-int64(len(n.data)))...)
}

// ---- what the kernel asks ----

func (d *disk) fill(n *node, a *fuse.Attr) {
	a.Ino, a.Nlink, a.Mode, a.Blksize = n.id, 1, fuse.S_IFREG|0o600, page
	if n.folder {
		a.Mode = fuse.S_IFDIR | 0o700
		return
	}
	a.Size, a.Blocks = uint64(len(n.data)), uint64(len(n.data)+511)/512
}

func (d *disk) entry(n *node, out *fuse.EntryOut) {
	out.NodeId, out.Generation = n.id, 1
	d.fill(n, &out.Attr)
}

// with looks a node up and calls f with the lock held.
func (d *disk) with(id uint64, f func(n *node) syscall.Errno) fuse.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.nodes[id]
	if n == nil {
		return fuse.ENOENT
	}
	if d.dead {
		return fuse.EIO
	}
	return fuse.Status(f(n))
}

func (d *disk) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return d.with(h.NodeId, func(n *node) syscall.Errno {
		child := n.live[name]
		if child == nil {
			return syscall.ENOENT
		}
		d.entry(child, out)
		return 0
	})
}

func (d *disk) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return d.with(in.NodeId, func(n *node) syscall.Errno { d.fill(n, &out.Attr); return 0 })
}

func (d *disk) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	return d.with(in.NodeId, func(n *node) syscall.Errno {
		if size, ok := in.GetSize(); ok && !n.folder {
			if e := d.step(full, badWrite); e != 0 {
				return e
			}
			n.resize(int64(size))
		}
		d.fill(n, &out.Attr)
		return 0
	})
}

// add gives a new node a name.
func (d *disk) add(parent *node, name string, folder bool) (*node, syscall.Errno) {
	if parent.live[name] != nil {
		return nil, syscall.EEXIST
	}
	if e := d.step(full); e != 0 {
		return nil, e
	}
	n := d.node(folder)
	parent.live[name] = n
	d.names = append(d.names, nameOp{in: parent, name: name, node: n})
	return n, 0
}

func (d *disk) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return d.with(in.NodeId, func(parent *node) syscall.Errno {
		n, e := d.add(parent, name, true)
		if e == 0 {
			d.entry(n, out)
		}
		return e
	})
}

func (d *disk) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return d.with(in.NodeId, func(parent *node) syscall.Errno {
		n, e := d.add(parent, name, false)
		if e == 0 {
			d.entry(n, &out.EntryOut)
		}
		return e
	})
}

func (d *disk) remove(h *fuse.InHeader, name string, folder bool) fuse.Status {
	return d.with(h.NodeId, func(parent *node) syscall.Errno {
		n := parent.live[name]
		switch {
		case n == nil:
			return syscall.ENOENT
		case folder && len(n.live) > 0:
			return syscall.ENOTEMPTY
		}
		if e := d.step(); e != 0 {
			return e
		}
		delete(parent.live, name)
		d.names = append(d.names, nameOp{in: parent, name: name})
		return 0
	})
}

func (d *disk) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return d.remove(h, name, false)
}

func (d *disk) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return d.remove(h, name, true)
}

func (d *disk) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return d.with(in.NodeId, func(parent *node) syscall.Errno {
		n := d.nodes[in.Oldnodeid]
		switch {
		case n == nil:
			return syscall.ENOENT
		case parent.live[name] != nil:
			return syscall.EEXIST
		}
		if e := d.step(full); e != 0 {
			return e
		}
		parent.live[name] = n
		d.names = append(d.names, nameOp{in: parent, name: name, node: n})
		d.entry(n, out)
		return 0
	})
}

func (d *disk) Rename(_ <-chan struct{}, in *fuse.RenameIn, was, name string) fuse.Status {
	return d.with(in.NodeId, func(from *node) syscall.Errno {
		to, n := d.nodes[in.Newdir], from.live[was]
		if to == nil || n == nil {
			return syscall.ENOENT
		}
		if e := d.step(); e != 0 {
			return e
		}
		delete(from.live, was)
		to.live[name] = n
		d.names = append(d.names, nameOp{in: to, name: name, node: n, from: from, was: was})
		return 0
	})
}

func (d *disk) Open(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	return d.with(in.NodeId, func(n *node) syscall.Errno {
		if in.Flags&syscall.O_TRUNC != 0 {
			n.resize(0)
		}
		return 0
	})
}

func (d *disk) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	var got int
	status := d.with(in.NodeId, func(n *node) syscall.Errno {
		if in.Offset < uint64(len(n.data)) {
			got = copy(buf, n.data[in.Offset:])
		}
		return 0
	})
	return fuse.ReadResultData(buf[:got]), status
}

func (d *disk) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	status := d.with(in.NodeId, func(n *node) syscall.Errno {
		if e := d.step(full, badWrite); e != 0 {
			return e
		}
		end := int64(in.Offset) + int64(len(data))
		if end > int64(len(n.data)) {
			n.resize(end)
		}
		copy(n.data[in.Offset:], data)
		for p := int64(in.Offset) / page; p <= (end-1)/page; p++ {
			n.dirty[p] = true
		}
		return 0
	})
	return uint32(len(data)), status
}

func (d *disk) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return d.with(in.NodeId, func(n *node) syscall.Errno {
		if e := d.step(badSync); e != 0 {
			clear(n.dirty) // the system takes the pages for written
			return e
		}
		n.sync()
		return 0
	})
}

func (d *disk) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return d.with(in.NodeId, func(n *node) syscall.Errno {
		if e := d.step(badFolders); e != 0 {
			return e
		}
		var left []nameOp
		for _, o := range d.names {
			if o.touches(n) {
				o.apply()
			} else {
				left = append(left, o)
			}
		}
		d.names = left
		return 0
	})
}

func (d *disk) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

func (d *disk) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return d.with(in.NodeId, func(n *node) syscall.Errno {
		for i, name := range slices.Sorted(maps.Keys(n.live)) {
			if uint64(i) < in.Offset {
				continue
			}
			mode := uint32(fuse.S_IFREG)
			if n.live[name].folder {
				mode = fuse.S_IFDIR
			}
			if !out.AddDirEntry(fuse.DirEntry{Name: name, Mode: mode, Ino: n.live[name].id, Off: uint64(i) + 1}) {
				break
			}
		}
		return 0
	})
}

func (d *disk) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status   { return fuse.OK }
func (d *disk) Release(<-chan struct{}, *fuse.ReleaseIn)           {}
func (d *disk) ReleaseDir(*fuse.ReleaseIn)                         {}
func (d *disk) Forget(uint64, uint64)                              {}
func (d *disk) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }
func (d *disk) String() string                                     { return "forgetful" }
func (d *disk) StatFs(_ <-chan struct{}, _ *fuse.InHeader, o *fuse.StatfsOut) fuse.Status {
	*o = fuse.StatfsOut{Bsize: page, Frsize: page, Blocks: 1 << 20, Bfree: 1 << 20, Bavail: 1 << 20, NameLen: 255}
	return fuse.OK
}

// The disk does what the tests believe of it: what was synced is there, what was not is not, of names as of bytes.
func TestTheDiskForgets(t *testing.T) {
	d := newDisk(t, "", 1)
	script := `set -e; cd "$1"; mkdir kept; sync kept; echo one > kept/a; sync kept/a; sync kept; echo two >> kept/a; echo b > kept/b; sync kept/b
		mkdir lost; sync .; mkdir lost/deeper; echo c > lost/c; mv kept/a kept/aa; ln kept/aa kept/ab; rm kept/ab; ls kept`
	p := startShell(t, script, d.mnt)
	if err := p.wait(20 * time.Second); err != nil || !strings.Contains(p.text(), "aa\nb\n") {
		t.Fatalf("%v: %s", err, p.text())
	}
	to := t.TempDir()
	d.remains(t, to, true)
	if raw, err := os.ReadFile(filepath.Join(to, "kept", "a")); err != nil || string(raw) != "one\n" {
		t.Errorf("kept/a holds %q, %v; want what was synced", raw, err)
	}
	for _, name := range []string{"kept/b", "kept/aa", "lost/c", "lost/deeper"} {
		if _, err := os.Stat(filepath.Join(to, name)); err == nil {
			t.Errorf("%s is there, and its folder was never synced", name)
		}
	}
	p = startShell(t, `cat "$1/kept/aa"`, d.mnt)
	if err := p.wait(20 * time.Second); err == nil {
		t.Errorf("the disk works without power: %s", p.text())
	}
}
