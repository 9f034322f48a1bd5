// The worker that runs elkjs, made where the page can reach it: inlined, so that an offline report has it too.

import ElkWorker from "elkjs/lib/elk-worker.min.js?worker&inline";
import { Layouts } from "./arrange";
import { startElk } from "./elk";

const known = new WeakMap<object, Layouts>();

/** The layouts of a page: drawings come and go, the worker and what it has laid out stay. */
export function layoutsOf(page: object): Layouts {
  let layouts = known.get(page);
  if (!layouts) {
    layouts = new Layouts(() => startElk(() => new ElkWorker()));
    known.set(page, layouts);
  }
  return layouts;
}
