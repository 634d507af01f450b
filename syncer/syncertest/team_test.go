package syncertest_test

import (
	"testing"

	"github.com/hearth-survey/hearth/syncer/syncertest"
)

func model(*testing.T, string) syncertest.Headquarters { return syncertest.NewServer("hq") }

func TestScenarios(t *testing.T) { syncertest.Scenarios(t, model) }

func TestConnectionsCutAfterBytes(t *testing.T) { syncertest.Cuts(t, model) }
