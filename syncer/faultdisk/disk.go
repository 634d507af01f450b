// Package faultdisk is a disk in memory on which SQLite keeps its files, for tests and for `hearth simulate --faults`. It
// can lose power at any write, tear what was not synced at sectors of 512 bytes, be full, fail to write or to sync, and
// lie about syncing; and it can be copied at the price of its files' names.
//
// A Disk is deterministic: the same calls and the same seed lose the same bytes. It is not for data that anybody needs,
// it keeps nothing when the process ends, and it knows nothing of what the files mean.
package faultdisk

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// Fault is how a disk fails.
type Fault int

// The faults of a disk.
const (
	// None: it does what it is told.
	None Fault = iota
	// Full: there is no space for a write.
	Full
	// BadWrite: a write fails, and nothing of it is written.
	BadWrite
	// BadSync: a sync fails, and what it was to make durable never will be, though it can still be read: what Linux does.
	BadSync
)

// Plan is what is to happen to a disk. Operations are writes, truncations and syncs, counted from 1 since the plan was made.
type Plan struct {
	// CutAt is the operation at which the power fails; 0: never.
	CutAt int
	// Fail is what happens to operations of its kind from FailAt on, FailFor of them in number.
	Fail            Fault
	FailAt, FailFor int
	// Lie makes every sync succeed without making anything durable.
	Lie bool
}

// Disk is a disk with its files. It may be used from many goroutines.
type Disk struct {
	id string

	mu    sync.Mutex
	rand  *rand.Rand
	files map[string]*file
	// ghosts are files that were deleted, which a power cut may bring back: deleting is not durable by itself.
	ghosts map[string]content
	power  int // counts the times it came on; a handle of an earlier time is dead
	dead   bool
	plan   Plan
	ops    int
	failed int
	syncs  int
	lied   bool // since the power came on
}

// file is one file: what is read, what is on the plates, and the operations that lead from one to the other.
type file struct {
	live, durable content
	pending       []op
	named         bool // its name is durable
	lost          bool // something that can be read is neither durable nor pending: a sync has failed
	locks         locks
	shm           *shm
}

// op is a write, or a truncation where data is nil.
type op struct {
	off  int64
	data []byte
}

// onPlates is a file whose content is durable.
func onPlates(c content) *file { return &file{live: c.share(), durable: c.share(), named: true} }

// New makes an empty disk. What it loses in a power cut is drawn from the seed. It must be closed.
func New(seed uint64) *Disk {
	d := &Disk{rand: rand.New(rand.NewPCG(seed, 0x6469736b)), files: map[string]*file{}, ghosts: map[string]content{}, power: 1}
	d.id = register(d)
	return d
}

// Image is the content of a disk at some moment.
type Image struct{ files map[string]content }

// Image copies what can be read of the disk now, as a backup does.
func (d *Disk) Image() *Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	img := &Image{files: map[string]content{}}
	for name, f := range d.files {
		img.files[name] = f.live.share()
	}
	return img
}

// Each calls f with every file of an image by its name within the disk.
func (i *Image) Each(f func(name string, data []byte)) {
	for _, name := range slices.Sorted(maps.Keys(i.files)) {
		c := i.files[name]
		f(name, c.bytes())
	}
}

// Load replaces the content of the disk by an image, all of it durable. What was open before is dead.
func (d *Disk) Load(img *Image) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files, d.ghosts = map[string]*file{}, map[string]content{}
	for name, c := range img.files {
		d.files[name] = onPlates(c)
	}
	d.on()
}

// on begins a new life, with no plan.
func (d *Disk) on() {
	d.power++
	d.dead, d.plan, d.ops, d.failed, d.lied = false, Plan{}, 0, 0, false
}

// Close forgets the disk.
func (d *Disk) Close() {
	unregister(d.id)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// VFS is the name by which SQLite knows all disks of this package.
func (d *Disk) VFS() string { return vfsName }

// Path is a file's path for SQLite.
func (d *Disk) Path(name string) string { return "/" + d.id + "/" + name }

func (d *Disk) name(path string) string { return strings.TrimPrefix(path, "/"+d.id+"/") }

// Exists says whether there is a file at a path.
func (d *Disk) Exists(path string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[d.name(path)] != nil
}

// Size is how long the file at a path is, 0 if there is none.
func (d *Disk) Size(path string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[d.name(path)]
	if f == nil {
		return 0
	}
	return f.live.size
}

// Make makes an empty file at a path unless there is one.
func (d *Disk) Make(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return fmt.Errorf("make %s: the disk has no power", path)
	}
	if d.files[d.name(path)] == nil {
		d.files[d.name(path)] = &file{}
	}
	return nil
}

// Remove removes the file at a path, if there is one.
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return fmt.Errorf("remove %s: the disk has no power", path)
	}
	d.remove(d.name(path), true)
	return nil
}

