"""What is said of what the hands of a trial wrote; above all, what is not said."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from dump_maker import make_dump

from cutaway.dump import load
from cutaway.explain.bisect import Finding, inside
from cutaway.explain.bisect.recorded import importable
from cutaway.explain.budget import Budget
from cutaway.explain.progress import Lines
from cutaway.explain.switches import Place
from cutaway.explain.trial import Observation, Setting, Signature, Slow, vllm_child

Event = dict[str, Any]
Says = Callable[[Setting], tuple[list[Event], bool]]


@dataclass
class WrittenTrial:
    """A trial whose process is over: what its hands wrote is given for each setting, and whether the fault showed."""

    folder: Path
    says: Says
    crashes: bool = False
    took: float | None = None
    log: str = ""
    kind: str = "program"
    breaks: Callable[[Setting], bool] = lambda setting: False
    settings: list[Setting] = field(default_factory=list[Setting])

    def observe(self, setting: Setting) -> Observation:
        self.settings.append(setting)
        place = self.folder / f"{len(self.settings):03d}"
        (place / "inside").mkdir(parents=True)
        (place / "log.txt").write_text(self.log)
        events, shows = self.says(setting)
        (place / "inside" / "journal.1.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
        signature = Signature("it") if shows else None
        outcome = "crash" if (shows and self.crashes) or self.breaks(setting) else "ok"
        return Observation(outcome, place, None, signature, 1.0, self.took)


class SignatureJudge:
    def faulty(self, observation: Observation) -> bool:
        return observation.signature is not None

    def why(self, observation: Observation) -> str:
        return ""


def look(trial: WrittenTrial, part: str = "inductor", minutes: float = 5, slow: Slow | None = None) -> Finding:
    return inside(trial, SignatureJudge(), part, Budget(minutes), Lines(None), slow=slow)


def always(*events: Event) -> Says:
    return lambda setting: (list(events), True)


def unless(switched: Callable[[Setting], bool], *events: Event) -> Says:
    """The fault shows unless something is switched."""
    return lambda setting: ([], False) if switched(setting) else (list(events), True)


SAME = {"event": "same", "piece": "piece_00", "range": "1_8"}
PARTED = {
    "event": "parted",
    "piece": "piece_02",
    "range": "1_8",
    "values": {
        "output 0": {
            "comparison": {"verdict": "apart", "absolute": 0.5, "differing": 3, "elements": 8},
            "compiled_error": 0.5,
            "eager_error": 1e-7,
        }
    },
    "inputs": [],
}
OVERWROTE = {
    "event": "overwrote",
    "piece": "piece_02",
    "range": "1_8",
    "value": "residual",
    "argument": "x",
    "used_by": ["piece_04"],
}


def test_a_piece_that_parts_and_is_right_when_run_eagerly(tmp_path: Path) -> None:
    trial = WrittenTrial(tmp_path, unless(lambda setting: bool(setting.switches.eager), SAME, PARTED))
    found = look(trial)
    assert (found.kind, found.piece, found.range, found.confidence) == ("numbers", "piece_02", "1_8", "confirmed")
    assert trial.settings[1].switches.eager == (Place("piece_02", "1_8"),)
    assert found.pass_name is None
    assert any("no recording" in one for one in found.unknown)


def test_a_piece_that_parts_while_the_fault_is_elsewhere_is_not_confirmed(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, always(SAME, PARTED)))
    assert found.confidence == "likely"
    assert any("still there" in one for one in found.evidence)


def test_what_comes_first_is_the_cause(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, unless(lambda s: bool(s.switches.eager), OVERWROTE, PARTED)))
    assert (found.kind, found.node, found.confidence) == ("overwritten", "x", "confirmed")
    assert "piece_04" in found.evidence[0]


SWAPPED = [
    {"event": "passed", "piece": piece, "position": 1, "expected": "q", "given": "k", "argument": "arg1"}
    for piece in ("piece_04", "")
]


def test_swapped_arguments_are_confirmed_by_passing_what_the_split_graph_says(tmp_path: Path) -> None:
    trial = WrittenTrial(tmp_path, unless(lambda setting: bool(setting.switches.restored), *SWAPPED))
    found = look(trial)
    assert (found.kind, found.piece, found.node, found.confidence) == ("arguments", "piece_04", "arg1", "confirmed")
    assert found.evidence[0] == "the split graph passes q to piece_04 at place 1, and it is given k"
    assert found.evidence[1] == "with piece_04 and the caller passed what the split graph says, the fault is gone"
    assert trial.settings[1].switches.restored == (Place("piece_04"), Place(""))


def test_swapped_arguments_without_which_the_fault_stays_are_not_confirmed(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, always(*SWAPPED)))
    assert (found.kind, found.confidence) == ("arguments", "likely")
    assert found.evidence[1].endswith("the fault is still there")


def test_a_stale_artifact(tmp_path: Path) -> None:
    fresh = {"event": "fresh", "piece": "piece_02", "range": "1_8", "is_apart": False}
    trial = WrittenTrial(tmp_path, always(PARTED, fresh))
    found = look(trial, "caches")
    assert (found.kind, found.piece, found.confidence) == ("stale artifact", "piece_02", "confirmed")
    assert trial.settings[0].caches
    assert trial.settings[0].switches.fresh


def test_the_one_variable_that_the_users_code_reads_is_the_factor(tmp_path: Path) -> None:
    read = {"variable": "SCALE", "at": "users_pass.py:3", "is_set": False}
    fresh = {"event": "fresh", "piece": "piece_02", "range": "1_8", "is_apart": False, "reads": [read]}
    found = look(WrittenTrial(tmp_path, always(PARTED, fresh)), "caches")
    assert found.factor == "SCALE"
    assert any("SCALE, which is not set now, at users_pass.py:3" in one for one in found.evidence)
    assert any("when the artifact was stored" in one for one in found.unknown)


def test_of_several_that_are_read_none_is_named_as_the_factor(tmp_path: Path) -> None:
    reads = [{"variable": name, "at": "users_pass.py:3", "is_set": True} for name in ("A", "B")]
    fresh = {"event": "fresh", "piece": "piece_02", "range": "1_8", "is_apart": False, "reads": reads}
    found = look(WrittenTrial(tmp_path, always(PARTED, fresh)), "caches")
    assert found.factor is None
    assert sum("the key may lack it" in one for one in found.evidence) == 2


def test_an_artifact_that_is_as_wrong_when_compiled_anew_is_not_stale(tmp_path: Path) -> None:
    fresh = {"event": "fresh", "piece": "piece_02", "range": "1_8", "is_apart": True}
    assert look(WrittenTrial(tmp_path, always(PARTED, fresh)), "caches").kind == "numbers"


def test_a_key_factor_that_is_missing(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, always(SAME)), "caches")
    assert (found.kind, found.piece, found.confidence) == ("other graph", None, "likely")


def test_a_fault_that_goes_when_it_is_watched_has_no_place(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, lambda setting: ([SAME], False)))
    assert (found.kind, found.piece, found.confidence) == ("unknown", None, "unknown")
    assert "watched" in found.unknown[0]


def test_nothing_was_compared(tmp_path: Path) -> None:
    assert look(WrittenTrial(tmp_path, always())).unknown == ("no piece was called that could be compared",)


def in_pass(name: str, event: str = "pass", **facts: Any) -> Event:
    return {"event": event, "name": name, "run": 1, "off": False, "piece": "piece_02", "range": "1_8", **facts}


COMPILE = {"event": "compile", "piece": "piece_02", "range": "1_8"}


def test_a_crash_in_a_pass(tmp_path: Path) -> None:
    says = unless(lambda s: "fusion" in s.switches.passes_off, COMPILE, in_pass("fusion"))
    found = look(WrittenTrial(tmp_path, says, crashes=True))
    assert (found.kind, found.pass_name, found.piece, found.confidence) == ("crash", "fusion", "piece_02", "confirmed")


def test_a_crash_after_a_pass_is_not_the_pass(tmp_path: Path) -> None:
    says = always(COMPILE, in_pass("fusion"), in_pass("fusion", "pass_done"))
    found = look(WrittenTrial(tmp_path, says, crashes=True))
    assert (found.pass_name, found.piece) == (None, "piece_02")
    assert any("had ended" in one for one in found.evidence)


def test_a_pass_without_which_it_crashes_as_well_is_not_named(tmp_path: Path) -> None:
    def says(setting: Setting) -> tuple[list[Event], bool]:
        is_off = "fusion" in setting.switches.passes_off
        return [COMPILE, in_pass("fusion", off=is_off)], True

    found = look(WrittenTrial(tmp_path, says, crashes=True))
    assert (found.pass_name, found.confidence) == (None, "unknown")


def test_a_pass_that_cannot_be_switched_off_stays_named(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, always(COMPILE, in_pass("lowering")), crashes=True))
    assert (found.pass_name, found.confidence) == ("lowering", "likely")


def call(step: str) -> Event:
    return {"event": "call", "piece": "piece_08", "range": "1_8", "call": 2, "step": step}


def test_a_crash_of_compiled_code(tmp_path: Path) -> None:
    code = tmp_path / "cabcdefghijklmnopqrstuvwxyz.py"
    code.write_text("def call(args):\n    cpp_fused_mul_1(buf0, buf1)\n")
    log = f'Fatal Python error: Segmentation fault\n  File "{code}", line 2 in call\n  File "x.py", line 1 in f\n'
    says = unless(lambda s: bool(s.switches.eager), SAME, call("eager"), call("compiled"))
    found = look(WrittenTrial(tmp_path / "trials", says, crashes=True, log=log))
    assert (found.kind, found.piece, found.kernel) == ("crash", "piece_08", "cpp_fused_mul_1")
    assert found.confidence == "confirmed"


def test_a_crash_of_an_eager_graph_is_not_the_compilers(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, always(SAME, call("eager")), crashes=True))
    assert (found.piece, found.confidence) == ("piece_08", "unknown")
    assert any("model's own" in one for one in found.evidence)


def test_without_time_nothing_is_confirmed(tmp_path: Path) -> None:
    trial = WrittenTrial(tmp_path, unless(lambda s: bool(s.switches.eager), PARTED))
    found = look(trial, minutes=0.0)
    assert found.confidence == "likely"
    assert len(trial.settings) == 1
    assert any("no time" in one for one in found.unknown)


def test_a_trial_that_ends_in_another_way_confirms_nothing(tmp_path: Path) -> None:
    def is_off(setting: Setting) -> bool:
        return bool(setting.switches.eager)

    found = look(WrittenTrial(tmp_path, unless(is_off, PARTED), breaks=is_off))
    assert found.confidence == "likely"
    assert any("that ended otherwise" in one for one in found.unknown)


def times(compiled: float, eager: float, number: int) -> list[Event]:
    fact = {"event": "time", "piece": "piece_06", "range": "1_8", "compiled": compiled, "eager": eager}
    return [fact] * number


def test_a_slow_piece_is_named_when_its_eager_graph_is_quicker(tmp_path: Path) -> None:
    says = unless(lambda s: bool(s.switches.eager), SAME, *times(0.2, 0.01, 5))
    found = look(WrittenTrial(tmp_path, says, took=2.0), slow="run")
    assert (found.kind, found.piece, found.confidence) == ("slow", "piece_06", "confirmed")


def test_a_first_call_is_no_measure(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, always(SAME, *times(0.2, 0.01, 2)), took=2.0), slow="run")
    assert (found.kind, found.piece) == ("unknown", None)


def test_a_slow_piece_without_which_it_is_as_slow_is_not_named(tmp_path: Path) -> None:
    found = look(WrittenTrial(tmp_path, always(SAME, *times(0.2, 0.01, 5)), took=2.0), slow="run")
    assert (found.kind, found.piece, found.confidence) == ("unknown", None, "unknown")


RECORDED, TIMED = "passes recorded", "pieces timed"


@pytest.mark.parametrize(
    ("kind", "slow", "part", "trials"),
    [
        ("vllm", "start", "passes", [{RECORDED}]),
        ("model", "start", "inductor", [{RECORDED}]),
        ("vllm", "run", "passes", [{TIMED}, {"piece_06 eager"}]),
        ("vllm", "run", "caches", [{TIMED}, {"piece_06 eager"}]),
        ("program", "start", "inductor", [{RECORDED, TIMED}, {"piece_06 eager"}]),
        ("vllm", "start", "caches", []),  # where the time is gone without caches, all passes were still there
        ("vllm", "start", "compile", []),
        ("vllm", "run", "cuda_graphs", []),
    ],
)
def test_for_slowness_only_that_is_run_which_can_change_the_verdict(
    kind: str, slow: Slow, part: str, trials: list[set[str]], tmp_path: Path
) -> None:
    trial = WrittenTrial(tmp_path, always(*times(0.2, 0.01, 5)), took=2.0, kind=kind)
    found = look(trial, part, slow=slow)
    assert [_done(setting) for setting in trial.settings] == trials
    assert not any(setting.switches.compare or setting.switches.fresh for setting in trial.settings)
    assert found.unknown if not trials else found.part == part


def _done(setting: Setting) -> set[str]:
    switches = setting.switches
    return {
        *({RECORDED} if setting.record else ()),
        *({TIMED} if switches.times else ()),
        *(f"{place.piece} eager" for place in switches.eager),
    }


def test_a_pass_that_does_not_end_is_named_where_slowness_is_asked_for(tmp_path: Path) -> None:
    trial = WrittenTrial(tmp_path, unless(lambda s: "endless" in s.switches.passes_off, COMPILE, in_pass("endless")))
    trial.crashes = True
    found = look(trial, "passes", slow="start")
    assert (found.pass_name, found.confidence) == ("endless", "confirmed")
    assert trial.settings[0].switches.changes_something  # so that passes are announced


def test_a_finding_is_said_in_one_sentence() -> None:
    found = Finding("passes", "numbers", "piece_02", "1_8", pass_name="fusion", node="add_3", layer="layers.1.mlp: MLP")
    assert found.sentence() == (
        "what is compiled computes something else than its eager graph: the pass fusion at add_3 of layer "
        "layers.1.mlp: MLP in piece_02/range_1_8"
    )
    assert json.loads(json.dumps(found.plain()))["pass_name"] == "fusion"


def test_what_replays_may_import_what_stands_beside_the_program_and_nothing_of_ours(tmp_path: Path) -> None:
    """The child of a trial in vLLM lies beside a module called vllm."""
    shown: list[list[str]] = []
    for program in (tmp_path / "own" / "train.py", Path(vllm_child.__file__ or "")):
        root = make_dump(tmp_path / program.stem)
        manifest = root / "run_001" / "rank_0_dp_0" / "manifest.jsonl"
        manifest.write_text(manifest.read_text().replace('"serve.py"', json.dumps(str(program)), 1))
        with importable(load(root)):
            shown.append(os.environ["PYTHONPATH"].split(os.pathsep))
    assert str((tmp_path / "own").resolve()) in shown[0]
    assert str(Path(vllm_child.__file__ or "").parent) not in shown[1]
