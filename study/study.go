// Package study holds the bundled study, a small field team's whole summer, and makes studies of any size with known
// truth. It is for the demonstration, for tests, and for whoever wants to score an engine: the bundled study follows the
// published facts of a study of rural migrants in Guizhou, the simulated ones the margins of its household survey.
//
// It does not talk to a store or a server, and nothing it makes may be taken for data about people: names, telephone
// numbers and identity numbers are invented, and Study.note says so beside every table.
package study

import (
	"bytes"
	"embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"iter"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

//go:embed study.json pairs.csv tablets
var files embed.FS

// Definition returns the bundled study: its sites, enumerators, rounds and targets.
func Definition() (*surveyv1.Study, error) {
	b, err := files.ReadFile("study.json")
	if err != nil {
		return nil, fmt.Errorf("bundled study: read study.json: %w", err)
	}
	s := &surveyv1.Study{}
	if err := protojson.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("bundled study: study.json is not a study: %w", err)
	}
	return s, nil
}

// Tablet is one enumerator's device with all the interviews conducted on it.
type Tablet struct {
	// Name is the name of the device, such as "tablet-03".
	Name string `json:"name"`
	// Enumerator is the code of who carries it.
	Enumerator string `json:"enumerator"`
	// Data holds one hearth.survey.v1.Interview per line, in the JSON form of the message, in the order in which they
	// were conducted.
	Data []byte `json:"-"`
	// RestoredFromBackup says that the device lost its store halfway through and went on from an older copy.
	RestoredFromBackup bool `json:"restored_from_backup"`
	// ByFile says that the device never found a network: its store came to headquarters on a stick.
	ByFile bool `json:"by_file"`
}

// Tablets returns the devices of the bundled study in the order of their names.
func Tablets() ([]Tablet, error) {
	list, err := files.ReadFile("tablets/tablets.json")
	if err != nil {
		return nil, fmt.Errorf("bundled study: read the list of tablets: %w", err)
	}
	var out []Tablet
	if err := json.Unmarshal(list, &out); err != nil {
		return nil, fmt.Errorf("bundled study: the list of tablets is damaged: %w", err)
	}
	for i := range out {
		if out[i].Data, err = files.ReadFile("tablets/" + out[i].Name + ".jsonl"); err != nil {
			return nil, fmt.Errorf("bundled study: read the interviews of %s: %w", out[i].Name, err)
		}
	}
	return out, nil
}

// Interviews reads the interviews of the tablet one by one. After an error nothing more comes.
func (t Tablet) Interviews() iter.Seq2[*surveyv1.Interview, error] {
	return func(yield func(*surveyv1.Interview, error) bool) {
		n := 0
		for line := range bytes.Lines(t.Data) {
			n++
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			iv := &surveyv1.Interview{}
			if err := protojson.Unmarshal(line, iv); err != nil {
				yield(nil, fmt.Errorf("bundled study: line %d of %s is not an interview: %w", n, t.Name, err))
				return
			}
			if !yield(iv, nil) {
				return
			}
		}
	}
}

// Pair is two ids of the bundled study that mean the same person or household.
type Pair struct {
	// Household says that the ids are of households; otherwise they are of people.
	Household bool
	// A and B are the two ids.
	A, B string
	// Note says how the two records differ.
	Note string
}

// Pairs returns all true duplicates of the bundled study.
func Pairs() ([]Pair, error) {
	b, err := files.ReadFile("pairs.csv")
	if err != nil {
		return nil, fmt.Errorf("bundled study: read pairs.csv: %w", err)
	}
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("bundled study: pairs.csv is damaged: %w", err)
	}
	var out []Pair
	for _, r := range rows[1:] {
		out = append(out, Pair{Household: r[0] == "household", A: r[1], B: r[2], Note: r[3]})
	}
	return out, nil
}
