package syncer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/klauspost/compress/zstd"
)

// Limits of a questionnaire that is published.
const (
	// MaxQuestionnaire is how large its files, its source and its lock may be together, unpacked.
	MaxQuestionnaire = 48 << 20
	// MaxQuestionnairePacked is how large it may be on its way to tablets, and in the log beside that with its source.
	MaxQuestionnairePacked = 12 << 20
	// QuestionnairePiece is how much of it goes into one row for tablets: what has come over a bad link is kept.
	QuestionnairePiece = 48 << 10
)

// questionnaireCodec packs and unpacks; it is made once.
var questionnaireCodec = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1), zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true))
})

// PackQuestionnaire makes one zstd frame that states its size.
func PackQuestionnaire(content []byte) ([]byte, error) {
	if len(content) > MaxQuestionnaire {
		return nil, fault.New(fault.TooLarge, fault.QuestionnaireTooLarge, "the questionnaire has %d bytes, the limit is %d", len(content), MaxQuestionnaire)
	}
	enc, err := questionnaireCodec()
	if err != nil {
		return nil, fmt.Errorf("make an encoder: %w", err)
	}
	return enc.EncodeAll(content, make([]byte, 0, len(content)/4+64)), nil
}

// UnpackQuestionnaire unpacks what PackQuestionnaire made, or anybody. It looks at the declared size before it allocates, and
// unpacks no byte more.
func UnpackQuestionnaire(packed []byte) ([]byte, error) {
	var header zstd.Header
	if err := header.Decode(packed); err != nil {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "what should be a zstd frame is none: %w", err)
	}
	if header.Skippable || !header.HasFCS || header.FrameContentSize > MaxQuestionnaire {
		return nil, fault.New(fault.TooLarge, fault.QuestionnaireTooLarge, "it unpacks to more than %d bytes or does not say to how many", MaxQuestionnaire)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxQuestionnaire), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make a decoder: %w", err)
	}
	defer dec.Close()
	content, err := dec.DecodeAll(packed, make([]byte, 0, header.FrameContentSize))
	if err != nil || uint64(len(content)) != header.FrameContentSize {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "it cannot be unpacked")
	}
	return content, nil
}

// JoinQuestionnaire unpacks the pieces of a frame whose SHA-256 is known.
func JoinQuestionnaire(pieces [][]byte, sum []byte) ([]byte, error) {
	packed := bytes.Join(pieces, nil)
	if got := sha256.Sum256(packed); !bytes.Equal(got[:], sum) {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "the %d pieces of the questionnaire do not have the hash that was published with it", len(pieces))
	}
	return UnpackQuestionnaire(packed)
}

// CutPieces cuts bytes into pieces of a size; at least one.
func CutPieces(b []byte, size int) [][]byte {
	var out [][]byte
	for len(b) > size {
		out, b = append(out, b[:size:size]), b[size:]
	}
	return append(out, b)
}
