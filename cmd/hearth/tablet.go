package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// tabletCmd works with a tablet's offline store.
type tabletCmd struct {
	Create tabletCreateCmd `cmd:"" help:"Make the store of a new tablet."`
	Enrol  tabletEnrolCmd  `cmd:"" help:"Have a tablet enrolled by the code that headquarters gave; makes its store."`
	Load   tabletLoadCmd   `cmd:"" help:"Load interviews from JSON lines (hearth.survey.v1.Interview)."`
	Attach tabletAttachCmd `cmd:"" help:"Add photos, recordings or files to an interview."`
	Sync   tabletSyncCmd   `cmd:"" help:"Send what headquarters has not got, and fetch what is new there."`
	Status tabletStatusCmd `cmd:"" help:"Show what the tablet holds and what is not sent."`

	Assignments tabletAssignmentsCmd `cmd:"" help:"List what the enumerator has to do."`
	Start       tabletStartCmd       `cmd:"" help:"Begin an assignment."`
	Reviews     tabletReviewsCmd     `cmd:"" help:"List what supervisors say of the interviews; print a rejected one to correct it."`
	Forms       tabletFormsCmd       `cmd:"" help:"List the questionnaires that came down with the last sync."`
	Coupon      tabletCouponCmd      `cmd:"" help:"Give out coupons, check, redeem, void and pay them, without a network."`
	Draw        tabletDrawCmd        `cmd:"" help:"Draw respondents at random from a list at a site, so that the draw can be repeated."`
	Door        tabletDoorCmd        `cmd:"" help:"Look whether somebody at the door may have been interviewed before."`

	Export tabletExportCmd `cmd:"" help:"Write the tablet's current interviews as JSON lines."`
	Backup tabletBackupCmd `cmd:"" help:"Copy the store whole into another file."`
	Prune  tabletPruneCmd  `cmd:"" help:"Drop the bytes of old interviews that headquarters has signed for."`
}

// tabletFile names the store.
type tabletFile struct {
	Store string `help:"The tablet's file." required:"" type:"path" env:"HEARTH_TABLET"`
}

func (t tabletFile) open(e *env) (*tablet.Store, error) { return t.openWith(e, nil) }

// openWith is open for a tablet that also knows the questionnaires of files.
func (t tabletFile) openWith(e *env, files []string) (*tablet.Store, error) {
	forms := &tabletForms{builtin: fingerprintWhenAsked()}
	if err := forms.read(files); err != nil {
		return nil, err
	}
	st, err := tablet.Open(e.ctx, t.Store, tablet.Options{Fingerprint: forms.fingerprint, Answers: forms.answers})
	if err != nil {
		return nil, err
	}
	if forms.held, err = st.Questionnaires(e.ctx); err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return st, nil
}

// fingerprintWhenAsked is fingerprints, which reads all questionnaires, for verbs that may not need any.
func fingerprintWhenAsked() func(string, uint32) []byte {
	read := sync.OnceValues(fingerprints)
	return func(name string, version uint32) []byte {
		fingerprint, err := read()
		if err != nil {
			return nil // as of a questionnaire that is not known
		}
		return fingerprint(name, version)
	}
}

// fingerprints looks up the versions of the built-in questionnaires.
func fingerprints() (func(string, uint32) []byte, error) {
	set, err := questionnaire.Builtin()
	if err != nil {
		return nil, err
	}
	return func(name string, version uint32) []byte {
		q, ok := set.Find(name)
		if !ok || !q.Knows(version) {
			return nil
		}
		return q.Fingerprint(version)
	}, nil
}

type tabletCreateCmd struct {
	tabletFile
	Name       string `help:"Name of the tablet: tablet-03." required:""`
	Enumerator string `help:"Code of the enumerator who carries it." required:""`
	Study      string `help:"Code of the study." required:""`
}

// Run makes the store.
func (c *tabletCreateCmd) Run(e *env) error {
	st, err := tablet.Create(e.ctx, c.Store, tablet.CreateOptions{Name: c.Name, Enumerator: c.Enumerator, Study: c.Study})
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("made %s: %s of %s, study %s", c.Store, c.Name, c.Enumerator, c.Study))
}

