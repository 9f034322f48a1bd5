// What there is of a field, and why a query found nothing.

import { nearest as nearestOf } from "../app/near";
import type { Engine } from "./columns";
import type { Query } from "./parse";
import { each } from "./rows";
import { testOf } from "./terms";

/** What one term of a query that finds nothing finds by itself, and what there is that comes near. */
export interface Miss {
  term: Query["terms"][number];
  nodes: number;
  near: string[];
}

/** Why a query found nothing: a term that no node fits, or terms that no node fits together. */
export function missesOf(engine: Engine, query: Query): Miss[] {
  return query.terms.map((term) => {
    const test = testOf({ ...term, negated: false }, engine.tested);
    let nodes = 0;
    each(engine, [test], (_view, _places, local) => (nodes += local.rows.length));
    return { term, nodes, near: nodes ? [] : nearest(engine, term.field, term.values) };
  });
}

/** What there is of a field that comes nearest to what was typed. */
function nearest(engine: Engine, field: Query["terms"][number]["field"], values: string[]): string[] {
  return nearestOf(values, knownOf(engine, field));
}

/** What there is of a field, each once: for what comes nearest, and to choose from while typing. */
export function knownOf(
  { tested, places, siblings }: Engine,
  field: Query["terms"][number]["field"],
): string[] {
  const { table, used } = tested;
  if (field === "stage") return places.stages;
  const all = places.views.flat();
  if (field === "piece") return [...new Set(all.flatMap((view) => view.piece ?? []))];
  if (field === "range")
    return [...new Set(all.flatMap((view) => view.places.flatMap((place) => place.range ?? [])))];
  if (field === "compilation")
    return [...new Set(all.flatMap((view) => view.places.map((place) => place.compilation)))];
  if (field === "layer") return [...siblings.values()].flat();
  const column = field === "word" ? "op" : field === "shape" ? "type" : field;
  return [...(used.get(column) ?? [])].map((at) => table.strings[at]!);
}
