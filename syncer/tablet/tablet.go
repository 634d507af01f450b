// Package tablet is the offline store on a device, and the loop that sends it: drafts saved at every answer, records
// that are never changed, lanes, receipts, and what headquarters has sent down. One SQLite file holds everything.
//
// It is for the tablet's program and for `hearth tablet` and `hearth import-tablet`. It gives up no answer: a record's
// bytes leave the file only under a receipt that headquarters signed. It does not judge answers, merge revisions, or
// listen to a network.
package tablet

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"github.com/hearth-survey/hearth/syncer/plant"
	"github.com/hearth-survey/hearth/syncer/prepared"
	"google.golang.org/protobuf/reflect/protoreflect"

	_ "modernc.org/sqlite" // the driver of database/sql
)

// ApplicationID marks an SQLite file as a tablet's store: "HRTH".
const ApplicationID = 0x48525448

// Version is the version of the schema that this program writes.
const Version = 1

// Options are what a store takes from outside. The zero value is for production.
type Options struct {
	// Now is the device's clock; nil: time.Now.
	Now func() time.Time
	// Rand gives ids, keys and epochs; nil: crypto/rand.
	Rand io.Reader
	// Fingerprint gives the first 8 bytes of the fingerprint of a version of a questionnaire, nil for one that is not
	// known; it may be nil itself.
	Fingerprint func(questionnaire string, version uint32) []byte
	// Answers gives the top message of a questionnaire published at run time, by its full name, nil for one that is not
	// known; it may be nil itself. Load and Export need it to have such answers by name.
	Answers func(questionnaire string) protoreflect.MessageDescriptor
	// VFS is SQLite's name for where the file is, as a disk in memory of syncer/faultdisk; empty: the file system.
	VFS string
	// Rewrite writes the bytes of a file on the disk of VFS anew, as they can be read, and syncs them; nil: nothing is
	// rewritten there.
	Rewrite func(path string) error
}

// CreateOptions say who a new tablet is.
type CreateOptions struct {
	// Name is given to the tablet by people: "tablet-03".
	Name string
	// Enumerator is the code of the enumerator who carries it.
	Enumerator string
	// Study is the code of the study it is for.
	Study string
	// Now, Rand, Fingerprint and VFS are as in Options.
	Now         func() time.Time
	Rand        io.Reader
	Fingerprint func(questionnaire string, version uint32) []byte
	// Answers gives the top message of a questionnaire published at run time, by its full name, nil for one that is not
	// known; it may be nil itself. Load and Export need it to have such answers by name.
	Answers func(questionnaire string) protoreflect.MessageDescriptor
	VFS     string
}

// Store is a tablet's store, open. It may be used from many goroutines.
type Store struct {
	db          *sql.DB
	path        string
	now         func() time.Time
	rand        io.Reader
	fingerprint func(string, uint32) []byte
	answersTo   schemas

	device     syncer.ID
	key        ed25519.PrivateKey
	name       string
	enumerator string
	study      string

	boot   syncer.ID
	opened time.Time

	// syncing lets one Sync run at a time; recording goes on beside it.
	syncing sync.Mutex
}

// studyCode is what the code of a study looks like.
var studyCode = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Create makes the store of a new tablet in a file that must not exist (fault.StoreExists).
func Create(ctx context.Context, path string, opts CreateOptions) (*Store, error) {
	if !studyCode.MatchString(opts.Study) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "create the store %s: the code of the study, %.64q, must be 1 to 63 of a-z, 0-9 and -, and begin with a letter or digit: no definition can have another", path, opts.Study)
	}
	if opts.Name == "" || opts.Enumerator == "" {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "create the store %s: the tablet has no name or no enumerator, so nobody could tell at headquarters whose it is: give both", path)
	}
	o := Options{Now: opts.Now, Rand: opts.Rand, Fingerprint: opts.Fingerprint, Answers: opts.Answers, VFS: opts.VFS}
	if o.VFS != "" {
		if err := initialise(ctx, path, opts, o.random()); err != nil {
			return nil, err
		}
		return Open(ctx, path, o)
	}
	making, err := nameless(path)
	if err != nil {
		return nil, err
	}
	failpoint.Hit("tablet.after-create-file")
	if err := initialise(ctx, making, opts, o.random()); err != nil {
		return nil, errors.Join(err, removeStore(making))
	}
	failpoint.Hit("tablet.after-create")
	if err := giveName(making, path); err != nil {
		return nil, errors.Join(err, removeStore(making))
	}
	failpoint.Hit("tablet.after-name")
	return Open(ctx, path, o)
}

