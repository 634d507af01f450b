//go:build failpoints

package failpoint

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Enabled says whether the program was built with failpoints.
const Enabled = true

// ErrInjected is what Fail returns where a step is to fail.
var ErrInjected = errors.New("this step was made to fail by HEARTH_FAILPOINT")

// plan is what HEARTH_FAILPOINT says.
type plan struct {
	mu     sync.Mutex
	orders map[string]*order
	trace  *os.File
}

// order is what happens at one place.
type order struct {
	action string // kill, sleep or error
	pause  time.Duration
	at     int // which time the place is reached; 0: every time
	times  int
}

var read = sync.OnceValue(func() *plan {
	p, err := parse(os.Getenv("HEARTH_FAILPOINT"))
	if err == nil && os.Getenv("HEARTH_FAILPOINT_TRACE") != "" {
		p.trace, err = os.OpenFile(os.Getenv("HEARTH_FAILPOINT_TRACE"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = p.trace.WriteString("\n") // another process
		}
	}
	if err != nil { // a test that is written wrongly must not pass
		panic(err)
	}
	return p
})

// parse reads a list of orders.
func parse(text string) (*plan, error) {
	p := &plan{orders: map[string]*order{}}
	for one := range strings.SplitSeq(text, ",") {
		if one == "" {
			continue
		}
		name, what, ok := strings.Cut(one, "=")
		action, at, counted := strings.Cut(what, "@")
		o := &order{action: action, at: 1}
		var err error
		if counted && at == "*" {
			o.at = 0
		} else if counted {
			o.at, err = strconv.Atoi(at)
		}
		if rest, sleeps := strings.CutPrefix(action, "sleep:"); sleeps && err == nil {
			o.action = "sleep"
			o.pause, err = time.ParseDuration(rest)
		}
		known := o.action == "kill" || o.action == "error" || o.action == "sleep" && o.pause > 0
		if !ok || err != nil || !known || o.at < 0 || name == "" {
			return nil, fmt.Errorf("HEARTH_FAILPOINT: %q is not NAME=kill|error|sleep:DURATION with @N or @*", one)
		}
		p.orders[name] = o
	}
	return p, nil
}

// Hit marks a place. It kills the process or waits if HEARTH_FAILPOINT says so.
func Hit(name string) { _ = Fail(name) }

// Fail marks a place at which a step may fail. It returns ErrInjected if HEARTH_FAILPOINT says so, and does what Hit does.
func Fail(name string) error {
	o := read().due(name)
	if o == nil {
		return nil
	}
	switch o.action {
	case "kill":
		if p, err := os.FindProcess(os.Getpid()); err == nil {
			_ = p.Kill()
		}
		select {} // until the system has done it
	case "sleep":
		time.Sleep(o.pause)
	case "error":
		return ErrInjected
	}
	return nil
}

// due counts a place and returns its order if it is to be carried out now.
func (p *plan) due(name string) *order {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trace != nil {
		_, _ = p.trace.WriteString(name + "\n") // what cannot be traced is missed by the test
	}
	o := p.orders[name]
	if o == nil {
		return nil
	}
	o.times++
	if o.at != 0 && o.times != o.at {
		return nil
	}
	return o
}
