package syncer

import (
	"os"
	"testing"

	"pgregory.net/rapid"
)

func TestRangeCoderReadsWhatItWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		few := rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "few")
		in := rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(few), rapid.Byte()), 0, 400).Draw(t, "bytes")
		var models [2]byteModel
		e := newRangeEncoder()
		for i, b := range in {
			e.byte(&models[i%2], b)
		}
		models = [2]byteModel{}
		d := newRangeDecoder(e.end())
		for i, want := range in {
			if got := d.byte(&models[i%2]); got != want {
				t.Fatalf("byte %d is %d, want %d", i, got, want)
			}
		}
	})
}

// A thousand answers of which nearly all are alike take a few dozen bytes.
func TestRangeCoderIsWorthIt(t *testing.T) {
	var m byteModel
	e := newRangeEncoder()
	for i := range 1000 {
		e.byte(&m, byte(1+i%50/49))
	}
	if n := len(e.end()); n > 40 {
		t.Errorf("%d bytes", n)
	}
}

func TestDictionariesAreWhatTheirIDsSay(t *testing.T) {
	entries, err := os.ReadDir("dict")
	if err != nil || len(entries) < 3 || len(entries) != len(Dictionaries()) {
		t.Fatalf("%d files, %d dictionaries, %v: want those of the household, school and migration questionnaires", len(entries), len(Dictionaries()), err)
	}
	for _, e := range entries {
		file, err := os.ReadFile("dict/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if d, err := openDictionary(file); err != nil || len(file) > 64<<10 || len(d.primer.children) == 0 {
			t.Errorf("%s: %v, %d bytes, want at most 64 KB with a sample", e.Name(), err, len(file))
		}
		for _, at := range []int{0, 3, 9, 100, len(file) / 2, len(file) - 1} {
			changed := append([]byte(nil), file...)
			changed[at] ^= 4
			if _, err := openDictionary(changed); err == nil {
				t.Errorf("%s: byte %d was changed and nobody noticed", e.Name(), at)
			}
		}
		if _, err := openDictionary(file[:len(file)/2]); err == nil {
			t.Errorf("%s: cut in half and nobody noticed", e.Name())
		}
	}
}
