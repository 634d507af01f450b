package questionnaire

import (
	"fmt"
	"math"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// guesser fills answers with values near those that the rules of questionnaires speak of, and with some that nobody expects.
type guesser struct {
	*rand.Rand
	share int // of the fields that are set, in tenths
	left  int // fields that may still be set
}

func newGuesser(seed uint64) *guesser {
	g := &guesser{Rand: rand.New(rand.NewPCG(seed, 4)), left: 400}
	g.share = 2 + g.IntN(8)
	return g
}

// answers are some answers to a questionnaire.
func (g *guesser) answers(q *Questionnaire) proto.Message {
	m := q.New()
	g.module(m.ProtoReflect(), q.Top(), 0)
	return m
}

func (g *guesser) module(m protoreflect.Message, of *Module, depth int) {
	for _, q := range of.Questions {
		if g.left <= 0 || g.IntN(10) >= g.share {
			continue
		}
		g.left--
		switch {
		case q.List:
			list := m.Mutable(q.Field).List()
			for range g.IntN(4) {
				if q.Module != nil {
					g.module(list.AppendMutable().Message(), q.Module, depth+1)
				} else {
					list.Append(g.value(q))
				}
			}
		case q.Module != nil:
			g.module(m.Mutable(q.Field).Message(), q.Module, depth+1)
		case q.Field.Message() != nil: // a time, which these questionnaires do not ask for
		default:
			m.Set(q.Field, g.value(q))
		}
	}
	if of.missing == nil || g.IntN(3) > 0 {
		return
	}
	reasons := m.Mutable(of.missing.field).Map()
	for range g.IntN(4) {
		number := uint32(g.IntN(30))
		if len(of.Questions) > 0 && g.IntN(4) > 0 {
			number = uint32(of.Questions[g.IntN(len(of.Questions))].Field.Number())
		}
		reason := formv1.Missing(1 + g.IntN(4))
		if g.IntN(20) == 0 {
			reason = formv1.Missing(g.IntN(9) - 1)
		}
		reasons.Set(protoreflect.ValueOfUint32(number).MapKey(), protoreflect.ValueOfEnum(protoreflect.EnumNumber(reason)))
	}
}

// texts are what a text may hold, by its format; half of them are as they should be.
var texts = map[formv1.Format][]string{
	formv1.Format_FORMAT_UNSPECIFIED: {"", "a-b", "贵州", "5201", "520103", "520100000000", " Banana ", "3.5", "2016-07-21", "52", "😀é", "rice", "-7"},
	formv1.Format_FORMAT_DATE:        {"2016-07-21", "2016-02-29", "2015-02-29", "1980-01-31", "2016-7-1", "2016-07-21T10:00:00Z", "2030-12-31", "0001-01-01"},
	formv1.Format_FORMAT_TIME:        {"18:05", "18:05:00", "07:30:59.123", "24:00", "7:30", "18:05:00+08:00"},
	formv1.Format_FORMAT_DATE_TIME:   {"2016-07-21T18:05:00+08:00", "2016-07-20T23:59:59.999Z", "2016-07-21T18:05:00", "2016-07-21", "1969-12-31T23:00:00-01:00"},
	formv1.Format_FORMAT_PHONE:       {"13800138000", "+86 138 0013 8000", "0851-8765", "abc", "1"},
	formv1.Format_FORMAT_RESIDENT_ID: {"11010519491231002X", "440524188001010014", "110105194912310021", "11010519491231002x", "1"},
	formv1.Format_FORMAT_GEO_TRACE:   {"26.58 106.71;26.6 106.72 1100 5", "26.58 106.71", "26.58 106.71; 91 0", " 26.58  106.71 ; 0 0 ;"},
	formv1.Format_FORMAT_GEO_SHAPE:   {"1 1;1 2;2 2;1 1", "1 1;1 2;2 2", "1 1;2 2;1 1", "1 1;1 2;2 2;1 1.0", "x"},
}

func (g *guesser) value(q *Question) protoreflect.Value {
	fd := q.Field
	whole := func(least, most int64) int64 {
		switch g.IntN(16) {
		case 0:
			return least
		case 1:
			return most
		case 2, 3:
			return g.Int64N(3000)
		}
		return max(least, g.Int64N(70)-3)
	}
	if q.Choices != nil && g.IntN(12) > 0 && len(q.Choices.List) > 0 {
		number := q.Choices.List[g.IntN(len(q.Choices.List))].Number
		if fd.Enum() != nil {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(number))
		}
		return protoreflect.ValueOfInt32(number)
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(g.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(g.IntN(60) - 1))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(whole(math.MinInt32, math.MaxInt32)))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(whole(math.MinInt64, math.MaxInt64))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(whole(0, math.MaxUint32)))
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		x := []float64{0, 0.5, 1, 60, 100, 40.5, 2.675, -1, 1e9, 300.25, 0.1, math.NaN(), math.Inf(1), math.Inf(-1)}[g.IntN(14)]
		if fd.Kind() == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(x))
		}
		return protoreflect.ValueOfFloat64(x)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(make([]byte, g.IntN(40)))
	case protoreflect.StringKind:
		some := texts[q.Options.GetFormat()]
		if some == nil {
			some = texts[formv1.Format_FORMAT_UNSPECIFIED]
		}
		return protoreflect.ValueOfString(some[g.IntN(len(some))])
	}
	panic(fmt.Sprintf("no value for a field of kind %s", fd.Kind()))
}
