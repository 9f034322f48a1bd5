"""What a trial is to run within its process, where an operator or a lowering may be another than in a fresh one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from cutaway import torch_internals
from cutaway.explain.reproducer.job import Made, Request
from cutaway.explain.switches import Errand
from cutaway.replay.job import Answer, Job


def do_errands(errands: Sequence[Errand], say: Callable[..., None]) -> None:
    """Replay what is asked for, and make the graph smaller where that parts.

    Args:
        errands: each is run once.
        say: ``say(event, **facts)`` writes into the journal.
    """
    for one in errands:
        answer = _replayed(one.job, say) if one.job else None
        if one.request and (answer is None or _parts(answer)):
            say("call", step=f"errand {one.request}")
            say("made", job=one.job, made=msgspec.to_builtins(_made(Path(one.request), answer)))


def _replayed(job: str, say: Callable[..., None]) -> Answer:
    say("call", step=f"errand {job}")
    child: Any = import_module("cutaway.replay.child")  # only where something is to be replayed
    with torch_internals.without_inductor_caches():
        answer: Answer = child.do(msgspec.json.decode(Path(job).read_bytes(), type=Job))
    say("errand", job=job, answer=msgspec.to_builtins(answer))
    return answer


def _parts(answer: Answer) -> bool:
    return any(not one.fine for one in (*answer.outputs, *(found for _, found in answer.inputs)))


def _made(asked: Path, answer: Answer | None) -> Made:
    """A reproducer, made here: what computes wrongly in this process alone can only be made smaller in it."""
    request = msgspec.json.decode(asked.read_bytes(), type=Request)
    if answer is not None:
        pairs = zip(answer.inside, answer.values, strict=False)
        request.nodes = [next((name for name, one in pairs if one is not None and not one.fine), None)]
    maker: Any = import_module("cutaway.explain.reproducer.child")
    try:
        return maker.make(request)
    except Exception as error:  # noqa: BLE001  (the engine goes on)
        return Made(why=f"{type(error).__name__}: {error}"[:500])
