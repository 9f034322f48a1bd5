"""Operators and passes are keyed by what they are made of: who edits one compiles anew, who moves it does not."""

from __future__ import annotations

import importlib.util
import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch._inductor.lowering
from compiler.cache_tools import Piece, factors, key, scaled
from recordings import in_child
from torch._higher_order_ops.triton_kernel_wrap import kernel_side_table, triton_kernel_wrapper_mutation

from cutaway.compiler.build.interface import Task
from cutaway.compiler.cache.factors import UncacheableError, key_of

HEAD = "import torch\nfrom torch import Tensor\n"
MODULES = {
    "custom_op": """
@torch.library.custom_op("keyed::op", mutates_args=())
def op(x: Tensor) -> Tensor:
    return x * 2.0

@op.register_fake
def _(x):
    return torch.empty_like(x)
""",
    "library": """
library = torch.library.Library("keyed", "FRAGMENT")
library.define("op(Tensor x) -> Tensor")

def run(x):
    return x * 2.0

library.impl("op", run, "CPU")

@torch.library.register_fake("keyed::op", lib=library)
def _(x):
    return torch.empty_like(x)
""",
    "composite": """
library = torch.library.Library("keyed", "FRAGMENT")
library.define("op(Tensor x) -> Tensor")
library.impl("op", lambda x: x * 2.0, "CompositeImplicitAutograd")
""",
    "decomposed": """
library = torch.library.Library("keyed", "FRAGMENT")
library.define("op(Tensor x) -> Tensor")
library.impl("op", lambda x: x * 2.0, "CPU")

@torch._decomp.register_decomposition(torch.ops.keyed.op.default)
def decomposed(x):
    return x * 2.0
""",
}
EDITS: dict[str, Callable[[str], str]] = {
    "its body": lambda text: text.replace("2.0", "3.0"),
    "a comment": lambda text: f"{text}\n# nothing\n",
    "its schema": lambda text: text.replace("Tensor x)", "Tensor(a!) x)").replace("args=()", 'args=("x",)'),
}


