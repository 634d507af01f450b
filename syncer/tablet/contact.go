package tablet

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// contact is what is remembered of the server at an address.
type contact struct {
	met          bool
	ticket       []byte
	packing      uint32
	dictionaries []uint32
	hub, early   bool
}

// contact reads it; an address that is not known, or not said, has none.
func (s *Store) contact(ctx context.Context, address string) (contact, error) {
	var c contact
	var dictionaries []byte
	err := s.db.QueryRowContext(ctx, "SELECT ticket, packing, dictionaries, hub, early FROM contact WHERE address = ?", address).
		Scan(&c.ticket, &c.packing, &dictionaries, &c.hub, &c.early)
	if errors.Is(err, sql.ErrNoRows) || address == "" {
		return contact{}, nil
	}
	for d := range slicesOf(dictionaries, 4) {
		c.dictionaries = append(c.dictionaries, binary.BigEndian.Uint32(d))
	}
	c.met = true
	return c, err
}

// meet remembers a server that was believed, that it has answered, and which packed form it is to be sent.
func (s *Store) meet(ctx context.Context, address string, resp *servicev1.HelloResponse, packing uint32) error {
	if address == "" {
		return nil
	}
	dictionaries := make([]byte, 0, 4*len(resp.GetDictionaries()))
	for _, id := range resp.GetDictionaries() {
		dictionaries = binary.BigEndian.AppendUint32(dictionaries, id)
	}
	hub := resp.GetHub() != nil
	_, err := s.db.ExecContext(ctx, `INSERT INTO contact (address, ticket, used, packing, dictionaries, hub, early) VALUES (?1, x'', 0, ?2, ?3, ?4, 0)
		ON CONFLICT (address) DO UPDATE SET packing = ?2, dictionaries = ?3, hub = ?4, early = 0
		WHERE packing <> ?2 OR dictionaries <> ?3 OR hub <> ?4 OR early <> 0`, address, packing, dictionaries, hub)
	return err
}

// keepTicket remembers the ticket of a server, and with which number tickets were used at least.
func (s *Store) keepTicket(ctx context.Context, address string, ticket []byte, used uint64, hub bool) error {
	if address == "" {
		return nil
	}
	_, err := s.db.ExecContext(ctx, `INSERT INTO contact (address, ticket, used, packing, dictionaries, hub, early) VALUES (?1, ?2, ?3, 0, x'', ?4, 0)
		ON CONFLICT (address) DO UPDATE SET ticket = ?2, used = max(used, ?3)`, address, ticket, int64(used), hub)
	return err
}

// dropTicket forgets a ticket that was refused.
func (s *Store) dropTicket(ctx context.Context, address string) error {
	_, err := s.db.ExecContext(ctx, "UPDATE contact SET ticket = x'' WHERE address = ?", address)
	return err
}

// forgetHub forgets the server at an address where a hub was met.
func (s *Store) forgetHub(ctx context.Context, address string) error {
	_, err := s.db.ExecContext(ctx, "DELETE FROM contact WHERE address = ? AND hub = 1", address)
	return err
}

// useTicket takes the number for one more use of the ticket, which is noted before it is used.
func (s *Store) useTicket(ctx context.Context, address string) (ticket []byte, use uint64, err error) {
	var n int64
	err = s.db.QueryRowContext(ctx, "UPDATE contact SET used = used + 1 WHERE address = ? AND length(ticket) > 0 RETURNING ticket, used", address).Scan(&ticket, &n)
	if errors.Is(err, sql.ErrNoRows) || address == "" {
		return nil, 0, nil
	}
	return ticket, uint64(n), err
}

// sentEarly notes, before it is done, that records go before the server's answer.
func (s *Store) sentEarly(ctx context.Context, address string) error {
	_, err := s.db.ExecContext(ctx, "UPDATE contact SET early = 1 WHERE address = ?", address)
	return err
}
