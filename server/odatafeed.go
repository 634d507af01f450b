package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export"
)

// mostFeeds is how many tables are kept ready to be paged through, and feedAge for how long after the last page.
const (
	mostFeeds = 16
	feedAge   = 15 * time.Minute
)

// feeds are the tables that clients are paging through, each in a temporary file: as they were when the first page was
// asked for.
type feeds struct {
	mu  sync.Mutex
	all map[string]*feed
}

// feed is one table at one state, a row a line.
type feed struct {
	name    string // of the state and the options
	columns []export.FeedColumn
	starts  []int64
	size    int64
	file    *os.File // it has no name, and goes when nobody holds it any more
	used    time.Time

	once sync.Once
	err  error
}

func (f *feed) column(name string) *export.FeedColumn {
	for i := range f.columns {
		if f.columns[i].Name == name {
			return &f.columns[i]
		}
	}
	return nil
}

// feedColumns are the tables of a feed and their columns. They need the questionnaires that were answered, and no answers.
func (s *Server) feedColumns(ctx context.Context, req *servicev1.ExportRequest) ([]string, map[string][]export.FeedColumn, error) {
	job, err := s.prepareExport(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	defer job.close()
	return export.FeedColumns(*job.source, job.options)
}

// feedOf is the table that is asked for: that of an earlier page, or one made now.
func (s *Server) feedOf(ctx context.Context, a *asked) (*feed, error) {
	if v := a.system.Get("$skiptoken"); v != "" {
		name, _, _ := strings.Cut(v, ".")
		if f := s.feeds.get(name, s.now(), false); f != nil && f.err == nil {
			return f, nil
		}
		return nil, fault.New(fault.Stale, fault.FeedGone, "the state that this page belongs to is not kept any more")
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	now, err := s.store.Projected(ctx)
	if err != nil {
		return nil, fmt.Errorf("find how far the projections are: %w", err)
	}
	name := strings.Trim(s.etag(a.req, "odata/"+a.set, now.Proto()), `"`)
	f := s.feeds.get(name, s.now(), true)
	f.once.Do(func() { f.err = s.makeFeed(ctx, a, f) })
	if f.err != nil {
		s.feeds.drop(f)
		return nil, f.err
	}
	return f, nil
}

// get finds a feed, or makes an empty one; the one that was used least goes where there are too many.
func (all *feeds) get(name string, now time.Time, begin bool) *feed {
	all.mu.Lock()
	defer all.mu.Unlock()
	for n, f := range all.all {
		if now.Sub(f.used) > feedAge {
			delete(all.all, n)
		}
	}
	f := all.all[name]
	if f == nil && begin {
		if all.all == nil {
			all.all = map[string]*feed{}
		}
		for len(all.all) >= mostFeeds {
			var oldest *feed
			for _, o := range all.all {
				if oldest == nil || o.used.Before(oldest.used) {
					oldest = o
				}
			}
			delete(all.all, oldest.name)
		}
		f = &feed{name: name}
		all.all[name] = f
	}
	if f != nil {
		f.used = now
	}
	return f
}

func (all *feeds) drop(f *feed) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.all[f.name] == f {
		delete(all.all, f.name)
	}
}

// makeFeed writes the rows down.
func (s *Server) makeFeed(ctx context.Context, a *asked, f *feed) error {
	job, err := s.prepareExport(ctx, a.req)
	if err != nil {
		return err
	}
	defer job.close()
	names, columns, err := export.FeedColumns(*job.source, job.options)
	if err != nil {
		return err
	}
	if !slices.Contains(names, a.set) {
		return fault.New(fault.NotFound, fault.BadRequest, "there is no entity set %.40q: there are %s", a.set, strings.Join(names, ", "))
	}
	f.columns = columns[a.set]
	file, err := temporary("hearth-feed-*", "write a feed down")
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 256<<10)
	f.starts, err = export.Feed(ctx, *job.source, job.options, a.set, out)
	if err == nil {
		if err = out.Flush(); err != nil {
			err = noRoom("write a feed down", err)
		}
	}
	if err == nil {
		f.size, err = file.Seek(0, io.SeekCurrent)
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	f.file = file
	return nil
}

// line is a row as it was written down.
func (f *feed) line(i int) ([]byte, error) {
	end := f.size
	if i+1 < len(f.starts) {
		end = f.starts[i+1]
	}
	b := make([]byte, end-f.starts[i])
	if _, err := f.file.ReadAt(b, f.starts[i]); err != nil {
		return nil, fmt.Errorf("read back a feed: %w", err)
	}
	return bytes.TrimSuffix(b, []byte("\n")), nil
}

// row is a row by its columns.
func (f *feed) row(line []byte) (map[string]json.RawMessage, error) {
	out := map[string]json.RawMessage{}
	return out, json.Unmarshal(line, &out)
}

// passes says whether the filter keeps a row, and returns it by its columns where it had to be taken apart.
func (q *page) passes(line []byte) (map[string]json.RawMessage, bool, error) {
	if q.filter == nil {
		return nil, true, nil
	}
	row, err := q.feed.row(line)
	if err != nil {
		return nil, false, err
	}
	v, err := q.filter(row)
	return row, v.isTrue(), err
}

// count is how many rows the filter keeps.
func (q *page) count() (int, error) {
	if q.filter == nil {
		return len(q.feed.starts), nil
	}
	n := 0
	for i := range q.feed.starts {
		line, err := q.feed.line(i)
		if err != nil {
			return 0, err
		}
		_, keep, err := q.passes(line)
		if err != nil {
			return 0, err
		}
		if keep {
			n++
		}
	}
	return n, nil
}

// object is a row as it is answered: the columns asked for, in the order of the table.
func (q *page) object(line []byte, row map[string]json.RawMessage) ([]byte, error) {
	if q.columns == nil && !q.strings {
		return line, nil
	}
	if row == nil {
		var err error
		if row, err = q.feed.row(line); err != nil {
			return nil, err
		}
	}
	b := []byte{'{'}
	for _, c := range q.feed.columns {
		if q.columns != nil && !slices.Contains(q.columns, c.Name) {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		v := row[c.Name]
		b = append(append(append(b, '"'), c.Name...), '"', ':')
		if q.strings && c.Kind == export.KindInteger && string(v) != "null" {
			b = append(append(append(b, '"'), v...), '"')
			continue
		}
		b = append(b, v...)
	}
	return append(b, '}'), nil
}

// context is what the answer is of.
func (q *page) context(one bool) string {
	c := q.link("$metadata", nil) + "#" + q.set
	if q.columns != nil {
		c += "(" + strings.Join(q.columns, ",") + ")"
	}
	if one {
		c += "/$entity"
	}
	return c
}

// one answers with one row.
func (q *page) one(w http.ResponseWriter, i int) error {
	line, err := q.feed.line(i)
	if err == nil {
		line, err = q.object(line, nil)
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", q.contentType())
	if q.meta != "none" {
		c, _ := json.Marshal(q.context(true)) // a string
		line = slices.Concat([]byte(`{"@odata.context":`), c, []byte(","), line[1:])
	}
	_, err = w.Write(line)
	return err
}

// rows answers with a page of rows, and with a link to the next one.
func (q *page) rows(w http.ResponseWriter) error {
	var head []string
	if q.meta != "none" {
		c, _ := json.Marshal(q.context(false))
		head = append(head, `"@odata.context":`+string(c))
	}
	if q.counted {
		n, err := q.count()
		if err != nil {
			return err
		}
		head = append(head, `"@odata.count":`+strconv.Itoa(n))
	}
	w.Header().Set("Content-Type", q.contentType())
	if q.applied {
		w.Header().Set("Preference-Applied", "odata.maxpagesize="+strconv.Itoa(q.size))
	}
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "{"+strings.Join(append(head, `"value":[`), ","))
	given, at := 0, q.from
	for ; at < len(q.feed.starts) && given < q.size && given != q.top; at++ {
		line, err := q.feed.line(at)
		if err != nil {
			return err
		}
		row, keep, err := q.passes(line)
		if err != nil {
			return err
		}
		if !keep {
			continue
		}
		if q.skip > 0 {
			q.skip--
			continue
		}
		if line, err = q.object(line, row); err != nil {
			return err
		}
		if given > 0 {
			out.WriteByte(',')
		}
		out.WriteByte('\n')
		out.Write(line)
		given++
	}
	out.WriteString("]")
	if at < len(q.feed.starts) && given != q.top {
		next := url.Values{"$skiptoken": {q.feed.name + "." + strconv.Itoa(at)}}
		for _, name := range []string{"$select", "$filter", "$count", "$format"} {
			if v := q.system[name]; v != nil {
				next[name] = v
			}
		}
		if q.top >= 0 {
			next.Set("$top", strconv.Itoa(q.top-given))
		}
		l, _ := json.Marshal(q.link(q.set, next))
		fmt.Fprint(out, `,"@odata.nextLink":`+string(l))
	}
	out.WriteString("}\n")
	return out.Flush()
}