type tabletLoadCmd struct {
	tabletFile
	File     string   `arg:"" optional:"" help:"File with one interview per line; - for standard input."`
	Form     []string `help:"A questionnaire's file (.proto, .xlsx) that answers are by name of, where the tablet has not got it by a sync." placeholder:"FILE" type:"existingfile"`
	Paradata string   `help:"Also, or instead: file that says how answers came about, one interview per line; - for standard input." placeholder:"FILE"`
}

// Run loads every good line and names the bad ones.
func (c *tabletLoadCmd) Run(e *env) (err error) {
	if c.File == "" && c.Paradata == "" {
		return fmt.Errorf("%w: name a file of interviews, or one with --paradata", errUsage)
	}
	st, err := c.openWith(e, c.Form)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if c.File != "" {
		err = c.loadFile(e, st)
	}
	if c.Paradata != "" && (err == nil || errors.Is(err, errFound)) {
		err = errors.Join(err, loadParadata(e, st, c.Paradata))
	}
	return err
}

func (c *tabletLoadCmd) loadFile(e *env, st *tablet.Store) error {
	in := e.stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	return loadInterviews(e, st, in)
}

func loadInterviews(e *env, st *tablet.Store, in io.Reader) error {
	bar := e.progress("load")
	report, err := st.Load(e.ctx, in, func(lines int) { bar(lines, -1) })
	if err != nil {
		return err
	}
	for _, p := range report.Problems {
		fmt.Fprintf(e.stderr, "%v: %s\n", p, p.Reason.Do())
	}
	fmt.Fprintf(e.stdout, "%d lines: %d interviews added, %d unchanged, %d not loaded\n", report.Lines, report.Added, report.Unchanged, len(report.Problems))
	if len(report.Problems) > 0 {
		return errFound
	}
	return nil
}

type tabletSyncCmd struct {
	tabletFile
	Server  string `help:"Address of the server, host:port." required:"" env:"HEARTH_SERVER"`
	Token   string `help:"The server's token, for a tablet that was not enrolled there: one that was opens a session as the device that it is." env:"HEARTH_TOKEN"`
	Tries   int    `help:"How often in a row the server may not be reached before the sync gives up; the pauses grow, ten tries take a minute." default:"10"`
	Window  int    `help:"How many batches may be on their way at a time; 1: each is a call of its own." default:"4"`
	Moved   bool   `name:"headquarters" help:"Headquarters is at this address now, where the tablet met a hub before."`
	Verbose bool   `short:"v" help:"Say how many bytes, batches and round trips it took."`
	JSON    bool   `help:"Print JSON."`
}

// Run syncs.
func (c *tabletSyncCmd) Run(e *env) (err error) {
	if c.Tries < 1 {
		return fmt.Errorf("%w: --tries is at least 1", errUsage)
	}
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	report, moved, err := c.sync(e, st, "")
	if c.Token != "" && fault.ReasonOf(err) == fault.DeviceNotEnrolled {
		report, moved, err = c.sync(e, st, c.Token)
	}
	switch {
	case c.JSON:
		err = errors.Join(err, printSyncJSON(e.stdout, report, moved))
	default:
		printSync(e.stdout, report)
		if c.Verbose {
			fmt.Fprintf(e.stdout, "  %d round trips, %d batches, %d retries; messages of %d bytes up and %d down; %d bytes on the connection, both ways\n",
				report.RoundTrips, report.Batches, report.Retries, report.BytesUp, report.BytesDown, moved)
		}
	}
	if err == nil && report.Notice != nil {
		return errFound
	}
	return err
}

