// Expressions: CEL, parsed by @bufbuild/cel, and made into closures that give a value, no answer, or a failure. The planner of
// that library knows errors of one kind only, and reads an unset field as its zero; LANGUAGE.md section 1 has neither.

import { parse } from "@bufbuild/cel";
import type { Expr } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import { holds, ours, standard, type ChoiceLists, type Func } from "./functions.js";
import { arithmetic, negated, relation } from "./operators.js";
import { getters, instantPart, spanPart } from "./times.js";
import type { Choice, Module } from "./tree.js";
import { itemOf, listOf, type Type, typeOf, types } from "./types.js";
import { Absent, equal, Failure, Instant, isList, noAnswer, type Outcome, type Row, Span, type Value, worse } from "./values.js";

/** A message with what stands around it. */
export interface Place extends Row {
  /** The message that contains this one, n levels up. */
  up(n: number): Row | undefined;
  /** The number, from 1, of the row that this is or stands in, or of the n-th roster outwards. */
  position(n: number): bigint | undefined;
}

/** What an expression reads. */
export interface Frame {
  self: Place;
  root: Row;
  /** The answer itself, in checks. */
  value: Outcome;
  /** The choice at hand, in filters. */
  choice: Choice | undefined;
  /** What the field of a rule with once() holds already. */
  held: Outcome;
  slots: Outcome[];
  engine: Engine;
}

/** What all expressions of an evaluation share. */
export interface Engine {
  lists: ChoiceLists;
  now: string;
  random(): number;
  uuid(): string;
  /** How many more rows expressions may look at. */
  steps: number;
}

/** A compiled expression. */
export interface Expression {
  source: string;
  type: Type;
  /** It uses now, today, random, uuid or once. */
  volatile: boolean;
  slots: number;
  run(frame: Frame): Outcome;
}

/** What the names of an expression stand for. */
export interface Scope {
  self: Module;
  /** Undefined where the message is used by several questionnaires. */
  root: Module | undefined;
  /** The messages around this one, nearest first; undefined where there are several. */
  around: readonly (Module | undefined)[];
  value: Type;
}

/** An expression that cannot be used, with the column where it goes wrong, from 1; 0 where that is not known. */
export class ExpressionError extends Error {
  constructor(
    message: string,
    readonly source: string,
    readonly column: number,
  ) {
    super(`column ${column} of "${source}": ${message}`);
  }
}

type Code = (f: Frame) => Outcome;
interface Compiled {
  code: Code;
  type: Type;
}

const tooMuch = new Failure("the expression looks at too many rows");
const notBool = new Failure("a condition is neither true nor false");
const noOverload = new Failure("no such overload");

/** Compiles an expression. */
export function compile(source: string, scope: Scope): Expression {
  let parsed;
  try {
    parsed = parse(source);
  } catch (e) {
    const at = (e as { location?: { start: { column: number } } }).location?.start.column ?? 0;
    throw new ExpressionError(e instanceof Error ? e.message : String(e), source, at);
  }
  const compiler = new Compiler(source, scope, parsed.sourceInfo?.positions ?? {});
  const { code, type } = compiler.expr(parsed.expr as Expr);
  return { source, type, volatile: compiler.volatile, slots: compiler.slots, run: code };
}

const binary: Record<string, (uint: boolean) => (a: Value, b: Value) => Outcome> = {
  "_+_": (u) => arithmetic("+", u),
  "_-_": (u) => arithmetic("-", u),
  "_*_": (u) => arithmetic("*", u),
  "_/_": (u) => arithmetic("/", u),
  "_%_": (u) => arithmetic("%", u),
  "_==_": () => equal,
  "_!=_": () => (a, b) => !equal(a, b),
  "_<_": () => relation((x) => x < 0),
  "_<=_": () => relation((x) => x <= 0),
  "_>_": () => relation((x) => x > 0),
  "_>=_": () => relation((x) => x >= 0),
  "@in": () => holds,
  "_[_]": () => indexed,
};

class Compiler {
  volatile = false;
  slots = 0;
  private readonly vars = new Map<string, { slot: number; type: Type }[]>();

  constructor(
    private readonly source: string,
    private readonly scope: Scope,
    private readonly positions: { [id: string]: number },
  ) {}

