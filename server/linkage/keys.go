package linkage

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
)

// Keys of the index. All of one generation begin with its number, so that a new one is made beside the old one and this is
// thrown away afterwards:
//
//	\x00state                                       how far all is
//	\x01 generation i interview                     KnownInterview
//	\x01 generation p person                        KnownPerson
//	\x01 generation k key person                    empty: a posting
//	\x01 generation h household 0 person            empty: a member
//	\x01 generation l person 0 other                a link, see link; the pair stands where the person is the smaller id
//	\x01 generation z number                        a piece of the model: small, for what is looked up beside a large entry reads all of it
//
// An id never holds a zero byte: records with one are left out.

func generation(g int64) string {
	return "\x01" + string(binary.BigEndian.AppendUint64(nil, uint64(g)))
}

func modelPrefix(g int64) string             { return generation(g) + "z" }
func interviewKey(g int64, id string) string { return generation(g) + "i" + id }
func personKey(g int64, id string) string    { return generation(g) + "p" + id }

func postingPrefix(g int64, key uint64) string {
	return generation(g) + "k" + string(binary.BigEndian.AppendUint64(nil, key))
}

func homePrefix(g int64, home string) string       { return generation(g) + "h" + home + "\x00" }
func linkPrefix(g int64) string                    { return generation(g) + "l" }
func linksPrefix(g int64, person string) string    { return linkPrefix(g) + person + "\x00" }
func linkKey(g int64, person, other string) string { return linksPrefix(g, person) + other }

// link is what came of a comparison.
type link struct {
	// bare is the weight without households.
	bare float64
	// pair is written where the two may be the same.
	pair *servicev1.MatchPair
}

// writeLink is a link as its entry holds it: the weight, and the pair unless it is the other way round.
func writeLink(bare float64, pair *servicev1.MatchPair) ([]byte, error) {
	b := binary.BigEndian.AppendUint64(nil, math.Float64bits(bare))
	if pair == nil {
		return b, nil
	}
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, pair)
	if err != nil {
		return nil, unreadable("a pair", err)
	}
	return b, nil
}

func readWeight(v []byte) (float64, error) {
	if len(v) < 8 {
		return 0, unreadable("a pair", errShort)
	}
	return math.Float64frombits(binary.BigEndian.Uint64(v)), nil
}

func readLink(v []byte) (link, error) {
	bare, err := readWeight(v)
	if err != nil {
		return link{}, err
	}
	l := link{bare: bare}
	if len(v) > 8 {
		l.pair = &servicev1.MatchPair{}
		if err := proto.Unmarshal(v[8:], l.pair); err != nil {
			return link{}, unreadable("a pair", err)
		}
	}
	return l, nil
}

var errShort = errors.New("it is too short")

// pieceSize is how much of a model is in one entry.
const pieceSize = 1500

// modelEntries are the pieces of a model.
func modelEntries(g int64, model []byte) []store.IndexEntry {
	var out []store.IndexEntry
	for piece := range slices.Chunk(model, pieceSize) {
		number := binary.BigEndian.AppendUint32(nil, uint32(len(out)))
		out = append(out, store.IndexEntry{Key: modelPrefix(g) + string(number), Value: piece})
	}
	return out
}
