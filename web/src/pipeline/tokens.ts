// Which words of two lines differ.

export interface Span {
  text: string;
  /** Not in the other line. */
  marked: boolean;
}

/** Lines with more words than this are marked as a whole. */
const MOST = 400;

/** Both lines, cut where they differ; by the longest common subsequence of their words. */
export function marks(before: string, after: string): [Span[], Span[]] {
  if (before === after) return [[{ text: before, marked: false }], [{ text: after, marked: false }]];
  const a = words(before);
  const b = words(after);
  if (a.length > MOST || b.length > MOST)
    return [[{ text: before, marked: true }], [{ text: after, marked: true }]];
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] =
        a[i] === b[j]
          ? (common[(i + 1) * width + j + 1] as number) + 1
          : Math.max(common[(i + 1) * width + j] as number, common[i * width + j + 1] as number);
    }
  }
  const left: Span[] = [];
  const right: Span[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      push(left, a[i++] as string, false);
      push(right, b[j++] as string, false);
    } else if (
      j >= b.length ||
      (i < a.length && (common[(i + 1) * width + j] as number) >= (common[i * width + j + 1] as number))
    ) {
      push(left, a[i++] as string, true);
    } else {
      push(right, b[j++] as string, true);
    }
  }
  return [left, right];
}

/** Whether most of a line is in the other one, too. */
export function alike(spans: readonly Span[], text: string): boolean {
  let kept = 0;
  for (const span of spans) if (!span.marked) kept += span.text.length;
  return kept * 3 >= text.length * 2;
}

function words(text: string): string[] {
  return text.match(/[\p{L}\p{N}_]+|\s+|[^\p{L}\p{N}_\s]/gu) ?? [];
}

function push(spans: Span[], text: string, marked: boolean): void {
  const last = spans.at(-1);
  if (last && last.marked === marked) last.text += text;
  else spans.push({ text, marked });
}
