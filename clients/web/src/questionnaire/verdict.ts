// What is to be said of one question in one message: LANGUAGE.md sections 2 and 3.

import { formatted } from "./formats.js";
import { Asked, type Cell, type Instance, inVersion } from "./instance.js";
import type { Limit, Words } from "./limits.js";
import { Missing, Severity, type Text } from "./options.js";
import type { Question } from "./tree.js";
import { Absent, Failure, type Outcome, type Value } from "./values.js";
import { rule, words } from "./words.js";

/** A rule that an answer breaks. It is a flag beside the answer, and never refuses it. */
export interface Violation {
  /** "household.members[2].age"; rows count from 0. */
  path: string;
  /** The full name of the field and the rule's id: "hearth.survey.v1.HouseholdMember.age/plausible". */
  rule: string;
  severity: "SOFT" | "HARD";
  message: Words | Text;
}

/** What is known of one question in one message. */
export interface Verdict {
  asked: boolean;
  violations: Violation[];
  /** What is said of the reason why there is no answer; stands after all questions of the message. */
  ofReason: Violation[];
  /** The reason why an asked question has no answer; "" where there is none; undefined where it is not missing. */
  missing: string | undefined;
  /** What a calculated question that is asked comes to. */
  calculated: Value | undefined;
}

const reasonNames = ["", "REFUSED", "DONT_KNOW", "NOT_APPLICABLE", "NOT_ASKED"];

/** Judges one question. */
export function judge(cell: Cell): Verdict {
  return new Judge(cell).verdict();
}

class Judge {
  private readonly violations: Violation[] = [];
  private failed = false;

  constructor(private readonly cell: Cell) {}

  verdict(): Verdict {
    const { cell } = this;
    const held = cell.answered();
    if (!cell.instance.asked) {
      // Of what stands somewhere in a question that is not asked only the values are looked at.
      if (held) this.values();
      return { asked: false, violations: this.violations, ofReason: [], missing: undefined, calculated: undefined };
    }
    const asked = cell.asked();
    const reason = reasonOf(cell.instance, cell.question.number);
    if (asked === Asked.No) {
      if (held) {
        if (!brought(cell.question, cell.instance.world.version)) this.flag(rule.notRelevant, words.notRelevant);
        this.values();
      }
    } else {
      this.told(held, reason);
    }
    const answered = asked !== Asked.No && cell.has() === true;
    const o = cell.question.options;
    return {
      asked: asked !== Asked.No,
      violations: this.violations,
      ofReason: reason === undefined ? [] : this.reason(reason, held),
      missing: asked !== Asked.No && this.canBeMissing() && cell.has() === false ? (reasonNames[reason ?? 0] ?? String(reason)) : undefined,
      calculated: answered && o?.calculate ? (cell.read() as Value) : undefined,
    };
  }

  /** What is said of a question that is asked. */
  private told(held: boolean, reason: Missing | undefined) {
    const { cell } = this;
    const o = cell.question.options;
    const w = cell.instance.world;
    this.failed = cell.asked() === Asked.Lame || (cell.calculated && cell.read() instanceof Failure);
    if (w.completed && !held && reason === undefined && !o?.calculate) this.required();
    if (held) {
      if (cell.calculated) this.calculation();
      this.values();
      this.offered();
    }
    if (cell.has() === true) this.checks();
    if (w.completed && cell.rules.count) this.rowCount(held);
    if (this.failed) this.flag(rule.expressionFailed, words.expressionFailed);
  }

  private flag(name: string, message: Words | Text, severity: "SOFT" | "HARD" = "SOFT", path = this.cell.path) {
    this.violations.push({ path, rule: this.cell.question.rule + name, severity, message });
  }

  /** Groups and rosters are not missing, blocks are; nor are parts of a block, nor what is not asked of anybody. */
  private canBeMissing(): boolean {
    const { question, instance } = this.cell;
    const o = question.options;
    if (!instance.module.missing && instance.owner) return false;
    if (question.module && (question.list || question.module.missing)) return false;
    return !o?.system && !o?.note && !o?.calculate;
  }

  /** Limits, format, and whether there are such choices. */
  private values() {
    const { cell } = this;
    const { question: q } = cell;
    const raw = cell.raw();
    for (const l of cell.rules.limits.whole) if (!l.holds(raw)) this.limit(l, cell.path);
    if (q.options?.format && !formatted(q.options.format, raw)) this.flag(rule.format, words.format, "HARD");
    if (!q.list) {
      if (q.choices && !this.knows(raw as number)) this.flag(rule.unknownValue, words.unknownValue);
    } else if (q.choices || cell.rules.limits.items.length > 0) {
      (raw as unknown[]).forEach((v, i) => {
        const path = `${cell.path}[${i}]`;
        if (q.choices && !this.knows(v as number)) this.flag(rule.unknownValue, words.unknownValue, "SOFT", path);
        for (const l of cell.rules.limits.items) if (!l.holds(v)) this.limit(l, path);
      });
    }
  }

