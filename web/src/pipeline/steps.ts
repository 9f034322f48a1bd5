// Which steps the list shows: the whole graph's, then a piece's, in order; which one is looked at.
import type { CompilationSummary, PieceSummary, Selector, Step } from "../data/types";

/** What the pipeline shows. */
export interface Here {
  compilation: string;
  /** Null: the whole graph. */
  piece: string | null;
  /** As `Step.range` has it: `1_4096`. */
  range: string | null;
  /** The step that is looked at; null: the list is empty. */
  step: Step | null;
}

/**
 * Finds what a place in the URL means: a step, a compilation, a piece or a range; whatever is left out is chosen.
 *
 * `within` is the list that a step is looked at in, where it is not its own: a step of the whole graph on the way to a
 * piece, a pass of an equal piece. `within()` prints it.
 */
export function resolve(
  at: Selector,
  compilation: CompilationSummary,
  steps: readonly Step[],
  within?: string,
): Here {
  const name = compilation.name;
  const exact = steps.find((step) => step.selector === at);
  const [inPiece, inRange] = (within ?? "").split("/");
  const rest = exact || !at.startsWith(`${name}/`) ? [] : at.slice(name.length + 1).split("/");
  const wanted = compilation.pieces.find((piece) => piece.name === (inPiece || rest[0]));
  let piece = wanted?.name ?? null;
  if (!wanted && exact) piece = exact.piece;
  else if (!wanted && rest.length === 0) piece = busiest(compilation)?.name ?? null;
  const ranges = piece ? rangesOf(steps, compiledWith(compilation, piece)) : [];
  const asked = inRange || exact?.range || rest[1]?.replace(/^range_/, "");
  const range = ranges.find((each) => each === asked) ?? ranges[0] ?? null;
  const list = listed(compilation, steps, piece, range);
  return { compilation: name, piece, range, step: exact ?? first(list, piece) };
}

/** What `resolve` needs besides the step's selector to find the same list again; null: nothing. */
export function within(
  step: Step,
  piece: string | null,
  range: string | null,
  usual: string | null,
): string | null {
  const own = step.piece === piece && (step.range ?? usual) === range;
  return own || piece === null ? null : `${piece}${range === null ? "" : `/${range}`}`;
}

/** The piece whose passes are shown: an equal one was compiled once. */
export function compiledWith(compilation: CompilationSummary, piece: string): string {
  return compilation.pieces.find((each) => each.name === piece)?.same_as ?? piece;
}

/** The ranges of a piece, in order. */
export function rangesOf(steps: readonly Step[], piece: string): string[] {
  const found = new Set<string>();
  for (const step of steps) if (step.piece === piece && step.range !== null) found.add(step.range);
  return [...found];
}

/** From the captured graph to the kernels: steps of the whole graph, of the piece, of its range; last the whole's code. */
export function listed(
  compilation: CompilationSummary,
  steps: readonly Step[],
  piece: string | null,
  range: string | null,
): Step[] {
  if (piece === null) return steps.filter((step) => step.piece === null);
  const compiled = compiledWith(compilation, piece);
  const whole = steps.filter((step) => step.piece === null && step.kind !== "code" && step.range === null);
  const own = steps.filter((step) => step.piece === piece && step.range === null);
  const passes = steps.filter(
    (step) => step.piece === compiled && step.range !== null && step.range === range,
  );
  return [...whole, ...own, ...passes];
}

/** The piece that is worth the first look: of the kind that there is most of. */
export function busiest(compilation: CompilationSummary): PieceSummary | undefined {
  const times = new Map<number, number>();
  for (const piece of compilation.pieces) {
    if (piece.compiled) times.set(piece.kind, (times.get(piece.kind) ?? 0) + 1);
  }
  const most = [...times].sort(([a, m], [b, n]) => n - m || a - b)[0]?.[0];
  return compilation.pieces.find((piece) => piece.kind === most && piece.same_as === null);
}

/** The first step that changed something of a piece; without one the first. */
function first(list: readonly Step[], piece: string | null): Step | null {
  const inside = list.filter((step) => (piece === null ? true : step.piece !== null));
  return inside.find((step) => step.changed) ?? inside[0] ?? list[0] ?? null;
}

/** Whether a step has nothing to look at: a pass that left the graph as it was. */
export function idle(step: Step): boolean {
  return step.kind === "pass" && !step.changed;
}

/** The step after (or before) in the list. */
export function neighbour(list: readonly Step[], step: Step | null, by: number): Step | null {
  const at = list.findIndex((each) => each === step);
  if (at < 0) return (by > 0 ? list[0] : list.at(-1)) ?? null;
  return list[Math.min(list.length - 1, Math.max(0, at + by))] ?? null;
}

/** The step of another list that is the same stage or pass: for when the piece or the range is changed. */
export function counterpart(list: readonly Step[], step: Step | null): Step | null {
  if (!step) return null;
  return (
    list.find((each) => each.selector === step.selector) ??
    list.find((each) => each.name === step.name && each.stage === step.stage) ??
    null
  );
}

/** What a stage is part of; the list shows it as a heading. */
export function part(step: Step): string {
  const { stage } = step;
  if (step.kind === "code") return step.piece === null ? "Generated code" : "Inductor's code";
  if (step.piece === null && step.range === null && /^(captured|before_split|after_split)$/.test(stage))
    return "Whole graph";
  if (stage === "piece") return "Piece";
  if (stage.includes("pre_grad")) return "Pre-grad";
  if (stage.includes("joint")) return "Joint";
  if (stage.includes("aot")) return "AOTAutograd";
  if (stage.includes("post_grad") || stage === "custom_pass") return "Post-grad";
  return stage.replaceAll("_", " ");
}

/** The name without the stage in front of it: `13 decompose_auto_functionalized`. */
export function shortName(step: Step): { number: string; name: string; maker: string } {
  const match = /^(inductor_)?(pre_grad|joint|post_grad)(?:\.(\d+))?\.(.+)$/.exec(step.name);
  if (!match) return { number: "", name: step.name, maker: "" };
  return { number: match[3] ?? "", name: match[4] as string, maker: match[1] ? "inductor" : "" };
}

/** One line of the list. */
export type Line =
  | { kind: "part"; words: string }
  | { kind: "step"; step: Step }
  /** The counts of operators, below a step that changed some. */
  | { kind: "delta"; step: Step };

/** The lines of the list. */
export function lines(list: readonly Step[], hideIdle: boolean, current: Step | null): Line[] {
  const found: Line[] = [];
  let before = "";
  for (const step of list) {
    if (hideIdle && idle(step) && step !== current) continue;
    const words = part(step);
    if (words !== before) found.push({ kind: "part", words });
    before = words;
    found.push({ kind: "step", step });
    if (Object.keys(step.ops_delta).length) found.push({ kind: "delta", step });
  }
  return found;
}
