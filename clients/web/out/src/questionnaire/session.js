// One interview while it goes on: answers are set one by one, and what depends on them is judged anew.
import { create, isMessage } from "@bufbuild/protobuf";
import { Instance, isLong, stepsPerInterview } from "./instance.js";
import { nameOf } from "./tree.js";
import {} from "./values.js";
import { judge, reasonOf } from "./verdict.js";
import { rule, words } from "./words.js";
/** How many violations one interview can have; the last one then says that there are more. */
const maxViolations = 500;
/** A path that leads nowhere, or a value that the question cannot hold. */
export class PathError extends Error {
}
/** One interview. The message is changed in place; change it through the session only. */
export class Session {
    questionnaire;
    message;
    world;
    top;
    constructor(questionnaire, message, options = {}, tracking = true) {
        this.questionnaire = questionnaire;
        this.message = message;
        if (message.$typeName !== questionnaire.top.name)
            throw new PathError(`the answers are of ${message.$typeName}, not of ${questionnaire.top.name}`);
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
    evaluation() {
        this.world.steps = stepsPerInterview;
        const out = { notAsked: [], missing: new Map(), violations: [], calculated: new Map() };
        this.walk(this.top, out);
        return out;
    }
    /** What is known of one question: "members[2].age". */
    state(path) {
        return this.stateOf(this.cell(path));
    }
    /** Answers a question; gives what is known now of each question on which that had a bearing. */
    set(path, value) {
        const cell = this.cell(path);
        const { question: q } = cell;
        check(q, value);
        return this.change(cell, () => {
            const m = this.written(cell.instance);
            if (q.field.oneof)
                m[q.field.oneof.localName] = { case: q.field.localName, value };
            else
                m[q.field.localName] = value;
            cell.renew();
        });
    }
    /** Takes an answer away; of a roster all rows. */
    clear(path) {
        const cell = this.cell(path);
        return this.change(cell, () => {
            const m = cell.instance.message;
            const f = cell.question.field;
            if (m && f.oneof) {
                if (m[f.oneof.localName].case === f.localName)
                    m[f.oneof.localName] = { case: undefined };
            }
            else if (m && f.fieldKind === "list") {
                m[f.localName] = [];
            }
            else if (m) {
                delete m[f.localName];
            }
            cell.renew();
        });
    }
    /** Says why a question has no answer; undefined takes the reason away. */
    setMissing(path, reason) {
        const cell = this.cell(path);
        const f = cell.instance.module.missing;
        if (!f)
            throw new PathError(`${path}: the reason stands with the question whose answer this is a part of`);
        return this.change(cell, () => {
            const reasons = this.written(cell.instance)[f.localName];
            if (reason === undefined)
                delete reasons[String(cell.question.number)];
            else
                reasons[String(cell.question.number)] = reason;
        });
    }
    /** Adds an empty row at the end of a roster. */
    addRow(path) {
        const cell = this.roster(path);
        return this.change(cell, () => {
            const m = this.written(cell.instance);
            const row = create(cell.question.module.desc);
            const rows = cell.rows();
            m[cell.question.field.localName].push(row);
            rows.push(new Instance(this.world, cell.question.module, row, cell, rows.length));
        });
    }
    /** Takes a row out of a roster; those after it move up. */
    removeRow(path, row) {
        const cell = this.roster(path);
        const all = cell.raw();
        if (!all || row < 0 || row >= all.length)
            throw new PathError(`${path} has no row ${row}`);
        return this.change(cell, () => {
            all.splice(row, 1);
            cell.renew();
        });
    }
    roster(path) {
        const cell = this.cell(path);
        if (!cell.question.list || !cell.question.module)
            throw new PathError(`${path} is no roster`);
        return cell;
    }
    /** Changes something of a question and judges anew what depends on it. */
    change(cell, how) {
        this.world.steps = stepsPerInterview;
        // Groups around it come into being with the first answer in them.
        const changed = [cell];
        for (let i = cell.instance; i.owner && i.message === undefined; i = i.owner.instance)
            changed.push(i.owner);
        how();
        const stale = new Set();
        for (const c of changed)
            c.forget(stale);
        const out = [];
        for (const c of stale) {
            if (c.instance.dead)
                continue;
            c.verdict = undefined;
            out.push(this.stateOf(c));
        }
        return out;
    }
    /** The message of an instance, made where it is not set. */
    written(i) {
        if (!i.message) {
            const { question } = i.owner;
            const m = create(i.module.desc);
            const around = this.written(i.owner.instance);
            if (question.field.oneof)
                around[question.field.oneof.localName] = { case: question.field.localName, value: m };
            else
                around[question.field.localName] = m;
            i.message = m;
        }
        return i.message;
    }
    cell(path) {
        let at = this.top;
        const steps = path.split(".");
        for (let n = 0;; n++) {
            const m = /^([a-z_][a-z0-9_]*)(?:\[([0-9]+)\])?$/i.exec(steps[n]);
            const q = m ? at.module.find(m[1]) : undefined;
            if (!m || !q)
                throw new PathError(`${path}: ${at.module.name} has no question "${steps[n]}"`);
            const cell = at.cells[q.index];
            if (n === steps.length - 1 && m[2] === undefined)
                return cell;
            if (!q.module || q.list !== (m[2] !== undefined))
                throw new PathError(`${path}: "${steps[n]}" is ${q.list ? "a roster: say which row" : "no roster"}`);
            const next = q.list ? cell.rows()[Number(m[2])] : cell.below();
            if (!next)
                throw new PathError(`${path}: "${q.name}" has no row ${m[2]}`);
            if (n === steps.length - 1)
                throw new PathError(`${path} is a row, not a question`);
            at = next;
        }
    }
    stateOf(cell) {
        const verdict = this.verdict(cell);
        return { ...verdict, path: cell.path, question: cell.question, value: cell.read() };
    }
    verdict(cell) {
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
    walk(i, out) {
        const asked = i.asked;
        for (const cell of i.cells) {
            const v = this.verdict(cell);
            if (asked && !v.asked)
                out.notAsked.push(cell.path);
            if (v.missing !== undefined)
                out.missing.set(cell.path, v.missing);
            if (v.calculated !== undefined)
                out.calculated.set(cell.path, v.calculated);
            const more = add(out, v.violations);
            if (!more || (this.enters(cell, v.asked) && !cell.instances().every((below) => this.walk(below, out))))
                return false;
        }
        return !asked || this.reasons(i, out);
    }
    /** Whether what is below a question is gone through: where it is set, and where a group that is asked is not set. */
    enters(cell, asked) {
        const { module, list, field, number } = cell.question;
        if (!module || cell.answered())
            return module !== undefined;
        return asked && !list && module.missing !== undefined && !field.oneof && reasonOf(cell.instance, number) === undefined;
    }
    /** What is said of the reasons for missing answers of one message. */
    reasons(i, out) {
        const f = i.module.missing;
        if (!f || !i.message)
            return true;
        const reasons = i.message[f.localName];
        for (const number of Object.keys(reasons).map(Number).sort((a, b) => a - b)) {
            const cell = i.cells.find((c) => c.question.number === number);
            const flag = (name, message) => add(out, [{ path: `${i.path(`missing[${number}]`)}`, rule: `${nameOf(f)}/${name}`, severity: "SOFT", message }]);
            if (!cell)
                flag(rule.missingQuestion, words.missingQuestion);
            if (reasons[number] < 0 || reasons[number] > 4)
                flag(rule.unknownValue, words.unknownValue);
            if (cell)
                add(out, this.verdict(cell).ofReason);
        }
        return out.violations.length < maxViolations;
    }
}
/** Adds violations; false where there are too many. */
function add(out, violations) {
    for (const v of violations) {
        if (out.violations.length >= maxViolations)
            return false;
        if (out.violations.length === maxViolations - 1) {
            out.violations.push({ path: "", rule: `hearth.survey.v1.Interview/${rule.tooManyFlags}`, severity: "HARD", message: words.tooManyFlags });
            return false;
        }
        out.violations.push(v);
    }
    return true;
}
/** Refuses a value of another type than the question's. */
function check(q, value) {
    const one = (v) => {
        if (q.module)
            return isMessage(v) && v.$typeName === q.module.name;
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
    if (!ok)
        throw new PathError(`${nameOf(q.field)} cannot hold ${typeof value} ${String(value)}`);
}
