package export

import (
	"fmt"
	"strings"
	"testing"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// migrant is a man of 35 from rural Anshun who lives in Guiyang and works there for wages.
const migrant = `line_number: 1 relation_to_head: RELATION_TO_HEAD_HEAD sex: SEX_MALE age: 35 education: EDUCATION_LEVEL_JUNIOR_HIGH
  hukou_type: HUKOU_TYPE_AGRICULTURAL hukou_place { division_code: "520402" } lives_with_respondent: YES_NO_YES born_here: YES_NO_NO
  arrival_in_city { year: 2005 month: 3 } work { works: YES_NO_YES employer_kind: EMPLOYER_KIND_PRIVATE written_contract: YES_NO_YES temporary_job: YES_NO_NO }
  insurance { pension_scheme: PENSION_SCHEME_URBAN_EMPLOYEE pension_place: ENROLMENT_PLACE_SURVEY_CITY health_scheme: HEALTH_SCHEME_RURAL_COOPERATIVE
    health_place: ENROLMENT_PLACE_HUKOU_PLACE unemployment_insurance: YES_NO_YES work_injury_insurance: YES_NO_YES maternity_insurance: YES_NO_NO
    housing_provident_fund: YES_NO_NO }`

// citizen is his wife, who has the urban hukou of the city, and farms.
const citizen = `line_number: 2 relation_to_head: RELATION_TO_HEAD_SPOUSE sex: SEX_FEMALE age: 33 education: EDUCATION_LEVEL_SENIOR_HIGH
  hukou_type: HUKOU_TYPE_UNIFIED_RESIDENT hukou_before_reform: HUKOU_TYPE_NON_AGRICULTURAL hukou_place { division_code: "520103" }
  lives_with_respondent: YES_NO_YES born_here: YES_NO_YES work { works: YES_NO_YES employer_kind: EMPLOYER_KIND_FARMING }
  insurance { pension_scheme: PENSION_SCHEME_NONE health_scheme: HEALTH_SCHEME_URBAN_RESIDENT health_place: ENROLMENT_PLACE_SURVEY_CITY
    unemployment_insurance: YES_NO_NO work_injury_insurance: YES_NO_NO maternity_insurance: YES_NO_NO housing_provident_fund: YES_NO_NO }`

// child was left behind with her grandparents in the county of her hukou, in another province.
const child = `line_number: 3 relation_to_head: RELATION_TO_HEAD_CHILD sex: SEX_FEMALE age: 8 hukou_type: HUKOU_TYPE_AGRICULTURAL
  hukou_place { division_code: "500112001" } lives_with_respondent: YES_NO_NO lives_at { division_code: "500112" } born_here: YES_NO_NO
  arrival_in_city { year: 2010 month: 1 day: 1 }
  insurance { pension_scheme: PENSION_SCHEME_NONE health_scheme: HEALTH_SCHEME_MERGED_RESIDENT health_place: ENROLMENT_PLACE_HUKOU_PLACE
    unemployment_insurance: YES_NO_NO work_injury_insurance: YES_NO_NO maternity_insurance: YES_NO_NO housing_provident_fund: YES_NO_NO }`

const home = `cover { survey_place { division_code: "520102" settlement: SETTLEMENT_CITY } interview_date { year: 2015 month: 7 day: 21 } }
  housing { tenure: HOUSING_TENURE_RENTS owns_other_home_in_survey_city: YES_NO_NO } income { total { yuan: 80000 } agricultural_production: YES_NO_NO } `

// derive gives the household's variables, and then those of its people, by name: a value, or a reason in brackets.
func derive(t *testing.T, household string) []map[string]string {
	t.Helper()
	h := &surveyv1.Household{}
	if err := prototext.Unmarshal([]byte(household), h); err != nil {
		t.Fatal(err)
	}
	d, err := newDerived()
	if err != nil {
		t.Fatal(err)
	}
	d.carryOut(&surveyv1.Interview{Answers: &surveyv1.Interview_Household{Household: h}})
	var out []map[string]string
	for _, values := range append([][]questionnaire.Derived{d.top}, d.rows...) {
		m := map[string]string{}
		for _, v := range values {
			m[string(v.Question.Field.Name())] = fmt.Sprint(v.Value)
			if v.Value == nil {
				m[string(v.Question.Field.Name())] = "[" + strings.ToLower(strings.TrimPrefix(v.Reason.String(), "MISSING_")) + "]"
			}
		}
		out = append(out, m)
	}
	return out
}

func member(s string, changes ...string) string {
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(s, changes[i]) {
			panic("no " + changes[i])
		}
		s = strings.Replace(s, changes[i], changes[i+1], 1)
	}
	return "members { " + s + " } "
}

