package sav

import (
	"fmt"
	"time"
)

// Wording is a text by language. In a schema without languages its only key is "".
type Wording map[string]string

// Kind is what the values of a variable are.
type Kind uint8

// The kinds of variables.
const (
	// Number holds numbers, as double-precision floats.
	Number Kind = iota + 1
	// Date holds days.
	Date
	// Datetime holds moments to the millisecond, in UTC.
	Datetime
	// String holds text of up to Width bytes.
	String
)

// Measure is the level of measurement.
type Measure uint8

// The levels of measurement. Unset is nominal for strings and variables with value labels, and scale for others.
const (
	Unset Measure = iota
	Nominal
	Ordinal
	Scale
)

// Align is how the data editor sets the values of a variable.
type Align uint8

// The alignments. Usual is left for strings and right for others.
const (
	Usual Align = iota
	Left
	Right
	Center
)

// Role is what dialogs of SPSS take a variable for.
type Role uint8

// The roles.
const (
	Input Role = iota
	Target
	Both
	None
	Partition
	Split
)

// Schema is what a file holds besides its rows.
type Schema struct {
	// Label of the file, up to 64 bytes.
	Label Wording
	// Time of the file, to the second, as it is to be shown. Zero is the start of 1970, as when none is known.
	Time time.Time
	// Languages of the labels, the first one being that of SPSS's own: letters, digits and _, such as zh or zh_Hant.
	// Empty where there is one language only.
	Languages []string
	Variables []Variable
	LabelSets []LabelSet
	Multiple  []MultipleResponse
	// Weight names the variable that rows are weighted by; empty means none.
	Weight string
	// Documents are paragraphs about the file.
	Documents  []string
	Attributes []Attribute
}

// Variable is a column.
type Variable struct {
	Name  string
	Label Wording
	Kind  Kind
	// Width is the bytes a String holds, up to 32,767.
	Width int
	// Format is how SPSS shows the values, such as F8.2, SDATE10 or DATETIME20; empty is the usual one of the kind.
	Format string
	// LabelSet names the value labels; empty means none.
	LabelSet string
	Missing  MissingValues
	Measure  Measure
	// Columns is the width in the data editor; 0 is the usual one.
	Columns    int
	Align      Align
	Role       Role
	Attributes []Attribute
}

// MissingValues are the values that stand for missing answers.
type MissingValues struct {
	// Numbers are up to three values, or one beside a Range.
	Numbers []float64
	// Range is from the first to the second; infinities mean the lowest and the highest.
	Range *[2]float64
	// Texts are up to three values of a String, of up to 8 bytes.
	Texts []string
}

// LabelSet is labels of values, for any number of variables.
type LabelSet struct {
	Name string
	// OfText says that the values are texts.
	OfText bool
	Labels []ValueLabel
}

// ValueLabel is the label of one value: of Code where the set is of texts, else of Number.
type ValueLabel struct {
	Number float64
	Code   string
	Text   Wording
}

// MultipleResponse is a question with several answers, kept in a variable each. With Categories the variables hold the
// answers' codes; otherwise each stands for an answer and holds Counted (CountedText, in strings) if it was given.
type MultipleResponse struct {
	// Name, without the $ that SPSS puts before it.
	Name        string
	Label       Wording
	Variables   []string
	Categories  bool
	Counted     int64
	CountedText string
}

// Attribute is a named list of texts, of the file or a variable.
type Attribute struct {
	Name   string
	Values []string
}

// Cut is a label that was too long.
type Cut struct {
	// Variable, or set of value labels, whose label it was; empty for the file.
	Variable string
	Full     string
}

// Error is something the format cannot hold.
type Error struct {
	// Variable it is about; empty where it is about none.
	Variable string
	// Row it is in, from 1; 0 where it is in the schema.
	Row int64
	// Problem says what is wrong and what to do. It holds no answer.
	Problem string
}

// Error says where, and what.
func (e *Error) Error() string {
	switch {
	case e.Row > 0 && e.Variable != "":
		return fmt.Sprintf("row %d, variable %s: %s", e.Row, e.Variable, e.Problem)
	case e.Row > 0:
		return fmt.Sprintf("row %d: %s", e.Row, e.Problem)
	case e.Variable != "":
		return fmt.Sprintf("variable %s: %s", e.Variable, e.Problem)
	}
	return e.Problem
}

func problem(variable, format string, args ...any) *Error {
	return &Error{Variable: variable, Problem: fmt.Sprintf(format, args...)}
}
