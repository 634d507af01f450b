package syncer_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/syncer"
	"pgregory.net/rapid"
)

// enrolVectors are the examples of PROTOCOL.md for enrolment and sessions. All bytes are hexadecimal.
type enrolVectors struct {
	DeviceSeed      string `json:"device_seed"`
	Device          string `json:"device"`
	Code            string `json:"code"`
	CodeHash        string `json:"code_hash"`
	EnrolSignature  string `json:"enrol_signature"`
	Challenge       string `json:"challenge"`
	SessionSign     string `json:"session_signature"`
	ServerKey       string `json:"server_public_key"`
	Server          string `json:"server"`
	InvitationText  string `json:"invitation"`
	TypedAsThatCode string `json:"typed_as_that_code"`
}

func makeEnrolVectors(t *testing.T) enrolVectors {
	t.Helper()
	device := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x11}, 32))
	server := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{0x22}, 32)).Public().(ed25519.PublicKey)
	id := syncer.ID(bytes.Repeat([]byte{0xd0}, 16))
	const typed = " k7m3p 9Xwqｔ "
	code, err := syncer.ParseCode(typed)
	if err != nil {
		t.Fatal(err)
	}
	hash := code.Hash()
	challenge := bytes.Repeat([]byte{0xc0}, 56)
	inv := syncer.Invitation{Server: "https://hq.example:8686", Key: server, Code: code}
	return enrolVectors{
		DeviceSeed: hex.EncodeToString(device.Seed()), Device: id.String(), Code: code.String(), CodeHash: hex.EncodeToString(hash[:]),
		EnrolSignature: hex.EncodeToString(syncer.SignEnrolment(device, code, id)),
		Challenge:      hex.EncodeToString(challenge), SessionSign: hex.EncodeToString(syncer.SignSession(device, server, id, challenge)),
		ServerKey: hex.EncodeToString(server), Server: inv.Server, InvitationText: inv.String(), TypedAsThatCode: typed,
	}
}

func TestEnrolVectors(t *testing.T) {
	const path = "testdata/enrol.json"
	got := makeEnrolVectors(t)
	if *update {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.ReplaceAll(text, []byte(`\u0026`), []byte("&"))
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want enrolVectors
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); want.EnrolSignature == "" || diff != "" {
		t.Errorf("vectors (-file +computed):\n%s", diff)
	}
}

// What is signed for one purpose, device, code, challenge or key is good for no other.
func TestSignaturesAreForOneThing(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	public := key.Public().(ed25519.PublicKey)
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32)).Public().(ed25519.PublicKey)
	server := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32)).Public().(ed25519.PublicKey)
	a, b := syncer.ID{1}, syncer.ID{2}
	enrol, session := syncer.SignEnrolment(key, "K7M3P9XWQT", a), syncer.SignSession(key, server, a, []byte("challenge"))
	if err := syncer.VerifyEnrolment(public, "K7M3P9XWQT", a, enrol); err != nil {
		t.Error(err)
	}
	if err := syncer.VerifySession(public, server, a, []byte("challenge"), session); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"enrolment of another device":  syncer.VerifyEnrolment(public, "K7M3P9XWQT", b, enrol),
		"enrolment with another code":  syncer.VerifyEnrolment(public, "K7M3P9XWQX", a, enrol),
		"enrolment with another key":   syncer.VerifyEnrolment(other, "K7M3P9XWQT", a, enrol),
		"enrolment with no key":        syncer.VerifyEnrolment(nil, "K7M3P9XWQT", a, enrol),
		"session of another device":    syncer.VerifySession(public, server, b, []byte("challenge"), session),
		"session of another challenge": syncer.VerifySession(public, server, a, []byte("challengf"), session),
		"session with another key":     syncer.VerifySession(other, server, a, []byte("challenge"), session),
		"session at another server":    syncer.VerifySession(public, other, a, []byte("challenge"), session),
		"session at no server":         syncer.VerifySession(public, nil, a, []byte("challenge"), session),
		"session with a short key":     syncer.VerifySession(public[:31], server, a, []byte("challenge"), session),
		"a session as an enrolment":    syncer.VerifyEnrolment(public, "K7M3P9XWQT", a, session),
		"an enrolment as a session":    syncer.VerifySession(public, server, a, []byte("K7M3P9XWQT"), enrol),
	} {
		if fault.ReasonOf(err) != fault.BadSignature {
			t.Errorf("%s: %v, want %s", name, err, fault.BadSignature)
		}
	}
}

