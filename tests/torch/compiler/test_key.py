"""What keys an artifact and what does not: tables of changes, each of which must miss or hit."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torch._functorch.config
import torch._inductor.config
from compiler.cache_tools import (
    SPAN,
    Hoisted,
    Nameless,
    Opaque,
    Pass,
    Piece,
    SourceCompiler,
    cached,
    calling,
    factors,
    key,
    local,
    plain,
    scaled,
    twice,
    with_argument,
    with_constant,
    with_input,
)
from hypothesis import given
from hypothesis import strategies as st
from recordings import python

from cutaway.compiler.build.eager import EagerCompiler
from cutaway.compiler.build.interface import Task
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.cache.factors import UncacheableError, compare, key_of, piece_factors
from cutaway.compiler.config import CompilationConfig, CUDAGraphMode, DynamicShapes

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def named(value: object) -> str:
    """A parameter's name that is the same in every process."""
    return _ADDRESS.sub("", repr(value))


MISS: dict[str, Any] = {
    "inductor": {"max_autotune": True},
    "post_grad_passes": (Pass(),),
    "use_inductor_graph_partition": True,
    "cache_factors": {"engine": {"quantization": "fp8"}},
}
HIT: dict[str, Any] = {
    "ir_priority": {"rms_norm": ("native",)},  # a piece with the op is another matter: passes/test_ir_cache_key.py
    "splitting_ops": ("aten::mm",),
    "backend": "eager",  # the compiler itself is keyed
    "compile_ranges": ((1, 64), (65, 128)),
    "compile_sizes": (4,),
    "max_batch": 16,
    "dynamic_shapes": DynamicShapes.UNBACKED,
    "evaluate_guards": True,
    "cudagraph_mode": CUDAGraphMode.FULL,
    "cudagraph_capture_sizes": (1, 2),
    "cudagraph_copy_inputs": True,
    "cudagraph_wrapper": "other.Wrapper",
    "cache_dir": Path("elsewhere"),
    "cache_format": "unpacked",
    "read_only_cache": True,
    "disable_cache": True,
    "aot": False,
    "off": frozenset({"regions", "cuda_graphs", "split"}),
    "progress": False,
    "debug": True,
}


class TestTheConfiguration:
    """Every field, with a value that is not its default; a field that is not here fails."""

    @pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(CompilationConfig)])
    def test_each_field_keys_or_does_not(self, field: str) -> None:
        value = {**MISS, **HIT}[field]
        assert getattr(CompilationConfig(), field) != value
        assert (key(scaled()) == key(scaled(), **{field: value})) == (field in HIT)

    def test_the_table_is_what_the_fields_declare(self) -> None:
        declared = {field.name for field in dataclasses.fields(CompilationConfig) if field.metadata["keys"] == "piece"}
        assert declared == {*MISS, "ir_priority"}

    @pytest.mark.parametrize("off", ["passes", "pass:Fuse"])
    def test_a_pass_that_is_off_keys(self, off: str) -> None:
        assert key(scaled()) != key(scaled(), off={off})
        assert key(scaled(), off={off}) == key(scaled(), off={off, "regions"})

    def test_where_inductor_cuts_keys(self) -> None:
        one, other = ({"use_inductor_graph_partition": True, "splitting_ops": (op,)} for op in ("a::b", "a::c"))
        assert key(scaled(), **one) != key(scaled(), **other)

    def test_what_engines_add_may_be_anything_that_is_stable(self) -> None:
        values = [1, True, 1.0, "1", None, float("nan"), {"a": {1, 2}}, torch.bfloat16, Path("x"), b"1", SPAN, Range]
        keys = [key(scaled(), cache_factors={"x": value}) for value in values]
        assert len(set(keys)) == len(values)
        assert keys == [key(scaled(), cache_factors={"x": value}) for value in values]

    @pytest.mark.parametrize(
        "value", [object(), torch.Generator(), iter("a"), torch.ones(2).untyped_storage()], ids=named
    )
    def test_what_is_known_by_its_address_has_no_key(self, value: object) -> None:
        with pytest.raises(UncacheableError, match=r"config\.cache_factors\.x"):
            key(scaled(), cache_factors={"x": value})


