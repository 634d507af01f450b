// Every vector of proto/questionnaire/testdata/vectors.json comes out as it says: LANGUAGE.md section 7.

import assert from "node:assert/strict";
import { test } from "node:test";
import { testdata } from "./shared.js";
import { compareAll, type VectorFile } from "./vectors.js";

test("every vector", () => {
  const file = testdata("vectors.json") as VectorFile;
  assert.ok(file.vectors.length >= 300, `${file.vectors.length} vectors; at least 300 are wanted`);
  assert.deepEqual(compareAll(file), []);
});
