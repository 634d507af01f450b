// The questionnaire engine of Hearth in TypeScript. What expressions mean, and what an evaluation finds, is written down in
// proto/questionnaire/LANGUAGE.md; this library and the Go package beside that file are held to the same test vectors.
export { Questionnaire } from "./questionnaire.js";
export { Session, PathError } from "./session.js";
export {} from "./verdict.js";
export { SchemaError } from "./tree.js";
export { Absent, Failure, noAnswer } from "./values.js";
export { textIn } from "./labels.js";
export * from "./options.js";
