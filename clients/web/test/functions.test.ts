// The table of what functions give, to which Go is held as well.

import assert from "node:assert/strict";
import { test } from "node:test";
import { compile, type Engine, ExpressionError, type Frame, type Place } from "../src/questionnaire/expression.js";
import { type ChoiceLists, ours } from "../src/questionnaire/functions.js";
import { lunarToSolar } from "../src/questionnaire/lunar.js";
import { numberOf, numberText } from "../src/questionnaire/numbers.js";
import type { Module, Question } from "../src/questionnaire/tree.js";
import { types } from "../src/questionnaire/types.js";
import { Absent, Failure, isList, noAnswer, type Outcome, type Row } from "../src/questionnaire/values.js";
import { testdata } from "./shared.js";

interface Table {
  rows: { expression: string; gives: string; p?: Record<string, unknown>; a?: Record<string, unknown>; b?: Record<string, unknown> }[];
  numbers: string[];
  lunar_years: [number, string, number, string | undefined][];
}

const table = testdata("functions.json") as Table;

const crops: Record<string, string>[] = [
  { number: "1", name: "rice", label: "Rice", zh: "水稻", season: "summer" },
  { number: "2", name: "maize", label: "Maize", zh: "玉米", season: "autumn" },
];
const crop = (list: string, key: string, value: string) => (list === "crops" ? crops.find((r) => r[key] === value) : undefined);
const lists: ChoiceLists = {
  columnOf: (c, column) => c.columns[column] ?? "",
  name: (l, n) => crop(l, "number", String(n))?.name,
  label: (l, n, lang) => { const r = crop(l, "number", String(n)); return r && (r[lang] ?? r.label); },
  number: (l, name) => { const r = crop(l, "name", name); return r && BigInt(r.number); },
  column: (l, n, column) => crop(l, "number", String(n))?.[column],
  lookup: (l, column, key, value) => crop(l, key, value)?.[column],
};

/** A message that is only what it holds. */
function row(fields: Record<string, Outcome>): Place {
  return { read: (f) => fields[f] ?? noAnswer, has: (f) => f in fields, up: () => undefined, position: () => undefined };
}

function message(json: Record<string, unknown>): Row {
  const out: Record<string, Outcome> = {};
  for (const [name, v] of Object.entries(json)) {
    if (name === "calendar") out[name] = v === "CALENDAR_LUNAR" ? 2n : 1n;
    else if (name === "leapMonth") out["leap_month"] = v as boolean;
    else out[name] = Number.isInteger(v) && !/tude/.test(name) ? BigInt(v as number) : (v as Outcome);
  }
  return row(out);
}

const self: Module = {
  name: "test", desc: undefined as never, options: undefined, questions: [], missing: undefined,
  find: (name) => (["p", "a", "b"].includes(name) ? ({ kind: "unknown", list: false } as Question) : undefined),
};

function evaluate(expression: string, fields: Record<string, Outcome>): Outcome {
  const code = compile(expression, { self, root: undefined, around: [], value: types.unknown });
  const engine: Engine = { lists, now: "2016-07-21T18:05:00+08:00", random: () => 0.25, uuid: () => "u", steps: 1000 };
  const at = row(fields);
  const frame: Frame = { self: at, root: at, value: noAnswer, choice: undefined, held: fields.held ?? noAnswer, slots: [], engine };
  return code.run(frame);
}

/** A value as an expression that has it. */
function written(v: Outcome): string {
  if (v instanceof Absent) return v instanceof Failure ? "failure" : "no answer";
  if (typeof v === "number") return /[.eIN]/.test(String(v)) ? String(v) : `${v}.0`;
  if (typeof v === "string") return JSON.stringify(v);
  if (isList(v)) return `[${v.map(written).join(", ")}]`;
  return String(v);
}

test("every row of functions.json", () => {
  const called = new Set<string>();
  const wrong: string[] = [];
  for (const r of table.rows) {
    const fields: Record<string, Outcome> = {};
    for (const name of ["p", "a", "b"] as const) if (r[name]) fields[name] = message(r[name]);
    const expression = Object.keys(fields).length ? r.expression.replace(/\b([pab])(?=[,)])/g, "this.$1") : r.expression;
    const got = written(evaluate(expression, fields));
    if (got !== r.gives) wrong.push(`${r.expression} gives ${got}, want ${r.gives} (${JSON.stringify(r.p ?? r.a ?? "")})`);
    called.add(/^[a-z_0-9]+/.exec(r.expression)![0]);
  }
  assert.deepEqual(wrong, []);
  assert.ok(table.rows.length > 300);
  assert.deepEqual(Object.keys(ours).filter((name) => !called.has(name)), [], "functions without a row");
});

test("numbers are written as they were", () => {
  for (const s of table.numbers) assert.equal(numberText(numberOf(s) as number), s);
});

