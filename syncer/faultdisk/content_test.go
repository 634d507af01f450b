package faultdisk

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// A content that is written, cut and shared reads as plain bytes do, and what was shared stays as it was.
func TestContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c content
		var want []byte
		type held struct {
			c    content
			want []byte
		}
		var shared []held
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			off := rapid.IntRange(0, 3*pageSize).Draw(t, "off")
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				c.apply(op{int64(off), nil})
				want = append(want, make([]byte, max(0, off-len(want)))...)[:off:off]
			case 1:
				shared = append(shared, held{c.share(), bytes.Clone(want)})
			default:
				data := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "data")
				data = bytes.Repeat(data, rapid.IntRange(1, 200).Draw(t, "times"))
				c.apply(op{int64(off), data})
				want = append(want, make([]byte, max(0, off+len(data)-len(want)))...)
				copy(want[off:], data)
			}
			if !bytes.Equal(c.bytes(), want) {
				t.Fatal("it reads otherwise than it was written")
			}
			buf := make([]byte, 777)
			if n := c.read(buf, int64(off)); !bytes.Equal(buf[:n], want[min(off, len(want)):min(off+777, len(want))]) {
				t.Fatalf("a piece of %d bytes at %d reads otherwise", n, off)
			}
		}
		for _, h := range shared {
			if !bytes.Equal(h.c.bytes(), h.want) {
				t.Fatal("what was shared has changed")
			}
		}
	})
}

// What a sync that failed was for can be read, and is gone after a power cut although later syncs succeed.
func TestWhatASyncHasLostStaysLost(t *testing.T) {
	d := New(1)
	defer d.Close()
	if err := d.Make(d.Path("a")); err != nil {
		t.Fatal(err)
	}
	f := d.files["a"]
	step := func(off int64, text string, p Plan, want Fault) {
		t.Helper()
		if got := d.write(f, off, []byte(text)); got != None {
			t.Fatal(got)
		}
		d.Set(p)
		if got := d.sync("a", f); got != want {
			t.Fatalf("the sync says %v", got)
		}
		d.Set(Plan{})
	}
	step(0, "one", Plan{}, None)
	step(3, "two", Plan{Fail: BadSync, FailAt: 1, FailFor: 1}, BadSync)
	step(6, "six", Plan{}, None)
	if got := string(f.live.bytes()); got != "onetwosix" {
		t.Errorf("it reads %q", got)
	}
	d.Cut()
	if got := string(d.files["a"].live.bytes()); got != "one\x00\x00\x00six" {
		t.Errorf("after a power cut it reads %q", got)
	}
}
