// Points in time and lengths of time, CEL's timestamp and duration.

import { dayNumber, parseDay } from "./dates.js";
import { Failure, Instant, type Outcome, Span } from "./values.js";

const rfc3339 = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$/;

/** Reads "2016-07-21T18:05:00+08:00". */
export function parseInstant(s: string): Outcome {
  const m = rfc3339.exec(s);
  const d = m ? parseDay(s) : undefined;
  if (!m || !d) return new Failure(`"${s}" is no date and time with an offset`);
  const minutes = 60 * d.hour + d.minute - d.offset;
  return new Instant(BigInt(dayNumber(d) * 86400 + minutes * 60 + d.second), Number((m[1] ?? ".").slice(1).padEnd(9, "0")));
}

const units: Record<string, bigint> = { h: 3_600_000_000_000n, m: 60_000_000_000n, s: 1_000_000_000n, ms: 1_000_000n, us: 1000n, µs: 1000n, ns: 1n };

/** Reads "1h30m". */
export function parseSpan(s: string): Outcome {
  const failure = new Failure(`"${s}" is no duration`);
  const m = /^([+-]?)((?:[0-9]+(?:\.[0-9]*)?(?:h|ms|m|us|µs|ns|s))+|0)$/.exec(s);
  if (!m) return failure;
  let nanos = 0n;
  for (const [, whole, fraction, unit] of m[2].matchAll(/([0-9]+)(?:\.([0-9]*))?(h|ms|m|us|µs|ns|s)/g)) {
    nanos += BigInt(whole) * units[unit];
    if (fraction) nanos += (BigInt(fraction) * units[unit]) / 10n ** BigInt(fraction.length);
  }
  if (nanos >= 2n ** 63n) return failure;
  return new Span(m[1] === "-" ? -nanos : nanos);
}

/** The parts of a point in time, in UTC or at an offset such as "+08:00". */
export function instantPart(name: string, t: Instant, zone?: string): Outcome {
  let seconds = t.seconds;
  if (zone !== undefined && zone !== "UTC") {
    const m = /^([+-]?)([0-9]{2}):([0-9]{2})$/.exec(zone);
    if (!m) return new Failure(`the time zone "${zone}" is not known: write an offset such as "+08:00"`);
    seconds += BigInt(60 * (60 * Number(m[2]) + Number(m[3])) * (m[1] === "-" ? -1 : 1));
  }
  const d = new Date(Number(seconds) * 1000);
  switch (name) {
    case "getFullYear":
      return BigInt(d.getUTCFullYear());
    case "getMonth":
      return BigInt(d.getUTCMonth());
    case "getDate":
      return BigInt(d.getUTCDate());
    case "getDayOfMonth":
      return BigInt(d.getUTCDate() - 1);
    case "getDayOfWeek":
      return BigInt(d.getUTCDay());
    case "getDayOfYear":
      return BigInt(Math.floor((Date.UTC(2000, d.getUTCMonth(), d.getUTCDate()) - Date.UTC(2000, 0, 1)) / 86_400_000)) - shift(d);
    case "getHours":
      return BigInt(d.getUTCHours());
    case "getMinutes":
      return BigInt(d.getUTCMinutes());
    case "getSeconds":
      return BigInt(d.getUTCSeconds());
    default:
      return BigInt(Math.floor(t.nanos / 1_000_000)); // getMilliseconds
  }
}

/** 1 after February of a year that has no 29 February, as the year 2000 has. */
function shift(d: Date): bigint {
  const leap = new Date(Date.UTC(d.getUTCFullYear(), 1, 29)).getUTCMonth() === 1;
  return d.getUTCMonth() > 1 && !leap ? 1n : 0n;
}

/** A length of time in whole hours, minutes, seconds; its milliseconds are those of the second. */
export function spanPart(name: string, s: Span): Outcome {
  switch (name) {
    case "getHours":
      return s.nanos / units.h;
    case "getMinutes":
      return s.nanos / units.m;
    case "getSeconds":
      return s.nanos / units.s;
    case "getMilliseconds":
      return (s.nanos / units.ms) % 1000n;
    default:
      return new Failure(`a duration has no ${name}`);
  }
}

/** The names of the getters. */
export const getters: ReadonlySet<string> = new Set([
  "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds",
]);
