"""The real inputs of compiled graphs, kept at their first call: off unless somebody asks for them.

A graph that Inductor compiled is an object that holds the function to call. That function is wrapped, once, when it was
compiled or loaded; the wrapper keeps the inputs of the first call, and puts the function back. So a later call costs
nothing, and the function is called with the very inputs that it was given.

Tensors are files of their own, named by what they hold: the weights that all ranges of a piece share are kept once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.record.compilation import PHASE_FOLDERS, Scope
from cutaway.record.context import Where, where
from cutaway.record.session import Session
from cutaway.record.values import copied

FOLDER = "inputs"
_Entry = dict[str, Any]


@dataclass(eq=False)
class _Watched:
    """A compiled graph whose first call is still to come.

    Attributes:
        place: where in a compile it belongs; `scope` that it is in, when it was compiled just now.
        compile_id: Dynamo's, while it was compiled or loaded.
        phase: of the graph.
        names: of its inputs, when they are known; `made`, those that mean nothing in another process.
        put_back: puts the graph's own function back.
        tried: it was called with inputs that an engine made up; they are kept until real ones come.
    """

    place: Where
    scope: Scope | None
    compile_id: str | None
    phase: str | None
    names: list[str] | None
    made: frozenset[int]
    put_back: Callable[[], None] = lambda: None
    tried: bool = False


class InputSaver:
    """Keeps the inputs of one recording's graphs.

    Args:
        session: where to.
        limit: bytes of tensors that it may write in all.
    """

    def __init__(self, session: Session, limit: int) -> None:
        self.session = session
        self.limit = limit
        self.written = 0
        self._watched: list[_Watched] = []
        self._files: dict[bytes, _Entry] = {}
        self._folder: Any = None  # whose files those are
        self._selectors: dict[str, int] = {}

    def watch(self, graph: Any, phase: str | None, scope: Scope | None, place: Where | None = None) -> None:
        """Keep the inputs of a compiled graph at its first call.

        Args:
            graph: Inductor's object; the function that it holds takes the list of inputs.
            phase: ``inference``, ``forward`` or ``backward``.
            scope: where it was compiled; None when a cache has served it, and its compilation is not known yet.
            place: where it belongs; None for where this thread is.
        """
        placeholders = _placeholders(scope)
        made = {index for index, node in enumerate(placeholders) if self.session.host.make_input(node) is not None}
        watched = _Watched(
            place or where(),
            scope,
            torch_internals.current_compile_id(),
            phase,
            [node.name for node in placeholders] or None,
            frozenset(made),
        )
        save = self.session.guarded(self._save)

        def make(original: Callable[[Sequence[Any]], Any]) -> Callable[[Sequence[Any]], Any]:
            def first_call(inputs: Sequence[Any]) -> Any:
                if torch_internals.is_ordinary_call(inputs):
                    save(watched, inputs)
                return original(inputs)

            return first_call

        put_back = torch_internals.wrap_artifact(graph, make)
        if put_back is not None:
            watched.put_back = put_back
            self._watched.append(watched)

    def stop(self) -> None:
        """Put every function back that was not called meanwhile."""
        while self._watched:
            self._watched.pop().put_back()

    def _save(self, watched: _Watched, inputs: Sequence[Any]) -> None:
        if watched not in self._watched:
            return  # another thread was first
        trial = self.session.host.is_trial()
        if trial and watched.tried:
            return
        watched.tried = trial
        if not trial:
            self._watched.remove(watched)
            watched.put_back()
        scope = watched.scope or self._scope_of(watched)
        if scope is None:
            return
        names = watched.names if watched.names is not None and len(watched.names) == len(inputs) else None
        made = watched.made if names is not None else frozenset[int]()
        # What an engine makes up is large, and comes first: something must be left for what is real.
        facts = self._kept(inputs, names, made, self.limit // 2 if trial else self.limit)
        self.session.event(
            "inputs",
            compilation=scope.selector.partition("/")[0],
            selector=self._selector(scope, watched.phase),
            phase=watched.phase,
            piece=watched.place.piece,
            range=watched.place.range,
            trial=trial,
            inputs=facts,
            files=[entry for entry in self._files.values() if any(one.get("file") == entry["path"] for one in facts)],
        )

    def _scope_of(self, watched: _Watched) -> Scope | None:
        compilation = self.session.compilations.find(watched.place.compilation, watched.compile_id)
        return compilation.scope(watched.place.piece, watched.place.range) if compilation is not None else None

    def _selector(self, scope: Scope, phase: str | None) -> str:
        base = "/".join(filter(None, (scope.selector, PHASE_FOLDERS.get(phase or ""), FOLDER)))
        self._selectors[base] = self._selectors.get(base, 0) + 1
        return base if self._selectors[base] == 1 else f"{base}~{self._selectors[base]}"

    def _kept(
        self, inputs: Sequence[Any], names: Sequence[str] | None, made: frozenset[int], limit: int
    ) -> list[_Entry]:
        """What each input is, and where it is kept; the small ones first, as far as the limit goes."""
        facts = [_described(value) for value in inputs]
        for index, name in enumerate(names or ()):
            facts[index]["name"] = name
        sized = {index: value.nbytes for index, value in enumerate(inputs) if isinstance(value, torch.Tensor)}
        for index in sorted(sized, key=lambda index: sized[index]):
            if index in made:
                facts[index]["left_out"] = "it means something in this process only"
            else:
                facts[index] |= self._file(inputs[index], limit)
        return facts

    def _file(self, value: torch.Tensor, limit: int) -> _Entry:
        """The file that holds a tensor, or why there is none."""
        content = torch_internals.tensor_bytes(value)
        if content is None:
            return {"left_out": f"a {type(value).__name__} of layout {value.layout} is not kept"}
        layout = repr((str(value.dtype), tuple(value.shape), tuple(value.stride())))
        key = blake2b(content, digest_size=16, person=blake2b(layout.encode(), digest_size=16).digest()).digest()
        writer = self.session.open()
        if self._folder is not writer:  # a forked child has a folder of its own
            self._folder, self.written = writer, 0
            self._files.clear()
        if key not in self._files:
            if self.written + len(content) > limit:
                return {"left_out": f"it has {len(content)} bytes: more than is left of the limit of {limit}"}
            buffer = io.BytesIO()
            torch.save(copied(value).cpu(), buffer)
            entry = writer.write(FOLDER, f"{FOLDER}/{key.hex()}.pt", buffer.getvalue())
            if entry is None:
                return {"left_out": "the recording may write no more files"}
            self._files[key] = entry
            self.written += len(content)
        return {"file": self._files[key]["path"]}


def _placeholders(scope: Scope | None) -> list[Any]:
    """The inputs of the graph that a scope is about."""
    gm = scope.graph_module if scope is not None else None
    return [node for node in gm.graph.nodes if node.op == "placeholder"] if gm is not None else []


def _described(value: Any) -> _Entry:
    if isinstance(value, torch.Tensor):
        return {
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": list(value.shape),
            "stride": list(value.stride()) if value.layout is torch.strided else None,
            "device": str(value.device),
        }
    if isinstance(value, (bool, int, float)) or value is None:
        return {"value": value}
    return {"left_out": f"a {type(value).__name__} is not kept"}
