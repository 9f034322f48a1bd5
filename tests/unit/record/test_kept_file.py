"""The file that a recording is kept in: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.record.kept import file
from cutaway.record.kept.file import Kept, RefusedError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(TEXT, JSON, max_size=3), max_size=4)
TEXTS = st.lists(TEXT.map(str.encode), max_size=4)


def kept(rows: list[dict[str, Any]], contents: list[bytes]) -> Kept:
    return Kept({"of": "artifact", "run": "run_001/rank_0_dp_0"}, rows, {file.digest(part): part for part in contents})


SOME = kept([{"event": "pass", "scope": ["piece_00"]}, {"event": "code"}], [b"one", b"two" * 100])


@given(ROWS, TEXTS)
def test_what_is_written_is_read(rows: list[dict[str, Any]], contents: list[bytes]) -> None:
    written = kept(rows, contents)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "below", "it.recorded.zip")
        file.write(path, written)
        found = file.read(path)
        assert [name.name for name in path.parent.iterdir()] == [path.name]
    assert found is not None
    assert (found.rows, found.texts) == (written.rows, written.texts)
    assert found.head.items() >= written.head.items()


def test_the_same_is_the_same_file(tmp_path: Path) -> None:
    for name in ("one", "two"):
        file.write(tmp_path / name, SOME)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_older_one_is_replaced(tmp_path: Path) -> None:
    file.write(tmp_path / "it", SOME)
    file.write(tmp_path / "it", kept([], []))
    found = file.read(tmp_path / "it")
    assert found is not None
    assert (found.rows, found.texts) == ([], {})


def test_none(tmp_path: Path) -> None:
    assert file.read(tmp_path / "it") is None
    assert file.read(tmp_path / "no" / "it") is None


@given(st.data())
def test_bytes_that_were_changed_are_refused_or_do_not_matter(data: st.DataObject) -> None:
    """Not every byte of a zip says something; one that does cannot be changed unseen."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "it")
        file.write(path, SOME)
        content = bytearray(path.read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            content[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        try:
            found = file.read(path)
        except RefusedError:
            return
    assert found is not None
    assert (found.rows, {**SOME.texts, **found.texts}) == (SOME.rows, SOME.texts)


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "it")
        path.write_bytes(content)
        with pytest.raises(RefusedError):
            file.read(path)


@pytest.mark.parametrize("head", [{}, [], 3, {"kept": 0}, {"kept": file.VERSION, "events": 3}], ids=str)
def test_a_head_that_is_none(tmp_path: Path, head: object) -> None:
    with zipfile.ZipFile(tmp_path / "it", "w") as archive:
        archive.writestr("kept.json", json.dumps(head))
        archive.writestr("events.jsonl", "{}\n")
    with pytest.raises(RefusedError):
        file.read(tmp_path / "it")


class TestSize:
    def test_what_is_too_large_is_not_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(file, "LONGEST", 100)
        with pytest.raises(RefusedError, match="no more than 0 MB are kept"):
            file.write(tmp_path / "it", SOME)
        assert list(tmp_path.iterdir()) == []

    def test_nor_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A small zip may unpack to anything."""
        file.write(tmp_path / "it", kept([], [bytes(1 << 20)]))
        assert (tmp_path / "it").stat().st_size < 10_000
        monkeypatch.setattr(file, "LONGEST", 1 << 19)
        with pytest.raises(RefusedError, match="more than is ever written"):
            file.read(tmp_path / "it")
