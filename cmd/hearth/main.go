// Command hearth is the one program of Hearth: the server at headquarters, the tablet's store, and the verbs by which
// supervisors count, analysts export and everybody checks. It is flags and wiring only; what things mean and how they
// are kept is decided in the packages below, not here.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/hearth-survey/hearth/server/referral"
)

// env is what a verb gets from its surroundings, so that tests can give it others.
type env struct {
	ctx    context.Context
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	// terminal is true where stderr is a terminal and progress may be drawn.
	terminal bool
}

// cli is the command line: one field per verb.
type cli struct {
	Config  kong.ConfigFlag  `help:"TOML file with defaults for the flags." type:"path" env:"HEARTH_CONFIG"`
	Version kong.VersionFlag `help:"Print the version and exit."`

	Demo         demoCmd         `cmd:"" help:"Run the whole main job on the bundled study."`
	Serve        serveCmd        `cmd:"" help:"Serve tablets and supervisors."`
	Tablet       tabletCmd       `cmd:"" help:"Work with a tablet's offline store."`
	ImportTablet importTabletCmd `cmd:"" help:"Take in a tablet's file that was copied by hand."`
	ReadForeign  readForeignCmd  `cmd:"" name:"read-foreign-file" hidden:""`
	Study        studyCmd        `cmd:"" help:"Show or set the definition of the study: sites, enumerators, targets."`
	Counts       countsCmd       `cmd:"" help:"Count interviews, with targets."`
	Interviews   interviewsCmd   `cmd:"" help:"List interviews."`
	Blob         blobCmd         `cmd:"" help:"Fetch attachments: photos, recordings, files."`
	Device       deviceCmd       `cmd:"" help:"Enrol tablets by one-time codes, and revoke them."`
	Hub          hubCmd          `cmd:"" help:"For a supervisor's laptop in the field that forwards to headquarters."`
	Devices      devicesCmd      `cmd:"" help:"List tablets: last sync, what is missing."`
	Paradata     paradataCmd     `cmd:"" help:"Show how the answers of an interview came about: which question, when, for how long."`
	Flags        flagsCmd        `cmd:"" help:"List answers that fail a check."`
	Quarantine   quarantineCmd   `cmd:"" help:"List, show, replay and export what was taken in but could not be used."`
	Assignment   assignmentCmd   `cmd:"" help:"Give interviews to enumerators, hand them over, take them back."`
	Review       reviewCmd       `cmd:"" help:"Comment on, reject and approve interviews; settle those that two people changed; withdraw and erase."`
	Dedup        dedupCmd        `cmd:"" help:"Find people and households surveyed twice, and decide."`
	Referral     referralCmd     `cmd:"" help:"Draw and measure the graph of who referred whom."`
	Export       exportCmd       `cmd:"" help:"Make data files for analysts."`
	Form         formCmd         `cmd:"" help:"Make, check, publish, print and show questionnaires."`
	Check        checkCmd        `cmd:"" help:"Check a tablet's file, or the folder of a headquarters or a hub."`
	Simulate     simulateCmd     `cmd:"" help:"Make a study of any size with known truth; or see what faults do to a field team (--faults)."`
	Bench        benchCmd        `cmd:"" help:"Measure this machine: ingest, load, scale, idle tablets, radio, bytes on the wire."`
}

const description = `Hearth is the backend of household surveys collected offline on tablets.

To see it work, run "hearth demo".

Exit codes: 0 done, 1 failed or found something wrong, 2 wrong use.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errFound is returned by verbs that worked but found something wrong; what, they have said already.
var errFound = errors.New("found something wrong")

// run is main without the process: it parses, runs one verb and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	var c cli
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("hearth"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { exit = n; panic(exitPanic{}) }),
		kong.Vars{"version": version(), "formats": referralFormats, "formatnames": strings.Join(referral.Formats(), ",")},
		kong.Configuration(loadTOML),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "hearth:", err)
		return 1
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(exitPanic); !ok {
				panic(p)
			}
			code = exit
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "hearth: %v\nSee: hearth --help\n", err)
		return 2
	}
	e := &env{ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr, terminal: isTerminal(stderr)}
	err = kctx.Run(e)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFound):
		return 1
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "hearth: %v\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "hearth: %s\n", explain(err))
	return 1
}

// exitPanic carries kong's wish to exit (after --help or --version) out of Parse.
type exitPanic struct{}

// errUsage marks errors of wrong use beyond what the parser sees.
var errUsage = errors.New("wrong use")

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// version is the module's version and the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += " " + s.Value[:12]
		}
	}
	return v + " " + info.GoVersion
}
