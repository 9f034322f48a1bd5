"""Two runs compared: what stands for what, what is the same, and where graphs part."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker, make_dump, make_process, manifest, piece
from hypothesis import given, settings
from hypothesis import strategies as st
from table_maker import TableMaker, decoder

from cutaway.dump import Dump, load
from cutaway.dump.compare import (
    Comparison,
    RangePair,
    by_size,
    compare,
    compare_ranks,
    compare_runs,
    difference,
)
from cutaway.dump.compare.align import MOST, align
from cutaway.dump.compare.pieces import match_pieces, match_ranges
from cutaway.dump.compare.texts import identity
from cutaway.errors import CutawayError

ITEMS = st.lists(st.integers(0, 6), max_size=12)


def never(_: int, __: int) -> float:
    return 0.0


class TestSideBySide:
    @given(ITEMS, ITEMS, st.booleans())
    def test_all_of_both_in_order(self, left: list[int], right: list[int], alike: bool) -> None:
        pairs = align(left, right, lambda a, b: float(alike and abs(a - b) == 1))
        assert [i for i, _ in pairs if i is not None] == list(range(len(left)))
        assert [j for _, j in pairs if j is not None] == list(range(len(right)))
        both = [abs(left[i] - right[j]) for i, j in pairs if i is not None and j is not None]
        assert set(both) <= ({0, 1} if alike else {0})

    @given(st.lists(st.integers(), unique=True, max_size=12), st.data())
    def test_one_more_moves_nothing_else(self, items: list[int], data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(items)))
        pairs = align(items, [*items[:at], 10**9, *items[at:]], never)
        assert pairs == [
            *((i, i) for i in range(at)),
            (None, at),
            *((i, i + 1) for i in range(at, len(items))),
        ]

    @given(ITEMS, ITEMS)
    def test_as_many_as_can_be(self, left: list[int], right: list[int]) -> None:
        """No pairing in order has more equal ones."""
        longest = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                equal = longest[i][j] + 1 if a == b else 0
                longest[i + 1][j + 1] = max(longest[i][j + 1], longest[i + 1][j], equal)
        assert sum(None not in pair for pair in align(left, right, never)) == longest[-1][-1]

    def test_long_sequences_take_no_time_without_end(self) -> None:
        many = int(MOST**0.5) * 20
        started = time.process_time()
        pairs = align([-1, *range(many), -2], [-3, *range(1, many, 2), -4], never)
        assert sum(None not in pair for pair in pairs) == many // 2
        assert time.process_time() - started < 10

    @pytest.mark.parametrize(
        ("a", "b", "pairs"),
        [
            (["1_4096"], ["1_4096"], [("1_4096", "1_4096")]),
            (["1_4096"], ["1_16", "17_4096"], [("1_4096", "17_4096"), (None, "1_16")]),
            (["1_4096", "8_8"], ["8_8", "1_8192"], [("1_4096", "1_8192"), ("8_8", "8_8")]),
            (["8_8"], ["1_16"], [("8_8", None), (None, "1_16")]),
            (["1_16"], ["17_32"], [("1_16", None), (None, "17_32")]),
            (["1_16", "17_64"], ["1_32", "33_64"], [("1_16", "1_32"), ("17_64", "33_64")]),
            (["odd"], ["1_2"], [("odd", None), (None, "1_2")]),
            ([], [], []),
        ],
    )
    def test_ranges(self, a: list[str], b: list[str], pairs: list[tuple[str | None, str | None]]) -> None:
        assert match_ranges(a, b) == [RangePair(*pair) for pair in pairs]

    def test_ranges_by_size(self) -> None:
        assert by_size(["17_4096", "8_8", "1_16", "8_8"]) == ["1_16", "8_8", "17_4096"]


def part(layer: int, *, ops: int = 6, odd: str | None = None) -> dict[str, Any]:
    """A piece of some operators; with `odd`, one of them is that."""
    maker = TableMaker({"": "Model", f"layers.{layer}": "Layer"})
    value = maker.input("x", ["s72", 256])
    for i in range(ops):
        name = odd if odd and i == 2 else ("aten.relu.default", "aten.exp.default", "aten.neg.default")[i % 3]
        value = maker.call(name, [value], f"layers.{layer}")
    maker.output(value)
    return maker.table()


def split(folder: Path, tables: list[dict[str, Any]]) -> Dump:
    """A dump of a model that was split into these pieces."""
    maker = DumpMaker(folder)
    maker.compilation("backbone")
    for number, table in enumerate(tables):
        name = f"piece_{number:02d}"
        maker.snapshot(f"backbone/{name}/piece", "piece", table, f"backbone/{name}")
        maker.snapshot(f"backbone/{name}/range_1_8/post_grad", "post_grad", table, f"backbone/{name}.post")
    maker.end("backbone")
    maker.end()
    return load(folder)


class TestPieces:
    def matched(self, a: Dump, b: Dump) -> list[tuple[str | None, str | None]]:
        none = (lambda _: frozenset[str]()), (lambda _: frozenset[str]())
        pairs = match_pieces(a["backbone"], b["backbone"], none)
        return [(one.name if one else None, other.name if other else None) for one, other in pairs]

    def test_one_more_in_front(self, tmp_path: Path) -> None:
        mine = [part(0), part(1, ops=9), part(2, ops=3)]
        a, b = split(tmp_path / "a", mine), split(tmp_path / "b", [decoder(1), *mine])
        assert self.matched(a, b) == [
            (None, "piece_00"),
            ("piece_00", "piece_01"),
            ("piece_01", "piece_02"),
            ("piece_02", "piece_03"),
        ]

    def test_changed_and_moved(self, tmp_path: Path) -> None:
        """A piece that changed is found by what it has in common, though its number is another's now."""
        a = split(tmp_path / "a", [part(0, ops=12), decoder(1), part(1, ops=6)])
        b = split(tmp_path / "b", [part(0, ops=12, odd="aten.mul.Tensor"), part(1, ops=6, odd="aten.mul.Tensor")])
        assert self.matched(a, b) == [("piece_00", "piece_00"), ("piece_01", None), ("piece_02", "piece_01")]

    def test_nothing_in_common(self, tmp_path: Path) -> None:
        a, b = split(tmp_path / "a", [part(0)]), split(tmp_path / "b", [decoder(1)])
        assert set(self.matched(a, b)) == {(None, "piece_00"), ("piece_00", None)}

    def test_pieces_of_which_the_same_is_to_be_said_are_together(self, tmp_path: Path) -> None:
        odd = "aten.mul.Tensor"
        a = split(tmp_path / "a", [part(i) for i in range(5)])
        b = split(tmp_path / "b", [part(i, odd=odd if i in (1, 3) else None) for i in range(5)])
        (pair,) = compare(a, b).compilations
        assert [(group.a, group.same) for group in pair.pieces] == [
            (("piece_00", "piece_02", "piece_04"), True),
            (("piece_01", "piece_03"), False),
        ]
        whole = pair.pieces[1].whole.pairs[-1]
        assert set(difference(whole).split(", ")) == {"8 nodes", "mul +1", "neg −1"}


