package syncer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"
)

// version is a revision of a message, its digest made from its bytes and a name.
func version(name string, msg proto.Message, parents ...Version) Version {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(msg)
	if err != nil {
		panic(err) // of a test's own message
	}
	v := Version{Author: name, Payload: raw, Message: msg}
	v.Digest = DigestOf(append([]byte(name+"\x00"), raw...))
	for _, p := range parents {
		v.Parents = append(v.Parents, p.Digest)
	}
	return v
}

// base is a small household interview.
func base() *surveyv1.Interview {
	return &surveyv1.Interview{
		InterviewId: proto.String("11111111-1111-4111-8111-111111111111"), Enumerator: proto.String("E1"), Remarks: proto.String("quiet"),
		Missing: map[uint32]formv1.Missing{14: formv1.Missing_MISSING_NOT_ASKED},
		Answers: &surveyv1.Interview_Household{Household: &surveyv1.Household{
			HouseholdId: proto.String("h"),
			Members: []*surveyv1.HouseholdMember{
				{PersonId: proto.String("a"), LineNumber: proto.Int32(1), Age: proto.Int32(40), BirthDate: &surveyv1.PartialDate{Year: proto.Int32(1976)}},
				{PersonId: proto.String("b"), LineNumber: proto.Int32(2), Age: proto.Int32(9)},
				{LineNumber: proto.Int32(3), PersonId: proto.String("c")},
			},
			Finances: &surveyv1.Finances{},
		}},
	}
}

