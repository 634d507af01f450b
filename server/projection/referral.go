package projection

import (
	"strconv"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// listReferrals lists how the respondent was reached and whom the respondent referred, and the people named there.
func (w *writer) listReferrals() {
	rec := w.iv.GetRecruitment()
	cover := w.iv.GetHousehold().GetCover()
	for i, r := range rec.GetReferrals() {
		w.referral(r, i, true)
	}
	if code := cover.GetCouponCode(); code != "" && !w.knowsCoupon(code) {
		w.referral(&surveyv1.Referral{CouponCode: cover.CouponCode, Mode: surveyv1.ReferralMode_REFERRAL_MODE_COUPON.Enum()}, len(rec.GetReferrals()), true)
	}
	for i, r := range rec.GetReferralsMade() {
		w.referral(r, i, false)
	}
	if rec == nil && cover.GetIsSeed() == surveyv1.YesNo_YES_NO_UNSPECIFIED {
		return
	}
	out := &servicev1.RecruitmentRecord{
		InterviewId: w.sum.InterviewId, Study: w.sum.Study, Part: w.sum.Part, SiteId: w.sum.SiteId, CouponsGiven: rec.GetCouponsGiven(),
	}
	if w.respondentID != "" {
		out.PersonId = proto.String(w.respondentID)
	}
	if rec != nil {
		out.Mode, out.Seed = rec.Mode, rec.Seed
	}
	if out.Seed == nil && cover.GetIsSeed() != surveyv1.YesNo_YES_NO_UNSPECIFIED {
		out.Seed = proto.Bool(cover.GetIsSeed() == surveyv1.YesNo_YES_NO_YES)
	}
	if n := rec.GetNetworkSize(); n != nil {
		out.NetworkSize, out.NetworkWording = n.Size, n.Wording
	}
	if d := rec.GetDraw(); d != nil {
		out.DrawFrameSize, out.DrawDrawn, out.DrawMethod, out.DrawSeed = d.FrameSize, d.Drawn, d.Method, d.RandomSeed
		if t, ok := moment(d.GetDrawTime()); ok {
			out.DrawTimeMs = proto.Int64(t.UnixMilli())
		}
		if d.GetSiteId() != "" {
			out.SiteId = d.SiteId
		}
	}
	w.recruitment = out
}

func (w *writer) knowsCoupon(code string) bool {
	for _, r := range w.referrals {
		if r.GetCouponCode() == code {
			return true
		}
	}
	return false
}

// referral lists one referral and the two people of it. The side that is the respondent need not be named.
func (w *writer) referral(r *surveyv1.Referral, i int, byRecruit bool) {
	where := "made/" + strconv.Itoa(i)
	if byRecruit {
		where = "referral/" + strconv.Itoa(i)
	}
	out := &servicev1.ReferralRecord{
		ReferralId: r.ReferralId, InterviewId: w.sum.InterviewId, Study: w.sum.Study, Part: w.sum.Part,
		FromSiteId: r.FromSiteId, Mode: r.Mode, Relation: r.Relation, Outcome: r.Outcome, Main: r.Main, CouponCode: r.CouponCode,
		ToldByRecruit: proto.Bool(byRecruit),
	}
	if r.GetReferralId() == "" {
		out.ReferralId = proto.String(w.derived(where))
	}
	if t, ok := moment(r.GetMadeTime()); ok {
		out.MadeTimeMs = proto.Int64(t.UnixMilli())
	}
	from, to := w.named(r.GetFromPerson(), where+"/from"), w.named(r.GetToPerson(), where+"/to")
	if byRecruit && to == "" {
		to = w.respondentID
	}
	if !byRecruit && from == "" && r.GetFromSiteId() == "" {
		from = w.respondentID
	}
	if from != "" {
		out.FromPersonId = proto.String(from)
	}
	if to != "" {
		out.ToPersonId = proto.String(to)
	}
	w.referrals = append(w.referrals, out)
}

// named lists a person of a referral and returns the id; empty where nothing is told that could name anybody.
func (w *writer) named(p *surveyv1.Person, where string) string {
	if p == nil || p.GetPersonId() == "" && p.GetIdentity() == nil {
		return ""
	}
	id := p.GetPersonId()
	if id == "" {
		id = w.derived(where)
	}
	w.add(id, w.fromPerson(p, surveyv1.PersonRole_PERSON_ROLE_UNSPECIFIED, surveyv1.PresenceRole_PRESENCE_ROLE_UNSPECIFIED))
	return id
}
