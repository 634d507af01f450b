package xform

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// constructsTree is the tree of the questionnaire that has each construct.
func constructsTree(t testing.TB) *tree {
	t.Helper()
	raw, err := os.ReadFile("testdata/constructs.proto")
	if err != nil {
		t.Fatal(err)
	}
	files, err := questionnaire.CompileProto(map[string]string{"constructs.proto": string(raw)}, "constructs.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	return newTree(q.Descriptor(), 1)
}

// find is the node at a path without /data.
func (t *tree) find(path string) *Node {
	n := t.root
	for _, name := range strings.Split(path, "/") {
		for _, c := range n.Nodes {
			if c.Name == name {
				n = c
				break
			}
		}
	}
	return n
}

// TestConditions shows what becomes of conditions: an answer that is not there makes none of them true, and neither its
// negation.
func TestConditions(t *testing.T) {
	tree := constructsTree(t)
	for _, c := range []struct{ at, cel, xpath string }{
		{"wage", "this.age > 3", "/data/age > 3"},
		{"wage", "!(this.age > 3)", "/data/age <= 3"},
		{"wage", "this.age != 3", "/data/age != '' and /data/age != 3"},
		{"wage", "!has(this.age) || this.age > 3", "/data/age = '' or /data/age > 3"},
		{"wage", "this.prov == 1", "/data/prov = 'gz'"},
		{"wage", "this.prov != 2", "/data/prov != '' and /data/prov != 'sh'"},
		{"wage", "this.prov >= 1", "/data/prov = 'gz' or /data/prov = 'sh'"},
		{"wage", "this.highest >= 2", "/data/highest >= 2"},
		{"wage", "this.prov == 7", "false()"},
		{"wage", "this.age in [1, 2]", "/data/age = 1 or /data/age = 2"},
		{"wage", "2 in this.levels", "selected(/data/levels, '2')"},
		{"wage", "this.levels.all(l, l < 3)", "not(selected(/data/levels, '3'))"},
		{"wage", "size(this.persons) > 2 ? this.works : this.age > 1", "count(/data/persons) > 2 and /data/works = 'true' or count(/data/persons) <= 2 and /data/age > 1"},
		{"persons/mother", "this.age > root.age", "../age > /data/age"},
		{"persons/mother", "root.persons.exists(p, p.age > this.age)", "count(../../persons[true()][age > current()/../age]) > 0"},
		{"persons/jobs/hours", "up1.age > 3 && position2 == 1", "../../age > 3 and position(../..) = 1"},
		{"persons", "this.persons.all(p, p.jobs.exists(j, j.hours > 3.0 && up_is_not_known))", ""},
		{"wage", "this.name == 'it\\'s \"so\"'", `/data/name = concat('it', "'", 's "so"')`},
		{"wage", "this.name.startsWith('a')", "/data/name != '' and starts-with(/data/name, 'a')"},
		{"wage", "this.name.matches('a|b')", `/data/name != '' and regex(/data/name, '^[\s\S]*(?:a|b)[\s\S]*$')`},
	} {
		n := tree.find(c.at)
		got, err := tree.translator(n, n.Parent).condition(c.cel)
		if c.xpath == "" {
			if err == nil {
				t.Errorf("%s became %s", c.cel, got.t)
			}
			continue
		}
		if err != nil || got.t.String() != c.xpath {
			t.Errorf("%s at %s became\n%s (%v), want\n%s", c.cel, c.at, got.t, err, c.xpath)
			continue
		}
		if _, err := parseXPath(c.xpath); err != nil {
			t.Errorf("%s cannot be read: %v", c.xpath, err)
		}
	}
}

// TestWhatXPathCannotSay names what is left out, and why: nothing is written that means something else.
func TestWhatXPathCannotSay(t *testing.T) {
	tree := constructsTree(t)
	var long strings.Builder
	long.WriteString("true")
	for i := range 3000 {
		fmt.Fprintf(&long, " && this.age != %d", i)
	}
	for _, c := range []struct{ cel, why string }{
		{"this.persons.all(a, this.persons.exists(b, b.age == a.age))", "looks at one row from within another"},
		{"resident_id_valid(this.name)", "XPath has no function resident_id_valid"},
		{"lower(this.name) == 'a'", "XPath has no function lower"},
		{"this.name < 'b'", "compares texts by their order"},
		{"sum(this.persons.map(p, p.age * 2)) > 3", "reckons with each row"},
		{"this.persons[0].age > 3", "by its place"},
		{"this.name.matches('(?i)a')", "XPath has no function matches"},
		{"this.prov + 1 == 2", "no number in the form"},
		{"this.gone == 1", "the form does not have gone"},
		{"this.age / 0 == 1", "divides by zero"},
		{"this.age +", "it is no expression"},
		{strings.Repeat("!", 3000) + "this.works", ""},
		{long.String(), "characters of XPath"},
	} {
		n := tree.find("wage")
		_, err := tree.translator(n, n.Parent).condition(c.cel)
		if err == nil && c.why != "" || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("%.60s: %v, want %q", c.cel, err, c.why)
		}
	}
}

// TestFormsAreSound checks forms with reasons for missing answers and in one language; a calculation that is not in the form
// takes the rules with it that read it.
func TestFormsAreSound(t *testing.T) {
	files, err := questionnaire.CompileProto(map[string]string{"q.proto": `edition = "2023"; package form.q; import "hearth/form/v1/options.proto";
message Q {
  option (hearth.form.v1.module) = {title: {en: "Q"} version: 1};
  string id_number = 1 [(hearth.form.v1.question) = {label: {en: "Number"}}];
  bool valid = 2 [(hearth.form.v1.question) = {label: {en: "Valid"} calculate: "resident_id_valid(this.id_number)"}];
  string why = 3 [(hearth.form.v1.question) = {label: {en: "Why <not> & so on"} relevant: "!this.valid" required: true}];
  map<uint32, hearth.form.v1.Missing> missing = 100 [(hearth.form.v1.question) = {label: {en: "Missing"} system: true}];
}`}, "q.proto")
	if err != nil {
		t.Fatal(err)
	}
	q, err := questionnaire.Load(files, "")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	left, err := Write(q, &b, Options{Missing: true, Languages: []string{"zh", "en"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 || !strings.Contains(left[1].String(), "why: relevant is left out: valid, which it reads, is not calculated in the form") {
		t.Errorf("left out: %v", left)
	}
	found, err := Check(bytes.NewReader(b.Bytes()))
	if err != nil || len(found) > 0 {
		t.Errorf("found %v, %v", found, err)
	}
	for _, want := range []string{`<translation lang="中文 (zh)" default="true()">`, "Why &lt;not&gt; &amp; so on", `required="../why_missing = &#39;&#39;"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the form has no %s", want)
		}
	}
}
