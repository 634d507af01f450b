package questionnaire

import (
	"fmt"
	"testing"
)

// CompareWithTypeScript evaluates random interviews with questionnaires, lets node evaluate them too, and fails the test
// where they do not agree. It needs what make web compiles.
func CompareWithTypeScript(t *testing.T, all map[string]*Questionnaire, interviews int) {
	t.Helper()
	file := vectorFile{Questionnaires: map[string]vectorForm{}}
	for name, q := range all {
		file.add(t, name, q)
		for seed := range uint64(interviews) {
			g := newGuesser(seed)
			g.left = 3000
			v := g.vector(t, q, fmt.Sprintf("seed %d", seed))
			v.Questionnaire = name
			file.Vectors = append(file.Vectors, v)
		}
	}
	runNode(t, file)
}
