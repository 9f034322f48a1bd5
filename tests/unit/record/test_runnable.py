"""Raw files: a graph as Python that runs again, or says in its header why it cannot."""

from __future__ import annotations

import contextlib
import io
import math
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import Maker, Symbols, aten
from torch import fx

from cutaway.record.runnable import Runnable, sizes_of


class File:
    """A rendered file, written and run as a script is."""

    def __init__(self, gm: fx.GraphModule, folder: Path, runnable: Runnable | None = None) -> None:
        self.text = (runnable or Runnable()).render(gm, ["a header"])
        self.path = folder / "raw.py"
        self.path.write_text(self.text)

    @property
    def header(self) -> str:
        return "\n".join(line for line in self.text.splitlines() if line.startswith("#"))

    def run(self, *sizes: str) -> str:
        argv, sys.argv = sys.argv, [str(self.path), *sizes]
        try:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                runpy.run_path(str(self.path), run_name="__main__")
        finally:
            sys.argv = argv
        return out.getvalue()

    def call(self, *inputs: Any) -> Any:
        return runpy.run_path(str(self.path), run_name="raw")["Graph"]()(*inputs)


def one_call(target: Any, *args: Any, **kwargs: Any) -> fx.GraphModule:
    maker = Maker()
    return maker.done(maker.call(target, maker.input("x"), *args, **kwargs))


class TestArguments:
    @pytest.mark.parametrize(
        "value", [2, -2, 1.5, -1.5, 0.0, -0.0, 1e-300, float("inf"), float("-inf"), float("nan"), True]
    )
    def test_numbers_keep_their_value_and_type(self, tmp_path: Path, value: float) -> None:
        gm = one_call(aten.full_like.default, value)
        found = File(gm, tmp_path).call(torch.zeros(2, 3))[0]
        assert found.equal(torch.full((2, 3), value)) or (math.isnan(value) and found.isnan().all())
        constant = next(node for node in File(gm, tmp_path).call.__self__.text.splitlines() if "full_like" in node)
        assert repr(value) in constant

    @pytest.mark.parametrize(
        "keywords",
        [
            {"dtype": torch.bfloat16},
            {"dtype": None, "device": torch.device("cpu"), "pin_memory": False},
            {"memory_format": torch.contiguous_format},
            {"layout": torch.strided},
        ],
    )
    def test_torch_objects(self, tmp_path: Path, keywords: dict[str, Any]) -> None:
        gm = one_call(aten.zeros_like.default, **keywords)
        expected = aten.zeros_like.default(torch.ones(2, 3), **keywords)
        found = File(gm, tmp_path).call(torch.ones(2, 3))[0]
        assert (found.dtype, found.device, found.layout) == (expected.dtype, expected.device, expected.layout)

    def test_slices_and_nested_tuples(self, tmp_path: Path) -> None:
        maker = Maker()
        x = maker.input("x")
        part = maker.graph.call_function(lambda_free_getitem, (x, (slice(None), slice(0, 2, None))))
        gm = maker.done([part, (x, {"key": part})])
        value = torch.arange(6.0).view(2, 3)
        first, (second, third) = File(gm, tmp_path).call(value)[0]
        assert first.equal(value[:, 0:2])
        assert second.equal(value)
        assert third["key"].equal(value[:, 0:2])

    def test_methods_and_modules_of_torch(self, tmp_path: Path) -> None:
        maker = Maker()
        x = maker.input("x")
        gm = maker.done(maker.graph.call_method("view", (x, -1)), maker.call(torch.nn.functional.gelu, x))
        flat, gelu = File(gm, tmp_path).call(torch.ones(2, 3))
        assert flat.shape == (6,)
        assert gelu.equal(torch.nn.functional.gelu(torch.ones(2, 3)))


def lambda_free_getitem(x: Any, index: Any) -> Any:
    return x[index]


