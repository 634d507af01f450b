package sqlite

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Greet notes a Hello and enrols the device at its first.
func (s *Store) Greet(ctx context.Context, g store.Greeting) error {
	if s.writer == nil {
		return readOnly(s.dir)
	}
	if len(g.Key) != ed25519.PublicKeySize {
		return fault.New(fault.Invalid, fault.BadRequest, "device %v: a public key of %d bytes, want %d", g.Device, len(g.Key), ed25519.PublicKeySize)
	}
	return s.writer.do(ctx, &job{records: 1, apply: func(t *tx) error { return t.greet(g) }})
}

func (t *tx) greet(g store.Greeting) error {
	row, err := t.device.row(g.Device[:])
	if err != nil {
		return err
	}
	firstSeen, forks, open := g.NowMS, int64(0), int64(0)
	if row != nil {
		if !bytes.Equal(blob(row[0]), g.Key) {
			return fault.New(fault.Conflict, fault.DeviceKeyChanged, "device %v (%s) is known by another key", g.Device, g.Name)
		}
		firstSeen, forks, open = integer(row[1]), integer(row[2]), integer(row[3])
		if g.KeepNames {
			g.Name, g.Enumerator = text(row[4]), text(row[5])
		}
	}
	switch { // a fork that is told again and again is one
	case g.Fork && open == 0:
		forks, open = forks+1, 1
	case !g.Fork:
		open = 0
	}
	d := deviceRow{g.Device[:], g.Name, g.Enumerator, g.Key, firstSeen, g.NowMS, int64(g.Pending), g.ClockSkewMS, forks, open}
	_, err = t.exec(t.saveDevice, d.device, d.name, d.enumerator, d.key, d.firstSeen, d.lastSeen, d.pending, d.skew,
		d.forkHellos, d.forkOpen, d.sum())
	return err
}

// deviceRow is a row of the table device.
type deviceRow struct {
	device               []byte
	name, enumerator     string
	key                  []byte
	firstSeen, lastSeen  int64
	pending, skew        int64
	forkHellos, forkOpen int64
}

func (d deviceRow) sum() int64 {
	return summer(nil).bytes(d.device).text(d.name).text(d.enumerator).bytes(d.key).int(d.firstSeen).int(d.lastSeen).
		int(d.pending).int(d.skew).int(d.forkHellos).int(d.forkOpen).sum()
}

// Key returns the public key of a device.
func (s *Store) Key(ctx context.Context, device syncer.ID) (ed25519.PublicKey, error) {
	var key []byte
	err := s.queries.key.QueryRowContext(ctx, device[:]).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, fault.DeviceUnknown, "device %v has not said Hello", device)
	}
	return key, wrap(err, "read the key of a device")
}

// Owner returns for whom a device is.
func (s *Store) Owner(ctx context.Context, device syncer.ID) (store.Owner, error) {
	var o store.Owner
	err := s.queries.owner.QueryRowContext(ctx, device[:]).Scan(&o.Enumerator, &o.Study)
	if errors.Is(err, sql.ErrNoRows) {
		return o, fault.New(fault.NotFound, fault.DeviceUnknown, "device %v has not said Hello", device)
	}
	return o, wrap(err, "find whose a device is")
}

// ListDevices returns all devices by name.
func (s *Store) ListDevices(ctx context.Context) ([]*servicev1.DeviceStatus, error) {
	out, err := s.listDevices(ctx)
	return out, wrap(err, "list the devices")
}