// sync syncs with the server's token, or without one as the enrolled device, and returns how many bytes the connection moved.
func (c *tabletSyncCmd) sync(e *env, st *tablet.Store, token string) (tablet.SyncReport, int64, error) {
	cc, err := dialTablet(c.Server, token)
	if err != nil {
		return tablet.SyncReport{}, 0, err
	}
	defer cc.Close()
	report, err := st.Sync(e.ctx, cc, tablet.SyncOptions{
		Progress: e.progress("sync"), BlobProgress: blobBar(e), Compress: true, Session: token == "", Attempts: c.Tries,
		Window: c.Window, Address: c.Server, Moved: cc.Moved, Headquarters: c.Moved,
	})
	return report, cc.Moved(), err
}

// printSyncJSON is the report for a program.
func printSyncJSON(w io.Writer, r tablet.SyncReport, moved int64) error {
	return printAnyJSON(w, map[string]any{
		"sent": r.Sent, "duplicates": r.Duplicates, "quarantined": len(r.Quarantined), "refused": len(r.Refused), "damaged": len(r.Damaged),
		"pulled": r.Pulled, "pending": r.Pending, "new_epoch": r.NewEpoch, "batches": r.Batches, "retries": r.Retries, "round_trips": r.RoundTrips,
		"bytes_up": r.BytesUp, "bytes_down": r.BytesDown, "bytes_on_connection": moved,
		"attachments_sent": r.Blobs.Sent, "attachments_pending": r.Blobs.Pending, "hub": r.Hub, "hub_alone_seconds": int(r.HubAlone.Seconds()), "notice": r.Notice,
	})
}

func printSync(w io.Writer, r tablet.SyncReport) {
	var notes []string
	if r.Duplicates > 0 {
		notes = append(notes, fmt.Sprintf("%d were there already", r.Duplicates))
	}
	if r.NewEpoch {
		notes = append(notes, "this store had been restored from a backup or copied: it goes on in a new epoch, nothing is lost")
	}
	if n := r.Rows[servicev1.BucketKind_BUCKET_KIND_ASSIGNMENTS]; n > 0 {
		notes = append(notes, fmt.Sprintf("assignments changed: %d", n))
	}
	if n := r.Rows[servicev1.BucketKind_BUCKET_KIND_REVIEWS]; n > 0 {
		notes = append(notes, fmt.Sprintf("reviews that came: %d", n))
	}
	if days := int(r.HubAlone.Hours() / 24); days >= 7 {
		notes = append(notes, fmt.Sprintf("the hub has not reached headquarters for %d days: what it has is there and here, and nowhere else", days))
	}
	switch {
	case r.Hub != "" && r.Pending > 0:
		notes = append(notes, fmt.Sprintf("hub %s has it in custody, %d records are kept here until headquarters has signed for them", r.Hub, r.Pending))
	case r.Hub != "":
		notes = append(notes, "through hub "+r.Hub+", and headquarters has signed for everything")
	case r.Pending > 0:
		notes = append(notes, fmt.Sprintf("%d still to send", r.Pending))
	}
	fmt.Fprintf(w, "sent %d records (%s up, %s down), received %d", r.Sent, byteCount(r.BytesUp), byteCount(r.BytesDown), r.Pulled)
	if len(notes) > 0 {
		fmt.Fprintf(w, "; %s", strings.Join(notes, "; "))
	}
	fmt.Fprintln(w)
	if n := r.Notice; n != nil {
		fmt.Fprintf(w, "  %s: %s: everything this tablet sends is kept at headquarters, and nothing comes from there: ask the supervisor\n", n.Reason, n.Message)
	}
	for _, p := range slices.Concat(r.Quarantined, r.Refused, r.Damaged) {
		fmt.Fprintf(w, "  entry %d %s: %s: %s\n", p.Seq, p.Reason, p.Message, p.Reason.Do())
	}
	printBlobs(w, r.Blobs)
}

func byteCount(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d KB", n/1000)
	}
	return fmt.Sprintf("%d MB", n/1_000_000)
}

type tabletStatusCmd struct {
	tabletFile
	JSON bool `help:"Print JSON."`
}

