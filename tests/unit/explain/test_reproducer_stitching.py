"""The reproducer of wrong stitching: what of both sides is kept, in which names, and what it says."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from cutaway.errors import ReplayError
from cutaway.explain.reproducer.stitching import write_stitching

TENSOR = {"shape": [4, 4096], "dtype": "torch.float32"}


def node(name: str, op: str, *args: str, target: str = "", value: Any = TENSOR) -> dict[str, Any]:
    listed = [{"name": one} if one.isidentifier() else {"text": one} for one in args]
    return {"name": name, "op": op, "target": target, "args": listed, "value": value}


STEPS = [
    node("x", "placeholder"),
    node("size", "placeholder", value={"number": 4}),
    node("weight", "placeholder"),
    node("submod_0", "call_module", "x", "weight", target="piece_00", value={"items": [TENSOR, TENSOR]}),
    node("q", "item", "submod_0", "0"),
    node("k", "item", "submod_0", "1"),
    node("submod_1", "call_module", "q", "k", target="piece_01", value=None),
    node("submod_2", "call_module", "size", "q", "k", target="piece_02"),
]

OURS = """
def make(pieces, consts):
    piece_00, piece_02 = pieces

    def piece_01(q, k):
        other.op(q, k)

    def execution_fn(x, size, weight):
        # piece_00 · compiled
        q, k = piece_00(x, weight)
        del x, weight
        piece_01(q, k)
        (out,) = piece_02(size, {first}, {second})
        return (out,)

    return execution_fn
"""

VLLM = """
def __vllm_inlined_submods__1(q, k):
    other.op(q, k)

def execution_fn(x, size, weight, *, __vllm_submods__):
    submod_0 = __vllm_submods__[0](x, weight)
    q = submod_0[0]
    k = submod_0[1]
    submod_1 = __vllm_inlined_submods__1(q, k)
    submod_2 = __vllm_submods__[2](size, {first}, {second})
    return submod_2
"""

CALLED = {
    "__vllm_submods__[0]": "piece_00", "__vllm_inlined_submods__1": "piece_01", "__vllm_submods__[2]": "piece_02",
}  # fmt: skip


def written(path: Path, code: str, first: str, second: str, called: dict[str, str] | None = None) -> str:
    facts = {"code": code.format(first=first, second=second), "called": called or {}, "steps": STEPS}
    write_stitching(path, ["a fault"], facts)
    text = path.read_text()
    ast.parse(text)
    return text


@pytest.mark.parametrize(("code", "called"), [(OURS, None), (VLLM, CALLED)], ids=["ours", "vllm"])
def test_what_leads_to_the_call_is_kept_and_nothing_else(
    code: str, called: dict[str, str] | None, tmp_path: Path
) -> None:
    text = written(tmp_path / "r.py", code, "k", "q", called)
    assert "piece_02(size, k, q)" in text
    assert "piece('piece_02')(size, q, k)" in text
    assert "piece_01" not in text
    assert "other.op" not in text
    assert "FAULT = 'piece_02'" in text


def test_values_have_the_shapes_that_were_seen_and_large_ones_are_cut(tmp_path: Path) -> None:
    text = written(tmp_path / "r.py", OURS, "k", "q")
    assert "(4, 64), torch.float32" in text
    assert "1: 4,  # size" in text
    assert "2: None,  # weight" in text  # it goes to a stand-in, which does not look at it


def test_code_that_never_calls_the_piece_is_no_reproducer(tmp_path: Path) -> None:
    facts = {"code": "def execution_fn(x):\n    return (x,)\n", "called": {}, "steps": STEPS}
    with pytest.raises(ReplayError, match="does not call piece_02"):
        write_stitching(tmp_path / "r.py", [], facts)


def test_the_result_of_the_whole_may_be_at_fault(tmp_path: Path) -> None:
    steps = [*STEPS[:-1], node("output", "output", "q", "k")]
    code = "def execution_fn(x, size, weight):\n    q, k = piece_00(x, weight)\n    return (k, q)\n"
    write_stitching(tmp_path / "r.py", [], {"code": code, "called": {}, "steps": steps})
    text = (tmp_path / "r.py").read_text()
    assert "return (q, k,)" in text
    assert "return (k, q)" in text