func (d *Disk) remove(name string, durable bool) bool {
	f := d.files[name]
	if f == nil {
		return false
	}
	if f.named && !durable {
		d.ghosts[name] = f.durable.share()
	}
	delete(d.files, name)
	return true
}

// Set replaces the plan and counts operations anew.
func (d *Disk) Set(p Plan) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.plan, d.ops, d.failed = p, 0, 0
}

// Ops is how many operations there were since the plan was made.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Syncs is how many syncs there were in all.
func (d *Disk) Syncs() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncs
}

// Failed is how many operations have failed by the plan.
func (d *Disk) Failed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Dead says whether the power has failed.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// Kill ends whatever has files open, as kill -9 does; the system goes on, so nothing that was written is lost.
func (d *Disk) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.files {
		f.locks, f.shm = locks{}, nil
	}
	d.on()
}

// Cut takes the power away and brings it back: of each write that was not synced all, some sectors, or nothing is there.
func (d *Disk) Cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[name]
		if !f.named && d.rand.IntN(2) == 0 {
			delete(d.files, name)
			continue
		}
		d.surviveAll(f)
		d.files[name] = onPlates(f.durable.share())
	}
	for _, name := range slices.Sorted(maps.Keys(d.ghosts)) {
		if c := d.ghosts[name]; d.files[name] == nil && d.rand.IntN(2) == 0 {
			d.files[name] = onPlates(c)
		}
	}
	d.ghosts = map[string]content{}
	d.on()
}

// surviveAll decides what is left of the writes to a file that were not synced. A disk that lies about syncing writes in its
// own time: all of a file, some from the first on, or any.
func (d *Disk) surviveAll(f *file) {
	due, ordered := len(f.pending), false
	if d.lied {
		switch d.rand.IntN(3) {
		case 0:
			ordered = true
		case 1:
			ordered, due = true, d.rand.IntN(len(f.pending)+1)
		}
	}
	for _, o := range f.pending[:due] {
		if ordered {
			f.durable.apply(o)
		} else {
			d.survive(f, o)
		}
	}
}

// survive decides what is left of a write that was not synced.
func (d *Disk) survive(f *file, o op) {
	switch d.rand.IntN(3) {
	case 0:
		f.durable.apply(o)
	case 1:
		for s := 0; s < len(o.data); s += sector {
			if d.rand.IntN(2) == 0 {
				f.durable.apply(op{o.off + int64(s), o.data[s:min(s+sector, len(o.data))]})
			}
		}
	}
}

// step counts an operation and says how it fails. The caller holds the lock.
func (d *Disk) step(sync bool) Fault {
	d.ops++
	if d.plan.CutAt > 0 && d.ops >= d.plan.CutAt {
		d.dead = true
		return BadWrite
	}
	if d.plan.Fail == None || d.ops < d.plan.FailAt || d.failed >= d.plan.FailFor || sync != (d.plan.Fail == BadSync) {
		return None
	}
	d.failed++
	return d.plan.Fail
}

// write puts data at an offset; nil data cuts the file there.
func (d *Disk) write(f *file, off int64, data []byte) Fault {
	if fault := d.step(false); fault != None {
		return fault
	}
	o := op{off, data}
	f.live.apply(o)
	f.pending = append(f.pending, o)
	return None
}

// Rewrite writes the bytes of a file anew and syncs them, if it is there.
func (d *Disk) Rewrite(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := d.name(path)
	f := d.files[name]
	switch {
	case d.dead:
		return fmt.Errorf("rewrite %s: the disk has no power", path)
	case f == nil:
		return nil
	case d.write(f, 0, f.live.bytes()) != None || d.sync(name, f) != None:
		return fmt.Errorf("rewrite %s: the disk fails", path)
	}
	return nil
}

// sync makes what was written durable.
func (d *Disk) sync(name string, f *file) Fault {
	switch fault := d.step(true); {
	case fault == BadSync:
		f.lost = f.lost || len(f.pending) > 0
		f.pending = nil
		return fault
	case fault != None:
		return fault
	}
	d.syncs++
	if d.plan.Lie {
		d.lied = true
		return None
	}
	if f.lost {
		for _, o := range f.pending {
			f.durable.apply(o)
		}
	} else {
		f.durable = f.live.share()
	}
	if !f.named && (strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "-journal")) {
		d.syncFolder(name[:strings.LastIndexByte(name, '/')+1])
	}
	f.pending, f.named = nil, true
	delete(d.ghosts, name)
	return None
}

// syncFolder makes all names in a folder durable, also that some are gone. SQLite does so at the first sync of a log or
// journal that it has made.
func (d *Disk) syncFolder(folder string) {
	for name, f := range d.files {
		f.named = f.named || strings.HasPrefix(name, folder)
	}
	maps.DeleteFunc(d.ghosts, func(name string, _ content) bool { return strings.HasPrefix(name, folder) })
}
