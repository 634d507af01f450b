// What is to be said of one question in one message: LANGUAGE.md sections 2 and 3.
import { formatted } from "./formats.js";
import { Asked } from "./instance.js";
import { Missing, Severity } from "./options.js";
import { Absent, Failure, noAnswer } from "./values.js";
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
        const { question } = cell;
        const w = cell.instance.world;
        const asked = cell.asked();
        const answered = cell.answered();
        this.failed = asked === Asked.Lame;
        if (answered && asked === Asked.No && cell.instance.asked)
            this.flag(rule.notRelevant, words.notRelevant);
        if (answered)
            this.values();
        if (answered && asked !== Asked.No)
            this.checks();
        let calculated;
        if (cell.calculated && asked !== Asked.No)
            calculated = this.calculation(answered);
        const reason = reasonOf(cell.instance, question.number);
        if (!answered && asked !== Asked.No && w.completed && !question.options?.calculate)
            this.required(reason);
        if (asked !== Asked.No && w.completed && cell.rules.count)
            this.rowCount();
        if (this.failed)
            this.flag(rule.expressionFailed, words.expressionFailed);
        return {
            asked: asked !== Asked.No,
            violations: this.violations,
            ofReason: reason === undefined ? [] : this.reason(reason, answered),
            missing: asked !== Asked.No && !answered && this.canBeMissing() ? (reasonNames[reason ?? 0] ?? "") : undefined,
            calculated,
        };
    }
    flag(name, message, severity = "SOFT", path = this.cell.path) {
        this.violations.push({ path, rule: this.cell.question.rule + name, severity, message });
    }
    /** Groups and rosters are not missing, blocks are; nor what is not asked of anybody, nor a part of a block. */
    canBeMissing() {
        const { question, instance } = this.cell;
        const o = question.options;
        if (question.module && (question.list || question.module.missing))
            return false;
        return !o?.system && !o?.note && !o?.calculate && instance.module.missing !== undefined;
    }
    /** Limits, formats and choices. */
    values() {
        const { cell } = this;
        const { question: q } = cell;
        const raw = cell.raw();
        for (const l of cell.rules.limits.whole)
            if (!l.holds(raw))
                this.violations.push({ path: cell.path, rule: l.rule, severity: "HARD", message: l.text });
        if (!q.choices && cell.rules.limits.items.length === 0 && !q.options?.format)
            return;
        const all = q.list ? raw : [raw];
        all.forEach((v, i) => this.value(v, q.list ? `${cell.path}[${i}]` : cell.path));
    }
    value(v, path) {
        const { question: q, rules } = this.cell;
        if (q.choices && !q.choices.byNumber.has(v) && v !== 0)
            this.flag(rule.unknownValue, words.unknownValue, "SOFT", path);
        else if (q.choices && rules.filter && !this.offered(v))
            this.flag(rule.notOffered, words.notOffered, "SOFT", path);
        if (q.options?.format && typeof v === "string" && !formatted(q.options.format, v))
            this.flag(rule.format, words.format, "SOFT", path);
        for (const l of rules.limits.items)
            if (!l.holds(v))
                this.violations.push({ path, rule: l.rule, severity: "HARD", message: l.text });
    }
    offered(number) {
        const c = this.cell.question.choices.byNumber.get(number);
        if (!c)
            return true;
        const columns = new Map(Object.entries(c.columns));
        columns.set("name", c.name).set("number", String(c.number)).set("label", this.cell.instance.world.lists.label(this.cell.question.choices.name, BigInt(number), "") ?? "");
        const v = this.outcome(this.cell.run(this.cell.rules.filter, columns));
        return v !== false;
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
    calculation(answered) {
        const v = this.cell.read();
        if (v instanceof Failure)
            this.failed = true;
        else if (answered && !same(v, this.cell.held()))
            this.flag(rule.calculatedOtherwise, words.calculatedOtherwise);
        return v instanceof Absent ? undefined : v;
    }
    required(reason) {
        const { question, rules } = this.cell;
        if (reason !== undefined)
            return;
        let needed = question.options?.required ?? false;
        if (rules.requiredWhen) {
            if (rules.requiredWhen.volatile && !this.cell.instance.world.timed)
                return;
            const v = this.outcome(this.cell.run(rules.requiredWhen));
            needed = v === true;
        }
        if (needed)
            this.flag(rule.required, question.options?.requiredMessage ?? words.required);
    }
    rowCount() {
        const count = this.cell.rules.count;
        const v = this.cell.run(count);
        if (v instanceof Failure)
            this.failed = true;
        if (typeof v === "bigint" && BigInt(this.cell.rows().length) !== v)
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
    if (typeof a === "number" && typeof b === "number")
        return Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), Math.abs(b));
    if (a instanceof Absent || b instanceof Absent)
        return a === noAnswer && b === noAnswer;
    return a === b;
}