func TestCodes(t *testing.T) {
	seen := map[rune]int{}
	for range 2000 {
		c, err := syncer.NewCode(randomness)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := syncer.ParseCode(c.String()); err != nil || again != c || len(c.String()) != 11 || c.String()[5] != '-' {
			t.Fatalf("%q is read as %q, %v", c, again, err)
		}
		for _, r := range string(c) {
			seen[r]++
		}
	}
	if len(seen) != len(syncer.CodeAlphabet) {
		t.Errorf("%d characters occur, want %d", len(seen), len(syncer.CodeAlphabet))
	}
	for r, n := range seen { // 667 of each are expected; 150 is six times the deviation
		if n < 517 || n > 817 {
			t.Errorf("%q occurs %d times of 20000", r, n)
		}
	}
	if _, err := syncer.NewCode(strings.NewReader("short")); err == nil {
		t.Error("a code was made without randomness")
	}
	for _, bad := range []string{"", "K7M3P", "K7M3P-9XWQTT", "K7M3P-9XWQ0", "K7M3P-9XWQI", "K7M3P\x009XWQT", "K7M3P-9XWQ\xff", "贵阳贵阳贵阳贵阳贵阳", strings.Repeat("-", 129)} {
		if c, err := syncer.ParseCode(bad); fault.ReasonOf(err) != fault.CodeWrong {
			t.Errorf("ParseCode(%q) = %q, %v; want %s", bad, c, err, fault.CodeWrong)
		}
	}
}

// randomness is a fixed stream of bytes.
var randomness = func() *strings.Reader {
	var b strings.Builder
	for i := range 2000 {
		sum := syncer.DigestOf([]byte{byte(i), byte(i >> 8)})
		b.Write(sum[:])
	}
	return strings.NewReader(b.String())
}()

func TestInvitationReadsBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		i := syncer.Invitation{
			Server: rapid.SampledFrom([]string{"", "http://", "https://"}).Draw(r, "scheme") +
				rapid.SampledFrom([]string{"10.0.0.7", "hq.example", "[2001:db8::1]", "贵阳.example"}).Draw(r, "host") + ":8686",
			Key:  rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(r, "key"),
			Code: syncer.Code(rapid.StringOfN(rapid.RuneFrom([]rune(syncer.CodeAlphabet)), 10, 10, 10).Draw(r, "code")),
		}
		got, err := syncer.ParseInvitation("\n" + i.String() + "&later=1 ")
		if diff := cmp.Diff(i, got); err != nil || diff != "" {
			r.Fatalf("%v\n%s", err, diff)
		}
	})
}

func TestBadInvitations(t *testing.T) {
	const key = "oJql9HpnWYAv-VX43C0qFKXJnSO-l_hkEn-5OD8JRVWg"
	good := syncer.Invitation{Server: "h:1", Key: make([]byte, 32), Code: "K7M3P9XWQT"}.String()
	for _, bad := range []string{
		"", "hearth", "http://example.com/?v=1", strings.Replace(good, "v=1", "v=2", 1), strings.Replace(good, "v=1&", "", 1),
		good + "&code=K7M3P-9XWQT", good + "&server=other:1", good[:len(good)-3], strings.Replace(good, "h%3A1", "", 1),
		strings.Replace(good, "AAAA&", key+"&", 1), strings.Replace(good, "h%3A1", "h", 1), strings.Replace(good, "h%3A1", "user@h%3A1", 1),
		strings.Replace(good, "h%3A1", "h%3A1%2Fpath", 1), strings.Replace(good, "h%3A1", "h%0A%3A1", 1), strings.Replace(good, "h%3A1", "::1:1", 1),
		strings.Replace(good, "h%3A1", "h%3A123456", 1), good + "&x=%zz", good + "&x=" + strings.Repeat("x", 2000),
		strings.Replace(good, "AAAA&", "AAAA=&", 1), strings.Replace(good, "AAA&", "AAB&", 1), // not the only way to write these bytes
	} {
		if i, err := syncer.ParseInvitation(bad); err == nil {
			t.Errorf("%.100q was read as %+v", bad, i)
		} else if r := fault.ReasonOf(err); r != fault.BadInvitation && r != fault.CodeWrong {
			t.Errorf("%.100q: %v has reason %q", bad, err, r)
		}
	}
}

// FuzzParseInvitation feeds the reader of pictures and of codes: what it takes it gives back in one form.
func FuzzParseInvitation(f *testing.F) {
	f.Add(syncer.Invitation{Server: "https://hq.example:8686", Key: make([]byte, 32), Code: "K7M3P9XWQT"}.String())
	f.Add("hearth:enrol?v=1&server=[::1]:1&key=&code=k7m3p 9xwqt")
	f.Add("ｋ７ｍ３ｐ－９ｘｗｑｔ")
	f.Fuzz(func(t *testing.T, text string) {
		if i, err := syncer.ParseInvitation(text); err == nil {
			again, err := syncer.ParseInvitation(i.String())
			if err != nil || !cmp.Equal(i, again) || len(i.Key) != 32 {
				t.Fatalf("%+v became %+v, %v", i, again, err)
			}
		}
		if c, err := syncer.ParseCode(text); err == nil {
			again, err := syncer.ParseCode(c.String())
			if err != nil || again != c || len(c) != 10 {
				t.Fatalf("%q became %q, %v", c, again, err)
			}
		}
	})
}
