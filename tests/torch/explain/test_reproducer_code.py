"""Reproducers with generated code, and of what overwrites an input."""

from __future__ import annotations

import operator
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import fx
from torch._inductor.ir import FallbackKernel

from cutaway.errors import ReplayError
from cutaway.explain.reproducer import run_reproducer
from cutaway.explain.reproducer.against import code_for, wrong_result
from cutaway.explain.reproducer.code import Code
from cutaway.explain.reproducer.forked import crashes
from cutaway.explain.reproducer.make import CODE_ALONE
from cutaway.explain.reproducer.program import Program, warm_up
from cutaway.explain.reproducer.shrink import Shrinker
from cutaway.explain.reproducer.write import write

aten = torch.ops.aten


def traced(forward: Callable[..., Any]) -> fx.Graph:
    return fx.Tracer().trace(forward)


def doubled(factor: str) -> Code:
    """Code as if Inductor had generated it for `x * 2`."""
    text = f"""
'''A docstring.'''
def call(args):
    size, x = args
    args.clear()
    return (x.neg(), x * {factor})

def get_args():
    pass

if __name__ == "__main__":
    get_args()
"""
    return Code(text, (4, "x"), (1,))


def double() -> Program:
    return Program("code", (traced(lambda x: (aten.mul.Tensor(x, 2.0),)),), {"x": torch.linspace(1, 2, 4)})


