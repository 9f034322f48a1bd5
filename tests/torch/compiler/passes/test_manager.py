"""Passes: their options, names and identities; the manager that runs, checks, times and tells of each."""

from __future__ import annotations

import logging
import pickle
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import torch._inductor.config
from compiler.passes.ir_models import SPLITTING, Given, Shifted, compiled, passes_shift, started
from recordings import python
from torch import Tensor, fx, nn

import cutaway
from cutaway.compiler import CutawayPass, InductorPass, PassManager, before, get_pass_context, pass_context
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.passes.inductor_pass import CallablePass
from cutaway.errors import CompileError
from cutaway.ops import set_priority

aten = torch.ops.aten


@dataclass(frozen=True)
class Scale(InductorPass):
    """Multiplies by ``new`` where the graph multiplies by ``old``."""

    name: ClassVar[str] = "scale"
    old: int = 2
    new: int = 3

    def __call__(self, graph: fx.Graph) -> None:
        report = get_pass_context().report
        for node in graph.find_nodes(op="call_function", target=aten.mul.Tensor):
            if node.args[1] == self.old:
                node.update_arg(1, self.new)
                report.count("matches")
        report.note("new", self.new)


@dataclass(frozen=True)
class ForSingleSizes(Scale):
    """The same, for single sizes."""

    def is_applicable_for_range(self, compile_range: Range) -> bool:
        return compile_range.is_single_size


def traced(function: Callable[[Tensor], Any], values: bool = True) -> fx.GraphModule:
    """A graph as a pass gets it."""
    gm = fx.symbolic_trace(function)
    for node in gm.graph.nodes:
        if node.op == "call_function" and values:
            node.meta["val"] = torch.ones(2)
    return gm


def doubled(x: Tensor) -> Tensor:
    return aten.mul.Tensor(x, 2)


def run(manager: PassManager, gm: fx.GraphModule, span: Range | None = None) -> None:
    with pass_context(span or Range(1, 64)):
        manager(gm.graph)
    gm.recompile()


class TestAPass:
    def test_its_fields_are_its_options(self) -> None:
        assert Scale(new=7).new == 7
        assert Scale(new=7) == Scale(2, 7)
        with pytest.raises(FrozenInstanceError):
            Scale().new = 1  # type: ignore[misc]
        assert CutawayPass is InductorPass

    def test_its_name(self) -> None:
        class Nameless(InductorPass):
            """A class that names nothing."""

        assert (Scale().name, Nameless().name, CallablePass(doubled).name) == ("scale", "Nameless", "doubled")
        assert ForSingleSizes().name == "ForSingleSizes"

    def test_its_identity_is_its_source_and_its_options(self) -> None:
        assert Scale().uuid() == Scale(2, 3).uuid()
        assert len({Scale().uuid(), Scale(new=4).uuid(), Scale(old=3, new=2).uuid(), ForSingleSizes().uuid()}) == 4

    def test_state_that_is_no_field_counts(self) -> None:
        class WithState(InductorPass):
            """Not a dataclass."""

            def __init__(self, factor: int) -> None:
                self.factor = factor

        assert WithState(1).uuid() == WithState(1).uuid()
        assert WithState(1).uuid() != WithState(2).uuid()

    def test_what_a_function_holds_counts(self) -> None:
        def make(factor: int) -> Callable[[fx.Graph], int]:
            return lambda graph: factor

        assert CallablePass(make(1)).uuid() == CallablePass(make(1)).uuid()
        assert CallablePass(make(1)).uuid() != CallablePass(make(2)).uuid()

    def test_one_without_a_source_has_no_identity(self) -> None:
        space: dict[str, Any] = {}
        exec("def typed_in(graph): pass", space)
        assert CallablePass(space["typed_in"]).uuid() is None

    def test_it_is_the_same_in_every_process(self) -> None:
        script = (
            "from compiler.passes.test_manager import Scale, times; from cutaway.compiler.passes.order import ROUNDS\n"
            "from cutaway.compiler.passes.inductor_pass import CallablePass\n"
            "passes = [Scale(new=7), CallablePass(times(3)), *(e.make() for es in ROUNDS.values() for e in es)]\n"
            "print(*(one.uuid() for one in passes))"
        )
        one, other = (python("-c", script, PYTHONHASHSEED=seed).stdout.split() for seed in ("1", "2"))
        assert one == other
        assert None not in one


def times(factor: int) -> Callable[[fx.Graph], set[Any]]:
    """A function that holds something whose order differs from process to process."""
    return lambda graph: {"a", "b", "c", factor}


