// A questionnaire, loaded from the descriptors with which it was published.
import { create, createFileRegistry, fromBinary, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { textExactly, textIn } from "./labels.js";
import { compileRules } from "./rules.js";
import { Upgrade } from "./upgrade.js";
import { Session } from "./session.js";
import { SchemaError, TreeReader } from "./tree.js";
/** A compiled questionnaire. Nothing in it changes after it is loaded. */
export class Questionnaire {
    top;
    registry;
    rules;
    /** The current version; versions count 1, 2, 3. */
    version;
    /** The languages in the order in which they are offered; the first is shown where nobody chose. */
    languages;
    lists;
    earlier;
    constructor(top, registry, rules, tree) {
        this.top = top;
        this.registry = registry;
        this.rules = rules;
        this.version = top.options?.version ?? 0;
        this.languages = top.options?.languages.length ? top.options.languages : ["en", "zh"];
        this.lists = listsOf(tree, this.languages);
        this.earlier = new Upgrade(top, this);
    }
    /**
     * Loads a questionnaire from a closed set of descriptors, in which hearth/form/v1/options.proto is. Top is the full name of its
     * top message; without it, it is the only message with a version in the files that no other file imports.
     */
    static load(files, top = "") {
        const set = files instanceof Uint8Array ? fromBinary(FileDescriptorSetSchema, files) : files;
        const registry = createFileRegistry(set);
        const tree = new TreeReader(registry);
        const module = tree.read(top ? named(registry, top) : onlyTop(registry, set, tree));
        return new Questionnaire(module, registry, compileRules(module, registry), tree);
    }
    /** An empty message of answers. */
    answers() {
        return create(this.top.desc);
    }
    /** Reads answers as they are stored and sent. */
    fromBinary(bytes) {
        return fromBinary(this.top.desc, bytes);
    }
    /** Reads answers from the JSON of protobuf. */
    fromJson(json) {
        return fromJson(this.top.desc, json, { registry: this.registry });
    }
    /** The answers of an interview of a version as they stand under the current one; those given are not changed. */
    upgrade(answers, version) {
        return this.earlier.apply(answers, version);
    }
    /** Evaluates one interview, whose answers are as its version held them. */
    evaluate(answers, options = {}) {
        return new Session(this, this.upgrade(answers, options.version ?? 0), options, false).evaluation();
    }
    /** Begins, or takes up again, an interview. Answers of an earlier version are to be upgraded first. */
    session(answers, options = {}) {
        return new Session(this, answers, options);
    }
    /** A wording in a language, with the questionnaire's first languages to fall back on. */
    text(text, language = this.languages[0]) {
        return textIn(text, language, this.languages);
    }
    /** The words of a question; where it has none, the name of its field. */
    label(q, language) {
        return this.text(q.options?.label, language) || q.name;
    }
    /** The words of the choice with a number; where there are none, its name; undefined where there is no such choice. */
    choiceLabel(choices, number, language) {
        const c = choices.byNumber.get(number);
        return c && (this.text(c.label, language) || c.name);
    }
}
function named(registry, top) {
    const d = registry.getMessage(top);
    if (!d)
        throw new SchemaError(`the files have no message ${top}`);
    return d;
}
function onlyTop(registry, set, tree) {
    const imported = new Set(set.file.flatMap((f) => f.dependency));
    const tops = set.file
        .filter((f) => !imported.has(f.name))
        .flatMap((f) => registry.getFile(f.name)?.messages ?? [])
        .filter((m) => (tree.moduleOptions(m)?.version ?? 0) > 0);
    if (tops.length === 1)
        return tops[0];
    if (tops.length === 0)
        throw new SchemaError("no message has a version: set it in option (hearth.form.v1.module) of the top message of the questionnaire");
    throw new SchemaError(`several messages have a version: say which is the questionnaire, one of ${tops.map((m) => m.typeName).sort().join(", ")}`);
}
/** Wordings here are those of a language or of the first, and no others: expressions may depend on them. */
function listsOf(tree, languages) {
    const known = new Map();
    const list = (name) => {
        if (!known.has(name))
            known.set(name, tree.choices(name));
        return known.get(name);
    };
    const choice = (name, number) => list(name)?.byNumber.get(Number(number));
    const columnOf = (c, column) => {
        switch (column) {
            case "name":
                return c.name;
            case "number":
                return String(c.number);
            case "label":
                return textExactly(c.label, languages[0]);
            default:
                return Object.hasOwn(c.columns, column) ? c.columns[column] : "";
        }
    };
    return {
        columnOf,
        name: (name, number) => choice(name, number)?.name,
        label: (name, number, language) => {
            const c = choice(name, number);
            return c && (textExactly(c.label, language) || textExactly(c.label, languages[0]) || undefined);
        },
        number: (name, of) => {
            const c = list(name)?.byName.get(of);
            return c && BigInt(c.number);
        },
        column: (name, number, column) => {
            const c = choice(name, number);
            return (c && columnOf(c, column)) || undefined;
        },
        lookup: (table, column, keyColumn, key) => {
            const c = list(table)?.list.find((x) => columnOf(x, keyColumn) === key);
            return (c && columnOf(c, column)) || undefined;
        },
    };
}
