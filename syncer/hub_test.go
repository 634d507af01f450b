package syncer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// hubVectors are the examples of PROTOCOL.md for hubs, for other implementations. All bytes are hexadecimal.
type hubVectors struct {
	ServerSeed  string `json:"server_seed"`
	HubSeed     string `json:"hub_seed"`
	HubKey      string `json:"hub_public_key"`
	HubID       string `json:"hub_id"`
	Name        string `json:"hub_name"`
	Certificate string `json:"certificate_signature"`
	Device      string `json:"device"`
	Epoch       string `json:"epoch"`
	Seq         uint64 `json:"seq"`
	Chain       string `json:"chain"`
	CustodyMS   int64  `json:"custody_time_ms"`
	Custody     string `json:"custody_signature"`
	Blob        string `json:"blob_sha256"`
	BlobSize    int64  `json:"blob_size"`
	BlobEpoch   string `json:"blob_server_epoch"`
	BlobWord    string `json:"blob_signature"`
}

var (
	hqKey  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x22}, 32))
	hubKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x33}, 32))
)

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// hubParts are a certificate, a custody statement and a word about an attachment, all good.
func hubParts() (*servicev1.HubCertificate, *servicev1.Custody, []byte) {
	lane := syncer.LaneID{Device: syncer.ID(bytes.Repeat([]byte{0xd0}, 16)), Epoch: syncer.ID(bytes.Repeat([]byte{0xe0}, 16))}
	head := syncer.Head{Seq: 7, Chain: syncer.Chain(bytes.Repeat([]byte{0xc0}, 32))}
	return syncer.NewHubCertificate(hqKey, publicOf(hubKey), "贵阳 laptop-1"), syncer.NewCustody(hubKey, lane, head, 1467334800123),
		syncer.SignBlob(hqKey, syncer.BlobID(bytes.Repeat([]byte{0xb0}, 32)), 300_000, syncer.ID(bytes.Repeat([]byte{0xe1}, 16)))
}

func TestHubVectors(t *testing.T) {
	cert, custody, word := hubParts()
	id := syncer.HubID(publicOf(hubKey))
	x := hex.EncodeToString
	got := hubVectors{
		ServerSeed: x(hqKey.Seed()), HubSeed: x(hubKey.Seed()), HubKey: x(publicOf(hubKey)), HubID: id.String(), Name: cert.GetName(), Certificate: x(cert.GetSignature()),
		Device: x(custody.GetLane().GetDevice()), Epoch: x(custody.GetLane().GetEpoch()), Seq: custody.GetSeq(), Chain: x(custody.GetChain()),
		CustodyMS: custody.GetTimeMs(), Custody: x(custody.GetSignature()),
		Blob: x(bytes.Repeat([]byte{0xb0}, 32)), BlobSize: 300_000, BlobEpoch: x(bytes.Repeat([]byte{0xe1}, 16)), BlobWord: x(word),
	}
	const path = "testdata/hub.json"
	if *update {
		raw, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want hubVectors
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the bytes have changed, and with them what other programs must do: %s", diff)
	}
}

// Whatever is changed in what a hub shows, it is not believed.
func TestHubForgeries(t *testing.T) {
	good, custody, word := hubParts()
	if key, err := syncer.VerifyHubCertificate(good, publicOf(hqKey)); err != nil || !key.Equal(publicOf(hubKey)) {
		t.Fatalf("the certificate: %x, %v", key, err)
	}
	for name, change := range map[string]func(*servicev1.HubCertificate){
		"another name":      func(c *servicev1.HubCertificate) { c.Name = proto.String("laptop-2") },
		"another device":    func(c *servicev1.HubCertificate) { c.Device[0] ^= 1 },
		"another key":       func(c *servicev1.HubCertificate) { c.PublicKey = publicOf(hqKey) },
		"a short key":       func(c *servicev1.HubCertificate) { c.PublicKey = c.PublicKey[:31] },
		"no key":            func(c *servicev1.HubCertificate) { c.PublicKey = nil },
		"no signature":      func(c *servicev1.HubCertificate) { c.Signature = nil },
		"another signature": func(c *servicev1.HubCertificate) { c.Signature[5] ^= 1 },
		"signed by itself": func(c *servicev1.HubCertificate) {
			c.Signature = syncer.NewHubCertificate(hubKey, publicOf(hubKey), c.GetName()).GetSignature()
		},
		"a custody statement's signature": func(c *servicev1.HubCertificate) { c.Signature = custody.GetSignature() },
		"a long name":                     func(c *servicev1.HubCertificate) { c.Name = proto.String(string(bytes.Repeat([]byte{'x'}, 200))) },
	} {
		c := proto.CloneOf(good)
		change(c)
		if _, err := syncer.VerifyHubCertificate(c, publicOf(hqKey)); fault.ReasonOf(err) != fault.ServerChanged {
			t.Errorf("certificate with %s: %v", name, err)
		}
	}
	if _, err := syncer.VerifyHubCertificate(good, nil); err == nil {
		t.Error("a certificate was believed without a key to check it by")
	}
	for name, change := range map[string]func(*servicev1.Custody){
		"further": func(c *servicev1.Custody) { c.Seq = proto.Uint64(8) }, "another time": func(c *servicev1.Custody) { c.TimeMs = proto.Int64(1) },
		"another lane": func(c *servicev1.Custody) { c.Lane.Epoch[0] ^= 1 }, "another keeper": func(c *servicev1.Custody) { c.Keeper = publicOf(hqKey) },
		"a short chain": func(c *servicev1.Custody) { c.Chain = c.Chain[:3] }, "no lane": func(c *servicev1.Custody) { c.Lane = nil },
	} {
		c := proto.CloneOf(custody)
		change(c)
		if _, _, err := syncer.VerifyCustody(c, publicOf(hubKey)); err == nil {
			t.Errorf("custody with %s was believed", name)
		}
	}
	// A custody statement made to look like a receipt is none: the tags differ, whoever signs.
	forged := syncer.NewCustody(hqKey, syncer.LaneID{}, syncer.Head{Seq: 7}, 1)
	r := &servicev1.Receipt{Lane: forged.GetLane(), Seq: forged.Seq, Chain: forged.GetChain(), TimeMs: forged.TimeMs, Keeper: forged.GetKeeper(), Signature: forged.GetSignature()}
	if _, _, err := syncer.VerifyReceipt(r, publicOf(hqKey)); err == nil {
		t.Error("custody passes for a receipt")
	}
	id, epoch := syncer.BlobID(bytes.Repeat([]byte{0xb0}, 32)), syncer.ID(bytes.Repeat([]byte{0xe1}, 16))
	if err := syncer.VerifyBlob(publicOf(hqKey), id, 300_000, epoch, word); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another size":  syncer.VerifyBlob(publicOf(hqKey), id, 300_001, epoch, word),
		"another epoch": syncer.VerifyBlob(publicOf(hqKey), id, 300_000, syncer.ID{}, word),
		"another key":   syncer.VerifyBlob(publicOf(hubKey), id, 300_000, epoch, word),
		"no word":       syncer.VerifyBlob(publicOf(hqKey), id, 300_000, epoch, nil),
	} {
		if fault.ReasonOf(err) != fault.BadSignature {
			t.Errorf("an attachment's word with %s: %v", name, err)
		}
	}
}

