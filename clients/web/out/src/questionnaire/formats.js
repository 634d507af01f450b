// What an answer must look like by its format: format.go.
import { parseDay } from "./dates.js";
import { unique } from "./limits.js";
import { Format } from "./options.js";
import { residentValid } from "./people.js";
const clock = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?";
const time = new RegExp(`^${clock}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$`);
const dateTime = new RegExp(`^T${clock}(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`);
const phone = /^\+?[0-9][0-9 ()/-]{1,22}[0-9]$/;
const coordinate = /^-?[0-9]{1,12}(\.[0-9]{1,15})?$/;
/** Whether an answer is written as its format asks; of a format that says nothing of it, it is. */
export function formatted(format, v) {
    if (format === Format.Rank)
        return unique(v);
    if (typeof v !== "string")
        return true;
    switch (format) {
        case Format.Date:
            return isDay(v);
        case Format.Time:
            return time.test(v);
        case Format.DateTime:
            return v.length > 10 && isDay(v.slice(0, 10)) && dateTime.test(v.slice(10));
        case Format.GeoTrace:
            return positions(v).length >= 2;
        case Format.GeoShape:
            return isArea(positions(v));
        case Format.Phone:
            return phone.test(v);
        case Format.ResidentId:
            return residentValid(v);
        default:
            return true;
    }
}
function isDay(s) {
    return s.length === 10 && parseDay(s) !== undefined;
}
const space = "[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+";
const around = new RegExp(`^${space}|${space}$`, "g");
const spaces = new RegExp(space);
/**
 * The positions in a text, "latitude longitude altitude accuracy" each, of which the last two may be left out, joined by ";";
 * none where it holds anything else.
 */
function positions(s) {
    const out = [];
    for (const point of s.replace(around, "").replace(/;$/, "").split(";")) {
        const parts = point.replace(around, "").split(spaces);
        if (parts.length < 2 || parts.length > 4 || !parts.every((p) => coordinate.test(p)))
            return [];
        if (Math.abs(Number(parts[0])) > 90 || Math.abs(Number(parts[1])) > 180)
            return [];
        out.push(parts);
    }
    return out;
}
/** Whether the last of some positions is the first. */
function isArea(points) {
    const last = points[points.length - 1];
    return points.length >= 4 && points[0][0] === last[0] && points[0][1] === last[1];
}
