package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/server/monitor"
	"github.com/schollz/progressbar/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// printJSON writes a message as indented JSON for programs to read.
func printJSON(w io.Writer, m proto.Message) error {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err
	}
	return printAnyJSON(w, json.RawMessage(raw))
}

// printAnyJSON writes any value as indented JSON.
func printAnyJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// progress draws a bar on a terminal and is silent elsewhere.
func (e *env) progress(what string) func(done, total int) {
	if !e.terminal {
		return func(int, int) {}
	}
	var bar *progressbar.ProgressBar
	return func(done, total int) {
		if bar == nil {
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(e.stderr), progressbar.OptionSetDescription(what),
				progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		bar.ChangeMax(total)
		_ = bar.Set(done)
	}
}

// widest is how wide a column is that others follow; one key of a thousand letters must not push them out of sight.
const widest = 60

// table prints rows in columns that line up also where characters are two cells wide. Long cells are cut short; --json
// has them whole.
func table(w io.Writer, rows [][]string) error {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			cell = monitor.Printable(cell)
			if i < len(row)-1 {
				cell = clip(cell, widest)
			}
			row[i] = cell
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], monitor.TextWidth(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-monitor.TextWidth(cell)+2))
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// since says when something was, for a person.
func since(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04 UTC")
}

// millis is a time as milliseconds since 1970, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// clip cuts a text that is wider than some cells and says so by an ellipsis.
func clip(s string, most int) string {
	if monitor.TextWidth(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += monitor.TextWidth(string(r)); n > most-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// anyJSONLine writes any value as one line of JSON.
func anyJSONLine(e *env, v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// rawJSON is JSON that stands as it is within other JSON.
func rawJSON(b []byte) json.RawMessage { return b }
