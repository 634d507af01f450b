package questionnaire

import (
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// filler fills messages by reflection, with values near those that rules speak of and with values that nobody expects.
type filler struct {
	t *rapid.T
	// share of fields that are set, in tenths.
	share int
	left  int
}

// interviews draws interviews in any of the questionnaires, some nearly empty and some nearly full.
func interviews(t *rapid.T) *surveyv1.Interview {
	f := &filler{t: t, share: rapid.IntRange(1, 9).Draw(t, "share"), left: 1500}
	iv := &surveyv1.Interview{}
	f.fill(iv.ProtoReflect(), 0)
	m := iv.ProtoReflect()
	one := m.Descriptor().Oneofs().ByName("answers").Fields()
	fd := one.Get(rapid.IntRange(0, one.Len()-1).Draw(t, "questionnaire"))
	f.left = 1500
	f.fill(m.Mutable(fd).Message(), 0)
	return iv
}

func (f *filler) fill(m protoreflect.Message, depth int) {
	for fd := range fieldsOf(m.Descriptor()) {
		if f.left <= 0 || rapid.IntRange(0, 9).Draw(f.t, "set") >= f.share {
			continue
		}
		f.left--
		switch {
		case fd.IsMap():
			reasons := m.Mutable(fd).Map()
			for range rapid.IntRange(0, 3).Draw(f.t, "reasons") {
				key := protoreflect.ValueOfUint32(rapid.Uint32Range(0, 40).Draw(f.t, "number")).MapKey()
				reasons.Set(key, protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32Range(-1, 6).Draw(f.t, "reason"))))
			}
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range rapid.IntRange(0, 4).Draw(f.t, "rows") {
				if fd.Message() != nil {
					f.message(list.AppendMutable().Message(), depth)
				} else {
					list.Append(f.scalar(fd))
				}
			}
		case fd.Message() != nil:
			f.message(m.Mutable(fd).Message(), depth)
		default:
			m.Set(fd, f.scalar(fd))
		}
	}
}

func (f *filler) message(m protoreflect.Message, depth int) {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		ts.Seconds = rapid.Int64Range(-10, 10).Draw(f.t, "seconds")
		ts.Nanos = rapid.Int32Range(0, 2).Draw(f.t, "nanos")
		return
	}
	if depth < 6 {
		f.fill(m, depth+1)
	}
}

func (f *filler) scalar(fd protoreflect.FieldDescriptor) protoreflect.Value {
	whole := func(least, most int64) int64 {
		switch rapid.IntRange(0, 9).Draw(f.t, "size") {
		case 0:
			return least
		case 1:
			return most
		case 2, 3:
			return rapid.Int64Range(max(least, 0), 3000).Draw(f.t, "whole")
		}
		return rapid.Int64Range(max(least, -2), 40).Draw(f.t, "whole")
	}
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(f.t, "bool"))
	case protoreflect.EnumKind:
		if rapid.IntRange(0, 19).Draw(f.t, "unknown") == 0 {
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32().Draw(f.t, "enum")))
		}
		values := fd.Enum().Values()
		return protoreflect.ValueOfEnum(values.Get(rapid.IntRange(0, values.Len()-1).Draw(f.t, "enum")).Number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(whole(math.MinInt32, math.MaxInt32)))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(whole(math.MinInt64, math.MaxInt64))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(whole(0, math.MaxUint32)))
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		x := rapid.SampledFrom([]float64{0, 0.5, 1, 60, 100, 250, -1, 1e9, math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(f.t, "double")
		if fd.Kind() == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(x))
		}
		return protoreflect.ValueOfFloat64(x)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(f.t, "bytes"))
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.SampledFrom([]string{"", "贵州", "5201", "520103", "52010", "11010119900307123X", "07:30", "a-b", "杨大山"}).Draw(f.t, "text"))
	}
	panic("no value for a field of kind " + fd.Kind().String())
}
