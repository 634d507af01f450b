package dedup

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// who is one person record in a test: what is empty was not told.
type who struct {
	id, household, interview, name, pinyin, born, phone, resident, hukou, site string
	sex                                                                        surveyv1.Sex
	age                                                                        int32
	day                                                                        int
}

// record makes a person record.
func (w who) record() *servicev1.PersonRecord {
	set := func(s string) *string {
		if s == "" {
			return nil
		}
		return proto.String(s)
	}
	r := &servicev1.PersonRecord{
		PersonId: proto.String(w.id), HouseholdId: set(w.household), InterviewId: set(w.interview), InterviewKey: set(w.interview),
		SiteId: set(w.site), InterviewTimeMs: proto.Int64(time.Date(2026, 5, 1+w.day, 9, 0, 0, 0, time.UTC).UnixMilli()),
		Identity: &surveyv1.Identity{FullName: set(w.name), Pinyin: set(w.pinyin), Phone: set(w.phone), ResidentId: set(w.resident)},
	}
	if w.sex != surveyv1.Sex_SEX_UNSPECIFIED {
		r.Sex = w.sex.Enum()
	}
	if w.age > 0 {
		r.Age = proto.Int32(w.age)
	}
	if d, ok := parseDate(w.born, false); ok {
		r.BirthDate = &surveyv1.PartialDate{Year: proto.Int32(int32(d.year))}
		if d.month > 0 {
			r.BirthDate.Month = proto.Int32(int32(d.month))
		}
		if d.day > 0 {
			r.BirthDate.Day = proto.Int32(int32(d.day))
		}
	}
	if w.hukou != "" {
		r.HukouPlace = &surveyv1.Place{DivisionCode: proto.String(w.hukou)}
	}
	return r
}

// records makes several.
func records(list ...who) []*servicev1.PersonRecord {
	var out []*servicev1.PersonRecord
	for _, w := range list {
		out = append(out, w.record())
	}
	return out
}

// village makes n different people in households of four, for something to compare with.
func village(n int) []who {
	families, given := []rune("王李张刘陈杨黄赵周吴徐孙马朱胡"), []rune("伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉")
	var out []who
	for i := range n {
		h := i / 4
		out = append(out, who{
			id: fmt.Sprintf("v%04d", i), household: fmt.Sprintf("hv%04d", h), interview: fmt.Sprintf("GY-%d", h),
			name:  string([]rune{families[(h*7+i%4/3)%15], given[(i*11+3)%25], given[(i*i*5+i*7)%25]}),
			born:  fmt.Sprintf("%d-%02d-%02d", 1945+(i*37)%60, 1+(i*5)%12, 1+(i*11)%28),
			phone: fmt.Sprintf("138%08d", (i*7654321)%100000000), hukou: fmt.Sprintf("52%02d%02d", 1+h%6, 1+h%20),
			site: fmt.Sprintf("village-%d", h%9), sex: surveyv1.Sex(1 + i%2),
		})
	}
	return out
}

// pairOf finds a pair in a result.
func pairOf(r *Result, a, b string) *servicev1.MatchPair {
	for _, p := range r.Pairs {
		if ordered(p.GetAId(), p.GetBId()) == ordered(a, b) {
			return p
		}
	}
	return nil
}

