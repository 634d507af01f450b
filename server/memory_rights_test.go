package server

import (
	"context"
	"crypto/ed25519"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
)

// memoryRights are the rights of devices in a memory store. The zero value is ready.
type memoryRights struct {
	codes    map[[32]byte]*memoryCode
	sessions map[[32]byte]store.Session
	revoked  map[syncer.ID]store.Revocation
}

type memoryCode struct {
	store.Enrolment
	device syncer.ID
	used   bool
	tries  int
}

func (m *memory) AddEnrolment(_ context.Context, e store.Enrolment) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.codes == nil {
		m.codes = map[[32]byte]*memoryCode{}
	}
	m.codes[e.Code] = &memoryCode{Enrolment: e}
	return nil
}

func (m *memory) Enrol(_ context.Context, code [32]byte, device syncer.ID, key ed25519.PublicKey, nowMS int64) (store.Enrolment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.codes[code]
	if !ok {
		return store.Enrolment{}, fault.New(fault.Unauthenticated, fault.CodeWrong, "no tablet is expected with this code")
	}
	known, isKnown := m.devices[device]
	var err error
	switch {
	case c.tries >= store.MaxTries || c.used && c.device != device:
		err = fault.New(fault.Unauthenticated, fault.CodeUsed, "the code was used")
	case nowMS >= c.ExpiresMS || nowMS < c.CreatedMS-store.ClockSlackMS:
		err = fault.New(fault.Unauthenticated, fault.CodeExpired, "the code has ended")
	case isKnown && !known.Key.Equal(key):
		err = fault.New(fault.Conflict, fault.DeviceKeyChanged, "the device has another key")
	}
	if err != nil {
		c.tries++
		return store.Enrolment{}, err
	}
	if !c.used {
		known.Device, known.Name, known.Enumerator, known.Key = device, c.Name, c.Enumerator, key
		m.devices[device] = known
		delete(m.revoked, device)
	}
	c.used, c.device = true, device
	return c.Enrolment, nil
}

func (m *memory) AddSession(_ context.Context, n store.Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sessions == nil {
		m.sessions = map[[32]byte]store.Session{}
	}
	m.sessions[n.Token] = n
	return nil
}

func (m *memory) Session(_ context.Context, token [32]byte) (store.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n, ok := m.sessions[token]; ok {
		return n, nil
	}
	return store.Session{}, fault.New(fault.Unauthenticated, fault.SessionEnded, "there is no such session")
}

func (m *memory) Revoke(_ context.Context, r store.Revocation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.devices[r.Device]; !ok {
		return fault.New(fault.NotFound, fault.NoSuchDevice, "there is no such device")
	}
	if m.revoked == nil {
		m.revoked = map[syncer.ID]store.Revocation{}
	}
	if _, ok := m.revoked[r.Device]; ok {
		return nil
	}
	m.revoked[r.Device] = r
	for token, n := range m.sessions {
		if n.Device == r.Device {
			delete(m.sessions, token)
		}
	}
	return nil
}

func (m *memory) Revoked(_ context.Context, device syncer.ID) (store.Revocation, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.revoked[device]
	return r, ok, nil
}

// studyOf is the study that a device was enrolled for, newest first. The lock is held.
func (m *memory) studyOf(device syncer.ID) string {
	study, at := "", int64(-1)
	for _, c := range m.codes {
		if c.used && c.device == device && c.CreatedMS > at {
			study, at = c.Study, c.CreatedMS
		}
	}
	return study
}
