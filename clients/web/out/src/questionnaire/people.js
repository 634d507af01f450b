// Resident identity numbers (GB 11643), place codes (GB/T 2260) and positions. LANGUAGE.md section 5.
import { parseDay } from "./dates.js";
import { roundTo } from "./numbers.js";
import { noAnswer } from "./values.js";
/** Tells whether a text is a number by GB 11643: 18 digits, the last of which may be X; date and check character hold. */
export function residentValid(s) {
    if (!/^[1-9][0-9]{16}[0-9X]$/.test(s))
        return false;
    let sum = 0;
    let weight = 1;
    for (let i = 16; i >= 0; i--) {
        weight = (weight * 2) % 11;
        sum += Number(s[i]) * weight;
    }
    return s[17] === "10X98765432"[sum % 11] && parseDay(residentBirth(s)) !== undefined;
}
/** The birth date in a number of 18 characters, as it stands. */
export function residentBirth(s) {
    return `${s.slice(6, 10)}-${s.slice(10, 12)}-${s.slice(12, 14)}`;
}
/** A code without the zeros that only fill it up, and its level: 1 province to 5 village. */
export function placeCode(s) {
    if (!/^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$/.test(s) || s.startsWith("00"))
        return noAnswer;
    const level = [2, 4, 6, 9, 12].findIndex((n) => n === s.length || /^0*$/.test(s.slice(n)));
    return { code: s.slice(0, [2, 4, 6, 9, 12][level]), level: BigInt(level + 1) };
}
const earthRadius = 6_378_100;
const radian = Math.PI / 180;
/** The way between two positions, in degrees, along a great circle, in metres, to the millimetre. */
export function distance(a, b) {
    const north = Math.sin(((b.lat - a.lat) * radian) / 2);
    const east = Math.sin(((b.lon - a.lon) * radian) / 2);
    const h = north * north + Math.cos(a.lat * radian) * Math.cos(b.lat * radian) * east * east;
    return roundTo(2 * earthRadius * Math.asin(Math.min(1, Math.sqrt(h))), 3n);
}
