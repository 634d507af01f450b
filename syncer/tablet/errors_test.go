package tablet

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
)

// A full disk of the tablet is told from the server's.
func TestDiskFullSaysWhoseDisk(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "full.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE x (b BLOB); PRAGMA max_page_count = 3; INSERT INTO x VALUES (zeroblob(100000))")
	err = dbFault(err, "load interviews")
	if fault.ReasonOf(err) != fault.DiskFull || fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "the disk of this device is full") {
		t.Errorf("error = %v, want %s of this device", err, fault.DiskFull)
	}
}
