"""A kept model is used again only where everything that was compiled in is what it was."""

from __future__ import annotations

import functools
import itertools
import logging
import operator
import re
import sys
import threading
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import cutaway
from cutaway.compiler.capture.facts import model_facts
from cutaway.identity.sources import UncacheableError

CONFIG = {"backend": "compiler.cache_tools.SourceCompiler", "progress": False}
X = torch.arange(12.0).reshape(4, 3)

ACT: Any = None
LAYERS: list[float] = []
OPTIONS: dict[str, float] = {}
THING: Any = None


class Scale(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


class Settings:
    eps: float = 1.0


class Mapping(dict[str, float]):
    pass


class Names(list[str]):
    pass


class Doubled:
    def go(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Tripled:
    def go(self, x: torch.Tensor) -> torch.Tensor:
        return x * 3


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def tripled(x: torch.Tensor) -> torch.Tensor:
    return x * 3


class Model(nn.Module):
    """Runs a function of the test's, with something that stands on the model."""

    run: ClassVar[Callable[..., Any]]

    def __init__(self, held: Any = None) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3))
        self.held = held

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return type(self).run(self, x) + self.w


def model_of(run: Callable[..., Any], held: Any = None) -> Model:
    return type("Model", (Model,), {"run": staticmethod(run), "__module__": __name__})(held)


def started(model: nn.Module) -> int:
    """Start as a new process would; 1 when the kept model was used. It computes what the model computes."""
    torch._dynamo.reset()  # pyright: ignore[reportPrivateUsage]
    compiled = cutaway.compile(model, CONFIG, dynamic_arg_dims={"x": 0})
    assert torch.equal(compiled(X), model(X))
    return compiled.counters.models_loaded


def set_eps(value: float) -> type[Settings]:
    Settings.eps = value
    return Settings


def of_eps(value: float) -> Settings:
    return set_eps(value)()


def with_attribute(held: Any, value: Any) -> Any:
    held.by = value
    return held


def nested(depth: int, value: float) -> Any:
    return functools.reduce(lambda inner, _: [inner], range(depth), value)


def innermost(value: Any, depth: int) -> Any:
    for _ in range(depth):
        value = value[0]
    return value


def in_order(self: Model, x: torch.Tensor) -> torch.Tensor:
    for by in self.held.values():
        x = x * by + 1
    return x


ON_THE_MODEL: dict[str, tuple[Callable[..., Any], Callable[[], Any], Callable[[], Any]]] = {
    "a module in a list": (lambda m, x: m.held[0](x), lambda: [Scale(2.0)], lambda: [Scale(3.0)]),
    "a bound method": (lambda m, x: m.held(x), lambda: Scale(2.0).forward, lambda: Scale(3.0).forward),
    "the order of a dict": (in_order, lambda: {"a": 2.0, "b": 3.0}, lambda: {"b": 3.0, "a": 2.0}),
    "a value on the class of an object": (lambda m, x: x * m.held.eps, lambda: of_eps(2.0), lambda: of_eps(3.0)),
    "a value on a class": (lambda m, x: x * m.held.eps, lambda: set_eps(2.0), lambda: set_eps(3.0)),
    "an attribute of a dict": (
        lambda m, x: x * m.held.by,
        lambda: with_attribute(Mapping(), 2.0),
        lambda: with_attribute(Mapping(), 3.0),
    ),
    "what is nested deeply": (lambda m, x: x * innermost(m.held, 12), lambda: nested(12, 2.0), lambda: nested(12, 3.0)),
    "a method of a C class": (lambda m, x: m.held(x), lambda: torch.Tensor.sin, lambda: torch.Tensor.cos),
    "a memory format": (
        lambda m, x: x.reshape(-1, 3, 1, 1).contiguous(memory_format=m.held).reshape(-1, 3),
        lambda: torch.contiguous_format,
        lambda: torch.channels_last,
    ),
}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    Settings.eps = 1.0
    globals().update(ACT=None, LAYERS=[], OPTIONS={}, THING=None)


@pytest.mark.parametrize("case", ON_THE_MODEL)
def test_what_stands_on_the_model_keys_it(case: str) -> None:
    run, first, second = ON_THE_MODEL[case]
    assert started(model_of(run, first())) == 0
    assert started(model_of(run, first())) == 1
    assert started(model_of(run, second())) == 0


def by_layers(_: Model, x: torch.Tensor) -> torch.Tensor:
    for by in LAYERS:
        x = x * by
    return x


GLOBALS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "a function": (lambda m, x: ACT(x), {"ACT": doubled}, {"ACT": tripled}),
    "the length of a list": (by_layers, {"LAYERS": [2.0]}, {"LAYERS": [2.0, 3.0]}),
    "a key that was missing": (
        lambda m, x: x * OPTIONS.get("a", 2.0),
        {"OPTIONS": {}},
        {"OPTIONS": {"a": 3.0}},
    ),
    "an object's class": (lambda m, x: THING.go(x), {"THING": Doubled()}, {"THING": Tripled()}),
    "an attribute that was missing": (
        lambda m, x: x * 2 if hasattr(THING, "by") else x * 3,
        {"THING": Doubled()},
        {"THING": with_attribute(Doubled(), 1.0)},
    ),
    "a module": (lambda m, x: THING(x), {"THING": Scale(2.0)}, {"THING": Scale(3.0)}),
    "a tensor's shape": (lambda m, x: x + THING, {"THING": torch.ones(3)}, {"THING": torch.ones(1)}),
    "a flag": (lambda m, x: x * 2 if THING else x * 3, {"THING": True}, {"THING": False}),
}


