// Fonts, and how wide texts are in them.

import type { Measure } from "../label";
import type { Pen } from "./canvas";
import type { Theme } from "./theme";

type Kind = "title" | "sub" | "chip";

const KEPT = 20_000;

export function makePen(ctx: CanvasRenderingContext2D, theme: Theme): Pen {
  const fonts: Record<Kind, string> = {
    title: `600 12.5px ${theme.sans}`,
    sub: `11px ${theme.mono}`,
    chip: `10.5px ${theme.sans}`,
  };
  const widths = new Map<string, number>();
  const cuts = new Map<string, string>();
  const measure: Measure = (text, kind) => {
    const key = kind + text;
    let width = widths.get(key);
    if (width === undefined) {
      if (widths.size > KEPT) widths.clear();
      ctx.font = fonts[kind];
      width = ctx.measureText(text).width;
      widths.set(key, width);
    }
    return width;
  };
  const cut = (text: string, kind: Kind, width: number): string => {
    if (measure(text, kind) <= width) return text;
    const key = `${kind}${Math.round(width)} ${text}`;
    let short = cuts.get(key);
    if (short === undefined) {
      if (cuts.size > KEPT) cuts.clear();
      let low = 0;
      let high = text.length;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (measure(`${text.slice(0, middle)}…`, kind) <= width) low = middle;
        else high = middle - 1;
      }
      short = low === 0 ? "" : `${text.slice(0, low)}…`;
      cuts.set(key, short);
      ctx.font = fonts[kind];
    }
    return short;
  };
  return { ctx, theme, scale: 1, measure, font: (kind) => fonts[kind], cut };
}
