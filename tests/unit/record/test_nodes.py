"""Node tables: names of targets, layers, source lines, arguments, counts."""

from __future__ import annotations

import json
import operator
from typing import Any

import pytest
import torch
from graphs import Input, Maker, Symbols, table_of
from torch import fx

from cutaway.record.layers.words import short_name
from cutaway.record.names import (
    TORCH_FILES,
    layer_path,
    module_fqn,
    readable_placeholder,
    target_name,
    users_frame,
)
from cutaway.record.nodes import Table, TableBuilder
from cutaway.record.summary import coverage, layers_of, op_counts, ops_delta

aten = torch.ops.aten


def helper(x: torch.Tensor) -> torch.Tensor:
    return x


class TestTargets:
    @pytest.mark.parametrize(
        ("target", "name"),
        [
            (aten.mm.default, "aten.mm.default"),
            (aten.add.Tensor, "aten.add.Tensor"),
            (aten.mm, "aten.mm"),
            (operator.getitem, "operator.getitem"),
            (operator.add, "operator.add"),
            (torch.add, "torch.add"),
            (torch.cat, "torch.cat"),
            (torch.nn.functional.silu, "torch.nn.functional.silu"),
            (torch.nn.functional.linear, "torch.nn.functional.linear"),
            (torch.cond, "torch.cond"),
            (torch.ops.higher_order.cond, "higher_order.cond"),
            (len, "len"),
            (helper, f"{helper.__module__}.helper"),
            (torch.sym_max, "torch.sym_max"),
        ],
    )
    def test_are_readable(self, target: Any, name: str) -> None:
        assert target_name(target) == name

    def test_bear_no_address(self) -> None:
        class Callable:
            def __call__(self, x: torch.Tensor) -> torch.Tensor:
                return x

        assert "0x" not in target_name(Callable())
        assert "0x" not in target_name(lambda x: x)

    @pytest.mark.parametrize(
        ("target", "short"),
        [
            ("aten.mm.default", "mm"),
            ("aten.add.Tensor", "add"),
            ("aten.sum.dim_IntList", "sum"),
            ("prims.convert_element_type.default", "convert_element_type"),
            ("torch.nn.functional.silu", "silu"),
            ("operator.getitem", "getitem"),
            ("vllm.unified_attention.default", "unified_attention"),
            ("higher_order.cond", "cond"),
            ("len", "len"),
        ],
    )
    def test_are_counted_by_a_short_name(self, target: str, short: str) -> None:
        assert short_name(target) == short


class TestLayers:
    @pytest.mark.parametrize(
        ("source", "fqn"),
        [
            ("L['self'].layers.0.mlp", "layers.0.mlp"),
            ("L['self']._modules['layers']._modules['0']", "layers.0"),
            ("L['self'].layers[0].mlp", "layers.0.mlp"),
            ("L['self']", ""),
            ("self.norm", "norm"),
            ("L['model'].norm", "model.norm"),
            ("G['net'].norm", "net.norm"),
            ('L["self"].a_b', "a_b"),
        ],
    )
    def test_a_dynamo_source_as_a_path(self, source: str, fqn: str) -> None:
        assert module_fqn(source) == fqn

    def test_a_stack_of_modules(self) -> None:
        stack = {
            "a": ("L['self'].layers.0", torch.nn.Sequential),
            "b": ("L['self'].layers.0.norm", "torch.nn.modules.normalization.LayerNorm"),
        }
        assert layer_path(stack) == ("layers.0: Sequential", "layers.0.norm: LayerNorm")
        assert layer_path({}) is None
        assert layer_path(None) is None

    def test_the_class_of_the_compiled_module_comes_first(self) -> None:
        maker = Maker()
        stack = {"a": ("L['self'].norm", torch.nn.LayerNorm)}
        inside = maker.call(aten.add.Tensor, maker.input(), 1, meta={"nn_module_stack": stack})
        gm = maker.done(maker.call(aten.mul.Tensor, inside, 2))
        table = TableBuilder().build(gm, root="Net", captured=True)
        paths = [table["layers"][row["layer"]] for row in table["nodes"] if row["op"] == "call_function"]
        assert paths == [["Net", "norm: LayerNorm"], ["Net"]]
        assert layers_of(table) == ["norm"]
        assert "layer" not in table["nodes"][0]

    @pytest.mark.parametrize(
        ("name", "readable"),
        [
            ("l_self_modules_mlp_parameters_weight_", "self.mlp.weight"),
            ("l_self_modules_layers_modules_0_modules_up_proj_parameters_weight_", "self.layers.0.up_proj.weight"),
            ("l_self_buffers_cos_sin_cache_", "self.cos_sin_cache"),
            ("input_ids", "input_ids"),
            ("l_x_", "l_x_"),
        ],
    )
    def test_a_mangled_weight(self, name: str, readable: str) -> None:
        assert readable_placeholder(name) == readable


