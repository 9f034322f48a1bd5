"""A dump with origins: three decoder layers, split at attention, one piece repeated, a fusion across two layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dump_maker import DumpMaker
from table_maker import TableMaker

FILE = "/model/tiny.py"
LINES = {5: "x = self.norm(x)", 6: "x = self.attn(x)", 7: "x = x @ self.weight", 8: "return silu(x)"}
CODE = """\
# output code of {where}
cpp_fused_neg_0 = async_compile.cpp_pybinding(['float*'], r'''
void kernel() {{}}
''')

def call(args):
    extern_kernels.mm(arg0_1, arg1_1, out=buf0)
    cpp_fused_neg_0(buf0)
    {more}
    return (buf0, )
"""
PLACES = {"norm": ("norm", 5), "attn": ("attn", 6), "mm": ("mlp", 7), "silu": ("mlp", 8)}
RANGES = ("1_16", "8_8")


class Model:
    """The tables of the model's graphs, each node with what it stems from."""

    def __init__(self) -> None:
        classes = {"": "Tiny"}
        for i in range(3):
            classes |= {f"layers.{i}": "Layer", f"layers.{i}.norm": "Norm", f"layers.{i}.attn": "Attention"}
            classes[f"layers.{i}.mlp"] = "Mlp"
        self.classes = classes

    def graph(
        self, ops: list[tuple[str, int, str]], origins: list[list[int]] | None = None, given: list[int] | None = None
    ) -> dict[str, Any]:
        """A chain of (operator, layer, target); its input stems from what is given."""
        maker = TableMaker(self.classes)
        facts: dict[str, Any] = {} if given is None else {"from": given}
        value = maker.input("x", ["s72", 8], **facts)
        for number, (op, layer, target) in enumerate(ops):
            inner, line = PLACES[op]
            facts = {} if origins is None else {"from": origins[number]}
            value = maker.call(
                target, [value], f"layers.{layer}.{inner}", shape=["s72", 8], source=list(LINES).index(line), **facts
            )
        maker.output(value)
        sources = [{"file": FILE, "line": n, "function": "forward", "code": code} for n, code in LINES.items()]
        return maker.table() | {"sources": sources}

    @property
    def ops(self) -> list[tuple[str, int, str]]:
        targets = {"norm": "ir.norm.default", "attn": "attn.run.default", "mm": "torch.mm", "silu": "torch.silu"}
        return [(op, layer, targets[op]) for layer in range(3) for op in ("norm", "attn", "mm", "silu")]


def make_lineage_dump(folder: Path, *, with_kernels: bool = True, more_code: str = "") -> DumpMaker:
    """A process folder.

    Args:
        folder: made here.
        with_kernels: whether the code says which nodes each kernel computes.
        more_code: a further line of the generated code.
    """
    model, maker = Model(), DumpMaker(folder)
    maker.compilation("backbone", model="Tiny")
    maker.snapshot("backbone/captured", "captured", model.graph(model.ops), "backbone/00.captured")
    _split(maker, model)
    for compile_range in RANGES:
        _compiled(maker, model, compile_range, with_kernels, more_code)
    maker.end("backbone")
    maker.end()
    return maker


def _split(maker: DumpMaker, model: Model) -> None:
    """Pieces 0 to 6: attention by itself, what is between two attentions together."""
    cuts = [[0], [1], [2, 3, 4], [5], [6, 7, 8], [9], [10, 11]]
    stitching = TableMaker({})
    value = stitching.input("x", ["s72", 8])
    for number, inside in enumerate(cuts):
        ids = [i + 1 for i in inside]
        value = stitching.call(f"submod_{number}", [value], None, op="call_module", **{"from": ids})
    stitching.output(value)
    maker.snapshot("backbone/after_split", "after_split", stitching.table(), "backbone/02.after_split")
    for number, inside in enumerate(cuts):
        given = [inside[0]]  # what stands before its first node: of the piece before, or the input
        table = model.graph([model.ops[i] for i in inside], [[i + 1] for i in inside], given)
        repeated = {"from": [given, *([i + 1] for i in inside), None]} if number in (3, 4, 5) else {}
        name = f"backbone/piece_{number:02d}"
        maker.snapshot(f"{name}/piece", "piece", table, f"{name}/00.piece", **repeated)


def _compiled(maker: DumpMaker, model: Model, compile_range: str, with_kernels: bool, more_code: str) -> None:
    """Piece 2 in one range: silu is decomposed, and its second half fused with the next layer's norm."""
    here = f"backbone/piece_02/range_{compile_range}"
    before = [("mm", 0, "torch.mm"), ("silu", 0, "torch.silu"), ("norm", 1, "ir.norm.default")]
    maker.snapshot(
        f"{here}/before_pre_grad", "before_pre_grad", model.graph(before, [[1], [2], [3]], [0]), f"{here}/00"
    )
    aot = [("mm", 0, "aten.mm.default"), ("silu", 0, "aten.neg.default"), ("silu", 0, "aten.div.Tensor")]
    aot.append(("norm", 1, "ir.norm.default"))
    facts: dict[str, Any] = {"phase": "inference"}
    traced = model.graph(aot, [[1], [2], [2], [3]], [0])
    maker.snapshot(f"{here}/aot_forward", "aot_forward", traced, f"{here}/01", **facts)
    fused = model.graph(
        [("mm", 0, "aten.mm.default"), ("silu", 0, "aten.neg.default"), ("norm", 1, "ours.div_norm.default")],
        [[1], [2], [3, 4]],
        [0],
    )
    leaf = f"{here}/post_grad.0.FusePass"
    changed = {"changed": True, "pass": "FusePass", "number": 0, **facts}
    maker.snapshot(leaf, "custom_pass", fused, f"{here}/02", **changed)
    maker.snapshot(f"{here}/post_grad", "post_grad", fused, f"{here}/03", **facts)
    kernels = {"extern_kernels.mm": ["mm"], "cpp_fused_neg_0": ["neg", "div_norm"]}
    text = CODE.format(where=here, more=more_code)
    file = f"{here}/90.output_code.py"
    maker.code(f"{here}/output_code", "output_code", file, text, kernels=kernels if with_kernels else {})
    kernel = f"{here}/90.kernels/cpp_fused_neg_0.cpp"
    maker.code(f"{here}/kernels/cpp_fused_neg_0", "kernel", kernel, "void kernel() {}\n")
