// CodeMirror, set up for generated text that is read: lines that mean something are marked, in the page's colours.

import { cpp } from "@codemirror/lang-cpp";
import { python } from "@codemirror/lang-python";
import { HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { EditorState, RangeSetBuilder, StateEffect, StateField, type Extension } from "@codemirror/state";
import {
  Decoration,
  EditorView,
  gutter,
  GutterMarker,
  keymap,
  lineNumbers,
  type DecorationSet,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Text } from "../data/types";

/** A line that means something. */
export interface LineMark {
  /** First and last line, from 1 on. */
  line: number;
  end: number;
  /** Colours of what it stems from: 0 … 9, or as CSS has them. */
  hues: readonly (number | string)[];
  title: string;
  lit: boolean;
  /** Softly lit, while the mouse is over what belongs to it. */
  soft: boolean;
  /** The line that the keys are at. */
  current: boolean;
}

export const setMarks = StateEffect.define<readonly LineMark[]>();

/** The state's marks, one for a line: later ones win. */
const marksField = StateField.define<ReadonlyMap<number, LineMark>>({
  create: () => new Map(),
  update(marks, transaction) {
    for (const effect of transaction.effects) if (effect.is(setMarks)) return byLine(effect.value);
    return marks;
  },
  provide: (field) => [
    EditorView.decorations.compute([field], (state) => decorated(state, state.field(field))),
  ],
});

function byLine(marks: readonly LineMark[]): Map<number, LineMark> {
  const found = new Map<number, LineMark>();
  for (const mark of marks) for (let line = mark.line; line <= mark.end; line++) found.set(line, mark);
  return found;
}

/** The mark of a line. */
export function markAt(state: EditorState, line: number): LineMark | undefined {
  return state.field(marksField).get(line);
}

function decorated(state: EditorState, marks: ReadonlyMap<number, LineMark>): DecorationSet {
  const builder = new RangeSetBuilder<Decoration>();
  for (const [number, mark] of [...marks].sort((a, b) => a[0] - b[0])) {
    if (number < 1 || number > state.doc.lines) continue;
    const { from } = state.doc.line(number);
    const names = ["cm-marked", mark.lit && "cm-lit", mark.soft && "cm-soft", mark.current && "cm-at"];
    builder.add(
      from,
      from,
      Decoration.line({ class: names.filter(Boolean).join(" "), attributes: { title: mark.title } }),
    );
  }
  return builder.finish();
}

/** Bars in the colours of what a line stems from. */
class Bars extends GutterMarker {
  constructor(readonly hues: LineMark["hues"]) {
    super();
  }

  override eq(other: Bars): boolean {
    return other.hues.join() === this.hues.join();
  }

  override toDOM(): HTMLElement {
    const bars = document.createElement("div");
    bars.className = "cm-bars";
    for (const hue of this.hues.slice(0, 4)) {
      const bar = bars.appendChild(document.createElement("i"));
      bar.style.background = typeof hue === "string" ? hue : `var(--kind-${hue})`;
    }
    return bars;
  }
}

const bars = gutter({
  class: "cm-bar-gutter",
  lineMarker(view, block) {
    const mark = markAt(view.state, view.state.doc.lineAt(block.from).number);
    return mark?.hues.length ? new Bars(mark.hues) : null;
  },
  lineMarkerChange: (update) =>
    update.transactions.some((each) => each.effects.some((effect) => effect.is(setMarks))),
});

const colours = HighlightStyle.define([
  {
    tag: [tags.keyword, tags.operatorKeyword, tags.modifier, tags.controlKeyword],
    color: "var(--code-keyword)",
  },
  { tag: [tags.string, tags.special(tags.string), tags.character], color: "var(--code-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
  { tag: [tags.comment, tags.meta, tags.processingInstruction], color: "var(--code-comment)" },
  {
    tag: [tags.function(tags.variableName), tags.function(tags.definition(tags.variableName))],
    color: "var(--code-name)",
  },
  {
    tag: [tags.typeName, tags.className, tags.namespace, tags.standard(tags.name)],
    color: "var(--code-type)",
  },
]);

const look = EditorView.theme({
  "&": { height: "100%", fontSize: "0.92rem", backgroundColor: "var(--bg)", color: "var(--text)" },
  "&.cm-focused": { outline: "none" },
  // Whole pixels: what is scrolled to looks the same whatever was above it.
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "round(1.38rem, 1px)" },
  ".cm-content": { padding: "var(--s1) 0", outline: "none" },
  ".cm-line": { padding: "0 var(--s3) 0 var(--s2)" },
  ".cm-gutters": { backgroundColor: "var(--bg)", color: "var(--text-3)", border: "0" },
  ".cm-lineNumbers .cm-gutterElement": { padding: "0 var(--s2) 0 var(--s2)", minWidth: "2.6rem" },
  ".cm-bar-gutter .cm-gutterElement": { width: "0.75rem" },
  ".cm-bars": { display: "flex", gap: "1px", height: "100%" },
  ".cm-bars i": { flex: "1", maxWidth: "5px", height: "100%" },
  ".cm-marked": { cursor: "pointer" },
  ".cm-marked:hover": { backgroundColor: "var(--bg-2)" },
  ".cm-line.cm-soft": { backgroundColor: "var(--bg-2)" },
  ".cm-line.cm-lit": { backgroundColor: "var(--lit)" },
  ".cm-line.cm-at": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
  ".cm-selectionBackground, &.cm-focused .cm-selectionBackground": { backgroundColor: "var(--accent-bg)" },
  ".cm-panels": { backgroundColor: "var(--bg-1)", color: "var(--text)", borderColor: "var(--line)" },
  ".cm-searchMatch": { backgroundColor: "var(--lit)" },
  ".cm-selectionMatch": { backgroundColor: "var(--accent-bg)" },
});

/** What a text is read with. `label`: what it is called when it is read aloud. */
export function reading(language: Text["language"], label: string): Extension {
  return [
    lineNumbers(),
    bars,
    marksField,
    language === "text" ? [] : language === "cpp" ? cpp() : python(),
    syntaxHighlighting(colours),
    search({ top: true }),
    highlightSelectionMatches(),
    keymap.of(searchKeymap),
    look,
    EditorState.readOnly.of(true),
    EditorView.editable.of(false),
    EditorView.contentAttributes.of({ tabindex: "0", "aria-label": label }),
  ];
}
