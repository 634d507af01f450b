package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// quarantineCmd works with what was taken in and could not be used.
type quarantineCmd struct {
	List   quarantineListCmd   `cmd:"" help:"List it, with the reason and what to do."`
	Show   quarantineShowCmd   `cmd:"" help:"Show one item's envelope; with --raw, write its bytes to a file."`
	Replay quarantineReplayCmd `cmd:"" help:"Try items again: what can be used now enters the log, once."`
	Export quarantineExportCmd `cmd:"" help:"Write all items with their bytes to a file of JSON lines."`
}

// eachItem calls f for every item, oldest first, or for those with a reason.
func eachItem(e *env, client servicev1.MonitorServiceClient, reason string, f func(*servicev1.QuarantineItem) error) error {
	req := &servicev1.ListQuarantineRequest{PageSize: proto.Uint32(1000)}
	for {
		resp, err := client.ListQuarantine(e.ctx, req)
		if err != nil {
			return err
		}
		for _, q := range resp.GetItems() {
			if reason != "" && q.GetReason() != reason {
				continue
			}
			if err := f(q); err != nil {
				return err
			}
		}
		if resp.GetNextPageToken() == "" {
			return nil
		}
		req.PageToken = resp.NextPageToken
	}
}

// deviceNames are the names of tablets by their ids.
type deviceNames map[string]string

func namesOfDevices(e *env, client servicev1.MonitorServiceClient) (deviceNames, error) {
	resp, err := client.ListDevices(e.ctx, &servicev1.ListDevicesRequest{})
	if err != nil {
		return nil, err
	}
	names := deviceNames{}
	for _, d := range resp.GetDevices() {
		names[string(d.GetDevice())] = d.GetName()
	}
	return names, nil
}

// printItem says what an item is, why it is there and what to do; nothing of what it holds.
func (n deviceNames) printItem(w io.Writer, q *servicev1.QuarantineItem) error {
	device := hex.EncodeToString(q.GetLane().GetDevice())
	if name := n[string(q.GetLane().GetDevice())]; name != "" {
		device = fmt.Sprintf("%s (%.8s)", name, device)
	}
	_, err := fmt.Fprintf(w, "%d  %s  %d bytes, received %s, device %s entry %d\n    %s\n    do: %s\n", q.GetId(), q.GetReason(), q.GetSize(),
		since(q.GetReceivedMs()), device, q.GetSeq(), q.GetMessage(), fault.Reason(q.GetReason()).Do())
	return err
}

type quarantineListCmd struct {
	target
	Reason string `help:"Only items with this reason, such as ROUND_CLOSED."`
	JSON   bool   `help:"Print JSON lines."`
}

// Run prints one entry per item, and how many there are of each reason.
func (c *quarantineListCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewMonitorServiceClient(cc)
	names, err := namesOfDevices(e, client)
	if err != nil {
		return err
	}
	of := map[string]int{}
	err = eachItem(e, client, c.Reason, func(q *servicev1.QuarantineItem) error {
		of[q.GetReason()]++
		if c.JSON {
			return jsonLine(e, q)
		}
		return names.printItem(e.stdout, q)
	})
	if err != nil || c.JSON {
		return err
	}
	if len(of) == 0 {
		return say(e, "nothing is in quarantine"+map[bool]string{true: " with that reason"}[c.Reason != ""])
	}
	var total []string
	for _, reason := range slices.Sorted(maps.Keys(of)) {
		total = append(total, fmt.Sprintf("%d %s", of[reason], reason))
	}
	return say(e, "in quarantine: "+strings.Join(total, ", "))
}

type quarantineShowCmd struct {
	target
	ID   int64  `arg:"" name:"id" help:"Number of the item, as listed."`
	Raw  bool   `help:"Write the record's exact bytes to the file named by -o."`
	Out  string `short:"o" help:"File for --raw." type:"path"`
	JSON bool   `help:"Print JSON, with the bytes in base64."`
}

