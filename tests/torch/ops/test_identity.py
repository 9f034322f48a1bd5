"""By what an implementation is known: equal uuids only where the implementations are."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from refusals import refused
from torch import Tensor

from cutaway.ops import IrOp, register_op

numbers = itertools.count()


def op_of(function: Callable[..., Any] | None = None) -> IrOp:
    """An op of a new name, of ``(x: Tensor) -> Tensor``."""

    def native(x: Tensor) -> Tensor:
        return x + 1

    return register_op(name=f"identity_{next(numbers)}")(function or native)


def uuid_of(function: Callable[..., Any], **options: Any) -> str:
    return op_of().register_impl("it", **options)(function).uuid()


def scaled(factor: Any) -> Callable[[Tensor], Tensor]:
    def scale(x: Tensor) -> Tensor:
        return x * factor

    return scale


MODULE = """
import torch
from torch import Tensor
from {helpers} import helped, Kind
import {helpers} as all_of_them
SIZE = {size}
def beside(x: Tensor) -> Tensor:
    return x * {beside}
def calls_beside(x: Tensor) -> Tensor:
    return beside(x)
def reads_global(x: Tensor) -> Tensor:
    return x * SIZE
def calls_helper(x: Tensor) -> Tensor:
    return helped(x)
def calls_through_module(x: Tensor) -> Tensor:
    return all_of_them.nested(x)
def uses_class(x: Tensor) -> Tensor:
    return Kind()(x)
def in_a_lambda(x: Tensor) -> Tensor:
    return (lambda y: helped(y))(x)
def plain(x: Tensor) -> Tensor:
    return torch.sin(x)
"""
HELPERS = """
LIMIT = {limit}
def helped(x):
    return deeper(x)
def deeper(x):
    return x * LIMIT
nested = helped
class Kind:
    def __call__(self, x):
        return x + {kind}
