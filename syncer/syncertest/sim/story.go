package sim

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Step is one thing that happens in a story. Everything about it is in the step, so that a story from which steps are
// taken away is a story still: what it names is found modulo what there is.
type Step struct {
	// Who is the tablet, from 1; 0: headquarters or nobody.
	Who int
	// Verb is what happens, Fault what goes wrong meanwhile; empty: nothing.
	Verb, Fault string
	// At is the call or operation of the disk at which it goes wrong, and N how much or which.
	At, N int
	// Seed decides what is left to chance within the step.
	Seed uint32
}

// String is the step as Parse reads it: who:verb/n!fault@at#seed.
func (s Step) String() string {
	var b strings.Builder
	if s.Who > 0 {
		fmt.Fprintf(&b, "%d:", s.Who)
	}
	b.WriteString(s.Verb)
	if s.N > 0 {
		fmt.Fprintf(&b, "/%d", s.N)
	}
	if s.Fault != "" {
		fmt.Fprintf(&b, "!%s@%d", s.Fault, s.At)
	}
	if s.Seed > 0 {
		fmt.Fprintf(&b, "#%x", s.Seed)
	}
	return b.String()
}

// Story is what happens to a field team, in order.
type Story struct {
	// Seed decides the ids and keys of the team.
	Seed  uint64
	Steps []Step
}

// arrow stands between two steps.
const arrow = " -> "

// String is the story as Parse reads it.
func (s Story) String() string {
	all := make([]string, len(s.Steps))
	for i, step := range s.Steps {
		all[i] = step.String()
	}
	return strings.Join(all, arrow)
}

var stepForm = regexp.MustCompile(`^(?:(\d+):)?([a-z]+)(?:/(\d+))?(?:!([a-z]+)@(\d+))?(?:#([0-9a-f]+))?$`)

// Parse reads a story: steps with arrows between them.
func Parse(text string) (Story, error) {
	var story Story
	for part := range strings.SplitSeq(text, arrow) {
		m := stepForm.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return story, fmt.Errorf("step %q is not who:verb/n!fault@at#seed", part)
		}
		number := func(s string, base int) int {
			n, _ := strconv.ParseInt(s, base, 33) // of digits alone; what is too large becomes the largest
			return int(n)
		}
		s := Step{Who: number(m[1], 10), Verb: m[2], N: number(m[3], 10), Fault: m[4], At: number(m[5], 10), Seed: uint32(number(m[6], 16))}
		if verbs()[s.Verb] == nil {
			return story, fmt.Errorf("step %q: there is no verb %q", part, s.Verb)
		}
		if s.Fault != "" && linkFaults[s.Fault] == nil && diskFaults[s.Fault] == nil {
			return story, fmt.Errorf("step %q: there is no fault %q", part, s.Fault)
		}
		story.Steps = append(story.Steps, s)
	}
	return story, nil
}

// habit is how often a step is drawn, and with what.
type habit struct {
	weight int
	verb   string
	n      int // N is drawn from 1 to n
	faults []string
	at     int // At is drawn from 1 to at
}

// nobody are the verbs that are not of a tablet.
var nobody = map[string]bool{
	"project": true, "save": true, "load": true, "killhq": true, "cuthq": true, "study": true, "replay": true, "late": true,
	"withdraw": true, "erase": true, "again": true, "old": true, "reuse": true, "forge": true,
	"order": true, "handover": true, "cancel": true, "reject": true, "approve": true, "remark": true, "force": true,
	"forward": true, "killhub": true, "cuthub": true, "burnhub": true, "savehub": true, "loadhub": true, "revokehub": true, "enrolhub": true,
}

