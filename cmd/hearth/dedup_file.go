package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/dedup"
)

// dedupFileCmd finds duplicates in a table, or links two.
type dedupFileCmd struct {
	File     string            `arg:"" help:"CSV file with a header." type:"existingfile"`
	Other    string            `arg:"" optional:"" help:"A second one, to be linked with the first: no two rows of one file are compared." type:"existingfile"`
	ID       string            `name:"id" help:"Column that names the row." required:""`
	Truth    string            `help:"Column that is the same for rows of the same person: measures the result."`
	Map      map[string]string `help:"What a column holds, where it is not guessed right: text, name, pinyin, date, phone, resident-id, number, place, category, household or skip." placeholder:"COLUMN=TYPE"`
	Many     bool              `help:"Of two files: a row may have several partners. Otherwise each has one at most."`
	Clusters string            `help:"Write a CSV file: each row's id, a number that is the same for rows of one person, and how sure that group is." type:"path" placeholder:"FILE"`
	Pairs    string            `help:"Write a CSV file of the pairs, with weight and probability." type:"path" placeholder:"FILE"`
	Answers  string            `help:"CSV file of what somebody decided about pairs: two ids, and yes or no. They hold whatever else speaks against them, and the weights learn from them." type:"existingfile" placeholder:"FILE"`
	Explain  []string          `help:"Explain one pair field by field, found or not: two ids. With one id: only pairs of that row." placeholder:"ID,ID"`
	Format   string            `help:"How a pair is explained: text, json, or svg, a picture of what each field adds." enum:"text,json,svg" default:"text"`
	Lang     string            `help:"Language of the picture: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
	JSON     bool              `help:"Print JSON."`
	Limit    int               `help:"Pairs to print." default:"20"`
}

// Help says how it works.
func (dedupFileCmd) Help() string {
	return `What the columns hold is guessed from headers and values, and shown. The weights are learnt from the table itself, and so is
the weight from which rows count as one person; no labels are needed. Where a column names households, or ids number their
members, rosters are evidence too: two files of weak columns are then linked household by household.

Columns that repeat others, such as a full name beside a first name and a surname, count once. Where --answers decides pairs, the
least sure ones, near the threshold, teach most. A picture of why two rows are one:
  hearth dedup file people.csv --id id --explain 17,204 --format svg >why.svg`
}

// Run finds the duplicates and prints them.
func (c *dedupFileCmd) Run(e *env) error {
	began := time.Now()
	defer debug.SetGCPercent(debug.SetGCPercent(tableGC))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(c.memory()))
	if len(c.Explain) > 2 || c.Format != "text" && len(c.Explain) != 2 {
		return fault.New(fault.Invalid, fault.BadRequest, "--explain takes two ids, and --format goes with two")
	}
	a, err := c.read(c.File)
	if err != nil {
		return err
	}
	if a.Answers, err = c.answers(); err != nil {
		return err
	}
	var r *dedup.TableResult
	if c.Other == "" {
		r, err = dedup.FindTable(a)
	} else {
		var b dedup.Table
		if b, err = c.read(c.Other); err != nil {
			return err
		}
		r, err = dedup.LinkTables(a, b, c.Many)
	}
	if err != nil {
		return err
	}
	took := time.Since(began)
	if err := c.write(r); err != nil {
		return err
	}
	switch {
	case len(c.Explain) == 2:
		return c.explain(e.stdout, r)
	case c.JSON:
		return printAnyJSON(e.stdout, tableJSON(r, took))
	}
	return c.print(e.stdout, r, took)
}

// While a table is searched time is traded for memory, for most of it is there until the end; the more so near a
// gigabyte, or near what a large table needs.
const (
	tableGC     = 50
	tableMemory = 900 << 20
)

// memory is from how much on memory is freed at all costs.
func (c *dedupFileCmd) memory() int64 {
	bytes := int64(0)
	for _, path := range []string{c.File, c.Other} {
		if info, err := os.Stat(path); err == nil {
			bytes += info.Size()
		}
	}
	return max(tableMemory, 7*bytes)
}

// explain explains the pair that was asked for.
func (c *dedupFileCmd) explain(w io.Writer, r *dedup.TableResult) error {
	p, err := r.Explain(c.Explain[0], c.Explain[1])
	if err != nil {
		return err
	}
	switch {
	case c.Format == "svg":
		_, err = w.Write(dedup.Waterfall(p, c.Lang == "zh"))
	case c.Format == "json", c.JSON:
		err = printJSON(w, p)
	default:
		_, err = io.WriteString(w, dedup.Text(p))
	}
	return err
}

// answers reads the file of answers.
func (c *dedupFileCmd) answers() ([]dedup.TableAnswer, error) {
	if c.Answers == "" {
		return nil, nil
	}
	f, err := os.Open(c.Answers)
	if err != nil {
		return nil, fault.New(fault.NotFound, fault.BadAnswers, "%w", err)
	}
	defer f.Close() // it was only read
	return dedup.ReadAnswers(f)
}

// read reads one of the files.
func (c *dedupFileCmd) read(path string) (t dedup.Table, err error) {
	f, err := os.Open(path)
	if err != nil {
		return t, fault.New(fault.NotFound, fault.BadTable, "%w", err)
	}
	t, err = dedup.ReadTable(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	t.ID, t.Truth, t.Kinds = c.ID, c.Truth, c.Map
	return t, err
}

// write writes the files that were asked for.
func (c *dedupFileCmd) write(r *dedup.TableResult) error {
	if c.Clusters != "" {
		err := writeCSV(c.Clusters, []string{"id", "cluster", "confidence"}, func(row func(...string)) {
			for i, cluster := range r.Clusters {
				for _, id := range cluster {
					row(id, strconv.Itoa(i+1), strconv.FormatFloat(r.Confidence[i], 'f', 6, 64))
				}
			}
		})
		if err != nil {
			return err
		}
	}
	if c.Pairs == "" {
		return nil
	}
	return writeCSV(c.Pairs, []string{"a", "b", "weight", "probability", "class"}, func(row func(...string)) {
		for _, p := range r.Pairs {
			row(p.A, p.B, strconv.FormatFloat(p.Weight, 'f', 3, 64), strconv.FormatFloat(p.Probability, 'f', 6, 64), classWord(p.Class))
		}
	})
}

func classWord(c servicev1.MatchClass) string {
	return strings.ToLower(enumWord(c.String(), "MATCH_CLASS_"))
}

// writeCSV writes a file whole or not at all.
func writeCSV(path string, header []string, rows func(row func(...string))) error {
	return writeFile(path, func(w io.Writer) error {
		out := csv.NewWriter(w)
		if err := out.Write(header); err != nil {
			return err
		}
		var failed error
		rows(func(cells ...string) {
			if failed == nil {
				failed = out.Write(cells)
			}
		})
		out.Flush()
		if failed != nil {
			return failed
		}
		return out.Error()
	})
}

// print writes the result for a person.
func (c *dedupFileCmd) print(w io.Writer, r *dedup.TableResult, took time.Duration) error {
	fmt.Fprintf(w, "%d records; compared %d of %d possible pairs; found %d pairs in %d groups; %.1f s\n", r.Records, r.Compared, r.Possible, len(r.Pairs), len(r.Clusters), took.Seconds())
	for _, g := range r.Columns {
		if g.Kind != "" {
			fmt.Fprintf(w, "column %s: %s (%s)\n", g.Header, g.Kind, g.Why)
		}
	}
	if r.Households != "" {
		fmt.Fprintln(w, "households: "+r.Households)
	}
	if s := r.Score; s != nil {
		fmt.Fprintf(w, "against %s: precision %.4f, recall %.4f, F1 %.4f (%d true pairs, %d found, %d right)\n", c.Truth, s.Precision, s.Recall, s.F1, s.TruePairs, s.FoundPairs, s.RightPairs)
		fmt.Fprintf(w, "by records (B-cubed): precision %.4f, recall %.4f, F1 %.4f; the best threshold, known only with the truth: F1 %.4f\n", s.BCubed.Precision, s.BCubed.Recall, s.BCubed.F1, s.BestF1)
	}
	fmt.Fprintf(w, "blocking: %d keys, expected to reach %.1f %% of true pairs; rows count as one from %.2f bits\n", len(r.Keys), 100*r.Recall, r.Threshold)
	if r.Doubt != "" {
		fmt.Fprintln(w, "note: "+r.Doubt)
	}
	shown := 0
	for i, p := range r.Pairs {
		if len(c.Explain) == 1 && p.A != c.Explain[0] && p.B != c.Explain[0] {
			continue
		}
		if shown == c.Limit {
			fmt.Fprintf(w, "and %d more: --limit\n", len(r.Pairs)-i)
			break
		}
		shown++
		why, err := r.Explain(p.A, p.B)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\n", dedup.Text(why))
	}
	if shown == 0 && len(c.Explain) > 0 {
		fmt.Fprintf(w, "no pair of %s is likely enough to be shown\n", strings.Join(c.Explain, ", "))
	}
	return nil
}

// tableJSON is the result as JSON with plain numbers.
func tableJSON(r *dedup.TableResult, took time.Duration) map[string]any {
	type pair struct {
		A           string  `json:"a"`
		B           string  `json:"b"`
		Weight      float64 `json:"weight"`
		Probability float64 `json:"probability"`
		Class       string  `json:"class"`
	}
	pairs := make([]pair, 0, len(r.Pairs))
	for _, p := range r.Pairs {
		pairs = append(pairs, pair{p.A, p.B, p.Weight, p.Probability, classWord(p.Class)})
	}
	out := map[string]any{
		"records": r.Records, "compared": r.Compared, "possible": r.Possible, "pairs": pairs, "clusters": r.Clusters, "confidence": r.Confidence, "keys": r.Keys,
		"columns": r.Columns, "seconds": took.Seconds(), "blocking_recall": r.Recall, "threshold": r.Threshold,
	}
	if r.Doubt != "" {
		out["doubt"] = r.Doubt
	}
	if r.Households != "" {
		out["households"] = r.Households
	}
	if s := r.Score; s != nil {
		out["pairwise"] = map[string]any{
			"precision": s.Precision, "recall": s.Recall, "f1": s.F1, "best_threshold_f1": s.BestF1,
			"true_pairs": s.TruePairs, "found_pairs": s.FoundPairs, "right_pairs": s.RightPairs,
		}
		out["b_cubed"] = map[string]any{"precision": s.BCubed.Precision, "recall": s.BCubed.Recall, "f1": s.BCubed.F1}
	}
	return out
}
