package dedup

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// profile is everything told of one person_id.
type profile struct {
	id      string
	records []*servicev1.PersonRecord
}

// gather groups records by person id, earliest record first. Records without a person id are left out.
func gather(people []*servicev1.PersonRecord) []profile {
	by := map[string][]*servicev1.PersonRecord{}
	for _, p := range people {
		if p.GetPersonId() != "" {
			by[p.GetPersonId()] = append(by[p.GetPersonId()], p)
		}
	}
	out := make([]profile, 0, len(by))
	for id, records := range by {
		out = append(out, newProfile(id, records))
	}
	slices.SortFunc(out, func(a, b profile) int { return cmp.Compare(a.id, b.id) })
	return out
}

// newProfile sorts the records of one person.
func newProfile(id string, records []*servicev1.PersonRecord) profile {
	records = slices.Clone(records)
	if len(records) > 1 {
		slices.SortFunc(records, compareRecords)
	}
	return profile{id, records}
}

// compareRecords orders by time, then interview and line, then content.
func compareRecords(a, b *servicev1.PersonRecord) int {
	if c := cmp.Or(
		cmp.Compare(a.GetInterviewTimeMs(), b.GetInterviewTimeMs()),
		cmp.Compare(a.GetInterviewId(), b.GetInterviewId()),
		cmp.Compare(a.GetLineNumber(), b.GetLineNumber()),
	); c != 0 {
		return c
	}
	opts := proto.MarshalOptions{Deterministic: true}
	x, _ := opts.Marshal(a)
	y, _ := opts.Marshal(b)
	return bytes.Compare(x, y)
}