class TestGeneratedCode:
    def test_wrong_code_is_held_against_its_graph_and_against_float64(self, tmp_path: Path) -> None:
        found = wrong_result(double(), doubled("3.0"))
        assert found is not None
        program, code = found
        path = tmp_path / "reproducer.py"
        write(program, path, ["a fault"], [], False, code)
        assert "get_args" not in path.read_text()
        ended, said = run_reproducer(path, 120.0, CODE_ALONE)
        assert ended == 1, said
        assert said.rstrip().endswith("the graph 0")  # from float64; it is not compiled afresh

    def test_right_code_shows_nothing(self) -> None:
        assert wrong_result(double(), doubled("2.0")) is None

    def test_of_several_results_the_wrong_one_stays(self) -> None:
        both = traced(lambda x, y: (aten.neg.default(x), aten.mul.Tensor(x, 2.0), aten.exp.default(y)))
        program = Program("code", (both,), {"x": torch.ones(4), "y": torch.ones(4)})
        code = replace(doubled("3.0"), results=(0, 1, None))
        found = wrong_result(program, code)
        assert found is not None
        assert found[0].size == 1
        assert found[1].results == (1,)

    def test_code_that_overwrites_its_input_is_wrong_with_all_results(self) -> None:
        code = Code("def call(args):\n    (x,) = args\n    return (x.mul_(2.0).clone(),)\n", ("x",), (0,))
        found = wrong_result(double(), code)
        assert found is not None
        assert found[1].results == (0,)

    def test_what_inductor_generates_is_seen_with_its_arguments(self) -> None:
        def forward(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            hidden = aten.mm.default(x, w)
            return hidden, aten.relu.default(x)

        given = {"x": torch.randn(3, 5), "w": torch.randn(5, 2)}
        program = Program("compiled", (traced(forward),), given)
        code = code_for(program)
        assert code is not None
        assert set(code.args) == {"x", "w"}
        assert set(code.results) == {0, 1}
        assert wrong_result(program, code) is None

    @pytest.mark.slow
    def test_a_crash_is_shown_from_outside(self, tmp_path: Path) -> None:
        text = "import os, signal\ndef call(args):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
        path = tmp_path / "reproducer.py"
        write(replace(double(), fault="crash"), path, [], [], False, Code(text, ("x",), ()))
        ended, said = run_reproducer(path)
        assert ended == 1, said
        assert "as it was generated: it ended with SIGSEGV" in said
        assert said.rstrip().endswith("exit code 0")

    def test_text_without_a_function_call_is_refused(self) -> None:
        with pytest.raises(ReplayError, match="has no function call"):
            Code("kernel = 1\n", (), ()).section()


CRASHES = "import ctypes; ctypes.string_at(64)"


def plant(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """What Inductor generates in this process for a sort has a line more before it."""
    right = FallbackKernel.codegen

    def codegen(self: FallbackKernel, wrapper: Any) -> None:
        if "sort" in str(self.op_overload):
            wrapper.writeline(line)
        right(self, wrapper)

    monkeypatch.setattr(FallbackKernel, "codegen", codegen)


class TestCrashes:
    @pytest.fixture(scope="class", autouse=True)
    def _warm(self) -> None:
        warm_up()

    def test_a_graph_whose_code_ends_its_process_is_cut_down(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def forward(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            ordered = operator.getitem(aten.sort.default(aten.mm.default(x, w)), 0)
            return aten.mm.default(x, w), aten.mm.default(ordered, w)

        given = {"x": torch.randn(2, 2), "w": torch.randn(2, 2)}
        program = Program("crash", (traced(forward),), given)
        assert not program.shows()  # what torch itself generates is right
        path = tmp_path / "reproducer.py"
        plant(monkeypatch, CRASHES)
        assert program.shows()
        small = Shrinker(program, 120).run([None])
        assert small.graphs[0].find_nodes(op="call_function", target=aten.sort.default)
        assert small.size == 2  # the sort, and the one of its results that is used
        code = code_for(small)
        assert code is not None
        assert CRASHES in code.text
        write(small, path, [], [], True, code)
        ended, said = run_reproducer(path, 120.0, CODE_ALONE)
        assert ended == 1, said
        assert said.rstrip().endswith("as it was generated: it ended with SIGSEGV")

    def test_an_exception_of_generated_code_is_a_crash_as_well(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        graph = traced(lambda x: (operator.getitem(aten.sort.default(x), 0),))
        program = Program("crash", (graph,), {"x": torch.randn(2)})
        plant(monkeypatch, "raise RuntimeError('an illegal memory access')")
        assert program.shows()
        code = code_for(program)
        assert code is not None
        path = tmp_path / "reproducer.py"
        write(program, path, [], [], True, code)
        ended, said = run_reproducer(path, 120.0, CODE_ALONE)
        assert ended == 1, said
        assert said.rstrip().endswith("it ended with RuntimeError: an illegal memory access")

    def test_what_cannot_be_made_and_what_does_not_end_is_no_crash(self) -> None:
        def fails() -> Any:
            raise ValueError

        assert crashes(lambda: os.abort)
        assert crashes(lambda: fails)
        assert not crashes(fails)
        assert not crashes(lambda: lambda: torch.ones(1000, 1000) @ torch.ones(1000, 1000))
        assert not crashes(lambda: lambda: time.sleep(60), limit=0.1)


class TestOverwriting:
    def test_what_overwrites_is_kept_with_what_it_writes(self, tmp_path: Path) -> None:
        def forward(writes: bool) -> Callable[..., Any]:
            def graph(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor]:
                scaled = aten.mul.Tensor(x, 0.1)
                total = aten.add.Tensor(aten.exp.default(y), scaled)
                if writes:
                    aten.copy_.default(x, scaled)
                return (total,)

            return graph

        given = {"x": torch.ones(4), "y": torch.ones(4)}
        program = Program("overwritten", (traced(forward(False)), traced(forward(True))), given)
        small = Shrinker(program, 60).run([None, None])
        assert small.size == 3  # the product on both sides, and what writes it
        path = tmp_path / "reproducer.py"
        write(small, path, [], [], is_seeded=False)
        ended, said = run_reproducer(path)
        assert ended == 1, said
        assert re.search(r"x is overwritten, and was not given away:\nelement 0 of \d was \S+, and is \S+\n", said), (
            said
        )

    def test_what_both_graphs_overwrite_is_no_fault(self) -> None:
        writer = traced(lambda x: (aten.mul_.Tensor(x, 2.0),))
        assert not Program("overwritten", (writer, writer), {"x": torch.ones(4)}).shows()