// However a lane is cut into runs, joined again and sent with or without bytes, the batch ends at a head that the tablet
// signed and is believed; and a lane reaches as far as its runs carry it, in whatever order they are looked at.
func TestForwardedRuns(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(rt, "entries")
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x11}, 32))
		lane := syncer.LaneID{Device: syncer.ID(bytes.Repeat([]byte{0xd0}, 16)), Epoch: syncer.ID(bytes.Repeat([]byte{0xe0}, 16))}
		var runs []syncer.Run
		var raws [][]byte
		head := syncer.Head{}
		for len(raws) < n {
			r := syncer.Run{First: head.Seq + 1, Prev: head.Chain}
			for range rapid.IntRange(1, 5).Draw(rt, "in a run") {
				raw := []byte{byte(len(raws)), byte(rapid.IntRange(0, 255).Draw(rt, "byte"))}
				raws, r.Digests = append(raws, raw), append(r.Digests, syncer.DigestOf(raw))
			}
			head = r.Head(lane)
			if len(raws) >= n || rapid.IntRange(0, 4).Draw(rt, "signed") > 0 {
				r.Signature = syncer.SignHead(key, lane, head)
			}
			runs = append(runs, r)
		}
		whole := runs[0]
		for _, r := range runs[1:] {
			if !r.Follows(whole, lane) {
				rt.Fatalf("run from %d does not follow", r.First)
			}
			whole = whole.Join(r)
		}
		for i := range raws {
			if rapid.Bool().Draw(rt, "without bytes") {
				raws[i] = nil
			}
		}
		c, err := syncer.Check(syncer.Forward(lane, whole, raws[:len(whole.Digests)]), publicOf(key), syncer.DefaultLimits)
		if err != nil || len(c.Runs) != 1 || c.Runs[0].Head(lane) != head {
			rt.Fatalf("forwarded: %+v, %v", c, err)
		}
		if got := syncer.Reach(lane, syncer.Head{}, runs); got != head {
			rt.Fatalf("the lane reaches %d, want %d", got.Seq, head.Seq)
		}
		gap := rapid.IntRange(0, len(runs)-1).Draw(rt, "lost run")
		want := syncer.Head{}
		if gap > 0 {
			want = runs[gap-1].Head(lane)
		}
		left := append(append([]syncer.Run{}, runs[:gap]...), runs[gap+1:]...)
		if got := syncer.Reach(lane, syncer.Head{}, left); got != want {
			rt.Fatalf("without run %d the lane reaches %d, want %d", gap, got.Seq, want.Seq)
		}
		if other := (syncer.Head{Seq: runs[0].Last(), Chain: syncer.Chain{1}}); syncer.Reach(lane, other, runs) != other {
			rt.Fatal("a lane goes on over another branch")
		}
	})
}

// FuzzHub feeds what a tablet reads of a hub, and what a hub reads of a tablet.
func FuzzHub(f *testing.F) {
	cert, custody, _ := hubParts()
	for _, m := range []proto.Message{cert, custody} {
		raw, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := &servicev1.HubCertificate{}
		if proto.Unmarshal(raw, c) == nil {
			if _, err := syncer.VerifyHubCertificate(c, publicOf(hqKey)); err == nil && c.GetName() != cert.GetName() {
				t.Fatal("a forged certificate was believed")
			}
		}
		p := &servicev1.Custody{}
		if proto.Unmarshal(raw, p) == nil {
			if _, head, err := syncer.VerifyCustody(p, publicOf(hubKey)); err == nil && head.Seq != custody.GetSeq() {
				t.Fatal("a forged custody statement was believed")
			}
		}
	})
}
