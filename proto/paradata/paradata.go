// Package paradata writes and reads how the answers of an interview came about: which question was visited when, for how
// long, and how often its answer was changed, in a byte or two for each visit. It is for the tablet, which sends it after
// the answers, and for whoever looks into it at headquarters. Times are kept in steps of about 4 %, so that it does not
// say to the millisecond what nobody asks; it holds no answer.
package paradata

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxVisits is how many visits one interview may have.
const MaxVisits = 20_000

const (
	maxDepth    = 32
	maxQuestion = 500
)

// Visit is one visit to a question.
type Visit struct {
	// Question is its path in the interview: "household.members[0].age".
	Question string `json:"question"`
	StartMS  int64  `json:"start_ms"`
	Duration int64  `json:"duration_ms"`
	// Changes counts how often the answer was changed.
	Changes uint32 `json:"changes"`
}

// Trail is all visits of one interview, in the order in which they began.
type Trail struct {
	InterviewID string  `json:"interview_id"`
	Visits      []Visit `json:"visits"`
}

// step is a time in steps: tenths of a second below one second, then eight steps for each doubling.
func step(ms int64) int64 {
	if ms < 1000 {
		return (ms + 50) / 100
	}
	return 10 + int64(math.Round(8*math.Log2(float64(ms)/1000)))
}

// time is the middle of a step.
func time(step int64) int64 {
	if step < 10 {
		return step * 100
	}
	return int64(math.Round(1000 * math.Exp2(float64(min(step, 400)-10)/8)))
}

// Encode makes it small. Gaps are taken from where the reader will believe the visit before to have ended, so that what
// rounding takes away does not add up. It fails with fault.BadRequest for what is not in order or too much.
func Encode(t Trail) (*servicev1.Paradata, error) {
	if len(t.Visits) == 0 || len(t.Visits) > MaxVisits {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "paradata of %d visits, want 1 to %d", len(t.Visits), MaxVisits)
	}
	p := &servicev1.Paradata{InterviewId: proto.String(t.InterviewID), StartMs: proto.Int64(t.Visits[0].StartMS)}
	var before []uint64
	clock := t.Visits[0].StartMS
	for i, v := range t.Visits {
		if v.Duration < 0 || v.Question == "" || len(v.Question) > maxQuestion || i > 0 && v.StartMS < t.Visits[i-1].StartMS {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "visit %d has no question, ends before it begins or began before the one before", i+1)
		}
		path, ok := pathOf(v.Question)
		if !ok {
			at := slices.Index(p.Names, v.Question)
			if at < 0 {
				at = len(p.Names)
				p.Names = append(p.Names, v.Question)
			}
			path = []uint64{0, uint64(at)}
		}
		p.Paths = appendPath(p.Paths, before, path)
		before = path
		gap := v.StartMS - clock
		coded := step(max(gap, -gap))
		if clock += time(coded); gap < 0 {
			clock -= 2 * time(coded)
			coded = -coded
		}
		took := step(v.Duration)
		clock += time(took)
		p.Gaps, p.Durations, p.Changes = append(p.Gaps, int32(coded)), append(p.Durations, uint32(took)), append(p.Changes, v.Changes)
	}
	return p, nil
}

// Decode reads it. It fails with fault.PayloadUnreadable.
func Decode(p *servicev1.Paradata) (Trail, error) {
	bad := func(what string) (Trail, error) {
		return Trail{}, fault.New(fault.Invalid, fault.PayloadUnreadable, "paradata: %s", what)
	}
	n := len(p.GetDurations())
	if n > MaxVisits || len(p.GetGaps()) != n || len(p.GetChanges()) != n {
		return bad("its lists do not fit together")
	}
	t := Trail{InterviewID: p.GetInterviewId(), Visits: make([]Visit, n)}
	clock, rest := p.GetStartMs(), p.GetPaths()
	var path []uint64
	for i := range n {
		var ok bool
		if path, rest, ok = readPath(rest, path); !ok {
			return bad("a path that cannot be read")
		}
		gap := int64(p.GetGaps()[i])
		if gap < 0 {
			clock -= time(-gap)
		} else {
			clock += time(gap)
		}
		took := time(int64(p.GetDurations()[i]))
		t.Visits[i] = Visit{Question: nameOf(path, p.GetNames()), StartMS: clock, Duration: took, Changes: p.GetChanges()[i]}
		clock += took
	}
	if len(rest) > 0 {
		return bad("more paths than visits")
	}
	return t, nil
}