func TestMerge(t *testing.T) {
	type edit = func(*surveyv1.Interview)
	member := func(iv *surveyv1.Interview, i int) *surveyv1.HouseholdMember {
		return iv.GetHousehold().GetMembers()[i]
	}
	tests := []struct {
		name      string
		a, b      edit
		both      edit   // the result; nil: a and then b
		conflicts string // "path: base | a | b", several apart by ;
	}{
		{name: "two fields", a: func(iv *surveyv1.Interview) { iv.Remarks = proto.String("loud") }, b: func(iv *surveyv1.Interview) { iv.SiteId = proto.String("s") }},
		{name: "the same field alike", a: func(iv *surveyv1.Interview) { iv.Remarks = proto.String("loud") }, b: func(iv *surveyv1.Interview) { iv.Remarks = proto.String("loud") }},
		{name: "the same field differently", a: func(iv *surveyv1.Interview) { iv.Remarks = proto.String("loud") }, b: func(iv *surveyv1.Interview) { iv.Remarks = nil },
			conflicts: `remarks: "quiet" | "loud" | `},
		{name: "two people", a: func(iv *surveyv1.Interview) { member(iv, 0).Age = proto.Int32(41) }, b: func(iv *surveyv1.Interview) { member(iv, 1).Age = proto.Int32(10) }},
		{name: "one person, two fields", a: func(iv *surveyv1.Interview) { member(iv, 0).Age = proto.Int32(41) }, b: func(iv *surveyv1.Interview) { member(iv, 0).Sex = surveyv1.Sex_SEX_MALE.Enum() }},
		{name: "one person, one field", a: func(iv *surveyv1.Interview) { member(iv, 0).Age = proto.Int32(41) }, b: func(iv *surveyv1.Interview) { member(iv, 0).Age = proto.Int32(42) },
			conflicts: `household.members[person_id=a].age: 40 | 41 | 42`},
		{name: "a date is one answer", a: func(iv *surveyv1.Interview) { member(iv, 0).BirthDate.Month = proto.Int32(5) }, b: func(iv *surveyv1.Interview) { member(iv, 0).BirthDate.Year = proto.Int32(1977) },
			conflicts: `household.members[person_id=a].birth_date: {"year":1976} | {"year":1976,"month":5} | {"year":1977}`},
		{name: "a person added by each",
			a: func(iv *surveyv1.Interview) {
				iv.GetHousehold().Members = append(iv.GetHousehold().Members, &surveyv1.HouseholdMember{PersonId: proto.String("d")})
			},
			b: func(iv *surveyv1.Interview) {
				iv.GetHousehold().Members = slices.Insert(iv.GetHousehold().Members, 1, &surveyv1.HouseholdMember{PersonId: proto.String("e")})
			}},
		{name: "a person taken out, another edited", a: func(iv *surveyv1.Interview) { iv.GetHousehold().Members = iv.GetHousehold().Members[:2] }, b: func(iv *surveyv1.Interview) { member(iv, 0).Age = nil }},
		{name: "a person taken out and edited", a: func(iv *surveyv1.Interview) { iv.GetHousehold().Members = iv.GetHousehold().Members[:2] }, b: func(iv *surveyv1.Interview) { member(iv, 2).Age = proto.Int32(3) },
			conflicts: `household.members[person_id=c]: {"person_id":"c","line_number":3} |  | {"person_id":"c","line_number":3,"age":3}`},
		{name: "an answer and a reason why there is none", a: func(iv *surveyv1.Interview) { iv.SiteId = proto.String("s") },
			b:         func(iv *surveyv1.Interview) { iv.Missing[21] = formv1.Missing_MISSING_REFUSED },
			conflicts: `site_id:  | "s" | {"missing":"MISSING_REFUSED"}`},
		{name: "an answer in place of a reason", a: func(iv *surveyv1.Interview) {
			iv.Proxy = surveyv1.YesNo_YES_NO_YES.Enum()
			delete(iv.Missing, 14)
		}, b: func(iv *surveyv1.Interview) { iv.Missing[21] = formv1.Missing_MISSING_REFUSED }},
		{name: "another questionnaire", a: func(iv *surveyv1.Interview) { iv.Answers = &surveyv1.Interview_School{School: &surveyv1.School{}} },
			b: func(iv *surveyv1.Interview) { iv.Remarks = nil }},
		{name: "two questionnaires", a: func(iv *surveyv1.Interview) { iv.Answers = &surveyv1.Interview_School{School: &surveyv1.School{}} },
			b: func(iv *surveyv1.Interview) { iv.Answers = nil }, conflicts: `answers: * | {"school":{}} | `},
		{name: "a module by each", a: func(iv *surveyv1.Interview) {
			iv.GetHousehold().Income = &surveyv1.Income{Sources: []*surveyv1.IncomeItem{{IncomeId: proto.String("i")}}}
		}, b: func(iv *surveyv1.Interview) {
			iv.GetHousehold().Income = &surveyv1.Income{FarmerLines: []int32{1}}
		}, both: func(iv *surveyv1.Interview) {
			iv.GetHousehold().Income = &surveyv1.Income{FarmerLines: []int32{1}, Sources: []*surveyv1.IncomeItem{{IncomeId: proto.String("i")}}}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := version("root", base())
			x, y := base(), base()
			tt.a(x)
			tt.b(y)
			a, b := version("a", x, root), version("b", y, root)
			got, err := Merge([]Version{root, a, b}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if want := tt.conflicts; want != "" {
				if text := strings.Join(tell(got.Conflicts, a, b), "; "); text != want && !sameButBase(text, want) {
					t.Errorf("conflicts = %s\nwant        %s", text, want)
				}
				chosen, err := Merge([]Version{root, a, b}, map[string]Digest{got.Conflicts[0].GetPath(): b.Digest, "nowhere": b.Digest})
				if err != nil || len(chosen.Conflicts) != 0 || !slices.Equal(chosen.Unused, []string{"nowhere"}) {
					t.Fatalf("with a choice: %v, %v", chosen, err)
				}
				if diff := cmp.Diff(proto.Message(y), chosen.Message, protocmp.Transform()); diff != "" {
					t.Errorf("b's value is chosen (-want +got):\n%s", diff)
				}
				return
			}
			want := base()
			if tt.both != nil {
				tt.both(want)
			} else {
				tt.a(want)
				tt.b(want)
			}
			if diff := cmp.Diff(canonical(want), canonical(got.Message), protocmp.Transform()); diff != "" || len(got.Conflicts) > 0 {
				t.Errorf("merged (-want +got):\n%s%v", diff, got.Conflicts)
			}
		})
	}
}

// tell writes conflicts as the table has them.
func tell(all []*servicev1.FieldConflict, order ...Version) []string {
	var out []string
	for _, c := range all {
		text := c.GetPath() + ": " + c.GetBase()
		for _, v := range order {
			for _, f := range c.GetValues() {
				if Digest(f.GetRevision()) == v.Digest {
					text += " | " + f.GetValue()
				}
			}
		}
		out = append(out, text)
	}
	return out
}

// sameButBase compares where the base of the wanted one is *.
func sameButBase(got, want string) bool {
	path, rest, _ := strings.Cut(want, ": * | ")
	return strings.HasPrefix(got, path+": ") && strings.HasSuffix(got, " | "+rest)
}

// Where two tablets have loaded the same line and changed it, that line is the ancestor; without one, what differs
// conflicts.
func TestMergeAncestors(t *testing.T) {
	x, y := base(), base()
	x.Remarks, y.SiteId = proto.String("loud"), proto.String("s")
	rootA, rootB := version("tablet a", base()), version("tablet b", base())
	a, b := version("a", x, rootA), version("b", y, rootB)
	got, err := Merge([]Version{rootA, rootB, a, b}, nil)
	if err != nil || len(got.Conflicts) != 0 || len(got.Bases) != 1 {
		t.Errorf("from the same line: %v, %v", got, err)
	}
	got, err = Merge([]Version{a, b}, nil)
	if err != nil || len(got.Bases) != 0 || strings.Join(tell(got.Conflicts, a, b), "; ") != `site_id:  |  | "s"; remarks:  | "loud" | "quiet"` {
		t.Errorf("without the ancestor: %v, %v", got, err)
	}
	if got, err = Merge([]Version{rootA, rootB, b}, nil); err != nil || len(got.Conflicts) != 0 || !proto.Equal(got.Message, y) {
		t.Errorf("one has changed nothing: %v, %v", got, err)
	}
	// Two that were merged crosswise have two last ancestors.
	m, n := version("m", x, a, b), version("n", y, a, b)
	if got, err = Merge([]Version{rootA, rootB, a, b, m, n}, nil); err != nil || len(got.Bases) != 2 || len(got.Conflicts) != 2 {
		t.Errorf("crosswise: %v, %v", got, err)
	}
	if _, err = Merge([]Version{rootA, {Revision: Revision{Digest: Digest{1}}}}, nil); err == nil {
		t.Error("a head that cannot be read is merged")
	}
	if _, err = Merge(nil, nil); err == nil {
		t.Error("nothing is merged")
	}
}

// Fields of a newer questionnaire survive, and are merged as wholes.
func TestMergeUnknownFields(t *testing.T) {
	with := func(n protowire.Number, text string) *surveyv1.Interview {
		iv := base()
		iv.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), text))
		return iv
	}
	root := version("root", base())
	a, b := version("a", with(900, "x"), root), version("b", with(901, "y"), root)
	got, err := Merge([]Version{root, a, b}, nil)
	if err != nil || len(got.Conflicts) != 0 || len(got.Message.ProtoReflect().GetUnknown()) != 2*len(a.Message.ProtoReflect().GetUnknown()) {
		t.Errorf("unknown fields: %v, %v", got, err)
	}
	c := version("c", with(900, "z"), root)
	if got, err = Merge([]Version{root, a, c}, nil); err != nil || len(got.Conflicts) != 1 || got.Conflicts[0].GetPath() != "#900" {
		t.Errorf("one unknown field differently: %v, %v", got, err)
	}
}

