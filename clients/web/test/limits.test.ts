// The field rules are those of protovalidate: the same answers break the same rules.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import type { Module } from "../src/questionnaire/index.js";
import { vectors } from "./vectors.js";

/** A path of protovalidate as Hearth writes it. */
function written(path: Path): string {
  let out = "";
  for (const step of path) {
    if (step.kind === "field") out += (out ? "." : "") + step.name;
    else if (step.kind === "list_sub") out += `[${step.index}]`;
  }
  return out;
}

/** Takes set empty texts out of a message: to Hearth they are no answers, and have no rules. */
function withoutEmpty(m: Module, message: Record<string, unknown>) {
  for (const q of m.questions) {
    const f = q.field;
    if (f.oneof) continue;
    const v = message[f.localName];
    if (v === "" && !q.list) delete message[f.localName];
    else if (q.module && v !== undefined) for (const row of (q.list ? v : [v]) as Record<string, unknown>[]) withoutEmpty(q.module, row);
  }
}

test("limits are those of protovalidate", () => {
  const { file, all } = vectors();
  let broken = 0;
  for (const [name, q] of all) {
    const validator = createValidator({ registry: q.registry });
    for (const v of file.vectors.filter((x) => x.questionnaire === name).slice(0, 40)) {
      const answers: Message = q.fromJson(v.answers);
      withoutEmpty(q.top, answers as unknown as Record<string, unknown>);
      const result = validator.validate(q.top.desc, answers);
      assert.notEqual(result.kind, "error", `${name}, ${v.about}: ${String(result.error)}`);
      // An empty list is no answer to Hearth either, and of one item at least there is none that is too short.
      const want = (result.violations ?? []).filter((x) => x.ruleId !== "repeated.min_items").map((x) => `${written(x.field)} ${x.ruleId}`).sort();
      const got = q.evaluate(answers, { version: 0 }).violations
        .filter((x) => /\/[a-z0-9_]+\.[a-z_]+$/.test(x.rule))
        .map((x) => `${x.path} ${x.rule.slice(x.rule.lastIndexOf("/") + 1)}`).sort();
      assert.deepEqual(got, want, `${name}, ${v.about}`);
      broken += want.length;
    }
  }
  assert.ok(broken > 50, `only ${broken} broken rules: the test does not see enough`);
});
