package questionnaire

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
)

// numberFunctions declares the functions of numbers and of lists of them.
func numberFunctions() []cel.EnvOption {
	finite1 := func(name string, f func(float64) float64) cel.FunctionOpt {
		return fn1(name, func(x float64) (float64, error) { return finite(f(x)) })
	}
	return []cel.EnvOption{
		cel.Function("selected", fn2("selected", selected), fn2("selected", func(a, b int64) (bool, error) { return a == b, nil })),
		cel.Function("number", fn1("number", numberOfText),
			fn1("number", func(x int64) (float64, error) { return float64(x), nil }), fn1("number", finite)),
		cel.Function("round", fn2("round", roundTo)),
		cel.Function("floor", finite1("floor", math.Floor)),
		cel.Function("ceil", finite1("ceil", math.Ceil)),
		cel.Function("trunc", finite1("trunc", math.Trunc)),
		cel.Function("abs", finite1("abs", math.Abs), fn1("abs", absInt)),
		cel.Function("pow", fn2("pow", power)),
		cel.Function("sqrt", finite1("sqrt", math.Sqrt)),
		cel.Function("exp", fn1("exp", func(x float64) (float64, error) { return about(math.Exp(x)) })),
		cel.Function("ln", fn1("ln", func(x float64) (float64, error) { return about(math.Log(x)) })),
		cel.Function("log10", fn1("log10", func(x float64) (float64, error) { return about(math.Log10(x)) })),
		cel.Function("sum", fn1("sum", sumInts), fn1("sum", sumDoubles)),
		cel.Function("mean", fn1("mean", meanInts), fn1("mean", meanDoubles)),
		cel.Function("min", fn1("min", least[int64]), fn1("min", least[float64]), fn2("min", lesser[int64]), fn2("min", lesser[float64])),
		cel.Function("max", fn1("max", greatest[int64]), fn1("max", greatest[float64]), fn2("max", greater[int64]), fn2("max", greater[float64])),
	}
}

func selected(list []int64, choice int64) (bool, error) { return slices.Contains(list, choice), nil }

// finite is a number that is one.
func finite(x float64) (float64, error) {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, errNoAnswer
	}
	return x, nil
}

// about rounds the result of a function that libraries compute differently in the last place to 15 digits, so that
// log10(1000.0) is 3 everywhere.
func about(x float64) (float64, error) {
	if _, err := finite(x); err != nil || x == 0 {
		return x, err
	}
	_, exponent := decimal(x)
	return roundTo(x, int64(14-exponent))
}

// decimal is the shortest decimal number that reads as x: its digits, and the power of ten of the first.
func decimal(x float64) (digits string, exponent int) {
	mantissa, power, _ := strings.Cut(strconv.FormatFloat(math.Abs(x), 'e', -1, 64), "e")
	exponent, _ = strconv.Atoi(power)
	return strings.Replace(mantissa, ".", "", 1), exponent
}

// roundTo rounds a number to so many decimal places, halves away from zero. It rounds the number as it is written, so
// that 2.675 to two places is 2.68, though the nearest double is a little less.
func roundTo(x float64, places int64) (float64, error) {
	if _, err := finite(x); err != nil || x == 0 {
		return x, err
	}
	places = min(max(places, -400), 400)
	digits, exponent := decimal(x)
	keep := exponent + 1 + int(places)
	if keep >= len(digits) {
		return x, nil
	}
	var kept uint64
	if keep > 0 {
		kept, _ = strconv.ParseUint(digits[:keep], 10, 64)
	}
	if keep >= 0 && digits[keep] >= '5' {
		kept++
	}
	out, _ := strconv.ParseFloat(strconv.FormatUint(kept, 10)+"e"+strconv.FormatInt(-places, 10), 64)
	return finite(math.Copysign(out, x) + 0) // -0 becomes 0
}

func absInt(x int64) (int64, error) {
	if x == math.MinInt64 {
		return 0, errTooLarge
	}
	return max(x, -x), nil
}

