package syncer

// Numbers are numbers as the coder writes the structure of one payload in a batch of one record, without its values.
func Numbers(tokens ...uint64) []byte {
	e := newRangeEncoder()
	path := []*column{{}}
	before := []uint64{0}
	for _, token := range tokens {
		at := len(path) - 1
		e.number(path[at].following(before[at]), token)
		before[at] = token
		if token&7 == messageToken {
			path, before = append(path, path[at].child(token, func(*column) {})), append(before, 0)
		}
	}
	return e.end()
}
