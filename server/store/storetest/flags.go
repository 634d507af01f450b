package storetest

import (
	"strconv"
	"testing"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// flagged is an interview with flags, each a path and a rule; those of the rule hard are hard.
func flagged(id string, change func(*servicev1.InterviewSummary), flags ...[2]string) *servicev1.InterviewProjection {
	iv := interview(id, 1, change)
	for _, f := range flags {
		severity := formv1.Severity_SEVERITY_SOFT
		if f[1] == "hard" {
			severity = formv1.Severity_SEVERITY_HARD
		}
		iv.Flags = append(iv.Flags, &servicev1.Flag{Path: proto.String(f[0]), Rule: proto.String(f[1]), Severity: severity.Enum(), InterviewId: proto.String(id)})
	}
	return iv
}

// flagNumbers are the numbers of flags as text.
func flagNumbers(t *testing.T, s store.Store, study string, shape store.FlagShape) map[string]store.FlagNumbers {
	t.Helper()
	all, err := s.FlagCells(t.Context(), study, shape)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]store.FlagNumbers{}
	for _, c := range all {
		key := c.Study + " " + c.Enumerator + " " + c.Question + " " + c.Rule + " " + strconv.Itoa(int(c.Severity))
		n := out[key]
		n.Add(c.FlagNumbers)
		out[key] = n
	}
	return out
}

// Flags are counted by all their columns together, in any shape, and interviews once in each; of an interview that is
// replaced or withdrawn only what it is now counts.
func testFlagCells(t *testing.T, f Factory) {
	s := f.Open(t)
	elsewhere := func(s *servicev1.InterviewSummary) { s.Part = proto.Uint64(1<<63 + 5) }
	other := func(s *servicev1.InterviewSummary) { s.Study = proto.String("other") }
	apply(t, s,
		flagged("a", nil, [2]string{"members[0].age", "soft"}, [2]string{"members[1].age", "soft"}, [2]string{"members[1].age", "hard"}),
		flagged("b", elsewhere, [2]string{"members[7].age", "soft"}), flagged("c", nil), flagged("d", other, [2]string{"", "hard"}))
	check := func(when, study string, shape store.FlagShape, want map[string]store.FlagNumbers) {
		t.Helper()
		if diff := cmp.Diff(want, flagNumbers(t, s, study, shape)); diff != "" {
			t.Errorf("%s, shape %d of %q (-want +got):\n%s", when, shape, study, diff)
		}
	}
	check("at first", "guiyang-2016", store.FlagsByRule, map[string]store.FlagNumbers{"guiyang-2016 e1  soft 0": {Flags: 3, Interviews: 2}, "guiyang-2016 e1  hard 0": {Flags: 1, Hard: 1, Interviews: 1}})
	check("at first", "", 0, map[string]store.FlagNumbers{"guiyang-2016 e1   0": {Flags: 4, Hard: 1, Interviews: 2}, "other e1   0": {Flags: 1, Hard: 1, Interviews: 1}})
	check("at first", "other", store.FlagsByQuestion|store.FlagsByRule|store.FlagsBySeverity, map[string]store.FlagNumbers{"other e1  hard 2": {Flags: 1, Hard: 1, Interviews: 1}})
	check("at first", "guiyang-2016", store.FlagsByQuestion|store.FlagsBySeverity, map[string]store.FlagNumbers{
		"guiyang-2016 e1 members.age  1": {Flags: 3, Interviews: 2}, "guiyang-2016 e1 members.age  2": {Flags: 1, Hard: 1, Interviews: 1},
	})
	if f.Reopen != nil {
		s = f.Reopen(t, s)
	}
	// Replaced twice in one go, under another enumerator; and one that had no flags has some.
	apply(t, s, flagged("a", nil, [2]string{"x", "soft"}), flagged("a", func(s *servicev1.InterviewSummary) { s.Enumerator = proto.String("e2") }, [2]string{"y", "hard"}),
		flagged("c", nil, [2]string{"z", "soft"}))
	check("replaced", "guiyang-2016", store.FlagsByQuestion, map[string]store.FlagNumbers{
		"guiyang-2016 e2 y  0": {Flags: 1, Hard: 1, Interviews: 1}, "guiyang-2016 e1 members.age  0": {Flags: 1, Interviews: 1}, "guiyang-2016 e1 z  0": {Flags: 1, Interviews: 1},
	})
	head := syncer.Cursor{Epoch: s.Epoch()}
	gone := store.Withdrawal{Part: interview("a", 1, nil).GetSummary().GetPart(), InterviewID: "a", Tombstone: &servicev1.Tombstone{InterviewId: proto.String("a")}}
	if err := s.Apply(t.Context(), &store.Changes{Cursor: head, Withdrawn: []store.Withdrawal{gone}}); err != nil {
		t.Fatal(err)
	}
	check("withdrawn", "guiyang-2016", 0, map[string]store.FlagNumbers{"guiyang-2016 e1   0": {Flags: 2, Interviews: 2}})
}