// TestFind looks for people met twice in a village of 200.
func TestFind(t *testing.T) {
	again := func(w who, change func(*who)) who {
		w.household, w.interview, w.day = "hx"+w.id, "SZ-"+w.id, 9
		w.id = "x" + w.id
		change(&w)
		return w
	}
	tests := []struct {
		name   string
		change func(*who)
		least  servicev1.MatchClass
		none   bool
	}{
		{"told the same", func(*who) {}, servicev1.MatchClass_MATCH_CLASS_EXACT, false},
		{"another telephone", func(w *who) { w.phone = "15900001111" }, servicev1.MatchClass_MATCH_CLASS_LIKELY, false},
		{"lunar birthday and no telephone", func(w *who) { w.born, w.phone = "1945-01-29", "" }, servicev1.MatchClass_MATCH_CLASS_POSSIBLE, false},
		{"year only", func(w *who) { w.born = w.born[:4] }, servicev1.MatchClass_MATCH_CLASS_LIKELY, false},
		{"age instead of birth date", func(w *who) { w.born, w.age = "", 81 }, servicev1.MatchClass_MATCH_CLASS_LIKELY, false},
		{"nothing but a name", func(w *who) { *w = who{id: w.id, name: w.name} }, 0, true},
		{"somebody else", func(w *who) {
			w.name, w.born, w.phone, w.sex = "欧阳翠花", "1999-10-10", "18600002222", surveyv1.Sex_SEX_FEMALE
		}, 0, true},
		{"same interview, same household", func(w *who) { w.household, w.interview = "hv0000", "GY-0" }, 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := village(200)
			v[0].born = "1945-01-01"
			twin := again(v[0], test.change)
			r := Find(records(append(v, twin)...), nil, nil, Options{})
			p := pairOf(r, "v0000", twin.id)
			switch {
			case test.none && p.GetProbability() >= .5:
				t.Errorf("found a pair that is none:\n%s", Text(p))
			case !test.none && p == nil:
				t.Errorf("pair not found; it would be:\n%s", Text(Explain(records(v[0]), records(twin), r.Model)))
			case !test.none && p.GetMatchClass() > test.least:
				t.Errorf("class %v, want %v:\n%s", p.GetMatchClass(), test.least, Text(p))
			}
			for _, q := range r.Pairs {
				if q != p && q.GetProbability() > .5 && q.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_PERSON {
					t.Errorf("false pair:\n%s", Text(q))
				}
			}
			if r.People != 201 || r.Possible != 201*200/2 || r.Compared == 0 || r.Compared >= r.Possible {
				t.Errorf("people %d, compared %d, possible %d", r.People, r.Compared, r.Possible)
			}
		})
	}
}

// TestFindHouseholdTwice surveys a household again under new ids.
func TestFindHouseholdTwice(t *testing.T) {
	v := village(120)
	all := slices.Clone(v)
	for _, w := range v[8:12] {
		w.id, w.household, w.interview, w.day, w.phone = "x"+w.id, "hx", "GY-99", 20, ""
		all = append(all, w)
	}
	households := []*servicev1.HouseholdRecord{
		{HouseholdId: proto.String("hv0002"), HeadPersonId: proto.String("v0008"), SiteId: proto.String("village-2"), InterviewId: proto.String("GY-2")},
		{HouseholdId: proto.String("hx"), HeadPersonId: proto.String("xv0008"), SiteId: proto.String("village-2"), InterviewId: proto.String("GY-99")},
	}
	r := Find(records(all...), households, nil, Options{})
	p := pairOf(r, "hv0002", "hx")
	if p == nil || p.GetSubject() != servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD {
		t.Fatalf("household pair not found among %d pairs", len(r.Pairs))
	}
	members := 0
	for _, e := range p.GetEvidence() {
		if e.GetField() == fieldMember {
			members++
		}
	}
	if members != 4 || p.GetProbability() < .99 {
		t.Errorf("members = %d, want 4:\n%s", members, Text(p))
	}
	if r.Households != 31 {
		t.Errorf("Households = %d, want 31", r.Households)
	}
	q := pairOf(r, "v0009", "xv0009")
	if q == nil {
		t.Fatal("member pair not found")
	}
	for _, other := range r.Pairs {
		if other.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD && other != p {
			t.Errorf("false household pair:\n%s", Text(other))
		}
	}
}

