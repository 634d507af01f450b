package qr

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const invitation = "hearth:enrol?v=1&server=10.0.0.7%3A8686&key=0EqyMnQrtKs6E2i9RhXk5tAiSrcaAWuvhSCjMsl3hzc&code=K7M3P-9XWQT"

// read takes a code apart as a reader does, without correcting anything: what is there must be without error.
func read(t testing.TB, c *Code) string {
	t.Helper()
	version := (c.Size - 17) / 4
	var word int
	for i := range 6 {
		word |= bit(c.Dark(8, i)) << i
		word |= bit(c.Dark(5-i, 8)) << (9 + i)
	}
	word |= bit(c.Dark(8, 7))<<6 | bit(c.Dark(8, 8))<<7 | bit(c.Dark(7, 8))<<8
	again := 0
	for i := range 8 {
		again |= bit(c.Dark(c.Size-1-i, 8)) << i
	}
	for i := 8; i < 15; i++ {
		again |= bit(c.Dark(8, c.Size-15+i)) << i
	}
	if word != again || !c.Dark(8, c.Size-8) {
		t.Fatalf("the two copies of the format are %015b and %015b", word, again)
	}
	word ^= 0x5412
	if remBCH(word) != 0 { // it is divisible by the generator of the BCH code
		t.Fatalf("the format %015b is no word of its code", word)
	}
	if word>>13 != 0 {
		t.Fatalf("the level is %02b, want 00 for M", word>>13)
	}
	mask := word >> 10 & 7
	blank := &canvas{&Code{Size: c.Size, Version: version, dark: make([]bool, c.Size*c.Size)}, make([]bool, c.Size*c.Size)}
	blank.patterns()
	work := &canvas{&Code{Size: c.Size, Version: version, dark: modules(c)}, blank.fixed}
	work.mask(mask)
	var raw []byte
	n := 0
	for right := c.Size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5
		}
		up := (right+1)&2 == 0
		for step := range c.Size {
			y := step
			if up {
				y = c.Size - 1 - step
			}
			for _, x := range []int{right, right - 1} {
				if blank.fixed[y*c.Size+x] {
					continue
				}
				if n%8 == 0 {
					raw = append(raw, 0)
				}
				raw[n/8] |= byte(bit(work.Dark(x, y)) << (7 - n%8))
				n++
			}
		}
	}
	return open(t, version, raw[:rawModules(version)/8])
}

// open puts the blocks together again, checks that each is a word of the Reed-Solomon code, and reads the text.
func open(t testing.TB, version int, raw []byte) string {
	t.Helper()
	n, ecc, data := blocks[version], eccPerBlock[version], dataBytes(version)
	parts := make([][]byte, n)
	short := data / n
	at := 0
	for i := range short + 1 {
		for b := range n {
			if i < short || b >= n-data%n {
				parts[b] = append(parts[b], raw[at])
				at++
			}
		}
	}
	var text []byte
	for b := range n {
		text = append(text, parts[b]...)
	}
	for range ecc {
		for b := range n {
			parts[b] = append(parts[b], raw[at])
			at++
		}
	}
	if at != len(raw) {
		t.Fatalf("%d bytes of %d belong to blocks", at, len(raw))
	}
	exp, log := tables()
	for b, word := range parts {
		for power := range ecc {
			sum := byte(0)
			for _, v := range word { // Horner, by the tables of logarithms
				if sum != 0 {
					sum = exp[(log[sum]+power)%255]
				}
				sum ^= v
			}
			if sum != 0 {
				t.Fatalf("block %d has syndrome %d at %d", b, sum, power)
			}
		}
	}
	get := func(from, count int) int {
		v := 0
		for i := from; i < from+count; i++ {
			v = v<<1 | int(text[i/8]>>(7-i%8)&1)
		}
		return v
	}
	if get(0, 4) != 4 {
		t.Fatalf("the mode is %d, want 4", get(0, 4))
	}
	field := lengthBits(version)
	out := make([]byte, get(4, field))
	for i := range out {
		out[i] = byte(get(4+field+8*i, 8))
	}
	return string(out)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func modules(c *Code) []bool {
	out := make([]bool, c.Size*c.Size)
	for i := range out {
		out[i] = c.Dark(i%c.Size, i/c.Size)
	}
	return out
}

func remBCH(word int) int {
	for i := 14; i >= 10; i-- {
		if word>>i&1 == 1 {
			word ^= 0x537 << (i - 10)
		}
	}
	return word
}

func tables() (exp [255]byte, log [256]int) {
	v := 1
	for i := range 255 {
		exp[i], log[v] = byte(v), i
		if v <<= 1; v > 255 {
			v ^= 0x11d
		}
	}
	return exp, log
}

func TestEveryVersionReadsBack(t *testing.T) {
	seen := map[int]bool{}
	for version := 1; version <= 40; version++ {
		full := (8*dataBytes(version) - 4 - lengthBits(version)) / 8
		for _, n := range []int{full, full - 1} {
			text := strings.Repeat("GY-19 贵阳", n/12+1)[:n-n%12] + strings.Repeat("x", n%12)
			c, err := Encode(text)
			if err != nil || c.Version > version {
				t.Fatalf("%d bytes: version %v, %v, want at most %d", n, c, err, version)
			}
			seen[c.Version] = true
			if got := read(t, c); got != text {
				t.Errorf("version %d: read %q, want %q", version, got, text)
			}
		}
	}
	if len(seen) != 40 {
		t.Errorf("saw %d versions, want 40", len(seen))
	}
	if _, err := Encode(strings.Repeat("x", 2331)); err != nil {
		t.Errorf("2331 bytes: %v", err)
	}
	for _, bad := range []string{strings.Repeat("x", 2332), "\xff"} {
		if _, err := Encode(bad); err == nil {
			t.Errorf("%.10q was drawn", bad)
		}
	}
}

func TestAnyTextReadsBack(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringN(0, 60, 200).Draw(r, "text")
		c, err := Encode(text)
		if err != nil {
			r.Fatal(err)
		}
		if got := read(t, c); got != text {
			r.Fatalf("read %q, want %q", got, text)
		}
	})
}