// power raises by multiplying where the exponent is whole, so that 2 to the 53rd is exact.
func power(x, y float64) (float64, error) {
	if math.Abs(y) > 1024 || y != math.Trunc(y) {
		return about(math.Pow(x, y))
	}
	out, factor := 1.0, x
	for n := int(math.Abs(y)); n > 0; n >>= 1 {
		if n&1 == 1 {
			out *= factor
		}
		factor *= factor
	}
	if y < 0 {
		out = 1 / out
	}
	return finite(out)
}

func sumInts(list []int64) (int64, error) {
	var sum int64
	for _, x := range list {
		if x > 0 && sum > math.MaxInt64-x || x < 0 && sum < math.MinInt64-x {
			return 0, errTooLarge
		}
		sum += x
	}
	return sum, nil
}

func sumDoubles(list []float64) (float64, error) {
	sum := 0.0
	for _, x := range list {
		sum += x
	}
	return finite(sum)
}

func meanInts(list []int64) (float64, error) {
	doubles := make([]float64, len(list))
	for i, x := range list {
		doubles[i] = float64(x)
	}
	return meanDoubles(doubles)
}

func meanDoubles(list []float64) (float64, error) {
	if len(list) == 0 {
		return 0, errNoAnswer
	}
	sum, err := sumDoubles(list)
	if err != nil {
		return 0, err
	}
	return finite(sum / float64(len(list)))
}

func lesser[T int64 | float64](a, b T) (T, error)  { return ordered(min(a, b)) }
func greater[T int64 | float64](a, b T) (T, error) { return ordered(max(a, b)) }

func least[T int64 | float64](list []T) (T, error) {
	if len(list) == 0 {
		return 0, errNoAnswer
	}
	return ordered(slices.Min(list))
}

func greatest[T int64 | float64](list []T) (T, error) {
	if len(list) == 0 {
		return 0, errNoAnswer
	}
	return ordered(slices.Max(list))
}

// ordered is a number that has a place among others.
func ordered[T int64 | float64](x T) (T, error) {
	if _, err := finite(float64(x)); err != nil {
		return 0, err
	}
	return x, nil
}

// numberOfText reads a decimal number: sign, digits, point, digits, and an exponent as text() writes it.
func numberOfText(s string) (float64, error) {
	s = trimmed(s)
	rest := strings.TrimLeft(s, "+-")
	if len(s)-len(rest) > 1 {
		return 0, errNoAnswer
	}
	mantissa, power, exponent := strings.Cut(strings.ToLower(rest), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole+fraction == "" || !allDigits(whole+fraction) {
		return 0, errNoAnswer
	}
	if exponent {
		power = strings.TrimPrefix(power, "+")
		if digits := strings.TrimPrefix(power, "-"); digits == "" || !allDigits(digits) {
			return 0, errNoAnswer
		}
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0, errNoAnswer
	}
	return finite(x)
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// numberText writes a double as ECMAScript does.
func numberText(x float64) string {
	switch {
	case math.IsNaN(x):
		return "NaN"
	case math.IsInf(x, 1):
		return "Infinity"
	case math.IsInf(x, -1):
		return "-Infinity"
	case x == 0:
		return "0"
	}
	digits, exponent := decimal(x)
	digits = strings.TrimRight(digits, "0")
	sign := ""
	if x < 0 {
		sign = "-"
	}
	switch point := exponent + 1; {
	case point >= len(digits) && point <= 21:
		return sign + digits + strings.Repeat("0", point-len(digits))
	case point > 0 && point <= 21:
		return sign + digits[:point] + "." + digits[point:]
	case point > -6 && point <= 0:
		return sign + "0." + strings.Repeat("0", -point) + digits
	}
	if len(digits) > 1 {
		digits = digits[:1] + "." + digits[1:]
	}
	if exponent > 0 {
		return sign + digits + "e+" + strconv.Itoa(exponent)
	}
	return sign + digits + "e" + strconv.Itoa(exponent)
}
