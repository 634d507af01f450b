package referral

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// report collects rows.
type report struct {
	rows []*servicev1.ReportRow
}

func (r *report) add(section, en, zh, valueEn, valueZh string, args ...any) {
	r.rows = append(r.rows, &servicev1.ReportRow{Section: proto.String(section), Name: text(en, zh), Value: said(valueEn, valueZh, args...)})
}

func (r *report) number(section, en, zh string, n int) { r.add(section, en, zh, "%[1]d", "%[1]d", n) }

// Report tells the measures of a graph, and the rows of its STROBE-RDS table, line by line.
func Report(f Facts, g *servicev1.ReferralGraph, s *Sample, estimates []*Estimate) []*servicev1.ReportRow {
	m := Measure(f, g, MeasureOptions{})
	r := &report{}
	r.add("seeds", "planned, added later, productive, sterile", "最初的、后来增加的、有效的、无效的",
		"%[1]d planned, %[2]d added later; %[3]d recruited somebody, %[4]d nobody", "最初%[1]d个，后来%[2]d个；%[3]d个介绍了他人，%[4]d个没有",
		m.Seeds.Planned, m.Seeds.Added, m.Seeds.Productive, m.Seeds.Sterile)
	r.number("seeds", "roots that nobody marked", "未标记为种子的起点", m.Seeds.OtherRoots)
	for _, y := range m.ByMode {
		r.add("yield by mode", cmp.Or(y.Mode, Unspecified), cmp.Or(y.Mode, Unspecified),
			"%[2]d of %[1]d interviewed (%.0[3]f %%), %[4]d refused, %[5]d not reached, %[6]d not eligible, %[7]d pending",
			"%[1]d人中访问%[2]d人（%.0[3]f%%），拒访%[4]d，未联系上%[5]d，不符合条件%[6]d，待联系%[7]d",
			y.Referrals, y.Interviewed, 100*y.Rate(), y.Refused, y.NotReached, y.Ineligible, y.Pending)
	}
	for _, y := range m.BySite {
		name := cmp.Or(y.SiteID, Unspecified)
		r.add("yield by site", name, name, "%[1]d interviewed, %[2]d of them seeds; they recruited %[3]d, the site itself %[4]d",
			"访问%[1]d人，其中种子%[2]d人；他们介绍%[3]d人，调查点介绍%[4]d人", y.Interviewed, y.Seeds, y.Recruits, y.ReferredBySite)
	}
	for _, round := range m.ByRound {
		r.add("rounds", roundName(round.Round), roundName(round.Round), "%[1]d interviews with %[2]d people, %[3]d of them for the first time",
			"访问%[1]d次，共%[2]d人，其中首次受访%[3]d人", round.Interviews, round.People, round.New)
	}
	r.people(f, g)
	r.draws(f)
	r.coupons(m.Coupons)
	r.spread("from the referral to the interview, days", "从介绍到访问的天数", m.ReferralLag)
	r.spread("from the recruiter's interview to the recruit's, days", "从介绍人受访到被介绍人受访的天数", m.RecruitmentLag)
	c := m.Crossing
	r.add("crossing", "referrals between tablets, enumerators, sites, chains", "跨平板、访员、调查点、推荐链的介绍",
		"%[1]d of %[2]d tablets, %[3]d of %[4]d enumerators, %[5]d of %[6]d sites, %[7]d of %[8]d chains",
		"平板%[1]d/%[2]d，访员%[3]d/%[4]d，调查点%[5]d/%[6]d，推荐链%[7]d/%[8]d",
		c.Tablet, c.OfTablets, c.Enumerator, c.OfEnumerators, c.Site, c.OfSites, c.Seed, c.OfSeeds)
	r.degrees(s.CheckDegrees())
	r.add("presence", "interviews with an introducer present", "介绍人在场的访问", "%[1]d of %[2]d", "%[2]d次中有%[1]d次", m.WithIntroducer, m.Interviews)
	for _, row := range Strobe(f, g, s, m, estimates) {
		r.rows = append(r.rows, &servicev1.ReportRow{Section: proto.String("strobe " + row.Item), Name: row.Topic, Value: row.Value, Open: proto.Bool(!row.Filled)})
	}
	return r.rows
}

func roundName(n uint32) string { return said("round %d", "第%d轮", n).GetEn() }

