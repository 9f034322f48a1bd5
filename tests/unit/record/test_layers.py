"""Structured text: what people read (goldens), and what must hold for any table (properties)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from effort import steps
from hypothesis import given, settings
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from table_maker import TableMaker, decoder

from cutaway.record.layers import render_layers, short_dtype, short_target
from cutaway.record.layers.fold import fold_layers
from cutaway.record.layers.nest import Fold, Item, Layer, nest
from cutaway.record.layers.rows import Graph, Row

TITLE = "captured · Qwen3ForCausalLM · backbone"


def render(table: dict[str, Any], **options: Any) -> str:
    return render_layers(table, title=TITLE, **options)


class TestGoldens:
    def test_identical_layers_are_shown_once(self, snapshot: SnapshotAssertion) -> None:
        assert render(decoder(36), header=["batch: s72 in [2, 4096]"]) == snapshot

    def test_layers_that_differ_are_marked_or_stand_alone(self, snapshot: SnapshotAssertion) -> None:
        assert render(decoder(8, kinds={3: "gated", 4: "gated", 5: "other"})) == snapshot

    def test_a_node_without_a_layer_stays_where_it_stands(self, snapshot: SnapshotAssertion) -> None:
        assert render(decoder(4, unknown=True)) == snapshot

    def test_nodes_between_two_layers_fold_with_them(self, snapshot: SnapshotAssertion) -> None:
        assert render(fused_across_layers(5)) == snapshot

    def test_a_piece_with_the_end_of_one_layer_and_the_start_of_the_next(self, snapshot: SnapshotAssertion) -> None:
        assert render(interleaved()) == snapshot

    def test_inner_graphs_that_are_equal_are_shown_once(self, snapshot: SnapshotAssertion) -> None:
        assert render(stitching_graph()) == snapshot

    def test_without_folding(self, snapshot: SnapshotAssertion) -> None:
        assert render(decoder(2), fold=False) == snapshot

    def test_every_kind_of_argument(self, snapshot: SnapshotAssertion) -> None:
        assert render(arguments()) == snapshot

    def test_a_repeated_piece_under_its_own_layers(self, snapshot: SnapshotAssertion) -> None:
        names = {f"layers.1{rest}": f"layers.7{rest}" for rest in ("", ".mlp", ".self_attn", ".input_layernorm")}
        assert render(decoder(2), layer_map=names, only="layers.7.mlp") == snapshot


def test_providers_from_outside_go_before_those_in_the_table() -> None:
    text = render(decoder(1), providers={"rms_norm_1": "aiter"})
    assert "provider: aiter" in text
    assert "provider: native" not in text


def test_a_provider_that_differs_in_one_layer_is_a_difference() -> None:
    text = render(decoder(6), providers={"rms_norm_4": "aiter"})
    assert re.search(r"! layers\.4: rms_norm_4 = .*provider: aiter", text)


def test_a_value_taken_from_an_older_layer_is_a_difference() -> None:
    table = decoder(6)
    names = {node["name"]: node for node in table["nodes"]}
    names["add_3"]["args"][1] = {"node": names["add_1"]["id"]}
    assert "(layers.0 differs in 2 nodes, layers.4 differs in 1 node: marked !)" in render(table)
    assert "! layers.4: add_3 = aten.add(view_3@layers.3, add_1@layers.2)" in render(table)


def test_a_weight_shared_by_all_layers_is_no_difference() -> None:
    maker = TableMaker({"": "Model"} | {f"layers.{i}": "Layer" for i in range(4)})
    shared = maker.input("self.layers.0.rotary.cache", [8, 8])
    value = maker.input("x", ["s72", 8])
    for i in range(4):
        value = maker.call("aten.mm.default", [value, shared], f"layers.{i}")
    assert "layers.0–3: Layer  ×4 identical, shown once\n" in render(maker.table())


def test_a_weight_of_the_next_layer_is_no_difference() -> None:
    """A fusion that straddles two layers reads both layers' weights under the name of one."""
    maker = TableMaker({"": "Model"} | {f"layers.{i}": "Layer" for i in range(5)})
    weights = [maker.input(f"self.layers.{i}.weight", [8, 8]) for i in range(6)]
    value = maker.input("x", ["s72", 8])
    for i in range(5):
        value = maker.call("aten.mm.default", [value, weights[i + 1]], f"layers.{i}")
    assert "×5 identical, shown once\n" in render(maker.table())


def test_weights_of_a_model_that_is_no_self_are_weights() -> None:
    """A compiled function that calls a model: layers and weights stand under the variable's name."""
    maker = TableMaker({f"net.layers.{i}": "Layer" for i in range(3)})
    value = maker.input("x", ["s72", 8])
    for i in range(3):
        value = maker.call("aten.mm.default", [value, maker.input(f"net.layers.{i}.w", [8, 8])], f"net.layers.{i}")
    text = render(maker.table())
    assert "weights: 3 tensors" in text
    assert "mm = aten.mm(x, w)" in text
    assert "×3 identical, shown once\n" in text