class TestTheCompiler:
    def test_its_name_class_and_factors_key(self) -> None:
        class Other(SourceCompiler):
            pass

        class Named(SourceCompiler):
            name = "other"

        compilers = [SourceCompiler(), SourceCompiler(factors={"version": 1}), Other(), Named()]
        keys = {key_of(piece_factors(scaled(), compiler, CompilationConfig())) for compiler in compilers}
        assert len(keys) == 4

    def test_its_source_keys_also_behind_another_one(self) -> None:
        class Front(SourceCompiler):
            compiler = SourceCompiler()

        documents = [piece_factors(scaled(), compiler, CompilationConfig()) for compiler in (SourceCompiler(), Front())]
        assert documents[0] == documents[1]
        assert len(documents[0]["compiler"]["source"]) == 64
        assert "source" not in piece_factors(scaled(), EagerCompiler(), CompilationConfig())["compiler"]

    def test_its_options_key(self) -> None:
        assert len({key(scaled()), key(scaled(max_autotune=True)), key(scaled(max_autotune=False))}) == 3


class TestTheGraph:
    @pytest.mark.parametrize(
        "facts",
        [
            {"by": 2.5},
            {"by": 2},
            {"op": torch.sub},
            {"swapped": True},
            {"dtype": torch.bfloat16},
            {"weight": lambda: torch.empty(8, 16)[:, :8]},
            {"weight": lambda: torch.empty(8, 8).t()},
            {"weight": lambda: torch.empty(72)[8:].view(8, 8)},
            {"weight": lambda: torch.nn.Parameter(torch.empty(8, 8))},
            {"tied": True},
            {"most": 100},
            {"span": Range(1, 65)},
            {"span": Range(2, 64)},
            {"span": Range(1, 64, is_single_size=True)},
        ],
        ids=named,
    )
    def test_misses_when_it_changes(self, facts: dict[str, Any]) -> None:
        assert key(plain()) != key(plain(**facts))
        assert key(plain(**facts)) == key(plain(**facts))

    @pytest.mark.parametrize(
        "facts",
        [{"batch": 7}, {"name": "other"}, {"called": "v"}, {"renamed": "sum_of_all"}, {"task": "piece_09"}],
        ids=named,
    )
    def test_hits_when_only_names_or_the_example_change(self, facts: dict[str, Any]) -> None:
        assert key(plain()) == key(plain(**facts))

    def test_changes_nothing_and_adds_no_guard(self) -> None:
        task = plain()
        before = [(node, node.args, dict(node.meta)) for node in task.graph.graph.nodes]
        shape_env = task.inputs[0].node.shape_env
        guards = len(shape_env.guards)
        key(task)
        assert [(node, node.args, dict(node.meta)) for node in task.graph.graph.nodes] == before
        assert len(shape_env.guards) == guards

    @given(
        st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=5),
        st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=5),
    )
    def test_graphs_have_one_key_exactly_when_they_are_one(self, one: list[float], other: list[float]) -> None:
        def task(factors: list[float]) -> Task:
            piece = Piece()
            x = piece.x()
            for by in factors:
                x = piece.call(torch.mul, x, by)
            return piece.task(x)

        assert (key(task(one)) == key(task(other))) == (one == other)


class TestConstants:
    @pytest.mark.parametrize("size", [(8,), (8192,)])
    def test_of_any_size_key_by_their_content(self, size: tuple[int, ...]) -> None:
        changed = torch.zeros(size)
        changed.view(-1)[-1] = 1e-7
        keys = [key(with_constant(value)) for value in (torch.zeros(size), changed, torch.zeros(size))]
        assert keys[0] == keys[2] != keys[1]

    def test_that_share_memory_are_not_those_that_do_not(self) -> None:
        one = torch.zeros(16)
        assert key(with_constant(one[:8], one[8:])) != key(with_constant(torch.zeros(8), torch.zeros(8)))

    def test_that_are_not_there_have_no_key(self) -> None:
        piece = Piece()
        fake = piece.mode.from_tensor(torch.zeros(8), static_shapes=True)
        with pytest.raises(UncacheableError, match="bytes of a constant"):
            key(with_constant(fake))