def course(folder: Path, passes: list[tuple[str, str, bool]]) -> Dump:
    """A dump of one graph that went through passes: name in the selector, name, lowered after it."""
    maker = DumpMaker(folder)
    maker.compilation("f")
    maker.snapshot("f/piece_00/piece", "piece", piece(0), "f/piece")
    maker.snapshot("f/piece_00/range_1_8/before_post_grad", "before_post_grad", piece(0), "f/before")
    lowered = False
    for leaf, name, after in passes:
        selector = f"f/piece_00/range_1_8/{leaf}"
        if after != lowered:
            facts = {"changed": True, "pass": name, "number": 0, "phase": "inference"}
            maker.snapshot(selector, "custom_pass", piece(0, lowered=after), f"f/{leaf}", **facts)
        maker.ran(selector, "custom_pass", 5, changed=after != lowered)
        lowered = after
    maker.snapshot(
        "f/piece_00/range_1_8/post_grad", "post_grad", piece(0, lowered=lowered), "f/post", phase="inference"
    )
    maker.end("f")
    maker.end()
    return load(folder)


class TestStages:
    def compared(self, a: Dump, b: Dump) -> Any:
        (pair,) = compare(a, b).compilations
        (group,) = pair.pieces
        (compiled,) = group.compiled
        return compiled.course

    def test_passes_are_matched_by_name_whatever_their_numbers(self, tmp_path: Path) -> None:
        a = course(tmp_path / "a", [("post_grad.0.Noop", "Noop", False), ("post_grad.1.Lower", "Lower", True)])
        b = course(
            tmp_path / "b",
            [
                ("post_grad.0.New", "New", False),
                ("post_grad.1.Noop", "Noop", False),
                ("post_grad.2.Lower", "Lower", True),
            ],
        )
        found = self.compared(a, b)
        assert found.same
        assert [step.name for step in found.only_b] == ["post_grad.0.New"]
        assert not found.only_a

    def test_where_graphs_part_and_meet_again(self, tmp_path: Path) -> None:
        first = [("post_grad.0.Lower", "Lower", True), ("post_grad.1.Noop", "Noop", True)]
        a = course(tmp_path / "a", [*first, ("post_grad.2.Late", "Late", True)])
        b = course(
            tmp_path / "b",
            [
                ("post_grad.0.Lower", "Lower", False),
                ("post_grad.1.Noop", "Noop", False),
                ("post_grad.2.Late", "Late", True),
            ],
        )
        found = self.compared(a, b)
        (span,) = found.spans
        assert [pair.name for pair in span.pairs] == ["post_grad.0.Lower", "post_grad.1.Noop"]
        assert span.next.name == "post_grad.2.Late"
        assert [pair.name for pair in found.differently_changed] == ["post_grad.0.Lower", "post_grad.2.Late"]
        assert set(difference(span.both).split(", ")) == {"5 nodes", "fused_norm −1", "rms_norm +1"}
        assert found.last.same

    def test_graphs_that_stay_different(self, tmp_path: Path) -> None:
        a = course(tmp_path / "a", [("post_grad.0.Lower", "Lower", True)])
        b = course(tmp_path / "b", [("post_grad.0.Lower", "Lower", False)])
        (span,) = self.compared(a, b).spans
        assert span.next is None
        assert [pair.name for pair in span.pairs] == ["post_grad.0.Lower", "post_grad"]

    def test_a_pass_of_one_that_changed_the_graph(self, tmp_path: Path) -> None:
        a = course(tmp_path / "a", [])
        b = course(tmp_path / "b", [("post_grad.0.Lower", "Lower", True)])
        (span,) = self.compared(a, b).spans
        assert (span.pairs[0].a, span.pairs[0].name) == (None, "post_grad.0.Lower")


