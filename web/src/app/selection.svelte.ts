import type { Fingerprint, Selector } from "../data/types";
import type { Router } from "./router.svelte";

/** What is lit in every view: roots are ids of nodes of the compilation's first snapshot (Ways in data/types.ts). */
export interface Lit {
  compilation: string;
  piece: string | null;
  roots: ReadonlySet<number>;
  /** Where it was picked: the snapshot, its graph, and the nodes in it. Nodes whose way is unknown are lit there only. */
  selector: Selector | null;
  graph: Fingerprint | null;
  nodes: readonly number[];
}

/**
 * The one selection. A click on a node, a line or a kernel anywhere sets it, every view reads it.
 * It stands in the URL as `sel=<compilation>|<piece>|<roots>|<selector>|<nodes>`.
 */
export class Selection {
  lit = $state.raw<Lit | null>(null);
  readonly #router: Router;

  constructor(router: Router) {
    this.#router = router;
    this.lit = parseLit(router.place.params.sel ?? "");
  }

  set(lit: Lit): void {
    // In one order: what is made of it is then the same for whoever opens the link.
    const ordered = { ...lit, roots: new Set([...lit.roots].sort((a, b) => a - b)) };
    this.lit = ordered;
    this.#router.adjust({ params: { sel: printLit(ordered) } });
  }

  clear(): void {
    this.lit = null;
    this.#router.adjust({ params: { sel: null } });
  }

  /** After the back key: what the URL says. */
  read(text: string): void {
    if (text === (this.lit ? printLit(this.lit) : "")) return;
    this.lit = parseLit(text);
  }
}

/** Whether a node with these roots is lit. */
export function meets(roots: Iterable<number>, lit: ReadonlySet<number>): boolean {
  for (const root of roots) if (lit.has(root)) return true;
  return false;
}

export function printLit(lit: Lit): string {
  const roots = ranges([...lit.roots].sort((a, b) => a - b));
  return [lit.compilation, lit.piece ?? "", roots, lit.selector ?? "", ranges([...lit.nodes])].join("|");
}

export function parseLit(text: string): Lit | null {
  const parts = text.split("|");
  if (parts.length !== 5 || !parts[0]) return null;
  const [compilation, piece, roots, selector, nodes] = parts as [string, string, string, string, string];
  return {
    compilation,
    piece: piece || null,
    roots: new Set(numbers(roots)),
    selector: selector || null,
    graph: null,
    nodes: numbers(nodes),
  };
}

/** `1,2,3,7` as `1-3,7`. */
export function ranges(sorted: number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; i++) {
    const first = sorted[i] as number;
    while (sorted[i + 1] === (sorted[i] as number) + 1) i++;
    const last = sorted[i] as number;
    parts.push(first === last ? `${first}` : `${first}-${last}`);
  }
  return parts.join(",");
}

/** The way back; at most 100,000 numbers, since anybody can write a URL. */
export function numbers(text: string): number[] {
  const found: number[] = [];
  for (const part of text.split(",")) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(part);
    if (!match) continue;
    const last = Number(match[2] ?? match[1]);
    for (let n = Number(match[1]); n <= last && found.length < 100_000; n++) found.push(n);
  }
  return found;
}
