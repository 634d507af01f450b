package referral

import (
	"maps"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// variables are what people say of themselves, as estimates use it.
var variables = map[string]func(*servicev1.PersonRecord) string{
	"sex": func(p *servicev1.PersonRecord) string { return lowerName(p.GetSex().String(), "SEX_") },
	"education": func(p *servicev1.PersonRecord) string {
		return lowerName(p.GetEducation().String(), "EDUCATION_LEVEL_")
	},
	"hukou_type": func(p *servicev1.PersonRecord) string { return lowerName(p.GetHukouType().String(), "HUKOU_TYPE_") },
	"role":       func(p *servicev1.PersonRecord) string { return lowerName(p.GetRole().String(), "PERSON_ROLE_") },
	"site":       func(p *servicev1.PersonRecord) string { return p.GetSiteId() },
	"age_group":  ageGroup,
}

func variable(name string) (func(*servicev1.PersonRecord) string, error) {
	read := variables[name]
	if read == nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "people have no variable %.32q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(variables)), ", "))
	}
	return read, nil
}

// asked is a variable that is asked of everybody taken in.
type asked struct {
	name   string
	read   func(*servicev1.PersonRecord) string
	levels map[string]int32
	texts  []string
	said   []saying
	of     []int32 // the level by raw person, in the end
}

// saying is what one appearance says.
type saying struct {
	time       int64
	raw, level int32
}

// hear notes what a person says.
func (a *asked) hear(raw int32, p *servicev1.PersonRecord) {
	value := a.read(p)
	if value == "" || raw == none {
		return
	}
	level, ok := a.levels[value]
	if !ok {
		level = int32(len(a.texts))
		value = strings.Clone(value)
		a.levels[value] = level
		a.texts = append(a.texts, value)
	}
	a.said = append(a.said, saying{instant(p.InterviewTimeMs), raw, level})
}

// settle finds what each person said first, and puts the levels in order. Fresh are the new numbers of people.
func (a *asked) settle(fresh []int32) {
	sorted := slices.Clone(a.texts)
	slices.SortFunc(sorted, compareNatural)
	number := make([]int32, len(sorted))
	for i, l := range a.texts {
		at, _ := slices.BinarySearchFunc(sorted, l, compareNatural)
		number[i] = int32(at)
	}
	of, first := slices.Repeat([]int32{Unknown}, len(fresh)), make([]int64, len(fresh))
	for _, s := range a.said {
		raw, level := fresh[s.raw], s.level
		if old := of[raw]; old == Unknown || s.time < first[raw] || s.time == first[raw] && a.texts[level] < a.texts[old] {
			of[raw], first[raw] = level, s.time
		}
	}
	for i, l := range of {
		if l != Unknown {
			of[i] = number[l]
		}
	}
	a.of, a.texts, a.said = of, sorted, nil
}

// Sample counts the graph as Stats does, and lays its respondents out as SampleOf does, with the variables that the intake
// was asked for. Names are left out: a million ids would take as much memory as all the rest.
func (p *Prepared) Sample(merged map[string]string) (*servicev1.ReferralStats, *Sample) {
	b := p.grow(merged)
	return b.stats(p.introduced, p.groups), b.sample()
}

func (b *builder) sample() *Sample {
	rows := make([]int32, 0, len(b.rawOf)) // the node of each row
	rowOf := make([]int32, len(b.desc))
	for i := range b.desc {
		rowOf[i] = Unknown
		if b.desc[i].interviewed {
			rowOf[i] = int32(len(rows))
			rows = append(rows, int32(i))
		}
	}
	n := len(rows)
	s := &Sample{
		IDs: make([]string, n), Recruiter: make([]int32, n), Degree: make([]int32, n), Wave: make([]int32, n), Seed: make([]bool, n),
		Recruits: make([]int32, n), Way: make([]string, n), Time: make([]int64, n),
	}
	words := newEnumWords()
	for i, x := range rows {
		d := &b.desc[x]
		s.Recruiter[i], s.Degree[i] = Unknown, Unknown
		if from := b.parent[x]; from != none {
			s.Recruiter[i] = rowOf[from]
		}
		if d.sized && d.size >= 0 {
			s.Degree[i] = d.size
		}
		s.Wave[i], s.Recruits[i], s.Seed[i] = b.wave[x], b.recruits[x], b.flags[x]&nodeSeed != 0
		s.Way[i] = b.wayOf(x, words)
		if b.held[x] != never {
			s.Time[i] = b.held[x]
		}
	}
	s.findRoots()
	for _, a := range b.asked {
		o := Outcome{Name: a.name, Levels: a.texts, Level: make([]int32, n)}
		for i, x := range rows {
			o.Level[i] = b.levelOf(a, x)
		}
		o.keepUsed()
		s.Outcomes = append(s.Outcomes, o)
	}
	return s
}

// keepUsed leaves out the levels that no respondent has.
func (o *Outcome) keepUsed() {
	number := slices.Repeat([]int32{Unknown}, len(o.Levels))
	for _, l := range o.Level {
		if l != Unknown {
			number[l] = 0
		}
	}
	var kept []string
	for l, text := range o.Levels {
		if number[l] != Unknown {
			number[l] = int32(len(kept))
			kept = append(kept, text)
		}
	}
	for i, l := range o.Level {
		if l != Unknown {
			o.Level[i] = number[l]
		}
	}
	o.Levels = kept
}

// wayOf is how a respondent came in.
func (b *builder) wayOf(n int32, words *enumWords) string {
	if b.flags[n]&nodeSeed != 0 {
		return "seed"
	}
	if e := b.parentEdge[n]; e != none {
		if !b.isPerson(b.parent[n]) {
			return "institution"
		}
		if way := words.mode(b.tellings[b.edges[e].told].mode); way != "" {
			return way
		}
	}
	for _, e := range b.entriesOfNode(n) {
		if way := words.way(e.mode); way != "" && way != "referred" {
			return way
		}
	}
	return Unspecified
}

// levelOf is what a person said, in the record that gave the node its id or else in the first of the others.
func (b *builder) levelOf(a *asked, n int32) int32 {
	level := a.of[b.rawOf[n]]
	if level != Unknown || b.flags[n]&nodeJoined == 0 {
		return level
	}
	for _, raw := range b.joined[n].raws {
		if level == Unknown && b.raw[raw] != 0 {
			level = a.of[raw]
		}
	}
	return level
}
