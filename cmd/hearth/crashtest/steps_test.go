//go:build linux

package crashtest

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// step is something that people do. What it leaves is where the next begins; done again it changes nothing.
type step struct {
	name string
	// act does it.
	act func(w *world)
	// idle steps leave the server a moment to make projections.
	idle bool
}

// storeOf is the tablet that most steps are about.
const storeOf = "enrolled.sqlite"

func steps() []step {
	return []step{
		{name: "first start", act: func(w *world) { w.up() }, idle: true}, // what begins by itself takes a moment
		{name: "study", act: func(w *world) { w.desk("study", "put", w.path("study.json")) }, idle: true},
		{name: "enrol", act: enrol},
		{name: "create", act: func(w *world) {
			out := w.path("created.sqlite")
			if _, err := os.Stat(out); err == nil { // what has the name of a store is one
				st, err := tablet.Open(w.t.(*testing.T).Context(), out, tablet.Options{})
				if err != nil {
					w.t.Errorf("the making of a store was cut short, and its name is on what cannot be opened: %v", err)
				} else if err := st.Close(); err != nil {
					w.t.Error(err)
				}
				return
			}
			w.create(out)
		}},
		{name: "load", act: func(w *world) { w.tablet("load", "--store", w.path(storeOf), w.path("first.jsonl")) }},
		{name: "attach", act: func(w *world) {
			w.tablet("attach", "--store", w.path(storeOf), "--interview", firstID(w, "first.jsonl"), w.path("photo.jpg"))
		}},
		{name: "sync", act: func(w *world) { w.sync() }, idle: true},
		{name: "more", act: func(w *world) {
			w.tablet("load", "--store", w.path(storeOf), w.path("second.jsonl"))
			w.sync()
		}, idle: true},
		{name: "lost answer", act: lostAnswer, idle: true},
		{name: "killed before", act: func(w *world) {
			w.tabletEnvOnce("HEARTH_FAILPOINT=tablet.after-load=kill", "load", "--store", w.path(storeOf), w.path("sixth.jsonl"))
			w.tablet("load", "--store", w.path(storeOf), w.path("sixth.jsonl"))
		}},
		{name: "restored", act: restored, idle: true},
		{name: "withheld", act: withheld},
		{name: "clone", act: damagedClone},
		{name: "prune", act: func(w *world) { w.tablet("prune", "--store", w.path(storeOf), "--keep-days", "0") }},
		{name: "publish", act: func(w *world) {
			w.publish(1, 100)
			w.write("well.jsonl", wellLine)
			w.sync()
			w.tablet("load", "--store", w.path(storeOf), w.path("well.jsonl"))
			w.sync()
		}, idle: true},
		{name: "publish again", act: func(w *world) { w.publish(2, 200) }, idle: true},
	}
}

// wellLine is an interview of a questionnaire that is published at run time: a well of 150 metres.
const wellLine = `{"interviewId":"5e11a3c4-0b1f-4d7a-9d4e-2f6b8c9d0a11","questionnaireVersion":1,"other":{"questionnaire":"form.crash.Crash","answers":{"depth":150}}}`

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// publish publishes a version of a questionnaire, in which wells are flagged from a depth on.
func (w *world) publish(version, depth int) {
	w.t.Helper()
	w.write("crash.proto", fmt.Sprintf(`edition = "2023";
package form.crash;
import "hearth/form/v1/options.proto";
message Crash {
  option (hearth.form.v1.module) = {title: {en: "Wells"} version: %d};
  int32 depth = 1 [(hearth.form.v1.question) = {
    label: {en: "How deep?"}
    checks: [{id: "possible" expression: "this.depth < %d" severity: SEVERITY_SOFT message: {en: "Very deep."}}]
  }];
}`, version, depth))
	w.desk("form", "publish", w.path("crash.proto"))
}

func (w *world) sync() { w.tablet("sync", "--store", w.path(storeOf)) }

// create makes a store without a code; where that is cut short it is made again, without anybody tidying up.
func (w *world) create(path string) {
	args := []string{"tablet", "create", "--store", path, "--name", "created", "--enumerator", "E2", "--study", studyCode}
	for tries := 0; tries < 4; tries++ {
		_, err := run(w.t, w.tabletEnv, args...)
		if errors.Is(err, errKilled) {
			w.fired, w.tabletEnv = true, nil
			if _, err = os.Stat(path); err != nil {
				continue
			}
		}
		if err != nil {
			w.t.Error(err)
		}
		return
	}
	w.t.Errorf("the store %s cannot be made", path)
}

