// The answers of an interview as a tree: an instance for each message and a cell for each question in it. A cell keeps what
// expressions read there: whether the question is asked, and its answer. It is filled when the first expression, or the walk
// through the questions, comes to it; so rules are carried out once, in whatever order they depend on each other. In a session
// each cell knows which others read it, and forgets what it knows when one of those that it read changes.
import { isFieldSet, ScalarType } from "@bufbuild/protobuf";
import { Absent, Failure, Instant, noAnswer, Span } from "./values.js";
/** Whether a question is asked; lame: it is, because whether it is could not be told. */
export var Asked;
(function (Asked) {
    Asked[Asked["No"] = 0] = "No";
    Asked[Asked["Yes"] = 1] = "Yes";
    Asked[Asked["Lame"] = 2] = "Lame";
})(Asked || (Asked = {}));
const cycle = new Failure("the rules of a question depend on themselves");
const misfit = new Failure("the field cannot hold what was calculated");
const noField = new Failure("the message has no such field");
/** The work of one expression and of a whole evaluation, in rows looked at. */
export const stepsPerExpression = 1_000_000;
export const stepsPerInterview = 4_000_000;
/** One message of the answers, or a group whose message is not set. */
export class Instance {
    world;
    module;
    message;
    owner;
    row;
    cells;
    root;
    dead = false;
    constructor(world, module, message, 
    /** The question of which this is the group or a row; undefined for the top. */
    owner, 
    /** Which row of a roster this is; -1: none. */
    row) {
        this.world = world;
        this.module = module;
        this.message = message;
        this.owner = owner;
        this.row = row;
        this.root = owner ? owner.instance.root : this;
        this.cells = module.questions.map((q) => new Cell(this, q));
    }
    get asked() {
        return !this.owner || this.owner.asked() !== Asked.No;
    }
    read(field) {
        const q = this.module.find(field);
        return q ? this.cells[q.index].read() : noField;
    }
    has(field) {
        const q = this.module.find(field);
        return q ? this.cells[q.index].has() : noField;
    }
    up(n) {
        let at = this;
        for (; n > 0 && at; n--)
            at = at.owner?.instance;
        return at;
    }
    position(n) {
        for (let at = this; at; at = at.owner?.instance) {
            if (at.row >= 0 && --n === 0) {
                at.owner.track(); // rows move when others are removed
                return BigInt(at.row + 1);
            }
        }
        return undefined;
    }
    /** The path of a field, or of this message where none is named. */
    path(field = "") {
        let out = field;
        for (let at = this; at.owner; at = at.owner.instance) {
            const step = at.owner.question.name + (at.row >= 0 ? `[${at.row}]` : "");
            out = out ? `${step}.${out}` : step;
        }
        return out;
    }
}
/** One question in one message. */
export class Cell {
    instance;
    question;
    rules;
    state;
    computing = false;
    known = noAnswer;
    group;
    list;
    /** The cells whose state, and those whose verdict, depends on what is read here. */
    readers;
    judges;
    verdict;
    constructor(instance, question) {
        this.instance = instance;
        this.question = question;
        this.rules = instance.world.rules.get(question);
    }
    get path() {
        return this.instance.path(this.question.name);
    }
    /** Remembers who reads this cell. */
    track() {
        const w = this.instance.world;
        if (!w.tracking || !w.reader || w.reader === this)
            return;
        if (w.judging)
            (this.judges ??= new Set()).add(w.reader);
        else
            (this.readers ??= new Set()).add(w.reader);
    }
    asked() {
        this.track();
        if (this.computing)
            return Asked.No;
        if (this.state === undefined)
            this.resolve();
        return this.state;
    }
    /** What expressions read. */
    read() {
        this.track();
        if (this.computing)
            return cycle;
        if (this.state === undefined)
            this.resolve();
        return this.known;
    }
    has() {
        const v = this.read();
        if (this.question.module && !this.question.list)
            return this.state !== Asked.No && this.answered();
        if (v instanceof Absent)
            return v instanceof Failure ? v : false;
        return !(Array.isArray(v) && v.length === 0);
    }
    /** Whether the field holds an answer, asked or not. */
    answered() {
        const m = this.instance.message;
        return m !== undefined && answeredIn(m, this.question);
    }
    /** What the field holds, as protobuf-es has it; undefined where there is no answer. */
    raw() {
        return this.answered() ? rawIn(this.instance.message, this.question) : undefined;
    }
    /** What the field holds, as expressions see it, asked or not. */
    held() {
        if (this.question.module)
            return this.question.list ? this.rows() : this.below();
        const v = this.raw();
        if (v === undefined)
            return this.question.list ? [] : noAnswer;
        return this.question.list ? v.map((x) => valueOf(x, this.question)) : valueOf(v, this.question);
    }
    /** The message of a group, also where it is not set. */
    below() {
        return (this.group ??= new Instance(this.instance.world, this.question.module, this.raw(), this, -1));
    }
    /** The rows of a roster. */
    rows() {
        if (!this.list) {
            const all = (this.raw() ?? []);
            this.list = all.map((m, i) => new Instance(this.instance.world, this.question.module, m, this, i));
        }
        return this.list;
    }
    /** The messages below: of a group one, of a roster its rows. */
    instances() {
        return this.question.list ? this.rows() : [this.below()];
    }
    /** Whether the calculation is carried out here. */
    get calculated() {
        const c = this.rules.calculate;
        return c !== undefined && !this.instance.world.raw && (!c.volatile || this.instance.world.tablet);
    }
    resolve() {
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
    whetherAsked() {
        const w = this.instance.world;
        if (w.raw)
            return Asked.Yes;
        if (!this.instance.asked || !inVersion(this.question, w.version))
            return Asked.No;
        const { relevant } = this.rules;
        if (!relevant || (relevant.volatile && !w.timed))
            return Asked.Yes;
        const v = this.run(relevant);
        if (v === true)
            return Asked.Yes;
        return v === false || v === noAnswer ? Asked.No : Asked.Lame;
    }
    whatIsRead() {
        const q = this.question;
        if (q.module && !q.list)
            return this.below();
        if (this.state === Asked.No)
            return q.list ? [] : noAnswer;
        return this.calculated ? this.carriedOut() : this.held();
    }
    /** What the calculation comes to; the empty text and the zero of a choice are no answers. */
    carriedOut() {
        const v = this.run(this.rules.calculate);
        if (v === "" || (v === 0n && this.question.choices !== undefined))
            return noAnswer;
        return v instanceof Absent || storable(v, this.question) ? v : misfit;
    }
    /** Carries out a rule of this question. */
    run(rule, choice, root = this.instance.root) {
        const w = this.instance.world;
        const outer = w.steps;
        if (w.depth === 0)
            w.steps = Math.min(w.steps, stepsPerExpression);
        const given = w.steps;
        w.depth++;
        const frame = {
            self: this.instance,
            root,
            value: noAnswer,
            choice,
            held: rule.volatile ? this.held() : noAnswer,
            slots: rule.slots ? new Array(rule.slots) : noSlots,
            engine: w,
        };
        if (w.judging)
            frame.value = this.read();
        const v = rule.run(frame);
        w.depth--;
        if (w.depth === 0)
            w.steps = outer - (given - w.steps);
        return v;
    }
    /** Forgets what is known, here and in all cells whose state depends on it, and adds those whose verdict does to `stale`. */
    forget(stale) {
        stale.add(this);
        const seen = new Set([this]);
        const open = [this];
        for (let c = open.pop(); c; c = open.pop()) {
            c.state = undefined;
            c.known = noAnswer;
            for (const j of c.judges ?? []) {
                if (j.instance.dead)
                    c.judges.delete(j);
                else
                    stale.add(j);
            }
            for (const r of c.readers ?? []) {
                if (r.instance.dead)
                    c.readers.delete(r);
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
        for (const i of this.list ?? (this.group ? [this.group] : []))
            bury(i);
        this.list = undefined;
        this.group = undefined;
    }
}
const noSlots = [];
function bury(i) {
    i.dead = true;
    for (const c of i.cells)
        c.renew();
}
/** Whether a version has a question. */
export function inVersion(q, version) {
    const since = q.options?.since ?? 0;
    const until = q.options?.until ?? 0;
    return version === 0 ? until === 0 : version >= since && (until === 0 || version <= until);
}
/** Whether a field of a message holds an answer. */
export function answeredIn(m, q) {
    const f = q.field;
    if (f.oneof) {
        if (m[f.oneof.localName]?.case !== f.localName)
            return false;
    }
    else if (q.list) {
        return m[f.localName].length > 0;
    }
    else if (f.fieldKind === "message") {
        return m[f.localName] !== undefined;
    }
    else if (!isFieldSet(m, f)) {
        return false;
    }
    const v = rawIn(m, q);
    return v !== "" && !(v === 0 && q.choices !== undefined);
}
function rawIn(m, q) {
    const f = q.field;
    const v = f.oneof ? m[f.oneof.localName].value : m[f.localName];
    if (f.scalar !== ScalarType.FLOAT || v === undefined)
        return v;
    // JSON has more digits of a float than it holds.
    return Array.isArray(v) ? v.map(Math.fround) : Math.fround(v);
}
/** A value of protobuf-es as expressions see it. */
export function valueOf(v, q) {
    switch (q.kind) {
        case "int":
        case "uint":
            return typeof v === "bigint" ? v : BigInt(v);
        case "instant": {
            const t = v;
            return new Instant(t.seconds, t.nanos);
        }
        case "span": {
            const d = v;
            return new Span(d.seconds * 1000000000n + BigInt(d.nanos));
        }
        default:
            return v;
    }
}
/** Whether a field can hold a value. */
export function storable(v, q) {
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
/** Whether a field holds whole numbers of 64 bits: int64, uint64, fixed64, sfixed64, sint64. */
export function isLong(q) {
    return [3, 4, 6, 16, 18].includes(q.field.scalar ?? 0);
}