// The definitions of the study, each on households made by hand.
func TestDerivedVariables(t *testing.T) {
	all := home + member(migrant) + member(citizen) + member(child)
	refused := member(migrant, `hukou_type: HUKOU_TYPE_AGRICULTURAL`, `missing { key: 13 value: MISSING_REFUSED }`)
	unified := member(migrant, `hukou_type: HUKOU_TYPE_AGRICULTURAL`, `hukou_type: HUKOU_TYPE_UNIFIED_RESIDENT hukou_before_reform: HUKOU_TYPE_AGRICULTURAL`)
	unknownCounty := member(migrant, `hukou_place { division_code: "520402" }`, `hukou_location: HUKOU_LOCATION_OTHER_PROVINCE missing { key: 15 value: MISSING_DONT_KNOW }`)
	for _, c := range []struct {
		about, household string
		row              int // 0: the household
		want             string
	}{
		{"a migrant", all, 1, "rural_migrant=true intra_provincial=true lives_in_survey_city=true city_hukou=false years_in_city=10 adult=true pension_by_place=1 health_by_place=4 urban_pension_here=true health_here=false health_elsewhere=true formal_contract=true temporary_worker=false public_sector=false farmer=false employee=true"},
		{"a citizen", all, 2, "rural_migrant=false intra_provincial=false city_hukou=true years_in_city=33 pension_by_place=9 health_by_place=1 urban_pension_here=false health_here=true health_elsewhere=false farmer=true employee=false formal_contract=false"},
		{"a child left behind at the place of its hukou", all, 3, "rural_migrant=false hukou_elsewhere=false lives_in_survey_city=false adult=false health_by_place=6 public_sector=false"},
		{"a mixed-status, split household", all, 0, "household_kind=2 in_study=true split_household=true owns_home_here=false region=3 survey_city=5201 any_urban_pension=true n_urban_pension=1 any_fund=false n_health_elsewhere=2 share_rural_migrants=0.3333333333333333 share_city_hukou=0.3333333333333333 head_age=35 head_female=false adult_education=3.5 income_yuan=80000 farm_production=false size_of_household=3 any_intra_provincial=true"},
		{"rural migrants alone", home + member(migrant), 0, "household_kind=1 in_study=true split_household=false share_rural_migrants=1"},
		{"nobody is one", home + member(citizen), 0, "household_kind=3 in_study=false any_intra_provincial=false"},
		{"surveyed in a village", strings.Replace(home, "SETTLEMENT_CITY", "SETTLEMENT_VILLAGE", 1) + member(migrant), 0, "household_kind=1 in_study=false urban_area=false"},
		{"a migrant who lives in another city", home + member(citizen) + member(migrant, "lives_with_respondent: YES_NO_YES", `lives_with_respondent: YES_NO_NO lives_at { division_code: "330106" }`), 0, "household_kind=2 in_study=false split_household=true any_urban_pension=false n_urban_pension=0"},
		{"unified hukou", home + unified, 1, "rural_migrant=true agricultural_hukou=true"},
		{"another district of the city", home + member(migrant, "520402", "520103"), 1, "rural_migrant=true intra_provincial=true"},
		{"the same district, by a longer code", home + member(migrant, "520402", "520102004"), 1, "rural_migrant=false"},
		{"no hukou", home + member(migrant, "HUKOU_TYPE_AGRICULTURAL", "HUKOU_TYPE_NONE", `hukou_place { division_code: "520402" }`, ""), 1, "rural_migrant=false intra_provincial=false city_hukou=false"},
		{"the county is not known, but that it is in another province", home + unknownCounty, 1, "rural_migrant=true intra_provincial=false"},
		{"hukou refused", home + refused, 1, "rural_migrant=[refused] agricultural_hukou=[refused] lives_in_survey_city=true"},
		{"hukou refused by one of two", home + refused + member(citizen), 0, "household_kind=[refused] in_study=[refused] any_intra_provincial=[refused] split_household=false n_urban_pension=1 share_rural_migrants=[refused]"},
		{"hukou refused by one, and the other is in the study whatever it is", home + refused + member(migrant), 0, "in_study=true household_kind=[refused]"},
		{"where he lives is not said", home + member(migrant, "lives_with_respondent: YES_NO_YES", ""), 0, "split_household=[unspecified] in_study=[unspecified]"},
		{"income not known", strings.Replace(home, "total { yuan: 80000 }", "missing { key: 2 value: MISSING_DONT_KNOW }", 1) + member(migrant), 0, "income_yuan=[dont_know]"},
		{"a merged pension, as an urban resident", home + member(migrant, "PENSION_SCHEME_URBAN_EMPLOYEE", "PENSION_SCHEME_MERGED_RESIDENT pension_paid_as_urban: YES_NO_YES"), 1, "pension_by_place=1 urban_pension_here=true"},
		{"a merged pension", home + member(migrant, "PENSION_SCHEME_URBAN_EMPLOYEE", "PENSION_SCHEME_MERGED_RESIDENT pension_paid_as_urban: YES_NO_NO"), 1, "pension_by_place=5 urban_pension_here=false"},
		{"does not work", home + member(migrant, "works: YES_NO_YES", "works: YES_NO_NO"), 1, "employee=false formal_contract=false"},
		{"owns a second home here", strings.Replace(home, "owns_other_home_in_survey_city: YES_NO_NO", "owns_other_home_in_survey_city: YES_NO_YES", 1) + member(migrant), 0, "owns_home_here=true"},
		{"tenure refused", strings.Replace(home, "tenure: HOUSING_TENURE_RENTS", "missing { key: 1 value: MISSING_REFUSED }", 1) + member(migrant), 0, "owns_home_here=[refused]"},
		{"Beijing", strings.Replace(home, "520102", "110105", 1) + member(migrant), 0, "region=1 survey_city=11 any_intra_provincial=false"},
		{"Yunnan", strings.Replace(home, "520102", "530102", 1) + member(migrant), 0, "region=[unspecified]"},
		{"nobody in the roster", home, 0, "household_kind=3 in_study=false size_of_household=0 share_rural_migrants=[unspecified] head_age=[unspecified]"},
	} {
		got := derive(t, c.household)[c.row]
		for _, w := range strings.Fields(c.want) {
			name, value, _ := strings.Cut(w, "=")
			if got[name] != value {
				t.Errorf("%s: %s is %s, want %s", c.about, name, got[name], value)
			}
		}
	}
}

// What the calculations of households read stands under the numbers that it has in the questionnaire.
func TestDerivedMirrorsTheQuestionnaire(t *testing.T) {
	from, to := (&surveyv1.Household{}).ProtoReflect().Descriptor().Fields(), (&surveyv1.HouseholdDerived{}).ProtoReflect().Descriptor().Fields()
	for i := range from.Len() {
		f := from.Get(i)
		g := to.ByNumber(f.Number())
		if f.Name() == "missing" {
			continue
		}
		if g == nil || g.Name() != f.Name() || g.Kind() != f.Kind() || g.Cardinality() != f.Cardinality() || nameOf(g.Message()) != nameOf(f.Message()) {
			t.Errorf("field %d of HouseholdDerived is not %s", f.Number(), f.Name())
		}
	}
}

func nameOf(m protoreflect.MessageDescriptor) protoreflect.FullName {
	if m == nil {
		return ""
	}
	return m.FullName()
}
