package questionnaire

import (
	"math"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// personFunctions declares the functions of resident identity numbers.
func personFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("resident_id_valid", fn1("resident_id_valid", func(s string) (bool, error) { return residentValid(s), nil })),
		cel.Function("resident_id_birth", fn1("resident_id_birth", func(s string) (string, error) {
			return found(residentBirth(s), residentValid(s))
		})),
		cel.Function("resident_id_sex", fn1("resident_id_sex", func(s string) (int64, error) {
			if !residentValid(s) {
				return 0, errNoAnswer
			}
			return 2 - int64(s[16]-'0')%2, nil // odd: male
		})),
		cel.Function("resident_id_place", fn1("resident_id_place", func(s string) (string, error) {
			if !residentValid(s) {
				return "", errNoAnswer
			}
			return s[:6], nil
		})),
	}
}

// residentValid tells whether a text is a number by GB 11643: 18 digits, the last of which may be X, a birth date that
// there is, and the check character of ISO 7064 MOD 11-2.
func residentValid(s string) bool {
	if len(s) != 18 || !allDigits(s[:17]) || s[0] == '0' {
		return false
	}
	sum, weight := 0, 1
	for i := 16; i >= 0; i-- {
		weight = weight * 2 % 11
		sum += int(s[i]-'0') * weight
	}
	if s[17] != "10X98765432"[sum%11] {
		return false
	}
	_, ok := parseDay(residentBirth(s))
	return ok
}

// residentBirth is the birth date in a number of 18 characters, as it stands.
func residentBirth(s string) string {
	if len(s) != 18 {
		return ""
	}
	return s[6:10] + "-" + s[10:12] + "-" + s[12:14]
}

// placeFunctions declares the functions of place codes and of positions.
func placeFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function("place_level", fn1("place_level", func(s string) (int64, error) { _, level, err := placeCode(s); return level, err })),
		cel.Function("place_in", fn2("place_in", func(code, outer string) (bool, error) {
			inner, _, err := placeCode(code)
			if err != nil {
				return false, err
			}
			around, _, err := placeCode(outer)
			return err == nil && strings.HasPrefix(inner, around), err
		})),
		cel.Function("place_province", fn1("place_province", func(s string) (string, error) {
			code, _, err := placeCode(s)
			if err != nil {
				return "", err
			}
			return code[:2], nil
		})),
		cel.Function("distance", fn2("distance", distance), anyMessage),
	}
}

// placeDigits is how many digits the codes of GB/T 2260 have, from province to village.
var placeDigits = [5]int{2, 4, 6, 9, 12}

// placeCode is a code without the zeros that only fill it up, and its level: 1 province to 5 village.
func placeCode(s string) (code string, level int64, err error) {
	known := false
	for _, n := range placeDigits {
		known = known || len(s) == n
	}
	if !known || !allDigits(s) || strings.HasPrefix(s, "00") {
		return "", 0, errNoAnswer
	}
	for i, n := range placeDigits {
		if n == len(s) || strings.Trim(s[n:], "0") == "" {
			return s[:n], int64(i + 1), nil
		}
	}
	return "", 0, errNoAnswer
}

// position is what distance needs of a GeoPoint.
type position struct{ latitude, longitude float64 }

func positionOf(v ref.Val) (p position, err error) {
	latitude, longitude := fieldOf(v, "latitude"), fieldOf(v, "longitude")
	if p.latitude, err = scalar[types.Double, float64](latitude); err != nil {
		return p, err
	}
	p.longitude, err = scalar[types.Double, float64](longitude)
	return p, err
}

const (
	earthRadius = 6_378_100
	radian      = math.Pi / 180
)

// distance is the way between two positions along a great circle, in metres, to the millimetre.
func distance(a, b position) (float64, error) {
	north := math.Sin((b.latitude - a.latitude) * radian / 2)
	east := math.Sin((b.longitude - a.longitude) * radian / 2)
	h := north*north + math.Cos(a.latitude*radian)*math.Cos(b.latitude*radian)*east*east
	return roundTo(2*earthRadius*math.Asin(math.Min(1, math.Sqrt(h))), 3)
}
