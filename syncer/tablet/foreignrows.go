package tablet

import (
	"bytes"
	"crypto/ed25519"
	"math/bits"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// foreignRows is what was found in a foreign file, by SQLite and by the carver; nothing of it is believed yet.
type foreignRows struct {
	rows  int64
	metas []foreignMeta
	// tries is how many keys were looked at.
	tries  int
	claims []claim
	bodies map[syncer.Digest]foundBody // by the digest that the bytes have
	// entries are the entries of lanes by epoch, each place once for each content.
	entries  map[syncer.ID][]foreignEntry
	known    map[foreignEntry]bool
	receipts []row
	// refused are the places of which headquarters did not take the bytes.
	refused map[foreignPlace]bool
	drafts  map[string]foundDraft
	// badDrafts are those that SQLite has read and that do not have their digest.
	badDrafts map[string]bool
	blobs     map[syncer.BlobID]*servicev1.BlobRef
	pieces    map[syncer.BlobID]map[int64][]span // by where they begin
	gone      map[syncer.BlobID]bool             // a piece was pruned
	uses      map[syncer.BlobID]bool
}

func (r *foreignRows) begin() {
	r.bodies = map[syncer.Digest]foundBody{}
	r.entries, r.known, r.refused = map[syncer.ID][]foreignEntry{}, map[foreignEntry]bool{}, map[foreignPlace]bool{}
	r.drafts, r.badDrafts = map[string]foundDraft{}, map[string]bool{}
	r.blobs, r.pieces = map[syncer.BlobID]*servicev1.BlobRef{}, map[syncer.BlobID]map[int64][]span{}
	r.gone, r.uses = map[syncer.BlobID]bool{}, map[syncer.BlobID]bool{}
}

// Bounds of what is tried.
const (
	// maxKeyTries is how many rows of meta are looked at; there is one, and copies of it in the write-ahead log.
	maxKeyTries = 200
	// maxPieceCopies is how many different bytes for one piece of an attachment are kept.
	maxPieceCopies = 3
)

// foreignMeta is a row of meta whose two halves of the key belong together.
type foreignMeta struct {
	device                  []byte
	key                     ed25519.PrivateKey
	name, enumerator, study string
	server                  []byte
}

// claim is a row of the table record: a body and the digest it should have.
type claim struct {
	n       int64 // 0: not known
	digest  syncer.Digest
	named   bool // there is a digest
	own     syncer.Digest
	pruned  bool // there is no body
	subject string
	row     *claimColumns // what the columns say, for the check of a store
}

// claimColumns are the columns beside a record's bytes.
type claimColumns struct {
	id      syncer.ID
	kind    int64
	subject string
	part    uint64
	parents []byte
}

// foundBody is what is known of a record's bytes.
type foundBody struct {
	span
	device syncer.ID
	// opened is true where the bytes are an envelope, carved where the carver alone has found them.
	opened, carved bool
	blobs          []*servicev1.BlobRef
}

type foreignEntry struct {
	epoch  syncer.ID
	seq    uint64
	digest syncer.Digest
	chain  syncer.Chain
}

type foreignPlace struct {
	epoch syncer.ID
	seq   uint64
}

// foundDraft is the newest draft of an interview.
type foundDraft struct {
	span
	saved  int64
	carved bool
}

// takeRow notes a row of a table.
func (f *Foreign) takeRow(table byte, r row) error {
	switch table {
	case metaTable:
		f.takeMeta(r)
	case recordTable:
		return f.takeRecord(r)
	case entryTable:
		f.takeEntry(r)
	case receiptTable:
		f.found.receipts = append(f.found.receipts, r)
	case answerTable:
		if epoch, err := syncer.ParseID(r.bytes(answerEpoch)); err == nil && r.number(answerOutcome) == int64(servicev1.EntryOutcome_ENTRY_OUTCOME_REFUSED) {
			f.found.refused[foreignPlace{epoch, uint64(r.number(answerSeq))}] = true
		}
	case draftTable:
		return f.takeDraft(r)
	case blobTable, pieceTable, useTable:
		return f.takeBlob(table, r)
	}
	return nil
}

// takeMeta notes who the tablet is, if its key is whole or can be made so.
func (f *Foreign) takeMeta(r row) {
	if f.found.tries++; f.found.tries > maxKeyTries || len(r.bytes(metaDevice)) != 16 {
		return
	}
	key := repairKey(r.bytes(metaSeed), r.bytes(metaPublic))
	if key == nil {
		return
	}
	f.found.metas = append(f.found.metas, foreignMeta{
		device: r.bytes(metaDevice), key: key, name: clean(r.text(metaName), 100), enumerator: clean(r.text(metaEnumerator), 100),
		study: clean(r.text(metaStudy), 64), server: r.bytes(metaServerKey),
	})
}

// repairKey makes the private key of its two halves, of which the first makes the second. Where one of the two has a few
// bits changed the other tells: that a wrong one comes so near by chance cannot be.
func repairKey(seed, public []byte) ed25519.PrivateKey {
	if len(seed) != ed25519.SeedSize || len(public) != ed25519.PublicKeySize {
		return nil
	}
	near := func(seed []byte, most int) ed25519.PrivateKey {
		key := ed25519.NewKeyFromSeed(seed)
		differ := 0
		for i, b := range key.Public().(ed25519.PublicKey) {
			differ += bits.OnesCount8(b ^ public[i])
		}
		if differ > most {
			return nil
		}
		return key
	}
	if key := near(seed, 16); key != nil {
		return key
	}
	for bit := range 8 * len(seed) {
		other := bytes.Clone(seed)
		other[bit/8] ^= 1 << (bit % 8)
		if key := near(other, 0); key != nil {
			return key
		}
	}
	return nil
}

// takeRecord notes a record: its bytes under the digest that they have, and the row's claim of what they are.
func (f *Foreign) takeRecord(r row) error {
	c := claim{n: r.number(0), subject: r.text(recordSubject), pruned: r.absent(recordBody)}
	if d, err := syncer.ParseDigest(r.bytes(recordDigest)); err == nil {
		c.digest, c.named = d, true
	}
	if id, err := syncer.ParseID(r.bytes(recordID)); err == nil {
		c.row = &claimColumns{id, r.number(recordKind), r.text(recordSubject), uint64(r.number(recordPart)), r.bytes(recordParents)}
	}
	if body := r.bytes(recordBody); !c.pruned {
		c.own = syncer.DigestOf(body)
		if err := f.takeBody(c.own, body); err != nil {
			return err
		}
	}
	if len(c.subject) > 128 {
		c.subject = c.subject[:128]
	}
	f.found.claims = append(f.found.claims, c)
	return nil
}

// takeBody keeps the bytes of a record once.
func (f *Foreign) takeBody(own syncer.Digest, body []byte) error {
	if _, ok := f.found.bodies[own]; ok {
		return nil
	}
	s, err := f.keep(body)
	if err != nil {
		return err
	}
	b := foundBody{span: s, carved: f.carved}
	if rec, err := syncer.Open(body); err == nil {
		b.opened, b.device, b.blobs = true, syncer.ID(rec.GetDevice()), rec.GetBlobs()
	}
	f.found.bodies[own] = b
	return nil
}

func (f *Foreign) takeEntry(r row) {
	epoch, err1 := syncer.ParseID(r.bytes(entryEpoch))
	digest, err2 := syncer.ParseDigest(r.bytes(entryDigest))
	chain, err3 := syncer.ParseChain(r.bytes(entryChain))
	e := foreignEntry{epoch, uint64(r.number(entrySeq)), digest, chain}
	if err1 != nil || err2 != nil || err3 != nil || r.number(entrySeq) < 1 || f.found.known[e] {
		return
	}
	f.found.known[e] = true
	f.found.entries[epoch] = append(f.found.entries[epoch], e)
}

// takeDraft keeps the newest whole draft of an interview; one that SQLite has read goes before what lies about in free
// pages.
func (f *Foreign) takeDraft(r row) error {
	id, body := r.text(draftInterview), r.bytes(draftBody)
	before, ok := f.found.drafts[id]
	_, err := openDraft(id, body, r.bytes(draftDigest))
	if err != nil && !f.carved {
		f.found.badDrafts[id] = true
	}
	if err != nil || ok && (!before.carved && f.carved || before.saved >= r.number(draftSaved)) {
		return nil
	}
	s, err := f.keep(body)
	f.found.drafts[id] = foundDraft{s, r.number(draftSaved), f.carved}
	return err
}

func (f *Foreign) takeBlob(table byte, r row) error {
	column := blobHash
	if table == useTable {
		column = useHash
	}
	id, err := syncer.ParseBlobID(r.bytes(column))
	if err != nil {
		return nil
	}
	switch table {
	case useTable:
		f.found.uses[id] = true
	case blobTable:
		ref := &servicev1.BlobRef{Sha256: id[:], Size: proto.Int64(r.number(blobSize)), MediaType: proto.String(r.text(blobMedia))}
		if _, _, err := syncer.ParseBlobRef(ref); err == nil && f.found.blobs[id] == nil {
			f.found.blobs[id] = ref
		}
	case pieceTable:
		if r.absent(pieceBytes) {
			f.found.gone[id] = true
			return nil
		}
		at := r.number(pieceStart)
		if f.found.pieces[id] == nil {
			f.found.pieces[id] = map[int64][]span{}
		}
		if all := f.found.pieces[id][at]; len(all) < maxPieceCopies {
			s, err := f.keep(r.bytes(pieceBytes))
			f.found.pieces[id][at] = append(all, s)
			return err
		}
	}
	return nil
}
