// The questionnaire engine of Hearth in TypeScript. What expressions mean, and what an evaluation finds, is written down in
// proto/questionnaire/LANGUAGE.md; this library and the Go package beside that file are held to the same test vectors.

export { Questionnaire } from "./questionnaire.js";
export { Session, PathError, type Evaluation, type Options, type State } from "./session.js";
export { type Violation } from "./verdict.js";
export { type Choice, type Choices, type Module, type Question, SchemaError } from "./tree.js";
export { Absent, Failure, noAnswer, type Outcome, type Value } from "./values.js";
export { textIn } from "./labels.js";
export * from "./options.js";