  private limit(l: Limit, path: string) {
    this.violations.push({ path, rule: l.rule, severity: "HARD", message: l.text });
  }

  /** Whether a number is that of a choice, or an enum's zero. */
  private knows(number: number): boolean {
    const choices = this.cell.question.choices!;
    return choices.byNumber.has(number) || (number === 0 && choices.enum !== undefined);
  }

  /** Flags choices that the filter does not offer. */
  private offered() {
    const { cell } = this;
    const { filter } = cell.rules;
    if (!filter || (filter.volatile && !cell.instance.world.timed)) return;
    const { list } = cell.question;
    const all = (list ? cell.raw() : [cell.raw()]) as number[];
    all.forEach((number, i) => {
      const c = cell.question.choices!.byNumber.get(number);
      if (c && this.outcome(cell.run(filter, c)) === false) this.flag(rule.notOffered, words.notOffered, "SOFT", list ? `${cell.path}[${i}]` : cell.path);
    });
  }

  private checks() {
    const w = this.cell.instance.world;
    for (const c of this.cell.rules.checks) {
      if (c.holds.volatile && !w.timed) continue;
      if (this.outcome(this.cell.run(c.holds)) === false && c.options.message) {
        const severity = c.options.severity === Severity.Hard ? "HARD" : "SOFT";
        this.violations.push({ path: this.cell.path, rule: c.rule, severity, message: c.options.message });
      }
    }
  }

  /** Remembers that a rule failed. */
  private outcome(v: Outcome): Outcome {
    if (v instanceof Failure || (typeof v !== "boolean" && !(v instanceof Absent))) this.failed = true;
    return v;
  }

  private calculation() {
    const v = this.cell.read();
    if (!(v instanceof Failure) && !same(v, this.cell.held())) this.flag(rule.calculatedOtherwise, words.calculatedOtherwise);
  }

  private required() {
    const { question, rules, instance } = this.cell;
    const needed = rules.requiredWhen;
    let required = question.options?.required ?? false;
    if (needed && (!needed.volatile || instance.world.timed)) required = this.outcome(this.cell.run(needed)) === true;
    if (required) this.flag(rule.required, question.options?.requiredMessage ?? words.required);
  }

  private rowCount(held: boolean) {
    const count = this.cell.rules.count!;
    if (count.volatile && !this.cell.instance.world.timed) return;
    const v = this.cell.run(count);
    if (v instanceof Failure) this.failed = true;
    const rows = BigInt(held ? this.cell.rows().length : 0);
    if (typeof v === "bigint" && (v < 0n ? 0n : v) !== rows) this.flag(rule.rowCount, words.rowCount);
  }

  private reason(reason: Missing, answered: boolean): Violation[] {
    const { question, path } = this.cell;
    const out: Violation[] = [];
    const flag = (name: string, message: Words) => out.push({ path, rule: question.rule + name, severity: "SOFT", message });
    if (answered) flag(rule.answeredMissing, words.answeredMissing);
    const accepted = question.options?.missing.length ? question.options.missing : [Missing.Refused, Missing.DontKnow];
    if (reason < 0 || reason >= reasonNames.length || accepted.includes(reason)) return out;
    const notApplicable = reason === Missing.NotApplicable && this.cell.asked() === Asked.No;
    if (!notApplicable) flag(rule.missingReason, words.missingReason);
    return out;
  }
}

/** Whether a question that a version did not have may have an answer all the same, because a later version took it over. */
function brought(q: Question, version: number): boolean {
  return !inVersion(q, version) && (q.options?.earlier ?? []).some((e) => e.until >= version && (e.number !== 0 || e.value !== ""));
}

/** The reason that stands beside the answers of a message for a question. */
export function reasonOf(instance: Instance, number: number): Missing | undefined {
  const f = instance.module.missing;
  if (!f || !instance.message) return undefined;
  const reasons = (instance.message as unknown as Record<string, Record<string, Missing>>)[f.localName];
  return reasons[String(number)];
}

/** Whether what a field holds is what its rule yields; doubles within 1e-9 of the larger. */
function same(a: Outcome, b: Outcome): boolean {
  if (a instanceof Absent || b instanceof Absent) return false;
  if (typeof a !== "number" || typeof b !== "number") return a === b;
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  return Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)) && Number.isFinite(a - b);
}
