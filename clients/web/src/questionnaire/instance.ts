// The answers of an interview as a tree: an instance for each message and a cell for each question in it. A cell keeps what
// expressions read there: whether the question is asked, and its answer. It is filled when the first expression, or the walk
// through the questions, comes to it; so rules are carried out once, in whatever order they depend on each other. In a session
// each cell knows which others read it, and forgets what it knows when one of those that it read changes.

import { isFieldSet, type Message, ScalarType } from "@bufbuild/protobuf";
import type { Engine, Expression, Frame, Place } from "./expression.js";
import type { Rules } from "./rules.js";
import type { Choice, Module, Question } from "./tree.js";
import { Absent, Failure, Instant, noAnswer, type Outcome, Span, type Value } from "./values.js";
import type { Verdict } from "./verdict.js";

/** Whether a question is asked; lame: it is, because whether it is could not be told. */
export enum Asked {
  No,
  Yes,
  Lame,
}

const cycle = new Failure("the rules of a question depend on themselves");
const misfit = new Failure("the field cannot hold what was calculated");
const noField = new Failure("the message has no such field");

/** The work of one expression and of a whole evaluation, in rows looked at. */
export const stepsPerExpression = 1_000_000;
export const stepsPerInterview = 4_000_000;

/** What the cells of one tree of answers share. */
export interface World extends Engine {
  rules: ReadonlyMap<Question, Rules>;
  version: number;
  completed: boolean;
  /** Whether there is a time that now and today can read. */
  timed: boolean;
  /** Whether calculations with volatile functions are carried out here: on the tablet. */
  tablet: boolean;
  /** Answers are read as they stand: all count as asked, and nothing is calculated. */
  raw: boolean;
  /** Whether cells remember who read them. */
  tracking: boolean;
  /** The cell whose rules are being carried out, and whether for its state or for its verdict. */
  reader: Cell | undefined;
  judging: boolean;
  depth: number;
}

type Fields = Record<string, unknown>;

/** One message of the answers, or a group whose message is not set. */
export class Instance implements Place {
  readonly cells: Cell[];
  readonly root: Instance;
  dead = false;

  constructor(
    readonly world: World,
    readonly module: Module,
    public message: Message | undefined,
    /** The question of which this is the group or a row; undefined for the top. */
    readonly owner: Cell | undefined,
    /** Which row of a roster this is; -1: none. */
    readonly row: number,
  ) {
    this.root = owner ? owner.instance.root : this;
    this.cells = module.questions.map((q) => new Cell(this, q));
  }

  get asked(): boolean {
    return !this.owner || this.owner.asked() !== Asked.No;
  }

  read(field: string): Outcome {
    const q = this.module.find(field);
    return q ? this.cells[q.index].read() : noField;
  }

  has(field: string): Outcome {
    const q = this.module.find(field);
    return q ? this.cells[q.index].has() : noField;
  }

  up(n: number): Instance | undefined {
    let at: Instance | undefined = this;
    for (; n > 0 && at; n--) at = at.owner?.instance;
    return at;
  }

  position(n: number): bigint | undefined {
    for (let at: Instance | undefined = this; at; at = at.owner?.instance) {
      if (at.row >= 0 && --n === 0) return BigInt(at.row + 1);
    }
    return undefined;
  }

  /** The path of a field, or of this message where none is named. */
  path(field = ""): string {
    let out = field;
    for (let at: Instance = this; at.owner; at = at.owner.instance) {
      const step = at.owner.question.name + (at.row >= 0 ? `[${at.row}]` : "");
      out = out ? `${step}.${out}` : step;
    }
    return out;
  }
}

/** One question in one message. */
export class Cell {
  readonly rules: Rules;
  private state: Asked | undefined;
  private computing = false;
  private known: Outcome = noAnswer;
  private group: Instance | undefined;
  private list: Instance[] | undefined;
  /** The cells whose state, and those whose verdict, depends on what is read here. */
  private readers: Set<Cell> | undefined;
  private judges: Set<Cell> | undefined;
  verdict: Verdict | undefined;

  constructor(
    readonly instance: Instance,
    readonly question: Question,
  ) {
    this.rules = instance.world.rules.get(question)!;
  }

  get path(): string {
    return this.instance.path(this.question.name);
  }

