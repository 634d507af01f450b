package store

import (
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
)

// FlagShape is by which columns of a flag flags are told apart, beside those of its interview. How many interviews have a
// flag is counted for each shape: one with flags of two rules is one interview where rules are not told apart.
type FlagShape uint8

// The columns of a flag; a shape is any of them together.
const (
	FlagsByQuestion FlagShape = 1 << iota
	FlagsByRule
	FlagsBySeverity
	flagShapes
)

// FlagKey is what flags are counted by. What the shape does not tell apart is empty.
type FlagKey struct {
	Study, Questionnaire, Enumerator, SiteID string
	Shape                                    FlagShape
	Question, Rule                           string // Question is the path without the numbers of rows
	Severity                                 formv1.Severity
}

// FlagNumbers are how many flags there are, how many of them are hard, and of how many interviews.
type FlagNumbers struct{ Flags, Hard, Interviews int64 }

// Add adds numbers.
func (n *FlagNumbers) Add(more FlagNumbers) {
	n.Flags, n.Hard, n.Interviews = n.Flags+more.Flags, n.Hard+more.Hard, n.Interviews+more.Interviews
}

// FlagCell is one cell of the counts of flags.
type FlagCell struct {
	FlagKey
	FlagNumbers
}

// CountFlags adds the flags of an interview to counts, once, or takes them away with -1.
func CountFlags(counts map[FlagKey]FlagNumbers, iv *servicev1.InterviewProjection, times int64) {
	if len(iv.GetFlags()) == 0 {
		return
	}
	s := iv.GetSummary()
	own := FlagKey{Study: s.GetStudy(), Questionnaire: s.GetQuestionnaire(), Enumerator: s.GetEnumerator(), SiteID: s.GetSiteId()}
	met := map[FlagKey]bool{}
	for _, f := range iv.GetFlags() {
		question := questionnaire.WithoutRows(f.GetPath())
		for shape := range flagShapes {
			k := own
			k.Shape = shape
			if shape&FlagsByQuestion != 0 {
				k.Question = question
			}
			if shape&FlagsByRule != 0 {
				k.Rule = f.GetRule()
			}
			if shape&FlagsBySeverity != 0 {
				k.Severity = f.GetSeverity()
			}
			n := counts[k]
			n.Flags += times
			if f.GetSeverity() == formv1.Severity_SEVERITY_HARD {
				n.Hard += times
			}
			if !met[k] {
				met[k] = true
				n.Interviews += times
			}
			counts[k] = n
		}
	}
}
