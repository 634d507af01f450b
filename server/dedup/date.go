package dedup

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// dateForm is a date as far as known. With reckoned set, only the year is, give or take one.
type dateForm struct {
	year, month, day int16
	reckoned, lunar  bool   // lunar: told to be of the lunar calendar
	days             int32  // since 1970, full dates only; of a lunar date the solar day
	digits           uint32 // eight decimal digits, four bits each, full dates only
	// The solar days of the lunar date of the same digits: of a full date that in the month and that in its leap month, if it has
	// one; without a day the first and the last; noDay where the calendar has no such date.
	asLunar, asLeap int32
}

// noDay is no day.
const noDay = math.MinInt32

// Years that make sense: of the persons of a register, and where a number without more is to be a year at all.
const (
	earliestYear = 1000
	bareYear     = 1850
)

// newDate makes a form of the parts that make sense: no day without a month, no 30 February. Without a sensible year
// there is no date.
func newDate(year, month, day int, reckoned bool) (dateForm, bool) {
	if year < earliestYear || year > 2100 {
		return dateForm{}, false
	}
	f := dateForm{year: int16(year), reckoned: reckoned, asLunar: noDay, asLeap: noDay}
	if month < 1 || month > 12 || reckoned {
		return f, true
	}
	f.month = int16(month)
	// The lunar calendar has a 30th in every month, so 30 February is kept; the 31st only where the solar one has it.
	if day < 1 || day > 31 || day == 31 && (month == 2 || month == 4 || month == 6 || month == 9 || month == 11) {
		return f.calendar(), true
	}
	f.day = int16(day)
	f.days = int32(time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / 86400)
	for _, d := range [8]int{year / 1000, year / 100, year / 10, year, month / 10, month, day / 10, day} {
		f.digits = f.digits<<4 | uint32(d%10)
	}
	return f.calendar(), true
}

// calendar looks up the lunar date of the same digits.
func (f dateForm) calendar() dateForm {
	year, month, day := int64(f.year), int64(f.month), int64(f.day)
	if first, last, ok := questionnaire.LunarDays(year, month, day, false); ok {
		f.asLunar, f.asLeap = int32(first), int32(last)
	}
	if _, last, ok := questionnaire.LunarDays(year, month, day, true); ok {
		f.asLeap = int32(last)
	}
	return f
}

// inLunar is the date where it was told to be of the lunar calendar, perhaps in a leap month.
func (f dateForm) inLunar(leap bool) dateForm {
	if f.reckoned || f.month == 0 || f.asLunar == noDay && f.asLeap == noDay {
		return f
	}
	f.lunar = true
	if f.day == 0 {
		if first, last, ok := questionnaire.LunarDays(int64(f.year), int64(f.month), 0, leap); ok {
			f.asLunar, f.asLeap = int32(first), int32(last)
		}
		return f
	}
	if f.days = f.asLunar; leap && f.asLeap != noDay || f.asLunar == noDay {
		f.days = f.asLeap
	}
	return f
}

// canon writes a form so that equal dates are equal texts.
func (f dateForm) canon() string {
	switch {
	case f.reckoned:
		return fmt.Sprintf("~%04d", f.year)
	case f.day > 0:
		return fmt.Sprintf("%04d-%02d-%02d", f.year, f.month, f.day)
	case f.month > 0:
		return fmt.Sprintf("%04d-%02d", f.year, f.month)
	}
	return fmt.Sprintf("%04d", f.year)
}