// Run prints the envelope.
func (c *quarantineShowCmd) Run(e *env) error {
	if c.Raw != (c.Out != "") {
		return fmt.Errorf("%w: --raw and -o FILE go together", errUsage)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewMonitorServiceClient(cc)
	resp, err := client.ShowQuarantine(e.ctx, &servicev1.ShowQuarantineRequest{Id: &c.ID})
	if err != nil {
		return err
	}
	if c.Raw && resp.Raw == nil {
		return fault.New(fault.NotFound, fault.RecordDamaged, "item %d has no bytes: they never arrived", c.ID)
	}
	if c.Raw {
		err := writeWhole(c.Out, func(w io.Writer) error {
			_, err := w.Write(resp.GetRaw())
			return err
		})
		if err != nil {
			return err
		}
		return say(e, fmt.Sprintf("%s: %d bytes", c.Out, len(resp.GetRaw())))
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	names, err := namesOfDevices(e, client)
	if err != nil {
		return err
	}
	if err := names.printItem(e.stdout, resp.GetItem()); err != nil {
		return err
	}
	r := resp.GetEnvelope()
	if r == nil {
		return say(e, "its envelope cannot be read")
	}
	version := ""
	if r.QuestionnaireVersion != nil {
		version = fmt.Sprintf(" version %d", r.GetQuestionnaireVersion())
	}
	return table(e.stdout, [][]string{
		{"digest", hex.EncodeToString(resp.GetItem().GetDigest())},
		{"kind", enumWord(r.GetKind().String(), "RECORD_KIND_")}, {"subject", r.GetSubject()}, {"study", r.GetStudy()}, {"author", r.GetAuthor()},
		{"device", hex.EncodeToString(r.GetDevice())}, {"questionnaire", r.GetQuestionnaire() + version}, {"written", since(r.GetWallTimeMs())},
		{"replaces", fmt.Sprintf("%d revisions", len(r.GetParents()))},
	})
}

type quarantineReplayCmd struct {
	target
	IDs    []int64 `arg:"" optional:"" name:"id" help:"Numbers of items; none: all."`
	Reason string  `help:"Only items with this reason, such as UNKNOWN_VERSION."`
	JSON   bool    `help:"Print JSON."`
}

// Run tries items again.
func (c *quarantineReplayCmd) Run(e *env) error {
	if len(c.IDs) > 0 && c.Reason != "" {
		return fmt.Errorf("%w: name items or --reason, not both", errUsage)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewMonitorServiceClient(cc)
	resp, err := client.ReplayQuarantine(e.ctx, &servicev1.ReplayQuarantineRequest{Ids: c.IDs, Reason: &c.Reason})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	names, err := namesOfDevices(e, client)
	if err != nil {
		return err
	}
	for _, q := range resp.GetRemaining() {
		if err := names.printItem(e.stdout, q); err != nil {
			return err
		}
	}
	return say(e, fmt.Sprintf("%d of %d items left quarantine, %d stay", resp.GetReleased(), resp.GetTried(), resp.GetTried()-resp.GetReleased()))
}

type quarantineExportCmd struct {
	target
	Reason string `help:"Only items with this reason."`

	Out string `short:"o" help:"File to write: JSON lines of hearth.service.v1.ShowQuarantineResponse, bytes in base64. It holds answers." required:"" type:"path"`
}

// Run writes the file; it is there whole or not at all.
func (c *quarantineExportCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	client := servicev1.NewMonitorServiceClient(cc)
	n := 0
	bar := e.progress("export")
	err = writeWhole(c.Out, func(w io.Writer) error {
		return eachItem(e, client, c.Reason, func(q *servicev1.QuarantineItem) error {
			resp, err := client.ShowQuarantine(e.ctx, &servicev1.ShowQuarantineRequest{Id: q.Id})
			if err != nil {
				return err
			}
			raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(resp)
			if err != nil {
				return err
			}
			n++
			bar(n, -1)
			_, err = fmt.Fprintf(w, "%s\n", compact(raw))
			return err
		})
	})
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("%s: %d items", c.Out, n))
}

// writeWhole writes a file that only its owner reads and that is there whole or not at all.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".hearth-*")
	if err != nil {
		return fault.New(fault.Unavailable, "", "write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return f.Close()
}
