// One interview while it goes on: answers are set one by one, and what depends on them is judged anew.

import { create, isMessage, type Message } from "@bufbuild/protobuf";
import { Asked, type Cell, Instance, isLong, nativeOf, stepsPerInterview, storable, versionHas, type World } from "./instance.js";
import type { Missing } from "./options.js";
import type { Questionnaire } from "./questionnaire.js";
import { type Choice, nameOf, type Question } from "./tree.js";
import { Absent, type Outcome, type Value } from "./values.js";
import { judge, reasonOf, type Verdict, type Violation } from "./verdict.js";
import { rule, words } from "./words.js";

/** How an interview is to be evaluated. */
export interface Options {
  /** The version of the questionnaire that the interview names; none: the current one. */
  version?: number;
  /** A completed interview needs its required answers. */
  completed?: boolean;
  /** The time that now and today read, "2016-07-21T18:05:00+08:00"; without it rules that read it are not carried out. */
  now?: string;
  /** Carry out calculations that use now, today, random, uuid and once, as the tablet does while the interview goes on. */
  tablet?: boolean;
  /** The sources of random and uuid. */
  random?: () => number;
  uuid?: () => string;
}

/** What an evaluation finds. */
export interface Evaluation {
  /** The outermost questions and groups that are not asked. */
  notAsked: string[];
  /** The questions that are asked and have no answer, with the reason: "REFUSED", or "" where there is none. */
  missing: Map<string, string>;
  /** In the order of the questionnaire. */
  violations: Violation[];
  /** What the calculated questions that are asked come to. */
  calculated: Map<string, Value>;
}

/** What is known of one question while the interview goes on. */
export interface State extends Verdict {
  path: string;
  question: Question;
  /** What expressions read: no answer is an Absent. */
  value: Outcome;
}

/** How many violations one interview can have; the last one then says that there are more. */
const maxViolations = 500;

type Fields = Record<string, unknown>;

/** A path that leads nowhere, or a value that the question cannot hold. */
export class PathError extends Error {}

/** One interview. The message is changed in place; change it through the session only. */
export class Session {
  private readonly world: World;
  private readonly top: Instance;

  constructor(
    readonly questionnaire: Questionnaire,
    readonly message: Message,
    options: Options = {},
    tracking = true,
  ) {
    if (message.$typeName !== questionnaire.top.name) throw new PathError(`the answers are of ${message.$typeName}, not of ${questionnaire.top.name}`);
    this.world = {
      lists: questionnaire.lists,
      rules: questionnaire.rules,
      now: options.now ?? "",
      timed: options.now !== undefined,
      tablet: options.tablet ?? false,
      random: options.random ?? Math.random,
      uuid: options.uuid ?? (() => globalThis.crypto.randomUUID()),
      version: options.version || questionnaire.version,
      completed: options.completed ?? false,
      steps: stepsPerInterview,
      raw: false,
      tracking,
      reader: undefined,
      judging: false,
      depth: 0,
    };
    this.top = new Instance(this.world, questionnaire.top, message, undefined, -1);
  }

  /** Everything that is to be said of the interview as it stands. Only what changed since the last time is judged. */
  evaluation(): Evaluation {
    this.world.steps = stepsPerInterview;
    const out: Evaluation = { notAsked: [], missing: new Map(), violations: [], calculated: new Map() };
    this.walk(this.top, out);
    return out;
  }

  /** What is known of one question: "members[2].age". */
  state(path: string): State {
    return this.stateOf(this.cell(path));
  }

  /** Answers a question; gives what is known now of each question on which that had a bearing. */
  set(path: string, value: unknown): State[] {
    const cell = this.cell(path);
    const { question: q } = cell;
    check(q, value);
    return this.change(cell, () => {
      const m = this.written(cell.instance);
      if (q.field.oneof) m[q.field.oneof.localName] = { case: q.field.localName, value };
      else m[q.field.localName] = value;
      cell.renew();
    });
  }

  /** Takes an answer away; of a roster all rows. */
  clear(path: string): State[] {
    const cell = this.cell(path);
    return this.change(cell, () => {
      const m = cell.instance.message as Fields | undefined;
      const f = cell.question.field;
      if (m && f.oneof) {
        if ((m[f.oneof.localName] as { case?: string }).case === f.localName) m[f.oneof.localName] = { case: undefined };
      } else if (m && f.fieldKind === "list") {
        m[f.localName] = [];
      } else if (m) {
        delete m[f.localName];
      }
      cell.renew();
    });
  }

