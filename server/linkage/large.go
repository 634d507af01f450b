package linkage

import "sync"

// mostLarge bounds how many keys are remembered.
const mostLarge = 1 << 18

// large remembers which keys more people have than can be used, so that those are not counted again and again. It holds as long
// as nobody but this book changes the index, and nobody leaves the key.
type large struct {
	mu      sync.Mutex
	version int64
	keys    map[largeKey]bool
}

type largeKey struct {
	generation int64
	key        uint64
}

// at forgets everything if the index is not as this book left it.
func (l *large) at(version int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.version != version || l.keys == nil || len(l.keys) > mostLarge {
		l.version, l.keys = version, map[largeKey]bool{}
	}
}

// left notes how this book leaves the index.
func (l *large) left(version int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version = version
}

func (l *large) has(generation int64, key uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[largeKey{generation, key}]
}

func (l *large) set(generation int64, key uint64, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := (largeKey{generation, key}); is && l.keys != nil {
		l.keys[k] = true
	} else {
		delete(l.keys, k)
	}
}
