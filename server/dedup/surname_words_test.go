package dedup

import "testing"

func TestSurname(t *testing.T) {
	for _, tc := range []struct{ full, family, given, pinyin, want string }{
		{"王小明", "", "", "", "wan"},
		{"", "王", "小明", "", "wan"},
		{"", "王", "", "", "wan"},
		{"", "Wang", "Xiaoming", "", "wan"},
		{"欧阳锋", "", "", "", "ouyan"},
		{"單雄信", "", "", "", "san"},
		{"张三", "", "", "Zhang San", "zan"},
		{"", "Huáng", "", "", "huan"},
		{"", "", "", "", ""},
	} {
		if got := Surname(tc.full, tc.family, tc.given, tc.pinyin); got != tc.want {
			t.Errorf("Surname(%q, %q, %q, %q) = %q, want %q", tc.full, tc.family, tc.given, tc.pinyin, got, tc.want)
		}
	}
}
