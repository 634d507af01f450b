package dta

import (
	"fmt"
	"time"
)

// Wording is a text by language. In a schema without languages its only key is "".
type Wording map[string]string

// Kind is how the values of a variable are stored.
type Kind uint8

// The kinds of variables.
const (
	// Byte holds whole numbers from -127 to 100, in one byte.
	Byte Kind = iota + 1
	// Int holds whole numbers from -32,767 to 32,740, in two bytes.
	Int
	// Long holds whole numbers from -2,147,483,647 to 2,147,483,620, in four bytes.
	Long
	// Double holds numbers up to 8.988e307, in eight bytes.
	Double
	// Date holds days, and is shown as %td.
	Date
	// Datetime holds moments to the millisecond, in UTC, and is shown as %tc.
	Datetime
	// String holds text of up to Width bytes.
	String
	// LongString (strL) holds text of any length.
	LongString
)

// Reason is one of Stata's extended missing values, 'a' to 'z'. Zero is the plain one, ".".
type Reason byte

// The reasons for missing answers, as Hearth's exports use them.
const (
	Refused       Reason = 'r'
	DontKnow      Reason = 'd'
	NotApplicable Reason = 'n'
	NotAsked      Reason = 's'
)

// Schema is what a file holds besides its rows.
type Schema struct {
	// Label of the dataset, up to 80 characters.
	Label Wording
	// Time of the dataset, to the minute, as it is to be shown. Zero leaves it out.
	Time time.Time
	// Languages of the labels, the first one being in use when the file is opened: letters, digits and _, such as zh or
	// zh_Hant. What one of them lacks is taken from the first. Empty where there is one language only.
	Languages []string
	Variables []Variable
	LabelSets []LabelSet
	// SortedBy names the variables the rows are sorted by, if they are: numbers upward and missing values behind them,
	// text by its bytes. A row out of order is refused.
	SortedBy        []string
	Notes           []string
	Characteristics []Characteristic
}

// Variable is a column.
type Variable struct {
	Name  string
	Label Wording
	Kind  Kind
	// Width is the bytes a String holds.
	Width int
	// Format is how Stata shows the values; empty is the usual one of the kind.
	Format string
	// LabelSet names the value labels; empty means none.
	LabelSet        string
	Notes           []string
	Characteristics []Characteristic
}

// LabelSet is labels of values, for any number of variables.
type LabelSet struct {
	Name   string
	Labels []ValueLabel
}

// ValueLabel is the label of one value: of a reason for missing answers if Missing is set, else of Code.
type ValueLabel struct {
	Code    int32
	Missing Reason
	Text    Wording
}

// Characteristic is a named text of the dataset or a variable, for programs.
type Characteristic struct {
	Name, Text string
}

// Cut is a label that was too long.
type Cut struct {
	// Variable whose label it was; empty for the dataset.
	Variable string
	Language string
	Full     string
}

// Error is something the format cannot hold.
type Error struct {
	// Variable it is about; empty where it is about none.
	Variable string
	// Row it is in, from 1; 0 where it is in the schema.
	Row uint64
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