func removeStore(path string) error {
	for _, suffix := range []string{"-wal", "-shm", ""} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (o Options) random() io.Reader {
	if o.Rand == nil {
		return rand.Reader
	}
	return o.Rand
}

// initialise writes the schema and the one row of meta in a single transaction.
func initialise(ctx context.Context, path string, opts CreateOptions, random io.Reader) error {
	var device, epoch syncer.ID
	seed := make([]byte, ed25519.SeedSize)
	for _, b := range [][]byte{device[:], seed, epoch[:]} {
		if _, err := io.ReadFull(random, b); err != nil {
			return fault.New(fault.Internal, "", "create the store %s: read randomness: %w", path, err)
		}
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	db, err := connect(path, opts.VFS)
	if err != nil {
		return dbFault(err, "create the store %s", path)
	}
	err = inTx(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, schema); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO meta (only, device, seed, public_key, name, enumerator, study, epoch)
			VALUES (1, ?, ?, ?, ?, ?, ?, ?)`, device[:], seed, []byte(public), opts.Name, opts.Enumerator, opts.Study, epoch[:])
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", ApplicationID, Version))
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return dbFault(err, "create the store %s", path)
	}
	if opts.VFS != "" {
		return nil
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes a new file's name durable. Systems that cannot sync a folder (Windows) do it by themselves.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fault.New(fault.Internal, "", "open the folder %s: %w", dir, err)
	}
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) && !errors.Is(err, fs.ErrPermission) {
		return errors.Join(fault.New(fault.Internal, "", "sync the folder %s: %w", dir, err), d.Close())
	}
	return d.Close()
}

// Open opens a store that exists. It fails with fault.StoreMissing, fault.NotSQLite, fault.NotATablet,
// fault.StoreTooNew or fault.StoreDamaged.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	if opts.VFS == "" {
		if err := lookAtFile(path); err != nil {
			return nil, err
		}
	}
	if err := rewriteLog(ctx, path, opts); err != nil {
		return nil, dbFault(err, "open the store %s", path)
	}
	db, err := connect(path, opts.VFS)
	if err != nil {
		return nil, dbFault(err, "open the store %s", path)
	}
	s := &Store{db: db, path: path, now: opts.Now, rand: opts.random(), fingerprint: opts.Fingerprint, answersTo: opts.Answers}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// begin reads who the tablet is.
func (s *Store) begin(ctx context.Context) error {
	if err := checkVersion(ctx, s.db, s.path); err != nil {
		return err
	}
	if _, err := s.db.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return dbFault(err, "open the store %s", s.path)
	}
	if err := addTables(ctx, s.db); err != nil {
		return dbFault(err, "open the store %s", s.path)
	}
	var device, seed, public []byte
	err := s.db.QueryRowContext(ctx, "SELECT device, seed, public_key, name, enumerator, study FROM meta").
		Scan(&device, &seed, &public, &s.name, &s.enumerator, &s.study)
	if err != nil {
		return dbFault(err, "read who the tablet %s is", s.path)
	}
	if s.key, err = deviceKey(seed, public); err != nil {
		return fmt.Errorf("open the store %s: %w", s.path, err)
	}
	if s.device, err = syncer.ParseID(device); err != nil {
		return fault.New(fault.Internal, fault.StoreDamaged, "open the store %s: %w", s.path, err)
	}
	if _, err := io.ReadFull(s.rand, s.boot[:]); err != nil {
		return fault.New(fault.Internal, "", "open the store %s: read randomness: %w", s.path, err)
	}
	s.opened = s.now()
	return nil
}

// deviceKey makes the private key and checks that neither half is damaged.
func deviceKey(seed, public []byte) (ed25519.PrivateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fault.New(fault.Internal, fault.StoreDamaged, "the tablet's key has %d bytes, want %d", len(seed), ed25519.SeedSize)
	}
	key := ed25519.NewKeyFromSeed(seed)
	if !key.Public().(ed25519.PublicKey).Equal(ed25519.PublicKey(public)) {
		return nil, fault.New(fault.Internal, fault.StoreDamaged, "the tablet's key is damaged, so nothing can be signed with it")
	}
	return key, nil
}

// sqliteMagic begins every SQLite file.
const sqliteMagic = "SQLite format 3\x00"

// lookAtFile tells a missing file and one that is not SQLite before SQLite touches it.
func lookAtFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, fault.StoreMissing, "open the store %s: there is no such file", path)
	}
	if err != nil {
		return fault.New(fault.Invalid, fault.StoreMissing, "open the store %s: %w", path, err)
	}
	head := make([]byte, len(sqliteMagic))
	_, err = io.ReadFull(f, head)
	if cerr := f.Close(); err != nil || cerr != nil || string(head) != sqliteMagic {
		return fault.New(fault.Invalid, fault.NotSQLite, "open the store %s: the file does not begin as an SQLite file does", path)
	}
	return nil
}

// querier is what a *sql.DB, a *sql.Conn and a *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func checkVersion(ctx context.Context, q querier, path string) error {
	var app, version int64
	for pragma, to := range map[string]*int64{"PRAGMA application_id": &app, "PRAGMA user_version": &version} {
		if err := q.QueryRowContext(ctx, pragma).Scan(to); err != nil {
			return dbFault(err, "open the store %s", path)
		}
	}
	switch {
	case app != ApplicationID:
		return fault.New(fault.Invalid, fault.NotATablet, "open the store %s: it is an SQLite file of another program", path)
	case version > Version:
		return fault.New(fault.Invalid, fault.StoreTooNew, "open the store %s: it has version %d, this program knows version %d", path, version, Version)
	case version < 1:
		return fault.New(fault.Invalid, fault.NotATablet, "open the store %s: it was never completely made", path)
	}
	return nil
}

// connect opens the file for writing with every commit synced. One connection: SQLite has one writer anyhow, and what
// one caller wrote the next one reads.
func connect(path, vfs string) (*sql.DB, error) {
	if vfs != "" {
		vfs = "&vfs=" + url.QueryEscape(vfs)
	}
	synchronous := "_pragma=synchronous(FULL)"
	if plant.In(plant.SkipSyncTablet) {
		synchronous = "_pragma=synchronous(OFF)"
	}
	db, err := prepared.Open(fileURI(path,
		"_pragma=busy_timeout(10000)", synchronous, "_pragma=journal_mode(WAL)",
		"_pragma=trusted_schema(0)", "_pragma=cell_size_check(1)", "_pragma=wal_autocheckpoint(1000)", "_txlock=immediate", "_dqs=0") + vfs)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// fileURI names a file for SQLite whatever characters its path has.
func fileURI(path string, params ...string) string {
	uri := "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
	for i, p := range params {
		sep := "&"
		if i == 0 {
			sep = "?"
		}
		uri += sep + p
	}
	return uri
}

// inTx runs do in a transaction that is committed if it returns no error.
func inTx(ctx context.Context, db *sql.DB, do func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	failpoint.Hit("tablet.before-commit")
	err = tx.Commit()
	failpoint.Hit("tablet.after-commit")
	return err
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// Device is the tablet's id.
func (s *Store) Device() syncer.ID { return s.device }

// Name is the name people gave the tablet.
func (s *Store) Name() string { return s.name }

// Enumerator is the code of the enumerator who carries the tablet.
func (s *Store) Enumerator() string { return s.enumerator }

// Study is the code of the study the tablet is for.
func (s *Store) Study() string { return s.study }

// Path is the store's file.
func (s *Store) Path() string { return s.path }

// Close closes the store. Everything written is durable before; a -wal file beside the store is folded in.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return dbFault(err, "close the store %s", s.path)
	}
	return nil
}