def trained(folder: Path, stages: list[tuple[str, str, bool]]) -> Dump:
    """A dump of a training: phase, stage, lowered after it."""
    maker = DumpMaker(folder)
    maker.compilation("f")
    maker.snapshot("f/captured", "captured", piece(0), "f/captured")
    for phase, stage, lowered in stages:
        maker.snapshot(f"f/{phase}/{stage}", stage, piece(0, lowered=lowered), f"f/{phase}/{stage}", phase=phase)
    maker.end("f")
    maker.end()
    return load(folder)


class TestTraining:
    def test_the_order_in_which_the_phases_are_told_does_not_count(self, tmp_path: Path) -> None:
        stages = [(phase, stage, False) for phase in ("forward", "backward") for stage in ("aot", "post_grad")]
        served = trained(tmp_path / "b", stages)
        stages.insert(1, stages.pop(2))
        (pair,) = compare(trained(tmp_path / "a", stages), served).compilations
        assert pair.same
        assert all(pair.a and pair.b for pair in pair.whole.course.pairs)

    def test_what_differs_in_the_forward_does_not_meet_again_in_the_backward(self, tmp_path: Path) -> None:
        a, b = (
            trained(tmp_path / str(lowered), [("forward", "post_grad", lowered), ("backward", "post_grad", False)])
            for lowered in (False, True)
        )
        (pair,) = compare(a, b).compilations
        (span,) = pair.whole.course.spans
        assert (span.pairs[0].name, span.next) == ("post_grad", None)


@pytest.fixture(name="dump", scope="module")
def _dump(tmp_path_factory: pytest.TempPathFactory) -> Dump:
    folder = tmp_path_factory.mktemp("compare") / "process"
    make_process(folder)
    return load(folder)