func (r *report) coupons(c CouponMeasures) {
	if c.Issued+c.Redeemed+c.IssuerUnknown == 0 {
		return
	}
	const en = "%[1]d issued, %[2]d redeemed (%.0[3]f %%), %[4]d void, %[5]d expired, %[6]d outstanding, %[7]d paid"
	const zh = "发出%[1]d张，使用%[2]d张（%.0[3]f%%），作废%[4]d张，过期%[5]d张，未使用%[6]d张，已付报酬%[7]d张"
	row := func(nameEn, nameZh string, n CouponCounts) {
		r.add("coupons", nameEn, nameZh, en, zh, n.Issued, n.Redeemed, 100*n.ReturnRate(), n.Voided, n.Expired, n.Outstanding, n.Paid)
	}
	row("all", "全部", c.CouponCounts)
	r.add("coupons", "holders", "持有人", "%[1]d people, at most %[2]d coupons each", "%[1]d人，每人最多%[2]d张", c.Holders, c.MostPerHolder)
	for _, t := range c.Tablets {
		row(fmt.Sprintf("tablet of number %d", t.Number), fmt.Sprintf("%d号平板", t.Number), t.CouponCounts)
	}
	for _, s := range c.Sites {
		if s.SiteID != "" || len(c.Sites) > 1 {
			row("given out at "+cmp.Or(s.SiteID, Unspecified), "发放地点 "+cmp.Or(s.SiteID, Unspecified), s.CouponCounts)
		}
	}
	r.add("coupons", "wrong", "异常", "%[1]d redeemed twice, %[2]d issued twice, %[3]d that nobody is known to have been given, of which %[4]d never were, %[5]d that no tablet can have made",
		"重复使用%[1]d张，重复发放%[2]d张，来源不明%[3]d张（其中从未发放%[4]d张），编码无效%[5]d张", c.RedeemedTwice, c.IssuedTwice, c.IssuerUnknown, c.NeverIssued, c.NotOfTheScheme)
	for _, clash := range c.Clashes[:min(len(c.Clashes), mostClashes)] {
		who := strings.Join(clash.People, ", ")
		if clash.Issued {
			r.add("coupons", clash.Code, clash.Code, "issued twice, to %[1]s: ask who gave it to whom; none of them counts as the recruiter", "重复发放给：%[1]s；请核实，均不作为介绍人", who)
		} else {
			r.add("coupons", clash.Code, clash.Code, "redeemed twice, by %[1]s: the first counts", "重复使用者：%[1]s；以首次为准", who)
		}
	}
	if more := len(c.Clashes) - mostClashes; more > 0 {
		r.add("coupons", "further codes", "其余券号", "%[1]d", "%[1]d", more)
	}
}

// mostClashes bounds how many codes are named one by one.
const mostClashes = 50

// people counts the people of a graph by their status.
func (r *report) people(f Facts, g *servicev1.ReferralGraph) {
	of := map[string]int{}
	for _, s := range StatusesOf(f, g) {
		of[s]++
	}
	for _, s := range Statuses() {
		if of[s] > 0 {
			en, zh := statusWords(s)
			r.number("people", en, zh, of[s])
		}
	}
}

// draws tells of the draws at sites with their probabilities; those told alike in the interviews of one site are one.
func (r *report) draws(f Facts) {
	type draw struct {
		site, day, seed string
		frame, drawn    int32
	}
	told := map[draw]int{}
	for _, rec := range f.Recruitments {
		if rec.DrawFrameSize == nil || rec.DrawDrawn == nil {
			continue
		}
		d := draw{site: rec.GetSiteId(), seed: rec.GetDrawSeed(), frame: rec.GetDrawFrameSize(), drawn: rec.GetDrawDrawn()}
		if rec.DrawTimeMs != nil {
			d.day = time.UnixMilli(rec.GetDrawTimeMs()).UTC().Format(time.DateOnly)
		}
		told[d]++
	}
	for _, d := range slices.SortedFunc(maps.Keys(told), func(a, b draw) int {
		return cmp.Or(cmp.Compare(a.site, b.site), cmp.Compare(a.day, b.day), cmp.Compare(a.frame, b.frame), cmp.Compare(a.drawn, b.drawn), cmp.Compare(a.seed, b.seed))
	}) {
		name := strings.TrimSpace(cmp.Or(d.site, Unspecified) + " " + d.day)
		en, zh := "", ""
		if d.seed != "" {
			en, zh = ", with seed "+d.seed, "，随机数种子"+d.seed
		}
		r.add("draws", name, name, "%[2]d of %[1]d drawn, probability %.4[3]f%[5]s; %[4]d interviewed", "%[1]d人中抽取%[2]d人，概率%.4[3]f%[6]s；受访%[4]d人",
			d.frame, d.drawn, part(int(d.drawn), int(d.frame)), told[d], en, zh)
	}
}

