package sqlite

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store/storetest"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
)

// After a failure of the disk the log is opened anew and goes on, also while it is being read.
func TestRecovery(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := storetest.NewTablet(1)
	b.Push(t, s, b.Records(t, 7, 5)...)
	ctx, stop := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for range 6 {
		reading.Go(func() {
			for ctx.Err() == nil {
				if _, err := s.Lane(ctx, b.Lane); err != nil && ctx.Err() == nil && fault.KindOf(err) != fault.Unavailable {
					t.Errorf("Lane while the log is recovered: %v", err)
				}
			}
		})
	}
	for round := range 3 {
		onWriter(t, s, "PRAGMA max_page_count = 1") // the least that it can be: the pages there are
		batch := b.Check(t, b.Batch(b.Record(t, 7, "big", func(r *servicev1.Record) { r.Payload = make([]byte, 300_000) })))
		if _, err := s.Append(t.Context(), batch); fault.ReasonOf(err) != fault.DiskFull {
			t.Fatalf("round %d: Append to a full disk = %v", round, err)
		}
		if got, err := s.Append(t.Context(), batch); err != nil || got.New != 1 {
			t.Fatalf("round %d: Append afterwards = %+v, %v", round, got, err)
		}
	}
	stop()
	reading.Wait()
	if n := len(storetest.ReadAll(t, s, 10)); n != 8 {
		t.Errorf("%d of 8 records can be read", n)
	}
	if got := s.log.Stats().MaxOpenConnections; got != readConns {
		t.Errorf("%d connections may read, want %d", got, readConns)
	}
	soundExceptWarnings(t, s)
}

// Somebody who reads the log for longer than a recovery waits holds the batch up, and the next one recovers.
func TestRecoveryWaitsForReaders(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	rows, err := s.log.QueryContext(t.Context(), "SELECT epoch FROM meta UNION ALL SELECT epoch FROM meta")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = rows.Close()
	}()
	err = s.gate.alone(s.log, func() error {
		if n := s.log.Stats().OpenConnections; n != 0 {
			t.Errorf("%d connections are open", n)
		}
		if _, err := s.Head(t.Context()); err != nil {
			t.Errorf("what is in memory cannot be read: %v", err)
		}
		if err := s.log.PingContext(t.Context()); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a connection is opened during a recovery: %v", err)
		}
		return nil
	})
	if err != nil || time.Since(began) < 100*time.Millisecond {
		t.Errorf("alone = %v after %v", err, time.Since(began))
	}
	if err := s.log.PingContext(t.Context()); err != nil {
		t.Errorf("after the recovery: %v", err)
	}
}

// A sync fails, wherever; what was not made durable can still be read, and says the batch that comes again, to this
// process or to the next one, that it is a duplicate. Whatever is acknowledged survives the power cut after that.
func TestFailedSync(t *testing.T) {
	step, least := 2, 10
	if testing.Short() {
		step, least = 8, 3
	}
	for _, killed := range []bool{false, true} {
		failed := 0
		for at := 1; at < 60; at += step {
			d := faultdisk.New(uint64(at))
			failed += failedSync(t, d, at, killed)
			d.Close()
		}
		if failed < least {
			t.Errorf("killed %v: a batch failed in %d cases: the test tests nothing", killed, failed)
		}
	}
}

// failedSync returns how many batches failed.
func failedSync(t *testing.T, d *faultdisk.Disk, at int, killed bool) (failed int) {
	ctx := t.Context()
	again := func() *Store {
		s, err := Open(ctx, d.Path("hq"), Options{Disk: d})
		if err != nil {
			t.Fatalf("sync %d fails, killed %v: open: %v", at, killed, err)
		}
		return s
	}
	s := again()
	b := storetest.NewTablet(1)
	d.Set(faultdisk.Plan{Fail: faultdisk.BadSync, FailAt: at, FailFor: 1})
	acked := 0
	for range 6 {
		batch := b.Check(t, b.Batch(b.Records(t, 7, 2)...))
		if _, err := s.Append(ctx, batch); err != nil {
			failed++
			if killed {
				d.Kill()
				_ = s.Close() // its files are gone for it
				s = again()
			}
			if _, err := s.Append(ctx, batch); err != nil {
				t.Fatalf("sync %d fails, killed %v: the batch again: %v", at, killed, err)
			}
			acked += 2
			break // and now the power fails, before anything else is synced
		}
		acked += 2
	}
	d.Cut()
	_ = s.Close()
	s = again()
	if n := len(storetest.ReadAll(t, s, 100)); n != acked {
		t.Errorf("sync %d fails, killed %v: %d records, %d were acknowledged", at, killed, n, acked)
	}
	soundExceptWarnings(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return failed
}
