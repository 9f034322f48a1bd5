"""A diff of whatever lies in a dump: an answer, or an error that says what is wrong; never for long."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dump_maker import DumpMaker, make_dump, manifest
from effort import steps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from table_maker import TableMaker, decoder

from cutaway.cli.diff_json import diff_json
from cutaway.cli.diff_text import diff_lines
from cutaway.cli.diff_unified import unified_lines
from cutaway.dump import load
from cutaway.dump.diff import match_nodes
from cutaway.dump.diff.select import compare_step
from cutaway.dump.diff.sizes import Sizes, infer
from cutaway.dump.schema import NodeTable
from cutaway.errors import CutawayError

LONGEST = 10.0
"""Seconds: a thousand times what the diff of such small graphs takes."""

TEXTS = ("", "s72", "s72 + 1", "2**99999", "a.b.default", "layers." + "9" * 5000, "\0", "layers.0.mlp", "(" * 90)
ARGUMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"sym": "s72//0"},
    {"tuple": []},
    {"slice": [None, 1, None]},
    {"graph": "none"},
    {"repr": "\0"},
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from(TEXTS),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.integers(0, 3), max_size=3),
    st.builds(lambda id_: {"node": id_}, st.integers(-1, 20)),
    st.sampled_from(ARGUMENTS),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from places(each, (*path, number))


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def recorded(root: Path, before: dict[str, Any], after: dict[str, Any]) -> Path:
    """A dump of two snapshots whose tables are these, whatever they are."""
    maker = DumpMaker(root / "run_001" / "rank_0_dp_0")
    maker.compilation("backbone")
    for number, (name, table) in enumerate((("captured", before), ("before_split", after))):
        sound = decoder(2)
        sound["nodes"][-1]["name"] = f"output_{number}"
        sound["nodes"][-2]["args"].append(number)  # so that the two are two graphs
        snapshot = maker.snapshot(f"backbone/{name}", name, sound, f"backbone/0{number}.{name}")
        path = maker.folder / next(file["path"] for file in snapshot["files"] if file["kind"] == "nodes")
        path.write_text(json.dumps({"schema": 1, "fingerprint": snapshot["graph"], **table}), encoding="utf-8")
    maker.end("backbone")
    maker.end()
    return root


def told(path: Path) -> None:
    """Everything that `cutaway diff` can say of the dump."""
    found = compare_step(load(path), "before_split")
    for width in (None, 80, 160):
        list(diff_lines(found, width, brief=False))
    list(diff_lines(found, None, brief=True))
    list(unified_lines(found))
    diff_json(found)


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_table_is_compared_or_complained_about(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    before, after = decoder(2), decoder(2)
    for _ in range(data.draw(st.integers(1, 4))):
        table = data.draw(st.sampled_from([before, after]))
        path = data.draw(st.sampled_from([each for each in places(table) if each]))
        put(table, path, data.draw(ODD))
    root = recorded(tmp_path_factory.mktemp("damaged"), before, after)
    started = time.process_time()
    with contextlib.suppress(CutawayError):
        told(root)
    assert time.process_time() - started < LONGEST


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_manifest_is_compared_or_complained_about(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = make_dump(tmp_path_factory.mktemp("damaged") / "dump")
    process = root / "run_001" / "rank_0_dp_0"
    events = manifest(process)
    steps = [event for event in events if event["event"] in ("snapshot", "pass")]
    for _ in range(data.draw(st.integers(1, 4))):
        event = data.draw(st.sampled_from(steps))
        path = data.draw(st.sampled_from([each for each in places(event) if each and each != ("event",)]))
        put(event, path, data.draw(st.one_of(ODD, st.sampled_from([each["selector"] for each in steps]))))
    (process / "manifest.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    started = time.process_time()
    for selector in ("lowering", "post_grad", "piece", "before_split"):
        with contextlib.suppress(CutawayError):
            found = compare_step(load(root), selector)
            list(diff_lines(found, None, brief=False))
            list(unified_lines(found))
            diff_json(found)
    assert time.process_time() - started < LONGEST


@pytest.mark.parametrize("depth", [50, 400, 5000])
def test_deep_arguments(tmp_path: Path, depth: int) -> None:
    before, after = decoder(1), decoder(1)
    deep: Any = 1
    for _ in range(min(depth, 450)):
        deep = [deep]
    after["nodes"][-2]["args"].append(deep)
    root = recorded(tmp_path, before, after)
    table = next((root / "run_001" / "rank_0_dp_0" / "nodes").iterdir())
    text = table.read_text()
    table.write_text(text.replace('"args": [', '"args": [' + "[" * depth + "]" * depth + ", ", 1))
    with contextlib.suppress(CutawayError):
        told(root)


def test_many_nodes_that_do_the_same_take_no_longer() -> None:
    """Nothing that is quadratic in nodes that cannot be told apart."""

    from cutaway.dump.schema import NodeTable  # noqa: PLC0415

    def made(count: int) -> NodeTable:
        maker = TableMaker({"": "Model"})
        x = maker.input("x", [4])
        nodes = [maker.call("aten.relu.default", [x], shape=[4], name=f"n{number}") for number in range(count)]
        maker.output(*nodes[::2])
        return msgspec.convert(maker.table(), NodeTable)

    many, fewer = made(4000), made(3990)
    assert len(match_nodes(many, fewer).only_before) == 10
    assert steps(lambda: match_nodes(many, fewer)) / 4000 < 1500  # 915


@given(text=st.text(alphabet="s72+*-/()%, MaxinoFlrDv", max_size=60), number=st.integers(-9, 9))
@settings(max_examples=300, deadline=None)
def test_any_text_of_a_size_has_some_form(text: str, number: int) -> None:
    assert isinstance(Sizes({"s72": number}).of(text), int | str)


def test_sizes_are_computed() -> None:
    here, there = infer([("s72", 8), (256, 256), ("s72", 8), ("s5", "s6")], ["s72", "s5"], ["s6"])
    assert here.known == {"s72": 8, "s5": "s6"}
    assert there.known == {}
    assert here.of("4*s72 + Max(1, s72//3)") == 34
    assert here.of("Mod(s72, 3)*s5") == here.of("s5*Mod(s72, 3)")
    assert here.of("s5 + 1") == Sizes({}).of("1 + s6")
