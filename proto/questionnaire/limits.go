package questionnaire

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// limit is one field rule of buf.validate as a closure: the few kinds that questionnaires use, with the rule ids and the
// verdicts of protovalidate, at a tenth of the time.
type limit struct {
	// rule is the full name, "hearth.survey.v1.HouseholdMember.age/int32.gte_lte".
	rule string
	// bounds is what the answer must be, for the codebook; text says so in a sentence, for a flag.
	bounds *formv1.Text
	text   *formv1.Text
	// holds is given a value that is set.
	holds func(protoreflect.Value) bool
}

// compileLimits reads the field rules of a field: those of the whole value, and those of each item of a repeated field.
// A rule of a kind that is not known here is an error, so that none is silently left out.
func compileLimits(f protoreflect.FieldDescriptor) (whole, items []limit, err error) {
	rules, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	if rules == nil {
		return nil, nil, nil
	}
	repeated := rules.GetRepeated()
	if repeated == nil {
		whole, err = compileScalar(f, rules)
		return whole, nil, err
	}
	c := &limitCompiler{field: f, kind: "repeated"}
	c.known(rules.ProtoReflect(), "repeated")
	c.known(repeated.ProtoReflect(), "min_items", "max_items", "unique", "items")
	if repeated.HasMinItems() {
		n := int(repeated.GetMinItems())
		c.add("min_items", fmt.Sprintf("at least %d answers", n), fmt.Sprintf("至少%d项", n),
			func(v protoreflect.Value) bool { return v.List().Len() >= n })
	}
	if repeated.HasMaxItems() {
		n := int(repeated.GetMaxItems())
		c.add("max_items", fmt.Sprintf("at most %d answers", n), fmt.Sprintf("最多%d项", n),
			func(v protoreflect.Value) bool { return v.List().Len() <= n })
	}
	if repeated.GetUnique() {
		if f.Message() != nil {
			c.fail("unique of messages")
		}
		c.add("unique", "each answer only once", "每项只能出现一次", func(v protoreflect.Value) bool { return unique(v.List()) })
	}
	if c.err == nil && repeated.GetItems() != nil {
		items, c.err = compileScalar(f, repeated.GetItems())
	}
	return c.out, items, c.err
}

// limitCompiler collects the limits of one field.
type limitCompiler struct {
	field protoreflect.FieldDescriptor
	kind  string
	out   []limit
	err   error
}

func text(en, zh string) *formv1.Text { return &formv1.Text{En: &en, Zh: &zh} }

func (c *limitCompiler) fail(what string) {
	if c.err == nil {
		c.err = badField(c.field, "has the field rule %s.%s, which Hearth does not know: write it as a check", c.kind, what)
	}
}

// known fails on rules that are set and not among those named.
func (c *limitCompiler) known(m protoreflect.Message, names ...protoreflect.Name) {
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		for _, n := range names {
			if fd.Name() == n {
				return true
			}
		}
		c.fail(string(fd.Name()))
		return true
	})
	if len(m.GetUnknown()) > 0 {
		c.fail("(unknown)")
	}
}

func (c *limitCompiler) add(name, en, zh string, holds func(protoreflect.Value) bool) {
	c.out = append(c.out, limit{
		rule:   string(c.field.FullName()) + "/" + c.kind + "." + name,
		bounds: text(en, zh),
		text:   text("The answer must be "+en+".", "答案必须为："+zh+"。"),
		holds:  holds,
	})
}

// compileScalar compiles the rules of a single value.
func compileScalar(f protoreflect.FieldDescriptor, rules *validate.FieldRules) ([]limit, error) {
	c := &limitCompiler{field: f}
	m := rules.ProtoReflect()
	set := m.WhichOneof(m.Descriptor().Oneofs().ByName("type"))
	if set == nil {
		c.kind = "field"
		c.known(m)
		return nil, c.err
	}
	c.kind = string(set.Name())
	c.known(m, set.Name())
	of := m.Get(set).Message()
	switch set.Name() {
	case "string":
		c.strings(rules.GetString())
	case "bytes":
		c.known(of, "len")
		if r := rules.GetBytes(); r.HasLen() {
			n := int(r.GetLen())
			c.add("len", fmt.Sprintf("of %d bytes", n), fmt.Sprintf("%d字节", n),
				func(v protoreflect.Value) bool { return len(v.Bytes()) == n })
		}
	case "int32", "int64", "sint32", "sint64", "sfixed32", "sfixed64":
		bounded(c, of, protoreflect.Value.Int, func(i int64) string { return strconv.FormatInt(i, 10) })
	case "uint32", "uint64", "fixed32", "fixed64":
		bounded(c, of, protoreflect.Value.Uint, func(u uint64) string { return strconv.FormatUint(u, 10) })
	case "float", "double":
		bounded(c, of, protoreflect.Value.Float, numberText)
	default:
		c.known(of)
	}
	return c.out, c.err
}

