package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// benchCmd measures this machine. Without a kind it measures ingest and the bytes on the wire.
type benchCmd struct {
	Interviews int  `help:"Household interviews to take in." default:"64000"`
	Tablets    int  `help:"Tablets that send at the same time." default:"64"`
	Batch      int  `help:"Interviews per batch." default:"20"`
	Rounds     int  `help:"How often to repeat the ingest; the median counts." default:"3"`
	JSON       bool `help:"Print JSON."`

	Load    int   `help:"Instead: how long a tablet's sync of 100 interviews takes while this many begin every second." placeholder:"N" xor:"kind,whole"`
	Seconds int   `help:"For how long syncs begin with --load and --export." default:"5"`
	Scale   []int `help:"Instead: what sync, counts and check cost per interview in stores of these sizes; 10000,100000,1000000 are those of the promise." placeholder:"N,..." xor:"kind"`
	All     bool  `help:"Instead: everything that is promised, each with its target and whether it is met; sizes of --scale are 10000,100000 unless given. Takes five minutes on a machine that does nothing else; ends with 1 where a promise is not met." xor:"whole"`
	Idle    int   `help:"Instead: the server's memory for this many tablets that are connected and say nothing." placeholder:"N" xor:"kind,whole"`
	Export  int   `help:"Instead: how fast whole exports of a store of this many household interviews are, what memory they take, and what syncs take meanwhile." placeholder:"N" xor:"kind,whole"`
	Radio   bool  `help:"Instead: what a tablet takes for 40 interviews and a photo over 40 kbit/s with round trips of 600 ms, beside an OpenRosa-like client; takes a minute." xor:"kind,whole"`
}

// Run measures and prints.
func (c *benchCmd) Run(e *env) (err error) {
	if c.Interviews < c.Batch*c.Tablets || c.Batch < 1 || c.Tablets < 1 || c.Rounds < 1 {
		return fmt.Errorf("%w: --interviews must be at least --batch times --tablets", errUsage)
	}
	if c.Load < 0 || c.Seconds < 1 || c.Idle < 0 || c.Export < 0 || slices.ContainsFunc(c.Scale, func(n int) bool { return n < 1 }) || !slices.IsSorted(c.Scale) {
		return fmt.Errorf("%w: --load, --seconds, --scale, --idle and --export are numbers above 0, sizes in order", errUsage)
	}
	dir, err := os.MkdirTemp("", "hearth-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	switch {
	case c.All:
		return c.runAll(e, dir)
	case c.Load > 0:
		return c.runLoad(e, dir)
	case len(c.Scale) > 0:
		return c.runScale(e, dir)
	case c.Idle > 0:
		return c.runIdle(e, dir)
	case c.Export > 0:
		return c.runExport(e, dir)
	case c.Radio:
		return c.runRadio(e, dir)
	}
	return c.runIngest(e, dir)
}

// verdict is one row of what was measured beside what was promised.
type verdict struct {
	What     string `json:"what"`
	Measured string `json:"measured"`
	Target   string `json:"target,omitempty"`
	// Met is nil where nothing is promised.
	Met *bool `json:"met,omitempty"`
}

// judged is a row of which something is promised.
func judged(what, measured, target string, met bool) verdict {
	return verdict{What: what, Measured: measured, Target: target, Met: &met}
}

// told is a row that only says what was measured.
func told(what, measured string) verdict { return verdict{What: what, Measured: measured} }

// printVerdicts writes the machine, what was done on it, and the table.
func printVerdicts(w io.Writer, machine, done string, all []verdict) error {
	if _, err := fmt.Fprintf(w, "%s\n%s\n\n", machine, done); err != nil {
		return err
	}
	rows := [][]string{{"", "measured", "target", ""}}
	for _, v := range all {
		word := ""
		if v.Met != nil {
			word = "met"
			if !*v.Met {
				word = "NOT met"
			}
		}
		rows = append(rows, []string{v.What, v.Measured, v.Target, word})
	}
	return table(w, rows)
}

func machine() string {
	name := "unknown processor"
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if rest, ok := strings.CutPrefix(line, "model name"); ok {
				name = strings.TrimSpace(strings.TrimLeft(rest, "\t :"))
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s, %s", runtime.NumCPU(), name, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func newKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}
