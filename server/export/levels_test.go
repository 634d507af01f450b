package export

import (
	"slices"
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
)

// TestLevels writes the tables asked for alone, in every format; rows below a table that is left out are whole.
func TestLevels(t *testing.T) {
	whole, _ := export(t, small(), Options{Formats: Formats()})
	for _, level := range []string{"person", "referral_node", "interview", "flag"} {
		files, m := export(t, small(), Options{Formats: Formats(), Levels: []string{level}})
		if len(m.Levels) != 1 || m.Levels[0].Name != level {
			t.Errorf("%s: the manifest has %v", level, m.Levels)
		}
		for _, path := range []string{"csv/" + level + ".csv", "stata/" + level + ".dta", "spss/" + level + ".sav"} {
			if got := files.files[path]; !slices.Equal(got, whole.files[path]) {
				t.Errorf("%s is not what it is among all tables", path)
			}
		}
		for path := range files.files {
			if strings.HasPrefix(path, "csv/") && path != "csv/"+level+".csv" {
				t.Errorf("%s: there is %s", level, path)
			}
		}
	}
	_, err := Write(t.Context(), small(), Options{Levels: []string{"people"}}, &memory{}, nil)
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "interview, ") {
		t.Errorf("a table that is not there: %v", err)
	}
}
