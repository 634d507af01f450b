// The field rules of buf.validate: the kinds that questionnaires use, with the rule ids and the verdicts of protovalidate, and
// with the words of limits.go.
import { getOption, hasOption, isFieldSet } from "@bufbuild/protobuf";
import { RE2JS } from "@bufbuild/re2";
import { numberText } from "./numbers.js";
import { nameOf, SchemaError } from "./tree.js";
import { characters } from "./values.js";
const none = { whole: [], items: [] };
/** Reads the field rules of a field. */
export function limitsOf(f, registry) {
    const extension = registry.getExtension("buf.validate.field");
    if (!extension || !hasOption(f, extension))
        return none;
    const rules = getOption(f, extension);
    const of = rules.type;
    if (of.case === undefined)
        return none;
    if (of.case !== "repeated")
        return { whole: scalarLimits(f, of, registry), items: [] };
    const c = new Collector(f, "repeated", of.value, registry);
    c.add("min_items", (n) => ({ en: `at least ${n} answers`, zh: `至少${n}项` }), (n) => (v) => BigInt(v.length) >= n);
    c.add("max_items", (n) => ({ en: `at most ${n} answers`, zh: `最多${n}项` }), (n) => (v) => BigInt(v.length) <= n);
    if (of.value.unique === true)
        c.push("unique", { en: "each answer only once", zh: "每项只能出现一次" }, (v) => unique(v));
    const items = of.value.items;
    const item = items?.type;
    return { whole: c.out, items: item?.case ? scalarLimits(f, item, registry) : [] };
}
/** Whether no value stands twice; NaN is like no other. */
export function unique(list) {
    const seen = new Set();
    for (const x of list) {
        if (typeof x === "number" && Number.isNaN(x))
            continue;
        const key = x instanceof Uint8Array ? x.join(",") : x;
        if (seen.has(key))
            return false;
        seen.add(key);
    }
    return true;
}
class Collector {
    field;
    kind;
    rules;
    registry;
    out = [];
    constructor(field, kind, rules, registry) {
        this.field = field;
        this.kind = kind;
        this.rules = rules;
        this.registry = registry;
    }
    push(name, bounds, holds) {
        const text = { en: `The answer must be ${bounds.en}.`, zh: `答案必须为：${bounds.zh}。` };
        this.out.push({ rule: `${nameOf(this.field)}/${this.kind}.${name}`, text, holds });
    }
    /** The value of a rule where it is set. */
    get(name) {
        const d = this.registry.getMessage(this.rules.$typeName);
        const f = d?.fields.find((x) => x.name === name);
        if (!f || !isFieldSet(this.rules, f))
            return undefined;
        const oneof = f.oneof && this.rules[f.oneof.localName];
        return oneof ? oneof.value : this.rules[f.localName];
    }
    /** Adds a rule of a count. */
    add(name, bounds, holds) {
        const n = this.get(name);
        if (n !== undefined)
            this.push(name, bounds(n), holds(n));
    }
}
function scalarLimits(f, of, registry) {
    const c = new Collector(f, of.case, of.value, registry);
    switch (of.case) {
        case "string": {
            const length = (v) => BigInt(characters(v));
            c.add("len", (n) => ({ en: `of ${n} characters`, zh: `${n}个字符` }), (n) => (v) => length(v) === n);
            c.add("min_len", (n) => ({ en: `of at least ${n} characters`, zh: `至少${n}个字符` }), (n) => (v) => length(v) >= n);
            c.add("max_len", (n) => ({ en: `of at most ${n} characters`, zh: `最多${n}个字符` }), (n) => (v) => length(v) <= n);
            const pattern = c.get("pattern");
            if (pattern !== undefined) {
                const re = patternOf(f, pattern);
                c.push("pattern", { en: "written in the form asked for", zh: "按要求的格式填写" }, (v) => re.test(v));
            }
            break;
        }
        case "bytes":
            c.add("len", (n) => ({ en: `of ${n} bytes`, zh: `${n}字节` }), (n) => (v) => BigInt(v.length) === n);
            break;
        default:
            bounded(c);
    }
    return c.out;
}
function patternOf(f, source) {
    try {
        return new RE2JS(source);
    }
    catch (e) {
        throw new SchemaError(`field ${nameOf(f)} has a pattern that is no regular expression: ${String(e)}`);
    }
}
/** The range of a number, as one rule, named as protovalidate names it: gt, gte, lt, lte, gte_lte, gt_lt. */
function bounded(c) {
    const bound = (inclusive, exclusive) => {
        const i = c.get(inclusive);
        if (i !== undefined)
            return { limit: i, name: inclusive, including: true };
        const e = c.get(exclusive);
        return e === undefined ? undefined : { limit: e, name: exclusive, including: false };
    };
    const show = (n) => (typeof n === "number" ? numberText(n) : String(n));
    const low = bound("gte", "gt");
    const high = bound("lte", "lt");
    const above = (x) => !low || x > low.limit || (low.including && x == low.limit);
    const below = (x) => !high || x < high.limit || (high.including && x == high.limit);
    const lowWords = low && (low.including ? { en: `at least ${show(low.limit)}`, zh: `不小于${show(low.limit)}` } : { en: `more than ${show(low.limit)}`, zh: `大于${show(low.limit)}` });
    const highWords = high && (high.including ? { en: `at most ${show(high.limit)}`, zh: `不大于${show(high.limit)}` } : { en: `less than ${show(high.limit)}`, zh: `小于${show(high.limit)}` });
    if (low && high) {
        const words = { en: `${lowWords.en} and ${highWords.en}`, zh: `${lowWords.zh}，${highWords.zh}` };
        c.push(`${low.name}_${high.name}`, words, (v) => above(v) && below(v));
    }
    else if (low) {
        c.push(low.name, lowWords, (v) => above(v));
    }
    else if (high) {
        c.push(high.name, highWords, (v) => below(v));
    }
}
