// What is to be said of one question in one message: LANGUAGE.md sections 2 and 3.
import { formatted } from "./formats.js";
import { Asked } from "./instance.js";
import { Missing, Severity } from "./options.js";
import { Absent, Failure } from "./values.js";
import { rule, words } from "./words.js";
const reasonNames = ["", "REFUSED", "DONT_KNOW", "NOT_APPLICABLE", "NOT_ASKED"];
/** Judges one question. */
export function judge(cell) {
    return new Judge(cell).verdict();
}
class Judge {
    cell;
    violations = [];
    failed = false;
    constructor(cell) {
        this.cell = cell;
    }
    verdict() {
        const { cell } = this;
        const held = cell.answered();
        if (!cell.instance.asked) {
            // Of what stands somewhere in a question that is not asked only the values are looked at.
            if (held)
                this.values();
            return { asked: false, violations: this.violations, ofReason: [], missing: undefined, calculated: undefined };
        }
        const asked = cell.asked();
        const reason = reasonOf(cell.instance, cell.question.number);
        if (asked === Asked.No) {
            if (held) {
                this.flag(rule.notRelevant, words.notRelevant);
                this.values();
            }
        }
        else {
            this.told(held, reason);
        }
        const answered = asked !== Asked.No && cell.has() === true;
        const o = cell.question.options;
        return {
            asked: asked !== Asked.No,
            violations: this.violations,
            ofReason: reason === undefined ? [] : this.reason(reason, held),
            missing: asked !== Asked.No && this.canBeMissing() && cell.has() === false ? (reasonNames[reason ?? 0] ?? String(reason)) : undefined,
            calculated: answered && o?.calculate ? cell.read() : undefined,
        };
    }
    /** What is said of a question that is asked. */
    told(held, reason) {
        const { cell } = this;
        const o = cell.question.options;
        const w = cell.instance.world;
        this.failed = cell.asked() === Asked.Lame || (cell.calculated && cell.read() instanceof Failure);
        if (w.completed && !held && reason === undefined && !o?.calculate)
            this.required();
        if (held) {
            if (cell.calculated)
                this.calculation();
            this.values();
            this.offered();
        }
        if (cell.has() === true)
            this.checks();
        if (w.completed && cell.rules.count)
            this.rowCount(held);
        if (this.failed)
            this.flag(rule.expressionFailed, words.expressionFailed);
    }
    flag(name, message, severity = "SOFT", path = this.cell.path) {
        this.violations.push({ path, rule: this.cell.question.rule + name, severity, message });
    }
    /** Groups and rosters are not missing, blocks are; nor are parts of a block, nor what is not asked of anybody. */
    canBeMissing() {
        const { question, instance } = this.cell;
        const o = question.options;
        if (!instance.module.missing && instance.owner)
            return false;
        if (question.module && (question.list || question.module.missing))
            return false;
        return !o?.system && !o?.note && !o?.calculate;
    }
    /** Limits, format, and whether there are such choices. */
    values() {
        const { cell } = this;
        const { question: q } = cell;
        const raw = cell.raw();
        for (const l of cell.rules.limits.whole)
            if (!l.holds(raw))
                this.limit(l, cell.path);
        if (q.options?.format && !formatted(q.options.format, raw))
            this.flag(rule.format, words.format, "HARD");
        if (!q.list) {
            if (q.choices && !this.knows(raw))
                this.flag(rule.unknownValue, words.unknownValue);
        }
        else if (q.choices || cell.rules.limits.items.length > 0) {
            raw.forEach((v, i) => {
                const path = `${cell.path}[${i}]`;
                if (q.choices && !this.knows(v))
                    this.flag(rule.unknownValue, words.unknownValue, "SOFT", path);
                for (const l of cell.rules.limits.items)
                    if (!l.holds(v))
                        this.limit(l, path);
            });
        }
    }
    limit(l, path) {
        this.violations.push({ path, rule: l.rule, severity: "HARD", message: l.text });
    }
    /** Whether a number is that of a choice, or an enum's zero. */
    knows(number) {
        const choices = this.cell.question.choices;
        return choices.byNumber.has(number) || (number === 0 && choices.enum !== undefined);
    }
    /** Flags choices that the filter does not offer. */
    offered() {
        const { cell } = this;
        const { filter } = cell.rules;
        if (!filter || (filter.volatile && !cell.instance.world.timed))
            return;
        const { list } = cell.question;
        const all = (list ? cell.raw() : [cell.raw()]);
        all.forEach((number, i) => {
            const c = cell.question.choices.byNumber.get(number);
            if (c && this.outcome(cell.run(filter, c)) === false)
                this.flag(rule.notOffered, words.notOffered, "SOFT", list ? `${cell.path}[${i}]` : cell.path);
        });
    }
    checks() {
        const w = this.cell.instance.world;
        for (const c of this.cell.rules.checks) {
            if (c.holds.volatile && !w.timed)
                continue;
            if (this.outcome(this.cell.run(c.holds)) === false && c.options.message) {
                const severity = c.options.severity === Severity.Hard ? "HARD" : "SOFT";
                this.violations.push({ path: this.cell.path, rule: c.rule, severity, message: c.options.message });
            }
        }
    }
    /** Remembers that a rule failed. */
    outcome(v) {
        if (v instanceof Failure || (typeof v !== "boolean" && !(v instanceof Absent)))
            this.failed = true;
        return v;
    }
    calculation() {
        const v = this.cell.read();
        if (!(v instanceof Failure) && !same(v, this.cell.held()))
            this.flag(rule.calculatedOtherwise, words.calculatedOtherwise);
    }
    required() {
        const { question, rules, instance } = this.cell;
        const needed = rules.requiredWhen;
        let required = question.options?.required ?? false;
        if (needed && (!needed.volatile || instance.world.timed))
            required = this.outcome(this.cell.run(needed)) === true;
        if (required)
            this.flag(rule.required, question.options?.requiredMessage ?? words.required);
    }
    rowCount(held) {
        const count = this.cell.rules.count;
        if (count.volatile && !this.cell.instance.world.timed)
            return;
        const v = this.cell.run(count);
        if (v instanceof Failure)
            this.failed = true;
        const rows = BigInt(held ? this.cell.rows().length : 0);
        if (typeof v === "bigint" && (v < 0n ? 0n : v) !== rows)
            this.flag(rule.rowCount, words.rowCount);
    }
    reason(reason, answered) {
        const { question, path } = this.cell;
        const out = [];
        const flag = (name, message) => out.push({ path, rule: question.rule + name, severity: "SOFT", message });
        if (answered)
            flag(rule.answeredMissing, words.answeredMissing);
        const accepted = question.options?.missing.length ? question.options.missing : [Missing.Refused, Missing.DontKnow];
        if (reason < 0 || reason >= reasonNames.length || accepted.includes(reason))
            return out;
        const notApplicable = reason === Missing.NotApplicable && this.cell.asked() === Asked.No;
        if (!notApplicable)
            flag(rule.missingReason, words.missingReason);
        return out;
    }
}
/** The reason that stands beside the answers of a message for a question. */
export function reasonOf(instance, number) {
    const f = instance.module.missing;
    if (!f || !instance.message)
        return undefined;
    const reasons = instance.message[f.localName];
    return reasons[String(number)];
}
/** Whether what a field holds is what its rule yields; doubles within 1e-9 of the larger. */
function same(a, b) {
    if (a instanceof Absent || b instanceof Absent)
        return false;
    if (typeof a !== "number" || typeof b !== "number")
        return a === b;
    if (a === b || (Number.isNaN(a) && Number.isNaN(b)))
        return true;
    return Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b)) && Number.isFinite(a - b);
}
