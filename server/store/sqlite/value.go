package sqlite

import "database/sql/driver"

// The columns of STRICT tables have the types declared, unless the file is damaged; then these return zero values, and
// what is computed from them does not verify.

func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}

func atLeastOne(limit int) int { return max(limit, 1) }