var habits = []habit{
	{weight: 22, verb: "record", n: 5},
	{weight: 3, verb: "record", n: 5, faults: []string{"cut", "full", "badwrite", "badsync"}, at: 12},
	{weight: 3, verb: "record", n: 3, faults: []string{"lie"}, at: 30},
	{weight: 5, verb: "skew", n: 4},
	{weight: 14, verb: "sync"},
	{weight: 12, verb: "sync", faults: []string{"norequest", "noanswer", "flaky", "twice", "late"}, at: 6},
	{weight: 3, verb: "sync", faults: []string{"flip", "forge"}, at: 1},
	{weight: 5, verb: "sync", faults: []string{"cut", "kill", "full", "badwrite", "badsync"}, at: 40},
	{weight: 8, verb: "sync", faults: []string{"cuthq", "fullhq", "badwritehq", "badsynchq"}, at: 50},
	{weight: 2, verb: "sync", faults: []string{"liehq"}, at: 120},
	{weight: 1, verb: "visit", faults: []string{"liehq"}, at: 120},
	{weight: 8, verb: "visit"},
	{weight: 7, verb: "visit", faults: []string{"norequest", "noanswer", "flaky", "twice", "late"}, at: 6},
	{weight: 3, verb: "visit", faults: []string{"cut", "kill", "full", "badsync"}, at: 40},
	{weight: 3, verb: "visit", faults: []string{"cuthq", "fullhq", "badsynchq"}, at: 50},
	{weight: 9, verb: "race", n: 4},
	{weight: 6, verb: "twins", n: 5},
	{weight: 3, verb: "relapse", n: 4},
	{weight: 6, verb: "backup"},
	{weight: 6, verb: "restore", n: 6},
	{weight: 3, verb: "clone"},
	{weight: 5, verb: "prune"},
	{weight: 2, verb: "usb", n: 6},
	{weight: 3, verb: "kill"},
	{weight: 3, verb: "clock", n: 4},
	{weight: 3, verb: "revoke"},
	{weight: 4, verb: "enrol"},
	{weight: 3, verb: "project"},
	{weight: 3, verb: "save"},
	{weight: 2, verb: "load", n: 3},
	{weight: 2, verb: "killhq"},
	{weight: 3, verb: "cuthq"},
	{weight: 3, verb: "study", n: 9},
	{weight: 3, verb: "replay"},
	{weight: 4, verb: "late", n: 4},
	{weight: 2, verb: "withdraw", n: 4},
	{weight: 1, verb: "erase", n: 4},
	{weight: 3, verb: "again", n: 12},
	{weight: 1, verb: "old", n: 3},
	{weight: 2, verb: "reuse", n: 12},
	{weight: 1, verb: "forge", n: 12},
}

// hubHabits are what is drawn beside in a story with hubs; N is the hub.
var hubHabits = []habit{
	{weight: 16, verb: "hubsync"},
	{weight: 10, verb: "hubsync", faults: []string{"norequest", "noanswer", "flaky", "twice", "late"}, at: 6},
	{weight: 2, verb: "hubsync", faults: []string{"flip", "forge"}, at: 1},
	{weight: 5, verb: "hubsync", faults: []string{"cut", "kill", "full", "badsync"}, at: 40},
	{weight: 8, verb: "hubsync", faults: []string{"cuthub", "fullhub", "badsynchub"}, at: 50},
	{weight: 12, verb: "forward"},
	{weight: 10, verb: "forward", faults: []string{"norequest", "noanswer", "flaky", "twice", "late"}, at: 9},
	{weight: 2, verb: "forward", faults: []string{"flip", "forge"}, at: 1},
	{weight: 6, verb: "forward", faults: []string{"cuthub", "fullhub", "badsynchub"}, at: 40},
	{weight: 5, verb: "forward", faults: []string{"cuthq", "fullhq", "badsynchq"}, at: 50},
	{weight: 3, verb: "hubsync", faults: []string{"liehub"}, at: 50},
	{weight: 2, verb: "forward", faults: []string{"liehub", "liehq"}, at: 50},
	{weight: 8, verb: "hubrace"},
	{weight: 2, verb: "killhub"},
	{weight: 2, verb: "cuthub"},
	{weight: 3, verb: "burnhub"},
	{weight: 3, verb: "savehub"},
	{weight: 3, verb: "loadhub"},
	{weight: 2, verb: "revokehub"},
	{weight: 2, verb: "enrolhub"},
}

