"""Which implementations a piece was compiled with keys it; ops that cannot run in it do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from compiler.cache_tools import SPAN
from compiler.passes.ir_models import Shifted, compiled, new_op, passes_shift, provider_in, source, started
from torch import Tensor, fx

import cutaway
from cutaway.compiler.build.eager import EagerCompiler
from cutaway.compiler.build.interface import CompilerInterface, Task
from cutaway.compiler.cache.environment import keyed_sources
from cutaway.compiler.cache.factors import UncacheableError, key_of, piece_factors
from cutaway.compiler.cache.ir import ops_in
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.passes.add_rms_norm import AddRmsNormFusion
from cutaway.compiler.passes.inductor_pass import InductorPass
from cutaway.compiler.passes.rms_norm_quant import RmsNormQuantFusion
from cutaway.ops import IrOp, enable_torch_wrap, register_op, set_priority

X = torch.ones(16, 4)


class Rewriting(EagerCompiler):
    """A compiler with passes."""

    def __init__(self, *passes: InductorPass) -> None:
        self.passes = passes

    def rewriters(self) -> Sequence[InductorPass]:
        return self.passes


def factors(op: IrOp, compiler: CompilerInterface | None = None) -> dict[str, Any]:
    """The document of a piece that calls an op."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta["example_value"] = X
    node = graph.call_function(op.torch_op, (x, 3.0))
    node.meta["example_value"] = X
    graph.output((node,))
    task = Task(fx.GraphModule({}, graph), [X], SPAN)
    return piece_factors(task, compiler or EagerCompiler(), CompilationConfig())


def key(op: IrOp, compiler: CompilerInterface | None = None) -> str:
    return key_of(factors(op, compiler))


class TestAPiece:
    def test_its_document_names_the_providers_in_force(self) -> None:
        with set_priority({"passes_shift": ["few", "hundred", "native"]}):
            found = factors(passes_shift)["ir"]
        assert list(found) == ["passes_shift"]
        assert found["passes_shift"]["priority"] == ["few", "hundred"]  # the second takes everything
        assert found["passes_shift"]["providers"] == {
            name: passes_shift.impls[name].uuid() for name in ("few", "hundred")
        }

    def test_the_priority_in_force_keys_it_whoever_set_it(self) -> None:
        op = new_op()
        op.register_impl("other")(_other)
        before = key(op)
        with set_priority({op.name: ["other"]}):
            scoped = key(op)
        op.set_default(["other"])
        assert before != scoped == key(op)
        op.set_default(["native"])
        assert key(op) == before

    def test_the_source_of_what_may_run_keys_it_and_no_other(self, tmp_path: Path) -> None:
        op = new_op()
        file = provider_in(tmp_path, op)
        with set_priority({op.name: ["edited", "native"]}):
            before = key(op)
            file.write_text(source(more=1))
            assert key(op) != before
        native = key(op)
        file.write_text(source(more=2))
        assert key(op) == native

    def test_ops_that_are_not_in_it_do_not_key_it(self, tmp_path: Path) -> None:
        op, other = new_op(), new_op()
        before = key(op)
        file = provider_in(tmp_path, other)
        with set_priority({other.name: ["edited"]}):
            assert key(op) == before
            file.write_text(source(more=1))
            new_op()
            assert key(op) == before

    def test_a_provider_that_is_registered_and_not_preferred_does_not_key_it(self) -> None:
        op = new_op()
        before = key(op)
        op.register_impl("other")(_other)
        assert key(op) == before

    def test_an_implementation_without_a_source_makes_it_uncacheable(self) -> None:
        op = new_op()
        space: dict[str, Any] = {"Tensor": Tensor}
        exec("def typed_in(x: Tensor, offset: float) -> Tensor: return x + offset", space)
        op.register_impl("typed_in")(space["typed_in"])
        with set_priority({op.name: ["typed_in"]}), pytest.raises(UncacheableError, match=f"typed_in of op {op.name}"):
            key(op)
        key(op)

    def test_the_library_keys_only_what_calls_it(self) -> None:
        """Its files are not among Cutaway's own sources: who edits one op need not compile all models anew."""
        root = Path(cutaway.__file__).parent
        names = {file.relative_to(root).as_posix() for file in keyed_sources()}
        assert {"ops/op.py", "ops/priority.py", "compiler/passes/lowering.py", "compiler/build/inductor.py"} <= names
        assert [name for name in names if name.startswith(("ops/library", "ops/kernels"))] == []


