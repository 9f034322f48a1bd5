"""Generated stitching code: what it looks like, that it does what the split graph does, and what it cannot carry."""

from __future__ import annotations

import enum
import operator
import pickle
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recordings import python
from syrupy.assertion import SnapshotAssertion
from torch import fx
from torch._higher_order_ops.triton_kernel_wrap import triton_kernel_wrapper_mutation
from torch._library.fake_class_registry import FakeScriptObject

from cutaway.compiler.link.stitching import compile_execution_fn, generate_execution_code
from cutaway.compiler.split.partition import split_graph
from cutaway.errors import CompileError, SplitError


@torch.library.custom_op("cutaway_stitching::attention", mutates_args={"out"})
def attention(q: torch.Tensor, k: torch.Tensor, out: torch.Tensor, layer: str) -> None:
    """Stands for a splitting op: it writes into its last tensor."""
    out.copy_(q * k + len(layer))


def echo(*args: Any, **kwargs: Any) -> Any:
    """Returns what it was given: constants come back as they arrived."""
    return args, kwargs


def function_of(module: str) -> Callable[..., Any]:
    """A function that the module holds by its name."""

    def function(*args: Any) -> Any:
        return args

    function.__module__, function.__qualname__ = module, "function"
    vars(sys.modules[module])["function"] = function
    return function


class Layer:
    """Stands for vLLM's LayerName: an object that no text carries."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layer) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)


class Colour(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    one: Any
    two: Any


def module_of(graph: fx.Graph, held: Mapping[str, Any]) -> fx.GraphModule:
    """A graph module whose code fx does not write: it cannot write all that may stand in a graph."""
    gm = fx.GraphModule({}, fx.Graph())
    for name, value in held.items():
        gm.add_submodule(name, value) if isinstance(value, torch.nn.Module) else setattr(gm, name, value)
    gm._graph = graph
    return gm


def graph_of(build: Callable[[fx.Graph], Any], held: Mapping[str, Any] | None = None) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(build(graph))
    return module_of(graph, held or {})


class Echo(torch.nn.Module):
    """A piece of which no graph says how much it returns."""

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return args, kwargs, 3


class Interpreter(fx.Interpreter):
    """Runs the graphs inside a graph as it runs this one."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__(module, garbage_collect_values=False)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        inner = self.fetch_attr(target)
        return Interpreter(inner).run(*args) if isinstance(inner, fx.GraphModule) else inner(*args, **kwargs)


