package dta

import (
	"math"
	"time"
)

type valueKind uint8

const (
	isMissing valueKind = iota
	isWhole
	isReal
	isText
	isDay
	isMoment
)

// Value is one cell of a row. The zero value is ".", and in a string the empty text.
type Value struct {
	kind   valueKind
	reason Reason
	bits   uint64
	text   string
}

// Missing is a missing value and its reason.
func Missing(r Reason) Value { return Value{reason: r} }

// Whole is a whole number.
func Whole(n int64) Value { return Value{kind: isWhole, bits: uint64(n)} }

// Real is a number.
func Real(f float64) Value { return Value{kind: isReal, bits: math.Float64bits(f)} }

// Text is a text.
func Text(s string) Value { return Value{kind: isText, text: s} }

const (
	secondsPerDay = 86_400
	daysTo1970    = 3_653 // from 1960
	farAway       = 1 << 40
)

// Day is the calendar date of t, in t's own time zone.
func Day(t time.Time) Value {
	y, m, d := t.Date()
	days := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/secondsPerDay + daysTo1970
	return Value{kind: isDay, bits: uint64(days)}
}

// Moment is a point in time, cut to milliseconds and stored in UTC.
func Moment(t time.Time) Value {
	s := min(max(t.Unix(), -farAway), farAway)
	ms := (s+daysTo1970*secondsPerDay)*1000 + int64(t.Nanosecond())/1_000_000
	return Value{kind: isMoment, bits: uint64(ms)}
}

// asWhole is the whole number v is.
func (v *Value) asWhole() (int64, bool) {
	switch v.kind {
	case isWhole:
		return int64(v.bits), true
	case isReal:
		f := math.Float64frombits(v.bits)
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, false
		}
		return int64(f), true
	}
	return 0, false
}

// compare orders values as Stata sorts them.
func (v *Value) compare(w *Value) int {
	if v.kind == isText || w.kind == isText {
		return compareText(v.text, w.text)
	}
	if v.kind == isMissing || w.kind == isMissing {
		return v.rank() - w.rank()
	}
	a, b := v.number(), w.number()
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// rank is 0 for a value and above for a missing one, by its reason.
func (v *Value) rank() int {
	if v.kind != isMissing {
		return 0
	}
	return 1 + missingIndex(v.reason)
}

func (v *Value) number() float64 {
	if v.kind == isReal {
		return math.Float64frombits(v.bits)
	}
	return float64(int64(v.bits))
}

// missingIndex is 0 for ".", 1 to 26 for .a to .z, and -1 for what is not a missing value.
func missingIndex(r Reason) int {
	switch {
	case r == 0:
		return 0
	case r >= 'a' && r <= 'z':
		return int(r-'a') + 1
	}
	return -1
}
