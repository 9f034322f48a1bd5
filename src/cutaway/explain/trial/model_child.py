"""In the child: calls a model, compiled with parts switched off, and writes down what it computed.

python -m cutaway.explain.trial.model_child FOLDER
"""

from __future__ import annotations

import copy
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import msgspec
import torch

import cutaway
from cutaway import torch_internals
from cutaway.compiler.config import CompilationConfig
from cutaway.explain.trial.crash import MOST, short
from cutaway.explain.trial.model import ANSWER, REQUEST, Answer, How, Request
from cutaway.explain.trial.observation import Signature, Tensors

OUTPUTS = "outputs.pt"


def main() -> None:
    """Do what the request in the folder asks."""
    folder = Path(sys.argv[1])
    request = msgspec.json.decode((folder / REQUEST).read_bytes(), type=Request)
    answer = _answer(request, folder)
    draft = folder / f"{ANSWER}.new"
    draft.write_bytes(msgspec.json.encode(answer))
    draft.rename(folder / ANSWER)


def _answer(request: Request, folder: Path) -> Answer:
    try:
        _prepare(request)
        subject = torch.load(request.subject, weights_only=False)  # our parent wrote it
    except Exception as error:  # noqa: BLE001  (whatever a user's module does when it is imported)
        traceback.print_exc()
        return Answer(unusable=f"the model does not load in a fresh process: {type(error).__name__}: {error}")
    model, calls = subject["model"], subject["calls"]
    referee = _referee(model, calls) if request.referee else []
    begun = time.perf_counter()
    try:
        call = _compiled(model, subject["how"], subject["config"], request.off)
        outputs, start, took = _call(call, calls, request.rounds, begun)
    except Exception as error:  # noqa: BLE001  (what a model or a compiler raises is what we are here to see)
        traceback.print_exc()
        return Answer(crash=_signature(error))
    torch.save({"rounds": outputs, "referee": referee}, folder / OUTPUTS)
    tensors = [value for one in outputs[0] for value in one]
    return Answer(
        Tensors(
            str(folder / OUTPUTS),
            [_type(value) for value in tensors],
            [_not_finite(value) for value in tensors],
            [len(one) for one in outputs[0]],
        ),
        start=start,
        took=took,
    )


def _prepare(request: Request) -> None:
    """Make the process like one that `multiprocessing` spawned: what was picklable there is so here."""
    data: dict[str, Any] = {"sys_path": request.path, "sys_argv": sys.argv}
    if request.main_name:
        data["init_main_from_name"] = request.main_name
    if request.main:
        data["init_main_from_path"] = request.main
    spawn.prepare(data)


def _compiled(model: Any, how: How, fields: dict[str, Any] | None, off: Sequence[str]) -> Callable[..., Any]:
    if "compile" in off or "eager" in off:
        return model
    if how.kind == "function":
        assert how.function is not None, "a function was given"
        return how.function(model)
    if how.kind == "torch":
        return torch.compile(model, **(how.options or {}))
    config = CompilationConfig(**(fields or {}))
    mine = replace(
        config,
        off=config.off | frozenset(part for part in off if part in ("cuda_graphs", "passes", "inductor")),
        cache_dir=Path(os.environ["CUTAWAY_CACHE_ROOT"]),
        disable_cache=config.disable_cache or "caches" in off,
        progress=False,
    )
    return cutaway.compile(model, mine, dynamic_arg_dims=how.dims)


@torch.no_grad()
def _call(
    call: Callable[..., Any], calls: Sequence[tuple[Any, ...]], rounds: int, begun: float
) -> tuple[list[list[list[Any]]], float, float]:
    """All calls, several times over: for each round and call its outputs, and its inputs as they are afterwards."""
    found: list[list[list[Any]]] = []
    start = took = 0.0
    for _ in range(rounds):
        took = 0.0
        outputs: list[list[Any]] = []
        for arguments in calls:
            given = copy.deepcopy(arguments)
            torch.manual_seed(0)
            since = time.perf_counter()
            result = call(*given)
            _wait()
            took += time.perf_counter() - since
            if not start:
                start = time.perf_counter() - begun
            values = [*_tensors(result), *_tensors(given)]
            outputs.append([value.detach().to("cpu", copy=True) for value in values])
        found.append(outputs)
    return found, start, took


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@torch.no_grad()
def _referee(model: Any, calls: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """What the model computes in float64; empty where it cannot."""
    try:
        exact = copy.deepcopy(model).double()
        found: list[list[Any]] = []
        for arguments in calls:
            given = torch_internals.map_tensors(_double, copy.deepcopy(arguments))
            torch.manual_seed(0)
            result = exact(*given)
            found.append([value.detach().to("cpu", copy=True) for value in [*_tensors(result), *_tensors(given)]])
    except Exception:  # noqa: BLE001  (a model that fixes its dtype has no referee)
        return []
    return found


def _double(value: torch.Tensor) -> torch.Tensor:
    return value.double() if value.is_floating_point() else value


def _tensors(value: Any) -> list[torch.Tensor]:
    leaves = [leaf for _, leaf in torch_internals.named_leaves(value)]
    numbers = (bool, int, float)
    return [
        leaf if isinstance(leaf, torch.Tensor) else torch.tensor(leaf)
        for leaf in leaves
        if isinstance(leaf, (torch.Tensor, *numbers))
    ]


def _type(value: torch.Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"


def _not_finite(value: torch.Tensor) -> int:
    return int((~torch.isfinite(value)).sum()) if value.is_floating_point() else 0


def _signature(error: Exception) -> Signature:
    cause = error
    while isinstance(inner := cause.__cause__ or torch_internals.cause_of(cause), Exception) and inner is not cause:
        cause = inner
    frames = traceback.extract_tb(cause.__traceback__)
    names = [f"{short(one.filename)}:{one.lineno} {one.name}" for one in reversed(frames)]
    return Signature(type(cause).__name__, str(cause).strip().split("\n", 1)[0], names[:MOST])


if __name__ == "__main__":
    main()
