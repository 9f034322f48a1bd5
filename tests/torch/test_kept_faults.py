"""Kept recordings that somebody has forged, and faults in what reads and writes them."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kept_tools import another_cache, double, kept_files, served, start
from recordings import Recorded, check, check_announced

from cutaway.record.kept import file
from cutaway.record.kept.file import Kept


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of Inductor's, for what a test compiles."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


class TestForged:
    """A kept recording that somebody has made, digests and all: it is refused, or it writes a dump that is whole."""

    @pytest.fixture(scope="class")
    @staticmethod
    def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Kept]]:
        """The cache's file, and what it holds."""
        path = tmp_path_factory.mktemp("forged")
        with another_cache(path / "cache", "forged"):
            start(path / "cold", double)
            (kept,) = kept_files(path / "cache")
            found = file.read(kept)
            assert found is not None
            yield kept, found

    def warm(self, path: Path, made: tuple[Path, Kept], rows: list[dict[str, Any]]) -> Recorded:
        place, kept = made
        file.write(place, Kept(kept.head, rows, kept.texts))
        with another_cache(place.parents[1], "forged"):
            return start(path, double)

    def test_as_it_is(self, tmp_path: Path, made: tuple[Path, Kept]) -> None:
        assert self.warm(tmp_path / "dump", made, made[1].rows).of("snapshot", stage="post_grad")

    @pytest.mark.parametrize(
        ("event", "change"),
        [
            ("code", {"file": "../../../escaped.py"}),
            ("code", {"file": "/tmp/escaped.py"}),
            ("code", {"file": ".hidden"}),
            ("code", {"file": 3}),
            ("code", {"files": {"code": "../../manifest.jsonl"}}),
            ("snapshot", {"facts.graph": "../../escaped"}),
            ("snapshot", {"facts.layers": 3}),
            ("snapshot", {"files": {}}),
            ("snapshot", {"titled": None}),
            ("snapshot", {"facts.stage": None}),
            ("snapshot", {"facts.phase": ["forward"]}),
            ("snapshot", {"leaf": None}),
            ("pass", {"scope": [3]}),
            ("pass", {"event": "error"}),
            ("pass", {"facts": []}),
        ],
        ids=str,
    )
    def test_what_nobody_would_write(
        self, tmp_path: Path, made: tuple[Path, Kept], event: str, change: dict[str, Any]
    ) -> None:
        rows = copy.deepcopy(made[1].rows)
        row = next(row for row in rows if row["event"] == event)
        for name, value in change.items():
            owner = row["facts"] if name.startswith("facts.") else row
            owner[name.removeprefix("facts.")] = value
        before = sorted(path for path in tmp_path.parent.rglob("*") if path.is_file())
        warm = self.warm(tmp_path / "dump", made, rows)
        assert len(served(warm, "refused")) == 1
        assert warm.of("error") == []
        check(tmp_path / "dump")
        after = sorted(path for path in tmp_path.parent.rglob("*") if path.is_file())
        assert [path for path in after if tmp_path / "dump" not in path.parents] == before

    @pytest.mark.parametrize("name", ["../../../escaped", "..", "", "a/b", "x" * 300, "nodes"])
    @pytest.mark.parametrize("where", ["leaf", "scope"])
    def test_names_that_lead_elsewhere(self, tmp_path: Path, made: tuple[Path, Kept], where: str, name: str) -> None:
        rows = copy.deepcopy(made[1].rows)
        for row in rows:
            row[where] = name if where == "leaf" else [name]
        warm = self.warm(tmp_path / "dump", made, rows)
        assert warm.of("snapshot", cached=True) or (name == "" and len(served(warm, "refused")) == 1)
        assert warm.of("error") == []
        check(tmp_path / "dump")
        outside = [path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "dump" not in path.parents]
        assert outside == []


class TestNeverEndsACompile:
    """A fault anywhere in it: the program goes on, and the dump says what it lacks."""

    @pytest.mark.parametrize(
        "name",
        [
            "hooks.artifacts.read_artifact", "hooks.artifacts.note_missing", "hooks.artifacts.in_inductors_cache",
            "kept.read_back.Replay", "kept.read_back.check", "kept.file.read", "kept.replay.op_counts",
            "kept.read_back.rows_of_artifact",
        ],
    )  # fmt: skip
    def test_on_a_warm_start(self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        start(tmp_path / "cold", double)
        if name == "hooks.artifacts.note_missing":
            shutil.rmtree(cache / "cutaway")
        self.fail(monkeypatch, name)
        with pytest.warns(RuntimeWarning, match="cutaway: recording failed in .*injected"):
            warm = start(tmp_path / "warm", double)
        assert warm.of("error")
        assert warm.of("end", compilation="doubled")
        check_announced(tmp_path / "warm")

    @pytest.mark.parametrize(
        "name",
        ["hooks.artifacts.keep_artifact", "kept.keep.artifact_rows", "kept.file.write", "kept.collect.graph_before"],
    )
    def test_on_a_cold_start(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.fail(monkeypatch, name)
        with pytest.warns(RuntimeWarning, match="cutaway: recording failed in .*injected"):
            cold = start(tmp_path / "cold", double)
        assert cold.of("error")
        assert cold.of("code", kind="output_code")
        check(tmp_path / "cold")

    def fail(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        def injected(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("injected")

        monkeypatch.setattr(f"cutaway.record.{name}", injected)
