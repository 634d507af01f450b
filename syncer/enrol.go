package syncer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/hearth-survey/hearth/proto/fault"
)

// The tags of what a tablet signs to enrol and to open a session, and of the hash under which a server keeps a code.
const (
	enrolTag   = "hearth/enrol/v1\x00"
	sessionTag = "hearth/session/v2\x00"
	unboundTag = "hearth/session/v1\x00"
	codeTag    = "hearth/code/v1\x00"
	ticketTag  = "hearth/ticket/v1\x00"
)

// CodeAlphabet are the characters of a code: digits and capitals without those that look alike (0 O, 1 I L, U V).
const CodeAlphabet = "23456789ABCDEFGHJKMNPQRSTVWXYZ"

// codeLength is how many characters a code has: 49 bits, in two groups for the eye.
const codeLength = 10

// Code is a one-time code by which a tablet is enrolled, without the dash.
type Code string

// NewCode makes a code; each is as likely as any other.
func NewCode(random io.Reader) (Code, error) {
	const fair = 256 - 256%len(CodeAlphabet) // bytes from here on would favour the first characters
	code := make([]byte, 0, codeLength)
	for one := make([]byte, 1); len(code) < codeLength; {
		if _, err := io.ReadFull(random, one); err != nil {
			return "", fmt.Errorf("make a code: %w", err)
		}
		if int(one[0]) < fair {
			code = append(code, CodeAlphabet[int(one[0])%len(CodeAlphabet)])
		}
	}
	return Code(code), nil
}

// ParseCode reads a code as people type it: small letters, dashes and blanks anywhere, and the wide characters of a
// Chinese keyboard are taken for what they mean. It fails with fault.CodeWrong.
func ParseCode(text string) (Code, error) {
	if len(text) > 128 {
		return "", fault.New(fault.Invalid, fault.CodeWrong, "a code has %d characters, this text has %d bytes", codeLength, len(text))
	}
	code := make([]byte, 0, codeLength)
	for _, r := range text {
		if r >= '！' && r <= '～' { // the full-width forms of ASCII, in the same order
			r += '!' - '！'
		}
		if r >= 'a' && r <= 'z' {
			r += 'A' - 'a'
		}
		switch {
		case strings.ContainsRune("- \t\u3000\u2010\u2011\u2012\u2013\u2014", r):
		case r < utf8.RuneSelf && strings.IndexByte(CodeAlphabet, byte(r)) >= 0:
			code = append(code, byte(r))
		default:
			return "", fault.New(fault.Invalid, fault.CodeWrong, "the character %q does not occur in codes", r)
		}
	}
	if len(code) != codeLength {
		return "", fault.New(fault.Invalid, fault.CodeWrong, "a code has %d characters, this one has %d", codeLength, len(code))
	}
	return Code(code), nil
}

// String is the code in two groups: "K7M3P-9XWQT".
func (c Code) String() string {
	if len(c) != codeLength {
		return string(c)
	}
	return string(c[:codeLength/2] + "-" + c[codeLength/2:])
}

// Hash is what a server keeps of a code.
func (c Code) Hash() [32]byte { return sha256.Sum256([]byte(codeTag + string(c))) }

// SignEnrolment proves that whoever brings the code holds the device's key.
func SignEnrolment(key ed25519.PrivateKey, code Code, device ID) []byte {
	return ed25519.Sign(key, enrolBytes(code, device, key.Public().(ed25519.PublicKey)))
}

// VerifyEnrolment checks it. It fails with fault.BadSignature.
func VerifyEnrolment(key ed25519.PublicKey, code Code, device ID, signature []byte) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, enrolBytes(code, device, key), signature) {
		return fault.New(fault.Invalid, fault.BadSignature, "the enrolment of device %v is not signed with the key that it brings", device)
	}
	return nil
}

func enrolBytes(code Code, device ID, key ed25519.PublicKey) []byte {
	buf := append([]byte(enrolTag), code...)
	buf = append(buf, device[:]...)
	return append(buf, key...)
}

// SignSession answers the challenge of the server that has a key. The answer opens a session at that server alone: who
// passes a challenge on, as a hub could one of headquarters, gets an answer that is good for nobody but itself.
func SignSession(key ed25519.PrivateKey, server ed25519.PublicKey, device ID, challenge []byte) []byte {
	return ed25519.Sign(key, sessionBytes(server, device, challenge))
}

// VerifySession checks the answer to a challenge that the server with a key has given. It takes an answer as tablets before
// gave it too, which does not say for whom it is; see PROTOCOL 16. It fails with fault.BadSignature.
func VerifySession(key, server ed25519.PublicKey, device ID, challenge, signature []byte) error {
	if len(key) == ed25519.PublicKeySize && len(server) == ed25519.PublicKeySize &&
		(ed25519.Verify(key, sessionBytes(server, device, challenge), signature) || ed25519.Verify(key, unboundSession(device, challenge), signature)) {
		return nil
	}
	return fault.New(fault.Invalid, fault.BadSignature, "the challenge is not signed with the key of device %v for this server", device)
}

