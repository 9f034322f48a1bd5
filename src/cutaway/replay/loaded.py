"""A raw graph in this process: its module, and inputs for it."""

from __future__ import annotations

import io
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

from cutaway.replay.instrument import Watcher, load
from cutaway.replay.job import Graph, Ran, Saved
from cutaway.replay.values import copy, describe, leaves, outputs
from cutaway.replay.watch import Watch


class StepError(Exception):
    """Something of the dump's raised. `__cause__` is what.

    Args:
        step: what was being done: "load", "inputs", "run" or "compile".
        graph: which graph it was; None for none of them.
    """

    def __init__(self, step: str, graph: int | None) -> None:
        super().__init__(step)
        self.step = step
        self.graph = graph


class LoadedGraph:
    """A raw file, executed once; its graph can be run again and again, each time watched by another.

    Args:
        graph: what to load.
        number: which one it is, for errors.

    Raises:
        StepError: the file raised, or has no graph.
    """

    def __init__(self, graph: Graph, number: int) -> None:
        self.graph = graph
        self.number = number
        self.watch: Watcher = Watch()
        try:
            names = load(graph.text, graph.title, self)
            self.module: torch.nn.Module = names["Graph"]()
            self._example_inputs: Any = names["example_inputs"]
        except Exception as error:
            raise StepError("load", number) from error

    # What the lines of the file call: see `instrument.Watcher`.

    def call(self, name: str, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        return self.watch.call(name, function, *args, **kwargs)

    def value(self, name: str, value: Any, /) -> Any:
        return self.watch.value(name, value)

    def drop(self, *names: str) -> None:
        self.watch.drop(*names)

    def inputs(self, seed: int) -> list[Any]:
        """Its inputs: those that were recorded, and all others made with the seed.

        Raises:
            StepError: the file's own maker raised, or a recorded input cannot be read.
        """
        try:
            torch.manual_seed(seed)
            made = list(self._example_inputs(**self.graph.sizes))
            for saved in self.graph.recorded:
                made[saved.index] = read_saved(saved, made[saved.index])
        except Exception as error:
            raise StepError("inputs", self.number) from error
        return made

    def run(self, inputs: Sequence[Any], watch: Watch) -> tuple[list[Any], list[Any]]:
        """Run it on copies of these inputs.

        Returns:
            Its outputs, flattened, and its inputs as they are after the run.

        Raises:
            NodeError: a node raised.
        """
        given = [copy(value) for value in inputs]
        with self.watched_by(watch), torch.no_grad():
            found = self.module(*given)
        return outputs(found), given

    @contextmanager
    def watched_by(self, watch: Watcher) -> Generator[None]:
        """Within the block, the graph's nodes are seen by another."""
        before, self.watch = self.watch, watch
        try:
            yield
        finally:
            self.watch = before


def read_saved(saved: Saved, made: Any) -> Any:
    """A recorded input, on the device and of the layout of the one that was made in its place."""
    if saved.path is None:
        return saved.number
    content = Path(saved.path).read_bytes()
    if blake2b(content, digest_size=16).hexdigest() != saved.digest:
        raise ValueError(f"{saved.path} was changed since it was recorded")
    value = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{saved.path} holds no tensor")
    if isinstance(made, torch.Tensor):
        if value.dtype != made.dtype or value.dim() != made.dim():
            raise ValueError(f"{saved.path} is a {value.dtype} of {value.dim()} dimensions; the graph takes others")
        value = value.to(made.device)
    return value


def changed_inputs(before: Sequence[Any], after: Sequence[Any]) -> list[int]:
    """Indices of the inputs that a run has written to."""
    return [
        index
        for index, (one, other) in enumerate(zip(before, after, strict=True))
        if any(not _equal(left, right) for left, right in zip(leaves(one), leaves(other), strict=True))
    ]


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, torch.Tensor) or one.layout is not torch.strided:
        return True
    return one.shape == other.shape and bool(torch.equal(one.nan_to_num(), other.nan_to_num()))


def fitting(given: Mapping[int, Any], made: list[Any]) -> list[Any]:
    """The inputs of a graph: those given by another, and its own in all other places."""
    return [given.get(index, value) for index, value in enumerate(made)]


def ran(watch: Watch, results: Sequence[Any], changed: list[int]) -> Ran:
    """What is to be said of a run.

    Args:
        watch: what saw it.
        results: what it returned, flattened.
        changed: indices of inputs that it wrote to.
    """
    return Ran(
        outputs=list(map(describe, results)),
        changed=changed,
        random=watch.random,
        nodes=watch.nodes,
        after_writes=watch.after_writes,
        writers=list(map(watch.writer_of, results)),
    )
