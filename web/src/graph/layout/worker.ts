// The worker that runs elkjs, made where the page can reach it: inlined, so that an offline report has it too.

import ElkWorker from "elkjs/lib/elk-worker.min.js?worker&inline";
import { startElk, type Elk } from "./elk";

export function makeElk(): Elk {
  return startElk(() => new ElkWorker());
}
