"""A dump of a model that chooses between two graphs: what is inside of a `torch.cond`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dump_maker import DumpMaker
from table_maker import TableMaker

BEFORE, AFTER = "model/captured", "model/post_grad"
NAMES = [("true_0", "false_0"), ("true_1", "false_1")]


def branch(ops: list[str], attribute: str = "x") -> dict[str, Any]:
    """A graph of operators in a row."""
    maker = TableMaker({"": "Model"})
    value = maker.input(attribute, [4])
    for op in ops:
        value = maker.call(op, [value], shape=[4])
    maker.output(value)
    return maker.table()


def conds(branches: list[tuple[str, str]], graphs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A model that chooses between two graphs, in one layer after another, and does a little more in each."""
    maker = TableMaker({"": "Model"} | {f"layers.{i}": "Gate" for i in range(len(branches))})
    value, chosen = maker.input("x", [4]), maker.input("p", [], "bool")
    for i, names in enumerate(branches):
        held = [maker.call(name, [], f"layers.{i}", op="get_attr", name=name) for name in names]
        value = maker.call("higher_order.cond", [chosen, *held, {"tuple": [{"node": value["id"]}]}], f"layers.{i}")
        for op in ("getitem", "neg", "exp", "relu", "tanh"):
            value = maker.call(f"aten.{op}.default", [value], f"layers.{i}", shape=[4])
    maker.output(value)
    return {**maker.table(), "graphs": graphs}


def branch_dump(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> Path:
    """A dump with these two graphs; returns its root."""
    maker = DumpMaker(folder / "dump" / "run_001" / "rank_0_dp_0")
    maker.compilation("model")
    maker.snapshot(BEFORE, "captured", before, "model/00.captured")
    maker.snapshot(AFTER, "post_grad", after, "model/01.post_grad", changed=True)
    maker.end("model")
    maker.end()
    return folder / "dump"


def changed(folder: Path) -> Path:
    """Two layers; in one of the branches of both a pass put one operator in another's place."""
    cos, sin, tan = (branch([f"aten.{op}.default"]) for op in ("cos", "sin", "tan"))
    old = {"true_0": cos, "false_0": sin, "true_1": cos, "false_1": sin}
    return branch_dump(folder, conds(NAMES, old), conds(NAMES, {**old, "true_0": tan, "true_1": tan}))
