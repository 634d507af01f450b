// Sessions: after any change what is known is what a new evaluation of the same answers finds.

import assert from "node:assert/strict";
import { test } from "node:test";
import { clone, type Message, toBinary } from "@bufbuild/protobuf";
import { Absent, Missing, PathError, Questionnaire, type Module, type Question, Session } from "../src/questionnaire/index.js";
import { filled } from "./bench.js";
import { found, optionsOf, vectors } from "./vectors.js";

/** Numbers that are the same in every run. */
function random(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** A value that a question can hold. */
function valueFor(q: Question, next: (n: number) => number): unknown {
  const one = (): unknown => {
    if (q.choices) return next(8) === 0 ? next(200) : [...q.choices.byNumber.keys()][next(q.choices.byNumber.size)];
    switch (q.kind) {
      case "int":
      case "uint": {
        const n = [0, 1, 2, 17, 60, 1990, 2016][next(7)];
        return /64/.test(q.field.scalar === undefined ? "" : longs[q.field.scalar] ?? "") ? BigInt(n) : n;
      }
      case "double":
        return [0, 0.5, 42, 1e6][next(4)];
      case "string":
        return ["", "贵州", "5201", "2016-07-21", "52010"][next(5)];
      case "bool":
        return next(2) === 1;
      case "bytes":
        return new Uint8Array(next(4));
      default:
        return undefined;
    }
  };
  return q.list ? Array.from({ length: next(3) }, one) : one();
}

const longs: Record<number, string> = { 3: "int64", 4: "uint64", 6: "fixed64", 16: "sfixed64", 18: "sint64" };

/** Somewhere in a questionnaire, in a row that there is. */
function somewhere(s: Session, next: (n: number) => number): { path: string; q: Question } {
  let module: Module = s.questionnaire.top;
  let path = "";
  for (;;) {
    const q = module.questions[next(module.questions.length)];
    const at = path ? `${path}.${q.name}` : q.name;
    if (!q.module) return { path: at, q };
    if (!q.list) {
      if (next(5) === 0) return { path: at, q };
      [path, module] = [at, q.module];
      continue;
    }
    const rows = s.state(at).value;
    const n = Array.isArray(rows) ? rows.length : 0;
    if (n === 0 || next(4) === 0) return { path: at, q };
    [path, module] = [`${at}[${next(n)}]`, q.module];
  }
}

/** Changes something. */
function change(s: Session, next: (n: number) => number) {
  const { path, q } = somewhere(s, next);
  const state = s.state(path);
  if (q.list && q.module) {
    const rows = Array.isArray(state.value) ? state.value.length : 0;
    if (rows > 0 && next(3) === 0) return s.removeRow(path, next(rows));
    return rows < 4 ? s.addRow(path) : s.clear(path);
  }
  if (q.module || next(5) === 0) return s.clear(path);
  if (next(6) === 0) {
    try {
      return s.setMissing(path, next(3) === 0 ? undefined : (next(5) as Missing));
    } catch (e) {
      assert.ok(e instanceof PathError); // a part of a block
      return [];
    }
  }
  const value = valueFor(q, next);
  return value === undefined ? [] : s.set(path, value);
}

function same(s: Session, q: Questionnaire, options: object, what: string) {
  const got = found(s.evaluation());
  const want = found(new Session(q, clone(q.top.desc, s.message), options, false).evaluation());
  assert.deepEqual(got, want, what);
}

test("a session knows after every change what a new evaluation finds", () => {
  const { file, all } = vectors();
  let changes = 0;
  for (let i = 0; i < file.vectors.length; i += Math.max(1, Math.floor(file.vectors.length / 40))) {
    const v = file.vectors[i];
    const q = all.get(v.questionnaire)!;
    const next = random(i + 1);
    const s = q.session(q.upgrade(q.fromJson(v.answers), v.version ?? 0), optionsOf(v));
    for (let n = 0; n < 20; n++) {
      const states = change(s, next);
      changes += states.length > 0 ? 1 : 0;
      if (n % 5 === 4 || n < 3) same(s, q, optionsOf(v), `vector ${i}, change ${n}`);
    }
  }
  assert.ok(changes > 300, `only ${changes} changes`);
});

test("what changes is told, and nothing else is judged again", () => {
  const { session } = filled();
  session.evaluation();
  const before = session.state("members[3].income");
  assert.equal(before.asked, false); // age 14
  const changed = session.set("members[3].age", 40n).map((s) => s.path);
  assert.ok(changed.includes("members[3].income"));
  assert.ok(!changed.includes("members[4].income"), "the row beside it does not depend on it");
  assert.equal(session.state("members[3].income").asked, true);
  const row = session.set("members[3].m4", 3n);
  assert.ok(row.length < 5 && row.every((s) => s.path.startsWith("members[3].")), `${row.length} questions of 1,440 are judged again`);
});

test("rows", () => {
  const { session } = filled();
  session.addRow("members");
  session.set("members[20].age", 9n);
  assert.equal(session.state("members[20].m13").value, 9n * 12n + 21n);
  session.removeRow("members", 0);
  assert.equal(session.state("members[19].m13").value, 9n * 12n + 20n);
  assert.ok(session.clear("members").length > 0);
  assert.deepEqual(session.state("members").value, []);
});

test("paths that lead nowhere are refused, and so are values of another type", () => {
  const { session } = filled();
  for (const path of ["nothing", "members", "members[99].age", "members[0]", "q0.x", "members.age", ""]) {
    assert.throws(() => session.set(path, 1n), PathError, path);
  }
  assert.throws(() => session.set("q0", "1"), PathError);
  assert.throws(() => session.set("q0", 1), PathError);
  assert.throws(() => session.removeRow("members", 20), PathError);
  assert.throws(() => session.addRow("q0"), PathError);
  assert.ok(session.clear("q0").length > 0);
  assert.ok(session.state("q0").value instanceof Absent);
});

test("what is calculated is written before an interview is saved", () => {
  const { file, all } = vectors();
  const q = all.get("everything")!;
  let written = 0;
  for (const v of file.vectors.filter((x) => x.questionnaire === "everything" && !x.version).slice(0, 20)) {
    const s = q.session(q.fromJson(v.answers), optionsOf(v));
    const before = found(s.evaluation());
    s.carryOut();
    const after = found(q.evaluate(q.fromBinary(toBinary(q.top.desc, s.message)), optionsOf(v)));
    const others = (f: { violations: string[] }) => f.violations.filter((x) => !/\/(calculated_otherwise|answered_and_missing|[a-z]+\.[a-z_]+) /.test(x));
    assert.deepEqual(after.violations.filter((x) => x.includes("/calculated_otherwise ")), []);
    assert.deepEqual([others(after), after.calculated, after.missing], [others(before), before.calculated, before.missing]);
    written += Object.keys(after.calculated).length;
  }
  assert.ok(written > 200);
});

test("on the tablet volatile calculations are carried out, and once() keeps what it found", () => {
  const q = vectors().all.get("everything")!;
  let made = 0;
  const s = q.session(q.answers(), { tablet: true, now: "2016-07-21T18:05:00+08:00", uuid: () => `u${++made}` });
  assert.equal(s.state("stamp").value, "2016-07-21T18:05:00+08:00");
  assert.equal(s.state("uid").value, "u1");
  s.carryOut();
  s.set("income", 5n);
  const again = q.session(s.message, { tablet: true, now: "2016-07-22T08:00:00+08:00", uuid: () => `u${++made}` });
  assert.equal(again.state("uid").value, "u1");
  assert.equal(again.state("stamp").value, "2016-07-22T08:00:00+08:00");
});

test("the choices that are offered follow the answers", () => {
  const q = vectors().all.get("everything")!;
  const s = q.session(q.answers());
  const names = (path: string) => s.offered(path).map((c) => c.name);
  assert.deepEqual(names("province"), ["52", "44"]);
  s.set("province", 1);
  assert.deepEqual(names("county"), ["520103", "520102", "440106"]); // the last has a kind
  s.set("province", 2);
  assert.deepEqual(names("county"), ["440106"]);
  assert.deepEqual(q.session(q.answers(), { version: 2 }).offered("crop").map((c) => c.number), [1, 2, 4]); // tea came with 3
});

test("answers of another questionnaire are refused", () => {
  const { q } = filled();
  assert.throws(() => q.session({ $typeName: "other.Message" } as Message), PathError);
});

test("a field that the schema no longer has is read as the one that has its answer now", () => {
  const q = vectors().all.get("everything")!;
  const old = q.fromBinary(new Uint8Array([0xd0, 0x05, 42])); // number 90: 42
  const now = q.upgrade(old, 3) as unknown as Record<string, unknown>;
  assert.equal(now.newer, 42n);
  assert.equal((old as unknown as Record<string, unknown>).newer, 0n, "what was given is changed");
  assert.equal((q.upgrade(old, 4) as unknown as Record<string, unknown>).newer, 0n);
  const refused = q.fromJson({ missing: { "18": "MISSING_REFUSED" } });
  assert.equal(q.evaluate(refused, { version: 2 }).missing.get("likes_now"), "REFUSED"); // crop held it up to version 3
  assert.equal(q.evaluate(refused, { version: 4 }).missing.get("likes_now"), "");
});
