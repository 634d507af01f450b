package sim

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Scenario is a story that is always told, with what it is about: most were once the shortest that showed a bug.
type Scenario struct{ Name, Text string }

// Scenarios are short stories as diagrams of arrows.
//
// Each step is who:verb/how many!fault@when. Tablet 1's `1:record/4 -> save -> 1:sync` is: tablet 1 records four revisions,
// headquarters is backed up, tablet 1 syncs.
func Scenarios() []Scenario {
	return []Scenario{
		{"the answer to the last batch is lost", "1:record/3 -> 1:sync!noanswer@2 -> 1:prune -> 1:sync -> 1:prune"},
		{"every call is lost in turn", "1:record/5 -> 1:sync!norequest@1 -> 1:sync!norequest@2 -> 1:sync!noanswer@1 -> 1:sync!noanswer@2 -> 1:sync!noanswer@3"},
		{"restored to before what it sent, then as long again", "1:record/2 -> 1:backup -> 1:record/5 -> 1:sync -> 1:restore/1 -> 1:record/5 -> 1:sync -> 1:prune"},
		{"restored while the answer was lost", "1:record/2 -> 1:backup -> 1:record/2 -> 1:sync!noanswer@2 -> 1:restore/1 -> 1:record/2 -> 1:sync!noanswer@2 -> 1:sync -> 1:prune"},
		{"two copies push in turn", "1:record/2 -> 1:sync -> 1:twins/5#3 -> 1:twins/5#4 -> 1:twins/5#7 -> 1:prune -> 3:prune"},
		{"a copy has pruned, headquarters is restored: the other has the bytes", "1:record/4 -> save -> 1:sync -> 1:clone -> load/1 -> 1:prune -> 1:sync -> 3:sync"},
		{"the same, and the connection is cut while it is asked", "1:record/4 -> save -> 1:sync -> 1:clone -> load/1 -> 1:prune -> 1:sync -> 3:sync!norequest@3 -> 3:sync!noanswer@3"},
		{"a copy has pruned, headquarters is restored, the other never had a receipt", "save -> 1:record/4 -> 1:clone -> 1:sync -> 1:prune -> load/1 -> 1:sync -> 3:sync"},
		{"a copy fills the old lane of a restored headquarters otherwise", "1:relapse/3 -> 3:relapse/3 -> 1:record/1 -> 1:sync -> 3:sync -> 3:sync"},
		{"a byte is changed on the way", "1:record/3 -> 1:sync!flip@1 -> 1:sync"},
		{"somebody answers in headquarters' name, somebody sends in a tablet's", "1:record/3 -> 1:sync!forge@1 -> 1:sync -> 2:sync -> forge/2 -> reuse/2"},
		{"a sync of headquarters' disk fails, it is killed, then the power", "1:record/3 -> 1:sync!badsynchq@5#1 -> killhq -> 1:sync -> cuthq"},
		{"what was erased in quarantine comes again in a new lane", "1:record/5#2 -> 1:skew/1 -> 1:skew/1#5 -> 1:backup -> 1:sync -> 1:record/1 -> 1:sync -> withdraw/1 -> withdraw/2 -> withdraw/3 -> withdraw/4 -> erase/1 -> erase/2 -> erase/3 -> erase/4 -> 1:restore/1 -> 1:record/1#9 -> 1:sync"},
		{"a revoked tablet sends what it has", "1:record/2 -> 1:sync -> revoke -> 1:revoke -> 1:record/2 -> 1:sync -> replay -> 1:enrol -> replay"},
		{"a late batch comes when headquarters was restored", "save -> 1:record/5 -> 1:sync -> load/1 -> again/3 -> again/2 -> 1:sync"},
		{"what was pruned lies about in free pages, headquarters has lost it, and the tablet is brought by hand", "1:relapse/2#f7845a2 -> 1:sync#44c0e04f -> 1:usb/5#6f38c9c9"},
		{"an assignment is handed over before the first has begun, and after", "1:sync -> 2:sync -> order/2 -> 1:sync -> handover/1 -> 2:sync -> 1:sync -> 1:start -> 2:sync -> handover/2 -> 1:interview -> cancel"},
		{"headquarters is restored, and a tablet comes before its projections are made again", "1:sync -> order/2 -> 1:sync -> 2:sync -> save -> 1:record/1 -> 1:sync -> load/1 -> 1:sync -> 2:sync"},
		{"headquarters is restored twice before a tablet has met it with a definition", "3:sync!forge@1#18611b35 -> 3:relapse/1#31c2cc8f -> 2:sync!fullhq@35#1c938335 -> 1:revoke#1b1f9a43 -> 1:relapse/1#133a39cd"},
		{"a tablet comes as itself: batches go early, its copy has used the ticket, headquarters is restored to before it knew either", "save -> 1:visit -> 1:record/5 -> 1:visit -> 1:clone -> 1:record/5 -> 3:record/5 -> 3:visit!noanswer@2 -> 1:visit!norequest@3 -> 1:visit -> 3:visit -> load/1 -> 1:record/2 -> 1:visit -> 3:visit"},
		{"who waits for an assignment gets it without waiting, and the tablet that had it comes back", "1:sync -> 2:sync -> order/2 -> 1:sync -> 1:start -> handover/1 -> 2:sync -> force -> 2:sync -> 1:interview -> 1:sync -> 2:start -> 2:sync"},
		{"a rejection is not ended by who did not know of it", "1:record/5#2 -> 1:sync -> 2:sync -> reject/1 -> reject/2 -> reject/3 -> reject/4 -> 2:record/5#7 -> 2:sync -> 1:sync -> 1:record/5#9 -> 1:sync -> approve/1 -> approve/2 -> 2:record/2#3 -> 2:sync"},
		{"attachments: the link is cut, headquarters is restored to before it had them, another tablet has taken the same photo", "1:record/5#2 -> 2:record/5#2 -> 1:sync -> save -> 1:photo/1 -> 1:photo/2#3 -> 2:photo/1 -> 1:visit!norequest@5 -> 1:visit!noanswer@4 -> 1:sync -> 1:prune -> 1:photo/5#9 -> 2:sync -> 1:sync -> load/1 -> 1:sync -> 2:sync -> 2:prune"},
		{"attachments: the tablet loses power before they are sent, prunes, and headquarters is restored to before their records", "save -> 1:record/5#2 -> 1:photo/1 -> 1:photo/2#3 -> 1:sync!cut@40 -> 1:prune -> load/1 -> 1:sync"},
		{"a hub brings a tablet that was never enrolled what headquarters has for it", "1:sync -> order/2 -> 1:hubsync/1 -> forward/1 -> 1:hubsync/1"},
		{"headquarters' disk lies about syncing and loses power: what it signed for comes again from who still has it", "1:sync -> 2:sync -> 1:record/3#5 -> 1:sync!liehq@40#3 -> 2:record/4#7 -> 2:sync -> 1:sync!liehq@200#4 -> 1:prune -> 1:sync"},
		{"a hub has a photo in custody, headquarters the record alone; the tablet prunes, the hub burns", "1:sync -> forward/1 -> 1:record/5#2 -> 1:photo/1 -> 1:photo/1#9 -> 1:hubsync/1 -> forward/1!norequest@6 -> 1:hubsync/1 -> 1:prune -> burnhub/1"},
		{"a hub's disk lies about syncing and loses power, with records and a photo in its custody", "1:sync -> forward/1 -> 1:record/5#2 -> 1:photo/1 -> 1:photo/1#9 -> 1:hubsync/1!liehub@90#4 -> 1:prune -> forward/1 -> 1:hubsync/1 -> 1:prune -> forward/1!liehub@40#7"},
		{"a hub burns before it has forwarded", "1:sync -> forward/1 -> 1:record/3 -> 1:hubsync/1 -> 1:prune -> burnhub/1 -> 1:hubsync/1"},
		{"a hub forwards, and headquarters' receipt comes down", "1:sync -> forward/1 -> 1:record/3 -> 1:hubsync/1 -> forward/1!norequest@4 -> forward/1!noanswer@5 -> cuthub/1 -> forward/1 -> 1:hubsync/1 -> 1:prune -> burnhub/1"},
		{"two hubs and headquarters in turn, a hub from a backup", "1:sync -> forward/1 -> savehub/1 -> 1:record/2 -> 1:hubsync/1 -> 1:record/2 -> 1:hubsync/2 -> 1:record/1 -> 1:sync!noanswer@2 -> forward/2 -> loadhub/1 -> 1:hubsync/1 -> 1:hubrace/1"},
		{"headquarters is restored behind a hub that has forwarded", "save -> 1:sync -> forward/1 -> 1:record/4 -> 1:hubsync/1 -> forward/1 -> 1:hubsync/1 -> load/1 -> 1:sync -> forward/1 -> 1:hubsync/1"},
		{"a hub's rights are taken away while it holds something", "1:sync -> forward/1 -> 1:record/2 -> 1:hubsync/1 -> revokehub/1 -> forward/1 -> 1:record/1 -> 1:hubsync/1 -> enrolhub/1 -> 1:hubsync/1!cuthub@9"},
		{"the power fails while definitions come", "study/4 -> 1:sync!cut@3 -> study/5 -> 1:sync!cut@4 -> study/6 -> 1:sync!cut@5 -> study/7 -> 1:sync!cut@6 -> study/8 -> 1:sync!cut@7 -> study/9 -> 1:sync!cut@8 -> study/1 -> 1:sync!cut@9 -> study/2 -> 1:sync!cut@10 -> study/3 -> 1:sync!cut@11 -> study/4 -> 1:sync!cut@12 -> study/5 -> 1:sync!cut@13 -> study/6 -> 1:sync!cut@14 -> 1:sync"},
		{"headquarters loses power at each write of a batch", "1:record/4#2 -> 1:sync!cuthq@2 -> 1:record/4#3 -> 1:sync!cuthq@3 -> 1:record/4#4 -> 1:sync!cuthq@4 -> 1:record/4#5 -> 1:sync!cuthq@5 -> 1:record/4#6 -> 1:sync!cuthq@6 -> 1:record/4#7 -> 1:sync!cuthq@7 -> 1:record/4#8 -> 1:sync!cuthq@8 -> 1:record/4#9 -> 1:sync!cuthq@9 -> 1:record/4#10 -> 1:sync!cuthq@10 -> 1:record/4#11 -> 1:sync!cuthq@11 -> 1:record/4#12 -> 1:sync!cuthq@12 -> 1:record/4#13 -> 1:sync!cuthq@13"},
	}
}

// TellAll tells the scenarios, each with projections made anew, some at a time, until one has failed: the first of those
// that have.
func TellAll(ctx context.Context) (told int, failed *Result, name string) {
	all := Scenarios()
	results := make([]*Result, len(all))
	var next atomic.Int64
	var broken atomic.Bool
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all) && !broken.Load(); i = int(next.Add(1)) - 1 {
				story, err := Parse(all[i].Text)
				if err != nil {
					results[i] = &Result{Failure: err.Error()}
				} else {
					results[i] = Run(ctx, story, Options{Rebuild: true})
				}
				if results[i].Failure != "" {
					broken.Store(true)
				}
			}
		})
	}
	wait.Wait()
	for i, r := range results {
		if r != nil && r.Failure != "" {
			return i + 1, r, all[i].Name
		}
	}
	return len(all), nil, ""
}
