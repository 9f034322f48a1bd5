"""A trial: its process, its caches, and what is said of how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.errors import IsolateError, UsageError
from cutaway.explain.trial import Completion, Completions, Observation, Printed, Setting, Signature, Slow, at
from cutaway.explain.trial import caches as caches_of
from cutaway.explain.trial.crash import signature_of
from cutaway.explain.trial.environment import variables_of
from cutaway.explain.trial.hand import without
from cutaway.explain.trial.judge import ReferenceJudge, compared
from cutaway.explain.trial.process import last_lines, run
from cutaway.explain.trial.program import ProgramTrial, printed
from cutaway.explain.trial.setting import PARTS
from cutaway.explain.trial.vllm import REQUEST, VllmTrial

ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", ".")}
LEAVE = "import subprocess, sys; subprocess.Popen(['sleep', '987'], start_new_session=True); "


def alive(seconds: str) -> list[str]:
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        if text == f"sleep\0{seconds}\0".encode():
            found.append(path.parent.name)
    return found


def wait_until(condition: object, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


class TestProcess:
    def test_exit_codes_signals_and_what_is_printed(self, tmp_path: Path) -> None:
        log = tmp_path / "log.txt"
        ended = run([sys.executable, "-c", "print('said'); raise SystemExit(3)"], ENVIRONMENT, log, 60)
        assert (ended.code, ended.signal, last_lines(log)) == (3, "", "said")
        ended = run([sys.executable, "-c", "import os, signal; os.kill(os.getpid(), 11)"], ENVIRONMENT, log, 60)
        assert ended.signal == "SIGSEGV"
        assert run(["no-such-program"], ENVIRONMENT, log, 60).code == 127

    def test_it_is_stopped_at_the_limit_with_all_that_it_started(self, tmp_path: Path) -> None:
        code = LEAVE.replace("987", "98701") + "import time; time.sleep(60)"
        ended = run([sys.executable, "-c", code], ENVIRONMENT, tmp_path / "log.txt", 2)
        assert ended.code is None
        assert alive("98701") == []

    def test_what_it_leaves_behind_is_ended_too(self, tmp_path: Path) -> None:
        ended = run([sys.executable, "-c", LEAVE.replace("987", "98702")], ENVIRONMENT, tmp_path / "log.txt", 60)
        assert ended.code == 0
        assert alive("98702") == []

    def test_nothing_outlives_a_search_that_is_killed(self, tmp_path: Path) -> None:
        trial = LEAVE.replace("987", "98703") + "import time; time.sleep(60)"
        code = (
            "import os, sys; from pathlib import Path; from cutaway.explain.trial.process import run; "
            f"run([sys.executable, '-c', {trial!r}], dict(os.environ), Path({str(tmp_path / 'log.txt')!r}), 60)"
        )
        search = subprocess.Popen([sys.executable, "-c", code])
        assert wait_until(lambda: alive("98703"))
        search.send_signal(signal.SIGKILL)
        search.wait()
        assert wait_until(lambda: not alive("98703"))


class TestCaches:
    @pytest.fixture(name="users")
    def _users(self, tmp_path: Path) -> dict[str, str]:
        files = {
            "inductor/ab/kernel.py": "x", "inductor/precompiled_headers/h.gch": "big", "cutaway/v1/entry": "y",
            "vllm/torch_compile_cache/k/f": "z", "vllm/assets/picture": "large",
        }  # fmt: skip
        for name, text in files.items():
            (tmp_path / "users" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "users" / name).write_text(text)
        variables = {"VLLM_CACHE_ROOT": "vllm", "TORCHINDUCTOR_CACHE_DIR": "inductor", "CUTAWAY_CACHE_ROOT": "cutaway"}
        return {name: str(tmp_path / "users" / folder) for name, folder in variables.items()}

    def files(self, folder: Path) -> list[str]:
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def test_with_everything_on_it_reads_a_copy(self, tmp_path: Path, users: dict[str, str]) -> None:
        variables, left_out = variables_of(Setting(), tmp_path, tmp_path / "own", users)
        assert left_out == ()
        assert self.files(tmp_path / "own") == [
            "cutaway/v1/entry",
            "inductor/ab/kernel.py",
            "vllm/torch_compile_cache/k/f",
        ]
        assert all(Path(variables[name]).is_relative_to(tmp_path / "own") for name in users)
        (Path(variables["CUTAWAY_CACHE_ROOT"]) / "v1" / "entry").write_text("changed")
        assert (tmp_path / "users/cutaway/v1/entry").read_text() == "y"

    def test_with_caches_off_it_finds_none(self, tmp_path: Path, users: dict[str, str]) -> None:
        variables, _ = variables_of(at("caches"), tmp_path, tmp_path / "own", users)
        assert self.files(tmp_path / "own") == []
        assert variables["VLLM_DISABLE_COMPILE_CACHE"] == variables["CUTAWAY_DISABLE_CACHE"] == "1"

    def test_what_vllm_knows_of_classes_is_shared_and_the_users_is_left_alone(
        self, tmp_path: Path, users: dict[str, str]
    ) -> None:
        (tmp_path / "users/vllm/modelinfos").mkdir()
        (tmp_path / "users/vllm/modelinfos/one.json").write_text("{}")
        for name in ("first", "second"):
            variables, _ = variables_of(at("caches"), tmp_path, tmp_path / name, users)
            caches_of.share_classes(tmp_path / "classes", users, variables)
            caches_of.share_classes(tmp_path / "classes", users, variables)
            (tmp_path / name / "vllm/modelinfos" / f"{name}.json").write_text("{}")
        assert sorted(path.name for path in (tmp_path / "second/vllm/modelinfos").iterdir()) == [
            "first.json",
            "one.json",
            "second.json",
        ]
        assert self.files(tmp_path / "users/vllm/modelinfos") == ["one.json"]

    def test_one_that_is_too_large_is_left_out_and_that_is_said(
        self, tmp_path: Path, users: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(caches_of, "MOST", 0)
        _, left_out = variables_of(Setting(), tmp_path, tmp_path / "own", users)
        assert len(left_out) == 3
        assert self.files(tmp_path / "own") == []

    def test_a_folder_that_cannot_be_made_is_said(self, tmp_path: Path, users: dict[str, str]) -> None:
        (tmp_path / "own").write_text("a file")
        with pytest.raises(IsolateError, match="no caches can be made"):
            variables_of(Setting(), tmp_path, tmp_path / "own", users)

    def test_the_users_own_headers_are_linked_and_their_folder_is_left_alone(self, tmp_path: Path) -> None:
        headers = tmp_path / f"torchinductor_{_user()}" / "precompiled_headers"
        headers.mkdir(parents=True)
        (headers / "h.gch").write_text("header")
        folder = caches_of.temporary({"TMPDIR": str(tmp_path)})
        try:
            linked = next(folder.rglob("h.gch"))
            assert linked.read_text() == "header"
            (linked.parent / "new.gch").write_text("new")
            assert [path.name for path in headers.iterdir()] == ["h.gch"]
        finally:
            caches_of.drop(folder)
        assert not folder.exists()
        caches_of.drop(tmp_path)
        assert tmp_path.exists()


def _user() -> str:
    return next(p.path.name for p in caches_of.places({}) if p.folder == "inductor").removeprefix("torchinductor_")


class TestVariables:
    @pytest.mark.parametrize("part", PARTS)
    def test_each_rung_tells_the_hands_what_is_off(self, part: str, tmp_path: Path) -> None:
        variables, _ = variables_of(at(part), tmp_path, tmp_path / "own", {"CUTAWAY_OFF": "regions"})
        assert variables["CUTAWAY_TRIAL_OFF"].split(",")[-1] == part
        assert "regions" in variables["CUTAWAY_OFF"].split(",")

    def test_with_everything_on_nothing_is_set(self, tmp_path: Path) -> None:
        variables, _ = variables_of(Setting(), tmp_path, tmp_path / "own", {"CUTAWAY_DUMP": "x", "CUTAWAY": "0"})
        assert not {"CUTAWAY_TRIAL_OFF", "CUTAWAY_OFF", "CUTAWAY_DUMP", "CUTAWAY", "TORCH_COMPILE_DISABLE"} & set(
            variables
        )


class TestHand:
    def modes(self, mode: str) -> dict[str, object]:
        return {"triton.cudagraphs": True} if mode == "reduce-overhead" else {}

    def test_inductor_is_replaced_and_its_options_go(self) -> None:
        found = without(["inductor"], {"mode": "reduce-overhead", "dynamic": True}, self.modes)
        assert found == {"backend": "eager", "dynamic": True}

    def test_other_backends_stay(self) -> None:
        given = {"backend": "cutaway", "options": {"a": 1}}
        assert without(["cuda_graphs", "passes", "inductor"], given, self.modes) == given

    def test_graphs_and_passes_go_and_the_rest_of_a_mode_stays(self) -> None:
        found = without(["cuda_graphs"], {"mode": "reduce-overhead"}, self.modes)
        assert found == {"options": {"triton.cudagraphs": False}}
        options = without(["passes"], {"options": {"x": 1, "post_grad_custom_pre_pass": print}}, self.modes)["options"]
        assert options["x"] == 1
        assert options["post_grad_custom_pre_pass"] is None


TRACEBACK = """\
noise
Traceback (most recent call last):
  File "/a/site-packages/torch/x.py", line 10, in outer
    inner()
  File "/tmp/torchinductor_me/ab/cabcdefghijklmnopqrstuvwxyz.py", line 7, in call
    kernel()