func (s *Store) listDevices(ctx context.Context) ([]*servicev1.DeviceStatus, error) {
	rows, err := s.queries.devices.QueryContext(ctx)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*servicev1.DeviceStatus
	byID := map[syncer.ID]*servicev1.DeviceStatus{}
	for rows.Next() {
		var device []byte
		var name, enumerator string
		var first, last, pending, skew, forks int64
		if err := rows.Scan(&device, &name, &enumerator, &first, &last, &pending, &skew, &forks); err != nil {
			return nil, err
		}
		id, err := syncer.ParseID(device)
		if err != nil {
			return nil, damaged("device %q: %w", name, err)
		}
		d := &servicev1.DeviceStatus{
			Device: id[:], Name: proto.String(name), Enumerator: proto.String(enumerator), FirstSeenMs: proto.Int64(first),
			LastSeenMs: proto.Int64(last), Pending: proto.Uint64(uint64(pending)), ClockSkewMs: proto.Int64(skew), Forks: proto.Uint32(uint32(forks)),
		}
		byID[id] = d
		out = append(out, d)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if err := s.addLanes(ctx, byID); err != nil {
		return nil, err
	}
	if err := s.addGaps(ctx, byID); err != nil {
		return nil, err
	}
	return out, s.addRevocations(ctx, byID)
}

// addLanes adds the lanes' heads. The forks of a device are the lanes that have two continuations, or those its Hellos
// told if they are more: the same fork is told by both. How many branches a lane has is not counted: pieces that came
// without what joins them cannot be told to be of one branch or of two.
func (s *Store) addLanes(ctx context.Context, byID map[syncer.ID]*servicev1.DeviceStatus) error {
	rows, err := s.queries.lanes.QueryContext(ctx)
	if err != nil {
		return err
	}
	defer rows.Close()
	branches := map[syncer.ID]uint32{}
	for rows.Next() {
		var device, epoch, chain []byte
		var seq, n int64
		if err := rows.Scan(&device, &epoch, &seq, &chain, &n); err != nil {
			return err
		}
		id, err := laneOf(device, epoch)
		if err != nil {
			return err
		}
		h, err := headOf(seq, chain)
		if err != nil {
			return damaged("lane %v: %w", id, err)
		}
		if d := byID[id.Device]; d != nil {
			branches[id.Device] += uint32(min(n, 1))
			d.Lanes = append(d.Lanes, h.Proto(id))
			d.Forks = proto.Uint32(max(d.GetForks(), branches[id.Device]))
		}
	}
	return rows.Err()
}

// addGaps adds the entries that never arrived.
func (s *Store) addGaps(ctx context.Context, byID map[syncer.ID]*servicev1.DeviceStatus) error {
	return s.gaps(ctx, func(lane syncer.LaneID, gap *servicev1.SeqRange) {
		if d := byID[lane.Device]; d != nil {
			d.Gaps = append(d.Gaps, gap)
		}
	})
}

// gaps calls f for every run of entries that has not arrived although later ones have.
func (s *Store) gaps(ctx context.Context, f func(syncer.LaneID, *servicev1.SeqRange)) error {
	rows, err := s.queries.detached.QueryContext(ctx)
	if err != nil {
		return err
	}
	defer rows.Close()
	var at syncer.LaneID
	var next uint64
	for rows.Next() {
		var device, epoch []byte
		var first, last, head int64
		if err := rows.Scan(&device, &epoch, &first, &last, &head); err != nil {
			return err
		}
		id, err := laneOf(device, epoch)
		if err != nil {
			return err
		}
		if id != at || next == 0 {
			at, next = id, uint64(head)+1
		}
		if uint64(first) > next {
			f(id, &servicev1.SeqRange{First: proto.Uint64(next), Last: proto.Uint64(uint64(first) - 1)})
		}
		next = max(next, uint64(last)+1)
	}
	return rows.Err()
}

func laneOf(device, epoch []byte) (syncer.LaneID, error) {
	d, err := syncer.ParseID(device)
	if err != nil {
		return syncer.LaneID{}, damaged("device of a lane: %w", err)
	}
	e, err := syncer.ParseID(epoch)
	if err != nil {
		return syncer.LaneID{}, damaged("epoch of a lane: %w", err)
	}
	return syncer.LaneID{Device: d, Epoch: e}, nil
}