def with_values(gm: fx.GraphModule, *inputs: Any) -> fx.GraphModule:
    """The graph with an example of every value in it, as capture leaves it."""

    class Noting(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            n.meta["example_value"] = value = super().run_node(n)
            return value

    Noting(gm).run(*inputs)
    return gm


def two_layers() -> fx.GraphModule:
    """Two layers, split at their attention."""

    def model(x: torch.Tensor, w: torch.Tensor, n: int) -> torch.Tensor:
        for layer in range(2):
            q, k = x * w, x + w
            out = torch.empty_like(q)
            torch.ops.cutaway_stitching.attention(q, k, out, f"layers.{layer}")
            x = torch.relu(out).reshape(n, -1)
        return x

    gm = with_values(fx.symbolic_trace(model), torch.ones(2, 3), torch.ones(3), 2)
    split_gm, _ = split_graph(gm, ["cutaway_stitching::attention"])
    return split_gm


class TestTheText:
    def test_of_two_layers(self, snapshot: SnapshotAssertion) -> None:
        code, names, consts = generate_execution_code(two_layers())
        assert (names, consts) == ([f"piece_0{number}" for number in range(5)], [])
        assert code == snapshot

    def test_with_splitting_pieces_inside_and_comments(self, snapshot: SnapshotAssertion) -> None:
        code, names, consts = generate_execution_code(
            two_layers(),
            splitting=["piece_01", "piece_03"],
            comments={"piece_01": "layers.0: attention", "piece_02": "one\ntwo\0 \ud800\x0cthree"},
        )
        assert (names, consts) == (["piece_00", "piece_02", "piece_04"], [])
        assert code == snapshot

    def test_of_what_an_inlined_piece_may_hold(self, snapshot: SnapshotAssertion) -> None:
        def piece(graph: fx.Graph) -> Any:
            x = graph.placeholder("x")
            size = graph.call_method("size", (x,), {"dim": 0})
            table = graph.get_attr("table")
            relu = graph.call_function(torch.nn.functional.relu, (x,), {"inplace": False})
            random = graph.call_function(getattr(torch.ops.aten.random, "from"), (x,), {"from": 0, "to": None})
            gelu = graph.call_function(torch._C._nn.gelu, (graph.call_function(torch.Tensor.add_, (random, relu)),))
            made = graph.call_function(torch.full, ((size, 2), float("-inf")), {"device": torch.device("cpu", 0)})
            cast = graph.call_function(torch.ops.prims.convert_element_type, (made, torch.bfloat16))
            graph.call_function(torch.ops.aten.copy_.default, (x, gelu))
            picked = graph.call_function(operator.getitem, (cast, (slice(None, size), None, ...)))
            return picked, graph.call_function(echo, (table, Layer("a"), Colour.RED, [{"a": size}], float("nan")))

        inner = graph_of(piece, {"table": torch.arange(3)})
        outer = graph_of(lambda graph: (graph.call_module("p", (graph.placeholder("x"),)),), {"p": inner})
        code, names, consts = generate_execution_code(outer, splitting=["p"])
        assert names == []
        assert consts[1:] == [Layer("a"), Colour.RED]
        assert code == snapshot
        torch.manual_seed(0)
        expected = Interpreter(outer).run(torch.zeros(3))
        torch.manual_seed(0)
        ran = compile_execution_fn(code, [], consts)(torch.zeros(3))
        assert same(ran, expected)

    def test_is_a_file_that_runs_in_another_process(self, tmp_path: Path) -> None:
        def build(graph: fx.Graph) -> Any:
            x, piece = graph.placeholder("x"), graph.call_module("p", (graph.placeholder("y"),))
            both = graph.call_function(operator.add, (x, graph.call_function(operator.getitem, (piece, 0))))
            return graph.call_function(torch.add, (both, float("inf")))

        code, _, _ = generate_execution_code(graph_of(build, {"p": torch.nn.Identity()}))
        (tmp_path / "written.py").write_text(code)
        check = "import torch, written; f = written.make([lambda y: (y,)], []); print(f(torch.ones(1), 2).item())"
        ran = subprocess.run([sys.executable, "-c", check], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert ran.stdout == "inf\n"

    def test_takes_an_item_twice_where_the_graph_does(self) -> None:
        def build(graph: fx.Graph) -> Any:
            piece = graph.call_module("p", ())
            return [graph.call_function(operator.getitem, (piece, index)) for index in (1, 0, 1)]

        gm = graph_of(build, {"p": graph_of(lambda graph: (5, 6))})
        code, _, consts = generate_execution_code(gm)
        assert compile_execution_fn(code, [lambda: (5, 6)], consts)() == [6, 5, 6]

    def test_is_the_same_twice(self) -> None:
        assert generate_execution_code(two_layers()) == generate_execution_code(two_layers())


class TestWhatItCannotCarry:
    def test_a_piece_that_is_not_importable_stays_a_callable(self) -> None:
        unknown = graph_of(lambda graph: (graph.call_function(lambda x: x + 1, (graph.placeholder("x"),)),))
        known = graph_of(lambda graph: (graph.call_function(torch.neg, (graph.placeholder("x"),)),))

        def build(graph: fx.Graph) -> Any:
            first = graph.call_module("a", (graph.placeholder("x"),))
            return graph.call_module("b", (graph.call_function(operator.getitem, (first, 0)),))

        gm = graph_of(build, {"a": unknown, "b": known})
        code, names, consts = generate_execution_code(gm, splitting=["a", "b"])
        assert names == ["a"]
        assert "def b(x):" in code
        assert compile_execution_fn(code, [Interpreter(gm.a).run], consts)(torch.ones(1)) == (torch.tensor([-2.0]),)

    def test_what_a_failed_piece_needed_is_not_kept(self) -> None:
        def build(graph: fx.Graph) -> Any:
            made = graph.call_function(echo, (Layer("gone"), float("inf")))
            return (graph.call_function(lambda x: x, (made,)),)

        gm = graph_of(lambda graph: graph.call_module("a", ()), {"a": graph_of(build)})
        code, names, consts = generate_execution_code(gm, splitting=["a"])
        assert (names, consts) == (["a"], [])
        assert "math" not in code

    @pytest.mark.parametrize(
        "build",
        [
            lambda graph: graph.call_module("inner", (graph.placeholder("x"),)),
            lambda graph: graph.call_function(torch.ops.higher_order.cond, (graph.get_attr("inner"),)),
            lambda graph: graph.placeholder("x", default_value=1),
            lambda graph: graph.placeholder("*x"),
            lambda graph: graph.call_function(triton_kernel_wrapper_mutation, (), {"kernel_idx": 0}),
            lambda graph: graph.call_function(function_of("__main__")),
            lambda graph: graph.call_function(function_of("not-a-name")),
        ],
        ids=["module", "subgraph", "default", "star", "kernel by number", "of the script", "of no module"],
    )
    @pytest.mark.filterwarnings("ignore")  # fx: the attribute is no parameter
    def test_nor_can_a_piece_with_this_be_inlined(
        self, build: Callable[[fx.Graph], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "not-a-name", ModuleType("not-a-name"))
        monkeypatch.setattr("__main__.function", None, raising=False)
        inner = graph_of(lambda graph: (graph.placeholder("x"),))
        piece = graph_of(lambda graph: (build(graph),), {"inner": inner})
        gm = graph_of(lambda graph: graph.call_module("a", (graph.placeholder("x"),)), {"a": piece})
        assert generate_execution_code(gm, splitting=["a"])[1] == ["a"]

    @pytest.mark.parametrize(
        ("build", "printed", "reason"),
        [
            (lambda g: g.call_function(lambda x: x, (g.placeholder("x"),)), "call_function[target=", "can import"),
            (lambda g: g.call_function(echo, (Pair(g.placeholder("x"), 1),)), "echo](args = ", "a Pair holds"),
            (lambda g: g.call_method("no name", (g.placeholder("x"),)), "call_method[target=no name]", "no name"),
            (lambda g: g.placeholder("x", default_value=1), "placeholder[target=x]", "no default"),
        ],
        ids=["lambda", "named tuple", "method", "default"],
    )
    def test_a_node_nobody_can_write_is_printed(
        self, build: Callable[[fx.Graph], Any], printed: str, reason: str
    ) -> None:
        with pytest.raises(SplitError) as caught:
            generate_execution_code(graph_of(build))
        assert printed in caught.value.what
        assert reason in caught.value.why

    def test_a_call_of_no_piece_is_printed(self) -> None:
        gm = graph_of(lambda graph: graph.call_module("a", ()), {"a": torch.nn.Identity()})
        del gm.a
        with pytest.raises(SplitError, match=r"call_module\[target=a\]"):
            generate_execution_code(gm)

    def test_a_symbolic_size_that_is_no_node(self) -> None:
        from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: PLC0415  (sympy: this test alone)

        size = ShapeEnv().create_unbacked_symint()
        gm = graph_of(lambda graph: graph.call_function(echo, ([1, size],)))
        with pytest.raises(SplitError, match="The symbolic size u0"):
            generate_execution_code(gm)


class TestLoading:
    def test_another_number_of_pieces_is_refused(self) -> None:
        code, _, consts = generate_execution_code(two_layers())
        with pytest.raises(CompileError, match="not enough values to unpack"):
            compile_execution_fn(code, [], consts)

    @pytest.mark.parametrize("code", ["def make(", "pass", "import cutaway_nobody", "torch.ops.nobody.nothing"])
    def test_a_text_that_does_not_run_says_why_and_what_to_do(self, code: str) -> None:
        with pytest.raises(CompileError) as caught:
            compile_execution_fn(code, [], [])
        assert caught.value.cure

    def test_tracebacks_show_the_line_of_the_right_text(self) -> None:
        def failing(*args: Any) -> Any:
            raise ValueError("inside")

        calls: list[Callable[..., Any]] = []
        for name in ("first", "second"):
            gm = graph_of(lambda graph: graph.call_module(name, ()), {name: torch.nn.Identity()})  # noqa: B023
            code, _, consts = generate_execution_code(gm)
            calls += [compile_execution_fn(code, [failing], consts, filename="<of two>") for _ in range(2)]
        for call, name in zip(calls, ("first", "first", "second", "second"), strict=True):
            with pytest.raises(ValueError, match="inside") as caught:
                call()
            (frame,) = [frame for frame in traceback.extract_tb(caught.tb) if frame.name == "execution_fn"]
            assert frame.line == f"{name}_1 = {name}()"
        assert calls[0].__code__.co_filename == calls[1].__code__.co_filename != calls[2].__code__.co_filename

    def test_constants_can_be_pickled(self) -> None:
        gm = graph_of(lambda graph: graph.call_function(echo, (Layer("a"), torch.Size([1]), Colour.RED, 1 + 2j)))
        code, _, consts = generate_execution_code(gm)
        assert compile_execution_fn(code, [], pickle.loads(pickle.dumps(consts)))() == Interpreter(gm).run()

    def test_the_real_object_is_kept_where_the_graph_holds_a_fake_one(self) -> None:
        fake = FakeScriptObject(None, "Layer", Layer("a"))
        gm = graph_of(lambda graph: graph.call_function(echo, (fake,)))
        (kept,) = generate_execution_code(gm)[2]
        assert type(kept) is Layer
        assert kept == Layer("a")

    def test_an_object_is_kept_once(self) -> None:
        layer = Layer("a")
        gm = graph_of(lambda graph: graph.call_function(echo, (layer, [layer], Layer("a"))))
        assert generate_execution_code(gm)[2] == [layer, layer]


class TestMemory:
    """A value is let go of after its last use: what runs later finds it gone."""

    @pytest.mark.parametrize("known", [True, False], ids=["taken apart", "by item"])
    def test_nothing_is_held_longer_than_it_is_used(self, known: bool) -> None:
        alive: list[set[str]] = []
        objects: dict[str, Any] = {}

        def piece(*names: str) -> Callable[..., Any]:
            def run(*args: object) -> Any:
                del args
                alive.append({name for name, held in objects.items() if held() is not None})
                made = [Layer(name) for name in names]
                objects.update((one.name, weakref.ref(one)) for one in made)
                return tuple(made)

            return run

        def results(count: int) -> torch.nn.Module:
            return graph_of(lambda graph: (0,) * count) if known else torch.nn.Identity()

        def build(graph: fx.Graph) -> Any:
            x = graph.placeholder("x")
            first = graph.call_module("p", (x,))
            a, b = (graph.call_function(operator.getitem, (first, index)) for index in (0, 1))
            second = graph.call_module("q", (a, a))
            c = graph.call_function(operator.getitem, (second, 0))
            graph.call_function(operator.getitem, (second, 1))  # nobody uses it
            graph.call_module("r", (b,))  # nor its result
            return (graph.call_function(operator.getitem, (graph.call_module("s", (c,)), 0)),)

        gm = graph_of(build, {"p": results(2), "q": results(2), "r": results(1), "s": results(1)})
        code, _, consts = generate_execution_code(gm)
        run = compile_execution_fn(code, [piece("a", "b"), piece("c", "d"), piece("e"), piece("f")], consts)
        (result,) = run(Layer("x"))
        assert result.name == "f"
        assert alive == [set(), {"a", "b"}, {"b", "c"}, {"c"}]  # while a piece runs, its caller holds what it gave

    def test_inputs_are_let_go_of_too(self) -> None:
        """In a process of its own: where Dynamo watches frames, Python's calls hold their arguments."""
        assert python("-c", "from compiler import test_stitching as t; print(t.inputs_gone())").stdout == "[True]\n"


def inputs_gone() -> list[bool]:
    """Whether an input is gone when a piece runs that comes after its last use."""
    gone: list[bool] = []

    def build(graph: fx.Graph) -> Any:
        first = graph.call_module("p", (graph.placeholder("x"),))
        return graph.call_module("q", (graph.call_function(operator.getitem, (first, 0)),))

    code, _, consts = generate_execution_code(graph_of(build, dict.fromkeys("pq", torch.nn.Identity())))
    held: list[Any] = []
    run = compile_execution_fn(code, [lambda x: (1,), lambda one: gone.append(held[0]() is None)], consts)

    def given() -> Layer:
        layer = Layer("x")
        held.append(weakref.ref(layer))
        return layer

    run(given())
    return gone


# -- properties ---------------------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Equal in value and in type; NaN equals itself."""
    if isinstance(one, torch.Tensor):
        alike = isinstance(other, torch.Tensor) and (one.dtype, one.shape) == (other.dtype, other.shape)
        return alike and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        alike = isinstance(one, list) == isinstance(other, list) and len(one) == len(other)
        return alike and all(map(same, one, other))
    if isinstance(one, slice) and isinstance(other, slice):
        return same((one.start, one.stop, one.step), (other.start, other.stop, other.step))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return type(one) is type(other) and (one == other or one != one)  # NaN is not


NUMBERS = (st.booleans(), st.integers(), st.floats(), st.complex_numbers())
SCALARS = st.one_of(st.none(), st.text(max_size=4), st.binary(max_size=3), *NUMBERS)
OBJECTS = st.sampled_from(
    [
        *(torch.float16, torch.strided, torch.channels_last, torch.device("cpu"), torch.device("meta", 1)),
        *(Layer("a"), Layer("b"), Colour.RED, torch.Size([2, 3]), Pair(1, 2), ..., slice(1, None), range(3)),
        *(int, torch.Tensor, torch.add, torch.ops.aten.add, torch.ops.aten.add.Tensor, echo, frozenset({1})),
    ]
)
NAMES = st.sampled_from(
    [
        *("x", "y", "x_1", "torch", "math", "operator", "pieces", "consts", "make", "execution_fn", "const_0", "p_0"),
        *("class", "lambda", "None", "print", "slice", "a b", "1st", "é", "", "operator_add", "torch_1", "_"),
    ]
)


@st.composite
def arguments(draw: st.DrawFn, values: Sequence[fx.Node]) -> Any:
    """A node, a constant of any kind, or a nest of them."""
    leaf = st.one_of(SCALARS, OBJECTS, *([st.sampled_from(values)] * 3 if values else []))
    nested = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
            st.builds(slice, inner, inner),
        ),
        max_leaves=4,
    )
    return draw(nested)


def echo_piece(inputs: int, constants: Sequence[Any]) -> fx.GraphModule:
    """A piece with a graph: returns what it is given, one by one, and its constants."""
    graph = fx.Graph()
    given = [graph.placeholder(f"{'torch' if number else 'echo'}_{number}") for number in range(inputs)]
    made = graph.call_function(echo, tuple(constants), {"from": given})
    graph.output((*given, made))
    return module_of(graph, {})


@st.composite
def stitching_graphs(draw: st.DrawFn) -> tuple[fx.GraphModule, list[str], int]:
    """A split graph, the names of its splitting pieces, and how many inputs it takes."""
    graph, root, splitting = fx.Graph(), dict[str, torch.nn.Module](), list[str]()
    values = [graph.placeholder(f"x_{number}") for number in range(draw(st.integers(0, 3)))]
    count = len(values)
    for number in range(draw(st.integers(1, 5))):
        args = draw(st.lists(arguments(values), max_size=3))
        kind = draw(st.sampled_from(["piece", "piece", "module", "again", "function"]))
        if kind == "function":
            kwargs = draw(st.dictionaries(st.sampled_from(["k", "from"]), arguments(values), max_size=2))
            values.append(graph.call_function(echo, tuple(args), kwargs))
            continue
        name = draw(st.sampled_from([f"p_{number}", f"const_{number}", f"f_{number}.g"]))
        if kind == "again" and isinstance(root.get("p_0"), Echo):
            name = "p_0"
        elif kind == "piece":
            root[name] = echo_piece(len(args), draw(st.lists(arguments([]), max_size=2)))
            splitting += [name] if draw(st.booleans()) else []
        else:
            root[name] = Echo()
        result = graph.call_module(name, tuple(args))
        size = len(args) + 1 if kind == "piece" else 3
        items = draw(
            st.lists(st.integers(-1, size - 1), max_size=4) | st.sampled_from([[*range(size)], [*range(size), 0]])
        )
        values += [graph.call_function(operator.getitem, (result, item)) for item in items]
        values += [result] if draw(st.booleans()) else []
    graph.output(draw(arguments(values)))
    for node in graph.nodes:
        if draw(st.booleans()):
            node.name = draw(NAMES)
    return module_of(graph, root), splitting, count


@given(stitching_graphs())
def test_the_code_does_what_the_split_graph_does(made: tuple[fx.GraphModule, list[str], int]) -> None:
    gm, splitting, count = made
    code, names, consts = generate_execution_code(gm, splitting=splitting)
    assert not set(names) & set(splitting)
    modules = [gm.get_submodule(name) for name in names]
    pieces = [Interpreter(module).run if isinstance(module, fx.GraphModule) else module for module in modules]
    run = compile_execution_fn(code, pieces, pickle.loads(pickle.dumps(consts)))
    inputs = [Layer(f"input {number}") for number in range(count)]
    assert same(run(*inputs), Interpreter(gm).run(*inputs))


UNARY = (torch.neg, torch.sin, torch.relu, torch.ops.aten.cos.default)
BINARY = (torch.add, torch.mul, operator.sub, torch.ops.aten.maximum)


@st.composite
def programs(draw: st.DrawFn) -> fx.GraphModule:
    """A graph of tensor operations, splitting ops that write into their argument, and constants."""
    graph = fx.Graph()
    values = [graph.placeholder(name) for name in "xyz"[: draw(st.integers(1, 3))]]
    values.append(graph.get_attr("table"))
    for _ in range(draw(st.integers(1, 12))):
        one, other = draw(st.sampled_from(values)), draw(st.sampled_from(values))
        kind = draw(st.sampled_from(["unary", "binary", "splitting"]))
        if kind == "splitting":
            values.append(graph.call_function(torch.empty_like, (one,)))
            graph.call_function(torch.ops.cutaway_stitching.attention.default, (one, other, values[-1], "layer"))
        else:
            function = draw(st.sampled_from(UNARY if kind == "unary" else BINARY))
            values.append(graph.call_function(function, (one,) if kind == "unary" else (one, other)))
    graph.output(tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))))
    return module_of(graph, {"table": torch.arange(3.0)})


@given(programs())
def test_split_and_stitched_is_the_original(gm: fx.GraphModule) -> None:
    inputs = [torch.randn(3) for node in gm.graph.nodes if node.op == "placeholder"]
    expected = Interpreter(gm).run(*inputs)
    split_gm, items = split_graph(with_values(gm, *inputs), ["cutaway_stitching::attention"])
    splitting = [item.submod_name for item in items if item.is_splitting_graph]
    code, names, consts = generate_execution_code(split_gm, splitting=splitting)
    assert names == [item.submod_name for item in items if not item.is_splitting_graph]
    run = compile_execution_fn(code, [Interpreter(split_gm.get_submodule(name)).run for name in names], consts)
    assert same(run(*inputs), expected)
