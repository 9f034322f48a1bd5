// Names that come near another one.

const MOST = 3;
const LEAST = 0.4;

/** Of these names those that are most like one of the texts, best first. */
export function nearest(texts: readonly string[], names: readonly string[]): string[] {
  const scored = texts.flatMap((text) =>
    names.map((name) => ({ name, score: likeness(text.toLowerCase(), name.toLowerCase()) })),
  );
  const best = scored.filter(({ score }) => score >= LEAST).sort((a, b) => b.score - a.score);
  return [...new Set(best.map(({ name }) => name))].slice(0, MOST);
}

/** ` Near are add, add_1.`: what comes behind a sentence; nothing when nothing does. */
export function nearWords(text: string, names: readonly string[]): string {
  const near = nearest([text], names);
  return near.length ? ` Near ${near.length === 1 ? "is" : "are"} ${near.join(", ")}.` : "";
}

/** Share of pairs of letters that two texts have in common: 1 for equal ones. */
function likeness(a: string, b: string): number {
  const pairs = (text: string) =>
    new Set(Array.from({ length: Math.max(0, text.length - 1) }, (_, at) => text.slice(at, at + 2)));
  const [left, right] = [pairs(a.slice(0, 200)), pairs(b.slice(0, 200))];
  if (!left.size || !right.size) return 0;
  let common = 0;
  for (const pair of left) if (right.has(pair)) common++;
  return (2 * common) / (left.size + right.size);
}
