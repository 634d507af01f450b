package dedup

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// TestExplainWithoutModel explains two people on the priors alone.
func TestExplainWithoutModel(t *testing.T) {
	a := who{id: "b", interview: "GY-19", name: "张伟", born: "1970-05-03", phone: "13812345678", sex: surveyv1.Sex_SEX_MALE, hukou: "520521"}
	b := a
	b.id, b.interview, b.name, b.born, b.hukou = "a", "SZ-3", "張偉", "1970-05", ""
	p := Explain(records(a), records(b), nil)
	if p.GetAId() != "a" || p.GetBId() != "b" || p.GetAKey() != "SZ-3" || p.GetBKey() != "GY-19" {
		t.Errorf("ids %s %s keys %s %s, want a b SZ-3 GY-19", p.GetAId(), p.GetBId(), p.GetAKey(), p.GetBKey())
	}
	want := map[string]string{
		"full_name": "same characters", "birth_date": "same year and month", "sex": "exact", "phone": "exact", "hukou_place": "missing",
	}
	for _, e := range p.GetEvidence() {
		if w, ok := want[e.GetField()]; !ok || e.GetLevel() != w {
			t.Errorf("%s: %s, want %s", e.GetField(), e.GetLevel(), w)
		}
		if e.GetLevel() == "missing" && e.GetWeight() != 0 {
			t.Errorf("%s: missing weighs %v", e.GetField(), e.GetWeight())
		}
		delete(want, e.GetField())
	}
	if len(want) > 0 {
		t.Errorf("no evidence of %v", want)
	}
	if p.GetMatchClass() != servicev1.MatchClass_MATCH_CLASS_EXACT {
		t.Errorf("class %v, want EXACT\n%s", p.GetMatchClass(), Text(p))
	}
	if e := Explain(nil, nil, nil); e.GetProbability() > .01 {
		t.Errorf("nobody and nobody: probability %v", e.GetProbability())
	}
	c := a
	c.id, c.household, a.household = "c", "h", "h"
	if p := Explain(records(a), records(c), nil); p.GetProbability() > .01 {
		t.Errorf("two lines of one roster: probability %v\n%s", p.GetProbability(), Text(p))
	}
}

// TestTextLinesUp measures the columns of an explanation in cells.
func TestTextLinesUp(t *testing.T) {
	p := Explain(records(who{id: "a", interview: "贵阳-19", name: "欧阳秀英", phone: "13812345678", born: "1970"}),
		records(who{id: "b", interview: "GY-20", name: "Ouyang Xiuying", phone: "15900001111", born: "1970-02-03"}), nil)
	p.Decision = servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK.Enum()
	text := Text(p)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	body := lines[1 : len(lines)-1]
	for _, l := range body {
		if got, want := displayWidth(l), displayWidth(body[0]); got != want {
			t.Errorf("line %q is %d cells wide, want %d", l, got, want)
		}
	}
	for _, want := range []string{"欧阳秀英", "name 姓名", "same pinyin 拼音相同", "贵阳-19", "decided: cannot link", "sum 合计"} {
		if !strings.Contains(text, want) {
			t.Errorf("text does not say %q:\n%s", want, text)
		}
	}
	evil := &servicev1.MatchPair{Evidence: []*servicev1.Evidence{{Field: proto.String("a\x1b[31m"), ValueA: proto.String("x\n\x07y" + strings.Repeat("长", 99))}}}
	if got := Text(evil); strings.ContainsAny(got, "\x1b\x07") || strings.Contains(got, strings.Repeat("长", 30)) {
		t.Errorf("control characters or a long value reach the terminal: %q", got)
	}
	if Text(nil) == "" {
		t.Error("no text of no pair")
	}
}

// TestLabels asks for both languages of every field and level of a real pair.
func TestLabels(t *testing.T) {
	v := village(40)
	again := v[0]
	again.id, again.interview, again.household = "x", "again", "hx"
	r := Find(records(append(slices.Clone(v), again)...), nil, nil, Options{})
	if len(r.Pairs) == 0 {
		t.Fatal("no pairs")
	}
	for _, p := range r.Pairs {
		for _, e := range p.GetEvidence() {
			if en, zh := FieldLabel(e.GetField()); en == zh {
				t.Errorf("field %q has no Chinese label", e.GetField())
			}
			if LevelLabel(e.GetLevel()) == e.GetLevel() {
				t.Errorf("level %q has no Chinese label", e.GetLevel())
			}
		}
	}
}

// TestWaterfall draws a pair and expects every row to be there and to end where the next begins.
func TestWaterfall(t *testing.T) {
	p := Explain(records(who{id: "a<1>", interview: "贵阳&19", name: "欧阳秀英", phone: "13812345678", born: "1970-02-03", hukou: "520521"}),
		records(who{id: "b", interview: "GY-20", name: "Ouyang Xiuying", phone: "15900001111", born: "1970-03-02", hukou: "520521"}), nil)
	for _, chinese := range []bool{false, true} {
		picture := Waterfall(p, chinese)
		if dir := os.Getenv("HEARTH_PICTURES"); dir != "" { // to look at it
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("waterfall-%v.svg", chinese)), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d := xml.NewDecoder(bytes.NewReader(picture))
		bars, words := 0, ""
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("the picture is not well-formed: %v", err)
			}
			switch x := token.(type) {
			case xml.StartElement:
				for _, a := range x.Attr {
					if x.Name.Local == "rect" && a.Name.Local == "rx" {
						bars++
					}
				}
			case xml.CharData:
				words += string(x)
			}
		}
		if want := len(p.GetEvidence()) + 2; bars != want {
			t.Errorf("%d bars, want %d", bars, want)
		}
		want := []string{"欧阳秀英", "贵阳&19", "13812345678", "telephone", "order swapped"}
		if chinese {
			want = []string{"欧阳秀英", "贵阳&19", "13812345678", "电话", "概率"}
		}
		for _, w := range want[:4] {
			if !strings.Contains(words, w) {
				t.Errorf("the picture lacks %q", w)
			}
		}
	}
}
