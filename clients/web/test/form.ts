// A questionnaire made in the test: 240 questions and a roster with 60 more, with the rules that household surveys have.

import { create, createFileRegistry, fromBinary, setExtension } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
  MessageOptionsSchema,
} from "@bufbuild/protobuf/wkt";

/** Options of a question as an object literal. */
export interface Options {
  relevant?: string;
  calculate?: string;
  required?: boolean;
  requiredWhen?: string;
  count?: string;
  checks?: { id: string; expression: string; severity: number; message: { en: string } }[];
}

/** Makes questionnaires from the files of hearth.form.v1 in a set of descriptors. */
export class FormMaker {
  private readonly registry;
  private readonly set: FileDescriptorSet;

  constructor(files: Uint8Array) {
    const all = fromBinary(FileDescriptorSetSchema, files);
    this.registry = createFileRegistry(all);
    const needed = ["google/protobuf/descriptor.proto", "hearth/form/v1/options.proto"];
    this.set = create(FileDescriptorSetSchema, { file: all.file.filter((f) => needed.includes(f.name)) });
  }

  /** A set with one file whose messages these are; the first is the top. */
  files(messages: DescriptorProto[]): FileDescriptorSet {
    const file = create(FileDescriptorProtoSchema, {
      name: "form/test.proto", package: "form.test", syntax: "editions", edition: 1000, dependency: ["hearth/form/v1/options.proto"], messageType: messages,
    });
    return create(FileDescriptorSetSchema, { file: [...this.set.file, file] });
  }

  message(name: string, fields: DescriptorProto["field"], version = 0): DescriptorProto {
    const ext = this.registry.getExtension("hearth.form.v1.module")!;
    const options = create(MessageOptionsSchema);
    setExtension(options, ext, create(ext.message!, { title: { en: name }, version } as Record<string, unknown>) as never);
    const reasons = create(DescriptorProtoSchema, {
      name: "MissingEntry", options: { mapEntry: true },
      field: [
        create(FieldDescriptorProtoSchema, { name: "key", number: 1, type: Type.UINT32, label: Label.OPTIONAL }),
        create(FieldDescriptorProtoSchema, { name: "value", number: 2, type: Type.ENUM, typeName: ".hearth.form.v1.Missing", label: Label.OPTIONAL }),
      ],
    });
    const missing = create(FieldDescriptorProtoSchema, { name: "missing", number: 1000, type: Type.MESSAGE, label: Label.REPEATED, typeName: `.form.test.${name}.MissingEntry` });
    return create(DescriptorProtoSchema, { name, field: [...fields, missing], options, nestedType: [reasons] });
  }

  field(name: string, number: number, type: Type, o: Options = {}, more: { typeName?: string; list?: boolean } = {}) {
    const ext = this.registry.getExtension("hearth.form.v1.question")!;
    const options = create(FieldOptionsSchema);
    setExtension(options, ext, create(ext.message!, { label: { en: name }, ...o } as Record<string, unknown>) as never);
    return create(FieldDescriptorProtoSchema, { name, number, type, options, typeName: more.typeName, label: more.list ? Label.REPEATED : Label.OPTIONAL });
  }

  /** The form of the benchmark. */
  household(): FileDescriptorSet {
    const top = [];
    const check = (id: string, expression: string) => ({ id, expression, severity: 1, message: { en: id } });
    for (let i = 0; i < 239; i++) {
      const name = `q${i}`;
      const o: Options = {};
      if (i % 3 === 1) o.relevant = `this.q${i - 1} >= 10`;
      if (i % 3 === 2) o.checks = [check("plausible", `value < 1000 && (!has(this.q${i - 1}) || value > this.q${i - 1} - 500)`)];
      if (i % 10 === 5) o.calculate = `this.q${i - 5} + this.q${i - 1 - ((i - 1) % 3)}`;
      if (i === 100) o.calculate = "size(this.members.filter(m, m.age >= 18))";
      if (i === 101) o.relevant = "sum(this.members.map(m, has(m.income), m.income)) > 1000";
      if (i % 7 === 0 && !o.calculate) o.required = true;
      top.push(this.field(name, i + 1, Type.INT64, o));
    }
    top.push(this.field("members", 500, Type.MESSAGE, { checks: [check("one_head", "value.exists_one(m, m.line == 1)")] }, { typeName: ".form.test.Member", list: true }));
    const member = [this.field("line", 1, Type.INT64), this.field("age", 2, Type.INT64), this.field("income", 3, Type.INT64, { relevant: "this.age >= 16" })];
    for (let i = 3; i < 60; i++) {
      const o: Options = {};
      if (i % 3 === 0) o.relevant = i % 2 ? `this.age >= ${i}` : `has(this.m${Math.max(i - 2, 4)}) && root.q0 > 5`;
      if (i % 3 === 1) o.checks = [check("below_age", `value <= this.age || root.members.exists(m, m.line == value)`)];
      if (i % 11 === 2) o.calculate = "this.age * 12 + position";
      member.push(this.field(`m${i}`, i + 1, Type.INT64, o));
    }
    return this.files([this.message("Household", top, 1), this.message("Member", member)]);
  }
}
