// The functions of LANGUAGE.md section 5, and those of CEL that questionnaires may use, over values that are there.
import { RE2JS } from "@bufbuild/re2";
import { addDays, addMonths, between, dateText, dayNumber, dayOfNumber, epochDays, formatDate, maxDays, monthsBetween, moved, parseDay, validDay, dayOf, weekday, } from "./dates.js";
import { lunarToSolar, solarToLunar, spanOf } from "./lunar.js";
import { about, absInt, finite, mean, numberOf, numberText, power, roundTo, sumDoubles, sumInts, trimmed } from "./numbers.js";
import { distance, placeCode, residentBirth, residentValid } from "./people.js";
import { lowered, replaced, splitText, substr, uppered } from "./texts.js";
import { parseInstant, parseSpan } from "./times.js";
import { itemOf, listOf, types } from "./types.js";
import { Absent, characters, equal, Failure, Instant, int, isList, noAnswer } from "./values.js";
const mismatch = new Failure("no such overload");
/** Kinds of arguments: i int, d double, s text, b bool, * anything, I, D, S lists. */
function fits(kind, v) {
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
function of(result, ...overloads) {
    return {
        result,
        call(args) {
            for (const [kinds, f] of overloads) {
                if (kinds.length === args.length && args.every((v, i) => fits(kinds[i], v))) {
                    return f(...args) ?? noAnswer;
                }
            }
            return mismatch;
        },
    };
}
const real = (f) => of(types.double, ["d", (x) => f(x)]);
const sameAsFirst = (args) => (args[0]?.kind === "list" ? itemOf(args[0]) : (args[0] ?? types.unknown));
/** The least or the greatest of a list or of two. */
function extreme(better) {
    const best = (list) => {
        if (list.length === 0 || list.some((x) => typeof x === "number" && Number.isNaN(x)))
            return noAnswer;
        const out = list.reduce((a, b) => (better(a, b) ? a : b));
        return typeof out === "number" ? finite(out) : out;
    };
    return of(sameAsFirst, ["I", best], ["D", best], ["ii", ((a, b) => best([a, b]))], ["dd", ((a, b) => best([a, b]))]);
}
const ofDay = (f) => of(types.int, ["s", (s) => { const d = parseDay(s); return d && BigInt(f(d)); }]);
const betweenDays = (count) => of(types.int, ["ss", (a, b) => between(a, b, count)]);
const move = (f) => of(types.string, ["si", (s, n) => moved(s, n, f)]);
const ofResident = (t, f) => of(t, ["s", (s) => (residentValid(s) ? f(s) : noAnswer)]);
/** Dates beyond what a double counts exactly are no dates. */
const small = (x) => (x > 1000000n || x < -1000000n ? -1 : Number(x));
function datePart(row, field) {
    const v = row.read(field);
    if (v instanceof Failure)
        return v;
    return typeof v === "bigint" ? small(v) : 0;
}
function spanEnd(end) {
    return {
        result: types.string,
        call([row]) {
            if (!isRow(row))
                return mismatch;
            const parts = ["year", "month", "day", "calendar"].map((f) => datePart(row, f));
            const leap = row.read("leap_month");
            const failed = [...parts, leap].find((x) => x instanceof Failure);
            if (failed instanceof Failure)
                return failed;
            const [year, month, day, calendar] = parts;
            return spanOf({ year, month, day, lunar: calendar === 2, leap: leap === true })?.[end] ?? noAnswer;
        },
    };
}
function isRow(v) {
    return typeof v === "object" && v !== null && "read" in v;
}
/** Choice functions ask the lists of the questionnaire. */
function asks(result, kinds, ask) {
    return {
        result,
        call(args, at) {
            if (!kinds.some((k) => k.length === args.length && args.every((v, i) => fits(k[i], v))))
                return mismatch;
            return ask(at.lists, ...args) ?? noAnswer;
        },
    };
}
/** The functions that Hearth adds to CEL, by name. */
export const ours = {
    selected: of(types.bool, ["Ii", (list, x) => list.includes(x)], ["ii", (a, b) => a === b]),
    number: of(types.double, ["s", numberOf], ["i", (x) => Number(x)], ["d", finite]),
    text: of(types.string, ["i", (x) => String(x)], ["d", numberText], ["b", (x) => String(x)], ["s", (s) => s]),
    round: of(types.double, ["di", roundTo]),
    floor: real((x) => finite(Math.floor(x))),
    ceil: real((x) => finite(Math.ceil(x))),
    trunc: real((x) => finite(Math.trunc(x))),
    abs: of((a) => a[0] ?? types.unknown, ["d", (x) => finite(Math.abs(x))], ["i", absInt]),
    pow: of(types.double, ["dd", power]),
    sqrt: real((x) => finite(Math.sqrt(x))),
    exp: real((x) => about(Math.exp(x))),
    ln: real((x) => about(Math.log(x))),
    log10: real((x) => about(Math.log10(x))),
    sum: {
        result: sameAsFirst,
        call([list], at) {
            if (!isList(list))
                return mismatch;
            if (list.length === 0)
                return itemOf(at.types[0]).kind === "double" ? 0 : 0n;
            if (fits("D", list))
                return sumDoubles(list);
            return fits("I", list) ? sumInts(list) : mismatch;
        },
    },
    mean: of(types.double, ["D", mean], ["I", (list) => mean(list.map(Number))]),
    min: extreme((a, b) => a <= b),
    max: extreme((a, b) => a >= b),
    lower: of(types.string, ["s", lowered]),
    upper: of(types.string, ["s", uppered]),
    trim: of(types.string, ["s", trimmed]),
    substr: of(types.string, ["sii", substr]),
    replace: of(types.string, ["sss", replaced]),
    split: of(listOf(types.string), ["ss", splitText]),
    join: of(types.string, ["Ss", (list, sep) => list.join(sep)]),
    is_date: of(types.bool, ["s", (s) => parseDay(s) !== undefined]),
    date: of(types.string, ["iii", (y, m, d) => validDay(small(y), small(m), small(d)) ? dateText(dayOf(Number(y), Number(m), Number(d))) : noAnswer]),
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
    date_of_epoch: of(types.string, ["d", (x) => {
            const d = Math.abs(x) <= maxDays ? dayOfNumber(Math.floor(x)) : undefined;
            return d && dateText(d);
        }]),
    first_day: spanEnd(0),
    last_day: spanEnd(1),
    lunar_to_solar: of(types.string, ["iiib", (y, m, d, leap) => lunarToSolar(small(y), small(m), small(d), leap)]),
    solar_to_lunar: of(types.string, ["s", solarToLunar]),
    resident_id_valid: of(types.bool, ["s", residentValid]),
    resident_id_birth: ofResident(types.string, residentBirth),
    resident_id_sex: ofResident(types.int, (s) => 2n - (BigInt(s[16]) % 2n)),
    resident_id_place: ofResident(types.string, (s) => s.slice(0, 6)),
    place_level: of(types.int, ["s", (s) => { const p = placeCode(s); return p instanceof Absent ? p : p.level; }]),
    place_in: of(types.bool, ["ss", (s, t) => {
            const inner = placeCode(s);
            const outer = placeCode(t);
            return inner instanceof Absent || outer instanceof Absent ? noAnswer : inner.code.startsWith(outer.code);
        }]),
    place_province: of(types.string, ["s", (s) => { const p = placeCode(s); return p instanceof Absent ? p : p.code.slice(0, 2); }]),
    choice_name: asks(types.string, ["si"], (l, list, n) => l.name(list, n)),
    choice_label: asks(types.string, ["si", "sis"], (l, list, n, lang) => l.label(list, n, lang ?? "")),
    choice_number: asks(types.int, ["ss"], (l, list, name) => l.number(list, name)),
    choice_column: asks(types.string, ["sis"], (l, list, n, column) => l.column(list, n, column)),
    lookup: asks(types.string, ["ssss"], (l, table, column, keyColumn, key) => l.lookup(table, column, keyColumn, key)),
    distance: {
        result: types.double,
        call([a, b]) {
            if (!isRow(a) || !isRow(b))
                return mismatch;
            const at = [a.read("latitude"), a.read("longitude"), b.read("latitude"), b.read("longitude")];
            const absent = at.find((x) => x instanceof Failure) ?? at.find((x) => x instanceof Absent);
            if (absent !== undefined)
                return absent;
            if (!at.every((x) => typeof x === "number"))
                return mismatch;
            return distance({ lat: at[0], lon: at[1] }, { lat: at[2], lon: at[3] });
        },
    },
};
const patterns = new Map();
/** A compiled regular expression of RE2; a failure where it is none. */
function pattern(source) {
    let known = patterns.get(source);
    if (known === undefined) {
        try {
            known = new RE2JS(source);
        }
        catch (e) {
            known = new Failure(`"${source}" is no regular expression: ${String(e)}`);
        }
        if (patterns.size < 1000)
            patterns.set(source, known);
    }
    return known;
}
const matches = (s, source) => {
    const re = pattern(source);
    return re instanceof Failure ? re : re.test(s);
};
/** The functions of CEL itself, by name; of a method the receiver is the first argument. */
export const standard = {
    size: of(types.int, ["s", (s) => BigInt(characters(s))], ["*", (v) => (isList(v) ? BigInt(v.length) : mismatch)]),
    contains: of(types.bool, ["ss", (s, t) => s.includes(t)]),
    startsWith: of(types.bool, ["ss", (s, t) => s.startsWith(t)]),
    endsWith: of(types.bool, ["ss", (s, t) => s.endsWith(t)]),
    matches: of(types.bool, ["ss", matches]),
    int: of(types.int, ["i", (x) => x], ["d", intOfDouble], ["s", intOfText], ["*", (v) => (v instanceof Instant ? v.seconds : mismatch)]),
    double: of(types.double, ["d", (x) => x], ["i", (x) => Number(x)], ["s", doubleOfText]),
    string: of(types.string, ["s", (s) => s], ["i", (x) => String(x)], ["b", (x) => String(x)], ["d", (x) => numberText(x)]),
    timestamp: of(types.instant, ["s", parseInstant], ["i", (x) => new Instant(x, 0)], ["*", (v) => (v instanceof Instant ? v : mismatch)]),
    duration: of(types.span, ["s", parseSpan], ["*", (v) => v]),
};
/** Whether a list holds a value. */
export function holds(x, of) {
    return isList(of) ? of.some((y) => equal(x, y)) : mismatch;
}
/** A double without its fraction, where it is an int: what is not within 64 bits is a failure. */
function intOfDouble(x) {
    if (!(x > -(2 ** 63) && x < 2 ** 63))
        return new Failure(`${x} is no whole number of 64 bits`);
    return BigInt(Math.trunc(x));
}
function intOfText(s) {
    return /^[+-]?[0-9]+$/.test(s) ? int(BigInt(s.replace("+", ""))) : new Failure(`"${s}" is no whole number`);
}
function doubleOfText(s) {
    if (/^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/.test(s)) {
        const x = Number(s);
        if (Number.isFinite(x))
            return x;
    }
    return new Failure(`"${s}" is no number`);
}
