package export

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"hash"
	"strings"

	"github.com/google/uuid"
)

// pseudonyms are made of values by a keyed hash: the same value has the same pseudonym in every table, in every export of
// the profile and at any time, so that exports can be merged; without the key nobody finds the value again, nor can the
// files of two profiles be merged by them.
type pseudonyms struct {
	mac     hash.Hash
	profile string
	name    string // of the key
	sum     [sha256.Size]byte
}

// crockford is without letters that are taken for one another.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

func newPseudonyms(key []byte, profile string) *pseudonyms {
	sum := sha256.Sum256(append([]byte("hearth/pseudonym-key/name\x00"), key...))
	return &pseudonyms{mac: hmac.New(sha256.New, key), profile: profile, name: hex.EncodeToString(sum[:8])}
}

// of is the hash of a value; what kind of value it is stands in domain.
func (p *pseudonyms) of(domain, value string) []byte {
	p.mac.Reset()
	p.mac.Write([]byte(p.profile + "\x00" + domain + "\x00" + value))
	return p.mac.Sum(p.sum[:0])
}

// id is the pseudonym of an id, a UUID of version 8.
func (p *pseudonyms) id(value string) string {
	if value == "" {
		return ""
	}
	id := uuid.UUID(p.of("id", value)[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id.String()
}

// key is an interview's key, issued anew: 60 bits, so that no two interviews of a study share one.
func (p *pseudonyms) key(value string) string {
	s := crockford.EncodeToString(p.of("key", value)[:8])
	return s[:4] + "-" + s[4:8] + "-" + s[8:12]
}

// code is a code of a site, a member of the staff or a unit of the sample.
func (p *pseudonyms) code(letter, domain, value string) string {
	return letter + "-" + crockford.EncodeToString(p.of(domain, value)[:5])
}

// each replaces each item of a list.
func (p *pseudonyms) each(list string, by func(string) string) string {
	items := strings.Split(list, ";")
	for i := range items {
		items[i] = by(items[i])
	}
	return strings.Join(items, ";")
}

// Pseudonym is what an id of this study is called in exports of a profile: the order of the rows can then be that of
// their pseudonyms, which says nothing of when an interview was held.
func Pseudonym(key []byte, profile, id string) string { return newPseudonyms(key, profile).id(id) }
