// Nodes that a query finds in all graphs of a dump, folded over identical layers, pieces, stages and ranges.
//
//   query ─parse─► terms ─testOf─► tests of strings ─► rows ─► forms: what is the same in layers and stages, once

import type { Fingerprint } from "../data/types";
import { Around } from "./around";
import type { Engine } from "./columns";
import { collect, Group, type Form } from "./forms";
import { isGlob } from "./glob";
import { parse, type Query } from "./parse";
import { each, layersPassing, passing, rowsOf } from "./rows";
import { testOf } from "./terms";

export interface Found {
  query: Query;
  forms: Form[];
  nodes: number;
  /** The last term as it was read, when it finds nothing as it stands. */
  widened: string | null;
  /** Milliseconds that it took. */
  took: number;
}

/** Search. Takes a few milliseconds for the graphs of eighty layers. */
export function search(engine: Engine, text: string): Found {
  const began = performance.now();
  const query = parse(text);
  let forms = formsFound(engine, query);
  let widened: string | null = null;
  const last = query.terms.at(-1);
  if (!forms.length && last && last.end === text.length && isUnfinished(last)) {
    // While a value is typed its end is missing.
    const wider = { ...last, values: last.values.map((value) => `${value}*`) };
    forms = formsFound(engine, { ...query, terms: query.terms.with(-1, wider) });
    if (forms.length) widened = `${last.text}*`;
  }
  const nodes = forms.reduce((sum, form) => sum + form.count, 0);
  return { query, forms, nodes, widened, took: performance.now() - began };
}

function isUnfinished({ field, values, text }: Query["terms"][number]): boolean {
  return field !== "word" && field !== "shape" && !values.some(isGlob) && !/["']$/.test(text);
}

function formsFound(engine: Engine, query: Query): Form[] {
  const tests = query.terms.map((term) => testOf(term, engine.tested));
  const groups = new Map<string, Group>();
  if (tests.length) {
    const around = new Around(engine, tests);
    each(engine, tests, (view, places, local, graph) =>
      collect(engine, groups, view, places, local, graph, around),
    );
  }
  const forms: Form[] = [];
  for (const group of groups.values()) {
    const form = group.finish();
    form.asked = query.terms.some((term) => asksWhere(term, form));
    form.rank = rankOf(query, form);
    forms.push(form);
  }
  return forms.sort((a, b) => a.spots[0]!.order - b.spots[0]!.order || a.rank - b.rank);
}

/** Whether a term asks for layers: then it is no news that others have none. */
function asksWhere({ field, values }: Query["terms"][number], form: Form): boolean {
  if (field === "layer" || field === "piece") return true;
  return field === "word" && values.some((value) => within(form, value.toLowerCase()));
}

function within(form: Form, lower: string): boolean {
  for (const name of form.names) if (name.toLowerCase().includes(lower)) return true;
  return false;
}

/** Ids of the nodes of a graph that a query finds; `change`: layers of the table -> those that are meant. */
export function highlighted(engine: Engine, text: string, graph: Fingerprint): Set<number> {
  const found = new Set<number>();
  const at = engine.graphs.get(graph);
  const terms = parse(text).terms;
  if (at === undefined || !terms.length) return found;
  const { node } = engine.tested.table.columns;
  const tests = terms.map((term) => testOf(term, engine.tested));
  for (const view of engine.places.views[at]!) {
    if (!passing(view, tests).length) continue;
    const layers = layersPassing(engine, tests, at, view);
    for (const row of rowsOf(engine, tests, at, layers)) found.add(node[row]!);
  }
  return found;
}

/** How near a form is to what was typed: the operator itself, a part of it, its layer, anything else. */
function rankOf(query: Query, form: Form): number {
  const words = query.terms
    .filter((term) => term.field === "word" && !term.negated)
    .flatMap((term) => term.values);
  if (!words.length) return 0;
  const op = form.op.toLowerCase();
  return Math.min(
    ...words.map((word) => {
      const lower = word.toLowerCase();
      if (op === lower || `.${op}.`.includes(`.${lower}.`)) return 0;
      if (op.includes(lower)) return 1;
      return within(form, lower) ? 2 : 3;
    }),
  );
}
