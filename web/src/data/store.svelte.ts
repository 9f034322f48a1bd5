import { asProblem, type Source } from "./source";
import type { Problem } from "./types";

/** How many answers are kept. */
const KEPT = 400;

/** Paths whose answers grow while a compile goes on; all others are of graphs and texts, which stay as they are. */
const GROWS = /(^index|\/overview|\/steps\/[^/]*|\/lineage\/.*|\/search|\/compare\/.*)$/;

/** Answers, asked for once. `revision` counts the growths of the dump. */
export class Store {
  revision = $state(0);
  readonly #source: Source;
  readonly #answers = new Map<string, { promise: Promise<unknown>; revision: number; value?: unknown }>();

  constructor(source: Source) {
    this.#source = source;
  }

  /** Starts to follow the dump. Returns what ends it. */
  listen(): () => void {
    return this.#source.follow(() => (this.revision += 1));
  }

  get<T>(path: string): Promise<T> {
    const known = this.#known(path);
    if (known) return known.promise as Promise<T>;
    const promise = this.#source.get<T>(path);
    const answer: { promise: Promise<unknown>; revision: number; value?: unknown } = {
      promise,
      revision: this.revision,
    };
    this.#answers.delete(path);
    this.#answers.set(path, answer);
    promise.then(
      (value) => (answer.value = value),
      () => this.#answers.delete(path), // what failed may be asked again
    );
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= KEPT) break;
      this.#answers.delete(oldest);
    }
    return promise;
  }

  /** The answer, if it is here. */
  peek<T>(path: string): T | undefined {
    return this.#known(path)?.value as T | undefined;
  }

  /** Asks for what is likely to be wanted next; a failure is told when it is wanted. */
  prefetch(path: string): void {
    this.get(path).catch(() => {});
  }

  #known(path: string) {
    const known = this.#answers.get(path);
    return known && GROWS.test(path) && known.revision !== this.revision ? undefined : known;
  }
}

/** An answer as state. While the next one is on its way the last one stays, so that nothing flickers. */
export class Resource<T> {
  value = $state.raw<T | undefined>();
  problem = $state.raw<Problem | null>(null);
  /** The path that `value` is of. */
  path = $state.raw<string | null>(null);
  loading = $state(false);
}

/**
 * Follows a path. To be called while a component is set up:
 *
 *     const steps = resource<Steps>(app.store, () => (compilation ? `${base}/steps/${compilation}` : null));
 */
export function resource<T>(store: Store, path: () => string | null): Resource<T> {
  const found = new Resource<T>();
  $effect.pre(() => {
    const wanted = path();
    void store.revision; // asked again when the dump has grown
    if (wanted === null) {
      found.value = undefined;
      found.path = null;
      found.problem = null;
      found.loading = false;
      return;
    }
    const here = store.peek<T>(wanted);
    if (here !== undefined) {
      found.value = here;
      found.path = wanted;
      found.problem = null;
      found.loading = false;
      return;
    }
    let stale = false;
    found.loading = true;
    store.get<T>(wanted).then(
      (value) => {
        if (stale) return;
        found.value = value;
        found.path = wanted;
        found.problem = null;
        found.loading = false;
      },
      (error: unknown) => {
        if (stale) return;
        found.value = undefined;
        found.path = wanted;
        found.problem = asProblem(error);
        found.loading = false;
      },
    );
    return () => (stale = true);
  });
  return found;
}
