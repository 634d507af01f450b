package tablet

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// errCut is that a stream ended before everything was answered: where the server stands is to be asked again.
var errCut = errors.New("the stream of batches was cut")

// pipe is a stream over which several batches are on their way. Its first message is a Hello.
type pipe struct {
	stream grpc.BidiStreamingClient[servicev1.PushRequest, servicev1.PushResponse]
	cancel context.CancelFunc
	size   int       // bytes sent and not answered
	since  time.Time // of the last answer
}

// closePipe ends the stream; what was not answered is as if it had not been sent.
func (x *session) closePipe() {
	if x.pipe != nil {
		x.pipe.cancel()
		x.pipe = nil
	}
	x.out, x.bidding = nil, false
}

// window is how many batches may be on their way.
func (x *session) window() int {
	if x.pipe == nil {
		return 1
	}
	return x.opts.Window
}

// openPipe opens a stream with a Hello, and returns its answer. Where the tablet knows the server and where its lane ends
// there, the first batches go with the Hello. It makes one attempt.
func (x *session) openPipe(ctx context.Context, hello *servicev1.HelloRequest) (*servicev1.HelloResponse, error) {
	x.closePipe()
	req, proved := hello, false
	if x.conn != nil {
		var err error
		if req, proved, err = x.conn.prove(ctx, hello); err != nil {
			return nil, err
		}
	}
	streamCtx, cancel := context.WithCancel(ctx)
	stream, err := x.client.Push(context.WithValue(streamCtx, provesKey{}, proved))
	if err != nil {
		cancel()
		return nil, err
	}
	x.pipe = &pipe{stream: stream, cancel: cancel, since: x.opts.Now()}
	x.say(&servicev1.PushRequest{Hello: req})
	if err := x.sendEarly(ctx); err != nil {
		x.closePipe()
		return nil, err
	}
	resp, err := x.hear()
	if err == nil && resp.GetHello() == nil {
		err = status.Error(codes.InvalidArgument, "the server answered a Hello with something else")
	}
	if x.conn != nil {
		var again bool
		if again, err = x.conn.answered(ctx, req, resp.GetHello(), err); again && err == nil {
			return x.openPipe(ctx, hello) // without the proof, which was refused
		}
	}
	if err != nil {
		x.closePipe()
		return nil, err
	}
	return resp.GetHello(), nil
}

// sendEarly sends the first batches of the lane before the answer to Hello, which spares a round trip. The tablet must have
// met headquarters at this address and know by a receipt where its lane ends there; and it does so once: where no answer
// comes it asks before it sends anything again. If the lane ends elsewhere after all nothing is lost: what is held
// already is known by its digest, and another branch is kept beside this one, as always.
func (x *session) sendEarly(ctx context.Context) error {
	known, err := x.s.contact(ctx, x.opts.Address)
	if err != nil || !known.met || known.hub || known.early || x.early {
		return err
	}
	x.early = true
	epoch, err := currentEpoch(ctx, x.s.db)
	if err != nil {
		return err
	}
	signed, err := x.s.receipted(ctx, epoch)
	if err != nil {
		return err
	}
	end, err := x.s.laneEnd(ctx, epoch, 0)
	if err != nil || signed >= end {
		return err
	}
	if err := x.s.sentEarly(ctx, x.opts.Address); err != nil {
		return err
	}
	failpoint.Hit("tablet.before-early")
	x.limits, x.packing, x.dictionaries = syncer.DefaultLimits, known.packing, known.dictionaries
	x.grow()
	next := signed + 1
	if err := x.fill(ctx, syncer.LaneID{Device: x.s.device, Epoch: epoch}, &next, end); err != nil || next <= end {
		return err
	}
	return x.bid(ctx)
}

// fill sends batches of a lane until the window is full or all is on its way.
func (x *session) fill(ctx context.Context, lane syncer.LaneID, next *uint64, end uint64) error {
	for len(x.out) < x.window() && *next <= end {
		run, err := x.load(ctx, lane, *next, end)
		if err != nil {
			return err
		}
		if x.pipe != nil {
			run.batch, run.posted = x.batchOf(run), x.opts.Now()
			failpoint.Hit("tablet.before-send")
			x.say(&servicev1.PushRequest{Batch: run.batch})
		}
		x.out, x.saidAll = append(x.out, run), false
		*next = run.next()
	}
	return nil
}

// grow begins with larger batches where they are packed: what counts is the wire.
func (x *session) grow() {
	if x.packing > 0 && x.opts.Compress && x.batch == firstBatch {
		x.batch = min(packedFirst, x.opts.MaxBatchBytes)
	}
}

// say sends a message. An error shows when the answer is waited for.
func (x *session) say(m *servicev1.PushRequest) {
	size := proto.Size(m)
	x.report.BytesUp += int64(size)
	x.pipe.size += size
	x.asked = true
	_ = x.pipe.stream.Send(m)
}

