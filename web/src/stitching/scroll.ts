// How far a text is scrolled, for links: the line at the top, and how much of it is above.

import type { EditorView } from "@codemirror/view";
import { onPixel, type Seen } from "../app/seen.svelte";

/** Columns are counted in these: a link does not depend on the size of the text. */
const COLUMN = 8;

/**
 * Keeps in links how far a text is scrolled, and goes to where a link says. Returns what ends it.
 *
 * @param scroller what scrolls: the editor itself, or what two editors stand in.
 */
export function followScroll(view: EditorView, scroller: HTMLElement, seen: Seen, name: string): () => void {
  const across = `${name}-x`;
  const note = () => {
    const block = view.lineBlockAtHeight(scroller.scrollTop);
    const line = view.state.doc.lineAt(block.from).number - 1;
    const above = Math.min(0.999, Math.max(0, (scroller.scrollTop - block.top) / Math.max(1, block.height)));
    seen.note(name, scroller.scrollTop === 0 ? null : line + above);
    seen.note(across, view.scrollDOM.scrollLeft / COLUMN);
  };
  const restore = () => {
    const line = seen.wanted(name);
    const left = seen.wanted(across);
    if (line === null && left === null) return;
    view.requestMeasure({
      read: () => {
        if (line === null) return null;
        const number = Math.min(view.state.doc.lines, Math.max(1, Math.floor(line) + 1));
        const block = view.lineBlockAt(view.state.doc.line(number).from);
        return block.top + (line - Math.floor(line)) * block.height;
      },
      write: (top) => {
        if (top !== null) scroller.scrollTop = onPixel(top);
        if (left !== null) view.scrollDOM.scrollLeft = onPixel(left * COLUMN);
      },
    });
  };
  // Heights of lines that were never in view are guesses, which get better while one scrolls.
  const sizes = new ResizeObserver(restore);
  sizes.observe(view.contentDOM);
  const scrolls = new Set([scroller, view.scrollDOM]);
  for (const each of scrolls) each.addEventListener("scroll", note, { passive: true });
  restore();
  return () => {
    sizes.disconnect();
    for (const each of scrolls) each.removeEventListener("scroll", note);
    seen.forget(name);
    seen.forget(across);
  };
}
