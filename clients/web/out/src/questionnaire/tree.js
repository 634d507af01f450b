// A questionnaire as a tree: modules, questions and choices, read from a descriptor set and the options in it.
import { ScalarType, getOption, hasOption } from "@bufbuild/protobuf";
/** A schema that is no questionnaire, or uses what is not known here. */
export class SchemaError extends Error {
}
/** Reads modules from the descriptors of a registry. */
export class TreeReader {
    registry;
    question;
    choice;
    module;
    list;
    table;
    modules = new Map();
    open = new Set();
    enums = new Map();
    tables = new Map();
    constructor(registry) {
        this.registry = registry;
        const option = (name) => {
            const found = registry.getExtension(`hearth.form.v1.${name}`);
            if (!found)
                throw new SchemaError(`the descriptors lack hearth/form/v1/options.proto: no extension hearth.form.v1.${name}`);
            return found;
        };
        this.question = option("question");
        this.choice = option("choice");
        this.module = option("module");
        this.list = option("list");
        this.table = option("table");
    }
    /** The options of a message. */
    moduleOptions(d) {
        return hasOption(d, this.module) ? getOption(d, this.module) : undefined;
    }
    /** Reads a message and everything below it. */
    read(d) {
        const known = this.modules.get(d.typeName);
        if (known)
            return known;
        if (this.open.has(d.typeName))
            throw new SchemaError(`message ${d.typeName} contains itself: a module or roster cannot stand inside itself`);
        this.open.add(d.typeName);
        const questions = [];
        const byName = new Map();
        let missing;
        for (const f of d.fields) {
            if (f.fieldKind === "map") {
                if (f.name !== "missing")
                    throw new SchemaError(`field ${nameOf(f)} is a map: only map<uint32, Missing> missing may be one`);
                missing = f;
                continue;
            }
            const q = this.readQuestion(f, questions.length);
            questions.push(q);
            byName.set(q.name, q);
        }
        this.open.delete(d.typeName);
        const m = { name: d.typeName, desc: d, options: this.moduleOptions(d), questions, missing, find: (field) => byName.get(field) };
        this.modules.set(d.typeName, m);
        return m;
    }
    readQuestion(f, index) {
        const options = hasOption(f, this.question) ? getOption(f, this.question) : undefined;
        const message = f.message && f.message.file.proto.package !== "google.protobuf" ? this.read(f.message) : undefined;
        return {
            name: f.name,
            number: f.number,
            field: f,
            options,
            kind: kindOf(f),
            list: f.fieldKind === "list",
            module: message,
            choices: f.enum ? this.enumChoices(f.enum) : options?.choices ? this.tableChoices(f, options.choices) : undefined,
            index,
            rule: nameOf(f) + "/",
        };
    }
    enumChoices(e) {
        const known = this.enums.get(e.typeName);
        if (known)
            return known;
        const options = hasOption(e, this.list) ? getOption(e, this.list) : undefined;
        const list = e.values
            .filter((v) => v.number !== 0)
            .map((v) => newChoice(v.number, v.name, hasOption(v, this.choice) ? getOption(v, this.choice) : undefined));
        const choices = newChoices(e.typeName, options?.title, list, options?.exclusive ?? [], e);
        this.enums.set(e.typeName, choices);
        return choices;
    }
    tableChoices(f, name) {
        const found = this.tablesOf(f.parent.file).get(name);
        if (!found)
            throw new SchemaError(`field ${nameOf(f)} names the table of choices "${name}", which file ${f.parent.file.name}.proto does not have`);
        return found;
    }
    tablesOf(file) {
        let tables = this.tables.get(file.name);
        if (!tables) {
            const all = hasOption(file, this.table) ? getOption(file, this.table) : [];
            tables = new Map(all.map((t) => [t.name, newChoices(t.name, t.title, t.rows.map((r) => newChoice(r.number, String(r.number), r.choice)), [], undefined)]));
            this.tables.set(file.name, tables);
        }
        return tables;
    }
    /** The choices of an enum by its full name, or of a table of any file of the registry. */
    choices(list) {
        const e = this.registry.getEnum(list);
        if (e)
            return this.enumChoices(e);
        for (const file of this.registry.files) {
            const t = this.tablesOf(file).get(list);
            if (t)
                return t;
        }
        return undefined;
    }
}
/** The full name of a field. */
export function nameOf(f) {
    return `${f.parent.typeName}.${f.name}`;
}
function newChoice(number, name, options) {
    return { number, name: options?.name || name, label: options?.label, columns: options?.columns ?? {}, options };
}
function newChoices(name, title, list, exclusive, e) {
    const byName = new Map();
    for (const c of list)
        if (!byName.has(c.name))
            byName.set(c.name, c);
    return { name, title, list, exclusive, enum: e, byNumber: new Map(list.map((c) => [c.number, c])), byName };
}
function kindOf(f) {
    if (f.enum)
        return "int";
    switch (f.message?.typeName) {
        case undefined:
            break;
        case "google.protobuf.Timestamp":
            return "instant";
        case "google.protobuf.Duration":
            return "span";
        default:
            return "unknown";
    }
    switch (f.scalar) {
        case ScalarType.BOOL:
            return "bool";
        case ScalarType.STRING:
            return "string";
        case ScalarType.BYTES:
            return "bytes";
        case ScalarType.DOUBLE:
        case ScalarType.FLOAT:
            return "double";
        case ScalarType.UINT32:
        case ScalarType.UINT64:
        case ScalarType.FIXED32:
        case ScalarType.FIXED64:
            return "uint";
        default:
            return "int";
    }
}
