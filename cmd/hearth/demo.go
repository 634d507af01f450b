package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/monitor"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// demoCmd runs the whole main job on the bundled study.
type demoCmd struct {
	Dir  string `help:"Folder to leave everything in; must be empty or not exist." default:"hearth-demo" type:"path"`
	Lang string `help:"Language of tables and labels: en or zh." enum:"en,zh" default:"en" env:"HEARTH_LANG"`
}

// demo is one run of it.
type demo struct {
	*env
	cmd         *demoCmd
	node        *node
	addr        string
	cc          *conn
	fingerprint func(string, uint32) []byte
	step        int
	report      reportData
}

// Run runs it.
func (c *demoCmd) Run(e *env) (err error) {
	if err := emptyFolder(c.Dir); err != nil {
		return err
	}
	d := &demo{env: e, cmd: c}
	if d.fingerprint, err = fingerprints(); err != nil {
		return err
	}
	if err := os.MkdirAll(d.path("tablets"), 0o755); err != nil {
		return err
	}
	started := time.Now()
	stop, err := d.serve()
	if err != nil {
		return err
	}
	err = d.online()
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	if err := d.checkAfter(); err != nil {
		return err
	}
	d.next(time.Since(started))
	return nil
}

// online is everything that needs the server.
func (d *demo) online() error {
	for _, step := range []func() error{d.defineStudy, d.syncTablets, d.count, d.duplicates, d.graph, d.export, d.writeReport} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.cmd.Dir}, parts...)...)
}

// say prints a numbered headline; tell prints below it.
func (d *demo) say(format string, args ...any) {
	d.step++
	fmt.Fprintf(d.stdout, "\n%d. %s\n", d.step, fmt.Sprintf(format, args...))
}

func (d *demo) tell(format string, args ...any) {
	fmt.Fprintf(d.stdout, "   "+format+"\n", args...)
}

// serve starts a server on a free loopback port and returns how to stop it.
func (d *demo) serve() (func() error, error) {
	node, err := openNode(d.ctx, d.path("hq"), nodeOptions{serving: true})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, node.close())
	}
	d.node, d.addr = node, ln.Addr().String()
	ctx, cancel := context.WithCancel(d.ctx)
	served := make(chan error, 1)
	go func() { served <- node.server.Serve(ctx, ln) }()
	if d.cc, err = dialServer(d.addr, node.token); err != nil {
		cancel()
		return nil, errors.Join(err, <-served, node.close())
	}
	d.say("Headquarters serves on %s, its store in %s", d.addr, d.path("hq"))
	return func() error {
		err := d.cc.Close()
		cancel()
		return errors.Join(err, <-served, node.close())
	}, nil
}

func (d *demo) defineStudy() error {
	def, err := study.Definition()
	if err != nil {
		return err
	}
	d.report.Study = def
	if _, err := servicev1.NewStudyServiceClient(d.cc).PutStudy(d.ctx, &servicev1.PutStudyRequest{Study: def}); err != nil {
		return err
	}
	d.say("The study: %s (%s)", def.GetTitleEn(), def.GetTitleZh())
	d.tell("%d sites, %d enumerators, %d targets", len(def.GetSites()), len(def.GetEnumerators()), len(def.GetTargets()))
	return nil
}

