package syncer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// The tags of what concerns hubs.
const (
	hubIDTag   = "hearth/hub-id/v1\x00"
	hubTag     = "hearth/hub/v1\x00"
	custodyTag = "hearth/custody/v1\x00"
	blobTag    = "hearth/blob/v1\x00"
)

// maxHubName bounds the name in a certificate.
const maxHubName = 128

// HubID is the device id of the hub that has a key.
func HubID(key ed25519.PublicKey) ID {
	sum := sha256.Sum256(append([]byte(hubIDTag), key...))
	return ID(sum[:16])
}

// NewHubCertificate is headquarters' word that the hub with that key is one of its own.
func NewHubCertificate(headquarters ed25519.PrivateKey, hub ed25519.PublicKey, name string) *servicev1.HubCertificate {
	id := HubID(hub)
	return &servicev1.HubCertificate{
		Device: bytes.Clone(id[:]), Name: ptr(name), PublicKey: bytes.Clone(hub),
		Signature: ed25519.Sign(headquarters, certificateBytes(hub, name)),
	}
}

// VerifyHubCertificate checks a certificate against the key of the headquarters that the reader knows, and returns the
// hub's key. It fails with fault.ServerChanged: a hub of another headquarters is another server.
func VerifyHubCertificate(c *servicev1.HubCertificate, headquarters ed25519.PublicKey) (ed25519.PublicKey, error) {
	key := ed25519.PublicKey(c.GetPublicKey())
	if len(key) != ed25519.PublicKeySize || len(c.GetName()) > maxHubName {
		return nil, fault.New(fault.Conflict, fault.ServerChanged, "the hub's certificate has a key of %d bytes and a name of %d", len(key), len(c.GetName()))
	}
	id := HubID(key)
	if !bytes.Equal(c.GetDevice(), id[:]) {
		return nil, fault.New(fault.Conflict, fault.ServerChanged, "the hub's certificate names another device than its key makes")
	}
	if len(headquarters) != ed25519.PublicKeySize || !ed25519.Verify(headquarters, certificateBytes(key, c.GetName()), c.GetSignature()) {
		return nil, fault.New(fault.Conflict, fault.ServerChanged, "the certificate of the hub %.64q is not signed by the headquarters that is known here", c.GetName())
	}
	return key, nil
}

func certificateBytes(hub ed25519.PublicKey, name string) []byte {
	id := HubID(hub)
	buf := append([]byte(hubTag), id[:]...)
	buf = append(buf, hub...)
	return append(buf, name...)
}

// NewCustody is a hub's signed promise to forward everything of a lane up to its head.
func NewCustody(key ed25519.PrivateKey, lane LaneID, h Head, timeMS int64) *servicev1.Custody {
	return &servicev1.Custody{
		Lane: lane.Proto(), Seq: ptr(h.Seq), Chain: bytes.Clone(h.Chain[:]), TimeMs: ptr(timeMS),
		Keeper:    bytes.Clone(key.Public().(ed25519.PublicKey)),
		Signature: ed25519.Sign(key, custodyBytes(lane, h, timeMS)),
	}
}

// VerifyCustody checks a custody statement against the key of the hub that is spoken to and returns what it covers. It is
// no receipt: nothing may be pruned under it.
func VerifyCustody(c *servicev1.Custody, hub ed25519.PublicKey) (LaneID, Head, error) {
	lane, err := ParseLane(c.GetLane())
	if err != nil {
		return lane, Head{}, err
	}
	chain, err := ParseChain(c.GetChain())
	if err != nil {
		return lane, Head{}, fault.New(fault.Invalid, fault.BadSignature, "custody: %w", err)
	}
	h := Head{Seq: c.GetSeq(), Chain: chain}
	if !bytes.Equal(c.GetKeeper(), hub) || len(hub) != ed25519.PublicKeySize || !ed25519.Verify(hub, custodyBytes(lane, h, c.GetTimeMs()), c.GetSignature()) {
		return lane, h, fault.New(fault.Invalid, fault.BadSignature, "the custody statement for lane %v up to %d is not signed by the hub that gave it", lane, h.Seq)
	}
	return lane, h, nil
}

func custodyBytes(lane LaneID, h Head, timeMS int64) []byte {
	buf := append([]byte(custodyTag), lane.Device[:]...)
	buf = append(buf, lane.Epoch[:]...)
	buf = binary.BigEndian.AppendUint64(buf, h.Seq)
	buf = append(buf, h.Chain[:]...)
	return binary.BigEndian.AppendUint64(buf, uint64(timeMS))
}

// SignBlob is headquarters' word that an attachment is whole there, in a form that a hub can hand down.
func SignBlob(key ed25519.PrivateKey, id BlobID, size int64, epoch ID) []byte {
	return ed25519.Sign(key, blobBytes(id, size, epoch))
}

// VerifyBlob checks it. It fails with fault.BadSignature.
func VerifyBlob(headquarters ed25519.PublicKey, id BlobID, size int64, epoch ID, signature []byte) error {
	if len(headquarters) != ed25519.PublicKeySize || !ed25519.Verify(headquarters, blobBytes(id, size, epoch), signature) {
		return fault.New(fault.Invalid, fault.BadSignature, "the word of headquarters about attachment %x does not verify", id[:4])
	}
	return nil
}

func blobBytes(id BlobID, size int64, epoch ID) []byte {
	buf := append([]byte(blobTag), id[:]...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(size))
	return append(buf, epoch[:]...)
}

// Forward makes a batch of a run that another store has signed: the entries in their places under the signature that
// came with them, over the last. A nil raw goes without its bytes: the receiver has them, or they come in another batch of
// the same run.
func Forward(lane LaneID, r Run, raws [][]byte) *servicev1.Batch {
	b := &servicev1.Batch{Lane: lane.Proto(), FirstSeq: ptr(r.First), PrevChain: bytes.Clone(r.Prev[:]), Signature: bytes.Clone(r.Signature)}
	for i := range r.Digests {
		b.Entries = append(b.Entries, &servicev1.Entry{Digest: bytes.Clone(r.Digests[i][:]), Record: raws[i]})
	}
	squeeze(b)
	return b
}

// Follows says whether a run begins where another one, of the same lane, ends.
func (r Run) Follows(before Run, lane LaneID) bool {
	return r.First == before.Last()+1 && r.Prev == before.Head(lane).Chain
}

// Join appends a run that follows to one, under the signature of the second.
func (r Run) Join(next Run) Run {
	digests := make([]Digest, 0, len(r.Digests)+len(next.Digests))
	return Run{First: r.First, Prev: r.Prev, Digests: append(append(digests, r.Digests...), next.Digests...), Signature: next.Signature}
}

// Reach is how far a lane is held from a head on: runs, ordered by First, carry it on where they continue it.
func Reach(lane LaneID, from Head, runs []Run) Head {
	for _, r := range runs {
		if r.First <= from.Seq+1 && r.Last() > from.Seq && r.ChainAt(lane, from.Seq) == from.Chain {
			from = r.Head(lane)
		}
	}
	return from
}
