// The options of hearth/form/v1, as protobuf-es reads them from a descriptor set. Not generated: the descriptors that come with
// every questionnaire say how to read them, and these types say what is there.

import type { Message } from "@bufbuild/protobuf";

/** A wording in the languages of a study. */
export interface Text extends Message {
  en: string;
  zh: string;
  more: { [tag: string]: string };
}

/** Severity of a check. */
export enum Severity {
  Unspecified = 0,
  Soft = 1,
  Hard = 2,
}

/** What an answer written as text holds. */
export enum Format {
  Unspecified = 0,
  Date = 1,
  Time = 2,
  DateTime = 3,
  GeoTrace = 4,
  GeoShape = 5,
  Barcode = 6,
  Phone = 7,
  ResidentId = 8,
  Photo = 9,
  Audio = 10,
  Video = 11,
  File = 12,
  Rank = 13,
}

/** Why a question has no answer. */
export enum Missing {
  Unspecified = 0,
  Refused = 1,
  DontKnow = 2,
  NotApplicable = 3,
  NotAsked = 4,
}

export interface Check extends Message {
  id: string;
  expression: string;
  severity: Severity;
  message?: Text;
}

export interface Media extends Message {
  kind: string;
  file?: Text;
}

export interface Recode extends Message {
  from: number;
  to: number;
}

export interface Earlier extends Message {
  until: number;
  name: string;
  number: number;
  codes: Recode[];
  value: string;
}

export interface QuestionOptions extends Message {
  label?: Text;
  hint?: Text;
  relevant: string;
  checks: Check[];
  calculate: string;
  unit: string;
  universe?: Text;
  personalData: number;
  exportName: string;
  since: number;
  until: number;
  missing: Missing[];
  required: boolean;
  measure: number;
  system: boolean;
  roster: string;
  earlier: Earlier[];
  choices: string;
  filter: string;
  count: string;
  requiredWhen: string;
  requiredMessage?: Text;
  initial: string;
  readOnly: boolean;
  note: boolean;
  format: Format;
  guidance?: Text;
  media: Media[];
  appearance: string;
}

export interface ChoiceOptions extends Message {
  label?: Text;
  since: number;
  until: number;
  name: string;
  code: number;
  missing: Missing;
  columns: { [header: string]: string };
  media: Media[];
}

export interface ChoiceTable extends Message {
  name: string;
  title?: Text;
  rows: { number: number; choice?: ChoiceOptions }[];
}

export interface ChoiceListOptions extends Message {
  title?: Text;
  exclusive: number[];
}

export interface ModuleOptions extends Message {
  title?: Text;
  introduction?: Text;
  version: number;
  level: string;
  languages: string[];
  appearance: string;
}