// TestSharedID takes several records of one person_id as one person, and households likewise.
func TestSharedID(t *testing.T) {
	v := village(8)
	second := v[0]
	second.interview, second.day, second.phone = "GY-77", 30, "13999999999"
	r := Find(records(append(v, second)...), nil, nil, Options{})
	if r.People != 8 {
		t.Errorf("People = %d, want 8", r.People)
	}
	want := []Cluster{
		{[]string{"v0000"}, "v0000", servicev1.LinkSubject_LINK_SUBJECT_PERSON},
		{[]string{"hv0000"}, "hv0000", servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD},
	}
	if fmt.Sprint(r.Clusters) != fmt.Sprint(want) {
		t.Errorf("Clusters = %v, want %v", r.Clusters, want)
	}
}

// TestFindEmpty bears having nothing to do.
func TestFindEmpty(t *testing.T) {
	for name, people := range map[string][]*servicev1.PersonRecord{
		"nobody":             nil,
		"one person":         records(who{id: "a", name: "王伟"}),
		"nothing told":       records(who{id: "a"}, who{id: "b"}, who{id: "c"}),
		"no ids":             {{}, {}, nil},
		"all the same":       records(who{id: "a", name: "王伟"}, who{id: "b", name: "王伟"}),
		"absurd values":      records(who{id: "a", name: "\xff\xfe", phone: "１２", resident: "x"}, who{id: "b", name: "   ", hukou: "99"}),
		"ids of no sense":    records(who{id: "\x00", name: "王伟", phone: "13800000000"}, who{id: "ÿ", name: "王伟", phone: "13800000000"}),
		"a name of one sign": records(who{id: "a", name: "王"}, who{id: "b", name: "王"}),
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range Find(people, nil, nil, Options{}).Pairs {
				if !(p.GetProbability() >= 0 && p.GetProbability() <= 1) {
					t.Errorf("probability %v", p.GetProbability())
				}
			}
		})
	}
}

// TestManyOnOnePhone keeps time bounded when one telephone is everybody's.
func TestManyOnOnePhone(t *testing.T) {
	v := village(6000)
	for i := range v {
		v[i].phone = "13800000000"
	}
	start := time.Now()
	r := Find(records(v...), nil, nil, Options{})
	if r.Compared > 60*6000 {
		t.Errorf("compared %d pairs, want at most 60 a record", r.Compared)
	}
	t.Logf("%v, compared %d", time.Since(start), r.Compared)
}

// cnPeople reads the synthetic Guizhou rosters as person records: each row its own person id.
func cnPeople(tb testing.TB) (people []*servicev1.PersonRecord, entity map[string]string) {
	table := sharedTable(tb, "cn10000.csv")
	at := map[string]int{}
	for i, h := range table.Header {
		at[h] = i
	}
	entity = map[string]string{}
	for _, row := range table.Rows {
		get := func(h string) string { return row[at[h]] }
		w := who{
			id: get("rec_id"), household: get("hh_id"), interview: "i" + get("hh_id"), name: get("name"), pinyin: get("pinyin"),
			born: get("dob"), phone: get("phone"), resident: get("id_no"), hukou: get("hukou"), site: get("village"),
		}
		switch get("sex") {
		case "M":
			w.sex = surveyv1.Sex_SEX_MALE
		case "F":
			w.sex = surveyv1.Sex_SEX_FEMALE
		}
		people = append(people, w.record())
		entity[w.id] = get("ent_id")
	}
	return people, entity
}

