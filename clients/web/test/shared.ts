// What the tests share.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import path from "node:path";

/** The root of the repository: the tests run compiled, from clients/web/out/test. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../../..");

/** Reads a JSON file of proto/questionnaire/testdata. */
export function testdata(name: string): unknown {
  return JSON.parse(readFileSync(path.join(root, "proto/questionnaire/testdata", name), "utf8"));
}