torch._inductor.exc.InductorError: bad thing
more
"""


class TestCrash:
    def test_the_exception_and_its_innermost_frames(self) -> None:
        assert signature_of(TRACEBACK, code=1) == Signature(
            "InductorError", "bad thing", ["(generated):7 call", "torch/x.py:10 outer"]
        )

    def test_prefixes_of_vllms_processes_are_no_part_of_it(self) -> None:
        lines = [f"(EngineCore pid=12) ERROR 11-21 14:50:47 [core.py:133] {line}" for line in TRACEBACK.splitlines()]
        second = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nRuntimeError: Engine core failed\n'
        assert signature_of("\n".join(lines) + "\n" + second, code=1).kind == "InductorError"

    def test_a_signal_is_told_with_pythons_stack(self) -> None:
        text = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
        text += '  File "/p/q.py", line 3 in f\n'
        assert signature_of(text, "SIGSEGV", 139) == Signature("SIGSEGV", "", ["p/q.py:3 f"])
        assert "memory" in signature_of("", "SIGKILL", 137).message
        assert signature_of("", code=4).kind == "exit code 4"

    def test_it_is_known_again_by_type_file_and_function(self) -> None:
        one = Signature("E", "a", ["x.py:1 f", "y.py:2 g"])
        assert one.is_same_as(Signature("E", "b", ["x.py:9 f", "z.py:2 h"]))
        assert not one.is_same_as(Signature("E", "a", ["x.py:1 other"]))
        assert not one.is_same_as(Signature("F", "a", ["x.py:1 f"]))

    @given(st.text())
    def test_any_text_gives_a_signature(self, text: str) -> None:
        assert signature_of(text, code=1).kind


def answer(
    tokens: list[int], logprobs: list[float | None], top: list[dict[int, float | None]] | None = None
) -> Completion:
    return Completion("p", 1, tokens, logprobs, top or [])


def answers(*found: Completion) -> Completions:
    return Completions(list(found), "float32")


class TestJudge:
    def test_log_probabilities_within_tolerance(self) -> None:
        right = answers(answer([1, 2], [-0.5, -1.0]))
        assert not compared(answers(answer([1, 2], [-0.5004, -1.0])), right, None, "eager").faulty
        said = compared(answers(answer([1, 2], [-0.5, -1.2])), right, None, "eager")
        assert said.faulty
        assert "log probability of token 1 is -1.2000, and -1.0000 in eager" in said.words

    def test_another_token_is_a_fault_unless_both_were_as_probable(self) -> None:
        right = answers(answer([1, 2], [-0.5, -1.0], [{1: -0.5}, {2: -1.0, 3: -1.0005}]))
        tie = answers(answer([1, 3, 9], [-0.5, -1.0], [{1: -0.5}, {3: -1.0, 2: -1.0002}]))
        assert not compared(tie, right, None, "eager").faulty
        assert compared(answers(answer([1, 3], [-0.5, -1.0])), right, None, "eager").faulty

    def test_nan_is_a_fault(self) -> None:
        found = Observation("ok", Path("x"), answers(answer([0], [None])))
        assert ReferenceJudge(None).faulty(found)

    def test_a_round_that_is_wrong_is_counted(self) -> None:
        right = answers(answer([1], [-0.5]), answer([1], [-0.5]))
        found = answers(answer([1], [-0.5]), answer([2], [-0.1]))
        said = compared(found, right, None, "eager")
        assert (said.faulty, said.times, said.rounds) == (True, 1, 2)

    def test_printed_numbers_within_tolerance_and_texts_exactly(self) -> None:
        right = printed(["1.0 ok"])
        assert not compared(printed(["1.00001 ok"]), right, None, "eager").faulty
        assert compared(printed(["1.1 ok"]), right, None, "eager").faulty
        assert not compared(printed(["1.1 ok"]), right, 0.2, "eager").faulty
        assert compared(printed(["1.0 no"]), right, None, "eager").faulty
        assert compared(Printed(0), right, None, "eager").faulty


class TestProgram:
    def observe(self, code: str, tmp_path: Path, check: str | None = None) -> Observation:
        trial = ProgramTrial([sys.executable, "-c", code], check, folder=tmp_path / "t", limit=60)
        try:
            return trial.observe(Setting())
        finally:
            trial.close()

    def test_what_the_check_finds(self, tmp_path: Path) -> None:
        found = self.observe("print('loss: 1.5'); print('loss: nan')", tmp_path, r"loss: (\S+)")
        assert isinstance(found.outputs, Printed)
        assert found.outputs.values[0] == 1.5
        assert found.outputs.texts == ["#", "#"]

    def test_a_check_that_finds_nothing_is_said(self, tmp_path: Path) -> None:
        found = self.observe("print('done')", tmp_path, r"loss: (\S+)")
        assert (found.outcome, found.why) == ("unusable", r"it prints nothing that the check 'loss: (\\S+)' matches")

    def test_a_check_that_is_no_expression_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no regular expression"):
            ProgramTrial(["x"], "(", folder=tmp_path, limit=60)

    def test_a_crash_has_a_signature(self, tmp_path: Path) -> None:
        found = self.observe("def f(): raise KeyError('k')\nf()", tmp_path)
        assert found.signature == Signature("KeyError", "'k'", ["<string>:1 f", "<string>:2 <module>"])

    def test_a_check_of_the_programs_own_that_failed_is_no_crash(self, tmp_path: Path) -> None:
        said = self.observe("raise SystemExit(3)", tmp_path)
        assert (said.outcome, said.outputs) == ("ok", Printed(3))
        script = tmp_path / "script.py"
        script.write_text("def check():\n    assert 1 == 2\ncheck()\n")
        trial = ProgramTrial([sys.executable, str(script)], folder=tmp_path / "t", limit=60)
        found = trial.observe(Setting())
        trial.close()
        assert (found.outcome, found.outputs) == ("ok", Printed(1))
        assert self.observe("import unittest; unittest.TestCase().fail('x')", tmp_path).outcome == "crash"

    def test_an_exit_code_is_a_fault_unless_the_reference_has_it(self) -> None:
        failed = Observation("ok", Path("x"), Printed(1))
        assert ReferenceJudge(None).faulty(failed)
        assert ReferenceJudge(Observation("ok", Path("x"), Printed(0))).faulty(failed)
        assert not ReferenceJudge(failed).faulty(failed)

    def test_no_such_program(self, tmp_path: Path) -> None:
        trial = ProgramTrial(["no-such-program"], folder=tmp_path / "t", limit=60)
        found = trial.observe(Setting())
        trial.close()
        assert found.outcome == "unusable"
        assert found.why.startswith("'no-such-program' cannot be run: no such program")

    @pytest.mark.parametrize("slow", [False, True])
    def test_a_trial_without_caches_profits_from_another_unless_time_is_looked_at(
        self, slow: bool, tmp_path: Path
    ) -> None:
        code = (
            "import os, tempfile; place = os.environ['TORCHINDUCTOR_CACHE_DIR']; print(len(os.listdir(place)), "
            "sum(name.startswith('mine') for name in os.listdir(tempfile.gettempdir()))); open(place + '/k', 'w'); "
            "tempfile.mkstemp(prefix='mine')"
        )
        trial = ProgramTrial([sys.executable, "-c", code], None, slow, folder=tmp_path / "t", limit=60)
        logs = [trial.observe(at("caches")).log.read_text().split() for _ in range(2)]
        trial.close()
        assert logs == [["0", "0"], ["0", "0"] if slow else ["1", "1"]]
        assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["001-caches", "002-caches"]

    def test_nothing_stays_of_its_caches_and_temporary_files(self, tmp_path: Path) -> None:
        found = self.observe("import tempfile; tempfile.mkstemp(); print(tempfile.gettempdir())", tmp_path)
        temporary = Path(found.log.read_text().strip())
        assert temporary.name.startswith("cutaway-try-")
        assert not temporary.exists()
        assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["001-everything-on"]
        assert [path.name for path in found.folder.iterdir()] == ["log.txt"]


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
@pytest.mark.parametrize(("slow", "rounds"), [(None, 2), ("run", 2), ("start", 0)])
def test_vllm_answers_no_prompt_where_its_start_is_what_is_slow(slow: Slow | None, rounds: int, tmp_path: Path) -> None:
    trial = VllmTrial(["--model", "m"], slow=slow, folder=tmp_path / "t", limit=60)
    trial.command(Setting(), tmp_path)
    assert json.loads((tmp_path / REQUEST).read_bytes())["rounds"] == rounds


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_what_a_trial_finds_out_of_a_models_class_serves_the_next_where_its_time_is_not_told(tmp_path: Path) -> None:
    code = "import os; print(os.path.realpath(os.environ['VLLM_CACHE_ROOT'] + '/modelinfos'))"

    class Printing(VllmTrial):
        def command(self, setting: Setting, folder: Path) -> list[str]:
            return [sys.executable, "-c", code]

    served = Printing(["--model", "m"], slow="start", folder=tmp_path / "vllm", limit=60)
    timed = ProgramTrial([sys.executable, "-c", code], None, True, folder=tmp_path / "program", limit=60)
    places = [[trial.observe(at("caches")).log.read_text() for _ in range(2)] for trial in (served, timed)]
    served.close()
    timed.close()
    assert [len(set(two)) for two in places] == [1, 2]
