package syncer

// Numbers are numbers as the coder writes the structure of one payload in a batch of one record, without its values.
func Numbers(tokens ...uint64) []byte {
	e := newRangeEncoder()
	path := []*column{{}}
	before := []*column{nil}
	for _, token := range tokens {
		at := len(path) - 1
		e.number(path[at].following(before[at]), token)
		before[at] = path[at].child(before[at], token, func(*column) {})
		if token&7 == messageToken {
			path, before = append(path, before[at]), append(before, nil)
		}
	}
	return e.end()
}
