// What the page is told, view by view. The server answers these under /api/, an offline report carries them inside.
// The Python side is src/cutaway/web/data/; tests/unit/web holds that both say the same. docs/web-data.md describes it.
//
//   index                                        Index
//   {run}/{process}/overview                     Overview
//   {run}/{process}/steps/{compilation}          Steps
//   {run}/{process}/graph/{fingerprint}          Graph       (equal graphs are one)
//   {run}/{process}/snapshot/{selector}          Snapshot    (what is a snapshot's own: names of layers, origins, providers)
//   {run}/{process}/layers/{selector}            Layers      (the structured form, as rows that fold)
//   {run}/{process}/text/{raw|code}/{selector}   Text
//   {run}/{process}/diff/{selector}              Difference  (against the graph before it)
//   {run}/{process}/diff/{selector}..{selector}  Difference
//   {run}/{process}/lineage/{compilation}        Ways
//   {run}/{process}/lineage/{compilation}/{piece}  PieceWays
//   {run}/{process}/search                       Index of all nodes: SearchTable
//   {run}/{process}/compare/{run}/{process}      Comparison
//   {run}/{process}/between/{selector}../{run}/{process}/{selector}  Difference (of two processes)

export type Fingerprint = string;
export type Selector = string;
export type Size = number | string;

/** Sentences for people: what is missing or wrong, and what to do. */
export interface Problem {
  what: string;
  why: string;
  cure: string;
}

export interface Index {
  schema: 1;
  cutaway: string;
  title: string;
  /** Newest first. */
  runs: { name: string; processes: { name: string; same: string[] }[] }[];
  /** What is shown first. */
  run: string;
  process: string;
  /** Whether more may come: the page then follows `/api/events`. */
  live: boolean;
  /** Whether it is being recorded just now. */
  growing: boolean;
  /** For an offline report: when and how it was made. */
  report: {
    made: string;
    redacted: boolean;
    only: string[];
    left_out: { what: string; why: string }[];
  } | null;
  /** Another dump, to compare with: what it is called, and what of it is compared first. Its runs are in `runs`, too. */
  against: { title: string; run: string; process: string } | null;
}

export interface Overview {
  run: string;
  process: string;
  model: string | null;
  versions: Record<string, string>;
  argv: string[];
  /** What of the configuration is worth a line: name -> value; the rest is in `context`. */
  facts: { name: string; value: string }[];
  context: unknown;
  complete: boolean;
  notes: string[];
  errors: { where: string; error: string; traceback: string }[];
  findings: Finding[];
  compilations: CompilationSummary[];
  /** The processes of the run, those that compiled the same together. */
  ranks: { name: string; same: string[] }[];
  totals: { nodes: number; graphs: number; kernels: number; files_bytes: number };
}

/** Something to look at first. `where` opens it. */
export interface Finding {
  kind:
    | "pattern"
    | "provider"
    | "specialised"
    | "ranks"
    | "recompile"
    | "graph_break"
    | "error"
    | "cache"
    | "incomplete";
  severity: "warn" | "info";
  text: string;
  detail: string;
  where: Selector | null;
  compilation: string | null;
}

export interface CompilationSummary {
  name: string;
  function: string | null;
  file: string | null;
  line: number | null;
  model: string | null;
  recompile: number;
  reason: string[];
  finished: boolean;
  failed: string | null;
  /** Seconds, by name, in order of size. */
  times: { name: string; seconds: number }[];
  caches: { kind: string; results: Record<string, number> }[];
  nodes: number;
  pieces: PieceSummary[];
  /** Steps of the whole graph (before and after the split), as selectors. */
  whole: Selector[];
}

export interface PieceSummary {
  name: string;
  /** The earlier piece that it is equal to; null when it is the first of its kind. */
  same_as: string | null;
  /** Equal pieces share a kind: 0, 1, 2 … in model order. */
  kind: number;
  /** A splitting op runs as it is. */
  compiled: boolean;
  /** `layers.0`, `embed_tokens`: the outermost layers it touches, shortened. */
  label: string;
  layers: string[];
  nodes: number;
  ranges: RangeSummary[];
  /** Operators, most frequent first. */
  ops: [string, number][];
}

export interface RangeSummary {
  name: string;
  /** Ranges that went through the same graphs. */
  same: string[];
  seconds: number | null;
  cached: boolean;
  kernels: number;
}

export interface Steps {
  compilation: string;
  steps: Step[];
  /** What the stages of these steps are, in words for a reader who is new to torch.compile. */
  stages: Record<string, StageWords>;
}

export interface StageWords {
  title: string;
  sentence: string;
}

