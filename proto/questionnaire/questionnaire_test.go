package questionnaire

import (
	"fmt"
	"testing"
	"time"
)

func TestBuiltin(t *testing.T) {
	t0 := time.Now()
	s, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(time.Since(t0))
	for _, q := range s.All() {
		fmt.Println(q.Name(), q.Version(), q.Questions(), fmt.Sprintf("%x", q.Fingerprint(1)), fmt.Sprintf("%x", q.Fingerprint(2)))
	}
}
