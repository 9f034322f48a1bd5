"""What a recording holds of passes and ops: who was expected to run, who does, what was counted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from compiler.passes.ir_models import SPLITTING, Given, Shifted, compiled, passes_shift
from recordings import Recorded, check, problems, python, recorded
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

import cutaway
from cutaway.compiler import before
from cutaway.compiler.config import CompilationConfig
from cutaway.compiler.observe import CompilerHost
from cutaway.compiler.passes.context import get_pass_context
from cutaway.ops import set_priority

LOWERING = "post_grad.0.ir_lowering"
RANGE = "backbone/piece_00/range_1_64"


def record(path: Path, model: torch.nn.Module, priority: Any = (), **config: Any) -> Recorded:
    """The first call of a model, with 4 rows; nothing comes out of a cache."""
    x = torch.ones(4, 4)
    with set_priority({"passes_shift": [*priority, "native"]}), cutaway.record(path):
        compiled(model, disable_cache=True, **config)(x)
    return recorded(path)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("plain"), Shifted())


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A provider that takes the 4 rows of the example and not all of the range."""
    return record(tmp_path_factory.mktemp("few"), Shifted(), ["few"])


def snapshots(recording: Recorded, place: str = RANGE) -> dict[str, Any]:
    """The snapshots of a place by the last part of their selectors."""
    found = recording.of("snapshot")
    return {event["selector"].rpartition("/")[2]: event for event in found if event["selector"].startswith(place)}


class TestProviders:
    @pytest.mark.parametrize(("name", "expected"), [("plain", "native"), ("few", "few")])
    def test_are_foretold_at_every_stage_before_lowering(
        self, request: pytest.FixtureRequest, name: str, expected: str
    ) -> None:
        recording: Recorded = request.getfixturevalue(name)
        stages = [*snapshots(recording)]
        ahead = [step for step in stages[: stages.index(LOWERING)] if step != "after_split"]
        assert len(ahead) > 5
        for step in ahead:
            snapshot = snapshots(recording)[step]
            calls = [node["name"] for node in recording.table(snapshot)["nodes"] if "passes_shift" in node["target"]]
            assert snapshot["providers"] == dict.fromkeys(calls, expected), step
            assert len(calls) == 2

    def test_are_those_that_were_taken_after_it(self, few: Recorded) -> None:
        lowered = snapshots(few)[LOWERING]
        assert set(lowered["providers"].values()) == {"native"}
        assert len(lowered["providers"]) == 2
        assert not [node for node in few.table(lowered)["nodes"] if "passes_shift" in node["target"]]

    def test_stand_in_the_structured_text(self, few: Recorded) -> None:
        (file,) = [file["path"] for file in snapshots(few, "backbone")["captured"]["files"] if file["kind"] == "layers"]
        lines = [line for line in few.read(file).splitlines() if " = cutaway_ir.passes_shift(" in line]
        assert len(lines) == 2
        assert all(line.endswith("provider: few") for line in lines)

    def test_another_than_was_foretold_is_a_finding(self, plain: Recorded, few: Recorded) -> None:
        assert plain.of("metric", kind="finding") == []
        found = few.of("metric", kind="finding")
        nodes = sorted(snapshots(few)[LOWERING]["providers"])
        assert sorted(event["values"]["node"] for event in found) == nodes
        for event in found:
            assert (event["piece"], event["range"]) == ("piece_00", "1_64")
            assert event["values"] == {
                "kind": "provider",
                "pass": "ir_lowering",
                "node": event["values"]["node"],
                "layer": "Shifted",
                "expected": "few",
                "taken": "native",
            }

    def test_a_finding_stands_on_the_page_and_in_the_list(self, plain: Recorded, few: Recorded) -> None:
        text = "- ir_lowering took provider **native** where few was expected: `passes_shift`, `passes_shift_1`"
        for recording, said in ((few, 1), (plain, 0)):
            assert recording.read("backbone/index.md").count(f"{text}, in piece_00 sizes 1 to 64\n") == said
            listed = python("-m", "cutaway.cli", "ls", str(recording.folder.parents[1])).stdout
            line = "finding: ir_lowering took provider native where few was expected (2 times)"
            assert listed.count(line) == said

    def test_a_single_size_is_foretold_as_it_is(self, tmp_path: Path) -> None:
        recording = record(tmp_path, Shifted(), ["few"], compile_sizes=[4, 16])
        for size, provider in ((4, "few"), (16, "native")):
            there = snapshots(recording, f"backbone/piece_00/range_{size}_{size}")
            assert set(there[LOWERING]["providers"].values()) == {provider}
            assert set(there["before_post_grad"]["providers"].values()) == {provider}
        places = {(event["piece"], event["range"]) for event in recording.of("metric", kind="finding")}
        assert places == {("piece_00", "1_64")}

    def test_a_check_that_raises_ends_nothing(self, tmp_path: Path) -> None:
        """``supports_args`` is the user's; that it fails is said by what needs its answer."""
        path = tmp_path / "dump"
        with pytest.raises(cutaway.CompileError, match="moody"):
            record(path, Shifted(), ["moody"])
        recording = recorded(path)
        assert snapshots(recording, "backbone")["captured"]["providers"] == {}
        assert recording.of("error") == []

    def test_asking_adds_no_guard(self) -> None:
        shape_env = ShapeEnv()
        mode = FakeTensorMode(shape_env=shape_env)
        dynamic = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC, DimDynamic.STATIC])
        graph = fx.Graph()
        x = graph.placeholder("x")
        x.meta["val"] = mode.from_tensor(torch.ones(4, 4), symbolic_context=dynamic)
        node = graph.call_function(passes_shift.torch_op, (x,), {"offset": 3.0})
        before = [*shape_env.guards]
        host = CompilerHost(CompilationConfig(), "model")
        with set_priority({"passes_shift": ["few", "native"]}):
            assert host.provider(node) == "few"
            assert shape_env.guards == before
            passes_shift.dispatch(x.meta["val"], 3.0)  # as one would ask who does not care
        assert shape_env.guards != before


