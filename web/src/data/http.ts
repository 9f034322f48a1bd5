import { Fault, isProblem, type Source } from "./source";

/** How long until the events are asked for anew after the server went away, in milliseconds. */
const AGAIN = 2000;

/** Resources from `cutaway view`. The token in the page's URL goes with every request as a header. */
export class HttpSource implements Source {
  readonly #headers: Record<string, string>;

  constructor(token: string) {
    this.#headers = { Authorization: `Bearer ${token}` };
  }

  async get<T>(path: string): Promise<T> {
    const response = await this.#fetch(`api/${path.split("/").map(encodeURIComponent).join("/")}`);
    const found: unknown = await response.json().catch(() => null);
    if (response.ok) return found as T;
    if (isProblem(found)) throw new Fault(found);
    throw new Fault({
      what: `${path} could not be read.`,
      why: `The server answered ${response.status} ${response.statusText}.`,
      cure: "The terminal in which `cutaway view` runs may say more.",
    });
  }

  follow(onChange: () => void): () => void {
    const stop = new AbortController();
    void this.#listen(onChange, stop.signal);
    return () => stop.abort();
  }

  /** Server-sent events, read by hand: EventSource cannot send the token as a header. */
  async #listen(onChange: () => void, signal: AbortSignal): Promise<void> {
    let missed = false;
    while (!signal.aborted) {
      try {
        const response = await this.#fetch("api/events", signal);
        if (response.ok && response.body) {
          if (missed) onChange();
          await readEvents(response.body, onChange);
        }
      } catch {
        // The server is gone, or the page is left: below it is asked again, above the loop ends.
      }
      missed = true;
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }

  async #fetch(path: string, signal?: AbortSignal): Promise<Response> {
    try {
      return await fetch(path, { headers: this.#headers, ...(signal ? { signal } : {}) });
    } catch (error) {
      throw new Fault({
        what: "The server does not answer.",
        why: error instanceof Error ? error.message : String(error),
        cure: "Is `cutaway view` still running, and the port still forwarded? Then reload the page.",
      });
    }
  }
}

/** Calls `onChange` for each event that has data. */
async function readEvents(body: ReadableStream<Uint8Array>, onChange: () => void): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split(/\r?\n\r?\n/);
    text = events.pop() ?? "";
    if (events.some((event) => /^data:/m.test(event))) onChange();
  }
}
