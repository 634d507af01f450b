package export

import (
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// A public export says nothing of who knows whom: neither the tables of referrals, nor the graphs, nor an id of another person, nor
// the coupons that tie a recruit to the recruiter. A research export says all of it.
func TestPublicHasNoTies(t *testing.T) {
	src, _ := aviary(t)
	ties := []string{"csv/referral.csv", "csv/referral_told.csv", "csv/coupon_event.csv", "csv/referral_node.csv", "csv/referral_edge.csv", "csv/presence.csv", "graph/referral.graphml", "graph/rds.csv"}
	columns := map[string]string{"csv/spell.csv": "arranged_by_person_id", "csv/household.csv": "cover_coupon_code", "csv/interview.csv": "recruitment_coupons_given"}
	formats := []servicev1.ExportFormat{asCSV, servicev1.ExportFormat_EXPORT_FORMAT_GRAPHML}
	for _, profile := range []servicev1.PrivacyProfile{research, public} {
		files, _ := export(t, src, Options{Profile: profile, Formats: formats, Privacy: &Privacy{Key: []byte("key"), K: 2, Suppress: true}})
		for _, path := range ties {
			if _, there := files.files[path]; there != (profile == research) {
				t.Errorf("%s has %s: %v", ProfileName(profile), path, there)
			}
		}
		for path, column := range columns {
			header := strings.Join(headerOf(files.files[path]), " ") + " "
			if strings.Contains(header, column+" ") != (profile == research) {
				t.Errorf("%s: %s has a column %s: %v", ProfileName(profile), path, column, profile == public)
			}
		}
		if strings.Contains(string(files.files["cleaning.csv"]), "check fails") && profile == public {
			t.Error("a public export says which checks fail")
		}
	}
}

// Names of places are looked at as their codes are: they are left out with them, and where they are chosen a name that is rare
// makes the export be refused, though there is no code.
func TestPublicPlaceNames(t *testing.T) {
	src := crowd(12, func(int) (surveyv1.Sex, int32) { return surveyv1.Sex_SEX_MALE, 30 })
	src.Interviews(func(a *Answered, _ error) bool {
		a.Interview.GetHousehold().GetMembers()[0].HukouPlace = &surveyv1.Place{Province: proto.String("贵州省"), Prefecture: proto.String("安顺市")}
		return false
	})
	opts := Options{Profile: public, Formats: []servicev1.ExportFormat{asCSV}, Privacy: &Privacy{Key: []byte("key"), Quasi: []string{"person.sex"}}}
	files, _ := export(t, src, opts)
	if _, there := records(t, files.files["csv/person.csv"])[0]["hukou_place_prefecture"]; there {
		t.Error("the name of a place stands there though nobody looked at it")
	}
	opts.Privacy.Quasi = []string{"person.sex", "person.hukou_place_prefecture"}
	_, err := Write(t.Context(), src, opts, &memory{}, nil)
	if fault.ReasonOf(err) != fault.NotAnonymous || !strings.Contains(err.Error(), "hukou_place_prefecture=安顺市 (1)") {
		t.Errorf("one of twelve is registered in a prefecture of their own: %v", err)
	}
}

// Why somebody has no age tells them apart as an age does: one who does not know it among six who refused is alone. Blanked, nothing
// says any more why.
func TestPublicReasons(t *testing.T) {
	src := crowd(12, func(i int) (surveyv1.Sex, int32) { return surveyv1.Sex_SEX_MALE, 30 })
	i := 0
	src.Interviews(func(a *Answered, _ error) bool {
		m := a.Interview.GetHousehold().GetMembers()[0]
		if i < 7 {
			age := m.ProtoReflect().Descriptor().Fields().ByName("age").Number()
			m.Age, m.Missing = nil, map[uint32]formv1.Missing{uint32(age): formv1.Missing_MISSING_REFUSED}
			if i == 6 {
				m.Missing[uint32(age)] = formv1.Missing_MISSING_DONT_KNOW
			}
		}
		i++
		return true
	})
	opts := Options{Profile: public, Formats: []servicev1.ExportFormat{asCSV}, Privacy: &Privacy{Key: []byte("key"), Quasi: []string{"person.age"}}}
	_, err := Write(t.Context(), src, opts, &memory{}, nil)
	if err == nil || !strings.Contains(err.Error(), "age=(dont_know) (1)") {
		t.Errorf("one alone does not know the age: %v", err)
	}
	opts.Privacy.Quasi, opts.Privacy.Suppress, opts.Privacy.K = []string{"person.sex", "person.age"}, true, 6
	files, m := export(t, src, opts) // the five of 30 and the one who does not know are six without an age
	why := map[string]int{}
	for _, r := range records(t, files.files["csv/person.csv"]) {
		why[r["age"]+r["age_why"]]++
	}
	if why["refused"] != 6 || why[""] != 6 || len(why) != 2 || m.Privacy.Suppressed["person.age"] != 6 {
		t.Errorf("ages and reasons %v, blanked %v", why, m.Privacy.Suppressed)
	}
}

// A household of a panel that is met in five rounds is one, and not five who hide one another; so are two ids that linkage found to be one.
func TestPublicCountsHouseholdsOnce(t *testing.T) {
	src := crowd(11, func(i int) (surveyv1.Sex, int32) {
		if i < 5 {
			return surveyv1.Sex_SEX_FEMALE, 40
		}
		return surveyv1.Sex_SEX_MALE, 30
	})
	i := 0
	src.Interviews(func(a *Answered, _ error) bool {
		if a.Interview.Round = proto.Uint32(uint32(i + 1)); i < 4 {
			a.Interview.GetHousehold().HouseholdId = proto.String("h-0")
		}
		i++
		return i < 5
	})
	src.Canonical = map[string]string{"h-4": "h-0"}
	opts := Options{Profile: public, Formats: []servicev1.ExportFormat{asCSV}, Privacy: &Privacy{Key: []byte("key"), Quasi: []string{"person.sex", "person.age"}}}
	_, err := Write(t.Context(), src, opts, &memory{}, nil)
	if fault.ReasonOf(err) != fault.NotAnonymous || !strings.Contains(err.Error(), "sex=female, age=40 (1)") {
		t.Errorf("one household in five rounds: %v", err)
	}
}