// canonical orders the rows of keyed lists by key, as the order of rows that several added is not an answer.
func canonical(msg proto.Message) proto.Message {
	msg = proto.Clone(msg)
	walk(msg.ProtoReflect(), func(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
		if !fd.IsList() || fd.Message() == nil || !m.Has(fd) {
			return
		}
		key, _, after := keyOf(fd.Message(), nil, []slot{{part: true, has: true, v: m.Get(fd)}})
		if key == nil {
			return
		}
		list := m.NewField(fd).List()
		for _, k := range slices.Sorted(maps.Keys(after[0].by)) {
			list.Append(after[0].by[k])
		}
		m.Set(fd, protoreflect.ValueOfList(list))
	})
	return msg
}

// walk visits every field of every message there is, set or not.
func walk(m protoreflect.Message, visit func(protoreflect.Message, protoreflect.FieldDescriptor)) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		visit(m, fd)
		switch {
		case !m.Has(fd) || fd.Message() == nil || fd.IsMap():
		case fd.IsList():
			for j := range m.Get(fd).List().Len() {
				walk(m.Get(fd).List().Get(j).Message(), visit)
			}
		default:
			walk(m.Get(fd).Message(), visit)
		}
	}
}

// grow fills a message at random.
func grow(t *rapid.T, m protoreflect.Message, depth int, next *int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch dice := rapid.IntRange(0, 9).Draw(t, "dice"); {
		case fd.IsMap():
		case fd.IsList() && dice < 4 && depth < 3:
			for range dice {
				if fd.Message() == nil {
					m.Mutable(fd).List().Append(scalar(t, fd, next))
					continue
				}
				row := m.Mutable(fd).List().AppendMutable().Message()
				grow(t, row, depth+1, next)
				if key := row.Descriptor().Fields().ByNumber(1); key.Kind() == protoreflect.StringKind && strings.HasSuffix(string(key.Name()), "_id") {
					*next++
					row.Set(key, protoreflect.ValueOfString(fmt.Sprint("id-", *next)))
				}
			}
		case fd.IsList() || depth >= 3 && fd.Message() != nil:
		case inOneof(fd) && fd.Name() != "household":
		case fd.Message() != nil && (dice < 4 || fd.Name() == "household"):
			grow(t, m.Mutable(fd).Message(), depth+1, next)
		case fd.Message() == nil && dice < 3:
			m.Set(fd, scalar(t, fd, next))
		case fd.Message() == nil && dice == 3 && missingOf(m.Descriptor()) != nil:
			m.Mutable(missingOf(m.Descriptor())).Map().Set(protoreflect.ValueOfUint32(uint32(fd.Number())).MapKey(), protoreflect.ValueOfEnum(1))
		}
	}
}

