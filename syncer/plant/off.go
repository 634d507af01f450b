//go:build !planted

package plant

// Possible says whether this program was built with bugs that can be let in.
const Possible = false

// In says whether a bug is in. Without the tag `planted` none ever is.
func In(Bug) bool { return false }

// Let does nothing without the tag `planted`.
func Let(Bug) {}