  expr(e: Expr): Compiled {
    const kind = e.exprKind;
    const column = this.column(e);
    if (column) return column;
    switch (kind.case) {
      case "constExpr":
        return this.constant(e);
      case "identExpr":
        return this.ident(kind.value.name, e);
      case "selectExpr":
        return this.select(this.expr(kind.value.operand!), kind.value.field, kind.value.testOnly, e);
      case "listExpr": {
        const items = kind.value.elements.map((x) => this.expr(x));
        return { code: all(items.map((x) => x.code), (list) => list), type: listOf(items[0]?.type ?? types.unknown) };
      }
      case "callExpr":
        return this.call(kind.value.function, kind.value.target, kind.value.args, e);
      case "comprehensionExpr":
        return this.comprehension(e);
      default:
        return this.fail("messages and maps cannot be made", e);
    }
  }

  private fail(message: string, e: Expr): never {
    throw new ExpressionError(message, this.source, (this.positions[String(e.id)] ?? -1) + 1);
  }

  private constant(e: Expr): Compiled {
    const k = e.exprKind.case === "constExpr" ? e.exprKind.value.constantKind : undefined;
    const of: Record<string, Type> = {
      int64Value: types.int, uint64Value: types.uint, doubleValue: types.double, stringValue: types.string, boolValue: types.bool,
    };
    if (k?.case === undefined || !(k.case in of)) return this.fail("a constant of a kind that is not used here", e);
    const v = k.value as Value;
    return { code: () => v, type: of[k.case] };
  }

  private ident(name: string, e: Expr): Compiled {
    const stack = this.vars.get(name);
    if (stack?.length) {
      const { slot, type } = stack[stack.length - 1];
      return { code: (f) => f.slots[slot], type };
    }
    const message = (module: Module | undefined): Type => (module ? { kind: "message", module } : types.unknown);
    const numbered = /^(up|position)([1-9]?)$/.exec(name);
    switch (numbered?.[1] ?? name) {
      case "this":
        return { code: (f) => f.self, type: message(this.scope.self) };
      case "root":
        return { code: (f) => f.root, type: message(this.scope.root) };
      case "value":
        return { code: (f) => f.value, type: this.scope.value };
      case "up": {
        const n = Number(numbered![2]);
        if (n > 0) return { code: (f) => f.self.up(n) ?? noOverload, type: message(this.scope.around[n - 1]) };
        break;
      }
      case "position": {
        const n = Number(numbered![2] || 1);
        return { code: (f) => f.self.position(n) ?? noOverload, type: types.int };
      }
    }
    return this.fail(`nothing is called "${name}" here`, e);
  }

  /** A column of the choice at hand: choice.name, choice["name"], has(choice.name). */
  private column(e: Expr): Compiled | undefined {
    const k = e.exprKind;
    const choice = (x: Expr | undefined) => x?.exprKind.case === "identExpr" && x.exprKind.value.name === "choice" && !this.vars.get("choice")?.length;
    const get = (key: Outcome, f: Frame): Outcome => {
      if (key instanceof Absent) return key;
      if (typeof key !== "string") return noOverload;
      return f.choice ? f.engine.lists.columnOf(f.choice, key) : noAnswer;
    };
    if (k.case === "selectExpr" && choice(k.value.operand)) {
      const { field, testOnly } = k.value;
      if (!testOnly) return { code: (f) => get(field, f), type: types.string };
      return { code: (f) => { const v = get(field, f); return v instanceof Absent ? v : v !== ""; }, type: types.bool };
    }
    if (k.case === "callExpr" && k.value.function === "_[_]" && choice(k.value.args[0])) {
      const { code } = this.expr(k.value.args[1]);
      return { code: (f) => get(code(f), f), type: types.string };
    }
    return undefined;
  }

  private select(operand: Compiled, field: string, test: boolean, e: Expr): Compiled {
    const { code } = operand;
    let type: Type = types.unknown;
    if (operand.type.kind === "message") {
      const q = operand.type.module.find(field);
      if (!q) return this.fail(`${operand.type.module.name} has no field "${field}"`, e);
      type = typeOf(q);
    }
    if (test) {
      return {
        code: (f) => {
          const v = code(f);
          if (v instanceof Absent) return v instanceof Failure ? v : false;
          return isRow(v) ? v.has(field) : noOverload;
        },
        type: types.bool,
      };
    }
    return {
      code: (f) => {
        const v = code(f);
        if (isRow(v)) return v.read(field);
        return v instanceof Absent ? v : noOverload;
      },
      type,
    };
  }

