// What a term of a query means for the columns of a search table: the strings first, each once, then the rows.

import type { SearchTable } from "../data/types";
import { glob, isGlob, type TextTest } from "./glob";
import type { Term } from "./parse";
import type { Place } from "./places";
import { shapeTest } from "./shape";

type Column = keyof SearchTable["columns"];

/** A term holds for a row if any of these does; `negated` turns it round. Null: it says nothing of that. */
export interface Test {
  /** 1 for rows that pass, whatever their layer. */
  rows: Uint8Array | null;
  /** Of a layer's fqn, as it is meant where the graph stands. */
  layer: TextTest | null;
  place: ((place: Place, piece: string | null) => boolean) | null;
  negated: boolean;
}

/** What terms are tested on; made once for a table. */
export interface Tested {
  table: SearchTable;
  rows: number;
  /** Strings in lower case. */
  lower: string[];
  /** Class of a layer, by its fqn. */
  classes: Map<string, string>;
  /** Rows of a column that have each string, so that only strings are matched. */
  used: Map<Column, Int32Array>;
  /** 1 for inputs, whose `target` is their model path. */
  inputs: Uint8Array;
}

export function testedOf(table: SearchTable): Tested {
  const { strings, columns } = table;
  const classes = new Map<string, string>();
  columns.layer.forEach((layer, row) => {
    const cls = columns.cls[row]!;
    if (layer >= 0 && cls >= 0) classes.set(strings[layer]!, strings[cls]!);
  });
  const used = new Map<Column, Int32Array>();
  for (const column of Object.keys(columns) as Column[]) {
    if (column === "graph" || column === "node") continue;
    used.set(
      column,
      Int32Array.from(new Set(columns[column])).filter((at) => at >= 0),
    );
  }
  const inputs = Uint8Array.from(columns.op, (op) => (strings[op] === "placeholder" ? 1 : 0));
  return {
    table,
    inputs,
    rows: columns.graph.length,
    lower: strings.map((text) => text.toLowerCase()),
    classes,
    used,
  };
}

/** The test of one term. */
export function testOf(term: Term, on: Tested): Test {
  const test: Test = { rows: null, layer: null, place: null, negated: term.negated };
  const values = term.values;
  switch (term.field) {
    case "op":
      test.rows = marked(on, ["target"], any(values.map(opTest)));
      // Of an input the target is its model path.
      for (let row = 0; row < on.rows; row++) if (on.inputs[row]) test.rows[row] = 0;
      add(test.rows, marked(on, ["op"], any(values.map(opTest))));
      break;
    case "layer":
      test.layer = layerTest(any(values.map((value) => glob(value, true))), on.classes);
      break;
    case "dtype":
      test.rows = marked(on, ["dtype"], any(values.map(dtypeTest)));
      break;
    case "shape":
      test.rows = marked(on, ["type"], any(values.map(shapeTest)));
      break;
    case "source":
      test.rows = marked(on, ["source"], any(values.map(sourceTest)));
      add(test.rows, marked(on, ["code"], contains(values)));
      break;
    case "provider":
      test.rows = marked(on, ["provider"], any(values.map((value) => glob(value))));
      break;
    case "kernel":
      test.rows = marked(on, ["kernel"], any(values.map(kernelTest)));
      break;
    case "name":
      test.rows = marked(on, ["target"], any(values.map((value) => glob(value, true))));
      for (let row = 0; row < on.rows; row++) if (!on.inputs[row]) test.rows[row] = 0;
      add(test.rows, marked(on, ["name"], any(values.map((value) => glob(value, true)))));
      break;
    case "word":
      test.rows = marked(on, WORDS, contains(values));
      test.layer = layerTest(any(values.map(inLayer)), on.classes, false);
      break;
    default:
      test.place = placeTest(term.field, values);
  }
  return test;
}

/** What a word alone is looked for in; layers are tested where the graph stands. */
const WORDS: Column[] = ["op", "target", "name", "dtype", "type", "source", "code", "provider", "kernel"];

/** 1 for the rows of which one of the columns passes. */
function marked(on: Tested, columns: Column[], test: TextTest): Uint8Array {
  const rows = new Uint8Array(on.rows);
  const known = new Int8Array(on.lower.length).fill(-1);
  for (const column of columns) {
    let some = false;
    for (const at of on.used.get(column) ?? []) {
      if (known[at]! < 0) known[at] = test(on.lower[at]!) ? 1 : 0;
      some ||= known[at] === 1;
    }
    if (!some) continue;
    const values = on.table.columns[column];
    for (let row = 0; row < rows.length; row++)
      if (values[row]! >= 0 && known[values[row]!] === 1) rows[row] = 1;
  }
  return rows;
}