// orderHabits are what is drawn beside in a story with assignments and reviews.
var orderHabits = []habit{
	{weight: 8, verb: "order", n: 4},
	{weight: 5, verb: "handover", n: 4},
	{weight: 2, verb: "cancel", n: 4},
	{weight: 3, verb: "force"},
	{weight: 6, verb: "reject", n: 4},
	{weight: 4, verb: "approve", n: 4},
	{weight: 2, verb: "remark", n: 4},
	{weight: 6, verb: "record", n: 2},
	{weight: 6, verb: "start"},
	{weight: 7, verb: "interview"},
	{weight: 8, verb: "sync"},
	{weight: 3, verb: "sync", faults: []string{"norequest", "noanswer", "flaky", "twice", "cut", "cuthq"}, at: 9},
}

// photoHabits are what is drawn beside in a story with attachments.
var photoHabits = []habit{
	{weight: 8, verb: "photo", n: 6},
	{weight: 4, verb: "record", n: 2},
	{weight: 5, verb: "sync"},
	{weight: 4, verb: "visit", faults: []string{"norequest", "noanswer", "flaky", "twice", "cut", "cuthq"}, at: 12},
	{weight: 3, verb: "prune"},
	{weight: 1, verb: "save"},
	{weight: 1, verb: "load", n: 3},
	{weight: 1, verb: "clone"},
}

// hubPhotoHabits are what is drawn beside photoHabits in a story with hubs; N is the hub.
var hubPhotoHabits = []habit{
	{weight: 7, verb: "hubsync", n: places},
	{weight: 4, verb: "hubsync", n: places, faults: []string{"norequest", "noanswer", "flaky", "twice", "cuthub", "liehub"}, at: 12},
	{weight: 5, verb: "forward", n: places},
	{weight: 4, verb: "forward", n: places, faults: []string{"norequest", "noanswer", "flaky", "twice", "cuthub", "cuthq"}, at: 12},
	{weight: 4, verb: "prune"},
	{weight: 1, verb: "burnhub", n: places},
	{weight: 1, verb: "savehub", n: places},
	{weight: 1, verb: "loadhub", n: places},
}

// withPhotos puts attachments between the steps of one story in eight, of one in three with hubs, from a source of its own.
func withPhotos(story Story, tablets int) Story {
	if slices.ContainsFunc(story.Steps, func(s Step) bool { return s.Verb == "hubsync" || s.Verb == "forward" }) {
		with := within(story, tablets, slices.Concat(photoHabits, hubPhotoHabits), hubPhotosEvery, 0x70686f746f, 10)
		if len(with.Steps) > len(story.Steps) {
			return withDays(with, tablets)
		}
		return story
	}
	return within(story, tablets, photoHabits, photosEvery, 0x70686f746f, 10)
}

// withDays puts days at a hub into a story: a tablet records, takes photos, hands over at a hub, and the hub forwards.
func withDays(story Story, tablets int) Story {
	r := rand.New(rand.NewPCG(story.Seed, 0x64617973))
	for range 1 + r.IntN(3) {
		who, hub := 1+r.IntN(tablets), 1+r.IntN(places)
		step := func(who int, verb string, n int) Step {
			return Step{Who: who, Verb: verb, N: n, Seed: r.Uint32() & 0x7fffffff}
		}
		day := []Step{step(who, "record", 3), step(who, "photo", 1+r.IntN(6)), step(who, "photo", 1+r.IntN(6)), step(who, "hubsync", hub), step(0, "forward", hub)}
		if r.IntN(2) == 0 {
			day[4].Fault, day[4].At = []string{"norequest", "noanswer", "flaky"}[r.IntN(3)], 4+r.IntN(6)
		}
		if r.IntN(2) == 0 {
			day = append(day, step(who, "hubsync", hub), step(who, "prune", 0))
		}
		story.Steps = slices.Insert(story.Steps, r.IntN(len(story.Steps)+1), day...)
	}
	return story
}

// withOrders puts assignments and reviews between the steps of one story in six, from a source of its own.
func withOrders(story Story, tablets int) Story {
	return within(story, tablets, orderHabits, ordersEvery, 0x6f7264657273, 12)
}

// draw draws a step, of each habit by its weight.
func draw(r *rand.Rand, habits []habit, tablets int) Step {
	total := 0
	for _, h := range habits {
		total += h.weight
	}
	pick := r.IntN(total)
	at := slices.IndexFunc(habits, func(h habit) bool { pick -= h.weight; return pick < 0 })
	h := habits[at]
	s := Step{Verb: h.verb, Seed: r.Uint32() & 0x7fffffff}
	if !nobody[h.verb] {
		s.Who = 1 + r.IntN(tablets+1)
	}
	if h.n > 0 {
		s.N = 1 + r.IntN(h.n)
	}
	if len(h.faults) > 0 {
		s.Fault, s.At = h.faults[r.IntN(len(h.faults))], 1+r.IntN(h.at)
	}
	return s
}