  private call(name: string, target: Expr | undefined, args: readonly Expr[], e: Expr): Compiled {
    switch (name) {
      case "_&&_":
        return { code: either(this.expr(args[0]).code, this.expr(args[1]).code, false), type: types.bool };
      case "_||_":
        return { code: either(this.expr(args[0]).code, this.expr(args[1]).code, true), type: types.bool };
      case "_?_:_":
        return this.conditional(args);
      case "@not_strictly_false": {
        const { code } = this.expr(args[0]);
        return { code: (f) => code(f) !== false, type: types.bool };
      }
      case "!_": {
        const { code } = this.expr(args[0]);
        return { code: (f) => { const v = code(f); return typeof v === "boolean" ? !v : v instanceof Absent ? v : notBool; }, type: types.bool };
      }
      case "-_": {
        const { code, type } = this.expr(args[0]);
        return { code: (f) => { const v = code(f); return v instanceof Absent ? v : negated(v); }, type };
      }
    }
    const changing = target ? undefined : this.changing(name, args);
    if (changing) return changing;
    const given = (target ? [target, ...args] : [...args]).map((x) => this.expr(x));
    const given0 = given.map((x) => x.code);
    if (name in binary && given.length === 2) return this.binary(name, given);
    if (target && getters.has(name)) {
      return {
        code: all(given0, ([t, zone]) => (t instanceof Instant ? instantPart(name, t, zone as string | undefined) : t instanceof Span ? spanPart(name, t) : noOverload)),
        type: types.int,
      };
    }
    const func = this.func(name, target !== undefined);
    if (!func) return this.fail(`there is no function "${name}"`, e);
    const at = given.map((x) => x.type);
    const type = typeof func.result === "function" ? func.result(at) : func.result;
    return { code: called(func, given0, at), type };
  }

  private func(name: string, method: boolean): Func | undefined {
    if (Object.hasOwn(standard, name)) return standard[name];
    return !method && Object.hasOwn(ours, name) ? ours[name] : undefined;
  }

  /** The volatile functions. */
  private changing(name: string, args: readonly Expr[]): Compiled | undefined {
    const found: Record<string, () => Compiled> = {
      "now/0": () => ({ code: (f) => f.engine.now, type: types.string }),
      "today/0": () => ({ code: (f) => f.engine.now.slice(0, 10), type: types.string }),
      "random/0": () => ({ code: (f) => f.engine.random(), type: types.double }),
      "uuid/0": () => ({ code: (f) => f.engine.uuid(), type: types.string }),
      "once/1": () => {
        const { code, type } = this.expr(args[0]);
        return { code: (f) => (f.held instanceof Absent ? code(f) : f.held), type };
      },
    };
    const make = found[`${name}/${args.length}`];
    if (!make) return undefined;
    this.volatile = true;
    return make();
  }

  private binary(name: string, [a, b]: Compiled[]): Compiled {
    const op = binary[name](a.type.kind === "uint" || b.type.kind === "uint");
    const [x, y] = [a.code, b.code];
    const code: Code = (f) => {
      const u = x(f);
      const v = y(f);
      return u instanceof Absent || v instanceof Absent ? worse(u, v) : op(u, v);
    };
    if (name === "_[_]") return { code, type: itemOf(a.type) };
    if (!/^_[-+*/%]_$/.test(name)) return { code, type: types.bool };
    const known = a.type.kind === "unknown" || (a.type.kind === "list" && a.type.item.kind === "unknown") ? b.type : a.type;
    return { code, type: name === "_-_" && a.type.kind === "instant" && b.type.kind === "instant" ? types.span : known };
  }

  private conditional(args: readonly Expr[]): Compiled {
    const [c, a, b] = args.map((x) => this.expr(x));
    const code: Code = (f) => {
      const v = c.code(f);
      if (v === true) return a.code(f);
      if (v === false) return b.code(f);
      return v instanceof Absent ? v : notBool;
    };
    const open = a.type.kind === "unknown" || (a.type.kind === "list" && a.type.item.kind === "unknown");
    return { code, type: open ? b.type : a.type };
  }

