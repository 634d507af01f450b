// The types of expressions, as far as they decide what an expression yields: an int and a uint are both bigints, and the
// sum of no doubles is another value than that of no ints. Types are checked where a questionnaire is published.

import type { Module, Question } from "./tree.js";

/** The type of an expression. */
export type Type =
  | { kind: "int" | "uint" | "double" | "string" | "bool" | "instant" | "span" | "bytes" | "null" | "unknown" }
  | { kind: "list"; item: Type }
  | { kind: "message"; module: Module };

/** Types without parts. */
export const types = {
  int: { kind: "int" },
  uint: { kind: "uint" },
  double: { kind: "double" },
  string: { kind: "string" },
  bool: { kind: "bool" },
  instant: { kind: "instant" },
  span: { kind: "span" },
  bytes: { kind: "bytes" },
  null: { kind: "null" },
  unknown: { kind: "unknown" },
} as const satisfies Record<string, Type>;

/** The type of a list. */
export function listOf(item: Type): Type {
  return { kind: "list", item };
}

/** The type of what a question holds. */
export function typeOf(q: Question): Type {
  const item: Type = q.module ? { kind: "message", module: q.module } : types[q.kind];
  return q.list ? listOf(item) : item;
}

/** The type of the items of a list. */
export function itemOf(t: Type): Type {
  return t.kind === "list" ? t.item : types.unknown;
}
