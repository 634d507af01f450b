package syncer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/klauspost/compress/zstd"
)

func TestQuestionnaireInPieces(t *testing.T) {
	content := bytes.Repeat([]byte("Which village? 哪个村？ "), 20_000)
	for i := range content {
		if i%97 == 0 {
			binary.BigEndian.PutUint16(content[i&^1:], uint16(i*40503))
		}
	}
	packed, err := PackQuestionnaire(content)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(packed)
	pieces := CutPieces(packed, 1000)
	if len(pieces) < 3 || len(pieces[0]) != 1000 {
		t.Fatalf("%d pieces", len(pieces))
	}
	got, err := JoinQuestionnaire(pieces, sum[:])
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("it came back otherwise: %v", err)
	}
	for name, wrong := range map[string][][]byte{
		"one is missing": pieces[1:], "two are exchanged": append([][]byte{pieces[1], pieces[0]}, pieces[2:]...), "nothing": nil,
	} {
		if _, err := JoinQuestionnaire(wrong, sum[:]); fault.ReasonOf(err) != fault.QuestionnaireDamaged {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := CutPieces(nil, 10); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("nothing is cut into %d pieces, want one that is empty", len(got))
	}
}

// A frame that would unpack to more than it may is told by what it says of itself, before anything is allocated.
func TestQuestionnaireBombs(t *testing.T) {
	enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	bomb := enc.EncodeAll(make([]byte, MaxQuestionnaire+1), nil)
	var open bytes.Buffer
	stream, err := zstd.NewWriter(&open)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"a bomb": bomb, "a frame that hides its size": open.Bytes()} {
		if _, err := UnpackQuestionnaire(b); fault.ReasonOf(err) != fault.QuestionnaireTooLarge {
			t.Errorf("%s of %d bytes: %v", name, len(b), err)
		}
	}
	if _, err := PackQuestionnaire(make([]byte, MaxQuestionnaire+1)); fault.ReasonOf(err) != fault.QuestionnaireTooLarge {
		t.Errorf("packing too much: %v", err)
	}
}

func FuzzUnpackQuestionnaire(f *testing.F) {
	packed, err := PackQuestionnaire([]byte("a questionnaire, a questionnaire, a questionnaire"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(packed[:len(packed)-1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := UnpackQuestionnaire(b)
		if err == nil && len(got) > MaxQuestionnaire {
			t.Fatalf("%d bytes", len(got))
		}
		if r := fault.ReasonOf(err); err != nil && r != fault.QuestionnaireDamaged && r != fault.QuestionnaireTooLarge {
			t.Fatalf("an error without its reason: %v", err)
		}
	})
}
