package syncer

import (
	"fmt"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// MaxRecordBytes is the largest record a store may write: 1 MiB, so that a batch of one always fits in a message.
const MaxRecordBytes = 1 << 20

// CouponsSubject is what the records of all events of coupons of a study are about.
const CouponsSubject = "coupons"

// Seal turns a record into the bytes that are stored and hashed for ever, and their digest. Only the record's author
// seals it; everybody else keeps the bytes. It fails with fault.RecordTooLarge over MaxRecordBytes and with
// fault.RecordUnreadable if the envelope is not complete.
func Seal(r *servicev1.Record) ([]byte, Digest, error) {
	if err := checkEnvelope(r); err != nil {
		return nil, Digest{}, err
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return nil, Digest{}, fault.New(fault.Invalid, fault.RecordUnreadable, "write the record of %s: %w", r.GetSubject(), err)
	}
	if len(raw) > MaxRecordBytes {
		return nil, Digest{}, fault.New(fault.TooLarge, fault.RecordTooLarge, "record of %s has %d bytes, the limit is %d", r.GetSubject(), len(raw), MaxRecordBytes)
	}
	return raw, DigestOf(raw), nil
}

// Open reads the envelope of a record; the payload stays bytes. It fails with fault.RecordUnreadable.
func Open(raw []byte) (*servicev1.Record, error) {
	r := &servicev1.Record{}
	if err := proto.Unmarshal(raw, r); err != nil {
		return nil, fault.New(fault.Invalid, fault.RecordUnreadable, "record of %d bytes: %w", len(raw), err)
	}
	if err := checkEnvelope(r); err != nil {
		return nil, err
	}
	return r, nil
}

func checkEnvelope(r *servicev1.Record) error {
	var err error
	switch {
	case len(r.GetId()) != 16:
		err = fmt.Errorf("id has %d bytes, want 16", len(r.GetId()))
	case r.GetId()[6]>>4 != 7:
		err = fmt.Errorf("id is a UUID of version %d, want 7", r.GetId()[6]>>4)
	case r.GetKind() == servicev1.RecordKind_RECORD_KIND_UNSPECIFIED:
		err = fmt.Errorf("kind is not set")
	case r.GetSubject() == "" || len(r.GetSubject()) > 128:
		err = fmt.Errorf("subject has %d bytes, want 1 to 128", len(r.GetSubject()))
	case r.GetStudy() == "" || len(r.GetStudy()) > 64:
		err = fmt.Errorf("study has %d bytes, want 1 to 64", len(r.GetStudy()))
	case len(r.GetDevice()) != 16:
		err = fmt.Errorf("device has %d bytes, want 16", len(r.GetDevice()))
	case len(r.GetParents()) > 64:
		err = fmt.Errorf("%d parents, want at most 64", len(r.GetParents()))
	}
	for _, p := range r.GetParents() {
		if len(p) != 32 {
			err = fmt.Errorf("a parent has %d bytes, want 32", len(p))
		}
	}
	if err != nil {
		return fault.New(fault.Invalid, fault.RecordUnreadable, "envelope of a record: %w", err)
	}
	return nil
}
