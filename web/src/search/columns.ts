// What a search is made from: the columns of a table, by graph, by form and by layer.

import type { Fingerprint, Overview, SearchTable, Steps } from "../data/types";
import { pattern } from "./labels";
import { placesOf, type Places } from "./places";
import { testedOf, type Tested } from "./terms";

/** What a search is made from, once for a process. */
export interface Engine {
  tested: Tested;
  places: Places;
  /** First row of each graph, and one more: rows are sorted by graph. */
  starts: Int32Array;
  order: Int32Array;
  /** For each row, what says where it is, as a string. */
  named: Int32Array;
  /** For each row, the number of its form. */
  forms: Int32Array;
  /** For each graph its layers, as strings, and where each stands in that list. */
  layers: { names: number[]; local: Map<number, number> }[];
  /** Fqns by pattern, in model order. */
  siblings: Map<string, string[]>;
  graphs: Map<Fingerprint, number>;
}

export function engineOf(table: SearchTable, overview: Overview | null, steps: Steps[]): Engine {
  const tested = testedOf(table);
  const places = placesOf(table, overview, steps);
  const { starts, order } = byGraph(table);
  const graphs = new Map(table.graphs.map((each, at) => [each.graph, at]));
  const named = namedOf(table);
  return {
    tested,
    places,
    starts,
    order,
    named,
    forms: formsOf(table, named),
    layers: layersOf(table),
    siblings: siblingsOf(table, places),
    graphs,
  };
}

/** Rows of each graph side by side. */
function byGraph({ graphs, columns }: SearchTable): { starts: Int32Array; order: Int32Array } {
  const starts = new Int32Array(graphs.length + 1);
  for (const graph of columns.graph) starts[graph + 1]!++;
  for (let at = 0; at < graphs.length; at++) starts[at + 1]! += starts[at]!;
  const next = starts.slice();
  const order = new Int32Array(columns.graph.length);
  columns.graph.forEach((graph, row) => (order[next[graph]!++] = row));
  return { starts, order };
}

function layersOf({ graphs, columns }: SearchTable): Engine["layers"] {
  const found = graphs.map(() => ({ names: [] as number[], local: new Map<number, number>() }));
  columns.layer.forEach((layer, row) => {
    const { names, local } = found[columns.graph[row]!]!;
    if (layer < 0 || local.has(layer)) return;
    local.set(layer, names.length);
    names.push(layer);
  });
  return found;
}

/** Rows of one form have the same number: operator, pattern of the layer, class, source and dtype. */
function formsOf({ strings, columns }: SearchTable, named: Int32Array): Int32Array {
  const patterns = new Map<number, number>();
  const numbers = new Map<string, number>();
  const patternOf = (at: number): number => {
    let known = patterns.get(at);
    if (known === undefined) patterns.set(at, (known = numberOf(numbers, pattern(strings[at] ?? ""))));
    return known;
  };
  const keys = new Map<string, number>();
  const forms = new Int32Array(columns.graph.length);
  for (let row = 0; row < forms.length; row++) {
    const key = [columns.op, columns.cls, columns.source, columns.dtype].map((each) => each[row]);
    forms[row] = numberOf(keys, `${key.join()},${patternOf(named[row]!)}`);
  }
  return forms;
}

/** What says where a row is: its layer, for an input its model path, for a constant its attribute. */
function namedOf({ strings, columns }: SearchTable): Int32Array {
  return Int32Array.from(columns.layer, (layer, row) => {
    const target = columns.target[row]!;
    return isInput(strings[columns.op[row]!]) ? (target >= 0 ? target : columns.name[row]!) : layer;
  });
}

function numberOf(known: Map<string, number>, key: string): number {
  let number = known.get(key);
  if (number === undefined) known.set(key, (number = known.size));
  return number;
}

export function isInput(op: string | undefined): boolean {
  return op === "placeholder" || op === "get_attr";
}

function siblingsOf({ strings, columns }: SearchTable, { views }: Places): Map<string, string[]> {
  const names = new Set<string>();
  for (const at of new Set(columns.layer)) if (at >= 0) names.add(strings[at]!);
  for (const view of views.flat()) for (const name of view.change?.values() ?? []) names.add(name);
  const siblings = new Map<string, string[]>();
  for (const name of names) siblings.set(pattern(name), [...(siblings.get(pattern(name)) ?? []), name]);
  return siblings;
}
