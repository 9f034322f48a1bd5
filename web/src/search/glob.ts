// Patterns with `*` and `?`, and with sets of numbers as structured text writes them (`layers.0–3`).

export type TextTest = (text: string) => boolean;

const SPANS = /(?<![\w*?])\d+(?:[–-]\d+|,\d+|…\d+)+(?![\w*?])/g;
/** Numbers in a set: more layers than any model has. */
const MOST = 10_000;

export function isGlob(pattern: string): boolean {
  return pattern.includes("*") || pattern.includes("?");
}

/**
 * A test of whole texts; letters match in either case, brackets are themselves.
 * With `numbers`, `0–3`, `0-3`, `0,2–4` and `0,2…34` are any of these numbers.
 */
export function glob(pattern: string, numbers = false): TextTest {
  const lower = pattern.toLowerCase();
  const sets = numbers ? [...lower.matchAll(SPANS)] : [];
  if (!isGlob(lower) && !sets.length) return (text) => text.toLowerCase() === lower;
  const parts = lower.split("*").map((part) => compiled(part, numbers));
  return (text) => fits(parts, text.toLowerCase());
}

/** A part of a pattern without `*`: matches at a place, and says where it ends. */
type Part = (text: string, at: number) => number;

/**
 * First part at the start, last part at the end, those between wherever they fit first: the first place where a part
 * fits is as good as any later one, so nothing is tried twice and no text takes long.
 */
function fits(parts: Part[], text: string): boolean {
  let at = parts[0]!(text, 0);
  if (at < 0) return false;
  if (parts.length === 1) return at === text.length;
  for (const part of parts.slice(1, -1)) {
    let end = -1;
    while (at <= text.length && (end = part(text, at)) < 0) at++;
    if (end < 0) return false;
    at = end;
  }
  const last = parts.at(-1)!;
  for (; at <= text.length; at++) if (last(text, at) === text.length) return true;
  return false;
}

function compiled(part: string, numbers: boolean): Part {
  let source = "";
  let from = 0;
  for (const found of numbers ? part.matchAll(SPANS) : []) {
    source += escaped(part.slice(from, found.index)) + `(?:${numbersOf(found[0]).join("|")})(?!\\d)`;
    from = found.index + found[0].length;
  }
  const regex = new RegExp(source + escaped(part.slice(from)), "ys");
  return (text, at) => {
    regex.lastIndex = at;
    return regex.test(text) ? regex.lastIndex : -1;
  };
}

function escaped(text: string): string {
  return text.replace(/[.*+^${}()|[\]\\/-]/g, "\\$&").replaceAll("?", ".");
}

/** The numbers that a set stands for. */
function numbersOf(text: string): number[] {
  const dots = text.indexOf("…");
  const head = dots < 0 ? text : text.slice(0, dots);
  const spans = head.split(",").map((part) => part.split(/[–-]/).map(Number));
  const found: number[] = [];
  for (const span of spans) push(found, span[0]!, span.at(-1)!, 1);
  const last = spans.at(-1)!;
  const before = spans.at(-2);
  if (dots >= 0 && before && last[0]! > before.at(-1)!) {
    const step = last[0]! - before.at(-1)!;
    push(found, last[0]! + step, Number(text.split("…").at(-1)), step);
  }
  return found;
}

function push(found: number[], first: number, last: number, step: number): void {
  for (let number = first; number <= last && found.length < MOST; number += step) found.push(number);
}