def changed(dump: Dump, folder: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Dump:
    """A copy of a dump, each of whose events went through `change`."""
    shutil.copytree(dump.path, folder)
    events = [after for event in manifest(dump.path) if (after := change(event)) is not None]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return load(folder)


def verdicts(found: Comparison) -> tuple[bool, bool, bool]:
    return found.same_graphs, found.same_kernels, found.same_counts


class TestRuns:
    def test_a_dump_and_itself(self, dump: Dump) -> None:
        found = compare(dump, dump)
        assert verdicts(found) == (True, True, True)
        assert not found.differs(("graphs", "kernels", "count"))
        assert not found.versions
        assert not found.configuration

    def test_the_other_way_round(self, dump: Dump, tmp_path: Path) -> None:
        other = make_process(tmp_path / "p", layers=3)
        there, back = compare(dump, load(other.folder)), compare(load(other.folder), dump)
        assert verdicts(there) == verdicts(back) == (False, False, False)
        assert [(total.a, total.b) for total in there.totals] == [(total.b, total.a) for total in back.totals]

    def test_more_layers(self, dump: Dump, tmp_path: Path) -> None:
        other = make_process(tmp_path / "p", layers=6)
        pair = next(iter(compare(dump, load(other.folder)).compilations))
        assert pair.name == "backbone"
        assert [(group.a, group.b, group.same) for group in pair.pieces] == [
            (("piece_00",), ("piece_00",), True),
            (("piece_02", "piece_04", "piece_06"), ("piece_02", "piece_04", "piece_06"), True),
            ((), ("piece_08", "piece_10"), False),
        ]
        assert not pair.whole.course.same

    def test_a_compilation_more(self, dump: Dump, tmp_path: Path) -> None:
        other = changed(dump, tmp_path / "p", lambda event: None if event["compilation"] == "backbone.2" else event)
        found = compare(dump, other)
        assert [(pair.name, pair.b is None) for pair in found.compilations] == [
            ("backbone", False),
            ("backbone.2", True),
        ]
        assert verdicts(found) == (False, False, False)

    def test_a_compilation_of_another_name(self, dump: Dump, tmp_path: Path) -> None:
        def rename(event: dict[str, Any]) -> dict[str, Any]:
            text = json.dumps(event).replace('"backbone.2', '"model.2').replace('"backbone', '"model')
            return json.loads(text.replace('"path": "model', '"path": "backbone'))

        found = compare(dump, changed(dump, tmp_path / "p", rename))
        assert [(pair.a and pair.a.name, pair.b and pair.b.name) for pair in found.compilations] == [
            ("backbone", "model"),
            ("backbone.2", "model.2"),
        ]
        assert verdicts(found) == (True, True, True)

    def test_a_range_less(self, dump: Dump, tmp_path: Path) -> None:
        other = changed(dump, tmp_path / "p", lambda event: None if event.get("range") == "8_8" else event)
        found = compare(dump, other)
        pair = found.compilations[0]
        assert pair.ranges == (RangePair("1_4096", "1_4096"), RangePair("8_8", None))
        assert [group.only_a for group in pair.pieces] == [(), ("8_8",)]
        assert verdicts(found) == (False, False, False)

    def test_other_ranges_of_the_same_graphs(self, dump: Dump, tmp_path: Path) -> None:
        """Matched by their sizes; the code's header, which names the range, does not count."""

        def rename(event: dict[str, Any]) -> dict[str, Any]:
            text = json.dumps(event).replace("range_1_4096/", "range_1_8192/").replace('"1_4096"', '"1_8192"')
            event = json.loads(text)
            for file in event.get("files", []):
                file["path"] = file["path"].replace("range_1_8192", "range_1_4096")
            return event

        found = compare(dump, changed(dump, tmp_path / "p", rename))
        assert found.compilations[0].ranges[0] == RangePair("1_4096", "1_8192")
        assert verdicts(found) == (True, True, True)

    def test_other_kernels(self, dump: Dump, tmp_path: Path) -> None:
        shutil.copytree(dump.path, tmp_path / "p")
        for path in (tmp_path / "p").rglob("*.cpp"):
            path.write_text("// another header\nextern void other();\n")

        def digest(event: dict[str, Any]) -> dict[str, Any]:
            for file in event.get("files", []):
                file["digest"] = file["path"]
            return event

        events = [digest(event) for event in manifest(dump.path)]
        (tmp_path / "p" / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        found = compare(dump, load(tmp_path / "p"))
        assert verdicts(found) == (True, False, True)
        compiled = found.compilations[0].pieces[1].compiled[0]
        assert (compiled.texts.only_a, compiled.texts.only_b) == (("cpp_fused_norm_0",), ("cpp_fused_norm_0",))

    def test_a_warm_start_that_has_code_alone(self, dump: Dump, tmp_path: Path) -> None:
        warm = changed(dump, tmp_path / "p", lambda event: None if event["event"] in ("snapshot", "pass") else event)
        found = compare(dump, warm)
        assert not found.same_graphs
        assert "B: backbone was loaded from a cache: it has code and no graphs" in found.notes
        assert verdicts(compare(warm, warm)) == (True, True, True)
        pieces = found.compilations[0].pieces
        assert [(group.a, group.b) for group in pieces if group.b] == [(("piece_02",), ("piece_02",))]
        assert all(each.texts.same for group in pieces for each in group.compiled)

    def test_a_graph_that_is_missing_is_still_told_by_its_name(self, dump: Dump, tmp_path: Path) -> None:
        shutil.copytree(dump.path, tmp_path / "p")
        shutil.rmtree(tmp_path / "p" / "nodes")
        other = load(tmp_path / "p")
        assert verdicts(compare(dump, other)) == (True, True, True)
        lowered = make_process(tmp_path / "q", layers=5)
        pair = next(iter(compare(load(lowered.folder), other).compilations))
        span = pair.whole.course.spans[0]
        assert span.both
        assert difference(span.both).startswith("differs, but in what cannot be told")


class TestFigures:
    """Nodes, kernels and compile times side by side."""

    def timed(self, folder: Path, seconds: dict[tuple[str, str], float], whole: dict[str, Any]) -> Dump:
        """A dump of three pieces, two of them equal, in which these have these compile times."""
        maker = DumpMaker(folder)
        maker.compilation("backbone")
        tables = [piece(0, lowered=True), piece(0), piece(1)]
        for number, table in enumerate(tables):
            maker.snapshot(f"backbone/piece_{number:02d}/piece", "piece", table, f"backbone/{number}")
        for name, compile_range in seconds:
            here, table = f"backbone/{name}/range_{compile_range}", tables[int(name[-2:])]
            maker.snapshot(f"{here}/post_grad", "post_grad", table, here, phase="inference")
            maker.code(f"{here}/kernels/cpp_{name}", "kernel", f"{here}.cpp", f"void {name}();\n")
        for (name, compile_range), value in seconds.items():
            place = {"piece": name, "range": compile_range}
            maker.event("metric", "backbone", kind="compile_time", values={"seconds": value}, **place)
        maker.event("metric", "backbone", kind="compile_time", values=whole, piece=None, range=None)
        maker.end("backbone")
        maker.end()
        return load(folder)

    def test_of_ranges_and_of_equal_pieces_together(self, tmp_path: Path) -> None:
        names = ("piece_00", "piece_01", "piece_02")
        a = self.timed(tmp_path / "a", dict.fromkeys(((name, "1_8") for name in names), 1.0), {"seconds": 4.0})
        times = {(name, sizes): 0.5 for sizes in ("1_8", "9_16") for name in names}
        b = self.timed(tmp_path / "b", times | {("piece_01", "1_8"): 3.0}, {"seconds": 6.0})
        (pair,) = compare(a, b).compilations
        assert all(len(group.a) == len(group.b) for group in pair.pieces)
        found = [
            (
                *(each.pieces_a, each.pieces_b, each.ranges.a, each.ranges.b, each.notable),
                *(side and (side.nodes, side.kernels, side.seconds) for side in (each.a, each.b)),
            )
            for each in pair.figures
        ]
        equal = ("piece_01", "piece_02")
        nodes = [len(piece(0, lowered=lowered)["nodes"]) for lowered in (True, False)]
        both = sum(nodes)
        assert found == [
            ((), (), None, None, True, (both, 2, 4.0), (2 * both, 4, 6.0)),
            ((), (), "1_8", "1_8", False, (both, 2, 3.0), (both, 2, 4.0)),
            ((), (), None, "9_16", True, None, (both, 2, 1.5)),
            (("piece_00",), ("piece_00",), "1_8", "1_8", True, (nodes[0], 1, 1.0), (nodes[0], 1, 0.5)),
            (("piece_00",), ("piece_00",), None, "9_16", True, None, (nodes[0], 1, 0.5)),
            (equal, equal, "1_8", "1_8", True, (nodes[1], 1, 2.0), (nodes[1], 1, 3.5)),
            (equal, equal, None, "9_16", True, None, (nodes[1], 1, 1.0)),
        ]

    @pytest.mark.parametrize(
        ("values", "seconds"),
        [
            ({"entire_frame_compile_time_s": 2.5}, 2.5),
            ({"seconds": 4.0, "entire_frame_compile_time_s": 2.5}, 4.0),
            ({"seconds": "4"}, 1.5),
            ({"seconds": True}, 1.5),
            ({"seconds": -1}, 1.5),
            ({}, 1.5),
        ],
        ids=["torch", "engine", "text", "bool", "negative", "pieces"],
    )
    def test_of_a_whole_compilation(self, tmp_path: Path, values: dict[str, Any], seconds: float) -> None:
        """As the engine says it, or torch; else its pieces together."""
        dump = self.timed(tmp_path / "a", {("piece_00", "1_8"): 0.5, ("piece_01", "1_8"): 1.0}, values)
        found = compare(dump, dump)
        whole = found.compilations[0].figures[0]
        assert (whole.a and whole.a.seconds, whole.notable) == (seconds, False)
        assert [(total.a, total.b) for total in found.totals if not total.counts] == [(seconds, seconds)]

    @pytest.mark.parametrize(
        ("a", "b", "notable"),
        [(1.0, 1.4, False), (0.1, 0.5, False), (0.1, 0.7, True), (10.0, 14.0, False), (10.0, 16.0, True)],
    )
    def test_times_that_say_something(self, tmp_path: Path, a: float, b: float, notable: bool) -> None:
        dumps = [self.timed(tmp_path / str(i), {("piece_00", "1_8"): seconds}, {}) for i, seconds in enumerate((a, b))]
        assert [each.notable for each in compare(*dumps).compilations[0].figures] == [notable] * 3


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("x = 1\n# a comment\n", "x = 1\n# another\n", True),
        ("x = 1  # y\n", "x = 1\n", False),
        ("// made of: mul_1\nint x;\n", "// made of: mul_2\nint x;\n", True),
        ("#include </tmp/a/b.h>\n", "#include </var/c/b.h>\n", True),
        ("#include </tmp/a/b.h>\n", "#include </tmp/a/c.h>\n", False),
        ("#pragma omp\n", "", False),
        ("y = a/b/c\n", "y = a/d/c\n", False),
    ],
)
def test_what_counts_of_code(a: str, b: str, same: bool) -> None:
    assert (identity(a) == identity(b)) is same


