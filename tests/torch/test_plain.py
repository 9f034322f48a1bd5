"""A plain ``torch.compile`` program: names, reasons, one folder for each compile, one table for each graph."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import programs
import pytest
import torch
from programs import line_of, numbers
from recordings import Event, Recorded, check, recorded

import cutaway
from cutaway.record.fingerprint import fingerprint
from cutaway.stages import STAGES

RESUMED = f"torch_dynamo_resume_in_with_break_at_{line_of(programs.with_break, 'graph_break')}"
NAMES = [
    "Net.forward", "Net.forward.2", "with_break", RESUMED, "doubled", "doubled.2", "doubled.3", "squared", "shifted",
]  # fmt: skip


def test_the_dump_is_whole(plain: Recorded) -> None:
    check(plain.folder.parents[1])
    assert plain.of("error") == []


class TestCompilations:
    def test_each_has_its_name_in_order(self, plain: Recorded) -> None:
        assert plain.compilations == NAMES

    def test_each_has_a_folder_with_an_index(self, plain: Recorded) -> None:
        assert [event["folder"] for event in plain.of("compilation")] == NAMES
        for name in NAMES:
            assert {f"{name}/index.md", f"{name}/00.captured.py", f"{name}/90.output_code.py"} <= set(plain.files)

    @pytest.mark.parametrize(
        ("name", "function", "model"),
        [
            ("Net.forward", programs.Net.forward, "Net"),
            ("Net.forward.2", programs.Net.forward, "Net"),
            ("doubled.3", programs.doubled, None),
        ],
    )
    def test_each_says_where_its_function_is(self, plain: Recorded, name: str, function: Any, model: str) -> None:
        (event,) = plain.of("compilation", compilation=name)
        assert event["function"] == function.__qualname__
        assert (event["file"], event["line"]) == (function.__code__.co_filename, function.__code__.co_firstlineno)
        assert event["model"] == model

    def test_recompiles_are_numbered_and_say_why(self, plain: Recorded) -> None:
        found = {event["compilation"]: (event["recompile"], event["reason"]) for event in plain.of("compilation")}
        assert found["Net.forward"] == (0, [])
        number, (reason,) = found["Net.forward.2"]
        assert number == 1
        assert "size mismatch at index 0. expected 4, actual 7" in reason
        assert [found[name][0] for name in ("doubled", "doubled.2", "doubled.3")] == [0, 1, 2]
        assert "expected 3, actual 4" in " ".join(found["doubled.3"][1])

    def test_each_is_over_once(self, plain: Recorded) -> None:
        assert Counter(event["compilation"] for event in plain.of("end")) == Counter([*NAMES, None])
        assert plain.events[-1]["event"] == "end"

    def test_what_happened_after_a_name_has_that_name(self, plain: Recorded) -> None:
        current = None
        for event in plain.events:
            current = event["compilation"] if event["event"] == "compilation" else current
            assert event["compilation"] in (current, None)


class TestReasons:
    def test_a_graph_break_names_the_users_line(self, plain: Recorded) -> None:
        (event,) = plain.of("metric", kind="graph_break")
        assert event["compilation"] == "with_break"
        reason = event["values"]["reason"]
        assert f"{programs.__file__}:{line_of(programs.with_break, 'graph_break')}" in reason
        assert "torch._dynamo.graph_break()" in reason

    def test_the_guards_are_written_down(self, plain: Recorded) -> None:
        text = plain.read("Net.forward.2/98.guards.txt")
        assert "L['x']" in text
        assert "Symbolic sizes" in text
        assert "captured with 7" in text

    def test_how_long_it_took(self, plain: Recorded) -> None:
        times = plain.of("metric", kind="compile_time")
        assert [event["compilation"] for event in times] == NAMES
        assert all(event["values"]["entire_frame_compile_time_s"] > 0 for event in times)

    def test_no_number_is_an_essay(self, plain: Recorded) -> None:
        for event in plain.of("metric", kind="compile_time"):
            assert len(json.dumps(event)) < 8000

    def test_what_recording_cost(self, plain: Recorded) -> None:
        costs = [event["values"] for event in plain.of("metric", kind="hooks")]
        assert [cost["scope"] for cost in costs] == NAMES
        assert all(cost["snapshots"] >= 7 for cost in costs)


class TestStages:
    EXPECTED = (
        "captured", "before_pre_grad", "after_pre_grad", "aot_forward", "before_joint", "after_joint",
        "before_post_grad", "post_grad",
    )  # fmt: skip

    @pytest.mark.parametrize("name", NAMES)
    def test_every_compile_goes_through_them_in_order(self, plain: Recorded, name: str) -> None:
        assert [stage for stage in plain.stages(name) if not stage.endswith("_pass")] == [*self.EXPECTED]

    def test_every_name_is_in_the_list_of_stages(self, plain: Recorded) -> None:
        found = {event["stage"] for event in [*plain.of("snapshot"), *plain.of("pass")]}
        assert found <= {stage.name for stage in STAGES}

    def test_passes_are_numbered_within_their_round(self, plain: Recorded) -> None:
        passes = plain.of("pass", compilation="Net.forward", stage="post_grad_pass")
        assert [event["number"] for event in passes] == list(range(len(passes)))
        assert "inductor_post_grad.0.reorder_for_locality" in passes[0]["selector"]
        assert all(event["ms"] >= 0 for event in passes)

    def test_a_pass_that_changed_nothing_has_no_snapshot(self, plain: Recorded) -> None:
        snapshots = {event["selector"] for event in plain.of("snapshot")}
        for event in plain.of("pass"):
            assert (event["selector"] in snapshots) == event["changed"], event

    def test_changed_is_said_of_what_changed(self, plain: Recorded) -> None:
        stages = {e["stage"]: e["changed"] for e in plain.of("snapshot", compilation="Net.forward")}
        assert stages["aot_forward"]
        assert stages["post_grad_pass"]
        assert not any(stages[name] for name in ("captured", "before_pre_grad", "before_joint", "post_grad"))

    def test_the_change_is_counted_in_operators(self, plain: Recorded) -> None:
        (event,) = plain.of("snapshot", compilation="doubled", stage="aot_forward")
        assert event["ops_delta"] == {}
        (event,) = plain.of("snapshot", compilation="Net.forward", stage="aot_forward")
        assert event["ops_delta"]["addmm"] == 4
        assert event["ops_delta"]["linear"] == -4


class TestSnapshots:
    def test_selectors_are_unique(self, plain: Recorded) -> None:
        found = [event["selector"] for event in [*plain.of("snapshot"), *plain.of("code")]]
        assert len(set(found)) == len(found)

    def test_a_graph_is_stored_once(self, plain: Recorded) -> None:
        first: dict[str, Event] = {}
        for event in plain.of("snapshot"):
            if event["files"]:
                assert event["graph"] not in first
                assert event["same_as"] is None
                first[event["graph"]] = event
            else:
                assert event["same_as"] == first[event["graph"]]["selector"]
        tables = [file for file in plain.files if file.startswith("nodes/")]
        assert tables == sorted(f"nodes/{graph}.json" for graph in first)

    def test_a_table_is_named_by_its_fingerprint(self, plain: Recorded) -> None:
        for event in plain.of("snapshot"):
            table = plain.table(event)
            assert fingerprint(table) == table["fingerprint"] == event["graph"]
            assert len(table["nodes"]) == event["nodes"]

    def test_of_the_nested_module_has_its_layers(self, plain: Recorded) -> None:
        (event,) = plain.of("snapshot", compilation="Net.forward", stage="captured")
        assert {"layers.0", "layers.0.up", "layers.1.down", "norm"} <= set(event["layers"])
        table = plain.table(event)
        silu = next(row for row in table["nodes"] if row["target"].endswith("silu"))
        assert table["layers"][silu["layer"]] == ["Net", "layers.0: Mlp"]
        assert table["sources"][silu["source"]]["line"] == line_of(programs.Mlp.forward, "silu")
        weight = next(row for row in table["nodes"] if row.get("input") == "self.layers.0.up.weight")
        assert weight["shape"] == [16, 8]

    def test_everything_captured_has_a_layer_and_a_source(self, plain: Recorded) -> None:
        (event,) = plain.of("snapshot", compilation="Net.forward", stage="captured")
        assert event["coverage"]["layer"] == 100.0
        assert event["coverage"]["source"] == 100.0

    @pytest.mark.parametrize("stage", ["aot_forward", "post_grad"])
    def test_later_nodes_keep_layer_source_and_origin(self, plain: Recorded, stage: str) -> None:
        (event,) = plain.of("snapshot", compilation="Net.forward", stage=stage)
        assert event["coverage"]["layer"] == 100.0
        assert event["coverage"]["source"] == 100.0
        assert event["coverage"]["origin"] >= 90.0

    def test_a_dynamic_size_is_a_symbol(self, plain: Recorded) -> None:
        (event,) = plain.of("snapshot", compilation="Net.forward.2", stage="captured")
        ((name, facts),) = plain.table(event)["symbols"].items()
        assert facts["hint"] == 7
        assert [name, 8] in [row.get("shape") for row in plain.table(event)["nodes"]]


class TestCode:
    def test_output_code_and_kernels(self, plain: Recorded) -> None:
        (event,) = plain.of("code", compilation="Net.forward", kind="output_code")
        assert not event["cached"]
        text = plain.read(event["files"][0]["path"])
        assert "def call(" in text
        kernels = plain.of("code", compilation="Net.forward", kind="kernel")
        assert kernels
        for kernel in kernels:
            name = kernel["selector"].rsplit("/", 1)[1]
            assert f"{name} = async_compile" in text
            assert 'extern "C"' in plain.read(kernel["files"][0]["path"])

    def test_kernels_know_their_nodes(self, plain: Recorded) -> None:
        (event,) = plain.of("code", compilation="Net.forward", kind="output_code")
        (last,) = plain.of("snapshot", compilation="Net.forward", stage="post_grad")
        nodes = {row["name"]: row for row in plain.table(last)["nodes"]}
        assert {name for names in event["kernels"].values() for name in names} <= nodes.keys()
        norm = next(names for kernel, names in event["kernels"].items() if "layer_norm" in kernel)
        assert any("rsqrt" in nodes[name]["target"] for name in norm)

    def test_equal_code_is_stored_once(self, plain: Recorded) -> None:
        files = [file["path"] for file in plain.announced]
        assert len(files) == len(set(files))

    def test_caches_were_asked(self, plain: Recorded) -> None:
        found = {(e["compilation"], e["kind"], e["result"]) for e in plain.of("cache")}
        assert {("Net.forward", "fx_graph", "miss"), ("Net.forward", "aot_autograd", "miss")} <= found
        assert all(event["key"] for event in plain.of("cache"))


class TestPages:
    def test_the_root_explains_itself(self, plain: Recorded) -> None:
        text = (plain.folder.parents[1] / "README.md").read_text()
        assert all(f"cutaway {command}" in text for command in ("ls", "show"))

    def test_an_index_has_a_row_for_each_stage_and_link_that_leads_somewhere(self, plain: Recorded) -> None:
        text = plain.read("Net.forward/index.md")
        for file in ("00.captured.py", "90.output_code.py"):
            assert file in text
        assert "aot_forward" in text

    def test_the_context_says_how_it_was_run(self, plain: Recorded) -> None:
        context = json.loads(plain.read("context.json"))
        assert {"versions", "command_line", "environment"} <= context.keys()

    def test_structured_text_nests_by_layer(self, plain: Recorded) -> None:
        text = plain.read("Net.forward/00.captured.layers.txt")
        assert "layers.0" in text
        assert "silu" in text

    def test_the_manifest_begins_with_the_run(self, plain: Recorded) -> None:
        first = plain.events[0]
        assert (first["event"], first["schema"], first["rank"]) == ("run", 1, 0)
        assert [event["seq"] for event in plain.events] == list(range(len(plain.events)))


def test_a_symbolic_float_is_what_it_was(tmp_path: Path) -> None:
    """2.5 is no size, and not 2."""
    torch._dynamo.reset()
    with cutaway.record(tmp_path):
        torch.compile(lambda x, factor: x * factor, backend="eager", dynamic=True)(numbers(3), 2.5)
    recording = recorded(tmp_path)
    (name,) = recording.compilations
    sizes, _, floats = recording.read(f"{name}/98.guards.txt").partition("Symbolic floats:")
    assert "captured with 3  from L['x'].size()[0]" in sizes
    assert "captured with 2.5  from L['factor']" in floats
    symbols = recording.table(recording.of("snapshot")[0])["symbols"]
    hints = {facts["source"]: facts["hint"] for facts in symbols.values()}
    assert hints == {"L['x'].size()[0]": 3, "L['factor']": None}
