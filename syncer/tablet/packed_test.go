package tablet_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer/syncertest"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// picky is headquarters that answers for packed batches what it is told to, and notes in which form batches came.
type picky struct {
	*syncertest.Server
	refuse fault.Reason
	old    bool // it does not know the packed form
	packed int
	plain  int
	chains int // packed batches that say what stands before them
}

func (p *picky) Hello(ctx context.Context, req *servicev1.HelloRequest) (*servicev1.HelloResponse, error) {
	resp, err := p.Server.Hello(ctx, req)
	if p.old && err == nil {
		resp.Packing, resp.Dictionaries = nil, nil
	}
	return resp, err
}

func (p *picky) PushBatch(ctx context.Context, req *servicev1.PushBatchRequest) (*servicev1.PushBatchResponse, error) {
	if len(req.GetBatch().GetPacked()) == 0 {
		p.plain++
		return p.Server.PushBatch(ctx, req)
	}
	p.packed++
	if len(req.GetBatch().GetPrevChain()) > 0 {
		p.chains++
	}
	if p.refuse == "" {
		return p.Server.PushBatch(ctx, req)
	}
	st, err := status.New(codes.InvalidArgument, "refused").WithDetails(&errdetails.ErrorInfo{Reason: string(p.refuse), Domain: "hearth"})
	if err != nil {
		return nil, err
	}
	return nil, st.Err()
}

// A server that reads the packed form gets it; one that does not, or refuses what was packed, gets the records all the same.
func TestPackedBatchesHoldNothingUp(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		srv                   picky
		packed, plain, chains bool
	}{
		{"a server that reads packed batches", picky{}, true, false, false},
		{"an older one", picky{old: true}, false, true, false},
		{"one that cannot verify them", picky{refuse: fault.BadSignature}, true, true, false},
		{"one whose lane ends elsewhere", picky{refuse: fault.BadChain}, true, true, false},
		{"one that cannot read them", picky{refuse: fault.BadBatch}, true, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := create(t, "tablet-01")
			var want []string
			for i := range 30 {
				iv := syncertest.Interview("tablet-01", i, strings.Repeat("answer ", 90))
				add(t, s, iv)
				want = append(want, iv.GetInterviewId())
			}
			srv := tt.srv
			srv.Server = syncertest.NewServer("hq")
			link, err := syncertest.Connect(&srv)
			if err != nil {
				t.Fatal(err)
			}
			defer link.Close()
			opts := fast()
			opts.Compress, opts.Near = true, -1
			r := mustSync(t, s, link, opts)
			if r.Sent != len(want) || r.Pending != 0 || len(srv.Records()) != len(want) {
				t.Errorf("%d sent, %d pending, %d arrived, want %d", r.Sent, r.Pending, len(srv.Records()), len(want))
			}
			got := fmt.Sprint(srv.packed > 0, srv.plain > 0, srv.chains > 0)
			if diff := cmp.Diff(fmt.Sprint(tt.packed, tt.plain, tt.chains), got); diff != "" {
				t.Errorf("packed, plain, packed with a chain (-want +got):\n%s", diff)
			}
			if srv.refuse != "" && srv.packed > 1 {
				t.Errorf("%d packed batches were sent to a server that refuses them, want 1", srv.packed)
			}
		})
	}
}

// The packed form is chosen by what is smaller on the wire, and not for a server that answers as if it stood beside.
func TestPackedSyncIsSmaller(t *testing.T) {
	size := func(old bool, near, away time.Duration) int64 {
		s := create(t, "tablet-01")
		for i := range 20 {
			add(t, s, syncertest.Interview("tablet-01", i, fmt.Sprint("answer ", i)))
		}
		link, err := syncertest.Connect(&picky{Server: syncertest.NewServer("hq"), old: old})
		if err != nil {
			t.Fatal(err)
		}
		defer link.Close()
		opts := fast()
		opts.Compress, opts.Near = true, near
		clock := time.Unix(0, 0)
		opts.Now = func() time.Time { clock = clock.Add(away); return clock } // every look takes so long
		return mustSync(t, s, link, opts).BytesUp
	}
	const beside, radio = time.Millisecond, 700 * time.Millisecond
	packed, zstd := size(false, -1, beside), size(true, -1, beside)
	if packed > zstd*2/3 {
		t.Errorf("%d bytes packed, %d with zstd alone", packed, zstd)
	}
	if got := size(false, 0, beside); got != zstd {
		t.Errorf("%d bytes were sent to a server beside, want %d as zstd", got, zstd)
	}
	if got := size(false, 0, radio); got != packed {
		t.Errorf("%d bytes were sent by radio, want %d packed", got, packed)
	}
}
