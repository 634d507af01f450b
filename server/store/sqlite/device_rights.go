package sqlite

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/subtle"
	"database/sql"
	"errors"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

const (
	dayMS = 24 * 60 * 60_000
	// maxSessions is how many sessions a device may have: its own, one that it lost the answer to, and those of a copy.
	maxSessions = 4
)

// rightsStmts are the statements that write the rights of devices.
type rightsStmts struct {
	dropCodes, insertCode, code, useCode, tryCode *stmt
	dropEnded, insertSession, dropOlder           *stmt
	dropSessions, revoked, insertRevocation       *stmt
	dropRevocation                                *stmt
}

const codeColumns = `code, study, name, enumerator, created_ms, expires_ms, tries, device`

func (l *logConn) prepareRights() {
	r := &l.rightsStmts
	for _, p := range []struct {
		to    **stmt
		query string
	}{
		{&r.dropCodes, `DELETE FROM enrolment WHERE expires_ms < ? AND length(device) = 0`},
		{&r.insertCode, `INSERT INTO enrolment (` + codeColumns + `, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&r.code, `SELECT ` + codeColumns + ` FROM enrolment WHERE code = ?`},
		{&r.useCode, `UPDATE enrolment SET device = ?, sum = ? WHERE code = ?`},
		{&r.tryCode, `UPDATE enrolment SET tries = ?, sum = ? WHERE code = ?`},
		{&r.dropEnded, `DELETE FROM session WHERE expires_ms <= ?`},
		{&r.insertSession, `INSERT INTO session (token, device, opened_ms, expires_ms, sum) VALUES (?, ?, ?, ?, ?)`},
		{&r.dropOlder, `DELETE FROM session WHERE device = ?1 AND session_id NOT IN
			(SELECT session_id FROM session WHERE device = ?1 ORDER BY session_id DESC LIMIT ?2)`},
		{&r.dropSessions, `DELETE FROM session WHERE device = ?`},
		{&r.revoked, `SELECT 1 FROM revocation WHERE device = ?`},
		{&r.insertRevocation, `INSERT INTO revocation (device, revoked_ms, reason, revoked_by, sum) VALUES (?, ?, ?, ?, ?)`},
		{&r.dropRevocation, `DELETE FROM revocation WHERE device = ?`},
	} {
		*p.to = l.prepare(p.query)
	}
}

// codeRow is a row of the table enrolment.
type codeRow struct {
	code                    []byte
	study, name, enumerator string
	created, expires, tries int64
	device                  []byte
}

func (r codeRow) sum() int64 {
	return summer(nil).bytes(r.code).text(r.study).text(r.name).text(r.enumerator).int(r.created).int(r.expires).int(r.tries).
		bytes(r.device).sum()
}

func sessionSum(token, device []byte, opened, expires int64) int64 {
	return summer(nil).bytes(token).bytes(device).int(opened).int(expires).sum()
}

func revocationSum(device []byte, revoked int64, reason, by string) int64 {
	return summer(nil).bytes(device).int(revoked).text(reason).text(by).sum()
}

// change runs a write of its own in the writer's next group.
func (s *Store) change(ctx context.Context, apply func(*tx) error) error {
	if s.writer == nil {
		return readOnly(s.dir)
	}
	return s.writer.do(ctx, &job{records: 1, apply: apply})
}

// AddEnrolment keeps a code until it is used.
func (s *Store) AddEnrolment(ctx context.Context, e store.Enrolment) error {
	return s.change(ctx, func(t *tx) error {
		if _, err := t.exec(t.dropCodes, e.CreatedMS-dayMS); err != nil {
			return err
		}
		r := codeRow{e.Code[:], e.Study, e.Name, e.Enumerator, e.CreatedMS, e.ExpiresMS, 0, []byte{}}
		_, err := t.exec(t.insertCode, r.code, r.study, r.name, r.enumerator, r.created, r.expires, r.tries, r.device, r.sum())
		return err
	})
}

// Enrol makes a device known by its key and burns the code.
func (s *Store) Enrol(ctx context.Context, code [32]byte, device syncer.ID, key ed25519.PublicKey, nowMS int64) (store.Enrolment, error) {
	if len(key) != ed25519.PublicKeySize {
		return store.Enrolment{}, fault.New(fault.Invalid, fault.BadRequest, "device %v: a public key of %d bytes, want %d", device, len(key), ed25519.PublicKeySize)
	}
	var out store.Enrolment
	var refused error // told after the try was counted, which is kept
	err := s.change(ctx, func(t *tx) error {
		row, err := t.findCode(code)
		if err != nil {
			return err
		}
		if refused = nil; row == nil {
			refused = fault.New(fault.Unauthenticated, fault.CodeWrong, "no tablet is expected with this code")
			return nil
		}
		out = store.Enrolment{Code: code, Study: row.study, Name: row.name, Enumerator: row.enumerator, CreatedMS: row.created, ExpiresMS: row.expires}
		if refused, err = t.useFor(row, device, key, nowMS); err != nil || refused == nil {
			return err
		}
		row.tries++
		_, err = t.exec(t.tryCode, row.tries, row.sum(), row.code)
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return store.Enrolment{}, err
	}
	return out, nil
}

func (t *tx) findCode(code [32]byte) (*codeRow, error) {
	row, err := t.code.row(code[:])
	if err != nil || row == nil || subtle.ConstantTimeCompare(blob(row[0]), code[:]) != 1 {
		return nil, err
	}
	return &codeRow{blob(row[0]), text(row[1]), text(row[2]), text(row[3]), integer(row[4]), integer(row[5]), integer(row[6]), blob(row[7])}, nil
}

// useFor burns a code for a device, unless it is refused.
func (t *tx) useFor(row *codeRow, device syncer.ID, key ed25519.PublicKey, nowMS int64) (refused, err error) {
	switch {
	case row.tries >= store.MaxTries || len(row.device) > 0 && !bytes.Equal(row.device, device[:]):
		return fault.New(fault.Unauthenticated, fault.CodeUsed, "the code for %s was used", row.name), nil
	case nowMS >= row.expires || nowMS < row.created-store.ClockSlackMS:
		return fault.New(fault.Unauthenticated, fault.CodeExpired, "the code for %s has ended", row.name), nil
	}
	known, err := t.device.row(device[:])
	if err != nil {
		return nil, err
	}
	if known != nil && !bytes.Equal(blob(known[0]), key) {
		return fault.New(fault.Conflict, fault.DeviceKeyChanged, "device %v (%s) is known by another key", device, row.name), nil
	}
	if len(row.device) > 0 {
		return nil, nil // done before; the answer was lost
	}
	if err := t.enrolDevice(row, device, key, nowMS); err != nil {
		return nil, err
	}
	row.device = device[:]
	if _, err := t.exec(t.useCode, row.device, row.sum(), row.code); err != nil {
		return nil, err
	}
	_, err = t.exec(t.dropRevocation, device[:])
	return nil, err
}

// enrolDevice writes who a device is, and keeps what is known of it.
func (t *tx) enrolDevice(row *codeRow, device syncer.ID, key ed25519.PublicKey, nowMS int64) error {
	d := deviceRow{device: device[:], name: row.name, enumerator: row.enumerator, key: key, firstSeen: nowMS}
	known, err := t.deviceAll.row(device[:])
	if err != nil {
		return err
	}
	if known != nil {
		d.firstSeen, d.lastSeen, d.pending, d.skew = integer(known[0]), integer(known[1]), integer(known[2]), integer(known[3])
		d.forkHellos, d.forkOpen = integer(known[4]), integer(known[5])
	}
	_, err = t.exec(t.saveDevice, d.device, d.name, d.enumerator, d.key, d.firstSeen, d.lastSeen, d.pending, d.skew,
		d.forkHellos, d.forkOpen, d.sum())
	return err
}

// AddSession keeps a session.
func (s *Store) AddSession(ctx context.Context, n store.Session) error {
	return s.change(ctx, func(t *tx) error {
		if _, err := t.exec(t.dropEnded, n.OpenedMS); err != nil {
			return err
		}
		_, err := t.exec(t.insertSession, n.Token[:], n.Device[:], n.OpenedMS, n.ExpiresMS, sessionSum(n.Token[:], n.Device[:], n.OpenedMS, n.ExpiresMS))
		if err != nil {
			return err
		}
		_, err = t.exec(t.dropOlder, n.Device[:], int64(maxSessions))
		return err
	})
}

// Session returns the session with a token's hash.
func (s *Store) Session(ctx context.Context, token [32]byte) (store.Session, error) {
	var device []byte
	n := store.Session{Token: token}
	err := s.log.QueryRowContext(ctx, `SELECT device, opened_ms, expires_ms FROM session WHERE token = ?`, token[:]).Scan(&device, &n.OpenedMS, &n.ExpiresMS)
	if errors.Is(err, sql.ErrNoRows) {
		return n, fault.New(fault.Unauthenticated, fault.SessionEnded, "there is no such session")
	}
	if err != nil {
		return n, wrap(err, "look up a session")
	}
	if n.Device, err = syncer.ParseID(device); err != nil {
		return n, damaged("device of a session: %w", err)
	}
	return n, nil
}

// Revoke takes the rights of a device away.
func (s *Store) Revoke(ctx context.Context, r store.Revocation) error {
	return s.change(ctx, func(t *tx) error {
		known, err := t.device.row(r.Device[:])
		if err != nil {
			return err
		}
		if known == nil {
			return fault.New(fault.NotFound, fault.NoSuchDevice, "there is no device %v", r.Device)
		}
		if again, err := t.revoked.row(r.Device[:]); err != nil || again != nil {
			return err
		}
		_, err = t.exec(t.insertRevocation, r.Device[:], r.RevokedMS, r.Reason, r.By, revocationSum(r.Device[:], r.RevokedMS, r.Reason, r.By))
		if err != nil {
			return err
		}
		_, err = t.exec(t.dropSessions, r.Device[:])
		return err
	})
}

// Revoked returns the revocation of a device.
func (s *Store) Revoked(ctx context.Context, device syncer.ID) (store.Revocation, bool, error) {
	r := store.Revocation{Device: device}
	err := s.log.QueryRowContext(ctx, `SELECT revoked_ms, reason, revoked_by FROM revocation WHERE device = ?`, device[:]).Scan(&r.RevokedMS, &r.Reason, &r.By)
	if errors.Is(err, sql.ErrNoRows) {
		return store.Revocation{}, false, nil
	}
	return r, err == nil, wrap(err, "look up whether a device was revoked")
}

// addRevocations adds to the devices listed which of them were revoked.
func (s *Store) addRevocations(ctx context.Context, byID map[syncer.ID]*servicev1.DeviceStatus) error {
	rows, err := s.log.QueryContext(ctx, `SELECT device, revoked_ms, reason FROM revocation`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var device []byte
		var at int64
		var reason string
		if err := rows.Scan(&device, &at, &reason); err != nil {
			return err
		}
		id, err := syncer.ParseID(device)
		if err != nil {
			return damaged("device of a revocation: %w", err)
		}
		if d := byID[id]; d != nil {
			d.RevokedMs, d.RevokedReason = proto.Int64(at), proto.String(reason)
		}
	}
	return rows.Err()
}

// rights checks the tables of codes, sessions and revocations.
func (c *checker) rights() error {
	const changed = "a row was changed on the disk"
	err := c.each(c.db, `SELECT `+codeColumns+`, sum FROM enrolment`, func(scan func(...any) error) error {
		var r codeRow
		var sum int64
		if err := scan(&r.code, &r.study, &r.name, &r.enumerator, &r.created, &r.expires, &r.tries, &r.device, &sum); err != nil {
			return err
		}
		if r.sum() != sum {
			c.damage("enrolment of "+r.name, changed)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = c.each(c.db, `SELECT token, device, opened_ms, expires_ms, sum FROM session`, func(scan func(...any) error) error {
		var token, device []byte
		var opened, expires, sum int64
		if err := scan(&token, &device, &opened, &expires, &sum); err != nil {
			return err
		}
		if sessionSum(token, device, opened, expires) != sum {
			c.damage("table session", changed)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(c.db, `SELECT device, revoked_ms, reason, revoked_by, sum FROM revocation`, func(scan func(...any) error) error {
		var device []byte
		var at, sum int64
		var reason, by string
		if err := scan(&device, &at, &reason, &by, &sum); err != nil {
			return err
		}
		if revocationSum(device, at, reason, by) != sum {
			c.damage("table revocation", changed)
		}
		return nil
	})
}