"""
VALUES = {"size": "2", "beside": "2", "limit": "2", "kind": "2"}


def loaded(folder: Path, **values: str) -> ModuleType:
    """A module, and one that it imports, written with these values and imported under names of their own."""
    place = folder / f"version_{next(numbers)}"
    place.mkdir()
    helpers = "identity_helpers"
    modules: dict[str, ModuleType] = {}
    for name, text in ((helpers, HELPERS), ("identity_module", MODULE)):
        path = place / f"{name}.py"
        path.write_text(text.format(helpers=helpers, **(VALUES | values)))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[name])
    return modules["identity_module"]


@pytest.fixture(autouse=True)
def _forget_modules() -> Any:
    yield
    for name in ("identity_helpers", "identity_module"):
        sys.modules.pop(name, None)


FUNCTIONS = (
    "calls_beside",
    "reads_global",
    "calls_helper",
    "calls_through_module",
    "uses_class",
    "in_a_lambda",
    "plain",
)


def uuids(module: ModuleType) -> dict[str, str]:
    return {name: uuid_of(getattr(module, name)) for name in FUNCTIONS}


def test_the_same_source_elsewhere_is_the_same(tmp_path: Path) -> None:
    first, second = uuids(loaded(tmp_path)), uuids(loaded(tmp_path))
    assert first == second
    assert len(set(first.values())) == len(FUNCTIONS)


@pytest.mark.parametrize(
    ("changed", "differ"),
    [
        ("size", set(FUNCTIONS)),  # the file counts as a whole
        ("beside", set(FUNCTIONS)),
        ("limit", set(FUNCTIONS) - {"calls_beside", "reads_global", "plain"}),
        ("kind", set(FUNCTIONS) - {"calls_beside", "reads_global", "plain"}),
    ],
)
def test_a_change_in_what_is_reached_is_seen(tmp_path: Path, changed: str, differ: set[str]) -> None:
    first, second = uuids(loaded(tmp_path)), uuids(loaded(tmp_path, **{changed: "3"}))
    assert {name for name in FUNCTIONS if first[name] != second[name]} == differ


def test_a_global_from_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = '__import__("os").environ["IDENTITY_SIZE"]'
    found: list[dict[str, str]] = []
    for value in ("2", "3"):
        monkeypatch.setenv("IDENTITY_SIZE", value)
        found.append(uuids(loaded(tmp_path, size=f"int({read})", limit=f"float({read})")))
    differ = {name for name in FUNCTIONS if found[0][name] != found[1][name]}
    assert differ == {"reads_global", "calls_helper", "calls_through_module", "in_a_lambda"}


def test_a_file_that_is_edited_while_the_process_runs_is_read_again(tmp_path: Path) -> None:
    module = loaded(tmp_path)
    impl = op_of().register_impl("it")(module.plain)
    before = impl.uuid()
    path = Path(str(module.__file__))
    path.write_text(path.read_text() + "# more\n")
    assert impl.uuid() != before


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (1, 2),
        (1, 1.0),
        (1.0, 1.0 + 1e-15),
        (True, 1),
        (0.0, -0.0),
        (float("inf"), float("-inf")),
        ("a", "b"),
        (None, 0),
        ((1, 2), (2, 1)),
        ([1], [1, 1]),
        ({"a": 1}, {"a": 2}),
        ({1, 2}, {1, 3}),
        (torch.float16, torch.bfloat16),
        (len, max),
        (torch.sin, torch.cos),
        (functools.partial(max, 1), functools.partial(max, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_closure_holds_counts(one: Any, two: Any) -> None:
    assert uuid_of(scaled(one)) == uuid_of(scaled(one))
    assert uuid_of(scaled(one)) != uuid_of(scaled(two))
    assert uuid_of(scaled(scaled(one))) != uuid_of(scaled(scaled(two)))


def test_what_a_tensor_in_a_closure_holds_counts() -> None:
    assert uuid_of(scaled(torch.ones(2))) == uuid_of(scaled(torch.ones(2)))
    assert uuid_of(scaled(torch.ones(2))) != uuid_of(scaled(torch.zeros(2)))


def test_local_functions_that_differ_in_their_code_differ() -> None:
    def made(kind: int) -> Callable[[Tensor], Tensor]:
        if kind:

            def of(x: Tensor) -> Tensor:
                return x.sin()
        else:

            def of(x: Tensor) -> Tensor:
                return x.cos()

        return of

    assert uuid_of(made(0)) != uuid_of(made(1))
    assert uuid_of(made(0)) == uuid_of(made(0))


def test_a_wrapped_function_is_known_by_what_it_wraps() -> None:
    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(x: Tensor) -> Tensor:
            return function(x)

        return wrapper

    assert uuid_of(wrapped(scaled(1))) == uuid_of(wrapped(scaled(1)))
    assert uuid_of(wrapped(scaled(1))) != uuid_of(wrapped(scaled(2)))


def test_what_is_said_at_registration_counts(tmp_path: Path) -> None:
    source = tmp_path / "kernel.cpp"
    source.write_text("int one;")
    alone, with_source = uuid_of(scaled(1)), uuid_of(scaled(1), sources=[source])
    refusing = uuid_of(scaled(1), supports_args=lambda x: x.dim() == 1)
    other = uuid_of(scaled(1), supports_args=lambda x: x.dim() == 2)
    source.write_text("int two;")
    assert len({alone, with_source, refusing, other, uuid_of(scaled(1), sources=[str(source)])}) == 5


def test_an_op_is_known_by_its_body() -> None:
    """Its uuid is that of its meaning; an implementation that calls the op changes with it."""
    first, again, other = (op_of(scaled(factor)) for factor in (1, 1, 2))
    assert first.impls["native"].uuid() == again.impls["native"].uuid() != other.impls["native"].uuid()
    assert len({first.uuid(), again.uuid(), other.uuid()}) == 3  # their names differ
    assert uuid_of(scaled(first)) != uuid_of(scaled(other))


recursive = op_of()


@recursive.register_impl("by_way_of_itself")
def _by_way_of_itself(x: Tensor) -> Tensor:
    with recursive.set_priority(["native"]):
        return recursive(x)


def test_an_implementation_may_speak_of_its_op() -> None:
    assert len({impl.uuid() for impl in recursive.impls.values()}) == 2


def test_it_is_the_same_in_another_process_whatever_the_hash_seed() -> None:
    code = (
        "import cutaway.ops.library; from cutaway.ops import registry;"
        "print(*(impl.uuid() for op in registry.values() for impl in op.impls.values()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1
    uuid = found.pop().split()
    assert len(uuid) > 10
    assert all(len(one) == 64 for one in uuid)


class Opaque:
    __slots__ = ("value",)


def test_what_cannot_be_told_from_its_like_has_none(tmp_path: Path) -> None:
    with refused("provider 'it' of op 'identity_", "closure", "Opaque", "a function in a file"):
        uuid_of(scaled(Opaque()))
    with refused("provider 'it' of op 'identity_", "missing.cpp", "cannot be had"):
        uuid_of(scaled(1), sources=[tmp_path / "missing.cpp"])
    typed: dict[str, Any] = {"Tensor": Tensor}
    exec("def typed(x: Tensor) -> Tensor: return x", typed)
    with refused("provider 'it' of op 'identity_", "<string>", "a function in a file"):
        uuid_of(typed["typed"])
