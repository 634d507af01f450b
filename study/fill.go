package study

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// FillOptions say what interviews Fill makes.
type FillOptions struct {
	Questionnaire *questionnaire.Questionnaire
	// Interviews is how many.
	Interviews int
	// Tablets is how many tablets, with one enumerator each, conduct them; unset: one.
	Tablets int
	// Seed decides everything that is left to chance: the same seed makes the same bytes.
	Seed uint64
	// Start is when the first interview begins; unset, 9 o'clock on 1 July 2016. The next begin every half hour.
	Start time.Time
	// Study is the code of the study; unset, "simulated".
	Study string
}

// fill puts the defaults where nothing is said.
func (o *FillOptions) fill() {
	if o.Start.IsZero() {
		o.Start = time.Date(2016, 7, 1, 9, 0, 0, 0, chinaTime)
	}
	if o.Study == "" {
		o.Study = "simulated"
	}
	o.Tablets = max(1, o.Tablets)
}

// Filled is what Fill made.
type Filled struct {
	Interviews int
	// Questions is how many questions, groups and rosters the questionnaire has, and Reached how many of them were asked at
	// least once and, where they can be, answered.
	Questions, Reached int
	Unreached          []Unreached
	// Soft and Hard are how many flags the interviews have, and Flags how many by rule.
	Soft, Hard int
	Flags      map[string]int
}

// Unreached is a question that no interview answers, and why.
type Unreached struct {
	// Path has the names of the questions down to it, without rows.
	Path, Why string
}

// filler makes interviews of one questionnaire.
type filler struct {
	q        *questionnaire.Questionnaire
	engine   *engine
	top      *spot
	leaves   []leaf // in order
	readings map[string]*reading
	checked  map[*questionnaire.Question]*palette
	choices  map[*questionnaire.Choice]map[string]string
	counts   map[string]bool   // questions by which rosters have their rows
	stuck    map[string]string // why an answer could not be given
	failed   map[string]int    // how often no plan was found
	planned  map[string]bool
	reached  map[string]bool
}

// Fill makes interviews in which the questions of a questionnaire are answered as its rules allow: what is asked, in
// order, within limits, choices that are offered, as many rows as a roster is to have. It goes for questions that
// were not reached before: it looks for answers that make their conditions true. Each interview is handed to sink with the
// number of its tablet, counted from 0; an error of the sink ends it and is returned.
func Fill(opts FillOptions, sink func(tablet int, iv *surveyv1.Interview) error) (*Filled, error) {
	if opts.Questionnaire == nil || opts.Interviews < 1 || opts.Interviews > 1_000_000 || opts.Tablets < 0 || opts.Tablets > 10_000 {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "cannot fill %d interviews of %d tablets: ask for 1 to 1,000,000 of a questionnaire, of up to 10,000 tablets", opts.Interviews, opts.Tablets)
	}
	opts.fill()
	f, err := newFiller(opts.Questionnaire)
	if err != nil {
		return nil, err
	}
	out := &Filled{Questions: len(f.leaves), Flags: map[string]int{}}
	for i := range opts.Interviews {
		start := opts.Start.Add(time.Duration(i/opts.Tablets) * 30 * time.Minute)
		f.engine.now = start
		answers, flags := f.interview(opts.Seed, i)
		for _, flag := range flags {
			if flag.hard {
				out.Hard++
			} else {
				out.Soft++
			}
			out.Flags[flag.rule]++
		}
		iv := f.around(opts, i, start)
		if err := enclose(iv, answers, f.q); err != nil {
			return nil, err
		}
		if err := sink(i%opts.Tablets, iv); err != nil {
			return nil, fmt.Errorf("fill: hand on interview %d: %w", i, err)
		}
		out.Interviews++
	}
	out.Reached, out.Unreached = f.coverage()
	return out, nil
}

func newFiller(q *questionnaire.Questionnaire) (*filler, error) {
	e, err := newEngine(q)
	if err != nil {
		return nil, err
	}
	f := &filler{
		q: q, engine: e, top: newSpot(q.Top(), nil, nil, ""), readings: map[string]*reading{}, checked: map[*questionnaire.Question]*palette{},
		choices: map[*questionnaire.Choice]map[string]string{}, counts: map[string]bool{}, stuck: map[string]string{}, failed: map[string]int{},
		planned: map[string]bool{}, reached: map[string]bool{},
	}
	f.list(f.top)
	return f, nil
}

