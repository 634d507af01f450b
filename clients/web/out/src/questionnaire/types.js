// The types of expressions, as far as they decide what an expression yields: an int and a uint are both bigints, and the
// sum of no doubles is another value than that of no ints. Types are checked where a questionnaire is published.
/** Types without parts. */
export const types = {
    int: { kind: "int" },
    uint: { kind: "uint" },
    double: { kind: "double" },
    string: { kind: "string" },
    bool: { kind: "bool" },
    instant: { kind: "instant" },
    span: { kind: "span" },
    bytes: { kind: "bytes" },
    null: { kind: "null" },
    unknown: { kind: "unknown" },
};
/** The type of a list. */
export function listOf(item) {
    return { kind: "list", item };
}
/** The type of what a question holds. */
export function typeOf(q) {
    const item = q.module ? { kind: "message", module: q.module } : types[q.kind];
    return q.list ? listOf(item) : item;
}
/** The type of the items of a list. */
export function itemOf(t) {
    return t.kind === "list" ? t.item : types.unknown;
}
