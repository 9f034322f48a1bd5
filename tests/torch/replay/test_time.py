"""How long graphs take: every way of running one is measured; how long that is, is nobody's business here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from recordings import in_child
from replay import programs_to_replay as programs

from cutaway.dump import load
from cutaway.errors import ReplayError
from cutaway.replay import Options, timing
from cutaway.replay.choose import reference_of, snapshot_of
from cutaway.replay.job import Graph
from cutaway.replay.launch import launch_timed
from cutaway.replay.time_child import do
from cutaway.replay.time_job import TimeAnswer, Timee, TimeJob
from cutaway.replay.timing import Timing, time_graph
from cutaway.replay.ways import Way

LAST = "Stack.forward/post_grad"
CAPTURED = "Stack.forward/captured"

RAW = """
import torch

class Graph(torch.nn.Module):
    def forward(self, x):
{lines}

def example_inputs():
    return [torch.ones(4)]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("timed")
    programs.record_stack(path, save_inputs="1MB")
    return path


def _timed(path: Path, selector: str, against: str | None, options: dict[str, Any]) -> Timing:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "launch_timed", lambda job, limit: do(job))
        subject = snapshot_of(load(path), selector)
        return time_graph(subject, reference_of(subject, against), Options(**options), repeats=3)


def timed(path: Path, selector: str, against: str | None = None, **options: Any) -> Timing:
    return in_child(_timed, path, selector, against, options)


def ways(found: Timing) -> list[tuple[str, str, int | None]]:
    """Each way; all of them were measured, as often as was asked for."""
    for row in found.rows:
        assert row.seconds is not None, row.why_not
        assert row.seconds.least > 0
        assert row.seconds.count == 3
        assert row.calls >= 1
        assert row.first > 0
        assert (row.ratio is None) == (row.to is None)
        if row.ratio is not None:
            assert row.ratio.least > 0
            assert row.ratio_of_fastest is not None
            assert row.ratio_of_fastest > 0
    return [(row.name, row.how, row.to) for row in found.rows]


def test_every_way_of_a_graph(stack: Path) -> None:
    """The code takes the inputs of the last graph, whatever graph was named."""
    found = timed(stack, CAPTURED)
    assert ways(found) == [
        (CAPTURED, "eager", None),
        (CAPTURED, "compiled", 0),
        ("Stack.forward/output_code", "code", 0),
    ]
    assert found.devices == ("cpu",)
    assert any("CPU" in note for note in found.notes)


def test_against_another_stage_in_the_same_way(stack: Path) -> None:
    found = timed(stack, LAST, "eager")
    assert ways(found) == [
        (CAPTURED, "eager", None),
        (CAPTURED, "compiled", 0),
        (LAST, "eager", 0),
        (LAST, "compiled", 1),
        ("Stack.forward/output_code", "code", 1),
    ]


def test_with_recorded_inputs(stack: Path) -> None:
    """The last graph: the code takes its very inputs."""
    found = timed(stack, LAST, inputs="recorded")
    assert ways(found) == [(LAST, "eager", None), (LAST, "compiled", 0), ("Stack.forward/output_code", "code", 0)]
    assert len(found.recorded) == found.inputs
    assert set(found.sizes.values()) == {2, programs.ROWS}


def test_against_itself_compiled_is_two_ways(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TimeJob] = []

    def launch(job: TimeJob, limit: float) -> TimeAnswer:
        asked.append(job)
        return TimeAnswer()

    monkeypatch.setattr(timing, "launch_timed", launch)
    with pytest.raises(ReplayError, match="nothing was measured"):
        time_graph(load(stack).find(LAST), "compiled")  # pyright: ignore[reportArgumentType]
    assert [timee.ways for timee in asked[0].timees] == [["eager", "compiled"]]


def measured(*lines: str, code: str | None = None, hows: tuple[Any, ...] = ("eager",)) -> TimeAnswer:
    text = RAW.format(lines="\n".join(f"        {line}" for line in lines))
    timee = Timee(Graph(text, "raw.py", {}), ways=[*hows], code=code or "", code_title="code.py")
    return in_child(do, TimeJob(timees=[timee], repeats=2, warmup=1))


@pytest.mark.parametrize(("operator", "writes"), [("add_", True), ("add", False)])
def test_what_it_writes_to_is_noticed(operator: str, writes: bool) -> None:
    (one,) = measured(f"add = torch.ops.aten.{operator}.Tensor(x, 1);  x = None", "return (add,)").measured
    assert one.problem is None
    assert one.writes is writes


def test_inputs_are_put_back() -> None:
    seen: list[float] = []
    way = Way(lambda given: seen.append(float(given[0].add_(1).sum())), [torch.ones(4), 7])
    way.writes = True
    for _ in range(2):
        way.prepare()
        way.call()
        way.call()
    assert seen == [8.0, 12.0] * 2


def test_code_that_empties_its_arguments_is_called_again() -> None:
    code = "def call(args):\n    x, = args\n    args.clear()\n    return (x + 1,)\n"
    (one,) = measured("return (x,)", code=code, hows=("code",)).measured
    assert len(one.seconds) == 2


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("_tensor_constant0 = None  # device(type='cpu')\ndef call(args): ...\n", "_tensor_constant0"),
        ("class Other: ...\n", "no function 'call'"),
        ("def call(args:\n", "SyntaxError"),
    ],
    ids=["constants", "no-call", "no-python"],
)
def test_code_that_cannot_be_called_is_left_out(code: str, said: str) -> None:
    one, other = measured("return (x,)", code=code, hows=("eager", "code")).measured
    assert len(one.seconds) == 2
    assert other.problem is not None
    assert said in other.problem.error
    assert other.seconds == []


def test_nothing_that_runs_is_an_error() -> None:
    answer = measured("return (torch.ops.aten.no_such_operator(x),)")
    (one,) = answer.measured
    assert one.problem is not None
    assert "no_such_operator" in one.problem.error


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    text = RAW.format(lines="        return (x + 1,)")
    job = TimeJob(timees=[Timee(Graph(text, "raw.py", {}), ways=["eager"])], repeats=2)
    (one,) = launch_timed(job).measured
    assert len(one.seconds) == 2
    job = TimeJob(timees=[Timee(Graph("import no_such_module", "raw.py", {}), ways=["eager"])])
    with pytest.raises(ReplayError, match=r"raw\.py cannot be loaded"):
        launch_timed(job)