// keys lists the interview keys of a profile, for a person to read; interview ids where there is no key.
func (p *profile) keys() string {
	var out []string
	for _, r := range p.records {
		if k := cmp.Or(r.GetInterviewKey(), r.GetInterviewId()); k != "" && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return strings.Join(out, ", ")
}

// Fields of a person that are compared.
const (
	fieldName      = "full_name"
	fieldBirth     = "birth_date"
	fieldSex       = "sex"
	fieldPhone     = "phone"
	fieldResident  = "resident_id"
	fieldHukou     = "hukou_place"
	fieldHukouType = "hukou_type"
	fieldEducation = "education"
	fieldSite      = "site_id"
	fieldAddress   = "address"
	fieldHousehold = "household"
	fieldRoster    = "roster"
	fieldTogether  = "together"
	fieldMember    = "member"
	fieldUnmatched = "unmatched_members"
	fieldPlace     = "place"
	fieldRivals    = "rivals"
)

// MemberField is the field of the evidence that a member of one household is one of another.
const MemberField = fieldMember

// NameField is the field of a person's name.
const NameField = fieldName

// personFields says how each field of a person is read and compared.
var personFields = []struct {
	name string
	kind kind
	read func(*speller, *servicev1.PersonRecord) []atom
}{
	{fieldName, kindPerson, names},
	{fieldBirth, kindDate, births},
	{fieldSex, kindCategory, sexes},
	{fieldPhone, kindPhone, phones},
	{fieldResident, kindResident, residents},
	{fieldHukou, kindPlace, hukous},
	{fieldHukouType, kindCategory, hukouTypes},
	{fieldEducation, kindOrdered, educations},
	{fieldSite, kindCategory, sites},
	{fieldAddress, kindText, addresses},
}

// told reads one field of all records of a person.
func (p *profile) told(field int) source {
	var said source
	for _, r := range p.records {
		said = append(said, personFields[field].read(spelling(), r)...)
	}
	return mostTold(personFields[field].kind, said)
}

// rosters names the rosters that a person was listed on.
func (p *profile) rosters() []string {
	var out []string
	for _, r := range p.records {
		if h := r.GetHouseholdId(); h != "" {
			if id := h + "\x00" + r.GetInterviewId(); !slices.Contains(out, id) {
				out = append(out, id)
			}
		}
	}
	return out
}

// peopleFrame makes columns of profiles, which are sorted by id.
func peopleFrame(profiles []profile) *frame {
	f := &frame{n: len(profiles)}
	homes, lines := newLists[int32](len(profiles)), newLists[int32](len(profiles))
	for k, field := range personFields {
		f.columns = append(f.columns, newColumnOf(field.name, field.kind, len(profiles), func(i int) source { return profiles[i].told(k) }, nil, false))
	}
	houses, rosters := map[string]int32{}, map[string]int32{}
	for i := range profiles {
		var home, roster []int32
		for _, id := range profiles[i].rosters() {
			name, _, _ := strings.Cut(id, "\x00")
			if h := intern(houses, name); !slices.Contains(home, h) {
				home = append(home, h)
			}
			roster = append(roster, intern(rosters, id))
		}
		homes.add(home)
		lines.add(roster)
	}
	f.house, f.roster = newRows(homes), newRows(lines)
	f.align()
	return f
}

// mostTold drops a year reckoned from an age where a date was told as well.
func mostTold(k kind, said source) source {
	if k != kindDate || !slices.ContainsFunc(said, func(a atom) bool { return !a.date.reckoned }) {
		return said
	}
	return slices.DeleteFunc(said, func(a atom) bool { return a.date.reckoned })
}

// one makes a list of an atom unless it is empty.
func one(shown, canon string) []atom {
	if canon == "" {
		return nil
	}
	return []atom{{shown: strings.ToValidUTF8(strings.TrimSpace(shown), ""), canon: canon, sound: canon}}
}

// nameAtom takes a name apart.
func nameAtom(s *speller, full, family, given, spelled string) []atom {
	f := s.name(full, family, given, spelled)
	if len(f.folded) == 0 {
		return nil
	}
	a := one(full, f.folded)
	a[0].sound, a[0].name = f.sound, &f
	return a
}

// names reads all names of a record.
func names(s *speller, r *servicev1.PersonRecord) []atom {
	id := r.GetIdentity()
	full := id.GetFullName()
	if strings.TrimSpace(full) == "" {
		full = id.GetFamilyName() + id.GetGivenName()
		if !isHan(full) {
			full = strings.TrimSpace(id.GetFamilyName() + " " + id.GetGivenName())
		}
	}
	spelled := id.GetPinyin()
	if strings.TrimSpace(full) == "" {
		full, spelled = spelled, ""
	}
	out := nameAtom(s, full, id.GetFamilyName(), id.GetGivenName(), spelled)
	for _, other := range id.GetOtherNames() {
		out = append(out, nameAtom(s, other, "", "", "")...)
	}
	return out
}

// births reads the birth date; if there is none, that in a valid resident id; if there is none, the year that the age
// and the day of the interview give.
func births(_ *speller, r *servicev1.PersonRecord) []atom {
	d := r.GetBirthDate()
	if f, ok := newDate(int(d.GetYear()), int(d.GetMonth()), int(d.GetDay()), false); ok {
		shown := f.canon()
		if d.GetCalendar() == surveyv1.Calendar_CALENDAR_LUNAR {
			shown += " 农历"
			if f = f.inLunar(d.GetLeapMonth()); d.GetLeapMonth() {
				shown += "闰月"
			}
		}
		return []atom{dateAtom(f, shown)}
	}
	if id := residentOf(r.GetIdentity().GetResidentId()); residentChecks(id) {
		if f, ok := parseDate(id[6:14], false); ok {
			return []atom{dateAtom(f, "")}
		}
	}
	if r.Age == nil || r.GetAge() < 0 || r.GetAge() > 130 || r.GetInterviewTimeMs() <= 0 {
		return nil
	}
	year := time.UnixMilli(r.GetInterviewTimeMs()).UTC().Year() - int(r.GetAge())
	if f, ok := newDate(year, 0, 0, true); ok {
		return []atom{dateAtom(f, "")}
	}
	return nil
}

// sexes reads the sex; if there is none, that in a valid resident id.
func sexes(_ *speller, r *servicev1.PersonRecord) []atom {
	switch r.GetSex() {
	case surveyv1.Sex_SEX_MALE:
		return one("male", "male")
	case surveyv1.Sex_SEX_FEMALE:
		return one("female", "female")
	}
	if id := residentOf(r.GetIdentity().GetResidentId()); residentChecks(id) {
		if (id[16]-'0')%2 == 1 {
			return one("male", "male")
		}
		return one("female", "female")
	}
	return nil
}

// phones reads the telephone number; fewer than five digits are not one.
func phones(_ *speller, r *servicev1.PersonRecord) []atom {
	p := phoneOf(r.GetIdentity().GetPhone())
	if len(p) < 5 {
		return nil
	}
	return one(p, p)
}

// residents reads the resident identity number.
func residents(_ *speller, r *servicev1.PersonRecord) []atom {
	id := residentOf(r.GetIdentity().GetResidentId())
	return one(id, id)
}

// hukous reads the place of registration; if there is none, the county in a valid resident id.
func hukous(_ *speller, r *servicev1.PersonRecord) []atom {
	c := placeOf(r.GetHukouPlace().GetDivisionCode())
	if id := residentOf(r.GetIdentity().GetResidentId()); c == "" && residentChecks(id) {
		c = placeOf(id[:6])
	}
	return one(c, c)
}

// hukouTypes reads the type of registration.
func hukouTypes(_ *speller, r *servicev1.PersonRecord) []atom {
	return enum(int32(r.GetHukouType()), r.GetHukouType().String(), "HUKOU_TYPE_")
}

// educations reads the level of education.
func educations(_ *speller, r *servicev1.PersonRecord) []atom {
	return enum(int32(r.GetEducation()), r.GetEducation().String(), "EDUCATION_LEVEL_")
}

// sites reads the site of the interview.
func sites(_ *speller, r *servicev1.PersonRecord) []atom {
	return one(r.GetSiteId(), strings.TrimSpace(r.GetSiteId()))
}

// addresses reads the address.
func addresses(s *speller, r *servicev1.PersonRecord) []atom {
	a := r.GetIdentity().GetAddress()
	return one(a, letters(s.plain(a)))
}

// enum makes an atom of an enum value; zero is no answer.
func enum(n int32, name, prefix string) []atom {
	if n <= 0 {
		return nil
	}
	return one(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, prefix), "_", " ")), fmt.Sprintf("%02d", n))
}
