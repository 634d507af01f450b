// The field rules of buf.validate: the kinds that questionnaires use, with the rule ids and the verdicts of protovalidate, and
// with the words of limits.go.

import { type DescField, type FileRegistry, getOption, hasOption, isFieldSet, type Message } from "@bufbuild/protobuf";
import { RE2JS } from "@bufbuild/re2";
import { numberText } from "./numbers.js";
import { nameOf, SchemaError } from "./tree.js";
import { characters } from "./values.js";

/** A wording in English and Chinese. */
export interface Words {
  en: string;
  zh: string;
}

/** One field rule. */
export interface Limit {
  rule: string;
  text: Words;
  /** Is given a value that is set, as protobuf-es holds it. */
  holds(v: unknown): boolean;
}

/** The rules of a whole answer, and those of each of its values where it is a list. */
export interface Limits {
  whole: readonly Limit[];
  items: readonly Limit[];
}

const none: Limits = { whole: [], items: [] };

type Rules = Message & Record<string, unknown>;

/** Reads the field rules of a field. */
export function limitsOf(f: DescField, registry: FileRegistry): Limits {
  const extension = registry.getExtension("buf.validate.field");
  if (!extension || !hasOption(f, extension)) return none;
  const rules = getOption(f, extension) as unknown as Rules;
  const of = rules.type as { case: string | undefined; value: Rules };
  if (of.case === undefined) return none;
  if (of.case !== "repeated") return { whole: scalarLimits(f, of, registry), items: [] };
  const c = new Collector(f, "repeated", of.value, registry);
  c.add("min_items", (n) => ({ en: `at least ${n} answers`, zh: `至少${n}项` }), (n) => (v) => BigInt((v as unknown[]).length) >= n);
  c.add("max_items", (n) => ({ en: `at most ${n} answers`, zh: `最多${n}项` }), (n) => (v) => BigInt((v as unknown[]).length) <= n);
  if (of.value.unique === true) c.push("unique", { en: "each answer only once", zh: "每项只能出现一次" }, (v) => unique(v as unknown[]));
  const items = of.value.items as Rules | undefined;
  const item = items?.type as { case: string | undefined; value: Rules } | undefined;
  return { whole: c.out, items: item?.case ? scalarLimits(f, item, registry) : [] };
}

/** Whether no value stands twice; NaN is like no other. */
export function unique(list: unknown[]): boolean {
  const seen = new Set<unknown>();
  for (const x of list) {
    if (typeof x === "number" && Number.isNaN(x)) continue;
    const key = x instanceof Uint8Array ? x.join(",") : x;
    if (seen.has(key)) return false;
    seen.add(key);
  }
  return true;
}

class Collector {
  readonly out: Limit[] = [];

  constructor(
    private readonly field: DescField,
    private readonly kind: string,
    private readonly rules: Rules,
    private readonly registry: FileRegistry,
  ) {}

  push(name: string, bounds: Words, holds: (v: unknown) => boolean) {
    const text = { en: `The answer must be ${bounds.en}.`, zh: `答案必须为：${bounds.zh}。` };
    this.out.push({ rule: `${nameOf(this.field)}/${this.kind}.${name}`, text, holds });
  }

  /** The value of a rule where it is set. */
  get(name: string): unknown {
    const d = this.registry.getMessage(this.rules.$typeName);
    const f = d?.fields.find((x) => x.name === name);
    if (!f || !isFieldSet(this.rules, f)) return undefined;
    const oneof = f.oneof && (this.rules[f.oneof.localName] as { value: unknown } | undefined);
    return oneof ? oneof.value : this.rules[f.localName];
  }

  /** Adds a rule of a count. */
  add(name: string, bounds: (n: bigint) => Words, holds: (n: bigint) => (v: unknown) => boolean) {
    const n = this.get(name);
    if (n !== undefined) this.push(name, bounds(n as bigint), holds(n as bigint));
  }
}

function scalarLimits(f: DescField, of: { case: string | undefined; value: Rules }, registry: FileRegistry): Limit[] {
  const c = new Collector(f, of.case!, of.value, registry);
  switch (of.case) {
    case "string": {
      const length = (v: unknown) => BigInt(characters(v as string));
      c.add("len", (n) => ({ en: `of ${n} characters`, zh: `${n}个字符` }), (n) => (v) => length(v) === n);
      c.add("min_len", (n) => ({ en: `of at least ${n} characters`, zh: `至少${n}个字符` }), (n) => (v) => length(v) >= n);
      c.add("max_len", (n) => ({ en: `of at most ${n} characters`, zh: `最多${n}个字符` }), (n) => (v) => length(v) <= n);
      const pattern = c.get("pattern") as string | undefined;
      if (pattern !== undefined) {
        const re = patternOf(f, pattern);
        c.push("pattern", { en: "written in the form asked for", zh: "按要求的格式填写" }, (v) => re.test(v as string));
      }
      break;
    }
    case "bytes":
      c.add("len", (n) => ({ en: `of ${n} bytes`, zh: `${n}字节` }), (n) => (v) => BigInt((v as Uint8Array).length) === n);
      break;
    default:
      bounded(c);
  }
  return c.out;
}

function patternOf(f: DescField, source: string): RE2JS {
  try {
    return new RE2JS(source);
  } catch (e) {
    throw new SchemaError(`field ${nameOf(f)} has a pattern that is no regular expression: ${String(e)}`);
  }
}

/** The range of a number, as one rule, named as protovalidate names it: gt, gte, lt, lte, gte_lte, gt_lt. */
function bounded(c: Collector) {
  type N = number | bigint;
  const bound = (inclusive: string, exclusive: string) => {
    const i = c.get(inclusive) as N | undefined;
    if (i !== undefined) return { limit: i, name: inclusive, including: true };
    const e = c.get(exclusive) as N | undefined;
    return e === undefined ? undefined : { limit: e, name: exclusive, including: false };
  };
  const show = (n: N) => (typeof n === "number" ? numberText(n) : String(n));
  const low = bound("gte", "gt");
  const high = bound("lte", "lt");
  const above = (x: N) => !low || x > low.limit || (low.including && x == low.limit);
  const below = (x: N) => !high || x < high.limit || (high.including && x == high.limit);
  const lowWords = low && (low.including ? { en: `at least ${show(low.limit)}`, zh: `不小于${show(low.limit)}` } : { en: `more than ${show(low.limit)}`, zh: `大于${show(low.limit)}` });
  const highWords = high && (high.including ? { en: `at most ${show(high.limit)}`, zh: `不大于${show(high.limit)}` } : { en: `less than ${show(high.limit)}`, zh: `小于${show(high.limit)}` });
  if (low && high) {
    const words = { en: `${lowWords!.en} and ${highWords!.en}`, zh: `${lowWords!.zh}，${highWords!.zh}` };
    c.push(`${low.name}_${high.name}`, words, (v) => above(v as N) && below(v as N));
  } else if (low) {
    c.push(low.name, lowWords!, (v) => above(v as N));
  } else if (high) {
    c.push(high.name, highWords!, (v) => below(v as N));
  }
}
