// The Chinese lunar calendar from 1900 to 2100. LANGUAGE.md section 5, and lunar.go.
import { dateText, dayNumber, dayOf, dayOfNumber, monthDays, parseDay, validDay } from "./dates.js";
import { noAnswer } from "./values.js";
// For each lunar year: in the lowest four bits the month after which a leap month stands, 0 for none; bit 16 whether the
// leap month has 30 days; bits 15 to 4 whether months 1 to 12 have. Months have 29 days otherwise.
const lunarYears = [
    0x04bd8, 0x04ae0, 0x0a570, 0x054d5, 0x0d260, 0x0d950, 0x16554, 0x056a0, 0x09ad0, 0x055d2,
    0x04ae0, 0x0a5b6, 0x0a4d0, 0x0d250, 0x1d255, 0x0b540, 0x0d6a0, 0x0ada2, 0x095b0, 0x14977,
    0x04970, 0x0a4b0, 0x0b4b5, 0x06a50, 0x06d40, 0x1ab54, 0x02b60, 0x09570, 0x052f2, 0x04970,
    0x06566, 0x0d4a0, 0x0ea50, 0x16a95, 0x05ad0, 0x02b60, 0x186e3, 0x092e0, 0x1c8d7, 0x0c950,
    0x0d4a0, 0x1d8a6, 0x0b550, 0x056a0, 0x1a5b4, 0x025d0, 0x092d0, 0x0d2b2, 0x0a950, 0x0b557,
    0x06ca0, 0x0b550, 0x15355, 0x04da0, 0x0a5b0, 0x14573, 0x052b0, 0x0a9a8, 0x0e950, 0x06aa0,
    0x0aea6, 0x0ab50, 0x04b60, 0x0aae4, 0x0a570, 0x05260, 0x0f263, 0x0d950, 0x05b57, 0x056a0,
    0x096d0, 0x04dd5, 0x04ad0, 0x0a4d0, 0x0d4d4, 0x0d250, 0x0d558, 0x0b540, 0x0b6a0, 0x195a6,
    0x095b0, 0x049b0, 0x0a974, 0x0a4b0, 0x0b27a, 0x06a50, 0x06d40, 0x0af46, 0x0ab60, 0x09570,
    0x04af5, 0x04970, 0x064b0, 0x074a3, 0x0ea50, 0x06b58, 0x05ac0, 0x0ab60, 0x096d5, 0x092e0,
    0x0c960, 0x0d954, 0x0d4a0, 0x0da50, 0x07552, 0x056a0, 0x0abb7, 0x025d0, 0x092d0, 0x0cab5,
    0x0a950, 0x0b4a0, 0x0baa4, 0x0ad50, 0x055d9, 0x04ba0, 0x0a5b0, 0x15176, 0x052b0, 0x0a930,
    0x07954, 0x06aa0, 0x0ad50, 0x05b52, 0x04b60, 0x0a6e6, 0x0a4e0, 0x0d260, 0x0ea65, 0x0d530,
    0x05aa0, 0x076a3, 0x096d0, 0x04afb, 0x04ad0, 0x0a4d0, 0x1d0b6, 0x0d250, 0x0d520, 0x0dd45,
    0x0b5a0, 0x056d0, 0x055b2, 0x049b0, 0x0a577, 0x0a4b0, 0x0aa50, 0x1b255, 0x06d20, 0x0ada0,
    0x14b63, 0x09370, 0x049f8, 0x04970, 0x064b0, 0x168a6, 0x0ea50, 0x06b20, 0x1a6c4, 0x0aae0,
    0x092e0, 0x0d2e3, 0x0c960, 0x0d557, 0x0d4a0, 0x0da50, 0x05d55, 0x056a0, 0x0a6d0, 0x055d4,
    0x052d0, 0x0a9b8, 0x0a950, 0x0b4a0, 0x0b6a6, 0x0ad50, 0x055a0, 0x0aba4, 0x0a5b0, 0x052b0,
    0x0b273, 0x06930, 0x07337, 0x06aa0, 0x0ad50, 0x14b55, 0x04b60, 0x0a570, 0x054e4, 0x0d160,
    0x0e968, 0x0d520, 0x0daa0, 0x16aa6, 0x056d0, 0x04ae0, 0x0a9d4, 0x0a2d0, 0x0d150, 0x0f252,
    0x0d520,
];
const firstYear = 1900;
/** The number of 1900-01-31, the first day of lunar 1900. */
const firstDay = -25537;
/** The months of a lunar year in order. */
function monthsOf(year) {
    const info = lunarYears[year - firstYear];
    const months = [];
    for (let m = 1; m <= 12; m++) {
        months.push({ number: m, leap: false, days: 29 + ((info >> (16 - m)) & 1) });
        if ((info & 15) === m)
            months.push({ number: m, leap: true, days: 29 + (info >> 16) });
    }
    return months;
}
/** The number of the first day of each lunar year, and of the one after the last. */
const starts = lunarYears.reduce((all, _, i) => [...all, monthsOf(firstYear + i).reduce((n, m) => n + m.days, all[i])], [firstDay]);
/** The numbers of the first and the last day of a lunar month, or of the year where month is 0. */
function lunarSpan(year, month, leap) {
    if (year < firstYear || year >= firstYear + lunarYears.length)
        return undefined;
    let first = starts[year - firstYear];
    if (month === 0)
        return [first, starts[year - firstYear + 1] - 1];
    for (const m of monthsOf(year)) {
        if (m.number === month && m.leap === leap)
            return [first, first + m.days - 1];
        first += m.days;
    }
    return undefined;
}
/** The solar date of a lunar one. */
export function lunarToSolar(year, month, day, leap) {
    const span = month < 1 || day < 1 ? undefined : lunarSpan(year, month, leap);
    if (!span || day > span[1] - span[0] + 1)
        return noAnswer;
    return dateText(dayOfNumber(span[0] + day - 1));
}
/** The lunar date of a solar one: "2023-2-11", in a leap month "2023-2+-11". */
export function solarToLunar(s) {
    const solar = parseDay(s);
    if (!solar)
        return noAnswer;
    let n = dayNumber(solar);
    if (n < firstDay || n >= starts[lunarYears.length])
        return noAnswer;
    let i = 0;
    while (n >= starts[i + 1])
        i++;
    n -= starts[i];
    for (const m of monthsOf(firstYear + i)) {
        if (n < m.days)
            return `${firstYear + i}-${m.number}${m.leap ? "+" : ""}-${n + 1}`;
        n -= m.days;
    }
    return noAnswer;
}
/** The earliest and the latest solar day that a date may be of which a part may not be known. */
export function spanOf(p) {
    const day = p.month === 0 ? 0 : p.day;
    if (p.lunar) {
        const span = lunarSpan(p.year, p.month, p.leap && p.month !== 0);
        if (!span)
            return undefined;
        let [from, to] = span;
        if (day !== 0) {
            if (day < 0 || day > to - from + 1)
                return undefined;
            from += day - 1;
            to = from;
        }
        return [dateText(dayOfNumber(from)), dateText(dayOfNumber(to))];
    }
    if (!validDay(p.year, p.month || 1, day || 1))
        return undefined;
    const last = p.month || 12;
    return [dateText(dayOf(p.year, p.month || 1, day || 1)), dateText(dayOf(p.year, last, day || monthDays(p.year, last)))];
}
