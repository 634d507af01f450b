package questionnaire

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The lunar years of lunarYears.
const (
	firstLunarYear = 1900
	lastLunarYear  = firstLunarYear + len(lunarYears) - 1
)

// lunarYears holds the months of each lunar year: in the lowest four bits the month after which a leap month stands, 0
// for none; bit 16 whether the leap month has 30 days; bits 15 to 4 whether months 1 to 12 have. Months have 29 days
// otherwise. From 1929 the calendar is that of GB/T 33661; before, as it was published.
var lunarYears = [...]uint32{
	0x04bd8, 0x04ae0, 0x0a570, 0x054d5, 0x0d260, 0x0d950, 0x16554, 0x056a0, 0x09ad0, 0x055d2,
	0x04ae0, 0x0a5b6, 0x0a4d0, 0x0d250, 0x1d255, 0x0b540, 0x0d6a0, 0x0ada2, 0x095b0, 0x14977,
	0x04970, 0x0a4b0, 0x0b4b5, 0x06a50, 0x06d40, 0x1ab54, 0x02b60, 0x09570, 0x052f2, 0x04970,
	0x06566, 0x0d4a0, 0x0ea50, 0x16a95, 0x05ad0, 0x02b60, 0x186e3, 0x092e0, 0x1c8d7, 0x0c950,
	0x0d4a0, 0x1d8a6, 0x0b550, 0x056a0, 0x1a5b4, 0x025d0, 0x092d0, 0x0d2b2, 0x0a950, 0x0b557,
	0x06ca0, 0x0b550, 0x15355, 0x04da0, 0x0a5b0, 0x14573, 0x052b0, 0x0a9a8, 0x0e950, 0x06aa0,
	0x0aea6, 0x0ab50, 0x04b60, 0x0aae4, 0x0a570, 0x05260, 0x0f263, 0x0d950, 0x05b57, 0x056a0,
	0x096d0, 0x04dd5, 0x04ad0, 0x0a4d0, 0x0d4d4, 0x0d250, 0x0d558, 0x0b540, 0x0b6a0, 0x195a6,
	0x095b0, 0x049b0, 0x0a974, 0x0a4b0, 0x0b27a, 0x06a50, 0x06d40, 0x0af46, 0x0ab60, 0x09570,
	0x04af5, 0x04970, 0x064b0, 0x074a3, 0x0ea50, 0x06b58, 0x05ac0, 0x0ab60, 0x096d5, 0x092e0,
	0x0c960, 0x0d954, 0x0d4a0, 0x0da50, 0x07552, 0x056a0, 0x0abb7, 0x025d0, 0x092d0, 0x0cab5,
	0x0a950, 0x0b4a0, 0x0baa4, 0x0ad50, 0x055d9, 0x04ba0, 0x0a5b0, 0x15176, 0x052b0, 0x0a930,
	0x07954, 0x06aa0, 0x0ad50, 0x05b52, 0x04b60, 0x0a6e6, 0x0a4e0, 0x0d260, 0x0ea65, 0x0d530,
	0x05aa0, 0x076a3, 0x096d0, 0x04afb, 0x04ad0, 0x0a4d0, 0x1d0b6, 0x0d250, 0x0d520, 0x0dd45,
	0x0b5a0, 0x056d0, 0x055b2, 0x049b0, 0x0a577, 0x0a4b0, 0x0aa50, 0x1b255, 0x06d20, 0x0ada0,
	0x14b63, 0x09370, 0x049f8, 0x04970, 0x064b0, 0x168a6, 0x0ea50, 0x06b20, 0x1a6c4, 0x0aae0,
	0x092e0, 0x0d2e3, 0x0c960, 0x0d557, 0x0d4a0, 0x0da50, 0x05d55, 0x056a0, 0x0a6d0, 0x055d4,
	0x052d0, 0x0a9b8, 0x0a950, 0x0b4a0, 0x0b6a6, 0x0ad50, 0x055a0, 0x0aba4, 0x0a5b0, 0x052b0,
	0x0b273, 0x06930, 0x07337, 0x06aa0, 0x0ad50, 0x14b55, 0x04b60, 0x0a570, 0x054e4, 0x0d160,
	0x0e968, 0x0d520, 0x0daa0, 0x16aa6, 0x056d0, 0x04ae0, 0x0a9d4, 0x0a2d0, 0x0d150, 0x0f252,
	0x0d520,
}

// firstLunarDay is the number of 1900-01-31, the first day of lunar 1900.
const firstLunarDay = -25537

// lunarMonth is one month of a lunar year.
type lunarMonth struct {
	number int64
	leap   bool
	days   int64
}

// lunarMonths are the months of a lunar year in order.
func lunarMonths(year int64) []lunarMonth {
	info := lunarYears[year-firstLunarYear]
	months := make([]lunarMonth, 0, 13)
	for m := int64(1); m <= 12; m++ {
		months = append(months, lunarMonth{m, false, 29 + int64(info>>(16-m)&1)})
		if int64(info&15) == m {
			months = append(months, lunarMonth{m, true, 29 + int64(info>>16)})
		}
	}
	return months
}

