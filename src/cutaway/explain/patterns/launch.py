"""Starts the child that holds patterns against graphs, and reads what it answers."""

from __future__ import annotations

from cutaway.errors import ExplainError
from cutaway.explain.patterns.job import Answer, Job
from cutaway.replay.ask import ask

LIMIT = 300.0
"""Seconds after which the child is stopped."""


def launch(job: Job, limit: float = LIMIT) -> Answer:
    """Do a job in a process of its own.

    Args:
        job: what to do.
        limit: in seconds.

    Raises:
        ExplainError: it cannot be done, or took too long.
    """
    asked = ask("cutaway.explain.patterns.child", job, Answer, limit)
    if asked.stopped:
        cure = "name fewer graphs with --at, or give more time with --timeout"
        raise ExplainError(
            f"{job.pattern} took longer than {limit:g} seconds, and was stopped", "", cure, asked.printed
        )
    if asked.answer is None:
        what = f"the process that holds {job.pattern} against the graphs ended before it had answered"
        raise ExplainError(what, asked.why, "", asked.printed) from asked.error
    if asked.answer.problem is not None:
        what, why, cure = asked.answer.problem
        raise ExplainError(what, why, cure, asked.answer.details)
    return asked.answer