class TestInputs:
    @pytest.mark.filterwarnings("ignore:Casting complex values")
    def test_of_every_dtype_shape_and_stride(self, tmp_path: Path) -> None:
        maker = Maker()
        made = [
            torch.empty(4, 6)[1:, 2:].t(),
            torch.empty(2, 3, dtype=torch.bfloat16),
            torch.empty(3, dtype=torch.int64),
            torch.empty(2, 2, dtype=torch.bool),
            torch.empty((), dtype=torch.float64),
            torch.empty(0, 3),
            torch.empty(2, dtype=torch.complex64),
            torch.empty(1, 3).expand(4, 3),
            torch.empty(2, dtype=torch.uint8),
        ]
        nodes = [maker.input(f"x{n}", val=value) for n, value in enumerate(made)]
        file = File(maker.done(*nodes), tmp_path)
        inputs = runpy.run_path(str(file.path))["example_inputs"]()
        assert [(v.dtype, v.shape, v.stride()) for v in inputs] == [(v.dtype, v.shape, v.stride()) for v in made]
        assert len(file.run().splitlines()) == len(made)

    def test_of_any_size(self, tmp_path: Path) -> None:
        maker, symbols = Maker(), Symbols()
        name = str(symbols["a"])
        size = maker.input("s", val=symbols["a"])
        with symbols.mode:
            value = torch.empty(symbols["a"] * 2, 4)
        x = maker.input("x", val=value)
        y = maker.graph.call_function(aten.view.default, (x, [-1, size]))
        file = File(maker.done(y), tmp_path)
        assert "[8, 7]" in file.run()
        assert "[8, 3]" in file.run(f"{name}=3")
        assert f"def example_inputs({name}=7):" in file.text

    def test_that_are_numbers(self, tmp_path: Path) -> None:
        maker = Maker()
        nodes = [maker.input(f"n{n}", val=value) for n, value in enumerate([3, 2.5, True, None, "text"])]
        assert File(maker.done(*nodes), tmp_path).run().splitlines() == [
            "output 0: 3", "output 1: 2.5", "output 2: True", "output 3: None", "output 4: 'text'",
        ]  # fmt: skip

    def test_are_the_same_at_every_run(self, tmp_path: Path) -> None:
        file = File(one_call(aten.relu.default), tmp_path)
        assert file.run() == file.run()
        assert float(file.run().split("sum ")[1]) != 0

    def test_that_only_mean_something_there(self, tmp_path: Path) -> None:
        maker = Maker()
        gm = maker.done(maker.input("x", val=object()))
        file = File(gm, tmp_path)
        assert "CANNOT RUN: an input is a builtins.object" in file.header
        host = Runnable(make_input=lambda node: "'made by the host'" if node.name == "x" else None)
        assert File(gm, tmp_path, host).run() == "output 0: 'made by the host'\n"
        assert "CANNOT RUN" not in File(gm, tmp_path, host).header

    def test_sparse_ones_say_so(self, tmp_path: Path) -> None:
        maker = Maker()
        assert "CANNOT RUN: an input has the layout torch.sparse_coo" in (
            File(maker.done(maker.input("x", val=torch.eye(2).to_sparse())), tmp_path).header
        )


class TestConstants:
    @pytest.mark.parametrize(
        "value",
        [
            torch.tensor([1.5, -2.0, float("inf"), float("-inf")]),
            torch.tensor(3),
            torch.tensor([[True, False]]),
            torch.tensor([], dtype=torch.int32),
            torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
            torch.tensor([1 + 2j]),
        ],
    )
    def test_a_small_one_is_written_out(self, tmp_path: Path, value: torch.Tensor) -> None:
        maker = Maker()
        found = File(maker.done(maker.attribute("c", value)), tmp_path).call()[0]
        assert found.dtype == value.dtype
        assert found.equal(value)

    def test_a_large_one_has_its_shape(self, tmp_path: Path) -> None:
        maker = Maker()
        file = File(maker.done(maker.attribute("c", torch.zeros(65, 3).t())), tmp_path)
        found = file.call()[0]
        assert (found.shape, found.stride()) == ((3, 65), (1, 3))

    def test_one_read_twice_is_made_once(self, tmp_path: Path) -> None:
        maker = Maker()
        nodes = [maker.attribute("c", torch.ones(2)), maker.graph.get_attr("c")]
        assert File(maker.done(*nodes), tmp_path).text.count("register_buffer") == 1

    def test_an_object_says_so(self, tmp_path: Path) -> None:
        maker = Maker()
        file = File(maker.done(maker.attribute("thing", object())), tmp_path)
        assert "CANNOT RUN: the graph reads 'thing', a object" in file.header