func (c *limitCompiler) strings(r *validate.StringRules) {
	c.known(r.ProtoReflect(), "len", "min_len", "max_len", "pattern")
	if r.HasLen() {
		n := int(r.GetLen())
		c.add("len", fmt.Sprintf("of %d characters", n), fmt.Sprintf("%d个字符", n),
			func(v protoreflect.Value) bool { return utf8.RuneCountInString(v.String()) == n })
	}
	if r.HasMinLen() {
		n := int(r.GetMinLen())
		c.add("min_len", fmt.Sprintf("of at least %d characters", n), fmt.Sprintf("至少%d个字符", n),
			func(v protoreflect.Value) bool { return utf8.RuneCountInString(v.String()) >= n })
	}
	if r.HasMaxLen() {
		n := int(r.GetMaxLen())
		c.add("max_len", fmt.Sprintf("of at most %d characters", n), fmt.Sprintf("最多%d个字符", n),
			func(v protoreflect.Value) bool {
				return len(v.String()) <= n || utf8.RuneCountInString(v.String()) <= n
			})
	}
	if r.HasPattern() {
		match, err := matcher(r.GetPattern())
		if err != nil {
			c.err = badField(c.field, "has a pattern that is no regular expression: %w", err)
			return
		}
		c.add("pattern", "written in the form asked for", "按要求的格式填写",
			func(v protoreflect.Value) bool { return match(v.String()) })
	}
}

// bounded adds the range of a number, as one rule, named as protovalidate names it: gt, gte, lt, lte, gte_lte, gt_lt ...
func bounded[T int64 | uint64 | float64](c *limitCompiler, rules protoreflect.Message, value func(protoreflect.Value) T, show func(T) string) {
	c.known(rules, "gt", "gte", "lt", "lte")
	fields := rules.Descriptor().Fields()
	bound := func(inclusive, exclusive protoreflect.Name) (limit T, name string, including bool) {
		if fd := fields.ByName(inclusive); rules.Has(fd) {
			return value(rules.Get(fd)), string(inclusive), true
		}
		if fd := fields.ByName(exclusive); rules.Has(fd) {
			return value(rules.Get(fd)), string(exclusive), false
		}
		return limit, "", false
	}
	low, lowName, withLow := bound("gte", "gt")
	high, highName, withHigh := bound("lte", "lt")
	above := func(x T) bool { return x > low || withLow && x == low }
	below := func(x T) bool { return x < high || withHigh && x == high }
	lowEn, lowZh := "more than "+show(low), "大于"+show(low)
	if withLow {
		lowEn, lowZh = "at least "+show(low), "不小于"+show(low)
	}
	highEn, highZh := "less than "+show(high), "小于"+show(high)
	if withHigh {
		highEn, highZh = "at most "+show(high), "不大于"+show(high)
	}
	switch {
	case lowName == "" && highName == "":
	case highName == "":
		c.add(lowName, lowEn, lowZh, func(v protoreflect.Value) bool { return above(value(v)) })
	case lowName == "":
		c.add(highName, highEn, highZh, func(v protoreflect.Value) bool { return below(value(v)) })
	case high < low:
		c.err = badField(c.field, "must be %s and %s, which no number is", lowEn, highEn)
	default:
		c.add(lowName+"_"+highName, lowEn+" and "+highEn, lowZh+"，"+highZh,
			func(v protoreflect.Value) bool { x := value(v); return above(x) && below(x) })
	}
}

// unique tells whether no item of a list of scalars stands in it twice.
func unique(l protoreflect.List) bool {
	n := l.Len()
	if n <= 12 {
		for i := 1; i < n; i++ {
			for j := range i {
				if l.Get(i).Equal(l.Get(j)) && !isNaN(l.Get(i)) {
					return false
				}
			}
		}
		return true
	}
	seen := make(map[any]bool, n)
	for i := range n {
		key := l.Get(i).Interface()
		if b, ok := key.([]byte); ok {
			key = string(b)
		}
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

func isNaN(v protoreflect.Value) bool {
	switch x := v.Interface().(type) {
	case float64:
		return math.IsNaN(x)
	case float32:
		return x != x
	}
	return false
}
