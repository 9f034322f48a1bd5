"""What code reads by name is in its key: constants and objects of modules, in passes, operators and kept models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compiler.cache_tools import key, scaled
from compiler.test_key_ops import HEAD, MODULES, calling_op, document_with, imported
from recordings import in_child

from cutaway.compiler.cache.factors import UncacheableError, key_of
from cutaway.identity.reads import reads
from cutaway.identity.stable import canonical, stable

ENVIRONMENT = 'import os\nK = float(os.environ["KEY_REACHED"])\n'


def read_with(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str, name: str = "code") -> Any:
    """``made`` of a module that is imported while the environment says this."""
    monkeypatch.setenv("KEY_REACHED", value)
    return imported(folder / f"{name}.py", text).made


PASSES = {
    "function": f"{ENVIRONMENT}def made(graph):\n    return graph * K\n",
    "nested function": f"{ENVIRONMENT}def made(graph):\n    return [(lambda: K) for _ in graph]\n",
    "function beside it": f"{ENVIRONMENT}def inner(x):\n    return x * K\ndef made(graph):\n    return inner(graph)\n",
    "method": f"{ENVIRONMENT}class Made:\n    def __call__(self, graph):\n        return K\nmade = Made()\n",
    "value on a class": f"{ENVIRONMENT}class Made:\n    k = K\n    def __call__(self, graph):\n        return self.k\n"
    "made = Made()\n",
    "object": f"{ENVIRONMENT}import types\nC = types.SimpleNamespace(k=K)\ndef made(graph):\n    return C.k\n",
    "object of a class": f"{ENVIRONMENT}class C:\n    def __init__(self):\n        self.k = K\n"
    "HELD = C()\ndef made(graph):\n    return HELD.k\n",
    "list": f"{ENVIRONMENT}C = [{{'k': K}}]\ndef made(graph):\n    return C[0]['k']\n",
    "cached function": f"{ENVIRONMENT}import functools\n@functools.cache\ndef k():\n    return K\n"
    "def made(graph):\n    return k()\n",
    "wrapped": f"{ENVIRONMENT}import contextlib\n@contextlib.contextmanager\ndef k():\n    yield K\n"
    "def made(graph):\n    return k()\n",
    "pass": f"{ENVIRONMENT}from cutaway.compiler import InductorPass\nclass Made(InductorPass):\n"
    "    def __call__(self, graph):\n        return (K, made)\nmade = Made()\n",
    "environment": 'import os\ndef made(graph):\n    return os.environ["KEY_REACHED"]\n',
}


@pytest.mark.parametrize("kind", PASSES)
def test_a_pass_is_keyed_by_what_it_reads(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key_with(value: str) -> str:
        return key(scaled(), post_grad_passes=(read_with(tmp_path, monkeypatch, PASSES[kind], value),))

    assert key_with("2") == key_with("2") != key_with("5")


def test_also_through_a_module_that_it_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for text in (
        "import keyed_far\ndef made(graph):\n    return keyed_far.k\n",
        "def made(graph):\n    from keyed_far import k\n    return k\n",
    ):
        keys: list[str] = []
        for value in ("2", "2", "5"):
            monkeypatch.delitem(sys.modules, "keyed_far", raising=False)
            (tmp_path / "keyed_far.py").write_text(f"{ENVIRONMENT}k = K\nunread = object()\n")
            keys.append(key(scaled(), post_grad_passes=(read_with(tmp_path, monkeypatch, text, value),)))
        assert keys[0] == keys[1] != keys[2]


INERT = """
import logging, re, threading
import torch
from torch import Tensor
log = logging.getLogger("keyed")
lock = threading.RLock()
pattern = re.compile("a+")
MISSING = object()
aten = torch.ops.aten
mul = torch.ops.aten.mul.Tensor
def made(graph):
    with lock:
        log.info("%s", MISSING)
        return graph.find_nodes(op="call_function", target=aten.add.Tensor), mul, pattern, Tensor
"""


PATTERNS = """
import torch
from torch._inductor.pattern_matcher import PatternMatcherPass, fwd_only, register_replacement
patterns = PatternMatcherPass(pass_name="keyed")
def pattern(x):
    return x * 2 + 1
def replacement(x):
    return torch.addcmul(x, x, x)
register_replacement(pattern, replacement, [torch.empty(4)], fwd_only, patterns)
def made(graph):
    patterns.apply(graph)
