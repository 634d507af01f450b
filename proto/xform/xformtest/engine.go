// Package xformtest lets the engine of ODK Web Forms, which nobody here wrote, judge the forms that Hearth writes: it is
// filled in as a person would fill it in, with random answers, and has to say of every question what the questionnaire says
// of the same answers.
//
// It is for tests alone. The engine is a package of npm below bin/odk, where make odk puts it; the package does not install
// it. It does not compare what depends on the clock, on chance, or on files that are not here.
package xformtest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// State is what the engine says of one question.
type State struct {
	Relevant bool `json:"relevant"`
	Required bool `json:"required"`
	// Broken: the answer breaks the constraint. Needed: there has to be one and is none.
	Broken  bool     `json:"broken"`
	Needed  bool     `json:"needed"`
	Value   string   `json:"value"`
	Offered []string `json:"offered"`
}

// Job is the file of a form and the answers to fill it in with, each an object of names and texts, objects, and lists of
// objects.
type Job struct {
	Form  string `json:"form"`
	Cases []any  `json:"cases"`
}

//go:embed judge.mjs
var script []byte

// Engine is the folder of the engine. Whole runs of CI must have it; short runs leave it out, for the whole run asks the
// same.
func Engine(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("the engine takes seconds to start; the whole run asks it")
	}
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(folder)
		if up == folder {
			t.Fatal("no go.mod above the test")
		}
		folder = up
	}
	folder = filepath.Join(folder, "bin", "odk")
	if _, err := os.Stat(filepath.Join(folder, "node_modules/@getodk/xforms-engine/package.json")); err != nil {
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatal("the engine of ODK Web Forms is not here, and HEARTH_READERS=all: make odk")
		}
		t.Skip("the engine of ODK Web Forms is not here: make odk")
	}
	return folder
}

// Judge gives jobs to the engine. Its answers are by job, by case, and by the path of the question.
func Judge(t testing.TB, jobs []Job) [][]map[string]State {
	t.Helper()
	folder := Engine(t)
	judge := filepath.Join(t.TempDir(), "judge.mjs")
	if err := os.WriteFile(judge, script, 0o600); err != nil {
		t.Fatal(err)
	}
	var in, errs bytes.Buffer
	for _, j := range jobs {
		line, err := json.Marshal(j)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", judge, folder)
	cmd.Stdin, cmd.Stderr = &in, &errs
	raw, err := cmd.Output()
	if err != nil {
		t.Fatalf("the engine: %v\n%s", err, errs.String())
	}
	var out [][]map[string]State
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 256<<20)
	for lines.Scan() {
		var answer struct {
			Error string             `json:"error"`
			Cases []map[string]State `json:"cases"`
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatalf("the engine's answer: %v", err)
		}
		if answer.Error != "" {
			t.Fatalf("%s: the engine: %s", filepath.Base(jobs[len(out)].Form), answer.Error)
		}
		out = append(out, answer.Cases)
	}
	if len(out) != len(jobs) {
		t.Fatalf("%d answers to %d forms\n%s", len(out), len(jobs), errs.String())
	}
	return out
}