class TestPasses:
    def test_stand_where_they_ran(self, plain: Recorded) -> None:
        ran = [
            event["selector"].removeprefix(f"{RANGE}/")
            for event in plain.of("pass")
            if "inductor" not in event["selector"]
        ]
        assert ran[0] == "pre_grad.0.inplace_functionalization"
        assert ran[1] == "post_grad_pre.0.no_op_elimination"
        assert LOWERING in ran

    def test_say_what_they_counted(self, plain: Recorded) -> None:
        (lowering,) = plain.of("pass", **{"pass": "ir_lowering"})
        counts = lowering["counts"]
        assert counts["lowered"] == 2
        assert counts["hits"] + counts["misses"] + counts["uncached"] == 2
        (fusion,) = plain.of("pass", **{"pass": "add_rms_norm_fusion"})
        assert fusion["counts"]["matches"] == 0

    def test_and_note(self, few: Recorded) -> None:
        (lowering,) = few.of("pass", **{"pass": "ir_lowering"})
        (undecided,) = lowering["notes"]["undecided"]
        assert "supports_args of provider 'few' asks" in undecided

    def test_the_page_and_the_list_show_it(self, plain: Recorded) -> None:
        (row,) = [
            line for line in plain.read("backbone/index.md").splitlines() if LOWERING in line and "· 2 low" in line
        ]
        assert "2 lowered" in row
        listed = python("-m", "cutaway.cli", "ls", str(plain.folder.parents[1]), "backbone").stdout
        (row,) = [line for line in listed.splitlines() if f"{LOWERING} " in line]
        assert re.search(r"· 2 lowered, ", row)

    def test_of_users_too(self, tmp_path: Path) -> None:
        def counting(graph: fx.Graph) -> None:
            get_pass_context().report.count("nodes", len(graph.nodes))
            get_pass_context().report.note("seen", True)

        recording = record(tmp_path, Shifted(), post_grad_passes=[before("ir_lowering", counting)])
        (event,) = recording.of("pass", **{"pass": "counting"})
        assert event["selector"].endswith("post_grad.0.counting")
        assert event["counts"] == {"nodes": event["nodes"]}
        assert event["notes"] == {"seen": True}

    def test_the_dump_is_whole(self, plain: Recorded, few: Recorded) -> None:
        for recording in (plain, few):
            check(recording.folder.parents[1])
            assert recording.of("error") == []


class TestDonatedInputs:
    def test_are_those_of_the_piece(self, tmp_path: Path) -> None:
        recording = record(tmp_path, Given(give=True), splitting_ops=SPLITTING)
        (place,) = {
            event["selector"].rpartition("/")[0] for event in recording.of("snapshot") if event["donated_inputs"]
        }
        there = snapshots(recording, place)
        stages = [*there]
        first = stages.index("pre_grad.0.inplace_functionalization")
        inputs = [node for node in recording.table(there["before_pre_grad"])["nodes"] if node["op"] == "placeholder"]
        tensors = [index for index, node in enumerate(inputs) if node.get("shape")]
        assert [there[stage]["donated_inputs"] for stage in stages] == [[]] * first + [tensors] * (len(stages) - first)
        assert problems(recording.folder.parents[1]) == []


class TestRawFiles:
    def test_run_again_with_the_op_in_them(self, plain: Recorded) -> None:
        (file,) = [file["path"] for file in snapshots(plain, "backbone")["captured"]["files"] if file["kind"] == "raw"]
        text = plain.read(file)
        assert "import compiler.passes.ir_models" in text
        assert "cutaway_ir" in text
        python(str(plain.folder / file))
