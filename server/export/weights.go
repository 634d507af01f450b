package export

import (
	"fmt"
	"maps"
	"slices"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// weighting makes the weights of a probability sample: the inverse of the probability of selection over all stages, or the
// weight as it was given; the same with a correction for those who did not answer, by stratum; and that with a mean of 1.
type weighting struct {
	columns    map[*Table][5]int // stratum, PSU, raw, corrected, normalised
	classes    map[string]*responses
	waiting    []weighed // of households that may be met twice
	rates      rates
	settled    bool
	scale      float64
	unweighted int64
}

// responses are of a stratum: what its eligible units weigh, and those of them that answered.
type responses struct {
	eligible, answered, unknown, out float64
	n                                int // that answered and have a weight
}

// weighed is an interview whose standing depends on others.
type weighed struct {
	key, class string
	interview  string
	weight     float64
	result     surveyv1.ResultCode
}

func newWeighting() *weighting {
	return &weighting{columns: map[*Table][5]int{}, classes: map[string]*responses{}}
}

// layOut adds the columns to the tables of interviews, households and people.
func (w *weighting) layOut(j *job) {
	sample := (&surveyv1.SampleOrigin{}).ProtoReflect().Descriptor().Fields()
	number := func(name, en, zh string) Column {
		return Column{Name: name, Kind: KindNumber, Label: text(en, zh), Measure: formv1.Measure_MEASURE_SCALE, Personal: formv1.PersonalData_PERSONAL_DATA_NONE}
	}
	word := func(name, field, en, zh string) Column {
		return Column{Name: name, Kind: KindText, Label: text(en, zh), field: sample.ByName(protoreflect.Name(field)), op: opScalar}
	}
	for _, name := range []string{"interview", "household", "person"} {
		t := j.plan.table(name)
		if t == nil {
			continue
		}
		w.columns[t] = [5]int{
			t.addColumn(word("design_stratum", "stratum", "Stratum of the sample", "抽样层")),
			t.addColumn(word("design_psu", "psu", "Primary sampling unit", "初级抽样单位")),
			t.addColumn(number("weight_design", "Design weight: 1 / probability of selection", "设计权重：入选概率的倒数")),
			t.addColumn(number("weight_response", "Design weight, corrected for non-response within strata", "经层内无应答调整的权重")),
			t.addColumn(number("weight", "Weight corrected for non-response, with a mean of 1 in the analysis set", "无应答调整并标准化（分析样本均值为1）的权重")),
		}
	}
}

// origin is how an interview came into the sample: of a household the cover says it, of others the interview.
func origin(iv *surveyv1.Interview) *surveyv1.SampleOrigin {
	if s := iv.GetHousehold().GetCover().GetSample(); s.GetWeight() > 0 || len(s.GetStages()) > 0 {
		return s
	}
	return iv.GetSample()
}

// designWeight is the weight that was given, or the inverse of the product of the probabilities of all stages; 0 where one of
// them is not known.
func designWeight(s *surveyv1.SampleOrigin) float64 {
	if s.GetWeight() > 0 {
		return s.GetWeight()
	}
	p := 1.0
	for _, st := range s.GetStages() {
		p *= st.GetProbability()
	}
	if len(s.GetStages()) == 0 || p <= 0 || p > 1 {
		return 0
	}
	return 1 / p
}

// look adds an interview to its stratum.
func (w *weighting) look(x *extractor, here standing, key string, merge bool) {
	s := origin(x.interview)
	m := weighed{key: key, class: s.GetStratum(), interview: x.interview.GetInterviewId(), weight: designWeight(s), result: x.interview.GetResult()}
	if here != inSet && (m.result == surveyv1.ResultCode_RESULT_CODE_COMPLETE || m.result == surveyv1.ResultCode_RESULT_CODE_PARTIAL) {
		m.result = surveyv1.ResultCode_RESULT_CODE_POSTPONED // it was there, and what it gave is not used
	}
	if key != "" && merge {
		w.waiting = append(w.waiting, m)
		return
	}
	w.add(m)
}

func (w *weighting) add(m weighed) {
	w.rates.count(m.result)
	c := w.classes[m.class]
	if c == nil {
		c = &responses{}
		w.classes[m.class] = c
	}
	switch dispositionOf(m.result) {
	case complete, partial:
		c.answered += m.weight
		if m.weight > 0 {
			c.n++
		}
		c.eligible += m.weight
	case refused, noContact, otherReason:
		c.eligible += m.weight
	case unknownEligibility:
		c.unknown += m.weight
	case notEligible:
		c.out += m.weight
	}
}

// settle is done once all have been seen: visits say which of several interviews of a household counts.
func (w *weighting) settle(all *revisits) {
	w.settled = true
	for _, m := range w.waiting {
		if all.result(m.key, m.interview) {
			w.add(m)
		}
	}
	w.waiting = nil
	n, sum := 0, 0.0
	for _, name := range slices.Sorted(maps.Keys(w.classes)) { // in one order, for the same last digit
		c := w.classes[name]
		n, sum = n+c.n, sum+c.answered*c.correction()
	}
	if sum > 0 {
		w.scale = float64(n) / sum
	}
}

// correction is what those of a stratum who answered stand for. Units of which nobody knows whether they are eligible count
// as far as the others of the stratum are.
func (c *responses) correction() float64 {
	if c == nil || c.answered == 0 {
		return 1
	}
	e := 1.0
	if c.eligible+c.out > 0 {
		e = c.eligible / (c.eligible + c.out)
	}
	return (c.eligible + e*c.unknown) / c.answered
}

// fill writes the weights into a row of one of the three tables.
func (w *weighting) fill(x *extractor, r *row, inSet bool) {
	cols, ok := w.columns[r.table]
	if !ok {
		return
	}
	s := origin(x.interview)
	r.cells[cols[0]], r.cells[cols[1]] = textCell(s.GetStratum()), textCell(s.GetPsu())
	raw := designWeight(s)
	if raw == 0 {
		return
	}
	r.cells[cols[2]] = cell{set: true, f: raw}
	if d := dispositionOf(x.interview.GetResult()); !inSet || x.looking || d != complete && d != partial {
		return
	}
	f := raw * w.classes[s.GetStratum()].correction()
	r.cells[cols[3]] = cell{set: true, f: f}
	if w.scale > 0 {
		r.cells[cols[4]] = cell{set: true, f: f * w.scale}
	}
}

// ManifestWeights is how the weights were made.
type ManifestWeights struct {
	Design    string             `json:"design"`
	Response  string             `json:"response"`
	Normal    string             `json:"normalised"`
	Strata    map[string]float64 `json:"corrections_by_stratum,omitempty"`
	Responses map[string]float64 `json:"aapor_response_rates,omitempty"`
}

func (w *weighting) manifest() *ManifestWeights {
	m := &ManifestWeights{
		Design:   "weight_design: the weight of the sample's origin, or 1 / the product of the probabilities of its stages",
		Response: "weight_response: times, by stratum, the weights of those eligible / the weights of those who answered",
		Normal:   fmt.Sprintf("weight: times %.9g, so that its mean in the analysis set is 1", w.scale),
		Strata:   map[string]float64{}, Responses: map[string]float64{},
	}
	for name, c := range w.classes {
		if c.answered > 0 {
			m.Strata[name] = c.correction()
		}
	}
	for i, r := range w.rates.responses() {
		m.Responses[fmt.Sprintf("RR%d", i+1)] = r
	}
	return m
}

// disposition is what AAPOR's standard definitions make of a result.
type disposition uint8

const (
	noResult disposition = iota
	complete
	partial
	refused
	noContact
	otherReason
	unknownEligibility
	notEligible
	dispositions
)

func dispositionOf(r surveyv1.ResultCode) disposition {
	switch r {
	case surveyv1.ResultCode_RESULT_CODE_COMPLETE:
		return complete
	case surveyv1.ResultCode_RESULT_CODE_PARTIAL:
		return partial
	case surveyv1.ResultCode_RESULT_CODE_REFUSAL, surveyv1.ResultCode_RESULT_CODE_BREAK_OFF:
		return refused
	case surveyv1.ResultCode_RESULT_CODE_NO_ONE_HOME, surveyv1.ResultCode_RESULT_CODE_RESPONDENT_AWAY:
		return noContact
	case surveyv1.ResultCode_RESULT_CODE_DECEASED, surveyv1.ResultCode_RESULT_CODE_UNABLE, surveyv1.ResultCode_RESULT_CODE_LANGUAGE, surveyv1.ResultCode_RESULT_CODE_POSTPONED:
		return otherReason
	case surveyv1.ResultCode_RESULT_CODE_UNKNOWN_ELIGIBILITY:
		return unknownEligibility
	case surveyv1.ResultCode_RESULT_CODE_NOT_ELIGIBLE, surveyv1.ResultCode_RESULT_CODE_VACANT:
		return notEligible
	}
	return noResult
}

// rates counts results, unweighted.
type rates [dispositions]int64

func (r *rates) count(code surveyv1.ResultCode) { r[dispositionOf(code)]++ }

// responses are AAPOR's response rates 1 to 6; of 3 and 4 the share of those eligible among the unknown is taken to be that
// among the known.
func (r *rates) responses() [6]float64 {
	i, p := float64(r[complete]), float64(r[partial])
	known := i + p + float64(r[refused]+r[noContact]+r[otherReason])
	unknown, e := float64(r[unknownEligibility]), 1.0
	if all := known + float64(r[notEligible]); all > 0 {
		e = known / all
	}
	var out [6]float64
	for k, base := range []float64{known + unknown, known + e*unknown, known} {
		if base > 0 {
			out[2*k], out[2*k+1] = i/base, (i+p)/base
		}
	}
	return out
}

func (r *rates) write(count func(step, option, questionnaire, rule string, n int64)) {
	for d, name := range [dispositions]string{"no result", "complete (I)", "partial (P)", "refusal and break-off (R)", "non-contact (NC)", "other (O)", "unknown eligibility (U)", "not eligible"} {
		count("result by AAPOR: "+name, "", "", "", r[d])
	}
	for k, rate := range r.responses() {
		count(fmt.Sprintf("response rate RR%d, in ten thousandths", k+1), "", "", "", int64(rate*10000+.5))
	}
}
