"""Runs a raw graph node by node, and hands on what each node computes."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from cutaway import torch_internals
from cutaway.replay.generators import drawing_once, seeded, state
from cutaway.replay.unwritten import leaves_memory_unwritten, mark
from cutaway.replay.values import copy, leaves

Seen = Callable[[str, list[Any]], None]


class NodeError(Exception):
    """A node raised. `__cause__` is what."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.node = node


class Watch:
    """Sees every node of one run.

    Before each call the generators are seeded by the node's name, so that what draws random numbers draws the same in
    another graph wherever it stands there; memory that a call leaves unwritten is marked. A value in such memory is
    seen again each time that something is written to it.

    Args:
        seen: called with a node's name and its values: what it returned, and what it wrote to that it did not return.
        seed: for the generators.
        names: node -> the name to seed by, where it is not its own.
        begin: node before which `wanted` are copied; None for when they are computed.
        wanted: names of nodes whose values the next graph takes.

    Attributes:
        taken: node -> value, of the wanted.
        random: nodes that drew random numbers.
        nodes: how many nodes have run, nested ones included.
        after_writes: node -> nodes that wrote to memory which it reads, as far as they are the graph's own.
    """

    def __init__(
        self,
        seen: Seen = lambda name, values: None,
        seed: int = 0,
        names: Mapping[str, str] | None = None,
        begin: str | None = None,
        wanted: Sequence[str] = (),
    ) -> None:
        self.seen = torch_internals.outside_transforms()(seen)
        self.seed = seed
        self.names = names or {}
        self.begin = begin
        self.wanted = frozenset(wanted)
        self.taken: dict[str, Any] = {}
        self.random: list[str] = []
        self.nodes = 0
        self.after_writes: dict[str, list[str]] = {}
        self._writers: dict[int, tuple[str, torch.Tensor]] = {}  # the tensor keeps its memory from being another's
        self._blank: dict[int, list[tuple[str, weakref.ref[torch.Tensor]]]] = {}
        self._live: dict[str, Any] = {}
        self._path: list[str] = []
        self._nested = 0
        self._begun = begin is None

    def call(self, name: str, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """See `instrument.Watcher`."""
        node = self._enter(name)
        tensors = _tensors((args, kwargs))
        self._note_reads(node, tensors)
        versions = [torch_internals.version_of(tensor) for tensor in tensors]
        nested, drawn = self._nested, len(self.random)
        before = seeded(zlib.crc32(f"{self.seed}:{self.names.get(node, node)}".encode()))
        try:
            result = drawing_once(function)(*args, **kwargs)
        except NodeError:
            raise
        except Exception as error:
            raise NodeError(node) from error
        finally:
            self._path.pop()
        if nested == self._nested and not torch.equal(before, state()):
            self.random.append(node)
        elif len(self.random) > drawn:
            self.random.append(node)  # something in it did
        if leaves_memory_unwritten(function):
            for tensor in _tensors(result):
                mark(tensor)
                self._blank[_memory(tensor)] = []
        written = [tensor for tensor, version in zip(tensors, versions, strict=True) if _changed(tensor, version)]
        written += [tensor for tensor in _written_by_schema(function, args, kwargs) if not _among(tensor, written)]
        return self._leave(name, node, result, written)

    def value(self, name: str, value: Any, /) -> Any:
        """See `instrument.Watcher`."""
        node = self._enter(name)
        self._path.pop()
        if isinstance(value, torch.Tensor):
            self._note_reads(node, [value])
        return self._leave(name, node, value, [])

    def drop(self, *names: str) -> None:
        """See `instrument.Watcher`."""
        if not self._path:
            for name in names:
                self._live.pop(name, None)

    @property
    def written(self) -> bool:
        """Whether any node wrote to what it was given."""
        return bool(self._writers)

    def writer_of(self, value: Any) -> str | None:
        """The node that wrote to a tensor's memory last."""
        if not isinstance(value, torch.Tensor) or not self._writers:
            return None
        return self._writers.get(_memory(value), (None, value))[0]

    def _note_reads(self, node: str, tensors: Sequence[torch.Tensor]) -> None:
        found = dict.fromkeys(filter(None, map(self.writer_of, tensors)))
        if found and "/" not in node:
            self.after_writes[node] = [name for name in found if name != node]

    def _enter(self, name: str) -> str:
        self._path.append(name)
        node = "/".join(self._path)
        self._nested += 1 if len(self._path) > 1 else 0
        if node == self.begin and not self._begun:
            self._begun = True
            self.taken |= {known: copy(value) for known, value in self._live.items()}
        return node

    def _leave(self, name: str, node: str, result: Any, written: list[torch.Tensor]) -> Any:
        self.nodes += 1
        for tensor in written:
            self._writers[_memory(tensor)] = node.partition("/")[0], tensor
            self._show_again(tensor)
        if not self._path and name in self.wanted:
            self._live[name] = result
            if self._begun:
                self.taken[name] = copy(result)
        values = [torch_internals.unwrapped(value) for value in leaves(result)]
        self.seen(node, values + [tensor for tensor in written if not _among(tensor, values)])
        for tensor in values if len(values) == 1 else ():
            if isinstance(tensor, torch.Tensor) and _memory(tensor) in self._blank:
                self._blank[_memory(tensor)].append((node, weakref.ref(tensor)))
        return result

    def _show_again(self, written: torch.Tensor) -> None:
        for node, known in self._blank.get(_memory(written), ()):
            tensor = known()
            if tensor is not None:
                self.seen(node, [tensor])


def _tensors(value: Any) -> list[torch.Tensor]:
    return [torch_internals.unwrapped(leaf) for leaf in leaves(value) if isinstance(leaf, torch.Tensor)]


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else 0


def _among(tensor: torch.Tensor, values: Sequence[Any]) -> bool:
    return any(value is tensor for value in values)


def _changed(tensor: torch.Tensor, version: int | None) -> bool:
    return version is not None and torch_internals.version_of(tensor) != version


def _written_by_schema(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
    """What an operator says that it writes to: an engine's own kernels do not count up a tensor's version."""
    overload = torch_internals.op_overload(function)
    if overload is None:
        return []
    effects = torch_internals.effects_of(overload)
    given = {**dict(zip(effects.parameters, args, strict=False)), **kwargs}
    return [tensor for name in effects.parameters if name in effects.writes for tensor in _tensors(given.get(name))]
