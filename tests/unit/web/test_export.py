"""Dumps in the formats of other viewers, held against what those take."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump, manifest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.dump import load
from cutaway.errors import SelectorError, UsageError
from cutaway.web.export import export
from cutaway.web.export.chrome_trace import _Slice, nested  # pyright: ignore[reportPrivateUsage]
from cutaway.web.export.dot import _quoted  # pyright: ignore[reportPrivateUsage]

GRAPH = "backbone/piece_02/range_8_8/post_grad.2.VllmIRLoweringPass"


class TestModelExplorer:
    def test_each_graph_that_differs_is_in_it_once(self, root: Path) -> None:
        found = json.loads(export(root, "model-explorer"))
        assert found["label"] == "dump"
        dump = load(root)
        first = {snapshot.graph: snapshot.selector for snapshot in reversed(dump.snapshots.values())}
        assert {graph["id"] for graph in found["graphs"]} == set(first.values())

    def test_nodes_edges_and_layers_are_those_of_the_graph(self, root: Path) -> None:
        (graph,) = json.loads(export(root, "model-explorer", [GRAPH]))["graphs"]
        table = load(root).snapshots[GRAPH].table
        assert [node["id"] for node in graph["nodes"]] == [str(node.id) for node in table.nodes]
        for made, node in zip(graph["nodes"], table.nodes, strict=True):
            assert {"key": "name", "value": node.name} in made["attrs"]
            path = table.layer(node)
            if node.op == "placeholder":  # a weight is with its first reader, an activation on top
                readers = [other for other in table.nodes if {"node": node.id} in references(other.args)]
                path = table.layer(readers[0]) if readers and (node.input or "").startswith("self.") else ()
            assert len(made["namespace"].split("/")) == max(len(path), 1)
            assert bool(made["namespace"]) == bool(path)
            refs = {str(ref["node"]) for ref in references(node.args)}
            assert {edge["sourceNodeId"] for edge in made["incomingEdges"]} == refs

    def test_a_call_of_a_piece_opens_the_piece(self, root: Path) -> None:
        graphs = {graph["id"]: graph for graph in json.loads(export(root, "model-explorer"))["graphs"]}
        calls = [node for node in graphs["backbone/after_split"]["nodes"] if node["label"].startswith("submod")]
        inside = [piece for node in calls for piece in node.get("subgraphIds", ())]
        assert inside
        assert set(inside) <= set(graphs)


def references(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value] if "node" in value else [ref for each in value.values() for ref in references(each)]
    return [ref for each in value for ref in references(each)] if isinstance(value, list) else []


class TestDot:
    def test_it_has_every_node_that_is_read_and_every_edge(self, root: Path) -> None:
        text = export(root, "dot", [GRAPH])
        table = load(root).snapshots[GRAPH].table
        edges = {(ref["node"], node.id) for node in table.nodes for ref in references(node.args)}
        assert {(int(a), int(b)) for a, b in re.findall(r"^  n(\d+) -> n(\d+);$", text, re.MULTILINE)} == edges
        drawn = {int(number) for number in re.findall(r"^ *n(\d+) \[", text, re.MULTILINE)}
        read = {a for a, _ in edges}
        assert drawn == {node.id for node in table.nodes if node.op != "placeholder" or node.id in read}
        assert text.count("{") == text.count("}")

    @pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed: apt-get install graphviz")
    def test_graphviz_takes_it(self, root: Path) -> None:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=export(root, "dot", [GRAPH]).encode(), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr

    @given(st.text())
    def test_any_name_is_one_string(self, text: str) -> None:
        quoted = _quoted(text)
        assert re.fullmatch(r'"(?:[^"\\\n]|\\.)*"', quoted)
        assert quoted.replace("\\n", "").isprintable()

    def test_one_picture_is_one_graph(self, root: Path) -> None:
        with pytest.raises(UsageError, match="Name one, such as backbone/captured"):
            export(root, "dot")


class TestChromeTrace:
    def test_pieces_and_passes_are_where_they_were(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ranks=2)
        events = json.loads(export(root, "chrome-trace"))["traceEvents"]
        assert {event["ph"] for event in events} == {"M", "X", "i"}
        assert {event["args"]["name"] for event in events if event["name"] == "process_name"} == {
            "rank_0_dp_0",
            "rank_1_dp_0",
        }
        recorded = [row for row in manifest(root / "run_001" / "rank_0_dp_0") if row["event"] == "pass" and row["ms"]]
        drawn = [event for event in events if event.get("cat") == "pass" and event["pid"] == 1]
        assert len(drawn) == len(recorded) > 0
        assert all(event["ts"] >= 0 and event.get("dur", 0) >= 0 for event in events if event["ph"] != "M")

    @given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20))
    def test_slices_of_a_thread_nest(self, times: list[tuple[int, int]]) -> None:
        found = nested(_Slice(str(place), "pass", min(pair), max(pair)) for place, pair in enumerate(times))
        assert len(found) == len(times)
        for number, one in enumerate(found):
            for other in found[number + 1 :]:
                assert other.begin >= one.end or (other.begin >= one.begin and other.end <= one.end)

    def test_it_is_of_the_whole_compile(self, root: Path) -> None:
        with pytest.raises(UsageError, match="Leave it out"):
            export(root, "chrome-trace", [GRAPH])


def test_json_is_what_the_page_gets(root: Path) -> None:
    (found,) = json.loads(export(root, "json", [GRAPH]))["graphs"]
    table = load(root).snapshots[GRAPH].table
    assert found["selector"] == GRAPH
    assert [node["name"] for node in found["graph"]["nodes"]] == [node.name for node in table.nodes]
    assert found["snapshot"]["before"] is not None


def test_bad_use(root: Path) -> None:
    with pytest.raises(UsageError, match="The formats are model-explorer, dot"):
        export(root, "svg")
    with pytest.raises(SelectorError, match="nothing in this dump is called 'piece_99'"):
        export(root, "json", ["piece_99"])