class TestNestedGraphs:
    def nested(self, constant: int) -> fx.GraphModule:
        inner = Maker()
        return inner.done(inner.call(aten.add.Tensor, inner.input("y"), constant))

    def calls(self, *graphs: fx.GraphModule) -> fx.GraphModule:
        maker = Maker()
        x = maker.input("x")
        for index, graph in enumerate(graphs):
            maker.root.add_module(f"submod_{index}", graph)
            x = maker.graph.call_module(f"submod_{index}", (x,))
            x = maker.graph.call_function(lambda_free_getitem, (x, 0))
        return maker.done(x)

    def test_each_is_a_class(self, tmp_path: Path) -> None:
        file = File(self.calls(self.nested(1), self.nested(20)), tmp_path)
        assert file.text.count("class Graph") == 3
        assert file.call(torch.zeros(2))[0].tolist() == [21, 21]

    def test_equal_ones_are_one_class(self, tmp_path: Path) -> None:
        graphs = [self.nested(1), self.nested(20), self.nested(1)]
        runnable = Runnable(same_piece=lambda gm: "equal" if gm in (graphs[0], graphs[2]) else None)
        file = File(self.calls(*graphs), tmp_path, runnable)
        assert file.text.count("class Graph") == 3
        assert file.call(torch.zeros(2))[0].tolist() == [22, 22]

    def test_branches_of_a_condition(self, tmp_path: Path) -> None:
        maker = Maker()
        flag = maker.input("flag", val=torch.empty((), dtype=torch.bool))
        x = maker.input("x")
        branches = [maker.attribute(f"branch_{n}", self.nested(n)) for n in (1, 2)]
        gm = maker.done(maker.call(torch.ops.higher_order.cond, flag, *branches, (x,)))
        file = File(gm, tmp_path)
        assert file.call(torch.tensor(True), torch.zeros(2))[0][0].tolist() == [1, 1]
        assert file.call(torch.tensor(False), torch.zeros(2))[0][0].tolist() == [2, 2]

    def test_in_nested_graphs(self, tmp_path: Path) -> None:
        file = File(self.calls(self.calls(self.nested(1)), self.calls(self.nested(2))), tmp_path)
        assert file.call(torch.zeros(2))[0].tolist() == [3, 3]


@pytest.fixture
def library() -> Any:
    name = "cutaway_test_runnable"
    library = torch.library.Library(name, "FRAGMENT")
    if not hasattr(getattr(torch.ops, name), "attention"):
        library.define("attention(Tensor x, Tensor(a!) out) -> Tensor")
        library.impl("attention", lambda x, out: x * 2, "Meta")
    yield getattr(torch.ops, name).attention.default
    library._destroy()


