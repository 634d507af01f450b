package main

import (
	"fmt"

	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/tablet"
)

// tabletEnrolCmd enrols a tablet by a one-time code.
type tabletEnrolCmd struct {
	tabletFile
	Server string `help:"Address of the server, host:port; https://host:port for TLS." env:"HEARTH_SERVER"`
	Code   string `help:"The code that headquarters gave: K7M3P-9XWQT." xor:"code"`
	QR     string `help:"The text of the QR picture instead of --code and --server; the server must then have the key it names." name:"qr" xor:"code"`
}

// Run makes the store if it is not there and enrols it.
func (c *tabletEnrolCmd) Run(e *env) error {
	if c.Code == "" && c.QR == "" {
		return fmt.Errorf("%w: give the code with --code, or the text of the QR picture with --qr", errUsage)
	}
	addr := c.Server
	var opts tablet.EnrolOptions
	var err error
	if c.QR != "" {
		invitation, err := syncer.ParseInvitation(c.QR)
		if err != nil {
			return err
		}
		addr, opts.Code, opts.ServerKey = invitation.Server, invitation.Code, invitation.Key
	} else if opts.Code, err = syncer.ParseCode(c.Code); err != nil {
		return err
	}
	if addr == "" {
		return fmt.Errorf("%w: say with --server where headquarters is", errUsage)
	}
	if opts.Fingerprint, err = fingerprints(); err != nil {
		return err
	}
	cc, err := dialServer(addr, "")
	if err != nil {
		return err
	}
	defer cc.Close()
	st, err := tablet.Enrol(e.ctx, c.Store, cc, opts)
	if err != nil {
		return err
	}
	name, enumerator, study := st.Name(), st.Enumerator(), st.Study()
	if err := st.Close(); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("enrolled %s: %s of %s, study %s", c.Store, name, enumerator, study))
}
