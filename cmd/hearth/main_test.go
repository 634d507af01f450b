package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hearth": main})
}

// concurrent are the scripts that short runs play, which are those with the race detector: several tablets, a hub and
// headquarters at the same time. Whole runs play all.
var concurrent = []string{filepath.Join("testdata", "script", "enumerator.txtar"), filepath.Join("testdata", "script", "hub.txtar")}

// Every script is the tutorial of one role, or a list of what can go wrong, run with the real program.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(scripts) < 5 {
		t.Fatalf("found %d scripts (%v), want at least 5", len(scripts), err)
	}
	if testing.Short() {
		scripts = concurrent
	}
	testscript.Run(t, testscript.Params{
		Files:               scripts,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HEARTH_SHARED", sharedDir(t))
			e.Values[runningServers] = map[string]*exec.Cmd{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"serve": serveInScript,
			"halt":  haltInScript,
			"flip":  flipInScript,
			"cut":   cutInScript,
			"grab":  grabInScript,
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "shared":
				_, err := os.Stat(filepath.Join(sharedDir(t), "data"))
				if err != nil && os.Getenv("HEARTH_CI") != "" {
					return false, fmt.Errorf("in CI the public data must stand in %s", sharedDir(t))
				}
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
	})
}

// sharedDir is where the public data stand: beside the repository, or where HEARTH_SHARED says.
func sharedDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("HEARTH_SHARED"); dir != "" {
		return dir
	}
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "shared"))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// serve DIR [FLAGS] starts `hearth serve` on a free loopback port, sets HEARTH_SERVER and HEARTH_TOKEN, and stops it at the
// end.
func serveInScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || neg {
		ts.Fatalf("usage: serve DIR [FLAGS]")
	}
	exe, err := exec.LookPath("hearth")
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	cmd := exec.Command(exe, append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0", "--metrics", "off", "--quiet"}, args[1:]...)...)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { _ = cmd.Process.Signal(syscall.SIGTERM); _ = cmd.Wait() })
	running := ts.Value(runningServers).(map[string]*exec.Cmd)
	running[""], running[dir] = cmd, cmd
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	fields := strings.Fields(line)
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	ts.Check(err)
	ts.Setenv("HEARTH_SERVER", fields[len(fields)-1])
	ts.Setenv("HEARTH_TOKEN", strings.TrimSpace(string(token)))
}

// runningServers names, among the values of a script, the servers that it started, by folder; the last one under "".
const runningServers = "running servers"

// halt [DIR] ends the server that was started last, or that of a folder, and waits until it has ended.
func haltInScript(ts *testscript.TestScript, neg bool, args []string) {
	dir := ""
	if len(args) == 1 {
		dir = ts.MkAbs(args[0])
	}
	cmd := ts.Value(runningServers).(map[string]*exec.Cmd)[dir]
	if len(args) > 1 || neg || cmd == nil {
		ts.Fatalf("usage: halt [DIR], after serve DIR")
	}
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait() // of a process that was told to end
}

// flip FILE TEXT changes one bit in the first place where TEXT stands in FILE.
func flipInScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: flip FILE TEXT")
	}
	path := ts.MkAbs(args[0])
	raw, err := os.ReadFile(path)
	ts.Check(err)
	i := strings.Index(string(raw), args[1])
	if i < 0 {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	raw[i] ^= 1
	ts.Check(os.WriteFile(path, raw, 0o600))
}

// grab VAR PATTERN sets a variable to what the group in the pattern matches of the last standard output.
func grabInScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: grab VAR PATTERN")
	}
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	found := pattern.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("the output has no %s", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// cut FILE BYTES OUT copies the first bytes of a file.
func cutInScript(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: cut FILE BYTES OUT")
	}
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 0 {
		n += len(raw)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), raw[:n], 0o600))
}
