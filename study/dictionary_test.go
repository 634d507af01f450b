package study_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var updateDictionaries = flag.Bool("update", false, "make the zstd dictionaries of syncer/dict anew")

var builtin = sync.OnceValues(questionnaire.Builtin)

// lane is the one in which sample records stand.
var lane = syncer.LaneID{Device: syncer.ID{1}, Epoch: syncer.ID{2}}

// sealed is an interview as the record of a tablet.
func sealed(t testing.TB, random *rand.Rand, iv *surveyv1.Interview) ([]byte, syncer.Digest) {
	t.Helper()
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	id, boot := make([]byte, 16), make([]byte, 16)
	for _, b := range [][]byte{id, boot} {
		binary.BigEndian.PutUint64(b, random.Uint64())
		binary.BigEndian.PutUint64(b[8:], random.Uint64())
	}
	ms := iv.GetStartTime().AsTime().UnixMilli() + int64(random.IntN(3_600_000))
	binary.BigEndian.PutUint32(id, uint32(ms>>16))
	binary.BigEndian.PutUint16(id[4:], uint16(ms))
	id[6] = id[6]&0x0f | 0x70
	name := string(iv.ProtoReflect().WhichOneof(iv.ProtoReflect().Descriptor().Oneofs().ByName("answers")).Message().FullName())
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	if err != nil {
		t.Fatal(err)
	}
	q, _ := set.Find(name)
	raw, d, err := syncer.Seal(&servicev1.Record{
		Id: id, Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: iv.InterviewId, Study: iv.Study, Round: iv.Round,
		Part: proto.Uint64(syncer.Part(iv.GetStudy(), iv.GetSiteId())), Author: iv.Enumerator, Device: lane.Device[:],
		Questionnaire: &name, QuestionnaireVersion: iv.QuestionnaireVersion, SchemaFingerprint: q.Fingerprint(iv.GetQuestionnaireVersion()),
		WallTimeMs: proto.Int64(ms), BootId: boot, MonotonicMs: proto.Int64(int64(random.IntN(30_000_000))), Payload: payload,
	})
	if err != nil {
		t.Fatal(err)
	}
	return raw, d
}

// fresh gives an interview of the bundled study ids of its own, and codes that are not those of the study, so that a
// dictionary learns the questionnaire and not the study.
func fresh(random *rand.Rand, iv *surveyv1.Interview) *surveyv1.Interview {
	iv = proto.CloneOf(iv)
	iv.InterviewId = proto.String(uuid.NewString())
	iv.Study = proto.String(fmt.Sprintf("study-%c%d", 'a'+random.IntN(26), random.IntN(100)))
	iv.Enumerator = proto.String(fmt.Sprintf("E%03d", random.IntN(1000)))
	return iv
}

// samples are interviews by questionnaire: simulated households, and the bundled study's schools and migrants.
func samples(t testing.TB, households int, seed uint64) map[string][]*surveyv1.Interview {
	t.Helper()
	all := map[string][]*surveyv1.Interview{}
	add := func(iv *surveyv1.Interview) {
		m := iv.ProtoReflect()
		if f := m.WhichOneof(m.Descriptor().Oneofs().ByName("answers")); f != nil && f.Message() != nil {
			name := string(f.Message().FullName())
			all[name] = append(all[name], iv)
		}
	}
	_, err := study.Simulate(study.SimulateOptions{Households: households, Tablets: 20, Seed: seed}, func(_ int, iv *surveyv1.Interview) error {
		add(iv)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	tablets, err := study.Tablets()
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range tablets {
		for iv, err := range tab.Interviews() {
			if err != nil {
				t.Fatal(err)
			}
			add(iv)
		}
	}
	return all
}

func texts(t testing.TB, random *rand.Rand, ivs []*surveyv1.Interview) [][]byte {
	t.Helper()
	var out [][]byte
	for _, iv := range ivs {
		raw, d := sealed(t, random, iv)
		out = append(out, syncer.PackText(lane, []syncer.Digest{d}, [][]byte{raw}, 0).Text)
	}
	return out
}

// Sizes of a dictionary, which travels with the program.
const (
	dictionaryBytes = 64 << 10
	textBytes       = 40 << 10
	sampleRecords   = 200
)

// trained makes a zstd dictionary: its content are texts as they come, as many as fit, and its tables are those of other texts
// that were written with that content before them.
func trained(t testing.TB, texts [][]byte) []byte {
	t.Helper()
	third := len(texts) / 3
	var history, rest []byte
	for _, text := range texts[third:] {
		if len(history)+len(text) < textBytes {
			history = append(history, text...)
		}
	}
	for _, text := range texts[:third] {
		if len(history)+len(rest)+len(text) < textBytes {
			rest = append(rest, text...)
		}
	}
	d, err := zstd.BuildDict(zstd.BuildDictOptions{
		ID: 1 << 20, Contents: texts[:third], History: history, Offsets: [3]int{1, 4, 8}, Level: zstd.SpeedBestCompression,
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(d[:len(d)-len(history)], rest, history)
}

// without is an interview of which only the answers in numbers are left, with ids that take no space.
func without(iv *surveyv1.Interview) *surveyv1.Interview {
	iv = proto.CloneOf(iv)
	blank(iv.ProtoReflect())
	iv.InterviewId = proto.String("00000000-0000-4000-8000-000000000000")
	return iv
}

func blank(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				blank(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			blank(v.Message())
		case f.Kind() == protoreflect.StringKind && !f.IsList():
			m.Set(f, protoreflect.ValueOfString(" "))
		}
		return true
	})
}

func TestDictionaries(t *testing.T) {
	if !*updateDictionaries {
		t.Skip("skipped: makes the dictionaries anew only with -update")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, ivs := range samples(t, 600, 11) {
		for i := range ivs {
			ivs[i] = fresh(random, ivs[i])
		}
		zdict := trained(t, texts(t, random, ivs))
		var digests []syncer.Digest
		var raws [][]byte
		random.Shuffle(len(ivs), func(i, j int) { ivs[i], ivs[j] = ivs[j], ivs[i] })
		for _, iv := range ivs[:min(len(ivs), sampleRecords)] {
			raw, d := sealed(t, random, without(iv))
			raws, digests = append(raws, raw), append(digests, d)
		}
		file, err := syncer.NewDictionary(zdict, syncer.PackText(lane, digests, raws, 0))
		if err != nil {
			t.Fatal(err)
		}
		if len(file) > dictionaryBytes {
			t.Errorf("%s: %d bytes, want at most %d", name, len(file), dictionaryBytes)
		}
		if err := os.WriteFile(filepath.Join("..", "syncer", "dict", name+".dict"), file, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d bytes, %d of them text, of %d interviews", name, len(file), len(zdict), len(ivs))
	}
}
