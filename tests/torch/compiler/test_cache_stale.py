"""An artifact of another graph under the right key: a stale one, and one whose key lacks a factor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler.cache_tools import Piece, cached, run, scaled

from cutaway.compiler.build.interface import Task
from cutaway.compiler.cache import manager as manager_module
from cutaway.compiler.cache.entry import entry_text
from cutaway.compiler.cache.factors import key_of, piece_factors
from cutaway.compiler.cache.same_graph import identity_of
from cutaway.compiler.cache.store import Store

X = torch.arange(1.0, 25.0).reshape(3, 8)


def plant(root: Path, key: str, other: str) -> None:
    """Put the artifact of another key under this one, as somebody does who copies files about."""
    entries = root / "v1" / "entries"
    right, wrong = (entries / one[:2] / one / "binary.json" for one in (key, other))
    document = json.loads(wrong.read_text())
    del document["digest"]
    document |= {"key": key, "factors": json.loads(right.read_text())["factors"]}
    right.write_bytes(entry_text(document))


class TestAStaleArtifact:
    def test_under_a_right_key_is_refused_and_said(self, tmp_path: Path) -> None:
        """The files are whole and their digests right: only the graph tells."""
        first = cached(tmp_path)
        right, wrong = first.compile(scaled(2.0), scaled(3.0))
        plant(tmp_path, right.key, wrong.key)
        again = cached(tmp_path)
        with pytest.warns(RuntimeWarning, match="made of another graph"):
            (built,) = again.compile(scaled(2.0))
        assert torch.equal(run(built), X * 3)
        assert again.counters.artifacts_refused == 1

    def test_is_replaced(self, tmp_path: Path) -> None:
        first = cached(tmp_path)
        right, wrong = first.compile(scaled(2.0), scaled(3.0))
        plant(tmp_path, right.key, wrong.key)
        with pytest.warns(RuntimeWarning):
            cached(tmp_path).compile(scaled(2.0))
        again = cached(tmp_path)
        assert torch.equal(run(again.compile(scaled(2.0))[0]), X * 3)
        assert again.counters.artifacts_loaded == 1

    def test_is_refused_where_no_graph_is_at_hand_but_known_of(self, tmp_path: Path) -> None:
        """A whole model is loaded by keys alone; what its graphs are was kept with it."""
        first = cached(tmp_path)
        right, wrong = first.compile(scaled(2.0), scaled(3.0))
        plant(tmp_path, right.key, wrong.key)
        again = cached(tmp_path)
        again.manager.identities |= first.manager.identities
        with pytest.warns(RuntimeWarning, match="made of another graph"):
            assert again.manager.load(right.key) is None


class TestAKeyThatLacksAFactor:
    @pytest.fixture(autouse=True)
    def without_the_graph(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lacking(*args: Any) -> dict[str, Any]:
            return {name: part for name, part in piece_factors(*args).items() if name != "graph"}

        monkeypatch.setattr(manager_module, "piece_factors", lacking)

    def test_does_not_serve_what_another_process_made_of_another_graph(self, tmp_path: Path) -> None:
        (one,) = cached(tmp_path).compile(scaled(2.0))
        again = cached(tmp_path)
        with pytest.warns(RuntimeWarning, match="its key|the key lacks a factor"):
            (other,) = again.compile(scaled(3.0))
        assert one.key == other.key
        assert torch.equal(run(other), X * 4)

    def test_does_not_serve_one_graph_for_another_in_a_process(self, tmp_path: Path) -> None:
        again = cached(tmp_path)
        with pytest.warns(RuntimeWarning, match="must lack a factor"):
            one, other = again.compile(scaled(2.0), scaled(3.0))
        assert torch.equal(run(one), X * 3)
        assert torch.equal(run(other), X * 4)


class TestTheIdentity:
    def test_is_the_same_for_graphs_that_differ_in_names_and_the_size_they_were_captured_with(self) -> None:
        def task(**options: Any) -> Task:
            piece = Piece(**options)
            x = piece.x()
            return piece.task(piece.call(torch.mul, x, 2.0))

        assert identity_of(task().graph) == identity_of(task(batch=6, name="y").graph)

    @pytest.mark.parametrize("other", ["constant", "operator", "order", "width", "dtype"])
    def test_is_another_for_another(self, other: str) -> None:
        def task(is_other: str = "") -> Task:
            piece = Piece()
            x = piece.x(16 if is_other == "width" else 8, torch.float64 if is_other == "dtype" else torch.float32)
            y = piece.call(
                torch.div if is_other == "operator" else torch.sub, x, 3.0 if is_other == "constant" else 2.0
            )
            return piece.task(piece.call(torch.sub, *((y, x) if is_other == "order" else (x, y))))

        assert identity_of(task().graph) != identity_of(task(other).graph)

    def test_is_not_part_of_the_key(self, tmp_path: Path) -> None:
        again = cached(tmp_path)
        key = again.compile(scaled())[0].key
        assert key == key_of(Store(tmp_path).factors(key) or {})
