package export

import (
	"bytes"
	"context"
	"io"
	"path"
	"strconv"
	"strings"
)

// FeedColumn is a column of a feed.
type FeedColumn struct {
	Name string
	Kind Kind
}

// The columns that a feed has beside the variables: the number of the row, which is its key, and the reasons why variables
// have no value, as age=refused;income=dont_know.
const (
	FeedRow     = "row"
	FeedReasons = "missing_reasons"
)

// FeedColumns are the columns of the feed of each table, in order. They do not depend on the data. A code is followed by
// its label.
func FeedColumns(src Source, opts Options) ([]string, map[string][]FeedColumn, error) {
	j, err := newJob(src, opts, nowhere{}, nil)
	if err != nil {
		return nil, nil, err
	}
	var names []string
	out := map[string][]FeedColumn{}
	for _, t := range j.plan.Tables {
		names = append(names, t.Name)
		out[t.Name] = feedColumns(t)
	}
	return names, out, nil
}

func feedColumns(t *Table) []FeedColumn {
	out := []FeedColumn{{Name: FeedRow, Kind: KindInteger}}
	for _, c := range t.Columns {
		if c.hidden {
			continue
		}
		out = append(out, FeedColumn{Name: c.Name, Kind: c.Kind})
		if l := labelName(t, c); l != "" {
			out = append(out, FeedColumn{Name: l, Kind: KindText})
		}
	}
	return append(out, FeedColumn{Name: FeedReasons, Kind: KindText})
}

// labelName is what the label of a code is called, where no variable is called so.
func labelName(t *Table, c *Column) string {
	if c.Kind != KindCode || t.column(c.Name+"_label") >= 0 {
		return ""
	}
	return c.Name + "_label"
}

// Feed writes the rows of one table, each as a JSON object on a line that has all columns, with null where there is no
// value, and returns where each line begins.
func Feed(ctx context.Context, src Source, opts Options, level string, out io.Writer) ([]int64, error) {
	opts.Levels = []string{level}
	j, err := newJob(src, opts, nowhere{}, nil)
	if err != nil {
		return nil, err
	}
	rows := newSpool(j.plan)
	defer rows.close()
	if _, err := j.lay(ctx, rows); err != nil {
		return nil, err
	}
	var starts []int64
	var b []byte
	at := int64(0)
	write := func(r *row) error {
		starts = append(starts, at)
		b = j.appendFeed(b[:0], r, len(starts))
		n, err := out.Write(b)
		at += int64(n)
		if err != nil {
			return writeFault(level, err)
		}
		return ctx.Err()
	}
	if err := rows.each(write, func() error { return nil }); err != nil {
		return nil, cancelled(err)
	}
	return starts, nil
}

func (j *job) appendFeed(b []byte, r *row, number int) []byte {
	t := r.table
	b = strconv.AppendInt(append(b, `{"`+FeedRow+`":`...), int64(number), 10)
	for i, c := range t.Columns {
		if c.hidden {
			continue
		}
		v := &r.cells[i]
		b = append(append(append(b, `,"`...), c.Name...), `":`...)
		switch {
		case !v.set || c.Kind == KindNumber && !finite(v.f):
			b = append(b, "null"...)
		case c.Kind == KindText || c.Kind == KindDate:
			b = appendString(b, v.s)
		default:
			b = appendJSON(b, c, v)
		}
		if l := labelName(t, c); l != "" {
			b = append(append(append(b, `,"`...), l...), `":`...)
			if text := c.label[int32(v.i)]; v.set && text != nil {
				b = appendString(b, wording(text, j.opts.Language))
			} else {
				b = append(b, "null"...)
			}
		}
	}
	var reasons bytes.Buffer
	for q, why := range r.why {
		if why == 0 || t.hidden(t.Questions[q]) {
			continue
		}
		if reasons.Len() > 0 {
			reasons.WriteByte(';')
		}
		reasons.WriteString(t.Questions[q].Name + "=" + reason(why))
	}
	b = append(b, `,"`+FeedReasons+`":`...)
	if reasons.Len() == 0 {
		return append(b, "null}\n"...)
	}
	return append(appendString(b, reasons.String()), "}\n"...)
}

// nowhere is a sink for what writes no files.
type nowhere struct{}

// Create gives a file that forgets.
func (nowhere) Create(string) (io.WriteCloser, error) { return forgetting{}, nil }

type forgetting struct{}

// Write forgets.
func (forgetting) Write(p []byte) (int, error) { return len(p), nil }

// Close does nothing.
func (forgetting) Close() error { return nil }

// FormatOfPath says which format writes a file, by its path below the export folder, and of which table; a file that is of
// no table has none, and one that is written in any case, such as codebook.html, has no format.
func FormatOfPath(name string) (format, level string) {
	folder, base := path.Split(name)
	ext := path.Ext(base)
	level = strings.TrimSuffix(base, ext)
	switch strings.TrimSuffix(folder, "/") {
	case "csv", "parquet", "jsonl", "stata", "spss":
		return strings.TrimPrefix(ext, "."), level
	case "graph":
		return "graphml", ""
	case "", "questionnaires", "questionnaires/proto":
		if ext != ".gpkg" {
			return "", ""
		}
	}
	return strings.TrimPrefix(ext, "."), ""
}
