// The functions of LANGUAGE.md section 5, and those of CEL that questionnaires may use, over values that are there.

import { RE2JS } from "@bufbuild/re2";
import {
  addDays,
  addMonths,
  between,
  dateText,
  dayNumber,
  dayOfNumber,
  type Day,
  epochDays,
  formatDate,
  maxDays,
  monthsBetween,
  moved,
  parseDay,
  validDay,
  dayOf,
  weekday,
} from "./dates.js";
import { lunarToSolar, solarToLunar, spanOf } from "./lunar.js";
import { about, absInt, finite, mean, numberOf, numberText, power, roundTo, sumDoubles, sumInts, trimmed } from "./numbers.js";
import { distance, placeCode, residentBirth, residentValid } from "./people.js";
import { lowered, replaced, splitText, substr, uppered } from "./texts.js";
import type { Choice } from "./tree.js";
import { parseInstant, parseSpan } from "./times.js";
import { itemOf, listOf, type Type, types } from "./types.js";
import { Absent, characters, equal, Failure, Instant, int, isList, noAnswer, type Outcome, type Row, type Value } from "./values.js";

/** Finds choices by the full name of an enum or the name of a table. */
export interface ChoiceLists {
  name(list: string, number: bigint): string | undefined;
  /** The language "" is the first of the questionnaire. */
  label(list: string, number: bigint, language: string): string | undefined;
  number(list: string, name: string): bigint | undefined;
  column(list: string, number: bigint, column: string): string | undefined;
  lookup(table: string, column: string, keyColumn: string, key: string): string | undefined;
  /** What a filter may ask of a choice; "" where it has no such column. */
  columnOf(choice: Choice, column: string): string;
}

/** What a call has beside its arguments: the types of them, and the choice lists of the questionnaire. */
export interface Call {
  types: readonly Type[];
  lists: ChoiceLists;
}

/** A function: what it yields, and of which type. */
export interface Func {
  result: Type | ((args: readonly Type[]) => Type);
  /** Is called with values only; wrong types are failures. */
  call(args: readonly Value[], at: Call): Outcome;
}

const mismatch = new Failure("no such overload");

/** Kinds of arguments: i int, d double, s text, b bool, * anything, I, D, S lists. */
function fits(kind: string, v: Value): boolean {
  switch (kind) {
    case "i":
      return typeof v === "bigint";
    case "d":
      return typeof v === "number";
    case "s":
      return typeof v === "string";
    case "b":
      return typeof v === "boolean";
    case "I":
    case "D":
    case "S":
      return isList(v) && v.every((x) => fits(kind.toLowerCase(), x));
    default:
      return true;
  }
}

/** Declares a function by the kinds of its arguments; several signatures are tried in turn. */
function of(result: Func["result"], ...overloads: [string, (...args: never[]) => Outcome | undefined][]): Func {
  return {
    result,
    call(args) {
      for (const [kinds, f] of overloads) {
        if (kinds.length === args.length && args.every((v, i) => fits(kinds[i], v))) {
          return (f as (...args: readonly Value[]) => Outcome | undefined)(...args) ?? noAnswer;
        }
      }
      return mismatch;
    },
  };
}

const real = (f: (x: number) => number | Absent) => of(types.double, ["d", (x: number) => f(x)]);
const sameAsFirst = (args: readonly Type[]) => (args[0]?.kind === "list" ? itemOf(args[0]) : (args[0] ?? types.unknown));

/** The least or the greatest of a list or of two. */
function extreme(better: (a: Value, b: Value) => boolean): Func {
  const best = (list: readonly (number | bigint)[]) => {
    if (list.length === 0 || list.some((x) => typeof x === "number" && Number.isNaN(x))) return noAnswer;
    const out = list.reduce((a, b) => (better(a, b) ? a : b));
    return typeof out === "number" ? finite(out) : out;
  };
  return of(
    sameAsFirst,
    ["I", best as never],
    ["D", best as never],
    ["ii", ((a: bigint, b: bigint) => best([a, b])) as never],
    ["dd", ((a: number, b: number) => best([a, b])) as never],
  );
}

const ofDay = (f: (d: Day) => number) =>
  of(types.int, ["s", (s: string) => { const d = parseDay(s); return d && BigInt(f(d)); }]);
const betweenDays = (count: (a: Day, b: Day) => number) => of(types.int, ["ss", (a: string, b: string) => between(a, b, count)]);
const move = (f: (d: Day, n: number) => Day | undefined) => of(types.string, ["si", (s: string, n: bigint) => moved(s, n, f)]);
const ofResident = (t: Type, f: (s: string) => Outcome) => of(t, ["s", (s: string) => (residentValid(s) ? f(s) : noAnswer)]);

/** Dates beyond what a double counts exactly are no dates. */
const small = (x: bigint) => (x > 1_000_000n || x < -1_000_000n ? -1 : Number(x));