// scalar is a value that no other call has returned, where the type has enough.
func scalar(t *rapid.T, fd protoreflect.FieldDescriptor, next *int) protoreflect.Value {
	*next++
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(fmt.Sprint("值-", *next))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(fmt.Append(nil, *next))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(*next))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(*next))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(*next))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(*next))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(*next))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(*next))
	default:
		return protoreflect.ValueOfInt32(int32(*next))
	}
}

// change is an edit of one answer in a random place; place names it.
type change struct {
	place string
	apply func(root protoreflect.Message)
}

// changes lists what may be edited in a message: answers by themselves, in modules that are there.
func changes(t *rapid.T, root protoreflect.Message, next *int) []change {
	var out []change
	var visit func(path string, m protoreflect.Message, find func(protoreflect.Message) protoreflect.Message)
	visit = func(path string, m protoreflect.Message, find func(protoreflect.Message) protoreflect.Message) {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			fd := fields.Get(i)
			place := join(path, string(fd.Name()))
			switch {
			case fd.IsMap() || inOneof(fd) && fd.Name() != "household":
			case fd.Message() == nil && !fd.IsList():
				if fd.Number() == 1 && strings.HasSuffix(string(fd.Name()), "_id") {
					continue // the key of a row
				}
				v, clear := scalar(t, fd, next), rapid.IntRange(0, 5).Draw(t, "clear") == 0
				missing := missingOf(m.Descriptor())
				out = append(out, change{place, func(root protoreflect.Message) {
					to := find(root)
					to.Set(fd, v)
					if missing != nil && to.Has(missing) {
						to.Mutable(missing).Map().Clear(protoreflect.ValueOfUint32(uint32(fd.Number())).MapKey())
					}
					if clear && missing != nil {
						to.Clear(fd)
						to.Mutable(missing).Map().Set(protoreflect.ValueOfUint32(uint32(fd.Number())).MapKey(), protoreflect.ValueOfEnum(2))
					}
				}})
			case fd.IsList() && fd.Message() != nil && m.Has(fd):
				key, _, after := keyOf(fd.Message(), nil, []slot{{part: true, has: true, v: m.Get(fd)}})
				if key == nil || missingOf(fd.Message()) == nil {
					continue
				}
				for j, k := range after[0].order {
					visit(fmt.Sprintf("%s[%s]", place, k), after[0].by[k].Message(), func(root protoreflect.Message) protoreflect.Message {
						return find(root).Mutable(fd).List().Get(j).Message()
					})
				}
			case fd.Message() != nil && !fd.IsList() && missingOf(fd.Message()) != nil:
				visit(place, m.Get(fd).Message(), func(root protoreflect.Message) protoreflect.Message { return find(root).Mutable(fd).Message() })
			}
		}
	}
	visit("", root, func(root protoreflect.Message) protoreflect.Message { return root })
	return out
}