// within puts some steps, least or up to ten more, between those of one story in every.
func within(story Story, tablets int, habits []habit, every int, source uint64, least int) Story {
	r := rand.New(rand.NewPCG(story.Seed, source))
	if r.IntN(every) > 0 {
		return story
	}
	for range least + r.IntN(10) {
		s := draw(r, habits, tablets)
		story.Steps = slices.Insert(story.Steps, r.IntN(len(story.Steps)+1), s)
	}
	return story
}

// hubsEvery, ordersEvery, photosEvery and longEvery say of how many stories one has hubs, one assignments, one attachments, and
// one is long: what was
// found could always be told in few steps, so that many short stories find more than few long ones.
const (
	longEvery   = 4
	hubsEvery   = 4
	ordersEvery = 6
	photosEvery = 8
	// hubPhotosEvery says of how many stories with hubs one has attachments.
	hubPhotosEvery = 3
)

// withHubs puts what happens with one or two hubs between the steps of one story in four. It draws from a source of its
// own, so that the others stay as they are.
func withHubs(story Story, tablets int) Story {
	r := rand.New(rand.NewPCG(story.Seed, 0x68756273))
	if r.IntN(hubsEvery) > 0 {
		return story
	}
	hubs, total := 1+r.IntN(places), 0
	for _, h := range hubHabits {
		total += h.weight
	}
	for range 6 + r.IntN(8) {
		pick := r.IntN(total)
		for _, h := range hubHabits {
			if pick -= h.weight; pick >= 0 {
				continue
			}
			s := Step{Verb: h.verb, N: 1 + r.IntN(hubs), Seed: r.Uint32() & 0x7fffffff}
			if !nobody[h.verb] {
				s.Who = 1 + r.IntN(tablets+1)
			}
			if len(h.faults) > 0 {
				s.Fault, s.At = h.faults[r.IntN(len(h.faults))], 1+r.IntN(h.at)
			}
			steps := []Step{s}
			switch { // as a day goes: what is forwarded was handed over, and that was recorded
			case s.Who > 0 && r.IntN(3) > 0:
				steps = []Step{{Who: s.Who, Verb: "record", N: 1 + r.IntN(3), Seed: r.Uint32() & 0x7fffffff}, s}
			case s.Verb == "forward" && r.IntN(2) > 0:
				who := 1 + r.IntN(tablets)
				steps = []Step{{Who: who, Verb: "record", N: 1 + r.IntN(3), Seed: r.Uint32() & 0x7fffffff}, {Who: who, Verb: "hubsync", N: s.N}, s}
			}
			story.Steps = slices.Insert(story.Steps, r.IntN(len(story.Steps)+1), steps...)
			break
		}
	}
	// A hub takes in whom headquarters knows.
	for who := range tablets {
		story.Steps = slices.Insert(story.Steps, who, Step{Who: 1 + who, Verb: "sync"})
	}
	return story
}

// Tell draws the story of a seed.
func Tell(seed uint64) Story {
	r := rand.New(rand.NewPCG(seed, 0x73746f7279))
	// Each story has habits of its own: what is rare in all together is frequent in some, and nothing is in the way of it.
	own := slices.Clone(habits)
	for i, h := range habits {
		switch r.IntN(6) {
		case 0, 1:
			own[i].weight = 0
		case 2:
			own[i].weight = 5 * h.weight
		}
		if i == 0 {
			own[i].weight = max(own[i].weight, h.weight)
		}
	}
	story := Story{Seed: seed}
	tablets := 1 + r.IntN(3)
	steps := 5 + r.IntN(12)
	if r.IntN(longEvery) == 0 {
		steps = 15 + r.IntN(25)
	}
	for range steps {
		story.Steps = append(story.Steps, draw(r, own, tablets))
	}
	return withPhotos(withOrders(withHubs(story, tablets), tablets), tablets)
}
