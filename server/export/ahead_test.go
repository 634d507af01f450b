package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// The interviews come in their order, however many there are; an error of the source comes behind those before it.
func TestReadAhead(t *testing.T) {
	broken := errors.New("broken")
	for _, n := range []int{0, 1, aheadPiece - 1, aheadPiece, aheadPiece + 1, 10*aheadPiece + 3} {
		for _, end := range []error{nil, broken} {
			j := &job{plan: &Plan{}, src: Source{Interviews: func(yield func(*Answered, error) bool) {
				for i := range n {
					if !yield(&Answered{Interview: &surveyv1.Interview{InterviewId: proto.String(fmt.Sprint(i))}}, nil) {
						return
					}
				}
				if end != nil {
					yield(nil, end)
				}
			}}}
			got := 0
			var err error
			for a, e := range j.ahead(t.Context()) {
				if err = e; err == nil && a.answered.Interview.GetInterviewId() != fmt.Sprint(got) {
					t.Fatalf("of %d the one at %d is %s", n, got, a.answered.Interview.GetInterviewId())
				}
				if e == nil {
					got++
				}
			}
			if got != n || err != end {
				t.Errorf("%d of %d came, and then %v, want %v", got, n, err, end)
			}
		}
	}
}

// Whoever stops, or is stopped, leaves no reader behind; a panic of the source is one of who walks.
func TestReadAheadStops(t *testing.T) {
	before := runtime.NumGoroutine()
	endless := &job{plan: &Plan{}, src: Source{Interviews: func(yield func(*Answered, error) bool) {
		for yield(&Answered{}, nil) {
		}
	}}}
	for range endless.ahead(t.Context()) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	var last error
	for _, err := range endless.ahead(ctx) {
		if n++; n == 100 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after it was stopped: %v", last)
	}
	func() {
		defer func() {
			if p := fmt.Sprint(recover()); !strings.Contains(p, "of the source") {
				t.Errorf("%v came of a panic of the source", p)
			}
		}()
		bad := &job{plan: &Plan{}, src: Source{Interviews: func(func(*Answered, error) bool) { panic("of the source") }}}
		for range bad.ahead(t.Context()) {
		}
	}()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// Random answers to random questionnaires, some of them damaged, give the same cells and reasons whether they are read by a plan or
// by protobuf, and as many are told to be unreadable.
func TestPlanReadsAsProtobuf(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		src := randomAnswers(t, 500+seed, 12)
		n := 0
		for a := range src.Interviews {
			if o := a.Interview.GetOther(); n%5 == 4 && len(o.GetAnswers()) > 3 {
				o.Answers[(n*7+int(seed))%len(o.Answers)] ^= 0x41
			}
			n++
		}
		top := src.Published[0].Top
		byPlan, told := spooled(t, src)
		src.Published[0].Read = func(answers []byte, _ uint32) (protoreflect.Message, error) {
			m := dynamicpb.NewMessage(top)
			if err := proto.Unmarshal(answers, m); err != nil {
				return nil, err
			}
			return m, nil
		}
		byProtobuf, want := spooled(t, src)
		if len(byPlan) < 1000 || !bytes.Equal(byPlan, byProtobuf) || !slices.Equal(told, want) {
			t.Fatalf("seed %d: %d bytes of rows, by protobuf %d; %q, by protobuf %q", seed, len(byPlan), len(byProtobuf), told, want)
		}
	}
}

// spooled are the rows of a source, as they are kept for the formats, and the warnings.
func spooled(t *testing.T, src Source) ([]byte, []string) {
	t.Helper()
	j, err := newJob(src, Options{Formats: []servicev1.ExportFormat{asCSV}, Profile: identified}, discard{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := newSpool(j.plan)
	defer rows.close()
	if _, err := j.lay(t.Context(), rows); err != nil || rows.file != nil {
		t.Fatal("the rows are too many for memory, or", err)
	}
	return slices.Clone(rows.buf), j.warnings
}