  /** Remembers who reads this cell. */
  track() {
    const w = this.instance.world;
    if (!w.tracking || !w.reader || w.reader === this) return;
    if (w.judging) (this.judges ??= new Set()).add(w.reader);
    else (this.readers ??= new Set()).add(w.reader);
  }

  asked(): Asked {
    this.track();
    if (this.computing) return Asked.No;
    if (this.state === undefined) this.resolve();
    return this.state!;
  }

  /** What expressions read. */
  read(): Outcome {
    this.track();
    if (this.computing) return cycle;
    if (this.state === undefined) this.resolve();
    return this.known;
  }

  has(): Outcome {
    const v = this.read();
    if (this.question.module && !this.question.list) return this.state !== Asked.No && this.answered();
    if (v instanceof Absent) return v instanceof Failure ? v : false;
    return !(Array.isArray(v) && v.length === 0);
  }

  /** Whether the field holds an answer, asked or not. */
  answered(): boolean {
    const m = this.instance.message as Fields | undefined;
    return m !== undefined && answeredIn(m, this.question);
  }

  /** What the field holds, as protobuf-es has it; undefined where there is no answer. */
  raw(): unknown {
    return this.answered() ? rawIn(this.instance.message as Fields, this.question) : undefined;
  }

  /** What the field holds, as expressions see it, asked or not. */
  held(): Outcome {
    if (this.question.module) return this.question.list ? this.rows() : this.below();
    const v = this.raw();
    if (v === undefined) return this.question.list ? [] : noAnswer;
    return this.question.list ? (v as unknown[]).map((x) => valueOf(x, this.question) as Value) : valueOf(v, this.question);
  }

  /** The message of a group, also where it is not set. */
  below(): Instance {
    return (this.group ??= new Instance(this.instance.world, this.question.module!, this.raw() as Message | undefined, this, -1));
  }

  /** The rows of a roster. */
  rows(): Instance[] {
    if (!this.list) {
      const all = (this.raw() ?? []) as Message[];
      this.list = all.map((m, i) => new Instance(this.instance.world, this.question.module!, m, this, i));
    }
    return this.list;
  }

  /** The messages below: of a group one, of a roster its rows. */
  instances(): readonly Instance[] {
    return this.question.list ? this.rows() : [this.below()];
  }

  /** Whether the calculation is carried out here. */
  get calculated(): boolean {
    const c = this.rules.calculate;
    return c !== undefined && !this.instance.world.raw && (!c.volatile || this.instance.world.tablet);
  }

  private resolve() {
    const w = this.instance.world;
    const [reader, judging] = [w.reader, w.judging];
    w.reader = this;
    w.judging = false;
    this.computing = true;
    this.state = this.whetherAsked();
    this.known = this.whatIsRead();
    this.computing = false;
    w.reader = reader;
    w.judging = judging;
  }

  private whetherAsked(): Asked {
    const w = this.instance.world;
    if (w.raw) return Asked.Yes;
    if (!this.instance.asked || !inVersion(this.question, w.version)) return Asked.No;
    const { relevant } = this.rules;
    if (!relevant || (relevant.volatile && !w.timed)) return Asked.Yes;
    const v = this.run(relevant);
    if (v === true) return Asked.Yes;
    return v === false || v === noAnswer ? Asked.No : Asked.Lame;
  }

  private whatIsRead(): Outcome {
    const q = this.question;
    if (q.module && !q.list) return this.below();
    if (this.state === Asked.No) return q.list ? [] : noAnswer;
    return this.calculated ? this.carriedOut() : this.held();
  }

  /** What the calculation comes to; the empty text and the zero of a choice are no answers. */
  private carriedOut(): Outcome {
    const v = this.run(this.rules.calculate!);
    if (v === "" || (v === 0n && this.question.choices !== undefined)) return noAnswer;
    return v instanceof Absent || storable(v, this.question) ? v : misfit;
  }

  /** Carries out a rule of this question. */
  run(rule: Expression, choice?: Choice, root: Instance = this.instance.root): Outcome {
    const w = this.instance.world;
    const outer = w.steps;
    if (w.depth === 0) w.steps = Math.min(w.steps, stepsPerExpression);
    const given = w.steps;
    w.depth++;
    const frame: Frame = {
      self: this.instance,
      root,
      value: noAnswer,
      choice,
      held: rule.volatile ? this.held() : noAnswer,
      slots: rule.slots ? new Array<Outcome>(rule.slots) : noSlots,
      engine: w,
    };
    if (w.judging) frame.value = this.read();
    const v = rule.run(frame);
    w.depth--;
    if (w.depth === 0) w.steps = outer - (given - w.steps);
    return v;
  }

