"""A whole captured model in the store, so that a warm start runs no Dynamo.

What is kept is what Dynamo generated around the graph, and the plan by which the pieces are put together; the pieces
are entries of their own. The key is made of the live model (``capture/facts.py``). The files that were traced are
noted with their digests, and so are the answers to what guards ask (``capture/questions.py``), the priorities and
implementations of the ops (``cutaway.ops``) in it, and what its other operators are made of: one that has changed makes
the entry void, whatever the key says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from cutaway.compiler.build.interface import CompilerInterface
from cutaway.compiler.cache.custom_ops import factors_by_name
from cutaway.compiler.cache.environment import cutaway_factors, environment_factors, torch_factors
from cutaway.compiler.cache.factors import compiler_factors, key_of
from cutaway.compiler.cache.files import CacheRefusedError
from cutaway.compiler.cache.ir import factors_of, traced_factors
from cutaway.compiler.cache.store import Store
from cutaway.compiler.capture.dynamo import Captured, function_of, keep, revive
from cutaway.compiler.capture.facts import model_facts
from cutaway.compiler.capture.files import source_digests
from cutaway.compiler.capture.questions import answers, changed_answers
from cutaway.compiler.session import Session
from cutaway.identity import stable
from cutaway.identity.sources import UncacheableError
from cutaway.record.kept.notes import SUFFIX, Notes, changed_lines, read_notes, write_notes
from cutaway.record.kept.place import Place

FILE = "model.bin"
Report = Callable[[str, str, str | None, Any], None]


class ModelCache:
    """The kept form of one model.

    Args:
        store: where; None keeps nothing.
        session: configuration, tag, counters.
        compiler: what compiles the pieces.
        model, forward: what is captured.
        arguments: what is assumed of a call (``InputContract.described``).
        report: told what came of it: ``("cutaway_model", "hit" or "miss" or ..., key, factors or reason)``.
        identities: key of a piece -> what its graph is; kept with the model, which has no graph when it is loaded.
    """

    def __init__(
        self,
        store: Store | None,
        session: Session,
        compiler: CompilerInterface,
        model: torch.nn.Module,
        forward: Callable[..., Any],
        arguments: Mapping[str, str],
        report: Report,
        identities: dict[str, str] | None = None,
    ) -> None:
        self.store = store if session.config.aot else None
        self.session = session
        self.compiler = compiler
        self.model = model
        self.forward = forward
        self.arguments = arguments
        self.report = report
        self.identities = identities if identities is not None else {}
        self.factors: dict[str, Any] = {}
        self.key: str | None = None
        self.is_kept = False  # whether :meth:`save` has written it

    def load(self) -> Captured | None:
        """The model as it was captured earlier, linked; None when there is none, or it may not be used."""
        if self.store is None or not self._find_key():
            return None
        assert self.key is not None
        try:
            entry = self.store.get(self.key)
            if entry is None:
                self.report("cutaway_model", "miss", self.key, self.factors)
                return None
            changed = (
                _changed(entry.facts.get("sources", {}))
                or changed_answers(entry.facts.get("answers", {}), function_of(self.forward), self.model)
                or _changed_ops(entry.facts.get("ir", {}))
                or _changed_operators(entry.facts["operators"])
            )
            if changed:
                self.report("cutaway_model", "miss", self.key, {"changed": changed, "files": self._places(changed)})
                return None
            self.identities.update(entry.facts.get("identities", {}))
            captured = revive(entry.read(FILE), self.forward, self.session.config.evaluate_guards)
        except Exception as error:  # noqa: BLE001  (whatever is wrong with what is kept: capture again)
            self.session.counters.artifacts_refused += isinstance(error, CacheRefusedError)
            self.report("cutaway_model", "refused", self.key, {"reason": f"{type(error).__name__}: {error}"})
            return None
        self.session.counters.models_loaded += 1
        self.report("cutaway_model", "load", self.key, None)
        return captured

    def save(
        self, captured: Captured, kept: bool, ops: Collection[str] = (), operators: Mapping[str, Any] | None = None
    ) -> None:
        """Keep a model that was captured.

        Args:
            captured: it.
            kept: whether every piece of it is in the store.
            ops: names of the ops of ``cutaway.ops`` whose implementations are compiled into its pieces.
            operators: of the others that its pieces call, what keys these (``CompilerManager.operators``).
        """
        if self.store is None or self.key is None:
            return
        if not kept:
            self.report("cutaway_model", "bypass", self.key, {"reason": "a piece of it could not be kept"})
            return
        try:
            data = keep(captured, self.forward)
            ir = factors_of(ops)
            answered = answers(captured.questions, function_of(self.forward), self.model)
        except Exception as error:  # noqa: BLE001  (torch says in many ways that something cannot be kept)
            self.report("cutaway_model", "bypass", self.key, {"reason": f"{type(error).__name__}: {error}"})
            return
        facts = {
            "sources": source_digests(captured.sources),
            "answers": answered,
            "ir": ir,
            "operators": dict(operators or {}),
            "tag": self.session.tag,
            "class": type(self.model).__name__,
            "identities": dict(self.identities),
        }
        if self.store.put(self.key, {FILE: data}, self.factors, facts):
            self.session.counters.models_saved += 1
            self.is_kept = True
            self.report("cutaway_model", "store", self.key, None)

    def recording(self) -> Place:
        """Where the recording of the model lies; only of one that was loaded or saved."""
        assert self.store is not None, "it was loaded or saved"
        assert self.key is not None, "it was loaded or saved"
        return self.store.recording(self.key)

    def keep_sources(self, captured: Captured) -> None:
        """Keep the texts of the files that were traced beside the model, so that a later miss can name lines.

        Done while a recording is on; nothing here looks at them but :meth:`load`, for the event of a miss.
        """
        if self.store is None or self.key is None or not self.store.is_writable:
            return
        texts = {name: text for name in captured.sources if (text := _text_of(name)) is not None}
        with suppress(OSError):
            write_notes(self._notes(), Notes({}, texts, {"key": self.key, "model": type(self.model).__name__}))

    def _notes(self) -> Path:
        return self.recording().path.with_name(f"cutaway{SUFFIX}")

    def _places(self, changed: Collection[str]) -> dict[str, Any]:
        """Where files that have changed differ from what was traced, as far as that was kept."""
        notes = read_notes(self._notes())
        found: dict[str, Any] = {}
        if notes is None:
            return found
        for name in changed:
            now = _text_of(name)
            if now is not None and name in notes.sources and now != notes.sources[name]:
                path = str(getattr(sys.modules.get(name), "__file__", name))
                found[name] = {"path": path, "places": changed_lines(notes.sources[name], now)}
        return found

    def _find_key(self) -> bool:
        config = self.session.config
        devices = sorted({str(weight.device) for weight in self.model.parameters()}) or ["cpu"]
        try:
            self.factors = {
                "kind": "model",
                "model": model_facts(self.model, self.forward),
                "arguments": dict(self.arguments),
                "compiler": compiler_factors(self.compiler),
                "config": {
                    name: stable.stable(value, f"config.{name}")
                    for name, value in config.keyed("piece", "model").items()
                },
                "ir": traced_factors(),
                "torch": torch_factors(devices, dict(config.inductor)),
                "environment": environment_factors(devices),
                "cutaway": cutaway_factors(),
            }
        except UncacheableError as error:
            self.report("cutaway_model", "bypass", None, {"reason": str(error)})
            return False
        self.key = key_of(self.factors)
        return True


def _text_of(module: str) -> str | None:
    """The source file of a module, as it is now."""
    path = getattr(sys.modules.get(module), "__file__", None)
    try:
        return Path(path).read_text() if path is not None else None
    except (OSError, ValueError):
        return None


def _changed(sources: Mapping[str, str]) -> list[str]:
    """Modules whose file is not what it was; one that is not imported now has not run differently either."""
    now = source_digests(sources)
    return sorted(name for name, digest in sources.items() if now[name] != digest)


def _changed_ops(was: Mapping[str, Any]) -> list[str]:
    """Ops whose priority, or one of whose implementations, is another now."""
    now = factors_of(was)
    return [f"op {name}" for name in sorted(was) if now[name] != was[name]]


def _changed_operators(was: Mapping[str, Any]) -> list[str]:
    """Operators that the pieces call and that are not what they were: edited, lowered by others, or gone."""
    now = factors_by_name(was)
    return [f"operator {name}" for name in sorted(was) if now.get(name) != was[name]]
