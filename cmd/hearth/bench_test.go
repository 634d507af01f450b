package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// BenchmarkIngest sends household interviews by batches of 100 from 16 tablets over gRPC, all in one process, and
// reports acknowledged interviews per second beside the bare write of the same bytes.
func BenchmarkIngest(b *testing.B) {
	team, err := newBenchTeam(16_000, 16, 100)
	if err != nil {
		b.Fatal(err)
	}
	var acked, raw time.Duration
	for b.Loop() {
		rate, err := rawWrite(filepath.Join(b.TempDir(), "raw.sqlite"), team, 1000)
		if err != nil {
			b.Fatal(err)
		}
		raw += time.Duration(float64(team.records) / rate * float64(time.Second))
		acked += ingestHere(b, team)
	}
	n := float64(team.records * b.N)
	b.ReportMetric(n/acked.Seconds(), "acked/s")
	b.ReportMetric(n/raw.Seconds(), "bare/s")
	b.ReportMetric(raw.Seconds()/acked.Seconds(), "of_bare")
}

// ingestHere pushes the team's batches to a server in this process and returns how long the acknowledgements took.
func ingestHere(b *testing.B, team *benchTeam) time.Duration {
	ctx, cancel := context.WithCancel(b.Context())
	n, err := openNode(ctx, b.TempDir(), nodeOptions{serving: true})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.server.Serve(ctx, ln) }()
	all, err := team.dial(ln.Addr().String(), n.token)
	if err != nil {
		b.Fatal(err)
	}
	if err := team.hello(ctx, all); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if err := team.push(ctx, all); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	if _, err := servicev1.NewMonitorServiceClient(all[0]).CountInterviews(ctx, &servicev1.CountInterviewsRequest{}); err != nil {
		b.Fatal(err)
	}
	if err := hangUp(all); err != nil {
		b.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	if err := n.close(); err != nil {
		b.Fatal(err)
	}
	return took
}

// BenchmarkWire packs household interviews into batches of 100 and reports the bytes each takes on the wire.
func BenchmarkWire(b *testing.B) {
	team, err := newBenchTeam(400, 1, 100)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		sizes, err := wireSizes(team.sample)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(sizes[0].Batch100), "B/interview")
		b.ReportMetric(float64(sizes[0].Batch100)/float64(sizes[3].Batch100), "of_gzip_xml")
	}
}

// BenchmarkUnpack reads a batch of 100 household interviews, packed and as zstd, as a server does before it takes the
// records in.
func BenchmarkUnpack(b *testing.B) {
	team, err := newBenchTeam(100, 1, 100)
	if err != nil {
		b.Fatal(err)
	}
	tab := team.tablets[0]
	for name, batch := range map[string]*servicev1.Batch{
		"zstd":   tab.batches[0],
		"packed": syncer.PackBatch(tab.key, tab.lane, 1, syncer.Chain{}, tab.digests[0], tab.raws[0], syncer.PackOptions{Dictionaries: syncer.Dictionaries()}),
	} {
		b.Run(name, func(b *testing.B) {
			before := ownCPU()
			for b.Loop() {
				if _, err := syncer.Check(batch, tab.key.Public().(ed25519.PublicKey), syncer.DefaultLimits); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((ownCPU()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(proto.Size(batch))/100, "B/interview")
		})
	}
}

// What --all ends with says whether every promise is met; what nothing is promised of does not count.
func TestBenchEndsHonestly(t *testing.T) {
	for _, tc := range []struct {
		name string
		met  []bool
		want error
	}{{"all met", []bool{true, true}, nil}, {"one not", []bool{true, false}, errFound}} {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			s := section{Name: "s", Verdicts: []verdict{told("nothing is promised", "7")}}
			for _, m := range tc.met {
				s.Verdicts = append(s.Verdicts, judged("w", "1", "2", m))
			}
			err := (&benchCmd{JSON: asJSON}).printSections(&env{stdout: &out}, []section{s})
			if !errors.Is(err, tc.want) || out.Len() == 0 {
				t.Errorf("%s: %v, want %v: %s", tc.name, err, tc.want, out.String())
			}
		}
	}
}
