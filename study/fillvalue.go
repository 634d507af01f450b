package study

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"cel.dev/cel-go/common/types/ref"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// An answer is an int64, uint64, float64, string, bool, []byte, or []int64 for several choices.

// palette is what expressions say of the answers that they read: the numbers and texts that they compare with.
type palette struct {
	numbers  []float64
	texts    []string
	patterns []string
}

func (p *palette) add(v ref.Val) {
	if v == nil {
		return
	}
	switch x := v.Value().(type) {
	case int64:
		p.numbers = append(p.numbers, float64(x))
	case float64:
		p.numbers = append(p.numbers, x)
	case string:
		p.texts = append(p.texts, x)
		if n, err := strconv.ParseFloat(x, 64); err == nil {
			p.numbers = append(p.numbers, n)
		}
	}
}

// bounds are the field rules of buf.validate that matter for what is proposed.
type bounds struct {
	low, high          float64
	length, least, top int // of a text; 0: not said
	pattern            string
	items, mostItems   int
}

func boundsOf(fd protoreflect.FieldDescriptor) bounds {
	b := bounds{low: math.Inf(-1), high: math.Inf(1)}
	rules, _ := proto.GetExtension(fd.Options(), validate.E_Field).(*validate.FieldRules)
	if r := rules.GetRepeated(); r != nil {
		b.items, b.mostItems = int(r.GetMinItems()), int(r.GetMaxItems())
		rules = r.GetItems()
	}
	if rules == nil {
		return b
	}
	if s := rules.GetString(); s != nil {
		b.length, b.least, b.top, b.pattern = int(s.GetLen()), int(s.GetMinLen()), int(s.GetMaxLen()), s.GetPattern()
		return b
	}
	if s := rules.GetBytes(); s != nil {
		b.length = int(s.GetLen())
		return b
	}
	m := rules.ProtoReflect()
	set := m.WhichOneof(m.Descriptor().Oneofs().ByName("type"))
	if set == nil || set.Message() == nil {
		return b
	}
	of := m.Get(set).Message()
	read := func(name protoreflect.Name) (float64, bool) {
		f := of.Descriptor().Fields().ByName(name)
		if f == nil || !of.Has(f) {
			return 0, false
		}
		switch x := of.Get(f).Interface().(type) {
		case int32:
			return float64(x), true
		case int64:
			return float64(x), true
		case uint32:
			return float64(x), true
		case uint64:
			return float64(x), true
		case float32:
			return float64(x), true
		case float64:
			return x, true
		}
		return 0, false
	}
	step := 1.0
	if set.Name() == "double" || set.Name() == "float" {
		step = 0.01
	}
	for name, off := range map[protoreflect.Name]float64{"gte": 0, "gt": step} {
		if x, ok := read(name); ok {
			b.low = max(b.low, x+off)
		}
	}
	for name, off := range map[protoreflect.Name]float64{"lte": 0, "lt": -step} {
		if x, ok := read(name); ok {
			b.high = min(b.high, x+off)
		}
	}
	return b
}

// propose is an answer of the kind that a question takes; whether it is a good one, its checks say. Offered are the
// choices that its filter leaves. False: there is nothing to propose.
func propose(r *rand.Rand, q *questionnaire.Question, offered []int32, p *palette, now time.Time) (any, bool) {
	b := boundsOf(q.Field)
	switch {
	case q.Choices != nil && q.List:
		return severalOf(r, q, offered, b), len(offered) > 0
	case q.Choices != nil:
		if len(offered) == 0 {
			return nil, false
		}
		return int64(offered[r.IntN(len(offered))]), true
	case q.List:
		return nil, false
	}
	switch q.Field.Kind() {
	case protoreflect.BoolKind:
		return r.IntN(2) == 0, true
	case protoreflect.BytesKind:
		sum := sha256.Sum256(fmt.Appendf(nil, "%d", r.Uint64()))
		if b.length > 0 && b.length < len(sum) {
			return sum[:b.length], true
		}
		return sum[:], true
	case protoreflect.StringKind:
		return proposeText(r, q.Options.GetFormat(), b, p, now), true
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		x := proposeNumber(r, b, p.numbers)
		if r.IntN(3) == 0 {
			x = max(b.low, min(b.high, math.Round((x+r.Float64())*100)/100))
		}
		return x, true
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		b.low = max(b.low, 0)
		return uint64(proposeNumber(r, b, p.numbers)), true
	case protoreflect.MessageKind, protoreflect.GroupKind, protoreflect.EnumKind:
		return nil, false
	}
	if k := q.Field.Kind(); k == protoreflect.Int32Kind || k == protoreflect.Sint32Kind || k == protoreflect.Sfixed32Kind {
		b.low, b.high = max(b.low, math.MinInt32), min(b.high, math.MaxInt32)
	}
	return int64(math.Round(proposeNumber(r, b, p.numbers))), true
}

