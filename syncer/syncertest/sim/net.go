package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// station is whom a link leads to.
type station interface {
	called() string
	call(ctx context.Context, who, method string, request, answer proto.Message) error
}

// link is the network between one tablet or hub and a station during one step. It is a grpc.ClientConnInterface; calls are
// made one at a time.
type link struct {
	w       *world
	to      station
	name    string // of the tablet or hub, for the trace
	fault   func(l *link, call int) fate
	at      int
	rand    *rand.Rand
	calls   int
	batch   int     // calls of PushBatch
	lost    bool    // the last call was lost on its way, or its answer
	stream  *stream // that is open; nil: none
	session bool    // the tablet comes as itself
	yield   func()  // hands over to whoever else is at work; nil: nobody
	// yieldSync does so at the calls of a sync alone: at others the hub holds locks for which the other may wait.
	yieldSync func()
}

// fate is what becomes of a call.
type fate int

const (
	arrives fate = iota
	requestLost
	answerLost
	delivered2 // twice, the second answer comes
	delayed    // the caller gives up; the request comes later
	flipped    // a byte of a record is another on its way
	forged     // somebody between keeps the request and answers in headquarters' name
)

// linkFaults are the faults of a network by name.
var linkFaults = map[string]func(l *link, call int) fate{
	"norequest": func(l *link, call int) fate { return after(l, call, requestLost) },
	"noanswer":  func(l *link, call int) fate { return after(l, call, answerLost) },
	"twice":     func(*link, int) fate { return delivered2 },
	"late": func(l *link, call int) fate {
		if call == l.at {
			return delayed
		}
		return arrives
	},
	"flip": func(l *link, call int) fate {
		if l.batch == 1 {
			return flipped
		}
		return arrives
	},
	"forge": func(*link, int) fate { return forged },
	"flaky": func(l *link, _ int) fate {
		if l.rand.IntN(3) > 0 {
			return arrives
		}
		return fate(l.rand.IntN(int(delayed) + 1))
	},
}

func after(l *link, call int, f fate) fate {
	if call >= l.at {
		return f
	}
	return arrives
}

// lateCall is a request that is still under way when its caller has given up.
type lateCall struct {
	to           station
	name, method string
	request      proto.Message
	entries      []entry         // of a batch
	ctx          context.Context // of who came as itself; nil: with headquarters' token
}

// Invoke implements grpc.ClientConnInterface.
func (l *link) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	l.forsake()
	if l.yield != nil {
		l.yield()
	}
	if l.yieldSync != nil && strings.HasPrefix(method, "/"+servicev1.SyncService_ServiceDesc.ServiceName+"/") {
		l.yieldSync()
	}
	if l.session {
		ctx = context.WithValue(ctx, itself{}, true)
	}
	l.calls++
	if method == servicev1.SyncService_PushBatch_FullMethodName {
		l.batch++
	}
	l.w.now = l.w.now.Add(time.Duration(50+l.w.rand.IntN(3000)) * time.Millisecond)
	short := method[strings.LastIndexByte(method, '/')+1:]
	request, answer := args.(proto.Message), reply.(proto.Message)
	f := arrives
	if l.fault != nil {
		f = l.fault(l, l.calls)
	}
	l.lost = false
	lost := func(what string) error {
		l.lost = true
		return status.Error(codes.Unavailable, "the link lost the "+what)
	}
	l.w.trace("    %s -> %s  %s%s", l.name, l.to.called(), short, told(request))
	switch f {
	case requestLost:
		l.w.trace("    %s -x      lost", l.name)
		return lost("request")
	case delayed:
		l.w.trace("    %s -~      late", l.name)
		l.w.late = append(l.w.late, lateCall{l.to, l.name, method, proto.Clone(request), nil, context.WithoutCancel(ctx)})
		return lost("request")
	case flipped:
		request = l.w.flip(request)
	case forged:
		if l.w.forge(request, answer) {
			l.w.trace("    %s <-?     %s%s, forged", l.name, short, told(answer))
			return nil
		}
	case delivered2:
		_ = l.to.call(ctx, l.name, method, request, answer.ProtoReflect().New().Interface())
	case answerLost:
		err := l.to.call(ctx, l.name, method, request, answer.ProtoReflect().New().Interface())
		l.w.trace("    %s  x- %s  answer lost (%v)", l.name, l.to.called(), status.Code(err))
		return lost("answer")
	}
	if err := l.to.call(ctx, l.name, method, request, answer); err != nil {
		return err
	}
	l.w.trace("    %s <- %s  %s%s", l.name, l.to.called(), short, told(answer))
	return nil
}

// told is what the trace says of a message.
func told(m proto.Message) string {
	switch m := m.(type) {
	case *servicev1.PushBatchRequest:
		b := m.GetBatch()
		if len(b.GetEntries()) == 0 {
			return fmt.Sprintf(" lane %.4x, packed from %d", b.GetLane().GetEpoch(), b.GetFirstSeq())
		}
		return fmt.Sprintf(" lane %.4x, %d to %d", b.GetLane().GetEpoch(), b.GetFirstSeq(), b.GetFirstSeq()+uint64(len(b.GetEntries()))-1)
	case *servicev1.PushBatchResponse:
		a := m.GetAck()
		s := fmt.Sprintf(" receipt to %d", a.GetReceipt().GetSeq())
		if c := a.GetCustody(); c != nil {
			s = fmt.Sprintf(" custody to %d", c.GetSeq())
		}
		if a.GetFork() {
			s += ", fork"
		}
		for _, r := range a.GetResults() {
			s += fmt.Sprintf(", %d %s %s", r.GetSeq(), strings.ToLower(strings.TrimPrefix(r.GetOutcome().String(), "ENTRY_OUTCOME_")), r.GetReason())
		}
		return s
	case *servicev1.HelloRequest:
		return lanes(m.GetLanes())
	case *servicev1.HelloResponse:
		return lanes(m.GetLanes())
	case *servicev1.OfferRequest:
		return fmt.Sprintf(" %d records", len(m.GetRecords()))
	case *servicev1.OfferResponse:
		return fmt.Sprintf(" wants %v", m.GetWanted())
	case *servicev1.PullResponse:
		return fmt.Sprintf(" %d records", len(m.GetEntries()))
	}
	return ""
}

func lanes(all []*servicev1.LaneHead) string {
	var b strings.Builder
	for _, h := range all {
		fmt.Fprintf(&b, ", lane %.4x to %d", h.GetLane().GetEpoch(), h.GetSeq())
	}
	return b.String()
}

// actor is somebody at work beside others. One works at a time, and hands over at every call.
type actor struct {
	resume chan struct{}
	paused chan bool // receives true when the work is done
	broken any       // what it panicked with
}

// together lets several work at once: who goes on at each handing over is drawn from r.
func together(r *rand.Rand, work ...func(yield func())) {
	var all []*actor
	for _, do := range work {
		a := &actor{resume: make(chan struct{}), paused: make(chan bool)}
		all = append(all, a)
		go func() {
			<-a.resume
			defer func() {
				a.broken = recover()
				a.paused <- true
			}()
			do(func() {
				a.paused <- false
				<-a.resume
			})
		}()
	}
	var broken any
	for len(all) > 0 {
		i := r.IntN(len(all))
		a := all[i]
		a.resume <- struct{}{}
		if <-a.paused {
			if a.broken != nil && broken == nil {
				broken = a.broken
			}
			all = append(all[:i], all[i+1:]...)
		}
	}
	if broken != nil {
		panic(broken)
	}
}
