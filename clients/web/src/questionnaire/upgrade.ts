// Answers of earlier versions, read as they would stand under the current one: LANGUAGE.md section 6, upgrade.go.

import { clone, fromBinary, type Message } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { compile, type Expression } from "./expression.js";
import { answeredIn, Instance, isLong, nativeOf, stepsPerInterview, storable, type World } from "./instance.js";
import type { Earlier } from "./options.js";
import { type Module, nameOf, type Question, SchemaError } from "./tree.js";
import { typeOf } from "./types.js";
import { Absent } from "./values.js";

type Fields = Record<string, unknown> & { $unknown?: { no: number; wireType: number; data: Uint8Array }[] };

/** One Earlier of one question. */
interface Takeover {
  options: Earlier;
  target: Question;
  codes: Map<number, number>;
  value: Expression | undefined;
}

/** How the answers of earlier versions are read. */
export class Upgrade {
  private readonly levels: number[];
  private readonly of: Map<Module, Takeover[]>;

  constructor(
    private readonly top: Module,
    private readonly world: Pick<World, "lists" | "rules">,
  ) {
    this.of = new Map();
    const visit = (m: Module) => {
      if (this.of.has(m)) return;
      this.of.set(m, m.questions.flatMap((q) => (q.options?.earlier ?? []).flatMap((e) => takeover(q, m, top, e))));
      for (const q of m.questions) if (q.module) visit(q.module);
    };
    visit(top);
    this.levels = [...new Set([...this.of.values()].flat().map((t) => t.options.until))].sort((a, b) => a - b);
  }

  /** The answers of a version as they stand now; those given themselves where there is nothing to do, and never changed. */
  apply(answers: Message, version: number): Message {
    if (version === 0 || version > (this.levels.at(-1) ?? 0)) return answers;
    let after = clone(this.top.desc, answers);
    for (const level of this.levels) {
      if (level < version) continue;
      const before = clone(this.top.desc, after);
      this.level(level, this.top, before, before, after);
    }
    return after;
  }

  private level(level: number, m: Module, root: Message, before: Message, after: Message) {
    for (const t of this.of.get(m)!) if (t.options.until === level) this.take(t, m, root, before as unknown as Fields, after as unknown as Fields);
    for (const q of m.questions) {
      if (!q.module || !answeredIn(before as unknown as Fields, q) || !answeredIn(after as unknown as Fields, q)) continue;
      const [x, y] = [get(before as unknown as Fields, q), get(after as unknown as Fields, q)];
      if (!q.list) this.level(level, q.module, root, x as Message, y as Message);
      else (x as Message[]).forEach((row, i) => { if (i < (y as Message[]).length) this.level(level, q.module!, root, row, (y as Message[])[i]); });
    }
  }

  private take(t: Takeover, m: Module, root: Message, before: Fields, after: Fields) {
    if (t.value) {
      const v = this.evaluate(t, m, root, before);
      if (v === undefined) clear(after, t.target);
      else set(after, t.target, v);
      return;
    }
    if (t.options.number === 0) {
      if (isSet(before, t.target)) recode(t, after);
      return;
    }
    if (isSet(after, t.target)) return; // it has an answer of its own
    takeReason(t, m, before, after);
    const source = m.questions.find((q) => q.number === t.options.number);
    if (!source) retag(t, m, before, after);
    else if (isSet(before, source)) copy(source, before, t.target, after);
    recode(t, after);
  }

  /** What the expression of an Earlier yields of the answers as they were; undefined where that is no answer. */
  private evaluate(t: Takeover, m: Module, root: Message, before: Fields): unknown {
    const world: World = {
      ...this.world, now: "", timed: false, tablet: false, raw: true, random: Math.random, uuid: () => "", version: 0, completed: false,
      steps: stepsPerInterview, tracking: false, reader: undefined, judging: false, depth: 0,
    };
    const self = new Instance(world, m, before as unknown as Message, undefined, -1);
    const top = new Instance(world, this.top, root, undefined, -1);
    const v = self.cells[t.target.index].run(t.value!, undefined, top);
    if (v instanceof Absent || v === "" || (v === 0n && t.target.choices?.enum) || !storable(v, t.target)) return undefined;
    return nativeOf(v, t.target);
  }
}

