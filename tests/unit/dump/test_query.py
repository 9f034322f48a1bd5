"""Finding nodes: what a query means, what it finds, and that nothing typed or recorded breaks it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dump_maker import DumpMaker, make_process, piece
from hypothesis import given, settings
from hypothesis import strategies as st
from table_maker import TableMaker, decoder

from cutaway.dump import Dump, load
from cutaway.dump.diff import predecessor, predecessors
from cutaway.dump.query import FIELDS, Found, find_nodes, fold, misses
from cutaway.dump.query.glob import glob
from cutaway.dump.query.labels import label
from cutaway.dump.query.parse import WORD, Term, parse
from cutaway.dump.query.shape import shape_test
from cutaway.errors import CutawayError, UsageError
from cutaway.record.layers.words import spans


@pytest.fixture(name="process", scope="module")
def _process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query") / "process"
    make_process(folder)
    return folder


@pytest.fixture(name="dump", scope="module")
def _dump(process: Path) -> Dump:
    return load(process)


@pytest.fixture(name="process_80", scope="module")
def _process_80(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query") / "process"
    make_process(folder, layers=80)
    return folder


def keys(dump: Dump, query: str) -> set[tuple[str, str | None]]:
    return {(hit.selector, hit.view.piece) for hit in find_nodes(dump, query).hits}


def names(found: Found) -> list[str]:
    return [hit.selector for hit in found.hits]


class TestWhatIsTyped:
    @pytest.mark.parametrize(
        ("text", "terms"),
        [
            ("rms_norm", [Term(WORD, ("rms_norm",))]),
            ("op:mm", [Term("op", ("mm",))]),
            ("OP:mm", [Term("op", ("mm",))]),
            ("-op:mm|addmm", [Term("op", ("mm", "addmm"), negated=True)]),
            ("op:mm  layer:*.mlp", [Term("op", ("mm",)), Term("layer", ("*.mlp",))]),
            ("shape:[s*, 256]", [Term("shape", ("[s*, 256]",))]),
            ("shape:[2, 4]|[4, 2]", [Term("shape", ("[2, 4]", "[4, 2]"))]),
            ('source:"a | b: c"', [Term("source", ("a | b: c",))]),
            ("source:x.py:40", [Term("source", ("x.py:40",))]),
            ("source:it's", [Term("source", ("it's",))]),
            ("'a b'|c", [Term(WORD, ("a b", "c"))]),
            ('-"-x"', [Term(WORD, ("-x",), negated=True)]),
            ("name:mul-1", [Term("name", ("mul-1",))]),
        ],
    )
    def test_terms(self, text: str, terms: list[Term]) -> None:
        assert parse(text) == terms

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "the query is empty"),
            ("  ", "the query is empty"),
            ("op:", "says nothing to look for"),
            ("op:mm|", "says nothing to look for"),
            ("-", "says nothing to look for"),
            ("op:'mm", "a quote is left open"),
            ("shape:[s72", "a bracket is left open"),
            ("--stgae", "neither an option nor a term"),
            ("oop:mm", "Did you mean op:mm"),
            ("layers:x", "Did you mean layer:x"),
            ("aten::mm", '"aten::mm" in quotes'),
            ("x" * 5000, "the query has 5000 characters"),
            ("shape:[..., 2, ...]", "several '...'"),
            ("layer:layers.0-99999999", "set of more than"),
        ],
    )
    def test_what_makes_no_sense(self, dump: Dump, text: str, said: str) -> None:
        with pytest.raises(UsageError, match=said.replace("[", r"\[").replace("...", r"\.\.\.")) as raised:
            find_nodes(dump, text)
        assert raised.value.what

    def test_a_term_is_printed_as_it_would_be_typed(self) -> None:
        for text in ("rms_norm", "-op:mm|addmm", 'source:"a | b: c"', "shape:[s*,256]"):
            assert parse(" ".join(map(str, parse(text)))) == parse(text)


class TestPatterns:
    @pytest.mark.parametrize(
        ("pattern", "text", "fits"),
        [
            ("*.mlp", "layers.3.mlp", True),
            ("*.mlp", "layers.3.mlp.up_proj", False),
            ("*MLP*", "layers.3.mlp.up_proj", True),
            ("layers.?.mlp", "layers.3.mlp", True),
            ("layers.?.mlp", "layers.13.mlp", False),
            ("a*b*c", "a_b_b_c", True),
            ("a*b*c", "acb", False),
            ("x[0]", "x[0]", True),
            ("x[0]", "x0", False),
            ("layers.0–3.*", "layers.2.mlp", True),
            ("layers.0-3.*", "layers.30.mlp", False),
            ("layers.0,2–4", "layers.1", False),
            ("layers.0,2–4", "layers.4", True),
            ("layers.0,2…8", "layers.6", True),
            ("layers.0,2…8", "layers.7", False),
            ("*.0-3.mlp", "experts.7.layers.2.mlp", True),
        ],
    )
    def test_glob(self, pattern: str, text: str, fits: bool) -> None:
        assert glob(pattern, numbers=True)(text) is fits

    @given(st.lists(st.integers(0, 300), min_size=2, max_size=20, unique=True).map(sorted))
    def test_what_spans_writes_is_read_back(self, numbers: list[int]) -> None:
        fits = glob(f"layers.{spans(numbers)}.mlp", numbers=True)
        assert [i for i in range(302) if fits(f"layers.{i}.mlp")] == numbers

    @given(st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1))
    def test_a_label_finds_what_it_stands_for(self, pairs: set[tuple[int, int]]) -> None:
        every = [f"layers.{i}.experts.{j}" for i in range(6) for j in range(6)]
        meant = [f"layers.{i}.experts.{j}" for i, j in sorted(pairs)]
        tests = [glob(part, numbers=True) for part in label(meant).split(", ")]
        assert [layer for layer in every if any(test(layer) for test in tests)] == meant

    @pytest.mark.parametrize(
        ("pattern", "shape", "fits"),
        [
            ("[s*, 256]", ["s72", 256], True),
            ("[s*, 256]", [8, 256], False),
            ("[s*,256]", ["s72", 256, 1], False),
            ("[*, 256]", ["4*s72 + 1", 256], True),
            ("[4*s72+1, 256]", ["4*s72 + 1", 256], True),
            ("256", ["s72", 256], True),
            ("25", ["s72", 256], False),
            ("[..., 256]", [1, 2, 256], True),
            ("[1, …]", [1, 2, 256], True),
            ("[1, ..., 256]", [1], False),
            ("[]", [], True),
            ("[]", [1], False),
            ("[>=256, *]", [256, 1], True),
            ("[>256, *]", [256, 1], False),
            ("<4", ["s72", 3], True),
            ("<4", ["s72"], False),
            ("[Max(1, s72), 4]", ["Max(1, s72)", 4], True),
        ],
    )
    def test_shape(self, pattern: str, shape: list[int | str], fits: bool) -> None:
        assert shape_test(pattern)(shape) is fits

    @pytest.mark.parametrize("pattern", ["*a" * 1900, "*" * 3000 + "b", "a?" * 1900 + "*0-3"])
    def test_no_pattern_takes_long(self, pattern: str) -> None:
        started = time.process_time()
        glob(pattern, numbers=True)("a" * 20_000)
        assert time.process_time() - started < 5


class TestWhatIsFound:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("op:embedding stage:captured", ["backbone/captured:embedding", "backbone.2/captured:embedding"]),
            ("op:F.embedding compilation:backbone.2", ["backbone.2/captured:embedding"]),
            ("op:torch.nn.functional.embedding compilation:*.2", ["backbone.2/captured:embedding"]),
            ("op:nn.functional compilation:*.2 name:embedding", ["backbone.2/captured:embedding"]),
            ("op:functional.embed compilation:*.2", []),
            ("dtype:i64 compilation:*.2", ["backbone.2/captured:input_ids", "backbone.2/captured:positions"]),
            ("dtype:symint|i64 compilation:*.2 -pos", ["backbone.2/captured:input_ids", "backbone.2/captured:s72"]),
            ("shape:[s*,768] compilation:*.2", ["backbone.2/captured:mm", "backbone.2/captured:mm_1"]),
            ("shape:384 compilation:*.2 layer:layers.1", ["backbone.2/captured:getitem_7"]),
            ("layer:Qwen3MLP compilation:*.2 op:mm", ["backbone.2/captured:mm", "backbone.2/captured:mm_1"]),
            ("source:qwen2.py:402 compilation:*.2", ["backbone.2/captured:embedding"]),
            ("source:qwen2.py:400-410 compilation:*.2", ["backbone.2/captured:embedding"]),
            ("source:qwen2.py:403 compilation:*.2", []),
            ("source:forward compilation:*.2", ["backbone.2/captured:embedding"]),
            ("source:/x/qwen2.py compilation:*.2", ["backbone.2/captured:embedding"]),
            ("source:wen2.py compilation:*.2", []),
            ("provider:native compilation:*.2", ["backbone.2/captured:rms_norm_2"]),
            ("-provider:* op:rms_norm compilation:*.2 -layer:layers.0", ["backbone.2/captured:rms_norm_1"]),
            ("device:cpu op:placeholder dtype:f32 name:*qkv* compilation:*.2 layer:x", []),
            ("name:self.layers.0-1.mlp.* compilation:*.2", [
                "backbone.2/captured:l_self_layers_0_mlp_up_proj_weight_",
                "backbone.2/captured:l_self_layers_1_mlp_up_proj_weight_",
            ]),
            ("sigmoid", []),
        ],
    )  # fmt: skip
    def test_fields(self, dump: Dump, query: str, found: list[str]) -> None:
        assert names(find_nodes(dump, query)) == found

    def test_a_node_is_where_each_field_says(self, dump: Dump) -> None:
        """Every hit, checked against the dump by itself."""
        for hit in find_nodes(dump, "layer:*.mlp dtype:f32 -shape:[s72,768]").hits:
            assert any(layer.endswith(".mlp: Qwen3MLP") for layer in hit.layers)
            assert (hit.node.dtype, hit.node.shape) != ("float32", ["s72", 768])
            table = dump.snapshots[hit.selector.partition(":")[0]].table
            assert hit.selector.partition(":")[2] in {node.name for node in table.nodes}

    def test_a_negated_term_is_the_rest(self, dump: Dump) -> None:
        every = keys(dump, "stage:*")
        for term in ("op:*norm*", "layer:layers.1", "dtype:f32", "kernel:*", "pass:*", "piece:2", "mm|getitem"):
            with_it, without = keys(dump, term), keys(dump, f"-{term}")
            assert with_it
            assert not with_it & without
            assert with_it | without == every

    def test_a_repeated_piece_has_what_became_of_the_one_it_repeats(self, dump: Dump) -> None:
        hits = find_nodes(dump, "op:fused_norm stage:post_grad range:8_8").hits
        assert [(hit.view.piece, hit.layer, hit.view.stands_in) for hit in hits] == [
            ("piece_02", "layers.1", False),
            ("piece_04", "layers.2", True),
            ("piece_06", "layers.3", True),
        ]
        assert len({hit.selector for hit in hits}) == 1
        assert not find_nodes(dump, "op:fused_norm layer:layers.0").hits
        assert find_nodes(dump, "op:fused_norm layer:layers.3").hits
        assert {hit.view.piece for hit in find_nodes(dump, "op:fused_norm piece:6").hits} == {"piece_06"}
        inputs = find_nodes(dump, "op:placeholder name:*.2.mlp.* stage:post_grad range:8_8").hits
        assert [hit.view.input(hit.node) for hit in inputs] == ["self.layers.2.mlp.down_proj.weight"]

    def test_kernels_are_of_the_last_graph(self, dump: Dump) -> None:
        hits = find_nodes(dump, "kernel:cpp_fused_norm_0 -piece:4|6").hits
        assert [hit.selector for hit in hits] == [
            f"backbone/piece_02/range_{sizes}/post_grad:fused_norm" for sizes in ("1_4096", "8_8")
        ]

    def test_a_pass_touches_what_it_made_and_what_that_was_made_of(self, dump: Dump) -> None:
        hits = find_nodes(dump, "pass:VllmIRLoweringPass range:8_8 -piece:4|6").hits
        assert [(hit.view.stage, hit.node.name) for hit in hits] == [
            ("before_post_grad", "rms_norm"),
            ("post_grad.2.VllmIRLoweringPass", "fused_norm"),
            ("post_grad", "fused_norm"),
        ]
        assert not find_nodes(dump, "pass:NoOpEliminationPass").hits

    def test_a_graph_inside_another(self, tmp_path: Path) -> None:
        inner = TableMaker({"": "Model"})
        inner.output(inner.call("aten.relu.default", [inner.input("x", [4])], ""))
        table = decoder(1)
        table["graphs"] = {"body": inner.table()}
        maker = DumpMaker(tmp_path / "p")
        maker.compilation("f")
        maker.snapshot("f/captured", "captured", table, "f/00.captured")
        assert names(find_nodes(load(tmp_path / "p"), "op:relu")) == ["f/captured:body.relu"]


def test_the_snapshots_before_are_found_all_at_once(dump: Dump) -> None:
    found = predecessors(dump.snapshots.values())
    assert {name: predecessor(snapshot) for name, snapshot in dump.snapshots.items()} == {
        name: found.get(name) for name in dump.snapshots
    }
    assert found["backbone/piece_06/piece"].selector == "backbone/before_split"


class TestWhatIsTheSame:
    def test_layers_and_stages_are_folded(self, dump: Dump) -> None:
        forms = fold(find_nodes(dump, "op:*norm* compilation:backbone -layer:norm"))
        assert [(form.count, form.op, form.where, form.stages) for form in forms] == [
            (4, "ir.rms_norm", "layers.0–3.input_layernorm", ["captured", "before_split", "piece"]),
            (3, "ir.rms_norm", "layers.1–3", ["piece", "before_post_grad"]),
            (3, "vllm.fused_norm", "layers.1–3", ["post_grad.2.VllmIRLoweringPass", "post_grad"]),
        ]
        assert forms[0].of == ["captured", "before_split", "piece"]
        assert forms[1].lacking == ["layers.0"]
        assert [form.ranges for form in forms] == [None, None, None]

    def test_a_range_that_lacks_it(self, tmp_path: Path) -> None:
        maker = DumpMaker(tmp_path / "p")
        maker.compilation("f")
        for sizes, lowered in (("1_16", False), ("17_4096", True), ("8_8", True)):
            selector = f"f/piece_00/range_{sizes}/post_grad"
            maker.snapshot(selector, "post_grad", piece(0, lowered=lowered), selector)
        (form,) = fold(find_nodes(load(tmp_path / "p"), "op:fused_norm"))
        assert (form.ranges, form.count) == (["17_4096", "8_8"], 1)

    def test_lacking_are_only_layers_that_were_asked_for(self, dump: Dump) -> None:
        (form,) = fold(find_nodes(dump, "op:embedding|mm layer:layers.1-2.mlp stage:captured compilation:backbone"))
        assert (form.where, form.lacking) == ("layers.1–2.mlp", [])

    def test_every_hit_is_in_a_form(self, dump: Dump) -> None:
        found = find_nodes(dump, "-op:nothing")
        forms = fold(found)
        assert {hit.layer for hit in found.hits if hit.node.op.startswith("call_")} >= {
            name for form in forms for name in form.names if form.op not in ("placeholder", "get_attr")
        }
        assert len({(form.op, form.where, form.source, *form.types) for form in forms}) <= len(forms)


class TestWhyNothingWasFound:
    @pytest.mark.parametrize(
        ("query", "nodes", "near"),
        [
            ("op:rms_nrom", [0], ["rms_norm"]),
            ("dtype:f33", [0], ["f32"]),
            ("stage:captrued", [0], ["captured"]),
            ("kernel:cpp_fused_norm_1", [0], ["cpp_fused_norm_0"]),
            ("layer:layers.0.mpl", [0], ["layers.0.mlp"]),
            ("op:mm layer:norm", [30, 9], None),
        ],
    )
    def test_the_nearest(self, dump: Dump, query: str, nodes: list[int], near: list[str] | None) -> None:
        found = misses(dump, find_nodes(dump, query).terms)
        assert [min(miss.nodes, 1) for miss in found] == [min(each, 1) for each in nodes]
        if near is not None:
            assert list(found[0].near[:1]) == near

    def test_an_idle_pass(self, dump: Dump) -> None:
        (miss,) = misses(dump, parse("pass:noop*"))
        assert (miss.nodes, miss.idle) == (0, ("NoOpEliminationPass",))


def test_a_graph_that_is_missing_does_not_hide_the_others(process: Path, tmp_path: Path) -> None:
    copy = copied(process, tmp_path)
    dump = load(copy)
    graph = dump.find("piece_02/piece").graph  # pyright: ignore[reportAttributeAccessIssue]
    (copy / "nodes" / f"{graph}.json").unlink()
    found = find_nodes(load(copy), "op:*norm*")
    assert {hit.view.stage for hit in found.hits} >= {"captured", "post_grad"}
    assert set(found.unread) == {name for name, step in dump.snapshots.items() if step.graph == graph}
    assert all("is missing" in problem for problem in found.unread.values())


@pytest.mark.parametrize("query", ["op:rms_norm", "layer:*.mlp", "pass:*Lowering*", "kernel:*", "-op:x"])
def test_eighty_layers_are_answered_within_a_second(process_80: Path, query: str) -> None:
    """The start of the process included; processor time, and five times as long, for a busy machine."""
    before = os.times()
    command = [sys.executable, "-m", "cutaway.cli", "find", str(process_80), query]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 5


@pytest.mark.parametrize(("most", "said"), [(100, "finds more than a million nodes"), (5, "a million graphs")])
def test_no_memory_without_end(dump: Dump, monkeypatch: pytest.MonkeyPatch, most: int, said: str) -> None:
    monkeypatch.setattr("cutaway.dump.query.search.MOST", most)
    with pytest.raises(CutawayError, match=said):
        find_nodes(dump, "-op:x")


TEXT = st.text(st.sampled_from("abm_n:|-*?[]\"' .,0123456789–…>=<s72"), max_size=40)
FRAGMENT = st.sampled_from(
    [
        "op:",
        "layer:",
        "shape:[",
        "]",
        "kernel:*",
        "pass:*",
        "-",
        "|",
        "layers.0-3",
        "...",
        "stage:",
        "source:a.py:1-2",
        " ",
    ]
)


@given(st.one_of(TEXT, st.text(max_size=60), st.lists(st.one_of(FRAGMENT, TEXT), max_size=6).map("".join)))
@settings(deadline=None, max_examples=300)
def test_whatever_is_typed(dump: Dump, query: str) -> None:
    """No exception but ours, and no time without end."""
    started = time.process_time()
    with suppress(CutawayError):
        found = find_nodes(dump, query)
        fold(found)
        misses(dump, found.terms)
    assert time.process_time() - started < 10


@given(st.lists(st.sampled_from(sorted(FIELDS)), max_size=2), st.data())
@settings(deadline=None, max_examples=150)
def test_all_terms_hold(dump: Dump, fields: list[str], data: st.DataObject) -> None:
    """What two terms find is what both find by themselves."""
    values = {"op": "*norm*", "layer": "layers.1", "dtype": "f32", "stage": "captured|post_grad", "range": "8_8"}
    texts = [f"{field}:{values.get(field, '*')}" for field in fields if field != WORD] or ["norm"]
    texts = [("-" if data.draw(st.booleans()) else "") + text for text in texts]
    assert keys(dump, " ".join(texts)) == set.intersection(*[keys(dump, text) for text in texts])


QUERIES = ["op:*norm*|mm", "layer:*.0–1*", "kernel:*", "pass:*", "shape:[...,>=1]", "source:x", "norm", "-dtype:f32"]
VALUES = st.sampled_from([None, "", "x", 0, -1, 99, [], {}, [[]], {"node": 0}, {"node": -1}, "9" * 5000, True, 1e400])


@given(st.data())
@settings(deadline=None, max_examples=100)
def test_whatever_a_dump_holds(process: Path, data: st.DataObject) -> None:
    """A value of the manifest or of a node table is something else: no exception but ours, no time without end."""
    path = data.draw(st.sampled_from([process / "manifest.jsonl", *sorted((process / "nodes").iterdir())]))
    before = path.read_bytes()
    value = [json.loads(line) for line in before.splitlines()]
    holder, key = data.draw(st.sampled_from(list(places(value))))
    holder[key] = data.draw(VALUES)
    started = time.process_time()
    try:
        path.write_text("".join(json.dumps(line) + "\n" for line in value))
        with suppress(CutawayError):
            dump = load(process)
            for query in QUERIES:
                with suppress(CutawayError):
                    found = find_nodes(dump, query)
                    for form in fold(found):
                        assert form.count
                        assert form.where is not None
                    misses(dump, found.terms)
    finally:
        path.write_bytes(before)
    assert time.process_time() - started < 20


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from places(inner)


def copied(process: Path, folder: Path) -> Path:
    copy = folder / "copy"
    for path in process.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(process)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return copy
