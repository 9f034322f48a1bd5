import type { Problem } from "./types";

/** Where resources come from: the server, or the report that the page is part of. */
export interface Source {
  /** The resource at a path (types.ts lists them). Throws a `Fault`. */
  get<T>(path: string): Promise<T>;
  /** Calls `onChange` after the dump has grown. Returns what stops that. */
  follow(onChange: () => void): () => void;
}

/** What could not be had: the sentences of a `Problem`. */
export class Fault extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.what);
    this.problem = problem;
  }
}

/** Any exception as a `Problem`. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Fault) return error.problem;
  const why = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return {
    what: "This part of the page failed.",
    why,
    cure: "Reload the page; if it stays, report it with this text.",
  };
}

/** Whether something that was parsed is a `Problem`. */
export function isProblem(found: unknown): found is Problem {
  if (typeof found !== "object" || found === null) return false;
  const { what, why, cure } = found as Record<string, unknown>;
  return typeof what === "string" && typeof why === "string" && typeof cure === "string";
}