@pytest.mark.parametrize("case", GLOBALS)
def test_a_global_that_was_read_is_asked_for_again(case: str) -> None:
    run, first, second = GLOBALS[case]
    globals().update(first)
    assert started(model_of(run)) == 0
    assert started(model_of(run)) == 1
    globals().update(second)
    assert started(model_of(run)) == 0


def test_a_function_whose_globals_no_module_holds_is_compiled_at_each_start() -> None:
    def function(by: float) -> Any:
        names: dict[str, Any] = {"BY": by}
        exec("def scaled(x): return x * BY", names)
        return names["scaled"]

    for by in (2.0, 2.0, 3.0):
        assert started(model_of(lambda m, x: m.held(x), function(by))) == 0


class TestWhatHasNoText:
    @pytest.mark.parametrize(
        "held", [nested(60, 2.0), (number for number in (1, 2)), memoryview(b"a")], ids=["deep", "generator", "memory"]
    )
    def test_is_said(self, held: Any) -> None:
        with pytest.raises(UncacheableError, match=r"\.held: "):
            facts(held)

    def test_is_compiled_at_each_start(self) -> None:
        for _ in range(2):
            assert started(model_of(lambda m, x: x * innermost(m.held, 60), nested(60, 2.0))) == 0

    def test_is_what_raises_when_it_is_read(self) -> None:
        class Broken:
            __slots__ = ("by",)

            def __getattr__(self, name: str) -> Any:
                raise RuntimeError(name)

        with pytest.raises(UncacheableError, match="RuntimeError"):
            facts(Broken())


def facts(held: Any) -> dict[str, Any]:
    model = Model(held)
    return model_facts(model, model.forward)


class Pair:
    def __init__(self, by: Any) -> None:
        self.by = by


ALIKE: dict[str, Callable[[], Any]] = {
    "a lock": threading.Lock,
    "a logger": lambda: logging.getLogger("any"),
    "an object": object,
    "a queue": lambda: deque([1, 2], maxlen=3),
    "a default": lambda: defaultdict(list, {"a": [1]}),
    "a pattern": lambda: re.compile("a+"),
    "a counter": lambda: itertools.count(3),
    "a getter": lambda: operator.itemgetter(3),
    "a set": lambda: {"a", "b", "c", "d", doubled, tripled},
    "a cached function": lambda: functools.lru_cache(doubled),
    "an operator": lambda: torch.ops.aten.add.Tensor,
    "an array": lambda: np.ones(3, dtype=np.float32),
    "a generator": torch.Generator,
    "a file": lambda: sys.stderr,
    "limits": lambda: torch.finfo(torch.float16),
    "thread's own": threading.local,
    "a namespace": lambda: types.SimpleNamespace(by=2.0, inner=types.SimpleNamespace(by=3)),
    "a reference": lambda: weakref.ref(doubled),
    "a cycle": lambda: (lambda pair: with_attribute(pair, pair))(Pair(1)),
}


@pytest.mark.parametrize("case", ALIKE)
def test_equal_things_have_equal_facts(case: str) -> None:
    assert facts(ALIKE[case]()) == facts(ALIKE[case]())


PAIRS: dict[str, tuple[Any, Any]] = {
    "zeros": (0.0, -0.0),
    "numbers": (1, True),
    "numbers of NumPy": (np.float32(1), np.float32(2)),
    "classes of a list": (["a"], Names(["a"])),
    "a list and a tuple": ([1], (1,)),
    "maps": ({"a": 1}, OrderedDict(a=1)),
    "getters": (operator.itemgetter(1), operator.itemgetter(2)),
    "patterns": (re.compile("a"), re.compile("b")),
    "methods of C": (torch.Tensor.sin, torch.Tensor.cos),
    "methods of a text": ("a".join, "b".join),
    "layouts": (torch.strided, torch.sparse_coo),
    "operators": (torch.ops.aten.add.Tensor, torch.ops.aten.sub.Tensor),
    "arrays": (np.ones(3), np.ones(4)),
    "defaults": (defaultdict(list), defaultdict(set)),
    "local classes": (type("Local", (), {"by": 1}), type("Local", (), {"by": 2})),
    "hooks of a module in a list": ([Scale(2.0)], [Scale(2.0)]),
}
PAIRS["hooks of a module in a list"][1][0].register_forward_hook(lambda module, args, result: result + 1)


@pytest.mark.parametrize("case", PAIRS)
def test_things_that_differ_have_other_facts(case: str) -> None:
    one, other = PAIRS[case]
    assert facts(one) != facts(other)


def test_one_tensor_in_two_places_is_not_two() -> None:
    def model(is_one: bool) -> nn.Module:
        made = nn.Sequential(Model(), Model())
        made[0].held = [torch.ones(3)]  # pyright: ignore[reportArgumentType]
        made[1].held = made[0].held if is_one else [torch.ones(3)]  # pyright: ignore[reportArgumentType]
        return made

    one, other, again = model(True), model(False), model(True)
    assert model_facts(one, one.forward) != model_facts(other, other.forward)
    assert model_facts(one, one.forward) == model_facts(again, again.forward)


def test_which_of_two_equal_layers_is_meant_counts() -> None:
    def model(number: int) -> nn.Module:
        made = nn.Sequential(Scale(2.0), Scale(2.0), Model())
        made[2].held = [made[number]]  # pyright: ignore[reportArgumentType]
        return made

    one, other = model(0), model(1)
    assert model_facts(one, one.forward) != model_facts(other, other.forward)


def test_layers_that_hold_their_own_children_and_one_configuration_are_written_once() -> None:
    configuration = types.SimpleNamespace(eps=1e-6)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Scale(2.0)
            self.also = [self.inner]
            self.configuration = configuration

    model = nn.Sequential(*(Layer() for _ in range(5)))
    found = model_facts(model, model.forward)["modules"].values()
    assert sorted(len(one["names"]) for one in found) == [1, 5, 5]