test("lunar years begin where another program says", () => {
  assert.equal(table.lunar_years.length, 201);
  for (const [year, first, leap, leapFirst] of table.lunar_years) {
    assert.equal(lunarToSolar(year, 1, 1, false), first);
    for (let m = 1; m <= 12; m++) assert.equal(lunarToSolar(year, m, 1, true), m === leap ? leapFirst : noAnswer, `${year}-${m}+`);
  }
});

test("volatile functions", () => {
  assert.equal(evaluate("today()", {}), "2016-07-21");
  assert.equal(evaluate("now()", {}), "2016-07-21T18:05:00+08:00");
  assert.equal(evaluate("random() * 2.0", {}), 0.5);
  assert.equal(evaluate("uuid()", {}), "u");
  assert.equal(evaluate("once(3)", {}), 3n);
  assert.equal(evaluate("once(3)", { held: 7n }), 7n);
});

test("no answer and failure", () => {
  const none = 'number("x")';
  for (const [expression, gives] of [
    [`${none} + 1.0`, "no answer"], [`false && ${none} > 1.0`, "false"], [`${none} > 1.0 && false`, "false"], [`${none} > 1.0 || true`, "true"],
    [`${none} > 1.0 || false`, "no answer"], [`1 / 0 > 1 || true`, "true"], [`1 / 0 > 1 || ${none} > 1.0`, "failure"], [`${none} > 1.0 || 1 / 0 > 1`, "failure"],
    [`1 / 0`, "failure"], [`1 % 0`, "failure"], [`9223372036854775807 + 1`, "failure"], [`[1, 2][5]`, "no answer"], [`[1, 2][-1]`, "no answer"],
    [`${none} > 1.0 ? 1 : 2`, "no answer"], [`true ? 1 : 1 / 0`, "1"],
    [`[1, 2].exists(x, x / (x - 1) > 0)`, "true"], [`[1, 2].all(x, x / (x - 1) > 100)`, "false"], [`[1, 2].exists(x, x / (x - 1) > 100)`, "failure"],
    [`["x", "1"].map(s, number(s))`, "no answer"], [`["x", "1"].filter(s, number(s) > 0.0)`, "no answer"], [`["1", "2"].map(s, number(s))`, "[1.0, 2.0]"],
    [`["x", "1"].exists_one(s, number(s) > 0.0)`, "no answer"], [`[1, 2, 3].exists_one(x, x > 2)`, "true"], [`[1, 2, 3].filter(x, x > 1).map(x, x * 2)`, "[4, 6]"],
    [`["x", "y"].map(s, s == "x" ? number(s) : double(1 / 0))`, "failure"], [`["y", "x"].filter(s, s == "x" ? number(s) > 1.0 : 1 / 0 > 1)`, "failure"],
    [`["y", "x"].exists_one(s, s == "x" ? number(s) > 1.0 : 1 / 0 > 1)`, "failure"],
    [`size("黔😀")`, "2"], [`"b" in ["a", "b"]`, "true"], [`2 in [1]`, "false"], [`"贵州省".matches("^贵")`, "true"], [`"\uffee" < "😀"`, "true"],
    [`-7 / 2`, "-3"], [`-7 % 2`, "-1"], [`timestamp("2016-07-21T18:05:00+08:00").getHours()`, "10"], [`int(2.9)`, "2"], [`int("x")`, "failure"], [`string(3)`, '"3"'],
    [`timestamp("2016-07-21T18:05:00Z") - timestamp("2016-07-21T16:05:00Z") == duration("2h")`, "true"], [`[1, 2] + [3]`, "[1, 2, 3]"],
    [`sum([1.5].map(x, x).filter(x, x > 9.0)) + 1.5`, "1.5"], [`timestamp("2015-12-31T23:00:00Z").getDayOfYear()`, "364"], [`timestamp("2016-12-31T23:00:00Z").getDayOfYear()`, "365"],
  ]) assert.equal(written(evaluate(expression, {})), gives, expression);
});

test("work is bounded", () => {
  const list = `[${Array.from({ length: 40 }, (_, i) => i).join(", ")}]`;
  assert.equal(written(evaluate(`${list}.exists(a, ${list}.exists(b, a + b == 100))`, {})), "failure"); // 1,640 rows, of 1,000
  assert.equal(written(evaluate(`${list}.exists(a, a == 100)`, {})), "false");
});

test("what cannot be used is refused with its column", () => {
  for (const expression of ["1 + ", "true && nothing", "b'x' == b'x'", "this.age > 1", "wrong(1)", '{"a": 1}', "lower.x"]) {
    assert.throws(() => evaluate(expression, {}), (e) => e instanceof ExpressionError && e.column > 0 && e.source === expression, expression);
  }
});