// list notes what is to be reached below a spot, and by what rosters are counted.
func (f *filler) list(s *spot) {
	for _, q := range s.module.Questions {
		if q.Options.GetSystem() || !q.In(f.q.Version()) {
			continue
		}
		f.leaves = append(f.leaves, leaf{s, q})
		if count := q.Options.GetCount(); count != "" {
			read, _ := f.reads(count, s)
			for _, l := range read {
				f.counts[l.path()] = true
			}
		}
		if q.Module != nil {
			f.list(s.kids[q])
		}
	}
}

// remark is a flag of a filled interview.
type remark struct {
	rule string
	hard bool
}

// again is how often an interview is begun anew that breaks a hard rule.
const again = 4

// interview fills one interview, of several tries the one with the fewest contradictions.
func (f *filler) interview(seed uint64, i int) (proto.Message, []remark) {
	var best *walk
	var flags []remark
	fewest := -1
	for try := range uint64(again) {
		r := rand.New(rand.NewPCG(seed^streamFill, uint64(i)<<8|try))
		w := f.newWalk(r, f.aim(r, i))
		e := w.fill()
		w.look(e)
		found, hard := []remark{}, 0
		for _, flag := range e.Flags {
			m := remark{flag.GetRule(), flag.GetSeverity() == formv1.Severity_SEVERITY_HARD || strings.HasSuffix(flag.GetRule(), "/required")}
			if strings.HasSuffix(flag.GetRule(), "/calculated_otherwise") {
				continue // look has written what was calculated
			}
			if m.hard {
				hard++
			}
			found = append(found, m)
		}
		if fewest < 0 || hard < fewest {
			best, flags, fewest = w, found, hard
		}
		if hard == 0 {
			break
		}
	}
	for path := range best.reached {
		f.reached[path] = true
	}
	return best.answers, flags
}

// aim plans answers that lead to as many questions not reached yet as go together.
func (f *filler) aim(r *rand.Rand, i int) *plan {
	p := f.newPlan(r)
	var open []leaf
	for _, l := range f.leaves {
		if !f.reached[l.path()] && f.failed[l.path()] < mostFailures {
			open = append(open, l)
		}
	}
	if len(open) == 0 {
		return p
	}
	from := 0
	if i%2 == 1 {
		from = r.IntN(len(open))
	}
	for k := range open {
		l := open[(from+k)%len(open)]
		if p.effort < 0 {
			break
		}
		alone := len(p.values) == 0
		if p.try(func() bool { return p.ask(l) }) {
			f.planned[l.path()] = true
		} else if alone {
			f.failed[l.path()]++
		}
	}
	return p
}

// mostFailures is how often a plan is looked for that leads to a question.
const mostFailures = 8

// coverage counts what was reached, and says why the rest was not.
func (f *filler) coverage() (reached int, unreached []Unreached) {
	for _, l := range f.leaves {
		path := l.path()
		if f.reached[path] {
			reached++
			continue
		}
		why := "no interview came to it"
		switch {
		case f.stuck[path] != "":
			why = "no answer was found: " + f.stuck[path]
		case l.spot.by != nil && !f.reached[l.spot.path]:
			why = "stands in " + l.spot.path
		case f.planned[path]:
			why = "the answers that should lead to it did not"
		case f.failed[path] > 0 && l.q.Options.GetRelevant() != "":
			why = "no answers were found with which it is asked: " + l.q.Options.GetRelevant()
		}
		unreached = append(unreached, Unreached{Path: path, Why: why})
	}
	return reached, unreached
}

// choice is a choice as filters see it.
func (f *filler) choice(c *questionnaire.Choice) map[string]string {
	if m, ok := f.choices[c]; ok {
		return m
	}
	m := maps.Clone(c.Columns)
	if m == nil {
		m = map[string]string{}
	}
	m["name"], m["number"], m["label"] = c.Name, strconv.Itoa(int(c.Number)), c.Label.GetEn()
	f.choices[c] = m
	return m
}

