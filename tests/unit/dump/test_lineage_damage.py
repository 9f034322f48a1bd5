"""Whatever a dump is made of, lineage raises nothing but a CutawayError, and takes no unbounded time."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_maker import make_lineage_dump

from cutaway.cli import main
from cutaway.dump import load
from cutaway.dump.lineage import lineage, node_at
from cutaway.errors import CutawayError, DumpError

QUESTIONS = ("tiny.py:8", "layers.*", "cpp_fused_neg_0", "name:norm", "piece_02/range_8_8/post_grad:div_norm")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**19)
    | st.floats()
    | st.sampled_from(["", "piece", "after_split", "post_grad", "backbone/captured", "1_16", "../x", "mm", "x\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["node", "from", "repr"]), inner),
    max_leaves=4,
)


@pytest.fixture(name="process", scope="module")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "process"
    make_lineage_dump(folder)
    return folder


def ask_everything(process: Path) -> None:
    with suppress(CutawayError):
        dump = load(process)
        for question in QUESTIONS:
            with suppress(CutawayError):
                found = lineage(dump, question)
                assert (found.sources, found.layers, found.captured, found.steps, found.kernels) is not None
        with suppress(CutawayError):
            node_at(dump, QUESTIONS[-1])
    for question in QUESTIONS[:3]:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            assert main(["lineage", str(process), question, "--all"]) in (0, 2)
            assert main(["lineage", str(process), question, "--json"]) in (0, 2)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


@given(st.data())
@settings(max_examples=60)
def test_a_value_of_the_manifest_is_something_else(process: Path, data: st.DataObject) -> None:
    path = process / "manifest.jsonl"
    before = path.read_bytes()
    events = [json.loads(line) for line in before.decode().splitlines()]
    holder, key = data.draw(st.sampled_from(list(places(events))))
    holder[key] = data.draw(JSON)
    try:
        path.write_text("".join(json.dumps(event) + "\n" for event in events))
        ask_everything(process)
    finally:
        path.write_bytes(before)


@given(st.data())
@settings(max_examples=60)
def test_a_value_of_a_node_table_is_something_else(process: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted((process / "nodes").iterdir())))
    before = path.read_bytes()
    table = json.loads(before)
    holder, key = data.draw(st.sampled_from(list(places(table))))
    holder[key] = data.draw(JSON)
    try:
        path.write_text(json.dumps(table))
        ask_everything(process)
    finally:
        path.write_bytes(before)


@given(st.data())
@settings(max_examples=40)
def test_a_few_bytes_of_a_file_are_others(process: Path, data: st.DataObject) -> None:
    files = sorted(path for path in process.rglob("*") if path.suffix in (".jsonl", ".json", ".py"))
    path = data.draw(st.sampled_from(files))
    before = path.read_bytes()
    at, content = data.draw(st.integers(0, max(len(before) - 1, 0))), data.draw(st.binary(max_size=3))
    try:
        path.write_bytes(before[:at] + content + before[at + len(content) :])
        ask_everything(process)
    finally:
        path.write_bytes(before)


def test_events_in_another_order(process: Path, tmp_path: Path) -> None:
    """A snapshot that comes before what it stems from has no past; nothing runs in circles."""
    lines = (process / "manifest.jsonl").read_text().splitlines()
    folder = tmp_path / "p"
    make_lineage_dump(folder)
    (folder / "manifest.jsonl").write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    ask_everything(folder)


def test_what_is_no_node_table(process: Path, tmp_path: Path) -> None:
    """It is said to be none, rather than to have no such node."""
    broken = tmp_path / "broken"
    shutil.copytree(process, broken)
    for table in broken.glob("nodes/*.json"):
        table.write_text('{"x": 1}')
    with pytest.raises(DumpError, match="is no node table"):
        lineage(load(broken), "name:norm")