// severalOf is one to three of the choices; one that excludes all others stands alone.
func severalOf(r *rand.Rand, q *questionnaire.Question, offered []int32, b bounds) []int64 {
	n := 1 + r.IntN(3)
	n = min(max(n, b.items), len(offered))
	if b.mostItems > 0 {
		n = min(n, b.mostItems)
	}
	var out []int64
	for _, i := range r.Perm(len(offered))[:n] {
		if slices.Contains(q.Choices.Exclusive, offered[i]) {
			if len(out) == 0 {
				return []int64{int64(offered[i])}
			}
			continue
		}
		out = append(out, int64(offered[i]))
	}
	if q.Options.GetFormat() != formv1.Format_FORMAT_RANK {
		slices.Sort(out)
	}
	return out
}

// between draws from what lies on or between points, each stretch being as likely as another.
func between(r *rand.Rand, points []float64, reach float64) float64 {
	slices.Sort(points)
	points = slices.Compact(points)
	i := r.IntN(len(points) + 1)
	switch i {
	case 0:
		return points[0] - r.Float64()*reach
	case len(points):
		return points[i-1] + r.Float64()*reach
	}
	return points[i-1] + r.Float64()*(points[i]-points[i-1])
}

func proposeNumber(r *rand.Rand, b bounds, numbers []float64) float64 {
	points := []float64{0}
	for _, n := range numbers {
		if !math.IsNaN(n) && math.Abs(n) < 1e15 {
			points = append(points, n)
		}
	}
	for _, n := range []float64{b.low, b.high} {
		if !math.IsInf(n, 0) {
			points = append(points, n)
		}
	}
	var x float64
	switch k := r.IntN(10); {
	case k < 2:
		x = points[r.IntN(len(points))] + float64(r.IntN(3)-1)
	case k < 5:
		x = float64(r.IntN(8))
	default:
		x = between(r, points, 20)
	}
	return max(b.low, min(b.high, math.Round(x)))
}

// proposeText is a text of a format.
func proposeText(r *rand.Rand, format formv1.Format, b bounds, p *palette, now time.Time) string {
	if b.pattern != "" {
		return matching(r, b.pattern)
	}
	if len(p.patterns) > 0 && r.IntN(4) > 0 {
		return matching(r, p.patterns[r.IntN(len(p.patterns))])
	}
	switch format {
	case formv1.Format_FORMAT_DATE:
		return proposeDay(r, p, now).Format(time.DateOnly)
	case formv1.Format_FORMAT_DATE_TIME:
		d := proposeDay(r, p, now)
		return time.Date(d.Year(), d.Month(), d.Day(), r.IntN(24), r.IntN(60), r.IntN(60), 0, chinaTime).Format(rfc3339Milli)
	case formv1.Format_FORMAT_TIME:
		return fmt.Sprintf("%02d:%02d:00", r.IntN(24), r.IntN(60))
	case formv1.Format_FORMAT_PHONE:
		return fmt.Sprintf("139%08d", r.IntN(100_000_000))
	case formv1.Format_FORMAT_RESIDENT_ID:
		born := now.AddDate(0, 0, -r.IntN(80*365))
		return residentID("520102", born.Year(), int(born.Month()), born.Day(), r.IntN(1000))
	case formv1.Format_FORMAT_GEO_TRACE, formv1.Format_FORMAT_GEO_SHAPE:
		return proposeLine(r, format == formv1.Format_FORMAT_GEO_SHAPE)
	case formv1.Format_FORMAT_BARCODE:
		return fmt.Sprintf("%013d", r.Int64N(1e13))
	}
	return proposeWords(r, b, p)
}

