package questionnaire

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
)

// dateFunctions declares the functions of dates, which are texts: "2016-07-21".
func dateFunctions() []cel.EnvOption {
	part := func(name string, get func(day) int64) cel.EnvOption {
		return cel.Function(name, fn1(name, func(s string) (int64, error) {
			d, ok := parseDay(s)
			return found(get(d), ok)
		}))
	}
	between := func(name string, count func(a, b day) int64) cel.EnvOption {
		return cel.Function(name, fn2(name, func(s, t string) (int64, error) {
			a, known := parseDay(s)
			b, ok := parseDay(t)
			if b.number() < a.number() {
				return found(-count(b, a), known && ok)
			}
			return found(count(a, b), known && ok)
		}))
	}
	add := func(name string, moved func(d day, n int64) (day, bool)) cel.EnvOption {
		return cel.Function(name, fn2(name, func(s string, n int64) (string, error) {
			d, ok := parseDay(s)
			if !ok || n > maxDays || n < -maxDays {
				return "", errNoAnswer
			}
			d, ok = moved(d, n)
			return found(d.String(), ok)
		}))
	}
	return []cel.EnvOption{
		cel.Function("is_date", fn1("is_date", func(s string) (bool, error) { _, ok := parseDay(s); return ok, nil })),
		cel.Function("date", fn3("date", func(y, m, d int64) (string, error) { return found(dayOf(y, m, d).String(), validDay(y, m, d)) })),
		part("year", func(d day) int64 { return int64(d.year) }),
		part("month", func(d day) int64 { return int64(d.month) }),
		part("day", func(d day) int64 { return int64(d.day) }),
		part("weekday", func(d day) int64 { return (d.number()+3)%7 + 7*b2i((d.number()+3)%7 < 0) + 1 }),
		between("days_between", func(a, b day) int64 { return b.number() - a.number() }),
		between("months_between", monthsBetween),
		between("years_between", func(a, b day) int64 { return monthsBetween(a, b) / 12 }),
		add("add_days", func(d day, n int64) (day, bool) { return dayOfNumber(d.number() + n) }),
		add("add_months", addMonths),
		add("add_years", func(d day, n int64) (day, bool) { return addMonths(d, 12*n) }),
		cel.Function("format_date", fn2("format_date", formatDate)),
		cel.Function("epoch_days", fn1("epoch_days", epochDays)),
		cel.Function("date_of_epoch", fn1("date_of_epoch", func(x float64) (string, error) {
			if !(math.Abs(x) <= maxDays) {
				return "", errNoAnswer
			}
			d, ok := dayOfNumber(int64(math.Floor(x)))
			return found(d.String(), ok)
		})),
		cel.Function("first_day", fn1("first_day", func(p dateParts) (string, error) { first, _, err := p.span(); return first, err }), anyMessage),
		cel.Function("last_day", fn1("last_day", func(p dateParts) (string, error) { _, last, err := p.span(); return last, err }), anyMessage),
		cel.Function("lunar_to_solar", fn4("lunar_to_solar", func(y, m, d int64, leap bool) (string, error) { return lunarToSolar(y, m, d, leap) })),
		cel.Function("solar_to_lunar", fn1("solar_to_lunar", solarToLunar)),
	}
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// maxDays is more days than there are from year 1 to 9999.
const maxDays = 4_000_000

// day is a day of the Gregorian calendar, with the time and the offset where they were told.
type day struct {
	year, month, day int
	clock
}

type clock struct {
	hour, minute, second, milli int
	offset                      int // minutes east of UTC
}

// String writes the date alone.
func (d day) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.year, d.month, d.day) }

// number counts the days since 1970-01-01.
func (d day) number() int64 {
	return time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

func dayOfNumber(n int64) (day, bool) {
	y, m, d := time.Unix(n*86400, 0).UTC().Date()
	return day{year: y, month: int(m), day: d}, y >= 1 && y <= 9999
}

func validDay(y, m, d int64) bool {
	return y >= 1 && y <= 9999 && m >= 1 && m <= 12 && d >= 1 && d <= int64(monthDays(int(y), int(m)))
}

// dayOf is a day that validDay allows.
func dayOf(y, m, d int64) day { return day{year: int(y), month: int(m), day: int(d)} }

func monthDays(y, m int) int { return time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day() }

// parseDay reads "2016-07-21" and "2016-07-21T18:05:00.000+08:00", in which seconds, fraction and offset may be left out.
func parseDay(s string) (day, bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' || !allDigits(s[:4]+s[5:7]+s[8:10]) {
		return day{}, false
	}
	y, m, d := wholeOf(s[:4]), wholeOf(s[5:7]), wholeOf(s[8:10])
	if !validDay(int64(y), int64(m), int64(d)) {
		return day{}, false
	}
	out := day{year: y, month: m, day: d}
	if len(s) == 10 {
		return out, true
	}
	var ok bool
	if s[10] == 'T' {
		out.clock, ok = parseClock(s[11:])
	}
	return out, ok
}

