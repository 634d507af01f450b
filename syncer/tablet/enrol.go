package tablet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// EnrolOptions say with what a tablet enrols.
type EnrolOptions struct {
	// Code is the one-time code.
	Code syncer.Code
	// ServerKey is the key that the server must have, from a QR picture; nil: it is believed, and pinned.
	ServerKey ed25519.PublicKey
	Options
}

// enrolling stands in a store that has asked to be enrolled and has no answer yet.
const enrolling = "enrolling"

// Enrol makes the store of a tablet and has it enrolled, or has the store enrolled that is there. Who the tablet is
// comes from headquarters. If the answer is lost the same call may be made again, with the same code: the store that
// asked waits beside path, under path.enrolling.
//
// It fails with fault.CodeWrong, fault.CodeExpired, fault.CodeUsed, fault.TooManyTries, with fault.ServerChanged if the
// server is not the one expected, and with fault.Unreachable.
func Enrol(ctx context.Context, path string, conn grpc.ClientConnInterface, opts EnrolOptions) (*Store, error) {
	there, err := exists(path)
	if err != nil {
		return nil, err
	}
	if there {
		if err := dropSecondName(path, path+"."+enrolling); err != nil {
			return nil, err
		}
		s, err := Open(ctx, path, opts.Options)
		if err != nil {
			return nil, err
		}
		if err := s.enrol(ctx, conn, opts); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return s, nil
	}
	waiting := path + "." + enrolling
	if err := enrolNew(ctx, waiting, conn, opts); err != nil {
		return nil, err
	}
	failpoint.Hit("tablet.before-link")
	if err := giveName(waiting, path); err != nil {
		return nil, err
	}
	return Open(ctx, path, opts.Options)
}

// dropSecondName removes the name that a store had while it waited, where a process that was killed has left it.
func dropSecondName(path, waiting string) error {
	a, err := os.Stat(path)
	if err != nil {
		return fault.New(fault.Invalid, fault.StoreMissing, "look for the store %s: %w", path, err)
	}
	if b, err := os.Stat(waiting); err == nil && os.SameFile(a, b) {
		return removeLinked(waiting)
	}
	return nil
}

func removeLinked(path string) error {
	failpoint.Hit("tablet.after-link")
	return os.Remove(path)
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fault.New(fault.Invalid, fault.StoreMissing, "look for the store %s: %w", path, err)
	}
	return true, nil
}

// enrolNew makes the store that waits, or takes the one that is waiting, and has it enrolled. The device must be on the
// disk before it is made known.
func enrolNew(ctx context.Context, waiting string, conn grpc.ClientConnInterface, opts EnrolOptions) (err error) {
	there, err := exists(waiting)
	if err != nil {
		return err
	}
	var s *Store
	if there {
		s, err = Open(ctx, waiting, opts.Options)
		if reason := fault.ReasonOf(err); reason == fault.NotSQLite || reason == fault.NotATablet {
			// The making of it was cut short, so that nobody has been told of the device.
			if err := removeStore(waiting); err != nil {
				return fault.New(fault.Internal, "", "remove a store that was never completely made: %w", err)
			}
			there = false
		}
	}
	if !there {
		s, err = Create(ctx, waiting, CreateOptions{Name: enrolling, Enumerator: enrolling, Study: enrolling,
			Now: opts.Now, Rand: opts.Rand, Fingerprint: opts.Fingerprint, Answers: opts.Answers})
	}
	if err != nil {
		return err
	}
	err = s.enrol(ctx, conn, opts)
	refused := slices.Contains([]fault.Reason{fault.CodeWrong, fault.CodeExpired, fault.CodeUsed, fault.TooManyTries}, fault.ReasonOf(err))
	err = errors.Join(err, s.Close())
	if refused && !there { // nobody knows this device
		err = errors.Join(err, removeStore(waiting))
	}
	return err
}

// enrol has the open store enrolled and writes down what headquarters says.
func (s *Store) enrol(ctx context.Context, conn grpc.ClientConnInterface, opts EnrolOptions) error {
	failpoint.Hit("tablet.before-enrol")
	lane, err := currentEpoch(ctx, s.db)
	if err != nil {
		return dbFault(err, "enrol %s", s.path)
	}
	resp, err := servicev1.NewDeviceServiceClient(conn).Enrol(ctx, &servicev1.EnrolRequest{
		Code: proto.String(string(opts.Code)), Device: bytes.Clone(s.device[:]), PublicKey: bytes.Clone(s.key.Public().(ed25519.PublicKey)),
		Signature: syncer.SignEnrolment(s.key, opts.Code, s.device), Epoch: lane[:],
		CouponFile: fileMark(s.path),
	})
	if err != nil {
		return wireFault(err, "enrol the tablet")
	}
	failpoint.Hit("tablet.after-enrol")
	key := ed25519.PublicKey(resp.GetServerKey())
	switch {
	case len(key) != ed25519.PublicKeySize:
		return fault.New(fault.Invalid, fault.BadSignature, "the server's key has %d bytes, want %d", len(key), ed25519.PublicKeySize)
	case opts.ServerKey != nil && !syncer.SameKey(key, opts.ServerKey):
		return fault.New(fault.Conflict, fault.ServerChanged, "the server has the key %x, the picture names one with %x: this is not the server that gave the code", key[:4], opts.ServerKey[:4])
	case resp.GetStudy() == "" || len(resp.GetStudy()) > 64:
		return fault.New(fault.Invalid, fault.BadRequest, "the server enrols for a study whose code has %d bytes, want 1 to 64", len(resp.GetStudy()))
	case s.study != enrolling && s.study != resp.GetStudy():
		return fault.New(fault.Conflict, fault.StoreExists, "the store %s is of study %s, the code is for %s: enrol with another file", s.path, s.study, resp.GetStudy())
	}
	err = inTx(ctx, s.db, func(tx *sql.Tx) error {
		var known []byte
		if err := tx.QueryRowContext(ctx, "SELECT server_key FROM meta").Scan(&known); err != nil {
			return err
		}
		if known != nil && !syncer.SameKey(known, key) {
			return fault.New(fault.Conflict, fault.ServerChanged, "the server has the key %x, this tablet knows one with %x", key[:4], known[:4])
		}
		if err := s.keepCouponNumber(ctx, tx, lane[:], resp.CouponNumber); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "UPDATE meta SET name = ?, enumerator = ?, study = ?, server_key = ?, server_epoch = ?",
			resp.GetDeviceName(), resp.GetEnumerator(), resp.GetStudy(), []byte(key), epochOrNull(resp.GetServerEpoch()))
		return err
	})
	if err != nil {
		return dbFault(err, "enrol %s", s.path)
	}
	s.name, s.enumerator, s.study = resp.GetDeviceName(), resp.GetEnumerator(), resp.GetStudy()
	return nil
}