OWN = f"{TORCH_FILES}nn/functional.py"
TRACE = f"""  File "/app/torch/model.py", line 12, in forward
    x = self.mlp(x)
  File "/app/torch/mlp.py", line 7, in forward
    return torch.relu(x)
  File "{OWN}", line 99, in relu
    return torch.relu(input)
"""


class TestSources:
    def test_the_innermost_line_outside_of_libraries(self) -> None:
        assert users_frame(TRACE, (TORCH_FILES,)) == ("/app/torch/mlp.py", 7, "forward", "return torch.relu(x)")

    def test_the_innermost_of_all_when_there_is_no_other(self) -> None:
        found = users_frame(TRACE, ("/",))
        assert found == (OWN, 99, "relu", "return torch.relu(input)")

    @pytest.mark.parametrize("trace", ["", "no frames at all", 'File "x.py"', 'File "'])
    def test_a_trace_without_frames(self, trace: str) -> None:
        assert users_frame(trace, ()) is None

    def test_a_frame_without_its_code(self) -> None:
        assert users_frame('File "<eval_with_key>.1", line 5, in forward', ()) == (
            "<eval_with_key>.1",
            5,
            "forward",
            "",
        )

    def test_is_stored_once(self) -> None:
        maker = Maker()
        x = maker.input()
        for _ in range(3):
            x = maker.call(aten.add.Tensor, x, 1, meta={"stack_trace": TRACE})
        table = table_of(maker.done(x))
        assert [row["source"] for row in table["nodes"][1:-1]] == [0, 0, 0]
        assert table["sources"] == [
            {"file": "/app/torch/mlp.py", "line": 7, "function": "forward", "code": "return torch.relu(x)"}
        ]


def encoded(value: Any) -> Any:
    maker = Maker()
    maker.input()
    maker.call(torch.cat, value)
    return table_of(maker.done())["nodes"][1]["args"][0]


class TestArguments:
    @pytest.mark.parametrize(
        ("value", "form"),
        [
            (None, None),
            (True, True),
            (3, 3),
            (2.5, 2.5),
            ("text", "text"),
            (float("inf"), {"float": "inf"}),
            (float("-inf"), {"float": "-inf"}),
            (float("nan"), {"float": "nan"}),
            ([1, 2], [1, 2]),
            ((1, (2,)), {"tuple": [1, {"tuple": [2]}]}),
            (slice(None, 4, 2), {"slice": [None, 4, 2]}),
            ({"a": 1}, {"dict": [["a", 1]]}),
            (torch.bfloat16, {"torch": "torch.bfloat16"}),
            (torch.strided, {"torch": "torch.strided"}),
            (torch.channels_last, {"torch": "torch.channels_last"}),
            (torch.device("cpu"), {"torch": "device('cpu')"}),
            (aten.mm.default, {"repr": "aten.mm.default"}),
        ],
    )
    def test_each_kind(self, value: Any, form: Any) -> None:
        found = encoded(value)
        assert json.loads(json.dumps(found)) == form
        assert type(found) is type(form)

    def test_references_are_ids(self) -> None:
        maker = Maker()
        x = maker.input()
        y = maker.call(aten.relu.default, x)
        table = table_of(maker.done(maker.call(torch.cat, [x, (y, x)], dim=0)))
        row = table["nodes"][2]
        assert row["args"] == [[{"node": 0}, {"tuple": [{"node": 1}, {"node": 0}]}]]
        assert row["kwargs"] == {"dim": 0}

    @pytest.mark.filterwarnings("ignore:Raw SymInt value")
    def test_symbolic_numbers_name_their_symbols(self) -> None:
        symbols, maker = Symbols(), Maker()
        name = str(symbols["a"])
        size = maker.input("s", val=symbols["a"])
        maker.input("x", val=symbols.tensor(Input("float32", ("a", 4), transposed=True)))
        table = table_of(maker.done(maker.call(torch.cat, symbols["a"] * 2, size)))
        assert table["nodes"][0]["value"] == name
        assert (table["nodes"][1]["shape"], table["nodes"][1]["stride"]) == ([4, name], [1, 4])
        assert table["nodes"][2]["args"][0] == {"sym": f"2*{name}"}
        assert list(table["symbols"]) == [name]
        assert table["symbols"][name]["hint"] == 7

    def test_looking_at_a_size_adds_no_guard(self) -> None:
        symbols, maker = Symbols(), Maker()
        maker.input("x", val=symbols.tensor(Input("float32", ("a", "b", 4), transposed=True)))
        before = list(symbols.env.guards)
        table_of(maker.done(maker.call(aten.relu.default, next(iter(maker.graph.nodes)))))
        assert symbols.env.guards == before


