"""What to set meanwhile: one line for each part, and nearer ones where more is known."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from cutaway.explain.trial import PARTS
from cutaway.explain.vllm_passes import VLLM_PASSES
from cutaway.explain.workaround import workaround


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("compiler", ["vllm", "cutaway", "torch"])
def test_every_part_has_one(compiler: str, part: str) -> None:
    assert workaround((compiler,), part)


@pytest.mark.parametrize(
    ("compiler", "part", "pass_name", "op", "words"),
    [
        ("vllm", "inductor", None, None, "-cc.backend=eager"),
        ("vllm", "eager", None, None, "--enforce-eager, with native alone for every operator in --ir-op-priority"),
        ("vllm", "passes", "NoOpEliminationPass", None, "-cc.pass_config.eliminate_noops=False"),
        ("vllm", "passes", "MinePass", None, "leave the pass MinePass out (it is none of vLLM's own)"),
        ("vllm", "passes", "PostCleanupPass", None, "-cc.backend=eager (vLLM has no flag for PostCleanupPass alone)"),
        ("vllm", "inductor", None, "rms_norm", """--ir-op-priority '{"rms_norm": ["native"]}'"""),
        ("torch", "inductor", "pass_pattern_2", None, "TORCHINDUCTOR_DISABLED_PASSES=PASS_PATTERN_2"),
        ("cutaway", "passes", "mine", None, "CUTAWAY_OFF=pass:mine"),
        ("cutaway", "inductor", None, "cutaway::rms_norm", 'ir_priority={"rms_norm": ["native"]}'),
    ],
)
def test_the_nearest_is_named(compiler: str, part: str, pass_name: str | None, op: str | None, words: str) -> None:
    assert workaround((compiler,), part, pass_name, op) == words


def test_one_for_each_compiler_that_it_may_be() -> None:
    both = workaround(("vllm", "cutaway"), "caches")
    assert both == "VLLM_DISABLE_COMPILE_CACHE=1 or CUTAWAY_DISABLE_CACHE=1"


def test_the_passes_are_vllms() -> None:
    """Read, not imported: importing vLLM takes longer than all tests here."""
    found = find_spec("vllm")
    if found is None or found.origin is None:
        pytest.skip("vLLM is not installed")
    root = Path(found.origin).parent
    config = (root / "config" / "compilation.py").read_text()
    flags = {flag for known in VLLM_PASSES.values() for flag in known.flags}
    assert [flag for flag in flags if f"\n    {flag}: bool" not in config] == []
    sources = {path: path.read_text() for path in (root / "compilation" / "passes").rglob("*.py")}
    classes = {name for text in sources.values() for name in re.findall(r"^class (\w+)", text, re.MULTILINE)}
    assert set(VLLM_PASSES) <= classes
    made = set(re.findall(r"(\w+Pass)\(config\)", sources[root / "compilation" / "passes" / "pass_manager.py"]))
    assert made <= set(VLLM_PASSES)
