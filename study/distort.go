package study

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// distort turns a household met before into what another enumerator writes down: the whole roster, or one adult alone,
// with the errors of the field. It completes the meeting and keeps in h only who is listed again.
func (s *simulation) distort(m meeting, h *draft) meeting {
	r := rand.New(rand.NewPCG(s.Seed^streamDistort, uint64(m.after)))
	if m.slot >= 0 {
		k := s.pickAdult(h, r)
		m.slot = int8(h.slot(k))
		h.leaveAlone(k)
		m.kept = 1 << m.slot
	} else {
		for k := range h.n {
			m.kept |= 1 << h.slot(k)
		}
	}
	if m.slot >= 0 || r.Float64() < .3 { // moved since
		h.site = r.IntN(s.sites)
		h.district = surveyDistricts[h.site%len(surveyDistricts)]
	}
	for k := range h.n {
		s.err(r, &h.people[k])
	}
	h.income = max(1000, h.income*(85+r.IntN(31))/100/1000*1000)
	h.rent += 10 * (r.IntN(9) - 4)
	return m
}

// pickAdult chooses who is met again alone.
func (s *simulation) pickAdult(h *draft, r *rand.Rand) int {
	k := r.IntN(h.n)
	for range h.n {
		if h.adult(k) && h.people[k].age <= workingAge && h.people[k].away == "" {
			return k
		}
		k = (k + 1) % h.n
	}
	return 0
}

// leaveAlone makes the household one of a single person, who now says that he lives by himself.
func (h *draft) leaveAlone(k int) {
	p := h.people[k]
	p.relation, p.father, p.spouse, p.mother = surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD, 0, 0, 0
	h.people[0], h.n, h.respondent, h.split = p, 1, 0, false
	h.owns, h.ownsOther, h.area = false, false, 8+h.area%10
}

// err writes a person down with the errors of the field.
func (s *simulation) err(r *rand.Rand, p *human) {
	if r.Float64() < .38 {
		p.given = s.names.misheard(r, p.given)
	}
	if alike := s.names.family[p.family]; len(alike) > 0 && r.Float64() < .05 {
		p.family = alike[r.IntN(len(alike))]
	}
	given := []rune(p.given)
	switch x := r.Float64(); {
	case len(given) == 2 && x < .05:
		p.given = string([]rune{given[1], given[0]})
	case len(given) == 2 && x < .08:
		p.given = string(given[1:])
	case x < .10:
		p.given = "小" + string(given[len(given)-1:])
	}
	switch x := r.Float64(); {
	case x < .30:
		p.dated = max(p.dated, 1)
	case x < .38:
		p.dated = max(p.dated, 2)
	case x < .42:
		p.day = min(28, 1+r.IntN(28))
	case x < .48 && !p.lunar: // the lunar birthday, written as a solar one
		lunar := time.Date(p.year, time.Month(p.month), p.day-20-r.IntN(30), 0, 0, 0, 0, time.UTC)
		p.year, p.month, p.day = lunar.Year(), int(lunar.Month()), lunar.Day()
	}
	if r.Float64() < .15 { // the traditional age, or a year told wrong
		p.age++
		if p.dated > 0 && r.Float64() < .6 {
			p.year--
		}
	}
	p.phone = misdial(r, p.phone)
	p.errID(r)
	p.errPlace(r)
}

// misdial writes a telephone number with its errors: a wrong digit, two changed places, blanks, or not at all.
func misdial(r *rand.Rand, phone string) string {
	x := r.Float64()
	if phone == "" || x < .2 {
		return ""
	}
	b := []byte(phone)
	switch {
	case x < .32:
		b[3+r.IntN(8)] = '0' + byte(r.IntN(10))
	case x < .38:
		at := 3 + r.IntN(7)
		b[at], b[at+1] = b[at+1], b[at]
	case x < .48:
		return phone[:3] + " " + phone[3:7] + " " + phone[7:]
	}
	return string(b)
}

// errPlace names a neighbouring county of the same province as the place of registration, or another level of schooling.
func (p *human) errPlace(r *rand.Rand) {
	moved, at, level := r.Float64() < .06, r.IntN(len(homeCounties)), r.Float64()
	if moved && p.away == "" && slices.Contains(homeCounties, p.hukou) {
		p.hukou = homeCounties[at]
	}
	if p.education > 1 && p.education < 6 && p.age > 20 {
		switch {
		case level < .1:
			p.education++
		case level < .2:
			p.education--
		}
	}
}

// errID writes an identity number less fully, or with a wrong digit.
func (p *human) errID(r *rand.Rand) {
	told, wrong, digit := r.Float64(), r.Float64() < .03, r.IntN(17)
	if wrong {
		b := []byte(p.id)
		b[digit] = '0' + (b[digit]-'0'+1)%10
		p.id = string(b)
	}
	if told < .35 {
		p.idForm = 0
	} else if told < .5 {
		p.idForm = min(p.idForm, 1)
	}
}

// secondInterview composes the interview of somebody met again.
func (s *simulation) secondInterview(m meeting, h *draft, start time.Time, minutes int) *surveyv1.Interview {
	e := &encounter{
		meeting: 1, id: m.after, tablet: m.tablet, key: fmt.Sprintf("S%07dB", m.after+1), r: rand.New(rand.NewPCG(s.Seed^streamInterview, ^uint64(m.after))),
	}
	e.start, e.minutes = start, minutes
	if m.slot >= 0 {
		e.slots[0] = int(m.slot)
	} else {
		for k := range h.n {
			e.slots[k] = h.slot(k)
		}
	}
	e.recruitment = &surveyv1.Recruitment{Mode: of(surveyv1.RecruitmentMode_RECRUITMENT_MODE_CONVENIENCE)}
	return s.compose(h, e)
}
