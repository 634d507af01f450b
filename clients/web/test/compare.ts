// Compares a file of vectors, written by Go, with what TypeScript finds: node out/test/compare.js FILE

import { readFileSync } from "node:fs";
import { compareAll, type VectorFile } from "./vectors.js";

const path = process.argv[2];
if (!path) throw new Error("which file of vectors?");
const file = JSON.parse(readFileSync(path, "utf8")) as VectorFile;
const wrong = compareAll(file);
if (wrong.length > 0) {
  console.log(wrong.slice(0, 20).join("\n"));
  console.log(`${wrong.length} of ${file.vectors.length} vectors do not agree`);
  process.exitCode = 1;
} else {
  console.log(`${file.vectors.length} vectors agree`);
}
