package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/hearth-survey/hearth/server/dedup"
)

// link finds the duplicates of a table and prints them.
func (c *dedupFileCmd) link(e *env, in io.Reader) error {
	rows, err := dedup.ReadTable(in)
	if err != nil {
		return err
	}
	rows.ID, rows.Truth = c.ID, c.Truth
	r, err := dedup.FindTable(rows)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, tableJSON(r))
	}
	fmt.Fprintf(e.stdout, "%d records; compared %d of %d possible pairs; found %d pairs in %d groups\n", r.Records, r.Compared, r.Possible, len(r.Pairs), len(r.Clusters))
	for _, g := range r.Columns {
		if g.Kind != "" {
			fmt.Fprintf(e.stdout, "column %s: %s (%s)\n", g.Header, g.Kind, g.Why)
		}
	}
	if s := r.Score; s != nil {
		fmt.Fprintf(e.stdout, "against %s: precision %.4f, recall %.4f, F1 %.4f (%d true pairs, %d found, %d right)\n", c.Truth, s.Precision, s.Recall, s.F1, s.TruePairs, s.FoundPairs, s.RightPairs)
	}
	for i, p := range r.Pairs {
		if i == c.Limit {
			fmt.Fprintf(e.stdout, "and %d more: --limit\n", len(r.Pairs)-i)
			break
		}
		fmt.Fprintf(e.stdout, "\n%s\n", dedup.Text(p))
	}
	return nil
}

// tableJSON is the result as JSON with plain numbers.
func tableJSON(r *dedup.TableResult) map[string]any {
	type pair struct {
		A           string  `json:"a"`
		B           string  `json:"b"`
		Weight      float64 `json:"weight"`
		Probability float64 `json:"probability"`
		Class       string  `json:"class"`
	}
	pairs := make([]pair, 0, len(r.Pairs))
	for _, p := range r.Pairs {
		pairs = append(pairs, pair{p.GetAId(), p.GetBId(), p.GetWeight(), p.GetProbability(), strings.ToLower(enumWord(p.GetMatchClass().String(), "MATCH_CLASS_"))})
	}
	out := map[string]any{"records": r.Records, "compared": r.Compared, "possible": r.Possible, "pairs": pairs, "clusters": r.Clusters, "keys": r.Keys}
	if s := r.Score; s != nil {
		out["pairwise"] = map[string]any{
			"precision": s.Precision, "recall": s.Recall, "f1": s.F1,
			"true_pairs": s.TruePairs, "found_pairs": s.FoundPairs, "right_pairs": s.RightPairs,
		}
	}
	return out
}
