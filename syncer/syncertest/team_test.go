package syncertest_test

import (
	"flag"
	"testing"

	"github.com/hearth-survey/hearth/syncer/syncertest"
)

// TestMain keeps the state machine short where nobody asks for more with -rapid.checks: every step waits for the disk.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		if err := flag.Set("rapid.checks", "40"); err != nil {
			panic(err)
		}
	}
	m.Run()
}

func model(*testing.T, string) syncertest.Headquarters { return syncertest.NewServer("hq") }

func TestFieldTeam(t *testing.T) { syncertest.FieldTeam(t, model) }

func TestScenarios(t *testing.T) { syncertest.Scenarios(t, model) }

func TestConnectionsCutAfterBytes(t *testing.T) { syncertest.Cuts(t, model) }
