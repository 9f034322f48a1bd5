"""`cutaway.explain.isolate`: models in Python, tried for real in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import isolate_models as models  # noqa: E402 - stands beside this file

import cutaway  # noqa: E402
from cutaway.errors import IsolateError, UsageError  # noqa: E402
from cutaway.explain import Verdict, isolate  # noqa: E402
from cutaway.explain.trial import Setting, Slow, Tensors, at  # noqa: E402
from cutaway.explain.trial.judge import ReferenceJudge  # noqa: E402
from cutaway.explain.trial.model import REQUEST, SUBJECT, How, ModelTrial, how_of, write_subject  # noqa: E402

pytestmark = pytest.mark.timeout(900)

X = torch.linspace(-2, 2, 4 * 16).reshape(4, 16)


def search(model: object, tmp_path: Path, **options: object) -> Verdict:
    return isolate(model, (X,), folder=tmp_path / "o", quiet=True, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_wrong_pass_is_named_with_the_line_and_a_reproducer(tmp_path: Path) -> None:
    model = cutaway.compile(models.Small(), {"post_grad_passes": [models.relu_to_abs]})
    found = search(model, tmp_path)
    assert (found.outcome, found.part) == ("found", "passes"), found.lines()
    assert found.finding is not None
    assert found.finding.pass_name == "relu_to_abs"
    assert "isolate_models.py" in (found.finding.source or "")
    assert found.workaround == "CUTAWAY_OFF=pass:relu_to_abs"
    assert found.dump is not None
    assert cutaway.load(found.dump) is not None
    assert found.reproducer is not None
    shown = subprocess.run([sys.executable, str(found.reproducer)], capture_output=True, text=True, check=False)
    assert shown.returncode == 1, shown.stdout + shown.stderr
    left = {path.name for path in (tmp_path / "o").iterdir()}
    assert left == {"isolate.json", "trials.jsonl", "trials", "subject.pt", "report.md", "dump", found.reproducer.name}


def test_a_fault_that_is_the_models_own(tmp_path: Path) -> None:
    found = search(models.Broken(), tmp_path)
    assert (found.outcome, found.workaround) == ("own", "")
    assert "ValueError: too many rows, at explain/isolate_models.py" in found.sentence()


def test_nan_that_eager_makes_is_the_models_own(tmp_path: Path) -> None:
    found = search(models.Poisoned(), tmp_path, how="torch")
    assert found.outcome == "own"
    assert "NaN" in found.sentence()


@pytest.mark.slow
def test_a_fault_that_comes_and_goes(tmp_path: Path) -> None:
    found = search(models.Small(), tmp_path, how=models.compiled_with_a_fault_now_and_then, minutes=3)
    assert found.outcome == "found", found.lines()
    assert found.part == "compile"
    assert found.climbed.rate < 1
    assert "It comes and goes" in "\n".join(found.lines())


@pytest.mark.slow
def test_rounding_is_no_fault_where_eager_is_as_far_from_float64(tmp_path: Path) -> None:
    bare, how = how_of(models.Unsteady(), "torch")
    write_subject(tmp_path / SUBJECT, bare, [(X,)], how)
    trial = ModelTrial(tmp_path / SUBJECT, folder=tmp_path / "t", limit=300)
    try:
        eager, compiled = trial.observe(at("eager")), trial.observe(at("passes"))
    finally:
        trial.close()
    said = ReferenceJudge(eager).assess(compiled)
    assert not said.faulty, said.words
    assert isinstance(eager.outputs, Tensors)
    strict = ReferenceJudge(eager, tolerance=1e-6).assess(compiled)
    values = [torch.load(one.outputs.path)["rounds"][0][0][0] for one in (eager, compiled)]  # type: ignore[union-attr]
    assert strict.faulty == (not torch.allclose(*values, rtol=1e-6, atol=1e-6))


def test_with_inductor_off_torch_compile_runs_what_was_captured(tmp_path: Path) -> None:
    bare, how = how_of(torch.compile(models.Small()))
    write_subject(tmp_path / SUBJECT, bare, [(X,)], how)
    trial = ModelTrial(tmp_path / SUBJECT, folder=tmp_path / "t", limit=300)
    try:
        observed = trial.observe(Setting(**{**vars(at("inductor")), "record": True}))
    finally:
        trial.close()
    assert observed.outcome == "ok"
    assert observed.dump is not None
    stages = {snapshot.stage for snapshot in cutaway.load(observed.dump).snapshots.values()}
    assert "captured" in stages
    assert "post_grad" not in stages


def test_a_model_that_cannot_be_pickled_is_said(tmp_path: Path) -> None:
    class Local(models.Small):
        pass

    with pytest.raises(UsageError, match="cannot be given to a fresh process"):
        search(Local(), tmp_path)


def test_a_model_that_does_not_load_is_said(tmp_path: Path) -> None:
    model = models.Small()
    bare, how = how_of(model)
    path = tmp_path / SUBJECT
    write_subject(path, bare, [(X,)], how)
    path.write_bytes(path.read_bytes().replace(b"isolate_models", b"isolate_mislaid"[:14]))
    trial = ModelTrial(path, folder=tmp_path / "t", limit=300)
    try:
        found = trial.observe(at("eager"))
    finally:
        trial.close()
    assert found.outcome == "unusable"
    assert found.why.startswith("the model does not load in a fresh process")


def test_a_script_without_a_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import torch, cutaway\n"
        "class M(torch.nn.Module):\n"
        "    def forward(self, x): return x + 1\n"
        f"cutaway.explain.isolate(M(), (torch.ones(2),), how='torch', folder={str(tmp_path / 'o')!r}, quiet=True)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert 'call isolate under `if __name__ == "__main__":`' in done.stderr.replace("Call", "call"), done.stderr


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="isolate was given a int"):
        search(3, tmp_path)
    with pytest.raises(IsolateError, match="there is no search to go on with"):
        search(models.Small(), tmp_path, resume=True)


@pytest.mark.parametrize(("slow", "rounds"), [(None, 2), ("run", 4), ("start", 1)])
def test_a_model_is_called_as_often_as_what_is_asked_needs(slow: Slow | None, rounds: int, tmp_path: Path) -> None:
    subject = tmp_path / SUBJECT
    write_subject(subject, *_bare(models.Small()))
    ModelTrial(subject, slow, folder=tmp_path / "t", limit=60).command(at("eager"), tmp_path)
    request = json.loads((tmp_path / REQUEST).read_bytes())
    assert (request["rounds"], request["referee"]) == (rounds, slow is None)  # float64 is no referee of time


def _bare(model: object) -> tuple[object, list[tuple[torch.Tensor]], How]:
    bare, how = how_of(model)
    return bare, [(X,)], how