// appendPath writes a path against the one before: 0: its last number and one; 1: the same; else 2 and how many numbers stay,
// how many follow, and those.
func appendPath(out []byte, before, path []uint64) []byte {
	keep := 0
	for keep < len(before) && keep < len(path) && before[keep] == path[keep] {
		keep++
	}
	switch last := len(path) - 1; {
	case keep == len(path) && keep == len(before):
		return append(out, 1)
	case len(path) == len(before) && keep == last && path[last] == before[last]+1:
		return append(out, 0)
	}
	out = binary.AppendUvarint(out, uint64(2+keep))
	out = binary.AppendUvarint(out, uint64(len(path)-keep))
	for _, n := range path[keep:] {
		out = binary.AppendUvarint(out, n)
	}
	return out
}

func readPath(in []byte, before []uint64) (path []uint64, rest []byte, ok bool) {
	next := func() uint64 {
		v, n := binary.Uvarint(in)
		if ok = n > 0; ok {
			in = in[n:]
		}
		return v
	}
	head := next()
	path = slices.Clone(before)
	switch {
	case !ok || head < 2 && len(path) == 0 || head >= 2 && head-2 > uint64(len(path)):
		return nil, nil, false
	case head == 0:
		path[len(path)-1]++
		return path, in, true
	case head == 1:
		return path, in, true
	}
	path = path[:head-2]
	more := next()
	if !ok || more > maxDepth || len(path)+int(more) > maxDepth || len(path)+int(more) == 0 {
		return nil, nil, false
	}
	for range more {
		path = append(path, next())
		if !ok {
			return nil, nil, false
		}
	}
	return path, in, true
}

// pathOf is a question's path as numbers of fields, and of rows behind lists; false for one that the schema does not know.
func pathOf(question string) ([]uint64, bool) {
	m := (&surveyv1.Interview{}).ProtoReflect().Descriptor()
	var path []uint64
	for part := range strings.SplitSeq(question, ".") {
		name, row, list := strings.Cut(part, "[")
		if m == nil || len(path) >= maxDepth-1 {
			return nil, false
		}
		f := m.Fields().ByName(protoreflect.Name(name))
		if f == nil || f.IsMap() || list != f.IsList() {
			return nil, false
		}
		path = append(path, uint64(f.Number()))
		if list {
			n, err := strconv.ParseUint(strings.TrimSuffix(row, "]"), 10, 31)
			if err != nil || fmt.Sprintf("%d]", n) != row {
				return nil, false
			}
			path = append(path, n)
		}
		m = f.Message()
	}
	return path, true
}

// nameOf is the other way; a path that this program's schema does not know is told in numbers.
func nameOf(path []uint64, names []string) string {
	if len(path) == 2 && path[0] == 0 && path[1] < uint64(len(names)) {
		return names[path[1]]
	}
	m := (&surveyv1.Interview{}).ProtoReflect().Descriptor()
	var parts []string
	for i := 0; i < len(path); i++ {
		var f protoreflect.FieldDescriptor
		if m != nil && path[i] > 0 && path[i] < 1<<29 {
			f = m.Fields().ByNumber(protoreflect.FieldNumber(path[i]))
		}
		if f == nil {
			parts, m = append(parts, strconv.FormatUint(path[i], 10)), nil
			continue
		}
		part := string(f.Name())
		if f.IsList() && i+1 < len(path) {
			i++
			part += "[" + strconv.FormatUint(path[i], 10) + "]"
		}
		parts, m = append(parts, part), f.Message()
	}
	return strings.Join(parts, ".")
}
