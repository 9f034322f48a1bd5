// Parts of a selector: <compilation>[/<piece>][/<range>][/<phase>]/<step>
import type { Selector } from "../data/types";

export interface Parts {
  compilation: string;
  piece: string | null;
  range: string | null;
  /** The last part; null for a compilation or a piece. */
  step: string | null;
}

export function parts(selector: Selector): Parts {
  const [compilation = "", ...rest] = selector.split("/");
  const piece = rest[0] && /^piece_\d+$/.test(rest[0]) ? (rest.shift() as string) : null;
  const range = rest[0] && /^range_/.test(rest[0]) ? (rest.shift() as string) : null;
  return { compilation, piece, range, step: rest.at(-1) ?? null };
}

/** `range_1_4096` as `1–4096`, `range_8_8` as `8`. */
export function rangeWords(range: string): string {
  const match = /^range_(\d+)_(\d+)$/.exec(range);
  if (!match) return range;
  return match[1] === match[2] ? (match[1] as string) : `${match[1]}–${match[2]}`;
}
