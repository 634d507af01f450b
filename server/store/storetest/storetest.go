// Package storetest proves a store: the same suite runs on every implementation of store.Store.
//
// It is for the tests of those implementations. It holds the promises of the contract and the traps of SQL dialects:
// case, Chinese text, equal times, big records, cursors under concurrent writers. It does not test how fast a store is,
// nor what happens to it in a power cut: that is for each implementation's own tests.
package storetest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// Factory makes the stores of one test.
type Factory struct {
	// Open makes a new, empty store. It is closed at the end of the test by whoever opened it.
	Open func(t testing.TB) store.Store
	// Reopen closes a store that Open made and opens the same data again; nil where that is not possible.
	Reopen func(t testing.TB, s store.Store) store.Store
	// Second opens the data of a store that Open made a second time, as another server does; nil where one engine cannot
	// serve two.
	Second func(t testing.TB, s store.Store) store.Store
}

// Run runs the suite.
func Run(t *testing.T, f Factory) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, Factory)
	}{
		{"Append", appendTests},
		{"Lanes", laneTests},
		{"Read", readTests},
		{"Devices", deviceTests},
		{"Rights", rightsTests},
		{"Hubs", hubTests},
		{"Projections", projectionTests},
		{"Down", downTests},
		{"Index", indexTests},
		{"Review", reviewTests},
		{"Contract", contractTests},
		{"Model", modelTests},
	} {
		for name, test := range group.tests {
			t.Run(group.name+"/"+name, func(t *testing.T) { test(t, f) })
		}
	}
}

// Tablet makes records and batches as a tablet does.
type Tablet struct {
	Key   ed25519.PrivateKey
	Lane  syncer.LaneID
	Head  syncer.Head
	Study string
	ids   uint64
}

// NewTablet makes a tablet from a seed; the same seed makes the same keys and records.
func NewTablet(seed uint64) *Tablet {
	return &Tablet{
		Key:   ed25519.NewKeyFromSeed(hash("key", seed)),
		Lane:  syncer.LaneID{Device: syncer.ID(hash("device", seed)), Epoch: syncer.ID(hash("epoch", seed))},
		Study: "guiyang-2016",
		ids:   seed << 32,
	}
}

func hash(tag string, n uint64) []byte {
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(tag), n))
	return h[:]
}

// Clone is a tablet whose store was copied: it goes on in the same lane, with records of its own.
func (b *Tablet) Clone(seed uint64) *Tablet {
	c := *b
	c.ids = seed << 32
	return &c
}

// Public is the tablet's public key.
func (b *Tablet) Public() ed25519.PublicKey { return b.Key.Public().(ed25519.PublicKey) }

// Greeting is what the tablet says of itself.
func (b *Tablet) Greeting(name string, nowMS int64) store.Greeting {
	return store.Greeting{Device: b.Lane.Device, Name: name, Enumerator: "enum-" + name, Key: b.Public(), NowMS: nowMS}
}

// Raw is a sealed record.
type Raw struct {
	Record *servicev1.Record
	Bytes  []byte
	Digest syncer.Digest
}

// Record makes a record about a subject; change may alter it before it is sealed.
func (b *Tablet) Record(t testing.TB, part uint64, subject string, change func(*servicev1.Record)) Raw {
	t.Helper()
	b.ids++
	id := hash("id", b.ids)[:16]
	copy(id, binary.BigEndian.AppendUint64(nil, (1_700_000_000_000+b.ids&0xffffffff)<<16)[:6]) // later ids are greater
	id[6], id[8] = 0x70|id[6]&0x0f, 0x80|id[8]&0x3f
	r := &servicev1.Record{
		Id: id, Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: proto.String(subject), Study: proto.String(b.Study),
		Part: proto.Uint64(part), Author: proto.String("访问员-01"), Device: b.Lane.Device[:], Payload: hash("payload", b.ids),
	}
	if change != nil {
		change(r)
	}
	raw, digest, err := syncer.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	return Raw{r, raw, digest}
}

// Records makes n records about n subjects of one part.
func (b *Tablet) Records(t testing.TB, part uint64, n int) []Raw {
	t.Helper()
	out := make([]Raw, n)
	for i := range out {
		out[i] = b.Record(t, part, Subject(b.ids+1), nil)
	}
	return out
}

// Subject is a UUID in text.
func Subject(n uint64) string {
	h := hash("subject", n)
	const hex = "0123456789abcdef"
	out := make([]byte, 0, 36)
	for i, c := range h[:16] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			out = append(out, '-')
		}
		out = append(out, hex[c>>4], hex[c&15])
	}
	return string(out)
}

// Batch makes a batch of records after the tablet's head and moves the head. A record without bytes is declared damaged.
func (b *Tablet) Batch(records ...Raw) *servicev1.Batch {
	batch := b.batchAt(b.Head, records)
	run := syncer.Run{First: b.Head.Seq + 1, Prev: b.Head.Chain}
	for _, r := range records {
		run.Digests = append(run.Digests, r.Digest)
	}
	b.Head = run.Head(b.Lane)
	return batch
}

func (b *Tablet) batchAt(head syncer.Head, records []Raw) *servicev1.Batch {
	digests, raws := make([]syncer.Digest, len(records)), make([][]byte, len(records))
	for i, r := range records {
		digests[i], raws[i] = r.Digest, r.Bytes
	}
	return syncer.NewBatch(b.Key, b.Lane, head.Seq+1, head.Chain, digests, raws, false)
}

// Check verifies a batch as a server does.
func (b *Tablet) Check(t testing.TB, batch *servicev1.Batch) *syncer.Checked {
	t.Helper()
	c, err := syncer.Check(batch, b.Public(), syncer.Limits{Records: 20000, Bytes: 64 << 20, RecordBytes: syncer.MaxRecordBytes})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Push appends records as the next batch of the tablet.
func (b *Tablet) Push(t testing.TB, s store.Store, records ...Raw) *store.Appended {
	t.Helper()
	return push(t, s, b.Check(t, b.Batch(records...)))
}

func push(t testing.TB, s store.Store, c *syncer.Checked) *store.Appended {
	t.Helper()
	got, err := s.Append(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// ReadAll pages through the whole log and fails on a record that comes twice or out of order.
func ReadAll(t testing.TB, s store.Store, page int) []store.Stored {
	t.Helper()
	var out []store.Stored
	cursor := syncer.Cursor{}
	seen := map[syncer.Digest]bool{}
	for {
		records, next, more, err := s.After(context.Background(), cursor, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if seen[r.Digest] {
				t.Fatalf("record %v came twice", r.Digest)
			}
			seen[r.Digest] = true
			if got := syncer.DigestOf(r.Raw); got != r.Digest {
				t.Fatalf("record %d of part %x: bytes have digest %v, want %v", r.Counter, r.Part, got, r.Digest)
			}
		}
		out = append(out, records...)
		cursor = next
		if !more {
			return out
		}
		if len(records) == 0 {
			t.Fatal("an empty page with more to come")
		}
	}
}

func digests(records []Raw) map[syncer.Digest]bool {
	out := map[syncer.Digest]bool{}
	for _, r := range records {
		out[r.Digest] = true
	}
	return out
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
