"""Starts the child that runs a dump's code, and reads what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from cutaway.errors import ReplayError
from cutaway.replay.ask import ask
from cutaway.replay.job import Answer, Graph, Job, Problem
from cutaway.replay.time_job import TimeAnswer, TimeJob

LIMIT = 600.0
"""Seconds after which a replay is stopped."""


class _Answer(Protocol):
    """What a child answers."""

    problem: Problem | None


A = TypeVar("A", bound=_Answer)


def launch(job: Job, limit: float = LIMIT) -> Answer:
    """Do a job in a process of its own.

    Args:
        job: what to do.
        limit: in seconds.

    Raises:
        ReplayError: it cannot be done, or took too long.
    """
    return _launch("cutaway.replay.child", job, job.graphs, Answer, limit)


def launch_timed(job: TimeJob, limit: float = LIMIT) -> TimeAnswer:
    """Measure in a process of its own. As `launch`."""
    return _launch("cutaway.replay.time_child", job, job.graphs, TimeAnswer, limit)


def _launch(module: str, job: object, graphs: Sequence[Graph], answer: type[A], limit: float) -> A:
    asked = ask(module, job, answer, limit)
    if asked.stopped:
        raise ReplayError(
            f"the replay took longer than {limit:g} seconds, and was stopped",
            "large sizes, slow operators or a graph that never ends",
            "give smaller sizes with --size, or more time with --timeout",
            asked.printed,
        )
    if asked.answer is None:
        cure = "run the raw file by itself with python to see more"
        what = "the process that replays ended before it had answered"
        raise ReplayError(what, asked.why, cure, asked.printed) from asked.error
    if asked.answer.problem is not None:
        raise explained(asked.answer.problem, graphs, asked.printed)
    return asked.answer


def explained(problem: Problem, graphs: Sequence[Graph], printed: str = "") -> ReplayError:
    """The error for what a child could not do with these graphs."""
    title = graphs[problem.graph].title if problem.graph is not None else "the graph"
    what = {
        "load": f"{title} cannot be loaded",
        "inputs": f"no inputs can be made for {title}",
        "compile": f"{title} cannot be compiled again",
        "run": f"{title} cannot be run",
    }.get(problem.step, f"{title} cannot be run")
    if problem.node is not None:
        what += f": the node {problem.node} fails"
    cure = _CURES.get(problem.error.partition(":")[0], "")
    return ReplayError(what, problem.error, cure, problem.traceback or printed)


_CURES = {
    "ModuleNotFoundError": "install it, or put its folder on PYTHONPATH: the file names the modules it needs",
    "ImportError": "install what it needs, or put its folder on PYTHONPATH",
    "AttributeError": "an operator of the engine may be missing here: run where the engine is installed",
    "OutOfMemoryError": "give smaller sizes with --size",
    "MemoryError": "give smaller sizes with --size",
}
