package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/relay"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/server/store/blobs"
	"github.com/hearth-survey/hearth/server/store/sqlite"
	"github.com/hearth-survey/hearth/syncer"
)

// hubCmd is for the supervisor in the field, whose laptop takes in tablets and forwards what they bring to headquarters.
type hubCmd struct {
	Status  hubStatusCmd  `cmd:"" help:"Say what is only on this hub, when headquarters was last reached, and what is wrong."`
	Forward hubForwardCmd `cmd:"" help:"Forward once what is here, while the hub is not running."`
	Retire  hubRetireCmd  `cmd:"" help:"Delete a hub's folder, if headquarters has everything that is in it."`
}

type hubStatusCmd struct {
	target
	JSON bool `help:"Print JSON."`
}

// Run prints how the hub stands. It fails where something is wrong that a person should look at.
func (c *hubStatusCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewHubServiceClient(cc).GetHubStatus(e.ctx, &servicev1.GetHubStatusRequest{})
	if err != nil {
		return err
	}
	st := resp.GetStatus()
	if c.JSON {
		err = printJSON(e.stdout, resp)
	} else {
		err = table(e.stdout, hubRows(st))
	}
	if err == nil && (len(st.GetTroubles()) > 0 || fault.Reason(st.GetReason()) == fault.HubRevoked) {
		return errFound
	}
	return err
}

// hubRows are the lines of a hub's status.
func hubRows(st *servicev1.HubStatus) [][]string {
	rows := [][]string{
		{"hub", st.GetName()},
		{"headquarters", st.GetUpstream()},
		{"only here", onlyHereNote(st)},
		{"forwarded", fmt.Sprintf("%d entries", st.GetEntriesForwarded())},
	}
	if n, m := st.GetBlobsHere(), st.GetBlobsAwaited(); n+m > 0 {
		rows = append(rows, []string{"attachments", fmt.Sprintf("%d to forward, %d not yet here", n, m)})
	}
	rows = append(rows, []string{"headquarters answered", never(st.GetContactMs())}, []string{"tablets known", fmt.Sprint(st.GetDevices())})
	if st.GetMessage() != "" {
		rows = append(rows, []string{"last try failed", fmt.Sprintf("%s: %s", never(st.GetTriedMs()), st.GetMessage())}, []string{"do", fault.Reason(st.GetReason()).Do()})
	}
	for _, t := range st.GetTroubles() {
		lane, _ := syncer.ParseLane(t.GetLane())
		rows = append(rows, []string{"not taken", fmt.Sprintf("entries %d to %d of lane %v, since %s: %s: %s", t.GetFirstSeq(), t.GetLastSeq(), lane, since(t.GetSinceMs()), t.GetReason(), t.GetMessage())},
			[]string{"do", fault.Reason(t.GetReason()).Do()})
	}
	return rows
}

func never(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return since(ms)
}

// onlyHereNote says how much a hub holds that headquarters does not.
func onlyHereNote(st *servicev1.HubStatus) string {
	if st.GetEntriesHere() == 0 {
		return "nothing"
	}
	if st.GetOldestHereMs() == 0 {
		return fmt.Sprintf("%d entries", st.GetEntriesHere())
	}
	return fmt.Sprintf("%d entries, the oldest since %s", st.GetEntriesHere(), since(st.GetOldestHereMs()))
}

// hubNote is what headquarters says of a hub in the list of devices.
func hubNote(st *servicev1.HubStatus) string {
	notes := []string{"a hub; only there: " + onlyHereNote(st)}
	if n := st.GetBlobsHere(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d attachments to forward", n))
	}
	if n := len(st.GetTroubles()); n > 0 {
		notes = append(notes, fmt.Sprintf("%d runs of entries could not be forwarded, the first: %s", n, st.GetTroubles()[0].GetReason()))
	}
	return strings.Join(notes, ", ")
}

type hubRetireCmd struct {
	Data string `help:"Folder of the hub; it must not be running." required:"" env:"HEARTH_DATA" type:"path"`
}

