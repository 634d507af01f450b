package questionnaire

import (
	"math"

	"cel.dev/cel-go/common/operators"
)

// arithmetic of numbers fails where CEL's does: on overflow, and on division by zero of whole numbers.
func (t *translator) arithmetic(op string, a, b *term) *term {
	switch {
	case a.integer != nil && b.integer != nil:
		t.safe = false
		do := map[string]func(a, b int64) (int64, outcome){
			operators.Add: add, operators.Subtract: sub, operators.Multiply: mul, operators.Divide: div, operators.Modulo: mod,
		}[op]
		return &term{integer: both(a.integer, b.integer, do)}
	case a.double != nil && b.double != nil && op != operators.Modulo:
		return &term{double: both(a.double, b.double, map[string]func(a, b float64) (float64, outcome){
			operators.Add:      func(a, b float64) (float64, outcome) { return a + b, there },
			operators.Subtract: func(a, b float64) (float64, outcome) { return a - b, there },
			operators.Multiply: func(a, b float64) (float64, outcome) { return a * b, there },
			operators.Divide:   func(a, b float64) (float64, outcome) { return a / b, there },
		}[op])}
	case a.text != nil && b.text != nil && op == operators.Add:
		t.safe = false
		return &term{text: both(a.text, b.text, func(a, b string) (string, outcome) {
			if len(a)+len(b) > maxText {
				return "", failed
			}
			return a + b, there
		})}
	}
	return nil
}

func add(a, b int64) (int64, outcome) {
	if b > 0 && a > math.MaxInt64-b || b < 0 && a < math.MinInt64-b {
		return 0, failed
	}
	return a + b, there
}

func sub(a, b int64) (int64, outcome) {
	if b < 0 && a > math.MaxInt64+b || b > 0 && a < math.MinInt64+b {
		return 0, failed
	}
	return a - b, there
}

func mul(a, b int64) (int64, outcome) {
	if a == 0 || b == 0 {
		return 0, there
	}
	if a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, failed
	}
	p := a * b
	return p, only(p/b == a)
}

func div(a, b int64) (int64, outcome) {
	if b == 0 || b == -1 && a == math.MinInt64 {
		return 0, failed
	}
	return a / b, there
}

func mod(a, b int64) (int64, outcome) {
	if b == 0 || b == -1 && a == math.MinInt64 {
		return 0, failed
	}
	return a % b, there
}

func (t *translator) negative(a *term) *term {
	switch {
	case a.constant != nil:
		i, o := sub(0, *a.constant)
		if o == there {
			return &term{integer: func(*frame) (int64, outcome) { return i, there }, constant: &i}
		}
	case a.double != nil:
		of := a.double
		return &term{double: func(f *frame) (float64, outcome) { d, o := of(f); return -d, o }}
	}
	if a.integer == nil {
		return nil
	}
	t.safe = false
	of := a.integer
	return &term{integer: func(f *frame) (int64, outcome) {
		i, o := of(f)
		if o != there {
			return 0, o
		}
		return sub(0, i)
	}}
}
