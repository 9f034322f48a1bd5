"""Small pieces to compile, and compilers that need no Inductor: what they make is source text that is executed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import fx
from torch._dynamo.source import LocalSource
from torch._library.opaque_object import register_opaque_type
from torch._opaque_base import OpaqueBase
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

from cutaway.compiler.build.interface import Compiled, CompilerInterface, Runnable, Task
from cutaway.compiler.build.ranges import Range
from cutaway.compiler.cache.factors import key_of, piece_factors
from cutaway.compiler.cache.manager import Built, CacheEvent, CompilerManager
from cutaway.compiler.cache.store import Store
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.counters import CompilationCounter

SPAN = Range(1, 64)


class Piece:
    """A graph written by hand as Dynamo leaves one: fake values on every node, one symbol.

    Args:
        batch: the size that the symbol is captured with.
        name: of the input that the symbol comes from.
    """

    def __init__(self, batch: int = 4, name: str = "x", most: int | None = None) -> None:
        self.shape_env = ShapeEnv()
        self.mode = FakeTensorMode(shape_env=self.shape_env)
        self.graph = fx.Graph()
        self.batch = batch
        self.name = name
        self.most = most
        self.inputs: list[Any] = []

    def x(self, width: int = 8, dtype: torch.dtype = torch.float32) -> fx.Node:
        """``[batch, width]``, the batch symbolic; before it, the symbol itself."""
        context = StatelessSymbolicContext([DimDynamic.DYNAMIC, DimDynamic.STATIC])
        real = torch.empty(self.batch, width, dtype=dtype)
        fake = self.mode.from_tensor(real, symbolic_context=context, source=LocalSource(self.name))
        if self.most is not None:
            torch._check(fake.shape[0] <= self.most)
        self.given(f"s_{self.name}", fake.shape[0])
        return self.given(self.name, fake)

    def given(self, name: str, value: Any) -> fx.Node:
        """An input: a real tensor is made a fake one."""
        if isinstance(value, torch.Tensor) and not hasattr(value, "fake_mode"):
            value = self.mode.from_tensor(value, static_shapes=True)
        self.inputs.append(value)
        node = self.graph.placeholder(name)
        node.meta["example_value"] = value
        return node

    def call(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        node = self.graph.call_function(target, args, kwargs)
        with self.mode:
            node.meta["example_value"] = target(*map(_value, args), **{key: _value(v) for key, v in kwargs.items()})
        return node

    def task(
        self, *outputs: fx.Node, span: Range = SPAN, name: str = "piece_00", root: Any = None, **options: Any
    ) -> Task:
        self.graph.output(outputs)
        gm = fx.GraphModule(root if root is not None else {}, self.graph)
        return Task(gm, self.inputs, span, name, options)


def _value(arg: Any) -> Any:
    return arg.meta["example_value"] if isinstance(arg, fx.Node) else arg


def scaled(by: float = 2.0, **facts: Any) -> Task:
    """``x * by + x``."""
    piece = Piece()
    x = piece.x()
    return piece.task(piece.call(torch.add, piece.call(torch.mul, x, by), x), **facts)


def several(number: int) -> list[Task]:
    """Pieces that differ."""
    return [scaled(float(index + 2), name=f"piece_{index:02d}") for index in range(number)]


def source_of(task: Task) -> str:
    return task.graph.graph.python_code("self").src + "\nwhole = True\n"


class SourceCompiler(CompilerInterface):
    """Compiles a piece to Python text. Each compile leaves a line in ``log``, if there is one."""

    name = "source"

    def __init__(self, log: Path | None = None, factors: Any = None, before: Callable[[Task], Any] = id) -> None:
        self.log = log
        self.made_of = factors or {}
        self.before = before

    def factors(self) -> dict[str, Any]:
        return self.made_of

    def compile(self, task: Task) -> Compiled:
        if self.log is not None:
            with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as stream:
                stream.write(f"{task.name} {os.getpid()}\n")
        self.before(task)
        return SourcePiece(source_of(task))

    def load(self, folder: Path, form: str) -> Runnable:
        assert (folder / "deep/er/weights.bin").read_bytes() == bytes(range(256))
        return SourcePiece((folder / "code.py").read_text())


class SourcePiece(Compiled):
    """Text that defines ``forward(self, ...)`` and, last, ``whole``; and a file beside it."""

    def __init__(self, text: str) -> None:
        names: dict[str, Any] = {"torch": torch, "device": torch.device}
        exec(compile(text, "code.py", "exec"), names)
        self.text = text
        self.forward = names["forward"]
        assert names["whole"]

    def __call__(self, *args: Any) -> Any:
        return self.forward(None, *args)

    def save(self, folder: Path, form: str) -> bool:
        (folder / "code.py").write_text(self.text)
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep/er/weights.bin").write_bytes(bytes(range(256)))
        return True


@dataclass
class Cached:
    """One process's cache: a manager, and what it reported."""

    manager: CompilerManager
    counters: CompilationCounter
    events: list[CacheEvent] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def compile(self, *tasks: Task) -> list[Built]:
        return self.manager.compile_all(tasks)


