package decode

import (
	"reflect"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Lender reads messages whose memory it takes back, so that who reads one after the other does so in the same memory. It is
// for one goroutine.
type Lender struct{ r reader }

// NewLender makes a Lender. What is made of the messages read may hold on to those of their parts that are of a type which
// stands somewhere in kept, and to texts, numbers and bytes: these are not taken back. As Go is typed, a message like kept
// cannot hold on to any other.
func NewLender(kept proto.Message) *Lender {
	l := &Lender{reader{view: true, kept: map[reflect.Type]bool{}}}
	l.keep(kept.ProtoReflect())
	return l
}

func (l *Lender) keep(m protoreflect.Message) {
	t := reflect.TypeOf(m.Interface()).Elem()
	if l.r.kept[t] {
		return
	}
	l.r.kept[t] = true
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		switch fd := all.Get(i); {
		case fd.Message() == nil, fd.IsMap() && fd.MapValue().Message() == nil:
		case fd.IsMap():
			l.keep(m.NewField(fd).Map().NewValue().Message())
		case fd.IsList():
			l.keep(m.NewField(fd).List().NewElement().Message())
		default:
			l.keep(m.NewField(fd).Message())
		}
	}
}

// Lend reads b as proto.Unmarshal does, into a message that is good until TakeBack. Texts and bytes in it are views of b, which
// must not be changed as long as one of them is in use.
func Lend[T any, M interface {
	*T
	proto.Message
}](l *Lender, b []byte) (M, error) {
	var m M
	p := planFor(reflect.TypeOf(m))
	if p == nil {
		m = new(T)
		return m, proto.Unmarshal(b, m)
	}
	at := l.r.make(p)
	l.r.b = b
	err := l.r.message(p, at, 0, len(b), 0)
	l.r.b = nil
	if err != nil {
		m = new(T)
		return m, proto.Unmarshal(b, m)
	}
	return (*T)(at), nil
}

// TakeBack ends the use of all messages that were lent.
func (l *Lender) TakeBack() {
	for i := range l.r.slabs {
		if s := l.r.slabs[i].lent; s != nil {
			s.takeBack()
		}
	}
}

// lent is memory for messages of one type that is used again and again.
type lent struct {
	plan   *plan
	slabs  []reflect.Value // slices
	no, at int             // the slab in use, and its next message
}

// maxLent is how many slabs of a type are kept, so that one great message is not paid for ever after.
const maxLent = 32

func newLent(p *plan) *lent { return &lent{plan: p, no: -1, at: p.perSlab()} }

func (s *lent) take() unsafe.Pointer {
	if s.at == s.plan.perSlab() {
		if s.no, s.at = s.no+1, 0; s.no == len(s.slabs) {
			n := s.plan.perSlab()
			s.slabs = append(s.slabs, reflect.MakeSlice(reflect.SliceOf(s.plan.typ), n, n))
		}
	}
	at := unsafe.Add(s.slabs[s.no].UnsafePointer(), uintptr(s.at)*s.plan.size)
	s.at++
	return at
}

func (s *lent) takeBack() {
	for i := 0; i <= s.no; i++ {
		if i < s.no {
			s.slabs[i].Clear()
		} else {
			s.slabs[i].Slice(0, s.at).Clear()
		}
	}
	if len(s.slabs) > maxLent {
		clear(s.slabs[maxLent:])
		s.slabs = s.slabs[:maxLent]
	}
	s.no, s.at = -1, s.plan.perSlab()
}