// around is the interview around the answers.
func (f *filler) around(opts FillOptions, i int, start time.Time) *surveyv1.Interview {
	r := rand.New(rand.NewPCG(opts.Seed^streamFill, ^uint64(i)))
	id := [2]uint64{r.Uint64(), r.Uint64()}
	tablet := i % opts.Tablets
	return &surveyv1.Interview{
		InterviewId:  proto.String(fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", id[0]>>32, id[0]>>16&0xffff, id[0]&0xfff, id[1]>>48&0x3fff|0x8000, id[1]&0xffffffffffff)),
		InterviewKey: proto.String(fmt.Sprintf("F-%d", i+1)), Study: proto.String(opts.Study), Round: proto.Uint32(1),
		QuestionnaireVersion: proto.Uint32(f.q.Version()), Enumerator: proto.String(enumeratorCode(tablet)),
		Status: surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(), Kind: surveyv1.InterviewKind_INTERVIEW_KIND_INDIVIDUAL.Enum(),
		Mode: surveyv1.InterviewMode_INTERVIEW_MODE_IN_PERSON.Enum(), Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
		StartTime: timestamppb.New(start), EndTime: timestamppb.New(start.Add(25 * time.Minute)), Illustrative: proto.Bool(true),
	}
}

// enclose puts answers into an interview: by name those of a questionnaire that is built in, as bytes all others.
func enclose(iv *surveyv1.Interview, answers proto.Message, q *questionnaire.Questionnaire) error {
	all := iv.ProtoReflect().Descriptor().Oneofs().ByName("answers").Fields()
	for i := range all.Len() {
		if fd := all.Get(i); fd.Message() == q.Descriptor() {
			iv.ProtoReflect().Set(fd, protoreflect.ValueOfMessage(answers.ProtoReflect()))
			return nil
		}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(answers)
	if err != nil {
		return fmt.Errorf("fill: write answers to %s: %w", q.Name(), err)
	}
	iv.Answers = &surveyv1.Interview_Other{Other: &surveyv1.OtherAnswers{Questionnaire: proto.String(q.Name()), Answers: raw}}
	return nil
}

// streamFill is the stream of chance of filled interviews.
const streamFill = 0x2545f4914f6cdd1d

// blocks fills the messages that are one answer in several parts and cannot be filled part by part.
func (f *filler) blocks(q *questionnaire.Question) blockFill {
	set := func(m protoreflect.Message, name protoreflect.Name, v any) {
		if fd := m.Descriptor().Fields().ByName(name); fd != nil {
			put(m, fd, v)
		}
	}
	switch q.Module.Desc.FullName() {
	case "hearth.survey.v1.Attachment":
		return func(r *rand.Rand, m protoreflect.Message, format formv1.Format, _ time.Time) {
			content := fmt.Appendf(nil, "made up %x", r.Uint64())
			sum := sha256.Sum256(content)
			kind := map[formv1.Format]string{formv1.Format_FORMAT_PHOTO: "image/jpeg", formv1.Format_FORMAT_AUDIO: "audio/mp4", formv1.Format_FORMAT_VIDEO: "video/mp4"}[format]
			if kind == "" {
				kind = "application/octet-stream"
			}
			set(m, "sha256", sum[:])
			set(m, "size", int64(len(content)))
			set(m, "media_type", kind)
		}
	case "hearth.survey.v1.GeoPoint":
		return func(r *rand.Rand, m protoreflect.Message, _ formv1.Format, _ time.Time) {
			set(m, "latitude", 26+r.Float64())
			set(m, "longitude", 106+r.Float64())
			set(m, "accuracy_m", float64(3+r.IntN(20)))
		}
	case "hearth.survey.v1.PartialDate":
		return func(r *rand.Rand, m protoreflect.Message, _ formv1.Format, now time.Time) {
			d := now.AddDate(0, 0, -r.IntN(60*365))
			set(m, "year", int64(d.Year()))
			set(m, "month", int64(d.Month()))
			set(m, "day", int64(d.Day()))
			set(m, "calendar", int64(surveyv1.Calendar_CALENDAR_SOLAR))
		}
	}
	return nil
}
