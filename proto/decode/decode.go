// Package decode reads messages of generated Go from bytes, several times as fast as protobuf's own reading. It is for the
// server, which reads every interview that comes in, its envelope, and the batch around it: there half of the time goes into
// a small piece of memory for each text and number. Here bytes, and if wanted texts, are views of what is read, and numbers
// and messages come in slabs.
//
// What it reads is what proto.Unmarshal would read. It knows what questionnaires are made of; whatever else it meets, such
// as a field that is not known, a group, or a text that is not UTF-8, it leaves to proto.Unmarshal, from the start. It does
// not write messages.
package decode

import (
	"errors"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Unmarshal reads b into m as proto.Unmarshal does. Bytes in m are views of b, which must not be changed as long as m, or any
// bytes out of it, are in use; texts are copies. Numbers and messages share their memory with what is read before and after,
// so that who holds on to one for long holds on to some kilobytes.
func Unmarshal(b []byte, m proto.Message) error {
	p, v := planFor(reflect.TypeOf(m)), reflect.ValueOf(m)
	if p == nil || v.IsNil() {
		return proto.Unmarshal(b, m)
	}
	proto.Reset(m)
	r := readers.Get().(*reader)
	r.b = b
	err := r.message(p, v.UnsafePointer(), 0, len(b), 0)
	r.b = nil
	readers.Put(r)
	if err != nil {
		return proto.Unmarshal(b, m)
	}
	return nil
}

// errOther is what proto.Unmarshal is to read, or to refuse.
var errOther = errors.New("not to be read here")

// maxDepth is how deep messages may lie in each other.
const maxDepth = 64

var readers = sync.Pool{New: func() any { return &reader{} }}

// reader reads one message at a time. What is left of its slabs is for the next.
type reader struct {
	b    []byte
	view bool // texts are views of b
	// kept are the types whose messages are not taken back; nil: all.
	kept     map[reflect.Type]bool
	slabs    []slab // by plan
	int32s   []int32
	int64s   []int64
	bools    []bool
	texts    []string
	pointers []unsafe.Pointer
}

// slab is memory for messages of one type.
type slab struct {
	at   unsafe.Pointer
	left int
	lent *lent // not nil where it is taken back
}

// Sizes of slabs: large enough that few are made, small enough that one text which is held on to holds little.
const (
	numbers    = 128
	references = 64
	slabBytes  = 4096
)

// take is the next element of a slab of scalars.
func take[T any](slab *[]T, n int) *T {
	if len(*slab) == 0 {
		*slab = make([]T, n)
	}
	p := &(*slab)[0]
	*slab = (*slab)[1:]
	return p
}

// make is memory for one message.
func (r *reader) make(p *plan) unsafe.Pointer {
	for len(r.slabs) <= p.id {
		r.slabs = append(r.slabs, slab{})
	}
	s := &r.slabs[p.id]
	if s.lent != nil {
		return s.lent.take()
	}
	if s.left == 0 {
		if r.kept != nil && !r.kept[p.typ] {
			s.lent = newLent(p)
			return s.lent.take()
		}
		s.at, s.left = reflect.New(reflect.ArrayOf(p.perSlab(), p.typ)).UnsafePointer(), p.perSlab()
	}
	at := s.at
	if s.left--; s.left > 0 {
		s.at = unsafe.Add(s.at, p.size)
	} else {
		s.at = nil
	}
	return at
}

// perSlab is how many messages a slab has.
func (p *plan) perSlab() int { return max(1, min(32, slabBytes/int(p.size))) }

// message reads what stands from one place to another into the struct at m.
func (r *reader) message(p *plan, m unsafe.Pointer, at, end, depth int) error {
	if depth > maxDepth {
		return errOther
	}
	for at < end {
		tag, n := r.varint(at, end)
		number := tag >> 3
		if n == 0 || number >= uint64(len(p.fields)) {
			return errOther
		}
		at += n
		f := &p.fields[number]
		to := unsafe.Add(m, f.place)
		switch protowire.Type(tag & 7) {
		case protowire.VarintType:
			v, n := r.varint(at, end)
			if n == 0 || !r.number(f, to, v) {
				return errOther
			}
			at += n
		case protowire.BytesType:
			size, n := r.varint(at, end)
			if at += n; n == 0 || size > uint64(end-at) {
				return errOther
			}
			next := at + int(size)
			if err := r.sized(p, f, m, to, at, next, depth); err != nil {
				return err
			}
			at = next
		case protowire.Fixed64Type:
			v, n := protowire.ConsumeFixed64(r.b[at:end])
			if n < 0 || f.holds != holdsFixed64 {
				return errOther
			}
			at += n
			p := take(&r.int64s, numbers)
			*p = int64(v)
			*(**int64)(to) = p
		case protowire.Fixed32Type:
			v, n := protowire.ConsumeFixed32(r.b[at:end])
			if n < 0 || f.holds != holdsFixed32 {
				return errOther
			}
			at += n
			p := take(&r.int32s, numbers)
			*p = int32(v)
			*(**int32)(to) = p
		default:
			return errOther
		}
	}
	return nil
}

// varint is the number at a place, and how many bytes it has; 0: there is none.
func (r *reader) varint(at, end int) (uint64, int) {
	if at < end && r.b[at] < 0x80 {
		return uint64(r.b[at]), 1
	}
	v, n := protowire.ConsumeVarint(r.b[at:end])
	return v, max(n, 0)
}

// number puts a varint into a field; false where the field holds none.
func (r *reader) number(f *field, to unsafe.Pointer, v uint64) bool {
	if f.listed {
		switch f.holds {
		case holdsInt32:
			*(*[]int32)(to) = append(*(*[]int32)(to), int32(v))
		case holdsInt64:
			*(*[]int64)(to) = append(*(*[]int64)(to), int64(v))
		default:
			return false
		}
		return true
	}
	if f.direct {
		switch f.holds {
		case holdsInt32:
			*(*int32)(to) = int32(v)
		case holdsInt64:
			*(*int64)(to) = int64(v)
		default:
			return false
		}
		return true
	}
	switch f.holds {
	case holdsInt32:
		p := take(&r.int32s, numbers)
		*p = int32(v)
		*(**int32)(to) = p
	case holdsInt64:
		p := take(&r.int64s, numbers)
		*p = int64(v)
		*(**int64)(to) = p
	case holdsBool:
		p := take(&r.bools, numbers)
		*p = v != 0
		*(**bool)(to) = p
	default:
		return false
	}
	return true
}

// sized reads what has a length into a field.
func (r *reader) sized(p *plan, f *field, m, to unsafe.Pointer, at, end, depth int) error {
	switch f.holds {
	case holdsText:
		s := unsafe.String(unsafe.SliceData(r.b[at:end]), end-at)
		if !utf8.ValidString(s) {
			return errOther
		}
		if !r.view {
			s = strings.Clone(s)
		}
		if f.listed {
			*(*[]string)(to) = append(*(*[]string)(to), s)
			return nil
		}
		t := take(&r.texts, references)
		*t = s
		*(**string)(to) = t
	case holdsBytes:
		view := r.b[at:end:end]
		if at == end {
			view = []byte{}
		}
		if f.listed {
			*(*[][]byte)(to) = append(*(*[][]byte)(to), view)
			return nil
		}
		*(*[]byte)(to) = view
	case holdsMessage:
		return r.inside(f, to, at, end, depth)
	case holdsMember:
		return r.member(p, f, m, at, end, depth)
	case holdsReasons:
		return r.reasons(to, at, end)
	case holdsInt32, holdsInt64:
		if !f.listed {
			return errOther
		}
		for at < end {
			v, n := r.varint(at, end)
			if n == 0 {
				return errOther
			}
			r.number(f, to, v)
			at += n
		}
	default:
		return errOther
	}
	return nil
}

// inside reads a message of its own into a field. One that comes again adds to what was read.
func (r *reader) inside(f *field, to unsafe.Pointer, at, end, depth int) error {
	if !f.listed {
		sub := *(*unsafe.Pointer)(to)
		if sub == nil {
			sub = r.make(f.inside)
			*(*unsafe.Pointer)(to) = sub
		}
		return r.message(f.inside, sub, at, end, depth+1)
	}
	list := (*[]unsafe.Pointer)(to) // a slice of pointers to the message
	if *list == nil {
		const few = 4
		if len(r.pointers) < few {
			r.pointers = make([]unsafe.Pointer, references)
		}
		*list, r.pointers = r.pointers[:0:few], r.pointers[few:]
	}
	sub := r.make(f.inside)
	*list = append(*list, sub)
	return r.message(f.inside, sub, at, end, depth+1)
}

// member reads a message that is one of several that exclude each other.
func (r *reader) member(p *plan, f *field, m unsafe.Pointer, at, end, depth int) error {
	whole := reflect.NewAt(p.typ, m).Interface().(proto.Message).ProtoReflect()
	if whole.WhichOneof(f.desc.ContainingOneof()) != nil {
		return errOther
	}
	sub := r.make(f.inside)
	if err := r.message(f.inside, sub, at, end, depth+1); err != nil {
		return err
	}
	one := reflect.NewAt(f.inside.typ, sub).Interface().(proto.Message).ProtoReflect()
	whole.Set(f.desc, protoreflect.ValueOfMessage(one))
	return nil
}

// reasons reads one entry of a map of reasons for missing answers.
func (r *reader) reasons(to unsafe.Pointer, at, end int) error {
	var entry [3]uint64 // by number of the field
	for at < end {
		tag, n := r.varint(at, end)
		at += n
		if n == 0 || tag != 1<<3 && tag != 2<<3 { // varints both
			return errOther
		}
		v, n := r.varint(at, end)
		if n == 0 {
			return errOther
		}
		entry[tag>>3] = v
		at += n
	}
	all := (*map[uint32]formv1.Missing)(to)
	if *all == nil {
		*all = map[uint32]formv1.Missing{}
	}
	(*all)[uint32(entry[1])] = formv1.Missing(int32(entry[2]))
	return nil
}
