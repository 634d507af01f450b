package export

import (
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Clean says which interviews belong to the analysis set, and what becomes of the others. The tables of
// interviews, households, people, schools and spells have the variable analysis_set, and cleaning.csv counts what each step leaves out. Empty fields are the defaults.
type Clean struct {
	// Include: "completed" (the default), those that the enumerator has finished with answers and nobody has rejected; "approved", those
	// of them that a supervisor or headquarters has approved; "all".
	Include string
	// Duplicates: "merge" (the default), of the interviews of one household in one round only the best counts: approved before
	// completed, then of visits under one id the last, and of ids that linkage found to be one household the first; "mark", they stay in
	// the set and the variable duplicate_of_another says which they are; "keep", they are not looked at.
	Duplicates string
	// Conflicts: "resolved" (the default), interviews of which two revisions contradict each other are left out until somebody
	// has decided; "all".
	Conflicts string
	// LeftOut: "mark" (the default), interviews outside of the set stand in the files; "drop", they do not.
	LeftOut string
	// Skipped: "mark" (the default), a question that an interview was not led to, by skip logic or its version, has the reason
	// not_asked; "blank", it has none.
	Skipped string
	// Weights adds design weights where the sample has probabilities, with a correction for those who did not answer.
	Weights bool
}

// cleanChoices are the choices of each step, the default first.
var cleanChoices = map[string][]string{
	"include": {"completed", "approved", "all"}, "duplicates": {"merge", "mark", "keep"}, "conflicts": {"resolved", "all"}, "left out": {"mark", "drop"}, "skipped": {"mark", "blank"},
}

// fill puts the defaults in, and refuses what is no choice.
func (c Clean) fill() (Clean, error) {
	for step, at := range map[string]*string{"include": &c.Include, "duplicates": &c.Duplicates, "conflicts": &c.Conflicts, "left out": &c.LeftOut, "skipped": &c.Skipped} {
		list := cleanChoices[step]
		if *at == "" {
			*at = list[0]
		}
		if !slices.Contains(list, *at) {
			return c, fault.New(fault.Invalid, fault.BadRequest, "%s: %.40q is no choice, there are %s", step, *at, strings.Join(list, ", "))
		}
	}
	return c, nil
}

// standing is what becomes of an interview; the first that is true counts.
type standing int32

const (
	inSet standing = 1 + iota
	unfinished
	rejected
	unapproved
	inConflict
	duplicate
	visitedAgain
	notHeld
	allStandings
)

func standings() []ValueLabel {
	return []ValueLabel{
		{Code: int32(inSet), Label: text("in the analysis set", "属于分析样本")},
		{Code: int32(unfinished), Label: text("not finished", "未完成")},
		{Code: int32(rejected), Label: text("rejected", "被退回")},
		{Code: int32(unapproved), Label: text("not approved yet", "尚未审核通过")},
		{Code: int32(inConflict), Label: text("revisions contradict each other", "修订之间存在冲突")},
		{Code: int32(duplicate), Label: text("duplicate of another interview", "与另一次访问重复")},
		{Code: int32(visitedAgain), Label: text("another visit to the household counts", "以对该住户的另一次访问为准")},
		{Code: int32(notHeld), Label: text("no interview: refused, not met, not eligible", "未访成：拒访、未遇或不合资格")},
	}
}

// cleaning is the stage that marks the analysis set. It is the first of all stages.
type cleaning struct {
	opts    Clean
	merged  map[string]bool // ids of households that linkage decided on
	marks   map[*Table]int  // column of analysis_set
	second  int             // column of duplicate_of_another in the table of interviews, and behind it that of household_visit
	visits  revisits
	weights *weighting

	here  standing
	flow  map[string]*flow // by questionnaire
	rules map[string]int64 // soft checks that stand unresolved in the set
}

// flow counts where the interviews of a questionnaire went.
type flow struct {
	by        [allStandings]int64
	flagged   int64 // in the set, with checks that fail
	secondary int64 // in the set, and the same household as another
}

func newCleaning(j *job) (*cleaning, error) {
	opts, err := j.opts.Clean.fill()
	if err != nil {
		return nil, err
	}
	c := &cleaning{
		opts: opts, merged: map[string]bool{}, marks: map[*Table]int{}, second: -1, visits: revisits{again: j.src.Revisited},
		flow: map[string]*flow{}, rules: map[string]int64{},
	}
	for _, d := range j.src.Decisions {
		if d.GetSubject() == servicev1.LinkSubject_LINK_SUBJECT_HOUSEHOLD {
			c.merged[d.GetAId()], c.merged[d.GetBId()] = true, true
		}
	}
	if opts.Weights {
		c.weights = newWeighting()
	}
	return c, nil
}

// marked are the tables with the variable analysis_set; others have the interview's id to find it by.
var marked = []string{"interview", "household", "person", "school", "migration", "spell"}

// layOut adds the marks, and the weights to three tables.
func (c *cleaning) layOut(j *job) error {
	for _, t := range j.plan.Tables {
		if !slices.Contains(marked, t.Name) {
			continue
		}
		c.marks[t] = t.addColumn(Column{
			Name: "analysis_set", Kind: KindCode, enum: "analysis_set", Values: standings(), Measure: formv1.Measure_MEASURE_NOMINAL, Personal: formv1.PersonalData_PERSONAL_DATA_NONE,
			Label: text("Whether the interview belongs to the analysis set, or why not", "该访问是否属于分析样本，或为何不属于"),
		})
	}
	if c.opts.Duplicates != "keep" {
		c.second = j.plan.interview.addColumn(Column{
			Name: "duplicate_of_another", Kind: KindYesNo, Values: yesNoLabels(), Personal: formv1.PersonalData_PERSONAL_DATA_NONE,
			Label: text("Another interview of the same household counts: under the same id, or as linkage found", "该住户另有一次访问（同一编号，或经关联判定），以那一次为准"),
		})
		j.plan.interview.addColumn(Column{
			Name: "household_visit", Kind: KindInteger, Measure: formv1.Measure_MEASURE_ORDINAL, Personal: formv1.PersonalData_PERSONAL_DATA_NONE,
			Label: text("Which interview of the household it is, in its round", "本轮对该住户的第几次访问"),
		})
	}
	if c.weights != nil {
		c.weights.layOut(j)
	}
	return nil
}

// looks is whether anything depends on interviews that come later.
func (c *cleaning) looks() bool {
	return c.weights != nil || c.opts.Duplicates != "keep" && (len(c.merged) > 0 || c.visits.again != nil)
}

// key names the household of an interview where it may be another's too, within a questionnaire and a round.
func (c *cleaning) key(x *extractor) string {
	id, questionnaire := x.interview.GetHousehold().GetHouseholdId(), x.summary.GetQuestionnaire()
	if id == "" || c.opts.Duplicates == "keep" || !c.merged[id] && !c.visits.may(id, questionnaire, x.interview.GetRound()) {
		return ""
	}
	return x.same(id) + " " + questionnaire + " " + strconv.Itoa(int(x.interview.GetRound()))
}

func (c *cleaning) look(x *extractor, r *row) error {
	if r.table != x.plan.interview {
		return nil
	}
	key, here := c.key(x), c.alone(x)
	if key != "" {
		c.visits.add(key, visitOf(x, here == inSet))
	}
	if c.weights != nil {
		c.weights.look(x, here, key, c.opts.Duplicates == "merge")
	}
	return nil
}

// alone is what becomes of an interview whatever the others are.
func (c *cleaning) alone(x *extractor) standing {
	state := x.summary.GetReviewState()
	if state == servicev1.ReviewState_REVIEW_STATE_UNSPECIFIED && x.interview.GetStatus() == surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED {
		state = servicev1.ReviewState_REVIEW_STATE_COMPLETED
	}
	if c.opts.Include != "all" {
		switch state {
		case servicev1.ReviewState_REVIEW_STATE_UNSPECIFIED, servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS:
			return unfinished
		case servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_SUPERVISOR, servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_HEADQUARTERS:
			return rejected
		}
		if d := dispositionOf(x.interview.GetResult()); d != complete && d != partial && d != noResult {
			return notHeld
		}
		switch state {
		case servicev1.ReviewState_REVIEW_STATE_COMPLETED:
			if c.opts.Include == "approved" {
				return unapproved
			}
		}
	}
	if c.opts.Conflicts == "resolved" && len(x.summary.GetHeads()) > 1 {
		return inConflict
	}
	return inSet
}

// row marks the rows, and drops them where that was asked for.
func (c *cleaning) row(x *extractor, r *row) (bool, error) {
	if x.interview == nil {
		return true, nil
	}
	if !x.looking {
		c.visits.settle()
	}
	if c.weights != nil && !x.looking && !c.weights.settled {
		c.weights.settle(&c.visits)
	}
	if r.table == x.plan.interview {
		c.decide(x, r)
	}
	if col, ok := c.marks[r.table]; ok {
		r.cells[col] = intCell(int64(c.here))
	}
	if c.weights != nil {
		c.weights.fill(x, r, c.here == inSet)
	}
	if f, ok := x.current.Interface().(*servicev1.Flag); ok && r.table == x.plan.flag && !x.looking && c.here == inSet {
		c.rules[f.GetRule()]++
	}
	return c.here == inSet || c.opts.LeftOut != "drop", nil
}

// decide finds what becomes of the interview, and counts it.
func (c *cleaning) decide(x *extractor, r *row) {
	c.here = c.alone(x)
	number, second := int64(1), false
	if key := c.key(x); key != "" && !x.looking {
		var counts string
		number, counts = c.visits.of(key, x.interview.GetInterviewId())
		second = c.here == inSet && counts != x.interview.GetInterviewId()
		if second && c.opts.Duplicates == "merge" {
			c.here = c.visits.why(key, x.interview.GetHousehold().GetHouseholdId())
		}
	}
	if c.second >= 0 {
		r.cells[c.second] = boolCell(second)
		if x.interview.GetHousehold().GetHouseholdId() != "" {
			r.cells[c.second+1] = intCell(number)
		}
	}
	if x.looking {
		return
	}
	name := x.summary.GetQuestionnaire()
	if c.flow[name] == nil {
		c.flow[name] = &flow{}
	}
	f := c.flow[name]
	f.by[c.here]++
	if c.here == inSet && x.summary.GetSoftFlags()+x.summary.GetHardFlags() > 0 {
		f.flagged++
	}
	if c.here == inSet && second {
		f.secondary++
	}
	if c.weights != nil && c.here == inSet && designWeight(origin(x.interview)) == 0 {
		c.weights.unweighted++
	}
}

// finish writes cleaning.csv: what each step left out, and which checks fail in what is left.
func (c *cleaning) finish(j *job, _ map[*Table]*layout) error {
	f, err := j.sink.create("cleaning.csv")
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte("\ufeff")); err != nil {
		return err
	}
	w := csv.NewWriter(f)
	w.UseCRLF = true
	_ = w.Write([]string{"step", "option", "questionnaire", "rule", "count"}) // what cannot be written, Error says
	few := int64(j.smallCount())
	count := func(step, option, questionnaire, rule string, n int64) {
		said := strconv.FormatInt(n, 10)
		if n > 0 && n < few {
			said = "<" + strconv.FormatInt(few, 10)
		}
		_ = w.Write([]string{step, option, questionnaire, rule, said})
	}
	for _, name := range slices.Sorted(maps.Keys(c.flow)) {
		c.flow[name].write(c.opts, name, count)
	}
	for _, rule := range slices.Sorted(maps.Keys(c.rules)) {
		if few > 0 {
			break // of checks a public export says nothing
		}
		count("check fails in the analysis set, and was let stand", "", "", rule, c.rules[rule])
	}
	if c.weights != nil {
		c.weights.rates.write(count)
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return writeFault("cleaning.csv", err)
	}
	return f.close()
}

