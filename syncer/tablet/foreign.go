package tablet

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxForeign is the largest file that is taken in.
const maxForeign = 8 << 30

// Foreign is a tablet's file that somebody brought: perhaps old, damaged or forged. It is read from a private copy, row
// by row, and no record is believed whose digest fails.
type Foreign struct {
	dir  string
	path string
	db   *sql.DB
	conn *sql.Conn

	device     syncer.ID
	key        ed25519.PrivateKey
	name       string
	enumerator string
	study      string

	records  map[syncer.Digest]foreignRecord
	order    []syncer.Digest // of records, as they were written
	suspects map[syncer.Digest]suspect
	lanes    []foreignLane
	salvage  foreignLane
	drafts   []*surveyv1.Interview
	problems []Problem

	attachments bool // the file has tables for them
	blobs       []foreignBlob
}

// Problem is something in a foreign file that could not be taken in.
type Problem struct {
	// Subject names it: "record 7 (interview ...)", "lane 1a2b3c4d", "the -wal file".
	Subject string
	Reason  fault.Reason
	Message string
}

// String says the subject, the reason and the message.
func (p Problem) String() string { return fmt.Sprintf("%s: %s: %s", p.Subject, p.Reason, p.Message) }

// OpenForeign reads a tablet's file without touching it: the file and the -wal beside it, which holds what was written
// last, are copied to a private folder first. It fails with fault.StoreMissing, fault.NotSQLite, fault.NotATablet,
// fault.StoreTooNew, or fault.StoreDamaged where not even the tablet's key can be read. Everything less is a Problem.
func OpenForeign(ctx context.Context, path string) (f *Foreign, err error) {
	if err := lookAtFile(path); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hearth-import-")
	if err != nil {
		return nil, fault.New(fault.Internal, "", "make a private folder: %w", err)
	}
	f = &Foreign{dir: dir, path: path, records: map[syncer.Digest]foreignRecord{}, suspects: map[syncer.Digest]suspect{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			f = nil
		}
	}()
	if err := f.copyIn(); err != nil {
		return f, err
	}
	if frame, err := damagedFrame(filepath.Join(dir, "tablet.sqlite-wal")); err != nil {
		f.problem("the -wal file", fault.StoreDamaged, "unreadable: %v", err)
	} else if frame > 0 {
		f.problem("the -wal file", fault.StoreDamaged, "it is damaged in frame %d; what was written last may be missing", frame)
	}
	return f, f.guard(func() error {
		if err := f.open(ctx); err != nil {
			return err
		}
		return f.read(ctx)
	})
}

// guard runs what reads a file that may be made to break the reader, and makes an error of a panic.
func (f *Foreign) guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fault.New(fault.Internal, fault.StoreDamaged, "read %s: the file is damaged so that reading it broke off: %v", f.path, r)
		}
	}()
	return do()
}

// copyIn copies the file, and its -wal if there is one.
func (f *Foreign) copyIn() error {
	for _, suffix := range []string{"", "-wal"} {
		err := copyFile(filepath.Join(f.dir, "tablet.sqlite"+suffix), f.path+suffix)
		if suffix == "-wal" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fault.New(fault.Invalid, fault.StoreMissing, "copy %s: %w", f.path+suffix, err)
		}
	}
	return nil
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Size() > maxForeign {
		return fmt.Errorf("not a file of at most %d bytes", int64(maxForeign))
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, maxForeign))
	return errors.Join(err, out.Close())
}

// limits are what SQLite may use on a file that is not trusted.
func foreignLimits() map[int]int {
	return map[int]int{
		sqlite3.SQLITE_LIMIT_LENGTH: 4 << 20, sqlite3.SQLITE_LIMIT_SQL_LENGTH: 16 << 10, sqlite3.SQLITE_LIMIT_COLUMN: 64,
		sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100, sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 4, sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
		sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 8, sqlite3.SQLITE_LIMIT_ATTACHED: 0, sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
		sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 100, sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1, sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
	}
}

