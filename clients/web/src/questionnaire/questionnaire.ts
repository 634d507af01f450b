// A questionnaire, loaded from the descriptors with which it was published.

import { create, createFileRegistry, type DescMessage, type FileRegistry, fromBinary, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { type FileDescriptorSet, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { ChoiceLists } from "./functions.js";
import { textExactly, textIn } from "./labels.js";
import type { Text } from "./options.js";
import { compileRules, type Rules } from "./rules.js";
import { Upgrade } from "./upgrade.js";
import { type Evaluation, type Options, Session } from "./session.js";
import { type Choice, type Choices, type Module, type Question, SchemaError, TreeReader } from "./tree.js";

/** A compiled questionnaire. Nothing in it changes after it is loaded. */
export class Questionnaire {
  /** The current version; versions count 1, 2, 3. */
  readonly version: number;
  /** The languages in the order in which they are offered; the first is shown where nobody chose. */
  readonly languages: readonly string[];
  readonly lists: ChoiceLists;
  private readonly earlier: Upgrade;

  private constructor(
    readonly top: Module,
    readonly registry: FileRegistry,
    readonly rules: ReadonlyMap<Question, Rules>,
    tree: TreeReader,
  ) {
    this.version = top.options?.version ?? 0;
    this.languages = top.options?.languages.length ? top.options.languages : ["en", "zh"];
    this.lists = listsOf(tree, this.languages);
    this.earlier = new Upgrade(top, this);
  }

  /**
   * Loads a questionnaire from a closed set of descriptors, in which hearth/form/v1/options.proto is. Top is the full name of its
   * top message; without it, it is the only message with a version in the files that no other file imports.
   */
  static load(files: Uint8Array | FileDescriptorSet, top = ""): Questionnaire {
    const set = files instanceof Uint8Array ? fromBinary(FileDescriptorSetSchema, files) : files;
    const registry = createFileRegistry(set);
    const tree = new TreeReader(registry);
    const module = tree.read(top ? named(registry, top) : onlyTop(registry, set, tree));
    return new Questionnaire(module, registry, compileRules(module, registry), tree);
  }

  /** An empty message of answers. */
  answers(): Message {
    return create(this.top.desc);
  }

  /** Reads answers as they are stored and sent. */
  fromBinary(bytes: Uint8Array): Message {
    return fromBinary(this.top.desc, bytes);
  }

  /** Reads answers from the JSON of protobuf. */
  fromJson(json: JsonValue): Message {
    return fromJson(this.top.desc, json, { registry: this.registry });
  }

  /** The answers of an interview of a version as they stand under the current one; those given are not changed. */
  upgrade(answers: Message, version: number): Message {
    return this.earlier.apply(answers, version);
  }

  /** Evaluates one interview, whose answers are as its version held them. */
  evaluate(answers: Message, options: Options = {}): Evaluation {
    return new Session(this, this.upgrade(answers, options.version ?? 0), options, false).evaluation();
  }

  /** Begins, or takes up again, an interview. Answers of an earlier version are to be upgraded first. */
  session(answers: Message, options: Options = {}): Session {
    return new Session(this, answers, options);
  }

  /** A wording in a language, with the questionnaire's first languages to fall back on. */
  text(text: Text | undefined, language: string = this.languages[0]): string {
    return textIn(text, language, this.languages);
  }

  /** The words of a question; where it has none, the name of its field. */
  label(q: Question, language?: string): string {
    return this.text(q.options?.label, language) || q.name;
  }

  /** The words of the choice with a number; where there are none, its name; undefined where there is no such choice. */
  choiceLabel(choices: Choices, number: number, language?: string): string | undefined {
    const c = choices.byNumber.get(number);
    return c && (this.text(c.label, language) || c.name);
  }
}

function named(registry: FileRegistry, top: string): DescMessage {
  const d = registry.getMessage(top);
  if (!d) throw new SchemaError(`the files have no message ${top}`);
  return d;
}

function onlyTop(registry: FileRegistry, set: FileDescriptorSet, tree: TreeReader): DescMessage {
  const imported = new Set(set.file.flatMap((f) => f.dependency));
  const tops = set.file
    .filter((f) => !imported.has(f.name))
    .flatMap((f) => registry.getFile(f.name)?.messages ?? [])
    .filter((m) => (tree.moduleOptions(m)?.version ?? 0) > 0);
  if (tops.length === 1) return tops[0];
  if (tops.length === 0) throw new SchemaError("no message has a version: set it in option (hearth.form.v1.module) of the top message of the questionnaire");
  throw new SchemaError(`several messages have a version: say which is the questionnaire, one of ${tops.map((m) => m.typeName).sort().join(", ")}`);
}

/** Wordings here are those of a language or of the first, and no others: expressions may depend on them. */
function listsOf(tree: TreeReader, languages: readonly string[]): ChoiceLists {
  const known = new Map<string, Choices | undefined>();
  const list = (name: string) => {
    if (!known.has(name)) known.set(name, tree.choices(name));
    return known.get(name);
  };
  const choice = (name: string, number: bigint) => list(name)?.byNumber.get(Number(number));
  const columnOf = (c: Choice, column: string) => {
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