class TestTheManager:
    def test_runs_them_in_order_and_says_so(self) -> None:
        said: list[Any] = []

        def watch(when: str, gm: fx.GraphModule, step: Any) -> None:
            said.append((when, step.round, step.number, step.name, dict(step.report.counts), dict(step.report.notes)))

        gm = traced(doubled)
        run(PassManager([Scale(2, 3), Scale(3, 4)], "post_grad_pre", watch), gm)
        assert gm(torch.ones(1)) == 4
        assert said == [
            ("begin", "post_grad_pre", 0, "scale", {}, {}),
            ("end", "post_grad_pre", 0, "scale", {"matches": 1}, {"new": 3}),
            ("begin", "post_grad_pre", 1, "scale", {}, {}),
            ("end", "post_grad_pre", 1, "scale", {"matches": 1}, {"new": 4}),
        ]

    def test_only_those_that_apply_to_the_range(self) -> None:
        for span, factor in ((Range(1, 8), 2), (Range(8, 8, is_single_size=True), 3)):
            gm = traced(doubled)
            run(PassManager([ForSingleSizes()]), gm, span)
            assert gm(torch.ones(1)) == factor

    def test_measures_them(self) -> None:
        found: list[Any] = []
        manager = PassManager([lambda graph: sum(range(100_000))], watch=lambda when, gm, step: found.append(step))
        run(manager, traced(doubled))
        assert found[-1].seconds > 0

    def test_logs_what_each_changed(self, caplog: pytest.LogCaptureFixture) -> None:
        def halved(graph: fx.Graph) -> None:
            for node in graph.find_nodes(op="call_function", target=aten.mul.Tensor):
                node.target = aten.div.Tensor

        with caplog.at_level(logging.DEBUG, "cutaway.compiler.passes"):
            run(PassManager([halved, Scale()]), traced(doubled))
        one, other = caplog.messages
        assert one.startswith("piece: post_grad.0.halved took ")
        assert one.endswith(" ms: aten.div.Tensor +1, aten.mul.Tensor -1")
        assert other.endswith(" ms: the same ops")

    def test_names_one_that_fails(self) -> None:
        def failing(graph: fx.Graph) -> None:
            raise ValueError("not like this")

        with pytest.raises(CompileError, match=r"the pass failing failed. ValueError: not like this.*pass:failing"):
            run(PassManager([failing]), traced(doubled))

    @pytest.mark.parametrize("debug", [False, True])
    def test_names_one_that_leaves_no_graph(self, debug: bool) -> None:
        def careless(graph: fx.Graph) -> None:
            with graph.inserting_before(next(iter(graph.nodes))):
                graph.call_function(aten.neg.default, (graph.find_nodes(op="placeholder")[0],))

        with pytest.raises(CompileError, match="the pass careless left a graph that is none"):
            run(PassManager([careless], debug=debug), traced(doubled))

    def test_names_a_node_without_a_value(self) -> None:
        def valueless(graph: fx.Graph) -> None:
            for node in graph.find_nodes(op="call_function", target=aten.mul.Tensor):
                node.meta.clear()

        gm = traced(doubled)
        run(PassManager([valueless]), gm)  # Inductor makes it when all passes have run
        with pytest.raises(CompileError, match=r"the pass valueless left a node without a value: %mul_tensor"):
            run(PassManager([valueless], debug=True), gm)
        run(PassManager([valueless], "pre_grad", debug=True), gm)

    def test_can_be_pickled_without_who_watches(self) -> None:
        manager = pickle.loads(pickle.dumps(PassManager([Scale()], "pre_grad", lambda *said: None, debug=True)))
        assert (manager.passes, manager.round, manager.watch, manager.debug) == ([Scale()], "pre_grad", None, True)


class TestItsIdentity:
    """What torch's own caches know the passes by; they look for the graph themselves."""

    def identity(self, *passes: Any, donated: Any = (), state: str = "") -> str:
        with pass_context(Range(1, 8), state=state) as context:
            context.donated_inputs.update(donated)
            return PassManager(passes).uuid()

    def test_passes_donations_and_providers_count(self) -> None:
        same = [self.identity(Scale()), self.identity(Scale(2, 3))]
        other = [
            self.identity(Scale(new=4)),
            self.identity(Scale(), Scale()),
            self.identity(Scale(), donated=[0]),
            self.identity(Scale(), donated=[0, 1]),
            self.identity(Scale(), state="rms_norm: native"),
        ]
        assert len({*same, *other}) == 1 + len(other)
        assert len(set(same)) == 1

    def test_without_the_identity_of_one_it_is_like_no_other(self) -> None:
        class Unknown(InductorPass):
            """Cannot say what it is."""

            def uuid(self) -> None:
                return None

        assert self.identity(Scale(), Unknown()) != self.identity(Scale(), Unknown())