def imported(path: Path, text: str) -> ModuleType:
    """The module that stands in a file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    linecache.checkcache(str(path))
    name = f"keyed_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def document_with(path: Path, text: str) -> dict[str, Any]:
    """The document of a piece that calls the operator of a module; a child imports it, for it cannot be unsaid."""

    def make() -> dict[str, Any]:
        imported(path, HEAD + text)
        return factors(calling_op())

    return in_child(make)


def calling_op() -> Task:
    piece = Piece()
    x = piece.x()
    node = piece.graph.call_function(torch.ops.keyed.op.default, (x,))
    node.meta["example_value"] = x.meta["example_value"]
    return piece.task(node)


class TestOperators:
    @pytest.mark.parametrize("kind", MODULES)
    def test_of_the_user_key_by_their_source(self, tmp_path: Path, kind: str) -> None:
        def key_with(text: str, folder: str = "one") -> str:
            return key_of(document_with(tmp_path / folder / "ops.py", text))

        text = MODULES[kind]
        one = key_with(text)
        assert key_with(text) == one
        assert key_with(text, "two") == one  # the same, elsewhere
        for what, edit in EDITS.items():
            if kind == "composite" and what == "its schema":
                continue
            assert edit(text) != text
            assert key_with(edit(text)) != one, what
        assert key_with(text) == one

    def test_of_the_user_are_named_in_the_document(self, tmp_path: Path) -> None:
        found = document_with(tmp_path / "ops.py", MODULES["custom_op"])["custom_ops"]
        assert list(found) == ["keyed::op"]
        assert found["keyed::op"]["schema"].startswith("keyed::op(Tensor x) -> Tensor")
        assert [source.split()[0] for source in found["keyed::op"]["sources"]] == ["ops.py"]
        assert str(tmp_path) not in str(found)

    def test_edited_after_they_were_imported_are_neither_the_old_nor_the_new_one(self, tmp_path: Path) -> None:
        path, text = tmp_path / "ops.py", MODULES["custom_op"]

        def edit() -> tuple[str, str]:
            imported(path, HEAD + text)
            before = key(calling_op())
            path.write_text(HEAD + text.replace("2.0", "3.0"))
            return before, key(calling_op())

        old, between = in_child(edit)
        assert len({old, between, key_of(document_with(path, text.replace("2.0", "3.0")))}) == 3

    def test_of_torch_are_not_looked_at(self) -> None:
        assert factors(scaled())["custom_ops"] == {}
        piece = Piece()
        x = piece.x()
        ops = (torch.ops.aten.mul.Tensor, torch.ops.aten.add, torch.ops.prims.sin.default)
        for op in ops[:2]:
            x = piece.call(op, x, x)
        assert factors(piece.task(piece.call(ops[2], x)))["custom_ops"] == {}

    def test_of_torch_with_a_lowering_of_the_user_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def task() -> Task:
            piece = Piece()
            x = piece.x()
            return piece.task(piece.call(torch.ops.aten.mul.Tensor, x, x))

        one = key(task())
        monkeypatch.setitem(torch._inductor.lowering.lowerings, torch.ops.aten.mul.Tensor, lambda x, y: x)
        assert key(task()) != one
        assert list(factors(task())["custom_ops"]) == ["aten::mul.Tensor"]

    def test_inside_of_higher_order_ones_are_found(self, tmp_path: Path) -> None:
        def found() -> list[str]:
            imported(tmp_path / "ops.py", HEAD + MODULES["custom_op"].replace("args=()", 'args=("x",)'))
            piece = Piece()
            x = piece.x()
            functionalized = torch.ops.higher_order.auto_functionalized
            node = piece.graph.call_function(functionalized, (torch.ops.keyed.op.default,), {"x": x})
            node.meta["example_value"] = (x.meta["example_value"], x.meta["example_value"])
            return list(factors(piece.task(node))["custom_ops"])

        assert in_child(found) == ["keyed::op"]

    @pytest.mark.parametrize("kind", ["library", "composite", "custom_op"])
    def test_without_a_source_file_have_no_key(self, kind: str) -> None:
        def refusal() -> str:
            sys.modules["keyed_typed_in"] = ModuleType("keyed_typed_in")  # torch looks for types in it
            exec(compile(HEAD + MODULES[kind], "<stdin>", "exec"), vars(sys.modules["keyed_typed_in"]))
            with pytest.raises(UncacheableError) as refused:
                key(calling_op())
            return str(refused.value)

        assert in_child(refusal) == "operator keyed::op: its source '<stdin>' cannot be had"


PASSES = {
    "function": "FACTOR = 2\ndef made(graph):\n    return FACTOR\n",
    "class": "class Made:\n    factor = 2\n    def __call__(self, graph):\n        return self.factor\nmade = Made()\n",
    "partial": "import functools\ndef run(graph, by):\n    return 2\nmade = functools.partial(run, by=1)\n",
    "method": "class Made:\n    def run(self, graph):\n        return 2\nmade = Made().run\n",
    "closure": "def make(factor):\n    return lambda graph: factor\nmade = make(2)\n",
    "wrapped": "import functools\n@functools.lru_cache\ndef made(graph):\n    return 2\n",
}


class TestPasses:
    @pytest.mark.parametrize("kind", PASSES)
    def test_without_a_uuid_key_by_their_source(self, tmp_path: Path, kind: str) -> None:
        def key_with(text: str, folder: str = "one") -> str:
            made = imported(tmp_path / folder / "passes.py", text).made
            return key(scaled(), post_grad_passes=(made,))

        text = PASSES[kind]
        one = key_with(text)
        assert (key_with(text), key_with(text, "two")) == (one, one)
        assert key_with(text.replace("2", "3")) != one
        assert key_with(text) == one

    def test_without_a_uuid_key_by_their_state(self, tmp_path: Path) -> None:
        made = imported(tmp_path / "passes.py", PASSES["class"]).made
        keys: list[str] = []
        for factor in (2, 3, 2):
            made.own = factor
            keys.append(key(scaled(), post_grad_passes=(made,)))
        assert keys[0] == keys[2] != keys[1]
        made.own = iter(())
        with pytest.raises(UncacheableError, match="own"):
            key(scaled(), post_grad_passes=(made,))


TRITON = """
import triton
import triton.language as tl

@triton.jit
def inner(x):
    return x * 2.0

@triton.jit
def kernel(x, n: tl.constexpr):
    tl.store(x, inner(tl.load(x)))
"""


class TestTritonKernels:
    def task(self, kernel: Any, constants: dict[str, Any]) -> Task:
        piece = Piece()
        x = piece.x()
        numbers = {
            "kernel_idx": kernel_side_table.add_kernel(kernel),
            "constant_args_idx": kernel_side_table.add_constant_args(constants),
            "grid": [(1, 1, 1)],
            "tma_descriptor_metadata": {},
            "kwargs": {"x": x},
        }
        piece.graph.call_function(triton_kernel_wrapper_mutation, (), numbers)
        return piece.task(x)

    def test_key_by_all_that_they_call_and_their_constants(self, tmp_path: Path) -> None:
        pytest.importorskip("triton")

        def key_with(text: str, number: int = 1, others: int = 0) -> str:
            kernel_side_table.reset_table()
            made = imported(tmp_path / "kernels.py", text)
            for _ in range(others):  # what is met before moves the numbers in the table
                self.task(made.inner, {})
            return key(self.task(made.kernel, {"n": number}))

        one = key_with(TRITON)
        assert key_with(TRITON) == key_with(TRITON, others=1) == one
        assert key_with(TRITON.replace("2.0", "3.0")) != one
        assert key_with(TRITON, 2) != one

    def test_that_are_not_what_triton_makes_have_no_key(self) -> None:
        kernel_side_table.reset_table()
        with pytest.raises(UncacheableError, match="Triton"):
            key(self.task(scaled, {}))
