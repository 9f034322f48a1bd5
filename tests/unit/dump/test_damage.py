"""Whatever bytes a dump is made of, reading it raises nothing but a CutawayError."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_process
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.cli import main
from cutaway.dump import load
from cutaway.dump.verify import verify
from cutaway.errors import CutawayError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats()
    | st.sampled_from(["", "node", "s72", "x\0", "../x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["node", "tuple", "slice"]), inner),
    max_leaves=4,
)


@pytest.fixture(name="process", scope="module")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damage") / "process"
    make_process(folder, layers=2)
    return folder


def read_everything(process: Path) -> None:
    """Everything that a reader does with a dump."""
    with suppress(CutawayError):
        verify(process)
    with suppress(CutawayError):
        dump = load(process)
        for snapshot in dump.snapshots.values():
            with suppress(CutawayError):
                _ = snapshot.raw, snapshot.layers_text, snapshot.nodes
            with suppress(CutawayError):
                snapshot.render_layers(fold=True)
                dump.code_of(snapshot)
        for code in dump.codes.values():
            with suppress(CutawayError):
                _ = code.text
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        assert main(["ls", str(process)]) in (0, 2)
        assert main(["ls", str(process), "--all"]) in (0, 2)
        assert main(["ls", str(process), "--json"]) in (0, 2)
        assert main(["show", str(process), "backbone/captured", "--nodes"]) in (0, 2)


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_a_value_of_the_manifest_is_something_else(process: Path, data: st.DataObject) -> None:
    path = process / "manifest.jsonl"
    damage(path, data, [json.loads(line) for line in path.read_text().splitlines()])


@given(st.data())
@settings(deadline=None, max_examples=25)
def test_a_value_of_a_node_table_is_something_else(process: Path, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted((process / "nodes").iterdir())))
    damage(path, data, json.loads(path.read_text()))


@given(st.integers(0, 10_000), st.binary(max_size=3))
@settings(deadline=None, max_examples=25)
def test_a_few_bytes_of_the_manifest_are_others(process: Path, at: int, content: bytes) -> None:
    path = process / "manifest.jsonl"
    before = path.read_bytes()
    try:
        path.write_bytes(before[:at] + content + before[at + len(content) :])
        read_everything(process)
    finally:
        path.write_bytes(before)


def damage(path: Path, data: st.DataObject, value: Any) -> None:
    """Replace one value, anywhere in a file, by another; read; put it back."""
    before = path.read_bytes()
    holder, key = data.draw(st.sampled_from(list(places(value))))
    holder[key] = data.draw(JSON)
    lines = value if path.suffix == ".jsonl" else [value]
    try:
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        read_everything(process=path.parent if path.suffix == ".jsonl" else path.parent.parent)
    finally:
        path.write_bytes(before)


def places(value: Any) -> Any:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


def test_the_manifests_of_two_processes_in_one(process: Path, tmp_path: Path) -> None:
    """What came first is read; what was put behind it is left out, and that is said."""
    mixed = tmp_path / "mixed"
    shutil.copytree(process, mixed)
    whole = load(process)
    text = (process / "manifest.jsonl").read_text()
    (mixed / "manifest.jsonl").write_text(text + text)
    found = load(mixed)
    line = len(text.splitlines()) + 1
    assert f"from line {line} on manifest.jsonl is another process's: that part is left out" in found.notes
    assert list(found.snapshots) == list(whole.snapshots)
    assert [len(each.steps) for each in found] == [len(each.steps) for each in whole]
    (report,) = verify(mixed)
    assert any(f"manifest.jsonl:{line}" in finding.where for finding in report.findings)
