package export

import (
	"cmp"
	"context"
	"hash/maphash"
	"iter"
	"slices"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// roll knows in how many household rosters each person stands, and where first. Nearly all stand in one: of these it
// keeps a hash of eight bytes each, and of the others what there is to know.
type roll struct {
	seed maphash.Seed
	seen []uint64 // ascending, each once
	more map[uint64]appearance
}

// appearance is what linkage says of a person: in how many rosters, and where first.
type appearance struct {
	count int64
	first string // interview id
	time  int64
	line  int32
}

// newRoll goes over the people twice: once to find who stands in several rosters, and once for those.
func newRoll(src Source) (*roll, error) {
	o := &roll{seed: maphash.MakeSeed(), more: map[uint64]appearance{}}
	for r, err := range src.listed() {
		if err != nil {
			return nil, err
		}
		o.seen = append(o.seen, o.hash(src.same(r.GetPersonId())))
	}
	slices.Sort(o.seen)
	for i := 1; i < len(o.seen); i++ {
		if o.seen[i] == o.seen[i-1] {
			o.more[o.seen[i]] = appearance{}
		}
	}
	o.seen = slices.Compact(o.seen)
	if len(o.more) == 0 {
		return o, nil
	}
	for r, err := range src.listed() {
		if err != nil {
			return nil, err
		}
		h := o.hash(src.same(r.GetPersonId()))
		a, several := o.more[h]
		if !several {
			continue
		}
		b := appearance{count: a.count + 1, first: r.GetInterviewId(), time: r.GetInterviewTimeMs(), line: r.GetLineNumber()}
		if a.count > 0 && cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.first, b.first), cmp.Compare(a.line, b.line)) <= 0 {
			b.first, b.time, b.line = a.first, a.time, a.line
		}
		o.more[h] = b
	}
	return o, nil
}

func (o *roll) hash(id string) uint64 { return maphash.String(o.seed, id) }

// of is what there is to know of a person by the canonical id; of one who stands in one roster only that.
func (o *roll) of(id string) (appearance, bool) {
	h := o.hash(id)
	if a, ok := o.more[h]; ok {
		return a, true
	}
	_, ok := slices.BinarySearch(o.seen, h)
	return appearance{count: 1}, ok
}

// people are all, whichever way the source has them.
func (s Source) people() iter.Seq2[*servicev1.PersonRecord, error] {
	if s.EachPerson != nil {
		return s.EachPerson
	}
	return func(yield func(*servicev1.PersonRecord, error) bool) {
		for _, r := range s.People {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// listed are those who stand in a household roster.
func (s Source) listed() iter.Seq2[*servicev1.PersonRecord, error] {
	return func(yield func(*servicev1.PersonRecord, error) bool) {
		for r, err := range s.people() {
			if err == nil && (r.LineNumber == nil || r.GetPersonId() == "") {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// same is the id that linkage decisions lead to.
func (s Source) same(id string) string {
	if c := s.Canonical[id]; c != "" {
		return c
	}
	return id
}

// appearances emits the people as rows.
func (j *job) appearances(ctx context.Context, x *extractor) error {
	for r, err := range j.src.people() {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = x.message(j.plan.appearance, r.ProtoReflect(), nil, 1, "", "")
		}
		if err != nil {
			return err
		}
	}
	return nil
}