// open opens the private copy as a file that may be hostile, and checks that its schema is exactly a tablet's.
func (f *Foreign) open(ctx context.Context) error {
	var err error
	f.db, err = sql.Open("sqlite", fileURI(filepath.Join(f.dir, "tablet.sqlite"), "_defensive=1", "_dqs=0",
		"_pragma=trusted_schema(0)", "_pragma=cell_size_check(1)", "_pragma=mmap_size(0)", "_pragma=temp_store(2)", "_pragma=query_only(1)"))
	if err != nil {
		return dbFault(err, "open %s", f.path)
	}
	f.db.SetMaxOpenConns(1)
	if f.conn, err = f.db.Conn(ctx); err != nil {
		return dbFault(err, "open %s", f.path)
	}
	for id, most := range foreignLimits() {
		if _, err := sqlite.Limit(f.conn, id, most); err != nil {
			return dbFault(err, "open %s", f.path)
		}
	}
	if err := checkVersion(ctx, f.conn, f.path); err != nil {
		return err
	}
	got, err := schemaOf(ctx, f.conn)
	if err != nil {
		return dbFault(err, "read the schema of %s", f.path)
	}
	plain, err := ownSchema(ctx, schema)
	if err != nil {
		return err
	}
	whole := schema
	for _, a := range additions() {
		whole += a.sql
		own, err := ownSchema(ctx, whole)
		if err != nil {
			return err
		}
		f.attachments = f.attachments || slices.Equal(got, own)
	}
	if !f.attachments && !slices.Equal(got, plain) { // one from before there were attachments
		return fault.New(fault.Invalid, fault.NotATablet, "open %s: its tables are not those of a tablet's store", f.path)
	}
	var verdict string
	if err := f.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		verdict = err.Error()
	}
	if verdict != "ok" {
		f.problem("the file", fault.StoreDamaged, "SQLite finds damage: %s", verdict)
	}
	return f.authorize()
}

// authorize lets statements do nothing but read the store's tables.
func (f *Foreign) authorize() error {
	err := f.conn.Raw(func(driver any) error {
		c, ok := driver.(sqlite.AuthorizerRegisterer)
		if !ok {
			return errors.New("the driver has no authorizer")
		}
		return c.RegisterAuthorizer(func(action sqlite.AuthorizerActionCode, table, _, _, _ string) sqlite.AuthorizerReturnCode {
			read := table == "meta" || table == "record" || table == "lane_entry" || table == "draft" ||
				table == "blob" || table == "blob_piece" || table == "blob_use"
			if action == sqlite.AuthSelect || action == sqlite.AuthRead && read || action == sqlite.AuthFunction {
				return sqlite.AuthorizerOK
			}
			return sqlite.AuthorizerDeny
		})
	})
	return dbFault(err, "open %s", f.path)
}

// ownSchema is what sqlite_schema holds in a store that this program makes.
func ownSchema(ctx context.Context, schema string) (_ []string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, dbFault(err, "make an empty store")
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, dbFault(err, "make an empty store")
	}
	all, err := schemaOf(ctx, db)
	return all, dbFault(err, "read the schema of an empty store")
}

func schemaOf(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema LIMIT 100")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var kind, name, table, text string
		if err := rows.Scan(&kind, &name, &table, &text); err != nil {
			return nil, err
		}
		all = append(all, kind+"\x00"+name+"\x00"+table+"\x00"+text)
	}
	slices.Sort(all)
	return all, rows.Err()
}

func (f *Foreign) problem(subject string, reason fault.Reason, format string, args ...any) {
	f.problems = append(f.problems, Problem{Subject: subject, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// Problems lists what could not be taken in.
func (f *Foreign) Problems() []Problem { return slices.Clone(f.problems) }

// Records counts the records whose digest is right.
func (f *Foreign) Records() int {
	n := 0
	for _, r := range f.records {
		if r.good {
			n++
		}
	}
	return n
}

// Drafts are the interviews that were still being filled in. They are not sent: the tablet itself may complete them.
func (f *Foreign) Drafts() []*surveyv1.Interview { return slices.Clone(f.drafts) }

// Device is the tablet's id.
func (f *Foreign) Device() syncer.ID { return f.device }

// Name is the name people gave the tablet.
func (f *Foreign) Name() string { return f.name }

// Hello introduces the tablet whose file this is.
func (f *Foreign) Hello() *servicev1.HelloRequest {
	req := &servicev1.HelloRequest{
		Protocol: proto.Uint32(syncer.Protocol), Device: f.device[:], DeviceName: proto.String(f.name), Enumerator: proto.String(f.enumerator),
		PublicKey: f.key.Public().(ed25519.PublicKey),
	}
	return req
}

// Close removes the private copy.
func (f *Foreign) Close() error {
	var errs []error
	if f.conn != nil {
		errs = append(errs, f.conn.Close())
	}
	if f.db != nil {
		errs = append(errs, f.db.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(f.dir))...)
}
