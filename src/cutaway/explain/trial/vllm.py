"""Trials of the real vLLM: a model served offline, some prompts, tokens and log probabilities."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from cutaway.errors import IsolateError
from cutaway.explain.trial.observation import Completions, Observation
from cutaway.explain.trial.process import Ended
from cutaway.explain.trial.runner import Runner, text_of
from cutaway.explain.trial.setting import Setting, Slow

REQUEST = "request.json"
ANSWER = "answer.json"

_NOT_LOADED = re.compile(r" in (load_model|get_model|load_weights|get_config|maybe_override_with_speculators)\b")


class Request(msgspec.Struct):
    """What the child is asked.

    Attributes:
        arguments: of ``vllm serve``, as on a command line: ``--model``, ``--max-model-len`` and so on.
        prompts: texts; empty for some of the child's own.
        max_tokens: for each prompt.
        rounds: how often all prompts are answered.
    """

    arguments: list[str]
    prompts: list[str]
    max_tokens: int
    rounds: int


class Answer(msgspec.Struct):
    """What the child says.

    Attributes:
        outputs: the answers.
        start: seconds until the model was ready.
        took: seconds for the last round.
        unusable: why it cannot be tried at all.
    """

    outputs: Completions | None = None
    start: float = 0.0
    took: float = 0.0
    unusable: str = ""


class VllmTrial(Runner):
    """Trials of vLLM.

    Args:
        arguments: of ``vllm serve``.
        prompts: texts; empty for some that are made: short ones, and one that fills a large batch.
        max_tokens: for each prompt.
        slow: which time is told: until the model is ready, or of all answers; None for neither.
        options: see `Runner`.
    """

    kind = "vllm"
    times_process = False  # it begins when the model's class is known

    def __init__(
        self,
        arguments: Sequence[str],
        prompts: Sequence[str] = (),
        max_tokens: int = 8,
        slow: Slow | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.arguments = list(arguments)
        self.prompts = list(prompts)
        self.max_tokens = max_tokens
        self.slow = slow
        self.is_timed = slow is not None
        if find_spec("vllm") is None:
            raise IsolateError(
                "vLLM is not installed in this Python",
                f"{sys.executable} has no module vllm",
                "run Cutaway with the Python that has it: python -m cutaway.cli isolate vllm ...",
            )

    def command(self, setting: Setting, folder: Path) -> Sequence[str]:
        rounds = 0 if self.slow == "start" else setting.rounds  # then nobody looks at what it answers
        request = Request(self.arguments, self.prompts, self.max_tokens, rounds)
        (folder / REQUEST).write_bytes(msgspec.json.encode(request))
        return [sys.executable, "-m", "cutaway.explain.trial.vllm_child", str(folder)]

    def read(self, setting: Setting, folder: Path, ended: Ended) -> Observation:
        try:
            answer = msgspec.json.decode((folder / ANSWER).read_bytes(), type=Answer)
        except (OSError, msgspec.DecodeError):
            return self._crashed(folder, ended)
        if answer.unusable:
            return Observation("unusable", folder, seconds=ended.seconds, why=answer.unusable)
        took = {"start": answer.start, "run": answer.took, None: None}[self.slow]
        return Observation("ok", folder, answer.outputs, None, ended.seconds, took)

    def _crashed(self, folder: Path, ended: Ended) -> Observation:
        """A crash; one while the weights were loaded, before anything was compiled, is a model that does not load."""
        found = self.crash(folder, ended)
        text = text_of(found.log)
        last = text.rpartition("Traceback (most recent call last)")[2]
        signature = found.signature
        if found.outcome == "crash" and signature is not None and _NOT_LOADED.search(last):
            return replace(found, outcome="unusable", why=f"the model does not load: {signature.message}")
        return found

    def skipped(self) -> Mapping[str, str]:
        if any(one.startswith("--device") for one in self.arguments) or _has_gpu():
            return {}
        return {"cuda_graphs": "there is no GPU, so none are captured"}


def _has_gpu() -> bool:
    """Whether there is a GPU of any kind, asked of the system: torch is not imported for it."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
