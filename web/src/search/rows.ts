// The rows of each graph that pass the tests of a query, under the layers of each piece that it stands for.

import { isInput, type Engine } from "./columns";
import type { View } from "./places";
import type { Test } from "./terms";

/** Rows of a graph that pass, by form: the same for all views under whose layers the same rows pass. */
export interface Local {
  rows: readonly number[];
  forms: Map<number, { count: number; row: number; layers: Set<number>; inputs: Set<number> }>;
}

/** Calls `collect` for each graph under each piece's layers where anything passes. */
export function each(
  engine: Engine,
  tests: Test[],
  collect: (view: View, places: View["places"], local: Local, graph: number) => void,
): void {
  engine.places.views.forEach((views, graph) => {
    const known = new Map<string, Local>();
    for (const view of views) {
      const places = passing(view, tests);
      if (!places.length) continue;
      const layers = layersPassing(engine, tests, graph, view);
      const key = layers.map((passes) => passes.join("")).join();
      let local = known.get(key);
      if (!local) known.set(key, (local = localOf(engine, rowsOf(engine, tests, graph, layers))));
      if (local.rows.length) collect(view, places, local, graph);
    }
  });
}

/** The places of a view that pass; its own list when all do. */
export function passing(view: View, tests: Test[]): View["places"] {
  const asked = tests.filter((test) => test.place);
  if (!asked.length) return view.places;
  return view.places.filter((place) =>
    asked.every((test) => test.place!(place, view.piece) !== test.negated),
  );
}

/** For each test of layers, 1 for the layers of a graph that pass under a view's names. */
export function layersPassing(engine: Engine, tests: Test[], graph: number, view: View): Uint8Array[] {
  const { strings } = engine.tested.table;
  const { names } = engine.layers[graph]!;
  return tests.flatMap(({ layer }) => {
    if (!layer) return [];
    return [
      Uint8Array.from(names, (at) => {
        const name = strings[at]!;
        return layer(view.change?.get(name) ?? name) ? 1 : 0;
      }),
    ];
  });
}

/** The rows of a graph that pass, given for each test of layers which of them do. */
export function rowsOf(engine: Engine, tests: Test[], graph: number, layers: Uint8Array[]): number[] {
  const { layer: column } = engine.tested.table.columns;
  const { local } = engine.layers[graph]!;
  let next = 0;
  const asked = tests
    .filter((test) => !test.place)
    .map((test) => ({ ...test, passes: test.layer ? layers[next++]! : null }));
  const found: number[] = [];
  for (let at = engine.starts[graph]!; at < engine.starts[graph + 1]!; at++) {
    const row = engine.order[at]!;
    let passes = true;
    for (const test of asked) {
      let holds = test.rows !== null && test.rows[row] === 1;
      if (!holds && test.passes && column[row]! >= 0) holds = test.passes[local.get(column[row]!)!] === 1;
      if (holds === test.negated) {
        passes = false;
        break;
      }
    }
    if (passes) found.push(row);
  }
  return found;
}

function localOf(engine: Engine, rows: readonly number[]): Local {
  const { strings, columns } = engine.tested.table;
  const forms: Local["forms"] = new Map();
  for (const row of rows) {
    const number = engine.forms[row]!;
    let form = forms.get(number);
    if (!form) forms.set(number, (form = { count: 0, row, layers: new Set(), inputs: new Set() }));
    form.count++;
    const named = engine.named[row]!;
    if (isInput(strings[columns.op[row]!])) form.inputs.add(named);
    else if (named >= 0) form.layers.add(named);
  }
  return { rows, forms };
}
