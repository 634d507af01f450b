package xform

import (
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
)

// sound is a form without mistakes, in the manner of pyxform.
const sound = `<?xml version="1.0"?>
<h:html xmlns="http://www.w3.org/2002/xforms" xmlns:h="http://www.w3.org/1999/xhtml" xmlns:jr="http://openrosa.org/javarosa" xmlns:orx="http://openrosa.org/xforms">
 <h:head><h:title>Form</h:title>
  <model>
   <itext>
    <translation lang="English (en)" default="true()">
     <text id="/data/age:label"><value>How old are you, <output value=" /data/name "/>?</value></text>
     <text id="/data/age:jr:constraintMsg"><value>Too old</value></text>
     <text id="yes_no-0"><value>Yes</value></text><text id="yes_no-1"><value>No</value></text>
    </translation>
    <translation lang="中文 (zh)">
     <text id="/data/age:label"><value>您多大年纪？</value></text>
     <text id="/data/age:jr:constraintMsg"><value>太大</value></text>
     <text id="yes_no-0"><value>是</value></text><text id="yes_no-1"><value>否</value></text>
    </translation>
   </itext>
   <instance><data id="form" version="1">
    <name/><age/><adult/><works/><n/>
    <member jr:template=""><line/><job/><kid jr:template=""><toy/></kid></member>
    <member><line/><job/><kid><toy/></kid></member>
    <meta><instanceID/></meta>
   </data></instance>
   <instance id="yes_no"><root>
    <item><itextId>yes_no-0</itextId><name>yes</name><weight>1</weight></item>
    <item><itextId>yes_no-1</itextId><name>no</name><weight>2</weight></item>
   </root></instance>
   <instance id="people" src="jr://file-csv/people.csv"/>
   <bind nodeset="/data/name" type="string"/>
   <bind nodeset="/data/age" type="int" relevant="string-length(/data/name) &gt; 0" constraint=". &lt; 120" jr:constraintMsg="jr:itext('/data/age:jr:constraintMsg')"/>
   <bind nodeset="/data/adult" type="string" calculate="if(/data/age &gt;= 18, 'yes', 'no')"/>
   <bind nodeset="/data/works" type="string" relevant="/data/adult = 'yes'"/>
   <bind nodeset="/data/member/line" type="int" calculate="position(..)"/>
   <bind nodeset="/data/member/job" type="string" relevant="count(../../member[line != current()/../line]) &gt; 0 and instance('people')/root/item[name = current()/../line]/label != ''"/>
   <bind nodeset="/data/meta/instanceID" type="string" jr:preload="uid"/>
  </model>
 </h:head>
 <h:body>
  <input ref="/data/name"><label>Name</label></input>
  <input ref="/data/age"><label ref="jr:itext('/data/age:label')"/></input>
  <select1 ref="/data/works"><label>Works</label><itemset nodeset="instance('yes_no')/root/item[weight &lt; 3]"><value ref="name"/><label ref="jr:itext(itextId)"/></itemset></select1>
  <input ref="/data/n"><label>How many</label></input>
  <group ref="/data/member"><label>Members</label><repeat nodeset="/data/member" jr:count=" /data/n ">
   <input ref="/data/member/job"><label>Job</label></input>
   <group ref="/data/member/kid"><repeat nodeset="/data/member/kid"><input ref="/data/member/kid/toy"><label>Toy</label></input></repeat></group>
  </repeat></group>
 </h:body>
</h:html>`

func findings(t *testing.T, form string) []string {
	t.Helper()
	found, err := Check(strings.NewReader(form))
	if err != nil {
		return []string{"refused: " + err.Error()}
	}
	var out []string
	for _, f := range found {
		out = append(out, f.Severity+": "+f.Subject+": "+f.Message)
	}
	return out
}

func TestSoundFormHasNoFindings(t *testing.T) {
	if found := findings(t, sound); len(found) != 0 {
		t.Errorf("found %q", found)
	}
}

