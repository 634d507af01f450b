package syncer_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// downVectors are the examples of sections 22 to 25 of PROTOCOL.md. Bytes and 64-bit numbers are hexadecimal.
type downVectors struct {
	Rows    []rowVector  `json:"rows"`
	Buckets []sumVector  `json:"buckets"`
	DownSum string       `json:"down_sum"`
	Secret  string       `json:"hint_secret"`
	Study   string       `json:"hint_study"`
	HintKey string       `json:"hint_key"`
	Hints   []hintVector `json:"hints"`
}

type rowVector struct {
	Kind        int32  `json:"kind"`
	Key         string `json:"key"`
	Body        string `json:"body"`
	Fingerprint string `json:"fingerprint"`
}

type sumVector struct {
	Kind  int32  `json:"kind"`
	Scope string `json:"scope"`
	Sum   string `json:"sum"`
}

type hintVector struct {
	Surname    string   `json:"surname"`
	BirthYears []int    `json:"birth_years"`
	Sex        int      `json:"sex"`
	Phone      string   `json:"phone"`
	ResidentID string   `json:"resident_id"`
	Tokens     []string `json:"tokens"`
}

func makeDownVectors() downVectors {
	number := func(n uint64) string { return fmt.Sprintf("%016x", n) }
	v := downVectors{Secret: hex.EncodeToString(bytes.Repeat([]byte{0x33}, 32)), Study: "guiyang-2016"}
	var states []*servicev1.BucketState
	sums := map[int32]uint64{}
	for _, r := range []struct {
		kind servicev1.BucketKind
		key  string
		body []byte
	}{
		{servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, "3b241101-e2bb-4255-8caf-4136c566a962", []byte("one")},
		{servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, "花果园", nil},
		{servicev1.BucketKind_BUCKET_KIND_ROSTER, "3b241101-e2bb-4255-8caf-4136c566a962", []byte("one")},
	} {
		f := syncer.RowFingerprint(r.kind, r.key, r.body)
		sums[int32(r.kind)] += f
		v.Rows = append(v.Rows, rowVector{int32(r.kind), r.key, hex.EncodeToString(r.body), number(f)})
	}
	for _, b := range []struct {
		kind  servicev1.BucketKind
		scope string
	}{{servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS, "E07"}, {servicev1.BucketKind_BUCKET_KIND_REVIEWS, "E07"}, {servicev1.BucketKind_BUCKET_KIND_ROSTER, "58ca0e2b2a1d7c40"}} {
		states = append(states, &servicev1.BucketState{Kind: b.kind.Enum(), Scope: proto.String(b.scope), Sum: proto.Uint64(sums[int32(b.kind)])})
		v.Buckets = append(v.Buckets, sumVector{int32(b.kind), b.scope, number(sums[int32(b.kind)])})
	}
	v.DownSum = number(syncer.DownSum(states))
	key := syncer.HintKey(bytes.Repeat([]byte{0x33}, 32), v.Study)
	v.HintKey = hex.EncodeToString(key)
	for _, c := range []syncer.Clue{
		{Surname: "wan", BirthYears: []int{1980}, Sex: 1},
		{Surname: "wan", BirthYears: []int{1979, 1980}, Sex: 2, Phone: "+86 138-0000-1111", ResidentID: "52010319800101123x"},
		{Surname: "wan", Sex: 1, Phone: "１３８００００１１１１", ResidentID: "123X"},
		{BirthYears: []int{1980}, ResidentID: "123X"},
		{Surname: "ouyan", BirthYears: []int{1980}, Phone: "1234567"},
	} {
		h := hintVector{c.Surname, c.BirthYears, c.Sex, c.Phone, c.ResidentID, []string{}}
		for _, t := range syncer.Hints(key, c) {
			h.Tokens = append(h.Tokens, number(t))
		}
		v.Hints = append(v.Hints, h)
	}
	return v
}

func TestDownVectors(t *testing.T) {
	const path = "testdata/down.json"
	got := makeDownVectors()
	if *update {
		raw, err := json.MarshalIndent(got, "", "  ")
		if err == nil {
			err = os.WriteFile(path, append(raw, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want downVectors
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
	same := map[string]int{}
	for _, h := range got.Hints {
		for _, token := range h.Tokens {
			same[token]++
		}
	}
	// The number written with blanks or in full width, and the number's end or all of it, are the same clue.
	if twice := len(got.Hints[1].Tokens); twice != 5 || same[got.Hints[3].Tokens[0]] != 2 {
		t.Errorf("%d tokens of the second, and the identity number's end is met %d times", twice, same[got.Hints[3].Tokens[0]])
	}
}