function datePart(row: Row, field: string): number | Failure {
  const v = row.read(field);
  if (v instanceof Failure) return v;
  return typeof v === "bigint" ? small(v) : 0;
}

function spanEnd(end: 0 | 1): Func {
  return {
    result: types.string,
    call([row]) {
      if (!isRow(row)) return mismatch;
      const parts = ["year", "month", "day", "calendar"].map((f) => datePart(row, f));
      const leap = row.read("leap_month");
      const failed = [...parts, leap].find((x) => x instanceof Failure);
      if (failed instanceof Failure) return failed;
      const [year, month, day, calendar] = parts as number[];
      return spanOf({ year, month, day, lunar: calendar === 2, leap: leap === true })?.[end] ?? noAnswer;
    },
  };
}

function isRow(v: Value | undefined): v is Row {
  return typeof v === "object" && v !== null && "read" in v;
}

/** Choice functions ask the lists of the questionnaire. */
function asks(result: Type, kinds: string[], ask: (lists: ChoiceLists, ...args: never[]) => Value | undefined): Func {
  return {
    result,
    call(args, at) {
      if (!kinds.some((k) => k.length === args.length && args.every((v, i) => fits(k[i], v)))) return mismatch;
      return ask(at.lists, ...(args as never[])) ?? noAnswer;
    },
  };
}

/** The functions that Hearth adds to CEL, by name. */
export const ours: Readonly<Record<string, Func>> = {
  selected: of(types.bool, ["Ii", (list: bigint[], x: bigint) => list.includes(x)], ["ii", (a: bigint, b: bigint) => a === b]),
  number: of(types.double, ["s", numberOf], ["i", (x: bigint) => Number(x)], ["d", finite]),
  text: of(types.string, ["i", (x: bigint) => String(x)], ["d", numberText], ["b", (x: boolean) => String(x)], ["s", (s: string) => s]),
  round: of(types.double, ["di", roundTo]),
  floor: real((x) => finite(Math.floor(x))),
  ceil: real((x) => finite(Math.ceil(x))),
  trunc: real((x) => finite(Math.trunc(x))),
  abs: of((a) => a[0] ?? types.unknown, ["d", (x: number) => finite(Math.abs(x))], ["i", absInt]),
  pow: of(types.double, ["dd", power]),
  sqrt: real((x) => finite(Math.sqrt(x))),
  exp: real((x) => about(Math.exp(x))),
  ln: real((x) => about(Math.log(x))),
  log10: real((x) => about(Math.log10(x))),
  sum: {
    result: sameAsFirst,
    call([list], at) {
      if (!isList(list)) return mismatch;
      if (list.length === 0) return itemOf(at.types[0]).kind === "double" ? 0 : 0n;
      if (fits("D", list)) return sumDoubles(list as number[]);
      return fits("I", list) ? sumInts(list as bigint[]) : mismatch;
    },
  },
  mean: of(types.double, ["D", mean], ["I", (list: bigint[]) => mean(list.map(Number))]),
  min: extreme((a, b) => a! <= b!),
  max: extreme((a, b) => a! >= b!),
  lower: of(types.string, ["s", lowered]),
  upper: of(types.string, ["s", uppered]),
  trim: of(types.string, ["s", trimmed]),
  substr: of(types.string, ["sii", substr]),
  replace: of(types.string, ["sss", replaced]),
  split: of(listOf(types.string), ["ss", splitText]),
  join: of(types.string, ["Ss", (list: string[], sep: string) => list.join(sep)]),
  is_date: of(types.bool, ["s", (s: string) => parseDay(s) !== undefined]),
  date: of(types.string, ["iii", (y: bigint, m: bigint, d: bigint) =>
    validDay(small(y), small(m), small(d)) ? dateText(dayOf(Number(y), Number(m), Number(d))) : noAnswer]),
  year: ofDay((d) => d.year),
  month: ofDay((d) => d.month),
  day: ofDay((d) => d.day),
  weekday: ofDay(weekday),
  days_between: betweenDays((a, b) => dayNumber(b) - dayNumber(a)),
  months_between: betweenDays(monthsBetween),
  years_between: betweenDays((a, b) => Math.floor(monthsBetween(a, b) / 12)),
  add_days: move(addDays),
  add_months: move(addMonths),
  add_years: move((d, n) => addMonths(d, 12 * n)),
  format_date: of(types.string, ["ss", formatDate]),
  epoch_days: of(types.double, ["s", epochDays]),
  date_of_epoch: of(types.string, ["d", (x: number) => {
    const d = Math.abs(x) <= maxDays ? dayOfNumber(Math.floor(x)) : undefined;
    return d && dateText(d);
  }]),
  first_day: spanEnd(0),
  last_day: spanEnd(1),
  lunar_to_solar: of(types.string, ["iiib", (y: bigint, m: bigint, d: bigint, leap: boolean) => lunarToSolar(small(y), small(m), small(d), leap)]),
  solar_to_lunar: of(types.string, ["s", solarToLunar]),
  resident_id_valid: of(types.bool, ["s", residentValid]),
  resident_id_birth: ofResident(types.string, residentBirth),
  resident_id_sex: ofResident(types.int, (s) => 2n - (BigInt(s[16]) % 2n)),
  resident_id_place: ofResident(types.string, (s) => s.slice(0, 6)),
  place_level: of(types.int, ["s", (s: string) => { const p = placeCode(s); return p instanceof Absent ? p : p.level; }]),
  place_in: of(types.bool, ["ss", (s: string, t: string) => {
    const inner = placeCode(s);
    const outer = placeCode(t);
    return inner instanceof Absent || outer instanceof Absent ? noAnswer : inner.code.startsWith(outer.code);
  }]),
  place_province: of(types.string, ["s", (s: string) => { const p = placeCode(s); return p instanceof Absent ? p : p.code.slice(0, 2); }]),
  choice_name: asks(types.string, ["si"], (l, list: string, n: bigint) => l.name(list, n)),
  choice_label: asks(types.string, ["si", "sis"], (l, list: string, n: bigint, lang: string | undefined) => l.label(list, n, lang ?? "")),
  choice_number: asks(types.int, ["ss"], (l, list: string, name: string) => l.number(list, name)),
  choice_column: asks(types.string, ["sis"], (l, list: string, n: bigint, column: string) => l.column(list, n, column)),
  lookup: asks(types.string, ["ssss"], (l, table: string, column: string, keyColumn: string, key: string) => l.lookup(table, column, keyColumn, key)),
  distance: {
    result: types.double,
    call([a, b]) {
      if (!isRow(a) || !isRow(b)) return mismatch;
      const at = [a.read("latitude"), a.read("longitude"), b.read("latitude"), b.read("longitude")];
      const absent = at.find((x) => x instanceof Failure) ?? at.find((x) => x instanceof Absent);
      if (absent !== undefined) return absent;
      if (!at.every((x) => typeof x === "number")) return mismatch;
      return distance({ lat: at[0], lon: at[1] }, { lat: at[2], lon: at[3] });
    },
  },
};

