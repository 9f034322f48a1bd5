"""`cutaway find`: what it prints, how it exits, and what it makes of bad input."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump, manifest
from syrupy.assertion import SnapshotAssertion

from cutaway.cli.find import find
from cutaway.dump.query import FIELDS


def test_help(cutaway: Any, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("find", "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


def test_the_help_names_every_field() -> None:
    assert {name for name in FIELDS if name.isalpha() and name != "word"} <= set(
        re.findall(r"\b(\w+):", inspect.getdoc(find) or "")
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("op:rms_norm",),
        ("op:*norm*", "compilation:backbone"),
        ("pass:*Lowering*", "-op:placeholder"),
        ("op:fused_norm", "--all"),
        ("name:*.mlp.*", "--stage", "captured"),
        ("layer:layers.1–3", "dtype:f32", "--stage", "post_grad"),
        ("-dtype:f32", "stage:captured", "compilation:*.2"),
    ],
    ids=" ".join,
)
def test_what_is_found(cutaway: Any, dump: str, arguments: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    ran = cutaway("find", dump, *arguments)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == snapshot


@pytest.mark.parametrize("query", ["op:rms_nrom", "pass:noop*", "op:mm layer:norm", "op:mm -dtype:f32"])
def test_nothing_is_found(cutaway: Any, dump: str, query: str, snapshot: SnapshotAssertion) -> None:
    ran = cutaway("find", dump, query)
    assert (ran.code, ran.err) == (1, "")
    assert ran.out == snapshot


def test_json(cutaway: Any, dump: str) -> None:
    folded = json.loads(cutaway("find", dump, "op:fused_norm", "--json").out)
    (form,) = folded["forms"]
    assert (form["where"], form["lacking"], form["count"]) == ("layers.1–3", ["layers.0"], 3)
    assert (folded["nodes"], folded["found"]) == (12, [])
    every = json.loads(cutaway("find", dump, "op:fused_norm", "--all", "--json").out)
    assert (len(every["found"]), every["forms"]) == (12, [])
    assert {each["compiled_with"] for each in every["found"]} == {None, "piece_02"}
    nothing = json.loads(cutaway("find", dump, "pass:noop*", "--json").out)
    assert nothing["misses"] == [{"term": "pass:noop*", "nodes": 0, "near": [], "idle": ["NoOpEliminationPass"]}]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("oop:mm", "Did you mean op:mm"),
        ("op:", "says nothing to look for"),
        ("shape:[s72", "a bracket is left open"),
        ("--stgae", "neither an option nor a term"),
        ("", "the query is empty"),
    ],
)
def test_bad_use(cutaway: Any, dump: str, query: str, said: str) -> None:
    ran = cutaway("find", dump, query)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1


class TestBadInput:
    def test_a_graph_that_is_missing(self, cutaway: Any, dump: str, process: Path) -> None:
        lost = next(each for each in manifest(process) if each.get("selector") == "backbone/captured")
        (process / "nodes" / f"{lost['graph']}.json").unlink()
        ran = cutaway("find", dump, "op:*norm*", "compilation:backbone")
        assert ran.code == 2
        assert "layers.1–3: Qwen3DecoderLayer" in ran.out
        assert "backbone/captured was not searched" in ran.err

    @pytest.mark.parametrize("content", [b"", b"{}", b"{", b"\xff\xfe", b'{"schema": 99, "nodes": []}', b"[" * 9999])
    def test_a_graph_that_is_something_else(self, cutaway: Any, dump: str, process: Path, content: bytes) -> None:
        for path in (process / "nodes").iterdir():
            path.write_bytes(content)
        ran = cutaway("find", dump, "op:mm")
        assert ran.code == 2
        assert "was not searched" in ran.err
        assert "Traceback" not in ran.err

    def test_a_truncated_manifest(self, cutaway: Any, dump: str, process: Path) -> None:
        path = process / "manifest.jsonl"
        path.write_bytes(path.read_bytes()[:-40])
        assert cutaway("find", dump, "op:mm").code == 0
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[:4], lines[4][:-20] + "\n", *lines[5:]]))
        ran = cutaway("find", dump, "op:mm")
        assert ran.code == 2
        assert "manifest.jsonl is broken in line 5" in ran.err

    def test_a_newer_dump(self, cutaway: Any, dump: str, process: Path) -> None:
        path = process / "manifest.jsonl"
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
        ran = cutaway("find", dump, "op:mm")
        assert ran.code == 2
        assert "made by a newer Cutaway" in ran.err

    def test_what_is_no_dump(self, cutaway: Any, tmp_path: Path) -> None:
        ran = cutaway("find", str(tmp_path), "op:mm")
        assert ran.code == 2
        assert "is not a dump" in ran.err

    def test_graphs_of_another_dump(self, cutaway: Any, dump: str, process: Path, tmp_path: Path) -> None:
        """A foreign node table under a snapshot's name: it is read, and nothing breaks."""
        make_dump(tmp_path / "other", layers=9)
        foreign = [path.read_bytes() for path in sorted((tmp_path / "other").glob("*/*/nodes/*"))]
        for path, content in zip(sorted((process / "nodes").iterdir()), foreign, strict=False):
            path.write_bytes(content)
        for query in ("op:mm", "pass:*", "kernel:*", "layer:layers.1"):
            assert cutaway("find", dump, query).code in (0, 1, 2)