// The standard's own example of error correction, annex I: "01234567" at 1-M.
func TestErrorCorrectionOfTheStandard(t *testing.T) {
	data := []byte{0x10, 0x20, 0x0c, 0x56, 0x61, 0x80, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11, 0xec, 0x11}
	want := []byte{0xa5, 0x24, 0xd4, 0xc1, 0xed, 0x36, 0xc7, 0x87, 0x2c, 0x55}
	if got := remainder(data, generatorOf(10)); !bytes.Equal(got, want) {
		t.Errorf("error correction = %x, want %x", got, want)
	}
}

// Both pictures show the same modules.
func TestPictures(t *testing.T) {
	c, err := Encode(invitation)
	if err != nil {
		t.Fatal(err)
	}
	for _, invert := range []bool{false, true} {
		var b strings.Builder
		if err := c.WriteText(&b, invert); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		for y := -quiet; y < c.Size+quiet; y++ {
			line := []rune(lines[(y+quiet)/2])
			for x := -quiet; x < c.Size+quiet; x++ {
				on := strings.ContainsRune("█▀", line[x+quiet])
				if (y+quiet)%2 == 1 {
					on = strings.ContainsRune("█▄", line[x+quiet])
				}
				if on != (c.Dark(x, y) == invert) {
					t.Fatalf("module %d,%d is drawn %v with invert %v", x, y, on, invert)
				}
			}
		}
	}
	var svg bytes.Buffer
	if err := c.WriteSVG(&svg, "<tablet & 07>"); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg.Bytes())); ; {
		if _, err := d.Token(); err != nil {
			if err != io.EOF {
				t.Fatalf("the SVG is not XML: %v", err)
			}
			break
		}
	}
}

// Where programs to draw and to read are at hand, they read what is drawn.
func TestZbarReadsIt(t *testing.T) {
	for _, tool := range []string{"rsvg-convert", "zbarimg"} {
		if _, err := exec.LookPath(tool); err == nil {
			continue
		}
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatalf("%s is not here, and HEARTH_READERS=all", tool)
		}
		t.Skipf("skipped: %s is not here", tool)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"invitation": invitation, "short": "K7M3P-9XWQT", "Chinese": "贵阳 2016：第七号平板", "long": strings.Repeat("hearth ", 100)} {
		c, err := Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		var svg bytes.Buffer
		if err := c.WriteSVG(&svg, name); err != nil {
			t.Fatal(err)
		}
		in, out := filepath.Join(dir, name+".svg"), filepath.Join(dir, name+".png")
		if err := os.WriteFile(in, svg.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if msg, err := exec.Command("rsvg-convert", "-o", out, in).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, msg)
		}
		got, err := exec.Command("zbarimg", "-q", "--raw", "-Sdisable", "-Sqrcode.enable", out).Output()
		if err != nil || strings.TrimSuffix(string(got), "\n") != text {
			t.Errorf("%s: read %q, %v; want %q", name, got, err, text)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	for b.Loop() {
		if _, err := Encode(invitation); err != nil {
			b.Fatal(err)
		}
	}
}
