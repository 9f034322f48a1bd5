"""Replays without a process of their own: in a fork of this one, which has imported torch already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recordings import in_child

from cutaway.dump import load
from cutaway.dump.reader import Dump
from cutaway.errors import ReplayError
from cutaway.replay import Options, Replayed, replay
from cutaway.replay import run as running
from cutaway.replay.child import do
from cutaway.replay.choose import reference_of, snapshot_of
from cutaway.replay.job import Answer, Job


def _answer(job: Job, options: Options) -> Answer:
    """What `launch` does, here."""
    job.seed, job.memory = options.seed, options.memory
    job.rtol, job.atol = options.rtol, options.atol
    answer = do(job)
    if answer.problem is not None:
        raise ReplayError(answer.problem.step, answer.problem.error, details=answer.problem.traceback)
    return answer


def _replay(path: Path, selector: str, against: str | None, options: dict[str, Any]) -> Replayed:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_answer", _answer)
        subject = snapshot_of(load(path), selector)
        return replay(subject, reference_of(subject, against), Options(**options))


def replayed(path: Path, selector: str, against: str | None = None, **options: Any) -> Replayed:
    """A graph of a dump, against another (a selector, "eager" or "compiled")."""
    return in_child(_replay, path, selector, against, options)


def stages(dump: Dump, **where: Any) -> list[str]:
    """The selectors of the graphs at a place that differ from those before them, in order."""
    found = [
        each for each in dump.snapshots.values() if all(getattr(each, key) == value for key, value in where.items())
    ]
    return [each.selector for each in found if each.same_as is None]
