"""The switches in plain ``torch.compile``: a process that knows nothing of Cutaway, with a pass that is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cutaway.dump.reader import load
from cutaway.explain.bisect.seen import Seen
from cutaway.explain.bisect.stages import Stages
from cutaway.explain.switches import EVERYWHERE, Switches

PROGRAM = Path(__file__).with_name("plain.py")
PASS = "post_grad_custom_post_pass"
"""What Inductor calls the run of a user's pass."""


def run(folder: Path, switches: Switches, record: bool = False) -> int:
    """Run the program; its exit code, which is 1 when it computes something else than its model."""
    folder.mkdir(exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("CUTAWAY", "TORCHIND"))}
    variables |= {**switches.write(folder), "TORCHINDUCTOR_CACHE_DIR": str(folder.parent / "inductor")}
    variables |= {"CUTAWAY_DUMP": str(folder / "dump")} if record else {}
    ended = subprocess.run([sys.executable, str(PROGRAM)], env=variables, check=False, timeout=300, capture_output=True)
    assert not ended.stderr or b"Traceback" not in ended.stderr, ended.stderr.decode()
    return ended.returncode


@pytest.fixture(scope="module", name="compared")
def _compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    folder = tmp_path_factory.mktemp("plain") / "compared"
    return run(folder, Switches(compare=(EVERYWHERE,)), record=True), folder


def parted(folder: Path) -> dict[str, Any]:
    found = Seen.of(folder).first("parted")
    assert found is not None
    return found


def test_the_whole_graph_is_one_piece_and_parts(compared: tuple[int, Path]) -> None:
    code, folder = compared
    assert code == 1
    assert (parted(folder)["piece"], parted(folder)["range"]) == ("graph_00", "")


def test_the_pass_the_node_and_the_layer_are_found(compared: tuple[int, Path]) -> None:
    _, folder = compared
    stage = Stages(load(folder / "dump"), parted(folder)).first_wrong()
    assert stage is not None
    assert stage.snapshot.pass_name == PASS
    assert stage.spot is not None
    assert stage.spot.after is not None
    assert "sigmoid" in stage.spot.after.line
    assert (stage.spot.after.layer or "").startswith("1")


def test_without_the_pass_the_fault_is_gone(compared: tuple[int, Path]) -> None:
    _, folder = compared
    assert run(folder.parent / "off", Switches(passes_off=(PASS,))) == 0
    assert [event["off"] for event in Seen.of(folder.parent / "off").all("pass")] == [True]


def test_as_its_eager_graph_the_fault_is_gone(compared: tuple[int, Path]) -> None:
    _, folder = compared
    assert run(folder.parent / "eager", Switches(eager=(EVERYWHERE,))) == 0
