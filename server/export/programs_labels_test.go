package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// wordsOf are the labels of values of a table by variable and code, as the codebook has them in a language; where a code has no
// label in it, in English.
func wordsOf(t *testing.T, codebook []byte, table, lang string) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	for _, r := range records(t, codebook) {
		if r["table"] != table || r["row"] != "value" {
			continue
		}
		if out[r["variable"]] == nil {
			out[r["variable"]] = map[string]string{}
		}
		label := r["label_"+lang]
		if label == "" {
			label = r["label_en"]
		}
		out[r["variable"]][r["code"]] = label
	}
	return out
}

// TestHavenLabels lets R read the labels of values of every Stata and SPSS file, those of the reasons for missing answers too, and
// compares them with the codebook.
func TestHavenLabels(t *testing.T) {
	got, exports, manifest := havenReads(t)
	reasons := map[string]string{"r": "拒绝回答", "d": "不知道", "n": "不适用", "s": "未询问"}
	compared, tagged := 0, 0
	for _, l := range manifest.Levels {
		want := wordsOf(t, exports["mixed"].files["codebook.csv"], l.Name, "zh")
		for _, ext := range []string{".dta", ".sav"} {
			file := got["mixed-"+l.Name+ext]
			for i, variable := range file.Names {
				labels := map[string]string{}
				_ = json.Unmarshal(file.Sets[i], &labels) // an empty list is one without labels
				for code, label := range labels {
					switch tag, isTag := strings.CutPrefix(code, "."); {
					case isTag:
						if tagged++; reasons[tag] != label {
							t.Errorf("%s%s %s: %s is %q", l.Name, ext, variable, code, label)
						}
						continue
					case ext == ".sav" && slices.Contains(slices.Collect(mapsValues(reasons)), label) && strings.HasPrefix(code, "-9"):
						tagged++
						continue
					}
					compared++
					if w, ok := want[variable][code]; ok && label != w && !(strings.HasSuffix(label, "…") && strings.HasPrefix(w, strings.TrimSuffix(label, "…"))) {
						t.Errorf("%s%s %s: %s is %q, want %q", l.Name, ext, variable, code, label, w)
					} else if !ok {
						t.Errorf("%s%s %s: %s is %q, which the codebook lacks", l.Name, ext, variable, code, label)
					}
				}
				for code, w := range want[variable] {
					if labels[code] == "" && len(labels) > 0 && w != "" && w != "（无标签）" {
						t.Errorf("%s%s %s: %s has no label, want %q", l.Name, ext, variable, code, w)
					}
				}
			}
		}
	}
	if compared < 5_000 || tagged < 1_000 {
		t.Errorf("only %d labels of values and %d of reasons compared", compared, tagged)
	}
}

func mapsValues(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// checkPSPP compares every number that PSPP has read of the SPSS files in a folder with the CSV files, and user-missing values with
// the reasons; and the sets of multiple responses with what the questionnaire asks.
func checkPSPP(t *testing.T, dir string, exports map[string]*memory, manifest *Manifest) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "sets.sps"), []byte("GET FILE='mixed-person.sav'.\nMRSETS /DISPLAY NAME=ALL.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sets := string(outputOf(t, dir, "pspp", "-O", "format=csv", "sets.sps"))
	compared, missing := 0, 0
	published := readableSources(t)["mixed"].Published
	for _, l := range manifest.Levels {
		raw, err := os.ReadFile(filepath.Join(dir, "mixed-"+l.Name+".sav.csv"))
		if err != nil {
			t.Fatal(err)
		}
		rows, why := records(t, exports["mixed"].files["csv/"+l.Name+".csv"]), whyColumns(t, l.Name, published)
		all, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
		if err != nil || len(all) != len(rows)+1 {
			t.Errorf("%s: %d rows, %v", l.Name, len(all)-1, err)
			continue
		}
		types := map[string]string{}
		for _, r := range records(t, exports["mixed"].files["codebook.csv"]) {
			if r["table"] == l.Name && r["row"] == "variable" {
				types[r["variable"]] = r["type"]
			}
		}
		for c, name := range all[0] {
			switch types[name] {
			case "integer", "number", "code", "0/1":
			default:
				continue // of texts and dates haven has seen enough
			}
			for r, want := range rows {
				got := strings.TrimSpace(all[r+1][c])
				g, err := strconv.ParseFloat(got, 64)
				w, err2 := strconv.ParseFloat(want[name], 64)
				reason := want[why[name]]
				compared++
				switch {
				case err2 == nil && err == nil && math.Abs(g-w) <= 1e-4+1e-9*math.Abs(w):
				case want[name] == "" && got == "" && (reason == "" || reason == "no_reason"), err2 == nil && !finite(w) && got == "":
				case err2 == nil && math.Abs(w) > 1<<53 && got == want[name]:
				case want[name] == "" && err == nil && reason != "":
					if missing++; got[len(got)-1:] != map[string]string{"refused": "9", "dont_know": "8", "not_applicable": "7", "not_asked": "6"}[reason] || !strings.HasPrefix(got, "-9") {
						t.Errorf("%s row %d %s: %s for %s", l.Name, r, name, got, reason)
					}
				default:
					t.Errorf("%s row %d %s: got %q, want %q %s", l.Name, r, name, got, want[name], reason)
				}
			}
		}
	}
	if compared < 3_000 || missing < 300 {
		t.Errorf("only %d values compared, %d of them missing by their user", compared, missing)
	}
	for _, want := range []string{"$reasons_not_enrolled,", ",Dichotomies,1", "reasons_not_enrolled_1", "schooling_not_tried_reasons_10"} {
		if !strings.Contains(sets, want) {
			t.Errorf("the sets of multiple responses lack %s:\n%.1500s", want, sets)
		}
	}
}