class TestInTheCompiler:
    def test_the_rounds_of_a_piece_and_range_share_a_context_and_no_others_do(self) -> None:
        seen: dict[str, list[Any]] = {"early": [], "late": []}
        places = {"early": "inplace_functionalization", "late": "ir_lowering"}
        passes = [before(place, _note(when, seen[when])) for when, place in places.items()]
        started(Shifted(), compile_ranges=[(1, 8), (9, 64)], post_grad_passes=passes, disable_cache=True)
        assert [id(one) for one in seen["early"]] == [id(one) for one in seen["late"]]
        where = [(context.piece, str(context.compile_range)) for context in seen["late"]]
        assert where == [("piece_00", "1_8"), ("piece_00", "9_64")]

    def test_a_pass_that_somebody_else_put_there_runs_behind_ours(self) -> None:
        ran: list[str] = []
        x = torch.ones(4, 4)
        theirs, asked, ours = (_say(what, ran) for what in ("theirs", "asked", "ours"))
        for inductor, expected in (({}, "theirs"), ({"post_grad_custom_post_pass": asked}, "asked")):
            ran.clear()
            with torch._inductor.config.patch(post_grad_custom_post_pass=theirs):
                made = compiled(Shifted(), inductor=inductor, post_grad_passes=[ours], disable_cache=True)
                assert torch.equal(made(x), Shifted()(x))
            assert ran == ["ours", expected]

    def test_the_example_of_the_guide(self) -> None:
        guide = (Path(__file__).parents[4] / "docs" / "compile.md").read_text()
        (example,) = re.findall(r"```python\n(import math\n.*?)```", guide, re.DOTALL)
        space: dict[str, Any] = {"cutaway": cutaway, "__name__": __name__}
        exec(example, space)
        made = cutaway.compile(Divided(), space["config"], dynamic_arg_dims={"x": 0})
        x = torch.randn(4, 4)
        with made.counters.expect(patterns_matched=2):
            torch.testing.assert_close(made(x), x.sin() / 8 + x / 3)

    def test_counts_are_kept(self) -> None:
        made = compiled(Times(), post_grad_passes=[Scale()])
        x = torch.ones(4, 4)
        with made.counters.expect(patterns_matched=1, nodes_lowered=0):
            assert torch.equal(made(x), x * 3 + 1)
        with pytest.raises(AttributeError), made.counters.expect(nodes_raised=1):
            pass

    def test_lowered_nodes_are_counted_and_what_was_traced_for_them(self) -> None:
        counters = started(Shifted()).counters
        assert counters.nodes_lowered == 2
        assert counters.replacements_traced + counters.replacements_reused == 2
        assert started(Shifted(), off=["pass:ir_lowering"]).counters.nodes_lowered == 0

    @pytest.mark.parametrize("off", [[], ["passes"], ["pass:ir_lowering"], ["inductor"]])
    @pytest.mark.parametrize("debug", [False, True])
    def test_with_and_without_passes_it_computes_the_same(self, off: list[str], debug: bool) -> None:
        for model in (Shifted(), Given(give=True)):
            made = compiled(model, splitting_ops=SPLITTING, off=off, debug=debug)
            for rows in (16, 64):
                x = torch.randn(rows, 4)
                assert torch.equal(made(x), model(x))


class Divided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin() / 8 + x / 3


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 + 1


def _note(when: str, seen: list[Any]) -> CallablePass:
    def noted(graph: fx.Graph) -> None:
        seen.append(get_pass_context())

    noted.__name__ = f"noted_{when}"
    return CallablePass(noted)


def _say(what: str, ran: list[str]) -> CallablePass:
    return CallablePass(lambda graph: ran.append(what))


class TestDonatedInputs:
    """Who gives an input away and who does not have the same graph when Inductor looks for it in torch's cache."""

    @pytest.mark.parametrize("form", ["binary", "unpacked"])
    @pytest.mark.parametrize("first", [True, False])
    def test_what_was_compiled_for_one_is_not_taken_for_the_other(self, first: bool, form: Any, tmp_path: Path) -> None:
        written: dict[bool, bool] = {}
        for give in (first, not first):
            model = Written(give)
            with set_priority({"passes_shift": ["inplace", "native"]}):
                made = compiled(model, cache_dir=tmp_path / str(give), cache_format=form)
                x = torch.ones(4, 4)
                torch.testing.assert_close(made(x), torch.full((4, 4), 4.0) * 5)
                written[give] = not torch.equal(x, torch.ones(4, 4))
        assert written == {True: True, False: False}

    def test_a_later_use_is_refused_across_pieces(self) -> None:
        made = compiled(UsedLater(), splitting_ops=SPLITTING)
        with pytest.raises(cutaway.CompileError) as caught:
            made(torch.ones(4, 4))
        text = str(caught.value)
        assert "cannot be given away to passes_shift.maybe_inplace" in text
        assert "return y + given" in text


class Written(nn.Module):
    """Gives its own input away, or not."""

    def __init__(self, give: bool) -> None:
        super().__init__()
        self.op = passes_shift.maybe_inplace if give else passes_shift

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x, 3.0) * 5


class UsedLater(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        given = x * 2
        y = torch.ops.passes_tests.cut(passes_shift.maybe_inplace(given, 3.0))
        return y + given
