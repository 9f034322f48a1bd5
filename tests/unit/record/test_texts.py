"""What files say of themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.record import texts
from cutaway.record.compilation import Compilation
from cutaway.record.layers.words import blocks

FACTS: dict[str, Any] = {
    "selector": "backbone/piece_02/range_1_8/post_grad", "stage": "post_grad", "pass": "FusionPass",
    "piece": "piece_02", "range": "1_8", "phase": "inference", "layers": ["layers.0", "layers.0.mlp"],
    "donated_inputs": [1, 3],
    "providers": {"rms_norm": "native", "rms_norm_1": "native"}, "graph": "ab" * 16, "nodes": 12,
    "ops_delta": {"mm": 2, "add": -1},
}  # fmt: skip


def test_a_header_says_where_in_the_compile() -> None:
    compilation = Compilation("backbone", "Model.forward", "/app/model.py", 7, "Model")
    compilation.equal_pieces["piece_02"] = ["piece_04", "piece_06"]
    table = {"nodes": [{"name": "rms_norm", "target": "ir.rms_norm"}, {"name": "rms_norm_1", "target": "ir.rms_norm"}]}
    lines = texts.header(compilation, FACTS, table)
    assert lines[0] == "backbone/piece_02/range_1_8/post_grad — after post-grad passes"
    rows = {line.partition(":")[0]: line.partition(":")[2].strip() for line in lines[3:]}
    assert rows == {
        "model": "Model",
        "function": "Model.forward (/app/model.py:7)",
        "pass": "FusionPass",
        "piece": "piece_02; the same graph: piece_04, piece_06",
        "range": "sizes 1 to 8",
        "phase": "inference",
        "layers": "layers.0",
        "donated inputs": "1, 3",
        "providers": "rms_norm: native ×2",
        "graph": f"{'ab' * 16} (12 nodes)",
        "change": "mm +2, add −1",
    }


@pytest.mark.parametrize(("file", "sign"), [("90.output_code.py", "# "), ("90.kernels/k.cpp", "// "), ("k.txt", "# ")])
def test_code_says_whose_it_is_in_comments_of_its_language(file: str, sign: str) -> None:
    facts = {**FACTS, "kind": "kernel", "kernels": {"k": ["mul", "add"]}, "cached": True}
    found = texts.code_header(Compilation("backbone"), facts, file)
    lines = found.splitlines()
    assert all(line.startswith(sign) for line in lines[:-1])
    assert lines[-1] == ""
    assert "made of:        add, mul" in found
    assert "from a cache:   yes" in found


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        (["layers.0", "layers.0.mlp", "layers.1.attn", "norm"], ["layers.0", "layers.1", "norm"]),
        (["model", "model.layers.3.mlp"], ["model.layers.3"]),
        ([], []),
    ],
)
def test_layers_in_a_few_words(layers: list[str], found: list[str]) -> None:
    assert blocks(layers) == found


def test_a_long_list_is_cut_and_counted() -> None:
    assert texts.some(["a", "b"]) == "a, b"
    assert texts.some([str(n) for n in range(20)]) == "0, 1, 2, … 17, 18, 19 (20)"


@pytest.mark.parametrize(("name", "words"), [("1_4096", "sizes 1 to 4096"), ("8_8", "the single size 8"), (None, None)])
def test_a_range_in_words(name: str | None, words: str | None) -> None:
    assert texts.range_text(name) == words


def test_many_changes_are_counted() -> None:
    assert texts.delta_text({}) == ""
    assert texts.delta_text({f"op{n}": n + 1 for n in range(10)}).endswith("and 2 more")


@given(st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text()), max_size=5))
def test_a_table_is_json_with_a_node_a_line(nodes: list[dict[str, Any]]) -> None:
    table = {"symbols": {"s0": {"min": 2}}, "layers": [["Net"]], "nodes": nodes}
    text = texts.node_table("f" * 32, table, 1)
    assert json.loads(text) == {"schema": 1, "fingerprint": "f" * 32, **table}
    assert len(text.split("\n")) == max(len(nodes), 1) + 3
