package store

import (
	"iter"

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

// FlagCounts adds up flags of many interviews. What interviews share, such as words and paths, it keeps once, as long as
// it lives. The zero value is ready for use.
type FlagCounts struct {
	words     map[string]int32
	questions map[string]int32 // by the path with the numbers of rows
	names     []string
	owners    map[FlagKey]int32 // only what is of the interview is set
	own       []FlagKey
	cells     map[flagPlace]*flagNumbers
	turn      int
}

// flagPlace is a FlagKey in which numbers stand for words.
type flagPlace struct {
	owner, question, rule int32
	severity              formv1.Severity
	shape                 FlagShape
}

type flagNumbers struct {
	FlagNumbers
	turn int // the turn of the last interview counted
}

// Add counts the flags of an interview once, or takes them away with -1.
func (c *FlagCounts) Add(iv *servicev1.InterviewProjection, times int64) {
	if len(iv.GetFlags()) == 0 {
		return
	}
	if c.cells == nil {
		c.words, c.questions, c.owners, c.cells = map[string]int32{}, map[string]int32{}, map[FlagKey]int32{}, map[flagPlace]*flagNumbers{}
		c.word("") // 0: what a shape does not tell apart
	}
	c.turn++
	owner := c.owner(iv.GetSummary())
	for _, f := range iv.GetFlags() {
		question, known := c.questions[f.GetPath()]
		if !known {
			question = c.word(questionnaire.WithoutRows(f.GetPath()))
			c.questions[f.GetPath()] = question
		}
		rule, hard := c.word(f.GetRule()), int64(0)
		if f.GetSeverity() == formv1.Severity_SEVERITY_HARD {
			hard = times
		}
		for shape := range flagShapes {
			at := flagPlace{owner: owner, shape: shape}
			if shape&FlagsByQuestion != 0 {
				at.question = question
			}
			if shape&FlagsByRule != 0 {
				at.rule = rule
			}
			if shape&FlagsBySeverity != 0 {
				at.severity = f.GetSeverity()
			}
			c.count(at, times, hard)
		}
	}
}

// count counts a flag of the interview whose turn it is.
func (c *FlagCounts) count(at flagPlace, times, hard int64) {
	n := c.cells[at]
	if n == nil {
		n = &flagNumbers{}
		c.cells[at] = n
	}
	n.Flags, n.Hard = n.Flags+times, n.Hard+hard
	if n.turn != c.turn {
		n.turn = c.turn
		n.Interviews += times
	}
}

// Cells are the numbers that are not all 0, in no order.
func (c *FlagCounts) Cells() iter.Seq[FlagCell] {
	return func(yield func(FlagCell) bool) {
		for at, n := range c.cells {
			if n.FlagNumbers == (FlagNumbers{}) {
				continue
			}
			k := c.own[at.owner]
			k.Shape, k.Question, k.Rule, k.Severity = at.shape, c.names[at.question], c.names[at.rule], at.severity
			if !yield(FlagCell{FlagKey: k, FlagNumbers: n.FlagNumbers}) {
				return
			}
		}
	}
}

func (c *FlagCounts) owner(s *servicev1.InterviewSummary) int32 {
	k := FlagKey{Study: s.GetStudy(), Questionnaire: s.GetQuestionnaire(), Enumerator: s.GetEnumerator(), SiteID: s.GetSiteId()}
	n, ok := c.owners[k]
	if !ok {
		n = int32(len(c.own))
		c.owners[k], c.own = n, append(c.own, k)
	}
	return n
}

func (c *FlagCounts) word(w string) int32 {
	n, ok := c.words[w]
	if !ok {
		n = int32(len(c.names))
		c.words[w], c.names = n, append(c.names, w)
	}
	return n
}