// smallCount is how many interviews must be counted together in a public export; 0 in others.
func (j *job) smallCount() int {
	if j.opts.Profile != servicev1.PrivacyProfile_PRIVACY_PROFILE_PUBLIC {
		return 0
	}
	if k := j.opts.Privacy.K; k > 0 {
		return k
	}
	return defaultK
}

func (f *flow) write(o Clean, name string, count func(step, option, questionnaire, rule string, n int64)) {
	rest := int64(0)
	for _, n := range f.by {
		rest += n
	}
	count("interviews received", "", name, "", rest)
	for _, s := range []struct {
		at           standing
		step, option string
	}{
		{unfinished, "left out: not finished", "include=" + o.Include}, {rejected, "left out: rejected", "include=" + o.Include},
		{notHeld, "left out: no interview was held", "include=" + o.Include},
		{unapproved, "left out: not approved yet", "include=" + o.Include}, {inConflict, "left out: revisions contradict each other", "conflicts=" + o.Conflicts},
		{duplicate, "left out: duplicate of another interview", "duplicates=" + o.Duplicates},
		{visitedAgain, "left out: another visit to the household counts", "duplicates=" + o.Duplicates},
	} {
		count(s.step, s.option, name, "", f.by[s.at])
	}
	count("analysis set", "left out="+o.LeftOut, name, "", f.by[inSet])
	count("of these with checks that fail", "", name, "", f.flagged)
	count("of these duplicates of another interview", "duplicates="+o.Duplicates, name, "", f.secondary)
}

