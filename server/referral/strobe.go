package referral

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// StrobeRow is one row of the STROBE-RDS table (White and others 2015), as far as a collection system knows it.
type StrobeRow struct {
	// Item is the number of the STROBE item it belongs to.
	Item string
	// Topic and Value are in English and Chinese.
	Topic, Value *formv1.Text
	// Filled is false where the researchers must write the row themselves; Value then says what.
	Filled bool
}

// strobe collects rows.
type strobe struct {
	rows []StrobeRow
}

func (t *strobe) add(item, topic, thema string, value *formv1.Text) {
	t.rows = append(t.rows, StrobeRow{item, text(topic, thema), value, true})
}

func (t *strobe) open(item, topic, thema, en, zh string) {
	t.rows = append(t.rows, StrobeRow{item, text(topic, thema), text(en, zh), false})
}

func said(en, zh string, args ...any) *formv1.Text {
	return text(fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...))
}

// Strobe fills the STROBE-RDS table from what was measured. Estimates may be nil.
func Strobe(f Facts, g *servicev1.ReferralGraph, s *Sample, m *Measures, estimates []*Estimate) []StrobeRow {
	t := &strobe{}
	t.open("5", "Eligibility, formative research, incentives", "入选标准、前期调研、报酬", "to be written: the system does not record them", "请填写：系统未记录")
	t.seeds(m)
	t.collection(f, m)
	t.degrees(f, s)
	t.quality(g, m)
	t.flow(g, m)
	t.waves(s, m)
	t.results(s, estimates)
	return t.rows
}

func (t *strobe) seeds(m *Measures) {
	v := m.Seeds
	t.add("6a", "Seeds at the start and added later", "最初的种子与后来增加的种子", said("%d seeds: %d at the start, %d added later, %d without a known day",
		"共%d个种子：最初%d个，后来增加%d个，日期不明%d个", v.Seeds, v.Planned, v.Added, v.Seeds-v.Planned-v.Added))
	t.add("6a", "Productive seeds", "有效种子", said("%d recruited somebody, %d nobody", "%d个介绍了他人，%d个没有", v.Productive, v.Sterile))
	t.add("6a", "Chains that begin with nobody marked as a seed", "起点未标记为种子的推荐链", said("%d", "%d", v.OtherRoots))
	t.open("6a", "How seeds were chosen", "种子的选择方法", "to be written: source and criteria", "请填写：来源与标准")
}

func (t *strobe) collection(f Facts, m *Measures) {
	c := m.Coupons
	t.add("6b", "Coupons per respondent", "每位受访者的推荐券", said("%d coupons to %d people, at most %d each", "向%[2]d人发出%[1]d张，每人最多%[3]d张", c.Issued, c.Holders, c.MostPerHolder))
	kinds := map[string]int{}
	for _, s := range f.Sites {
		kinds[cmp.Or(lowerName(s.GetKind().String(), "SITE_KIND_"), Unspecified)]++
	}
	sites := 0
	for _, s := range m.BySite {
		if s.SiteID != "" && s.Interviewed > 0 {
			sites++
		}
	}
	list := counts(kinds)
	t.add("5", "Places", "调查点", said("%d places with interviews; places by kind: %s", "%d个调查点有访问；按类型：%s", sites, list))
	for _, s := range m.BySite {
		if s.SiteID != "" {
			t.add("5", "Place "+s.SiteID, "调查点 "+s.SiteID, said("%d interviewed, %d of them seeds; they recruited %d, the place itself referred %d",
				"受访%d人，其中种子%d人；他们介绍%d人，机构介绍%d人", s.Interviewed, s.Seeds, s.Recruits, s.ReferredBySite))
		}
	}
	ways := map[string]int{}
	for _, y := range m.ByMode {
		ways[y.Mode] = y.Referrals
	}
	t.add("8", "How the link between recruiter and recruit was known", "介绍关系的记录方式", said("referrals by mode: %s", "按方式：%s", counts(ways)))
}

// counts writes numbers by key: "coupon 12, named 3".
func counts(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+" "+strconv.Itoa(m[k]))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

func (t *strobe) degrees(f Facts, s *Sample) {
	wordings := map[string]int{}
	for _, r := range f.Recruitments {
		if r != nil && r.NetworkSize != nil {
			wordings[cmp.Or(strings.TrimSpace(r.GetNetworkWording()), "?")]++
		}
	}
	for _, wording := range slices.Sorted(maps.Keys(wordings)) {
		t.add("7", "Wording of the network-size question", "社会网络规模的提问原文", said("%s (%d answers)", "%s（%d人作答）", wording, wordings[wording]))
	}
	if len(wordings) == 0 {
		t.open("7", "Wording of the network-size question", "社会网络规模的提问原文", "network size was not asked", "未询问社会网络规模")
	}
	c := s.CheckDegrees()
	t.add("12", "Network sizes", "社会网络规模", said("%d missing, %d zero, %d less than the recruits show; from %v to %v, median %v, mean %.1f; of %d above 15, %d are multiples of 5",
		"缺失%d，为零%d，小于实际介绍人数%d；范围%v至%v，中位数%v，均值%.1f；大于15的%d个中%d个为5的倍数",
		c.Missing, c.Zero, c.BelowRecruits, c.Least, c.Most, c.Median, c.Mean, c.OverFifteen, c.RoundFive))
}

