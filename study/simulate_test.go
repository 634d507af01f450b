package study

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

// collected is a small simulated study in memory.
type collected struct {
	interviews []*surveyv1.Interview
	tablets    []int
	truth      *Truth
}

func collect(t testing.TB, opts SimulateOptions) collected {
	t.Helper()
	var c collected
	truth, err := Simulate(opts, func(tablet int, iv *surveyv1.Interview) error {
		c.interviews, c.tablets = append(c.interviews, iv), append(c.tablets, tablet)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.truth = truth
	return c
}

func table(t testing.TB, write func(w *bytes.Buffer) error) [][]string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

func digest(t testing.TB, opts SimulateOptions) [32]byte {
	h := sha256.New()
	truth, err := Simulate(opts, func(tablet int, iv *surveyv1.Interview) error {
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
		h.Write([]byte(strconv.Itoa(tablet)))
		h.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{truth.WritePeople(h), truth.WriteHouseholds(h), truth.WriteReferrals(h)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return [32]byte(h.Sum(nil))
}

func TestSameSeedSameBytes(t *testing.T) {
	a := digest(t, SimulateOptions{Households: 700, Tablets: 5, Seed: 11})
	if b := digest(t, SimulateOptions{Households: 700, Tablets: 5, Seed: 11}); a != b {
		t.Error("the same seed made other bytes")
	}
	if b := digest(t, SimulateOptions{Households: 700, Tablets: 5, Seed: 12}); a == b {
		t.Error("another seed made the same bytes")
	}
}

// The people are the same however many tablets there are; what differs is who met them and when.
func TestTabletsDoNotChangePeople(t *testing.T) {
	rosters := func(tablets int) map[string]*surveyv1.Household {
		out := map[string]*surveyv1.Household{}
		for _, iv := range collect(t, SimulateOptions{Households: 600, Tablets: tablets, Seed: 3}).interviews {
			h := iv.GetHousehold()
			h.Cover.InterviewDate = nil
			out[iv.GetInterviewId()] = h
		}
		return out
	}
	want, got := rosters(2), rosters(17)
	if len(want) != len(got) {
		t.Fatalf("%d interviews with 2 tablets, %d with 17", len(want), len(got))
	}
	for id, h := range want {
		if !proto.Equal(h, got[id]) {
			t.Fatalf("household of interview %s differs with the number of tablets", id)
		}
	}
}

func TestSimulatedInterviewsAreWellFormed(t *testing.T) {
	opts := SimulateOptions{Households: 1500, Tablets: 7, Seed: 5}
	c := collect(t, opts)
	study := SimulatedStudy(opts)
	set, err := questionnaire.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	unique := func(id string) {
		u, err := uuid.Parse(id)
		if err != nil || u.Version() != 4 || u.Variant() != uuid.RFC4122 {
			t.Fatalf("%q is not a version 4 UUID", id)
		}
		if ids[id] {
			t.Fatalf("%s stands twice", id)
		}
		ids[id] = true
	}
	flags, last, busy, size := 0, time.Time{}, map[string]time.Time{}, 0
	for _, iv := range c.interviews {
		unique(iv.GetInterviewId())
		unique(iv.GetHousehold().GetHouseholdId())
		respondent := false
		for _, m := range iv.GetHousehold().GetMembers() {
			unique(m.GetPersonId())
			respondent = respondent || m.GetPersonId() == iv.GetRespondent().GetPersonId()
			if id := m.GetIdentity().GetResidentId(); len(id) == 18 && !strings.HasSuffix(iv.GetInterviewKey(), "B") && residentCheck([]byte(id)) != id[17] {
				t.Errorf("%s: resident id %s has a wrong check character", iv.GetInterviewKey(), id)
			}
		}
		if !respondent {
			t.Errorf("%s: the respondent is not in the roster", iv.GetInterviewKey())
		}
		if !slices.ContainsFunc(study.GetSites(), func(s *surveyv1.Site) bool { return s.GetSiteId() == iv.GetSiteId() }) {
			t.Errorf("%s is at %s, which the study does not have", iv.GetInterviewKey(), iv.GetSiteId())
		}
		if !slices.ContainsFunc(study.GetEnumerators(), func(e *surveyv1.Enumerator) bool { return e.GetEnumerator() == iv.GetEnumerator() }) {
			t.Errorf("%s is by %s, whom the study does not have", iv.GetInterviewKey(), iv.GetEnumerator())
		}
		start := iv.GetStartTime().AsTime()
		if start.Before(busy[iv.GetEnumerator()]) {
			t.Errorf("%s starts while its enumerator is still at another", iv.GetInterviewKey())
		}
		busy[iv.GetEnumerator()] = iv.GetEndTime().AsTime()
		if start.Before(last) {
			t.Errorf("%s comes out of the order of time", iv.GetInterviewKey())
		}
		last = start
		for _, f := range set.Evaluate(iv) {
			flags++
			if f.GetSeverity() == formv1.Severity_SEVERITY_HARD || !strings.HasSuffix(iv.GetInterviewKey(), "B") {
				t.Errorf("%s: %s %s", iv.GetInterviewKey(), f.GetPath(), f.GetRule())
			}
		}
		size += proto.Size(iv)
	}
	mean := size / len(c.interviews)
	t.Logf("%d interviews, %d bytes each, %d flags", len(c.interviews), mean, flags)
	if mean < 600 || mean > 1500 {
		t.Errorf("an interview has %d bytes, want 600 to 1500", mean)
	}
	if len(c.interviews) != c.truth.Interviews() {
		t.Errorf("got %d interviews, the truth says %d", len(c.interviews), c.truth.Interviews())
	}
}

// The truth about people names every person of every interview once, and who is met twice by another tablet.
func TestTruthOfPeople(t *testing.T) {
	c := collect(t, SimulateOptions{Households: 4000, Tablets: 6, Seed: 9})
	truth := map[string]string{}
	for _, r := range table(t, func(b *bytes.Buffer) error { return c.truth.WritePeople(b) }) {
		if truth[r[1]] != "" {
			t.Fatalf("person %s stands twice", r[1])
		}
		truth[r[1]] = r[2]
	}
	people, twice, enumerator, names := 0, 0, map[string]string{}, map[string]string{}
	different := 0
	for _, iv := range c.interviews {
		for _, m := range iv.GetHousehold().GetMembers() {
			people++
			id := m.GetPersonId()
			whole := truth[id]
			if whole == "" {
				t.Fatalf("%s: person %s is not in the truth", iv.GetInterviewKey(), id)
			}
			if whole != id {
				twice++
				if enumerator[whole] == iv.GetEnumerator() {
					t.Errorf("%s: person met again by the same enumerator", iv.GetInterviewKey())
				}
				if names[whole] != m.GetIdentity().GetFullName() {
					different++
				}
			}
			enumerator[id], names[id] = iv.GetEnumerator(), m.GetIdentity().GetFullName()
		}
	}
	if people != len(truth) {
		t.Errorf("%d people in interviews, %d in the truth", people, len(truth))
	}
	again := c.truth.Interviews() - c.truth.Households()
	if again < 80 || again > 150 {
		t.Errorf("%d of 4000 households met again, want about 120", again)
	}
	if twice < again || different < twice/4 {
		t.Errorf("%d people met twice in %d interviews, %d with another name", twice, again, different)
	}
	t.Logf("%d people met twice in %d interviews, %d of them under another name", twice, again, different)
}

// The referral truth is a forest, its recruiters were interviewed before, and interviews tell the same.
func TestTruthOfReferrals(t *testing.T) {
	c := collect(t, SimulateOptions{Households: 4000, Tablets: 9, Seed: 21})
	rows := table(t, func(b *bytes.Buffer) error { return c.truth.WriteReferrals(b) })
	recruiter, wave := map[string]string{}, map[string]int{}
	count := map[string]int{}
	for _, r := range rows {
		recruiter[r[0]] = r[1]
		count[r[4]]++
		if r[2] != "" {
			wave[r[0]], _ = strconv.Atoi(r[2])
		}
		if r[1] != "" && wave[r[0]] != wave[r[1]]+1 {
			t.Fatalf("person %s is in wave %s, his recruiter in %d", r[0], r[2], wave[r[1]])
		}
	}
	end, coupons := map[string]time.Time{}, map[string]string{}
	told := 0
	for _, iv := range c.interviews {
		if strings.HasSuffix(iv.GetInterviewKey(), "B") {
			continue
		}
		who, rec := iv.GetRespondent().GetPersonId(), iv.GetRecruitment()
		end[who] = iv.GetEndTime().AsTime()
		for _, code := range rec.GetCouponsGiven() {
			coupons[code] = who
		}
		for _, r := range rec.GetReferrals() {
			told++
			from := r.GetFromPerson().GetPersonId()
			if from == "" {
				from = coupons[r.GetCouponCode()]
			}
			if from != recruiter[who] {
				t.Fatalf("%s tells another recruiter than the truth", iv.GetInterviewKey())
			}
			if made := r.GetMadeTime().AsTime(); end[from].IsZero() || made.Before(end[from]) || !made.Before(iv.GetStartTime().AsTime()) {
				t.Fatalf("%s: referred at %v, recruiter done at %v, interview at %v", iv.GetInterviewKey(), made, end[from], iv.GetStartTime().AsTime())
			}
		}
	}
	if told != count["referred"] || told < 1500 || count["seed"] < 50 || c.truth.MaxWave() < 4 {
		t.Errorf("%d referrals told, %v, deepest wave %d", told, count, c.truth.MaxWave())
	}
	t.Logf("%v, deepest wave %d", count, c.truth.MaxWave())
}

func TestTruthFiles(t *testing.T) {
	c := collect(t, SimulateOptions{Households: 50, Tablets: 2, Seed: 1})
	dir := filepath.Join(t.TempDir(), "truth")
	if err := c.truth.WriteCSV(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"people.csv", "households.csv", "referrals.csv"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || bytes.Count(b, []byte("\n")) < 51 {
			t.Errorf("%s: %v, %d bytes", name, err, len(b))
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.truth.WriteCSV(filepath.Join(dir, "file")); err == nil {
		t.Error("wrote into a folder that is a file")
	}
}

func TestSimulateRefuses(t *testing.T) {
	for _, o := range []SimulateOptions{{}, {Households: -1}, {Households: 10, Tablets: -2}, {Households: 10, DuplicateRate: .9}, {Households: 1 << 40}} {
		if _, err := Simulate(o, func(int, *surveyv1.Interview) error { return nil }); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	full := errors.New("disk full")
	if _, err := Simulate(SimulateOptions{Households: 10}, func(int, *surveyv1.Interview) error { return full }); !errors.Is(err, full) {
		t.Errorf("the error of the sink is lost: %v", err)
	}
}

// Any size, any number of tablets: everything adds up.
func TestSimulateAnySize(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := SimulateOptions{
			Households: rapid.IntRange(1, 300).Draw(rt, "households"), Tablets: rapid.IntRange(1, 40).Draw(rt, "tablets"),
			Seed: rapid.Uint64().Draw(rt, "seed"), DuplicateRate: rapid.Float64Range(-1, .5).Draw(rt, "rate"),
		}
		seen := 0
		truth, err := Simulate(o, func(tablet int, iv *surveyv1.Interview) error {
			seen++
			if tablet < 0 || tablet >= max(1, o.Tablets) {
				rt.Fatalf("tablet %d of %d", tablet, o.Tablets)
			}
			if n := len(iv.GetHousehold().GetMembers()); n < 1 || n > maxMembers {
				rt.Fatalf("%d members", n)
			}
			return nil
		})
		if err != nil || truth.Interviews() != seen || truth.Households() != o.Households {
			rt.Fatalf("%v: %d interviews seen of %d", err, seen, truth.Interviews())
		}
	})
}

func BenchmarkSimulate(b *testing.B) {
	size, n := 0, 0
	for b.Loop() {
		_, err := Simulate(SimulateOptions{Households: 5000, Tablets: 20, Seed: 1}, func(_ int, iv *surveyv1.Interview) error {
			n++
			size += proto.Size(iv)
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "interviews/s")
	b.ReportMetric(float64(size)/float64(n), "bytes/interview")
}
