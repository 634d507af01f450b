// Functions of numbers, LANGUAGE.md section 5. They give what those of functions_number.go give, to the last digit.

import { int, noAnswer, type Absent, type Failure, tooLarge } from "./values.js";

/** A number that is one. */
export function finite(x: number): number | Absent {
  return Number.isFinite(x) ? x : noAnswer;
}

/**
 * Rounds the result of a function that libraries compute differently in the last place to 15 digits, so that
 * log10(1000.0) is 3 everywhere.
 */
export function about(x: number): number | Absent {
  if (!Number.isFinite(x) || x === 0) return finite(x);
  return roundTo(x, 14n - BigInt(decimal(x).exponent));
}

/** The shortest decimal number that reads as x: its digits, and the power of ten of the first. */
function decimal(x: number): { digits: string; exponent: number } {
  const [mantissa, exponent] = Math.abs(x).toExponential().split("e");
  return { digits: mantissa.replace(".", ""), exponent: Number(exponent) };
}

/** Rounds a number, as it is written, to so many decimal places, halves away from zero. */
export function roundTo(x: number, places: bigint): number | Absent {
  if (!Number.isFinite(x) || x === 0) return finite(x);
  const n = places > 400n ? 400 : places < -400n ? -400 : Number(places);
  const { digits, exponent } = decimal(x);
  const keep = exponent + 1 + n;
  if (keep >= digits.length) return x;
  let kept = keep > 0 ? BigInt(digits.slice(0, keep)) : 0n;
  if (keep >= 0 && digits[keep] >= "5") kept++;
  const out = Number(`${kept}e${-n}`);
  return finite((x < 0 ? -out : out) + 0); // -0 becomes 0
}

/** Raises by multiplying where the exponent is whole, so that 2 to the 53rd is exact. */
export function power(x: number, y: number): number | Absent {
  if (!(Math.abs(y) <= 1024) || y !== Math.trunc(y)) return about(Math.pow(x, y));
  let out = 1;
  let factor = x;
  for (let n = Math.abs(y); n > 0; n = n >> 1) {
    if (n & 1) out *= factor;
    factor *= factor;
  }
  return finite(y < 0 ? 1 / out : out);
}

/** The absolute value of an int. */
export function absInt(x: bigint): bigint | Failure {
  return int(x < 0n ? -x : x);
}

/** The sum of ints. */
export function sumInts(list: readonly bigint[]): bigint | Failure {
  let sum = 0n;
  for (const x of list) {
    const next = int(sum + x);
    if (next === tooLarge) return tooLarge;
    sum = next as bigint;
  }
  return sum;
}

/** The sum of doubles, from the first to the last. */
export function sumDoubles(list: readonly number[]): number | Absent {
  let sum = 0;
  for (const x of list) sum += x;
  return finite(sum);
}

/** The mean of doubles; of none there is none. */
export function mean(list: readonly number[]): number | Absent {
  if (list.length === 0) return noAnswer;
  const sum = sumDoubles(list);
  return typeof sum === "number" ? finite(sum / list.length) : sum;
}

const decimalNumber = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/;

/** Reads a decimal number. */
export function numberOf(s: string): number | Absent {
  const t = trimmed(s);
  return decimalNumber.test(t) ? finite(Number(t)) : noAnswer;
}

/** Writes a double as ECMAScript does. */
export function numberText(x: number): string {
  return String(x);
}

/** A text without the spaces around it: those of ASCII, the one that does not break, and the ideographic one. */
export function trimmed(s: string): string {
  return s.replace(/^[\t\n\v\f\r \u00a0\u3000]+/, "").replace(/[\t\n\v\f\r \u00a0\u3000]+$/, "");
}