func sessionBytes(server ed25519.PublicKey, device ID, challenge []byte) []byte {
	buf := append([]byte(sessionTag), server...)
	buf = append(buf, device[:]...)
	return append(buf, challenge...)
}

// unboundSession is what tablets signed before answers said for which server they are.
func unboundSession(device ID, challenge []byte) []byte {
	buf := append([]byte(unboundTag), device[:]...)
	return append(buf, challenge...)
}

// SignTicket proves within a Hello that the device has the key: it signs the server's ticket with a number that is greater
// than at any use before.
func SignTicket(key ed25519.PrivateKey, device ID, use uint64, ticket []byte) []byte {
	return ed25519.Sign(key, ticketBytes(device, use, ticket))
}

// VerifyTicket checks that. It fails with fault.BadSignature.
func VerifyTicket(key ed25519.PublicKey, device ID, use uint64, ticket, signature []byte) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, ticketBytes(device, use, ticket), signature) {
		return fault.New(fault.Invalid, fault.BadSignature, "the ticket is not signed with the key of device %v", device)
	}
	return nil
}

func ticketBytes(device ID, use uint64, ticket []byte) []byte {
	buf := append([]byte(ticketTag), device[:]...)
	return append(binary.BigEndian.AppendUint64(buf, use), ticket...)
}

// Invitation is what a tablet must know to enrol: where the server is, which key it has, and the code.
type Invitation struct {
	// Server is host:port, or https://host:port where the connection is encrypted.
	Server string
	// Key is the server's public key; the tablet believes no other.
	Key  ed25519.PublicKey
	Code Code
}

const (
	invitationScheme = "hearth:enrol?"
	maxInvitation    = 1024
)

// String is the invitation as the text of a QR picture: "hearth:enrol?v=1&server=...&key=...&code=...".
func (i Invitation) String() string {
	return invitationScheme + "v=1&server=" + url.QueryEscape(i.Server) + "&key=" + base64.RawURLEncoding.EncodeToString(i.Key) +
		"&code=" + i.Code.String()
}

// ParseInvitation reads the text of a QR picture. Parameters it does not know are passed over, so that later versions
// may add some. It fails with fault.BadInvitation, or fault.CodeWrong for the code alone.
func ParseInvitation(text string) (Invitation, error) {
	text = strings.TrimSpace(text)
	rest, ok := strings.CutPrefix(text, invitationScheme)
	if !ok || len(text) > maxInvitation {
		return Invitation{}, fault.New(fault.Invalid, fault.BadInvitation, "the text does not begin with %q or is longer than %d bytes", invitationScheme, maxInvitation)
	}
	values, err := url.ParseQuery(rest)
	if err != nil {
		return Invitation{}, fault.New(fault.Invalid, fault.BadInvitation, "its parameters cannot be read")
	}
	for _, name := range []string{"v", "server", "key", "code"} {
		if len(values[name]) != 1 {
			return Invitation{}, fault.New(fault.Invalid, fault.BadInvitation, "it has %d parameters %q, want one", len(values[name]), name)
		}
	}
	if v := values.Get("v"); v != "1" {
		return Invitation{}, fault.New(fault.Invalid, fault.BadInvitation, "it is of version %.8q, this program knows version 1", v)
	}
	i := Invitation{Server: values.Get("server")}
	if err := CheckServerAddress(i.Server); err != nil {
		return Invitation{}, err
	}
	if i.Key, err = base64.RawURLEncoding.Strict().DecodeString(values.Get("key")); err != nil || len(i.Key) != ed25519.PublicKeySize {
		return Invitation{}, fault.New(fault.Invalid, fault.BadInvitation, "the server's key in it is not %d bytes in base64url", ed25519.PublicKeySize)
	}
	if i.Code, err = ParseCode(values.Get("code")); err != nil {
		return Invitation{}, err
	}
	return i, nil
}

// SameKey compares two public keys, so that the time it takes tells nothing.
func SameKey(a, b ed25519.PublicKey) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// CheckServerAddress says whether a text can be the address of a server: host:port, with http:// or https:// before it
// or not. It fails with fault.BadInvitation.
func CheckServerAddress(addr string) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, fault.BadInvitation, "the server's address %.64q %s", addr, why)
	}
	if len(addr) > 256 || !utf8.ValidString(addr) {
		return bad("is too long or not UTF-8")
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(addr, "https://"), "http://")
	at := strings.LastIndexByte(rest, ':')
	if at < 1 || at == len(rest)-1 || strings.Contains(rest[:at], ":") && (rest[0] != '[' || rest[at-1] != ']') {
		return bad("is not host:port")
	}
	port := rest[at+1:]
	switch {
	case strings.ContainsFunc(rest, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`/?#@\"'<>%`, r) }):
		return bad("has characters that addresses do not have")
	case strings.ContainsFunc(port, func(r rune) bool { return r < '0' || r > '9' }) || len(port) > 5:
		return bad("has no port number")
	}
	return nil
}