// syncTablets makes the tablets, and syncs each in its own way: plainly, over a connection that is cut, twice, after
// a restore from a backup, and by hand.
func (d *demo) syncTablets() error {
	tablets, err := study.Tablets()
	if err != nil {
		return err
	}
	d.say("%d tablets come back from the field", len(tablets))
	cutDone, twiceDone := false, false
	for _, t := range tablets {
		how := d.syncPlain
		switch {
		case t.ByFile:
			how = d.syncByFile
		case t.RestoredFromBackup:
			how = d.syncRestored
		case !cutDone:
			how, cutDone = d.syncCut, true
		case !twiceDone:
			how, twiceDone = d.syncTwice, true
		}
		note, err := how(t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		d.tell("%s (%s): %s", t.Name, t.Enumerator, note)
		d.report.Tablets = append(d.report.Tablets, reportTablet{Name: t.Name, Enumerator: t.Enumerator, Note: note})
	}
	return nil
}

func (d *demo) tabletPath(t study.Tablet) string { return d.path("tablets", t.Name+".sqlite") }

// fill makes a tablet's store and loads the given lines into it.
func (d *demo) fill(t study.Tablet, data []byte) (*tablet.Store, error) {
	st, err := tablet.Create(d.ctx, d.tabletPath(t), tablet.CreateOptions{
		Name: t.Name, Enumerator: t.Enumerator, Study: d.report.Study.GetStudy(), Fingerprint: d.fingerprint,
	})
	if err != nil {
		return nil, err
	}
	if err := d.load(st, data); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

func (d *demo) load(st *tablet.Store, data []byte) error {
	report, err := st.Load(d.ctx, bytes.NewReader(data), nil)
	if err == nil && len(report.Problems) > 0 {
		err = fmt.Errorf("the bundled study does not load: %v", report.Problems[0])
	}
	return err
}

func (d *demo) sync(st *tablet.Store) (tablet.SyncReport, error) {
	return st.Sync(d.ctx, d.cc, tablet.SyncOptions{Progress: d.progress("sync"), Compress: true})
}

func (d *demo) syncPlain(t study.Tablet) (string, error) {
	st, err := d.fill(t, t.Data)
	if err != nil {
		return "", err
	}
	r, err := d.sync(st)
	return fmt.Sprintf("sent %d records in %s", r.Sent, byteCount(r.BytesUp)), errors.Join(err, st.Close())
}

func (d *demo) syncTwice(t study.Tablet) (string, error) {
	st, err := d.fill(t, t.Data)
	if err != nil {
		return "", err
	}
	first, err := d.sync(st)
	second, err2 := d.sync(st)
	if err = errors.Join(err, err2, st.Close()); err != nil {
		return "", err
	}
	if second.Sent != 0 {
		return "", fmt.Errorf("the second sync sent %d records again", second.Sent)
	}
	return fmt.Sprintf("sent %d records; synced again, and nothing was sent again", first.Sent), nil
}

// syncCut syncs over a connection that dies in the middle, then over a good one.
func (d *demo) syncCut(t study.Tablet) (string, error) {
	st, err := d.fill(t, t.Data)
	if err != nil {
		return "", err
	}
	link, err := newMortalLink(d.addr, 6<<10)
	if err != nil {
		return "", errors.Join(err, st.Close())
	}
	cc, err := dialServer(link.addr(), d.node.token)
	if err != nil {
		return "", errors.Join(err, link.close(), st.Close())
	}
	before, cutErr := st.Sync(d.ctx, cc, tablet.SyncOptions{MaxBatchBytes: 2 << 10, Attempts: 1})
	err = errors.Join(cc.Close(), link.close())
	if cutErr == nil {
		return "", errors.Join(errors.New("the connection was to be cut, but the sync went through"), err, st.Close())
	}
	status, err2 := st.Status(d.ctx)
	after, err3 := d.sync(st)
	if err = errors.Join(err, err2, err3, st.Close()); err != nil {
		return "", err
	}
	note := fmt.Sprintf("the connection was cut with %d records signed for and %d not; resumed, and sent %d", before.Sent, status.Pending, after.Sent)
	if after.Duplicates > 0 {
		note += fmt.Sprintf("; %d had arrived, only their answer was lost", after.Duplicates)
	}
	return note, nil
}

// syncRestored lets a tablet lose its memory: it is restored from a backup taken before its second sync, and goes on.
func (d *demo) syncRestored(t study.Tablet) (string, error) {
	all := slices.Collect(bytes.Lines(t.Data))
	a, b := len(all)/3, 2*len(all)/3
	st, err := d.fill(t, bytes.Join(all[:a], nil))
	if err != nil {
		return "", err
	}
	backup := d.path("tablets", t.Name+".backup")
	_, err = d.sync(st)
	err = errors.Join(err, st.Backup(d.ctx, backup), d.load(st, bytes.Join(all[a:b], nil)))
	if err == nil {
		_, err = d.sync(st)
	}
	if err = errors.Join(err, st.Close(), removeStore(d.tabletPath(t)), os.Rename(backup, d.tabletPath(t))); err != nil {
		return "", err
	}
	st, err = tablet.Open(d.ctx, d.tabletPath(t), tablet.Options{Fingerprint: d.fingerprint})
	if err != nil {
		return "", err
	}
	err = d.load(st, bytes.Join(all[b:], nil))
	var r tablet.SyncReport
	if err == nil {
		r, err = d.sync(st)
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return "", err
	}
	if !r.NewEpoch {
		return "", errors.New("the tablet did not notice that it was restored")
	}
	return fmt.Sprintf("restored from a backup after it had sent %d records; it noticed, opened a new epoch, and sent %d more; headquarters keeps all", b, r.Sent), nil
}

// removeStore deletes an SQLite file with its companions.
func removeStore(path string) error {
	var err error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if e := os.Remove(path + suffix); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// syncByFile takes a tablet in by its file, as if it had come on a memory stick.
func (d *demo) syncByFile(t study.Tablet) (string, error) {
	st, err := d.fill(t, t.Data)
	if err != nil {
		return "", err
	}
	if err := st.Close(); err != nil {
		return "", err
	}
	r, err := tablet.Import(d.ctx, d.tabletPath(t), d.cc, &tablet.ForeignOptions{Command: readForeignCommand()})
	if err == nil && len(r.Problems) > 0 {
		err = fmt.Errorf("the file has a problem: %v", r.Problems[0])
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("never got a connection: its file was copied, and %d records were taken in by hand", r.Sent), nil
}

func (d *demo) count() error {
	d.say("Counts, beside the targets")
	client := servicev1.NewMonitorServiceClient(d.cc)
	for _, by := range [][]servicev1.Dimension{
		{servicev1.Dimension_DIMENSION_QUESTIONNAIRE}, {servicev1.Dimension_DIMENSION_ENUMERATOR},
		{servicev1.Dimension_DIMENSION_SITE}, {servicev1.Dimension_DIMENSION_RESULT}, {servicev1.Dimension_DIMENSION_DAY},
	} {
		resp, err := client.CountInterviews(d.ctx, &servicev1.CountInterviewsRequest{By: by})
		if err != nil {
			return err
		}
		d.report.Counts = append(d.report.Counts, reportCounts{By: enumWord(by[0].String(), "DIMENSION_"), Table: resp})
		if by[0] == servicev1.Dimension_DIMENSION_DAY || by[0] == servicev1.Dimension_DIMENSION_SITE {
			continue // in the report
		}
		fmt.Fprintln(d.stdout)
		if err := monitor.WriteTable(indented(d.stdout), resp, d.cmd.Lang); err != nil {
			return err
		}
	}
	d.tell("by site and by day: in the report")
	return nil
}

// indented writes with three spaces before every line.
func indented(w io.Writer) io.Writer { return &indenter{w: w, start: true} }

type indenter struct {
	w     io.Writer
	start bool
}

// Write implements io.Writer.
func (i *indenter) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		if i.start {
			if _, err := io.WriteString(i.w, "   "); err != nil {
				return 0, err
			}
		}
		if _, err := i.w.Write(line); err != nil {
			return 0, err
		}
		i.start = bytes.HasSuffix(line, []byte("\n"))
	}
	return len(p), nil
}