def _other(x: Tensor, offset: float) -> Tensor:
    return x + offset


class Fuses(InductorPass):
    """Says that it makes one op of two."""

    produces: ClassVar[Mapping[str, Sequence[str]]] = {"passes_fused": ("passes_part", "passes_shift")}

    def __call__(self, graph: fx.Graph) -> None: ...


class FusesAgain(InductorPass):
    """Says that it makes another op of that."""

    produces: ClassVar[Mapping[str, Sequence[str]]] = {
        "passes_fused_again": ("passes_fused",),
        "passes_nowhere": ("passes_shift",),
    }

    def __call__(self, graph: fx.Graph) -> None: ...


@register_op
def passes_part(x: Tensor) -> Tensor:
    return x


@register_op
def passes_fused(x: Tensor, offset: float) -> Tensor:
    return x + offset


@register_op
def passes_fused_again(x: Tensor, offset: float) -> Tensor:
    return x + offset


@register_op
def passes_outer(x: Tensor, offset: float) -> Tensor:
    return _helper(x, offset)


def _helper(x: Tensor, offset: float) -> Tensor:
    return (lambda y: passes_shift(y, offset))(x)


class TestOpsThatMayRun:
    """An op may come into a piece by a pass, or by an implementation that calls it."""

    def found(self, calls: Callable[[Tensor], Any], *passes: InductorPass) -> set[str]:
        return ops_in(fx.symbolic_trace(calls).graph.nodes, passes)

    def test_what_a_pass_makes_of_those_that_are_there(self) -> None:
        part, shift = passes_part.torch_op, passes_shift.torch_op
        both = self.found(lambda x: shift(part(x), 1.0), FusesAgain(), Fuses())
        assert both == {"passes_part", "passes_shift", "passes_fused", "passes_fused_again"}
        assert self.found(lambda x: shift(x, 1.0), FusesAgain(), Fuses()) == {"passes_shift"}
        assert self.found(lambda x: shift(part(x), 1.0)) == {"passes_part", "passes_shift"}

    def test_what_an_implementation_calls_by_way_of_functions_beside_it(self) -> None:
        outer = passes_outer.torch_op
        assert self.found(lambda x: outer(x, 1.0)) == {"passes_outer", "passes_shift"}

    def test_nothing_in_a_graph_of_torchs_own_operators(self) -> None:
        assert self.found(lambda x: torch.ops.aten.mul.Tensor(x, 2), Fuses(), FusesAgain()) == set()

    def test_what_fusions_make_is_declared(self) -> None:
        """Of each op that a fusion of ours puts in: else a change of it would not be seen."""
        import_module("cutaway.ops.library")
        assert set(AddRmsNormFusion.produces) == {"fused_add_rms_norm"}
        assert set(RmsNormQuantFusion.produces) == {fusion.name for fusion in RmsNormQuantFusion().fusions()}

    def test_a_priority_of_what_a_pass_makes_keys(self) -> None:
        with_pass = Rewriting(AlwaysMakes())
        before = key(passes_shift, with_pass)
        passes_fused_with_others()
        with set_priority({"passes_fused": ["other"]}):
            assert key(passes_shift, with_pass) != before


class AlwaysMakes(InductorPass):
    """Says that it makes an op of another."""

    produces: ClassVar[Mapping[str, Sequence[str]]] = {"passes_fused": ("passes_shift",)}

    def __call__(self, graph: fx.Graph) -> None: ...


def passes_fused_with_others() -> None:
    if "other" not in passes_fused.impls:
        passes_fused.register_impl("other")(_other)