func (r *report) spread(en, zh string, v Spread) {
	if v.Count > 0 {
		r.add("lags", en, zh, "median %.1[2]f, mean %.1[3]f, 90 %% within %.1[4]f, of %[1]d", "中位数%.1[2]f，均值%.1[3]f，九成在%.1[4]f以内，共%[1]d例", v.Count, v.Median, v.Mean, v.P90)
	}
}

func (r *report) degrees(d *DegreeChecks) {
	r.add("network size", "told", "回答情况", "%[1]d respondents: %[2]d told none, %[3]d told 0, %[4]d less than they referred and were referred by",
		"%[1]d人：未回答%[2]d人，回答0的%[3]d人，小于实际介绍人数的%[4]d人", d.Respondents, d.Missing, d.Zero, d.BelowRecruits)
	if d.Missing < d.Respondents {
		r.add("network size", "sizes", "规模", "median %.0[1]f, mean %.1[2]f, 99 %% up to %.0[3]f, largest %.0[4]f; of %[5]d above 15 %[6]d are multiples of 5, %[7]d of 10",
			"中位数%.0[1]f，均值%.1[2]f，99%%分位%.0[3]f，最大%.0[4]f；大于15的%[5]d个中，5的倍数%[6]d个，10的倍数%[7]d个",
			d.Median, d.Mean, d.P99, d.Most, d.OverFifteen, d.RoundFive, d.RoundTen)
	}
}

// Answers are variables of people for estimates, by name: what people said of themselves in their first interview that says it.
func Answers(f Facts, names []string) ([]Values, error) {
	var out []Values
	for _, name := range names {
		read, err := variable(name)
		if err != nil {
			return nil, err
		}
		v := Values{Name: name, Of: map[string]string{}}
		first := map[string]int64{}
		for _, p := range f.People {
			value, at := read(p), instant(p.InterviewTimeMs)
			if old, ok := first[p.GetPersonId()]; value != "" && (!ok || at < old || at == old && value < v.Of[p.GetPersonId()]) {
				first[p.GetPersonId()], v.Of[p.GetPersonId()] = at, value
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// ageGroup is a person's age at the interview in groups of ten years.
func ageGroup(p *servicev1.PersonRecord) string {
	age := int(p.GetAge())
	switch {
	case p.Age != nil && age >= 0:
	case p.GetBirthDate().GetYear() > 0 && p.GetInterviewTimeMs() > 0:
		age = time.UnixMilli(p.GetInterviewTimeMs()).UTC().Year() - int(p.GetBirthDate().GetYear())
	default:
		return ""
	}
	switch {
	case age < 20:
		return "under 20"
	case age < 30:
		return "20 to 29"
	case age < 40:
		return "30 to 39"
	case age < 50:
		return "40 to 49"
	case age < 60:
		return "50 to 59"
	}
	return "60 and over"
}

// EstimateMessagesOf are EstimateMessages of one round.
func EstimateMessagesOf(round uint32, all []*Estimate) []*servicev1.ReferralEstimate {
	out := EstimateMessages(all)
	for _, m := range out {
		m.Round = &round
	}
	return out
}

// EstimateMessages writes estimates as messages; what could not be estimated is unset.
func EstimateMessages(all []*Estimate) []*servicev1.ReferralEstimate {
	number := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	var out []*servicev1.ReferralEstimate
	for _, e := range all {
		m := &servicev1.ReferralEstimate{Variable: proto.String(e.Outcome), Method: proto.String(e.Method.Word()), Notes: e.Notes}
		for _, l := range e.Levels {
			m.Levels = append(m.Levels, &servicev1.LevelShare{
				Level: proto.String(l.Level), Respondents: proto.Int64(int64(l.Count)), Share: number(l.Share), StandardError: number(l.SE), Low: number(l.Low), High: number(l.High),
			})
		}
		for _, a := range e.Assumptions {
			as := &servicev1.EstimateAssumption{Text: a.Text}
			if a.Checked {
				as.Broken, as.Share = proto.Int64(int64(a.Broken)), number(a.Share)
			}
			m.Assumptions = append(m.Assumptions, as)
		}
		out = append(out, m)
	}
	return out
}
