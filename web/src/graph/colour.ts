// What a colour stands for. Each way of colouring gives classes; a class has a colour variable and words for the legend.

import type { Snapshot } from "../data/types";
import type { Drawing, Item } from "./items";
import { count, plain } from "./words";

export const COLOURINGS = ["op", "dtype", "provider", "kernel", "change"] as const;
export type Colouring = (typeof COLOURINGS)[number];

export interface Class {
  /** Name of a CSS variable. */
  colour: string;
  words: string;
  /** All of what it stands for, when `words` is cut. */
  title: string;
  count: number;
}

export interface Colours {
  classes: Class[];
  /** Item -> index into `classes`. */
  of: Uint8Array;
}

/** Kinds of operators, asked in this order. */
const KINDS: [string, string, RegExp][] = [
  [
    "communication",
    "--graph-7",
    /all_reduce|all_gather|reduce_scatter|all_to_all|broadcast_|wait_tensor|_c10d/,
  ],
  ["attention", "--graph-2", /attention|attn|flash|sdpa|kv_cache|mla_|mamba|short_conv|gdn/],
  [
    "matrix product",
    "--graph-0",
    /(^|[_.])(mm|bmm|addmm|baddbmm|matmul|linear|einsum|dot|conv\dd?|convolution|gemm|moe)($|[_.])|_mm$|_mm[_.]|scaled_mm|gemm|fused_experts/,
  ],
  [
    "norm, reduction",
    "--graph-1",
    /norm|softmax|(^|[_.])(mean|sum|amax|amin|max|min|var|std|prod|any|all|argmax|topk|cumsum|sort)($|[_.])/,
  ],
  ["activation", "--graph-3", /silu|gelu|relu|sigmoid|tanh|swiglu|softplus|mish|hardswish|erf/],
  ["quantisation", "--graph-8", /quant|fp8|int8|int4|awq|gptq|marlin/],
  [
    "gather, copy",
    "--graph-5",
    /embedding|index|gather|scatter|(^|[_.])(cat|stack|clone|copy|copy_|contiguous|empty|full|zeros|ones|arange|pad|repeat|where|select_scatter|slice_scatter|roll)($|[_.])|empty_like|new_/,
  ],
  [
    "view",
    "--graph-6",
    /getitem|view|reshape|permute|transpose|squeeze|expand|slice|select|split|chunk|flatten|unbind|alias|detach|data_attr|as_strided|movedim|(^|[_.])(t|size|Size|dim|numel)($|[_.])|sym_size/,
  ],
  [
    "elementwise",
    "--graph-4",
    /(^|[_.])(add|sub|mul|div|neg|pow|rsqrt|sqrt|exp|log|cos|sin|abs|reciprocal|to|type|float|half|bfloat16|long|int|bool|maximum|minimum|clamp|eq|ne|lt|le|gt|ge|logical_not|bitwise_and|floordiv|truediv|mod|iadd|imul|convert_element_type|_to_copy|masked_fill|round|floor|square)_?($|[_.])/,
  ],
];
const OTHER: Class = { colour: "--graph-none", words: "other", title: "other", count: 0 };
const PALETTE = 9;
const MOST = 9;

export function colours(drawing: Drawing, by: Colouring, snapshot: Snapshot | null): Colours {
  if (by === "op") return byKind(drawing);
  if (by === "change") return byChange(drawing);
  const name = {
    dtype: (item: Item) => item.node.dtype ?? "",
    provider: (item: Item) => snapshot?.providers[item.node.name] ?? item.node.provider ?? "",
    kernel: (item: Item) => snapshot?.kernels[String(item.node.id)]?.[0]?.replace(/#\d+$/, "") ?? "",
  }[by];
  return byName(drawing, name, { dtype: "no tensor", provider: "no provider", kernel: "in no kernel" }[by]);
}

function byKind(drawing: Drawing): Colours {
  const classes: Class[] = KINDS.map(([words, colour]) => ({ colour, words, title: words, count: 0 }));
  const inputs =
    classes.push({ colour: "--graph-input", words: "input, output", title: "input, output", count: 0 }) - 1;
  const other = classes.push({ ...OTHER }) - 1;
  const known = new Map<string, number>();
  const of = Uint8Array.from(drawing.items, (item) => {
    const { op, target } = item.node;
    if (op === "placeholder" || op === "get_attr" || op === "output") return inputs;
    let found = known.get(target);
    if (found === undefined) {
      const name = target.length > 200 ? target.slice(0, 200) : target;
      found = KINDS.findIndex(([, , pattern]) => pattern.test(name));
      if (found < 0) found = other;
      known.set(target, found);
    }
    return found;
  });
  return tally(classes, of);
}

function byChange(drawing: Drawing): Colours {
  const classes = (["kept", "added", "removed", "changed"] as const).map((words): Class => {
    return { colour: words === "kept" ? "--graph-none" : `--${words}`, words, title: words, count: 0 };
  });
  const place = { kept: 0, added: 1, removed: 2, changed: 3 };
  return tally(
    classes,
    Uint8Array.from(drawing.items, (item) => place[item.change ?? "kept"]),
  );
}

/** The names with most nodes have a colour each; the rest share one. */
function byName(drawing: Drawing, name: (item: Item) => string, none: string): Colours {
  const counts = new Map<string, number>();
  const names = drawing.items.map(name);
  for (const one of names) if (one) counts.set(one, (counts.get(one) ?? 0) + 1);
  const ranked = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([one]) => one);
  const own = ranked.length > MOST ? ranked.slice(0, MOST - 1) : ranked;
  const classes = own.map((one, at): Class => {
    return { colour: `--graph-${at % PALETTE}`, words: plain(one, 36), title: plain(one, 400), count: 0 };
  });
  const rest = ranked.length - own.length;
  const others =
    classes.push({ ...OTHER, words: `${count(rest)} others`, title: `${count(rest)} others` }) - 1;
  const nothing = classes.push({ colour: "--graph-none", words: none, title: none, count: 0 }) - 1;
  const place = new Map(own.map((one, at) => [one, at]));
  return tally(
    classes,
    Uint8Array.from(names, (one) => (one ? (place.get(one) ?? others) : nothing)),
  );
}

function tally(classes: Class[], of: Uint8Array): Colours {
  for (const at of of) classes[at]!.count++;
  return { classes, of };
}
