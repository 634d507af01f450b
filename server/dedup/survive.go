package dedup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// criterion is one reason to let one value of a field stand rather than another.
type criterion = surveyv1.SurvivorCriterion

const (
	mostComplete = surveyv1.SurvivorCriterion_SURVIVOR_CRITERION_MOST_COMPLETE
	ownTelling   = surveyv1.SurvivorCriterion_SURVIVOR_CRITERION_OWN_TELLING
	mostOften    = surveyv1.SurvivorCriterion_SURVIVOR_CRITERION_TOLD_MOST_OFTEN
	toldLast     = surveyv1.SurvivorCriterion_SURVIVOR_CRITERION_TOLD_LAST
	toldFirst    = surveyv1.SurvivorCriterion_SURVIVOR_CRITERION_TOLD_FIRST
)

// rules say by variable which value stands where several were told, unless a study says so otherwise: the first criterion that tells
// them apart decides. What does not change in a life goes by how well and how often it was told, what does by when.
var rules = map[string][]criterion{
	fieldName:      {mostOften, ownTelling, toldLast},
	fieldBirth:     {mostComplete, mostOften, ownTelling, toldLast},
	fieldSex:       {mostOften, ownTelling, toldLast},
	fieldPhone:     {toldLast},
	fieldResident:  {mostComplete, mostOften, ownTelling, toldLast},
	fieldHukou:     {toldLast, mostComplete},
	fieldHukouType: {toldLast},
	fieldEducation: {toldLast},
	fieldSite:      {toldLast},
	fieldAddress:   {toldLast},
}

// names of the criteria in StandingValue.rule.
var criteria = map[criterion]string{mostComplete: "most complete", ownTelling: "own telling", mostOften: "told most often", toldLast: "told last", toldFirst: "told first"}

// toldValue is one value of a field with all who told it.
type toldValue struct {
	shown    string
	complete int
	own      bool
	times    int
	last     int64
	first    int64
	record   *servicev1.PersonRecord // the best of those that told it
}

// Survive says for each field which of the values told in the records of one person stands, and why: by a choice in force, else
// by the rules that the study has for the field, else by our own. records carry the ids that count as the person; decisions are all of the study. The outcome does
// not depend on their order.
func Survive(records []*servicev1.PersonRecord, decisions []*servicev1.LinkDecision, study []*surveyv1.SurvivorRule) []*servicev1.StandingValue {
	records = slices.Clone(records)
	slices.SortFunc(records, compareRecords)
	chosen := choices(records, decisions)
	var out []*servicev1.StandingValue
	for k, field := range personFields {
		order := orderOf(field.name, study)
		values := valuesOf(k, records, order)
		if len(values) == 0 {
			continue
		}
		v, rule := values[0], "only value"
		if len(values) > 1 {
			rule = "smallest"
			for _, c := range order {
				if compareValues(c, values[0], values[1]) != 0 {
					rule = criteria[c]
					break
				}
			}
		}
		s := &servicev1.StandingValue{Field: proto.String(field.name)}
		if d := chosen[field.name]; d != nil {
			if i := slices.IndexFunc(values, func(v *toldValue) bool { return tells(k, records, d.GetInterviewId(), v.shown) }); i >= 0 {
				v, rule = values[i], "decided"
				s.DecisionId, s.DecidedBy = d.DecisionId, d.DecidedBy
			}
		}
		s.Value, s.Rule = proto.String(v.shown), proto.String(rule)
		s.InterviewId, s.InterviewKey = v.record.InterviewId, v.record.InterviewKey
		for _, other := range values {
			if other != v {
				s.Others = append(s.Others, other.shown)
			}
		}
		out = append(out, s)
	}
	return out
}

// orderOf is the criteria of a field.
func orderOf(field string, study []*surveyv1.SurvivorRule) []criterion {
	for _, r := range study {
		if r.GetField() == field {
			return r.GetCriteria()
		}
	}
	return rules[field]
}

