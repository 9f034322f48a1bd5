"""Inside of a part: faults planted in our compiler are found at their piece, pass and node."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cutaway.explain.bisect import Finding, inside
from cutaway.explain.budget import Budget
from cutaway.explain.progress import Lines
from cutaway.explain.trial import Observation, Setting, Signature

# The gallery (tests/explain) has such searches, too, through the whole of `isolate`.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PLANTED = Path(__file__).with_name("planted.py")
_OURS = ("CUTAWAY", "TORCHINDUCTOR", "VLLM")


@dataclass
class PlantedTrial:
    """Runs `planted.py` with a fault in it."""

    fault: str
    folder: Path
    sizes: tuple[str, ...] = ("8", "32")
    kind: str = "program"
    count: int = field(default=0, init=False)

    def observe(self, setting: Setting) -> Observation:
        self.count += 1
        place = self.folder / f"{self.count:03d}"
        place.mkdir(parents=True)
        variables = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        variables |= setting.switches.write(place)
        variables["TORCHINDUCTOR_CACHE_DIR"] = str(self.folder / "inductor")
        if setting.record:
            variables["CUTAWAY_DUMP"] = str(place / "dump")
        began = time.monotonic()
        with (place / "log.txt").open("w") as log:
            ended = subprocess.run(
                [sys.executable, str(PLANTED), self.fault, *self.sizes],
                env=variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=300,
                check=False,
            )
        seconds = time.monotonic() - began
        dump = place / "dump" if setting.record else None
        if ended.returncode in (0, 1) and "Traceback" not in (place / "log.txt").read_text():
            signature = None if ended.returncode == 0 else Signature("wrong")
            took = seconds if self.fault == "slow_pass" else None
            return Observation("ok", place, None, signature, seconds, took, dump)
        return Observation("crash", place, None, Signature("crash"), seconds, None, dump)


class PlantedJudge:
    """The program says itself whether the fault shows."""

    def faulty(self, observation: Observation) -> bool:
        if observation.took is not None:
            return "slow was let" not in observation.why and _slow_ran(observation.folder)
        return observation.signature is not None

    def why(self, observation: Observation) -> str:
        return "the fault shows" if self.faulty(observation) else "it is as it should be"


def _slow_ran(folder: Path) -> bool:
    lines = "".join(path.read_text() for path in (folder / "inside").glob("journal.*"))
    return '"name": "slow", "run": 1, "off": false' in lines


def look(fault: str, folder: Path, part: str = "inductor") -> Finding:
    began = time.monotonic()
    found = inside(PlantedTrial(fault, folder), PlantedJudge(), part, Budget(10), Lines(sys.stdout))
    print(f"{time.monotonic() - began:.1f} s\n{found.sentence()}\n{found}")
    return found


def test_a_pass_that_is_wrong_in_one_layer(tmp_path: Path) -> None:
    found = look("wrong_pass", tmp_path, "passes")
    assert (found.kind, found.piece, found.range) == ("numbers", "piece_08", "1_16")
    assert found.pass_name == "wrong_in_layer_3"
    assert found.layer == "layers.3.mlp: MLP"
    assert "silu" in (found.source or "")
    assert found.confidence == "confirmed"
    assert found.others == ("piece_08/range_17_64",)


def test_a_lowering_that_is_wrong_in_the_process_alone(tmp_path: Path) -> None:
    """Every graph is right, and so is the last one compiled in a fresh process: it is compiled where it is not."""
    found = look("lowering", tmp_path)
    assert (found.kind, found.piece, found.range) == ("numbers", "piece_02", "1_16")
    assert (found.node, found.layer, found.pass_name) == ("exp", "layers.0.mlp: MLP", None)
    assert (found.kernel or "").startswith("cpp_fused_mul_silu")
    assert found.confidence == "confirmed"


def test_a_provider_that_is_wrong_for_large_batches(tmp_path: Path) -> None:
    found = look("provider", tmp_path, "passes")
    assert (found.kind, found.piece, found.range) == ("numbers", "piece_08", "17_64")
    assert (found.op, found.provider, found.pass_name) == ("scaled", "quick", None)