// proposeWords is free text, or a text that the expressions compare with, or one as long as they say.
func proposeWords(r *rand.Rand, b bounds, p *palette) string {
	s := fmt.Sprintf("%s %d", []string{"answer", "some words", "回答", "réponse"}[r.IntN(4)], r.IntN(1000))
	switch k := r.IntN(10); {
	case k < 3 && len(p.texts) > 0:
		s = p.texts[r.IntN(len(p.texts))]
	case k < 7 && len(p.numbers) > 0:
		n := int(p.numbers[r.IntN(len(p.numbers))]) + r.IntN(3) - 1
		if k%2 == 0 && n >= 1 && n <= 64 {
			s = digits(r, n)
		} else {
			s = strconv.Itoa(n)
		}
	}
	length := []rune(s)
	for b.length > 0 && len(length) < b.length || len(length) < b.least {
		length = append(length, rune('a'+r.IntN(26)))
	}
	if most := b.top; b.length > 0 || most > 0 && len(length) > most {
		if b.length > 0 {
			most = b.length
		}
		length = length[:most]
	}
	return string(length)
}

func digits(r *rand.Rand, n int) string {
	var s strings.Builder
	for i := range n {
		d := r.IntN(10)
		if i == 0 && d == 0 {
			d = 1
		}
		s.WriteByte(byte('0' + d))
	}
	return s.String()
}

// proposeDay is a day before now, or near the days and the spans of time that expressions name.
func proposeDay(r *rand.Rand, p *palette, now time.Time) time.Time {
	day := func(t time.Time) float64 { return math.Floor(float64(t.Unix()+8*3600) / 86400) }
	points := []float64{day(now), day(now) - 30, day(now) - 20*365}
	for _, s := range p.texts {
		if len(s) >= 10 {
			if t, err := time.Parse(time.DateOnly, s[:10]); err == nil {
				points = append(points, math.Floor(float64(t.Unix())/86400))
			}
		}
	}
	for _, n := range p.numbers {
		if n > 0 && n <= 120 {
			points = append(points, day(now.AddDate(-int(n), 0, 0)), day(now.AddDate(0, -int(n), 0)), day(now)-n, day(now)+n)
		}
	}
	n := points[r.IntN(len(points))] + float64(r.IntN(3)-1)
	if r.IntN(3) > 0 {
		n = between(r, points, 60)
	}
	return time.Unix(int64(math.Floor(n))*86400, 0).UTC()
}

// proposeLine is a line of positions, or an area.
func proposeLine(r *rand.Rand, closed bool) string {
	var points []string
	for range 3 {
		points = append(points, fmt.Sprintf("%.6f %.6f 0 5", 26+r.Float64(), 106+r.Float64()))
	}
	if closed {
		points = append(points, points[0])
	}
	return strings.Join(points, ";")
}

// put writes an answer into a message.
func put(m protoreflect.Message, fd protoreflect.FieldDescriptor, answer any) {
	one := func(x int64) protoreflect.Value {
		switch fd.Kind() {
		case protoreflect.EnumKind:
			return protoreflect.ValueOfEnum(protoreflect.EnumNumber(x))
		case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
			return protoreflect.ValueOfInt32(int32(x))
		case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
			return protoreflect.ValueOfUint32(uint32(x))
		case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
			return protoreflect.ValueOfUint64(uint64(x))
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(float64(x))
		case protoreflect.FloatKind:
			return protoreflect.ValueOfFloat32(float32(x))
		}
		return protoreflect.ValueOfInt64(x)
	}
	switch x := answer.(type) {
	case []int64:
		m.Clear(fd)
		for _, n := range x {
			m.Mutable(fd).List().Append(one(n))
		}
	case int64:
		m.Set(fd, one(x))
	case uint64:
		m.Set(fd, one(int64(x)))
	case float64:
		switch fd.Kind() {
		case protoreflect.DoubleKind:
			m.Set(fd, protoreflect.ValueOfFloat64(x))
		case protoreflect.FloatKind:
			m.Set(fd, protoreflect.ValueOfFloat32(float32(x)))
		default:
			m.Set(fd, one(int64(x)))
		}
	case string:
		if fd.Kind() == protoreflect.StringKind {
			m.Set(fd, protoreflect.ValueOfString(x))
		}
	case bool:
		if fd.Kind() == protoreflect.BoolKind {
			m.Set(fd, protoreflect.ValueOfBool(x))
		}
	case []byte:
		m.Set(fd, protoreflect.ValueOfBytes(x))
	}
}
