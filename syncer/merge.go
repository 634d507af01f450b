package syncer

import (
	"bytes"
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Version is a revision with what it says, as a merge needs it.
type Version struct {
	Revision
	// Author and WallTimeMS are told to the person who decides; they decide nothing.
	Author     string
	WallTimeMS int64
	// Payload are the exact bytes of the message. Two first revisions with the same bytes count as one: two tablets have
	// loaded the same line.
	Payload []byte
	// Message is the payload, parsed; nil if it cannot be parsed or is not there.
	Message proto.Message
}

// Merged is what became of the heads of a subject.
type Merged struct {
	// Heads are the revisions that were merged, by digest.
	Heads []Digest
	// Bases are their last common ancestors, by digest; none if they have none or its bytes are not held.
	Bases []Digest
	// Message holds every change of every head. For a field in conflict that nobody has chosen, it has the value of the
	// first head that takes part; it must not be used before all are chosen.
	Message proto.Message
	// Conflicts are the fields that the heads changed differently and for which there is no choice.
	Conflicts []*servicev1.FieldConflict
	// Unused are choices that name no field in conflict or no head that has a value there, in order.
	Unused []string
}

// Merge is that of a Merger which knows no schema of answers to questionnaires published at run time.
func Merge(all []Version, choices map[string]Digest) (*Merged, error) {
	return Merger{}.Merge(all, choices)
}

// Merger merges revisions.
type Merger struct {
	// Answers is the top message of a questionnaire published at run time, by its full name; nil where it is not known, or
	// where none is.
	Answers func(questionnaire string) protoreflect.MessageDescriptor
}

// Merge joins the heads of a subject, given all its revisions. What only one head changed since the last common ancestor
// is taken, what all changed alike is no conflict, and what they changed differently is one. Choices settle conflicts:
// by the path of the field, the head whose value is right; nil: none. The result depends on the set of revisions alone. It
// fails with fault.PayloadUnreadable if a head has no message, or messages are of different types.
//
// A message that has a map of missing reasons (`missing`) is taken apart field by field; a reason belongs to its field.
// So are the answers to a questionnaire published at run time, if its schema is known, all sides can be read by it and are
// of one version of it; as bytes they are one answer, and the version is that of the side that has it. Every other message, such as a date or an amount, is one answer. Rows of a list are matched by their key: field 1 if
// its name ends with _id, else person_id, household_id, spell_id or line_number; a list without keys is one answer.
func (r Merger) Merge(all []Version, choices map[string]Digest) (*Merged, error) {
	byDigest := make(map[Digest]Version, len(all))
	revs := make([]Revision, len(all))
	for i, v := range all {
		byDigest[v.Digest], revs[i] = v, v.Revision
	}
	out := &Merged{Heads: Heads(revs)}
	if len(out.Heads) == 0 {
		return nil, fault.New(fault.Invalid, fault.PayloadUnreadable, "there is no revision to merge")
	}
	sortDigests(out.Heads)
	m := &merge{choices: choices, used: map[string]bool{}, answers: r.Answers}
	var sides, bases []protoreflect.Message
	for _, h := range out.Heads {
		v := byDigest[h]
		if v.Message == nil || v.Message.ProtoReflect().Descriptor() != byDigest[out.Heads[0]].Message.ProtoReflect().Descriptor() {
			return nil, fault.New(fault.Conflict, fault.PayloadUnreadable, "revision %v cannot be read as the others", h)
		}
		m.sides = append(m.sides, v)
		sides = append(sides, v.Message.ProtoReflect())
	}
	out.Bases = commonAncestors(byDigest, out.Heads)
	for _, b := range out.Bases {
		v, held := byDigest[b]
		if !held || v.Message == nil || v.Message.ProtoReflect().Descriptor() != sides[0].Descriptor() {
			out.Bases, bases = nil, nil
			break
		}
		bases = append(bases, v.Message.ProtoReflect())
	}
	to := sides[0].New()
	m.mixed = severalVersions(sides)
	m.message("", bases, sides, to)
	m.keepVersion(to)
	out.Message = proto.Clone(to.Interface()) // what is in it belongs to the heads
	out.Conflicts = m.conflicts
	for _, path := range slices.Sorted(maps.Keys(choices)) {
		if !m.used[path] {
			out.Unused = append(out.Unused, path)
		}
	}
	return out, nil
}

// commonAncestors are the revisions from which all heads come and that no other such revision replaces, by digest. A head
// is its own ancestor.
func commonAncestors(all map[Digest]Version, heads []Digest) []Digest {
	same := sameRoots(all)
	as := func(d Digest) Digest {
		if rep, ok := same[d]; ok {
			return rep
		}
		return d
	}
	var common map[Digest]bool
	for _, h := range heads {
		mine := map[Digest]bool{}
		for open := []Digest{h}; len(open) > 0; {
			d := open[len(open)-1]
			open = open[:len(open)-1]
			if mine[as(d)] {
				continue
			}
			mine[as(d)] = true
			open = append(open, all[d].Parents...)
		}
		if common == nil {
			common = mine
			continue
		}
		maps.DeleteFunc(common, func(d Digest, _ bool) bool { return !mine[d] })
	}
	// Whatever lies below a common ancestor is one itself, so the last of them are those that are nobody's parent.
	last := maps.Clone(common)
	for d := range common {
		for _, p := range all[d].Parents {
			delete(last, as(p))
		}
	}
	out := slices.Collect(maps.Keys(last))
	sortDigests(out)
	return out
}

// sameRoots maps first revisions that have the same bytes to the least of them.
func sameRoots(all map[Digest]Version) map[Digest]Digest {
	first := map[[32]byte]Digest{}
	for d, v := range all {
		if len(v.Parents) > 0 || v.Message == nil {
			continue
		}
		sum := sha256.Sum256(v.Payload)
		if least, ok := first[sum]; !ok || bytes.Compare(d[:], least[:]) < 0 {
			first[sum] = d
		}
	}
	same := map[Digest]Digest{}
	for d, v := range all {
		if len(v.Parents) == 0 && v.Message != nil {
			same[d] = first[sha256.Sum256(v.Payload)]
		}
	}
	return same
}

func sortDigests(all []Digest) {
	slices.SortFunc(all, func(a, b Digest) int { return bytes.Compare(a[:], b[:]) })
}
