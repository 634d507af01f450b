package syncer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vectors are the examples of PROTOCOL.md, for other implementations. All bytes are hexadecimal.
type vectors struct {
	DeviceSeed string        `json:"device_seed"`
	DeviceKey  string        `json:"device_public_key"`
	ServerSeed string        `json:"server_seed"`
	ServerKey  string        `json:"server_public_key"`
	Device     string        `json:"device"`
	Epoch      string        `json:"epoch"`
	Entries    []entryVector `json:"entries"`
	Receipt    string        `json:"receipt_signature"`
	ReceiptMS  int64         `json:"receipt_time_ms"`
	Parts      []partVector  `json:"parts"`
}

type entryVector struct {
	Seq       uint64 `json:"seq"`
	Record    string `json:"record"`
	Digest    string `json:"digest"`
	Chain     string `json:"chain"`
	Signature string `json:"head_signature"`
}

type partVector struct {
	Study string `json:"study"`
	Site  string `json:"site"`
	Part  string `json:"part"`
}

func makeVectors(t *testing.T) vectors {
	t.Helper()
	device := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x11}, 32))
	server := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x22}, 32))
	lane := syncer.LaneID{Device: syncer.ID(bytes.Repeat([]byte{0xd0}, 16)), Epoch: syncer.ID(bytes.Repeat([]byte{0xe0}, 16))}
	v := vectors{
		DeviceSeed: hex.EncodeToString(device.Seed()), DeviceKey: hex.EncodeToString(device.Public().(ed25519.PublicKey)),
		ServerSeed: hex.EncodeToString(server.Seed()), ServerKey: hex.EncodeToString(server.Public().(ed25519.PublicKey)),
		Device: lane.Device.String(), Epoch: lane.Epoch.String(), ReceiptMS: 1467334800123,
	}
	var head syncer.Head
	var parent []byte
	for i, subject := range []string{"8f14e45f-ceea-467f-a8f5-2d1f2a1f0001", "8f14e45f-ceea-467f-a8f5-2d1f2a1f0001", "贵阳"} {
		r := &servicev1.Record{
			Id: append([]byte{1, 0x55, 0xa3, 0, 0, byte(i), 0x70, 0, 0x80}, bytes.Repeat([]byte{byte(i)}, 7)...), Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(),
			Subject: proto.String(subject), Study: proto.String("guiyang-2016"), Round: proto.Uint32(1), Part: proto.Uint64(syncer.Part("guiyang-2016", "school-a")),
			Author: proto.String("E1"), Device: lane.Device[:], Questionnaire: proto.String("hearth.survey.v1.Household"),
			QuestionnaireVersion: proto.Uint32(1), WallTimeMs: proto.Int64(1467334800000 + int64(i)), Payload: []byte{byte(i)},
		}
		if i == 1 {
			r.Parents = [][]byte{parent}
		}
		raw, d, err := syncer.Seal(r)
		if err != nil {
			t.Fatal(err)
		}
		parent = d[:]
		head = syncer.Head{Seq: uint64(i) + 1, Chain: syncer.NextChain(head.Chain, lane, uint64(i)+1, d)}
		v.Entries = append(v.Entries, entryVector{
			Seq: head.Seq, Record: hex.EncodeToString(raw), Digest: d.String(), Chain: head.Chain.String(),
			Signature: hex.EncodeToString(syncer.SignHead(device, lane, head)),
		})
	}
	v.Receipt = hex.EncodeToString(syncer.NewReceipt(server, lane, head, v.ReceiptMS).GetSignature())
	for _, p := range [][2]string{{"guiyang-2016", "school-a"}, {"guiyang-2016", ""}, {"", ""}, {"贵阳", "甲校"}} {
		part := syncer.Part(p[0], p[1])
		v.Parts = append(v.Parts, partVector{p[0], p[1], hex.EncodeToString([]byte{
			byte(part >> 56), byte(part >> 48), byte(part >> 40), byte(part >> 32), byte(part >> 24), byte(part >> 16), byte(part >> 8), byte(part),
		})})
	}
	return v
}

// The hashes and signatures never change: tablets in the field hold them.
func TestVectors(t *testing.T) {
	const path = "testdata/vectors.json"
	got := makeVectors(t)
	if *update {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want vectors
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Entries) == 0 || len(want.Parts) == 0 {
		t.Fatal("the file has no vectors")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("vectors (-file +computed):\n%s", diff)
	}
}