// Run deletes what a hub keeps, if all of it is at headquarters.
func (c *hubRetireCmd) Run(e *env) error {
	node, err := openNode(e.ctx, c.Data, nodeOptions{mustExist: true})
	if err != nil {
		return err
	}
	if node.relay == nil {
		return errors.Join(fault.New(fault.Conflict, fault.NotAHub, "%s is not a hub's folder", c.Data), node.close())
	}
	st, err := node.relay.Status(e.ctx)
	if err = errors.Join(err, node.close()); err != nil {
		return err
	}
	if st.GetEntriesHere() > 0 || st.GetBlobsHere() > 0 {
		fmt.Fprintf(e.stderr, "hearth: %s is kept: only there are %s and %d attachments; let it reach headquarters first\n", c.Data, onlyHereNote(st), st.GetBlobsHere())
		return errFound
	}
	for _, name := range []string{"projection.sqlite", "log.sqlite", "lock.sqlite"} {
		for _, suffix := range []string{"-wal", "-shm", ""} {
			if err := os.Remove(filepath.Join(c.Data, name+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, name := range []string{"blobs", "server.key", "token"} {
		if err := os.RemoveAll(filepath.Join(c.Data, name)); err != nil {
			return err
		}
	}
	if err := os.Remove(c.Data); err != nil {
		fmt.Fprintf(e.stderr, "hearth: other files stay in %s\n", c.Data)
	}
	return say(e, fmt.Sprintf("%s is deleted: headquarters has everything. Shut the hub out there too: hearth device revoke %q --why retired", c.Data, st.GetName()))
}

// openRelay makes a hub of a node, if its folder is a hub's or is to become one; nil for a headquarters.
func openRelay(ctx context.Context, st *sqlite.Store, attachments *blobs.Store, key ed25519.PrivateKey, o nodeOptions) (*relay.Relay, error) {
	state := &servicev1.HubState{}
	known, err := store.GetMessage(ctx, st, store.ShelfHub, nil, state)
	if err != nil || !known && o.upstream == "" {
		return nil, err
	}
	if !known {
		switch totals, err := st.RunTotals(ctx, 0); {
		case err != nil:
			return nil, err
		case totals.Last > 0:
			return nil, fault.New(fault.Conflict, fault.StoreExists, "this folder holds the log of a headquarters: give a hub a folder of its own with --data")
		case o.code == "":
			return nil, fault.New(fault.Invalid, fault.CodeWrong, "a new hub needs a code: ask headquarters for one, `hearth device enrol --hub --name NAME`, and give it with --code")
		}
	}
	addr := o.upstream
	if addr == "" {
		addr = state.GetUpstream()
	}
	if err := syncer.CheckServerAddress(addr); err != nil {
		return nil, err
	}
	cc, err := dialServer(addr, "")
	if err != nil {
		return nil, err
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if err := st.IndexDigests(ctx); err != nil {
		return nil, err
	}
	r, err := relay.Open(ctx, relay.Options{Store: st, Blobs: attachments, Conn: cc, Key: key, Upstream: addr, Now: time.Now, Log: o.log, Every: o.every})
	if err != nil || o.code == "" {
		return r, err
	}
	code, err := syncer.ParseCode(o.code)
	if err == nil {
		err = r.EnrolHub(ctx, code)
	}
	if err != nil && r.Enrolled() { // as when the command is given again that made it a hub
		o.log.WarnContext(ctx, "the code was not used: this hub is enrolled already", "reason", string(fault.ReasonOf(err)))
		err = nil
	}
	return r, err
}

type hubForwardCmd struct {
	Data     string `help:"Folder of the hub; it must not be running." required:"" env:"HEARTH_DATA" type:"path"`
	Upstream string `help:"Address of headquarters, if it has moved." env:"HEARTH_UPSTREAM"`
	JSON     bool   `help:"Print JSON."`
}

// Run forwards once what there is, as on the evening when the laptop is back on a network, and says how the hub stands.
func (c *hubForwardCmd) Run(e *env) (err error) {
	node, err := openNode(e.ctx, c.Data, nodeOptions{mustExist: true, upstream: c.Upstream})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.close()) }()
	if node.relay == nil {
		return fault.New(fault.Conflict, fault.NotAHub, "%s is not a hub's folder", c.Data)
	}
	failed := node.relay.Once(e.ctx)
	st, err := node.relay.Status(e.ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	if c.JSON {
		err = printJSON(e.stdout, &servicev1.GetHubStatusResponse{Status: st})
	} else {
		err = table(e.stdout, hubRows(st))
	}
	if failed == nil && err == nil && (len(st.GetTroubles()) > 0 || st.GetReason() != "") {
		return errFound
	}
	return errors.Join(failed, err)
}