  /** Says why a question has no answer; undefined takes the reason away. */
  setMissing(path: string, reason: Missing | undefined): State[] {
    const cell = this.cell(path);
    const f = cell.instance.module.missing;
    if (!f) throw new PathError(`${path}: the reason stands with the question whose answer this is a part of`);
    return this.change(cell, () => {
      const reasons = this.written(cell.instance)[f.localName] as Record<string, Missing>;
      if (reason === undefined) delete reasons[String(cell.question.number)];
      else reasons[String(cell.question.number)] = reason;
    });
  }

  /** Adds an empty row at the end of a roster. */
  addRow(path: string): State[] {
    const cell = this.roster(path);
    return this.change(cell, () => {
      const m = this.written(cell.instance);
      const row = create(cell.question.module!.desc);
      const rows = cell.rows();
      (m[cell.question.field.localName] as Message[]).push(row);
      rows.push(new Instance(this.world, cell.question.module!, row, cell, rows.length));
    });
  }

  /** Takes a row out of a roster; those after it move up. */
  removeRow(path: string, row: number): State[] {
    const cell = this.roster(path);
    const all = cell.raw() as Message[] | undefined;
    if (!all || row < 0 || row >= all.length) throw new PathError(`${path} has no row ${row}`);
    return this.change(cell, () => {
      all.splice(row, 1);
      cell.renew();
    });
  }

  /**
   * The choices that a question offers as the interview stands, in their order: those that the version has and that the filter
   * does not leave out. Of one whose filter has no outcome nobody can say that it is not offered.
   */
  offered(path: string): Choice[] {
    const cell = this.cell(path);
    const { filter } = cell.rules;
    this.world.steps = stepsPerInterview;
    return (cell.question.choices?.list ?? []).filter((c) => {
      if (!versionHas(c.options, this.world.version)) return false;
      return !filter || (filter.volatile && !this.world.timed) || cell.run(filter, c) !== false;
    });
  }

  /** The value with which a question is first shown, as its field holds it; undefined where it is shown empty. */
  initial(path: string): unknown {
    const cell = this.cell(path);
    const { initial } = cell.rules;
    if (!initial || (initial.volatile && !this.world.timed)) return undefined;
    this.world.steps = stepsPerInterview;
    const v = cell.run(initial);
    return v instanceof Absent || v === "" || !storable(v, cell.question) ? undefined : nativeOf(v, cell.question);
  }

  /**
   * Writes what the calculations of asked questions come to into their fields, and clears those that come to nothing: to be
   * called before the interview is saved. The fields of questions that are not asked stay as they are, and a group in which nothing
   * is answered does not come into being for what is calculated in it.
   */
  carryOut() {
    this.world.steps = stepsPerInterview;
    const visit = (i: Instance) => {
      for (const cell of i.cells) {
        if (cell.calculated && cell.asked() !== Asked.No) this.write(cell, cell.read());
        if (cell.question.module && cell.answered() && cell.asked() !== Asked.No) for (const below of cell.instances()) visit(below);
      }
    };
    visit(this.top);
  }

  private write(cell: Cell, v: Outcome) {
    const { question: q, instance } = cell;
    if (v instanceof Absent) {
      if (cell.answered()) delete (instance.message as unknown as Fields)[q.field.localName];
    } else if (q.field.oneof === undefined) {
      (instance.message as unknown as Fields)[q.field.localName] = nativeOf(v, q);
    }
    cell.verdict = undefined;
  }

  private roster(path: string): Cell {
    const cell = this.cell(path);
    if (!cell.question.list || !cell.question.module) throw new PathError(`${path} is no roster`);
    return cell;
  }

  /** Changes something of a question and judges anew what depends on it. */
  private change(cell: Cell, how: () => void): State[] {
    this.world.steps = stepsPerInterview;
    // Groups around it come into being with the first answer in them.
    const changed = [cell];
    for (let i = cell.instance; i.owner && i.message === undefined; i = i.owner.instance) changed.push(i.owner);
    how();
    const stale = new Set<Cell>();
    for (const c of changed) c.forget(stale);
    const out: State[] = [];
    for (const c of stale) {
      if (c.instance.dead) continue;
      c.verdict = undefined;
      out.push(this.stateOf(c));
    }
    return out;
  }

  /** The message of an instance, made where it is not set. */
  private written(i: Instance): Fields {
    if (!i.message) {
      const { question } = i.owner!;
      const m = create(i.module.desc);
      const around = this.written(i.owner!.instance);
      if (question.field.oneof) around[question.field.oneof.localName] = { case: question.field.localName, value: m };
      else around[question.field.localName] = m;
      i.message = m;
    }
    return i.message as unknown as Fields;
  }