const patterns = new Map<string, RE2JS | Failure>();

/** A compiled regular expression of RE2; a failure where it is none. */
function pattern(source: string): RE2JS | Failure {
  let known = patterns.get(source);
  if (known === undefined) {
    try {
      known = new RE2JS(source);
    } catch (e) {
      known = new Failure(`"${source}" is no regular expression: ${String(e)}`);
    }
    if (patterns.size < 1000) patterns.set(source, known);
  }
  return known;
}

const matches = (s: string, source: string) => {
  const re = pattern(source);
  return re instanceof Failure ? re : re.test(s);
};

/** The functions of CEL itself, by name; of a method the receiver is the first argument. */
export const standard: Readonly<Record<string, Func>> = {
  size: of(types.int, ["s", (s: string) => BigInt(characters(s))], ["*", (v: Value) => (isList(v) ? BigInt(v.length) : mismatch)]),
  contains: of(types.bool, ["ss", (s: string, t: string) => s.includes(t)]),
  startsWith: of(types.bool, ["ss", (s: string, t: string) => s.startsWith(t)]),
  endsWith: of(types.bool, ["ss", (s: string, t: string) => s.endsWith(t)]),
  matches: of(types.bool, ["ss", matches]),
  int: of(types.int, ["i", (x: bigint) => x], ["d", intOfDouble], ["s", intOfText], ["*", (v: Value) => (v instanceof Instant ? v.seconds : mismatch)]),
  double: of(types.double, ["d", (x: number) => x], ["i", (x: bigint) => Number(x)], ["s", doubleOfText]),
  string: of(types.string, ["s", (s: string) => s], ["i", (x: bigint) => String(x)], ["b", (x: boolean) => String(x)], ["d", (x: number) => numberText(x)]),
  timestamp: of(types.instant, ["s", parseInstant], ["i", (x: bigint) => new Instant(x, 0)], ["*", (v: Value) => (v instanceof Instant ? v : mismatch)]),
  duration: of(types.span, ["s", parseSpan], ["*", (v: Value) => v]),
};

/** Whether a list holds a value. */
export function holds(x: Value, of: Value): Outcome {
  return isList(of) ? of.some((y) => equal(x, y)) : mismatch;
}

/** A double without its fraction, where it is an int: what is not within 64 bits is a failure. */
function intOfDouble(x: number): Outcome {
  if (!(x > -(2 ** 63) && x < 2 ** 63)) return new Failure(`${x} is no whole number of 64 bits`);
  return BigInt(Math.trunc(x));
}

function intOfText(s: string): Outcome {
  return /^[+-]?[0-9]+$/.test(s) ? int(BigInt(s.replace("+", ""))) : new Failure(`"${s}" is no whole number`);
}

function doubleOfText(s: string): Outcome {
  if (/^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/.test(s)) {
    const x = Number(s);
    if (Number.isFinite(x)) return x;
  }
  return new Failure(`"${s}" is no number`);
}
