"""A dump as tables."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from dump_maker import make_process

from cutaway.dump import Dump, load
from cutaway.dump.frame import TABLES
from cutaway.errors import DumpError, SelectorError, UsageError


@pytest.fixture(name="process", scope="module")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frame") / "process"
    make_process(folder)
    return folder


@pytest.fixture(name="dump")
def _dump(process: Path) -> Dump:
    return load(process)


def test_without_pandas(dump: Dump, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match=r"to_frame needs pandas\. It is not installed\. Pip install pandas"):
        dump.to_frame()


class TestWithPandas:
    @pytest.fixture(autouse=True)
    def _needs_pandas(self) -> None:
        pytest.importorskip("pandas")

    def test_nodes(self, dump: Dump) -> None:
        frame = dump.to_frame()
        assert len(frame) == sum(snapshot.node_count for snapshot in dump.snapshots.values())
        row = frame[frame.selector.eq("backbone/captured") & frame.name.eq("embedding")].iloc[0].to_dict()
        expected = {"short": "F.embedding", "dtype": "float32", "shape": ["s72", 256], "layer": "embed_tokens"}
        expected |= {"class": "VocabParallelEmbedding", "file": "/x/qwen2.py", "line": 402, "op": "call_function"}
        assert {key: row[key] for key in expected} == expected
        assert [dump.find("backbone/captured").nodes[each].name for each in row["reads"]] == [  # pyright: ignore
            "input_ids",
            "l_self_embed_tokens_weight_",
        ]

    def test_nodes_of_a_repeated_piece_are_in_its_own_layers(self, dump: Dump) -> None:
        frame = dump.to_frame("nodes", "piece_06")
        assert set(frame.layer.dropna()) == {"layers.2.mlp", "layers.3"}
        assert set(frame.same_as) == {"backbone/piece_02/piece"}

    def test_snapshots_and_passes(self, dump: Dump) -> None:
        frame = dump.to_frame("snapshots")
        assert list(frame.selector) == list(dump.snapshots)
        assert list(frame.nodes) == [snapshot.node_count for snapshot in dump.snapshots.values()]
        passes = dump.to_frame("passes")
        assert passes["pass"].value_counts().to_dict() == {
            "NoOpEliminationPass": 2,
            "SequenceParallelismPass": 2,
            "VllmIRLoweringPass": 2,
        }
        assert passes[passes.changed].ms.sum() == 2.5
        assert len(dump.to_frame("passes", "range_8_8/post_grad.0.NoOpEliminationPass")) == 1

    def test_kernels(self, dump: Dump) -> None:
        frame = dump.to_frame("kernels")
        assert list(frame.kernel) == ["cpp_fused_norm_0"] * 2
        assert list(frame.computes) == [["fused_norm"]] * 2
        assert list(frame.range) == ["1_4096", "8_8"]
        assert all(frame.file.str.endswith("90.kernels/cpp_fused_norm_0.cpp"))

    @pytest.mark.parametrize("table", TABLES)
    def test_an_empty_table_has_its_columns(self, tmp_path: Path, table: str) -> None:
        (tmp_path / "manifest.jsonl").write_text('{"event": "run", "seq": 0, "time": 0, "schema": 1}\n')
        frame = load(tmp_path).to_frame(table)
        assert len(frame) == 0
        assert list(frame.columns) == list(TABLES[table][1])

    def test_what_makes_no_sense(self, dump: Dump) -> None:
        with pytest.raises(UsageError, match="Did you mean 'kernels'"):
            dump.to_frame("kernel")
        with pytest.raises(SelectorError, match="nothing in this dump is called 'piece_99'"):
            dump.to_frame("nodes", "piece_99")

    def test_a_graph_that_is_missing(self, tmp_path: Path) -> None:
        make_process(tmp_path / "p", layers=2)
        for path in (tmp_path / "p" / "nodes").iterdir():
            path.unlink()
        with pytest.raises(DumpError, match="is missing"):
            load(tmp_path / "p").to_frame()
        assert len(load(tmp_path / "p").to_frame("snapshots")) > 5
