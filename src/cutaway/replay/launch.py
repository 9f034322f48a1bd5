"""Starts the child that runs a dump's code, and reads what it answers."""

from __future__ import annotations

from cutaway.errors import ReplayError
from cutaway.replay.ask import ask
from cutaway.replay.job import Answer, Job, Problem

LIMIT = 600.0
"""Seconds after which a replay is stopped."""


def launch(job: Job, limit: float = LIMIT) -> Answer:
    """Do a job in a process of its own.

    Args:
        job: what to do.
        limit: in seconds.

    Raises:
        ReplayError: it cannot be done, or took too long.
    """
    asked = ask("cutaway.replay.child", job, Answer, limit)
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
        raise _explained(asked.answer.problem, job, asked.printed)
    return asked.answer


def _explained(problem: Problem, job: Job, printed: str) -> ReplayError:
    title = job.graphs[problem.graph].title if problem.graph is not None else "the graph"
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