def test_a_table_without_layers_keeps_its_order() -> None:
    maker = TableMaker({})
    value = maker.input("x", ["s72", 8])
    value = maker.call("aten.relu.default", [value], None)
    maker.output(value)
    assert render(maker.table()).splitlines()[3:] == [
        "? relu = aten.relu(x)  f32[s72, 256]",
        "output: (relu,)",
    ]


def test_an_empty_table() -> None:
    assert render({}) == f"# {TITLE}\n"


@pytest.mark.parametrize(
    ("target", "short"),
    [
        ("aten.mm.default", "aten.mm"),
        ("aten.add.Tensor", "aten.add"),
        ("aten.mean.dim", "aten.mean.dim"),
        ("vllm_ir.rms_norm.default", "ir.rms_norm"),
        ("torch.nn.functional.silu", "F.silu"),
    ],
)
def test_short_target(target: str, short: str) -> None:
    assert short_target(target) == short


@pytest.mark.parametrize(
    ("dtype", "short"),
    [
        ("float32", "f32"),
        ("bfloat16", "bf16"),
        ("int64", "i64"),
        ("bool", "bool"),
        ("float8_e4m3fn", "f8_e4m3fn"),
    ],
)
def test_short_dtype(dtype: str, short: str) -> None:
    assert short_dtype(dtype) == short


def fused_across_layers(layers: int) -> dict[str, Any]:
    """Each layer's last add is fused with the next layer's norm, which leaves a node in the root."""
    maker = TableMaker({"": "Model", "norm": "RMSNorm"} | {f"layers.{i}": "Layer" for i in range(layers)})
    value = maker.input("x", ["s72", 256])
    for i in range(layers):
        weight = maker.input(f"self.layers.{i}.weight", [256, 256])
        value = maker.call("aten.mm.default", [value, weight], f"layers.{i}")
        value = maker.call("aten.relu.default", [value], f"layers.{i}")
        if i < layers - 1:
            value = maker.call("vllm_ir.fused_add_rms_norm.default", [value, value, 1e-06], "")
    maker.output(maker.call("vllm_ir.rms_norm.default", [value, None, 1e-06], "norm"))
    return maker.table()


def interleaved() -> dict[str, Any]:
    maker = TableMaker(
        {"": "Model"} | {f"layers.{i}{rest}": cls for i in (1, 2) for rest, cls in (("", "Layer"), (".mlp", "MLP"))}
    )
    value = maker.input("x", ["s72", 256])
    for target, layer in [
        ("aten.mm.default", "layers.1.mlp"),
        ("aten.relu.default", "layers.1.mlp"),
        ("aten.add.Tensor", "layers.2"),
        ("aten.mul.Tensor", "layers.1.mlp"),
        ("aten.mm.default", "layers.2.mlp"),
    ]:
        value = maker.call(target, [value], layer)
    maker.output(value)
    return maker.table()


def stitching_graph() -> dict[str, Any]:
    maker = TableMaker({})
    value = maker.input("x", ["s72", 256])
    graphs: dict[str, Any] = {}
    for i in range(5):
        name = f"submod_{i}"
        value = maker.call(name, [value], None, op="call_module")
        inner = TableMaker({"": "Model", f"layers.{i}": "Layer"})
        inside = inner.call("aten.relu.default" if i % 2 else "aten.mm.default", [inner.input("x", [8])], f"layers.{i}")
        inner.output(inside)
        graphs[name] = inner.table()
    maker.output(value)
    return maker.table() | {"graphs": graphs}


def arguments() -> dict[str, Any]:
    maker = TableMaker({"": "Model"})
    x = maker.input("x", ["s72", 256])
    ref = {"node": x["id"]}
    values: list[Any] = [
        ref, None, True, 3, 1e-06, {"float": "-inf"}, "a\nb", {"tuple": [ref]}, [ref, 2],
        {"dict": [["k", ref]]}, {"slice": [0, None, 2]}, {"sym": "s72 + 1"}, {"torch": "torch.bfloat16"},
        {"graph": "body_0"}, {"repr": "<f>"},
    ]  # fmt: skip
    node = maker.call("aten.op.default", values, "")
    node["kwargs"] = {"dtype": {"torch": "torch.float32"}}
    many = maker.call("aten.split.Tensor", [x, 2], "", outputs=[{"dtype": "float32", "shape": [2]}, {}])
    maker.call("operator.getitem", [many, 0], "", shape=[2, 3, 4])["stride"] = [12, 1, 3]
    maker.call("operator.getitem", [x, {"tuple": [ref, {"slice": [ref, None, None]}]}], "", device="cuda:0")
    maker.call("operator.getitem", [x, {"tuple": [{"repr": "Ellipsis"}, {"slice": [0, 4, None]}]}], "")
    maker.call("_constant0", [], "", op="get_attr", constant={"dtype": "float32", "shape": []})
    return maker.table()


# ── what must hold for any table ─────────────────────────────────────────────────────────────────────

