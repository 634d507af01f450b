package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What --all measures where nothing else is asked for.
const (
	promisedSyncs   = 100 // begun every second
	promisedIdle    = 10_000
	promisedTablet  = 5_000
	promisedNothing = 600 // bytes
	promisedExport  = 20_000
)

// section is one kind of measurement of those that --all makes.
type section struct {
	Name     string    `json:"name"`
	Verdicts []verdict `json:"verdicts"`
}

// runAll measures everything that is promised of speed, one after the other, and prints one table.
func (c *benchCmd) runAll(e *env, dir string) error {
	sizes := c.Scale
	if len(sizes) == 0 {
		sizes = []int{10_000, 100_000}
	}
	radio := &radioBench{scale: 10, interviews: 40, reps: 7, openRosa: true, photo: radioPhoto}
	var all []section
	for _, m := range []struct {
		name    string
		measure func(dir string) ([]verdict, error)
	}{
		{fmt.Sprintf("%d tablets by batches of %d", c.Tablets, c.Batch), func(dir string) ([]verdict, error) {
			r, err := c.measureIngest(e, dir)
			if err != nil {
				return nil, err
			}
			return append(r.Verdicts, wireVerdicts(r.Wire)...), nil
		}},
		{fmt.Sprintf("%d syncs of %d interviews begun every second", promisedSyncs, syncInterviews), func(dir string) ([]verdict, error) {
			r, err := measureLoad(e, dir, promisedSyncs, c.Seconds)
			if err != nil {
				return nil, err
			}
			return r.Verdicts, nil
		}},
		{"one tablet on loopback", func(dir string) ([]verdict, error) { return measureTablet(e, dir, promisedTablet) }},
		{"radio: 40 kbit/s, round trips of 600 ms", func(dir string) ([]verdict, error) {
			radio.dir = dir
			return radio.measure(e.ctx, func(what string) { fmt.Fprintf(e.stderr, "%s ...\n", what) })
		}},
		{"tablets that are connected and say nothing", func(dir string) ([]verdict, error) {
			r, err := measureIdle(e, dir, promisedIdle)
			if err != nil {
				return nil, err
			}
			return r.Verdicts, nil
		}},
		{"whole exports, and syncs meanwhile", func(dir string) ([]verdict, error) {
			r, err := measureExport(e, dir, promisedExport, c.Seconds)
			if err != nil {
				return nil, err
			}
			return r.Verdicts, nil
		}},
		{"a store that grows, per interview", func(dir string) ([]verdict, error) {
			r, err := measureScale(e, dir, sizes)
			if err != nil {
				return nil, err
			}
			return r.Verdicts, nil
		}},
	} {
		fmt.Fprintf(e.stderr, "== %s\n", m.name)
		own := filepath.Join(dir, fmt.Sprint(len(all)))
		if err := os.Mkdir(own, 0o700); err != nil {
			return err
		}
		verdicts, err := m.measure(own)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		all = append(all, section{m.name, verdicts})
		if err := os.RemoveAll(own); err != nil {
			return err
		}
	}
	return c.printSections(e, all)
}

// printSections prints what was measured, and how much of what is promised is met. It fails with errFound unless all is.
func (c *benchCmd) printSections(e *env, all []section) error {
	var rows []verdict
	promised, met := 0, 0
	for _, s := range all {
		rows = append(rows, told("-- "+s.Name, ""))
		for _, v := range s.Verdicts {
			if v.Met != nil {
				promised++
			}
			if v.Met != nil && *v.Met {
				met++
			}
		}
		rows = append(rows, s.Verdicts...)
	}
	var err error
	if c.JSON {
		err = printAnyJSON(e.stdout, map[string]any{"machine": machine(), "sections": all, "promised": promised, "met": met})
	} else if err = printVerdicts(e.stdout, machine(), "everything that is promised of speed", rows); err == nil {
		_, err = fmt.Fprintf(e.stdout, "\n%d of %d promises are met\n", met, promised)
	}
	if err == nil && met < promised {
		err = errFound
	}
	return err
}

// wireVerdicts judges the bytes that interviews take beside the same answers as gzip'd XML.
func wireVerdicts(sizes []wireSize) []verdict {
	packed, xml := sizes[0], sizes[len(sizes)-1]
	many, one := float64(packed.Batch100)/float64(xml.Batch100), float64(packed.Alone)/float64(xml.Alone)
	return []verdict{
		judged("an interview in a batch of 100", fmt.Sprintf("%d bytes, %.3f of gzip'd XML", packed.Batch100, many), "<= 0.50", many <= 0.5),
		judged("an interview alone", fmt.Sprintf("%d bytes, %.3f of gzip'd XML", packed.Alone, one), "<= 0.25", one <= 0.25),
	}
}

// measureTablet measures a tablet's sync of many interviews, and one that finds nothing new, on loopback.
func measureTablet(e *env, dir string, interviews int) (all []verdict, err error) {
	b := &radioBench{scale: 1, interviews: interviews, dir: dir}
	err = b.serving(e.ctx, func(ctx context.Context) error {
		fmt.Fprintf(e.stderr, "writing %d interviews on a tablet ...\n", interviews)
		st, err := b.tablet(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = st.Close() }() // of a folder that is thrown away
		ivs, err := b.households()
		if err != nil {
			return err
		}
		var lines bytes.Buffer
		for _, iv := range ivs {
			if err := jsonOf(&lines, iv); err != nil {
				return err
			}
		}
		if loaded, err := st.Load(ctx, &lines, nil); err != nil || loaded.Added != len(ivs) {
			return fmt.Errorf("%d of %d interviews were loaded, %w", loaded.Added, len(ivs), err)
		}
		cc, err := dialTablet(b.addr, "")
		if err != nil {
			return err
		}
		defer func() { _ = cc.Close() }()
		start := time.Now()
		report, err := st.Sync(ctx, cc, b.options(cc))
		took := time.Since(start).Seconds()
		if err != nil || report.Sent != len(ivs) || report.Pending > 0 {
			return fmt.Errorf("%d of %d interviews arrived, %w", report.Sent, len(ivs), err)
		}
		all = append(all, judged(fmt.Sprintf("%d interviews", len(ivs)), fmt.Sprintf("%.2f s, %d batches", took, report.Batches), "<= 2 s", took <= 2))
		if report, err = st.Sync(ctx, cc, b.options(cc)); err != nil {
			return err
		}
		moved := report.BytesUp + report.BytesDown
		all = append(all, judged("nothing new", fmt.Sprintf("%d round trips, %d bytes of messages", report.RoundTrips, moved),
			fmt.Sprintf("1 round trip, < %d bytes", promisedNothing), report.RoundTrips == 1 && moved < promisedNothing))
		return nil
	})
	return all, err
}