// CheckSurvivors says what is wrong with the rules of a study; nil if nothing is.
func CheckSurvivors(study []*surveyv1.SurvivorRule) error {
	seen := map[string]bool{}
	for _, r := range study {
		switch {
		case !SurvivorField(r.GetField()):
			return fmt.Errorf("%.64q is no field of a person; there are %s", r.GetField(), strings.Join(SurvivorFields(), ", "))
		case seen[r.GetField()]:
			return fmt.Errorf("there are two rules for %s", r.GetField())
		case len(r.GetCriteria()) == 0:
			return fmt.Errorf("the rule for %s has no criteria", r.GetField())
		}
		seen[r.GetField()] = true
		for _, c := range r.GetCriteria() {
			if criteria[c] == "" {
				return fmt.Errorf("the rule for %s has a criterion that is not known: %s", r.GetField(), c)
			}
		}
	}
	return nil
}

// SurvivorField says whether there is a field of this name, of which a value can be chosen.
func SurvivorField(name string) bool { return rules[name] != nil }

// SurvivorFields lists them.
func SurvivorFields() []string {
	var out []string
	for _, f := range personFields {
		out = append(out, f.name)
	}
	return out
}

// choices are the choices in force about the people of the records, by field: the latest of each.
func choices(records []*servicev1.PersonRecord, decisions []*servicev1.LinkDecision) map[string]*servicev1.LinkDecision {
	all := slices.Clone(decisions)
	slices.SortStableFunc(all, compareDecisions)
	stands := standing(all)
	out := map[string]*servicev1.LinkDecision{}
	for i, d := range all {
		if stands[i] && d.GetKind() == servicev1.DecisionKind_DECISION_KIND_CHOOSE &&
			slices.ContainsFunc(records, func(r *servicev1.PersonRecord) bool { return r.GetPersonId() == d.GetAId() }) {
			out[d.GetField()] = d
		}
	}
	return out
}

// tells says whether an interview tells a value.
func tells(field int, records []*servicev1.PersonRecord, interview, shown string) bool {
	return slices.ContainsFunc(records, func(r *servicev1.PersonRecord) bool {
		return r.GetInterviewId() == interview && slices.ContainsFunc(personFields[field].read(spelling(), r), func(a atom) bool { return a.label() == shown })
	})
}

// label is a value as it is shown.
func (a *atom) label() string { return cmp.Or(a.shown, a.canon) }

// valuesOf lists the values of a field, the one that stands first.
func valuesOf(field int, records []*servicev1.PersonRecord, order []criterion) []*toldValue {
	by := map[string]*toldValue{}
	var out []*toldValue
	for _, r := range records {
		for i, a := range personFields[field].read(spelling(), r) {
			if i > 0 && personFields[field].kind == kindPerson {
				break // other names are no rivals of the name
			}
			v := by[a.label()]
			if v == nil {
				v = &toldValue{shown: a.label(), complete: completeness(personFields[field].kind, &a), record: r, first: r.GetInterviewTimeMs()}
				by[v.shown] = v
				out = append(out, v)
			}
			v.times++
			v.last, v.first = max(v.last, r.GetInterviewTimeMs()), min(v.first, r.GetInterviewTimeMs())
			if own := r.GetPresence() == surveyv1.PresenceRole_PRESENCE_ROLE_RESPONDENT; own && !v.own {
				v.own, v.record = true, r
			}
		}
	}
	slices.SortFunc(out, func(a, b *toldValue) int {
		for _, c := range order {
			if x := compareValues(c, a, b); x != 0 {
				return x
			}
		}
		return cmp.Compare(a.shown, b.shown)
	})
	return out
}

// compareValues puts the value that should stand first.
func compareValues(c criterion, a, b *toldValue) int {
	switch c {
	case mostComplete:
		return -cmp.Compare(a.complete, b.complete)
	case ownTelling:
		switch {
		case a.own && !b.own:
			return -1
		case b.own && !a.own:
			return 1
		}
		return 0
	case mostOften:
		return -cmp.Compare(a.times, b.times)
	case toldFirst:
		return cmp.Compare(a.first, b.first)
	}
	return -cmp.Compare(a.last, b.last)
}

// completeness is how much a value tells.
func completeness(k kind, a *atom) int {
	switch k {
	case kindDate:
		switch {
		case a.date.reckoned:
			return 0
		case a.date.day != 0:
			return 3
		case a.date.month != 0:
			return 2
		}
		return 1
	case kindPlace:
		return len(a.canon)
	case kindResident:
		if residentChecks(a.canon) {
			return 2
		}
		if len(a.canon) >= 15 {
			return 1
		}
	}
	return 0
}
