package tablet

import (
	"context"
	"database/sql"
	_ "embed"
)

// schema makes a store of Version.
//
//go:embed schema.sql
var schema string

// attachmentSchema adds the tables of attachments to a store.
//
//go:embed attachment.sql
var attachmentSchema string

// custodySchema adds the table of what hubs have promised.
//
//go:embed custody.sql
var custodySchema string

// downSchema adds the tables of what headquarters sends down in buckets.
//
//go:embed down.sql
var downSchema string

// contactSchema adds the table of what is remembered of servers.
//
//go:embed contact.sql
var contactSchema string

// couponSchema adds the table of numbers for coupons.
//
//go:embed coupon.sql
var couponSchema string

// addition is a group of tables that came after schema.sql: a store that was made without them gets them when it is opened.
type addition struct {
	// table is one of them; where it is, all are.
	table string
	sql   string
}

// additions lists them in the order in which they came. Open adds those that are missing, and the import of a file knows
// by this list what a tablet's store may hold.
func additions() []addition {
	return []addition{
		{"blob", attachmentSchema},
		{"custody", custodySchema},
		{"down_bucket", downSchema},
		{"contact", contactSchema},
		{"coupon_number", couponSchema},
	}
}

// addTables gives a store that was made without them the tables that came later.
func addTables(ctx context.Context, db *sql.DB) error {
	for _, a := range additions() {
		if err := addMissing(ctx, db, a); err != nil {
			return err
		}
	}
	return nil
}

func addMissing(ctx context.Context, db *sql.DB, a addition) error {
	var has bool
	const ask = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?)"
	if err := db.QueryRowContext(ctx, ask, a.table).Scan(&has); err != nil || has {
		return err
	}
	return inTx(ctx, db, func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, ask, a.table).Scan(&has); err != nil || has {
			return err
		}
		_, err := tx.ExecContext(ctx, a.sql)
		return err
	})
}
