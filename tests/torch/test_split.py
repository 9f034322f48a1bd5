"""A graph cut into pieces by an engine that says where it is: pieces, ranges, the stitching graph."""

from __future__ import annotations

import operator
import runpy
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from programs import numbers
from recordings import Recorded, check, recorded
from torch import fx
from torch.fx.passes.split_module import split_module

import cutaway
from cutaway.record.compilation import Compilation
from cutaway.record.context import at
from cutaway.record.recorder import Recorder
from cutaway.record.split import comment_execution_code, record_split


def cut(gm: fx.GraphModule) -> fx.GraphModule:
    """A piece for each layer (it ends with an addition), and one for the norm."""
    piece_of: dict[fx.Node, int] = {}
    piece = 0
    for node in gm.graph.nodes:
        piece_of[node] = piece
        piece += node.target is operator.add
    return split_module(gm, torch.nn.Module(), piece_of.__getitem__)


def record_pieces(path: Path, **options: Any) -> Recorded:
    recording = cutaway.record(path, **options)
    recorder, _ = recording.start()
    net = programs.Net(depth=3)

    def backend(gm: fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        with at(compilation="backbone"):
            split = cut(gm)
            names = {
                name: f"piece_{int(name.split('_')[1]):02d}" for name, _ in split.named_children() if "submod" in name
            }
            record_split(recorder, split, names)
            for name, piece in names.items():
                with at(piece=piece, range="1_64"):
                    recorder.graph("before_pre_grad", split.get_submodule(name))
        return split

    try:
        with at(compilation="backbone", model="Net"), torch.no_grad():
            found = torch.compile(net, backend=backend)(numbers(4, 8))
            assert found.equal(net(numbers(4, 8)))
    finally:
        recording.stop()
    return recorded(path)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    torch._dynamo.reset()
    return record_pieces(tmp_path_factory.mktemp("pieces"))


def test_the_dump_is_whole(pieces: Recorded) -> None:
    check(pieces.folder.parents[1])
    assert pieces.of("error") == []
    assert pieces.compilations == ["backbone"]


def test_the_stitching_graph_and_then_every_piece(pieces: Recorded) -> None:
    found = [(event["stage"], event["piece"], event["range"]) for event in pieces.of("snapshot")]
    names = [f"piece_0{n}" for n in range(len(found) // 2 - 1)]
    assert len(names) == 4
    assert found == [
        ("captured", None, None),
        ("after_split", None, None),
        *[("piece", name, None) for name in names],
        *[("before_pre_grad", name, "1_64") for name in names],
    ]


def test_equal_pieces_are_stored_once_and_named(pieces: Recorded) -> None:
    found = {event["piece"]: event for event in pieces.of("snapshot", stage="piece")}
    assert len({event["graph"] for event in found.values()}) < len(found)
    same = [event for event in found.values() if event["same_as"]]
    assert same
    for event in same:
        assert event["files"] == []
        assert len(event["from"]) == event["nodes"]
        assert event["same_as"].startswith("backbone/piece_")


def test_a_repeated_piece_keeps_layers_of_its_own(pieces: Recorded) -> None:
    layers = {event["piece"]: event["layers"] for event in pieces.of("snapshot", stage="piece")}
    assert "layers.1.up" in layers["piece_01"]
    assert "layers.2.up" in layers["piece_02"]


def test_nodes_of_a_piece_stem_from_the_captured_graph(pieces: Recorded) -> None:
    (captured,) = pieces.of("snapshot", stage="captured")
    before = pieces.table(captured)["nodes"]
    (event,) = pieces.of("snapshot", stage="piece", piece="piece_00")
    seen: set[str] = set()
    for row in pieces.table(event)["nodes"]:
        if row["op"] == "call_function":
            (number,) = row["from"]
            assert before[number]["target"] == row["target"]
            assert before[number]["name"] not in seen
            seen.add(before[number]["name"])
    assert len(seen) == 4


def test_inputs_stem_from_what_is_handed_to_them(pieces: Recorded) -> None:
    """Of every piece, a repeated one included: values of the piece before, and inputs of the whole graph."""
    (captured,) = pieces.of("snapshot", stage="captured")
    before = pieces.table(captured)["nodes"]
    made: dict[int, str] = {}
    crossed: list[str] = []
    for event in pieces.of("snapshot", stage="piece"):
        rows = pieces.table(event)["nodes"]
        origins = event.get("from") or [row.get("from") for row in rows]
        for row, stems in zip(rows, origins, strict=True):
            if row["op"] == "placeholder":
                (number,) = stems
                assert before[number]["op"] == "placeholder" or made[number] < event["piece"]
                assert (before[number]["dtype"], before[number]["shape"]) == (row["dtype"], row["shape"])
                assert "layer" not in row
            elif row["op"].startswith("call_"):
                made[stems[0]] = event["piece"]
        crossed += [event["piece"]] * any(row["op"] == "placeholder" and origins[row["id"]][0] in made for row in rows)
    assert crossed == ["piece_01", "piece_02", "piece_03"]
    (stitching,) = pieces.of("snapshot", stage="after_split")
    inputs = [row for row in pieces.table(stitching)["nodes"] if row["op"] == "placeholder"]
    assert [[before[number]["input"] for number in row["from"]] for row in inputs] == [[row["input"]] for row in inputs]


def test_a_call_of_a_piece_stems_from_all_that_is_inside(pieces: Recorded) -> None:
    (captured,) = pieces.of("snapshot", stage="captured")
    (event,) = pieces.of("snapshot", stage="after_split")
    before = {row["id"]: row for row in pieces.table(captured)["nodes"]}
    calls = [row for row in pieces.table(event)["nodes"] if row["op"] == "call_module"]
    assert len(calls) == 4
    found = [{before[number]["name"] for number in row["from"]} for row in calls]
    names = {row["name"] for row in before.values() if row["op"].startswith("call_")}
    assert set().union(*found) == names
    assert sum(map(len, found)) == len(names)


def test_the_stitching_file_runs_with_equal_pieces_as_one_class(pieces: Recorded) -> None:
    (event,) = pieces.of("snapshot", stage="after_split")
    path = next(file["path"] for file in event["files"] if file["kind"] == "raw")
    text = pieces.read(path)
    graphs = {found["graph"] for found in pieces.of("snapshot", stage="piece")}
    assert text.count("class Graph") == 1 + len(graphs)
    file = runpy.run_path(str(pieces.folder / path))
    net = programs.Net(depth=3)
    inputs = [
        net.get_parameter(row["input"].removeprefix("self.")) if row["input"].startswith("self.") else numbers(4, 8)
        for row in pieces.table(event)["nodes"]
        if row["op"] == "placeholder"
    ]
    with torch.no_grad():
        found = torch.utils._pytree.tree_leaves(file["Graph"]()(*inputs))
        assert found[0].equal(net(numbers(4, 8)))


def test_pieces_can_be_chosen(tmp_path: Path) -> None:
    recording = record_pieces(tmp_path, pieces="piece_01")
    assert {event["piece"] for event in recording.of("snapshot")} == {None, "piece_01"}
    check(tmp_path)


def test_execution_code_says_which_piece_each_call_is() -> None:
    compilation = Compilation("backbone")
    compilation.piece_layers = {"piece_00": "layers.0", "piece_02": "layers.1"}
    compilation.equal_pieces = {"piece_02": ["piece_00"], "piece_00": ["piece_02"]}
    compilation.scope("piece_00", "1_64")
    text = "def f(x):\n    a = submods[0](x)\n    b = attn(a)\n    return submods[2](b)\n    c = submods[2](b)\n"
    shown = comment_execution_code(text, compilation, {"submods[0]": "piece_00", "submods[2]": "piece_02"})
    lines = shown.splitlines()
    assert lines[lines.index("    a = submods[0](x)") - 1] == "    # piece_00 · layers.0 · compiled for range_1_64"
    assert lines[lines.index("    c = submods[2](b)") - 1] == "    # piece_02 · layers.1 · compiled for range_1_64"
    assert [line for line in lines if not line.lstrip().startswith("#") and line] == text.splitlines()


def test_a_recorder_may_be_told_of_pieces_that_are_no_graphs(tmp_path: Path) -> None:
    """An engine's splitting op may be a plain module."""

    class Root(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.submod_0 = torch.nn.Identity()

    graph = fx.Graph()
    x = graph.placeholder("x")
    x.meta["example_value"] = numbers(2)
    graph.output((graph.call_module("submod_0", (x,)),))
    recording = cutaway.record(tmp_path)
    recorder, _ = recording.start()
    assert isinstance(recorder, Recorder)
    with at(compilation="backbone"):
        record_split(recorder, fx.GraphModule(Root(), graph), {"submod_0": "piece_00"})
    recording.stop()
    assert recorded(tmp_path).stages("backbone") == ["after_split"]
    check(tmp_path)