def cached(
    root: Path | None, compiler: CompilerInterface | None = None, *, read_only: bool = False, **config: Any
) -> Cached:
    """A manager as a process that has just started has it."""
    counters = CompilationCounter()
    events: list[CacheEvent] = []
    store = None if root is None else Store(root, read_only)
    made = CompilerManager(compiler or SourceCompiler(), CompilationConfig(**config), store, counters, events.append)
    return Cached(made, counters, events)


def run(built: Built, task_inputs: Sequence[Any] = ()) -> torch.Tensor:
    """What a :func:`scaled` piece gives for ``[1, 2, ...]``."""
    x = torch.arange(1.0, 25.0).reshape(3, 8)
    return built.runnable(*(task_inputs or (3, x)))[0]


def files_of(root: Path) -> dict[str, bytes]:
    """Everything in a store but its locks."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "locks" not in path.parts
    }


def factors(task: Task, **config: Any) -> dict[str, Any]:
    return piece_factors(task, SourceCompiler(), CompilationConfig(**config))


def key(task: Task, **config: Any) -> str:
    return key_of(factors(task, **config))


class Pass:
    def __init__(self, uuid: Any = "1") -> None:
        self.known = uuid

    def __call__(self, graph: fx.Graph) -> None:
        raise AssertionError("nothing is compiled here")

    def uuid(self) -> Any:
        return self.known


def plain(**facts: Any) -> Task:
    """``x * 2 @ w + b`` with what is asked for."""
    piece = Piece(facts.get("batch", 4), facts.get("name", "x"), facts.get("most"))
    x = piece.x(dtype=facts.get("dtype", torch.float32))
    weight = facts.get("weight", lambda: torch.empty(8, 8, dtype=facts.get("dtype", torch.float32)))()
    w = piece.given(facts.get("called", "w"), weight)
    b = piece.given("b", weight[0] if facts.get("tied") else torch.empty(8, dtype=facts.get("dtype", torch.float32)))
    y = piece.call(torch.mul, x, facts.get("by", 2.0))
    y = piece.call(torch.matmul, *((y, w) if not facts.get("swapped") else (x, w)))
    y = piece.call(facts.get("op", torch.add), y, b)
    if "renamed" in facts:
        y.name = facts["renamed"]
    return piece.task(y, span=facts.get("span", SPAN), name=facts.get("task", "piece_00"))


def with_constant(*values: torch.Tensor) -> Task:
    piece = Piece()
    x = piece.x(values[0].numel())
    root = torch.nn.Module()
    for index, value in enumerate(values):
        root.register_buffer(f"held_{index}", value)
        held = piece.graph.get_attr(f"held_{index}")
        held.meta["example_value"] = piece.mode.from_tensor(value, static_shapes=True)
        x = piece.call(torch.add, x, held)
    return piece.task(x, root=root)


class Opaque(OpaqueBase):
    """A constant that is an object."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and other.value == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __fx_repr__(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__name__}({self.value!r})", {type(self).__name__: type(self)}


class Hoisted(Opaque):
    """One that is handed on, whatever it is."""


class Nameless(OpaqueBase):
    """One that cannot be told from its like."""

    def __init__(self) -> None:
        self.held = object()


register_opaque_type(Opaque, typ="value")
register_opaque_type(Hoisted, typ="value", hoist=True)
register_opaque_type(Nameless, typ="reference")


def with_argument(value: Any) -> Task:
    """A call with a constant argument that is no number."""
    piece = Piece()
    x = piece.x()
    node = piece.graph.call_function(torch.ops.aten.mul.Tensor, (x, 1.0))
    node.meta["example_value"] = x.meta["example_value"]
    task = piece.task(node)
    node.args = (x, value)  # no code is made of it
    return task


def with_input(value: Any) -> Task:
    piece = Piece()
    x = piece.x()
    piece.given("handed", value)
    return piece.task(piece.call(torch.mul, x, 2.0))


def calling(target: Callable[..., Any]) -> Task:
    piece = Piece()
    x = piece.x()
    node = piece.graph.call_function(target, (x,))
    node.meta["example_value"] = x.meta["example_value"]
    return piece.task(node)


def local(factor: Any) -> Callable[..., Any]:
    def scale(x: torch.Tensor) -> torch.Tensor:
        return x * factor

    return scale


def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def documents() -> list[dict[str, Any]]:
    """Keys that depend on sources, sets, closures and objects."""
    torch.set_num_threads(1)
    tasks = [plain(), with_constant(torch.ones(8)), with_argument(Opaque("a")), with_input(Hoisted("b"))]
    passes = (Pass(("1", 2)), local(frozenset({"a", "b", "c"})), twice)
    return [factors(task, post_grad_passes=passes, cache_factors={"set": {"x", "y", "z"}}) for task in tasks]


def tell() -> None:
    print(json.dumps(documents()))
