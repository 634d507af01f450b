package study

import (
	"math"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Kinds of employer by short names.
const (
	public     = surveyv1.EmployerKind_EMPLOYER_KIND_PUBLIC_SECTOR
	private    = surveyv1.EmployerKind_EMPLOYER_KIND_PRIVATE
	selfMade   = surveyv1.EmployerKind_EMPLOYER_KIND_SELF_EMPLOYED
	farms      = surveyv1.EmployerKind_EMPLOYER_KIND_FARMING
	casual     = surveyv1.EmployerKind_EMPLOYER_KIND_CASUAL
	helps      = surveyv1.EmployerKind_EMPLOYER_KIND_FAMILY_HELPER
	doesNot    = surveyv1.EmployerKind_EMPLOYER_KIND_UNSPECIFIED
	workingAge = 64
)

// employs says whether somebody of this kind works for others.
func employs(k surveyv1.EmployerKind) bool { return k == public || k == private || k == casual }

// employ gives the household's adults their schooling and work.
func (s *simulation) employ(h *draft, m *margins) {
	r := h.r
	level := quantile(s.formal(vEducation, h.i, .3))
	for k := range h.n {
		p := &h.people[k]
		if p.age >= 16 && p.age <= 18 && p.relation == surveyv1.RelationToHead_RELATION_TO_HEAD_CHILD {
			p.student = r.Float64() < .85
		}
		p.education = s.schooled(h, p, m.education, level)
	}
	var able [maxMembers]int
	n := 0
	for k := range h.n {
		if p := &h.people[k]; h.adult(k) && p.away == "" && (p.age <= workingAge || k == 0) {
			able[n] = k
			n++
		}
	}
	if n == 0 {
		return
	}
	contract, public, temporary := s.formal(vContract, h.i, .5), s.formal(vPublic, h.i, .3), s.u(vTemporary, h.i)
	own := s.u(vSelf, h.i)
	if n == 1 {
		s.employAlone(h, m, &h.people[able[0]], own, contract, public, temporary)
	} else {
		s.employSeveral(h, m, able[:n], own, contract, public, temporary)
	}
	for k := range h.n {
		p := &h.people[k]
		if p.away != "" && p.absence == surveyv1.AbsenceReason_ABSENCE_REASON_WORK {
			p.job.kind = private
			if p.age < 16 {
				p.job.kind = doesNot
			}
		}
		s.occupy(h, p)
	}
}

// schooled is the level of schooling of one member: for adults around the mean of the households of this kind, lower
// for the old, and alike within a household.
func (s *simulation) schooled(h *draft, p *human, mean, level float64) int {
	switch {
	case p.age < 6:
		return 0
	case p.age < 13:
		return 2
	case p.age < 16 || p.student && p.age < 17:
		return 3
	case p.student:
		return 4
	}
	x := mean - .95*level + .8*h.r.NormFloat64() - .028*float64(p.age-38)
	return int(min(max(math.Round(x), 1), 8))
}

// employAlone decides the work of the only one who can: the kinds of work exclude one another.
func (s *simulation) employAlone(h *draft, m *margins, p *human, own, contract, inPublic, temporary float64) {
	rest := 1 - m.farmer - m.self
	switch {
	case own < m.farmer:
		p.job.kind = farms
		return
	case own < m.farmer+m.self:
		p.job.kind = selfMade
		return
	}
	p.job.contract, p.job.temporary = contract < m.contract/rest, temporary < m.temporary/rest
	switch {
	case inPublic < m.public/rest:
		p.job.kind = public
	case p.job.temporary && !p.job.contract && h.r.Float64() < .6:
		p.job.kind = casual
	case p.job.temporary || p.job.contract || h.r.Float64() < .6:
		p.job.kind = private
	}
}

// employSeveral spreads what the household has of each kind of work over those who can work.
func (s *simulation) employSeveral(h *draft, m *margins, able []int, own, contract, inPublic, temporary float64) {
	r := h.r
	a, b := &h.people[able[0]], &h.people[able[1]]
	if r.Float64() < .4 {
		a, b = b, a
	}
	hasSelf := own < m.self
	employee, other := a, b
	if hasSelf {
		b.job.kind, other = selfMade, a
	}
	if contract < m.contract {
		employee.job.kind, employee.job.contract = private, true
	}
	if inPublic < m.public {
		employee.job.kind = public
	}
	if temporary < m.temporary {
		t := employee
		if r.Float64() < .5 {
			t = other
		}
		t.job.temporary = true
		if t.job.kind == doesNot {
			t.job.kind = private
			if !t.job.contract && r.Float64() < .6 {
				t.job.kind = casual
			}
		}
	}
	if r.Float64() < m.farmer {
		for _, k := range able {
			if p := &h.people[k]; p.job.kind == doesNot {
				p.job.kind = farms
				break
			}
		}
	}
	for _, k := range able {
		p := &h.people[k]
		if p.job.kind != doesNot || r.Float64() < .4 {
			continue
		}
		p.job.kind = private
		if hasSelf && r.Float64() < .5 {
			p.job.kind = helps
		}
	}
}

// trades are what people work, by kind of employer.
var trades = map[surveyv1.EmployerKind][][2]int32{
	public:   {{4, 19}, {9, 14}, {12, 7}, {3, 16}, {10, 19}},
	private:  {{17, 3}, {17, 3}, {16, 5}, {8, 8}, {7, 6}, {10, 11}, {12, 7}, {13, 7}, {11, 15}, {4, 12}},
	selfMade: {{5, 6}, {6, 6}, {5, 8}, {19, 15}, {15, 14}, {12, 7}},
	farms:    {{22, 1}},
	casual:   {{16, 5}, {14, 7}, {9, 14}, {16, 5}},
	helps:    {{5, 6}, {6, 6}, {5, 8}},
}

func (s *simulation) occupy(h *draft, p *human) {
	list := trades[p.job.kind]
	if len(list) == 0 {
		return
	}
	t := list[h.r.IntN(len(list))]
	p.job.occupation, p.job.industry = surveyv1.Occupation(t[0]), surveyv1.Industry(t[1])
	p.job.hours = 40 + 4*h.r.IntN(8)
}

// insure decides who is in which insurance, so that at least one member or none has each.
func (s *simulation) insure(h *draft, m *margins) {
	best := 0
	for k := range h.n {
		p := &h.people[k]
		p.pension, p.health = surveyv1.PensionScheme_PENSION_SCHEME_NONE, surveyv1.HealthScheme_HEALTH_SCHEME_NONE
		if h.adult(k) && p.away == "" && p.job.contract && !h.people[best].job.contract {
			best = k
		}
	}
	s.insurePension(h, best, s.formal(vPension, h.i, .5) < m.pension)
	s.insureHealth(h, m)
	for c, v := range []struct {
		question int
		share    float64
	}{{vUnemployment, m.unemployment}, {vInjury, m.injury}, {vMaternity, m.maternity}, {vFund, m.fund}} {
		if s.formal(v.question, h.i, .5) >= v.share {
			continue
		}
		h.people[best].insured[c] = true
		for k := range h.n {
			if p := &h.people[k]; p.away == "" && employs(p.job.kind) && h.r.Float64() < .3 {
				p.insured[c] = true
			}
		}
	}
}

func (s *simulation) insurePension(h *draft, best int, urban bool) {
	r := h.r
	for k := range h.n {
		p := &h.people[k]
		if !h.adult(k) {
			continue
		}
		if r.Float64() < .55 {
			p.pension = surveyv1.PensionScheme_PENSION_SCHEME_RURAL_RESIDENT
		}
		if urban && p.away == "" && (k == best || r.Float64() < .35) {
			p.pension, p.pensionHere = surveyv1.PensionScheme_PENSION_SCHEME_URBAN_EMPLOYEE, true
			if !p.job.contract && r.Float64() < .5 {
				p.pension = surveyv1.PensionScheme_PENSION_SCHEME_URBAN_RESIDENT
			}
		}
	}
}

// insureHealth: who is alone has his insurance either here or elsewhere.
func (s *simulation) insureHealth(h *draft, m *margins) {
	r := h.r
	u := s.formal(vLocal, h.i, .5)
	local, elsewhere := u < m.local, s.u(vElsewhere, h.i) < m.elsewhere
	if h.n == 1 {
		elsewhere = !local && u < m.local+m.elsewhere
	}
	atHome := surveyv1.HealthScheme_HEALTH_SCHEME_RURAL_COOPERATIVE
	first := true
	for k := range h.n {
		p := &h.people[k]
		here := p.away == "" && local && (k == 0 || !elsewhere && r.Float64() < .7 || elsewhere && k != h.n-1 && r.Float64() < .35)
		switch {
		case here:
			p.health, p.healthHere = surveyv1.HealthScheme_HEALTH_SCHEME_URBAN_EMPLOYEE, true
			if !p.job.contract {
				p.health = surveyv1.HealthScheme_HEALTH_SCHEME_URBAN_RESIDENT
			}
		case elsewhere && (first || r.Float64() < .8):
			p.health = atHome
			first = false
		}
	}
}

// contact decides what is told of telephones and identity numbers.
func (s *simulation) contact(h *draft) {
	r := h.r
	for k := range h.n {
		p := &h.people[k]
		sequence := 2*r.IntN(499) + 1
		if p.female {
			sequence++
		}
		p.id = residentID(p.hukou, p.year, p.month, p.day, sequence)
		number, told := s.names.phone(r), r.Float64()
		if p.age >= 14 && (k == h.respondent && told < .93 || told < .45) {
			p.phone = number
		}
		switch x := r.Float64(); {
		case p.age < 16 || x < .45:
		case x < .75:
			p.idForm = 1
		default:
			p.idForm = 2
		}
		switch x := r.Float64(); {
		case x < .72:
		case x < .84:
			p.dated = 1
		case x < .93:
			p.dated = 2
		default:
			p.dated = 3
		}
		p.lunar = p.dated == 0 && p.age > 30 && r.Float64() < .12
	}
}
