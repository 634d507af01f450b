// The rules of the questions of a questionnaire, compiled.

import type { FileRegistry } from "@bufbuild/protobuf";
import { compile, type Expression, type Scope } from "./expression.js";
import { type Limits, limitsOf } from "./limits.js";
import type { Check } from "./options.js";
import { type Module, nameOf, type Question, SchemaError } from "./tree.js";
import { typeOf } from "./types.js";

/** A compiled check of an answer. */
export interface CompiledCheck {
  options: Check;
  rule: string;
  holds: Expression;
}

/** What is said of a question beside its type. */
export interface Rules {
  relevant?: Expression;
  calculate?: Expression;
  filter?: Expression;
  count?: Expression;
  requiredWhen?: Expression;
  initial?: Expression;
  checks: readonly CompiledCheck[];
  limits: Limits;
}

/** Compiles the rules of all questions below a questionnaire's top. */
export function compileRules(top: Module, registry: FileRegistry): Map<Question, Rules> {
  const around = parentsOf(top);
  const out = new Map<Question, Rules>();
  const visit = (m: Module) => {
    for (const q of m.questions) {
      if (out.has(q)) return; // the module was visited
      out.set(q, compileQuestion(q, { self: m, root: top, around: outwards(m, around), value: typeOf(q) }, registry));
      if (q.module) visit(q.module);
    }
  };
  visit(top);
  return out;
}

/** The modules that contain each module. */
function parentsOf(top: Module): Map<Module, Set<Module>> {
  const parents = new Map<Module, Set<Module>>([[top, new Set()]]);
  const visit = (m: Module) => {
    for (const q of m.questions) {
      if (!q.module) continue;
      const known = parents.get(q.module);
      if (known) known.add(m);
      else {
        parents.set(q.module, new Set([m]));
        visit(q.module);
      }
    }
  };
  visit(top);
  return parents;
}

/** The modules around one, nearest first, as far as there is one only. */
function outwards(m: Module, parents: Map<Module, Set<Module>>): Module[] {
  const out: Module[] = [];
  for (let at = m; parents.get(at)?.size === 1; ) {
    [at] = parents.get(at)!;
    out.push(at);
  }
  return out;
}

function compileQuestion(q: Question, scope: Scope, registry: FileRegistry): Rules {
  const o = q.options;
  const one = (what: string, source: string | undefined) => {
    if (!source?.trim()) return undefined;
    try {
      return compile(source, scope);
    } catch (e) {
      throw new SchemaError(`field ${nameOf(q.field)}: ${what}: ${e instanceof Error ? e.message : String(e)}`);
    }
  };
  return {
    relevant: one("relevant", o?.relevant),
    calculate: one("calculate", o?.calculate),
    filter: one("filter", o?.filter),
    count: one("count", o?.count),
    requiredWhen: one("required_when", o?.requiredWhen),
    initial: one("initial", o?.initial),
    checks: (o?.checks ?? []).flatMap((options) => {
      const holds = one(`check ${options.id}`, options.expression);
      return holds ? [{ options, rule: q.rule + options.id, holds }] : [];
    }),
    limits: limitsOf(q.field, registry),
  };
}