  /** Forgets what is known, here and in all cells whose state depends on it, and adds those whose verdict does to `stale`. */
  forget(stale: Set<Cell>) {
    stale.add(this);
    const seen = new Set<Cell>([this]);
    const open: Cell[] = [this];
    for (let c = open.pop(); c; c = open.pop()) {
      c.state = undefined;
      c.known = noAnswer;
      for (const j of c.judges ?? []) {
        if (j.instance.dead) c.judges!.delete(j);
        else stale.add(j);
      }
      for (const r of c.readers ?? []) {
        if (r.instance.dead) c.readers!.delete(r);
        else if (!seen.has(r)) {
          seen.add(r);
          stale.add(r);
          open.push(r);
        }
      }
    }
  }

  /** Makes the messages below anew after the field was set, cleared, or lost a row; those there were are dead. */
  renew() {
    for (const i of this.list ?? (this.group ? [this.group] : [])) bury(i);
    this.list = undefined;
    this.group = undefined;
  }
}

const noSlots: Outcome[] = [];

function bury(i: Instance) {
  i.dead = true;
  for (const c of i.cells) c.renew();
}

/** Whether a version has a question. */
export function inVersion(q: Question, version: number): boolean {
  return versionHas(q.options, version);
}

/** Whether a version has what came with one and went with another; 0: was there from the first, is there to the last. */
export function versionHas(of: { since: number; until: number } | undefined, version: number): boolean {
  return version >= (of?.since ?? 0) && (!of?.until || version <= of.until);
}

/** Whether a field of a message holds an answer. */
export function answeredIn(m: Fields, q: Question): boolean {
  const f = q.field;
  if (f.oneof) {
    if ((m[f.oneof.localName] as { case?: string } | undefined)?.case !== f.localName) return false;
  } else if (q.list) {
    return (m[f.localName] as unknown[]).length > 0;
  } else if (f.fieldKind === "message") {
    return m[f.localName] !== undefined;
  } else if (!isFieldSet(m as unknown as Message, f)) {
    return false;
  }
  const v = rawIn(m, q);
  return v !== "" && !(v === 0 && q.choices !== undefined);
}

function rawIn(m: Fields, q: Question): unknown {
  const f = q.field;
  const v = f.oneof ? (m[f.oneof.localName] as { value: unknown }).value : m[f.localName];
  if (f.scalar !== ScalarType.FLOAT || v === undefined) return v;
  // JSON has more digits of a float than it holds.
  return Array.isArray(v) ? v.map(Math.fround) : Math.fround(v as number);
}

/** A value of protobuf-es as expressions see it. */
export function valueOf(v: unknown, q: Question): Outcome {
  switch (q.kind) {
    case "int":
    case "uint":
      return typeof v === "bigint" ? v : BigInt(v as number | string);
    case "instant": {
      const t = v as { seconds: bigint; nanos: number };
      return new Instant(t.seconds, t.nanos);
    }
    case "span": {
      const d = v as { seconds: bigint; nanos: number };
      return new Span(d.seconds * 1_000_000_000n + BigInt(d.nanos));
    }
    default:
      return v as Value;
  }
}

/** Whether a field can hold a value. */
export function storable(v: Value, q: Question): boolean {
  switch (q.kind) {
    case "int":
      return typeof v === "bigint" && (isLong(q) || v === BigInt.asIntN(32, v));
    case "uint":
      return typeof v === "bigint" && (isLong(q) || v === BigInt.asUintN(32, v));
    case "double":
      return typeof v === "number";
    case "string":
      return typeof v === "string";
    case "bool":
      return typeof v === "boolean";
    default:
      return false;
  }
}

/** A value of an expression as a field of protobuf-es holds it. */
export function nativeOf(v: Value, q: Question): unknown {
  return typeof v === "bigint" && !isLong(q) ? Number(v) : v;
}

/** Whether a field holds whole numbers of 64 bits: int64, uint64, fixed64, sfixed64, sint64. */
export function isLong(q: Question): boolean {
  return [3, 4, 6, 16, 18].includes(q.field.scalar ?? 0);
}
