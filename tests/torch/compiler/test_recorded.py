"""What a recording holds of a model that our compiler compiled, cold and warm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler import huggingface
from compiler.models import SPLITTING, decoder, same, tokens
from recordings import Recorded, check, recorded

import cutaway

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
    """Neither Dynamo nor Inductor runs; what the artifacts hold is shown all the same."""

    def test_every_distinct_piece_and_range_with_its_code(self, warm: Recorded) -> None:
        assert warm.of("snapshot") == []
        for piece in DISTINCT:
            for span in RANGES:
                assert steps(warm, piece=piece, range=span) == ["output_code", "post_grad_text"]
        assert all(event["cached"] for event in warm.of("code", kind="output_code"))

    def test_it_is_the_code_of_the_cold_start(self, warm: Recorded, cold: Recorded) -> None:
        for event in warm.of("code", kind="output_code"):
            (other,) = cold.of("code", kind="output_code", piece=event["piece"], range=event["range"])
            assert code(warm, event) == code(cold, other) != []

    def test_all_came_from_the_cache(self, warm: Recorded) -> None:
        assert [event["result"] for event in warm.of("cache", kind="cutaway_model")] == ["load"]
        found = {(event["piece"], event["range"]): event["result"] for event in warm.of("cache", kind="cutaway_piece")}
        pieces = [f"piece_0{n}" for n in range(0, 9, 2)]
        assert found == {(piece, span): "load" if piece in DISTINCT else "hit" for piece in pieces for span in RANGES}

    def test_the_code_that_calls_the_pieces_is_there(self, warm: Recorded, cold: Recorded) -> None:
        (now,), (then,) = (recording.of("code", kind="execution_code") for recording in (warm, cold))
        assert code(warm, now) == code(cold, then) != []