// ManifestAnalysis is how the analysis set was made.
type ManifestAnalysis struct {
	Include    string           `json:"include"`
	Duplicates string           `json:"duplicates"`
	Conflicts  string           `json:"conflicts"`
	LeftOut    string           `json:"left_out"`
	Skipped    string           `json:"skipped"`
	Interviews map[string]int64 `json:"analysis_set,omitempty"`
	Received   map[string]int64 `json:"received,omitempty"`
	Weights    *ManifestWeights `json:"weights,omitempty"`
}

func (c *cleaning) record(m *Manifest) {
	a := &ManifestAnalysis{
		Include: c.opts.Include, Duplicates: c.opts.Duplicates, Conflicts: c.opts.Conflicts, LeftOut: c.opts.LeftOut, Skipped: c.opts.Skipped,
		Interviews: map[string]int64{}, Received: map[string]int64{},
	}
	for name, f := range c.flow {
		a.Interviews[name] = f.by[inSet]
		for _, n := range f.by {
			a.Received[name] += n
		}
	}
	if c.weights != nil {
		a.Weights = c.weights.manifest()
		if n := c.weights.unweighted; n > 0 {
			m.Warnings = append(m.Warnings, fmt.Sprintf("%d interviews of the analysis set have no design weight: their sample has no probabilities", n))
		}
	}
	m.Analysis = a
}