class Pair(NamedTuple):
    """A tuple that is known by its ``repr``."""

    one: Any
    other: Any


class TestObjects:
    def test_that_are_constants_key_by_their_value(self) -> None:
        keys = [key(with_argument(Opaque(value))) for value in ("a", "b", "a")]
        assert keys[0] == keys[2] != keys[1]
        assert key(with_argument(Opaque("a"))) != key(with_argument("Opaque('a')"))

    def test_that_are_handed_on_key_by_their_class(self) -> None:
        assert key(with_input(Hoisted("a"))) == key(with_input(Hoisted("b"))) != key(with_input(3))
        assert key(with_input(Opaque("a"))) != key(with_input(Opaque("b")))

    @pytest.mark.parametrize("task", [with_argument, with_input])
    def test_that_cannot_be_told_apart_have_no_key(self, task: Callable[[Any], Task]) -> None:
        for value in (object(), torch.Generator(), Nameless()):
            with pytest.raises(UncacheableError):
                key(task(value))

    def test_that_hold_nodes_under_names_have_no_key(self) -> None:
        task = with_argument(1.0)
        _, x, node, _ = task.graph.graph.nodes
        node.args = (x, torch.finfo(torch.float32).eps)
        key(task)
        node.args = (x, Pair(x, 1.0))
        with pytest.raises(UncacheableError, match="Pair of nodes"):
            key(task)


class TestFunctions:
    def test_local_ones_key_by_what_they_hold(self) -> None:
        keys = [key(calling(local(value))) for value in (2, 3, 2)]
        assert keys[0] == keys[2] != keys[1]
        with pytest.raises(UncacheableError, match="scale"):
            key(calling(local(object())))

    def test_those_of_torch_that_share_a_name_are_told_apart(self) -> None:
        functional = torch.nn.functional
        targets = [functional.max_pool1d, functional.max_pool2d, functional.adaptive_max_pool1d, torch.sin, len]
        assert len({key(calling(target)) for target in targets}) == len(targets)

    def test_those_without_a_source_have_no_key(self) -> None:
        names: dict[str, Any] = {"__name__": "typed_in"}
        exec("def typed_in(x):\n    return x", names)
        with pytest.raises(UncacheableError, match="source"):
            key(calling(names["typed_in"]))

    def test_a_module_that_is_called_has_no_key(self) -> None:
        piece = Piece()
        x = piece.x()
        root = torch.nn.Module()
        root.inner = torch.nn.Linear(8, 8)
        node = piece.graph.call_module("inner", (x,))
        node.meta["example_value"] = x.meta["example_value"]
        with pytest.raises(UncacheableError, match="it calls a module"):
            key(piece.task(node, root=root))

    def test_a_graph_that_is_called_keys_by_what_it_is(self) -> None:
        def task(by: float) -> Task:
            piece = Piece()
            x = piece.x()
            root = torch.nn.Module()
            inner = Piece()
            y = inner.x()
            root.inner = inner.task(inner.call(torch.mul, y, by)).graph
            node = piece.graph.call_module("inner", (x,))
            node.meta["example_value"] = x.meta["example_value"]
            return piece.task(node, root=root)

        assert key(task(2.0)) == key(task(2.0)) != key(task(3.0))


