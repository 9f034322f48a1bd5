"""What compiles assume about sizes, out of real recordings of torch.compile and of our compiler."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from explain import shape_programs as programs
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import ConstraintViolationError

import cutaway
from cutaway.compiler import CompilationConfig
from cutaway.dump import Dump
from cutaway.errors import CompileError
from cutaway.explain.shapes import Assumptions, explain_shapes, uncaptured

FILE = str(Path(programs.__file__))


def line_of(text: str) -> int:
    lines = Path(FILE).read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def compiled(function: object, *sizes: int, dynamic: bool | None = True) -> None:
    run = torch.compile(function, backend="eager", dynamic=dynamic)  # pyright: ignore[reportCallIssue, reportArgumentType]
    for size in sizes:
        run(torch.randn(size, 4))


@pytest.fixture(scope="module", name="dump")
def _dump(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    folder = tmp_path_factory.mktemp("shapes") / "dump"
    torch._dynamo.reset()
    with cutaway.record(folder):
        compiled(programs.branches, 16, 17)
        for function in (programs.bounded, programs.fixes, programs.free, programs.breaks, programs.loops):
            compiled(function, 16)
        compiled(programs.grows, 16, 24, 1, dynamic=None)
        unbacked = torch.randn(16, 4)
        torch._dynamo.decorators.mark_unbacked(unbacked, 0)
        torch.compile(programs.checked, backend="eager")(unbacked)
        marked = torch.randn(8, 4)
        torch._dynamo.mark_dynamic(marked, 0)
        with pytest.raises(ConstraintViolationError):
            torch.compile(programs.refuses, backend="eager")(marked)
    return cutaway.load(folder)


@pytest.fixture(scope="module", name="found")
def _found(dump: Dump) -> dict[str, Assumptions]:
    return {each.compilation: each for each in explain_shapes(dump)}


def test_a_branch_on_the_batch_size(found: dict[str, Assumptions]) -> None:
    (constraint,) = found["branches"].of_kind("model")
    assert (constraint.text.partition(" ")[2], constraint.leaves) == ("% 8 == 0", "only multiples of 8")
    assert constraint.place == f"{FILE}:{line_of('% 8 == 0')}"
    assert constraint.code == "if x.shape[0] % 8 == 0:"
    assert found["branches"].restricts


def test_the_other_branch_and_why_it_was_compiled(found: dict[str, Assumptions]) -> None:
    again = found["branches.2"]
    assert again.of_kind("model")[0].leaves == "no multiples of 8"
    (reason,) = again.recompiles
    assert (reason.kind, reason.place) == ("constraint", f"{FILE}:{line_of('% 8 == 0')}")
    assert reason.text == "(x.size()[0] % 8) == 0 did not hold any more"


def test_a_bound(found: dict[str, Assumptions]) -> None:
    (constraint,) = found["bounded"].of_kind("model")
    assert (constraint.leaves, constraint.place) == ("at most 64", f"{FILE}:{line_of('torch._check')}")


def test_a_size_that_became_a_number(found: dict[str, Assumptions]) -> None:
    (fixed,) = [size for size in found["fixes"].sizes if size.fixed]
    assert (fixed.source, fixed.always) == ("x.size()[0]", "16")
    assert fixed.place == f"{FILE}:{line_of('view(16, -1)')}"
    assert found["fixes"].restricts


def test_torchs_own_assumption_is_told_apart(found: dict[str, Assumptions]) -> None:
    free = found["free"]
    assert not free.restricts
    assert not free.finding
    assert free.of_kind("model", "torch", "cache") == []
    assert {constraint.text.partition(" ")[2] for constraint in free.of_kind("zero_one")} == {">= 2"}
    assert free.guarded


def test_a_graph_break(found: dict[str, Assumptions]) -> None:
    (broken,) = found["breaks"].breaks
    assert broken.place == f"{FILE}:{line_of('graph_break')}"
    assert "graph_break" in broken.reason


def test_a_function_that_is_not_compiled_at_all(dump: Dump) -> None:
    (found,) = uncaptured(dump)
    assert (found.function, found.skipped) == ("loops", True)
    assert found.place == f"{FILE}:{line_of('def loops')}"
    assert found.at.place == f"{FILE}:{line_of('def loops') + 4}"


def test_recompiles_for_a_new_size_and_for_a_size_of_one(found: dict[str, Assumptions]) -> None:
    (second,) = found["grows.2"].recompiles
    assert (second.kind, second.text) == ("size", "x.size()[0] was 16, then 24")
    assert {reason.kind for reason in found["grows.3"].recompiles} == {"zero_one"}
    (one,) = found["grows.3"].inputs
    assert (one.sizes, one.zero_or_one) == ((1, 4), (0,))
    assert found["grows"].inputs[0].sizes == (16, 4)


def test_a_compile_that_failed_has_its_reason(found: dict[str, Assumptions]) -> None:
    refused = found["refuses"]
    assert "ConstraintViolationError" in refused.failed
    (constraint,) = refused.of_kind("model")
    assert constraint.place == f"{FILE}:{line_of('shape[0] == 8')}"


def test_a_size_that_tracing_does_not_look_at(found: dict[str, Assumptions]) -> None:
    """An unbacked one: there are no guards, the graph checks it while it runs."""
    (size,) = found["checked"].sizes
    assert (size.source, size.example) == ("x.size()[0]", None)
    asked = {constraint.text: constraint for constraint in found["checked"].of_kind("model")}
    assert asked["u0 % 8 == 0"].leaves == "only multiples of 8"
    assert asked["u0 % 8 == 0"].place == f"{FILE}:{line_of('torch._check(x.shape[0] % 8')}"


class Branching(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return programs.branches(x)


def test_our_compiler_refuses_and_the_dump_says_why(tmp_path: Path) -> None:
    with cutaway.record(tmp_path / "dump"):
        model = cutaway.compile(Branching(), CompilationConfig(disable_cache=True))
        with pytest.raises(CompileError):
            model(torch.randn(16, 4))
    (found,) = explain_shapes(cutaway.load(tmp_path / "dump"))
    (constraint,) = found.of_kind("model")
    assert constraint.place == f"{FILE}:{line_of('% 8 == 0')}"