// lunarYearStart holds the number of the first day of each lunar year, and of the one after the last.
var lunarYearStart = func() (start [len(lunarYears) + 1]int64) {
	start[0] = firstLunarDay
	for i := range lunarYears {
		start[i+1] = start[i]
		for _, m := range lunarMonths(int64(firstLunarYear + i)) {
			start[i+1] += m.days
		}
	}
	return start
}()

// lunarSpan is the numbers of the first and the last day of a lunar month, or of the year where month is 0.
func lunarSpan(year, month int64, leap bool) (first, last int64, ok bool) {
	if year < firstLunarYear || year > int64(lastLunarYear) {
		return 0, 0, false
	}
	first = lunarYearStart[year-firstLunarYear]
	if month == 0 {
		return first, lunarYearStart[year-firstLunarYear+1] - 1, true
	}
	for _, m := range lunarMonths(year) {
		if m.number == month && m.leap == leap {
			return first, first + m.days - 1, true
		}
		first += m.days
	}
	return 0, 0, false
}

// lunarToSolar is the solar date of a lunar one.
func lunarToSolar(year, month, d int64, leap bool) (string, error) {
	if month < 1 || d < 1 {
		return "", errNoAnswer
	}
	first, last, ok := lunarSpan(year, month, leap)
	if !ok || d > last-first+1 {
		return "", errNoAnswer
	}
	solar, ok := dayOfNumber(first + d - 1)
	return found(solar.String(), ok)
}

// solarToLunar is the lunar date of a solar one: "2023-2-11", in a leap month "2023-2+-11". It is not written as solar
// dates are, so that none is taken for the other.
func solarToLunar(s string) (string, error) {
	solar, ok := parseDay(s)
	if !ok {
		return "", errNoAnswer
	}
	n := solar.number()
	if n < firstLunarDay || n >= lunarYearStart[len(lunarYears)] {
		return "", errNoAnswer
	}
	i := 0
	for n >= lunarYearStart[i+1] {
		i++
	}
	n -= lunarYearStart[i]
	for _, m := range lunarMonths(int64(firstLunarYear + i)) {
		if n < m.days {
			return fmt.Sprintf("%d-%d%s-%d", firstLunarYear+i, m.number, strings.Repeat("+", int(b2i(m.leap))), n+1), nil
		}
		n -= m.days
	}
	return "", errNoAnswer
}

// dateParts is what first_day and last_day need of a PartialDate; 0 is not known.
type dateParts struct {
	year, month, day int64
	lunar, leap      bool
}

func datePartsOf(v ref.Val) (p dateParts, err error) {
	for name, to := range map[string]*int64{"year": &p.year, "month": &p.month, "day": &p.day} {
		if *to, err = optional[types.Int, int64](fieldOf(v, name)); err != nil {
			return p, err
		}
	}
	calendar, err := optional[types.Int, int64](fieldOf(v, "calendar"))
	if err != nil {
		return p, err
	}
	p.lunar = calendar == 2
	p.leap, err = optional[types.Bool, bool](fieldOf(v, "leap_month"))
	return p, err
}

// optional is a scalar, or the zero of its type where there is no answer.
func optional[V ref.Val, G any](v ref.Val) (G, error) {
	x, err := scalar[V, G](v)
	if errors.Is(err, errNoAnswer) {
		err = nil
	}
	return x, err
}

// span is the earliest and the latest solar day that a date may be of which a part may not be known. What is known must
// be so from the year down: a day without its month says nothing. A date of no calendar is taken as solar.
func (p dateParts) span() (first, last string, err error) {
	if p.month == 0 {
		p.day = 0
	}
	if p.lunar {
		return p.lunarSpan()
	}
	if p.year == 0 {
		return "", "", errNoAnswer
	}
	from, to := dateParts{p.year, 1, 1, false, false}, dateParts{p.year, 12, 31, false, false}
	if p.month != 0 {
		from.month, to.month = p.month, p.month
		if !validDay(p.year, p.month, 1) {
			return "", "", errNoAnswer
		}
		to.day = int64(monthDays(int(p.year), int(p.month)))
	}
	if p.day != 0 {
		from.day, to.day = p.day, p.day
	}
	if !validDay(from.year, from.month, from.day) {
		return "", "", errNoAnswer
	}
	return dayOf(from.year, from.month, from.day).String(), dayOf(to.year, to.month, to.day).String(), nil
}

// LunarDays are the first and the last solar day of a lunar date, as numbers since 1970-01-01: one day, or all of a month where day is 0, or of
// a year where month is 0 too. There is no such date where the calendar has none, or no leap month there.
func LunarDays(year, month, day int64, leap bool) (first, last int64, ok bool) {
	first, last, ok = lunarSpan(year, month, leap && month != 0)
	if !ok || day == 0 {
		return first, last, ok
	}
	if day < 0 || day > last-first+1 {
		return 0, 0, false
	}
	return first + day - 1, first + day - 1, true
}

func (p dateParts) lunarSpan() (first, last string, err error) {
	from, to, ok := LunarDays(p.year, p.month, p.day, p.leap)
	if !ok {
		return "", "", errNoAnswer
	}
	a, _ := dayOfNumber(from)
	b, _ := dayOfNumber(to)
	return a.String(), b.String(), nil
}
