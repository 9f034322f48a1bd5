"""Dumps that nobody's compile made: bounded in time and size, and the problem is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dump_maker import DumpMaker, make_dump
from table_maker import TableMaker

from cutaway.errors import CutawayError
from cutaway.web.answers import Answers
from cutaway.web.data import Library
from cutaway.web.data.words import LONGEST

BASE = "run_001/rank_0_dp_0"
LONG = "x" * 1_000_000
NASTY = "</script><script>alert(1)</script>\x00\x1b[31m\u202e\n\t"


def write(root: Path, tables: list[dict[str, Any]], selectors: list[str]) -> Library:
    """A dump of these graphs, one after another."""
    maker = DumpMaker(root / "run_001" / "rank_0_dp_0")
    maker.compilation("one")
    for number, (table, selector) in enumerate(zip(tables, selectors, strict=True)):
        nodes = maker.write(f"nodes/{number}.json", json.dumps({"schema": 1, **table}), "nodes")
        raw = maker.write(f"one/{number}.py", "import torch\n", "raw")
        facts = {"stage": selector.rpartition("/")[2], "graph": f"graph{number}", "nodes": len(table["nodes"])}
        maker.event("snapshot", "one", selector=selector, files=[nodes, raw], layers=[], changed=number > 0, **facts)
    maker.end("one")
    maker.end()
    return Library(root)


def ask_everything(library: Library) -> dict[str, int]:
    """Path -> bytes of the answer; -1 for a problem. Nothing else may be raised."""
    found: dict[str, int] = {}
    for path in library.paths("run_001", "rank_0_dp_0"):
        try:
            found[path.removeprefix(f"{BASE}/")] = len(msgspec.json.encode(library.get(path)))
        except CutawayError:
            found[path.removeprefix(f"{BASE}/")] = -1
    return found


def chain(count: int, name: str = "n", layers: int = 1, **facts: Any) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = [{"id": 0, "name": "x", "op": "placeholder", "target": "x", "input": "x"}]
    nodes += [
        {"id": number, "name": f"{name}{number}", "op": "call_function", "target": "aten.neg.default"}
        | {"args": [{"node": number - 1}], "layer": number % layers, "dtype": "float32", "shape": [8], **facts}
        for number in range(1, count)
    ]
    nodes.append({"id": count, "name": "output", "op": "output", "target": "output", "args": [{"node": count - 1}]})
    return {"nodes": nodes, "layers": [["Model", f"layers.{number}: Layer"] for number in range(layers)], "sources": []}


def test_names_of_a_megabyte_are_cut(tmp_path: Path) -> None:
    table = chain(50, name=LONG, layers=2)
    table["layers"] = [["Model", f"{LONG}.0: {LONG}"], ["Model", f"{LONG}.1: {LONG}"]]
    table["sources"] = [{"file": LONG, "line": 1, "function": LONG, "code": LONG}]
    table["nodes"][3] |= {"target": LONG, "source": 0, "dtype": LONG, "kwargs": {"a": LONG}}
    library = write(tmp_path, [table], ["one/captured"])
    sizes = ask_everything(library)
    assert sizes["graph/graph0"] < 2_100_000  # the dtype is as it was
    assert sizes["layers/one/captured"] < 200 * LONGEST
    assert sizes["search"] < 200 * LONGEST
    assert sizes["overview"] < 100_000
    rows = library.get(f"{BASE}/layers/one/captured").rows  # pyright: ignore
    assert any("characters)" in row.text for row in rows)


def test_a_name_that_many_read_is_not_written_in_full_each_time(tmp_path: Path) -> None:
    maker = TableMaker({"": "M"})
    x = maker.input("x", [8])
    big = maker.call("aten.neg.default", [x], "", name=LONG)
    for _ in range(500):
        maker.call("aten.neg.default", [big], "")
    maker.output(big)
    library = write(tmp_path, [maker.table(), maker.table()], ["one/captured", "one/before_split"])
    assert max(ask_everything(library).values()) < 2_000_000


def test_a_selector_of_a_megabyte_is_refused(tmp_path: Path) -> None:
    library = write(tmp_path, [chain(5)], [f"one/{LONG}"])
    answer = Answers(library).get(f"{BASE}/overview")
    assert (answer.status, len(answer.body) < 1000) == (422, True)
    assert "a name of 1000004 characters" in json.loads(answer.body)["what"]


def test_findings_without_end_are_counted(tmp_path: Path) -> None:
    maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
    maker.compilation("one")
    for number in range(5000):
        maker.event("metric", "one", kind="graph_break", values={"reason": f"{number}"}, piece=None, range=None)
    found = Library(tmp_path).get(f"{BASE}/overview").findings  # pyright: ignore
    assert len(found) == 201
    assert found[-1].text == "4802 more findings are left out"


def test_what_a_terminal_or_a_browser_might_obey_is_only_text(tmp_path: Path) -> None:
    table = chain(5, name=NASTY)
    table["layers"] = [["Model", f"{NASTY}: {NASTY}"]]
    library = write(tmp_path, [table], ["one/captured"])
    answers = Answers(library)
    for path in library.paths("run_001", "rank_0_dp_0"):
        answer = answers.get(path)
        assert answer.status == 200
        assert not any(byte < 32 for byte in answer.body)
        json.loads(answer.body)


def test_origins_that_go_in_a_ring(tmp_path: Path) -> None:
    tables = [chain(20), chain(20), chain(20), chain(20)]
    for table in tables:
        for node in table["nodes"]:
            node["from"] = [(node["id"] + 1) % 20, node["id"], 10**9, -1]
    selectors = ["one/captured", "one/before_split", "one/captured", "one/before_split"]
    sizes = ask_everything(write(tmp_path, tables, selectors))
    assert sizes["lineage/one"] > 0
    assert sizes["steps/one"] > 0


def test_snapshots_that_stand_for_each_other(tmp_path: Path) -> None:
    maker = DumpMaker(tmp_path / "run_001" / "rank_0_dp_0")
    maker.compilation("one")
    for selector, other in (("one/captured", "one/before_split"), ("one/before_split", "one/captured")):
        maker.event("snapshot", "one", selector=selector, stage="captured", graph="abc", same_as=other, nodes=3)
    sizes = ask_everything(Library(tmp_path))
    assert sizes["overview"] > 0
    assert sizes["layers/one/captured"] == -1


def test_roots_that_grow_without_bound_are_unknown(tmp_path: Path) -> None:
    tables = [chain(6000), chain(6000), chain(6000)]
    tables[1]["nodes"][0]["from"] = list(range(6000))
    for node in tables[2]["nodes"]:
        node["from"] = [0, node["id"] % 6000]
    library = write(tmp_path, tables, ["one/captured", "one/before_split", "one/after_split"])
    found = library.get(f"{BASE}/lineage/one")
    assert len(msgspec.json.encode(found)) < 100_000_000
    assert any(
        "than any compile would" in text for text in library.process("run_001", "rank_0_dp_0").trail.problems.values()
    )


def test_layers_in_layers_in_layers(tmp_path: Path) -> None:
    table = chain(2000)
    table["layers"] = [[f"{'.'.join('a' * depth)}: A" for depth in range(1, 400)]]
    assert ask_everything(write(tmp_path, [table], ["one/captured"]))["layers/one/captured"] < 3_000_000


def test_arguments_that_nest_deep_are_a_problem_with_a_name(tmp_path: Path) -> None:
    table = chain(5)
    library = write(tmp_path, [table], ["one/captured"])
    path = tmp_path / "run_001" / "rank_0_dp_0" / "nodes" / "0.json"
    deep = '{"tuple": [' * 900 + "1" + "]}" * 900
    path.write_text(path.read_text().replace('[{"node": 1}]', f"[{deep}]", 1))
    answers = Answers(library)
    for kind in ("graph/graph0", "layers/one/captured", "search", "snapshot/one/captured"):
        answer = answers.get(f"{BASE}/{kind}")
        assert answer.status in (200, 422)
        json.loads(answer.body)


@pytest.mark.parametrize("damage", ["missing", "empty", "torn", "link"])
def test_damaged_files_are_named(tmp_path: Path, damage: str) -> None:
    root = make_dump(tmp_path / "dump")
    process = root / "run_001" / "rank_0_dp_0"
    for path in [*process.glob("nodes/*"), *process.glob("backbone/**/*.py")]:
        content = path.read_bytes()
        path.unlink()
        if damage == "empty":
            path.touch()
        elif damage == "torn":
            path.write_bytes(content[: len(content) // 2])
        elif damage == "link":
            path.symlink_to("/etc/passwd")
    library = Library(root)
    answers = Answers(library)
    for path in library.paths("run_001", "rank_0_dp_0"):
        answer = answers.get(path)
        assert answer.status in (200, 422)
        assert b"root:" not in answer.body
        assert answer.status == 200 or json.loads(answer.body)["what"]
    assert answers.get(f"{BASE}/overview").status == 200


def test_many_nodes_are_shown_and_not_compared(tmp_path: Path) -> None:
    big = chain(31_000, layers=500)
    library = write(tmp_path, [big, chain(30_999, layers=500)], ["one/captured", "one/before_split"])
    answers = Answers(library)
    assert answers.get(f"{BASE}/graph/graph0").status == 200
    assert answers.get(f"{BASE}/search").status == 200
    refused = answers.get(f"{BASE}/diff/one/before_split")
    assert (refused.status, "too large" in json.loads(refused.body)["what"]) == (400, True)
