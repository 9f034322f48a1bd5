"""Trials of a model in Python: it is pickled, and called in a fresh process."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing import spawn
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch

from cutaway.compiler.api import CompiledModel
from cutaway.compiler.config import CompilationConfig
from cutaway.errors import UsageError
from cutaway.explain.trial.observation import Observation, Signature, Tensors
from cutaway.explain.trial.process import Ended
from cutaway.explain.trial.runner import Runner
from cutaway.explain.trial.setting import Setting, Slow, off

SUBJECT = "subject.pt"
REQUEST = "request.json"
ANSWER = "answer.json"


@dataclass(frozen=True)
class How:
    """How a model is compiled.

    Attributes:
        kind: by ``cutaway.compile``, by ``torch.compile``, or by a function of the model.
        config: of `cutaway.compile`.
        dims: its ``dynamic_arg_dims``.
        options: keyword arguments of ``torch.compile``.
        function: takes the model, returns what is called.
    """

    kind: Literal["cutaway", "torch", "function"]
    config: CompilationConfig | None = None
    dims: Any = None
    options: Mapping[str, Any] | None = None
    function: Callable[[Any], Any] | None = None


class Request(msgspec.Struct):
    """What the child is asked.

    Attributes:
        subject: the pickle: model, calls, how.
        off: the parts that are off.
        rounds: how often all calls are made.
        path: of modules, as it is here.
        main, main_name: of the program's main module, where the pickle needs it.
        referee: whether it is computed in float64 as well.
    """

    subject: str
    off: list[str]
    rounds: int
    path: list[str]
    main: str = ""
    main_name: str = ""
    referee: bool = False


class Answer(msgspec.Struct):
    """What the child says.

    Attributes:
        tensors: the outputs; None when it did not get so far.
        crash: what it raised.
        unusable: why it cannot be tried at all.
        start: seconds until the first call was over.
        took: seconds for all calls of the last round.
    """

    tensors: Tensors | None = None
    crash: Signature | None = None
    unusable: str = ""
    start: float = 0.0
    took: float = 0.0


class ModelTrial(Runner):
    """Trials of a model.

    Args:
        subject: what `write_subject` wrote.
        slow: which time is told: of the first call, or of later ones; None for neither.
        options: see `Runner`.
    """

    kind = "model"

    def __init__(self, subject: Path, slow: Slow | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.subject = subject
        self.slow = slow
        self.is_timed = slow is not None

    def command(self, setting: Setting, folder: Path) -> Sequence[str]:
        data = spawn.get_preparation_data("cutaway")
        needs_main = b"__main__" in self.subject.read_bytes()
        request = Request(
            str(self.subject),
            list(off(setting)),
            {"start": 1, "run": max(setting.rounds, 4), None: setting.rounds}[self.slow],
            [str(part) for part in data.get("sys_path", [])],
            str(data.get("init_main_from_path", "")) if needs_main else "",
            str(data.get("init_main_from_name", "")) if needs_main else "",
            setting.eager and self.slow is None,
        )
        (folder / REQUEST).write_bytes(msgspec.json.encode(request))
        return [sys.executable, "-m", "cutaway.explain.trial.model_child", str(folder)]

    def skipped(self) -> Mapping[str, str]:
        if torch.cuda.is_available():
            return {}
        return {"cuda_graphs": "there is no GPU, so none are captured"}

    def read(self, setting: Setting, folder: Path, ended: Ended) -> Observation:
        try:
            answer = msgspec.json.decode((folder / ANSWER).read_bytes(), type=Answer)
        except (OSError, msgspec.DecodeError):
            return self.crash(folder, ended)
        took = {"start": answer.start, "run": answer.took, None: None}[self.slow]
        found = Observation("ok", folder, answer.tensors, answer.crash, ended.seconds, took)
        if answer.unusable:
            return replace(found, outcome="unusable", why=answer.unusable)
        if answer.crash is not None:
            return replace(found, outcome="crash", why=answer.crash.words)
        return found


def how_of(model: Any, how: Any = None, dims: Any = None) -> tuple[Any, How]:
    """The model itself, and how it is compiled, out of what a user gave.

    Args:
        model: a module, or one that was compiled already.
        how: None for as it was given (a bare module: ``cutaway.compile``); a configuration or a mapping of its fields;
            ``"torch"``, or keyword arguments of ``torch.compile`` under ``{"torch": ...}``; a function of the model.
        dims: ``dynamic_arg_dims`` of ``cutaway.compile``.
    """
    if isinstance(model, CompiledModel):
        config = model.session.config if how is None else CompilationConfig.of(how)
        return model.get_submodule("_orig_mod"), How("cutaway", config, dims or model.dynamic_arg_dims)
    if hasattr(model, "_orig_mod") and hasattr(model, "dynamo_ctx"):
        return model.get_submodule("_orig_mod"), How("torch", options={}) if how is None else _how(how, dims)
    if not callable(model):
        raise UsageError(
            f"isolate was given a {type(model).__name__}", "it takes a model", "give a torch.nn.Module, and its inputs"
        )
    return model, How("cutaway", CompilationConfig(progress=False), dims) if how is None else _how(how, dims)


def _how(how: Any, dims: Any) -> How:
    if how == "torch":
        return How("torch", options={})
    if isinstance(how, Mapping) and set(how) == {"torch"}:
        return How("torch", options=dict(how["torch"]))
    if callable(how):
        return How("function", function=how)
    return How("cutaway", CompilationConfig.of(how), dims)


def write_subject(path: Path, model: Any, calls: Sequence[tuple[Any, ...]], how: How) -> None:
    """Write the model down for the processes that try it.

    Raises:
        UsageError: it cannot be pickled.
    """
    buffer = io.BytesIO()
    config, how = how.config, replace(how, config=None)
    fields = None if config is None else config.keyed("piece", "model", "nothing")
    try:
        torch.save({"model": model, "calls": list(calls), "how": how, "config": fields}, buffer)
    except Exception as error:  # whatever a user's class may raise when it is pickled
        raise UsageError(
            "the model cannot be given to a fresh process",
            f"{type(error).__name__}: {error}",
            "define its classes and functions at the top of a module, or use `cutaway isolate -- python script.py`",
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getbuffer())
