// What an answer written as text must look like.

import { dayOf, parseClock, parseDay } from "./dates.js";
import { Format } from "./options.js";
import { residentValid } from "./people.js";

/** Whether a text is written as its format asks. */
export function formatted(format: Format, s: string): boolean {
  switch (format) {
    case Format.Date:
      return s.length === 10 && parseDay(s) !== undefined;
    case Format.Time:
      return parseClock(s, dayOf(1, 1, 1));
    case Format.DateTime:
      return s.length > 10 && parseDay(s) !== undefined && /(Z|[+-][0-9:]+)$/.test(s.slice(11));
    case Format.ResidentId:
      return residentValid(s);
    default:
      return true;
  }
}
