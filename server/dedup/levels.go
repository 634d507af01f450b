package dedup

// kind is a type of column: how its values are read, compared and blocked on.
type kind uint8

const (
	kindText     kind = iota // anything written, compared by letters
	kindPerson               // a person's name, Chinese or not
	kindDate                 // a date as far as known, or a year reckoned from an age
	kindPhone                // a telephone number
	kindResident             // a resident identity number, or its last four
	kindDigits               // any other number that is a name: a postcode, a house number
	kindPlace                // a division code of GB/T 2260
	kindCategory             // one of a few values
	kindOrdered              // one of a few values in order
	kindHouse                // what other members of the household say; made by the engine, never read
	kinds
)

// level is one degree of agreement. Levels of one group can be reached by the same pairs: whether a pair falls into a
// group says how much was told, not how well it agrees, and carries no weight.
type level struct {
	name, zh string
	group    uint8
	m        float64 // documented prior: share of same-person pairs of the group at this level
	u        float64 // prior for two different people
	agrees   bool    // nothing disagrees
	term     uint8   // 1: the rarity of the value counts; 2: the rarity of its sound
}

// scale is the levels of one kind, best first within each group.
type scale []level

// Levels of dates, in the order of scales[kindDate].
const (
	dateExact = iota
	dateTypo
	dateTwoParts
	dateLunar
	dateNear
	dateSameYear
	dateYearOff
	dateDiffers
	dateMonthSame
	dateMonthLunar
	dateMonthNear
	dateMonthDiffers
	dateYearSame
	dateYearNear
	dateYearDiffers
	dateAgeAgrees
	dateAgeNear
	dateAgeDiffers
)

// Levels of people's names.
const (
	nameExact = iota
	nameSound
	nameReversed
	nameNear
	namePart
	nameSimilar
	nameFamily
	nameDiffers
	spelledSame
	spelledReversed
	spelledNear
	spelledSimilar
	spelledFamily
	spelledDiffers
)

// scaleOf returns the levels of a kind with their priors. The m of every group adds up to one; they are set from what is
// known of survey errors (homophones, nicknames, lunar birthdays, a year off, typing errors, changed telephones), and the
// data move them where there are enough.
func scaleOf(k kind) scale {
	switch k {
	case kindPerson:
		return personScale()
	case kindDate:
		return dateScale()
	case kindPlace:
		return placeScale()
	case kindPhone:
		return scale{
			{name: "exact", zh: "完全相同", m: .66, u: .002, agrees: true, term: 1},
			{name: "one digit off", zh: "差一位", m: .05, u: .0005},
			{name: "same last eight", zh: "后八位相同", m: .02, u: .0005, agrees: true},
			{name: "same last four", zh: "后四位相同", m: .02, u: .001},
			{name: "differs", zh: "不同", m: .25, u: .996},
		}
	case kindResident:
		return scale{
			{name: "exact", zh: "完全相同", m: .92, u: .00002, agrees: true},
			{name: "one digit off", zh: "差一位", m: .05, u: .00002},
			{name: "same birth and place", zh: "地区和出生日期相同", m: .01, u: .0002},
			{name: "differs", zh: "不同", m: .02, u: .9998},
			{name: "same last four", zh: "后四位相同", group: 1, m: .95, u: .0003, agrees: true},
			{name: "last four differ", zh: "后四位不同", group: 1, m: .05, u: .9997},
		}
	case kindDigits:
		return scale{
			{name: "exact", zh: "完全相同", m: .8, u: .02, agrees: true, term: 1},
			{name: "one digit off", zh: "差一位", m: .08, u: .01},
			{name: "two digits off", zh: "差两位", m: .04, u: .03},
			{name: "differs", zh: "不同", m: .08, u: .94},
		}
	case kindCategory:
		return scale{
			{name: "exact", zh: "相同", m: .9, u: .4, agrees: true, term: 1},
			{name: "differs", zh: "不同", m: .1, u: .6},
		}
	case kindOrdered:
		return scale{
			{name: "exact", zh: "相同", m: .7, u: .25, agrees: true},
			{name: "next to it", zh: "相邻", m: .2, u: .35, agrees: true},
			{name: "differs", zh: "不同", m: .1, u: .4},
		}
	case kindHouse:
		return scale{
			{name: "two or more others match", zh: "另有两人以上相符", m: .35, u: .004, agrees: true},
			{name: "one other matches", zh: "另有一人相符", m: .3, u: .01, agrees: true},
			{name: "no other matches", zh: "无其他人相符", m: .3, u: .936, agrees: true},
			{name: "better match there", zh: "该户有更相符的人", m: .05, u: .05},
		}
	}
	return scale{
		{name: "exact", zh: "完全相同", m: .74, u: .01, agrees: true, term: 1},
		{name: "almost the same", zh: "几乎相同", m: .11, u: .002},
		{name: "much alike", zh: "很相似", m: .05, u: .006},
		{name: "alike", zh: "相似", m: .03, u: .012},
		{name: "somewhat alike", zh: "有些相似", m: .01, u: .03},
		{name: "differs", zh: "不同", m: .06, u: .94},
	}
}

