// Functions of texts, LANGUAGE.md section 5, whose characters are code points.
import { tooLarge } from "./values.js";
/** Small letters for capitals, each character by itself, so that the number of characters stays. */
export function lowered(s) {
    return recased(s, (c) => c.toLowerCase());
}
/** Capitals for small letters, each character by itself. */
export function uppered(s) {
    return recased(s, (c) => c.toUpperCase());
}
/** Keeps to the Latin, Greek and Cyrillic letters whose case all programs know alike. */
function recased(s, change) {
    let out = "";
    for (const c of s) {
        const r = c.codePointAt(0);
        const known = (r < 0x250 || (r >= 0x370 && r < 0x530) || (r >= 0x1e00 && r < 0x1f00) || (r >= 0xff21 && r <= 0xff5a)) &&
            r !== 0x130 &&
            r !== 0x19b;
        const changed = known ? change(c) : c;
        out += [...changed].length === 1 ? changed : c;
    }
    return out;
}
/** The characters from one position up to, and without, another; cut at the ends. */
export function substr(s, from, to) {
    const chars = [...s];
    const within = (x) => (x < 0n ? 0 : x > BigInt(chars.length) ? chars.length : Number(x));
    return chars.slice(within(from), within(to)).join("");
}
/** How much a text may grow in one step, in bytes of UTF-8. */
export const maxTextBytes = 1 << 20;
/** Every occurrence of a text replaced; of the empty text there is none. */
export function replaced(s, old, by) {
    if (old === "")
        return s;
    const parts = s.split(old);
    const grown = (utf8Length(by) - utf8Length(old)) * (parts.length - 1);
    return grown > maxTextBytes ? tooLarge : parts.join(by);
}
const encoder = new TextEncoder();
/** How many bytes a text has in UTF-8. */
export function utf8Length(s) {
    return encoder.encode(s).length;
}
/** The parts of a text: none of the empty one; by the empty separator the characters. */
export function splitText(s, separator) {
    if (s === "")
        return [];
    return separator === "" ? [...s] : s.split(separator);
}