class TestPasses:
    @pytest.mark.parametrize(
        ("one", "other", "hits"),
        [
            (Pass("1"), Pass("1"), True),
            (Pass("1"), Pass("2"), False),
            (Pass(("a", 1)), Pass(["a", 1]), True),
            (Pass(b"1"), Pass(b"2"), False),
            (twice, twice, True),
            (twice, local, False),
            (local(1), local(1), True),
            (local(1), local(2), False),
            (local(twice), local(local), False),
        ],
        ids=named,
    )
    def test_key_by_their_uuid_or_their_source(self, one: Any, other: Any, hits: bool) -> None:
        assert (key(scaled(), post_grad_passes=(one,)) == key(scaled(), post_grad_passes=(other,))) is hits

    def test_key_by_their_order(self) -> None:
        one, other = Pass("1"), Pass("2")
        assert key(scaled(), post_grad_passes=(one, other)) != key(scaled(), post_grad_passes=(other, one))

    @pytest.mark.parametrize("uuid", [None, object(), ZeroDivisionError])
    def test_that_say_nothing_of_themselves_have_no_key(self, uuid: Any) -> None:
        class Failing(Pass):
            def uuid(self) -> Any:
                if uuid is ZeroDivisionError:
                    raise uuid
                return uuid

        with pytest.raises(UncacheableError, match="Failing"):
            key(scaled(), post_grad_passes=(Failing(),))

    def test_that_sit_in_inductors_settings_key(self) -> None:
        with torch._inductor.config.patch(post_grad_custom_post_pass=Pass("1")):
            one = key(scaled())
        with torch._inductor.config.patch(post_grad_custom_post_pass=Pass("2")):
            assert len({key(scaled()), one, key(plain())}) == 3


