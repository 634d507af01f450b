package dedup

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// decision makes one: "L a b", "C a b" or "U d".
func decision(id string, ms int64, what string) *servicev1.LinkDecision {
	d := &servicev1.LinkDecision{DecisionId: proto.String(id), TimeMs: proto.Int64(ms)}
	var verb, a, b string
	fmt.Sscan(what, &verb, &a, &b)
	switch verb {
	case "U":
		d.Kind, d.Undoes = servicev1.DecisionKind_DECISION_KIND_UNDO.Enum(), proto.String(a)
		return d
	case "C":
		d.Kind = servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK.Enum()
	default:
		d.Kind = servicev1.DecisionKind_DECISION_KIND_LINK.Enum()
	}
	d.AId, d.BId = proto.String(a), proto.String(b)
	return d
}

// TestDecided applies decisions by time, undos and undos of undos.
func TestDecided(t *testing.T) {
	type list = []*servicev1.LinkDecision
	tests := []struct {
		name          string
		decisions     list
		links, cannot string
	}{
		{"none", nil, "map[]", "map[]"},
		{"link", list{decision("1", 1, "L b a")}, "map[[a b]:1]", "map[]"},
		{"the later counts", list{decision("2", 2, "C a b"), decision("1", 1, "L a b")}, "map[]", "map[[a b]:2]"},
		{"same time: the larger id", list{decision("1", 1, "L a b"), decision("2", 1, "C a b")}, "map[]", "map[[a b]:2]"},
		{"undone", list{decision("1", 1, "L a b"), decision("2", 2, "U 1")}, "map[]", "map[]"},
		{"undone to the one before", list{decision("1", 1, "L a b"), decision("2", 2, "C a b"), decision("3", 3, "U 2")}, "map[[a b]:1]", "map[]"},
		{"undo undone", list{decision("1", 1, "L a b"), decision("2", 2, "U 1"), decision("3", 3, "U 2")}, "map[[a b]:1]", "map[]"},
		{"undo undone, that undone", list{decision("1", 1, "L a b"), decision("2", 2, "U 1"), decision("3", 3, "U 2"), decision("4", 4, "U 3")}, "map[]", "map[]"},
		{"undo with a slow clock", list{decision("1", 9, "L a b"), decision("2", 2, "U 1")}, "map[]", "map[]"},
		{"undo of nothing", list{decision("1", 1, "L a b"), decision("2", 2, "U 7")}, "map[[a b]:1]", "map[]"},
		{"arrived twice", list{decision("1", 1, "L a b"), decision("1", 1, "L a b")}, "map[[a b]:1]", "map[]"},
		{"with itself", list{decision("1", 1, "L a a")}, "map[]", "map[]"},
		{"without ids", list{{Kind: servicev1.DecisionKind_DECISION_KIND_LINK.Enum()}, nil}, "map[]", "map[]"},
	}
	for _, test := range tests {
		links, cannot := Decided(test.decisions)
		if got := fmt.Sprint(links); got != test.links {
			t.Errorf("%s: links %s, want %s", test.name, got, test.links)
		}
		if got := fmt.Sprint(cannot); got != test.cannot {
			t.Errorf("%s: cannot %s, want %s", test.name, got, test.cannot)
		}
	}
	ring := list{decision("1", 1, "U 2"), decision("2", 2, "U 1"), decision("3", 3, "U 3")}
	if links, cannot := Decided(ring); len(links)+len(cannot) != 0 {
		t.Errorf("a ring of undos decides %v %v", links, cannot)
	}
}

// TestCanonical maps everybody to the earliest record of the group.
func TestCanonical(t *testing.T) {
	people := records(who{id: "c", day: 1}, who{id: "a", day: 3}, who{id: "b", day: 2}, who{id: "d", day: 2}, who{id: "b", day: 0})
	people = append(people, &servicev1.PersonRecord{PersonId: proto.String("e")}, &servicev1.PersonRecord{})
	tests := []struct {
		name      string
		decisions []*servicev1.LinkDecision
		want      string
	}{
		{"no decisions", nil, "map[a:a b:b c:c d:d e:e]"},
		{"link", []*servicev1.LinkDecision{decision("1", 1, "L a c")}, "map[a:c b:b c:c d:d e:e]"},
		{"chain", []*servicev1.LinkDecision{decision("1", 1, "L a c"), decision("2", 2, "L c b")}, "map[a:b b:b c:b d:d e:e]"},
		{"by way of somebody who is not here", []*servicev1.LinkDecision{decision("1", 1, "L a z"), decision("2", 2, "L z c")}, "map[a:c b:b c:c d:d e:e]"},
		{"chain across a cannot-link", []*servicev1.LinkDecision{decision("1", 1, "C a b"), decision("2", 2, "L a c"), decision("3", 3, "L c b")}, "map[a:c b:b c:c d:d e:e]"},
		{"no time is latest", []*servicev1.LinkDecision{decision("1", 1, "L e d")}, "map[a:a b:b c:c d:d e:d]"},
	}
	for _, test := range tests {
		if got := fmt.Sprint(Canonical(people, test.decisions)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}