// TestMistakesAreFound makes one mistake after the other in a sound form. Of the first the programs of ODK let through all
// but what is no XML.
func TestMistakesAreFound(t *testing.T) {
	for _, m := range []struct{ name, old, new, want string }{
		{"dangling reference", `relevant="/data/adult = 'yes'"`, `relevant="/data/adlut = 'yes'"`, "error: /data/works: relevant refers to /data/adlut, which is not there; adult is"},
		{"dangling relative reference", "current()/../line]) &gt;", "current()/../lines]) &gt;", "error: /data/member/job: relevant refers to /data/member/lines, which is not there; line is"},
		{"reference in a predicate", "member[line !=", "member[row !=", "relevant refers to /data/member/row, which is not there"},
		{"above the root", "position(..)", "position(../../../..)", "goes up beyond the form's root"},
		{"text in no language", "<label ref=\"jr:itext('/data/age:label')\"/>", "<label ref=\"jr:itext('/data/age:labels')\"/>", `the text "/data/age:labels" is in no language`},
		{"text missing in a language", `<text id="yes_no-0"><value>是</value></text>`, ``, "error: language 中文 (zh): 1 texts are missing: yes_no-0"},
		{"text of a choice", "<itextId>yes_no-1</itextId>", "<itextId>yes_no-7</itextId>", `list yes_no: the text "yes_no-7" is in no language`},
		{"text of a message", `jr:itext('/data/age:jr:constraintMsg')`, `jr:itext('/data/age:msg')`, `the text "/data/age:msg" is in no language`},
		{"choice twice", "<name>no</name><weight>2</weight>", "<name>yes</name><weight>1</weight>", `list yes_no: the choice "yes" is there twice`},
		{"choice with a space", "<name>no</name>", "<name>no way</name>", "warning: list yes_no"},
		{"choice without a name", "<name>no</name>", "<name/>", "a choice has no name"},
		{"no instanceID", "<meta><instanceID/></meta>", "", "error: the form: it has no meta/instanceID"},
		{"meta in a namespace", "<meta><instanceID/></meta>", "<orx:meta><orx:instanceID/></orx:meta>", "warning: meta: it has a namespace"},
		{"no form id", `<data id="form" `, `<data `, "error: the form: it has no id"},
		{"no version", ` version="1"`, ``, "warning: the form: it has no version"},
		{"count within its repeat", `jr:count=" /data/n "`, `jr:count=" /data/member/line "`, "error: /data/member: its number of rows is asked within it"},
		{"count that depends on its repeat", `<bind nodeset="/data/name" type="string"/>`, `<bind nodeset="/data/name" type="string"/><bind nodeset="/data/n" calculate="count(/data/member)"/>`, "warning: /data/member: how many rows there are depends on what is asked in them: /data/member reads /data/n reads /data/member"},
		{"cycle of calculations", "string-length(/data/name) &gt; 0", "/data/adult != ''", "it depends on itself: /data/adult reads /data/age reads /data/adult"},
		{"no name of XML", "<name/><age/>", "<2name/><age/>", "refused: the file is no XML that can be read, in line"},
		{"path twice", "<adult/>", "<adult/><adult/>", "error: /data/adult: 2 questions or groups have this path"},
		{"bind to no node", `<bind nodeset="/data/name"`, `<bind nodeset="/data/nam"`, "error: /data/nam: a bind refers to this path"},
		{"two binds", `<bind nodeset="/data/name" type="string"/>`, `<bind nodeset="/data/name" type="string"/><bind nodeset="/data/name"/>`, "error: /data/name: it has two binds"},
		{"control of no node", `<input ref="/data/name">`, `<input ref="/data/nom">`, "error: /data/nom: a input refers to this path"},
		{"asked twice", `<input ref="/data/n">`, `<input ref="/data/name">`, "error: /data/name: it is asked twice"},
		{"control of a group", `<input ref="/data/n">`, `<input ref="/data/meta">`, "error: /data/meta: a input asks for what is a group"},
		{"syntax", `. &lt; 120"`, `. &lt; (120"`, `error: /data/age: constraint cannot be read: ")" is missing at character 8`},
		{"unknown function", "string-length(", "length(", "uses the function length"},
		{"unknown list", "instance('yes_no')", "instance('yes_nos')", `itemset refers to the list "yes_nos"`},
		{"unknown column", "[weight &lt;", "[heavy &lt;", "itemset refers to the column heavy of a list"},
		{"no choices", `<itemset nodeset="instance('yes_no')/root/item[weight &lt; 3]"><value ref="name"/><label ref="jr:itext(itextId)"/></itemset>`, "", "error: /data/works: it offers no choices"},
		{"reference in a label", `<output value=" /data/name "/>`, `<output value=" /data/nama "/>`, "error: /data/age: the wording refers to /data/nama, which is not there; name is"},
		{"reference in words of the body", "<label>Name</label>", `<label>Name <output value="/data/x"/></label>`, "output refers to /data/x"},
		{"no form at all", "h:html", "h:htm", "refused: the file is no XForm"},
		{"no instance", `<instance><data id="form"`, `<instance id="x"><data id="form"`, "no primary instance"},
		{"cut off", "</h:body>\n</h:html>", "", "refused: the file is no XML"},
	} {
		t.Run(m.name, func(t *testing.T) {
			form := strings.ReplaceAll(sound, m.old, m.new)
			if form == sound {
				t.Fatal("nothing was changed")
			}
			found := findings(t, form)
			for _, f := range found {
				if strings.Contains(f, m.want) {
					return
				}
			}
			t.Errorf("found %q, want %q", found, m.want)
		})
	}
}

func TestFindingsSayWhatToDo(t *testing.T) {
	found, err := Check(strings.NewReader(strings.Replace(sound, "<meta><instanceID/></meta>", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Reason != fault.BadXForm || f.Do == "" {
			t.Errorf("%+v", f)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(sound)
	f.Add("<a/>")
	f.Add(strings.Replace(sound, "/data/age", "/data/age[/data/name='", 3))
	f.Fuzz(func(_ *testing.T, form string) {
		_, _ = Check(strings.NewReader(form)) // anything but a panic
	})
}

func FuzzXPath(f *testing.F) {
	for _, s := range []string{"a", "../b[c = 'x']/d * 2 div -3", "instance('x')/root/item[name = current()/../y]/label", "not(a) and b or //c | @d", "concat('\"', \"'\")"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseXPath(text)
		if err == nil && e == nil {
			t.Errorf("%q is neither an expression nor a mistake", text)
		}
	})
}