// Run shows the status.
func (c *tabletStatusCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	s, err := st.Status(e.ctx)
	if err != nil {
		return err
	}
	open, rejected, err := toDo(e, st)
	if err != nil {
		return err
	}
	if c.JSON {
		return printAnyJSON(e.stdout, map[string]any{
			"assignments_open": open, "rejected": rejected,
			"device": s.Device.String(), "name": s.Name, "enumerator": s.Enumerator, "study": s.Study, "epoch": s.Epoch.String(), "epochs": s.Epochs,
			"records": s.Records, "interviews": s.Interviews, "drafts": s.Drafts, "conflicts": s.Conflicts, "pending": s.Pending,
			"blobs": s.Blobs, "blobs_pending": s.BlobsPending, "blob_bytes_pending": s.BlobBytesPending, "blobs_pruned": s.BlobsPruned, "blobs_absent": s.BlobsAbsent,
			"quarantined": s.Quarantined, "undelivered": s.Undelivered, "pruned": s.Pruned, "pulled": s.Pulled,
		})
	}
	rows := [][]string{
		{"tablet", fmt.Sprintf("%s of %s, study %s", s.Name, s.Enumerator, s.Study)},
		{"interviews", fmt.Sprintf("%d in %d revisions, %d drafts", s.Interviews, s.Records, s.Drafts)},
		{"not yet signed for by headquarters", fmt.Sprint(s.Pending)},
		{"last sync", since(millis(s.LastSync))},
	}
	if open > 0 {
		rows = append(rows, []string{"assignments to do", fmt.Sprint(open)})
	}
	if rejected > 0 {
		rows = append(rows, []string{"rejected, to be corrected", fmt.Sprint(rejected)})
	}
	if s.Blobs > 0 {
		rows = append(rows, []string{"attachments", fmt.Sprintf("%d, %d not yet at headquarters (%s)", s.Blobs, s.BlobsPending, byteCount(s.BlobBytesPending))})
	}
	for _, n := range []struct {
		what  string
		count int
	}{{"in conflict", s.Conflicts}, {"in quarantine at headquarters", s.Quarantined}, {"could not be delivered", s.Undelivered}, {"pruned, kept by headquarters", s.Pruned},
		{"attachments whose bytes were never here", s.BlobsAbsent}} {
		if n.count > 0 {
			rows = append(rows, []string{n.what, fmt.Sprint(n.count)})
		}
	}
	if s.Epochs > 1 {
		rows = append(rows, []string{"epochs", fmt.Sprintf("%d: this store was restored from a backup or copied", s.Epochs)})
	}
	return table(e.stdout, rows)
}

type tabletExportCmd struct {
	tabletFile
	Form []string `help:"A questionnaire's file (.proto, .xlsx) by which answers are written by name, where the tablet has not got it by a sync." placeholder:"FILE" type:"existingfile"`
	Out  string   `short:"o" help:"File to write; standard output if empty." type:"path"`
}

// Run writes the interviews.
func (c *tabletExportCmd) Run(e *env) (err error) {
	st, err := c.openWith(e, c.Form)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if c.Out == "" {
		return st.Export(e.ctx, e.stdout)
	}
	return writeFile(c.Out, func(w io.Writer) error { return st.Export(e.ctx, w) })
}

type tabletBackupCmd struct {
	tabletFile
	Out string `arg:"" help:"File to write; must not exist." type:"path"`
}

// Run copies the store.
func (c *tabletBackupCmd) Run(e *env) (err error) {
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.Backup(e.ctx, c.Out); err != nil {
		return err
	}
	return say(e, "copied to "+c.Out)
}

type tabletPruneCmd struct {
	tabletFile
	KeepDays int `help:"Keep what was written in the last so many days." default:"30"`
}

// Run prunes. Each receipt is verified anew before anything is dropped.
func (c *tabletPruneCmd) Run(e *env) (err error) {
	if c.KeepDays < 0 {
		return fmt.Errorf("%w: --keep-days %d is less than 0", errUsage, c.KeepDays)
	}
	st, err := c.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	n, err := st.Prune(e.ctx, c.KeepDays)
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("dropped the bytes of %d records that headquarters has signed for; what is needed to know them again stays", n))
}
