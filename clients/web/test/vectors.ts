// Test vectors: LANGUAGE.md section 7.

import type { JsonValue, Message } from "@bufbuild/protobuf";
import { Questionnaire, type Evaluation, type Text, type Value } from "../src/questionnaire/index.js";
import { testdata } from "./shared.js";

export interface Vector {
  questionnaire: string;
  about: string;
  version?: number;
  completed?: boolean;
  now?: string;
  answers: JsonValue;
  not_asked: string[];
  missing: Record<string, string>;
  violations: { path: string; rule: string; severity: string; message: Record<string, string> }[];
  calculated: Record<string, JsonValue>;
}

export interface VectorFile {
  questionnaires: Record<string, { files: string; top: string }>;
  vectors: Vector[];
}

/** The questionnaires of a file, loaded. */
export function loadAll(file: VectorFile): Map<string, Questionnaire> {
  return new Map(Object.entries(file.questionnaires).map(([name, q]) => [name, Questionnaire.load(Buffer.from(q.files, "base64"), q.top)]));
}

let shared: { file: VectorFile; all: Map<string, Questionnaire> } | undefined;

/** testdata/vectors.json with its questionnaires, read once in each file of tests. */
export function vectors(): { file: VectorFile; all: Map<string, Questionnaire> } {
  if (!shared) {
    const file = testdata("vectors.json") as VectorFile;
    shared = { file, all: loadAll(file) };
  }
  return shared;
}

/** What a vector says of an interview, in an order that does not matter. */
export interface Findings {
  not_asked: string[];
  missing: Record<string, string>;
  violations: string[];
  calculated: Record<string, string>;
}

function languages(message: { en: string; zh: string } | Text): string {
  const all: Record<string, string> = { en: message.en, zh: message.zh };
  return JSON.stringify(Object.entries(all).filter(([, text]) => text !== "").sort());
}

function number(v: Value | JsonValue): string {
  if (typeof v === "bigint") return String(v);
  return typeof v === "number" && !Number.isInteger(v) ? v.toPrecision(12) : String(v);
}

const sorted = (o: Record<string, string>) => Object.fromEntries(Object.entries(o).sort(([a], [b]) => (a < b ? -1 : 1)));

/** What TypeScript finds. */
export function found(e: Evaluation): Findings {
  return {
    not_asked: [...e.notAsked].sort(),
    missing: sorted(Object.fromEntries(e.missing)),
    violations: e.violations.map((v) => [v.path, v.rule, v.severity, languages(v.message)].join(" ")).sort(),
    calculated: sorted(Object.fromEntries([...e.calculated].map(([path, v]) => [path, number(v)]))),
  };
}

/** What Go found. */
export function expected(v: Vector): Findings {
  return {
    not_asked: [...v.not_asked].sort(),
    missing: sorted(v.missing),
    violations: v.violations.map((x) => [x.path, x.rule, x.severity, languages({ en: x.message.en ?? "", zh: x.message.zh ?? "" })].join(" ")).sort(),
    calculated: sorted(Object.fromEntries(Object.entries(v.calculated).map(([path, x]) => [path, number(x)]))),
  };
}

/** What one of two findings has and the other has not, in lines. */
export function differences(want: Findings, got: Findings): string[] {
  const out: string[] = [];
  const compare = (what: string, a: string[], b: string[]) => {
    const [x, y] = [[...a], [...b]];
    for (const line of a) {
      const at = y.indexOf(line);
      if (at >= 0) {
        y.splice(at, 1);
        x.splice(x.indexOf(line), 1);
      }
    }
    out.push(...x.map((line) => `${what}: Go alone has ${line}`), ...y.map((line) => `${what}: TypeScript alone has ${line}`));
  };
  const lines = (o: Record<string, string>) => Object.entries(o).map(([path, v]) => `${path} = ${v}`);
  compare("not asked", want.not_asked, got.not_asked);
  compare("missing", lines(want.missing), lines(got.missing));
  compare("violations", want.violations, got.violations);
  compare("calculated", lines(want.calculated), lines(got.calculated));
  return out;
}

/** The options of a vector. */
export function optionsOf(v: Vector) {
  return { version: v.version ?? 0, completed: v.completed ?? false, ...(v.now ? { now: v.now } : {}) };
}

/** Evaluates all vectors of a file; gives a text for each that does not come out as it says. */
export function compareAll(file: VectorFile): string[] {
  const all = loadAll(file);
  const out: string[] = [];
  file.vectors.forEach((v, i) => {
    const name = `vector ${i} (${v.questionnaire}, ${v.about})`;
    const q = all.get(v.questionnaire);
    if (!q) {
      out.push(`${name}: there is no questionnaire ${v.questionnaire} in the file`);
      return;
    }
    const answers: Message = q.fromJson(v.answers);
    const lines = differences(expected(v), found(q.evaluate(answers, optionsOf(v))));
    if (lines.length > 0) out.push([name, ...lines.slice(0, 12)].join("\n  "));
  });
  return out;
}
