package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/qr"
	"google.golang.org/protobuf/proto"
)

// deviceCmd lets tablets in and shuts them out.
type deviceCmd struct {
	Enrol  deviceEnrolCmd  `cmd:"" help:"Make a one-time code for a tablet, and a picture of it."`
	Revoke deviceRevokeCmd `cmd:"" help:"Take a tablet's rights away at once; what it still sends goes to quarantine."`
}

type deviceEnrolCmd struct {
	target
	Name       string        `help:"Name of the tablet: tablet-07." required:""`
	Enumerator string        `help:"Code of the enumerator who carries it; a hub has none."`
	Hub        bool          `help:"The code is for a hub: give it to hearth serve --upstream on the supervisor's laptop."`
	Study      string        `help:"Code of the study; not needed where the server holds one only."`
	Valid      time.Duration `help:"How long the code holds." default:"10m"`
	Address    string        `help:"Address at which the tablet reaches the server, if it is not --server."`
	QR         string        `help:"Write the QR picture to this file, as SVG." name:"qr" type:"path"`
	Draw       bool          `help:"Draw the QR picture as text also where the output is not a terminal."`
	JSON       bool          `help:"Print JSON." xor:"format"`
}

// Run asks for the code and shows it.
func (c *deviceEnrolCmd) Run(e *env) error {
	addr := c.Address
	if addr == "" && c.Data == "" {
		addr = c.Server
	}
	switch {
	case c.Hub == (c.Enumerator != ""):
		return fmt.Errorf("%w: a tablet needs --enumerator, a hub --hub and no enumerator", errUsage)
	case c.Hub && (c.QR != "" || c.Draw):
		return fmt.Errorf("%w: there is no picture for a hub: type the code", errUsage)
	case c.Valid < time.Second:
		return fmt.Errorf("%w: --valid %v is less than a second", errUsage, c.Valid)
	case addr == "" && (c.QR != "" || c.Draw):
		return fmt.Errorf("%w: the picture names the server: say with --address at which address tablets reach it", errUsage)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	resp, err := servicev1.NewDeviceServiceClient(cc).CreateEnrolment(e.ctx, &servicev1.CreateEnrolmentRequest{
		Study: proto.String(c.Study), DeviceName: proto.String(c.Name), Enumerator: proto.String(c.Enumerator),
		ValidSeconds: proto.Uint32(uint32(min(c.Valid, 365*24*time.Hour) / time.Second)), ServerAddress: proto.String(addr),
		Hub: proto.Bool(c.Hub),
	})
	if err != nil {
		return err
	}
	if onlyHere(addr) && !c.Hub {
		fmt.Fprintf(e.stderr, "hearth: the picture names %s, which only this machine reaches: give --address for tablets\n", addr)
	}
	if c.QR != "" {
		err := writeFile(c.QR, func(w io.Writer) error { return drawSVG(w, resp.GetQrText(), c.Name) })
		if err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(e.stdout, resp)
	}
	rows := [][]string{{"code", resp.GetCode()}, {"for", c.Name + " of " + c.Enumerator}, {"holds until", since(resp.GetExpiresMs())}}
	if c.Hub {
		rows[1][1] = "the hub " + c.Name
		return table(e.stdout, append(rows, []string{"on the hub", fmt.Sprintf("hearth serve --data DIR --upstream %s --code %s", addr, resp.GetCode())}))
	}
	if text := resp.GetQrText(); text != "" {
		rows = append(rows, []string{"picture says", text})
	}
	if err := table(e.stdout, rows); err != nil {
		return err
	}
	if resp.GetQrText() == "" || !c.Draw && !isTerminal(e.stdout) {
		return nil
	}
	picture, err := qr.Encode(resp.GetQrText())
	if err != nil {
		return err
	}
	return picture.WriteText(e.stdout, false)
}

func drawSVG(w io.Writer, text, name string) error {
	picture, err := qr.Encode(text)
	if err != nil {
		return err
	}
	return picture.WriteSVG(w, "Hearth: enrol "+strings.Join(strings.Fields(name), " "))
}

// onlyHere says whether an address is that of this machine for itself.
func onlyHere(addr string) bool {
	_, rest, found := strings.Cut(addr, "://")
	if !found {
		rest = addr
	}
	host, _, err := net.SplitHostPort(rest)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}

type deviceRevokeCmd struct {
	target
	Device string `arg:"" help:"The tablet's name or its id."`
	Why    string `help:"Why: lost, stolen, given back." required:""`
	By     string `help:"Who decides." env:"USER" default:"administrator"`
}

// Run revokes.
func (c *deviceRevokeCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	list, err := servicev1.NewMonitorServiceClient(cc).ListDevices(e.ctx, &servicev1.ListDevicesRequest{})
	if err != nil {
		return err
	}
	d, err := findDevice(list.GetDevices(), c.Device)
	if err != nil {
		return err
	}
	_, err = servicev1.NewDeviceServiceClient(cc).RevokeDevice(e.ctx, &servicev1.RevokeDeviceRequest{
		Device: d.GetDevice(), Reason: proto.String(c.Why), By: proto.String(c.By),
	})
	if err != nil {
		return err
	}
	return say(e, fmt.Sprintf("revoked %s (%x): what it still sends goes to quarantine", d.GetName(), d.GetDevice()))
}

// findDevice looks a tablet up by its id or its name. Both are texts: 007 is not 7.
func findDevice(all []*servicev1.DeviceStatus, name string) (*servicev1.DeviceStatus, error) {
	if id, err := hex.DecodeString(name); err == nil && len(id) == 16 {
		for _, d := range all {
			if string(d.GetDevice()) == string(id) {
				return d, nil
			}
		}
	}
	var found []*servicev1.DeviceStatus
	for _, d := range all {
		if d.GetName() == name {
			found = append(found, d)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, fault.New(fault.NotFound, fault.NoSuchDevice, "there is no tablet %q", name)
	}
	ids := make([]string, len(found))
	for i, d := range found {
		ids[i] = hex.EncodeToString(d.GetDevice())
	}
	return nil, fault.New(fault.Conflict, fault.NoSuchDevice, "%d tablets have the name %q: name one by its id, %s", len(found), name, strings.Join(ids, " or "))
}
