package main

import (
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/server/referral"
)

type tabletDrawCmd struct {
	Frame int    `arg:"" help:"How many are on the list at the site, numbered from 1."`
	Take  int    `arg:"" help:"How many to draw."`
	Seed  string `help:"Draw again what was drawn with this seed; empty: a new draw."`
	JSON  bool   `help:"Print JSON: the numbers, and the answers for the interviews (recruitment.draw)."`
}

// Run draws respondents from a list at a site. It needs neither a store nor a network.
func (c *tabletDrawCmd) Run(e *env) error {
	seed := c.Seed
	if seed == "" {
		seed = strings.ToLower(rand.Text()[:10])
	}
	drawn, err := referral.Draw(c.Frame, c.Take, seed)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, map[string]any{"numbers": drawn, "draw": map[string]any{
			"frame_size": c.Frame, "drawn": c.Take, "random_seed": seed, "method": "hearth tablet draw", "draw_time": time.Now().UTC().Truncate(time.Second).Format(time.RFC3339),
		}})
	}
	numbers := make([]string, len(drawn))
	for i, n := range drawn {
		numbers[i] = fmt.Sprint(n)
	}
	return say(e, fmt.Sprintf("%s\nseed %s: each of %d was drawn with probability %.4f; write seed, list and number drawn into each interview",
		strings.Join(numbers, " "), seed, c.Frame, float64(c.Take)/float64(c.Frame)))
}
