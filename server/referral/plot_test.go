package referral

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlots draws every plot of the real sample and of an empty one; HEARTH_PICTURES keeps them to be looked at.
func TestPlots(t *testing.T) {
	real := readSample(t, "nyjazz", "Race.WBO.")
	for i := range real.Time {
		real.Time[i] = int64(1_000_000_000_000) + int64(real.Wave[i])*7*testDay + int64(i%9)*testDay
	}
	real.Time[3] = 0
	for name, s := range map[string]*Sample{"real": real, "one": smallSample(map[string]string{"a": "x"}), "empty": SampleOf(Facts{}, Build(Facts{}), Values{Name: "v"})} {
		series, err := s.Convergence(0, RDS2, Options{})
		if err != nil {
			t.Fatal(err)
		}
		chains, err := s.Bottleneck(0, RDS2, Options{}, 5)
		if err != nil {
			t.Fatal(err)
		}
		for _, language := range []string{"en", Chinese} {
			opts := SVGOptions{Language: language}
			for what, write := range map[string]func(io.Writer) error{
				"waves":       func(w io.Writer) error { return WriteWavePlot(w, s, opts) },
				"convergence": func(w io.Writer) error { return WriteConvergencePlot(w, series, opts) },
				"bottleneck":  func(w io.Writer) error { return WriteBottleneckPlot(w, chains, 0, opts) },
				"time":        func(w io.Writer) error { return WriteTimePlot(w, s, opts) },
			} {
				svg := written(t, write)
				checkXML(t, svg)
				if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "%!") {
					t.Errorf("%s %s: a value is not drawn well", name, what)
				}
				if dir := os.Getenv("HEARTH_PICTURES"); dir != "" && name == "real" {
					if err := os.WriteFile(filepath.Join(dir, what+"."+language+".svg"), svg, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if write(&broken{}) == nil {
					t.Errorf("%s: no error from a full disk", what)
				}
			}
		}
	}
}