class TestCustomOperators:
    def test_one_that_nobody_registers_says_so(self, tmp_path: Path, library: Any) -> None:
        file = File(one_call(library, torch.float32), tmp_path)
        assert "CANNOT RUN: nobody knows which import registers the operator cutaway_test_runnable::attention" in (
            file.header
        )

    def test_the_host_may_know_which_import(self, tmp_path: Path, library: Any) -> None:
        runnable = Runnable(module_of=lambda overload: "json")
        file = File(one_call(library, torch.float32), tmp_path, runnable)
        assert "\nimport json\n" in file.text
        assert "CANNOT RUN" not in file.header

    def test_custom_op_is_known_by_torch(self, tmp_path: Path) -> None:
        @torch.library.custom_op("cutaway_test_runnable::doubled", mutates_args=())
        def doubled(x: torch.Tensor) -> torch.Tensor:
            return x * 2

        file = File(one_call(torch.ops.cutaway_test_runnable.doubled.default), tmp_path)
        assert f"\nimport {__name__}\n" in file.text
        assert doubled is not None

    def test_one_of_the_engine_gives_zeros(self, tmp_path: Path, library: Any) -> None:
        maker = Maker()
        x, out = maker.input("x"), maker.input("out")
        gm = maker.done(maker.call(library, x, out), out)
        runnable = Runnable(engine_ops={"cutaway_test_runnable::attention"}, module_of=lambda overload: "json")
        file = File(gm, tmp_path, runnable)
        assert "Zeros stand in for cutaway_test_runnable::attention" in file.header
        assert [line.split("sum ")[1] for line in file.run().splitlines()] == ["0", "0"]

    def test_a_function_that_no_import_reaches_says_so(self, tmp_path: Path) -> None:
        def local(x: torch.Tensor) -> torch.Tensor:
            return x

        file = File(one_call(local), tmp_path)
        assert "CANNOT RUN: " in file.header
        assert "local" in file.header
        compile(file.text, "raw.py", "exec")

    def test_an_operator_as_an_argument_is_found(self, tmp_path: Path, library: Any) -> None:
        gm = one_call(torch.ops.higher_order.auto_functionalized, library)
        assert "registers the operator cutaway_test_runnable::attention" in File(gm, tmp_path).header

    def test_a_triton_kernel_says_so(self, tmp_path: Path) -> None:
        wrapper = torch.ops.higher_order.cond
        gm = one_call(wrapper, kernel_idx=3)
        assert "CANNOT RUN: a user's Triton kernel is held by number" in File(gm, tmp_path).header


class TestFile:
    def test_it_needs_neither_cutaway_nor_the_model(self, tmp_path: Path) -> None:
        text = File(one_call(aten.relu.default), tmp_path).text
        imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
        assert imports == ["import sys", "import torch", "from torch import device, inf, nan"]

    def test_the_header_comes_first_as_comments(self, tmp_path: Path) -> None:
        text = Runnable().render(one_call(aten.relu.default), ["one", "", "three"])
        assert text.splitlines()[:3] == ["# one", "#", "# three"]

    def test_a_header_cannot_become_code(self, tmp_path: Path) -> None:
        text = Runnable().render(one_call(aten.relu.default), ["pass: x\nraise SystemExit(3)"])
        path = tmp_path / "raw.py"
        path.write_text(text)
        assert "Graph" in runpy.run_path(str(path), run_name="raw")

    def test_inputs_in_nested_lists_become_plain_ones(self, tmp_path: Path) -> None:
        """AOTAutograd's joint graph takes ``(primals, tangents)``; its code flattens them by a pytree."""
        traced = fx.experimental.proxy_tensor.make_fx(lambda a, b: [a[0] + b[0], a[1]])(
            [torch.ones(2), torch.zeros(2)], [torch.ones(2)]
        )
        first, second = File(traced, tmp_path).call(torch.ones(2), torch.zeros(2), torch.ones(2))
        assert first.tolist() == [2, 2]
        assert second.tolist() == [0, 0]

    def test_rendering_leaves_the_graph_alone(self, tmp_path: Path) -> None:
        gm = one_call(aten.relu.default)
        before = (gm.code, [id(node) for node in gm.graph.nodes])
        File(gm, tmp_path)
        assert (gm.code, [id(node) for node in gm.graph.nodes]) == before


def test_sizes_in_words() -> None:
    symbols = {"s0": {"min": 2, "max": 4096}, "s1": {"min": 0, "max": None}}
    assert sizes_of(symbols) == "s0 in [2, 4096], s1 in [0, ∞]"
