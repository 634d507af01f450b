package sav

import (
	"regexp"
	"slices"
	"strconv"
)

// format is a display format: how a value is shown.
type format struct {
	code, width, decimals int
}

func (f format) packed() uint32 { return uint32(f.code<<16 | f.width<<8 | f.decimals) }

// formatType is what a display format may be used for.
type formatType struct {
	code     int
	min, max int // width
	decimals int // at most
	kinds    []Kind
}

var formatPattern = regexp.MustCompile(`^([A-Z]+)([0-9]{1,5})(?:\.([0-9]{1,2}))?$`)

func typeOf(name string) (formatType, bool) {
	number, days, moments := []Kind{Number}, []Kind{Date, Datetime}, []Kind{Datetime}
	switch name {
	case "A":
		return formatType{1, 1, maxStringBytes, 0, []Kind{String}}, true
	case "COMMA":
		return formatType{3, 1, 40, 16, number}, true
	case "DOLLAR":
		return formatType{4, 2, 40, 16, number}, true
	case "F":
		return formatType{5, 1, 40, 16, number}, true
	case "N":
		return formatType{16, 1, 40, 16, number}, true
	case "E":
		return formatType{17, 6, 40, 16, number}, true
	case "PCT":
		return formatType{31, 1, 40, 16, number}, true
	case "DOT":
		return formatType{32, 1, 40, 16, number}, true
	case "DATE":
		return formatType{20, 9, 40, 0, days}, true
	case "DATETIME":
		return formatType{22, 17, 40, 16, moments}, true
	case "ADATE":
		return formatType{23, 8, 40, 0, days}, true
	case "JDATE":
		return formatType{24, 5, 40, 0, days}, true
	case "EDATE":
		return formatType{38, 8, 40, 0, days}, true
	case "SDATE":
		return formatType{39, 8, 40, 0, days}, true
	case "YMDHMS":
		return formatType{41, 16, 40, 16, moments}, true
	}
	return formatType{}, false
}

// displayFormat is the format of a variable, or what is wrong with it.
func (v *Variable) displayFormat() (format, string) {
	if v.Format == "" {
		switch v.Kind {
		case Date:
			return format{39, 10, 0}, ""
		case Datetime:
			return format{22, 20, 0}, ""
		case String:
			return format{1, min(v.Width, 255), 0}, ""
		}
		if v.LabelSet != "" || v.Measure == Nominal || v.Measure == Ordinal {
			return format{5, 8, 0}, ""
		}
		return format{5, 8, 2}, ""
	}
	m := formatPattern.FindStringSubmatch(v.Format)
	if m == nil {
		return format{}, "the format must be a name, a width and perhaps decimals, such as F8.2: correct it"
	}
	t, ok := typeOf(m[1])
	if !ok || !slices.Contains(t.kinds, v.Kind) {
		return format{}, "the format is not one for this kind of variable: correct it"
	}
	width, _ := strconv.Atoi(m[2])
	decimals, _ := strconv.Atoi(m[3])
	if width < t.min || width > t.max || decimals > t.decimals || decimals > 0 && decimals >= width {
		return format{}, "the width or the decimals of the format are out of range: correct them"
	}
	if v.Kind == String {
		if width != v.Width {
			return format{}, "the format of a string must have its width: leave it out"
		}
		width = min(width, 255)
	}
	return format{t.code, width, decimals}, ""
}
