package syncer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	hintKeyTag = "hearth/hint-key/v1\x00"
	hintTag    = "hearth/hint/v1\x00"
)

// HintKey is the key of a study's hints, derived from a secret of headquarters.
func HintKey(secret []byte, study string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(hintKeyTag + study))
	return h.Sum(nil)
}

// Clue is what is known of a person by which the same person may be found again.
type Clue struct {
	// Surname is the family name as it sounds: pinyin without tones, in small letters.
	Surname string
	// BirthYears are the years in which the person may be born; two where only an age was told.
	BirthYears []int
	// Sex is 1 or 2; 0: not known.
	Sex int
	// Phone and ResidentID are as they were written down.
	Phone, ResidentID string
}

// Hints are the tokens of a person, in ascending order: for each thing by which the person may be found again the first 8
// bytes of a keyed hash. They are no secret from whoever has the key and can guess names; they keep names out of a lost
// tablet's file.
func Hints(key []byte, c Clue) []uint64 {
	out := NewHinter(key).Append(nil, c)
	slices.Sort(out)
	return slices.Compact(out)
}

// Hinter makes the tokens of many people with one key. It is for one goroutine.
type Hinter struct {
	hash hash.Hash // its reset is cheaper than another
	text []byte
	sum  []byte
}

// NewHinter makes a Hinter.
func NewHinter(key []byte) *Hinter { return &Hinter{hash: hmac.New(sha256.New, key)} }

// Append adds the tokens of a person, in no order, some perhaps twice.
func (h *Hinter) Append(out []uint64, c Clue) []uint64 {
	id := lastOf(digits(c.ResidentID, true), 4)
	for _, y := range c.BirthYears {
		if c.Surname != "" && c.Sex != 0 {
			h.begin(1)
			h.text = append(append(h.text, c.Surname...), 0)
			h.text = append(strconv.AppendInt(h.text, int64(y), 10), 0)
			h.text = strconv.AppendInt(h.text, int64(c.Sex), 10)
			out = append(out, h.token())
		}
		if id != "" {
			h.begin(3)
			h.text = append(append(h.text, id...), 0)
			h.text = strconv.AppendInt(h.text, int64(y), 10)
			out = append(out, h.token())
		}
	}
	if phone := lastOf(digits(c.Phone, false), 8); phone != "" {
		h.begin(2)
		h.text = append(h.text, phone...)
		out = append(out, h.token())
	}
	return out
}

func (h *Hinter) begin(kind byte) { h.text = append(append(h.text[:0], hintTag...), kind) }

func (h *Hinter) token() uint64 {
	h.hash.Reset()
	h.hash.Write(h.text)
	h.sum = h.hash.Sum(h.sum[:0])
	return binary.BigEndian.Uint64(h.sum[:8])
}

// digits keeps the digits of a text, full-width ones as ASCII; with x also the X at the end of a resident identity number.
func digits(text string, x bool) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '０' && r <= '９':
			return r - '０' + '0'
		case r >= '0' && r <= '9':
			return r
		case x && strings.ContainsRune("xXｘＸ", r):
			return 'X'
		}
		return -1
	}, text)
}

// lastOf is the end of a text that is at least so long, "" of a shorter one.
func lastOf(s string, n int) string {
	if len(s) < n {
		return ""
	}
	return s[len(s)-n:]
}

// chinaMS is how far the time of China, by which ages are told, is ahead of UTC.
const chinaMS = 8 * 60 * 60 * 1000

// BornInYears are the years in which somebody may be born who has an age at a moment.
func BornInYears(timeMS int64, age int) []int {
	year := time.UnixMilli(timeMS + chinaMS).UTC().Year()
	return []int{year - age - 1, year - age}
}