func enrol(w *world) {
	code := w.path("code")
	raw, err := os.ReadFile(code)
	if err != nil {
		var resp struct{ Code string }
		out := w.desk("device", "enrol", "--name", "t-1", "--enumerator", "E1", "--study", studyCode, "--valid", "1h", "--json")
		if err := json.Unmarshal([]byte(out[strings.IndexByte(out, '{'):]), &resp); err != nil {
			w.t.Fatalf("%v: %s", err, out)
		}
		raw = []byte(resp.Code)
		if err := os.WriteFile(code, raw, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.tablet("enrol", "--store", w.path(storeOf), "--code", string(raw))
	if _, err := os.Stat(w.path(storeOf + ".enrolling")); err == nil {
		w.t.Error("the enrolled store still has its other name")
	}
}

// lostAnswer has a tablet killed before it takes an answer in, so that the next sync asks what has arrived.
func lostAnswer(w *world) {
	third := w.path("third.jsonl")
	w.tablet("load", "--store", w.path(storeOf), third)
	w.tabletEnvOnce("HEARTH_FAILPOINT=tablet.after-send=kill", "sync", "--store", w.path(storeOf))
	w.sync()
}

// tabletEnvOnce runs a verb of the tablet with a failpoint of the step's own, which kills it or is not reached again.
func (w *world) tabletEnvOnce(env string, args ...string) {
	w.t.Helper()
	srv := w.up()
	_, err := w.attended([]string{"HEARTH_SERVER=" + srv.addr, env}, append([]string{"tablet"}, args...)...)
	if err != nil && !errors.Is(err, errKilled) {
		w.t.Fatal(err)
	}
	if err == nil {
		w.t.Logf("%s has killed nobody", env)
	}
}

// restored puts an older copy of the store in its place, which goes on with other interviews.
func restored(w *world) {
	if _, err := os.Stat(w.path("old-done")); err != nil {
		w.put("backup.sqlite", storeOf)
		if err := os.WriteFile(w.path("old-done"), nil, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	w.tablet("load", "--store", w.path(storeOf), w.path("fourth.jsonl"))
	w.sync()
}

// put copies a store that nobody has open.
func (w *world) put(from, to string) {
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(w.path(to + suffix))
	}
	raw, err := os.ReadFile(w.path(from))
	if err == nil {
		err = os.WriteFile(w.path(to), raw, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// withheld has the store believe that the server could not take a record, which it lists once more.
func withheld(w *world) {
	w.edit(storeOf, `INSERT INTO answer (epoch, seq, outcome, reason, message, time_ms)
		SELECT e.epoch, e.seq, 4, 'RECORD_DAMAGED', 'a test', 0 FROM lane_entry AS e JOIN record AS rec ON rec.digest = e.digest
		WHERE rec.body IS NOT NULL AND (SELECT count(*) FROM answer) = 0 ORDER BY e.n DESC LIMIT 1`)
	w.sync()
}

// damagedClone has a copy of the store, in which a record is damaged, sync before the store itself does.
func damagedClone(w *world) {
	if _, err := os.Stat(w.path("clone.sqlite")); err != nil {
		w.tablet("load", "--store", w.path(storeOf), w.path("fifth.jsonl"))
		w.put(storeOf, "clone.sqlite")
		w.edit("clone.sqlite", `DROP TRIGGER record_fixed; DROP TRIGGER record_pruned;
			UPDATE record SET body = zeroblob(length(body)) WHERE n = (SELECT max(n) FROM record)`)
		srv := w.up()
		if _, err := w.attended([]string{"HEARTH_SERVER=" + srv.addr}, "tablet", "sync", "--store", w.path("clone.sqlite")); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sync()
}

// edit changes a store behind the program's back.
func (w *world) edit(name, script string) {
	db, err := sql.Open("sqlite", "file:"+w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(script); err != nil {
		w.t.Fatalf("%s: %v", script, err)
	}
}

func firstID(w *world, name string) string {
	raw, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	iv := &surveyv1.Interview{}
	if err := protojson.Unmarshal(line, iv); err != nil {
		w.t.Fatal(err)
	}
	return iv.GetInterviewId()
}

// newWorld writes what the steps need.
func newWorld(t testing.TB, dir string) *world {
	w := &world{t: t, dir: dir, addr: freeAddr(t)}
	def, err := study.Definition()
	if err != nil {
		t.Fatal(err)
	}
	def.Study = proto.String(studyCode)
	raw, err := protojson.Marshal(def)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"addr": []byte(w.addr), "study.json": raw, "photo.jpg": append([]byte("\xff\xd8\xff\xe0"), noise(90_000)...)} {
		if err := os.WriteFile(w.path(name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"first", "second", "third", "fourth", "fifth", "sixth"} {
		jsonLines(t, w.path(name+".jsonl"), 4)
	}
	return w
}

// rest ends the server in good order, after a moment to make projections.
func (w *world) rest(idle bool) {
	w.t.Helper()
	if w.srv == nil {
		return
	}
	if idle {
		time.Sleep(400 * time.Millisecond)
	}
	if w.srv.alive() {
		_ = w.srv.cmd.Process.Signal(syscall.SIGTERM)
		if err := w.srv.wait(40 * time.Second); err != nil && !w.srv.killed() {
			w.t.Errorf("stop the server: %v\n%s", err, w.srv.text())
		}
	}
	if w.srv.killed() {
		w.fired = true
	}
	w.srv = nil
}