// wholeOf reads digits.
func wholeOf(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

// parseClock reads "18:05", "18:05:00", "18:05:00.000", each with or without "Z", "+08:00", "+0800" or "+08".
func parseClock(s string) (c clock, ok bool) {
	if at := strings.IndexAny(s, "Z+-"); at >= 0 {
		if c.offset, ok = parseOffset(s[at:]); !ok {
			return c, false
		}
		s = s[:at]
	}
	s, fraction, fractioned := strings.Cut(s, ".")
	if len(s) != 5 && len(s) != 8 || s[2] != ':' || !allDigits(s[:2]+s[3:5]) {
		return c, false
	}
	c.hour, c.minute = wholeOf(s[:2]), wholeOf(s[3:5])
	if len(s) == 8 {
		if s[5] != ':' || !allDigits(s[6:]) {
			return c, false
		}
		c.second = wholeOf(s[6:])
	}
	if fractioned {
		if len(s) != 8 || fraction == "" || len(fraction) > 9 || !allDigits(fraction) {
			return c, false
		}
		c.milli = wholeOf((fraction + "00")[:3])
	}
	return c, c.hour < 24 && c.minute < 60 && c.second < 60
}

func parseOffset(s string) (minutes int, ok bool) {
	if s == "Z" {
		return 0, true
	}
	digits := s[1:]
	if len(digits) == 5 && digits[2] == ':' {
		digits = digits[:2] + digits[3:]
	}
	if len(digits) == 2 {
		digits += "00"
	}
	if s[0] == 'Z' || len(digits) != 4 || !allDigits(digits) {
		return 0, false
	}
	minutes = 60*wholeOf(digits[:2]) + wholeOf(digits[2:])
	if wholeOf(digits[:2]) > 14 || wholeOf(digits[2:]) > 59 {
		return 0, false
	}
	if s[0] == '-' {
		minutes = -minutes
	}
	return minutes, true
}

// monthsBetween counts the completed months from a day to a later one.
func monthsBetween(a, b day) int64 {
	return int64(12*(b.year-a.year)+b.month-a.month) - b2i(b.day < a.day)
}

// addMonths moves a day by months; the last day of the month where the day does not exist.
func addMonths(d day, n int64) (day, bool) {
	months := int64(12*d.year+d.month-1) + n
	if months < 12 || months >= 12*10000 {
		return day{}, false
	}
	y, m := int(months/12), int(months%12)+1
	return day{year: y, month: m, day: min(d.day, monthDays(y, m))}, true
}

// epochDays counts the days since 1970-01-01 in UTC, with the time as a fraction; a time without an offset is taken as UTC.
func epochDays(s string) (float64, error) {
	d, ok := parseDay(s)
	if !ok {
		return 0, errNoAnswer
	}
	minutes := int64(60*d.hour + d.minute - d.offset)
	return float64(d.number()*86_400_000+minutes*60_000+int64(1000*d.second+d.milli)) / 86_400_000, nil
}

// formatDate writes a date, and its time, as format-date of ODK does. A % that it does not know is no answer.
func formatDate(s, format string) (string, error) {
	d, ok := parseDay(s)
	if !ok {
		return "", errNoAnswer
	}
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return "", errNoAnswer
		}
		switch format[i] {
		case 'Y':
			fmt.Fprintf(&out, "%04d", d.year)
		case 'y':
			fmt.Fprintf(&out, "%02d", d.year%100)
		case 'm':
			fmt.Fprintf(&out, "%02d", d.month)
		case 'n':
			fmt.Fprint(&out, d.month)
		case 'b':
			out.WriteString(time.Month(d.month).String()[:3])
		case 'd':
			fmt.Fprintf(&out, "%02d", d.day)
		case 'e':
			fmt.Fprint(&out, d.day)
		case 'H':
			fmt.Fprintf(&out, "%02d", d.hour)
		case 'h':
			fmt.Fprint(&out, d.hour)
		case 'M':
			fmt.Fprintf(&out, "%02d", d.minute)
		case 'S':
			fmt.Fprintf(&out, "%02d", d.second)
		case '3':
			fmt.Fprintf(&out, "%03d", d.milli)
		case 'a':
			out.WriteString(time.Weekday((d.number()%7 + 11) % 7).String()[:3])
		case '%':
			out.WriteByte('%')
		default:
			return "", errNoAnswer
		}
	}
	return out.String(), nil
}