// personScale: group 0 both written in characters, group 1 at least one only spelled.
func personScale() scale {
	return scale{
		nameExact:       {name: "same characters", zh: "用字相同", m: .78, u: .001, agrees: true, term: 1},
		nameSound:       {name: "same pinyin", zh: "拼音相同", m: .08, u: .001, term: 2},
		nameReversed:    {name: "order swapped", zh: "姓名颠倒", m: .01, u: .00005},
		nameNear:        {name: "nearly the same sound", zh: "读音相近", m: .04, u: .002},
		namePart:        {name: "part of the name", zh: "部分相同", m: .04, u: .006},
		nameSimilar:     {name: "similar sound", zh: "读音有些相近", m: .015, u: .01},
		nameFamily:      {name: "same family name", zh: "同姓", m: .015, u: .06},
		nameDiffers:     {name: "differs", zh: "不同", m: .02, u: .92},
		spelledSame:     {name: "same pinyin", zh: "拼音相同", group: 1, m: .84, u: .002, agrees: true, term: 2},
		spelledReversed: {name: "order swapped", zh: "姓名颠倒", group: 1, m: .03, u: .0002},
		spelledNear:     {name: "nearly the same sound", zh: "读音相近", group: 1, m: .05, u: .003},
		spelledSimilar:  {name: "similar sound", zh: "读音有些相近", group: 1, m: .04, u: .02},
		spelledFamily:   {name: "same family name", zh: "同姓", group: 1, m: .02, u: .06},
		spelledDiffers:  {name: "differs", zh: "不同", group: 1, m: .02, u: .91},
	}
}

// dateScale: group 0 two full dates, 1 at least one lacks the day, 2 the month, 3 one is reckoned from an age.
func dateScale() scale {
	return scale{
		dateExact:        {name: "exact", zh: "完全相同", m: .8, u: .0001, agrees: true, term: 1},
		dateTypo:         {name: "one digit off or day and month swapped", zh: "差一位或日月颠倒", m: .06, u: .0008},
		dateTwoParts:     {name: "two parts of three", zh: "年月日有两项相同", m: .03, u: .003},
		dateLunar:        {name: "the same in the lunar calendar", zh: "农历日期相同", m: .025, u: .0002},
		dateNear:         {name: "within two months", zh: "相差两个月以内", m: .025, u: .0058},
		dateSameYear:     {name: "same year", zh: "同年", m: .02, u: .015},
		dateYearOff:      {name: "a year off", zh: "差一年", m: .02, u: .03},
		dateDiffers:      {name: "differs", zh: "不同", m: .02, u: .945},
		dateMonthSame:    {name: "same year and month", zh: "同年同月", group: 1, m: .83, u: .0015, agrees: true, term: 1},
		dateMonthLunar:   {name: "the same month in the lunar calendar", zh: "农历月份相同", group: 1, m: .04, u: .0025},
		dateMonthNear:    {name: "within two months", zh: "相差两个月以内", group: 1, m: .08, u: .0275},
		dateMonthDiffers: {name: "differs", zh: "不同", group: 1, m: .05, u: .968},
		dateYearSame:     {name: "same year", zh: "同年", group: 2, m: .87, u: .018, agrees: true, term: 1},
		dateYearNear:     {name: "a year off", zh: "差一年", group: 2, m: .08, u: .035},
		dateYearDiffers:  {name: "differs", zh: "不同", group: 2, m: .05, u: .947},
		dateAgeAgrees:    {name: "age agrees", zh: "年龄相符", group: 3, m: .85, u: .05, agrees: true},
		dateAgeNear:      {name: "age near", zh: "年龄相近", group: 3, m: .1, u: .06},
		dateAgeDiffers:   {name: "differs", zh: "不同", group: 3, m: .05, u: .89},
	}
}

// placeScale has one group per length of the shorter code: 12, 9, 6, 4, 2 digits.
func placeScale() scale {
	names := []struct {
		name, zh string
		u        float64
	}{{"same village", "同村（社区）", .01}, {"same township", "同乡镇", .02}, {"same county", "同县", .05}, {"same prefecture", "同市（州）", .12}, {"same province", "同省", .3}}
	var s scale
	for g := range names {
		left, rest := 1.0, 1.0
		for i := g; i < len(names); i++ {
			share := .8 * left
			s = append(s, level{name: names[i].name, zh: names[i].zh, group: uint8(g), m: share, u: names[i].u, agrees: i == g, term: term(i == g)})
			left, rest = left-share, rest-names[i].u
		}
		s = append(s, level{name: "differs", zh: "不同", group: uint8(g), m: left, u: rest})
	}
	return s
}

// term is 1 where the rarity of the value counts.
func term(counts bool) uint8 {
	if counts {
		return 1
	}
	return 0
}

// normalise makes each group of a scale add up to one.
func (s scale) normalise(p []float64) {
	var sum [8]float64
	for i, l := range s {
		sum[l.group] += p[i]
	}
	for i, l := range s {
		if sum[l.group] > 0 {
			p[i] /= sum[l.group]
		}
	}
}

// priors returns the prior m and u of a scale, each group adding up to one.
func (s scale) priors() (m, u []float64) {
	m, u = make([]float64, len(s)), make([]float64, len(s))
	for i, l := range s {
		m[i], u[i] = max(l.m, 1e-6), max(l.u, 1e-6)
	}
	s.normalise(m)
	s.normalise(u)
	return m, u
}
