package sav

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

// Value is one cell of a row. The zero value is system-missing, and in a string the empty text.
type Value struct {
	kind valueKind
	bits uint64
	text string
}

// Whole is a whole number.
func Whole(n int64) Value { return Value{kind: isWhole, bits: uint64(n)} }

// Real is a number.
func Real(f float64) Value { return Value{kind: isReal, bits: math.Float64bits(f)} }

// Text is a text.
func Text(s string) Value { return Value{kind: isText, text: s} }

const (
	secondsPerDay   = 86_400
	secondsTo1970   = 141_428 * secondsPerDay // from 14 October 1582
	firstSecond     = secondsPerDay
	farAway         = 1 << 40
	endOf9999       = 253_402_300_800 + secondsTo1970
	exactInteger    = 1 << 53
	systemMissing   = -math.MaxFloat64
	lowestOfARange  = 0xffeffffffffffffe
	highestOfARange = math.MaxFloat64
)

// Day is the calendar date of t, in t's own time zone.
func Day(t time.Time) Value {
	y, m, d := t.Date()
	s := min(max(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix(), -farAway), farAway)
	return Value{kind: isDay, bits: math.Float64bits(float64(s + secondsTo1970))}
}

// Moment is a point in time, cut to milliseconds and stored in UTC.
func Moment(t time.Time) Value {
	s := min(max(t.Unix(), -farAway), farAway) + secondsTo1970
	ms := s*1000 + int64(t.Nanosecond())/1_000_000
	return Value{kind: isMoment, bits: math.Float64bits(float64(ms) / 1000)}
}

// number is the number v is, or what is wrong with it.
func (v *Value) number() (float64, string) {
	if v.kind == isWhole {
		n := int64(v.bits)
		if n > exactInteger || n < -exactInteger {
			return 0, "the whole number is beyond 2^53, where SPSS is not exact: make the variable a String"
		}
		return float64(n), ""
	}
	f := math.Float64frombits(v.bits)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, "the value is not a number, or infinite: give the zero Value"
	}
	if f == systemMissing {
		return 0, "the value is the one SPSS uses for missing values: give the zero Value"
	}
	return f, ""
}