class TestAModel:
    """Starts of a model: warm where nothing changed that concerns it, cold where something did."""

    def test_a_priority_is_a_cold_start_and_both_stay_warm(self) -> None:
        for priority, more in (({}, 0), ({"passes_shift": ["hundred"]}, 100), ({}, 0)):
            made = compiled(Shifted(), ir_priority=priority)
            assert torch.equal(made(X), ((X * 2 + 3 + more) * 10 + 4 + more) * 7)
        assert made.counters.models_loaded == 1
        again = started(Shifted(), ir_priority={"passes_shift": ["hundred"]})
        assert again.counters.models_loaded == 1

    def test_a_default_or_a_scope_around_the_first_call_too(self) -> None:
        started(Shifted())
        with set_priority({"passes_shift": ["hundred"]}):
            scoped = started(Shifted())
        assert (scoped.counters.models_loaded, scoped.counters.backend_compilations) == (0, 1)
        assert torch.equal(scoped(X), ((X * 2 + 103) * 10 + 104) * 7)  # its choice is compiled in
        assert started(Shifted()).counters.backend_compilations == 0

    def test_an_edited_implementation_is_a_cold_start(self, tmp_path: Path) -> None:
        op = new_op()
        file = provider_in(tmp_path, op)
        priority = {op.name: ["edited", "native"]}
        assert started(Shifted(op), ir_priority=priority).counters.artifacts_saved == 1
        assert started(Shifted(op), ir_priority=priority).counters.models_loaded == 1
        file.write_text(source(more=1))
        edited = started(Shifted(op), ir_priority=priority)
        assert (edited.counters.models_loaded, edited.counters.backend_compilations) == (0, 1)

    def test_unrelated_ops_are_none(self, tmp_path: Path) -> None:
        op, other = new_op(), new_op()
        started(Shifted(op))
        file = provider_in(tmp_path, other)
        other.set_default(["edited"])
        file.write_text(source(more=1))
        new_op()
        warm = started(Shifted(op))
        assert (warm.counters.models_loaded, warm.counters.backend_compilations) == (1, 0)

    def test_a_piece_that_does_not_have_the_op_is_not_compiled_anew(self) -> None:
        """The other pieces are loaded, although the model as a whole is captured again."""
        config = {"splitting_ops": ("passes_tests::cut",)}
        started(Mixed(), **config)
        made = started(Mixed(), **config, ir_priority={"passes_shift": ["hundred"]})
        assert (made.counters.artifacts_loaded, made.counters.backend_compilations) == (1, 1)

    def test_what_cannot_be_told_from_its_like_is_compiled_at_each_start(self) -> None:
        op = new_op()
        space: dict[str, Any] = {"Tensor": Tensor}
        exec("def typed_in(x: Tensor, offset: float) -> Tensor: return x + offset + 1", space)
        op.register_impl("typed_in")(space["typed_in"])
        for _ in range(2):
            made = compiled(Shifted(op), ir_priority={op.name: ["typed_in"]})
            assert torch.equal(made(X), ((X * 2 + 4) * 10 + 5) * 7)
            assert (made.counters.models_saved, made.counters.backend_compilations) == (0, 1)

    @pytest.mark.parametrize("form", ["binary", "unpacked"])
    def test_torchs_own_caches_tell_them_apart(self, form: Any, tmp_path: Path) -> None:
        """Nothing of ours is shared here, and the graphs that Inductor looks for are the same."""
        for name, more in (("native", 0), ("hundred", 100), ("native", 0)):
            config = {"cache_dir": tmp_path / f"{name}{more}", "cache_format": form}
            made = compiled(Shifted(), **config, ir_priority={"passes_shift": [name]})
            assert torch.equal(made(X), ((X * 2 + 3 + more) * 10 + 4 + more) * 7)

    def test_with_torch_wrapping_off_dynamo_traces_the_choice_and_the_model_is_keyed_by_it(self) -> None:
        with enable_torch_wrap(False):
            for priority, more, loaded in (({}, 0, 0), ({"passes_shift": ["hundred"]}, 100, 0), ({}, 0, 1)):
                made = compiled(Shifted(), ir_priority=priority)
                assert torch.equal(made(X), ((X * 2 + 3 + more) * 10 + 4 + more) * 7)
                assert (made.counters.models_loaded, made.counters.nodes_lowered) == (loaded, 0)
        wrapped = started(Shifted())
        assert wrapped.counters.models_loaded == 0


class Mixed(torch.nn.Module):
    """Two pieces, one of them with an op."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.ops.passes_tests.cut(x.sin() * 2)
        return passes_shift(x, 3.0) * 5
