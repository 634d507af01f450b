package study

import (
	"math"
	"math/rand/v2"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// maxMembers is how many people a simulated household can have.
const maxMembers = 8

// human is a member of a simulated household as he is in truth.
type human struct {
	family, given    string
	female           bool
	age              int
	year, month, day int
	dated            uint8 // what is known of the birth date: 0 all, 1 no day, 2 the year, 3 only the age
	lunar            bool
	relation         surveyv1.RelationToHead
	mother, father   int8 // lines
	spouse           int8
	married          surveyv1.MaritalStatus
	agricultural     bool
	hukou            string // division code
	away             string // division code of where he lives, if elsewhere
	absence          surveyv1.AbsenceReason
	education        int
	student          bool
	arrived          int
	bornHere         bool
	job              job
	pension          surveyv1.PensionScheme
	pensionHere      bool
	health           surveyv1.HealthScheme
	healthHere       bool
	insured          [4]bool // unemployment, work injury, maternity, provident fund
	phone            string
	id               string // resident identity number
	idForm           uint8  // 0 not told, 1 the last four, 2 the whole number
}

// job is what somebody works.
type job struct {
	kind                surveyv1.EmployerKind // 0: does not work
	contract, temporary bool
	occupation          surveyv1.Occupation
	industry            surveyv1.Industry
	hours               int
}

// draft is a simulated household before it is asked.
type draft struct {
	i, kind    int
	n          int
	people     [maxMembers]human
	respondent int // 0 or 1
	district   string
	site       int
	home       string
	owns       bool
	ownsOther  bool
	farming    bool
	split      bool
	income     int
	rent, area int
	arrived    int
	stay       surveyv1.StayIntention
	r          *rand.Rand
}

func (h *draft) adult(k int) bool { return h.people[k].age >= 16 && !h.people[k].student }

// slot numbers the people of a household for ever, whatever their line: 0 is the respondent of the first interview.
func (h *draft) slot(k int) int {
	switch {
	case k == h.respondent:
		return 0
	case k < h.respondent:
		return k + 1
	}
	return k
}

// household fills h with household i; the same i always gives the same people.
func (s *simulation) household(i int, h *draft) {
	*h = draft{i: i, r: rand.New(rand.NewPCG(s.Seed^streamPeople, uint64(i)))}
	r := h.r
	share := float64(publishedHouseholds[ruralMigrant]) / float64(publishedHouseholds[0]+publishedHouseholds[1])
	if s.u(vKind, i) >= share {
		h.kind = mixedStatus
	}
	m := &published[h.kind]
	u := s.u(vSize, i)
	for h.n = 1; h.n < maxMembers && u >= m.sizes[h.n-1]; h.n++ {
		u -= m.sizes[h.n-1]
	}
	h.site = r.IntN(s.sites)
	h.district = surveyDistricts[h.site%len(surveyDistricts)]
	if s.u(vIntra, i) < m.intra {
		h.home = homeCounties[r.IntN(len(homeCounties))]
	} else {
		h.home = otherCounties[r.IntN(len(otherCounties))]
	}
	h.owns = s.formal(vOwns, i, .25) < m.owns
	h.ownsOther = h.owns && r.Float64() < .04
	h.farming = s.u(vFarming, i) < m.farming
	h.income = incomeOf(s.formal(vIncome, i, .3), m.income)
	h.area, h.rent = 12+r.IntN(70), 200+10*r.IntN(90)
	h.stay = surveyv1.StayIntention(1 + r.IntN(4))
	s.gather(h, m)
	s.register(h, m)
	s.employ(h, m)
	s.insure(h, m)
	s.contact(h)
}

// incomeOf is a log-normal income of the given mean; a low u, a formal life, earns more.
func incomeOf(u, mean float64) int {
	const sigma = .6
	x := math.Exp(math.Log(mean) - sigma*sigma/2 - sigma*quantile(u))
	return max(2000, int(math.Round(x/100))*100)
}

// headAge turns u into an age with the given mean that is neither a child's nor very old.
func headAge(u, mean float64) int {
	const low, high, spread = 18, 74, 10
	return int(min(max(mean+.5+spread*quantile(u), low), high))
}

// gather makes the people: a head, mostly with a spouse, children, then parents, brothers and sisters.
func (s *simulation) gather(h *draft, m *margins) {
	r := h.r
	head := &h.people[0]
	head.relation, head.female = surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD, s.u(vHeadFemale, h.i) < m.headFemale
	head.age = headAge(s.u(vHeadAge, h.i), m.headAge)
	head.family, head.given = s.names.surname(r), s.names.given(r, head.female, "")
	h.arrived = s.Start.Year() - 1 - r.IntN(min(15, head.age-15))
	next := 1
	couple := h.n > 1 && r.Float64() < .86
	if couple {
		p := &h.people[1]
		p.relation, p.female = surveyv1.RelationToHead_RELATION_TO_HEAD_SPOUSE, !head.female
		p.age = max(20, head.age+r.IntN(7)-4)
		if p.female {
			p.age = max(20, head.age-r.IntN(6))
		}
		head.age = max(head.age, 20)
		p.family, p.given = s.names.surname(r), s.names.given(r, p.female, "")
		head.spouse, p.spouse = 2, 1
		head.married, p.married = surveyv1.MaritalStatus_MARITAL_STATUS_MARRIED, surveyv1.MaritalStatus_MARITAL_STATUS_MARRIED
		next = 2
	}
	generation := ""
	if r.Float64() < .35 {
		generation = string(s.names.first[0][r.IntN(len(s.names.first[0]))])
	}
	for k := next; k < h.n; k++ {
		s.relative(h, k, couple, generation)
	}
	if !couple {
		head.married = single(r, head.age, h.n > 1 && h.people[1].relation == surveyv1.RelationToHead_RELATION_TO_HEAD_CHILD)
	}
	for k := range h.n {
		p := &h.people[k]
		p.year, p.month, p.day = s.birth(r, p.age)
	}
	if couple && r.Float64() < .45 {
		h.respondent = 1
	}
}

// single is the marital status of somebody without a spouse in the roster.
func single(r *rand.Rand, age int, parent bool) surveyv1.MaritalStatus {
	if parent || age > 35 {
		return []surveyv1.MaritalStatus{surveyv1.MaritalStatus_MARITAL_STATUS_DIVORCED, surveyv1.MaritalStatus_MARITAL_STATUS_WIDOWED, surveyv1.MaritalStatus_MARITAL_STATUS_DIVORCED}[r.IntN(3)]
	}
	return surveyv1.MaritalStatus_MARITAL_STATUS_NEVER_MARRIED
}

// relative makes member k: a child where the ages allow it and there are not many yet, else a parent or a sibling.
func (s *simulation) relative(h *draft, k int, couple bool, generation string) {
	r := h.r
	head, p := &h.people[0], &h.people[k]
	children, parents := 0, 0
	youngest := head.age
	for j := range k {
		switch h.people[j].relation {
		case surveyv1.RelationToHead_RELATION_TO_HEAD_CHILD:
			children++
		case surveyv1.RelationToHead_RELATION_TO_HEAD_PARENT:
			parents++
		case surveyv1.RelationToHead_RELATION_TO_HEAD_SPOUSE:
			youngest = min(youngest, h.people[j].age)
		}
	}
	p.female = r.Float64() < .48
	p.married = surveyv1.MaritalStatus_MARITAL_STATUS_NEVER_MARRIED
	switch {
	case youngest >= 22 && children < 3 && (children == 0 || r.Float64() < .7):
		p.relation = surveyv1.RelationToHead_RELATION_TO_HEAD_CHILD
		p.age = max(0, youngest-20-r.IntN(9)-2*children)
		p.family, p.given = head.family, s.names.given(r, p.female, generation)
		p.setParents(head, &h.people[1], couple)
		if couple && head.female {
			p.family = h.people[1].family
		}
	case parents < 2 && head.age < 58:
		p.relation = surveyv1.RelationToHead_RELATION_TO_HEAD_PARENT
		p.female = parents == 0 && r.Float64() < .6 || parents == 1 && !h.people[k-1].female && h.people[k-1].relation == p.relation
		p.age = min(92, head.age+20+r.IntN(10))
		p.married = surveyv1.MaritalStatus_MARITAL_STATUS_WIDOWED
		p.family, p.given = head.family, s.names.given(r, p.female, "")
		if p.female {
			p.family = s.names.surname(r)
			if head.mother == 0 {
				head.mother = int8(k + 1)
			}
		} else if head.father == 0 {
			head.father = int8(k + 1)
		}
	default:
		p.relation = surveyv1.RelationToHead_RELATION_TO_HEAD_SIBLING
		p.age = max(16, head.age-6+r.IntN(11))
		p.family, p.given = head.family, s.names.given(r, p.female, "")
	}
}

// setParents points a child at the head and the spouse.
func (p *human) setParents(head, spouse *human, couple bool) {
	if head.female {
		p.mother = 1
	} else {
		p.father = 1
	}
	if couple {
		if spouse.female {
			p.mother = 2
		} else {
			p.father = 2
		}
	}
}

// birth is a birth date that makes somebody so old on the first day of fieldwork.
func (s *simulation) birth(r *rand.Rand, age int) (year, month, day int) {
	d := s.Start.AddDate(-age, 0, -r.IntN(365))
	return d.Year(), int(d.Month()), d.Day()
}

// register decides who is registered where and who lives elsewhere, so that the household is of its kind: all rural
// migrants, or somebody who is not.
func (s *simulation) register(h *draft, m *margins) {
	r := h.r
	for k := range h.n {
		p := &h.people[k]
		p.agricultural, p.hukou, p.arrived = true, h.home, max(h.arrived, p.year)
		p.bornHere = p.age < s.Start.Year()-h.arrived && p.relation == surveyv1.RelationToHead_RELATION_TO_HEAD_CHILD && r.Float64() < .5
	}
	chance := m.split
	if h.kind == ruralMigrant {
		chance /= 1 - m.sizes[0]
	}
	h.split = h.n > 1 && s.u(vSplit, h.i) < chance
	if h.n == 2 && h.split {
		h.respondent = 0
	}
	if h.split {
		s.sendAway(h)
	}
	if h.kind != mixedStatus || h.split && r.Float64() < .6 {
		return
	}
	k := 1 + r.IntN(h.n-1)
	p := &h.people[k]
	if p.away != "" {
		return
	}
	p.hukou, p.agricultural = h.district, r.Float64() < .25
	if r.Float64() < .2 {
		p.hukou, p.agricultural = h.home, false // urban hukou elsewhere
	}
}

// sendAway lets a member live elsewhere: in a mixed household at home, in one of migrants at work in another province.
func (s *simulation) sendAway(h *draft) {
	r := h.r
	k := 1 + r.IntN(h.n-1)
	for k == h.respondent {
		k = 1 + r.IntN(h.n-1)
	}
	p := &h.people[k]
	p.bornHere = false
	if h.kind == mixedStatus {
		p.away, p.absence = h.home, surveyv1.AbsenceReason_ABSENCE_REASON_LEFT_BEHIND
		return
	}
	for p.away == "" || p.away[:2] == h.home[:2] {
		p.away = workCities[r.IntN(len(workCities))]
	}
	p.absence = surveyv1.AbsenceReason_ABSENCE_REASON_WORK
	if p.age < 16 {
		p.absence = surveyv1.AbsenceReason_ABSENCE_REASON_SCHOOL
	}
}