@contextlib.contextmanager
def state(read: Callable[[], Any], write: Callable[[Any], Any], value: Any) -> Any:
    """Some state of the process, for the time of the block."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


STATES: dict[str, Callable[[], Any]] = {
    "default dtype": lambda: state(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "default device": lambda: torch.device("meta"),
    "deterministic": lambda: state(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    ),
    "precision": lambda: state(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "threads": lambda: state(torch.get_num_threads, torch.set_num_threads, torch.get_num_threads() + 1),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "grad": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "attention": lambda: torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    "inductor": lambda: torch._inductor.config.patch(max_autotune=True),
    "inductor, nested": lambda: torch._inductor.config.patch({"cpp.enable_floating_point_contract_flag": "on"}),
    "inductor, private": lambda: torch._inductor.config.patch(_micro_pipeline_tp=True),
    "functorch": lambda: torch._functorch.config.patch(functionalize_rng_ops=True),
    "tag": lambda: torch.compiler.config.patch(cache_key_tag="other"),
}


class TestTheProcess:
    @pytest.mark.parametrize("name", STATES)
    def test_misses_when_its_state_changes_and_hits_when_it_is_back(self, name: str) -> None:
        with STATES[name]():
            pass  # to set what is set already may change what torch reads back
        one = key(scaled())
        with STATES[name]():
            other = factors(scaled())
        assert key_of(other) != one
        assert key(scaled()) == one

    @pytest.mark.parametrize("setting", ["fx_graph_cache", "compile_threads", "trace.enabled"])
    def test_hits_when_a_setting_changes_that_changes_no_code(self, setting: str) -> None:
        one = key(scaled())
        with torch._inductor.config.patch({setting: 3}):
            assert key(scaled()) == one

    def test_threads_do_not_key_where_code_asks_for_them(self) -> None:
        settings = {"inductor": {"cpp.dynamic_threads": True}}
        one = key(scaled(), **settings)
        with STATES["threads"]():
            assert key(scaled(), **settings) == one
            assert factors(scaled())["torch"]["threads"] == torch.get_num_threads()

    def test_compiling_something_changes_no_key(self) -> None:
        one = factors(scaled())
        torch.compile(lambda x: x + 1, backend="aot_eager")(torch.ones(3))
        assert compare(one, factors(scaled())) == []

    @pytest.mark.parametrize("name", ["__version__", "version.git_version"])
    def test_another_torch_misses(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        one = key(scaled())
        monkeypatch.setattr(f"torch.{name}", "2.99.0")
        assert key(scaled()) != one

    @pytest.mark.parametrize(
        ("variable", "hits"),
        [
            ("TORCHINDUCTOR_MAX_AUTOTUNE", False),
            ("TORCHINDUCTOR_CPP_WRAPPER", False),
            ("CC", False),
            ("CXX", False),
            ("ATEN_CPU_CAPABILITY", False),
            ("TORCH_CUDA_ARCH_LIST", False),
            ("TRITON_PTXAS_PATH", False),
            ("NVIDIA_TF32_OVERRIDE", False),
            ("ENABLE_PERSISTENT_TMA_MATMUL", False),
            ("TORCHINDUCTOR_CACHE_DIR", True),
            ("TORCHINDUCTOR_COMPILE_THREADS", True),
            ("TORCHINDUCTOR_FX_GRAPH_CACHE", True),
            ("TRITON_CACHE_DIR", True),
            ("TRITON_HOME", True),
            ("LD_PRELOAD", True),
            ("HOME", True),
            ("TMPDIR", True),
            ("CUDA_VISIBLE_DEVICES", True),
            ("RANK", True),
            ("LOCAL_RANK", True),
            ("MASTER_PORT", True),
            ("TORCH_LOGS", True),
            ("TORCH_TRACE", True),
            ("CUTAWAY_DUMP", True),
        ],
        ids=named,
    )
    def test_variables_key_or_do_not(self, monkeypatch: pytest.MonkeyPatch, variable: str, hits: bool) -> None:
        one = key(scaled())
        monkeypatch.setenv(variable, os.environ.get(variable, "") + "1")
        assert (key(scaled()) == one) is hits

    def test_two_processes_that_share_nothing_have_the_same_keys(self, tmp_path: Path) -> None:
        told: list[list[dict[str, Any]]] = []
        for seed in ("1", "7"):
            home = tmp_path / seed
            home.mkdir()
            places = {"HOME": str(home), "TORCHINDUCTOR_CACHE_DIR": str(home), "TMPDIR": str(home)}
            answer = python("-c", "from compiler.cache_tools import tell; tell()", PYTHONHASHSEED=seed, **places)
            told.append(json.loads(answer.stdout.splitlines()[-1]))
        assert len(told[0]) == 4
        assert [compare(one, other) for one, other in zip(*told, strict=True)] == [[]] * 4
        assert [key_of(one) for one in told[0]] == [key_of(other) for other in told[1]]


class TestTheDocument:
    def test_is_json_that_has_the_same_key_when_read_again(self) -> None:
        document = factors(plain(), post_grad_passes=(Pass(), local(1)))
        assert key_of(json.loads(json.dumps(document))) == key_of(document)

    def test_names_no_place_of_this_machine(self, tmp_path: Path) -> None:
        text = json.dumps(factors(plain(), post_grad_passes=(twice, local(1)), cache_dir=tmp_path))
        assert [place for place in (str(Path.home()), str(Path.cwd()), str(tmp_path), "0x") if place in text] == []

    def test_tells_what_differs_by_path(self) -> None:
        one = factors(plain())
        with torch._inductor.config.patch(max_autotune=True):
            other = factors(plain(by=3.0, span=Range(1, 99), dtype=torch.bfloat16))
        found = {path: (old, new) for path, old, new in compare(one, other)}
        assert found["range.end"] == (64, 99)
        assert found["torch.settings.torch._inductor.config.changed.max_autotune"] == (None, True)
        assert found["inputs.values[1]"] == (
            "float32[z0, 8] on cpu stride [8, 1] offset 0", "bfloat16[z0, 8] on cpu stride [8, 1] offset 0",
        )  # fmt: skip
        assert {path.partition(".")[0] for path in found} == {"graph", "inputs", "range", "torch"}
        assert compare(one, one) == []

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda part: st.lists(part) | st.dictionaries(st.text(), part),
        )
    )
    def test_compares_as_equal_only_what_has_equal_leaves(self, value: Any) -> None:
        assert compare({"a": value}, json.loads(json.dumps({"a": value}))) == []
        assert compare({"a": value}, {"a": value, "b": 1}) == [("b", None, 1)]

    def test_lies_beside_the_artifact(self, tmp_path: Path) -> None:
        built = cached(tmp_path).compile(scaled())[0]
        document = json.loads(next(tmp_path.rglob("cache_key_factors.json")).read_text())
        assert key_of(document) == built.key
