package questionnaire

import (
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
)

// What a time of day looks like, with or without its offset from UTC.
const clockTime = `([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?`

var (
	formatTime     = regexp.MustCompile(`^` + clockTime + `(Z|[+-]([01]\d|2[0-3]):[0-5]\d)?$`)
	formatDateTime = regexp.MustCompile(`^T` + clockTime + `(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)
	formatPhone    = regexp.MustCompile(`^\+?[0-9][0-9 ()/-]{1,22}[0-9]$`)
	formatNumber   = regexp.MustCompile(`^-?\d{1,12}(\.\d{1,15})?$`)
)

// formatOf tells whether a text is written in the format of its question; nil where it may be any.
func formatOf(f formv1.Format) func(string) bool {
	switch f {
	case formv1.Format_FORMAT_DATE:
		return isDay
	case formv1.Format_FORMAT_TIME:
		return formatTime.MatchString
	case formv1.Format_FORMAT_DATE_TIME:
		return func(s string) bool { return len(s) > 10 && isDay(s[:10]) && formatDateTime.MatchString(s[10:]) }
	case formv1.Format_FORMAT_GEO_TRACE:
		return func(s string) bool { return positions(s) >= 2 }
	case formv1.Format_FORMAT_GEO_SHAPE:
		return isArea
	case formv1.Format_FORMAT_PHONE:
		return formatPhone.MatchString
	case formv1.Format_FORMAT_RESIDENT_ID:
		return residentValid
	}
	return nil
}

// isDay tells whether a text is a day, yyyy-mm-dd, and nothing more.
func isDay(s string) bool {
	_, ok := parseDay(s)
	return ok && len(s) == 10
}

// positions is how many positions a text holds, "latitude longitude altitude accuracy" each, of which the last two may be
// left out, joined by ";"; 0 where it holds anything else.
func positions(s string) int {
	points := strings.Split(strings.TrimSuffix(strings.TrimSpace(s), ";"), ";")
	for _, p := range points {
		parts := strings.Fields(p)
		if len(parts) < 2 || len(parts) > 4 {
			return 0
		}
		for i, part := range parts {
			x, err := strconv.ParseFloat(part, 64)
			if err != nil || !formatNumber.MatchString(part) || i == 0 && (x < -90 || x > 90) || i == 1 && (x < -180 || x > 180) {
				return 0
			}
		}
	}
	return len(points)
}

// isArea tells whether a text holds positions of which the last is the first.
func isArea(s string) bool {
	if positions(s) < 4 {
		return false
	}
	points := strings.Split(strings.TrimSuffix(strings.TrimSpace(s), ";"), ";")
	first, last := strings.Fields(points[0]), strings.Fields(points[len(points)-1])
	return first[0] == last[0] && first[1] == last[1]
}

// fits tells whether a format may stand at a field.
func fits(o formv1.Format, f protoreflect.FieldDescriptor) bool {
	switch o {
	case formv1.Format_FORMAT_UNSPECIFIED:
		return true
	case formv1.Format_FORMAT_PHOTO, formv1.Format_FORMAT_AUDIO, formv1.Format_FORMAT_VIDEO, formv1.Format_FORMAT_FILE:
		return f.Message() != nil
	case formv1.Format_FORMAT_RANK:
		return f.IsList() && kindOf(f) == kindInt
	}
	return !f.IsList() && kindOf(f) == kindText
}
