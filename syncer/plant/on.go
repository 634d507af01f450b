//go:build planted

package plant

import "sync/atomic"

// Possible says whether this program was built with bugs that can be let in.
const Possible = true

var in atomic.Pointer[Bug]

// In says whether a bug is in.
func In(b Bug) bool {
	p := in.Load()
	return p != nil && *p == b
}

// Let lets one bug in, and those out that were in before; "" lets none in.
func Let(b Bug) { in.Store(&b) }
