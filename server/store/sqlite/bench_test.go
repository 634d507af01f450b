package sqlite

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// The load of the benchmarks: 16 tablets that send batches of 100 records of 1 to 3 KB, about the households of one
// site after the other, 500 in each.
const (
	benchTablets = 16
	benchBatch   = 100
	benchBytes   = 2048
)

// benchBatches makes n batches for every tablet.
func benchBatches(b *testing.B, n int) [benchTablets][]*syncer.Checked {
	var out [benchTablets][]*syncer.Checked
	random := rand.New(rand.NewPCG(1, 2))
	for i := range out {
		tablet := storetest.NewTablet(uint64(i) + 1)
		head := syncer.Head{}
		for k := range n {
			site := string(rune('a'+i)) + strconv.Itoa(k/5)
			c := &syncer.Checked{Lane: tablet.Lane}
			run := syncer.Run{First: head.Seq + 1, Prev: head.Chain, Signature: make([]byte, 64)}
			for range benchBatch {
				payload := make([]byte, benchBytes/2+random.IntN(benchBytes)-150)
				for k := range payload {
					payload[k] = byte(random.Uint32())
				}
				r := tablet.Record(b, syncer.Part("bench", site), storetest.Subject(random.Uint64()),
					func(r *servicev1.Record) { r.Payload = payload })
				run.Digests = append(run.Digests, r.Digest)
				c.Entries = append(c.Entries, syncer.Entry{Seq: run.Last(), Digest: r.Digest, Raw: r.Bytes, Record: r.Record})
				c.Bytes += len(r.Bytes)
			}
			c.Runs, head = []syncer.Run{run}, run.Head(tablet.Lane)
			out[i] = append(out[i], c)
		}
	}
	return out
}

// eachTablet runs f for every batch, the tablets side by side.
func eachTablet(b *testing.B, f func(*syncer.Checked) error) {
	n := (b.N + benchTablets - 1) / benchTablets
	batches := benchBatches(b, n)
	b.SetBytes(int64(batches[0][0].Bytes))
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, mine := range batches {
		wg.Go(func() {
			for _, c := range mine {
				if err := f(c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(n*benchTablets*benchBatch)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkAppend is durable ingest: compare its records/s with BenchmarkRaw, in the same run.
func BenchmarkAppend(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	eachTablet(b, func(c *syncer.Checked) error {
		_, err := s.Append(context.Background(), c)
		return err
	})
}

// BenchmarkRaw writes the same bytes into a bare table, in the same group commits.
func BenchmarkRaw(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	var insert *stmt
	create := &job{apply: func(t *tx) error {
		if err := t.run(`CREATE TABLE raw (body BLOB NOT NULL) STRICT`); err != nil {
			return err
		}
		insert = t.prepare(`INSERT INTO raw (body) VALUES (?)`)
		return nil
	}}
	if err := s.writer.do(b.Context(), create); err != nil {
		b.Fatal(err)
	}
	eachTablet(b, func(c *syncer.Checked) error {
		return s.writer.do(context.Background(), &job{records: len(c.Entries), bytes: c.Bytes, apply: func(t *tx) error {
			for i := range c.Entries {
				if _, err := insert.exec(c.Entries[i].Raw); err != nil {
					return err
				}
			}
			return nil
		}})
	})
}

// BenchmarkCountCells counts 100,000 interviews by 40 enumerators in 200 sites on 30 days.
func BenchmarkCountCells(b *testing.B) {
	s := open(b, b.TempDir(), Options{})
	const interviews, page = 100_000, 1000
	for first := 0; first < interviews; first += page {
		changes := &store.Changes{}
		for i := first; i < first+page; i++ {
			site := i % 200
			changes.Interviews = append(changes.Interviews, &servicev1.InterviewProjection{Summary: &servicev1.InterviewSummary{
				InterviewId: proto.String(storetest.Subject(uint64(i))), Study: proto.String("bench"), Part: proto.Uint64(uint64(site) << 40),
				Questionnaire: proto.String("hearth.survey.v1.Household"), Enumerator: proto.String(strconv.Itoa(site / 5)),
				SiteId: proto.String(strconv.Itoa(site)), Day: proto.String("2016-07-" + strconv.Itoa(10+i/200%20)),
				StartTimeMs: proto.Int64(int64(i)), RespondentId: proto.String(storetest.Subject(uint64(i) + 1<<40)),
			}})
		}
		if err := s.Apply(b.Context(), changes); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		cells, err := s.CountCells(b.Context(), "bench")
		if err != nil || len(cells) < 200 {
			b.Fatal(len(cells), err)
		}
		b.ReportMetric(float64(len(cells)), "cells")
	}
}