// Edits in different places always merge to both, the order of arguments tells nothing, and a merge with itself is the
// same.
func TestMergeProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := 0
		start := &surveyv1.Interview{}
		grow(t, start.ProtoReflect(), 0, &next)
		root := version("root", start)
		all := changes(t, start.ProtoReflect(), &next)
		chosen := rapid.SliceOfNDistinct(rapid.IntRange(0, len(all)-1), 2, min(12, len(all)), rapid.ID[int]).Draw(t, "edits")
		edited := []proto.Message{proto.Clone(start), proto.Clone(start), proto.Clone(start)}
		want := proto.Clone(start)
		for i, c := range chosen {
			all[c].apply(edited[i%3].ProtoReflect())
			all[c].apply(want.ProtoReflect())
		}
		a, b, c := version("a", edited[0], root), version("b", edited[1], root), version("c", edited[2], root)
		got, err := Merge([]Version{root, a, b, c}, nil)
		if err != nil || len(got.Conflicts) > 0 {
			t.Fatalf("edits in different places conflict: %v, %v", got.Conflicts, err)
		}
		if diff := cmp.Diff(want, got.Message, protocmp.Transform()); diff != "" {
			t.Fatalf("merged (-want +got):\n%s", diff)
		}
		again, err := Merge([]Version{c, b, root, a}, nil)
		if err != nil || !proto.Equal(got.Message, again.Message) {
			t.Fatalf("another order gives another result: %v", err)
		}
		// A merge is revised by nothing: merged again with what went into it, it stays.
		m := version("m", got.Message, a, b, c)
		if same, err := Merge([]Version{root, a, b, c, m}, nil); err != nil || !proto.Equal(same.Message, got.Message) {
			t.Fatalf("merging the merge: %v", err)
		}
	})
}

// Whatever two people make of an interview, with or without an ancestor, the result does not depend on the order, every
// conflict names values that differ, and choosing one side everywhere settles all.
func TestMergeOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		next := 0
		draw := func(name string, parents ...Version) Version {
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				next = 0 // equal values and keys
			}
			iv := &surveyv1.Interview{}
			grow(t, iv.ProtoReflect(), 0, &next)
			return version(name, iv, parents...)
		}
		root := draw("root")
		a, b := draw("a", root), draw("b", root)
		revs := []Version{root, a, b}
		if rapid.Bool().Draw(t, "no ancestor") {
			revs = []Version{a, b}
		}
		got, err := Merge(revs, nil)
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(revs)
		again, err := Merge(revs, nil)
		if err != nil || !proto.Equal(got.Message, again.Message) || len(got.Conflicts) != len(again.Conflicts) {
			t.Fatalf("the order of arguments matters: %v", err)
		}
		choices := map[string]Digest{}
		for i, c := range got.Conflicts {
			if !proto.Equal(c, again.Conflicts[i]) {
				t.Fatalf("conflict %d is told differently: %v, %v", i, c, again.Conflicts[i])
			}
			if c.GetValues()[0].GetValue() == c.GetValues()[1].GetValue() {
				t.Fatalf("no conflict: %v", c)
			}
			choices[c.GetPath()] = a.Digest
		}
		settled, err := Merge(revs, choices)
		if err != nil || len(settled.Conflicts) > 0 || len(settled.Unused) > 0 {
			t.Fatalf("all is chosen, and yet: %v, %v, %v", settled.Conflicts, settled.Unused, err)
		}
		if len(revs) == 2 && !proto.Equal(canonical(settled.Message), canonical(a.Message)) {
			t.Fatalf("without an ancestor, choosing a everywhere is not a:\n%s", cmp.Diff(canonical(a.Message), canonical(settled.Message), protocmp.Transform()))
		}
		if alone, err := Merge([]Version{a, a}, nil); err != nil || len(alone.Conflicts) > 0 || !proto.Equal(alone.Message, a.Message) {
			t.Fatalf("merging one with itself changes it: %v", err)
		}
	})
}
