"""Graphs inside of graphs stand below the nodes that take them: in one graph, and in the difference of two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from branch_dump import AFTER, BEFORE, branch, branch_dump, changed, conds
from table_maker import TableMaker

from cutaway.web.data import Library, shapes


def written(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> Library:
    return Library(branch_dump(folder, before, after))


def rows(library: Library, selector: str) -> list[shapes.LayerRow]:
    found = library.get(f"run_001/rank_0_dp_0/layers/{selector}")
    assert isinstance(found, shapes.Layers)
    return found.rows


def difference(library: Library) -> shapes.Difference:
    found = library.get(f"run_001/rank_0_dp_0/diff/{AFTER}")
    assert isinstance(found, shapes.Difference)
    return found


COS, SIN = branch(["aten.cos.default"]), branch(["aten.sin.default"])


@pytest.fixture(name="changed")
def _changed(tmp_path: Path) -> Library:
    return Library(changed(tmp_path))


class TestOneGraph:
    def test_each_below_the_node_that_takes_it_deeper_by_one(self, changed: Library) -> None:
        found = rows(changed, BEFORE)
        (at,) = (i for i, row in enumerate(found) if row.text.startswith("cond = "))
        title = found[at + 1]
        assert (title.kind, title.depth) == ("note", found[at].depth + 1)
        assert title.text.startswith("graph true_0  ×2 identical, shown once: true_0, true_1")
        inside = next(row for row in found[at:] if row.text == "cos = aten.cos(x)")
        assert inside.depth > title.depth

    def test_its_nodes_are_not_taken_for_those_of_the_graph_around_it(self, changed: Library) -> None:
        nodes = [node for row in rows(changed, BEFORE) if "aten.cos" in row.text for node in row.nodes]
        assert nodes == []

    def test_what_was_shown_is_named_where_it_is_taken_again(self, tmp_path: Path) -> None:
        table = conds([("true_0", "false_0")] * 2, {"true_0": COS, "false_0": SIN})
        table["nodes"][4]["target"] = "higher_order.while_loop"  # so that the layers are not shown as one
        texts = [row.text for row in rows(written(tmp_path, table, table), BEFORE)]
        assert texts.count("cos = aten.cos(x)") == 1
        assert texts.count("graph true_0") == texts.count("graph true_0: as above") == 1

    def test_one_that_nobody_takes_stands_at_the_end(self, tmp_path: Path) -> None:
        table = conds([], {"lonely": COS})
        texts = [(row.depth, row.text) for row in rows(written(tmp_path, table, table), BEFORE)]
        assert texts.index((0, "graph lonely")) > [text for _, text in texts].index("output: (x,)")

    def test_graphs_inside_of_graphs_inside(self, tmp_path: Path) -> None:
        inner = conds([("true_0", "false_0")], {"true_0": COS, "false_0": SIN})
        table = conds([("outer", "other")], {"outer": inner, "other": SIN})
        found = {row.text: row.depth for row in reversed(rows(written(tmp_path, table, table), BEFORE))}
        assert found["graph outer"] < found["graph true_0"] < found["cos = aten.cos(x)"]

    def test_long_names_are_cut(self, tmp_path: Path) -> None:
        graph = branch(["aten.cos.default"])
        graph["nodes"][1]["name"] = "n" * 5000
        table = conds([("true_0", "false_0")], {"true_0": graph, "false_0": SIN})
        found = rows(written(tmp_path, table, table), BEFORE)
        assert any("nnn… (5" in row.text for row in found)
        assert max(len(row.text) for row in found) < 2100


class TestDifference:
    def test_what_changed_inside_stands_below_what_takes_it(self, changed: Library) -> None:
        found = difference(changed).rows
        (at,) = (i for i, row in enumerate(found) if row.after and row.after.text.startswith("cond = "))
        title = found[at + 1]
        assert title.kind == "note"
        assert title.after is not None
        assert title.after.text.startswith("graph true_0  ×2 identical")
        (inside,) = (row for row in found if row.after and row.after.text == "tan = aten.tan(x)")
        assert inside.depth > title.depth
        assert inside.before is not None
        assert (inside.kind, inside.before.text, inside.after and inside.after.nodes) == (
            "replaced",
            "cos = aten.cos(x)",
            [],
        )

    def test_a_branch_that_stayed_is_there_and_the_same(self, changed: Library) -> None:
        (inside,) = (row for row in difference(changed).rows if row.after and "sin = " in row.after.text)
        assert (inside.kind, inside.rewrite) == ("same", None)

    def test_the_same_rewrite_in_several_branches_is_told_once(self, changed: Library) -> None:
        found = difference(changed)
        (rewrite,) = (each for each in found.rewrites if each.graphs)
        assert (rewrite.text, rewrite.often, rewrite.graphs) == ("cos → tan", "×2", ["true_0", "true_1"])
        assert rewrite.places == []  # its ids would be taken for those of the graph around it
        number = found.rewrites.index(rewrite)
        assert [row.kind for row in found.rows if row.rewrite == number] == ["replaced"]

    def test_one_that_is_gone_and_one_that_is_new(self, tmp_path: Path) -> None:
        maker = TableMaker({"": "Model"})
        maker.output(maker.call("aten.neg.default", [maker.input("x", [4])], shape=[4]))
        plain = maker.table()
        held = conds([("true_0", "false_0")], {"true_0": COS, "false_0": SIN})
        new = difference(written(tmp_path / "new", plain, held)).rows
        gone = difference(written(tmp_path / "gone", held, plain)).rows
        for found, kind, side in ((new, "added", "after"), (gone, "removed", "before")):
            (row,) = (row for row in found if (there := getattr(row, side)) and there.text == "cos = aten.cos(x)")
            assert row.kind == kind
            (title,) = (row for row in found if (there := getattr(row, side)) and there.text == "graph true_0")
            assert (title.before is None, title.after is None) == (side == "after", side == "before")