// TestFindRosters scores people of 2,900 rosters against the truth; those entered twice on one roster do not count, for
// they can not be linked.
func TestFindRosters(t *testing.T) {
	people, entity := cnPeople(t)
	house := map[string]string{}
	by := map[string][]string{}
	for _, p := range people {
		house[p.GetPersonId()] = p.GetHouseholdId()
		by[entity[p.GetPersonId()]] = append(by[entity[p.GetPersonId()]], p.GetPersonId())
	}
	var truth int64
	for _, ids := range by {
		for i, a := range ids {
			for _, b := range ids[i+1:] {
				if house[a] != house[b] {
					truth++
				}
			}
		}
	}
	start := time.Now()
	r := Find(people, nil, nil, Options{})
	took := time.Since(start)
	var found, right, homes int64
	for _, p := range r.Pairs {
		switch {
		case p.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD:
			homes++
		case house[p.GetAId()] == house[p.GetBId()]:
			t.Fatalf("two people of one roster proposed:\n%s", Text(p))
		case p.GetProbability() >= .5:
			found++
			if entity[p.GetAId()] == entity[p.GetBId()] {
				right++
			}
		}
	}
	precision, recall, f1 := measures(truth, found, right)
	t.Logf("F1 %.4f (precision %.4f, recall %.4f) of %d true pairs; %d household pairs; compared %d; %v", f1, precision, recall, truth, homes, r.Compared, took)
	t.Logf("keys: %s; household evidence: %v %.2f", strings.Join(r.Keys, "; "), r.Model.house.on, r.Model.house.bits)
	if f1 < .97 {
		t.Errorf("F1 = %.4f, want at least 0.97", f1)
	}
}

// BenchmarkFind10000 compares ten thousand people.
func BenchmarkFind10000(b *testing.B) {
	people, _ := cnPeople(b)
	for b.Loop() {
		Find(people, nil, nil, Options{})
	}
}

// TestFindOrderAtScale expects the same bytes whatever the order, where mixture, household evidence and second choice of
// keys all take part.
func TestFindOrderAtScale(t *testing.T) {
	people, _ := cnPeople(t)
	people = people[:3000]
	a := Find(people, nil, nil, Options{})
	if !a.Model.house.on || len(a.Model.others) == 0 {
		t.Errorf("household evidence %v, mixture of %d: the test does not reach what it is for", a.Model.house.on, len(a.Model.others))
	}
	people = slices.Clone(people)
	slices.Reverse(people)
	if bytesOf(a) != bytesOf(Find(people, nil, nil, Options{})) {
		t.Error("the order of the records shows")
	}
	for _, p := range a.Pairs {
		sum := p.GetPriorWeight()
		for _, e := range p.GetEvidence() {
			sum += e.GetWeight()
		}
		if math.Abs(sum-p.GetWeight()) > 1e-9 {
			t.Fatalf("evidence adds up to %v, weight is %v", sum, p.GetWeight())
		}
	}
}

// TestDecisionsOnPairs shows decisions on pairs that no search would propose, and leaves out nothing else.
func TestDecisionsOnPairs(t *testing.T) {
	v := village(80)
	decisions := []*servicev1.LinkDecision{decision("1", 1, "L v0001 v0042"), decision("2", 2, "C hv0001 hv0009")}
	decisions[1].Subject = servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD.Enum()
	r := Find(records(v...), nil, decisions, Options{})
	if p := pairOf(r, "v0001", "v0042"); p.GetDecision() != servicev1.DecisionKind_DECISION_KIND_LINK || p.GetDecisionId() != "1" {
		t.Errorf("linked pair: %v", p)
	}
	if p := pairOf(r, "hv0001", "hv0009"); p.GetDecision() != servicev1.DecisionKind_DECISION_KIND_CANNOT_LINK {
		t.Errorf("household pair that must not be linked: %v", p)
	}
	want := []Cluster{{[]string{"v0001", "v0042"}, "v0001", servicev1.LinkSubject_LINK_SUBJECT_PERSON}}
	if fmt.Sprint(r.Clusters) != fmt.Sprint(want) {
		t.Errorf("clusters %v, want %v", r.Clusters, want)
	}
	before := Find(records(v...), nil, nil, Options{})
	undone := Find(records(v...), nil, append(decisions, decision("3", 3, "U 1"), decision("4", 4, "U 2")), Options{})
	if bytesOf(before) != bytesOf(undone) {
		t.Error("undoing all decisions does not restore the result")
	}
}