class TestValues:
    def test_of_tensors(self) -> None:
        maker = Maker()
        view = torch.empty(4, 6, dtype=torch.float16)[1:, 2:].t()
        maker.input("x", val=view.requires_grad_())
        assert table_of(maker.done())["nodes"][0] == {
            "id": 0, "name": "x", "op": "placeholder", "target": "x", "input": "x", "dtype": "float16",
            "shape": [4, 3], "stride": [1, 6], "offset": 8, "device": "cpu", "requires_grad": True,
        }  # fmt: skip

    def test_of_several_outputs(self) -> None:
        maker = Maker()
        x = maker.input()
        values = (torch.empty(2, device="meta"), [torch.empty(3, device="meta"), None])
        maker.call(aten.split.Tensor, x, 1, meta={"val": values})
        row = table_of(maker.done())["nodes"][1]
        assert row["outputs"][0]["shape"] == [2]
        assert row["outputs"][1]["outputs"][0]["shape"] == [3]

    def test_of_constants(self) -> None:
        maker = Maker()
        small = maker.attribute("small", torch.tensor([1.0, 2.0]))
        large = maker.attribute("large", torch.zeros(100, 100))
        thing = maker.attribute("thing", object())
        rows = table_of(maker.done(small, large, thing))["nodes"]
        assert rows[0]["constant"]["digest"]
        assert rows[1]["constant"]["shape"] == [100, 100]
        assert rows[1]["constant"]["digest"] is None
        assert rows[2]["constant"] == {"repr": "object"}

    def test_sparse_and_without_value(self) -> None:
        maker = Maker()
        maker.input("x", val=torch.eye(2).to_sparse())
        maker.input("y", val=None)
        rows = table_of(maker.done())["nodes"]
        assert "stride" not in rows[0]
        assert "dtype" not in rows[1]

    def test_of_nested_graphs(self) -> None:
        inner = Maker()
        inner = inner.done(inner.call(aten.add.Tensor, inner.input(), 1))
        maker = Maker()
        once, twice = maker.attribute("body", inner), maker.graph.get_attr("body")
        table = table_of(maker.done(once, twice))
        assert list(table["graphs"]) == ["body"]
        assert [row["op"] for row in table["graphs"]["body"]["nodes"]] == ["placeholder", "call_function", "output"]

    def test_a_table_is_json(self) -> None:
        maker = Maker()
        maker.input("x", val=torch.zeros(2, dtype=torch.complex64))
        maker.call(print, 1 + 2j, {1: {2}}, range(3), Ellipsis)
        json.dumps(table_of(maker.done()), allow_nan=False)


class TestCounts:
    def test_of_operators(self) -> None:
        maker = Maker()
        x = maker.input()
        x = maker.call(aten.add.Tensor, maker.call(aten.add.Scalar, x, 1), maker.call(aten.mm.default, x, x))
        assert op_counts(table_of(maker.done(x))) == {"add": 2, "mm": 1}

    def test_what_changed_comes_largest_first(self) -> None:
        before, after = {"add": 1, "mm": 2, "mul": 1}, {"add": 1, "mm": 4, "sin": 1}
        assert list(ops_delta(before, after).items()) == [("mm", 2), ("mul", -1), ("sin", 1)]

    @pytest.mark.parametrize(
        ("rows", "layer"),
        [([], 100.0), ([{"layer": 0}], 100.0), ([{}], 0.0), ([{"layer": 0}, {}, {}], 33.3)],
    )
    def test_coverage(self, rows: list[dict[str, Any]], layer: float) -> None:
        table: Table = {"nodes": [{"op": "placeholder"}, *({"op": "call_function", **row} for row in rows)]}
        assert coverage(table)["layer"] == layer


def test_the_graph_is_only_read() -> None:
    maker = Maker()
    gm = maker.done(maker.call(aten.add.Tensor, maker.input(), 1, meta={"stack_trace": TRACE}))
    before = [(node.name, node.args, dict(node.meta)) for node in gm.graph.nodes]
    table_of(gm)
    assert [(node.name, node.args, dict(node.meta)) for node in gm.graph.nodes] == before
    assert isinstance(gm, fx.GraphModule)
