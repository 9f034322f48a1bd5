"""Training: three graphs go through the stages, each in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from recordings import Recorded, check, recorded

import cutaway
from cutaway.dump import load
from cutaway.dump.lineage import lineage


def test_the_dump_is_whole(trained: Recorded) -> None:
    check(trained.folder.parents[1])
    assert trained.of("error") == []


def test_the_stages_in_order(trained: Recorded) -> None:
    found = [
        (event["stage"], event["phase"]) for event in trained.of("snapshot") if not event["stage"].endswith("_pass")
    ]
    assert found == [
        ("captured", None),
        ("before_pre_grad", None),
        ("after_pre_grad", None),
        ("aot_joint", "joint"),
        ("aot_forward", "forward"),
        ("aot_backward", "backward"),
        ("before_post_grad", "forward"),
        ("post_grad", "forward"),
        ("before_post_grad", "backward"),
        ("post_grad", "backward"),
    ]


def test_passes_say_which_of_the_three_they_ran_on(trained: Recorded) -> None:
    found = [(event["stage"], event["phase"]) for event in trained.of("pass")]
    assert list(dict.fromkeys(found)) == [
        ("pre_grad_pass", None),
        ("joint_pass", "joint"),
        ("post_grad_pass", "forward"),
        ("post_grad_pass", "backward"),
    ]


def test_forward_and_backward_have_folders_of_their_own(trained: Recorded) -> None:
    files = [file for file in trained.files if file.startswith("Mlp.forward/")]
    assert "Mlp.forward/01.aot_joint.py" in files
    for phase in ("forward", "backward"):
        assert f"Mlp.forward/{phase}/00.aot_{phase}.py" in files
        assert f"Mlp.forward/{phase}/90.output_code.py" in files
        assert any(file.startswith(f"Mlp.forward/{phase}/90.kernels/") for file in files)


def test_selectors_say_which(trained: Recorded) -> None:
    selectors = {event["selector"] for event in trained.of("snapshot")}
    assert {"Mlp.forward/forward/post_grad", "Mlp.forward/backward/post_grad"} <= selectors


def test_a_backward_node_is_in_the_layer_of_its_forward(trained: Recorded) -> None:
    """As far as torch noted it: what it makes of a bias or a transposed weight stays unknown."""
    (event,) = trained.of("snapshot", stage="aot_backward")
    assert event["coverage"]["layer"] >= 60.0
    table = trained.table(event)
    layers = {row["name"]: table["layers"][row["layer"]][-1] for row in table["nodes"] if "layer" in row}
    assert layers["mm"] == "down: Linear"
    assert layers.keys() > {"mm_2", "permute_1"}


def test_the_joint_graph_takes_the_captured_inputs_and_the_gradient(trained: Recorded) -> None:
    (event,) = trained.of("snapshot", stage="aot_joint")
    inputs = {row["name"]: row["input"] for row in trained.table(event)["nodes"] if row["op"] == "placeholder"}
    assert list(inputs.values()) == [
        "self.up.weight", "self.up.bias", "x", "self.down.weight", "self.down.bias", "tangents_1",
    ]  # fmt: skip


def test_both_parts_stem_from_the_joint_graph(trained: Recorded) -> None:
    (joint,) = [event for event in trained.of("snapshot", phase="joint") if "pattern_matcher" in event["selector"]]
    for stage in ("aot_forward", "aot_backward"):
        (event,) = trained.of("snapshot", stage=stage)
        assert event["coverage"]["origin"] == 100.0
        rows = [row for row in trained.table(event)["nodes"] if row["op"] == "call_function"]
        before = trained.table(joint)["nodes"]
        assert all(before[row["from"][0]]["target"] == row["target"] for row in rows)


def test_variables_that_are_called_like_other_operators(tmp_path: Path) -> None:
    """Dynamo names nodes after variables, and copies of the joint graph's nodes keep the notes with those names."""

    def shuffled(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        mul = x + w
        add = mul * 2
        sin = add.cos()
        cos = sin.sin()
        return cos.exp()

    with cutaway.record(tmp_path):
        result = torch.compile(shuffled)(torch.randn(4), torch.randn(4, requires_grad=True))
        result.sum().backward()
    run = recorded(tmp_path)
    joint = run.of("snapshot", phase="joint")[-1]
    names = {row["id"]: row["name"] for row in run.table(joint)["nodes"]}
    for stage in ("aot_forward", "aot_backward"):
        calls = [row for row in run.table(run.of("snapshot", stage=stage)[0])["nodes"] if row["op"] == "call_function"]
        assert [[names[number] for number in row["from"]] for row in calls] == [[row["name"]] for row in calls], stage
    forward = run.of("snapshot", stage="aot_forward")[0]["selector"]
    lines = {
        name: [row.code for row in lineage(load(tmp_path), f"{forward}:{name}").sources]
        for name in ("add", "mul", "cos", "sin")
    }
    assert lines == {
        "add": ["mul = x + w"],
        "mul": ["add = mul * 2"],
        "cos": ["sin = add.cos()"],
        "sin": ["cos = sin.sin()"],
    }


def test_a_stage_that_found_the_graph_as_it_was_has_its_nodes(trained: Recorded) -> None:
    for stage in ("before_pre_grad", "after_pre_grad"):
        (event,) = trained.of("snapshot", stage=stage)
        assert (event["changed"], event["coverage"]["origin"]) == (False, 100.0)


def test_what_the_forward_saved_is_no_weight(trained: Recorded) -> None:
    (event,) = trained.of("snapshot", stage="aot_backward")
    inputs = {row["name"]: row["input"] for row in trained.table(event)["nodes"] if row["op"] == "placeholder"}
    assert inputs == {
        "primals_3": "x", "primals_4": "self.down.weight", "addmm": "addmm", "div": "div", "tangents_1": "tangents_1",
    }  # fmt: skip


def test_changed_is_said_across_the_end_of_the_forward(trained: Recorded) -> None:
    """The backward is compiled when the forward's compile is over; its graphs are still compared."""
    latest: dict[str | None, str] = {}
    for event in trained.of("snapshot"):
        phase = event["phase"]
        before = latest.get(phase) or latest.get("joint") or latest.get(None)
        assert event["changed"] == (before is not None and event["graph"] != before), event["selector"]
        latest[phase] = event["graph"]


def test_the_code_is_that_of_its_phase(trained: Recorded) -> None:
    codes = {event["phase"]: event for event in trained.of("code", kind="output_code")}
    assert codes.keys() == {"forward", "backward"}
    backward = trained.read(codes["backward"]["files"][0]["path"])
    assert "tangents_1" in backward
    assert "tangents_1" not in trained.read(codes["forward"]["files"][0]["path"])


def test_it_is_over_once(trained: Recorded) -> None:
    assert len(trained.of("end", compilation="Mlp.forward")) == 1
    assert [event["compilation"] for event in trained.of("metric", kind="compile_time")] == ["Mlp.forward"] * 2
