// At how many stages a form could be: those that have its layers, as `cutaway find` counts them.

import type { Engine } from "./columns";
import { passing } from "./rows";
import type { Test } from "./terms";

export class Around {
  readonly #engine: Engine;
  readonly #tests: Test[];
  #known: { layers: Map<string, Set<number>>; all: Map<string, Set<number>> } | null = null;

  /** Among the graphs that pass the tests of stage, piece and range. */
  constructor(engine: Engine, tests: Test[]) {
    this.#engine = engine;
    this.#tests = tests;
  }

  /** How many stages have any of these layers; all of the compilation where none has (of inputs, say). */
  count(compilation: string, names: Iterable<string>): number {
    this.#known ??= this.#look();
    const found = new Set<number>();
    for (const name of names) {
      for (const stage of this.#known.layers.get(`${compilation} ${name}`) ?? []) found.add(stage);
    }
    return found.size || (this.#known.all.get(compilation)?.size ?? 0);
  }

  #look(): { layers: Map<string, Set<number>>; all: Map<string, Set<number>> } {
    const layers = new Map<string, Set<number>>();
    const all = new Map<string, Set<number>>();
    const { places, layers: names, tested } = this.#engine;
    places.views.forEach((views, graph) => {
      const own = withThoseAround(names[graph]!.names.map((at) => tested.table.strings[at]!));
      for (const view of views) {
        for (const { compilation, order } of passing(view, this.#tests)) {
          add(all, compilation, order);
          for (const name of own) add(layers, `${compilation} ${view.change?.get(name) ?? name}`, order);
        }
      }
    });
    return { layers, all };
  }
}

function add(where: Map<string, Set<number>>, key: string, order: number): void {
  const known = where.get(key);
  if (known) known.add(order);
  else where.set(key, new Set([order]));
}

/** A layer is there, too, where only those in it have nodes. */
function withThoseAround(names: string[]): Set<string> {
  const found = new Set<string>();
  for (let name of names) {
    while (name && !found.has(name)) {
      found.add(name);
      name = name.slice(0, Math.max(0, name.lastIndexOf(".")));
    }
  }
  return found;
}
