import { describe, expect, it } from "vitest";
import type { Overview, SearchTable } from "../src/data/types";
import { engineOf } from "../src/search/columns";
import { highlighted, search } from "../src/search/engine";
import { missesOf } from "../src/search/misses";
import { glob } from "../src/search/glob";
import { label } from "../src/search/labels";
import { parse } from "../src/search/parse";
import { shapeTest } from "../src/search/shape";

type Row = Partial<Record<keyof SearchTable["columns"], string | number>>;

/** A table as the server makes it, from rows that say only what matters. */
function table(graphs: { selectors: string[]; rows: Row[] }[]): SearchTable {
  const strings: string[] = [];
  const names = ["graph", "node", "name", "op", "target", "layer", "cls", "dtype", "type", "source", "code"];
  const columns = Object.fromEntries([...names, "provider", "kernel"].map((name) => [name, [] as number[]]));
  const add = (column: string, value: string | number | undefined): void => {
    if (typeof value === "string" && !strings.includes(value)) strings.push(value);
    columns[column]!.push(typeof value === "string" ? strings.indexOf(value) : (value ?? -1));
  };
  graphs.forEach(({ rows }, graph) =>
    rows.forEach((row, node) => {
      for (const name of Object.keys(columns))
        add(name, name === "graph" ? graph : name === "node" ? node : row[name as "op"]);
    }),
  );
  return {
    strings,
    graphs: graphs.map(({ selectors }, at) => ({ graph: `g${at}`, selectors })),
    columns: columns as SearchTable["columns"],
  };
}

function norm(layer: number, more: Row = {}): Row {
  return {
    op: "ir.rms_norm",
    target: "vllm_ir.rms_norm.default",
    name: `rms_norm_${layer}`,
    layer: `layers.${layer}.input_layernorm`,
    cls: "RMSNorm",
    dtype: "bfloat16",
    type: "bf16[s72, 256]",
    source: "model/layernorm.py:81 forward",
    code: "return self.norm(x)",
    ...more,
  };
}

const mul = {
  op: "aten.mul",
  target: "aten.mul.Tensor",
  name: "mul",
  dtype: "float32",
  type: "f32[s72, 256]",
};
const input = { op: "placeholder", target: "input_ids", name: "x", dtype: "int64", type: "i64[s72]" };

const TABLE = table([
  {
    selectors: ["backbone/captured"],
    rows: [input, norm(0), norm(1), norm(2), { ...mul, layer: "layers.0.mlp", cls: "MLP" }],
  },
  { selectors: ["backbone/piece_02/piece", "backbone/piece_04/piece"], rows: [norm(1)] },
  {
    selectors: ["backbone/piece_02/range_1_16/post_grad.2.Lowering"],
    rows: [{ ...mul, layer: "layers.1.input_layernorm", cls: "RMSNorm", kernel: "cpp_fused_0" }],
  },
]);

const piece = (name: string, same_as: string | null, layers: string[]) => ({ name, same_as, layers });
const OVERVIEW = {
  compilations: [
    {
      name: "backbone",
      pieces: [
        piece("piece_02", null, ["layers.1.input_layernorm"]),
        piece("piece_04", "piece_02", ["layers.2.input_layernorm"]),
      ],
    },
  ],
} as unknown as Overview;

const ENGINE = engineOf(TABLE, OVERVIEW, []);
const forms = (query: string) =>
  search(ENGINE, query).forms.map((form) => `${form.count} ${form.op} ${form.where}`);

describe("queries", () => {
  it("are read as `cutaway find` reads them", () => {
    const { terms, problems } = parse('op:mm|addmm -dtype:bf16 source:"self.norm(x)" gelu shape:[s*, 256]');
    expect(problems).toEqual([]);
    expect(terms.map(({ field, values, negated }) => [field, values, negated])).toEqual([
      ["op", ["mm", "addmm"], false],
      ["dtype", ["bf16"], true],
      ["source", ["self.norm(x)"], false],
      ["word", ["gelu"], false],
      ["shape", ["[s*, 256]"], false],
    ]);
  });

  it("are read while they are typed", () => {
    for (const text of [
      "",
      "-",
      "op:",
      'source:"self.no',
      "shape:[s*, ",
      "|",
      "op:|",
      '"',
      "[",
      ":",
      "--x",
    ]) {
      expect(() => search(ENGINE, text)).not.toThrow();
    }
    expect(parse("op:").terms).toEqual([]);
    expect(parse('source:"self.no').terms[0]!.values).toEqual(["self.no"]);
  });

  it("name a field that there is not", () => {
    expect(parse("layr:mlp").problems[0]).toContain("layr:");
    expect(parse("pass:*").problems[0]).toContain("cutaway find");
  });
});

