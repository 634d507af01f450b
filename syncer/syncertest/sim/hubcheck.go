package sim

import (
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/faultdisk"
)

// checkHubs sees that headquarters holds what hubs count as forwarded.
func (w *world) checkHubs() {
	for _, h := range w.standing() {
		if w.visited[h] {
			h.checkForwarded()
			h.checkPhotos(false)
		}
	}
	clear(w.visited)
}

// checkForwarded looks through the hub's whole log. A hub that has not heard yet that headquarters was restored from a
// backup counts by the log of before.
func (h *hub) checkForwarded() {
	w := h.w
	epoch := w.hq.store.Epoch()
	if string(h.relay.State().GetServerEpoch()) != string(epoch[:]) {
		return
	}
	due, forwarded := map[syncer.Digest]bool{}, []syncer.Digest{}
	for after, more := int64(0), true; more; {
		runs, err := h.store.Runs(w.ctx, after, 1000)
		w.must(err, "list the runs of %s", h.name)
		for _, r := range runs {
			after = r.Number
			trouble, err := h.store.Get(w.ctx, store.ShelfHubTrouble, store.NumberKey(r.Number))
			w.must(err, "look into %s", h.name)
			if r.Number <= h.relay.State().GetRun() && trouble == nil {
				forwarded = append(forwarded, r.Digests...)
				continue
			}
			for _, d := range r.Digests {
				due[d] = true
			}
		}
		more = len(runs) > 0
	}
	for _, d := range forwarded {
		if due[d] || w.hq.audit.held[d] || w.hq.audit.erased[d] {
			continue
		}
		raw, _, err := h.store.Bytes(w.ctx, d)
		w.must(err, "look into %s", h.name)
		if raw != nil && !w.inQuarantine(d) {
			w.fail("LOST: %s counts record %s as forwarded, and headquarters does not hold it", h.name, w.name(d))
		}
	}
}

func (w *world) inQuarantine(d syncer.Digest) (found bool) {
	w.hq.eachQuarantined(func(q syncer.Digest, _ []byte) { found = found || q == d })
	return found
}

// healHubs has the hubs forward once the faults have ended; those that headquarters has forgotten are enrolled again.
func (w *world) healHubs() {
	for _, h := range w.standing() {
		h.disk.Set(faultdisk.Plan{})
		if !w.enrolled[h.id()] {
			h.enrol()
		}
		h.forwards()
	}
	w.check()
}

// forwards has the hub forward when all is well and enough time has passed for it to ask anew about everything.
func (h *hub) forwards() {
	h.w.now = h.w.now.Add(time.Hour)
	if err := h.once(nil); err != nil {
		h.w.fail("STUCK: the faults have ended, and %s does not forward: %v", h.name, err)
	}
}

// endHubs sees, when the tablets have met headquarters, that the hubs have nothing left, and that every tablet can sync
// at each of them.
func (w *world) endHubs() {
	for _, h := range w.standing() {
		h.forwards()
		resp, err := servicev1.NewHubServiceClient(h.conn).GetHubStatus(w.ctx, &servicev1.GetHubStatusRequest{})
		w.must(err, "ask %s how it stands", h.name)
		left := resp.GetStatus().GetEntriesHere()
		for _, t := range resp.GetStatus().GetTroubles() {
			if r := fault.Reason(t.GetReason()); r == fault.HubWaits || r == fault.DeviceUnknown && !w.stands(syncer.ID(t.GetLane().GetDevice())) {
				left -= t.GetLastSeq() - t.GetFirstSeq() + 1 // it waits for a tablet that is no more, or went elsewhere
			}
		}
		if left > 0 {
			w.fail("STUCK: the faults have ended, and %s has %d entries left: %v", h.name, left, resp.GetStatus())
		}
		for _, t := range w.tablets {
			l := w.home(t)
			l.to = h
			if err := t.sync(l); err != nil && !t.lied && h.relay.State().GetNotice() == nil {
				w.fail("STUCK: the faults have ended, and a sync of %s at %s fails: %v", t.name, h.name, err)
			}
		}
		if h.relay.State().GetNotice() == nil {
			h.checkPhotos(true)
		}
		report, err := h.store.Check(w.ctx, store.CheckOptions{})
		w.must(err, "check %s", h.name)
		w.must(h.server.CheckHub(w.ctx, report), "check %s", h.name)
		for _, f := range report.Findings {
			if f.Severity == "error" {
				w.fail("CHECK: %s: %s: %s", h.name, f.Subject, f.Message)
			}
		}
	}
	w.check()
}

// stands says whether a tablet of the story is a device.
func (w *world) stands(device syncer.ID) bool {
	for _, t := range w.tablets {
		if id, _ := identity(t.dev); id == device {
			return true
		}
	}
	return false
}
