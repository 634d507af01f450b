// The values of expressions, and the two ways in which one can have none. LANGUAGE.md of proto/questionnaire, section 1.

/** A message as expressions see it: a questionnaire, a group, one row of a roster. */
export interface Row {
  /** What an expression reads of a field. */
  read(field: string): Outcome;
  /** Whether a field has an answer. */
  has(field: string): Outcome;
}

/** What stands where an expression has no value. */
export class Absent {
  constructor(readonly reason: string) {}
}

/** A question without an answer was read, or a function has no result for what it was given. */
export const noAnswer: Absent = Object.freeze(new Absent("no answer"));

/** An error of another kind: division by zero, a number that is too large, too much work. */
export class Failure extends Absent {}

/** A point in time: seconds since 1970 in UTC, and nanoseconds of the second. */
export class Instant {
  constructor(
    readonly seconds: bigint,
    readonly nanos: number,
  ) {}
}

/** A length of time in nanoseconds. */
export class Span {
  constructor(readonly nanos: bigint) {}
}

/**
 * A value of CEL: an int or a uint is a bigint, a double is a number, a message is a Row.
 */
export type Value =
  | bigint
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | Instant
  | Span
  | Row
  | readonly Value[];

/** A value, or why there is none. */
export type Outcome = Value | Absent;

/** The worse of two outcomes of which at least one is absent: where no answer and a failure meet, the failure counts. */
export function worse(a: Outcome, b: Outcome): Absent {
  if (a instanceof Failure) return a;
  if (b instanceof Failure) return b;
  return a instanceof Absent ? a : (b as Absent);
}

/** Tells whether two values are equal as CEL has it. */
export function equal(a: Value, b: Value): boolean {
  if (a === b) return true;
  switch (typeof a) {
    case "bigint":
      return typeof b === "number" && Number.isInteger(b) && BigInt(b) === a;
    case "number":
      return typeof b === "bigint" && Number.isInteger(a) && BigInt(a) === b;
    case "object":
      break;
    default:
      return false;
  }
  if (a === null || b === null || typeof b !== "object") return false;
  if (isList(a)) return isList(b) && a.length === b.length && a.every((x, i) => equal(x, b[i]));
  if (a instanceof Instant) return b instanceof Instant && a.seconds === b.seconds && a.nanos === b.nanos;
  if (a instanceof Span) return b instanceof Span && a.nanos === b.nanos;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && a.length === b.length && a.every((x, i) => x === b[i]);
  return false;
}

/** Tells whether a value is a list. */
export function isList(v: Outcome): v is readonly Value[] {
  return Array.isArray(v);
}

/** Compares two values of one type: below 0, 0, above 0; NaN where they have no order; undefined where the types differ. */
export function compare(a: Value, b: Value): number | undefined {
  if (typeof a === "string") return typeof b === "string" ? compareTexts(a, b) : undefined;
  if (typeof a === "bigint" || typeof a === "number") {
    if (typeof b !== "bigint" && typeof b !== "number") return undefined;
    return a < b ? -1 : a > b ? 1 : a == b ? 0 : NaN;
  }
  if (typeof a === "boolean") return typeof b === "boolean" ? Number(a) - Number(b) : undefined;
  if (a instanceof Instant && b instanceof Instant) {
    return a.seconds === b.seconds ? a.nanos - b.nanos : a.seconds < b.seconds ? -1 : 1;
  }
  if (a instanceof Span && b instanceof Span) return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
  return undefined;
}

/** Compares two texts by their code points, as UTF-8 sorts them, which is not the order of UTF-16. */
export function compareTexts(a: string, b: string): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const high = (c: number) => (c >= 0xd800 && c < 0xe000 ? c + 0x10000 : c);
    return high(x) - high(y);
  }
  return a.length - b.length;
}

/** The number of characters, which are code points, of a text. */
export function characters(s: string): number {
  let n = s.length;
  for (let i = 1; i < s.length; i++) {
    if ((s.charCodeAt(i) & 0xfc00) === 0xdc00 && (s.charCodeAt(i - 1) & 0xfc00) === 0xd800) n--;
  }
  return n;
}

const least = -(2n ** 63n);
const most = 2n ** 63n - 1n;

/** An int, where it has 64 bits; a failure otherwise. */
export function int(x: bigint): bigint | Failure {
  return x < least || x > most ? tooLarge : x;
}

/** A uint, where it has 64 bits and is not negative; a failure otherwise. */
export function uint(x: bigint): bigint | Failure {
  return x < 0n || x >= 2n ** 64n ? tooLarge : x;
}

/** The failure of a whole number beyond 64 bits. */
export const tooLarge = new Failure("the number is too large");
