package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
)

// CheckHub adds to a report what of a hub's folder is nowhere else but on the tablets, and what headquarters does not
// take. What is missing before entries that headquarters has signed for is no gap: it never went through this hub. Of a
// headquarters it says nothing.
func (s *Server) CheckHub(ctx context.Context, report *store.Report) error {
	if s.hub == nil {
		return nil
	}
	err := store.Walk(ctx, s.store, store.ShelfHubLane, nil, func(it store.Item) (bool, error) {
		note := &servicev1.HubLane{}
		if err := proto.Unmarshal(it.Value, note); err != nil {
			return false, fault.New(fault.Internal, fault.StoreDamaged, "what is known of a lane cannot be read: %w", err)
		}
		if lane, err := syncer.ParseLane(note.GetBase().GetLane()); err == nil && !note.GetGap() {
			report.Findings = slices.DeleteFunc(report.Findings, func(f store.Finding) bool {
				var first, last uint64
				_, at, found := strings.Cut(f.Message, "never arrived (")
				n, _ := fmt.Sscanf(at, "entries %d to %d)", &first, &last)
				return found && n == 2 && last <= note.GetBase().GetSeq() && strings.Contains(f.Subject, lane.String())
			})
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	st, err := s.hub.Status(ctx)
	if err != nil {
		return err
	}
	if n, m := st.GetEntriesHere(), st.GetBlobsHere(); n+m > 0 {
		since := ""
		if ms := st.GetOldestHereMs(); ms > 0 {
			since = ", the oldest since " + time.UnixMilli(ms).UTC().Format("2006-01-02 15:04 UTC")
		}
		report.Findings = append(report.Findings, store.Finding{Severity: "warning", Subject: "hub " + st.GetName(),
			Message: fmt.Sprintf("%d entries and %d attachments are here and on the tablets, and not yet at headquarters%s", n, m, since),
			Do:      "bring the hub to where it reaches headquarters, or run `hearth hub forward`; until then do not wipe a tablet"})
	}
	for _, t := range st.GetTroubles() {
		lane, _ := syncer.ParseLane(t.GetLane()) // the zero lane of a damaged one
		report.Findings = append(report.Findings, store.Finding{Severity: "warning", Subject: fmt.Sprintf("lane %v", lane),
			Message: fmt.Sprintf("headquarters does not take entries %d to %d: %s", t.GetFirstSeq(), t.GetLastSeq(), t.GetMessage()),
			Do:      fault.Reason(t.GetReason()).Do()})
	}
	return nil
}
