package study

import (
	"fmt"
	"math/rand/v2"
	"time"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/server/referral"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// couponsEach is how many coupons a respondent of a referral chain is given.
const couponsEach = 3

// none stands for no household.
const none = int32(-1)

// plantForest decides for every household how it is reached, and by whom, before any is made. Recruiters come at least
// the gap before their recruits, so that they are interviewed earlier however the tablets go.
func (s *simulation) plantForest() {
	n, t := s.Households, s.truth
	s.firstRecruit, s.nextRecruit = make([]int32, n), make([]int32, n)
	r := rand.New(rand.NewPCG(s.Seed, streamForest))
	room := make([]uint8, n) // how many each can still recruit
	var open []int32
	for i := range n {
		s.firstRecruit[i], s.nextRecruit[i], t.recruiter[i] = none, none, none
		if j := i - s.gap; j >= 0 && room[j] > 0 {
			open = append(open, int32(j))
		}
		u, pick := r.Float64(), r.Float64()
		room[i] = uint8([]int{0, 0, 1, 1, 2, 2, 3, 3}[r.IntN(8)])
		mode := surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED
		switch {
		case u < .03 || i == 0:
			mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED
			room[i] = couponsEach
		case u < .30:
			mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_RANDOM_AT_SITE
		case u < .38:
			mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_CONVENIENCE
		case len(open) == 0 && i < 4*s.gap && u < .5:
			mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED
			room[i] = couponsEach
		case len(open) == 0:
			mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_RANDOM_AT_SITE
		}
		t.mode[i] = uint8(mode)
		if mode != surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED {
			if mode != surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED {
				room[i] = 0
			}
			continue
		}
		at := int(pick * float64(len(open)))
		j := open[at]
		t.recruiter[i], t.wave[i] = j, t.wave[j]+1
		s.nextRecruit[i], s.firstRecruit[j] = s.firstRecruit[j], int32(i)
		if room[j]--; room[j] == 0 {
			open[at] = open[len(open)-1]
			open = open[:len(open)-1]
		}
	}
}

// way is how i was referred; the same for whoever asks.
func (s *simulation) way(i int) surveyv1.ReferralMode {
	switch x := mix(s.Seed^streamForest^uint64(i)) % 10; {
	case x < 6:
		return surveyv1.ReferralMode_REFERRAL_MODE_COUPON
	case x < 8:
		return surveyv1.ReferralMode_REFERRAL_MODE_NAMED
	case x < 9:
		return surveyv1.ReferralMode_REFERRAL_MODE_ACCOMPANIED
	}
	return surveyv1.ReferralMode_REFERRAL_MODE_PHONE
}

// coupon is the k-th coupon given in the interview of household j: of all tablets together one number after the other, under the
// last number for coupons, which headquarters, that begins with the first, gives to no tablet.
func coupon(j, k int) string {
	n := j*couponsEach + k
	code, err := referral.MakeCoupon(referral.CouponCode{Device: referral.MaxCouponDevice - n/(referral.MaxCoupon+1), Counter: n % (referral.MaxCoupon + 1)})
	if err != nil { // of a thousand million households
		return fmt.Sprint(n)
	}
	return code
}

// interview composes the first interview of household i.
func (s *simulation) interview(i int, h *draft) *surveyv1.Interview {
	e := &encounter{
		id: i, tablet: s.tablet(i), start: s.at(i), key: fmt.Sprintf("S%07d", i+1), r: rand.New(rand.NewPCG(s.Seed^streamInterview, uint64(i))),
	}
	e.minutes = 1 + int(float64(s.space)*(.25+.3*e.r.Float64()))
	for k := range h.n {
		e.slots[k] = h.slot(k)
	}
	e.recruitment = s.recruited(i, h, e)
	return s.compose(h, e)
}

// recruited is how household i came into the study, and what its respondent does for others.
func (s *simulation) recruited(i int, h *draft, e *encounter) *surveyv1.Recruitment {
	mode := surveyv1.RecruitmentMode(s.truth.mode[i])
	x := &surveyv1.Recruitment{Mode: of(mode), NetworkSize: &surveyv1.NetworkSize{Size: number(4 + e.r.IntN(8)*e.r.IntN(9))}}
	switch mode {
	case surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED:
		x.Seed = proto.Bool(true)
	case surveyv1.RecruitmentMode_RECRUITMENT_MODE_RANDOM_AT_SITE:
		x.Draw = &surveyv1.SiteDraw{SiteId: proto.String(siteID(h.site)), FrameSize: number(200 + 10*(h.site%30)), Drawn: number(10)}
		return x
	case surveyv1.RecruitmentMode_RECRUITMENT_MODE_CONVENIENCE:
		return x
	}
	if j := s.truth.recruiter[i]; j != none {
		x.Referrals = []*surveyv1.Referral{s.referral(int(j), i)}
	}
	for k := range couponsEach {
		x.CouponsGiven = append(x.CouponsGiven, coupon(i, k))
	}
	for c := s.firstRecruit[i]; c != none; c = s.nextRecruit[c] {
		if s.way(int(c)) == surveyv1.ReferralMode_REFERRAL_MODE_COUPON {
			continue
		}
		x.ReferralsMade = append(x.ReferralsMade, &surveyv1.Referral{
			ReferralId: proto.String(newID(s.Seed, idReferral, 1, int(c), 0)), ToPerson: s.named(int(c)), Mode: of(s.way(int(c))),
			MadeTime: timestamppb.New(e.start.Add(time.Duration(e.minutes) * time.Minute)), Outcome: of(surveyv1.ReferralOutcome_REFERRAL_OUTCOME_INTERVIEWED),
		})
	}
	return x
}

// referral is what i tells of how j referred him: with a coupon only its number where the enumerator did not ask further.
func (s *simulation) referral(j, i int) *surveyv1.Referral {
	way := s.way(i)
	x := &surveyv1.Referral{
		ReferralId: proto.String(newID(s.Seed, idReferral, 0, i, 0)), Mode: of(way), Main: proto.Bool(true),
		Relation: of(surveyv1.ReferralRelation(1 + mix(uint64(i))%6)), Outcome: of(surveyv1.ReferralOutcome_REFERRAL_OUTCOME_INTERVIEWED),
		MadeTime: timestamppb.New(s.at(j).Add(time.Duration(s.space) * time.Minute * 3 / 5)),
	}
	if way == surveyv1.ReferralMode_REFERRAL_MODE_COUPON {
		nth := 0
		for c := s.firstRecruit[j]; c != none && int(c) != i; c = s.nextRecruit[c] {
			nth++
		}
		x.CouponCode = proto.String(coupon(j, nth))
		if mix(uint64(i)^s.Seed)%2 == 0 {
			return x
		}
	}
	x.FromPerson = s.named(j)
	return x
}

// named is the respondent of household i as somebody else tells of him.
func (s *simulation) named(i int) *surveyv1.Person {
	var h draft
	s.household(i, &h)
	p := &h.people[h.respondent]
	return &surveyv1.Person{
		PersonId: proto.String(newID(s.Seed, idPerson, 0, i, 0)), Identity: &surveyv1.Identity{FullName: proto.String(p.family + p.given)},
	}
}
