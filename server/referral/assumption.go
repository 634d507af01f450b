package referral

import (
	"math"

	"google.golang.org/protobuf/proto"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// Assumption is something an estimate takes for granted, and how many respondents are known to break it.
type Assumption struct {
	// Text says it in English and Chinese.
	Text *formv1.Text
	// Checked is false where the data cannot tell.
	Checked bool
	// Broken counts the respondents who break it, Share is their part of all respondents.
	Broken int
	Share  float64
}

func text(en, zh string) *formv1.Text {
	return &formv1.Text{En: proto.String(en), Zh: proto.String(zh)}
}

// notByAcquaintance are the ways of coming in that no estimator of respondent-driven sampling allows for.
var notByAcquaintance = map[string]bool{
	"institution": true, "convenience": true, "at_school": true, "random_at_site": true, "listed_sample": true,
}

// assumptions lists what a method takes for granted.
func (s *Sample) assumptions(m Method, o Options, d *design) []Assumption {
	checked := func(en, zh string, broken func(i int32) bool) Assumption {
		a := Assumption{Text: text(en, zh), Checked: true}
		for _, i := range d.rows {
			if broken(i) {
				a.Broken++
			}
		}
		if len(d.rows) > 0 {
			a.Share = float64(a.Broken) / float64(len(d.rows))
		}
		return a
	}
	unchecked := func(en, zh string) Assumption { return Assumption{Text: text(en, zh)} }
	if m == Naive {
		return []Assumption{checked("everybody was equally likely to be interviewed, which who came by referral was not",
			"每个人被访问的机会均等；经他人介绍的受访者并不满足", func(i int32) bool { return s.Recruiter[i] != Unknown || s.Wave[i] > 0 })}
	}
	as := []Assumption{
		checked("everybody but the seeds was recruited by an acquaintance, and not met by convenience, introduced by an institution or drawn at a site",
			"除种子外，受访者均由熟人介绍，而非方便抽样、机构介绍或在调查点抽取", func(i int32) bool { return notByAcquaintance[s.Way[i]] }),
		checked("every chain begins with a seed and every recruiter was interviewed",
			"每条链都从种子开始，且每位介绍人都接受了访问", func(i int32) bool { return s.Recruiter[i] == Unknown && !s.Seed[i] }),
		checked("everybody told the number of acquaintances rightly; it is at least the number of recruits, and the recruiter",
			"受访者如实报告熟人数；该数不小于其介绍的人数加介绍人", func(i int32) bool { return s.Degree[i] <= 0 || s.Degree[i] < s.needs(i) }),
		checked("the chains are so long that the choice of seeds does not matter; seeds and their direct recruits are near the start",
			"推荐链足够长，种子的选择不再影响结果；种子及其直接介绍的人接近起点", func(i int32) bool { return s.Wave[i] <= 1 }),
		unchecked("acquaintance is mutual, and all are connected by it", "熟人关系是相互的，并且所有人都由这种关系相连"),
		unchecked("everybody recruits at random among acquaintances", "每个人在熟人中随机介绍"),
	}
	switch {
	case m == Successive:
		as = append(as, unchecked("the size of the population is known", "总体规模已知"))
	case o.Population > 0:
		a := Assumption{Text: text("the sample is a small part of the population, so that nobody is met twice", "样本只占总体的很小部分，不会重复遇到同一人"), Checked: true}
		a.Share = math.Min(1, float64(d.sampled)/o.Population)
		a.Broken = d.sampled
		as = append(as, a)
	default:
		as = append(as, unchecked("the sample is a small part of the population, so that nobody is met twice", "样本只占总体的很小部分，不会重复遇到同一人"))
	}
	return as
}

// needs is the least network size that a person's own recruitment shows.
func (s *Sample) needs(i int32) int32 {
	n := s.Recruits[i]
	if s.Recruiter[i] != Unknown {
		n++
	}
	return n
}
