//go:build !failpoints

package failpoint

// Enabled says whether the program was built with failpoints.
const Enabled = false

// Hit marks a place. It does nothing.
func Hit(string) {}

// Fail marks a place at which a step may fail. It returns nil.
func Fail(string) error { return nil }