function takeover(q: Question, m: Module, top: Module, options: Earlier): Takeover[] {
  if (!options.number && options.codes.length === 0 && !options.value) return []; // a name alone
  let value: Expression | undefined;
  if (options.value) {
    try {
      value = compile(options.value, { self: m, root: top, around: [], value: typeOf(q) });
    } catch (e) {
      throw new SchemaError(`field ${nameOf(q.field)}: value of an earlier version: ${e instanceof Error ? e.message : String(e)}`);
    }
  }
  return [{ options, target: q, codes: new Map(options.codes.map((c) => [c.from, c.to])), value }];
}

/** Whether the field of a question is set, be it to no answer. */
function isSet(m: Fields, q: Question): boolean {
  const f = q.field;
  if (f.oneof) return (m[f.oneof.localName] as { case?: string }).case === f.localName;
  if (q.list) return (m[f.localName] as unknown[]).length > 0;
  return Object.hasOwn(m, f.localName) && m[f.localName] !== undefined;
}

function get(m: Fields, q: Question): unknown {
  const f = q.field;
  return f.oneof ? (m[f.oneof.localName] as { value: unknown }).value : m[f.localName];
}

function set(m: Fields, q: Question, v: unknown) {
  const f = q.field;
  if (f.oneof) m[f.oneof.localName] = { case: f.localName, value: v };
  else m[f.localName] = v;
}

function clear(m: Fields, q: Question) {
  const f = q.field;
  if (f.oneof) {
    if (isSet(m, q)) m[f.oneof.localName] = { case: undefined };
  } else if (q.list) m[f.localName] = [];
  else delete m[f.localName];
}

/** Gives an answer the numbers that its choices have now; 0 is no answer. */
function recode(t: Takeover, m: Fields) {
  if (t.codes.size === 0 || !isSet(m, t.target)) return;
  const v = get(m, t.target);
  const now = (n: unknown) => {
    const to = t.codes.get(Number(n));
    return to === undefined ? n : to === 0 ? undefined : typeof n === "bigint" ? BigInt(to) : to;
  };
  if (!t.target.list) {
    const n = now(v);
    if (n === undefined) clear(m, t.target);
    else set(m, t.target, n);
    return;
  }
  const kept = new Set((v as unknown[]).map(now).filter((n) => n !== undefined));
  set(m, t.target, [...kept]);
}

function takeReason(t: Takeover, m: Module, before: Fields, after: Fields) {
  if (!m.missing) return;
  const name = m.missing.localName;
  const [from, to] = [before[name], after[name]] as Record<string, number>[];
  const reason = from[String(t.options.number)];
  if (reason !== undefined && to[String(t.target.number)] === undefined) to[String(t.target.number)] = reason;
}

/** Puts the answer of one field into another that can hold it. */
function copy(source: Question, before: Fields, target: Question, after: Fields) {
  const long = isLong(target);
  const one = (v: unknown) => {
    if (source.module) return clone(source.module.desc, v as Message);
    if (typeof v === "number" && long) return BigInt(v);
    return typeof v === "bigint" && !long ? Number(BigInt.asIntN(32, v)) : v;
  };
  const v = get(before, source);
  if (source.list) set(after, target, (v as unknown[]).map(one));
  else set(after, target, target.list ? [one(v)] : one(v));
}

/** Reads a field that the schema no longer has as one that it has. */
function retag(t: Takeover, m: Module, before: Fields, after: Fields) {
  const writer = new BinaryWriter();
  let found = false;
  for (const u of before.$unknown ?? []) {
    if (u.no !== t.options.number) continue;
    writer.tag(t.target.number, u.wireType).raw(u.data);
    found = true;
  }
  if (!found) return;
  let alone: Fields;
  try {
    alone = fromBinary(m.desc, writer.finish()) as unknown as Fields;
  } catch {
    return; // it is of a type that the field cannot be read as
  }
  if (isSet(alone, t.target)) set(after, t.target, get(alone, t.target));
}
