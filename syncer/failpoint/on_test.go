//go:build failpoints

package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, bad := range []string{"x", "=kill", "x=", "x=die", "x=sleep", "x=sleep:soon", "x=kill@", "x=kill@-1", "x=kill@y"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse(%q) is taken", bad)
		}
	}
	p, err := parse("a=kill,b=error@*,c=sleep:20ms@3")
	if err != nil {
		t.Fatal(err)
	}
	if o := p.orders["a"]; o.action != "kill" || o.at != 1 {
		t.Errorf("a = %+v", o)
	}
	if o := p.orders["c"]; o.action != "sleep" || o.pause != 20*time.Millisecond || o.at != 3 {
		t.Errorf("c = %+v", o)
	}
	for range 3 {
		if p.due("b") == nil {
			t.Error("b is not due every time")
		}
	}
	if p.due("c") != nil || p.due("c") != nil || p.due("c") == nil || p.due("c") != nil {
		t.Error("c is not due the third time only")
	}
	if p.due("d") != nil {
		t.Error("d is due")
	}
}

// The test binary is the process that is killed.
func TestFail(t *testing.T) {
	if os.Getenv("HEARTH_FAILPOINT") != "" {
		Hit("other")
		if err := Fail("fails"); !errors.Is(err, ErrInjected) {
			t.Error("fails does not fail")
		}
		Hit("place")
		t.Log("alive")
		Hit("place")
		return
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(os.Args[0], "-test.run=^TestFail$", "-test.v")
	cmd.Env = append(os.Environ(), "HEARTH_FAILPOINT=place=kill@2,fails=error", "HEARTH_FAILPOINT_TRACE="+trace)
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the process ended with %v, want it killed", err)
	}
	raw, err := os.ReadFile(trace)
	if err != nil || string(raw) != "\nother\nfails\nplace\nplace\n" {
		t.Errorf("trace = %q, %v", raw, err)
	}
}