  private comprehension(e: Expr): Compiled {
    const k = e.exprKind.case === "comprehensionExpr" ? e.exprKind.value : undefined;
    if (!k?.iterRange || !k.accuInit || !k.loopCondition || !k.loopStep || !k.result) return this.fail("a macro without its parts", e);
    const range = this.expr(k.iterRange);
    const init = this.expr(k.accuInit);
    const item = this.slots++;
    const accu = this.slots++;
    this.enter(k.iterVar, item, itemOf(range.type));
    this.enter(k.accuVar, accu, init.type);
    const condition = this.expr(k.loopCondition).code;
    const appended = this.appends(k.loopStep, k.accuVar, accu);
    const step = appended ?? this.expr(k.loopStep);
    this.leave(k.iterVar);
    this.leave(k.accuVar);
    this.enter(k.accuVar, accu, step.type);
    const result = this.expr(k.result);
    this.leave(k.accuVar);
    const code: Code = (f) => {
      const list = range.code(f);
      if (list instanceof Absent) return list;
      if (!isList(list)) return noOverload;
      if ((f.engine.steps -= list.length) < 0) return tooMuch;
      let sum = init.code(f);
      for (const x of list) {
        f.slots[accu] = sum;
        f.slots[item] = x;
        if (condition(f) === false) break;
        sum = step.code(f);
      }
      f.slots[accu] = sum;
      return result.code(f);
    };
    return { code, type: result.type };
  }

  private enter(name: string, slot: number, type: Type) {
    this.vars.set(name, [...(this.vars.get(name) ?? []), { slot, type }]);
  }

  private leave(name: string) {
    this.vars.get(name)!.pop();
  }

  /**
   * The step of map, filter and exists_one: `accu + [x]`, to a list that nobody else has, so that a roster of n rows is not
   * copied n times; or `c ? step : accu`, where a failure of any row counts.
   */
  private appends(step: Expr, name: string, accu: number): Compiled | undefined {
    const k = step.exprKind;
    if (k.case !== "callExpr") return undefined;
    if (k.value.function === "_+_") {
      const [left, right] = k.value.args;
      const items = right.exprKind;
      if (left.exprKind.case !== "identExpr" || left.exprKind.value.name !== name) return undefined;
      if (items.case !== "listExpr" || items.value.elements.length !== 1) return undefined;
      const { code, type } = this.expr(items.value.elements[0]);
      return {
        code: (f) => {
          const list = f.slots[accu];
          const v = code(f);
          if (list instanceof Absent || v instanceof Absent) return worse(list, v);
          (list as Value[]).push(v);
          return list;
        },
        type: listOf(type),
      };
    }
    if (k.value.function !== "_?_:_") return undefined;
    const [c, then, otherwise] = k.value.args;
    if (otherwise.exprKind.case !== "identExpr" || otherwise.exprKind.value.name !== name) return undefined;
    const add = this.appends(then, name, accu) ?? this.expr(then);
    const condition = this.expr(c).code;
    return {
      code: (f) => {
        const list = f.slots[accu];
        const v = condition(f);
        if (v instanceof Absent) return worse(list, v);
        return v === true ? add.code(f) : v === false ? list : notBool;
      },
      type: add.type,
    };
  }
}

function isRow(v: Outcome): v is Row {
  return typeof v === "object" && v !== null && "read" in v;
}

/** `&&` where decides is false, `||` where it is true: one side that decides is enough. */
function either(a: Code, b: Code, decides: boolean): Code {
  return (f) => {
    const x = a(f);
    if (x === decides) return x;
    const y = b(f);
    if (y === decides) return y;
    const u = typeof x === "boolean" || x instanceof Absent ? x : notBool;
    const v = typeof y === "boolean" || y instanceof Absent ? y : notBool;
    return u instanceof Absent || v instanceof Absent ? worse(u, v) : !decides;
  };
}

/** Evaluates all arguments, and goes on where none is absent. */
function all(codes: readonly Code[], then: (args: Value[], f: Frame) => Outcome): Code {
  return (f) => {
    const args: Value[] = new Array(codes.length);
    let absent: Absent | undefined;
    for (let i = 0; i < codes.length; i++) {
      const v = codes[i](f);
      if (v instanceof Absent) absent = absent ? worse(absent, v) : v;
      else args[i] = v;
    }
    return absent ?? then(args, f);
  };
}

function called(func: Func, codes: readonly Code[], at: readonly Type[]): Code {
  return all(codes, (args, f) => func.call(args, { types: at, lists: f.engine.lists }));
}

function indexed(list: Value, at: Value): Outcome {
  if (!isList(list) || typeof at !== "bigint") return noOverload;
  return at >= 0n && at < BigInt(list.length) ? list[Number(at)] : noAnswer;
}