/** A snapshot, a pass without one (it changed nothing), or generated text; in the order in which they were recorded. */
export interface Step {
  kind: "snapshot" | "pass" | "code";
  selector: Selector;
  /** The last part of the selector. */
  name: string;
  stage: string;
  phase: string | null;
  pass: string | null;
  piece: string | null;
  range: string | null;
  changed: boolean;
  nodes: number | null;
  ops_delta: Record<string, number>;
  ms: number | null;
  /** Fingerprint; null for code and for passes without a graph. */
  graph: Fingerprint | null;
  same_as: Selector | null;
  /** The snapshot before it. */
  before: Selector | null;
  cached: boolean;
  /** `output_code`, `kernel`, `execution_code`, `guards` … for code. */
  code: string | null;
  counts: Record<string, number>;
  notes: Record<string, unknown>;
  coverage: Record<string, number>;
  /** Paths in the dump. */
  files: string[];
  /** When it came: its number in the manifest. */
  seq: number;
}

export interface Graph {
  fingerprint: Fingerprint;
  symbols: Record<
    string,
    { min: number | null; max: number | null; hint: number | null; source: string | null }
  >;
  /** Paths of "fqn: class", outermost first. */
  layers: string[][];
  sources: SourceLine[];
  nodes: GraphNode[];
  /** The graphs inside of it, such as the branches of a `cond`, each behind the one that it is in. */
  inside: InnerGraph[];
}

export interface SourceLine {
  file: string;
  line: number;
  function: string;
  code: string;
}

/** A graph inside of another: its nodes have ids of their own. */
export interface InnerGraph {
  name: string;
  /** Index into `inside` of the graph around it; null: the graph itself. */
  around: number | null;
  /** Id of the node there that takes it first; null when none does. */
  taken_by: number | null;
  /** For each of its inputs, the id there of what comes in (null: a constant); empty when that is not known. */
  operands: (number | null)[];
  layers: string[][];
  sources: SourceLine[];
  nodes: GraphNode[];
}

export interface GraphNode {
  id: number;
  name: string;
  /** placeholder, get_attr, call_function, call_method, call_module, output. */
  op: string;
  /** The whole name of what is called: `torch.ops.aten.mul.Tensor`. */
  target: string;
  /** In short: `mul`; what the other texts of a dump call it. */
  short: string;
  /** Right of the `=`, with names: `mul(x, rsqrt)`. */
  text: string;
  /** Ids that it reads, each once, in order. */
  inputs: number[];
  /** Ids of nodes that wrote in place into what it reads, after that was made; only what is certain. */
  after: number[];
  /** `f32[s72, 256]`, or empty. */
  type: string;
  dtype: string | null;
  shape: Size[] | null;
  device: string | null;
  /** Indices into `layers` and `sources`; null when unknown. */
  layer: number | null;
  source: number | null;
  /** For a placeholder, the weight's path or the input's name. */
  input: string | null;
  provider: string | null;
  /** Numbers of bytes it yields, where every size is a number or has a hint. */
  bytes: number | null;
}

export interface Snapshot {
  selector: Selector;
  graph: Fingerprint;
  before: Selector | null;
  /** Layers of the table -> layers here, for a repeated piece. */
  layer_map: Record<string, string>;
  /** For each node, ids in the snapshot before that it stems from; null when none are known for any. */
  origins: number[][] | null;
  providers: Record<string, string>;
  /** Of the last graph: node id -> kernels that it is in. */
  kernels: Record<string, string[]>;
  donated_inputs: number[];
}

/** The structured form. A layer's rows follow it, deeper by one. */
export interface Layers {
  selector: Selector;
  rows: LayerRow[];
}

export interface LayerRow {
  kind: "layer" | "node" | "note";
  depth: number;
  /** What is written, without indentation. */
  text: string;
  /** Right column: type; then source as `file:line`. */
  type: string;
  source: string;
  provider: string;
  /** `?` layer unknown, `!` an exception from the layer that is shown, or empty. */
  mark: string;
  /** Node ids that the row stands for: of identical layers too, the one that is shown first. */
  nodes: number[];
  /** For a layer: its fqn as written (`layers.1–2`), its class, and how many layers it stands for. */
  fqn: string | null;
  cls: string | null;
  times: number;
}

export interface Text {
  selector: Selector;
  language: "python" | "cpp" | "text";
  path: string;
  text: string;
  /** For generated code: where kernels are called, and where pieces are (stitching code). Lines from 1 on. */
  marks: TextMark[];
}

export interface TextMark {
  line: number;
  /** Last line, this one included. */
  end: number;
  kind: "kernel" | "piece" | "source";
  /** The kernel or the piece. */
  name: string;
  /** What it opens: the kernel's code, the piece's first step. */
  selector: Selector | null;
  /** Names of nodes of the last graph that the kernel computes. */
  nodes: string[];
}

