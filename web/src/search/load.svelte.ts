// The engine of a process: made when it is first asked for, and again when the dump has grown.

import type { App } from "../app/context.svelte";
import type { Lit } from "../app/selection.svelte";
import { pick } from "../app/ways";
import type { Store } from "../data/store.svelte";
import { asProblem } from "../data/source";
import type { Fingerprint, Overview, Problem, SearchTable, Steps, Ways } from "../data/types";
import { engineOf, type Engine } from "./columns";
import { highlighted, search } from "./engine";
import type { Form, Spot } from "./forms";

interface Made {
  revision: number;
  engine: Promise<Engine>;
}

const made = new WeakMap<Store, Map<string, Made>>();

/** The engine of the process at `base`. */
export function engineAt(store: Store, base: string): Promise<Engine> {
  let known = made.get(store);
  if (!known) made.set(store, (known = new Map()));
  const { revision } = store;
  const here = known.get(base);
  if (here?.revision === revision) return here.engine;
  const engine = make(store, base);
  known.clear(); // of one process at a time: a table can be large
  known.set(base, { revision, engine });
  engine.catch(() => known.delete(base));
  return engine;
}

async function make(store: Store, base: string): Promise<Engine> {
  const [table, overview] = await Promise.all([
    store.get<SearchTable>(`${base}/search`),
    store.get<Overview>(`${base}/overview`),
  ]);
  const names = overview.compilations.map((each) => each.name);
  // Without the steps stages stand in the order of the table: good enough to search.
  const steps = await Promise.allSettled(names.map((name) => store.get<Steps>(`${base}/steps/${name}`)));
  const read = steps.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const engine = engineOf(table, overview, read);
  // The first search compiles the code of all: before anybody types.
  setTimeout(() => search(engine, "a"), 0);
  return engine;
}

/** Follows the engine of the process that is looked at. To be called while a component is set up. */
export function useEngine(app: App): { readonly engine: Engine | null; readonly problem: Problem | null } {
  let engine = $state.raw<Engine | null>(null);
  let problem = $state.raw<Problem | null>(null);
  $effect(() => {
    let stale = false;
    engineAt(app.store, app.base).then(
      (value) => {
        if (!stale) [engine, problem] = [value, null];
      },
      (error: unknown) => {
        if (!stale) [engine, problem] = [null, asProblem(error)];
      },
    );
    return () => (stale = true);
  });
  return {
    get engine() {
      return engine;
    },
    get problem() {
      return problem;
    },
  };
}

/**
 * Nodes of a graph that a query finds, to mark them: `const found = useHighlight(app, () => [place.params.q, graph])`.
 * Nothing is asked for while there is no query.
 */
export function useHighlight(
  app: App,
  of: () => [query: string | undefined, graph: Fingerprint | null | undefined],
): { readonly nodes: ReadonlySet<number> } {
  let nodes = $state.raw<ReadonlySet<number>>(new Set());
  $effect(() => {
    const [query, graph] = of();
    if (!query || !graph) {
      nodes = new Set();
      return;
    }
    let stale = false;
    engineAt(app.store, app.base).then(
      (engine) => {
        if (!stale) nodes = highlighted(engine, query, graph);
      },
      () => {}, // whoever searches is told
    );
    return () => (stale = true);
  });
  return {
    get nodes() {
      return nodes;
    },
  };
}

/** Opens a node that was found, with what belongs to it lit. */
export async function open(
  app: App,
  form: Form,
  spot: Spot,
  query: string,
  view?: "pipeline" | "graph" | "lineage",
): Promise<void> {
  const here = app.router.place.view;
  const to = view ?? (here === "graph" || here === "lineage" ? here : "pipeline");
  const lit: Lit = await pick(app.store, app.base, spot.selector, [spot.node]);
  const at = to === "lineage" ? await pieceOf(app, form, spot, lit) : spot.selector;
  app.selection.set(lit);
  app.router.go({
    view: to,
    at,
    params: { q: query, ...(to === "lineage" ? { stage: spot.selector } : {}) },
  });
}

/**
 * Where lineage shows a node: in the piece that computes it. A piece that was compiled with another has no graphs
 * itself; lineage shows those under its own layers' names.
 */
async function pieceOf(app: App, form: Form, spot: Spot, lit: Lit): Promise<string> {
  if (spot.piece) return `${form.compilation}/${spot.piece}`;
  const ways = await app.store.get<Ways>(`${app.base}/lineage/${form.compilation}`).catch(() => null);
  const piece = [...lit.roots].flatMap((root) => ways?.pieces[root] ?? [])[0];
  return piece ? `${form.compilation}/${piece}` : spot.selector;
}
