// The data of an offline report lies in the page itself:
//
//   <script type="application/json" id="cutaway-data">
//     {"schema": 1, "paths": {"index": 0, "run_001/rank_0_dp_0/overview": 0, …}}
//   </script>
//   <script type="text/plain" data-chunk="0">…base64 of gzip of {"index": {…}, "run_001/…/overview": {…}}…</script>
//
// A chunk holds resources that are asked for together or that look alike: they compress better as one, and a chunk is
// inflated when something of it is asked for, not before. A path may stand in for another: {"paths": {"a": "b"}}.
import { Fault, type Source } from "./source";

export interface Directory {
  schema: 1;
  paths: Record<string, number | string>;
}

/** How many inflated chunks are kept. */
const KEPT = 64;

export class EmbeddedSource implements Source {
  readonly #paths: Map<string, number | string>;
  readonly #chunk: (number: number) => string | null;
  readonly #open = new Map<number, Promise<Record<string, unknown>>>();

  /** `chunk` gives the base64 text of a chunk. */
  constructor(directory: Directory, chunk: (number: number) => string | null) {
    this.#paths = new Map(Object.entries(directory.paths));
    this.#chunk = chunk;
  }

  async get<T>(path: string): Promise<T> {
    let name = path;
    let found = this.#paths.get(name);
    if (typeof found === "string") {
      name = found;
      found = this.#paths.get(name);
    }
    if (typeof found !== "number") throw leftOut(path);
    const chunk = await this.#inflated(found);
    if (!Object.hasOwn(chunk, name)) throw leftOut(path);
    return chunk[name] as T;
  }

  follow(): () => void {
    return () => {}; // a report does not grow
  }

  #inflated(number: number): Promise<Record<string, unknown>> {
    let open = this.#open.get(number);
    if (open) return open;
    const text = this.#chunk(number);
    open = text === null ? Promise.reject(leftOut(`part ${number}`)) : inflate(text);
    this.#open.set(number, open);
    const oldest = this.#open.keys().next().value;
    if (this.#open.size > KEPT && oldest !== undefined) this.#open.delete(oldest);
    return open;
  }
}

/** The source of a report, when the page is one. */
export function embedded(document: Document): EmbeddedSource | null {
  const directory = document.getElementById("cutaway-data");
  if (!directory?.textContent) return null;
  return new EmbeddedSource(JSON.parse(directory.textContent) as Directory, (number) => {
    return document.querySelector(`script[data-chunk="${number}"]`)?.textContent ?? null;
  });
}

async function inflate(text: string): Promise<Record<string, unknown>> {
  const bytes = Uint8Array.from(atob(text.trim()), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return (await new Response(stream).json()) as Record<string, unknown>;
}

function leftOut(path: string): Fault {
  return new Fault({
    what: `${path} is not in this report.`,
    why: "A report holds what fits its size and what was asked for; the overview lists what was left out.",
    cure: "Look at the dump itself with `cutaway view`, or make the report with a larger --max-size.",
  });
}
