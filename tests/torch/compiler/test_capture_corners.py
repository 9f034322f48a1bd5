"""What is compiled in must not be used for a call, or a process, in which it is something else."""

from __future__ import annotations

import enum
import subprocess
import sys
import textwrap
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import cutaway
from cutaway.compiler import CompilationConfig
from cutaway.compiler.capture.regions import repeated_classes


class Pair(NamedTuple):
    x: torch.Tensor
    scale: float


class Kind(enum.Enum):
    ONE = 1
    TWO = 2


@dataclass
class Fields:
    x: torch.Tensor
    scale: float


class Model(torch.nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(8, 8))
        self.function = function

    def forward(self, x: Any, other: Any = None) -> Any:
        return self.function(self, x, other)


def compiled(model: torch.nn.Module, **dims: int) -> Any:
    config = CompilationConfig(backend="eager", disable_cache=True, progress=False)
    return cutaway.compile(model, config, dynamic_arg_dims=dims)


def batch(size: int = 3) -> torch.Tensor:
    return torch.randn(size, 8)


@pytest.mark.parametrize(
    ("function", "was", "given"),
    [
        (lambda self, x, o: x * o.value, Kind.ONE, Kind.TWO),
        (lambda self, x, o: x.to(o), torch.float64, torch.float16),
        (lambda self, x, o: x[o], slice(0, 2), slice(1, 3)),
        (lambda self, x, o: x + (3 in o), {3}, {4}),
        (lambda self, x, o: o(x), torch.sin, torch.cos),
        (lambda self, x, o: x * o["by"], OrderedDict(by=2.0), OrderedDict(by=3.0)),
        (lambda self, x, o: (x + o.x) * o.scale, Pair(torch.ones(8), 2.0), Pair(torch.ones(8), 3.0)),
        (lambda self, x, o: (x + o.x) * o.scale, Fields(torch.ones(8), 2.0), Fields(torch.ones(8), 3.0)),
    ],
)
def test_a_value_in_the_arguments_that_was_compiled_in_may_not_change(function: Any, was: Any, given: Any) -> None:
    model = Model(function)
    call = compiled(model, x=0)
    x = batch()
    assert torch.equal(call(x, was), model(x, was))
    with pytest.raises(cutaway.InputError, match="other"):
        call(x, given)


def test_a_tensor_given_twice_at_first_may_be_two_tensors_later() -> None:
    model = Model(lambda self, x, o: x * 2 + o)
    call = compiled(model, x=0, other=0)
    x = batch()
    assert torch.equal(call(x, x), model(x, x))
    x, other = batch(5), batch(5)
    assert torch.equal(call(x, other), model(x, other))


def test_autocast_may_not_change() -> None:
    call = compiled(Model(lambda self, x, o: x @ self.w), x=0)
    call(batch())
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(cutaway.InputError, match="autocast"):
        call(batch())


def test_hooks_on_the_model_itself_run() -> None:
    model = Model(lambda self, x, o: x @ self.w)
    model.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    model.register_forward_hook(lambda module, args, result: torch.add(result, 1))  # pyright: ignore
    call = compiled(model, x=0)
    for size in (3, 5):
        x = batch(size)
        assert torch.equal(call(x), model(x))


class Tree(torch.nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.randn(8, 8))
        self.inner = torch.nn.ModuleList(Tree(depth - 1) for _ in range(3 if depth else 0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(x @ self.w)
        for inner in self.inner:
            x = x + inner(x)
        return x


def test_layers_within_layers_of_their_own_class_have_their_own_weights() -> None:
    model = torch.nn.Sequential(*(Tree(2) for _ in range(3)))
    assert repeated_classes(model) == []
    call = compiled(model, input=0)
    x = batch()
    assert torch.equal(call(x), model(x))


HELPER = """
    import torch
    from cutaway.compiler import Compiled, CompilerInterface

    SCALE = 1.0

    def scaled(x):
        return x * SCALE

    class Text(Compiled):
        def __init__(self, text):
            names = {"torch": torch}
            exec(text, names)
            self.text, self.run = text, names["forward"]

        def __call__(self, *args):
            return self.run(None, *args)

        def save(self, folder, form):
            (folder / "code.py").write_text(self.text)
            return True

    class TextCompiler(CompilerInterface):
        name = "text"

        def factors(self):
            return {}

        def compile(self, task):
            return Text("import operator\\n" + task.graph.graph.python_code("self").src)

        def load(self, folder, form):
            return Text((folder / "code.py").read_text())
"""

PROGRAM = """
    import functools, os, sys, types
    import torch, cutaway, helper
    from cutaway.compiler import CompilationConfig

    MINE = 2.0

    class Slots:
        __slots__ = ("by",)

    class Layer(torch.nn.Module):
        def __init__(self, change):
            super().__init__()
            by = {name: 3.0 if change == name else 2.0 for name in ("closure", "partial", "deep", "slots")}
            self.w = torch.nn.Parameter(torch.eye(8))
            self.closure = (lambda k: lambda x: x * k)(by["closure"])
            self.partial = functools.partial(torch.mul, other=by["partial"])
            config = {"text": {"rope": {"scaling": {"factor": by["deep"]}}}}
            self.config = types.SimpleNamespace(all=types.SimpleNamespace(config=config))
            self.slots = Slots()
            self.slots.by = by["slots"]

        def forward(self, x):
            x = self.partial(self.closure(x @ self.w)) * self.slots.by
            return helper.scaled(x) * MINE * self.config.all.config["text"]["rope"]["scaling"]["factor"]

    forward = Layer.forward
    for change in sys.argv[2:]:
        helper.SCALE = 3.0 if change == "global of a helper" else 2.0
        MINE = 3.0 if change == "own global" else 2.0
        Layer.forward = (lambda self, x: x @ self.w * 3) if change == "method" else forward
        model = torch.nn.Sequential(*(Layer(change) for _ in range(3)))
        if change == "hook":
            model[1].register_forward_hook(lambda module, args, result: result + 1)
        config = CompilationConfig(backend="helper.TextCompiler", cache_dir=sys.argv[1], progress=False)
        call = cutaway.compile(model, config, dynamic_arg_dims={"input": 0})
        x = torch.ones(3, 8)
        equal = torch.equal(call(x), model(x))
        print(change, call.counters.models_loaded if equal else "wrong", sep="=")
        torch._dynamo.reset()
"""


def test_a_process_in_which_something_read_has_changed_captures_again(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(textwrap.dedent(HELPER))
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))

    def start(*changes: str) -> dict[str, str]:
        command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "cache"), *changes]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        return dict(line.split("=") for line in lines)

    changes = ("global of a helper", "own global", "closure", "partial", "deep", "slots", "method", "hook")
    assert start("nothing") == {"nothing": "0"}
    assert start("nothing", *changes) == {"nothing": "1", **dict.fromkeys(changes, "0")}