func (t *strobe) quality(g *servicev1.ReferralGraph, m *Measures) {
	t.add("9", "Repeat enrolment", "重复参加", said("%d records were found to be of %d people already there, and merged", "%d条记录与已有的%d人重复，已合并", m.MergedRecords, m.MergedPeople))
	c := m.Coupons
	t.add("9", "Coupons", "推荐券核查", said("%d issued, %d came back (%.0f %%), %d void, %d expired, %d outstanding, %d paid; %d handed in twice, %d issued twice, %d whose issuer is not known, %d of them never issued",
		"发出%d张，收回%d张（%.0f%%），作废%d张，过期%d张，未收回%d张，已付报酬%d张；重复使用%d张，重复发出%d张，发放人不明%d张，其中从未发放%d张",
		c.Issued, c.Redeemed, 100*c.ReturnRate(), c.Voided, c.Expired, c.Outstanding, c.Paid, c.RedeemedTwice, c.IssuedTwice, c.IssuerUnknown, c.NeverIssued))
	states := map[string]int{}
	for _, e := range g.GetEdges() {
		states[StateName(e.GetState())]++
	}
	t.add("9", "Referrals by state", "介绍关系的状态", said("%s", "%s", counts(states)))
	t.add("9", "Interviews with the introducer present", "介绍人在场的访问", said("%d of %d", "%d/%d", m.WithIntroducer, m.Interviews))
}

func (t *strobe) flow(g *servicev1.ReferralGraph, m *Measures) {
	var all Yield
	for _, y := range m.ByMode {
		all.Referrals += y.Referrals
		all.Interviewed += y.Interviewed
		all.Refused += y.Refused
		all.NotReached += y.NotReached
		all.Ineligible += y.Ineligible
		all.Pending += y.Pending
		all.Other += y.Other
	}
	t.add("13", "Numbers at each stage", "各阶段人数", said("%d seeds; %d referrals: %d interviewed, %d refused, %d not reached, %d not eligible, %d pending, %d not recorded",
		"种子%d人；介绍%d次：受访%d，拒访%d，未联系上%d，不符合条件%d，待联系%d，未记录%d",
		m.Seeds.Seeds, all.Referrals, all.Interviewed, all.Refused, all.NotReached, all.Ineligible, all.Pending, all.Other))
	persons, interviewed := 0, 0
	for _, n := range g.GetNodes() {
		if n.GetKind() != KindSite {
			persons++
			if n.GetInterviewed() {
				interviewed++
			}
		}
	}
	t.add("13", "People", "人数", said("%d known, %d interviewed", "已知%d人，受访%d人", persons, interviewed))
}

func (t *strobe) waves(s *Sample, m *Measures) {
	var perWave []int64
	for _, w := range s.Wave {
		perWave = increment(perWave, int(w))
	}
	list := make([]string, len(perWave))
	for i, n := range perWave {
		list[i] = strconv.FormatInt(n, 10)
	}
	t.add("14", "Respondents by wave, from the seeds", "各波受访人数（从种子起）", said("%s", "%s", cmp.Or(strings.Join(list, " "), "0")))
	for _, c := range m.Chains {
		if c.Seed {
			t.add("14", "Chain of "+cmp.Or(c.InterviewKey, c.RootID), cmp.Or(c.InterviewKey, c.RootID)+" 的推荐链",
				said("%d interviewed, %d waves", "受访%d人，共%d波", c.Interviewed, c.MaxWave))
		}
	}
	l := m.RecruitmentLag
	t.add("14", "Days from recruiter's to recruit's interview", "介绍人与被介绍人访问的间隔天数",
		said("median %.1f, mean %.1f, nine in ten within %.1f (%d pairs)", "中位数%.1f，均值%.1f，九成在%.1f天内（%d对）", l.Median, l.Mean, l.P90, l.Count))
}

func (t *strobe) results(s *Sample, estimates []*Estimate) {
	for i := range s.Outcomes {
		series, err := s.Convergence(i, RDS2, Options{})
		if err != nil || len(series.Points) == 0 || len(series.Levels) == 0 {
			continue
		}
		const within = 0.02
		wave := settled(series, within)
		t.add("12", "Convergence of "+series.Outcome, series.Outcome+" 的收敛", said("RDS-II stays within 2 points of its last value from wave %d of %d on",
			"自第%d波起（共%d波）RDS-II 与最终值相差不超过2个百分点", wave, series.Points[len(series.Points)-1].Wave))
	}
	for _, e := range estimates {
		var en []string
		for _, l := range e.Levels {
			v := fmt.Sprintf("%s %.1f %%", l.Level, 100*l.Share)
			if !math.IsNaN(l.SE) {
				v += fmt.Sprintf(" (%.1f-%.1f)", 100*l.Low, 100*l.High)
			}
			en = append(en, v)
		}
		list := strings.Join(en, "; ")
		t.add("16", e.Outcome+", "+e.Method.Word(), e.Outcome+"，"+e.Method.Word(), said("%s (n = %d)", "%s（n = %d）", list, e.Respondents))
		for _, a := range e.Assumptions {
			if a.Checked && a.Broken > 0 {
				t.add("19", "What "+e.Method.Word()+" takes for granted", e.Method.Word()+" 的前提",
					text(fmt.Sprintf("%s: broken by %.0f %%", a.Text.GetEn(), 100*a.Share), fmt.Sprintf("%s：%.0f%% 不满足", a.Text.GetZh(), 100*a.Share)))
			}
		}
	}
}

// settled is the first wave from which on no share differs from the last by more.
func settled(s *Series, within float64) int32 {
	last := s.Points[len(s.Points)-1]
	wave := last.Wave
	for i := len(s.Points) - 1; i >= 0; i-- {
		for k, v := range s.Points[i].Shares {
			if !(math.Abs(v-last.Shares[k]) <= within) {
				return wave
			}
		}
		wave = s.Points[i].Wave
	}
	return wave
}
