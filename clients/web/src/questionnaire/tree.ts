// A questionnaire as a tree: modules, questions and choices, read from a descriptor set and the options in it.

import { type DescEnum, type DescField, type DescFile, type DescMessage, type DescExtension, type FileRegistry, ScalarType, getOption, hasOption } from "@bufbuild/protobuf";
import type { ChoiceListOptions, ChoiceOptions, ChoiceTable, ModuleOptions, QuestionOptions, Text } from "./options.js";

/** A message of a questionnaire: its top, a group, a block, or one row of a roster. */
export interface Module {
  name: string;
  desc: DescMessage;
  options: ModuleOptions | undefined;
  questions: readonly Question[];
  /** The map of reasons for missing answers, by field number; a message without one is a block, one answer in parts. */
  missing: DescField | undefined;
  find(field: string): Question | undefined;
}

/** A field of a questionnaire. */
export interface Question {
  name: string;
  number: number;
  field: DescField;
  options: QuestionOptions | undefined;
  /** What one value is, where it is no message. */
  kind: "int" | "uint" | "double" | "string" | "bool" | "instant" | "span" | "bytes" | "unknown";
  list: boolean;
  /** Set where the answer is a message: the question is a group, a block, or with `list` a roster. */
  module: Module | undefined;
  choices: Choices | undefined;
  /** Where the question stands among those of its module. */
  index: number;
  /** What the names of the question's rules begin with. */
  rule: string;
}

/** What a question offers: the values of an enum, or the rows of a table of the file. */
export interface Choices {
  name: string;
  title: Text | undefined;
  list: readonly Choice[];
  /** The numbers of the choices that stand alone where several may be chosen. */
  exclusive: readonly number[];
  enum: DescEnum | undefined;
  byNumber: ReadonlyMap<number, Choice>;
  byName: ReadonlyMap<string, Choice>;
}

/** One answer that is offered. */
export interface Choice {
  number: number;
  name: string;
  label: Text | undefined;
  columns: { [header: string]: string };
  options: ChoiceOptions | undefined;
}

/** A schema that is no questionnaire, or uses what is not known here. */
export class SchemaError extends Error {}

/** Reads modules from the descriptors of a registry. */
export class TreeReader {
  private readonly question: DescExtension;
  private readonly choice: DescExtension;
  private readonly module: DescExtension;
  private readonly list: DescExtension;
  private readonly table: DescExtension;
  private readonly modules = new Map<string, Module>();
  private readonly open = new Set<string>();
  private readonly enums = new Map<string, Choices>();
  private readonly tables = new Map<string, Map<string, Choices>>();

  constructor(private readonly registry: FileRegistry) {
    const option = (name: string) => {
      const found = registry.getExtension(`hearth.form.v1.${name}`);
      if (!found) throw new SchemaError(`the descriptors lack hearth/form/v1/options.proto: no extension hearth.form.v1.${name}`);
      return found;
    };
    this.question = option("question");
    this.choice = option("choice");
    this.module = option("module");
    this.list = option("list");
    this.table = option("table");
  }

  /** The options of a message. */
  moduleOptions(d: DescMessage): ModuleOptions | undefined {
    return hasOption(d, this.module) ? (getOption(d, this.module) as unknown as ModuleOptions) : undefined;
  }

  /** Reads a message and everything below it. */
  read(d: DescMessage): Module {
    const known = this.modules.get(d.typeName);
    if (known) return known;
    if (this.open.has(d.typeName)) throw new SchemaError(`message ${d.typeName} contains itself: a module or roster cannot stand inside itself`);
    this.open.add(d.typeName);
    const questions: Question[] = [];
    const byName = new Map<string, Question>();
    let missing: DescField | undefined;
    for (const f of d.fields) {
      if (f.fieldKind === "map") {
        if (f.name !== "missing") throw new SchemaError(`field ${nameOf(f)} is a map: only map<uint32, Missing> missing may be one`);
        missing = f;
        continue;
      }
      const q = this.readQuestion(f, questions.length);
      questions.push(q);
      byName.set(q.name, q);
    }
    this.open.delete(d.typeName);
    const m: Module = { name: d.typeName, desc: d, options: this.moduleOptions(d), questions, missing, find: (field) => byName.get(field) };
    this.modules.set(d.typeName, m);
    return m;
  }

  private readQuestion(f: DescField, index: number): Question {
    const options = hasOption(f, this.question) ? (getOption(f, this.question) as unknown as QuestionOptions) : undefined;
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

  private enumChoices(e: DescEnum): Choices {
    const known = this.enums.get(e.typeName);
    if (known) return known;
    const options = hasOption(e, this.list) ? (getOption(e, this.list) as unknown as ChoiceListOptions) : undefined;
    const list = e.values
      .filter((v) => v.number !== 0)
      .map((v) => newChoice(v.number, v.name, hasOption(v, this.choice) ? (getOption(v, this.choice) as unknown as ChoiceOptions) : undefined));
    const choices = newChoices(e.typeName, options?.title, list, options?.exclusive ?? [], e);
    this.enums.set(e.typeName, choices);
    return choices;
  }

  private tableChoices(f: DescField, name: string): Choices {
    const found = this.tablesOf(f.parent.file).get(name);
    if (!found) throw new SchemaError(`field ${nameOf(f)} names the table of choices "${name}", which file ${f.parent.file.name}.proto does not have`);
    return found;
  }

  private tablesOf(file: DescFile): Map<string, Choices> {
    let tables = this.tables.get(file.name);
    if (!tables) {
      const all = hasOption(file, this.table) ? (getOption(file, this.table) as unknown as ChoiceTable[]) : [];
      tables = new Map(all.map((t) => [t.name, newChoices(t.name, t.title, t.rows.map((r) => newChoice(r.number, String(r.number), r.choice)), [], undefined)]));
      this.tables.set(file.name, tables);
    }
    return tables;
  }

  /** The choices of an enum by its full name, or of a table of any file of the registry. */
  choices(list: string): Choices | undefined {
    const e = this.registry.getEnum(list);
    if (e) return this.enumChoices(e);
    for (const file of this.registry.files) {
      const t = this.tablesOf(file).get(list);
      if (t) return t;
    }
    return undefined;
  }
}

/** The full name of a field. */
export function nameOf(f: DescField): string {
  return `${f.parent.typeName}.${f.name}`;
}

function newChoice(number: number, name: string, options: ChoiceOptions | undefined): Choice {
  return { number, name: options?.name || name, label: options?.label, columns: options?.columns ?? {}, options };
}

function newChoices(name: string, title: Text | undefined, list: Choice[], exclusive: number[], e: DescEnum | undefined): Choices {
  const byName = new Map<string, Choice>();
  for (const c of list) if (!byName.has(c.name)) byName.set(c.name, c);
  return { name, title, list, exclusive, enum: e, byNumber: new Map(list.map((c) => [c.number, c])), byName };
}

function kindOf(f: DescField): Question["kind"] {
  if (f.enum) return "int";
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