OPS = ("aten.mm.default", "aten.add.Tensor", "aten.relu.default")


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A few repeated blocks with random nodes added, taken away, moved and left without a layer."""
    count = draw(st.integers(0, 6))
    inner = ("", ".mlp", ".experts.0", ".experts.1")
    classes = {"": "Model", "norm": "Norm"}
    classes |= {f"layers.{i}{rest}": rest or "Layer" for i in range(count) for rest in inner}
    block = draw(st.lists(st.tuples(st.sampled_from(inner), st.sampled_from(OPS)), min_size=1, max_size=8))
    maker = TableMaker(classes)
    values = [maker.input("x", ["s72", 256])]
    for i in range(count):
        weight = maker.input(f"self.layers.{i}.weight", [4, 4])
        for rest, target in block:
            change = draw(st.sampled_from(("no",) * 12 + ("skip", "more", "lost", "root", "far")))
            if change == "skip":
                continue
            layer = {"lost": None, "root": ""}.get(change, f"layers.{i}{rest}")
            other = draw(st.sampled_from(values)) if change == "far" else weight
            values.append(maker.call(target, [values[-1], other], layer))
            if change == "more":
                values.append(maker.call("aten.neg.default", [values[-1]], layer))
    values.append(maker.call("aten.relu.default", [values[-1]], "norm"))
    maker.output(*values[-2:])
    return maker.table()


def shown_and_hidden(items: list[Item]) -> tuple[list[int], list[int]]:
    shown: list[int] = []
    hidden: list[int] = []
    for item in items:
        if isinstance(item, Row):
            shown.append(item.place)
            continue
        inner = item.items if isinstance(item, Layer) else item.shown.items
        if isinstance(item, Fold):
            others = [layer for layer in item.members.values() if layer is not item.shown]
            assert len(others) == len(item.members) - 1
            hidden += [place for layer in others for place in range(layer.start, layer.stop)]
        more_shown, more_hidden = shown_and_hidden(inner)
        shown += more_shown
        hidden += more_hidden
    return shown, hidden


@given(tables())
@settings(deadline=None, max_examples=150)
def test_every_node_is_shown_once_or_inside_a_fold(table: dict[str, Any]) -> None:
    graph = Graph(table, {}, {}, None)
    shown, hidden = shown_and_hidden(fold_layers(nest(graph.body), graph))
    assert sorted(shown + hidden) == list(range(len(graph.body)))


@given(tables())
@settings(deadline=None, max_examples=100)
def test_folds_and_lines_add_up(table: dict[str, Any]) -> None:
    """Counting from the text alone: nodes shown, times the folds they are in, give the nodes of the graph."""
    total, folds = 0, list[tuple[int, int]]()
    for line in render(table).splitlines():
        depth = len(line) - len(line.lstrip(" !?"))
        folds = [(at, times) for at, times in folds if at < depth]
        times = 1
        for _, each in folds:
            times *= each
        differing = line.lstrip().startswith("! ")
        if " = " in line and not differing:
            total += times
        elif "also has" in line:
            total += len(members(line))
        elif "has no such node" in line:
            total -= len(members(line))
        if (match := re.search(r"×(\d+) identical", line)) is not None:
            folds.append((depth, int(match[1])))
    assert total == sum(node["op"].startswith("call") for node in table["nodes"])


def members(line: str) -> list[int]:
    """The layers that a line with a difference is about."""
    label = line.split("! ")[1].split(":")[0]
    numbers = re.search(r"(\d[\d,…–]*)", label.removeprefix("layers."))
    assert numbers is not None
    first, ellipsis, last = numbers[1].partition("…")
    if ellipsis:
        a, b = [int(n) for n in first.split(",")]
        return list(range(a, int(last) + 1, b - a))
    found: list[int] = []
    for part in numbers[1].split(","):
        low, _, high = part.partition("–")
        found += range(int(low), int(high or low) + 1)
    return found


@given(tables())
@settings(deadline=None, max_examples=50)
def test_without_folding_every_name_is_there(table: dict[str, Any]) -> None:
    words = set(re.findall(r"[\w.]+", render(table, fold=False)))
    assert {node["name"] for node in table["nodes"]} <= words


@given(st.integers(1, 7), st.integers(0, 12))
@settings(deadline=None, max_examples=40)
def test_one_changed_node_is_one_difference(layer: int, nth: int) -> None:
    table = decoder(9)
    path = f"layers.{layer}: Qwen3DecoderLayer"
    mine = [node for node in table["nodes"] if "layer" in node and path in table["layers"][node["layer"]]]
    node = mine[nth % len(mine)]
    node["args"].append("changed")
    text = render(table)
    assert f"layers.{layer} differs in 1 node" in text
    assert f"! layers.{layer}: {node['name']} = " in text


def test_a_node_is_printed_in_few_steps_however_many_there_are() -> None:
    few, many = decoder(50), decoder(200)
    assert len(many["nodes"]) > 3000
    assert steps(lambda: render(few)) / len(few["nodes"]) < 400  # 280
    assert steps(lambda: render(many)) / len(many["nodes"]) < 400  # 273
