"""`cutaway cache` on a store of ours: what is there, what is damaged, what goes."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cutaway.cli import main
from cutaway.compiler.cache.factors import key_of
from cutaway.compiler.cache.store import Store
from cutaway.compiler.cache.sweep import GRACE, Wish, check, stored, sweep
from cutaway.explain.cache import explain_cache

SHARED = b"the same in two entries" * 100


def factors(name: str, **more: Any) -> dict[str, Any]:
    return {"graph": {"fingerprint": name, "ops": {"mul": 1}}, "torch": {"version": "2.13.0"}, **more}


def put(root: Path, name: str, age: float = 0.0, form: str = "binary", own: bytes | None = None, **more: Any) -> str:
    """A piece, made so many seconds ago."""
    document = factors(name, **more)
    key = key_of(document)
    facts = {"compiler": "source", "piece": name, "range": "1_16", "seconds": 1.0}
    content = {"code.py": own or name.encode(), "weights.bin": SHARED}
    assert Store(root).put(key, content, document, facts, form)
    grow_old(root, key, age)
    return key


def put_model(root: Path, needs: list[str], age: float = 0.0) -> str:
    document = {"kind": "model", "model": {"forward": str(needs)}}
    key = key_of(document)
    facts = {"tag": "backbone", "class": "Decoder", "identities": dict.fromkeys(needs, "x")}
    assert Store(root).put(key, {"model.bin": b"plan" + key.encode()}, document, facts)
    grow_old(root, key, age)
    return key


def grow_old(root: Path, key: str, age: float) -> None:
    at = time.time() - age
    for path in (root / "v1").rglob("*"):
        if path.is_file() and (key in path.parts or (age > GRACE and "objects" in path.parts)):
            os.utime(path, (at, at))


def objects(root: Path) -> int:
    return sum(path.is_file() for path in (root / "v1" / "objects").rglob("*"))


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code = main(["cache", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


class TestLs:
    def test_says_of_which_model_and_piece_how_old_and_how_large(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        piece = put(tmp_path, "piece_00", age=7200.0)
        model = put_model(tmp_path, [piece])
        code, found = said(capsys, "ls", str(tmp_path))
        assert code == 0
        assert [(one["key"], one["kind"], one["of"]) for one in found["entries"]] == [
            (model, "model", "Decoder backbone"),
            (piece, "piece", "piece_00 for 1_16"),
        ]
        assert found["entries"][1]["bytes"] > len(SHARED)
        assert main(["cache", "ls", str(tmp_path)]) == 0
        assert "piece_00 for 1_16" in capsys.readouterr().out

    def test_of_no_cache_is_bad_use(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["cache", "ls", str(tmp_path / "nothing")]) == 2
        assert "there is no cache" in capsys.readouterr().err


class TestVerify:
    def test_finds_a_file_that_has_changed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        key = put(tmp_path, "piece_00")
        put(tmp_path, "piece_02", own=b"whole")
        assert said(capsys, "verify", str(tmp_path)) == (
            0,
            {"cache": "cutaway", "folder": str(tmp_path), "ok": True, "problems": []},
        )
        next(
            path
            for path in (tmp_path / "v1" / "objects").rglob("*")
            if path.is_file() and path.read_bytes() == b"piece_00"
        ).write_bytes(b"other")
        code, found = said(capsys, "verify", str(tmp_path))
        assert code == 1
        assert [problem["key"] for problem in found["problems"]] == [key]

    def test_finds_factors_of_another_key(self, tmp_path: Path) -> None:
        one, other = put(tmp_path, "piece_00"), put(tmp_path, "piece_02")
        entries = tmp_path / "v1" / "entries"
        right, wrong = (entries / key[:2] / key / "cache_key_factors.json" for key in (one, other))
        right.write_bytes(wrong.read_bytes())
        assert any("of another key" in why for key, why in check(Store(tmp_path, read_only=True)) if key == one)

    def test_tells_what_was_edited(self, tmp_path: Path) -> None:
        key = put(tmp_path, "piece_00", form="unpacked")
        (tmp_path / "v1" / "unpacked" / key / "code.py").write_text("edited = True\n")
        assert list(check(Store(tmp_path, read_only=True))) == [
            (key, "code.py was edited by hand since it was generated")
        ]


class TestPrune:
    def test_by_age_leaves_what_others_share(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        old, young = put(tmp_path, "piece_00", age=3 * 86400.0), put(tmp_path, "piece_02")
        assert objects(tmp_path) == 3
        code, done = said(capsys, "prune", str(tmp_path), "--older-than", "2d")
        assert code == 0
        assert [one["key"] for one in done["removed"]] == [old]
        assert objects(tmp_path) == 2
        assert [one.key for one in stored(Store(tmp_path))] == [young]
        assert list(check(Store(tmp_path))) == []
        assert Store(tmp_path).get(young) is not None
        assert Store(tmp_path).get(old) is None

    def test_of_a_dry_run_removes_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        put(tmp_path, "piece_00", age=3 * 86400.0)
        before = sorted(path for path in tmp_path.rglob("*") if "locks" not in path.parts)
        _, done = said(capsys, "prune", str(tmp_path), "--older-than", "2d", "--dry-run")
        assert sorted(path for path in tmp_path.rglob("*") if "locks" not in path.parts) == before
        assert len(done["removed"]) == 1
        _, again = said(capsys, "prune", str(tmp_path), "--older-than", "2d")
        assert again["bytes"] == done["bytes"]
        assert not stored(Store(tmp_path))
        assert objects(tmp_path) == 0

    def test_by_size_takes_the_oldest(self, tmp_path: Path) -> None:
        keys = [put(tmp_path, f"piece_{number:02d}", age=1000.0 - 100 * number) for number in range(4)]
        every = stored(Store(tmp_path))
        done = sweep(Store(tmp_path), Wish(larger_than=sum(one.bytes for one in every[:2])))
        assert {one.key for one in done.removed} == set(keys[:2])

    def test_of_the_unreferenced_keeps_what_models_need(self, tmp_path: Path) -> None:
        needed, loose = put(tmp_path, "piece_00"), put(tmp_path, "piece_02")
        model = put_model(tmp_path, [needed])
        done = sweep(Store(tmp_path), Wish(unreferenced=True))
        assert [one.key for one in done.removed] == [loose]
        assert {one.key for one in stored(Store(tmp_path))} == {needed, model}

    def test_takes_a_model_whose_pieces_go(self, tmp_path: Path) -> None:
        piece = put(tmp_path, "piece_00", age=86400.0)
        put_model(tmp_path, [piece])
        sweep(Store(tmp_path), Wish(older_than=3600.0))
        assert not stored(Store(tmp_path))

    def test_takes_an_unpacked_entry_with_its_folder(self, tmp_path: Path) -> None:
        key = put(tmp_path, "piece_00", age=86400.0, form="unpacked")
        done = sweep(Store(tmp_path), Wish(older_than=3600.0))
        assert done.bytes > len(SHARED)
        assert not (tmp_path / "v1" / "unpacked" / key).exists()

    def test_leaves_alone_what_somebody_is_at(self, tmp_path: Path) -> None:
        key = put(tmp_path, "piece_00", age=86400.0)
        begun, over = threading.Event(), threading.Event()

        def hold() -> None:
            with Store(tmp_path).locked(key, wait=True):
                begun.set()
                over.wait(60)

        thread = threading.Thread(target=hold)
        thread.start()
        begun.wait(60)
        done = sweep(Store(tmp_path), Wish(older_than=3600.0))
        over.set()
        thread.join()
        assert [one.key for one in done.held] == [key]
        assert Store(tmp_path).get(key) is not None

    def test_leaves_content_that_is_being_written(self, tmp_path: Path) -> None:
        """A process writes content first, and what names it last."""
        put(tmp_path, "piece_00")
        place = tmp_path / "v1" / "objects" / "ab" / ("ab" * 32)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"to come")
        assert sweep(Store(tmp_path), Wish()).objects == 0
        os.utime(place, (1.0, 1.0))
        assert sweep(Store(tmp_path), Wish()).objects == 1
        assert not place.exists()

    @pytest.mark.parametrize("age", ["2 weeks", "d", "-3d", ""])
    def test_of_an_age_that_is_none_is_bad_use(
        self, age: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        put(tmp_path, "piece_00")
        assert main(["cache", "prune", str(tmp_path), f"--older-than={age}"]) == 2
        assert "30d" in capsys.readouterr().err

    def test_of_vllms_cache_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "torch_compile_cache").mkdir()
        assert main(["cache", "prune", str(tmp_path), "--older-than", "1d"]) == 2
        assert "only read here" in capsys.readouterr().err


@pytest.fixture(name="inductor")
def _inductor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Inductor's folder after torch has compiled a graph for real; Cutaway's holds one piece."""
    folder = tmp_path / "inductor"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder))
    monkeypatch.setenv("CUTAWAY_CACHE_ROOT", str(tmp_path / "cutaway"))
    put(tmp_path / "cutaway", "piece_00")
    x = torch.ones(4, 4)
    with torch.no_grad():
        assert torch.equal(torch.compile(lambda x: x @ x)(x), x @ x)
    return folder


