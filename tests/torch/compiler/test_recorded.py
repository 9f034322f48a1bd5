"""What a recording holds of a model that our compiler compiled, cold and warm."""

from __future__ import annotations

import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler import huggingface
from compiler.models import SPLITTING, decoder, same, tokens
from kept_tools import another_cache, said, tree
from recordings import Recorded, check, recorded

import cutaway
from cutaway.compiler.api import counters_of
from cutaway.compiler.counters import CompilationCounter

LAYERS = 4
DISTINCT = ("piece_00", "piece_02", "piece_08")  # the first, a middle one, the last; attentions are between them
RANGES = ("8_8", "1_32")


def record_decoder(path: Path, cache: Path) -> Recorded:
    """The first call of a decoder with a range and a single size, by Inductor."""
    model = decoder(layers=LAYERS, hidden=16)
    config = {"splitting_ops": SPLITTING, "compile_ranges": [(1, 32)], "compile_sizes": [8], "cache_dir": cache}
    with torch.compiler.config.patch(cache_key_tag="recorded"), cutaway.record(path):  # torch's own caches are cold
        same(model, cutaway.compile(model, config), 16)
    return recorded(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decoder")


@pytest.fixture(scope="module")
def cold(folder: Path) -> Recorded:
    return record_decoder(folder / "cold", folder / "cache")


@pytest.fixture(scope="module")
def warm(folder: Path, cold: Recorded) -> Recorded:
    return record_decoder(folder / "warm", folder / "cache")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The first call of one of Hugging Face's models, whose pieces run as captured."""
    path = tmp_path_factory.mktemp("llama")
    config = {"splitting_ops": huggingface.SPLITTING, "backend": "eager", "disable_cache": True}
    compiled = cutaway.compile(huggingface.llama(LAYERS), config, dynamic_arg_dims={"input_ids": 1})
    with cutaway.record(path):
        huggingface.logits(compiled, tokens(16))
    return recorded(path)


@pytest.fixture(params=["cold", "warm", "llama"])
def any_of_them(request: pytest.FixtureRequest) -> Recorded:
    return request.getfixturevalue(request.param)


def steps(recording: Recorded, **where: Any) -> list[str]:
    """Stages and kinds of code at one place, in order; kernels and what stands at torch's own stages left out."""
    found = [
        event["stage"] if event["event"] == "snapshot" else event["kind"]
        for event in recording.events
        if event["event"] in ("snapshot", "code") and all(event[key] == value for key, value in where.items())
    ]
    return [step for step in found if step not in ("kernel", "guards") and not step.endswith("_pass")]


def code(recording: Recorded, event: dict[str, Any]) -> list[str]:
    """The lines of a recorded piece of code that are no comments."""
    lines = recording.read(event["files"][0]["path"]).splitlines()
    return [line for line in lines if not line.lstrip().startswith("#")]


def test_the_dump_is_whole_and_nothing_went_wrong(any_of_them: Recorded) -> None:
    check(any_of_them.folder.parents[1])
    assert any_of_them.of("error") == []
    assert any_of_them.compilations == ["backbone"]


class TestACold:
    def test_how_long_each_distinct_piece_took(self, cold: Recorded) -> None:
        told = [each for each in cold.of("metric", kind="compile_time") if each["piece"] is not None]
        assert {(each["piece"], each["range"]) for each in told} == {(one, span) for one in DISTINCT for span in RANGES}
        assert all(each["values"]["seconds"] > 0 for each in told)

    def test_the_whole_graph_first_and_the_code_that_calls_the_pieces_last(self, cold: Recorded) -> None:
        assert steps(cold, piece=None) == ["captured", "before_split", "after_split", "execution_code"]

    def test_every_piece_and_for_the_distinct_ones_every_range(self, cold: Recorded) -> None:
        assert [event["piece"] for event in cold.of("snapshot", stage="piece")] == [f"piece_0{n}" for n in range(9)]
        for piece in DISTINCT:
            for span in RANGES:
                found = steps(cold, piece=piece, range=span)
                assert found[0] == "before_pre_grad"
                assert found[-2:] == ["post_grad", "output_code"]
        compiled = {(event["piece"], event["range"]) for event in cold.of("snapshot") if event["range"]}
        assert compiled == {(piece, span) for piece in DISTINCT for span in RANGES}

    def test_pieces_that_repeat_are_one_graph(self, cold: Recorded) -> None:
        graphs = {event["piece"]: event["graph"] for event in cold.of("snapshot", stage="piece")}
        assert graphs["piece_02"] == graphs["piece_04"] == graphs["piece_06"]
        assert graphs["piece_01"] == graphs["piece_03"] == graphs["piece_05"] == graphs["piece_07"]
        assert len(set(graphs.values())) == 4

    def test_what_the_cache_was_asked_and_answered(self, cold: Recorded) -> None:
        model = [event["result"] for event in cold.of("cache", kind="cutaway_model")]
        assert model == ["miss", "store"]
        asked = [(event["piece"], event["range"], event["result"]) for event in cold.of("cache", kind="cutaway_piece")]
        todo = [(piece, span) for piece in DISTINCT for span in RANGES]
        assert asked == [(piece, span, result) for piece, span in todo for result in ("miss", "store")]

    def test_the_code_that_calls_pieces_says_which_layers_they_are(self, cold: Recorded) -> None:
        text = cold.read("backbone/99.execution_code.py")
        assert "        # piece_00 · embed, layers.0 · compiled for range_1_32, range_8_8\n" in text
        assert "        # piece_01 · layers.0 · runs as it is\n" in text
        assert "# piece_04 · layers.1" in text
        assert "# piece_08 · layers.3, norm, head" in text


class TestLayers:
    """Layers that repeat are traced once and stamped out again; each copy must bear its own layer's path."""

    def layers(self, recording: Recorded) -> Counter[str]:
        """How many calls of ops each decoder layer holds in the captured graph."""
        (event,) = recording.of("snapshot", stage="captured")
        table = recording.table(event)
        found: Counter[str] = Counter()
        for node in table["nodes"]:
            if node["op"].startswith("call_") and node.get("layer") is not None:
                for part in table["layers"][node["layer"]]:
                    name = part.split(":")[0]
                    if name.rpartition(".")[0].endswith("layers"):
                        found[name] += 1
        return found

    @pytest.mark.parametrize(("name", "prefix"), [("cold", "layers"), ("llama", "model.layers")])
    def test_every_node_has_its_layer_and_its_line(
        self, request: pytest.FixtureRequest, name: str, prefix: str
    ) -> None:
        recording: Recorded = request.getfixturevalue(name)
        (event,) = recording.of("snapshot", stage="captured")
        assert event["coverage"]["layer"] == 100
        assert event["coverage"]["source"] == 100
        found = self.layers(recording)
        assert list(found) == [f"{prefix}.{n}" for n in range(LAYERS)]
        assert len(set(found.values())) == 1

    def test_the_text_shows_equal_layers_once(self, cold: Recorded, llama: Recorded) -> None:
        assert f"layers.0–{LAYERS - 1}: Layer  ×{LAYERS} identical" in cold.read("backbone/00.captured.layers.txt")
        text = llama.read("backbone/00.captured.layers.txt")
        assert f"layers.0–{LAYERS - 1}: LlamaDecoderLayer  ×{LAYERS} identical" in text

    def test_pieces_know_all_the_way_to_the_kernels_which_layer_they_are(self, cold: Recorded) -> None:
        for event in cold.of("snapshot", piece="piece_08", stage="post_grad"):
            assert {"layers.3", "layers.3.mlp.down", "norm", "head"} <= set(event["layers"])
            assert not any(layer.startswith(("layers.0", "layers.1", "layers.2")) for layer in event["layers"])


class TestAWarm:
    """Neither Dynamo nor Inductor runs; the dump is that of the cold start all the same."""

    def test_the_tree_is_that_of_the_cold_start(self, warm: Recorded, cold: Recorded) -> None:
        assert list(tree(warm)) == list(tree(cold))
        assert [name for name, text in tree(cold).items() if tree(warm)[name] != text] == []

    def test_so_are_the_events(self, warm: Recorded, cold: Recorded) -> None:
        assert said(warm) == said(cold)
        kinds = ("snapshot", "pass", "code")
        assert {event["cached"] for event in warm.events if event["event"] in kinds} == {True}

    def test_it_says_where_they_come_from(self, warm: Recorded, cold: Recorded) -> None:
        (loaded,) = warm.of("cache", kind="recording")
        (stored,) = (event for event in cold.of("cache", kind="recording") if event["key"] == loaded["key"])
        assert (loaded["result"], stored["result"]) == ("load", "store")
        assert loaded["factors"]["run"] == "run_001/rank_0_dp_0"
        assert {event["cached_from"] for event in warm.of("snapshot")} == {loaded["seq"]}

    def test_all_came_from_the_cache(self, warm: Recorded) -> None:
        assert [event["result"] for event in warm.of("cache", kind="cutaway_model")] == ["load"]
        found = {(event["piece"], event["range"]): event["result"] for event in warm.of("cache", kind="cutaway_piece")}
        pieces = [f"piece_0{n}" for n in range(0, 9, 2)]
        assert found == {(piece, span): "load" if piece in DISTINCT else "hit" for piece in pieces for span in RANGES}


def start(path: Path, cache: Path, **config: Any) -> tuple[Recorded, CompilationCounter]:
    """The first call of a small decoder over a cache, and what the compiler counted."""
    model = decoder(layers=2, hidden=16)
    compiled = cutaway.compile(model, {"splitting_ops": SPLITTING, "max_batch": 32, "cache_dir": cache, **config})
    with another_cache(path.with_name("inductor"), "starts"), cutaway.record(path):
        same(model, compiled, 16)
    check(path)
    assert recorded(path).of("error") == []
    return recorded(path), counters_of(compiled)


class TestOtherStarts:
    """A cache that was moved, is read-only, damaged or older; pieces without their model."""

    @pytest.fixture(scope="class")
    @staticmethod
    def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recorded, Path]:
        """A cold start, and the cache that it filled."""
        path = tmp_path_factory.mktemp("first")
        recording, counted = start(path / "cold", path / "cache")
        assert counted.backend_compilations == 3
        return recording, path / "cache"

    @pytest.fixture
    def cache(self, first: tuple[Recorded, Path], tmp_path: Path) -> Path:
        """A copy of that cache."""
        shutil.copytree(first[1], tmp_path / "cache")
        return tmp_path / "cache"

    def has_all(self, started: tuple[Recorded, CompilationCounter], cold: Recorded) -> None:
        recording, counted = started
        assert (counted.backend_compilations, counted.graphs_seen) == (0, 0)
        assert tree(recording) == tree(cold)

    def test_moved(self, first: tuple[Recorded, Path], cache: Path, tmp_path: Path) -> None:
        self.has_all(start(tmp_path / "warm", cache), first[0])

    def test_read_only(self, first: tuple[Recorded, Path], cache: Path, tmp_path: Path) -> None:
        for path in [cache, *cache.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = sorted(cache.rglob("*"))
        self.has_all(start(tmp_path / "warm", cache, read_only_cache=True), first[0])
        assert sorted(cache.rglob("*")) == before

    def test_torn(self, first: tuple[Recorded, Path], cache: Path, tmp_path: Path) -> None:
        """What was kept of the model cannot be read: what was kept of each piece can."""
        (kept,) = of_models(cache)
        kept.write_bytes(kept.read_bytes()[:-100])
        recording, counted = start(tmp_path / "warm", cache)
        assert (counted.backend_compilations, counted.graphs_seen) == (0, 0)
        assert recording.of("snapshot", stage="captured") == []
        for piece in ("piece_00", "piece_02", "piece_04"):
            where = {"piece": piece, "range": "1_32"}
            (graph,) = recording.of("snapshot", stage="post_grad", **where)
            (cold,) = first[0].of("snapshot", stage="post_grad", **where)
            assert graph["graph"] == cold["graph"]
        (event,) = recording.of("cache", kind="recording", result="refused")
        assert "it is damaged" in event["factors"]["reason"]
        said = "the graphs of all of it. A cache served it, and what was kept of it cannot be used: it is damaged"
        assert f"- **not here**: {said}" in recording.read("backbone/index.md")

    def test_of_another_entry(self, first: tuple[Recorded, Path], cache: Path, tmp_path: Path) -> None:
        """The entry was written again by somebody who did not record."""
        (kept,) = of_models(cache)
        document = kept.with_name("binary.json")
        document.write_text(document.read_text().replace('"tag": "backbone"', '"tag": "backbones"'))
        recording, counted = start(tmp_path / "warm", cache)
        assert counted.artifacts_refused == 1  # the store has a digest of it, too: it captures anew
        assert [event["cached"] for event in recording.of("snapshot", stage="captured")] == [False]
        assert counted.backend_compilations == 0
        assert tree(recording) == tree(first[0])

    def test_pieces_alone(self, first: tuple[Recorded, Path], cache: Path, tmp_path: Path) -> None:
        """The model is captured anew, its pieces are not compiled: theirs alone is read back, under the new graphs."""
        (kept,) = of_models(cache)
        shutil.rmtree(kept.parent)
        recording, counted = start(tmp_path / "warm", cache)
        assert (counted.backend_compilations, counted.graphs_seen) == (0, 1)
        assert tree(recording) == tree(first[0])
        assert {event["cached"] for event in recording.of("snapshot", range=None)} == {False}
        assert {event["cached"] for event in recording.of("snapshot", range="1_32")} == {True}
        assert of_models(cache)  # it is kept again

    def test_older_than_recording(self, tmp_path: Path) -> None:
        model = decoder(layers=2, hidden=16)
        config = {"splitting_ops": SPLITTING, "max_batch": 32, "cache_dir": tmp_path / "cache"}
        with another_cache(tmp_path / "inductor", "starts"):
            same(model, cutaway.compile(model, config), 16)
        recording, counted = start(tmp_path / "warm", tmp_path / "cache")
        assert (counted.backend_compilations, counted.graphs_seen) == (0, 0)
        assert recording.of("snapshot") == []
        for piece in ("piece_00", "piece_02", "piece_04"):
            found = steps(recording, piece=piece, range="1_32")
            assert found == ["output_code", "aot_graph_text", "post_grad_text"]
        assert "cache_dir and TORCHINDUCTOR_CACHE_DIR set to empty folders" in recording.read("backbone/index.md")
        assert [event["result"] for event in recording.of("cache", kind="recording")] == ["miss"] * 4

    def test_a_larger_model_with_the_same_pieces(self, cache: Path, tmp_path: Path) -> None:
        """Its last piece is that of the smaller one, under its own layers."""
        model = decoder(layers=3, hidden=16)
        config = {"splitting_ops": SPLITTING, "max_batch": 32, "cache_dir": cache}
        compiled = cutaway.compile(model, config)
        with another_cache(tmp_path / "inductor", "starts"), cutaway.record(tmp_path / "larger"):
            same(model, compiled, 16)
        check(tmp_path / "larger")
        recording = recorded(tmp_path / "larger")
        assert counters_of(compiled).backend_compilations == 0
        (graph,) = recording.of("snapshot", stage="post_grad", piece="piece_06")
        assert graph["cached"]
        assert {"layers.2", "layers.2.mlp.down", "norm", "head"} <= set(graph["layers"])
        assert not any(layer.startswith(("layers.0", "layers.1")) for layer in graph["layers"])


def of_models(cache: Path) -> list[Path]:
    """What is kept of whole models."""
    kept = sorted(cache.rglob("*.recorded.zip"))
    return [path for path in kept if b'"of": "compilation"' in zipfile.ZipFile(path).read("kept.json")]