function add(rows: Uint8Array, more: Uint8Array): void {
  for (let row = 0; row < rows.length; row++) rows[row]! |= more[row]!;
}

function any(tests: TextTest[]): TextTest {
  return tests.length === 1 ? tests[0]! : (text) => tests.some((test) => test(text));
}

function contains(values: string[]): TextTest {
  return any(
    values.map((value) => {
      const lower = value.toLowerCase();
      if (!lower.replaceAll("*", "")) return () => true;
      return isGlob(lower) ? glob(`*${lower}*`) : (text) => text.toLowerCase().includes(lower);
    }),
  );
}

/** A word within a layer's name; `layers.5` is not within `layers.50`. */
function inLayer(value: string): TextTest {
  const inside = contains([value]);
  if (isGlob(value) || !/\.\d+$/.test(value)) return inside;
  const ends = new RegExp(`${value.toLowerCase().replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(?!\\d)`);
  return (text) => ends.test(text.toLowerCase());
}

/** The operator by its name or parts of it in a row (`mm`, `aten.mm`, `ir.rms_norm`); or the kind of node. */
function opTest(value: string): TextTest {
  const matches = glob(value);
  const row = `.${value.toLowerCase()}.`;
  const fits = (name: string) =>
    matches(name) ||
    (isGlob(value) ? name.split(".").some(matches) : `.${name.toLowerCase()}.`.includes(row));
  return (text) => text.split(/[\s()]+/).some((name) => fits(name) || fits(shortTarget(name)));
}

/** An operator as people say it: `aten.mm.default` is `aten.mm`, `vllm_ir.rms_norm.default` is `ir.rms_norm`. */
export function shortTarget(target: string): string {
  return target
    .replace(/^torch\.ops\./, "")
    .replace(/\.(default|Tensor)$/i, "")
    .replace(/^vllm_ir\./, "ir.")
    .replace(/^torch\.nn\.functional\./, "F.")
    .replace(/^torch\._C\._nn\./, "F.");
}

const SHORT = { bfloat16: "bf16", float: "f", uint: "u", int: "i", complex: "c" };

/** A dtype in a few letters: `float32` is `f32`, `bfloat16` is `bf16`. */
export function shortDtype(dtype: string): string {
  for (const [long, short] of Object.entries(SHORT)) {
    const rest = dtype.slice(long.length);
    if (dtype.startsWith(long) && (rest === "" || /^\d/.test(rest))) return short + rest;
  }
  return dtype;
}

function dtypeTest(value: string): TextTest {
  const matches = glob(value.replace(/^torch\./, ""));
  return (text) => text.split(/[,\s]+/).some((dtype) => matches(dtype) || matches(shortDtype(dtype)));
}

function kernelTest(value: string): TextTest {
  const matches = glob(value);
  return (text) => text.split(/[,\s]+/).some((call) => matches(call) || matches(call.split("#")[0]!));
}

const LINE = /^(.*):(\d+)(?:-(\d+))?$/s;

/** A file, `file:line`, `file:first-last` or a function; a source is written `file:line function`. */
function sourceTest(value: string): TextTest {
  const numbered = LINE.exec(value);
  const name = numbered ? numbered[1]! : value;
  const low = numbered ? Number(numbered[2]) : 0;
  const high = numbered ? Number(numbered[3] ?? numbered[2]) : Infinity;
  const inFile = any([glob(name), glob(`*/${name}`)]);
  return (text) => {
    const source = /^(.*?):(\d+)(?:\s+(.*))?$/s.exec(text);
    if (!source) return inFile(text);
    const line = Number(source[2]);
    if (inFile(source[1]!)) return low <= line && line <= high;
    return !numbered && source[3] !== undefined && inFile(source[3]);
  };
}

/** A layer passes if it or one that it lies in does, by name or by class. */
function layerTest(test: TextTest, classes: Map<string, string>, above = true): TextTest {
  const known = new Map<string, boolean>();
  const fits = (fqn: string): boolean => {
    const before = known.get(fqn);
    if (before !== undefined) return before;
    const cls = classes.get(fqn);
    const dot = above ? fqn.lastIndexOf(".") : -1;
    const passes = test(fqn) || (cls !== undefined && test(cls)) || (dot > 0 && fits(fqn.slice(0, dot)));
    known.set(fqn, passes);
    return passes;
  };
  return fits;
}

function placeTest(field: Term["field"], values: string[]): Test["place"] {
  const test = any(values.map((value) => glob(value, true)));
  if (field === "piece") {
    return (_, piece) => piece !== null && (test(piece) || test(piece.replace(/^piece_0*(?=\d)/, "")));
  }
  if (field === "range") return (place) => place.range !== null && test(place.range);
  if (field === "compilation") return (place) => test(place.compilation);
  return (place) => place.names.some(test);
}
