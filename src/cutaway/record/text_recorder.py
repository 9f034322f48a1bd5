"""Turns generated text, such as Inductor's code, into files and events."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from cutaway.record import output_code, sizes, texts
from cutaway.record.compilation import Compilation, Scope
from cutaway.record.context import Where, where
from cutaway.record.session import Session
from cutaway.record.stored import Stored


class TextRecorder(Session):
    """Records what is generated in the compiles of this process.

    Attributes:
        stored: what the folder holds already.
    """

    def _reset(self) -> None:
        super()._reset()
        self.stored = Stored()

    def code(
        self,
        kind: str,
        text: str,
        *,
        leaf: str,
        file: str,
        cached: bool = False,
        kernels: Mapping[str, list[str]] | None = None,
        cache_key: str | None = None,
    ) -> None:
        """Record generated text of the scope on this thread; text that is there already is named, not written.

        Args:
            kind: ``output_code``, ``kernel``, ``execution_code``, ``patterns``, ``post_grad_text`` or
                ``aot_graph_text``.
            text: what to write.
            leaf: last part of the selector.
            file: file name in the scope's folder.
            cached: whether it came out of a cache (a warm start).
            kernels: call of a kernel (``output_code.calls``) -> names of the last graph's nodes in it.
            cache_key: the key of Inductor's cache, when it is known.
        """
        place = where()
        compilation = self.current()
        scope = compilation.scope(place.piece, place.range)
        if self.accepts(compilation, "output_code" if kind in texts.GRAPH_TEXTS else kind, None, place):
            more = {"kernels": dict(kernels or {}), "cached": cached, "cache_key": cache_key}
            self._text(compilation, scope, kind, text, leaf, f"{scope.file_folder}/{file}", more)

    def _text(
        self,
        compilation: Compilation,
        scope: Scope,
        kind: str,
        text: str,
        leaf: str,
        file: str,
        more: dict[str, Any],
    ) -> None:
        started = perf_counter()
        place = where()
        digest = output_code.digest(text)
        same_as = self.stored.texts.get(digest)
        facts: dict[str, Any] = {
            "kind": kind,
            "selector": self.selector(scope, leaf),
            "phase": scope.phase,
            "piece": place.piece,
            "range": place.range,
            "same_as": same_as,
            **more,
        }
        header = texts.code_header(compilation, facts, file)
        entry = None if same_as else self.open().write("code", file, header + text)
        facts["files"] = [entry] if entry else []
        self.row(compilation, scope, "code", facts)
        if entry is not None:
            self.stored.texts[digest] = facts["selector"]
        scope.render_seconds += perf_counter() - started

    def finish(self, compilation: Compilation) -> None:
        """A compile is over: say what was learnt of sizes, and what recording cost."""
        text = "" if compilation.finished else sizes.describe(compilation)
        if text and self.accepts(compilation, "guards", None, Where()):
            root = compilation.root
            root.phase = None
            more: dict[str, Any] = {"kernels": {}, "cached": False, "cache_key": None}
            self._text(compilation, root, "guards", text, "guards", f"{root.folder}/98.guards.txt", more)
        compilation.shape_env = None
        super().finish(compilation)