// parseDate reads yyyy-mm-dd, yyyy-mm, yyyy, yyyymmdd, yyyymm and dd/mm/yyyy, with any separator, also 年月日. dayFirst settles what
// 03/04/1970 means.
func parseDate(text string, dayFirst bool) (dateForm, bool) {
	text = strings.TrimSpace(text)
	if text == "" || len(text) > 32 {
		return dateForm{}, false
	}
	if at := strings.IndexAny(text, "T "); at >= 8 && strings.Contains(text[at:], ":") {
		text = text[:at]
	}
	parts := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	for _, r := range text {
		if (r < '0' || r > '9') && !strings.ContainsRune("-/. 年月日号", r) {
			return dateForm{}, false
		}
	}
	var n [3]int
	for i, p := range parts {
		if i == 3 || len(p) > 8 {
			return dateForm{}, false
		}
		n[i], _ = strconv.Atoi(p)
	}
	switch {
	case len(parts) == 1 && len(parts[0]) == 8:
		return newDate(n[0]/10000, n[0]/100%100, n[0]%100, false)
	case len(parts) == 1 && (len(parts[0]) == 6 && n[0] < bareYear*100 || len(parts[0]) == 4 && n[0] < bareYear):
		return dateForm{}, false
	case len(parts) == 1 && len(parts[0]) == 6:
		return newDate(n[0]/100, n[0]%100, 0, false)
	case len(parts) == 1 && len(parts[0]) == 4:
		return newDate(n[0], 0, 0, false)
	case len(parts) == 2 && len(parts[0]) == 4:
		return newDate(n[0], n[1], 0, false)
	case len(parts) == 2 && len(parts[1]) == 4:
		return newDate(n[1], n[0], 0, false)
	case len(parts) == 3 && len(parts[0]) == 4:
		return newDate(n[0], n[1], n[2], false)
	case len(parts) == 3 && len(parts[2]) == 4 && (dayFirst || n[0] > 12):
		return newDate(n[2], n[1], n[0], false)
	case len(parts) == 3 && len(parts[2]) == 4:
		return newDate(n[2], n[0], n[1], false)
	}
	return dateForm{}, false
}

// dateAtom makes an atom of a form.
func dateAtom(f dateForm, shown string) atom {
	c := f.canon()
	if shown == "" {
		shown = c
	}
	return atom{shown: shown, canon: c, sound: c, date: &f}
}

// dateLevel compares two dates as far as both are known.
func dateLevel(a, b dateForm) int {
	year := apart(int32(a.year), int32(b.year))
	switch {
	case a.reckoned || b.reckoned:
		switch {
		case year <= 1:
			return dateAgeAgrees
		case year <= 3:
			return dateAgeNear
		}
		return dateAgeDiffers
	case a.month == 0 || b.month == 0:
		switch year {
		case 0:
			return dateYearSame
		case 1:
			return dateYearNear
		}
		return dateYearDiffers
	case a.day == 0 || b.day == 0:
		months := apart(int32(a.year)*12+int32(a.month), int32(b.year)*12+int32(b.month))
		switch {
		case a.lunar && !b.lunar && a.lunarMeets(b), b.lunar && !a.lunar && b.lunarMeets(a), a.lunar == b.lunar && months == 0:
			return dateMonthSame
		case a.lunar == b.lunar && (a.lunarMeets(b) || b.lunarMeets(a)):
			return dateMonthLunar
		case months <= 2 || a.month == b.month && year == 1:
			return dateMonthNear
		}
		return dateMonthDiffers
	}
	return fullDateLevel(a, b)
}

// fullDateLevel compares two dates that are known to the day.
func fullDateLevel(a, b dateForm) int {
	x := a.digits ^ b.digits
	year, month, day := x>>16 == 0, x>>8&0xff == 0, x&0xff == 0
	days := apart(a.days, b.days)
	switch {
	case a.lunar != b.lunar && days == 0, a.lunar == b.lunar && x == 0:
		return dateExact
	case x == 0: // the same, but for which calendar it is of
		return dateLunar
	case year && a.month == b.day && a.day == b.month, oneDigit(uint64(a.digits), uint64(b.digits)):
		return dateTypo
	case a.lunar == b.lunar && (a.lunarMeets(b) || b.lunarMeets(a)):
		return dateLunar
	case year && (month || day) || month && day:
		return dateTwoParts
	case days <= 59:
		return dateNear
	case year:
		return dateSameYear
	case days <= 400:
		return dateYearOff
	}
	return dateDiffers
}

// lunarMeets says whether a date, read as one of the lunar calendar, can be the solar date s. One of the two is known to the month at
// least, the other too.
func (f dateForm) lunarMeets(s dateForm) bool {
	if f.asLunar == noDay && f.asLeap == noDay {
		return false
	}
	first, last := s.days, s.days
	if s.day == 0 {
		month := time.Date(int(s.year), time.Month(s.month), 1, 0, 0, 0, 0, time.UTC)
		first, last = int32(month.Unix()/86400), int32(month.AddDate(0, 1, -1).Unix()/86400)
	}
	if f.day == 0 {
		return f.asLunar <= last && first <= f.asLeap
	}
	if f.lunar {
		return first <= f.days && f.days <= last
	}
	return first <= f.asLunar && f.asLunar <= last || first <= f.asLeap && f.asLeap <= last
}

// apart is the distance between two numbers.
func apart(a, b int32) int32 {
	if a < b {
		return b - a
	}
	return a - b
}