class TestOfInductor:
    def test_what_torch_keeps_is_counted_beside_cutaways_own(
        self, inductor: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, found = said(capsys, "ls")
        assert (code, found["cache"], [one["of"] for one in found["entries"]]) == (0, "cutaway", ["piece_00 for 1_16"])
        assert found["inductor"]["folder"] == str(inductor)
        lots = {one["kind"]: one for one in found["inductor"]["entries"]}
        graphs = [one for name, one in lots.items() if name in ("fxgraph", "aotautograd")]
        assert graphs
        assert {one["count"] for one in graphs} == {1}
        assert lots["code"]["count"] >= 1
        files = [path for path in inductor.rglob("*") if path.is_file()]
        assert sum(one["bytes"] for one in lots.values()) == sum(path.stat().st_size for path in files)
        assert min(one["oldest"] for one in lots.values()) == min(path.stat().st_mtime for path in files)
        assert main(["cache", "ls"]) == 0
        assert f"{inductor}: torch's cache, " in capsys.readouterr().out
        assert said(capsys, "ls", str(inductor))[1]["cache"] == "inductor"

    def test_a_graph_that_is_not_what_torch_put_there_is_found(
        self, inductor: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert said(capsys, "verify", str(inductor)) == (
            0,
            {"cache": "inductor", "folder": str(inductor), "ok": True, "problems": []},
        )
        graph = next(path for path in (inductor / "aotautograd").rglob("*") if path.is_file())
        graph.write_bytes(graph.read_bytes()[:-1] + b"?")
        code, found = said(capsys, "verify", str(inductor))
        assert (code, [one["key"] for one in found["problems"]]) == (1, [graph.parent.name])
        graph.write_bytes(b"")
        (problem,) = said(capsys, "verify", str(inductor))[1]["problems"]
        assert problem["why"].endswith("is empty")

    def test_it_is_torchs_to_prune_and_no_key_in_it_says_what_it_is_made_of(
        self, inductor: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["cache", "prune", str(inductor), "--older-than", "1d"]) == 2
        assert "is torch's. It is only read here." in capsys.readouterr().err
        assert main(["why", "cache", str(inductor)]) == 2
        assert "record both starts" in capsys.readouterr().err.lower()


class TestWhyCacheOfAStore:
    def test_names_the_factor(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        put(tmp_path, "piece_00", age=100.0)
        other = {"environment": {"variables": {"TORCHINDUCTOR_MAX_AUTOTUNE": "1"}}}
        put(tmp_path, "piece_00", **other)
        put(tmp_path, "piece_02")
        (miss,) = explain_cache(tmp_path)
        assert miss.words == ("env TORCHINDUCTOR_MAX_AUTOTUNE: not set → '1'",)
        assert main(["why", "cache", str(tmp_path)]) == 1
        assert "env TORCHINDUCTOR_MAX_AUTOTUNE: not set → '1'" in capsys.readouterr().out
