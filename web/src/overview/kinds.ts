// Pieces that are equal, as one row; and in which colour they are shown.
import type { CompilationSummary, PieceSummary, RangeSummary } from "../data/types";

export interface Kind {
  kind: number;
  /** The first of them: the one that was compiled. */
  first: PieceSummary;
  pieces: PieceSummary[];
  colour: string;
}

const COLOURS = 10;

/** The kinds of a compilation's pieces in model order. Those that are compiled take the colours; splitting ops are grey. */
export function kinds(compilation: CompilationSummary): Kind[] {
  const found = new Map<number, Kind>();
  let colours = 0;
  for (const piece of compilation.pieces) {
    const known = found.get(piece.kind);
    if (known) {
      known.pieces.push(piece);
      continue;
    }
    const colour = piece.compiled ? `var(--kind-${colours++ % COLOURS})` : "var(--kind-none)";
    found.set(piece.kind, { kind: piece.kind, first: piece, pieces: [piece], colour });
  }
  return [...found.values()];
}

/** `piece_02, piece_04 … piece_78` as `02, 04 … 78`. */
export function numbersOf(pieces: PieceSummary[]): string {
  const short = pieces.map((piece) => piece.name.replace(/^piece_/, ""));
  if (short.length <= 4) return short.join(", ");
  return `${short[0]}, ${short[1]} … ${short.at(-1)}`;
}

/** `8`, `1–16`; with those that went through the same graphs: `1–16, 17–4096`. */
export function rangeName(range: RangeSummary): string {
  return [range.name, ...range.same].map(oneRange).join(", ");
}

export function oneRange(name: string): string {
  const match = /^(?:range_)?(\d+)_(\d+)$/.exec(name);
  if (!match) return name;
  return match[1] === match[2] ? (match[1] as string) : `${match[1]}–${match[2]}`;
}
