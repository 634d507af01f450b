package study

import "testing"

func TestQuick(t *testing.T) {
	tabs, err := Tablets()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, tb := range tabs {
		for _, err := range tb.Interviews() {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	if n != 74 {
		t.Fatal(n)
	}
	if _, err := Definition(); err != nil {
		t.Fatal(err)
	}
	if p, err := Pairs(); err != nil || len(p) != 8 {
		t.Fatal(p, err)
	}
}