class TestSettings:
    def made(self, folder: Path, context: Any, **run: Any) -> Dump:
        maker = DumpMaker(folder)
        (folder / "context.json").write_text(context if isinstance(context, str) else json.dumps(context))
        maker.end()
        events = manifest(folder)
        events[0] |= run
        (folder / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        return load(folder)

    def test_what_differs(self, tmp_path: Path) -> None:
        common = {"versions": {"vllm": "0.30.0"}, "platform": "Linux"}
        a = {**common, "configuration": {"c": {"sizes": [8], "mode": 3, "gone": {"x": 1}, "none": None}}}
        b = {
            "versions": {"vllm": "0.32.0"},
            "platform": "Linux",
            "configuration": {"c": {"sizes": [8, 16], "mode": 3, "none": 0, "more": {}}},
            "environment": {"A": "1"},
        }
        found = compare(self.made(tmp_path / "a", a), self.made(tmp_path / "b", b, argv=["x"]))
        assert [(each.name, each.a, each.b) for each in found.versions] == [("vllm", "0.30.0", "0.32.0")]
        assert [(each.name, each.a, each.b, each.only) for each in found.configuration] == [
            ("c.sizes", [8], [8, 16], None),
            ("c.gone.x", 1, None, "a"),
            ("c.none", None, 0, None),
            ("c.more", None, {}, "b"),
            ("environment.A", None, "1", "b"),
            ("command_line", ["serve.py", "--model", "tiny"], ["x"], None),
        ]

    @pytest.mark.parametrize(
        ("name", "a", "b", "of_a_run"),
        [
            ("local_cache_dir", "/a/b/0123456789abcdef0123", "/c/9876543210abcdef9999", True),
            ("debug_dump_path", "/a/x", "/b/y/z", True),
            ("instance_id", 1795258240263256308, 1795258319709624838, True),
            ("cache_dtype", "auto", "fp8", False),
            ("model", "/models/a", "/models/b", False),
            ("VLLM_DEBUG_DUMP_PATH", "old", "new", True),
            ("hf_config_path", "/a", "/b", False),
            ("cache_dir", "/a", None, False),
            ("cache_dir", "/a", 3, False),
            ("root_seed", 1, 2, False),
        ],
    )
    def test_what_differs_in_any_two_runs(self, tmp_path: Path, name: str, a: Any, b: Any, of_a_run: bool) -> None:
        dumps = [self.made(tmp_path / side, {"configuration": {name: value}}) for side, value in (("a", a), ("b", b))]
        (setting,) = compare(*dumps).configuration
        assert (setting.name, setting.of_a_run) == (name, of_a_run)

    @pytest.mark.parametrize("context", ["", "[]", "{", '{"configuration": 3}', "[" * 50 + "]" * 50])
    def test_a_context_that_is_something_else(self, tmp_path: Path, context: str) -> None:
        whole = self.made(tmp_path / "a", {"configuration": {"x": 1}})
        found = compare(whole, self.made(tmp_path / "b", context))
        assert found.same_graphs
        if context in ("", "{"):
            assert any("its configuration is unknown" in note for note in found.notes)


class TestRanks:
    def test_the_odd_one_first(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ranks=4)
        shutil.rmtree(root / "run_001" / "rank_2_dp_0")
        make_process(root / "run_001" / "rank_2_dp_0", rank=2, layers=3)
        found = compare_ranks(load(root))
        assert [group.names for group in found.groups] == [
            ("rank_2_dp_0",),
            ("rank_0_dp_0", "rank_1_dp_0", "rank_3_dp_0"),
        ]
        odd = found.groups[0].comparison
        assert odd is not None
        assert (odd.a.process, odd.b.process, odd.same_graphs) == ("rank_0_dp_0", "rank_2_dp_0", False)
        assert found.groups[1].comparison is None

    def test_all_the_same(self, tmp_path: Path) -> None:
        found = compare_ranks(load(make_dump(tmp_path / "dump", ranks=3)))
        assert found.same
        assert [group.names for group in found.groups] == [("rank_0_dp_0", "rank_1_dp_0", "rank_2_dp_0")]

    def test_runs_are_compared_rank_by_rank(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ranks=3, runs=2)
        shutil.rmtree(root / "run_002" / "rank_1_dp_0")
        make_process(root / "run_002" / "rank_1_dp_0", rank=1, layers=3)
        found = compare_runs(load(root, "run_001"), load(root, "run_002"))
        assert [(names, each.same_graphs) for names, each in found] == [
            (("rank_0_dp_0", "rank_2_dp_0"), True),
            (("rank_1_dp_0",), False),
        ]

    def test_one_process_and_another(self, tmp_path: Path) -> None:
        root = make_dump(tmp_path / "dump", ranks=2)
        found = compare_runs(load(root / "run_001" / "rank_0_dp_0"), load(root / "run_001" / "rank_1_dp_0"))
        assert [(names, each.b.process) for names, each in found] == [(("rank_0_dp_0",), "rank_1_dp_0")]


class TestAnythingElse:
    VALUES = st.sampled_from([None, "", 0, -1, [], {}, "x/y", "piece_02", "9_3", 1e308, True])

    @given(st.data())
    @settings(deadline=None, max_examples=60)
    def test_a_value_of_the_manifest_is_something_else(
        self, dump: Dump, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        """No exception but ours, and no time without end."""
        folder = tmp_path_factory.mktemp("damaged") / "p"
        shutil.copytree(dump.path, folder)
        events = manifest(dump.path)
        for _ in range(data.draw(st.integers(1, 3))):
            event = data.draw(st.sampled_from(events))
            event[data.draw(st.sampled_from(sorted(event)))] = data.draw(self.VALUES)
        (folder / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        started = time.process_time()
        with suppress(CutawayError):
            other = load(folder)
            for found in (compare(dump, other), compare(other, dump)):
                for pair in found.compilations:
                    for span in pair.whole.course.spans:
                        _ = span.both and difference(span.both)
            compare_ranks(other)
        assert time.process_time() - started < 20