"""


@pytest.mark.parametrize("text", [INERT, PATTERNS], ids=["inert", "patterns"])
def test_what_passes_often_have_beside_them_leaves_them_cacheable(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [key(scaled(), post_grad_passes=(read_with(tmp_path, monkeypatch, text, "2"),)) for _ in range(2)]
    assert found[0] == found[1]


@pytest.mark.parametrize("held", ["iter(())", "torch.Generator()", "(i for i in range(2))", "[object()]"])
def test_an_object_that_cannot_be_told_from_its_like_leaves_none(
    held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"import torch\nHELD = {held}\ndef made(graph):\n    return HELD\n"
    made = read_with(tmp_path, monkeypatch, text, "2")
    with pytest.raises(UncacheableError, match="HELD"):
        key(scaled(), post_grad_passes=(made,))


def test_what_comes_with_a_package_is_known_by_its_version() -> None:
    def made(graph: Any) -> Any:
        return pytest.raises, graph

    assert f'"package":"pytest {pytest.__version__}"' in canonical(stable(made))


def test_functions_that_refer_to_each_other_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = "\n".join(f"def f{i}(x):\n    return f{i + 1}(x), f{i // 2}(x)" for i in range(300))
    text = f"{ENVIRONMENT}{chain}\ndef f300(x):\n    return K, made\ndef made(graph):\n    return f0(graph)\n"
    found = [canonical(stable(read_with(tmp_path, monkeypatch, text, value))) for value in ("2", "2", "5")]
    assert found[0] == found[1] != found[2]


def test_what_code_reads() -> None:
    def outer(x: Any) -> Any:
        from os import sep  # noqa: PLC0415

        return lambda: (pytest.importorskip(sep), os.environ["KEY_REACHED"], x)

    found = reads(outer.__code__)
    assert (found.names, found.imports) == ({"pytest", "os"}, {"os"})
    assert {"importorskip", "environ"} <= found.attributes
    assert "KEY_REACHED" in found.variables


READING = {
    "composite": lambda text: text.replace("x * 2.0", "x * K"),
    "decomposed": lambda text: text.replace("    return x * 2.0", "    return x * K"),
}


class TestOperators:
    @pytest.mark.parametrize("kind", READING)
    def test_that_tracing_goes_into_key_by_what_they_read(
        self, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = ENVIRONMENT + READING[kind](MODULES[kind])
        assert text != ENVIRONMENT + MODULES[kind]

        def key_with(value: str) -> str:
            monkeypatch.setenv("KEY_REACHED", value)
            return key_of(document_with(tmp_path / "ops.py", text))

        assert key_with("2") == key_with("2") != key_with("5")

    def test_that_tracing_goes_into_have_no_key_where_that_cannot_be_told(self, tmp_path: Path) -> None:
        def refusal() -> str:
            imported(tmp_path / "ops.py", f"{HEAD}K = iter(())\n" + READING["composite"](MODULES["composite"]))
            with pytest.raises(UncacheableError) as refused:
                key(calling_op())
            return str(refused.value)

        assert "operator keyed::op (K)" in in_child(refusal)

    def test_that_code_calls_may_hold_what_they_like(self, tmp_path: Path) -> None:
        """A kernel runs beside what is compiled: a table that it looks into at each call is no part of a key."""

        def found() -> bool:
            text = MODULES["custom_op"].replace("x * 2.0", "x * next(K)")
            imported(tmp_path / "ops.py", f"{HEAD}K = iter((2.0,))\n{text}")
            return bool(key(calling_op()))

        assert in_child(found)


OPERATORS = """
import torch
library = torch.library.Library("reached", "DEF")
library.define("op(Tensor x) -> Tensor")
library.impl("op", lambda x: x * {by}, "CompositeImplicitAutograd")
"""
OPS_OF_OURS = """
import os, types
from torch import Tensor
from cutaway.ops import register_op
CONFIG = types.SimpleNamespace(k=float(os.environ["KEY_REACHED"]))
@register_op
def reached_scale(x: Tensor) -> Tensor:
    return x * CONFIG.k
"""
PROGRAM = """
import torch, cutaway, {module}
class Model(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {call}(x) + 1
model = Model()
compiled = cutaway.compile(model)
x = torch.ones(4, 3)
print(*compiled(x)[0].tolist(), *model(x)[0].tolist(), compiled.counters.models_loaded)
"""


class TestAKeptModel:
    def run(self, folder: Path, module: str, call: str, value: str = "2") -> tuple[set[str], str]:
        """What a program gives that is started anew: all numbers, compiled and not, and how many models it loaded."""
        (folder / "program.py").write_text(PROGRAM.format(module=module, call=call))
        away = {"CUTAWAY_CACHE_ROOT": str(folder / "cache")}  # torch's own cache is one for all
        done = subprocess.run(
            [sys.executable, "program.py"], cwd=folder, env=os.environ | away | {"KEY_REACHED": value},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        *numbers, loaded = done.stdout.split()
        return set(numbers), loaded

    def check(self, start: Callable[[str], tuple[set[str], str]]) -> None:
        assert [start("2"), start("2"), start("5")] == [({"3.0"}, "0"), ({"3.0"}, "1"), ({"6.0"}, "0")]

    def test_is_void_where_an_operator_in_another_file_was_edited(self, tmp_path: Path) -> None:
        def start(by: str) -> tuple[set[str], str]:
            (tmp_path / "kept_ops.py").write_text(OPERATORS.format(by=by))
            return self.run(tmp_path, "kept_ops", "torch.ops.reached.op")

        self.check(start)

    def test_is_void_where_an_op_of_ours_reads_an_object_that_is_another(self, tmp_path: Path) -> None:
        (tmp_path / "kept_ir.py").write_text(OPS_OF_OURS)
        self.check(lambda value: self.run(tmp_path, "kept_ir", "kept_ir.reached_scale", value))