describe("patterns", () => {
  it.each([
    ["*.mlp", "layers.3.mlp", true],
    ["*.mlp", "layers.3.mlp.act", false],
    ["layers.0–3.*", "layers.2.mlp", true],
    ["layers.0-3.*", "layers.12.mlp", false],
    ["layers.1,3…9.x", "layers.7.x", true],
    ["layers.1,3…9.x", "layers.8.x", false],
    ["a?c", "abc", true],
    ["a.c", "abc", false],
    ["*a*a*b", "xaab", true],
    ["RMS*", "rmsnorm", true],
  ])("%s on %s: %s", (pattern, text, fits) => expect(glob(pattern, true)(text)).toBe(fits));

  it("take no time without end", () => {
    const began = performance.now();
    expect(glob("*a*a*a*a*a*a*a*a*b")("a".repeat(20_000))).toBe(false);
    expect(performance.now() - began).toBeLessThan(2000);
  });

  it.each([
    ["[s*, 256]", "f32[s72, 256]", true],
    ["[s*, 256]", "f32[s72, 256, 1]", false],
    ["[..., 256]", "f32[1, s72, 256]", true],
    ["[>=64, *]", "f32[32, 1]", false],
    ["[>=64, *]", "f32[s0, 1], f32[64, 2]", true],
    ["256", "f32[s72, 256]", true],
    ["256", "f32[s72, 2, 128] strides [256, 128, 1]", false],
    ["[Max(1,s72), 2]", "f32[Max(1, s72), 2]", true],
  ])("shape %s on %s: %s", (value, text, fits) => expect(shapeTest(value)(text)).toBe(fits));

  it("fold names", () => {
    expect(label(["layers.0.mlp", "layers.1.mlp", "layers.2.mlp", "norm"])).toBe("layers.0–2.mlp, norm");
    expect(label([1, 2].flatMap((i) => [0, 1, 2].map((j) => `layers.${i}.experts.${j}`)))).toBe(
      "layers.1–2.experts.0–2",
    );
    expect(label([1, 3, 5, 7].map((i) => `experts.${i}.up`))).toBe("experts.1,3…7.up");
  });
});

describe("search", () => {
  it("folds identical layers and stages", () => {
    expect(forms("op:rms_norm")).toEqual(["3 ir.rms_norm layers.0–2.input_layernorm"]);
    const [form] = search(ENGINE, "op:rms_norm").forms;
    expect(form!.spots.map((spot) => spot.stage)).toEqual(["captured", "piece"]);
  });

  it("counts, of the stages, those that have the layers of what it found", () => {
    const stages = (query: string) =>
      search(ENGINE, query).forms.map((form) => `${form.spots.length} of ${form.of}`);
    expect(stages("op:rms_norm")).toEqual(["2 of 3"]);
    expect(stages("op:mul layer:layers.0.*")).toEqual(["1 of 1"]);
    // A piece that was compiled with another counts under its own layers.
    expect(stages("op:mul layer:layers.2.*")).toEqual(["1 of 3"]);
    // What is asked for narrows the stages; what is in no layer may be at any.
    expect(stages("op:rms_norm stage:captured")).toEqual(["1 of 1"]);
    expect(stages("op:placeholder")).toEqual(["1 of 3"]);
  });

  it("sees a piece that was compiled with another under its own layers", () => {
    expect(forms("layer:layers.2.* stage:post_grad")).toEqual(["1 aten.mul layers.2.input_layernorm"]);
    expect(forms("piece:4 op:mul")).toEqual(["1 aten.mul layers.2.input_layernorm"]);
    expect(forms("piece:4 stage:piece")).toEqual(["1 ir.rms_norm layers.2.input_layernorm"]);
    expect(forms("kernel:cpp_*")).toEqual(["2 aten.mul layers.1–2.input_layernorm"]);
  });

  it("asks by every field", () => {
    expect(forms("dtype:bf16 layer:layers.1.*")).toEqual(["1 ir.rms_norm layers.1.input_layernorm"]);
    expect(forms("layer:MLP")).toEqual(["1 aten.mul layers.0.mlp"]);
    expect(forms("op:ir.* -layer:layers.0-1.* stage:captured")).toEqual([
      "1 ir.rms_norm layers.2.input_layernorm",
    ]);
    expect(forms("source:layernorm.py:80-90 stage:captured")).toEqual([
      "3 ir.rms_norm layers.0–2.input_layernorm",
    ]);
    expect(forms("source:layernorm.py:1-9")).toEqual([]);
    expect(forms("source:self.norm stage:captured")).toHaveLength(1);
    expect(forms("op:placeholder")).toEqual(["1 placeholder input_ids"]);
    expect(forms("name:input_*")).toEqual(["1 placeholder input_ids"]);
    expect(forms("op:input_ids")).toEqual([]);
    expect(forms("stage:*Lowering*")).toHaveLength(1);
    expect(forms("range:1_16 compilation:backbone")).toHaveLength(1);
  });

  it("reads what is being typed as a beginning", () => {
    expect(forms("op:rms")).toEqual(["3 ir.rms_norm layers.0–2.input_layernorm"]);
    expect(search(ENGINE, "op:rms").widened).toBe("op:rms*");
    expect(search(ENGINE, "op:rms_norm").widened).toBeNull();
    expect(forms("op:rms ")).toEqual([]);
  });

  it("takes plain words for anything, operators first", () => {
    expect(forms("rms")[0]).toBe("3 ir.rms_norm layers.0–2.input_layernorm");
    expect(forms("mlp")).toEqual(["1 aten.mul layers.0.mlp"]);
    expect(forms("rms bf16 layers.2")).toEqual(["1 ir.rms_norm layers.2.input_layernorm"]);
  });

  it("says which term finds nothing, and what comes near", () => {
    const misses = missesOf(ENGINE, parse("op:rms_nrm stage:captured"));
    expect(misses.map(({ term, nodes, near }) => [term.text, nodes, near])).toEqual([
      ["op:rms_nrm", 0, ["ir.rms_norm"]],
      ["stage:captured", 5, []],
    ]);
  });

  it("names the nodes to mark in a graph", () => {
    expect([...highlighted(ENGINE, "op:rms_norm", "g0")]).toEqual([1, 2, 3]);
    expect([...highlighted(ENGINE, "op:rms_norm layer:layers.2.*", "g1")]).toEqual([0]);
    expect([...highlighted(ENGINE, "", "g0")]).toEqual([]);
  });
});
