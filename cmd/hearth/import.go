package main

import (
	"context"
	"errors"
)

// importTabletCmd takes in a tablet's file by hand.
type importTabletCmd struct {
	target
	File string `arg:"" help:"The tablet's file, with its -wal beside it if there is one." type:"existingfile"`
	JSON bool   `help:"Print JSON."`
}

type imported struct{ stored int }

func importFile(ctx context.Context, cc *conn, path string) (imported, error) {
	return imported{}, errors.New("not yet")
}