// hear waits for the next answer of the stream, as long as something moves.
func (x *session) hear() (*servicev1.PushResponse, error) {
	p := x.pipe
	defer x.watch(p.cancel, p.size)()
	if x.asked {
		x.report.RoundTrips++
		x.asked = false
	}
	resp, err := p.stream.Recv()
	if errors.Is(err, io.EOF) {
		err = status.Error(codes.Unavailable, "the server ended the stream")
	}
	if err == nil {
		x.report.BytesDown += int64(proto.Size(resp))
	}
	return resp, err
}

// answer waits for the answer to the oldest batch on its way. Without one and without an error it was cut, and the batch is
// to be sent again.
func (x *session) answer(ctx context.Context) (*outgoing, *servicev1.BatchAck, error) {
	run := x.out[0]
	if x.pipe == nil {
		x.out = nil
		ack, err := x.send(ctx, run)
		return run, ack, err
	}
	resp, err := x.hear()
	if err == nil && x.bidding && resp.GetHello() != nil { // of a farewell behind which more was sent
		x.bidding = false
		resp, err = x.hear()
	}
	if err == nil && resp.GetAck() == nil {
		err = status.Error(codes.InvalidArgument, "the server answered a batch without saying what became of it")
	}
	if err == nil {
		failpoint.Hit("tablet.after-send")
		now := x.opts.Now()
		if began := maxTime(run.posted, x.pipe.since); now.Sub(began) < quick {
			x.batch = min(2*x.batch, x.opts.MaxBatchBytes, x.limits.Bytes)
		}
		x.pipe.since, x.pipe.size = now, max(0, x.pipe.size-proto.Size(run.batch))
		x.failures = 0
		x.report.Batches++
		x.out = x.out[1:]
		return run, resp.GetAck(), nil
	}
	x.closePipe()
	if ctx.Err() != nil {
		return run, nil, context.Cause(ctx)
	}
	err = wireFault(err, "send records")
	switch {
	case x.unpacked(run.batch, err):
		return run, nil, errCut
	case fault.KindOf(err) == fault.TooLarge:
		err = x.shrink(ctx, run, err)
	default:
		x.batch = max(x.batch/2, leastBatch)
		err = x.pause(ctx, err)
	}
	if err == nil {
		err = errCut
	}
	return run, nil, err
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// settleEarly takes the answers to batches that went before the server's answer, where its lane does not end where they
// begin; the lane goes on from where it is then.
func (x *session) settleEarly(ctx context.Context, current syncer.ID, held map[syncer.ID]syncer.Head) error {
	if len(x.out) == 0 || held[current].Seq == x.out[0].first-1 && x.out[0].lane.Epoch == current {
		return nil
	}
	forked := false
	for len(x.out) > 0 {
		run, ack, err := x.answer(ctx)
		if err != nil {
			return err
		}
		head, err := x.take(ctx, run, ack)
		switch {
		case errors.Is(err, errFork):
			forked = true
		case err != nil:
			return err
		case head.Seq > held[run.lane.Epoch].Seq:
			held[run.lane.Epoch] = head
		}
	}
	if forked {
		return errFork
	}
	return nil
}

// bid sends the farewell behind the last batches, so that it costs no round trip of its own: what will be left if they are
// taken.
func (x *session) bid(ctx context.Context) error {
	if x.pipe == nil || x.bidding || len(x.out) == 0 {
		return nil
	}
	req, err := x.s.helloRequest(ctx)
	if err != nil {
		return err
	}
	left := req.GetPending()
	for _, run := range x.out {
		left -= min(left, uint64(len(run.digests)))
	}
	req.DownSum, req.Pending, req.Brief = nil, proto.Uint64(left), proto.Bool(true)
	if x.conn != nil {
		req.PublicKey, req.DeviceName, req.Enumerator = nil, nil, nil
	}
	failpoint.Hit("tablet.before-farewell")
	x.say(&servicev1.PushRequest{Hello: req})
	x.bidding = true
	return nil
}

// bidden takes the answer to a farewell that went with the batches; one that does not come is no harm.
func (x *session) bidden() {
	if x.pipe == nil || !x.bidding {
		return
	}
	x.bidding = false
	if resp, err := x.hear(); err == nil && resp.GetHello() != nil {
		x.saidAll = true
	}
}

// watch ends a call in which nothing moves: no byte for the time that a call may take, where bytes are counted, else no
// answer for that and the time that size bytes need on a slow link. It returns how to end watching.
func (x *session) watch(end func(), size int) func() {
	limit := x.opts.CallTimeout + time.Duration(size)*time.Millisecond
	if x.opts.Moved == nil {
		timer := time.AfterFunc(limit, end)
		return func() { timer.Stop() }
	}
	done := make(chan struct{})
	go func() {
		every := max(x.opts.CallTimeout/20, time.Millisecond)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		moved, still := x.opts.Moved(), time.Duration(0)
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if now := x.opts.Moved(); now != moved {
				moved, still = now, 0
			} else if still += every; still >= x.opts.CallTimeout {
				end()
				return
			}
		}
	}()
	return func() { close(done) }
}
