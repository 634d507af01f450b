// How long an evaluation takes: node out/test/bench.js. One answer of a form of 300 questions with a roster of 20 persons is
// promised to be re-evaluated in under 10 ms.

import type { Message } from "@bufbuild/protobuf";
import { Questionnaire, type Session } from "../src/questionnaire/index.js";
import { FormMaker } from "./form.js";
import { testdata } from "./shared.js";
import type { VectorFile } from "./vectors.js";

let form: Questionnaire | undefined;

/** The form of the benchmark, filled. */
export function filled(): { q: Questionnaire; answers: Message; session: Session } {
  const q = (form ??= Questionnaire.load(new FormMaker(Buffer.from(Object.values((testdata("vectors.json") as VectorFile).questionnaires)[0].files, "base64")).household()));
  const json: Record<string, unknown> = { members: [] };
  for (let i = 0; i < 239; i++) json[`q${i}`] = String(i % 40);
  for (let r = 0; r < 20; r++) {
    const row: Record<string, string> = { line: String(r + 1), age: String(5 + 3 * r), income: "100" };
    for (let i = 3; i < 60; i++) row[`m${i}`] = String((i * r) % 30);
    (json.members as unknown[]).push(row);
  }
  const answers = q.fromJson(json as never);
  return { q, answers, session: q.session(answers) };
}

/** The middle of some times, in milliseconds. */
export function median(times: number[]): number {
  return [...times].sort((a, b) => a - b)[times.length >> 1];
}

/** Times a function so many times after so many runs to warm up. */
export function timed(n: number, warm: number, f: (i: number) => void): number {
  for (let i = 0; i < warm; i++) f(i);
  const times: number[] = [];
  for (let i = 0; i < n; i++) {
    const t = performance.now();
    f(i);
    times.push(performance.now() - t);
  }
  return median(times);
}

/** The figures: one whole evaluation, one answer on which little depends, one on which much does. */
export function measure(): { whole: number; little: number; much: number } {
  const { q, answers, session } = filled();
  const whole = timed(100, 100, () => q.evaluate(answers));
  session.evaluation();
  const little = timed(200, 50, (i) => session.set(`members[${i % 20}].m4`, BigInt(i % 30)));
  const much = timed(100, 30, (i) => session.set(`members[${i % 20}].age`, BigInt(5 + (i % 60))));
  return { whole, little, much };
}

if (process.argv[1]?.endsWith("bench.js")) {
  const { whole, little, much } = measure();
  const show = (what: string, ms: number) => console.log(`${what.padEnd(60)} ${ms.toFixed(3)} ms  ${(whole / ms).toFixed(1)} times faster than whole`);
  show("300 questions, 20 persons: whole evaluation", whole);
  show("one answer on which little depends", little);
  show("one answer on which much depends (the age of a member)", much);
}
