// The operators of CEL over values that are there.

import { compare, Failure, Instant, int, isList, type Outcome, Span, tooLarge, uint, type Value } from "./values.js";
import { maxTextBytes, utf8Length } from "./texts.js";

const noOverload = new Failure("no such overload");
const byZero = new Failure("division by zero");

/** An operator of arithmetic; uints do not go below zero. */
export function arithmetic(op: string, unsigned: boolean): (a: Value, b: Value) => Outcome {
  const whole = unsigned ? uint : int;
  return (a, b) => {
    if (typeof a === "bigint" && typeof b === "bigint") {
      const v = wholes(op, a, b);
      return v instanceof Failure ? v : whole(v);
    }
    if (typeof a === "number" && typeof b === "number") return doubles(op, a, b);
    return op === "+" ? added(a, b) : op === "-" ? less(a, b) : noOverload;
  };
}

function wholes(op: string, a: bigint, b: bigint): bigint | Failure {
  switch (op) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return b === 0n ? byZero : a / b;
    default:
      return b === 0n ? byZero : b === -1n && a === -(2n ** 63n) ? tooLarge : a % b;
  }
}

function doubles(op: string, a: number, b: number): Outcome {
  switch (op) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    default:
      return noOverload;
  }
}

function added(a: Value, b: Value): Outcome {
  if (typeof a === "string" && typeof b === "string") {
    return 3 * (a.length + b.length) > maxTextBytes && utf8Length(a) + utf8Length(b) > maxTextBytes ? tooLarge : a + b;
  }
  if (isList(a) && isList(b)) return [...a, ...b];
  if (a instanceof Span && b instanceof Span) return new Span(a.nanos + b.nanos);
  if (a instanceof Instant && b instanceof Span) return later(a, b.nanos);
  if (a instanceof Span && b instanceof Instant) return later(b, a.nanos);
  return noOverload;
}

function less(a: Value, b: Value): Outcome {
  if (a instanceof Span && b instanceof Span) return new Span(a.nanos - b.nanos);
  if (a instanceof Instant && b instanceof Span) return later(a, -b.nanos);
  if (a instanceof Instant && b instanceof Instant) return new Span((a.seconds - b.seconds) * 1_000_000_000n + BigInt(a.nanos - b.nanos));
  return noOverload;
}

function later(t: Instant, nanos: bigint): Instant {
  const all = t.seconds * 1_000_000_000n + BigInt(t.nanos) + nanos;
  const part = ((all % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return new Instant((all - part) / 1_000_000_000n, Number(part));
}

/** An operator of order. */
export function relation(is: (order: number) => boolean): (a: Value, b: Value) => Outcome {
  return (a, b) => {
    const order = compare(a, b);
    return order === undefined ? noOverload : is(order);
  };
}

/** The negative of a number. */
export function negated(v: Value): Outcome {
  if (typeof v === "bigint") return int(-v);
  return typeof v === "number" ? -v : noOverload;
}
