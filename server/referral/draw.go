package referral

import (
	"crypto/sha256"
	"math/rand/v2"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Draw draws n of the people on a list of frame people at random, each equally likely, without replacement; so each is drawn
// with probability n/frame. It returns their numbers on the list, from 1, in ascending order. The same frame, n and seed
// always draw the same, on any machine: the generator is ChaCha8 keyed by SHA-256 of the seed, the method a partial shuffle.
func Draw(frame, n int, seed string) ([]int, error) {
	switch {
	case frame < 1 || frame > 1_000_000:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "a list of %d people: there must be 1 to 1,000,000 to draw from", frame)
	case n < 1 || n > frame:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%d of %d people cannot be drawn: draw 1 to %d", n, frame, frame)
	case seed == "":
		return nil, fault.New(fault.Invalid, fault.BadRequest, "a draw needs a seed, so that it can be repeated and checked")
	}
	random := rand.New(rand.NewChaCha8(sha256.Sum256([]byte(seed))))
	list := make([]int, frame)
	for i := range list {
		list[i] = i + 1
	}
	for i := range n {
		j := i + random.IntN(frame-i)
		list[i], list[j] = list[j], list[i]
	}
	drawn := list[:n]
	slices.Sort(drawn)
	return drawn, nil
}
