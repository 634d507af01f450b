// Loads XForms into ODK Web Forms' engine, fills them in as a person would, question by question, and says what the
// engine makes of each question. Usage: node judge.mjs FOLDER, where FOLDER has the engine and jsdom below
// node_modules; a job is one line of JSON on the standard input, {"form": FILE, "cases": [ANSWERS ...]}; for each there is one line of JSON on the
// standard output: {"error": "..."} or {"cases": [{PATH: STATE ...} ...]}.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const folder = path.resolve(process.argv[2]);
const require = createRequire(path.join(folder, 'x.js'));
const { JSDOM } = require('jsdom');
const dom = new JSDOM('<!doctype html><html></html>');
for (const name of Object.getOwnPropertyNames(dom.window)) {
  if (/^[A-Z]/.test(name) && !(name in globalThis)) globalThis[name] = dom.window[name];
}
Object.assign(globalThis, { window: dom.window, document: dom.window.document, DOMParser: dom.window.DOMParser, XMLSerializer: dom.window.XMLSerializer });
// The bundle asks for it, though modules have none.
globalThis.__dirname = process.cwd();

const engine = await import(pathToFileURL(path.join(folder, 'node_modules/@getodk/xforms-engine/dist/index.js')).href);

function fill(node, answers) {
  for (const child of node.currentState.children) {
    const name = child.currentState.reference.split('/').pop().replace(/\[\d+\]$/, '');
    const answer = answers?.[name];
    if (child.nodeType.startsWith('repeat-range')) {
      fillRows(child, answer ?? []);
    } else if (child.nodeType === 'group') {
      fill(child, answer);
    } else if (answer !== undefined) {
      set(child, answer);
    }
  }
}

function fillRows(range, rows) {
  if (range.nodeType === 'repeat-range:uncontrolled') {
    const have = range.currentState.children.length;
    if (have < rows.length) range.addInstances(have - 1, rows.length - have);
    if (have > rows.length) range.removeInstances(rows.length, have - rows.length);
  }
  range.currentState.children.forEach((row, i) => fill(row, rows[i]));
}

function set(node, answer) {
  switch (node.nodeType) {
    case 'select': node.selectValues(answer.split(' ')); break;
    case 'rank': node.setValues(answer.split(' ')); break;
    case 'trigger': node.setValue(answer === 'OK'); break;
    case 'input': case 'range': node.setValue(answer); break;
    default: break; // calculated, notes, files
  }
}

function state(node, out) {
  for (const child of node.currentState.children ?? []) {
    const s = child.currentState;
    const range = child.nodeType.startsWith('repeat-range');
    if (!range) {
      const one = { relevant: s.relevant };
      if (s.children === null) {
        one.value = s.instanceValue ?? '';
        one.required = s.required;
        one.broken = child.validationState.constraint?.valid === false;
        one.needed = child.validationState.required?.valid === false;
        if (child.nodeType === 'select') one.offered = s.valueOptions.map((o) => o.value);
      }
      out[s.reference] = one;
    }
    state(child, out);
  }
}

async function job(line) {
  const { form, cases } = JSON.parse(line);
  const loaded = await engine.loadForm(readFileSync(form, 'utf8'), {
    fetchFormAttachment: async () => new Response('', { status: 404 }),
    missingResourceBehavior: engine.constants.MISSING_RESOURCE_BEHAVIOR.BLANK,
  });
  if (loaded.status === 'failure') throw loaded.error;
  return { cases: cases.map((answers) => {
    const { root } = loaded.createInstance();
    fill(root, answers);
    const out = {};
    state(root, out);
    return out;
  }) };
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = await job(line);
  } catch (e) {
    answer = { error: String(e?.message ?? e) + (e?.cause ? ' / ' + (e.cause.message ?? e.cause) : '') };
  }
  await new Promise((done) => process.stdout.write(JSON.stringify(answer) + '\n', done));
}
process.exit(0); // timers of jsdom would keep it