export interface Difference {
  before: { selector: Selector; graph: Fingerprint; nodes: number; run: string; process: string };
  after: { selector: Selector; graph: Fingerprint; nodes: number; run: string; process: string };
  equal: boolean;
  /** `812 → 740 nodes, rms_norm −64`. */
  summary: string;
  ops_delta: Record<string, number>;
  sizes: [Size, Size][];
  rewrites: Rewrite[];
  /** Node id after -> node id before, of those that are the same node. */
  kept: Record<string, number>;
  /** Ids that differ: only before, only after, and those that stayed and differ. */
  removed: number[];
  added: number[];
  changed: [number, number][];
  /** Both graphs in the structured form, set side by side and folded over identical layers. */
  rows: DifferenceRow[];
}

export interface Rewrite {
  kind: "inserted" | "deleted" | "replaced" | "changed" | "moved";
  text: string;
  cls: string;
  /** `×31 of 32`. */
  often: string;
  count: number;
  layers: (string | null)[];
  providers: string[];
  passes: string[];
  types: [string, string][];
  absent: { layers: string[]; reason: string }[];
  places: { layer: string | null; before: number[]; after: number[] }[];
  /** Names of the graphs inside (branches of a `cond`) in which it is; then `places` is empty. Empty: in the graph itself. */
  graphs: string[];
}

export interface DifferenceRow {
  kind: "layer" | "same" | "changed" | "removed" | "added" | "replaced" | "note";
  depth: number;
  before: LayerRow | null;
  after: LayerRow | null;
  /** Index into `rewrites` that it belongs to. */
  rewrite: number | null;
}

/** Which node is which through a compilation: sets of nodes of its first snapshot, called roots. */
export interface Ways {
  compilation: string;
  first: Selector | null;
  /** Source lines: index into `sources` of the first snapshot's graph -> roots. */
  lines: Record<string, number[]>;
  /** Root -> the pieces (by name) in which it is computed. */
  pieces: Record<string, string[]>;
  /** Snapshots of the whole graph, as in PieceWays. */
  snapshots: SnapshotWays[];
  /** Calls of kernels in the output code of a whole graph: of what was compiled without being split. */
  calls: KernelCall[];
  coverage: { nodes: number; known: number };
}

/** A call of a kernel in output code. */
export interface KernelCall {
  range: string | null;
  phase: string | null;
  kernel: string;
  /** Selector of the output code, lines in it (from 1 on), and of the kernel's own code. */
  code: Selector;
  lines: number[];
  kernel_code: Selector | null;
  /** Ids of nodes of the last graph. */
  nodes: number[];
}

export interface PieceWays {
  compilation: string;
  piece: string;
  /** The piece whose snapshots these are, when it was compiled with another one. */
  compiled_with: string | null;
  /** Layers there -> layers here. */
  layer_map: Record<string, string>;
  snapshots: SnapshotWays[];
  /** Calls of kernels in output code. */
  calls: KernelCall[];
}

export interface SnapshotWays {
  selector: Selector;
  graph: Fingerprint;
  range: string | null;
  /** For each node, an index into `sets`. */
  roots: number[];
  /** Distinct sets of roots, each sorted; the empty one means unknown. */
  sets: number[][];
}

/** All nodes of all graphs, once each, in columns; strings by index into `strings`. -1: none. */
export interface SearchTable {
  strings: string[];
  /** The graphs, each with all snapshots that have it. */
  graphs: { graph: Fingerprint; selectors: Selector[] }[];
  /** Columns of equal length. */
  columns: {
    graph: number[];
    node: number[];
    name: number[];
    /** As people say it: `ir.rms_norm`; for inputs, constants and the output the kind of node. */
    op: number[];
    /** The whole name of what is called; for an input its model path. */
    target: number[];
    layer: number[];
    cls: number[];
    dtype: number[];
    type: number[];
    source: number[];
    code: number[];
    provider: number[];
    kernel: number[];
  };
}

/** `cutaway compare A B --json`, whose shape docs/dump-format.md gives, with what opens each. */
export interface Comparison {
  a: { run: string; process: string; title: string };
  b: { run: string; process: string; title: string };
  equal: boolean;
  summary: string[];
  settings: { name: string; a: string | null; b: string | null }[];
  totals: { name: string; a: number | null; b: number | null }[];
  compilations: {
    name: string;
    a: string | null;
    b: string | null;
    same: boolean;
    text: string;
    pieces: {
      a: string | null;
      b: string | null;
      range: string | null;
      same: boolean;
      /** Where they part: the first step that differs, with its selectors on both sides. */
      parts_at: { text: string; a: Selector | null; b: Selector | null } | null;
      steps: { name: string; a: Selector | null; b: Selector | null; same: boolean }[];
    }[];
  }[];
}
