package study

import (
	"testing"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// tally recomputes the published table from interviews, by the definitions given with it and nothing else.
type tally struct {
	n   [2]int
	yes map[string]*[2]int
	sum map[string]*[2]float64
}

func newTally() *tally { return &tally{yes: map[string]*[2]int{}, sum: map[string]*[2]float64{}} }

func (t *tally) count(kind int, name string, yes bool) {
	if t.yes[name] == nil {
		t.yes[name] = &[2]int{}
	}
	if yes {
		t.yes[name][kind]++
	}
}

func (t *tally) add(kind int, name string, x float64) {
	if t.sum[name] == nil {
		t.sum[name] = &[2]float64{}
	}
	t.sum[name][kind] += x
}

// livesAt is the county or district of a member.
func livesAt(h *surveyv1.Household, m *surveyv1.HouseholdMember) string {
	p := h.GetCover().GetSurveyPlace()
	if m.GetLivesWithRespondent() == surveyv1.YesNo_YES_NO_NO {
		p = m.GetLivesAt()
	}
	return p.GetDivisionCode()
}

func ruralMigrantMember(h *surveyv1.Household, m *surveyv1.HouseholdMember) bool {
	t := m.GetHukouType()
	if t == surveyv1.HukouType_HUKOU_TYPE_UNIFIED_RESIDENT {
		t = m.GetHukouBeforeReform()
	}
	return t == surveyv1.HukouType_HUKOU_TYPE_AGRICULTURAL && m.GetHukouPlace().GetDivisionCode()[:6] != livesAt(h, m)[:6]
}

const yes = surveyv1.YesNo_YES_NO_YES

// household counts one household; in reports whether it is in the sample: a rural migrant lives in the survey city.
func (t *tally) household(h *surveyv1.Household) (in bool) {
	city := h.GetCover().GetSurveyPlace().GetDivisionCode()[:4]
	kind := ruralMigrant
	any := map[string]bool{}
	adults, levels := 0, 0.0
	for _, m := range h.GetMembers() {
		if ruralMigrantMember(h, m) {
			in = in || livesAt(h, m)[:4] == city
			any["intra"] = any["intra"] || m.GetHukouPlace().GetDivisionCode()[:2] == livesAt(h, m)[:2]
		} else {
			kind = mixedStatus
		}
		any["split"] = any["split"] || m.GetLivesWithRespondent() == surveyv1.YesNo_YES_NO_NO
		if m.GetAge() >= 16 {
			adults++
			levels += float64(m.GetEducation())
		}
		insured(any, m.GetInsurance(), livesAt(h, m)[:4] == city)
		works(any, m.GetWork())
		if m.GetRelationToHead() == surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD {
			any["female"] = m.GetSex() == surveyv1.Sex_SEX_FEMALE
		}
	}
	if !in {
		return false
	}
	t.n[kind]++
	house := h.GetHousing()
	any["owns"] = house.GetTenure() == surveyv1.HousingTenure_HOUSING_TENURE_OWNS_IN_SURVEY_CITY || house.GetOwnsOtherHomeInSurveyCity() == yes
	any["farming"] = h.GetIncome().GetAgriculturalProduction() == yes
	for _, name := range []string{"owns", "pension", "local", "unemployment", "injury", "maternity", "fund", "female", "public", "contract", "temporary", "farmer", "self", "intra", "split", "farming", "elsewhere"} {
		t.count(kind, name, any[name])
	}
	for _, m := range h.GetMembers() {
		if m.GetRelationToHead() == surveyv1.RelationToHead_RELATION_TO_HEAD_HEAD {
			t.add(kind, "age", float64(m.GetAge()))
		}
	}
	t.add(kind, "size", float64(len(h.GetMembers())))
	t.add(kind, "education", levels/float64(max(1, adults)))
	t.add(kind, "income", float64(h.GetIncome().GetTotal().GetYuan()))
	return true
}

func insured(any map[string]bool, x *surveyv1.SocialInsurance, inCity bool) {
	urban := x.GetPensionScheme() >= surveyv1.PensionScheme_PENSION_SCHEME_GOVERNMENT && x.GetPensionScheme() <= surveyv1.PensionScheme_PENSION_SCHEME_URBAN_RESIDENT ||
		x.GetPensionScheme() == surveyv1.PensionScheme_PENSION_SCHEME_MERGED_RESIDENT && x.GetPensionPaidAsUrban() == yes
	or := func(name string, b bool) { any[name] = any[name] || b }
	or("pension", urban && inCity)
	or("local", x.GetHealthPlace() == surveyv1.EnrolmentPlace_ENROLMENT_PLACE_SURVEY_CITY)
	or("elsewhere", x.GetHealthPlace() == surveyv1.EnrolmentPlace_ENROLMENT_PLACE_HUKOU_PLACE || x.GetHealthPlace() == surveyv1.EnrolmentPlace_ENROLMENT_PLACE_ELSEWHERE)
	or("unemployment", x.GetUnemploymentInsurance() == yes)
	or("injury", x.GetWorkInjuryInsurance() == yes)
	or("maternity", x.GetMaternityInsurance() == yes)
	or("fund", x.GetHousingProvidentFund() == yes)
}

func works(any map[string]bool, w *surveyv1.Work) {
	or := func(name string, b bool) { any[name] = any[name] || b }
	or("public", w.GetEmployerKind() == surveyv1.EmployerKind_EMPLOYER_KIND_PUBLIC_SECTOR)
	or("contract", w.GetWrittenContract() == yes)
	or("temporary", w.GetTemporaryJob() == yes)
	or("farmer", w.GetEmployerKind() == surveyv1.EmployerKind_EMPLOYER_KIND_FARMING)
	or("self", w.GetEmployerKind() == surveyv1.EmployerKind_EMPLOYER_KIND_SELF_EMPLOYED)
}

// Simulated households have the margins of the published table.
func TestMarginsOfThePublishedTable(t *testing.T) {
	for _, seed := range []uint64{1, 2016} {
		got := newTally()
		_, err := Simulate(SimulateOptions{Households: 5000, Tablets: 8, Seed: seed, DuplicateRate: -1}, func(_ int, iv *surveyv1.Interview) error {
			if !got.household(iv.GetHousehold()) {
				t.Errorf("%s: no rural migrant lives in the survey city", iv.GetInterviewKey())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		compareTable(t, got, 2)
	}
}

// compareTable wants shares within so many percentage points, means within 2 %.
func compareTable(t *testing.T, got *tally, points float64) {
	t.Helper()
	total := float64(got.n[0] + got.n[1])
	t.Logf("%-14s %10s %10s   %10s %10s", "", "rural", "published", "mixed", "published")
	t.Logf("%-14s %10d %10d   %10d %10d", "N", got.n[0], publishedHouseholds[0], got.n[1], publishedHouseholds[1])
	if share := float64(got.n[0]) / total; share < .5825 || share > .6225 {
		t.Errorf("share of rural migrant households %.4f, want 0.6025", share)
	}
	shares := []struct {
		name string
		of   func(m margins) float64
	}{
		{"owns", func(m margins) float64 { return m.owns }}, {"pension", func(m margins) float64 { return m.pension }},
		{"local", func(m margins) float64 { return m.local }}, {"unemployment", func(m margins) float64 { return m.unemployment }},
		{"injury", func(m margins) float64 { return m.injury }}, {"maternity", func(m margins) float64 { return m.maternity }},
		{"fund", func(m margins) float64 { return m.fund }}, {"female", func(m margins) float64 { return m.headFemale }},
		{"public", func(m margins) float64 { return m.public }}, {"contract", func(m margins) float64 { return m.contract }},
		{"temporary", func(m margins) float64 { return m.temporary }}, {"farmer", func(m margins) float64 { return m.farmer }},
		{"self", func(m margins) float64 { return m.self }}, {"intra", func(m margins) float64 { return m.intra }},
		{"split", func(m margins) float64 { return m.split }}, {"farming", func(m margins) float64 { return m.farming }},
		{"elsewhere", func(m margins) float64 { return m.elsewhere }},
	}
	for _, s := range shares {
		var pct, want [2]float64
		for k := range 2 {
			pct[k], want[k] = 100*float64(got.yes[s.name][k])/float64(got.n[k]), 100*s.of(published[k])
			if d := pct[k] - want[k]; d > points || d < -points {
				t.Errorf("%s of kind %d: got %.1f %%, want %.1f %%", s.name, k, pct[k], want[k])
			}
		}
		t.Logf("%-14s %10.1f %10.1f   %10.1f %10.1f", s.name, pct[0], want[0], pct[1], want[1])
	}
	means := []struct {
		name string
		of   func(m margins) float64
	}{
		{"age", func(m margins) float64 { return m.headAge }}, {"size", func(m margins) float64 { return m.size }},
		{"education", func(m margins) float64 { return m.education }}, {"income", func(m margins) float64 { return m.income }},
	}
	for _, s := range means {
		var mean, want [2]float64
		for k := range 2 {
			mean[k], want[k] = got.sum[s.name][k]/float64(got.n[k]), s.of(published[k])
			if d := mean[k]/want[k] - 1; d > .02 || d < -.02 {
				t.Errorf("%s of kind %d: got a mean of %.2f, want %.2f", s.name, k, mean[k], want[k])
			}
		}
		t.Logf("%-14s %10.2f %10.2f   %10.2f %10.2f", s.name, mean[0], want[0], mean[1], want[1])
	}
}