  private cell(path: string): Cell {
    let at: Instance = this.top;
    const steps = path.split(".");
    for (let n = 0; ; n++) {
      const m = /^([a-z_][a-z0-9_]*)(?:\[([0-9]+)\])?$/i.exec(steps[n]);
      const q = m ? at.module.find(m[1]) : undefined;
      if (!m || !q) throw new PathError(`${path}: ${at.module.name} has no question "${steps[n]}"`);
      const cell = at.cells[q.index];
      if (n === steps.length - 1 && m[2] === undefined) return cell;
      if (!q.module || q.list !== (m[2] !== undefined)) throw new PathError(`${path}: "${steps[n]}" is ${q.list ? "a roster: say which row" : "no roster"}`);
      const next = q.list ? cell.rows()[Number(m[2])] : cell.below();
      if (!next) throw new PathError(`${path}: "${q.name}" has no row ${m[2]}`);
      if (n === steps.length - 1) throw new PathError(`${path} is a row, not a question`);
      at = next;
    }
  }

  private stateOf(cell: Cell): State {
    const verdict = this.verdict(cell);
    return { ...verdict, path: cell.path, question: cell.question, value: cell.read() };
  }

  private verdict(cell: Cell): Verdict {
    if (!cell.verdict) {
      const w = this.world;
      w.reader = cell;
      w.judging = true;
      cell.verdict = judge(cell);
      w.reader = undefined;
      w.judging = false;
    }
    return cell.verdict;
  }

  /** Goes through the questions of one message in order; false where there are too many violations to go on. */
  private walk(i: Instance, out: Evaluation): boolean {
    const asked = i.asked;
    for (const cell of i.cells) {
      const v = this.verdict(cell);
      if (asked && !v.asked) out.notAsked.push(cell.path);
      if (v.missing !== undefined) out.missing.set(cell.path, v.missing);
      if (v.calculated !== undefined) out.calculated.set(cell.path, v.calculated);
      const more = add(out, v.violations);
      if (!more || (this.enters(cell, v.asked) && !cell.instances().every((below) => this.walk(below, out)))) return false;
    }
    return !asked || this.reasons(i, out);
  }

  /** Whether what is below a question is gone through: where it is set, and where a group that is asked is not set. */
  private enters(cell: Cell, asked: boolean): boolean {
    const { module, list, field, number } = cell.question;
    if (!module || cell.answered()) return module !== undefined;
    return asked && !list && module.missing !== undefined && !field.oneof && reasonOf(cell.instance, number) === undefined;
  }

  /** What is said of the reasons for missing answers of one message. */
  private reasons(i: Instance, out: Evaluation): boolean {
    const f = i.module.missing;
    if (!f || !i.message) return true;
    const reasons = (i.message as unknown as Record<string, Record<string, number>>)[f.localName];
    for (const number of Object.keys(reasons).map(Number).sort((a, b) => a - b)) {
      const cell = i.cells.find((c) => c.question.number === number);
      const flag = (name: string, message: Violation["message"]) =>
        add(out, [{ path: `${i.path(`missing[${number}]`)}`, rule: `${nameOf(f)}/${name}`, severity: "SOFT", message }]);
      if (!cell) flag(rule.missingQuestion, words.missingQuestion);
      if (reasons[number] < 0 || reasons[number] > 4) flag(rule.unknownValue, words.unknownValue);
      if (cell) add(out, this.verdict(cell).ofReason);
    }
    return out.violations.length < maxViolations;
  }
}

/** Adds violations; false where there are too many. */
function add(out: Evaluation, violations: readonly Violation[]): boolean {
  for (const v of violations) {
    if (out.violations.length >= maxViolations) return false;
    if (out.violations.length === maxViolations - 1) {
      out.violations.push({ path: "", rule: `hearth.survey.v1.Interview/${rule.tooManyFlags}`, severity: "HARD", message: words.tooManyFlags });
      return false;
    }
    out.violations.push(v);
  }
  return true;
}

/** Refuses a value of another type than the question's. */
function check(q: Question, value: unknown) {
  const one = (v: unknown) => {
    if (q.module) return isMessage(v) && v.$typeName === q.module.name;
    switch (q.kind) {
      case "int":
      case "uint":
        return typeof v === (isLong(q) ? "bigint" : "number");
      case "double":
        return typeof v === "number";
      case "string":
        return typeof v === "string";
      case "bool":
        return typeof v === "boolean";
      case "bytes":
        return v instanceof Uint8Array;
      default:
        return isMessage(v);
    }
  };
  const ok = q.list ? Array.isArray(value) && value.every(one) : one(value);
  if (!ok) throw new PathError(`${nameOf(q.field)} cannot hold ${typeof value} ${String(value)}`);
}
