// Functions of dates, which are texts such as "2016-07-21". LANGUAGE.md section 5.

import { type Absent, noAnswer } from "./values.js";

/** A day of the Gregorian calendar, with the time and the offset from UTC in minutes where they were told. */
export interface Day {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  milli: number;
  offset: number;
}

/** More days than there are from year 1 to 9999. */
export const maxDays = 4_000_000;

const datePattern = /^([0-9]{4})-([0-9]{2})-([0-9]{2})/;
const clockPattern = /^([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?$/;

/** A day without a time. */
export function dayOf(year: number, month: number, day: number): Day {
  return { year, month, day, hour: 0, minute: 0, second: 0, milli: 0, offset: 0 };
}

/** The number of days of a month. */
export function monthDays(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Tells whether there is such a day in the years 1 to 9999. */
export function validDay(year: number, month: number, day: number): boolean {
  return year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= monthDays(year, month);
}

/** Reads "2016-07-21" and "2016-07-21T18:05:00.000+08:00", in which seconds, fraction and offset may be left out. */
export function parseDay(s: string): Day | undefined {
  const m = datePattern.exec(s);
  if (!m || !validDay(Number(m[1]), Number(m[2]), Number(m[3]))) return undefined;
  const d = dayOf(Number(m[1]), Number(m[2]), Number(m[3]));
  if (s.length === 10) return d;
  return s[10] === "T" && parseClock(s.slice(11), d) ? d : undefined;
}

/** Reads "18:05", "18:05:00", "18:05:00.000", each with or without "Z", "+08:00", "+0800" or "+08". */
export function parseClock(s: string, into: Day): boolean {
  const m = clockPattern.exec(s);
  if (!m) return false;
  into.hour = Number(m[1]);
  into.minute = Number(m[2]);
  into.second = Number(m[3] ?? 0);
  into.milli = m[4] ? Number((m[4] + "00").slice(0, 3)) : 0;
  if (m[5] && m[5] !== "Z") {
    const digits = m[5].slice(1).replace(":", "").padEnd(4, "0");
    const hours = Number(digits.slice(0, 2));
    const minutes = Number(digits.slice(2));
    if (hours > 14 || minutes > 59) return false;
    into.offset = (60 * hours + minutes) * (m[5][0] === "-" ? -1 : 1);
  }
  return into.hour < 24 && into.minute < 60 && into.second < 60;
}

/** The number of days since 1970-01-01. */
export function dayNumber(d: Day): number {
  // Years of March to February, in eras of 400.
  const y = d.month > 2 ? d.year : d.year - 1;
  const era = Math.floor(y / 400);
  const ofEra = y - era * 400;
  const ofYear = Math.floor((153 * ((d.month + 9) % 12) + 2) / 5) + d.day - 1;
  return era * 146097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719468;
}

/** The day with a number, where it is in the years 1 to 9999. */
export function dayOfNumber(n: number): Day | undefined {
  const z = n + 719468;
  const era = Math.floor(z / 146097);
  const ofEra = z - era * 146097;
  const year = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36524) - Math.floor(ofEra / 146096)) / 365,
  );
  const ofYear = ofEra - (365 * year + Math.floor(year / 4) - Math.floor(year / 100));
  const mp = Math.floor((5 * ofYear + 2) / 153);
  const month = mp < 10 ? mp + 3 : mp - 9;
  const y = year + era * 400 + (month <= 2 ? 1 : 0);
  return y >= 1 && y <= 9999 ? dayOf(y, month, ofYear - Math.floor((153 * mp + 2) / 5) + 1) : undefined;
}

const two = (n: number) => String(n).padStart(2, "0");

/** Writes the date alone. */
export function dateText(d: Day): string {
  return `${String(d.year).padStart(4, "0")}-${two(d.month)}-${two(d.day)}`;
}

/** 1 Monday to 7 Sunday. */
export function weekday(d: Day): number {
  return ((((dayNumber(d) + 3) % 7) + 7) % 7) + 1;
}

/** The completed months from a day to a later one. */
export function monthsBetween(a: Day, b: Day): number {
  return 12 * (b.year - a.year) + b.month - a.month - (b.day < a.day ? 1 : 0);
}

/** Counts from one day to another; negative where the second is earlier. */
export function between(a: string, b: string, count: (from: Day, to: Day) => number): bigint | Absent {
  const from = parseDay(a);
  const to = parseDay(b);
  if (!from || !to) return noAnswer;
  return BigInt(dayNumber(to) < dayNumber(from) ? -count(to, from) : count(from, to));
}

/** Moves a day by days. */
export function addDays(d: Day, n: number): Day | undefined {
  return dayOfNumber(dayNumber(d) + n);
}

/** Moves a day by months; the last day of the month where the day does not exist. */
export function addMonths(d: Day, n: number): Day | undefined {
  const months = 12 * d.year + d.month - 1 + n;
  if (months < 12 || months >= 12 * 10000) return undefined;
  const year = Math.floor(months / 12);
  const month = (months % 12) + 1;
  return dayOf(year, month, Math.min(d.day, monthDays(year, month)));
}

/** Moves a date by so many of a unit. */
export function moved(s: string, n: bigint, move: (d: Day, n: number) => Day | undefined): string | Absent {
  const d = parseDay(s);
  if (!d || n > BigInt(maxDays) || n < -BigInt(maxDays)) return noAnswer;
  const out = move(d, Number(n));
  return out ? dateText(out) : noAnswer;
}

/** The days since 1970-01-01 in UTC, with the time as a fraction. */
export function epochDays(s: string): number | Absent {
  const d = parseDay(s);
  if (!d) return noAnswer;
  const minutes = 60 * d.hour + d.minute - d.offset;
  return (dayNumber(d) * 86_400_000 + minutes * 60_000 + 1000 * d.second + d.milli) / 86_400_000;
}

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const directives: Record<string, (d: Day) => string> = {
  Y: (d) => String(d.year).padStart(4, "0"),
  y: (d) => two(d.year % 100),
  m: (d) => two(d.month),
  n: (d) => String(d.month),
  b: (d) => months[d.month - 1],
  d: (d) => two(d.day),
  e: (d) => String(d.day),
  H: (d) => two(d.hour),
  h: (d) => String(d.hour),
  M: (d) => two(d.minute),
  S: (d) => two(d.second),
  "3": (d) => String(d.milli).padStart(3, "0"),
  a: (d) => weekdays[weekday(d) - 1],
  "%": () => "%",
};

/** Writes a date, and its time, as format-date of ODK does. A % that it does not know is no answer. */
export function formatDate(s: string, format: string): string | Absent {
  const d = parseDay(s);
  if (!d) return noAnswer;
  let out = "";
  for (let i = 0; i < format.length; i++) {
    if (format[i] !== "%") {
      out += format[i];
      continue;
    }
    i++;
    if (i >= format.length || !Object.hasOwn(directives, format[i])) return noAnswer;
    out += directives[format[i]](d);
  }
  return out;
}
